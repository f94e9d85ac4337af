-- The catalog: what was received, what became of it, what was reported, where it went. Version 1 (PRAGMA user_version).
-- Times are seconds since 1970 in UTC. Paths are relative to the spool folder.

CREATE TABLE study (
    study_instance_uid TEXT PRIMARY KEY,
    first_at REAL NOT NULL,            -- first instance of the revision that is gathering
    last_at REAL NOT NULL,             -- last instance
    expected INTEGER,                  -- instances that someone announced
    waiting INTEGER NOT NULL DEFAULT 1 -- instances have come that no revision holds yet
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
    kept INTEGER NOT NULL,             -- 0: other content under a known UID, kept apart and never processed
    UNIQUE (sop_instance_uid, sha256)
);
CREATE UNIQUE INDEX one_kept_instance ON instance (sop_instance_uid) WHERE kept = 1;
CREATE INDEX instance_of_study ON instance (study_instance_uid);

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
    state TEXT NOT NULL,               -- ready -> processing -> done | no-image | failed
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
    outcome TEXT,                      -- used, skipped, failed; NULL until processed
    reason TEXT,
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (revision_id, instance_id)
) WITHOUT ROWID;

CREATE TABLE report (
    sop_instance_uid TEXT PRIMARY KEY,
    revision_id INTEGER NOT NULL REFERENCES revision,
    sop_class_uid TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE delivery (
    report_uid TEXT NOT NULL REFERENCES report,
    destination TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', -- pending -> delivered | set-aside; a person makes set-aside pending or given-up
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

CREATE TABLE source (                  -- an Orthanc whose changes are read
    name TEXT PRIMARY KEY,             -- its name and URL
    seq INTEGER NOT NULL               -- the last change that was read
);
CREATE TABLE pull (                    -- its studies that are to be fetched
    source TEXT NOT NULL REFERENCES source,
    orthanc_id TEXT NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, orthanc_id)
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
    orthanc_id TEXT NOT NULL,
    instances INTEGER NOT NULL,        -- by the archive's own count
    account TEXT,                      -- as JSON: what became of them; NULL until fetched
    PRIMARY KEY (backfill_id, orthanc_id)
) WITHOUT ROWID;
