"""Files to a DICOM node by C-STORE, as they are: what cannot be sent costs itself alone, and says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom.presentation import build_context

from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.peers.dicom_node import DicomNode
from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome
from dicom_pipeline.peers.statuses import attempt_of
from dicom_pipeline.planning import Header

MAX_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 9.3.2.2)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file. status: the node's, None where it gave none; problem: why it is not stored, "" where it is.

    no_association: none came about, so that this says nothing of the file.
    """

    header: Header
    status: int | None
    problem: str = ""
    no_association: bool = False


def send_files(node: DicomNode, headers: Sequence[Header]) -> Iterator[Sent]:
    """Send each file in its own SOP class and transfer syntax; an association that breaks is opened anew for the next file."""
    by_context: dict[tuple[str, str], list[Header]] = {}
    for header in headers:
        by_context.setdefault((header.sop_class_uid, header.transfer_syntax_uid), []).append(header)
    pairs = list(by_context)
    for start in range(0, len(pairs), MAX_CONTEXTS):
        offered = pairs[start : start + MAX_CONTEXTS]
        files = [header for pair in offered for header in by_context[pair]]
        yield from _send_with(node, offered, files)


def _send_with(node: DicomNode, offered: Sequence[tuple[str, str]], files: Sequence[Header]) -> Iterator[Sent]:
    """Send files whose classes and transfer syntaxes fit into one association."""
    association: Any = None
    for header in files:
        if association is None or not association.is_established:
            association = node.associate([build_context(*pair) for pair in offered])
        if isinstance(association, Attempt):
            yield Sent(header, None, association.message, no_association=True)
            association = None
            continue
        sent = _send(association, header)
        if sent is None:  # it is gone, or of no more use
            association.abort()
            association = None
        yield sent or Sent(header, None, "the node did not answer, or ended the association")
    if association is not None and association.is_established:
        association.release()


def _send(association: Any, header: Header) -> Sent | None:
    """What became of a file, None where no answer came."""
    accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
    if (header.sop_class_uid, header.transfer_syntax_uid) not in accepted:
        kind, syntax = UID(header.sop_class_uid).name, UID(header.transfer_syntax_uid).name
        return Sent(header, None, f"the node does not accept {kind} in {syntax}")
    try:
        with suppress_warnings():
            dataset = _whole(header)
    except UNPARSABLE as error:
        return Sent(header, None, f"the file cannot be read: {getattr(error, 'strerror', '') or type(error).__name__}")
    try:
        answer = association.send_c_store(dataset)
    except RuntimeError:  # it ended after the file before
        return None
    except UNPARSABLE as error:
        return Sent(header, None, f"the file cannot be encoded for sending: {type(error).__name__}")
    status = answer.get("Status")
    if status is None:
        return None
    attempt = attempt_of(status, str(answer.get("ErrorComment", "") or ""))
    stored = attempt.outcome is DeliveryOutcome.DELIVERED
    return Sent(header, status, "" if stored else f"0x{status:04X}: {attempt.message}")


def _whole(header: Header) -> Dataset:
    """The file's data set with the file meta information that pynetdicom chooses the context by."""
    dataset = dcmread(header.path, force=True)
    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax_uid)
    return dataset
