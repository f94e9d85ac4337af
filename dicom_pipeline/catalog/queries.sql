-- Every statement of the catalog: its name, and a line that says what it answers or enters. database.py reads this file.
-- :sources are the states from which a new state may be entered (domain/life.py), as a JSON array.

-- name: known_instance
-- Every instance that came under a SOP Instance UID, whatever its content.
SELECT id, sha256, is_primary, removed_at, path FROM instance WHERE sop_instance_uid = :sop_instance_uid;

-- name: touch_study
-- A study has received an instance; a complete one gathers again from now.
INSERT INTO study (study_instance_uid, first_at, last_at) VALUES (:study_instance_uid, :at, :at)
ON CONFLICT (study_instance_uid) DO UPDATE SET
    first_at = CASE WHEN waiting THEN first_at ELSE excluded.first_at END, last_at = excluded.last_at, waiting = 1;

-- name: gather_anew
-- A study that waits counts its time from now.
UPDATE study SET first_at = :at, last_at = :at WHERE study_instance_uid = :study_instance_uid AND waiting = 1;

-- name: ensure_study
-- A study is known from its announcement, before any instance.
INSERT INTO study (study_instance_uid, first_at, last_at, waiting) VALUES (:study_instance_uid, :at, :at, 0)
ON CONFLICT (study_instance_uid) DO NOTHING;

-- name: add_instance
-- An instance is in the spool.
INSERT INTO instance (sop_instance_uid, sha256, study_instance_uid, series_instance_uid, sop_class_uid,
    transfer_syntax_uid, path, bytes, calling_ae, address, received_at, is_primary)
VALUES (:sop_instance_uid, :sha256, :study_instance_uid, :series_instance_uid, :sop_class_uid,
    :transfer_syntax_uid, :path, :bytes, :calling_ae, :address, :at, :is_primary);

-- name: add_series
-- Modality and description of a series, from its first instance.
INSERT OR IGNORE INTO series (series_instance_uid, study_instance_uid, modality, description)
VALUES (:series_instance_uid, :study_instance_uid, :modality, :description);

-- name: return_instance
-- An instance whose file had been cleaned is in the spool again.
UPDATE instance SET removed_at = NULL, returned_at = :at WHERE id = :instance_id;

-- name: add_sender
-- Who has sent instances of a study.
INSERT OR IGNORE INTO sender (study_instance_uid, calling_ae) VALUES (:study_instance_uid, :calling_ae);

-- name: last_outcome
-- What the newest revision that holds an instance made of it, and that revision's state.
SELECT ri.outcome, ri.reason, r.state FROM instance i JOIN revision r ON r.study_instance_uid = i.study_instance_uid
JOIN revision_instance ri ON ri.revision_id = r.id AND ri.instance_id = i.id
WHERE i.id = :instance_id ORDER BY r.number DESC LIMIT 1;

-- name: trim_refusals
-- The oldest refusals go.
DELETE FROM refusal WHERE id <= :last;

-- name: touch_association
-- An open association has sent instances of a study.
INSERT OR IGNORE INTO touched (token, study_instance_uid) SELECT :token, :study_instance_uid
WHERE EXISTS (SELECT 1 FROM association WHERE token = :token);

-- name: open_association
-- An association has begun.
INSERT OR REPLACE INTO association (token, owner, opened_at) VALUES (:token, :owner, :at);

-- name: close_association
-- An association has ended.
DELETE FROM association WHERE token = :token;

-- name: close_other_owners
-- Associations of earlier runs of the service have ended with these.
DELETE FROM association WHERE owner != :owner;

-- name: add_refusal
-- Something was refused, and why.
INSERT INTO refusal (at, status, reason, sop_instance_uid, calling_ae, address)
VALUES (:at, :status, :reason, :sop_instance_uid, :calling_ae, :address);

-- name: announce
-- How many instances of a study are to come.
UPDATE study SET expected = :expected WHERE study_instance_uid = :study_instance_uid;

-- name: waiting_studies
-- Every study with instances of no revision, and all that completion rules ask of it.
SELECT s.study_instance_uid, s.first_at, s.last_at, s.expected, s.held,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1
        AND i.removed_at IS NOT NULL) AS removed,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = s.study_instance_uid) AS senders,
    (SELECT json_group_array(json_array(modality, description)) FROM series e
        WHERE e.study_instance_uid = s.study_instance_uid) AS series,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1) AS received,
    EXISTS (SELECT 1 FROM touched t WHERE t.study_instance_uid = s.study_instance_uid) AS open_association,
    EXISTS (SELECT 1 FROM revision r WHERE r.study_instance_uid = s.study_instance_uid
        AND r.state IN ('ready', 'processing')) AS busy
