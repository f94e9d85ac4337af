"""RECEIVE: instances into the spool, durable before Success is said.

receiver (begins a receipt for every interface), receipt (one data set on its way in), storage (where it goes, within which
limits), entry (into the catalog), spool (durable files), group_commit, comparison (the same content, re-encoded?) with
comparer, a process that may die. dicom_services (what our DICOM node does), store_operation (C-STORE).
Storage Commitment: commitment (what we are asked), event_reports (its results), commitment_results (of what we asked for).
"""
