"""Keys from the text of a request, and keys and values as JSON for its answer."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from engine.streams.queries.errors import InvalidQuery
from engine.streams.serdes import BOOLEAN, BYTES, DOUBLE, FLOAT, INTEGER, JSON, LONG, SHORT, STRING, UUID, Serde

_DEEP: Final = 64


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false is wanted")
    return text == "true"


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    STRING.name: str,
    BYTES.name: str.encode,
    LONG.name: int,
    INTEGER.name: int,
    SHORT.name: int,
    DOUBLE.name: float,
    FLOAT.name: float,
    BOOLEAN.name: _boolean,
    UUID.name: uuid.UUID,
    JSON.name: json.loads,
}
"""How text becomes a key, by the serde's name."""


def key_bytes_of(serde: Serde[Any], text: str, what: str) -> bytes:
    """The bytes of a key that is written as text: as it is for strings, a number for numbers, JSON for JSON.

    For a serde of the user's the text is tried as JSON, and then as it is.

    Raises:
        InvalidQuery: it is none.
    """
    known = _READERS.get(serde.name)
    readers: list[Callable[[str], Any]] = [json.loads, str] if known is None else [known]
    why: Exception | None = None
    for each in readers:
        try:
            return bytes(serde.serialize(each(text)))
        except Exception as error:
            why = why or error
    raise InvalidQuery(
        f"{what}: {text!r} is no key of the serde {serde.name} ({why}); give its bytes as {what}_base64"
    ) from why


def bytes_of_base64(text: str, what: str) -> bytes:
    """Bytes of a parameter.

    Raises:
        InvalidQuery: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidQuery(f"{what}: {text!r} is not base64") from None


def check_key(serde: Serde[Any], data: bytes, what: str) -> None:
    """Whether bytes are a key at all.

    Raises:
        InvalidQuery: the serde does not read them.
    """
    try:
        serde.deserialize(data)
    except Exception as error:
        raise InvalidQuery(f"{what}: {data!r} is no key of the serde {serde.name} ({error})") from error


def base64_of(data: bytes) -> str:
    """Bytes for a parameter or an answer."""
    return base64.b64encode(data).decode()


def as_json(value: Any, depth: int = 0) -> Any:
    """A key or value as JSON has it; bytes as ``{"base64": …}``, what JSON cannot say as ``{"repr": …}``."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"repr": repr(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64_of(bytes(value))}
    if depth < _DEEP:
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            value = value._asdict()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        if isinstance(value, Mapping) and all(isinstance(each, str) for each in value):
            return {name: as_json(each, depth + 1) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [as_json(each, depth + 1) for each in value]
        if isinstance(value, set | frozenset):
            return [as_json(each, depth + 1) for each in sorted(value, key=repr)]
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return {"repr": repr(value)}