FROM study s WHERE s.waiting = 1;

-- name: last_revision
-- The newest revision of a study and the newest report before the next one.
SELECT r.id, r.number,
    (SELECT p.sop_instance_uid FROM report p JOIN revision q ON q.id = p.revision_id
        WHERE q.study_instance_uid = r.study_instance_uid AND p.sop_class_uid LIKE '1.2.840.10008.5.1.4.1.1.88.__'
        AND p.sop_class_uid <> '1.2.840.10008.5.1.4.1.1.88.59' -- a companion is no predecessor
        ORDER BY q.number DESC LIMIT 1) AS report
FROM revision r WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number DESC LIMIT 1;

-- name: add_revision
-- A study as it stands becomes its next revision.
INSERT INTO revision (study_instance_uid, number, created_at, cause, rule, state, predecessor)
VALUES (:study_instance_uid, :number, :at, :cause, :rule, :state, :predecessor);

-- name: add_revision_instances
-- The instances of a new revision: all that came of its study.
INSERT INTO revision_instance (revision_id, instance_id)
SELECT :revision_id, id FROM instance WHERE study_instance_uid = :study_instance_uid;

-- name: stop_waiting
-- No instance of a study waits for a revision.
UPDATE study SET waiting = 0, held = 0, expected = NULL WHERE study_instance_uid = :study_instance_uid;

-- name: hold_study
-- A study waits for a person.
UPDATE study SET held = 1 WHERE study_instance_uid = :study_instance_uid AND waiting = 1;

-- name: next_ready
-- The revision that is to be processed next.
SELECT id, study_instance_uid, number, created_at, predecessor, attempts,
    (SELECT p.sop_class_uid FROM report p WHERE p.sop_instance_uid = predecessor LIMIT 1) AS predecessor_class
FROM revision
WHERE state = 'ready' ORDER BY created_at, id LIMIT 1;

-- name: claim
-- A worker takes a revision.
UPDATE revision SET state = 'processing', owner = :owner, attempts = attempts + 1 WHERE id = :revision_id
AND state IN (SELECT value FROM json_each(:sources));

-- name: revision_instances
-- The instances of a revision, in the order in which they came.
SELECT i.id, i.sop_instance_uid, i.sha256, i.path, i.is_primary, i.series_instance_uid, i.calling_ae,
    i.removed_at IS NOT NULL AS removed
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id WHERE ri.revision_id = :revision_id ORDER BY i.id;

-- name: release
-- Revisions of workers that are gone are ready again.
UPDATE revision SET state = 'ready', owner = NULL WHERE state = 'processing' AND owner != :owner;

-- name: hand_back
-- A worker that is stopped in order gives back what it has not finished; that was no attempt.
UPDATE revision SET state = :state, owner = NULL, attempts = attempts - 1 WHERE id = :revision_id AND owner = :owner
AND state IN (SELECT value FROM json_each(:sources));

-- name: worn_out
-- Ready revisions that were begun too often.
SELECT id FROM revision WHERE state = 'ready' AND attempts >= :most;

-- name: set_outcome
-- What became of one instance of a revision.
UPDATE revision_instance SET outcome = :outcome, reason = :reason, detail = :detail
WHERE revision_id = :revision_id AND instance_id = :instance_id;

-- name: set_all_outcomes
-- What became of the instances of a revision that have no outcome of their own.
UPDATE revision_instance SET outcome = :outcome, reason = :reason WHERE revision_id = :revision_id AND outcome IS NULL;

-- name: finish_revision
-- A revision has ended.
UPDATE revision SET state = :state, owner = NULL, fingerprint = :fingerprint, message = :message, finished_at = :at
WHERE id = :revision_id AND state IN (SELECT value FROM json_each(:sources));

-- name: add_report
-- A revision has a report, or a companion of one.
INSERT INTO report (sop_instance_uid, revision_id, sop_class_uid, path, sha256, created_at)
VALUES (:sop_instance_uid, :revision_id, :sop_class_uid, :path, :sha256, :at);

-- name: add_delivery
-- An object is to go to a destination.
INSERT OR IGNORE INTO delivery (report_uid, destination, created_at, next_at)
VALUES (:report_uid, :destination, :at, :at);

-- name: due_delivery
-- The delivery to a destination that has been due longest.
SELECT d.report_uid, d.attempts, d.created_at, d.status, d.message, p.path, p.sop_class_uid,
    coalesce((SELECT w.failures FROM commitment_request w
        WHERE w.report_uid = d.report_uid AND w.destination = d.destination), 0) AS not_committed
