"""Fill the tables of docs/conformance.md from the code; a test holds the page to it.

python docs/make_conformance.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. What a word of the code means to a reader is said here; a
word that is missing here, and one that the code no longer has, are errors.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance_iods import codes_table, common_table, object_table, tree_table, unused_entries
from pydantic import BaseModel
from pydicom.uid import UID
from pynetdicom import sop_class

import dicom_pipeline
from dicom_pipeline.acceptor import admission
from dicom_pipeline.acceptor.admission import Rejection, supported_transfer_syntaxes
from dicom_pipeline.acceptor.operations import SUCCESS
from dicom_pipeline.config import AuditSection, DicomPeer, DicomWebPeer, ListenerSection, ServiceSection
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_pipeline.intake.dicom_services import storage_classes
from dicom_pipeline.intake.store_operation import STATUSES
from dicom_pipeline.peers.peer import DeliveryOutcome
from dicom_pipeline.peers.statuses import attempt_of
from dicom_pipeline.planning.recognition.kinds import NOT_FOR_DISPLAY
from dicom_pipeline.web.dicomweb import FAILURE_REASONS
from dicom_pipeline.web.uploads import REFUSAL_STATUS

PAGE = Path(__file__).resolve().parent / "conformance.md"
PACKAGE = Path(dicom_pipeline.__file__).resolve().parent
MARKED = re.compile(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def page(text: str) -> str:
    """The page with every table made anew. Raises KeyError for a table that nobody makes, ValueError for unused entries."""
    filled = MARKED.sub(lambda m: "\n".join([f"<!-- table: {m[1]} -->", *TABLES[m[1]](), "<!-- end -->"]), text)
    if missing := set(TABLES) - {found[1] for found in MARKED.finditer(text)}:
        raise ValueError(f"tables without a place: {sorted(missing)}")
    if unused := unused_entries():
        raise ValueError(f"conformance_attributes.toml says of no object: {unused}")
    return filled


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a table."""
    columns = list(head)
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * len(columns))} |", *lines]


def class_name(uid: str) -> str:
    """The name of a SOP class; of one that pydicom does not know yet, pynetdicom's keyword for it."""
    keywords = {known: keyword for keyword, known in vars(sop_class)["_STORAGE_CLASSES"].items()}
    return UID(uid).name if UID(uid).name != uid else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keywords[uid])


def received_classes() -> list[str]:
    rendered = {u for u in storage_classes() if "Image Storage" in class_name(u) and u not in NOT_FOR_DISPLAY}
    names = sorted(storage_classes(), key=lambda uid: (class_name(uid), uid))
    return table(("SOP class", "UID", "image"), ((class_name(u), u, "Y" if u in rendered else "N") for u in names))


def transfer_syntaxes() -> list[str]:
    return table(("transfer syntax", "UID"), ((UID(uid).name, uid) for uid in supported_transfer_syntaxes()))


def implementation() -> list[str]:
    rows = (
        ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
    )
    return table(("what", "value, in associations and in File Meta Information"), rows)


MEANING_OF_REJECTIONS = {
    "called-ae": "another AE title is called, or a blank one (`listener.require_called_ae`)",
    "calling-ae": "the calling AE title is not in `listener.calling_ae_titles`, or is blank",
    "network": "the address is not in `listener.networks`",
    "application-context": "another application context than DICOM's",
    "protocol-version": "another protocol version than 1",
    "too-many-associations": "`listener.max_associations` are open",
    "too-many-associations-of-peer": "`listener.max_associations_per_peer` are open from this address",
    "disk-full": "Storage is proposed while less than `spool.min_free_bytes` is free",
    "disk-error": "Storage is proposed while the spool's folder is not there",
}
RESULTS = {1: "1 rejected-permanent", 2: "2 rejected-transient"}
REJECTING = {
    (1, 1): "1 no-reason-given",
    (1, 2): "2 application-context-name-not-supported",
    (1, 3): "3 calling-AE-title-not-recognized",
    (1, 7): "7 called-AE-title-not-recognized",
    (2, 2): "2 protocol-version-not-supported",
    (3, 1): "1 temporary-congestion",
    (3, 2): "2 local-limit-exceeded",
}
REJECTION_SOURCES = {1: "1 service-user", 2: "2 service-provider (ACSE)", 3: "3 service-provider (presentation)"}


