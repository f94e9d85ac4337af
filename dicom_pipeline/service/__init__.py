"""RUN: the processes of the service.

starting/ (what is checked and said first), supervisor (runs it all), child (starts, watches and restarts a process),
heartbeat (that it makes progress), health (can it do its work), status_file (what `status` reads), systemd, processes
(listener, worker, sender, poller, cleaner), worker, worker_rpc (what the worker is asked), stopping (an orderly stop), wiring
(settings -> objects), auditing (facts for the audit trail), logs.
"""
