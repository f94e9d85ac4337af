"""How long the pages take with many studies in the catalog: `python benchmarks/pages.py [STUDIES]`.

Makes a catalog of studies of 10 instances each; the newest 50, which the first page shows, and the last 50 have 1,000. Prints
the server's time of each page in ms, from the URL's query to the HTML: the best and the median of 7.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qsl

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.web.pages.outbox import outbox_query, outbox_values
from dicom_pipeline.web.pages.rendering import fragment
from dicom_pipeline.web.pages.study import study_values
from dicom_pipeline.web.pages.study_list import ROWS, list_query, studies_values

REPEATS = 7
LARGE = 1000
STATES = ("done",) * 94 + ("no-label", "no-label", "no-image", "failed", "failed", "discarded")
INSTANCE = (
    "INSERT INTO instance (id, sop_instance_uid, sha256, study_instance_uid, series_instance_uid, sop_class_uid, "
    "transfer_syntax_uid, path, bytes, calling_ae, address, received_at, is_primary) "
    "VALUES (?, ?, ?, ?, ?, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', ?, 526000, ?, '10.0.0.1', ?, 1)"
)


def fill(catalog: Catalog, studies: int) -> None:
    """Enter the studies in a transaction of 1,000 each."""
    number = 0
    for start in range(0, studies, 1000):
        with catalog.transaction() as run:
            run.connection.execute("PRAGMA defer_foreign_keys = ON")
            for index in range(start, min(start + 1000, studies)):
                number = _study(run.connection, index, studies, number)


def _study(connection, index: int, studies: int, number: int) -> int:
    uid = f"1.2.826.0.1.3680043.8.498.{10**20 + index * 7919}"
    at = 1.7e9 + index * 60
    sender, large = f"CT{index % 7}", index < ROWS or index >= studies - ROWS
    size, waiting = LARGE if large else 10, index >= studies - 3
    connection.execute(
        "INSERT INTO study (study_instance_uid, first_at, last_at, waiting, accession_number) VALUES (?, ?, ?, ?, ?)",
        (uid, at - 30, at, int(waiting), f"A{index:08d}"),
    )
    connection.execute("INSERT INTO sender VALUES (?, ?)", (uid, sender))
    connection.execute("INSERT INTO series VALUES (?, ?, 'CT', 'Chest')", (f"{uid}.1", uid))
    rows = [
        (number + n, f"{uid}.1.{n}", f"{number + n:064x}", uid, f"{uid}.1", f"instances/{number + n}", sender, at)
        for n in range(1, size + 1)
    ]
    connection.executemany(INSTANCE, rows)
    if waiting:
        return number + size
    state = STATES[index * 31 % len(STATES)]
    connection.execute(
        "INSERT INTO revision (id, study_instance_uid, number, created_at, cause, state, finished_at) "
        "VALUES (?, ?, 1, ?, 'quiet', ?, ?)",
        (index + 1, uid, at + 20, state, at + 40),
    )
    outcome = "used" if state == "done" else "failed" if state == "failed" else "excluded"
    connection.executemany(
        "INSERT INTO revision_instance (revision_id, instance_id, outcome) VALUES (?, ?, ?)",
        [(index + 1, row[0], outcome) for row in rows],
    )
    if state == "done":
        report = f"2.25.{10**30 + index}"
        connection.execute(
            "INSERT INTO report VALUES (?, ?, '1.2.840.10008.5.1.4.1.1.88.34', ?, ?, ?)",
            (report, index + 1, f"results/{index}", f"{index:064x}", at + 40),
        )
        delivery = "set-aside" if index % 500 == 0 else "delivered"
        connection.execute(
            "INSERT INTO delivery (report_uid, destination, state, attempts, created_at, next_at, finished_at) "
            "VALUES (?, 'pacs', ?, 1, ?, ?, ?)",
            (report, delivery, at + 40, at + 40, at + 42),
        )
    return number + size


def questions(studies: int) -> dict[str, str]:
    """What is asked -> the query of its URL."""
    last, middle = -(-studies // ROWS), studies // 2
    day = time.strftime("%Y-%m-%d", time.localtime(1.7e9 + middle * 60))
    return {
        "first page": "",
        "last page": f"page={last}",
        "state done, first page": "state=done",
        "state done, a page that is not there": f"state=done&page={last + 1}",
        "state failed": "state=failed",
        "being received": "state=arriving",
        "deliveries set aside": "state=set-aside",
        "part of a UID": f"q={str(10**20 + middle * 7919)[-12:]}",
        "part of an accession number": f"q={studies // 3:08d}",
        "a sender": "q=ct3&page=100",
        "every sender, done, a page that is not there": f"q=ct&state=done&page={last + 1}",
        "a text that is nowhere": "q=nowhere",
        "one day": f"day={day}",
    }


def timed(catalog: Catalog, name: str, work: Callable[[], str]) -> None:
    """Print how long a page takes from the query to its HTML."""
    times = []
    for _ in range(REPEATS):
        catalog.close()  # each request has a connection of its own
        began = time.perf_counter()
        html = work()
        times.append((time.perf_counter() - began) * 1000)
    rows = html.count("<tr role") - 1
    print(f"{name:<46} {max(rows, 0):>3} rows  best {min(times):6.1f} ms  median {statistics.median(times):6.1f} ms")


def list_html(catalog: Catalog, query: str) -> str:
    """The list of studies."""
    values = studies_values(catalog, list_query(dict(parse_qsl(query))))
    return fragment("studies_live.html", ready=True, reasons=(), **values)


def outbox_html(settings: Settings, catalog: Catalog, query: str) -> str:
    """The outbox."""
    return fragment("outbox_live.html", **outbox_values(settings, catalog, outbox_query(dict(parse_qsl(query)))))


def main() -> None:
    logging.disable()  # that the studies have no files is meant
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(spool={"folder": folder})
        catalog = Catalog(settings.spool.folder / "catalog.sqlite")
        began = time.monotonic()
        fill(catalog, studies)
        (row,) = catalog.read("totals")
        size = catalog.path.stat().st_size / 1e6
        print(
            f"{row['studies']} studies, {row['instances']} instances, {size:.0f} MB, {time.monotonic() - began:.0f} s"
        )
        for name, query in questions(studies).items():
            timed(catalog, name, lambda query=query: list_html(catalog, query))
        large = f"1.2.826.0.1.3680043.8.498.{10**20 + (studies - 10) * 7919}"
        study = partial(study_values, settings, catalog, large)
        timed(catalog, "a study of 1,000 instances", lambda: fragment("study_live.html", **study()))
        for group in ("", "set-aside", "delivered"):
            query = f"state={group}"
            timed(catalog, f"outbox {group}", lambda query=query: outbox_html(settings, catalog, query))
        catalog.close()


if __name__ == "__main__":
    main()
