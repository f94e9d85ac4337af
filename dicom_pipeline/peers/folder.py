"""A folder: one Part 10 file a report, written as a whole or not at all, never over another content."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from dicom_pipeline.config import FolderPeer
from dicom_pipeline.disk import write_problem
from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome, Trial


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is made where it is not there. Files are called <SOP Instance UID>.dcm: our own UID, no patient data."""

    peer: FolderPeer

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        return self.peer.name

    @property
    def path(self) -> Path:
        """Where the files lie."""
        return self.peer.path

    def send(self, report: bytes) -> Attempt:
        """Write the file durably; the same content again is delivered, another under its name is set aside."""
        uid = str(dcmread(io.BytesIO(report), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        target = self.path / f"{uid}.dcm"
        temporary = self.path / f".{uid}.part"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if target.exists():
                same = target.read_bytes() == report
                return (
                    Attempt(DeliveryOutcome.DELIVERED, verified=True)
                    if same
                    else Attempt(DeliveryOutcome.SET_ASIDE, message="another content lies under this UID")
                )
            with temporary.open("wb") as stream:
                stream.write(report)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(target)
            _sync_entries(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):  # what cannot be removed either is overwritten by the next attempt
                temporary.unlink(missing_ok=True)
            return Attempt(DeliveryOutcome.RETRY, message=f"cannot write: {error.strerror}")
        return Attempt(DeliveryOutcome.DELIVERED, verified=True)

    def echo(self) -> str:
        """ "" where the folder can be written, else what is wrong."""
        return write_problem(self.path)

    def trial(self) -> Trial:
        """Write a file and remove it again."""
        problem = write_problem(self.path)
        return Trial(not problem, problem or f"a file could be written in {self.path} and removed again")


def _sync_entries(folder: Path) -> None:
    """Wait until the disk has the folder's entries: without it a power cut may take a file that was delivered."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(handle)
