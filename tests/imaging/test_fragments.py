"""Which fragments make up which frame: an offset table is believed only where it can be right."""

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.imaging.decoding.fragments import TruncatedFrameError, frames_of, read_frame

END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
START = b"\xff\x4f\xff\x51"


def item(data):
    data += b"\0" * (len(data) % 2)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data


def body(fragments, table=b"", end=END):
    return item(table) + b"".join(item(f) for f in fragments) + end


def read(raw, frames, extended=b""):
    stream = io.BytesIO(raw)
    return [read_frame(stream, fragments) for fragments in frames_of(stream, frames, extended)]


def offsets(fragmented):
    found, at = [], 0
    for fragments in fragmented:
        found.append(at)
        at += sum(8 + len(f) for f in fragments)
    return found


code_streams = st.lists(
    st.lists(
        st.binary(min_size=2, max_size=40).map(lambda b: b"." + b[1:] + b"." * (len(b) % 2)), min_size=1, max_size=4
    ),
    min_size=1,
    max_size=6,
).map(lambda streams: [[START + parts[0], *parts[1:]] for parts in streams])


@settings(max_examples=200, deadline=None)
@given(
    streams=code_streams,
    table=st.sampled_from(["none", "right", "zeros", "shifted", "extended", "short"]),
    empty=st.integers(0, 2),
    end=st.booleans(),
)
def test_each_frame_is_its_own_code_stream_whatever_the_table_says(streams, table, empty, end):
    right = offsets(streams)
    basic = {
        "right": right,
        "zeros": [0] * len(right),
        "shifted": [offset + 20 for offset in right],
        "short": right[:-1],
    }.get(table, [])
    extended = struct.pack(f"<{len(right)}Q", *right) if table == "extended" else b""
    flat = [f for fragments in streams for f in fragments] + [b""] * empty
    raw = body(flat, struct.pack(f"<{len(basic)}L", *basic), END if end else b"")
    assert read(raw, len(streams), extended) == [b"".join(fragments) for fragments in streams]


def test_a_right_table_tells_frames_apart_that_nothing_else_does():
    fragmented = [[b"aa", b"bb"], [b"cc"]]
    table = struct.pack("<2L", *offsets(fragmented))
    assert read(body([b"aa", b"bb", b"cc"], table), 2) == [b"aabb", b"cc"]
    assert read(body([b"aa", b"bb", b"cc"]), 2) == []


def test_fewer_code_streams_than_frames_give_no_frame_twice():
    assert len(read(body([START, START, START]), 5)) == 3
    assert len(read(body([START, START, START]), 2)) == 2
    assert len(read(body([START, START, START]), 1)) == 1


def test_one_frame_is_all_its_fragments():
    assert read(body([b"aa", b"bb", b"cc"]), 1) == [b"aabbcc"]


def test_a_file_that_ends_within_a_fragment_is_told():
    raw = body([START + b"aa", START + b"bbbb"])[:-12]
    stream = io.BytesIO(raw)
    first, second = frames_of(stream, 2)
    assert read_frame(stream, first) == START + b"aa"
    with pytest.raises(TruncatedFrameError):
        read_frame(stream, second)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 5), st.binary(max_size=40))
def test_any_bytes_are_no_frames_rather_than_an_error(raw, frames, extended):
    assert len(frames_of(io.BytesIO(raw), frames, extended)) <= frames
