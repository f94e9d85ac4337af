-- Version 5: deliveries that a person gives up (delivery.state 'given-up'), and failures counted without reading all.

CREATE INDEX failed_outcome ON revision_instance (revision_id) WHERE outcome = 'failed';

DROP VIEW spool_study;
-- A study's files in the spool: since when all is settled, and why they must be kept; '' where they may go.
CREATE VIEW spool_study AS
SELECT s.study_instance_uid, count(*) AS instances, sum(i.bytes) AS bytes,
    max(max(coalesce(i.returned_at, i.received_at)), coalesce(r.finished_at, 0),
        coalesce((SELECT max(d.finished_at) FROM revision q JOIN report p ON p.revision_id = q.id
            JOIN delivery d ON d.report_uid = p.sop_instance_uid
            WHERE q.study_instance_uid = s.study_instance_uid), 0)) AS settled_at,
    CASE WHEN r.state = 'done' AND NOT EXISTS (SELECT 1 FROM report p
            JOIN delivery d ON d.report_uid = p.sop_instance_uid WHERE p.revision_id = r.id)
        THEN (SELECT min(p.path) FROM report p WHERE p.revision_id = r.id) END AS result,
    CASE
        WHEN s.held THEN 'held'
        WHEN s.waiting OR r.id IS NULL
            OR EXISTS (SELECT 1 FROM touched t WHERE t.study_instance_uid = s.study_instance_uid) THEN 'receiving'
        WHEN r.state IN ('ready', 'processing') THEN 'processing'
        WHEN EXISTS (SELECT 1 FROM revision q JOIN report p ON p.revision_id = q.id
            JOIN delivery d ON d.report_uid = p.sop_instance_uid
            WHERE q.study_instance_uid = s.study_instance_uid AND d.state NOT IN ('delivered', 'given-up')) THEN 'not-delivered'
        WHEN EXISTS (SELECT 1 FROM revision q JOIN report p ON p.revision_id = q.id
            JOIN wanted_commitment w ON w.report_uid = p.sop_instance_uid
            WHERE q.study_instance_uid = s.study_instance_uid AND w.state = 'wanted') THEN 'not-committed'
        WHEN max(i.kept = 0) THEN 'content-conflict'
        WHEN r.state = 'failed' OR r.state <> 'done' AND EXISTS (SELECT 1 FROM revision_instance ri
            WHERE ri.revision_id = r.id AND ri.outcome = 'failed') THEN 'failed'
        WHEN s.study_instance_uid IN (SELECT c.study_instance_uid FROM committed k
            JOIN instance c ON c.sop_instance_uid = k.sop_instance_uid WHERE k.failure IS NULL) THEN 'committed'
        WHEN max(i.rebuilt) THEN 'rebuilt'
        ELSE '' END AS kept_because
FROM study s JOIN instance i ON i.study_instance_uid = s.study_instance_uid AND i.removed_at IS NULL
LEFT JOIN revision r ON r.study_instance_uid = s.study_instance_uid
    AND r.number = (SELECT max(number) FROM revision q WHERE q.study_instance_uid = s.study_instance_uid)
GROUP BY s.study_instance_uid;
