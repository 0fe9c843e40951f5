"""Metrics as OpenTelemetry writes them, and bytes that are none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.wire.otlp import NotOtlp, read_metrics


def field(number: int, content: bytes) -> bytes:
    """A string or message of less than 2 MiB."""
    size = len(content)
    varint = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return bytes([number << 3 | 2]) + varint + content


def point(value: float) -> bytes:
    packed = struct.pack("<q", value) if isinstance(value, int) else struct.pack("<d", value)
    # The time, and an attribute before the value.
    attributes = field(7, field(1, b"client_id") + field(2, field(1, b"x")))
    return attributes + b"\x19" + bytes(8) + bytes([(6 if isinstance(value, int) else 4) << 3 | 1]) + packed


def metric(name: str, kind: int, *values: float) -> bytes:
    return field(2, field(1, name.encode()) + field(kind, b"".join(field(1, point(each)) for each in values)))


def message(*metrics: bytes) -> bytes:
    return field(1, field(1, b"") + field(2, field(1, b"") + b"".join(metrics)))


GAUGE, SUM, HISTOGRAM = 5, 7, 9


def test_the_last_value_of_each_metric_is_read() -> None:
    data = message(metric("a", GAUGE, 1.5), metric("b", SUM, 3, 7), metric("c", HISTOGRAM, 1.0)) + message(
        metric("a", GAUGE, -2.5)
    )
    assert read_metrics(data, 10) == {"a": -2.5, "b": 7, "c": None}
    assert list(read_metrics(data, 2)) == ["a", "b"]
    assert read_metrics(b"", 10) == {}


@pytest.mark.parametrize("cut", range(1, 60))
def test_what_is_cut_is_refused_or_less(cut: int) -> None:
    data = message(metric("name", GAUGE, 1.5))
    if cut < len(data):
        with pytest.raises(NotOtlp):
            read_metrics(data[:-cut], 10)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    try:
        found = read_metrics(data, 3)
    except NotOtlp:
        return
    assert len(found) <= 3