FROM delivery d JOIN report p ON p.sop_instance_uid = d.report_uid
WHERE d.destination = :destination AND d.state = 'pending' AND (d.next_at <= :now OR d.next_at > :now + :furthest)
ORDER BY d.next_at LIMIT 1;

-- name: record_delivery
-- How an attempt to deliver ended.
UPDATE delivery SET state = :state, attempts = attempts + 1, next_at = :next_at, status = :status, message = :message,
    verified = :verified, finished_at = :finished_at
WHERE report_uid = :report_uid AND destination = :destination AND state IN (SELECT value FROM json_each(:sources));

-- name: retry_set_aside
-- What was set aside, and of a named destination what was given up, is tried again.
UPDATE delivery SET state = 'pending', next_at = :now, created_at = :now, attempts = 0
WHERE (state = 'set-aside' AND (:destination = '' OR destination = :destination))
    OR (state = 'given-up' AND destination = :destination);

-- name: give_up
-- Deliveries to a destination will never be made.
UPDATE delivery SET state = 'given-up', finished_at = :now WHERE destination = :destination
    AND (state = 'set-aside' OR (:pending AND state = 'pending'));

-- name: delivery_counts
-- How many deliveries are in each state, by destination.
SELECT destination, state, count(*) AS count FROM delivery GROUP BY destination, state ORDER BY destination, state;

-- name: deliveries_set_aside
-- What waits for a person, and why.
SELECT report_uid, destination, status, message FROM delivery WHERE state = 'set-aside' ORDER BY destination, report_uid;

-- name: revisions
-- The newest revisions, oldest first.
SELECT r.id, r.study_instance_uid, r.number, r.state, r.cause, r.rule, r.message, r.created_at, r.finished_at, r.fingerprint,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = r.study_instance_uid) AS senders,
    (SELECT json_group_array(DISTINCT modality) FROM series e WHERE e.study_instance_uid = r.study_instance_uid)
        AS modalities,
    (SELECT group_concat(sop_instance_uid) FROM report p WHERE p.revision_id = r.id) AS report
FROM (SELECT * FROM revision ORDER BY id DESC LIMIT :most) r ORDER BY r.id;

-- name: outcome_counts
-- What became of the instances of a revision, counted by outcome and reason.
SELECT outcome, reason, count(*) AS count FROM revision_instance WHERE revision_id = :revision_id
GROUP BY outcome, reason ORDER BY outcome DESC, reason;

-- name: report_deliveries
-- The deliveries of a revision's objects.
SELECT d.destination, d.state, d.attempts, d.verified, d.status, d.message FROM delivery d JOIN report p
ON p.sop_instance_uid = d.report_uid WHERE p.revision_id = :revision_id ORDER BY d.destination;

-- name: totals
-- How much of everything there is.
SELECT (SELECT count(*) FROM instance WHERE is_primary = 1) AS instances,
    (SELECT count(*) FROM instance WHERE is_primary = 0) AS conflicts,
    (SELECT count(*) FROM study) AS studies,
    (SELECT count(*) FROM study WHERE waiting = 1) AS waiting,
    (SELECT count(*) FROM study WHERE held = 1) AS held,
    (SELECT count(*) FROM association) AS associations,
    (SELECT count(*) FROM revision) AS revisions,
    (SELECT count(*) FROM revision r WHERE r.state = 'failed' OR EXISTS (SELECT 1 FROM revision_instance ri
        WHERE ri.revision_id = r.id AND ri.outcome = 'failed')) AS failed_revisions,
    (SELECT count(*) FROM open_failure) AS open_failures,
    (SELECT count(*) FROM refusal) AS refusals;

-- name: refusal_counts
-- How often something was refused, by reason.
SELECT reason, count(*) AS count FROM refusal GROUP BY reason ORDER BY reason;

-- name: study
-- One study: what it waits for, who sent it, and how many instances came.
SELECT s.study_instance_uid, s.expected, s.waiting, s.held, s.first_at, s.last_at,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = s.study_instance_uid) AS senders,
    (SELECT json_group_array(DISTINCT modality) FROM series e WHERE e.study_instance_uid = s.study_instance_uid)
        AS modalities,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1
        AND i.removed_at IS NOT NULL) AS removed,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1) AS received,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 0) AS conflicts,
    EXISTS (SELECT 1 FROM revision r WHERE r.study_instance_uid = s.study_instance_uid
        AND r.state IN ('ready', 'processing')) AS busy
