-- Version 2: what the receiver keeps beyond instances.

CREATE TABLE series (                  -- what completion rules look at
    series_instance_uid TEXT PRIMARY KEY,
    study_instance_uid TEXT NOT NULL,
    modality TEXT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX series_of_study ON series (study_instance_uid);

ALTER TABLE instance ADD COLUMN removed_at REAL; -- its file was cleaned from the spool after delivery
ALTER TABLE study ADD COLUMN held INTEGER NOT NULL DEFAULT 0; -- 1: the hard cap came and the rule says hold

CREATE TABLE commitment (              -- Storage Commitment: asked for, and whether the answer has arrived
    id INTEGER PRIMARY KEY,
    transaction_uid TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    address TEXT NOT NULL,
    asked_at REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', -- pending -> answered | set-aside
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
