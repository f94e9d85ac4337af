"""C-STORE receive rates, side by side: this listener (durable), Orthanc, dcmtk's storescp --fork, one dcmsend after another.

    python benchmarks/receiving.py [--instances 200] [--megabytes 0.5] [--rounds 3]

Each round sends the same new CT instances to each receiver with 1 and with 4 associations (the instances shared out over 4
dcmsend). Printed are instances per second, the median of the rounds. dcmtk's programs run with TCP_NODELAY=1, without
which delayed acknowledgements hold every receiver to the same small rate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def make_instances(folder: Path, count: int, megabytes: float) -> list[Path]:
    """CT instances of one series with pixels of noise."""
    folder.mkdir(parents=True)
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    side = int((megabytes * 1e6 / 2) ** 0.5)
    noise = np.random.default_rng(0).integers(0, 4096, (side, side), np.uint16)
    dataset.Rows = dataset.Columns = side
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    paths = []
    for number in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number + 1
        dataset.PixelData = np.roll(noise, number).tobytes()
        paths.append(folder / f"{number:05d}.dcm")
        dataset.save_as(paths[-1])
    return paths


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_ours(folder: Path, port: int) -> subprocess.Popen[bytes]:
    code = (
        "import sys, signal, threading, warnings; warnings.simplefilter('ignore')\n"
        "from pathlib import Path\n"
        "from dicom_pipeline.catalog import Catalog\n"
        "from dicom_pipeline.config import ListenerSection\n"
        "from dicom_pipeline.intake.dicom_services import ListeningNode\n"
        "from dicom_pipeline.intake.spool import Spool\n"
        "folder = Path(sys.argv[1])\n"
        "settings = ListenerSection(port=int(sys.argv[2]), max_associations=200, max_associations_per_peer=200)\n"
        "listener = ListeningNode(settings, Catalog(folder / 'catalog.sqlite'), Spool(folder), 'benchmark')\n"
        "stop = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        "listener.start(); stop.wait(); listener.stop()\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(folder), str(port)])


def start_orthanc(folder: Path, port: int) -> subprocess.Popen[bytes]:
    config = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": free_port(),
        "DicomPort": port,
        "DicomAet": "DICOMPIPE",
        "AuthenticationEnabled": False,
        "SyncStorageArea": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    return subprocess.Popen(
        [program, str(folder / "orthanc.json")], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def start_storescp(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["storescp", "--fork", "-aet", "DICOMPIPE", "-od", str(folder), str(port)]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)


RECEIVERS: dict[str, Callable[[Path, int], subprocess.Popen[bytes]]] = {
    "dicom_pipeline (file, folder, catalog synced)": start_ours,
    "Orthanc (storage synced)": start_orthanc,
    "dcmtk storescp --fork (nothing synced)": start_storescp,
}


def rate(start: Callable[[Path, int], subprocess.Popen[bytes]], paths: list[Path], associations: int) -> float:
    """Instances per second of one fresh receiver."""
    with tempfile.TemporaryDirectory(prefix="receiving-") as name:
        port = free_port()
        process = start(Path(name), port)
        try:
            wait_for(port)
            shares = [paths[i::associations] for i in range(associations)]
            began = time.perf_counter()
            senders = [
                subprocess.Popen(
                    ["dcmsend", "-aec", "DICOMPIPE", "--no-halt", "127.0.0.1", str(port), *map(str, share)],
                    env=ENVIRONMENT,
                )
                for share in shares
            ]
            if any(sender.wait() for sender in senders):
                raise SystemExit(f"dcmsend failed with {start.__name__}")
            return len(paths) / (time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(30)


def wait_for(port: int) -> None:
    for _ in range(300):
        if (
            subprocess.run(
                ["echoscu", "-aec", "DICOMPIPE", "127.0.0.1", str(port)], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return
        time.sleep(0.1)
    raise SystemExit("a receiver does not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    missing = [name for name in ("dcmsend", "storescp", "echoscu") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed (Debian: dcmtk)")
        return
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="receiving-") as name:
        paths = make_instances(Path(name) / "instances", options.instances, options.megabytes)
        for _ in range(options.rounds):
            for receiver, start in RECEIVERS.items():
                for associations in options.associations:
                    found.setdefault((receiver, associations), []).append(rate(start, paths, associations))
    print(
        f"{options.instances} CT of {options.megabytes} MB, median of {options.rounds} rounds, instances per second\n"
    )
    print(f"| receiver | {' | '.join(f'{n} association(s)' for n in options.associations)} |")
    print(f"| --- |{' --- |' * len(options.associations)}")
    for receiver in RECEIVERS:
        cells = [f"{statistics.median(found[receiver, n]):.0f}" for n in options.associations]
        print(f"| {receiver} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
