"""A listener on a disk that is full, in a process of its own: `python -m tests.peers.full_disk FOLDER tmpfs|limit`.

Prints what it answered, as JSON. tmpfs: mounts one of 3 MiB over FOLDER, in the caller's mount namespace, and fills it.
limit: bounds the size of any file that this process writes (RLIMIT_FSIZE), as the next best.
"""

import json
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool, dataset_sha256
from tests.peers.programs import free_port
from tests.peers.raw import RawSender, data_set


class Tmpfs:
    """A small disk, filled by a file beside the spool."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", str(folder)], check=True)
        self._ballast = folder / "ballast"

    def leave(self, count: int) -> None:
        """Fill the disk but for about so many bytes."""
        self.make_room()
        free = os.statvfs(self._ballast.parent)
        with self._ballast.open("wb") as stream:
            stream.write(bytes(max(0, free.f_bavail * free.f_bsize - count)))

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)


class Limit:
    """No room in files: any that would grow beyond the limit cannot."""

    def __init__(self, folder: Path) -> None:
        del folder

    def leave(self, count: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def held(folder: Path) -> list[str]:
    """UIDs in the catalog; the file of each is whole."""
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        rows = catalog.execute("SELECT sop_instance_uid, path, sha256 FROM instance ORDER BY 1").fetchall()
    catalog.close()
    assert all(dataset_sha256(folder / path) == digest for _, path, digest in rows)
    return [uid for uid, _, _ in rows]


def main(folder: Path, kind: str) -> dict[str, object]:
    disk = Tmpfs(folder) if kind == "tmpfs" else Limit(folder)
    catalog = Catalog(folder / "catalog.sqlite")
    listener = ListeningNode(ListenerSection(port=free_port()), catalog, Spool(folder), "run")
    listener.start()
    bodies = {f"1.2.{number}": data_set(f"1.2.{number}", "1.3", bytes([number]) * size)
              for number, size in ((1, 200_000), (2, 400_000), (3, 8_000), (4, 400))}  # fmt: skip
    peer = RawSender(listener.settings.port)
    answer: dict[str, object] = {}

    def store(uid: str) -> int:
        return peer.store(uid, bodies[uid])

    assert store("1.2.1") == 0
    disk.leave(100_000)
    answer["while writing"] = store("1.2.2")
    disk.leave(12_288)  # room for the file, not for the pages of its entry
    answer["while committing"] = store("1.2.3")
    disk.leave(0)
    answer["full to the last byte"] = store("1.2.4")
    answer["acknowledged while full"] = ["1.2.1"]
    answer["held while full"] = held(folder) if kind == "limit" else look(folder)
    disk.make_room()
    answer["after room was made"] = [store(uid) for uid in ("1.2.2", "1.2.3", "1.2.4")]
    peer.release()
    listener.stop()
    catalog.close()
    answer["held at the end"] = held(folder)
    answer["sent"] = sorted(bodies)
    answer["left in incoming"] = len(list((folder / "incoming").iterdir()))
    return answer


def look(folder: Path) -> list[str]:
    """As held, without a write: the disk is full."""
    with sqlite3.connect(f"file:{folder}/catalog.sqlite?mode=ro", uri=True) as catalog:
        rows = catalog.execute("SELECT sop_instance_uid FROM instance ORDER BY 1").fetchall()
    catalog.close()
    return [uid for (uid,) in rows]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2])) + "\n")
