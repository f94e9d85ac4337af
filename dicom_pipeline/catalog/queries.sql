-- Every statement of the catalog by name; dicom_pipeline/catalog/database.py reads this file.

-- name: known_instance
SELECT id, sha256, kept, removed_at, path FROM instance WHERE sop_instance_uid = :sop_instance_uid;

-- name: touch_study
INSERT INTO study (study_instance_uid, first_at, last_at) VALUES (:study_instance_uid, :at, :at)
ON CONFLICT (study_instance_uid) DO UPDATE SET
    first_at = CASE WHEN waiting THEN first_at ELSE excluded.first_at END, last_at = excluded.last_at, waiting = 1;

-- name: gather_anew
UPDATE study SET first_at = :at, last_at = :at WHERE study_instance_uid = :study_instance_uid AND waiting = 1;

-- name: ensure_study
INSERT INTO study (study_instance_uid, first_at, last_at, waiting) VALUES (:study_instance_uid, :at, :at, 0)
ON CONFLICT (study_instance_uid) DO NOTHING;

-- name: add_instance
INSERT INTO instance (sop_instance_uid, sha256, study_instance_uid, series_instance_uid, sop_class_uid,
    transfer_syntax_uid, path, bytes, calling_ae, address, received_at, kept)
VALUES (:sop_instance_uid, :sha256, :study_instance_uid, :series_instance_uid, :sop_class_uid,
    :transfer_syntax_uid, :path, :bytes, :calling_ae, :address, :at, :kept);

-- name: add_series
INSERT OR IGNORE INTO series (series_instance_uid, study_instance_uid, modality, description)
VALUES (:series_instance_uid, :study_instance_uid, :modality, :description);

-- name: return_instance
UPDATE instance SET removed_at = NULL, returned_at = :at WHERE id = :instance_id;

-- name: add_sender
INSERT OR IGNORE INTO sender (study_instance_uid, calling_ae) VALUES (:study_instance_uid, :calling_ae);

-- name: last_outcome
SELECT ri.outcome, ri.reason, r.state FROM instance i JOIN revision r ON r.study_instance_uid = i.study_instance_uid
JOIN revision_instance ri ON ri.revision_id = r.id AND ri.instance_id = i.id
WHERE i.id = :instance_id ORDER BY r.number DESC LIMIT 1;

-- name: trim_refusals
DELETE FROM refusal WHERE id <= :last;

-- name: touch_association
INSERT OR IGNORE INTO touched (token, study_instance_uid) SELECT :token, :study_instance_uid
WHERE EXISTS (SELECT 1 FROM association WHERE token = :token);

-- name: open_association
INSERT OR REPLACE INTO association (token, owner, opened_at) VALUES (:token, :owner, :at);

-- name: close_association
DELETE FROM association WHERE token = :token;

-- name: close_other_owners
DELETE FROM association WHERE owner != :owner;

-- name: add_refusal
INSERT INTO refusal (at, status, reason, sop_instance_uid, calling_ae, address)
VALUES (:at, :status, :reason, :sop_instance_uid, :calling_ae, :address);

-- name: announce
UPDATE study SET expected = :expected WHERE study_instance_uid = :study_instance_uid;

-- name: waiting_studies
SELECT s.study_instance_uid, s.first_at, s.last_at, s.expected, s.held,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1
        AND i.removed_at IS NOT NULL) AS removed,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = s.study_instance_uid) AS senders,
    (SELECT json_group_array(json_array(modality, description)) FROM series e
        WHERE e.study_instance_uid = s.study_instance_uid) AS series,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1) AS received,
    EXISTS (SELECT 1 FROM touched t WHERE t.study_instance_uid = s.study_instance_uid) AS open_association,
    EXISTS (SELECT 1 FROM revision r WHERE r.study_instance_uid = s.study_instance_uid
        AND r.state IN ('ready', 'processing')) AS busy
FROM study s WHERE s.waiting = 1;

-- name: last_revision
SELECT r.id, r.number,
    (SELECT p.sop_instance_uid FROM report p JOIN revision q ON q.id = p.revision_id
        WHERE q.study_instance_uid = r.study_instance_uid AND p.sop_class_uid LIKE '1.2.840.10008.5.1.4.1.1.88.__'
        AND p.sop_class_uid <> '1.2.840.10008.5.1.4.1.1.88.59' -- a companion is no predecessor
        ORDER BY q.number DESC LIMIT 1) AS report
FROM revision r WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number DESC LIMIT 1;

