"""The listener under load: memory with 50 open associations, time from the last byte to Success, and a soak.

    python benchmarks/receiving_load.py [--minutes 60] [--associations 50] [--stores 400] [--bytes 500000]

Memory: resident size of the listener's process before and with that many associations, each of which has stored an instance.
Time to Success: from the moment at which the last PDU of an instance (0.5 MB) was handed to the kernel until its answer was
read, with 1 and 4 associations sending at once. Soak: the rate that 4 associations reach in 5 s, then half of it for so many
minutes; resident size, threads and open files at its start and end and their extremes between, and what the resident size grew
by for 100,000 instances. What was received is removed from the spool as it goes. The sender is this script.

The half is of what the machine gives in those 5 s: beside other programs a soak has fewer instances, so compare growth by the
instance. What grows with each shows in minutes with small ones and no disk: `TMPDIR=/dev/shm ... --bytes 3000`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from receiving import free_port, start_ours

from tests.peers.raw import RawSender, data_set, store_pdus

NUMBERS = itertools.count(1)


def instance(pixels: bytes) -> tuple[str, list[bytes]]:
    """SOP Instance UID and PDUs of a new CT."""
    uid = f"1.2.{time.time_ns()}.{next(NUMBERS)}"
    return uid, store_pdus(uid, data_set(uid, "1.3.6", pixels), 131_000)


def connect(port: int) -> RawSender:
    """An association, as soon as the listener answers."""
    for _ in range(300):
        try:
            return RawSender(port)
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the listener does not answer")


def store(sender: RawSender, pixels: bytes) -> float:
    """Send one instance; seconds from its last byte to its answer."""
    _, pdus = instance(pixels)
    for pdu in pdus:
        sender.socket.sendall(pdu)
    sent = time.perf_counter()
    status = sender.status()
    if status:
        raise SystemExit(f"answered 0x{status:04X}")
    return time.perf_counter() - sent


def process_state(pid: int) -> tuple[float, int, int]:
    """Resident MiB, threads and open files of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["Threads"]), files


def memory(process: subprocess.Popen[bytes], port: int, count: int, pixels: bytes) -> None:
    before, threads, _ = process_state(process.pid)
    senders = [connect(port) for _ in range(count)]
    opened = process_state(process.pid)[0]
    for sender in senders:
        store(sender, pixels)
    stored, with_threads, _ = process_state(process.pid)
    for sender in senders:
        sender.release()
    print(
        f"memory: {before:.0f} MiB resident with 1 association, {opened:.0f} with {count} open, {stored:.0f} after each "
        f"stored an instance ({threads} and {with_threads} threads)"
    )


def percentiles(port: int, associations: int, stores: int, pixels: bytes) -> None:
    found: list[float] = []

    def send() -> None:
        sender = connect(port)
        found.extend(store(sender, pixels) for _ in range(stores // associations))
        sender.release()

    threads = [threading.Thread(target=send) for _ in range(associations)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(found) / (time.perf_counter() - began)
    cuts = statistics.quantiles(found, n=100)
    print(
        f"last byte to Success, {associations} association(s), {len(found)} stores at {rate:.0f}/s: "
        f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, longest {max(found) * 1e3:.0f} ms"
    )


def soak(process: subprocess.Popen[bytes], folder: Path, port: int, minutes: float, pixels: bytes) -> None:
    stop, sent, period = threading.Event(), itertools.count(), [0.0]

    def send() -> None:
        sender = connect(port)
        due = time.monotonic()
        while not stop.is_set():
            store(sender, pixels)
            next(sent)
            due = max(due + period[0], time.monotonic() - 1.0)
            stop.wait(max(0.0, due - time.monotonic()))
        sender.release()

    def clean() -> None:
        while not stop.wait(2.0):
            for path in _older(folder, time.time() - 2.0):
                path.unlink(missing_ok=True)

    threads = [threading.Thread(target=send) for _ in range(4)] + [threading.Thread(target=clean)]
    for thread in threads:
        thread.start()
    time.sleep(5.0)
    full = next(sent) / 5.0
    period[0] = 4 / (full / 2)
    time.sleep(5.0)
    states = [process_state(process.pid)]
    began, first = time.monotonic(), next(sent)
    while time.monotonic() < began + minutes * 60:
        time.sleep(min(5.0, minutes * 20))
        states.append(process_state(process.pid))
    instances = next(sent) - first
    rate = instances / (time.monotonic() - began)
    stop.set()
    for thread in threads:
        thread.join()
    growth = (states[-1][0] - states[0][0]) / instances * 100_000
    print(
        f"soak: {minutes:g} min at {rate:.0f}/s, half of {full:.0f}/s, {instances} instances of {len(pixels)} bytes, "
        f"{growth:.1f} MiB for 100,000"
    )
    for name, values in zip(("resident MiB", "threads", "open files"), zip(*states, strict=True), strict=True):
        print(
            f"  {name}: {values[0]:.0f} at the start, {values[-1]:.0f} at the end, {min(values):.0f}-{max(values):.0f}"
        )


def _older(folder: Path, before: float) -> Iterator[Path]:
    return (path for path in (folder / "instances").rglob("*.dcm") if path.stat().st_mtime < before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--associations", type=int, default=50)
    parser.add_argument("--stores", type=int, default=400)
    parser.add_argument("--bytes", type=int, default=500_000, help="of pixels in an instance")
    options = parser.parse_args()
    pixels = os.urandom(options.bytes // 2 * 2)
    with tempfile.TemporaryDirectory(prefix="receiving-load-") as name:
        port = free_port()
        process = start_ours(Path(name), port)
        try:
            connect(port).release()
            memory(process, port, options.associations, pixels)
            for associations in (1, 4):
                percentiles(port, associations, options.stores, pixels)
            if options.minutes:
                soak(process, Path(name), port, options.minutes, pixels)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
