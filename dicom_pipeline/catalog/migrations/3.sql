-- Version 3: Storage Commitment as the side that asks, for reports that were delivered.

CREATE TABLE wanted_commitment (
    report_uid TEXT NOT NULL,
    destination TEXT NOT NULL,
    transaction_uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,           -- as sent: a node may have got the report as a simpler class
    sop_instance_uid TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'wanted',  -- wanted -> committed | failed | given-up
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,   -- times that the destination said it has not committed the object
    wanted_at REAL NOT NULL,
    next_at REAL NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (report_uid, destination),
    FOREIGN KEY (report_uid, destination) REFERENCES delivery
) WITHOUT ROWID;
