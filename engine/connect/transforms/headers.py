"""Headers out, in, and from fields (``org.apache.kafka.connect.transforms``: DropHeaders, InsertHeader, HeaderFrom)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, one_of
from engine.connect.data import Schema, Struct
from engine.connect.errors import ConfigError, DataError
from engine.connect.records import Header, Headers
from engine.connect.transforms.sides import (
    REPLACE_NULL,
    define_replace_null,
    field_value,
    field_values,
    non_empty_list,
    require_map,
    require_struct,
    with_fields,
)
from engine.connect.transforms.transformation import R, Transformation
from engine.connect.values import parse


class DropHeaders(Transformation):
    """Leaves out headers of some names."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define(
            "headers",
            ConfigType.LIST,
            NO_DEFAULT,
            Importance.HIGH,
            "The name of the headers to be removed.",
            validator=non_empty_list,
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        self._names = frozenset(self.config().parse(configs)["headers"])

    def apply(self, record: R) -> R | None:
        return record.changed(headers=Headers([each for each in record.headers if each.key not in self._names]))


class InsertHeader(Transformation):
    """One header more, the same for all records."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = ConfigDef()
        definition.define("header", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, "The name of the header.")
        what = "The literal value that is to be set as the header value on all records."
        return definition.define("value.literal", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, what)

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        schema, value = parse(values["value.literal"])
        self._header = Header(values["header"], schema, value)

    def apply(self, record: R) -> R | None:
        return record.changed(headers=Headers([*record.headers, self._header]))


class HeaderFrom(Transformation):
    """Fields of the key or value as headers, moved or copied."""

    of_key: ClassVar[bool]

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef()
            .define(
                "fields",
                ConfigType.LIST,
                NO_DEFAULT,
                Importance.HIGH,
                "Field names in the record whose values are to be copied or moved to headers.",
                validator=non_empty_list,
            )
            .define(
                "headers",
                ConfigType.LIST,
                NO_DEFAULT,
                Importance.HIGH,
                "Header names, in the same order as the field names listed in the fields configuration property.",
                validator=non_empty_list,
            )
            .define(
                "operation",
                ConfigType.STRING,
                NO_DEFAULT,
                Importance.HIGH,
                "Either <code>move</code> if the fields are to be moved to the headers (removed from the key/value), "
                "or <code>copy</code> if the fields are to be copied to the headers (retained in the key/value).",
                validator=one_of("move", "copy"),
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        if len(values["fields"]) != len(values["headers"]):
            raise ConfigError.saying("'fields' config must have the same number of elements as 'headers' config.")
        self._pairs: list[tuple[str, str]] = list(zip(values["fields"], values["headers"], strict=True))
        self._fields = frozenset(values["fields"])
        self._operation: str = values["operation"]
        self._replace_null: bool = values[REPLACE_NULL]
        self._rest = lru_cache(16)(self._without_fields)

    def apply(self, record: R) -> R | None:
        headers = record.headers.duplicate()
        if self.of_key:
            schema, key = self._move(record.key_schema, record.key, headers)
            return record.changed(key_schema=schema, key=key, headers=headers)
        schema, value = self._move(record.value_schema, record.value, headers)
        return record.changed(value_schema=schema, value=value, headers=headers)

    def _move(self, schema: Schema | None, value: Any, headers: Headers) -> tuple[Schema | None, Any]:
        purpose = f"header {self._operation}"
        moves = self._operation == "move"
        if schema is None:
            fields = require_map(value, purpose)
            for name, header in self._pairs:
                headers.add(header, fields.get(name), None)
            return None, {key: each for key, each in fields.items() if not moves or key not in self._fields}
        struct = require_struct(value, purpose)
        for name, header in self._pairs:
            field = schema.field(name)
            if field is None:
                raise DataError(f"Unknown field: {name}")
            headers.add(header, field_value(struct, name, self._replace_null), field.schema)
        if not moves:
            return schema, struct
        rest, places = self._rest(schema)
        left = Struct.of(rest, [struct.values[each] for each in places])
        return rest, Struct.of(rest, field_values(left, self._replace_null))

    def _without_fields(self, schema: Schema) -> tuple[Schema, list[int]]:
        """The schema of what is left, and where its fields were."""
        staying = [each for each in schema.fields if each.name not in self._fields]
        return with_fields(schema, {each.name: each.schema for each in staying}), [each.index for each in staying]


class HeaderFromKey(HeaderFrom):
    """Of the key."""

    of_key = True


class HeaderFromValue(HeaderFrom):
    """Of the value."""

    of_key = False
