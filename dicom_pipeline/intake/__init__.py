"""RECEIVE: instances into the spool, durable before Success is said.

dicom_services (what our DICOM node does), receiver (whole files, over HTTP or fetched), store_operation (C-STORE), identity
(what an instance is known by), spool (durable files), entry (into the catalog), group_commit, comparison (the same content,
re-encoded?) with comparer, a process that may die.
Storage Commitment: commitment (what we are asked), event_reports (its results), commitment_results (of what we asked for).
"""
