"""Values as texts that Java makes of them: ``toString()`` of what Connect's values are in Java.

Texts of numbers end up in topics (StringConverter, Cast to string), where other programs compare them with Java's.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from engine.connect.data import Schema, Struct, Type
from engine.connect.java_numbers import to_single


def double_text(value: float) -> str:
    """``Double.toString`` of Java 19 and later: the shortest digits; powers of ten outside 1e-3 … 1e7."""
    return _point(repr(value), value)


def float_text(value: float) -> str:
    """``Float.toString``: likewise for the nearest number of 32 bits."""
    if not math.isfinite(value):
        return _point("", value)
    single = to_single(value)
    return _point(repr(short_float(single)) if math.isfinite(single) else "", single)


def short_float(single: float) -> float:
    """The number of 64 bits with the fewest digits of which Java's float of 32 bits is ``single``, itself one of 32."""
    for digits in range(6, 9):
        short = float(f"{single:.{digits}g}")
        if to_single(short) == single:
            return short
    return float(f"{single:.9g}")


def _point(text: str, value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    if text == "5e-324":
        text = "4.9e-324"  # Java shows two digits at least
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)
    shown = "".join(map(str, digits))
    power = exponent + len(shown) - 1
    minus = "-" if sign else ""
    if not -3 <= power < 7:
        return f"{minus}{shown[0]}.{shown[1:] or '0'}E{power}"
    if power < 0:
        return f"{minus}0.{'0' * (-power - 1)}{shown}"
    return f"{minus}{shown[: power + 1].ljust(power + 1, '0')}.{shown[power + 1 :] or '0'}"


def decimal_text(value: Decimal) -> str:
    """``BigDecimal.toString``, which Python's is but for its ``E+10``'s and zeros' look, both the same."""
    return str(value)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def moment_text(value: date | time | datetime) -> str:
    """``java.util.Date.toString`` of a worker whose time zone is UTC."""
    if isinstance(value, datetime):
        day, clock = value.date(), value.time()
    elif isinstance(value, date):
        day, clock = value, time()
    else:
        day, clock = date(1970, 1, 1), value
    name, month = _DAYS[day.weekday()], _MONTHS[day.month - 1]
    return f"{name} {month} {day.day:02} {clock:%H:%M:%S} UTC {day.year:04}"


def java_text(schema: Schema | None, value: Any) -> str:
    """Any value's ``toString()``; the schema tells floats of 32 bits from others."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value) if schema is not None and schema.type is Type.FLOAT32 else double_text(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, (date, time)):
        return moment_text(value)
    if isinstance(value, Struct):
        pairs = zip(value.schema.fields, value.values, strict=True)
        inside = (f"{field.name}={java_text(field.schema, each)}" for field, each in pairs if each is not None)
        return f"Struct{{{','.join(inside)}}}"
    if isinstance(value, (list, tuple)):
        of = schema.value if schema is not None else None
        return f"[{', '.join(java_text(of, each) for each in value)}]"
    if isinstance(value, dict):
        keys, values = (schema.key, schema.value) if schema is not None else (None, None)
        inside = (f"{java_text(keys, key)}={java_text(values, each)}" for key, each in value.items())
        return f"{{{', '.join(inside)}}}"
    return str(value)
