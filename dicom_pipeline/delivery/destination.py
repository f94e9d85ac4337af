"""What a destination is, and how an attempt to deliver can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Ending(StrEnum):
    """How one attempt ended: arrived; later again; or for a person, because trying again changes nothing."""

    DELIVERED = "delivered"
    RETRY = "retry"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. status: the peer's code as text; message: its words, or ours; verified: read back and compared."""

    ending: Ending
    status: str = ""
    message: str = ""
    verified: bool = False


class Destination(Protocol):
    """Somewhere that reports go. Calls come from one thread."""

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        ...

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities whose reports it wants; empty means all."""
        ...

    def send(self, report: bytes) -> Attempt:
        """Deliver one Part 10 file. Never raises for what a peer or network does: that is an Attempt."""
        ...

    def echo(self) -> str:
        """Ask whether it is there: "" where it is, else what is wrong in a sentence."""
        ...
