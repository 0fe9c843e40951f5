"""Names and values of the metrics in an OpenTelemetry message (opentelemetry.proto.metrics.v1.MetricsData).

As much of Protocol Buffers as that takes. Nothing is believed: sizes are checked, the depth is that of the message, and
no more than a number of metrics is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error

_DOUBLE, _INT64 = Struct("<d"), Struct("<q")
# MetricsData.resource_metrics, ResourceMetrics.scope_metrics, ScopeMetrics.metrics
_RESOURCE_METRICS, _SCOPE_METRICS, _METRICS = 1, 2, 2
_NAME, _GAUGE, _SUM, _DATA_POINTS, _AS_DOUBLE, _AS_INT = 1, 5, 7, 1, 4, 6


class NotOtlp(ValueError):
    """The bytes are no such message."""


def read_metrics(data: bytes, most: int) -> dict[str, float | None]:
    """The last value of each metric by name, None of one that is no number (histograms); ``most`` of them at most.

    Raises:
        NotOtlp: the bytes are no such message.
    """
    found: dict[str, float | None] = {}
    try:
        for resource in _messages(data, _RESOURCE_METRICS):
            for scope in _messages(resource, _SCOPE_METRICS):
                for metric in _messages(scope, _METRICS):
                    name, value = _metric(metric)
                    if len(found) < most or name in found:
                        found[name] = value
    except (IndexError, error, UnicodeDecodeError) as failure:
        raise NotOtlp(f"no metrics of OpenTelemetry: {failure}") from None
    return found


def _metric(data: bytes) -> tuple[str, float | None]:
    name, value = "", None
    for field, content in _fields(data):
        if not isinstance(content, bytes):
            continue
        if field == _NAME:
            name = content.decode()
        elif field in (_GAUGE, _SUM):
            for point in _messages(content, _DATA_POINTS):
                for part, number in _fields(point):
                    if part == _AS_DOUBLE and isinstance(number, bytes):
                        (value,) = _DOUBLE.unpack(number)
                    elif part == _AS_INT and isinstance(number, bytes):
                        (value,) = _INT64.unpack(number)
    return name, value


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    for field, content in _fields(data):
        if field == wanted:
            if not isinstance(content, bytes):
                raise NotOtlp(f"field {field} is no message")
            yield content


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and content of each field: bytes of strings, messages and fixed numbers, the value of a varint."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, kind = tag >> 3, tag & 7
        content: bytes | int
        if kind == 0:
            content, position = _varint(data, position)
        else:
            if kind == 2:
                size, position = _varint(data, position)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise NotOtlp(f"wire type {kind}")
            if size > len(data) - position:
                raise NotOtlp(f"field {field} is longer than what is left")
            content = data[position : position + size]
            position += size
        yield field, content


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise NotOtlp("a number without end")
