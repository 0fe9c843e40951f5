"""Moments as texts, numbers, dates, times, timestamps (``org.apache.kafka.connect.transforms.TimestampConverter``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, one_of
from engine.connect.data import (
    DATE,
    DATE_NAME,
    INT64,
    MS_PER_DAY,
    STRING,
    TIME,
    TIME_NAME,
    TIMESTAMP,
    TIMESTAMP_NAME,
    Schema,
    Struct,
    Type,
    date_from_days,
    days_from_date,
    ms_from_time,
    ms_from_timestamp,
    time_from_ms,
    timestamp_from_ms,
)
from engine.connect.errors import ConfigError, DataError
from engine.connect.java_dates import DateFormat
from engine.connect.records import ConnectRecord
from engine.connect.transforms.sides import (
    REPLACE_NULL,
    OfKeyOrValue,
    define_replace_null,
    field_values,
    fields_of,
    require_map,
    require_struct,
    with_fields,
)

_PURPOSE = "converting timestamp formats"
_SCHEMAS = {"string": STRING, "unix": INT64, "Date": DATE, "Time": TIME, "Timestamp": TIMESTAMP}
_BY_NAME = {TIMESTAMP_NAME: "Timestamp", DATE_NAME: "Date", TIME_NAME: "Time"}
_PER_SECOND = {"seconds": 1, "milliseconds": 1000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}


class TimestampConverter(OfKeyOrValue):
    """Of a field, or of all that there is (``field`` is empty)."""

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef()
            .define(
                "field",
                ConfigType.STRING,
                "",
                Importance.HIGH,
                "The field containing the timestamp, or empty if the entire value is a timestamp",
            )
            .define(
                "target.type",
                ConfigType.STRING,
                NO_DEFAULT,
                Importance.HIGH,
                "The desired timestamp representation: string, unix, Date, Time, or Timestamp",
                validator=one_of(*_SCHEMAS),
            )
            .define(
                "format",
                ConfigType.STRING,
                "",
                Importance.MEDIUM,
                "A SimpleDateFormat-compatible format for the timestamp. Used to generate the output when type=string "
                "or used to parse the input if the input is a string.",
            )
            .define(
                "unix.precision",
                ConfigType.STRING,
                "milliseconds",
                Importance.LOW,
                "The desired Unix precision for the timestamp: seconds, milliseconds, microseconds, or nanoseconds. "
                "Used to generate the output when type=unix or used to parse the input if the input is a Long."
                "Note: This SMT will cause precision loss during conversions from, and to, values with sub-millisecond "
                "components.",
                validator=one_of("nanoseconds", "microseconds", "milliseconds", "seconds"),
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._field: str = values["field"]
        self._to: str = values["target.type"]
        self._per_second = _PER_SECOND[values["unix.precision"]]
        self._replace_null: bool = values[REPLACE_NULL]
        self._format: DateFormat | None = None
        if values["format"]:
            try:
                self._format = DateFormat(values["format"])
            except ValueError as error:
                raise ConfigError.saying(
                    "TimestampConverter requires a SimpleDateFormat-compatible pattern for string timestamps: "
                    f"{values['format']}: {error}"
                ) from None
        elif self._to == "string":
            raise ConfigError.saying(
                "TimestampConverter requires format option to be specified when using string timestamps"
            )
        self._changed = lru_cache(16)(self._change_schema)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if schema is None:
            if value is None or not self._field:
                return None, self._convert(value, None)
            made = dict(require_map(value, _PURPOSE))
            made[self._field] = self._convert(made.get(self._field), None)
            return None, made
        if not self._field:
            to = replace(_SCHEMAS[self._to], optional=schema.optional)
            return to, self._convert(value, _kind(schema))
        struct = None if value is None else require_struct(value, _PURPOSE)
        changed = self._changed(schema)
        return changed, None if struct is None else self._convert_field(struct, changed)

    def _change_schema(self, schema: Schema) -> Schema:
        fields = {each.name: each.schema for each in fields_of(schema)}
        if self._field in fields:
            fields[self._field] = replace(_SCHEMAS[self._to], optional=fields[self._field].optional)
        made = replace(with_fields(schema, fields), optional=schema.optional)
        return made if schema.default is None else made.with_default(self._convert_field(schema.default, made))

    def _convert_field(self, struct: Struct, changed: Schema) -> Struct:
        values = field_values(struct, self._replace_null)
        field = struct.schema.field(self._field)
        if field is not None:
            values[field.index] = self._convert(values[field.index], _kind(field.schema))
        return Struct.of(changed, values)

    def _convert(self, value: Any, kind: str | None) -> Any:
        if value is None:
            return None
        ms = self._to_ms(value, _inferred(value) if kind is None else kind)
        match self._to:
            case "string":
                assert self._format is not None
                try:
                    return self._format.format(ms)
                except ValueError as error:
                    raise DataError(str(error)) from None
            case "unix":
                return _scaled(ms, self._per_second, 1000)
            case "Date":
                return date_from_days(ms // MS_PER_DAY)
            case "Time":
                return time_from_ms(ms % MS_PER_DAY)
        return timestamp_from_ms(ms)

    def _to_ms(self, value: Any, kind: str) -> int:
        if kind == "string":
            if not isinstance(value, str):
                raise DataError(f"Expected string timestamp to be a String, but found {type(value).__name__}")
            if self._format is None:
                raise DataError(
                    "TimestampConverter requires format option to be specified when using string timestamps"
                )
            try:
                return self._format.parse(value)
            except ValueError as error:
                pattern = self._format.pattern
                raise DataError(
                    f"Could not parse timestamp: value ({value}) does not match pattern ({pattern}): {error}"
                ) from None
        if kind == "unix":
            if type(value) is not int:
                raise DataError(f"Expected Unix timestamp to be a Long, but found {type(value).__name__}")
            return _scaled(value, 1000, self._per_second)
        if isinstance(value, datetime):
            return ms_from_timestamp(value)
        if isinstance(value, time):
            return ms_from_time(value)
        if isinstance(value, date):
            return days_from_date(value) * MS_PER_DAY
        raise DataError(f"Expected {kind} to be a date or time, but found {type(value).__name__}")


def _scaled(number: int, factor: int, divisor: int) -> int:
    """``TimeUnit.convert``: towards zero, and what 64 bits cannot hold is their limit."""
    scaled = abs(number) * factor // divisor * (-1 if number < 0 else 1)
    return max(-(1 << 63), min(scaled, (1 << 63) - 1))


class TimestampConverterKey(TimestampConverter):
    """Of the key."""

    of_key = True


class TimestampConverterValue(TimestampConverter):
    """Of the value."""

    of_key = False


def _kind(schema: Schema) -> str:
    """What a schema says its values are."""
    if schema.name in _BY_NAME:
        return _BY_NAME[schema.name]
    if schema.type is Type.STRING:
        return "string"
    if schema.type is Type.INT64:
        return "unix"
    raise DataError(f"Schema {schema} does not correspond to a known timestamp type format")


def _inferred(value: Any) -> str:
    """What a value without a schema is."""
    if isinstance(value, (date, time)):
        return "Timestamp"
    if type(value) is int:
        return "unix"
    if isinstance(value, str):
        return "string"
    raise DataError(f"TimestampConverter does not support {type(value).__name__} objects as timestamps")