-- name: add_revision
INSERT INTO revision (study_instance_uid, number, created_at, cause, rule, state, predecessor)
VALUES (:study_instance_uid, :number, :at, :cause, :rule, :state, :predecessor);

-- name: add_revision_instances
INSERT INTO revision_instance (revision_id, instance_id)
SELECT :revision_id, id FROM instance WHERE study_instance_uid = :study_instance_uid;

-- name: stop_waiting
UPDATE study SET waiting = 0, held = 0, expected = NULL WHERE study_instance_uid = :study_instance_uid;

-- name: hold_study
UPDATE study SET held = 1 WHERE study_instance_uid = :study_instance_uid AND waiting = 1;

-- name: next_ready
SELECT id, study_instance_uid, number, created_at, predecessor, attempts,
    (SELECT p.sop_class_uid FROM report p WHERE p.sop_instance_uid = predecessor LIMIT 1) AS predecessor_class
FROM revision
WHERE state = 'ready' ORDER BY created_at, id LIMIT 1;

-- name: claim
UPDATE revision SET state = 'processing', owner = :owner, attempts = attempts + 1 WHERE id = :revision_id;

-- name: revision_instances
SELECT i.id, i.sop_instance_uid, i.sha256, i.path, i.kept, i.series_instance_uid, i.calling_ae,
    i.removed_at IS NOT NULL AS removed
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id WHERE ri.revision_id = :revision_id ORDER BY i.id;

-- name: release
UPDATE revision SET state = 'ready', owner = NULL WHERE state = 'processing' AND owner != :owner;

-- name: worn_out
SELECT id FROM revision WHERE state = 'ready' AND attempts >= :most;

-- name: set_outcome
UPDATE revision_instance SET outcome = :outcome, reason = :reason, detail = :detail
WHERE revision_id = :revision_id AND instance_id = :instance_id;

-- name: set_all_outcomes
UPDATE revision_instance SET outcome = :outcome, reason = :reason WHERE revision_id = :revision_id AND outcome IS NULL;

-- name: finish_revision
UPDATE revision SET state = :state, owner = NULL, fingerprint = :fingerprint, message = :message, finished_at = :at
WHERE id = :revision_id;

-- name: add_report
INSERT INTO report (sop_instance_uid, revision_id, sop_class_uid, path, sha256, created_at)
VALUES (:sop_instance_uid, :revision_id, :sop_class_uid, :path, :sha256, :at);

-- name: add_delivery
INSERT OR IGNORE INTO delivery (report_uid, destination, created_at, next_at)
VALUES (:report_uid, :destination, :at, :at);

-- name: due_delivery
SELECT d.report_uid, d.attempts, d.created_at, d.status, d.message, p.path, p.sop_class_uid,
    coalesce((SELECT w.failures FROM wanted_commitment w
        WHERE w.report_uid = d.report_uid AND w.destination = d.destination), 0) AS not_committed
FROM delivery d JOIN report p ON p.sop_instance_uid = d.report_uid
WHERE d.destination = :destination AND d.state = 'pending' AND (d.next_at <= :now OR d.next_at > :now + :furthest)
ORDER BY d.next_at LIMIT 1;

-- name: record_delivery
UPDATE delivery SET state = :state, attempts = attempts + 1, next_at = :next_at, status = :status, message = :message,
    verified = :verified, finished_at = :finished_at
WHERE report_uid = :report_uid AND destination = :destination;

-- name: retry_set_aside
UPDATE delivery SET state = 'pending', next_at = :now, created_at = :now, attempts = 0
WHERE (state = 'set-aside' AND (:destination = '' OR destination = :destination))
    OR (state = 'given-up' AND destination = :destination);

-- name: give_up
UPDATE delivery SET state = 'given-up', finished_at = :now WHERE destination = :destination
    AND (state = 'set-aside' OR (:pending AND state = 'pending'));

-- name: delivery_counts
SELECT destination, state, count(*) AS count FROM delivery GROUP BY destination, state ORDER BY destination, state;

-- name: deliveries_set_aside
SELECT report_uid, destination, status, message FROM delivery WHERE state = 'set-aside' ORDER BY destination, report_uid;

-- name: revisions
SELECT r.id, r.study_instance_uid, r.number, r.state, r.cause, r.rule, r.message, r.created_at, r.finished_at, r.fingerprint,
    (SELECT group_concat(sop_instance_uid) FROM report p WHERE p.revision_id = r.id) AS report
FROM (SELECT * FROM revision ORDER BY id DESC LIMIT :most) r ORDER BY r.id;

