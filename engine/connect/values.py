"""Values as texts, and what texts may mean (``org.apache.kafka.connect.data.Values``): SimpleHeaderConverter's format.

Nothing here knows a time zone but UTC; Java's takes the worker's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from math import isinf
from typing import Any

from engine.connect.data import (
    BOOLEAN,
    BYTES,
    DATE,
    DATE_NAME,
    DECIMAL_NAME,
    FLOAT32,
    FLOAT64,
    INT8,
    INT16,
    INT32,
    INT64,
    MS_PER_DAY,
    NULL,
    STRING,
    TIME,
    TIME_NAME,
    TIMESTAMP,
    TIMESTAMP_NAME,
    Schema,
    SchemaAndValue,
    Struct,
    Type,
    array,
    bytes_from_decimal,
    date_from_days,
    days_from_date,
    decimal,
    decimal_from_bytes,
    map_of,
    ms_from_time,
    ms_from_timestamp,
    time_from_ms,
    timestamp_from_ms,
)
from engine.connect.errors import DataError
from engine.connect.java_numbers import integral_part, long_of, parse_decimal, to_single, wrapped
from engine.connect.java_text import java_text
from engine.connect.value_tokens import BLANKS, Tokens

# Texts of values.


def to_text(schema: Schema | None, value: Any) -> str:
    """A value as text that :func:`parse` reads (``Values.convertToString``).

    Raises:
        DataError: a value of no kind that Connect knows.
    """
    return _text(schema, value, embedded=False)


def _text(schema: Schema | None, value: Any, *, embedded: bool) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{_escaped(value)}"' if embedded else value
    if isinstance(value, (bool, int, float, Decimal)):
        return java_text(schema, value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        shown = b64encode(value).decode()
        return f'"{shown}"' if embedded else shown
    if isinstance(value, (list, tuple)):
        of = schema.value if schema is not None else None
        return f"[{','.join(_text(of, each, embedded=True) for each in value)}]"
    if isinstance(value, dict):
        keys, values = (schema.key, schema.value) if schema is not None else (None, None)
        pairs = (
            f"{_text(keys, key, embedded=True)}:{_text(values, each, embedded=True)}" for key, each in value.items()
        )
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, Struct):
        fields = (
            f'"{_escaped(each.name)}":{_text(each.schema, value.get(each.name), embedded=True)}'
            for each in value.schema.fields
        )
        return f"{{{','.join(fields)}}}"
    if isinstance(value, (date, time)):
        return _moment_text(value)
    raise DataError(f"Failed to serialize unexpected value type {type(value).__name__}: {value}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _moment_text(value: date | time | datetime) -> str:
    """The form depends on the moment, not on its type, as in Java (``Values.dateFormatFor``)."""
    ms = _moment_ms(value)
    days, rest = divmod(ms, MS_PER_DAY)
    clock = f"{rest // 3_600_000:02}:{rest // 60_000 % 60:02}:{rest // 1000 % 60:02}.{rest % 1000:03}Z"
    if ms < MS_PER_DAY:
        return clock
    day = date_from_days(days)
    shown = f"{day.year:04}-{day.month:02}-{day.day:02}"
    return shown if rest == 0 else f"{shown}T{clock}"


def _moment_ms(value: date | time | datetime) -> int:
    if isinstance(value, datetime):
        return ms_from_timestamp(value)
    return ms_from_time(value) if isinstance(value, time) else days_from_date(value) * MS_PER_DAY


# Schemas of values.


def infer_schema(value: Any) -> Schema | None:
    """The schema of a value without one, or None where it does not tell (``Values.inferSchema``).

    Integers are INT64 and floats FLOAT64: Python has no others.
    """
    match value:
        case str():
            return STRING
        case bool():
            return BOOLEAN
        case int():
            return INT64
        case float():
            return FLOAT64
        case bytes() | bytearray() | memoryview():
            return BYTES
        case Struct():
            return value.schema
        case list() | tuple():
            of = _common_kind(value)
            return None if of is None else array(of)
        case dict():
            keys, values = _common_kind(value.keys()), _common_kind(value.values())
            return None if keys is None or values is None else map_of(keys, values)
    return None


def _common_kind(values: Iterable[Any]) -> Schema | None:
    common: Type | None = None
    optional = False
    for each in values:
        if each is None:
            optional = True
            continue
        schema = infer_schema(each)
        if schema is None or (common is not None and schema.type is not common):
            return None
        common = schema.type
    return None if common is None else Schema(common, optional)


# Values under other schemas.


def convert(to: Schema, from_: Schema | None, value: Any) -> Any:
    """A value under another schema (``Values.convertTo``).

    Raises:
        DataError: it has no meaning there.
    """
    if value is None:
        if to.optional:
            return None
        raise DataError("Unable to convert a null value to a schema that requires a value")
    if to.name == DECIMAL_NAME and to.type is Type.BYTES:
        return _to_decimal(to, value)
    if to.name == DATE_NAME and to.type is Type.INT32:
        return _to_date(from_, value)
    if to.name == TIME_NAME and to.type is Type.INT32:
        return _to_time(from_, value)
    if to.name == TIMESTAMP_NAME and to.type is Type.INT64:
        return _to_timestamp(from_, value)
    return _CONVERSIONS[to.type](to, from_, value)


def _inconvertible(value: Any, to: object) -> DataError:
    return DataError(f"Unable to convert {value} ({type(value).__name__}) to {to}")


def _to_bytes(to: Schema, from_: Schema | None, value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Decimal):
        return bytes_from_decimal(to, value)
    raise _inconvertible(value, to)


def _to_decimal(to: Schema, value: Any) -> Decimal:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return decimal_from_bytes(to, bytes(value))
    if isinstance(value, Decimal):
        return value
    if isinstance(value, (int, float)):
        return Decimal(java_text(None, float(value)))
    if isinstance(value, str):
        return parse_decimal(value)
    raise _inconvertible(value, to)


def to_boolean(from_: Schema | None, value: Any) -> bool:
    """``Values.convertToBoolean``: zero is false, other numbers are true."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        parsed = parse(value).value
        if isinstance(parsed, bool):
            return parsed
    return as_long(from_, value) != 0


