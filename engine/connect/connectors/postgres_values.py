"""PostgreSQL's types as Debezium maps them, and values from PostgreSQL's texts.

Both the snapshot and the stream have values as texts (with ``DateStyle=ISO``, ``TimeZone=UTC``, ``bytea_output=hex``,
``IntervalStyle=postgres`` and enough digits of floats), so that a row looks the same wherever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from engine.connect import data
from engine.connect.connectors.decimals import scaled
from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import DataError

SESSION = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
"""Settings of every session whose texts are read here."""

Decode = Callable[[str], Any]


class PgType(NamedTuple):
    """A type. ``element`` is that of an array's elements, ``modifier`` a domain's own for its base type."""

    oid: int
    name: str
    kind: str
    element: PgType | None = None
    labels: tuple[str, ...] = ()
    modifier: int = -1


class Field(NamedTuple):
    """What a column is in a record. ``filler`` is there where the schema allows no NULL and the log has no value."""

    schema: Schema
    decode: Decode
    filler: Any


VARIABLE_SCALE_DECIMAL = data.struct(
    {"scale": data.INT32, "value": data.BYTES}, name="io.debezium.data.VariableScaleDecimal", version=1
)

_INTEGERS = {"int2": data.INT16, "int4": data.INT32, "int8": data.INT64, "oid": data.INT64}
_STRINGS = {
    "text", "varchar", "bpchar", "char", "name", "citext", "inet", "cidr", "macaddr", "macaddr8", "int4range",
    "int8range", "numrange", "tsrange", "tstzrange", "daterange", "tsvector", "ltree", "xid", "pg_lsn",
}  # fmt: skip
_EPOCH_DATE = date(1970, 1, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _named(schema: Schema, name: str) -> Schema:
    return schema.named(f"io.debezium.{name}", 1)


def field_of(kind: PgType, modifier: int, decimals: str = "precise", times: str = "adaptive") -> Field | None:
    """How a type comes to records; None for types that Debezium leaves out too.

    Args:
        kind: The type.
        modifier: ``atttypmod``: lengths and precisions; -1 for none.
        decimals: ``decimal.handling.mode``: precise, double, string.
        times: ``time.precision.mode``: adaptive, connect (Connect's own types, in ms), isostring is not known here.
    """
    name = kind.name
    modifier = modifier if modifier != -1 else kind.modifier
    if name in _INTEGERS:
        return Field(_INTEGERS[name], int, 0)
    if name in _STRINGS:
        return Field(data.STRING, str, "")
    if kind.kind == "e":
        schema = data.STRING.named("io.debezium.data.Enum", 1)
        return Field(_with_parameter(schema, "allowed", ",".join(kind.labels)), str, "")
    if kind.element is not None:
        return _array(kind.element, modifier, decimals, times)
    match name:
        case "bool":
            return Field(data.BOOLEAN, lambda text: text == "t", False)
        case "float4":
            return Field(data.FLOAT32, float, 0.0)
        case "float8":
            return Field(data.FLOAT64, float, 0.0)
        case "numeric" | "money":
            return _decimal(name, modifier, decimals)
        case "bytea":
            return Field(data.BYTES, _bytea, b"")
        case "uuid":
            return Field(_named(data.STRING, "data.Uuid"), str, "")
        case "json" | "jsonb":
            return Field(_named(data.STRING, "data.Json"), str, "{}")
        case "xml":
            return Field(_named(data.STRING, "data.Xml"), str, "")
        case "bit" if modifier == 1:
            return Field(data.BOOLEAN, lambda text: text == "1", False)
        case "bit" | "varbit":
            bits = _with_parameter(data.BYTES.named("io.debezium.data.Bits", 1), "length", str(max(modifier, 0)))
            return Field(bits, _bits, b"")
        case "interval":
            return Field(_named(data.INT64, "time.MicroDuration"), _interval_us, 0)
        case "date" | "time" | "timetz" | "timestamp" | "timestamptz":
            return _time(name, modifier, times)
    return None


def _with_parameter(schema: Schema, name: str, value: str) -> Schema:
    return Schema(schema.type, name=schema.name, version=schema.version, parameters=((name, value),))


def _array(element: PgType, modifier: int, decimals: str, times: str) -> Field | None:
    found = field_of(element, modifier, decimals, times)
    if found is None or element.element is not None:
        return None
    inside = optional(found)

    def decode(text: str) -> list[Any]:
        return [None if each is None else inside.decode(each) for each in array_items(text)]

    return Field(data.array(inside.schema), decode, [])


def _decimal(name: str, modifier: int, handling: str) -> Field:
    if name == "money":
        # Its text has the sign of a currency and groups of digits.
        amount: Decode = lambda text: Decimal(re.sub(r"[^0-9.()-]", "", text).replace("(", "-").replace(")", ""))  # noqa: E731
        return Field(data.decimal(2), amount, Decimal("0.00"))
    if handling == "double":
        return Field(data.FLOAT64, float, 0.0)
    if handling == "string":
        return Field(data.STRING, str, "0")
    if modifier >= 4:
        raw = (modifier - 4) & 0x7FF
        scale = raw - 0x800 if raw & 0x400 else raw  # 11 bits with a sign since PostgreSQL 15
        return Field(data.decimal(scale), scaled(scale), Decimal(0).scaleb(-scale))
    zero = Struct(VARIABLE_SCALE_DECIMAL, {"scale": 0, "value": b"\0"})
    return Field(VARIABLE_SCALE_DECIMAL, _variable_scale, zero)


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise DataError(f"{text} has no place in Connect's Decimal: use decimal.handling.mode=string or double")
    return number


def optional(field: Field) -> Field:
    """The same with NULL."""
    if field.schema is VARIABLE_SCALE_DECIMAL:
        schema = field.schema.as_optional()
        return Field(schema, lambda text: _variable_scale(text, schema), None)
    return field._replace(schema=field.schema.as_optional())


def _variable_scale(text: str, schema: Schema = VARIABLE_SCALE_DECIMAL) -> Struct:
    sign, digits, exponent = _finite(text).as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits)) or "0") * (10 ** max(exponent, 0))
    number = -number if sign else number
    size = (number + (number < 0)).bit_length() // 8 + 1
    return Struct.of(schema, [max(-exponent, 0), number.to_bytes(size, "big", signed=True)])


def _time(name: str, modifier: int, times: str) -> Field | None:
    connect, millis = times == "connect", 0 <= modifier <= 3
    match name:
        case "date" if connect:
            return Field(data.DATE, _date, _EPOCH_DATE)
        case "date":
            return Field(_named(data.INT32, "time.Date"), lambda text: (_date(text) - _EPOCH_DATE).days, 0)
        case "time" if connect:
            return Field(data.TIME, lambda text: _cut(_clock(text)), time())
        case "time" if millis and times == "adaptive":
            return Field(_named(data.INT32, "time.Time"), lambda text: _clock_us(text) // 1000, 0)
        case "time":
            return Field(_named(data.INT64, "time.MicroTime"), _clock_us, 0)
        case "timetz":
            return Field(_named(data.STRING, "time.ZonedTime"), _zoned_time, "00:00:00Z")
        case "timestamp" if connect:
            return Field(data.TIMESTAMP, lambda text: _cut(_moment(text)), _EPOCH)
        case "timestamp" if millis:
            return Field(_named(data.INT64, "time.Timestamp"), lambda text: _moment_us(text) // 1000, 0)
        case "timestamp":
            return Field(_named(data.INT64, "time.MicroTimestamp"), _moment_us, 0)
    return Field(_named(data.STRING, "time.ZonedTimestamp"), _zoned_timestamp, "1970-01-01T00:00:00Z")


def _cut(moment: Any) -> Any:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DataError(f"the date {text} is outside of the years 1 to 9999") from None


def _clock(text: str) -> time:
    return time(23, 59, 59, 999999) if text.startswith("24:") else time.fromisoformat(text)


def _clock_us(text: str) -> int:
    if text.startswith("24:"):
        return 86_400_000_000
    clock = time.fromisoformat(text)
    return ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1_000_000 + clock.microsecond


def _moment(text: str) -> datetime:
    """Of ``2026-01-02 03:04:05.678901``, with or without an offset; without one it is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"the time {text} is outside of the years 1 to 9999") from None
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _moment_us(text: str) -> int:
    # Debezium's numbers for what has no place on a calendar.
    if text == "infinity":
        return 9_223_372_036_825_200_000
    if text == "-infinity":
        return -9_223_372_036_832_400_000
    return (_moment(text) - _EPOCH) // _MICROSECOND


