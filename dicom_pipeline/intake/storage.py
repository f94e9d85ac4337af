"""Where instances go that come in, and within which limits: what all interfaces share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from dicom_pipeline import faults
from dicom_pipeline.audit import unrecorded
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import enter_refusal
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.dicom.identity import MAX_INFLATED_BYTES
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.group_commit import DirectCommitter
from dicom_pipeline.intake.spool import Spool

log = logging.getLogger(__name__)

REFUSAL_SECONDS = 2.0
"""How long an answer waits for its refusal to be written down."""


class Submitter(Protocol):
    """Runs work in a transaction of the catalog."""

    def submit(self, work: Callable[[Run], Any]) -> Future[Any]:
        """Give work; its result is there once it is committed and synced. It fails with CatalogError."""
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """A spool and a catalog. Limits in bytes: of an instance, of one inflated, of what stays free on the disk.

    transfers: told of each instance; who finishes receipts flushes them, in the same thread, when its request is whole.
    committer: runs transactions; unset, each in the thread that needs it.
    """

    catalog: Catalog
    spool: Spool
    max_object_bytes: int
    min_free_bytes: int
    transfers: ThreadTransfers = field(default_factory=lambda: ThreadTransfers(unrecorded))
    comparison: Comparison = field(default_factory=Comparison)
    max_inflated_bytes: int = MAX_INFLATED_BYTES
    committer: Submitter | None = None

    def disk_is_full(self, wanted: int = 0) -> bool:
        """Whether less than the watermark is free, or would be after `wanted` more bytes. Raises OSError."""
        return self.spool.free_bytes() < self.min_free_bytes + wanted

    def commit(self, work: Callable[[Run], Any]) -> Any:
        """The result of work in a transaction. Raises CatalogError."""
        submitted = self._submit(work)
        faults.passing("entry-submitted")
        return submitted.result()

    def refuse(self, calling_ae: str, address: str, uid: str, status: int, reason: str) -> None:
        """Write down that something was refused. status 0: no DIMSE message was answered with it."""
        calling = _printable(calling_ae) or "a peer that gave no title"
        if status:
            log.warning("%s of %s answered 0x%04X: %s", short_uid(uid), calling, status, reason)
        else:
            log.warning("%s: %s", calling, reason)
        values = {
            "at": time.time(),
            "status": status,
            "reason": reason,
            "sop_instance_uid": uid[:64],
            "calling_ae": calling_ae[:16],
            "address": address,
        }
        try:
            self._submit(lambda run: enter_refusal(run, **values)).result(REFUSAL_SECONDS)
        except TimeoutError:
            log.warning("the answer does not wait for a refusal to be written down: the catalog is busy")
        except CatalogError as error:
            log.error("cannot write down a refusal: %s", error)

    def _submit(self, work: Callable[[Run], Any]) -> Future[Any]:
        return (self.committer or DirectCommitter(self.catalog)).submit(work)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:16]
