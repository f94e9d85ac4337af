"""Whether a text is a UID, and UIDs of what we make: `2.25.` + uuid5 over what the object says (PS3.5 B.2)."""

from __future__ import annotations

import re
import uuid

NAMESPACE = uuid.UUID("8b0f9a5e-6a53-5b0e-9a3c-0d6d2c1f7e10")
"""Fixed for ever: another value would give every object of the past another name."""


def uid_of(*parts: str) -> str:
    """The UID named by some texts."""
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join(parts)).int}"


IMPLEMENTATION_CLASS_UID = uid_of("implementation-class")
IMPLEMENTATION_VERSION_NAME = "DICOM_PIPELINE_1"
"""Who we are in every association, as acceptor and as requestor (PS3.7 D.3.3.2), and in the File Meta Information of what we
write (PS3.10 7.1), which follows the same policies: one implementation, so one UID. docs/conformance.md states both values.
Neither changes with the version of a library, and both are part of a report's file.
"""

DEVICE_UID = uid_of("device")
CODING_SCHEME_UID = uid_of("coding-scheme")


def report_series_uid(study_instance_uid: str) -> str:
    """The series that holds all reports on a study."""
    return uid_of("report-series", study_instance_uid)


VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_valid_uid(text: str) -> bool:
    """Whether a text has the form of a UID: digits and dots, 1 to 64 characters (PS3.5 9.1; leading zeros are let pass)."""
    return len(text) <= 64 and VALID_UID.fullmatch(text) is not None
