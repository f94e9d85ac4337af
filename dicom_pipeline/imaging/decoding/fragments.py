"""Which fragments of encapsulated pixel data make up which frame.

Offset tables are often wrong: zeros, counted from another place, of another object. An offset is believed only where all
of them meet the starts of items. Source: PS3.5 annex A.4, PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import BinaryIO

ITEM, SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""First bytes of a JPEG or JPEG-LS, a JPEG 2000 code stream, and a JP2 file."""

Fragment = tuple[int, int]
"""Position of a fragment's first byte in the stream, and its length in bytes."""


class TruncatedFrameError(Exception):
    """The frame's fragments are not there, or the file ends within them."""


def frames_of(stream: BinaryIO, frames: int, extended_offsets: bytes = b"") -> tuple[tuple[Fragment, ...], ...]:
    """The fragments of each frame, for a stream at the first item (the Basic Offset Table) of its pixel data.

    frames: what Number of Frames says. Fewer frames come back where there are fewer code streams; frames whose fragments
    cannot be told apart are not guessed at, so that none comes back. Raises nothing for odd bytes: they end the list.
    """
    items = _items(stream)
    table, fragments = _read(stream, items[0]) if items else b"", items[1:]
    while fragments and fragments[-1][1] == 0:
        fragments.pop()
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    origin = fragments[0][0] - 8 if fragments else 0
    for offsets in (_unpack("Q", extended_offsets), _unpack("L", table)):
        grouped = _by_offsets(fragments, [origin + offset for offset in offsets], frames)
        if grouped:
            return grouped
    return _by_code_streams(stream, fragments, frames)


def read_frame(stream: BinaryIO, fragments: Sequence[Fragment]) -> bytes:
    """The code stream of one frame. Raises TruncatedFrameError where the file ends within it."""
    parts = []
    for fragment in fragments:
        part = _read(stream, fragment)
        if len(part) < fragment[1]:
            raise TruncatedFrameError("the file ends within a fragment")
        parts.append(part)
    return b"".join(parts)


def _items(stream: BinaryIO) -> list[Fragment]:
    """The items up to the delimiter, the end of the file or what is no item."""
    found: list[Fragment] = []
    while len(head := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        if (group << 16 | element) != ITEM or length == 0xFFFFFFFF:
            break
        found.append((stream.tell(), length))
        stream.seek(length, 1)
    return found


def _read(stream: BinaryIO, fragment: Fragment) -> bytes:
    stream.seek(fragment[0])
    return stream.read(fragment[1])


def _unpack(code: str, table: bytes) -> tuple[int, ...]:
    size = struct.calcsize("<" + code)
    return struct.unpack(f"<{len(table) // size}{code}", table[: len(table) // size * size])


def _by_offsets(fragments: list[Fragment], starts: Sequence[int], frames: int) -> tuple[tuple[Fragment, ...], ...]:
    """Fragments grouped by the starts of frames; empty unless there is one for each frame and each meets an item."""
    items = {position - 8: number for number, (position, _) in enumerate(fragments)}
    numbers = [items.get(start, -1) for start in starts]
    ascending = all(one < other for one, other in itertools.pairwise(numbers))
    if len(numbers) != frames or not numbers or numbers[0] != 0 or not ascending:
        return ()
    return tuple(tuple(fragments[one:other]) for one, other in itertools.pairwise([*numbers, len(fragments)]))


def _by_code_streams(stream: BinaryIO, fragments: list[Fragment], frames: int) -> tuple[tuple[Fragment, ...], ...]:
    """Fragments grouped by those that begin a code stream; all of them as one where the object has a single frame."""
    begins = [n for n, (at, length) in enumerate(fragments) if _read(stream, (at, min(length, 8))).startswith(STARTS)]
    if begins[:1] == [0] and (len(begins) > 1 or frames == 1):
        groups = [tuple(fragments[one:other]) for one, other in itertools.pairwise([*begins, len(fragments)])]
        return tuple(groups[:frames])
    return (tuple(fragments),) if frames == 1 and fragments else ()
