"""Random messages: every field of every struct, in every version, by a seed."""

from __future__ import annotations

import random
from typing import Any

from engine.wire.message import Field, Message

_INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def random_message(cls: type[Message], version: int, rng: random.Random, *, sparse: bool = False) -> Any:
    """An instance whose fields of this version have random values; others keep their defaults."""
    message = cls()
    for field in cls.FIELDS:
        if field.low <= version <= field.high and not (sparse and rng.random() < 0.5):
            setattr(message, field.name, _value(field, version, rng, sparse))
    return message


def _value(field: Field, version: int, rng: random.Random, sparse: bool) -> Any:
    nullable = field.nullable is not None and field.nullable[0] <= version <= field.nullable[1]
    if nullable and rng.random() < 0.25:
        return None
    if field.type.startswith("[]"):
        element = field._replace(type=field.type[2:], nullable=None)
        return [_value(element, version, rng, sparse) for _ in range(rng.choice((0, 1, 3)))]
    kind = field.type
    if kind in _INTEGERS:
        bits = _INTEGERS[kind]
        if "error_code" in field.name:
            return rng.choice((0, 1, 3, 6, 16))
        if field.name.endswith(("_ms", "timestamp")) or "time" in field.name:
            return rng.choice((0, 1, 30_000))
        return rng.choice((0, 1, -1, rng.randint(-(1 << bits - 1), (1 << bits - 1) - 1)))
    if kind in ("uint16", "uint32"):
        return rng.randint(0, (1 << int(kind[4:])) - 1)
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "float64":
        return rng.uniform(-1e9, 1e9)
    if kind == "string":
        return rng.choice(("", "a", "grüße", "x" * 130, f"topic-{rng.randint(0, 99)}"))
    if kind == "uuid":
        return rng.randbytes(16)
    if kind in ("bytes", "records"):
        return rng.randbytes(rng.choice((0, 1, 127, 128, 5000)))
    assert kind == "struct", kind
    return random_message(field.struct, version, rng, sparse=sparse)
