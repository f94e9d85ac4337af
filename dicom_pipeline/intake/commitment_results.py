"""Storage Commitment as SCU, the answering half: an N-EVENT-REPORT that a destination sends on an association of its own.

The question went out from peers/commitment.py; the catalog stands between the two. The peer associates in the SCP role (role
selection, PS3.7 D.3.3.4), as PS3.4 J.3.3 lets it. A result counts by its Transaction UID, which only the asked peer knows.
"""

from __future__ import annotations

import logging
import time
from io import BytesIO

from pynetdicom import dsutils

from dicom_pipeline.acceptor.operations import SUCCESS, Context, Operation
from dicom_pipeline.catalog.commitment_requests import answers_of, enter_result
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.group_commit import Committer

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024**2
NO_SUCH_TRANSACTION = 0x0110
INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0115, 0x0213


class CommitmentResult(Operation):
    """One N-EVENT-REPORT request: `write` for its data set, `finish` for the status."""

    def __init__(self, committer: Committer, context: Context) -> None:
        self._committer = committer
        self._implicit = context.transfer_syntax == "1.2.840.10008.1.2"
        self._content = bytearray()

    def write(self, part: memoryview) -> None:
        """Take a piece; what is over the limit is refused at the end."""
        if len(self._content) <= MAX_BYTES:
            self._content += part

    def finish(self) -> tuple[int, str]:
        """Status of the N-EVENT-REPORT (PS3.7 10.1.1.1.8)."""
        if len(self._content) > MAX_BYTES:
            return RESOURCE_LIMITATION, "too-large"
        try:
            dataset = dsutils.decode(BytesIO(bytes(self._content)), self._implicit, True)
            transaction, answers = str(dataset.TransactionUID), answers_of(dataset)
        except Exception as error:  # noqa: BLE001 - the edge of an association: hostile input must not end it unanswered
            log.error("cannot understand a commitment result: %s", type(error).__name__)
            return INVALID_ARGUMENT, "unreadable"
        now = time.time()
        try:
            known = self._committer.submit(lambda run: enter_result(run, transaction, answers, now)).result()
        except CatalogError:
            return RESOURCE_LIMITATION, "catalog-error"
        failed = sum(1 for failure in answers.values() if failure is not None)
        log.info("commitment %s: %d answered, %d not committed", short_uid(transaction), len(answers), failed)
        return (SUCCESS, "") if known else (NO_SUCH_TRANSACTION, "unknown-transaction")

    def drop(self) -> None:
        """Nothing to forget: the peer will say it again."""