def _zoned_timestamp(text: str) -> str:
    if text in ("infinity", "-infinity"):
        return text
    moment = _moment(text)
    return moment.isoformat(timespec="auto").replace("+00:00", "Z")


def _zoned_time(text: str) -> str:
    clock = time.fromisoformat(text)
    moment = datetime.combine(date(2000, 1, 2), clock).astimezone(UTC)
    return moment.time().isoformat() + "Z"


_INTERVAL = re.compile(
    r"(?:(-?\+?\d+) years? ?)?(?:(-?\+?\d+) mons? ?)?(?:(-?\+?\d+) days? ?)?(?:([-+]?)(\d+):(\d\d):(\d\d(?:\.\d+)?))?"
)


def _interval_us(text: str) -> int:
    """In microseconds; a month counts 30.4375 days, as Debezium has it."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise DataError(f"the interval {text!r} cannot be read")
    years, months, days, sign, hours, minutes, seconds = found.groups()
    clock = (int(hours or 0) * 60 + int(minutes or 0)) * 60_000_000 + int(Decimal(seconds or 0) * 1_000_000)
    whole = (int(years or 0) * 12 + int(months or 0)) * Decimal("30.4375") + int(days or 0)
    return int(whole * 86_400_000_000) + (-clock if sign == "-" else clock)


def _bytea(text: str) -> bytes:
    if not text.startswith("\\x"):
        raise DataError("bytea is not in the hex format: bytea_output was changed")
    return bytes.fromhex(text[2:])


def _bits(text: str) -> bytes:
    """Little-endian, as Debezium has it."""
    return int(text or "0", 2).to_bytes((len(text) + 7) // 8, "little")


def array_items(text: str) -> list[str | None]:
    """The elements of a one-dimensional array's text, ``{1,NULL,"a b"}``.

    Raises:
        DataError: it is none, or has more dimensions.
    """
    if text.startswith("["):  # [2:3]={…}: its first index is not 1
        text = text.partition("=")[2]
    if not (text.startswith("{") and text.endswith("}")):
        raise DataError(f"the array {text!r} cannot be read")
    items: list[str | None] = []
    at, end = 1, len(text) - 1
    while at < end:
        if text[at] == "{":
            raise DataError("arrays of more than one dimension have no schema")
        if text[at] == '"':
            piece, at = [], at + 1
            while text[at] != '"':
                at += text[at] == "\\"
                piece.append(text[at])
                at += 1
            items.append("".join(piece))
            at += 2
            continue
        comma = text.find(",", at, end)
        stop = end if comma < 0 else comma
        item = text[at:stop]
        items.append(None if item == "NULL" else item)
        at = stop + 1
    return items


def unavailable(field: Field, placeholder: str) -> Any:
    """What stands for a value that the log does not have (``unavailable.value.placeholder``)."""
    if field.schema.type is Type.STRING:
        return placeholder
    if field.schema.type is Type.BYTES and field.schema.name is None:
        return placeholder.encode()
    if field.schema.type is Type.ARRAY and field.schema.value is not None and field.schema.value.type is Type.STRING:
        return [placeholder]
    return None if field.schema.optional else field.filler
