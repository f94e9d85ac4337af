"""Association negotiation as acceptor: pynetdicom reads the request and negotiates the contexts (PS3.7 annex D, PS3.8 7.1)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicom_pipeline.acceptor.admission import (
    APPLICATION_CONTEXT,
    CALLED_AE,
    CALLING_AE,
    PROTOCOL_VERSION,
    Rejection,
    decide_titles,
)
from dicom_pipeline.acceptor.operations import Context
from dicom_pipeline.acceptor.pdu import WireError
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
MAX_REQUEST_BYTES = 512 * 1024
"""An A-ASSOCIATE-RQ with 128 contexts of every transfer syntax has a quarter of that."""

TITLES = slice(4, 36)
"""Called and calling AE title in the body of an A-ASSOCIATE-RQ, 16 bytes each (PS3.8 table 9-11)."""

ITEMS_FROM = 68
USER_INFORMATION = 0x50
ITEMS = frozenset({0x10, 0x20, USER_INFORMATION})
USER_ITEMS = frozenset({0x51, 0x54})
"""What our answer depends on: maximum length and roles. What else a peer proposes is declined by saying nothing of it."""


@dataclass(frozen=True, slots=True)
class AcceptedAssociation:
    """What was negotiated. answer: the A-ASSOCIATE-AC. peer_max: the largest P-DATA body that the peer takes, 0 for any.

    refused: abstract syntaxes of which no proposed context was accepted.
    """

    calling_ae: str
    called_ae: str
    contexts: dict[int, Context]
    refused: tuple[str, ...]
    peer_max: int
    answer: bytes


def negotiate(
    body: memoryview, settings: ListenerSection, supported: Sequence[PresentationContext]
) -> AcceptedAssociation | Rejection:
    """Answer an A-ASSOCIATE-RQ, given as a PDU's body. Raises WireError where it is malformed."""
    if len(body) < ITEMS_FROM:
        raise WireError("malformed-pdu", abort=6)
    if not int.from_bytes(body[:2], "big") & 1:
        return PROTOCOL_VERSION
    for title, rejection in zip(_titles(body), (CALLED_AE, CALLING_AE), strict=True):
        if not title.strip():
            return rejection  # a title of spaces alone is none (PS3.8 table 9-11)
    try:
        pdu = A_ASSOCIATE_RQ()
        known = _with_spaces(bytes(body[:ITEMS_FROM])) + _known_items(bytes(body[ITEMS_FROM:]), ITEMS)
        pdu.decode(b"\x01\x00" + len(known).to_bytes(4, "big") + known)
        request = pdu.to_primitive()
        called, calling = str(request.called_ae_title), str(request.calling_ae_title)
        if str(request.application_context_name) != APPLICATION_CONTEXT_NAME:
            return APPLICATION_CONTEXT
        return decide_titles(settings, called, calling) or _accepted(request, settings, supported)
    except Exception as error:  # the edge of an association: pynetdicom raises anything on a malformed request
        raise WireError("malformed-pdu", abort=6) from error


def calling_title(body: memoryview) -> str:
    """The calling AE title of an A-ASSOCIATE-RQ, given as a PDU's body; "" where it is none."""
    text = _titles(body)[1].decode("ascii", "replace").strip() if len(body) >= TITLES.stop else ""
    return text if text.isascii() and text.isprintable() else ""


def _titles(body: memoryview | bytes) -> tuple[bytes, bytes]:
    """Called and calling AE title: some peers end them with a NUL, behind which anything may stand."""
    titles = bytes(body[TITLES])
    called, calling = (title.partition(b"\0")[0] for title in (titles[:16], titles[16:]))
    return called, calling


def _with_spaces(fixed: bytes) -> bytes:
    """The fixed fields with both AE titles padded with spaces, as PS3.8 has them."""
    padded = b"".join(title.ljust(16) for title in _titles(fixed))
    return fixed[: TITLES.start] + padded + fixed[TITLES.stop :]


def _known_items(content: bytes, kinds: Collection[int]) -> bytes:
    """The items of these types, of user information those that count. Raises ValueError for items that are cut.

    An acceptor ignores the types that it does not know and does not reject an association for them (PS3.8 annex D.2).
    """
    kept, position = bytearray(), 0
    while position < len(content):
        if len(content) - position < 4:
            raise ValueError("an item is cut")
        kind, length = struct.unpack_from(">BxH", content, position)
        body = content[position + 4 : position + 4 + length]
        if len(body) < length:
            raise ValueError("an item is cut")
        position += 4 + length
        if kind == USER_INFORMATION:
            body = _known_items(body, USER_ITEMS)
        if kind in kinds:
            kept += struct.pack(">BxH", kind, len(body)) + body
    return bytes(kept)


def _accepted(
    request: A_ASSOCIATE, settings: ListenerSection, supported: Sequence[PresentationContext]
) -> AcceptedAssociation:
    wanted = request.presentation_context_definition_list
    asked = [item for item in request.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
    roles = {UID(item.sop_class_uid or ""): (item.scu_role, item.scp_role) for item in asked}
    results, granted = negotiate_as_acceptor(wanted, list(supported), roles)
    accepted = [c for c in results if c.result == 0]
    accepted_syntaxes = {str(c.abstract_syntax) for c in accepted}
    return AcceptedAssociation(
        calling_ae=str(request.calling_ae_title).strip(),
        called_ae=str(request.called_ae_title).strip(),
        contexts={int(c.context_id or 0): Context(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in accepted},
        refused=tuple(
            dict.fromkeys(str(c.abstract_syntax) for c in results if str(c.abstract_syntax) not in accepted_syntaxes)
        ),
        peer_max=int(request.maximum_length_received or 0),
        answer=_accept(request, settings, results, granted),
    )


def _accept(
    request: A_ASSOCIATE,
    settings: ListenerSection,
    results: Sequence[PresentationContext],
    granted: Sequence[SCP_SCU_RoleSelectionNegotiation],
) -> bytes:
    answer = A_ASSOCIATE()
    answer.application_context_name = UID(APPLICATION_CONTEXT_NAME)
    answer.calling_ae_title = request.calling_ae_title
    answer.called_ae_title = request.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = list(results)
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = settings.max_pdu_bytes
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    answer.user_information = [length, implementation, version, *granted]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    return bytes(pdu.encode())
