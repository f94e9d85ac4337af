"""RUN: the service and what results leave as files.

supervisor (starts and restarts the processes, completes studies), processes (listener, worker, sender, poller), worker,
destinations (settings -> senders), study_output and overview (folders, report.html), web (health, status),
study_pages (one study over HTTP), stow (STOW-RS), orthanc_pull (fetch a study), poller (an Orthanc's changes), backfill
(a whole Orthanc), logs.
"""