FROM study s WHERE s.study_instance_uid = :study_instance_uid;

-- name: study_revisions
-- All revisions of a study, oldest first.
SELECT r.id, r.study_instance_uid, r.number, r.state, r.cause, r.rule, r.message, r.created_at, r.finished_at, r.fingerprint,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = r.study_instance_uid) AS senders,
    (SELECT json_group_array(DISTINCT modality) FROM series e WHERE e.study_instance_uid = r.study_instance_uid)
        AS modalities,
    (SELECT group_concat(sop_instance_uid) FROM report p WHERE p.revision_id = r.id) AS report
FROM revision r WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number;

-- name: held_instances
-- The instances of a study in the order in which they came.
SELECT sop_instance_uid, series_instance_uid, path, is_primary, removed_at IS NOT NULL AS removed FROM instance
WHERE study_instance_uid = :study_instance_uid ORDER BY id;

-- name: source_seq
-- The last change of a source that was read.
SELECT seq FROM source WHERE name = :source;

-- name: set_source_seq
-- A change of a source was read.
INSERT INTO source (name, seq) VALUES (:source, :seq) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;

-- name: want_pull
-- A study of a source is to be fetched.
INSERT INTO pull (source, study_key, due_at) VALUES (:source, :study_key, :due_at)
ON CONFLICT (source, study_key) DO UPDATE SET due_at = excluded.due_at, attempts = 0;

-- name: next_pull
-- The study of a source that has been due longest.
SELECT study_key, attempts, due_at FROM pull
WHERE source = :source AND (due_at <= :now OR due_at > :now + :furthest) ORDER BY due_at LIMIT 1;

-- name: postpone_pull
-- Fetching failed; when it is tried again.
UPDATE pull SET due_at = :due_at, attempts = attempts + 1 WHERE source = :source AND study_key = :study_key;

-- name: forget_pull
-- A study was fetched, unless it changed meanwhile.
DELETE FROM pull WHERE source = :source AND study_key = :study_key AND due_at = :due_at;

-- name: open_backfill
-- The run over an archive with these filters that has not ended.
SELECT id FROM backfill WHERE source = :source AND filters = :filters AND finished_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: add_backfill
-- A run over an archive begins.
INSERT INTO backfill (source, filters, started_at) VALUES (:source, :filters, :at);

-- name: add_backfill_study
-- A study of a run, with the archive's own count.
INSERT OR IGNORE INTO backfill_study (backfill_id, study_key, instances)
VALUES (:backfill_id, :study_key, :instances);

-- name: backfill_studies
-- The studies of a run.
SELECT study_key, instances, account FROM backfill_study WHERE backfill_id = :backfill_id ORDER BY study_key;

-- name: set_backfill_account
-- What became of a study of a run.
UPDATE backfill_study SET account = :account, instances = :instances
WHERE backfill_id = :backfill_id AND study_key = :study_key;

-- name: finish_backfill
-- A run has ended.
UPDATE backfill SET finished_at = :at WHERE id = :backfill_id;

-- name: instance_path
-- Where the instance that counts under a SOP Instance UID lies.
SELECT path FROM instance WHERE sop_instance_uid = :sop_instance_uid AND is_primary = 1;

-- name: last_finished
-- The newest finished revision of each study.
SELECT r.id, r.study_instance_uid, r.number, r.fingerprint FROM revision r
WHERE r.state IN ('done', 'no-label', 'no-image') AND r.number = (SELECT max(q.number) FROM revision q
    WHERE q.study_instance_uid = r.study_instance_uid AND q.state IN ('done', 'no-label', 'no-image')) ORDER BY r.id;

-- name: used_instances
-- The instances of a revision of which a frame was used.
SELECT i.sop_instance_uid FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id
WHERE ri.revision_id = :revision_id AND ri.outcome = 'used';

-- name: held_instance
-- The instance under a SOP Instance UID whose file is there.
SELECT sop_class_uid, path, sha256 FROM instance
WHERE sop_instance_uid = :sop_instance_uid AND is_primary = 1 AND removed_at IS NULL;

-- name: supersede_commitment
-- A sender asks again; the earlier request gets a name of its own, which no UID can be.
UPDATE commitment SET transaction_uid = transaction_uid || '/' || id, state = 'superseded'
WHERE transaction_uid = :transaction_uid AND calling_ae = :calling_ae;

