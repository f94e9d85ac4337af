"""PULL: studies that are fetched: poller (an Orthanc's changes), backfill (a whole Orthanc), fetch (one study of it)."""
