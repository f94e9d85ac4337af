"""What can happen that an audit trail tells, as values. Times are seconds since 1970 in UTC; UIDs stand in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Outcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 table A.5.2-1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


class Held(StrEnum):
    """What the receiver held before: nothing, the same content, other content under the same UID, or nobody knows."""

    NOTHING = "nothing"
    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Node:
    """Who takes part. name: AE title, user or destination; address: an IP address, a host name or a URI, empty for none."""

    name: str
    address: str = ""
    ae_title: str = ""


@dataclass(frozen=True, slots=True)
class StudyPart:
    """Instances of one study. classes: SOP Class UID -> number of instances; instances: SOP Instance UIDs worth naming.

    patient_id: goes into a message only where the settings say so.
    """

    study_instance_uid: str
    classes: Mapping[str, int]
    instances: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    patient_id: str = ""


@dataclass(frozen=True, slots=True)
class Activity:
    """The service started or stopped (PS3.15 A.5.3.1)."""

    at: float
    started: bool


@dataclass(frozen=True, slots=True)
class Transferred:
    """Instances went from a node to another, or begin to (PS3.15 A.5.3.7, A.5.3.3). received: we are the destination.

    peer: the other side. words: why an outcome is none of success.
    """

    at: float
    peer: Node
    received: bool
    study: StudyPart
    held: Held = Held.UNKNOWN
    begins: bool = False
    outcome: Outcome = Outcome.SUCCESS
    words: str = ""


@dataclass(frozen=True, slots=True)
class ReportMade:
    """Reports were made of a revision (PS3.15 A.5.3.6, create). sources: its instances; senders: lines, who sent how many.

    made: the report and its companions.
    """

    at: float
    sources: StudyPart
    made: StudyPart
    revision: int
    senders: tuple[str, ...]
    fingerprint: str
    predecessor: str | None = None


@dataclass(frozen=True, slots=True)
class Accessed:
    """Someone read results of a study over HTTP (PS3.15 A.5.3.6, read). what: the route."""

    at: float
    user: Node
    study_instance_uid: str
    what: str


@dataclass(frozen=True, slots=True)
class Queried:
    """Someone searched the store (PS3.15 A.5.3.10). query: as it was asked."""

    at: float
    user: Node
    query: str


@dataclass(frozen=True, slots=True)
class Exported:
    """Embeddings left for a folder (PS3.15 A.5.3.4). details: what the export says of itself."""

    at: float
    user: Node
    place: str
    studies: Mapping[str, str]
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deleted:
    """A study's files were deleted from the spool (PS3.15 A.5.3.8). instances: how many files. words: by what rule."""

    at: float
    study_instance_uid: str
    instances: int
    words: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Someone has seen that revisions of a study failed (PS3.15 A.5.3.6, update). revisions: their numbers."""

    at: float
    user: Node
    study_instance_uid: str
    revisions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Someone decided that a report will not be sent to a destination (PS3.15 A.5.3.7, failed). words: the reason given.

    made: the object that is not sent.
    """

    at: float
    user: Node
    destination: Node
    made: StudyPart
    words: str


class AlertKind(StrEnum):
    """Why there is an alert: a node is not who it should be, or an association broke the protocol or a limit."""

    NODE_AUTHENTICATION = "node-authentication"
    ASSOCIATION_FAILURE = "association-failure"


@dataclass(frozen=True, slots=True)
class Alert:
    """A node was turned away (PS3.15 A.5.3.11). count: so many of these since the last message about them."""

    at: float
    kind: AlertKind
    node: Node
    words: str
    count: int = 1


Fact = Activity | Transferred | ReportMade | Accessed | Queried | Exported | Deleted | Acknowledged | GivenUp | Alert
Record = Callable[[Fact], None]
"""Takes a fact into an audit trail; never raises."""


def unrecorded(fact: Fact) -> None:
    """Where no audit trail is kept."""