-- name: forget_superseded
-- A superseded answer may go unless it promised an instance that the new one does not.
DELETE FROM commitment WHERE state = 'superseded' AND calling_ae = :calling_ae
AND transaction_uid = :transaction_uid || '/' || id AND NOT EXISTS (
    SELECT 1 FROM committed k WHERE k.commitment_id = commitment.id AND k.failure IS NULL AND NOT EXISTS (
        SELECT 1 FROM committed n WHERE n.commitment_id = :commitment_id AND n.failure IS NULL
        AND n.sop_instance_uid = k.sop_instance_uid));

-- name: add_commitment
-- A sender asks us to commit.
INSERT INTO commitment (transaction_uid, calling_ae, address, asked_at, next_at)
VALUES (:transaction_uid, :calling_ae, :address, :at, :next_at);

-- name: add_committed
-- Our answer for one instance; what was cleaned since the request came is not committed (0x0112).
INSERT INTO committed (commitment_id, sop_class_uid, sop_instance_uid, failure)
VALUES (:commitment_id, :sop_class_uid, :sop_instance_uid,
    CASE WHEN :failure IS NULL AND NOT EXISTS (SELECT 1 FROM instance
    WHERE sop_instance_uid = :sop_instance_uid AND is_primary = 1 AND removed_at IS NULL) THEN 274 ELSE :failure END);

-- name: due_commitments
-- Requests of senders whose answer is due.
SELECT id, transaction_uid, calling_ae, asked_at, attempts FROM commitment
WHERE state = 'pending' AND (next_at <= :now OR next_at > :now + :furthest) ORDER BY next_at;

-- name: commitment_items
-- Our answer for each instance of a request.
SELECT sop_instance_uid, sop_class_uid, failure FROM committed WHERE commitment_id = :commitment_id
ORDER BY sop_instance_uid;

-- name: finish_commitment
-- Our answer has arrived, or cannot.
UPDATE commitment SET state = :state, attempts = attempts + 1, message = :message
WHERE id = :commitment_id AND state IN (SELECT value FROM json_each(:sources));

-- name: postpone_commitment
-- When our answer is tried again.
UPDATE commitment SET next_at = :next_at, attempts = attempts + 1, message = :message WHERE id = :commitment_id;

-- name: request_commitment
-- A destination is to be asked to commit what it was sent.
INSERT INTO commitment_request
    (report_uid, destination, transaction_uid, sop_class_uid, sop_instance_uid, requested_at, next_at)
VALUES (:report_uid, :destination, :transaction_uid, :sop_class_uid, :sop_instance_uid, :at, :at)
ON CONFLICT (report_uid, destination) DO UPDATE SET transaction_uid = excluded.transaction_uid,
    sop_class_uid = excluded.sop_class_uid, sop_instance_uid = excluded.sop_instance_uid, state = 'pending', attempts = 0,
    requested_at = excluded.requested_at, next_at = excluded.next_at, message = '';

-- name: due_commitment_request
-- The request to a destination that has been due longest.
SELECT transaction_uid, sop_class_uid, sop_instance_uid, attempts, requested_at FROM commitment_request
WHERE destination = :destination AND state = 'pending' AND (next_at <= :now OR next_at > :now + :furthest)
ORDER BY next_at LIMIT 1;

-- name: postpone_commitment_request
-- A destination was asked, or could not be; when it is asked again.
UPDATE commitment_request SET attempts = attempts + 1, next_at = :next_at, message = :message, state = :state
WHERE transaction_uid = :transaction_uid AND state = 'pending'; -- an answer in between makes it needless

-- name: commitment_request
-- Our request with a Transaction UID.
SELECT report_uid, destination, sop_instance_uid, state, failures FROM commitment_request
WHERE transaction_uid = :transaction_uid;

-- name: finish_commitment_request
-- A destination has answered.
UPDATE commitment_request SET state = :state, message = :message, failures = :failures
WHERE transaction_uid = :transaction_uid AND state IN (SELECT value FROM json_each(:sources));

-- name: verify_delivery
-- A delivery was verified.
UPDATE delivery SET verified = 1 WHERE report_uid = :report_uid AND destination = :destination;

-- name: repeat_delivery
-- A delivered report was not committed; it is sent again.
UPDATE delivery SET state = 'pending', verified = 0, attempts = 0, created_at = :at, finished_at = NULL,
    next_at = :next_at, message = :message
WHERE report_uid = :report_uid AND destination = :destination AND state = 'delivered';

-- name: forgive_commitment_failures
-- What a person lets be tried again starts without failures.
UPDATE commitment_request SET failures = 0 WHERE (:destination = '' OR destination = :destination) AND EXISTS (
    SELECT 1 FROM delivery d WHERE d.report_uid = commitment_request.report_uid
    AND d.destination = commitment_request.destination AND d.state = 'set-aside');