def as_long(from_: Schema | None, value: Any) -> int:
    """``Values.asLong``: numbers, their texts, and moments as what they are made of.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return long_of(value)
    if isinstance(value, str):
        try:
            return wrapped(integral_part(parse_decimal(value)), 64)
        except DataError:
            pass
    elif from_ is not None and isinstance(value, (date, time)):
        if isinstance(value, datetime):
            return ms_from_timestamp(value)
        return ms_from_time(value) if isinstance(value, time) else days_from_date(value)
    raise _inconvertible(value, "a number" if from_ is None else from_)


def as_double(from_: Schema | None, value: Any) -> float:
    """``Values.asDouble``; see :func:`as_long`."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(parse_decimal(value))
        except DataError:
            pass
    return float(as_long(from_, value))


def _to_integer(bits: int) -> Callable[[Schema, Schema | None, Any], int]:
    return lambda to, from_, value: wrapped(as_long(from_, value), bits)


def _parsed(value: Any) -> Any:
    return parse(value).value if isinstance(value, str) else value


def _to_list(to: Schema, from_: Schema | None, value: Any) -> list[Any]:
    value = _parsed(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    raise _inconvertible(value, to)


def _to_dict(to: Schema, from_: Schema | None, value: Any) -> dict[Any, Any]:
    value = _parsed(value)
    if isinstance(value, dict):
        return value
    raise _inconvertible(value, to)


def _to_struct(to: Schema, from_: Schema | None, value: Any) -> Struct:
    if isinstance(value, Struct):
        return value
    raise _inconvertible(value, to)


def _to_date(from_: Schema | None, value: Any) -> date:
    value = _parsed(value)
    if isinstance(value, datetime):
        return date_from_days(ms_from_timestamp(value) // MS_PER_DAY)
    if isinstance(value, date):
        return value
    return date_from_days(wrapped(as_long(from_, value), 32))


def _to_time(from_: Schema | None, value: Any) -> time:
    value = _parsed(value)
    if isinstance(value, datetime):
        return time_from_ms(ms_from_timestamp(value) % MS_PER_DAY)
    if isinstance(value, time):
        return value
    return time_from_ms(wrapped(as_long(from_, value), 32))


def _to_timestamp(from_: Schema | None, value: Any) -> datetime:
    value = _parsed(value)
    if isinstance(value, datetime):
        return value
    if isinstance(value, (date, time)):
        return timestamp_from_ms(_moment_ms(value))
    return timestamp_from_ms(as_long(from_, value))


_CONVERSIONS: dict[Type, Callable[[Schema, Schema | None, Any], Any]] = {
    Type.BYTES: _to_bytes,
    Type.STRING: lambda to, from_, value: to_text(from_, value),
    Type.BOOLEAN: lambda to, from_, value: to_boolean(from_, value),
    Type.INT8: _to_integer(8),
    Type.INT16: _to_integer(16),
    Type.INT32: _to_integer(32),
    Type.INT64: _to_integer(64),
    Type.FLOAT32: lambda to, from_, value: to_single(as_double(from_, value)),
    Type.FLOAT64: lambda to, from_, value: as_double(from_, value),
    Type.ARRAY: _to_list,
    Type.MAP: _to_dict,
    Type.STRUCT: _to_struct,
}


# What texts mean.


def parse(text: str | None) -> SchemaAndValue:
    """What a text most probably means; itself where nothing else (``Values.parseString``)."""
    if text is None:
        return NULL
    if not text:
        return SchemaAndValue(STRING, text)
    return _ValueParser(text).parse(embedded=False) or NULL


_TRUE, _FALSE = SchemaAndValue(BOOLEAN, True), SchemaAndValue(BOOLEAN, False)


class _ValueParser:
    """``Values.ValueParser``."""

    def __init__(self, text: str) -> None:
        self._tokens = Tokens(text)

    def parse(self, *, embedded: bool) -> SchemaAndValue | None:
        tokens = self._tokens
        if not tokens.has_next():
            return None
        if embedded and tokens.take('"'):
            return self._quoted()
        if self._literal("null", embedded):
            return None
        if self._literal("true", embedded):
            return _TRUE
        if self._literal("false", embedded):
            return _FALSE
        start = tokens.mark()
        try:
            if tokens.take("["):
                return self._array()
            if tokens.take("{"):
                return self._map()
        except DataError:
            tokens.rewind(start)
        token = tokens.next()
        stripped = token.strip(BLANKS)
        return self._scalar(stripped, embedded) if stripped else SchemaAndValue(STRING, token)

    def _literal(self, wanted: str, embedded: bool) -> bool:
        start = self._tokens.mark()
        if self._tokens.take(wanted) and (embedded or not self._tokens.has_next()):
            return True
        self._tokens.rewind(start)
        return False

    def _scalar(self, token: str, embedded: bool) -> SchemaAndValue:
        first = token[0]
        if first.isdigit():
            moment = self._moment(token)
            if moment is not None:
                return moment
        if first.isdigit() or first in "+-":
            try:
                return _parse_number(token)
            except DataError:
                pass  # a text that begins with a digit
        if embedded:
            raise DataError("Failed to parse embedded value")
        return SchemaAndValue(STRING, self._tokens.text)

    def _moment(self, token: str) -> SchemaAndValue | None:
        """A colon parts tokens, so a clock's time is five of them."""
        start = self._tokens.mark()
        rest = self._tokens.next_several(4)
        if rest is not None:
            moment = _parse_moment(token + rest)
            if moment is not None:
                return moment
        self._tokens.rewind(start)
        return _parse_moment(token)

    def _quoted(self) -> SchemaAndValue:
        parts = []
        while self._tokens.has_next() and not self._tokens.take('"'):
            parts.append(self._tokens.next())
        text = "".join(parts)
        return _parse_moment(text) or SchemaAndValue(STRING, text)

    def _array(self) -> SchemaAndValue:
        tokens, values, common = self._tokens, list[Any](), _Common()
        while tokens.has_next():
            if tokens.take("]"):
                if common.schema is None:
                    return SchemaAndValue(Schema(Type.ARRAY), values)
                of = common.schema
                return SchemaAndValue(array(of), [convert(of, None, each) for each in values])
            if tokens.take(","):
                raise DataError(f"Unable to parse an empty array element: {tokens.text}")
            element = self.parse(embedded=True)
            common.merge(element)
            values.append(None if element is None else element.value)
            position = tokens.mark()
            if tokens.take("]"):
                tokens.rewind(position)
            elif not tokens.take(","):
                raise DataError("Array elements missing ',' delimiter")
        raise DataError(f"Array is missing terminating ']': {tokens.text}")

    def _map(self) -> SchemaAndValue:
        tokens, entries, keys, values = self._tokens, dict[Any, Any](), _Common(), _Common()
        while tokens.has_next():
            if tokens.take("}"):
                return _typed_map(keys.schema, values.schema, entries)
            if tokens.take(","):
                raise DataError(f"Unable to parse a map entry with no key or value: {tokens.text}")
            key = self.parse(embedded=True)
            if key is None or key.value is None:
                raise DataError(f"Map entry may not have a null key: {tokens.text}")
            if not tokens.take(":"):
                raise DataError(f"Map entry is missing ':' in {tokens.text}")
            value = self.parse(embedded=True)
            _put(entries, key.value, None if value is None else value.value)
            tokens.take(",")
            keys.merge(key)
            values.merge(value)
        raise DataError(f"Map is missing terminating '}}': {tokens.text}")


def _put(entries: dict[Any, Any], key: Any, value: Any) -> None:
    """Raises DataError for keys that cannot be, or that Python takes for others: 1 is True."""
    try:
        other = next((each for each in entries if each == key), key) if key in entries else key
        entries[key] = value
    except TypeError:
        raise DataError(f"A {type(key).__name__} cannot be the key of a map") from None
    if isinstance(other, bool) is not isinstance(key, bool):
        raise DataError(f"Python cannot tell the keys {other} and {key} of a map from each other")


def _typed_map(keys: Schema | None, values: Schema | None, entries: dict[Any, Any]) -> SchemaAndValue:
    if keys is None:
        return SchemaAndValue(Schema(Type.MAP), entries)
    if values is None:
        typed = {convert(keys, None, key): each for key, each in entries.items()}
        return SchemaAndValue(Schema(Type.MAP, key=keys), typed)
    typed = {convert(keys, None, key): convert(values, None, each) for key, each in entries.items()}
    return SchemaAndValue(map_of(keys, values), typed)


def _parse_number(text: str) -> SchemaAndValue:
    number = parse_decimal(text)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if number.adjusted() <= 19 and number == number.to_integral_value():
        whole = int(number)
        for bits, schema in ((8, INT8), (16, INT16), (32, INT32), (64, INT64)):
            if wrapped(whole, bits) == whole:
                return SchemaAndValue(schema, whole)
    if exponent != 0:
        double = float(number)
        single = to_single(double)
        if not isinf(single):
            return SchemaAndValue(FLOAT32, single)
        if not isinf(double):
            return SchemaAndValue(FLOAT64, double)
    return SchemaAndValue(decimal(-exponent), number)


_DATE_FORM = r"[ \t]*(\d+)-[ \t]*(\d+)-[ \t]*(\d+)"
_TIME_FORM = r"[ \t]*(\d+):[ \t]*(\d+):[ \t]*(\d+)\.[ \t]*(\d+)Z"
_DATE_LIKE, _TIME_LIKE = re.compile(_DATE_FORM), re.compile(_TIME_FORM)
_TIMESTAMP_LIKE = re.compile(f"{_DATE_FORM}T{_TIME_FORM}")


def _parse_moment(text: str) -> SchemaAndValue | None:
    """By length, then as leniently as Java's: month 13 is next year's first."""
    text = text.replace("\\:", ":")
    try:
        if len(text) == 10 and (found := _DATE_LIKE.match(text)):
            return SchemaAndValue(DATE, date_from_days(_days(*map(int, found.groups()))))
        if len(text) == 13 and (found := _TIME_LIKE.match(text)):
            return SchemaAndValue(TIME, time_from_ms(_ms(*map(int, found.groups()))))
        if len(text) == 24 and (found := _TIMESTAMP_LIKE.match(text)):
            numbers = [int(each) for each in found.groups()]
            return SchemaAndValue(TIMESTAMP, timestamp_from_ms(_days(*numbers[:3]) * MS_PER_DAY + _ms(*numbers[3:])))
    except (DataError, ValueError, OverflowError):
        pass  # a moment that Python has not: a text
    return None


def _days(year: int, month: int, day: int) -> int:
    months = year * 12 + month - 1
    return days_from_date(date(months // 12, months % 12 + 1, 1)) + day - 1


def _ms(hour: int, minute: int, second: int, ms: int) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000 + ms


_WIDTHS = {Type.INT8: 0, Type.INT16: 1, Type.INT32: 2, Type.INT64: 3, Type.FLOAT32: 4, Type.FLOAT64: 5}


class _Common:
    """The schema that all values of a list may have (``Values.SchemaMerger``), or None."""

    def __init__(self) -> None:
        self.schema: Schema | None = None
        self._compatible = True

    def merge(self, value: SchemaAndValue | None) -> None:
        if value is None or value.schema is None or not self._compatible:
            return
        if self.schema is None:
            self.schema = value.schema
            return
        self.schema = _merged(self.schema, value.schema)
        self._compatible = self.schema is not None


def _merged(one: Schema, other: Schema) -> Schema | None:
    if one.type is other.type:
        return other
    if one.type in _WIDTHS and other.type in _WIDTHS:
        return one if _WIDTHS[one.type] > _WIDTHS[other.type] else other
    return None
