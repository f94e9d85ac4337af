"""The queue of studies and the cursor in Orthanc's changes, in a SQLite file that outlives Orthanc."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

# The names of the table and its columns are those of every earlier version, whose queues are read as they are.
SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor (seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS job (
    study TEXT PRIMARY KEY,             -- Orthanc's identifier
    uid TEXT NOT NULL DEFAULT '',       -- Study Instance UID, once the study was examined
    wanted INTEGER NOT NULL DEFAULT 0,  -- 1: to be examined, 2: being examined, 0: being followed, or at its end
    force INTEGER NOT NULL DEFAULT 0,   -- 1: a person asked for it
    state TEXT NOT NULL DEFAULT 'queued',
    message TEXT NOT NULL DEFAULT '',
    due REAL,                           -- seconds since 1970; NULL: nothing to do
    attempts INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT '',    -- of the instances that were sent
    expected INTEGER NOT NULL DEFAULT 0,
    sent_at REAL NOT NULL DEFAULT 0,
    reports INTEGER NOT NULL DEFAULT 0, -- reports in Orthanc before the study was sent
    transfer TEXT NOT NULL DEFAULT '',  -- Orthanc's C-STORE job that is running
    transfers INTEGER NOT NULL DEFAULT 0 -- C-STORE jobs after which instances were missing
);
CREATE INDEX IF NOT EXISTS job_next ON job (force DESC, due) WHERE due IS NOT NULL;
"""
MAX_WAIT_SECONDS = 300.0
"""The longest wait between two steps with a study."""

ENTER = """
INSERT INTO job (study, wanted, force, due) VALUES (:study, 1, :force, :due)
ON CONFLICT (study) DO UPDATE SET
    wanted = 1, force = max(force, :force), attempts = 0, transfers = 0,
    due = CASE WHEN wanted = 1 THEN min(coalesce(due, :due), :due) ELSE :due END
"""
REMOVE = """
DELETE FROM job WHERE study = :study AND wanted <> 1
"""
RESET = """
UPDATE job SET uid = '', state = 'queued', message = '', digest = '', expected = 0, reports = 0, transfer = '', transfers = 0
WHERE study = :study
"""


class QueuedStudy(NamedTuple):
    """One row of the queue; SCHEMA describes the fields."""

    study: str
    uid: str
    wanted: int
    force: int
    state: str
    message: str
    due: float | None
    attempts: int
    digest: str
    expected: int
    sent_at: float
    reports: int
    transfer: str
    transfers: int


class StudyQueue:
    """Studies to send and to follow. Each call opens the file anew, so that any thread may call.

    A study is examined when it became stable or a person asked. One whose examination was cut short by a crash is
    examined again. Every method raises sqlite3.Error where the file cannot be read or written, and has then changed nothing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        Path(path).resolve().parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
            self._add_columns(db)
            db.execute("UPDATE job SET wanted = 1, due = ? WHERE wanted = 2", (time.time(),))

    @staticmethod
    def _add_columns(db: sqlite3.Connection) -> None:
        """Add the columns that the queue of an earlier version lacks."""
        with closing(sqlite3.connect(":memory:")) as current:
            current.executescript(SCHEMA)
            columns = current.execute("PRAGMA table_info(job)").fetchall()
        existing = {column[1] for column in db.execute("PRAGMA table_info(job)")}
        for _, name, kind, _, default, _ in columns:
            if name not in existing:
                db.execute(f"ALTER TABLE job ADD COLUMN {name} {kind} NOT NULL DEFAULT {default}")

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, timeout=30, isolation_level=None))

    def cursor(self) -> int | None:
        """Number of the last change that was read; None at the very first start."""
        with self._open() as db:
            row = db.execute("SELECT seq FROM cursor").fetchone()
        return int(row[0]) if row else None

    def enter(self, studies: dict[str, float], seq: int) -> None:
        """Enter studies (identifier -> when to examine) and the change up to which they were found, in one transaction."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            for study, due in studies.items():
                db.execute(ENTER, {"study": study, "force": 0, "due": due})
            db.execute("DELETE FROM cursor")
            db.execute("INSERT INTO cursor VALUES (?)", (seq,))
            db.execute("COMMIT")

    def enter_one(self, study: str, due: float) -> None:
        """Enter one study, to be examined at a time."""
        with self._open() as db:
            db.execute(ENTER, {"study": study, "force": 0, "due": due})

    def request(self, study: str) -> None:
        """Enter a study that a person wants processed now."""
        with self._open() as db:
            db.execute(ENTER, {"study": study, "force": 1, "due": time.time()})

    def get(self, study: str) -> QueuedStudy | None:
        """A study's row; None without one."""
        return self._first("SELECT * FROM job WHERE study = ?", (study,))

    def next_due(self, max_wait: float = MAX_WAIT_SECONDS) -> QueuedStudy | None:
        """The study to work on: what a person asked for, then what has been due longest; None while none is due.

        No step waits for longer than max_wait: a time beyond that was written while the clock was wrong, and is due too.
        """
        now = time.time()
        statement = "SELECT * FROM job WHERE due <= ? OR due > ? ORDER BY force DESC, due LIMIT 1"
        return self._first(statement, (now, now + max_wait))

    def _first(self, statement: str, values: tuple[Any, ...]) -> QueuedStudy | None:
        with self._open() as db:
            db.row_factory = sqlite3.Row
            return queued_study(db.execute(statement, values).fetchone())

    def begin(self, study: str) -> QueuedStudy | None:
        """Mark a study as being examined. Its row as it was until then, with every request that was entered; None without."""
        with self._open() as db:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT * FROM job WHERE study = ?", (study,)).fetchone()
            db.execute("UPDATE job SET wanted = 2 WHERE study = ?", (study,))
            db.execute("COMMIT")
        return queued_study(row)

    def update(self, study: str, due: float | None, **values: Any) -> None:
        """Write the result of a step; a request that was entered meanwhile stays."""
        columns = "".join(f", {name} = :{name}" for name in values)
        statement = (
            "UPDATE job SET force = CASE WHEN wanted = 1 THEN force ELSE 0 END, "  # noqa: S608 - names of columns
            "due = CASE WHEN wanted = 1 THEN due ELSE :due END, "
            f"wanted = CASE WHEN wanted = 1 THEN 1 ELSE 0 END{columns} WHERE study = :study"
        )
        with self._open() as db:
            db.execute(statement, {"study": study, "due": due, **values})

    def examine_later(self, study: str, due: float, message: str, **values: Any) -> None:
        """Examine a study again later; a request that was entered meanwhile keeps its earlier time."""
        columns = "".join(f", {name} = :{name}" for name in values)
        statement = (
            "UPDATE job SET due = CASE WHEN wanted = 1 THEN min(coalesce(due, :due), :due) ELSE :due END, wanted = 1, "  # noqa: S608
            f"attempts = attempts + 1, transfer = '', message = :message{columns} WHERE study = :study"
        )
        with self._open() as db:
            db.execute(statement, {"study": study, "due": due, "message": message, **values})

    def remove(self, study: str) -> None:
        """Remove a study that Orthanc does not hold any more.

        Where it was entered again meanwhile, that request stays and only what was known of the study is removed.
        """
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(REMOVE, {"study": study})
            db.execute(RESET, {"study": study})
            db.execute("COMMIT")


def queued_study(row: sqlite3.Row | None) -> QueuedStudy | None:
    """A row of the table, which a later version may have given more columns."""
    return None if row is None else QueuedStudy(**{name: row[name] for name in QueuedStudy._fields})
