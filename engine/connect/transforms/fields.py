"""Fields that are taken out, put in, renamed, masked, wrapped (``org.apache.kafka.connect.transforms``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, non_empty
from engine.connect.data import (
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    STRING,
    TIMESTAMP,
    Field,
    Schema,
    Struct,
    Type,
    struct,
    timestamp_from_ms,
    validate,
)
from engine.connect.errors import ConfigError, DataError
from engine.connect.java_numbers import parse_decimal
from engine.connect.records import ConnectRecord, SinkRecord
from engine.connect.transforms.field_path import SYNTAX_VERSION, FieldPath, define_syntax_version
from engine.connect.transforms.sides import (
    REPLACE_NULL,
    OfKeyOrValue,
    define_replace_null,
    field_values,
    non_empty_list,
    require_map,
    require_struct,
    with_fields,
)
from engine.connect.transforms.transformation import R, Transformation
from engine.connect.values import convert


class ExtractField(OfKeyOrValue):
    """A field's value instead of all; null stays null."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = ConfigDef().define(
            "field", ConfigType.STRING, NO_DEFAULT, Importance.MEDIUM, "Field name to extract."
        )
        return define_syntax_version(define_replace_null(definition))

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._path = FieldPath(values["field"], values[SYNTAX_VERSION])
        self._replace_null: bool = values[REPLACE_NULL]
        self._field = lru_cache(16)(self._path.field)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if schema is None:
            return None, None if value is None else self._path.of_map(require_map(value, "field extraction"))
        found = None if value is None else require_struct(value, "field extraction")
        field = self._field(schema)
        if field is None:
            raise DataError(f"Unknown field: {self._path.text}")
        return field.schema, None if found is None else self._path.of_struct(found, self._replace_null)


class ExtractFieldKey(ExtractField):
    """Of the key."""

    of_key = True


class ExtractFieldValue(ExtractField):
    """Of the value."""

    of_key = False


class HoistField(OfKeyOrValue):
    """All that there is becomes a field of a struct or map."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define(
            "field",
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.MEDIUM,
            "Field name for the single field that will be created in the resulting Struct or Map.",
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        self._name: str = self.config().parse(configs)["field"]
        self._hoisted = lru_cache(16)(lambda schema: struct({self._name: schema}))

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if schema is None:
            return None, {self._name: value}
        hoisted = self._hoisted(schema)
        return hoisted, Struct(hoisted).put(self._name, value)


class HoistFieldKey(HoistField):
    """Of the key."""

    of_key = True


class HoistFieldValue(HoistField):
    """Of the value."""

    of_key = False


class _Insertion(NamedTuple):
    name: str
    schema: Schema
    of: Callable[[ConnectRecord], Any]


def _offset(record: ConnectRecord) -> int:
    if not isinstance(record, SinkRecord):
        raise DataError(f"Only SinkRecord supported for [field insertion], found: {type(record).__name__}")
    return record.offset


def _moment(record: ConnectRecord) -> datetime | None:
    return None if record.timestamp is None else timestamp_from_ms(record.timestamp)


_REQUIRED = (
    "Suffix with <code>!</code> to make this a required field, or <code>?</code> to keep it optional (the default)."
)


class InsertField(OfKeyOrValue):
    """What the record is besides its value, or a text that the configs give, as fields more."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = ConfigDef()
        for name, what in (
            ("topic.field", "Field name for Kafka topic. "),
            ("partition.field", "Field name for Kafka partition. "),
            ("offset.field", "Field name for Kafka offset - only applicable to sink connectors.<br/>"),
            ("timestamp.field", "Field name for record timestamp. "),
            ("static.field", "Field name for static data field. "),
        ):
            definition.define(name, ConfigType.STRING, None, Importance.MEDIUM, what + _REQUIRED)
        what = "Static field value, if field name configured."
        definition.define("static.value", ConfigType.STRING, None, Importance.MEDIUM, what)
        return define_replace_null(definition)

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        text = values["static.value"]
        self._insertions: list[_Insertion] = []
        for config, schema, of in (
            ("topic.field", STRING, lambda record: record.topic),
            ("partition.field", INT32, lambda record: record.partition),
            ("offset.field", INT64, _offset),
            ("timestamp.field", TIMESTAMP, _moment),
            ("static.field", STRING, lambda record: text),
        ):
            name = values[config]
            if name is not None:
                schema = schema if name.endswith("!") else schema.as_optional()
                self._insertions.append(_Insertion(name[:-1] if name[-1:] in ("!", "?") else name, schema, of))
        if not self._insertions:
            raise ConfigError.saying("No field insertion configured")
        if values["static.field"] is not None and text is None:
            name = values["static.field"]
            raise ConfigError("static.value", None, f"No value specified for static field: {name}")
        self._replace_null: bool = values[REPLACE_NULL]
        self._extended = lru_cache(16)(self._extend)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if value is None:
            return schema, value
        if schema is None:
            made = dict(require_map(value, "field insertion"))
            for each in self._insertions:
                inserted = each.of(record)
                if isinstance(inserted, datetime):
                    inserted = record.timestamp
                if inserted is not None:
                    made[each.name] = inserted
            return None, made
        before = require_struct(value, "field insertion")
        extended = self._extended(before.schema)
        after = Struct.of(extended, field_values(before, self._replace_null) + [None] * len(self._insertions))
        for each in self._insertions:
            inserted = each.of(record)
            if inserted is not None:
                after.put(each.name, inserted)
        return extended, after

    def _extend(self, schema: Schema) -> Schema:
        fields = {each.name: each.schema for each in schema.fields}
        for each in self._insertions:
            if each.name in fields:
                raise DataError(f"Cannot create field because of field name duplication {each.name}")
            fields[each.name] = each.schema
        return with_fields(schema, fields)


