"""N-EVENT-REPORT on an association that we open ourselves, in the SCP role (PS3.4 J.3.3; role selection, PS3.7 D.3.3.4)."""

from __future__ import annotations

from pydicom import Dataset
from pynetdicom import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_pipeline.acceptor.admission import COMMAND_SYNTAXES
from dicom_pipeline.config import DicomPeer
from dicom_pipeline.peers.dicom_node import requestor, tls_client_context

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"


def send_event_report(peer: DicomPeer, calling_ae: str, event: int, dataset: Dataset) -> str:
    """Send a Storage Commitment result to a node; empty where it was taken, else what went wrong."""
    entity = requestor(peer, calling_ae)
    entity.add_requested_context(StorageCommitmentPushModel, COMMAND_SYNTAXES)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    try:
        tls = (tls_client_context(peer), peer.host) if peer.uses_tls else None
        association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title, ext_neg=[role], tls_args=tls)
    except (OSError, RuntimeError) as error:
        return f"no association: {type(error).__name__}"
    if not association.is_established:
        return "the association was refused or did not come about"
    try:
        status, _ = association.send_n_event_report(dataset, event, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
    except (ValueError, RuntimeError) as error:
        return f"not sent: {type(error).__name__}; does the node accept Storage Commitment with role selection?"
    finally:
        association.release()
    code = status.get("Status")
    return "" if code == 0 else ("no answer" if code is None else f"answered 0x{code:04X}")