-- name: outcome_counts
SELECT outcome, reason, count(*) AS count FROM revision_instance WHERE revision_id = :revision_id
GROUP BY outcome, reason ORDER BY outcome DESC, reason;

-- name: report_deliveries
SELECT d.destination, d.state, d.attempts, d.verified, d.status, d.message FROM delivery d JOIN report p
ON p.sop_instance_uid = d.report_uid WHERE p.revision_id = :revision_id ORDER BY d.destination;

-- name: totals
SELECT (SELECT count(*) FROM instance WHERE kept = 1) AS instances,
    (SELECT count(*) FROM instance WHERE kept = 0) AS conflicts,
    (SELECT count(*) FROM study) AS studies,
    (SELECT count(*) FROM study WHERE waiting = 1) AS waiting,
    (SELECT count(*) FROM study WHERE held = 1) AS held,
    (SELECT count(*) FROM association) AS associations,
    (SELECT count(*) FROM revision) AS revisions,
    (SELECT count(*) FROM revision r WHERE r.state = 'failed' OR EXISTS (SELECT 1 FROM revision_instance ri
        WHERE ri.revision_id = r.id AND ri.outcome = 'failed')) AS failed_revisions,
    (SELECT count(*) FROM refusal) AS refusals;

-- name: refusal_counts
SELECT reason, count(*) AS count FROM refusal GROUP BY reason ORDER BY reason;

-- name: study
SELECT s.study_instance_uid, s.expected, s.waiting, s.held,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1
        AND i.removed_at IS NOT NULL) AS removed,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1) AS received,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 0) AS conflicts,
    EXISTS (SELECT 1 FROM revision r WHERE r.study_instance_uid = s.study_instance_uid
        AND r.state IN ('ready', 'processing')) AS busy
FROM study s WHERE s.study_instance_uid = :study_instance_uid;

-- name: study_revisions
SELECT r.id, r.study_instance_uid, r.number, r.state, r.cause, r.rule, r.message, r.created_at, r.finished_at, r.fingerprint,
    (SELECT group_concat(sop_instance_uid) FROM report p WHERE p.revision_id = r.id) AS report
FROM revision r WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number;

-- name: held_instances
SELECT sop_instance_uid, series_instance_uid, path, kept, removed_at IS NOT NULL AS removed FROM instance
WHERE study_instance_uid = :study_instance_uid ORDER BY id;

-- name: source_seq
SELECT seq FROM source WHERE name = :source;

-- name: set_source_seq
INSERT INTO source (name, seq) VALUES (:source, :seq) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;

