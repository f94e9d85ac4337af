"""What our DICOM node does: C-ECHO, C-STORE of every storage class, Storage Commitment in both roles."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from typing import Any

from pydicom.uid import UID_dictionary
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from dicom_pipeline.acceptor.admission import (
    COMMAND_SYNTAXES,
    DISK_ERROR,
    DISK_FULL,
    Rejection,
    supported_transfer_syntaxes,
)
from dicom_pipeline.acceptor.dimse import Command, Field
from dicom_pipeline.acceptor.listener import Listener
from dicom_pipeline.acceptor.operations import SUCCESS, Begin, FixedResponse, Sender, Services
from dicom_pipeline.audit import Record, unrecorded
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import end_association, enter_association
from dicom_pipeline.config import DicomPeer, ListenerSection
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.commitment import PUSH_MODEL, ActionRequest, Commitments
from dicom_pipeline.intake.commitment_results import CommitmentResult
from dicom_pipeline.intake.group_commit import Committer
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.intake.store_operation import CANNOT_UNDERSTAND, Store

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"

PARTS = ("accepting", "committing")
"""What must make progress, whoever sends: the loop that takes connections, and the thread that every C-STORE waits for."""


class ListeningNode:
    """A listening DICOM node over a spool and a catalog. owner: the run of the service that it belongs to.

    record: the audit trail. commit_peers: sent the results of the commitments that they ask for. min_free_bytes: the disk's
    watermark. progress: called with one of PARTS whenever that made progress. Raises ConfigError for settings that cannot work.
    """

    def __init__(
        self,
        settings: ListenerSection,
        catalog: Catalog,
        spool: Spool,
        owner: str,
        record: Record = unrecorded,
        progress: Callable[[str], object] = lambda _: None,
        *,
        commit_peers: Sequence[DicomPeer] = (),
        min_free_bytes: int = 0,
    ) -> None:
        accepting, committing = (partial(progress, part) for part in PARTS)
        self.settings, self.catalog, self.spool = settings, catalog, spool
        self._owner = owner
        self._committer = Committer(catalog, committing)
        self.receiver = Receiver(
            catalog,
            spool,
            settings.max_object_bytes,
            min_free_bytes,
            ThreadTransfers(record),
            max_inflated_bytes=settings.max_inflated_bytes,
            committer=self._committer,
        )
        self._commitments = Commitments(settings.ae_title, commit_peers, catalog, spool, self._committer)
        self._classes = storage_classes() | extra_classes(settings.extra_sop_classes)
        contexts = supported_contexts(settings.sop_classes, settings.extra_sop_classes)
        services = Services(self._operations(), contexts, self, settings.max_object_bytes)
        self._listener = Listener(settings, services, record, accepting)

    def start(self) -> None:
        """Listen in threads of this process. Raises ConfigError where the port cannot be used."""
        self._listener.open()
        self._committer.start()
        self._commitments.start()
        self._listener.start()

    def stop(self) -> None:
        """Stop listening; let each association finish the message that is arriving, for a moment, then end it."""
        if self._listener.stop(self.receiver.comparison.close):
            self._commitments.stop()
            self._committer.stop()

    def admit(self, abstract_syntaxes: Collection[str]) -> Rejection | None:
        """The answer to who wants to store while nothing can be stored."""
        if self._classes.isdisjoint(abstract_syntaxes):
            return None
        try:
            return DISK_FULL if self.receiver.disk_is_full() else None
        except OSError as error:  # the folder is gone, as when its disk is not mounted
            log.error("cannot look at the spool: %s", error.strerror)
            return DISK_ERROR

    def opened(self, sender: Sender) -> None:
        """A study that this association sends is not complete before it closes."""
        token, owner, now = sender.token, self._owner, time.time()
        self._committer.submit(lambda run: enter_association(run, token, owner, now))

    def response(self, sender: Sender, command: Command) -> None:
        """The answer to an event report, or the end of something that has ended."""
        self._commitments.handle_response(sender.token, command)

    def refused(self, sender: Sender, uid: str, status: int, reason: str) -> None:
        """Write it down."""
        self.receiver.refuse(sender.calling_ae, sender.address, uid, status, reason)

    def closed(self, sender: Sender) -> None:
        """The trail is told before the catalog forgets the association: what is killed here is told of at the next start."""
        self.receiver.transfers.flush()
        token = sender.token
        self._committer.submit(lambda run: end_association(run, token), until_done=True)
        self._commitments.forget(token)

    def _operations(self) -> dict[tuple[int, str], Begin]:
        receiver, commitments = self.receiver, self._commitments

        def store(sender: Sender, context: Any, command: Command) -> Any:
            if not command.has_data_set:
                return FixedResponse(CANNOT_UNDERSTAND, "no-data-set")
            return Store(receiver, sender, context, command)

        return {
            (Field.C_ECHO_RQ, VERIFICATION): lambda *_: FixedResponse(SUCCESS, ""),
            (Field.N_ACTION_RQ, PUSH_MODEL): lambda *request: ActionRequest(commitments, *request),
            (Field.N_EVENT_REPORT_RQ, PUSH_MODEL): lambda _s, context, _c: CommitmentResult(self._committer, context),
            **{(Field.C_STORE_RQ, uid): store for uid in self._classes},
        }


def supported_contexts(sop_classes: tuple[str, ...] = (), extra: tuple[str, ...] = ()) -> list[PresentationContext]:
    """Verification, Storage Commitment and Storage; of Storage only the classes that are named, where any are.

    extra: storage classes that the standard in force does not have. Raises ConfigError.
    """
    commitment = build_context(StorageCommitmentPushModel, COMMAND_SYNTAXES)
    commitment.scu_role = commitment.scp_role = True  # a destination may bring the results of what we asked it
    contexts = [build_context(Verification), commitment]
    storage = storage_classes() | extra_classes(extra)
    wanted = storage if not sop_classes else {_class_uid(name) for name in sop_classes}
    if not wanted <= storage:
        raise ConfigError(f"listener.sop_classes: not a Storage SOP class: {sorted(wanted - storage)}")
    return contexts + [build_context(uid, supported_transfer_syntaxes()) for uid in sorted(wanted)]


@cache
def storage_classes() -> frozenset[str]:
    """UIDs of every Storage SOP class that can be accepted."""
    return frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)


def extra_classes(names: tuple[str, ...]) -> frozenset[str]:
    """UIDs of storage classes that the settings name besides the standard's. Raises ConfigError for what names none."""
    uids = {name: _class_uid(name) for name in names}
    if wrong := sorted(name for name, uid in uids.items() if not is_valid_uid(uid)):
        raise ConfigError(f"listener.extra_sop_classes: expected UIDs, or keywords of PS3.6, found {wrong}")
    return frozenset(uids.values())


def _class_uid(name: str) -> str:
    """The UID of a SOP class that is named by UID or keyword (PS3.6 table A-1, retired ones too)."""
    return next((uid for uid, (*_, keyword) in UID_dictionary.items() if keyword == name), name)
