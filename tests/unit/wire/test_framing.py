"""Frames out of a stream, however it is cut."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest

from engine.wire.framing import FrameError, FrameSplitter


def framed(payloads: list[bytes]) -> bytes:
    return b"".join(struct.pack(">i", len(each)) + each for each in payloads)


@pytest.mark.parametrize("seed", range(40))
def test_frames_come_out_whole_however_the_stream_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    payloads = [rng.randbytes(rng.choice((0, 1, 3, 4, 5, 100, 70_000))) for _ in range(8)]
    stream = framed(payloads)
    splitter = FrameSplitter(100_000)
    got: list[bytes] = []
    position = 0
    while position < len(stream):
        size = rng.choice((1, 2, 3, 4, 5, 7, 1000, 65_536))
        got += [bytes(frame) for frame in splitter.feed(stream[position : position + size])]
        position += size
    assert got == payloads
    assert splitter.buffered_bytes == 0


def test_frames_of_one_read_are_views_of_it() -> None:
    data = framed([b"a" * 1000, b"b" * 1000])
    assert all(frame.obj is data for frame in FrameSplitter(10_000).feed(data))


def test_what_changes_after_the_feed_does_not_change_a_frame() -> None:
    buffer = bytearray(framed([b"abc"]))
    (frame,) = FrameSplitter(100).feed(buffer)
    buffer[:] = bytes(len(buffer))
    assert bytes(frame) == b"abc"


@pytest.mark.parametrize("size", [-1, -(2**31), 101, 2**31 - 1])
def test_a_size_below_zero_or_above_the_bound_is_refused(size: int) -> None:
    with pytest.raises(FrameError, match=str(size)):
        FrameSplitter(100).feed(struct.pack(">i", size) + b"x")


def test_a_large_claim_takes_no_memory_before_its_bytes_come() -> None:
    splitter = FrameSplitter(100_000_000)
    tracemalloc.start()
    assert splitter.feed(struct.pack(">i", 99_000_000) + b"x" * 10) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000
    assert splitter.buffered_bytes == 10


def test_a_frame_that_comes_byte_by_byte_takes_little_more_than_its_bytes() -> None:
    splitter = FrameSplitter(1_000_000)
    tracemalloc.start()
    for byte in struct.pack(">i", 200_000):
        assert splitter.feed(bytes((byte,))) == []
    for _ in range(199_999):
        assert splitter.feed(b"x") == []
    held, _ = tracemalloc.get_traced_memory()
    (frame,) = splitter.feed(b"y")
    tracemalloc.stop()
    assert held < 300_000
    assert bytes(frame) == b"x" * 199_999 + b"y"


def test_the_beginning_of_a_frame_does_not_keep_what_it_was_received_with() -> None:
    splitter = FrameSplitter(1_000_000)
    tracemalloc.start()
    splitter.feed(framed([b"a" * 500_000]) + struct.pack(">i", 10) + b"b")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000
