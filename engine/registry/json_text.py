"""JSON as other registries and clients can read it: Python's own takes more. Pure."""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: str | bytes) -> Any:
    """A value of JSON.

    Raises:
        ValueError: it is none, is nested too deeply, or has NaN, an infinite number or half of a character.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_float)
        if _may_have_halves(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it has half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _may_have_halves(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        return b"\\ud" in text or b"\\uD" in text
    return "\\ud" in text or "\\uD" in text or not text.isascii()


def _no_number(said: str) -> Any:
    raise ValueError(f"{said} is no number in JSON")


def _float(said: str) -> float:
    value = float(said)
    if math.isinf(value):
        raise ValueError(f"{said[:40]} is too large for a number")
    return value
