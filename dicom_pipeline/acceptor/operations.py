"""What a DIMSE server does for its peers, as a table: (command field, abstract syntax) -> operation.

The acceptor knows nothing else of what is stored or answered. Another service, such as C-FIND or MPPS, is a row more and a
presentation context.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pynetdicom.presentation import PresentationContext

from dicom_pipeline.acceptor.admission import Rejection
from dicom_pipeline.acceptor.dimse import Command

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNIZED_OPERATION = 0x0211


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose association it is. token: names the association."""

    calling_ae: str
    address: str
    token: str


class Operation(Protocol):
    """A request whose data set is arriving. uid: of the instance that it is about, empty without one."""

    uid: str = ""

    def write(self, part: memoryview) -> None:
        """Take a piece of the data set."""

    def finish(self) -> tuple[int, str]:
        """Status and, for a failure, a word of why, once the data set is whole."""

    def follow_up(self) -> tuple[bytes, bytes] | None:
        """After the response: command and data set of a request that goes to the peer on this association; else None."""
        return None

    def drop(self) -> None:
        """The association ended before the data set was whole."""


class FixedResponse(Operation):
    """A request whose answer does not depend on its data set, which passes unread."""

    def __init__(self, status: int, reason: str) -> None:
        self._answer = status, reason

    def write(self, part: memoryview) -> None:
        """Let it pass."""

    def finish(self) -> tuple[int, str]:
        """The answer."""
        return self._answer

    def drop(self) -> None:
        """Nothing to forget."""


Begin = Callable[[Sender, Context, Command], Operation]
"""Makes the operation of a request."""


class Observer(Protocol):
    """Is told of associations and of what is refused. Calls about one association come from its thread."""

    def admit(self, abstract_syntaxes: Collection[str]) -> Rejection | None:
        """Whether there is room for what an association wants to do."""

    def opened(self, sender: Sender) -> None:
        """An association is accepted."""

    def response(self, sender: Sender, command: Command) -> None:
        """A response came, to a request that we sent."""

    def refused(self, sender: Sender, uid: str, status: int, reason: str) -> None:
        """Something was refused. status 0: no DIMSE message was answered with it."""

    def closed(self, sender: Sender) -> None:
        """An association has ended, whether or not it was ever accepted."""


@dataclass(frozen=True, slots=True)
class Services:
    """The table, the presentation contexts that are negotiated for it, and who is told.

    max_bytes: of the largest data set that any operation takes; a sender that goes on far beyond is ended.
    """

    operations: Mapping[tuple[int, str], Begin]
    contexts: Sequence[PresentationContext]
    observer: Observer
    max_bytes: int

    def begin(self, sender: Sender, context: Context, command: Command) -> Operation:
        """The operation of a request; what is not in the table is answered with the status for it (PS3.7 annex C)."""
        begin = self.operations.get((command.field, context.abstract_syntax))
        if begin is not None:
            return begin(sender, context, command)
        known = any(command.field == field for field, _ in self.operations)
        return FixedResponse(SOP_CLASS_NOT_SUPPORTED if known else UNRECOGNIZED_OPERATION, "not-supported")