-- name: want_pull
INSERT INTO pull (source, orthanc_id, due_at) VALUES (:source, :orthanc_id, :due_at)
ON CONFLICT (source, orthanc_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0;

-- name: next_pull
SELECT orthanc_id, attempts, due_at FROM pull
WHERE source = :source AND (due_at <= :now OR due_at > :now + :furthest) ORDER BY due_at LIMIT 1;

-- name: postpone_pull
UPDATE pull SET due_at = :due_at, attempts = attempts + 1 WHERE source = :source AND orthanc_id = :orthanc_id;

-- name: forget_pull
DELETE FROM pull WHERE source = :source AND orthanc_id = :orthanc_id AND due_at = :due_at;

-- name: open_backfill
SELECT id FROM backfill WHERE source = :source AND filters = :filters AND finished_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: add_backfill
INSERT INTO backfill (source, filters, started_at) VALUES (:source, :filters, :at);

-- name: add_backfill_study
INSERT OR IGNORE INTO backfill_study (backfill_id, orthanc_id, instances)
VALUES (:backfill_id, :orthanc_id, :instances);

-- name: backfill_studies
SELECT orthanc_id, instances, account FROM backfill_study WHERE backfill_id = :backfill_id ORDER BY orthanc_id;

-- name: set_backfill_account
UPDATE backfill_study SET account = :account, instances = :instances
WHERE backfill_id = :backfill_id AND orthanc_id = :orthanc_id;

-- name: finish_backfill
UPDATE backfill SET finished_at = :at WHERE id = :backfill_id;

-- name: instance_path
SELECT path FROM instance WHERE sop_instance_uid = :sop_instance_uid AND kept = 1;

-- name: last_finished
SELECT r.id, r.study_instance_uid, r.number, r.fingerprint FROM revision r
WHERE r.state IN ('done', 'no-image') AND r.number = (SELECT max(q.number) FROM revision q
    WHERE q.study_instance_uid = r.study_instance_uid AND q.state IN ('done', 'no-image')) ORDER BY r.id;

-- name: used_instances
SELECT i.sop_instance_uid FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id
WHERE ri.revision_id = :revision_id AND ri.outcome = 'used';

-- name: held_instance
SELECT sop_class_uid, path, sha256 FROM instance
WHERE sop_instance_uid = :sop_instance_uid AND kept = 1 AND removed_at IS NULL;

-- name: supersede_commitment
-- an earlier answer under the same Transaction UID gets a name of its own, which no UID can be
UPDATE commitment SET transaction_uid = transaction_uid || '/' || id, state = 'superseded'
WHERE transaction_uid = :transaction_uid AND calling_ae = :calling_ae;

-- name: forget_superseded
-- it may go unless it promised an instance that the new answer does not
DELETE FROM commitment WHERE state = 'superseded' AND calling_ae = :calling_ae
AND transaction_uid = :transaction_uid || '/' || id AND NOT EXISTS (
    SELECT 1 FROM committed k WHERE k.commitment_id = commitment.id AND k.failure IS NULL AND NOT EXISTS (
        SELECT 1 FROM committed n WHERE n.commitment_id = :commitment_id AND n.failure IS NULL
        AND n.sop_instance_uid = k.sop_instance_uid));

-- name: add_commitment
INSERT INTO commitment (transaction_uid, calling_ae, address, asked_at, next_at)
VALUES (:transaction_uid, :calling_ae, :address, :at, :next_at);

-- name: add_committed
INSERT INTO committed (commitment_id, sop_class_uid, sop_instance_uid, failure)
VALUES (:commitment_id, :sop_class_uid, :sop_instance_uid,
    -- what was cleaned since the question came is not committed: 0x0112, no such object instance
    CASE WHEN :failure IS NULL AND NOT EXISTS (SELECT 1 FROM instance
    WHERE sop_instance_uid = :sop_instance_uid AND kept = 1 AND removed_at IS NULL) THEN 274 ELSE :failure END);

-- name: due_commitments
SELECT id, transaction_uid, calling_ae, asked_at, attempts FROM commitment
WHERE state = 'pending' AND (next_at <= :now OR next_at > :now + :furthest) ORDER BY next_at;

-- name: commitment_items
SELECT sop_instance_uid, sop_class_uid, failure FROM committed WHERE commitment_id = :commitment_id
ORDER BY sop_instance_uid;

-- name: finish_commitment
UPDATE commitment SET state = :state, attempts = attempts + 1, message = :message WHERE id = :commitment_id;

-- name: postpone_commitment
UPDATE commitment SET next_at = :next_at, attempts = attempts + 1, message = :message WHERE id = :commitment_id;

-- name: want_commitment
INSERT INTO wanted_commitment
    (report_uid, destination, transaction_uid, sop_class_uid, sop_instance_uid, wanted_at, next_at)
VALUES (:report_uid, :destination, :transaction_uid, :sop_class_uid, :sop_instance_uid, :at, :at)
ON CONFLICT (report_uid, destination) DO UPDATE SET transaction_uid = excluded.transaction_uid,
    sop_class_uid = excluded.sop_class_uid, sop_instance_uid = excluded.sop_instance_uid, state = 'wanted', attempts = 0,
    wanted_at = excluded.wanted_at, next_at = excluded.next_at, message = '';

-- name: due_commitment_request
SELECT transaction_uid, sop_class_uid, sop_instance_uid, attempts, wanted_at FROM wanted_commitment
WHERE destination = :destination AND state = 'wanted' AND (next_at <= :now OR next_at > :now + :furthest)
ORDER BY next_at LIMIT 1;

-- name: postpone_commitment_request
UPDATE wanted_commitment SET attempts = attempts + 1, next_at = :next_at, message = :message, state = :state
WHERE transaction_uid = :transaction_uid AND state = 'wanted';

-- name: commitment_request
SELECT report_uid, destination, sop_instance_uid, state, failures FROM wanted_commitment
WHERE transaction_uid = :transaction_uid;

-- name: finish_commitment_request
UPDATE wanted_commitment SET state = :state, message = :message, failures = :failures
WHERE transaction_uid = :transaction_uid;

-- name: verify_delivery
UPDATE delivery SET verified = 1 WHERE report_uid = :report_uid AND destination = :destination;

-- name: repeat_delivery
UPDATE delivery SET state = 'pending', verified = 0, attempts = 0, created_at = :at, finished_at = NULL,
    next_at = :next_at, message = :message
WHERE report_uid = :report_uid AND destination = :destination AND state = 'delivered';

-- name: forgive_commitment_failures
UPDATE wanted_commitment SET failures = 0 WHERE (:destination = '' OR destination = :destination) AND EXISTS (
    SELECT 1 FROM delivery d WHERE d.report_uid = wanted_commitment.report_uid
    AND d.destination = wanted_commitment.destination AND d.state = 'set-aside');

-- name: commitment_request_counts
SELECT destination, state, count(*) AS count FROM wanted_commitment GROUP BY destination, state ORDER BY destination, state;

-- name: spool_studies
SELECT study_instance_uid, instances, bytes, settled_at, result, kept_because FROM spool_study ORDER BY settled_at;

-- name: spool_study
SELECT kept_because FROM spool_study WHERE study_instance_uid = :study_instance_uid;

-- name: spool_counts
SELECT kept_because, count(*) AS studies, sum(instances) AS instances, sum(bytes) AS bytes FROM spool_study
GROUP BY kept_because ORDER BY kept_because;

-- name: removed_counts
SELECT count(*) AS instances, coalesce(sum(bytes), 0) AS bytes FROM instance WHERE removed_at IS NOT NULL;

-- name: want_removals
INSERT OR REPLACE INTO removal (instance_id, path)
SELECT id, path FROM instance WHERE study_instance_uid = :study_instance_uid AND removed_at IS NULL;

-- name: remove_study_files
UPDATE instance SET removed_at = :at WHERE study_instance_uid = :study_instance_uid AND removed_at IS NULL;

-- name: removals
SELECT instance_id, path FROM removal WHERE instance_id > :after ORDER BY instance_id LIMIT :most;

-- name: forget_removal
DELETE FROM removal WHERE instance_id = :instance_id;

-- name: forget_rebuilt
UPDATE instance SET rebuilt = 0 WHERE rebuilt = 1;

-- name: held_studies
SELECT s.study_instance_uid, s.first_at, s.last_at, s.expected, s.held,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1) AS received,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1
        AND i.removed_at IS NOT NULL) AS removed
