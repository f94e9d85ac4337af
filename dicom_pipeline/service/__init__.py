"""RUN: the service and what results leave as files.

supervisor (runs it all), children (starts, watches and restarts the processes), signs (that they get on), standing (what
status is told of them), notify (what systemd is), completing (studies become revisions), processes (listener, worker,
sender, poller, cleaner), cleaning (the spool), rebuilding (a lost catalog), holding (one at a time),
worker, store_writer (rows to the embedding store), store_care (checks and mends it), destinations (settings ->
senders), study_output and overview (folders, report.html), web (health, status), study_pages (one study over HTTP),
stow (DICOMweb in), questions and searches (what the worker is asked), orthanc_pull (fetch a study), poller (an
Orthanc's changes), backfill (a whole Orthanc), auditing (facts for the audit trail), readiness (can it do its work), logs.
"""