class InsertFieldKey(InsertField):
    """Into the key."""

    of_key = True


class InsertFieldValue(InsertField):
    """Into the value."""

    of_key = False


def _masks() -> dict[type, Any]:
    return {
        bool: False,
        int: 0,
        float: 0.0,
        Decimal: Decimal(0),
        date: date(1970, 1, 1),
        time: time(),
        datetime: datetime(1970, 1, 1, tzinfo=UTC),
        str: "",
    }


class MaskField(OfKeyOrValue):
    """Fields' values become 0, false, an empty text or list, or what ``replacement`` says."""

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef()
            .define(
                "fields",
                ConfigType.LIST,
                NO_DEFAULT,
                Importance.HIGH,
                "Names of fields to mask.",
                validator=non_empty_list,
            )
            .define(
                "replacement",
                ConfigType.STRING,
                None,
                Importance.LOW,
                "Custom value replacement, that will be applied to all 'fields' values (numeric or non-empty string "
                "values only).",
                validator=non_empty,
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._fields = dict.fromkeys(values["fields"])
        self._replacement: str | None = values["replacement"]
        self._replace_null: bool = values[REPLACE_NULL]
        self._masks = _masks()

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if schema is None:
            made = dict(require_map(value, "mask fields"))
            for name in self._fields:
                made[name] = self._masked(None, made.get(name))
            return None, made
        before = require_struct(value, "mask fields")
        values = field_values(before, self._replace_null)
        after = Struct.of(before.schema, values)
        for field in before.schema.fields:
            if field.name in self._fields:
                after.put(field.name, self._masked(field.schema, values[field.index]))
        return schema, after

    def _masked(self, schema: Schema | None, value: Any) -> Any:
        if value is None:
            return None
        if self._replacement is not None:
            return self._replaced(schema, value, self._replacement)
        if isinstance(value, (list, dict)):
            return type(value)()
        mask = self._masks.get(type(value))
        if mask is None:
            raise DataError(f"Cannot mask value of type: {type(value).__name__}")
        return mask

    def _replaced(self, schema: Schema | None, value: Any, replacement: str) -> Any:
        if type(value) is str:
            return replacement
        if type(value) is Decimal:
            try:
                return parse_decimal(replacement)
            except DataError as error:
                raise DataError(f"Unable to convert {replacement} (str) to number") from error
        if type(value) is int or type(value) is float:
            kind = INT64 if type(value) is int else FLOAT64
            if schema is not None:
                kind = FLOAT32 if schema.type is Type.FLOAT32 else Schema(schema.type)
            return convert(kind, None, replacement)
        raise DataError(f"Cannot mask value of type {type(value).__name__} with custom replacement.")


class MaskFieldKey(MaskField):
    """Of the key."""

    of_key = True


class MaskFieldValue(MaskField):
    """Of the value."""

    of_key = False


class ReplaceField(OfKeyOrValue):
    """Leaves out fields, or all others, and renames."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = ConfigDef()
        what = "Fields to exclude. This takes precedence over the fields to include."
        definition.define("exclude", ConfigType.LIST, [], Importance.MEDIUM, what)
        what = "Fields to include. If specified, only these fields will be used."
        definition.define("include", ConfigType.LIST, [], Importance.MEDIUM, what)
        what = "Field rename mappings."
        definition.define("renames", ConfigType.LIST, [], Importance.MEDIUM, what, validator=_check_renames)
        return define_replace_null(definition)

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._exclude, self._include = frozenset(values["exclude"]), frozenset(values["include"])
        self._renames = _renames(values["renames"])
        self._replace_null: bool = values[REPLACE_NULL]
        self._replaced = lru_cache(16)(self._replace)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if value is None:
            return schema, value
        if schema is None:
            renames = self._renames
            before = require_map(value, "field replacement")
            return None, {renames.get(name, name): each for name, each in before.items() if self._stays(name)}
        found = require_struct(value, "field replacement")
        replaced, places = self._replaced(found.schema)
        after = Struct.of(replaced, [found.values[each] for each in places])
        return replaced, Struct.of(replaced, field_values(after, self._replace_null))

    def _stays(self, name: str) -> bool:
        return name not in self._exclude and (not self._include or name in self._include)

    def _replace(self, schema: Schema) -> tuple[Schema, list[int]]:
        """The new schema, and where its fields were."""
        staying = [each for each in schema.fields if self._stays(each.name)]
        fields = {self._renames.get(each.name, each.name): each.schema for each in staying}
        if len(fields) != len(staying):
            raise DataError("Cannot create field because of field name duplication")
        return with_fields(schema, fields), [each.index for each in staying]


class ReplaceFieldKey(ReplaceField):
    """Of the key."""

    of_key = True


class ReplaceFieldValue(ReplaceField):
    """Of the value."""

    of_key = False


def _check_renames(name: str, value: Any) -> None:
    _renames(value)


def _renames(mappings: list[str]) -> dict[str, str]:
    renames = {}
    for each in mappings:
        old, *new = each.split(":")
        if len(new) != 1 or not new[0]:
            raise ConfigError("renames", mappings, f"Invalid rename mapping: {each}")
        renames[old] = new[0]
    return renames


class ValueToKey(Transformation):
    """Fields of the value become the key."""

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef().define(
                "fields",
                ConfigType.LIST,
                NO_DEFAULT,
                Importance.HIGH,
                "Field names on the record value to extract as the record key.",
                validator=non_empty_list,
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._fields: list[str] = list(dict.fromkeys(values["fields"]))
        self._replace_null: bool = values[REPLACE_NULL]
        self._key = lru_cache(16)(self._key_of)

    def apply(self, record: R) -> R | None:
        purpose = "copying fields from value to key"
        if record.value_schema is None:
            value = require_map(record.value, purpose)
            return record.changed(key_schema=None, key={each: value.get(each) for each in self._fields})
        found = require_struct(record.value, purpose)
        schema, fields = self._key(found.schema)
        values = []
        for field in fields:
            each = found.values[field.index]
            if each is None and self._replace_null:
                each = field.schema.default
            if each is None:
                validate(field.schema, None, f'field: "{field.name}"')
            values.append(each)
        return record.changed(key_schema=schema, key=Struct.of(schema, values), value_schema=found.schema)

    def _key_of(self, schema: Schema) -> tuple[Schema, list[Field]]:
        fields = []
        for name in self._fields:
            field = schema.field(name)
            if field is None:
                raise DataError(f"Field does not exist: {name}")
            fields.append(field)
        return struct({each.name: each.schema for each in fields}), fields
