"""One fact of each kind, and what the schema says of its message."""

import subprocess
from pathlib import Path

from dicom_pipeline.audit import (
    Accessed,
    Acknowledged,
    Activity,
    Alert,
    AlertKind,
    Deleted,
    Exported,
    GivenUp,
    Held,
    Node,
    Origin,
    Outcome,
    Queried,
    ReportMade,
    StudyPart,
    Transferred,
)
from tests.peers.programs import need

SCHEMA = Path(__file__).parent / "audit-message.rnc"
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.34"
ORIGIN = Origin("DICOMPIPE@host", "DICOMPIPE", "listener", 4711, site_id="Ward 7")
MODALITY = Node("CT1", "10.1.2.3", "CT1")
PACS = Node("pacs", "pacs.example", "PACS")
STUDY = StudyPart("1.2.3.4", {CT: 20}, patient_id="PAT-42")
AT = 1764030000.25

FACTS = {
    "started": Activity(AT, started=True),
    "stopped": Activity(AT, started=False),
    "received": Transferred(AT, MODALITY, True, STUDY, Held.NOTHING),
    "received-again": Transferred(AT, MODALITY, True, STUDY, Held.SAME),
    "conflict": Transferred(AT, MODALITY, True, STUDY, Held.OTHER, False, Outcome.MINOR_FAILURE, "other content"),
    "begins": Transferred(AT, PACS, False, StudyPart("1.2.3.4", {SR: 1}, {SR: ("2.25.9",)}), begins=True),
    "delivered": Transferred(AT, PACS, False, StudyPart("1.2.3.4", {SR: 1}, {SR: ("2.25.9",)})),
    "report": ReportMade(
        AT, STUDY, StudyPart("1.2.3.4", {SR: 1}, {SR: ("2.25.9",)}), 2, ("CT1@10.1.2.3 20 instances",), "ab" * 32, "2.25.8"
    ),
    "accessed": Accessed(AT, Node("HTTP", "127.0.0.1"), "1.2.3.4", "report"),
    "queried": Queried(AT, Node("HTTP", "::1"), "/search?text=effusion"),
    "exported": Exported(AT, Node("ann@host"), "file:///exports/1", {"1.2.3": "P1", "1.2.4": "P2"}, {"Identified": "False"}),
    "deleted": Deleted(AT, "1.2.3.4", 20, "86400 s after delivery"),
    "acknowledged": Acknowledged(AT, Node("ann@host"), "1.2.3.4", (1, 2)),
    "given-up": GivenUp(
        AT, Node("HTTP", "10.0.0.7"), Node("pacs"), StudyPart("1.2.3.4", {SR: 1}, {SR: ("2.25.9",)}), "the PACS was replaced"
    ),
    "alert": Alert(AT, AlertKind.NODE_AUTHENTICATION, MODALITY, "rejected: calling-ae"),
    "alerts": Alert(AT, AlertKind.ASSOCIATION_FAILURE, Node("10.9.9.9", "10.9.9.9"), "ended: malformed-pdu", 12),
}  # fmt: skip


def problems(lines: list[str], folder: Path) -> str:
    """What jing has against these messages by the schema; "" for nothing."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, line in enumerate(lines):
        paths.append(folder / f"{number}.xml")
        paths[-1].write_text(line, encoding="utf-8")
    command = [need("jing"), "-c", str(SCHEMA), *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else (result.stdout + result.stderr)[:3000]
