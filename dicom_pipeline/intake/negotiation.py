"""Association negotiation as acceptor: pynetdicom reads the request and negotiates the contexts (PS3.7 annex D, PS3.8 7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicom_pipeline.intake.admission import (
    APPLICATION_CONTEXT,
    PROTOCOL_VERSION,
    ListenerSettings,
    Rejection,
    decide_titles,
)
from dicom_pipeline.intake.wire import WireError

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
MOST_REQUEST_BYTES = 512 * 1024
"""An A-ASSOCIATE-RQ with 128 contexts of every transfer syntax has a quarter of that."""


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was negotiated. answer: the A-ASSOCIATE-AC. peer_max: the largest P-DATA body that the peer takes, 0 for any."""

    calling_ae: str
    called_ae: str
    contexts: dict[int, Context]
    peer_max: int
    answer: bytes


def negotiate(
    body: memoryview, settings: ListenerSettings, supported: Sequence[PresentationContext]
) -> Agreement | Rejection:
    """Answer an A-ASSOCIATE-RQ, given as a PDU's body. Raises WireError where it is malformed."""
    if len(body) < 68:
        raise WireError("malformed-pdu", abort=6)
    if not int.from_bytes(body[:2], "big") & 1:
        return PROTOCOL_VERSION
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(b"\x01\x00" + len(body).to_bytes(4, "big") + bytes(body))
        request = pdu.to_primitive()
        called, calling = str(request.called_ae_title), str(request.calling_ae_title)
        rejection = decide_titles(settings, called, calling)
        if str(request.application_context_name) != APPLICATION_CONTEXT_NAME:
            rejection = APPLICATION_CONTEXT
        return rejection or _agreement(request, settings, supported)
    except Exception as error:  # the edge of an association: pynetdicom raises anything on a malformed request
        raise WireError("malformed-pdu", abort=6) from error


def _agreement(request: A_ASSOCIATE, settings: ListenerSettings, supported: Sequence[PresentationContext]) -> Agreement:
    wanted = request.presentation_context_definition_list
    asked = [item for item in request.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
    roles = {UID(item.sop_class_uid or ""): (item.scu_role, item.scp_role) for item in asked}
    results, granted = negotiate_as_acceptor(wanted, list(supported), roles)
    accepted = [c for c in results if c.result == 0]
    return Agreement(
        calling_ae=str(request.calling_ae_title).strip(),
        called_ae=str(request.called_ae_title).strip(),
        contexts={int(c.context_id or 0): Context(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in accepted},
        peer_max=int(request.maximum_length_received or 0),
        answer=_accept(request, settings, results, granted),
    )


def _accept(
    request: A_ASSOCIATE,
    settings: ListenerSettings,
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
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    answer.user_information = [length, implementation, version, *granted]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    return bytes(pdu.encode())
