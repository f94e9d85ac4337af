"""DIMSE command sets (PS3.7 section 6.3 and annex E): Implicit VR Little Endian, group 0000 only."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

NO_DATA_SET = 0x0101
MAX_COMMAND_BYTES = 65536


class Field(IntEnum):
    """Command Field values; a response has the bit 0x8000 set."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_ACTION_RQ = 0x0130


class Element(IntEnum):
    """Element numbers of the command group."""

    AFFECTED_CLASS = 0x0002
    REQUESTED_CLASS = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_INSTANCE = 0x1000
    REQUESTED_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ACTION_TYPE = 0x1008


class CommandError(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command set: element number -> value bytes."""

    values: Mapping[int, bytes]

    def number(self, element: Element, default: int = 0) -> int:
        """A US value."""
        value = self.values.get(element, b"")
        return struct.unpack("<H", value)[0] if len(value) == 2 else default

    def uid(self, element: Element) -> str:
        """A UI value without its padding; unreadable bytes stand as question marks and so are no valid UID."""
        return self.values.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace").replace("�", "?")

    @property
    def field(self) -> int:
        """The Command Field."""
        return self.number(Element.COMMAND_FIELD)

    @property
    def message_id(self) -> int:
        """The Message ID."""
        return self.number(Element.MESSAGE_ID)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(Element.COMMAND_DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET


def decode(content: bytes | bytearray) -> Command:
    """A command set from its bytes. Raises CommandError for wrong lengths, other groups or a missing Command Field."""
    values: dict[int, bytes] = {}
    position = 0
    while position < len(content):
        if len(content) - position < 8:
            raise CommandError
        group, element, length = struct.unpack_from("<HHL", content, position)
        position += 8
        if group != 0 or position + length > len(content):
            raise CommandError
        values[element] = bytes(content[position : position + length])
        position += length
    command = Command(MappingProxyType(values))
    if len(values.get(Element.COMMAND_FIELD, b"")) != 2:
        raise CommandError
    return command


def encode(values: Mapping[Element, int | str]) -> bytes:
    """The bytes of a command set: numbers as US, texts padded to an even length."""
    body = b"".join(
        _element(element, value)
        for element, value in sorted(values.items())
        if not (isinstance(value, str) and not value)
    )
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def response(command: Command, status: int, comment: str = "", *, has_data_set: bool = False) -> bytes:
    """The response to a request, with the same SOP class and instance and, for a failure, a word of why."""
    requested = command.field == Field.N_ACTION_RQ
    return encode(
        {
            Element.AFFECTED_CLASS: command.uid(Element.REQUESTED_CLASS if requested else Element.AFFECTED_CLASS)[:64],
            Element.COMMAND_FIELD: command.field | 0x8000,
            Element.MESSAGE_ID_BEING_RESPONDED_TO: command.message_id,
            Element.COMMAND_DATA_SET_TYPE: 1 if has_data_set else NO_DATA_SET,
            Element.STATUS: status,
            Element.ERROR_COMMENT: comment[:64],
            Element.AFFECTED_INSTANCE: command.uid(
                Element.REQUESTED_INSTANCE if requested else Element.AFFECTED_INSTANCE
            )[:64],
        }
    )


def _element(element: Element, value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("<HHLH", 0, element, 2, value)
    text = value.encode("ascii", "replace")
    padding = b" " if element is Element.ERROR_COMMENT else b"\0"
    text += padding * (len(text) % 2)
    return struct.pack("<HHL", 0, element, len(text)) + text