-- name: commitment_request_counts
-- How many requests are in each state, by destination.
SELECT destination, state, count(*) AS count FROM commitment_request GROUP BY destination, state ORDER BY destination, state;

-- name: spool_studies
-- Every study with files in the spool, those settled longest ago first.
SELECT study_instance_uid, instances, bytes, settled_at, result, kept_because FROM spool_study ORDER BY settled_at;

-- name: spool_study
-- Why a study's files must stay, empty where they may go.
SELECT kept_because FROM spool_study WHERE study_instance_uid = :study_instance_uid;

-- name: spool_counts
-- How much is in the spool, by the reason why it must stay.
SELECT kept_because, count(*) AS studies, sum(instances) AS instances, sum(bytes) AS bytes FROM spool_study
GROUP BY kept_because ORDER BY kept_because;

-- name: removed_counts
-- How much was cleaned from the spool.
SELECT count(*) AS instances, coalesce(sum(bytes), 0) AS bytes FROM instance WHERE removed_at IS NOT NULL;

-- name: want_removals
-- The files of a study are to be unlinked.
INSERT OR REPLACE INTO removal (instance_id, path)
SELECT id, path FROM instance WHERE study_instance_uid = :study_instance_uid AND removed_at IS NULL;

-- name: remove_study_files
-- The instances of a study count as removed.
UPDATE instance SET removed_at = :at WHERE study_instance_uid = :study_instance_uid AND removed_at IS NULL;

-- name: removals
-- The next files that are to be unlinked.
SELECT instance_id, path FROM removal WHERE instance_id > :after ORDER BY instance_id LIMIT :most;

-- name: forget_removal
-- A file is gone, or needed again.
DELETE FROM removal WHERE instance_id = :instance_id;

-- name: forget_rebuilt
-- Instances of a rebuilt catalog may be cleaned like others.
UPDATE instance SET rebuilt = 0 WHERE rebuilt = 1;

-- name: held_studies
-- Studies that do not go on by themselves.
SELECT s.study_instance_uid, s.first_at, s.last_at, s.expected, s.held,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1) AS received,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1
        AND i.removed_at IS NOT NULL) AS removed
FROM study s WHERE s.waiting = 1 AND (s.held = 1 OR EXISTS (SELECT 1 FROM instance i
    WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1 AND i.removed_at IS NOT NULL))
ORDER BY s.first_at;

-- name: revision
-- One revision.
SELECT study_instance_uid, number, created_at, cause, rule, predecessor FROM revision WHERE id = :revision_id;

-- name: revision_record
-- All that is known of the instances of a revision, for its record.
SELECT i.sop_instance_uid, i.sha256, i.series_instance_uid, i.sop_class_uid, i.transfer_syntax_uid, i.path, i.bytes,
    i.calling_ae, i.address, i.received_at, i.is_primary, coalesce(e.modality, '') AS modality,
    coalesce(e.description, '') AS series_description
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id
LEFT JOIN series e ON e.series_instance_uid = i.series_instance_uid WHERE ri.revision_id = :revision_id ORDER BY i.id;

-- name: mark_rebuilt
-- An instance was entered from its file, by a rebuild.
UPDATE instance SET rebuilt = 1 WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: mark_removed
-- An instance's file is not there.
UPDATE instance SET removed_at = :at WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: restore_outcome
-- What a record says became of an instance.
INSERT INTO revision_instance (revision_id, instance_id, outcome, reason, detail)
SELECT :revision_id, id, :outcome, :reason, :detail FROM instance
WHERE sop_instance_uid = :sop_instance_uid AND sha256 = :sha256;

-- name: settle_rebuilt
-- After a rebuild, studies with instances of no revision wait, and no others.
UPDATE study SET first_at = :at, last_at = :at, waiting = study_instance_uid IN (SELECT study_instance_uid FROM instance
    WHERE id NOT IN (SELECT instance_id FROM revision_instance));

-- name: revision_senders
-- Who sent the instances of a revision, by SOP class.
SELECT i.calling_ae, i.address, i.sop_class_uid, count(*) AS count
FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id WHERE ri.revision_id = :revision_id
GROUP BY i.calling_ae, i.address, i.sop_class_uid ORDER BY i.calling_ae, i.address, i.sop_class_uid;

-- name: interrupted_transfers
-- What came on associations of earlier runs that never ended.
SELECT i.study_instance_uid, i.calling_ae, i.address, i.sop_class_uid, i.is_primary, count(*) AS count,
    max(i.received_at) AS last_at