def rejections() -> list[str]:
    found = [value for value in vars(admission).values() if isinstance(value, Rejection)]
    rows = (
        (RESULTS[r.result], REJECTION_SOURCES[r.source], REJECTING[r.source, r.diagnostic], meaning)
        for r, meaning in with_meaning(found, MEANING_OF_REJECTIONS, lambda r: r.reason)
    )
    return table(("result", "source", "reason", "when"), rows)


def with_meaning(found: list[Any], meanings: Mapping[str, str], name: Callable[[Any], str]) -> list[tuple[Any, str]]:
    """Each with its meaning. Raises ValueError where a name has none, or a meaning no name."""
    if {name(one) for one in found} != set(meanings):
        raise ValueError(f"meanings do not fit: {sorted({name(one) for one in found} ^ set(meanings))}")
    return [(one, meanings[name(one)]) for one in found]


MEANING_OF_ABORTS = {
    "aborted-by-peer": "",
    "closed": "",
    "command-too-long": "a command set above 65,536 bytes",
    "endless-fragments": "more than 100 empty fragments in a message",
    "endless-object": "a data set goes on 64 MiB beyond the largest object",
    "fragments-out-of-order": "command and data set mixed up, or on two contexts",
    "internal-error": "an error of ours",
    "late": "idle or slow: time-outs of 7.1.1",
    "malformed-command": "a command set that cannot be read",
    "malformed-pdu": "a PDU that cannot be read",
    "no-association-request": "the first PDU is another one",
    "pdu-too-long": "a PDU above the maximum length (16 bytes more are let pass)",
    "released-in-a-message": "A-RELEASE within a message",
    "service-stops": "the service stops",
    "slow": "",
    "slow-sender": "after ten seconds an instance comes slower than `listener.min_bytes_per_second`",
    "unexpected-pdu": "a PDU that does not fit the state",
    "unexpected-response": "a response with a data set",
    "unknown-context": "a presentation context that was not accepted",
    "unknown-pdu": "a PDU type that PS3.8 does not have",
}
ABORTING = {
    0: "0 reason-not-specified",
    1: "1 unrecognized-PDU",
    2: "2 unexpected-PDU",
    6: "6 invalid-PDU-parameter-value",
}