FROM study s WHERE s.waiting = 1 AND (s.held = 1 OR EXISTS (SELECT 1 FROM instance i
    WHERE i.study_instance_uid = s.study_instance_uid AND i.kept = 1 AND i.removed_at IS NOT NULL))
ORDER BY s.first_at;

-- name: revision
SELECT study_instance_uid, number, created_at, cause, rule, predecessor FROM revision WHERE id = :revision_id;

-- name: revision_record
SELECT i.sop_instance_uid, i.sha256, i.series_instance_uid, i.sop_class_uid, i.transfer_syntax_uid, i.path, i.bytes,
    i.calling_ae, i.address, i.received_at, i.kept, coalesce(e.modality, '') AS modality,
    coalesce(e.description, '') AS series_description
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id
LEFT JOIN series e ON e.series_instance_uid = i.series_instance_uid WHERE ri.revision_id = :revision_id ORDER BY i.id;

-- name: mark_rebuilt
UPDATE instance SET rebuilt = 1 WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: mark_removed
UPDATE instance SET removed_at = :at WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: restore_outcome
INSERT INTO revision_instance (revision_id, instance_id, outcome, reason, detail)
SELECT :revision_id, id, :outcome, :reason, :detail FROM instance
WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: settle_rebuilt
UPDATE study SET first_at = :at, last_at = :at, waiting = study_instance_uid IN (SELECT study_instance_uid FROM instance
    WHERE id NOT IN (SELECT instance_id FROM revision_instance));

-- name: revision_senders
SELECT i.calling_ae, i.address, i.sop_class_uid, count(*) AS count
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id WHERE ri.revision_id = :revision_id
GROUP BY i.calling_ae, i.address, i.sop_class_uid ORDER BY i.calling_ae, i.address, i.sop_class_uid;

-- name: interrupted_transfers
SELECT i.study_instance_uid, i.calling_ae, i.address, i.sop_class_uid, i.kept, count(*) AS count,
    max(i.received_at) AS last_at
FROM instance i WHERE i.id IN (SELECT s.id FROM association a JOIN touched t ON t.token = a.token
    JOIN instance s ON s.study_instance_uid = t.study_instance_uid
    WHERE a.owner != :owner AND s.received_at >= a.opened_at)
GROUP BY i.study_instance_uid, i.calling_ae, i.address, i.sop_class_uid, i.kept;
