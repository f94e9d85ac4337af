"""Whether a node finds an object again: C-FIND as SCU, Study Root, IMAGE level (PS3.4 C.4.1, C.6.2)."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

PENDING = (0xFF00, 0xFF01)


def find_instance(association: Any, sent: Dataset) -> bool | str:
    """Whether the peer lists the object; what is wrong, in words, where it cannot be asked."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(wanted, keyword, str(sent.get(keyword)))
    found, status = False, None
    try:
        for answer, identifier in association.send_c_find(wanted, StudyRootQueryRetrieveInformationModelFind):
            status = answer.get("Status")
            if status in PENDING and identifier is not None:
                found |= str(identifier.get("SOPInstanceUID", "")) == str(sent.SOPInstanceUID)
    except (ValueError, RuntimeError) as error:
        return f"C-FIND failed: {error}"
    if status == 0x0000:
        return found
    return "it did not answer the C-FIND" if status is None else f"C-FIND was answered 0x{status:04X}"
