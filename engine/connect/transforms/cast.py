"""Values of other types (``org.apache.kafka.connect.transforms.Cast``)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance
from engine.connect.data import (
    DATE_NAME,
    TIME_NAME,
    TIMESTAMP_NAME,
    Schema,
    Struct,
    Type,
    days_from_date,
    ms_from_time,
    ms_from_timestamp,
    validate,
)
from engine.connect.errors import ConfigError, DataError
from engine.connect.java_numbers import int_of, long_of, parse_float, parse_int, to_single
from engine.connect.java_text import java_text
from engine.connect.records import ConnectRecord
from engine.connect.transforms.sides import (
    REPLACE_NULL,
    OfKeyOrValue,
    define_replace_null,
    field_value,
    fields_of,
    require_map,
    require_struct,
    with_fields,
)
from engine.connect.values import to_text

_PURPOSE = "cast types"
_BITS = {Type.INT8: 8, Type.INT16: 16, Type.INT32: 32, Type.INT64: 64}
_INPUTS = frozenset(each for each in Type if each.is_primitive)
_OUTPUTS = _INPUTS - {Type.BYTES}


def _names(types: frozenset[Type]) -> str:
    return f"[{', '.join(each.name for each in Type if each in types)}]"


class Cast(OfKeyOrValue):
    """Of fields (``spec=id:int64,price:float32``) or of all that there is (``spec=string``)."""

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef().define(
                "spec",
                ConfigType.LIST,
                NO_DEFAULT,
                Importance.HIGH,
                "List of fields and the type to cast them to of the form field1:type,field2:type to cast fields of "
                "Maps or Structs. A single type to cast the entire value. Valid types are int8, int16, int32, int64, "
                "float32, float64, boolean, and string. Note that binary fields can only be cast to string.",
                validator=_check,
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._casts = _parsed(values["spec"])
        self._whole = self._casts.get(None)
        self._replace_null: bool = values[REPLACE_NULL]
        self._changed = lru_cache(16)(self._change_schema)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if value is None:
            return schema, value
        if schema is None:
            if self._whole is not None:
                return None, cast(None, value, self._whole)
            made = dict(require_map(value, _PURPOSE))
            for name, kind in self._casts.items():
                assert name is not None
                made[name] = cast(None, made.get(name), kind)
            return None, made
        changed = self._changed(schema)
        if self._whole is not None:
            return changed, cast(schema, value, self._whole)
        struct = require_struct(value, _PURPOSE)
        values = []
        for before, after in zip(struct.schema.fields, changed.fields, strict=True):
            each = field_value(struct, before.name, self._replace_null)
            to = self._casts.get(before.name)
            if to is not None:
                each = cast(before.schema, each, to)
            if each is None and not after.schema.optional:
                validate(after.schema, None, f'field: "{after.name}"')
            values.append(each)
        return changed, Struct.of(changed, values)

    def _change_schema(self, schema: Schema) -> Schema:
        if self._whole is not None:
            made = replace(schema, type=self._whole, default=None, fields=(), key=None, value=None)
        else:
            fields = {}
            for field in fields_of(schema):
                kind = self._casts.get(field.name)
                fields[field.name] = field.schema
                if kind is not None:
                    default = cast(field.schema, field.schema.default, kind)
                    fields[field.name] = Schema(kind, field.schema.optional, default)
            made = replace(with_fields(schema, fields), optional=schema.optional)
        return made if schema.default is None else made.with_default(cast(schema, schema.default, made.type))


class CastKey(Cast):
    """Of the key."""

    of_key = True


class CastValue(Cast):
    """Of the value."""

    of_key = False


def _check(name: str, value: Any) -> None:
    if not value:
        raise ConfigError.saying("Must specify at least one field to cast.")
    _parsed(value)


def _parsed(spec: list[str]) -> dict[str | None, Type]:
    casts: dict[str | None, Type] = {}
    for each in spec:
        *names, kind = each.split(":")
        if len(names) > 1:
            raise ConfigError("spec", spec, f"Invalid rename mapping: {each}")
        try:
            to = Type[kind.strip().upper()]
        except KeyError:
            raise ConfigError.saying(f"Invalid type found in casting spec: {kind.strip()}") from None
        if to not in _OUTPUTS:
            raise ConfigError.saying(
                f"Cast transformation does not support casting to {to.name}; supported types are {_names(_OUTPUTS)}"
            )
        casts[names[0].strip() if names else None] = to
    if None in casts and len(spec) > 1:
        raise ConfigError.saying(
            "Cast transformations that specify a type to cast the entire value to may only specify a single cast in "
            "their spec"
        )
    return casts


def cast(schema: Schema | None, value: Any, to: Type) -> Any:
    """A value as one of another type.

    Raises:
        DataError: it cannot be one, or is out of its range.
    """
    if value is None:
        return None
    if schema is not None:
        kind: Type | None = schema.type
    else:
        kind = _kind_without_schema(value)
        if kind is None:
            raise DataError(
                f"Cast transformation was passed a value of type {type(value).__name__} which is not supported by "
                "Connect's data API"
            )
    if kind not in _INPUTS:
        raise DataError(
            f"Cast transformation does not support casting from {kind.name if kind else kind}; "
            f"supported types are {_names(_INPUTS)}"
        )
    if to is Type.STRING:
        return _cast_to_string(schema, value)
    if schema is not None and schema.name is not None:
        value = _encoded(schema.name, value)
    if to in _BITS:
        return _cast_to_integer(value, _BITS[to])
    if to is Type.BOOLEAN:
        return _cast_to_boolean(value)
    number = _cast_to_float(value)
    return to_single(number) if to is Type.FLOAT32 else number


def _kind_without_schema(value: Any) -> Type | None:
    match value:
        case bool():
            return Type.BOOLEAN
        case int():
            return Type.INT64
        case float():
            return Type.FLOAT64
        case str():
            return Type.STRING
        case bytes() | bytearray() | memoryview():
            return Type.BYTES
        case list() | tuple():
            return Type.ARRAY
        case dict():
            return Type.MAP
        case Struct():
            return Type.STRUCT
    return None


def _encoded(name: str, value: Any) -> Any:
    if name == DATE_NAME:
        return days_from_date(value)
    if name == TIME_NAME:
        return ms_from_time(value)
    return ms_from_timestamp(value) if name == TIMESTAMP_NAME else value


def _unexpected(value: Any) -> DataError:
    return DataError(f"Unexpected type in Cast transformation: {type(value).__name__}")


def _cast_to_integer(value: Any, bits: int) -> int:
    match value:
        case bool():
            return int(value)
        case int() | float() | Decimal():
            return int_of(value, bits)
        case str():
            return parse_int(value, bits)
    raise _unexpected(value)


def _cast_to_float(value: Any) -> float:
    match value:
        case bool() | int() | float() | Decimal():
            return float(value)
        case str():
            return parse_float(value)
    raise _unexpected(value)


def _cast_to_boolean(value: Any) -> bool:
    match value:
        case bool():
            return value
        case int() | float() | Decimal():
            return long_of(value) != 0
        case str():
            return value.lower() == "true"
    raise _unexpected(value)


def _cast_to_string(schema: Schema | None, value: Any) -> str:
    if isinstance(value, (date, time)):
        return to_text(schema, value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    return java_text(schema, value)