def aborts() -> list[str]:
    """Every WireError of the acceptor that ends an association with an A-ABORT, read from its source."""
    reasons: dict[str, int | None] = {}
    for path in sorted((PACKAGE / "acceptor").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "WireError":
                (reason,) = node.args
                name = (
                    reason.value if isinstance(reason, ast.Constant) else reason.id
                )  # the time-outs' word is a variable
                given = [keyword.value.value for keyword in node.keywords if keyword.arg == "abort"]
                reasons[name] = given[0] if given else reasons.get(name)
    named = with_meaning(list(reasons.items()), MEANING_OF_ABORTS, lambda item: item[0])
    told = sorted((abort, meaning) for (_, abort), meaning in named if abort is not None)
    return table(("reason (source 2, service-provider)", "when"), ((ABORTING[a], m) for a, m in told))


MEANING_OF_RESULTS = {
    "own-object": "an object that this pipeline made: dropped, so that a PACS that forwards everything makes no loop",
    "unreadable": "the data set cannot be read",
    "missing-uid": "a UID of study, series or instance is missing or is none",
    "ambiguous-identity": "an attribute of identity comes twice or out of order",
    "sop-instance-mismatch": "another SOP Instance UID than the request says",
    "sop-class-mismatch": "another SOP Class UID than the request or the context says",
    "too-large": "above `listener.max_object_bytes`, or inflated above `listener.max_inflated_bytes`",
    "disk-full": "less than `spool.min_free_bytes` would stay free",
    "conflict": "other content under a known UID: kept apart",
    "unsupported-transfer-syntax": "a transfer syntax that is not in 1.1",
}


OVER_HTTP = {*FAILURE_REASONS, *REFUSAL_STATUS}
"""What can become of an instance that came over HTTP, where no request says which instance it is to be."""


def refused_stores() -> list[str]:
    """What the receiver refuses, with the status over each interface."""
    results = dict.fromkeys([*STATUSES, *FAILURE_REASONS, *REFUSAL_STATUS])
    named = with_meaning(list(results), MEANING_OF_RESULTS, lambda result: result.value)
    rows = (
        (
            f"`{result.value}`",
            meaning,
            _hex(STATUSES.get(result, SUCCESS if result.in_spool else None)),
            _hex(FAILURE_REASONS.get(result))
            if result in FAILURE_REASONS
            else "stored"
            if result in OVER_HTTP
            else "-",
            REFUSAL_STATUS.get(result, 200) if result in OVER_HTTP else "-",
        )
        for result, meaning in named
    )
    return table(("what", "meaning", "C-STORE", "STOW-RS Failure Reason", "`POST /instances`"), rows)


def _hex(status: int | None) -> str:
    return "-" if status is None else f"0x{status:04X}"


OUTCOMES = {
    DeliveryOutcome.DELIVERED: "delivered",
    DeliveryOutcome.RETRY: "tried again, with back-off, for `give_up_hours`",
    DeliveryOutcome.SET_ASIDE: "set aside for a person",
}


def store_statuses_as_scu() -> list[str]:
    """Every status that a peer can answer a C-STORE with, in ranges of one outcome."""
    ranges: list[tuple[int, int, str]] = []
    for status in range(0x10000):
        attempt = attempt_of(status)
        text = OUTCOMES[attempt.outcome] + (", with the warning" if attempt.message.startswith("warning") else "")
        if status == 0x0122:
            text = "sent as the next simpler SR class; with none left set aside for a person"
        if ranges and ranges[-1][2] == text:
            ranges[-1] = (ranges[-1][0], status, text)
        else:
            ranges.append((status, status, text))
    spans = ((f"{low:04X}" if low == high else f"{low:04X} to {high:04X}", text) for low, high, text in ranges)
    return table(("status", "what follows"), spans)


PARAMETERS: tuple[tuple[str, type[BaseModel], tuple[str, ...]], ...] = (
    (
        "listener",
        ListenerSection,
        (
            *("ae_title", "host", "port", "max_pdu_bytes", "max_associations", "max_associations_per_peer"),
            *("association_timeout_seconds", "idle_timeout_seconds", "network_timeout_seconds", "min_bytes_per_second"),
            *("max_object_bytes", "max_inflated_bytes"),
        ),
    ),
    ("peers (DICOM node)", DicomPeer, ("calling_ae_title", "timeout_seconds")),
    ("peers (DICOMweb)", DicomWebPeer, ("timeout_seconds",)),
    ("service", ServiceSection, ("web_host", "web_port")),
    ("audit", AuditSection, ("syslog", "syslog_port")),
)


def parameters() -> list[str]:
    rows = []
    for section, model, names in PARAMETERS:
        for name in names:
            setting = model.model_fields[name]
            value = setting.default
            counts = isinstance(value, int | float) and not name.endswith("port")
            shown = f"`{value:,.0f}`" if counts else "unset" if value is None else f"`{value}`"
            table_name, _, kind = section.partition(" ")
            rows.append((f"`{table_name}.{name}` {kind}".strip(), shown, setting.description))
    return table(("setting", "default", "what it is"), rows)


TABLES: Mapping[str, Callable[[], list[str]]] = {
    "implementation": implementation,
    "received-classes": received_classes,
    "transfer-syntaxes": transfer_syntaxes,
    "parameters": parameters,
    "rejections": rejections,
    "aborts": aborts,
    "refused-stores": refused_stores,
    "store-statuses-as-scu": store_statuses_as_scu,
    "common-attributes": common_table,
    "report-attributes": lambda: object_table("report"),
    "key-image-attributes": lambda: object_table("key-image"),
    "key-objects-attributes": lambda: object_table("key-objects"),
    "embeddings-attributes": lambda: object_table("embeddings"),
    "pdf-attributes": lambda: object_table("pdf"),
    "report-content": lambda: tree_table("report"),
    "key-objects-content": lambda: tree_table("key-objects"),
    "codes": codes_table,
}


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
