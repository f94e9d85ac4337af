-- Version 2: failures that a person has acknowledged, and the accession numbers by which people look for studies.

ALTER TABLE study ADD COLUMN accession_number TEXT; -- of its images, a backslash between several; NULL until a worker has read them

CREATE TABLE acknowledgement (         -- a person has seen that a revision failed; `status` no longer asks for one
    revision_id INTEGER PRIMARY KEY REFERENCES revision,
    at REAL NOT NULL,
    user TEXT NOT NULL
);

-- Revisions that failed, or of which an instance did, that nobody has acknowledged and no later revision has mended.
CREATE VIEW open_failure AS
SELECT r.id, r.study_instance_uid, r.number, r.state, r.message, r.finished_at FROM revision r
WHERE (r.state = 'failed' OR EXISTS (SELECT 1 FROM revision_instance i WHERE i.revision_id = r.id AND i.outcome = 'failed'))
    AND NOT EXISTS (SELECT 1 FROM acknowledgement a WHERE a.revision_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM revision q WHERE q.study_instance_uid = r.study_instance_uid AND q.number > r.number
        AND q.state IN ('done', 'no-label', 'no-image') AND NOT EXISTS (
            SELECT 1 FROM revision_instance i WHERE i.revision_id = q.id AND i.outcome = 'failed'));