FROM instance i WHERE i.id IN (SELECT s.id FROM association a JOIN touched t ON t.token = a.token
    JOIN instance s ON s.study_instance_uid = t.study_instance_uid
    WHERE a.owner != :owner AND s.received_at >= a.opened_at)
GROUP BY i.study_instance_uid, i.calling_ae, i.address, i.sop_class_uid, i.is_primary;

-- name: open_failures
-- The newest failures that nobody has acknowledged, of one study or of all.
SELECT id, study_instance_uid, number, state, message, finished_at FROM open_failure
WHERE :study_instance_uid = '' OR study_instance_uid = :study_instance_uid ORDER BY id DESC LIMIT :most;

-- name: acknowledge
-- A person has seen that a revision failed.
INSERT OR IGNORE INTO acknowledgement (revision_id, at, user) VALUES (:revision_id, :at, :user);

-- name: set_accession_number
-- The accession number that the images of a study have.
UPDATE study SET accession_number = :accession_number WHERE study_instance_uid = :study_instance_uid;

-- name: find_studies
-- Studies with a text in their UID or accession number, those that are called so first, then the newest.
SELECT study_instance_uid, accession_number, study_instance_uid = :text OR accession_number IS :text AS is_exact FROM study
WHERE instr(study_instance_uid, :text) OR instr(upper(coalesce(accession_number, '')), upper(:text))
ORDER BY is_exact DESC, last_at DESC LIMIT :most;

-- name: unread_studies
-- The newest studies whose accession number no worker has read, and one of their files.
SELECT s.study_instance_uid, (SELECT i.path FROM instance i WHERE i.study_instance_uid = s.study_instance_uid
    AND i.is_primary = 1 AND i.removed_at IS NULL LIMIT 1) AS path
FROM study s WHERE s.accession_number IS NULL ORDER BY s.last_at DESC LIMIT :most;

-- name: data_version
-- A number that is another one once any other connection has committed.
PRAGMA data_version;

-- name: study_page
-- A page of studies, the newest first: how each stands, and what became of its last revision. Conditions that are empty ask nothing.
WITH page AS MATERIALIZED (
    SELECT s.rowid AS place FROM study s
    WHERE (:since IS NULL OR (s.last_at >= :since AND s.first_at < :until))
        AND (:text = '' OR instr(s.study_instance_uid, :text) OR instr(upper(s.accession_number), upper(:text))
            OR EXISTS (SELECT 1 FROM sender a WHERE a.study_instance_uid = s.study_instance_uid
                AND instr(upper(a.calling_ae), upper(:text))))
        AND (:states = '[]' OR CASE WHEN s.held THEN 'held'
            WHEN s.waiting THEN 'receiving'
            ELSE coalesce((SELECT r.state FROM revision r WHERE r.study_instance_uid = s.study_instance_uid
                ORDER BY r.number DESC LIMIT 1), 'announced') END IN (SELECT value FROM json_each(:states)))
        AND (NOT :set_aside OR s.study_instance_uid IN (SELECT q.study_instance_uid FROM delivery d
            JOIN report p ON p.sop_instance_uid = d.report_uid JOIN revision q ON q.id = p.revision_id
            WHERE d.state = 'set-aside'))
    ORDER BY s.last_at DESC, s.study_instance_uid DESC LIMIT :most OFFSET :skip)
SELECT s.study_instance_uid, s.first_at, s.last_at, s.expected, s.waiting, s.held, s.accession_number,
    r.number, r.state, r.message,
    (SELECT json_group_array(calling_ae) FROM sender a WHERE a.study_instance_uid = s.study_instance_uid) AS senders,
    (SELECT json_group_array(DISTINCT modality) FROM series e WHERE e.study_instance_uid = s.study_instance_uid)
        AS modalities,
    (SELECT count(*) FROM instance i WHERE i.study_instance_uid = s.study_instance_uid AND i.is_primary = 1) AS received,
    (SELECT json_group_object(outcome, n) FROM (SELECT coalesce(o.outcome, 'open') AS outcome, count(*) AS n
        FROM revision_instance o WHERE o.revision_id = r.id GROUP BY o.outcome)) AS outcomes,
    (SELECT json_group_object(state, n) FROM (SELECT d.state, count(*) AS n FROM report p
        JOIN delivery d ON d.report_uid = p.sop_instance_uid WHERE p.revision_id = r.id GROUP BY d.state)) AS deliveries
FROM page JOIN study s ON s.rowid = page.place LEFT JOIN revision r ON r.study_instance_uid = s.study_instance_uid
    AND r.number = (SELECT max(q.number) FROM revision q WHERE q.study_instance_uid = s.study_instance_uid)
