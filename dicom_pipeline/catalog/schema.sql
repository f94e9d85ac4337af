-- The catalog: what was received, what became of it, what was reported, where it went. Version 1 (PRAGMA user_version); later
-- versions are reached by migrations/N.sql. What the states mean and how they follow one another: domain/life.py.
-- Times are seconds since 1970 in UTC. Paths are relative to the spool folder.

CREATE TABLE study (
    study_instance_uid TEXT PRIMARY KEY,
    first_at REAL NOT NULL,            -- first instance of the revision that is gathering
    last_at REAL NOT NULL,             -- last instance
    expected INTEGER,                  -- instances that someone announced
    waiting INTEGER NOT NULL DEFAULT 1, -- 1: instances have come that no revision holds yet
    held INTEGER NOT NULL DEFAULT 0    -- 1: at the hard cap a rule said hold; a person must release it
);

CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    sop_instance_uid TEXT NOT NULL,
    sha256 TEXT NOT NULL,              -- of the data set as it came over the wire
    study_instance_uid TEXT NOT NULL REFERENCES study,
    series_instance_uid TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    calling_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    received_at REAL NOT NULL,
    is_primary INTEGER NOT NULL,       -- 0: conflicting content under this UID, quarantined: never processed
    removed_at REAL,                   -- its file was cleaned from the spool after delivery
    returned_at REAL,                  -- it came again after its file had been cleaned
    rebuilt INTEGER NOT NULL DEFAULT 0, -- 1: entered from its file, by a rebuild
    UNIQUE (sop_instance_uid, sha256)
);
CREATE UNIQUE INDEX one_primary_instance ON instance (sop_instance_uid) WHERE is_primary = 1;
CREATE INDEX instance_of_study ON instance (study_instance_uid);
CREATE INDEX file_of_study ON instance (study_instance_uid) WHERE removed_at IS NULL;

CREATE TABLE series (                  -- what completion rules look at
    series_instance_uid TEXT PRIMARY KEY,
    study_instance_uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX series_of_study ON series (study_instance_uid);

CREATE TABLE sender (                  -- who sent instances of a study: completion rules look at it
    study_instance_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    PRIMARY KEY (study_instance_uid, calling_ae)
) WITHOUT ROWID;

CREATE TABLE removal (                 -- files that are to be unlinked: their instances count as removed already
    instance_id INTEGER PRIMARY KEY REFERENCES instance,
    path TEXT NOT NULL
);

CREATE TABLE association (
    token TEXT PRIMARY KEY,            -- one open association of one listener process
    owner TEXT NOT NULL,               -- the run of the service that opened it
    opened_at REAL NOT NULL
);
CREATE TABLE touched (                 -- studies that an open association has sent instances of
    token TEXT NOT NULL REFERENCES association ON DELETE CASCADE,
    study_instance_uid TEXT NOT NULL,
    PRIMARY KEY (token, study_instance_uid)
) WITHOUT ROWID;

CREATE TABLE refusal (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    status INTEGER NOT NULL,           -- DIMSE status that was answered
    reason TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    address TEXT NOT NULL
);

CREATE TABLE revision (
    id INTEGER PRIMARY KEY,
    study_instance_uid TEXT NOT NULL REFERENCES study,
    number INTEGER NOT NULL,
    created_at REAL NOT NULL,
    cause TEXT NOT NULL,               -- quiet, expected, hard-cap, asked
    rule TEXT NOT NULL DEFAULT '',     -- the completion rule that ended the waiting
    state TEXT NOT NULL,               -- RevisionState
    attempts INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    predecessor TEXT,                  -- report of the revision before
    fingerprint TEXT,
    message TEXT NOT NULL DEFAULT '',
    finished_at REAL,
    UNIQUE (study_instance_uid, number)
);
CREATE INDEX revision_by_state ON revision (state);

CREATE TABLE revision_instance (
    revision_id INTEGER NOT NULL REFERENCES revision,
    instance_id INTEGER NOT NULL REFERENCES instance,
    outcome TEXT,                      -- Outcome; NULL until processed
    reason TEXT,
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (revision_id, instance_id)
) WITHOUT ROWID;
CREATE INDEX failed_outcome ON revision_instance (revision_id) WHERE outcome = 'failed';

CREATE TABLE report (
    sop_instance_uid TEXT PRIMARY KEY,
    revision_id INTEGER NOT NULL REFERENCES revision,
    sop_class_uid TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX report_of_revision ON report (revision_id);

CREATE TABLE delivery (
    report_uid TEXT NOT NULL REFERENCES report,
    destination TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', -- DeliveryState
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    next_at REAL NOT NULL,
    status TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    finished_at REAL,
    verified INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (report_uid, destination)
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (destination, state, next_at);

CREATE TABLE commitment (              -- a sender asks us to commit (PS3.4 annex J)
    id INTEGER PRIMARY KEY,
    transaction_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    asked_at REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', -- AnswerState
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at REAL NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    UNIQUE (transaction_uid, calling_ae)
);
CREATE TABLE committed (               -- the instances that a commitment asks about
    commitment_id INTEGER NOT NULL REFERENCES commitment ON DELETE CASCADE,
    sop_class_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    failure INTEGER,                   -- Failure Reason (0008,1197); NULL: committed
    PRIMARY KEY (commitment_id, sop_instance_uid)
) WITHOUT ROWID;

CREATE TABLE commitment_request (      -- we ask a destination to commit a report that it has
    report_uid TEXT NOT NULL,
    destination TEXT NOT NULL,
    transaction_uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,           -- as sent: a node may have got the report as a simpler class
    sop_instance_uid TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', -- CommitmentState
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,   -- times that the destination said it has not committed the object
    requested_at REAL NOT NULL,
    next_at REAL NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (report_uid, destination),
    FOREIGN KEY (report_uid, destination) REFERENCES delivery
) WITHOUT ROWID;

CREATE TABLE source (                  -- an Orthanc whose changes are read
    name TEXT PRIMARY KEY,             -- its name and URL
    seq INTEGER NOT NULL               -- the last change that was read
);
CREATE TABLE pull (                    -- its studies that are to be fetched
    source TEXT NOT NULL REFERENCES source,
    study_key TEXT NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, study_key)
) WITHOUT ROWID;

CREATE TABLE backfill (                -- one run over an archive
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,              -- URL
    filters TEXT NOT NULL,             -- as JSON; a run goes on only with the same ones
    started_at REAL NOT NULL,
    finished_at REAL
);
CREATE TABLE backfill_study (
    backfill_id INTEGER NOT NULL REFERENCES backfill,
    study_key TEXT NOT NULL,
    instances INTEGER NOT NULL,        -- by the archive's own count
    account TEXT,                      -- as JSON: what became of them; NULL until fetched
    PRIMARY KEY (backfill_id, study_key)
) WITHOUT ROWID;

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
            JOIN commitment_request w ON w.report_uid = p.sop_instance_uid
            WHERE q.study_instance_uid = s.study_instance_uid AND w.state = 'pending') THEN 'not-committed'
        WHEN max(i.is_primary = 0) THEN 'content-conflict'
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
