"""The catalog's file: SQLite in WAL mode, opened once a thread, with every statement named in queries.sql."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dicom_pipeline.domain.life import State, sources
from dicom_pipeline.errors import CatalogError

SCHEMA_VERSION = 3
BUSY_SECONDS = 30.0
LOG_BYTES = 64 * 1024**2
"""Size to which the write-ahead log is cut again after it grew beside a long reader."""

MAX_AHEAD_SECONDS = 3600.0
"""No attempt at anything is planned further ahead than this."""


class Catalog:
    """A catalog file, made with its schema where there is none, and migrated where it is of an earlier version.

    create: False where a missing file is an error, because its owner has made it. Safe to share between threads. Raises
    CatalogError for a file of a later version. Commits are synchronous (FULL): what is committed survives a power cut. A
    file that is removed or replaced while it is open is noticed: nothing is committed to one that is not at its path.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._local = threading.local()
        self._statements = _read_statements()
        self._mode = "rwc" if create else "rw"
        with self.transaction() as run:
            version = run.connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise CatalogError(f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}")
            for number in range(version + 1, SCHEMA_VERSION + 1):
                for statement in _migration(number):
                    run.connection.execute(statement)
            if version < SCHEMA_VERSION:
                run.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._mode = "rw"  # one that is removed from now on is lost, and no empty one may take its place

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """A write transaction: committed as a whole on success, undone on any exception. Raises CatalogError.

        Also where the file was removed or replaced meanwhile: what was committed is then not there for anybody else.
        """
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._check_place(error)
            raise CatalogError(f"the catalog is locked or its disk is full: {error}") from error
        try:
            yield Run(connection, self._statements, self.path.parent)
            connection.execute("COMMIT")
            self._check_place()
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise CatalogError(f"the catalog could not be written: {error}") from error
        except BaseException:
            self._roll_back(connection)
            raise

    def read(self, name: str, **values: Any) -> list[Mapping[str, Any]]:
        """Rows of a named query, outside of any transaction. Raises CatalogError."""
        try:
            return Run(self._connection(), self._statements, self.path.parent).rows(name, **values)
        except sqlite3.Error as error:
            raise CatalogError(f"the catalog could not be read: {error}") from error

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _check_place(self, cause: Exception | None = None) -> None:
        """Raise CatalogError unless this thread's connection writes to the file at the path."""
        place = _file_at(self.path)
        if place is None or getattr(self._local, "file", place) != place:
            self.close()
            raise CatalogError(
                f"{self.path} was removed or replaced while it was in use; stop the service, and put it back or run "
                "`dicom-pipeline rebuild`"
            ) from cause

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.file != _file_at(self.path):
            self.close()
            connection = None
        if connection is None:
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode={self._mode}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            except sqlite3.Error:
                connection.close()
                raise
            self._local.connection, self._local.file = connection, _file_at(self.path)
        return connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:  # the disk is full or failing: the next transaction begins on a new connection
            self.close()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None without one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Run:
    """Runs named statements on one connection. folder: what the paths in the catalog are relative to."""

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, str], folder: Path) -> None:
        self.connection = connection
        self.folder = folder
        self._statements = statements

    def rows(self, name: str, **values: Any) -> list[Mapping[str, Any]]:
        """All rows of a query as plain mappings."""
        return [dict(row) for row in self.connection.execute(self._statements[name], values)]

    def row(self, name: str, **values: Any) -> Mapping[str, Any] | None:
        """The first row, None without one."""
        return next(iter(self.rows(name, **values)), None)

    def execute(self, name: str, **values: Any) -> int:
        """Run a statement; the id of an inserted row, else the number of changed rows."""
        cursor = self.connection.execute(self._statements[name], values)
        inserted = self._statements[name].startswith("INSERT")
        return int((cursor.lastrowid or 0) if inserted else cursor.rowcount)

    def move(self, name: str, state: State, **values: Any) -> int:
        """Run a statement that enters a state where domain.life allows it; the number of rows that it entered."""
        return self.execute(name, state=state.value, sources=json.dumps([s.value for s in sources(state)]), **values)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that is undone alone where it raises. SQLite's own errors become CatalogError.

        A full or failing disk may undo the whole transaction; `is_open` then says so.
        """
        try:
            self.connection.execute("SAVEPOINT part")
            try:
                yield
            except BaseException:
                if self.is_open:
                    self.connection.execute("ROLLBACK TO part")
                    self.connection.execute("RELEASE part")
                raise
            self.connection.execute("RELEASE part")
        except sqlite3.Error as error:
            raise CatalogError(f"the catalog could not be written: {error}") from error

    @property
    def is_open(self) -> bool:
        """Whether the transaction is still there."""
        return self.connection.in_transaction


def is_whole(path: Path) -> bool:
    """Whether a catalog is there and undamaged. Looks at a copy: SQLite would mend or drop the log of what it opens."""
    if not path.exists():
        return False
    with tempfile.TemporaryDirectory(prefix="catalog.check-", dir=path.parent) as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        try:
            connection = sqlite3.connect(copy)
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                connection.close()
        except sqlite3.Error:
            return False
        return version > 0 and answer == "ok"


def put_in_place(new: Path, target: Path, beside: Path) -> Path | None:
    """Put a closed catalog where another was, which is kept as `beside`, with its log; None where there was none.

    Killed in between, either the old catalog is in its place or the new one. Raises OSError.
    """
    kept = None
    if target.exists():
        shutil.copy2(target, beside)
        kept = beside
    for suffix in ("-wal", "-shm"):  # the old one's log, which must not meet the new one
        log = Path(f"{target}{suffix}")
        if log.exists():
            log.rename(f"{beside}{suffix}")
            kept = beside
    new.replace(target)
    return kept


def _read_statements() -> dict[str, str]:
    text = (resources.files("dicom_pipeline.catalog") / "queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n(?:-- .*\n)*", text, flags=re.MULTILINE)[1:]
    return {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _migration(number: int) -> list[str]:
    """Statements that lead to schema version `number` from the one before; version 1 is schema.sql."""
    room = resources.files("dicom_pipeline.catalog")
    name = "schema.sql" if number == 1 else f"migrations/{number}.sql"
    text = room.joinpath(name).read_text(encoding="utf-8")
    return [part for part in re.sub(r"--.*", "", text).split(";") if part.strip()]
