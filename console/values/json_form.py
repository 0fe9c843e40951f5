"""Values of other formats in JSON's types: what JSON has no type for becomes text. Pure."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

_MAX_DEPTH = 200


def json_text(value: Any, bytes_as: Callable[[bytes], str] = bytes.hex) -> bytes:
    """``value`` as JSON in UTF-8."""
    try:
        # Most values have JSON's types all through, or but for leaves.
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, default=lambda leaf: plain(leaf, bytes_as)
        ).encode()
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        return json.dumps(plain(value, bytes_as), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which UTF-8 has no place for.
        return json.dumps(plain(value, bytes_as)).encode()


def plain(value: Any, bytes_as: Callable[[bytes], str] = bytes.hex, depth: int = 0) -> Any:
    """In JSON's types. Times are in ISO 8601; decimals are numbers where a double has them exactly, else text;
    what is no number is text (``NaN``)."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_as(bytes(value))
    if isinstance(value, Mapping):
        return {_name(key, bytes_as): plain(each, bytes_as, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, bytes_as, depth + 1) for each in value]
    if isinstance(value, decimal.Decimal):
        return _number(value)
    if isinstance(value, datetime.datetime):
        said = value.isoformat()
        return f"{said[:-6]}Z" if said.endswith("+00:00") else said
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    return _other(value, bytes_as, depth)


def _name(key: Any, bytes_as: Callable[[bytes], str]) -> str:
    if isinstance(key, str):
        return key
    said = plain(key, bytes_as)
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def _number(value: decimal.Decimal) -> Any:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and value.as_tuple().exponent >= 0:  # type: ignore[operator]
        return int(value)
    near = float(value)
    return near if decimal.Decimal(repr(near)) == value else str(value)


def _other(value: Any, bytes_as: Callable[[bytes], str], depth: int) -> Any:
    """Tags of CBOR and the like; by their parts, so that the library is not needed here."""
    if hasattr(value, "tag") and hasattr(value, "value"):
        return {"tag": value.tag, "value": plain(value.value, bytes_as, depth + 1)}
    if hasattr(value, "value") and type(value).__name__ == "CBORSimpleValue":
        return {"simple": value.value}
    return None if str(value) == "undefined" else str(value)
