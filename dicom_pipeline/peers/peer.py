"""What a destination is, and how an attempt to deliver can end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class DeliveryOutcome(StrEnum):
    """How one attempt ended: arrived; later again; or for a person, because trying again changes nothing."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. status: the peer's code as text; message: its words, or ours; verified: read back and compared."""

    outcome: DeliveryOutcome
    status: str = ""
    message: str = ""
    verified: bool = False
    to_commit: tuple[str, str] | None = None
    """SOP class and instance of an object whose commitment the destination is to be asked for."""


@dataclass(frozen=True, slots=True)
class CommitmentReply:
    """What came of asking for a commitment. error: "" where the peer accepted the request, else why it did not.

    result: where it answered at once, SOP Instance UID -> failure reason, None for a committed one.
    """

    error: str
    result: Mapping[str, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying what a delivery does, without an object. says: what was seen, or what is wrong, in a sentence."""

    works: bool
    says: str


@runtime_checkable
class Committing(Protocol):
    """A destination that can be asked whether it will keep what it was sent."""

    def ask_commitment(
        self, transaction_uid: str, sop_class_uid: str, sop_instance_uid: str, answer_seconds: float
    ) -> CommitmentReply:
        """Ask, and wait so long for an answer here; never raises for what a peer or network does."""
        ...


class Destination(Protocol):
    """Somewhere that reports go. Calls come from one thread."""

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        ...

    def send(self, report: bytes) -> Attempt:
        """Deliver one Part 10 file. Never raises for what a peer or network does: that is an Attempt."""
        ...

    def echo(self) -> str:
        """Ask whether it is there: "" where it is, else what is wrong in a sentence."""
        ...

    def trial(self) -> Trial:
        """Try what a delivery does, as far as that leaves nothing there."""
        ...
