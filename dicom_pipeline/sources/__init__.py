"""PULL: studies that are fetched. source says what a source can do, orthanc is one; fetch brings one study.

poller reads an Orthanc's changes for ever, backfill goes once over all that a source holds; study_filter and rate_limiter
are the conditions of both.
"""