ORDER BY s.last_at DESC, s.study_instance_uid DESC;

-- name: study_arrival
-- When the first and the last instance of a study came.
SELECT min(received_at) AS first_at, max(received_at) AS last_at FROM instance
WHERE study_instance_uid = :study_instance_uid;

-- name: study_accession_number
-- The accession number that the images of a study have.
SELECT accession_number FROM study WHERE study_instance_uid = :study_instance_uid;

-- name: study_objects
-- The reports and companions of a study, oldest revision first.
SELECT p.sop_instance_uid, p.sop_class_uid, p.path, p.created_at, r.number FROM report p JOIN revision r ON r.id = p.revision_id
WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number, p.rowid;

-- name: unused_instances
-- Instances of a revision that were not used, and why; some of each reason.
SELECT reason, detail, sop_instance_uid, series_instance_uid FROM (
    SELECT ri.reason, ri.detail, i.id, i.sop_instance_uid, i.series_instance_uid,
        row_number() OVER (PARTITION BY ri.reason ORDER BY i.id) AS nth
    FROM revision_instance ri JOIN instance i ON i.id = ri.instance_id
    WHERE ri.revision_id = :revision_id AND ri.outcome IN ('excluded', 'failed', 'skipped'))
WHERE nth <= :most ORDER BY reason, id;

-- name: outbox_totals
-- How many deliveries are in each state, by destination, and since when the oldest waits of those that are open.
SELECT d.destination, d.state, count(*) AS count, CASE WHEN d.state IN ('pending', 'set-aside') THEN
    (SELECT min(o.created_at) FROM delivery o WHERE o.destination = d.destination AND o.state = d.state) END AS oldest_at
FROM delivery d GROUP BY d.destination, d.state ORDER BY d.destination, d.state;

-- name: outbox_page
-- A page of deliveries with their study, those that wait longest or those entered last first. No destination: of all.
WITH page AS MATERIALIZED (
    SELECT report_uid, destination FROM delivery
    WHERE state IN (SELECT value FROM json_each(:states)) AND (:destination = '' OR destination = :destination)
    ORDER BY CASE WHEN :newest THEN -created_at ELSE created_at END, report_uid, destination LIMIT :most OFFSET :skip)
SELECT d.report_uid, d.destination, d.state, d.attempts, d.created_at, d.next_at, d.finished_at, d.status, d.message, d.verified,
    p.sop_class_uid, r.study_instance_uid, r.number
FROM page JOIN delivery d ON d.report_uid = page.report_uid AND d.destination = page.destination
JOIN report p ON p.sop_instance_uid = d.report_uid JOIN revision r ON r.id = p.revision_id
ORDER BY CASE WHEN :newest THEN -d.created_at ELSE d.created_at END, d.report_uid, d.destination;

-- name: study_deliveries
-- The deliveries of all that was made of a study, oldest revision first.
SELECT d.report_uid, d.destination, d.state, d.attempts, d.created_at, d.next_at, d.finished_at, d.status, d.message, d.verified,
    p.sop_class_uid, r.study_instance_uid, r.number
FROM revision r JOIN report p ON p.revision_id = r.id JOIN delivery d ON d.report_uid = p.sop_instance_uid
WHERE r.study_instance_uid = :study_instance_uid ORDER BY r.number, d.created_at, d.report_uid, d.destination LIMIT :most;

-- name: one_delivery
-- A delivery with its study.
SELECT d.report_uid, d.destination, d.state, d.attempts, d.created_at, d.next_at, d.finished_at, d.status, d.message, d.verified,
    p.sop_class_uid, r.study_instance_uid, r.number
FROM delivery d JOIN report p ON p.sop_instance_uid = d.report_uid JOIN revision r ON r.id = p.revision_id
WHERE d.report_uid = :report_uid AND d.destination = :destination;

-- name: retry_delivery
-- One delivery that was set aside or given up is tried again.
UPDATE delivery SET state = 'pending', next_at = :now, created_at = :now, attempts = 0
WHERE report_uid = :report_uid AND destination = :destination AND state IN ('set-aside', 'given-up');

-- name: forgive_commitment_failure
-- A destination that did not commit one report is asked anew.
UPDATE commitment_request SET failures = 0 WHERE report_uid = :report_uid AND destination = :destination;

-- name: give_up_delivery
-- One delivery will never be made.
UPDATE delivery SET state = 'given-up', finished_at = :now
WHERE report_uid = :report_uid AND destination = :destination AND state IN ('set-aside', 'pending');
