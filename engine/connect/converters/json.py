"""Values in JSON, with their schemas around them or without (``org.apache.kafka.connect.json.JsonConverter``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, Width, one_of
from engine.connect.converters.converter import (
    ConverterOfBoth,
    RawHeaders,
    converter_config_def,
    read_converter_configs,
)
from engine.connect.converters.json_schemas import schema_from_json, schema_to_json
from engine.connect.converters.json_values import has_decimals, reader, without_schema, writer
from engine.connect.data import NULL, Schema, SchemaAndValue
from engine.connect.errors import ConfigError, DataError

_NOT_AN_ENVELOPE = (
    'JsonConverter with schemas.enable requires "schema" and "payload" fields and may not contain additional fields. '
    "If you are trying to deserialize plain JSON data, set schemas.enable=false in your converter configuration."
)

_MOST_OPENINGS = 8

_ReadBy = tuple[Schema | None, Callable[[Any], Any], JSONDecoder]
"""A schema, what reads values with it from JSON, and what reads that JSON from text."""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_FLOATS = JSONDecoder(parse_constant=_no_constant)
_DECIMALS = JSONDecoder(parse_constant=_no_constant, parse_float=Decimal)
_encode = JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


def json_text(shown: Any) -> bytes:
    """JSON as it is written here, decimals as numbers."""
    return _write(shown).encode("utf-8", "replace")


def parse_json(value: bytes, *, exact: bool) -> Any:
    """JSON as it is read here; ``exact`` numbers with a point are decimals.

    Raises:
        DataError: it is no JSON.
    """
    return _parse(_DECIMALS if exact else _FLOATS, value)


def _write(shown: Any) -> str:
    """JSON, decimals as numbers."""
    if isinstance(shown, dict):
        return f"{{{','.join(f'{_encode(key)}:{_write(each)}' for key, each in shown.items())}}}"
    if isinstance(shown, list):
        return f"[{','.join(map(_write, shown))}]"
    return str(shown) if isinstance(shown, Decimal) else _encode(shown)


class JsonConverter(ConverterOfBoth):
    """JSON. With ``schemas.enable`` (the default) ``{"schema": …, "payload": …}``, else the payload alone.

    Stricter than Java's where that one would read something else than was written: a text where the schema wants a
    number, a number out of its range (Java reads 0, or what is left of it).
    """

    def __init__(self) -> None:
        self.configure({}, False)

    @classmethod
    def config(cls) -> ConfigDef:
        return (
            converter_config_def()
            .define(
                "schemas.enable",
                ConfigType.BOOLEAN,
                True,
                Importance.HIGH,
                "Include schemas within each of the serialized values and keys.",
                group="Schemas",
                order=0,
                width=Width.MEDIUM,
                display_name="Enable Schemas",
            )
            .define(
                "schema.content",
                ConfigType.STRING,
                None,
                Importance.HIGH,
                "A schema in JSON that all messages have, which are payloads without one then. Only where "
                "schemas.enable is true, and only for sinks.",
                group="Schemas",
                width=Width.MEDIUM,
                display_name="Schema Content",
            )
            .define(
                "schemas.cache.size",
                ConfigType.INT,
                1000,
                Importance.HIGH,
                "The maximum number of schemas that can be cached in this converter instance.",
                group="Schemas",
                order=1,
                width=Width.MEDIUM,
                display_name="Schema Cache Size",
            )
            .define(
                "decimal.format",
                ConfigType.STRING,
                "BASE64",
                Importance.LOW,
                "Controls which format this converter will serialize decimals in. This value is case insensitive and "
                "can be either 'BASE64' (default) or 'NUMERIC'",
                validator=one_of("BASE64", "NUMERIC", ignore_case=True),
                group="Serialization",
                order=0,
                width=Width.MEDIUM,
                display_name="Decimal Format",
            )
            .define(
                "replace.null.with.default",
                ConfigType.BOOLEAN,
                True,
                Importance.LOW,
                "Whether to replace fields that have a default value and that are null to the default value. When set "
                "to true, the default value is used, otherwise null is used.",
                group="Serialization",
                order=1,
                width=Width.MEDIUM,
                display_name="Replace null with default",
            )
        )

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        values = read_converter_configs(self.config(), configs, is_key)
        self._schemas: bool = values["schemas.enable"]
        self._numeric = values["decimal.format"].upper() == "NUMERIC"
        self._replace_null: bool = values["replace.null.with.default"]
        size = max(values["schemas.cache.size"], 1)
        self._encoder_of: Callable[[Schema | None], Callable[[Any], bytes | None]] = lru_cache(size)(self._make_encoder)
        self._reader_of = lru_cache(size)(self._make_reader)
        # Texts up to the payload, as messages begin: those of one schema hardly ever begin in two ways.
        self._openings: dict[bytes, _ReadBy] = {}
        self._fixed: _ReadBy | None = None
        if self._schemas and values["schema.content"]:
            try:
                schema = self._schema(_DECIMALS.decode(values["schema.content"]))
            except (ValueError, DataError) as error:
                raise ConfigError("schema.content", values["schema.content"], f"It is no schema: {error}") from error
            self._fixed = self._reader_of(schema)

    # Writing.

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        return self._encoder_of(schema)(value)

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        return self._encoder_of(schema)

    def _make_encoder(self, schema: Schema | None) -> Callable[[Any], bytes | None]:
        opening, end = "", ""
        if self._schemas:
            opening = f'{{"schema":{_write(schema_to_json(schema, self._default_to_json))},"payload":'
            end = "}"
        if schema is None:

            def encode_anything(value: Any) -> bytes | None:
                if value is None:
                    return None
                return f"{opening}{_encode(without_schema(value))}{end}".encode("utf-8", "replace")

            return encode_anything

        write = writer(schema, self._replace_null, self._numeric)
        to_text = _write if self._numeric and has_decimals(schema) else _encode
        return lambda value: f"{opening}{to_text(write(value))}{end}".encode("utf-8", "replace")

    def _default_to_json(self, schema: Schema, default: Any) -> Any:
        return writer(schema, self._replace_null, self._numeric)(default)

    # Reading.

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        return self._decode(value)

    def decoder(self, topic: str) -> Callable[[bytes | None], SchemaAndValue]:
        return self._decode

    def _decode(self, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return NULL
        if not self._schemas:
            return SchemaAndValue(None, _parse(_FLOATS, value) if value else None)
        if self._fixed is not None:
            schema, read, decoder = self._fixed
            return SchemaAndValue(schema, read(_parse(decoder, value)))
        for opening, (schema, read, decoder) in self._openings.items():
            if value.startswith(opening) and value.endswith(b"}"):
                try:
                    payload = decoder.decode(value[len(opening) : -1].decode())
                except ValueError:
                    break  # something comes after the payload, or it is no JSON at all
                return SchemaAndValue(schema, read(payload))
        return self._decode_envelope(value)

    def _decode_envelope(self, value: bytes) -> SchemaAndValue:
        envelope = _parse(_DECIMALS, value)
        if not isinstance(envelope, dict) or envelope.keys() != {"schema", "payload"}:
            raise DataError(_NOT_AN_ENVELOPE)
        schema = self._schema(envelope["schema"])
        read_by = self._reader_of(schema)
        self._remember_opening(value, read_by)
        if schema is None:
            return SchemaAndValue(None, _parse(_FLOATS, value)["payload"])
        return SchemaAndValue(schema, read_by[1](envelope["payload"]))

    def _remember_opening(self, value: bytes, read_by: _ReadBy) -> None:
        """Where the schema's text ends, if it is where converters put it."""
        if not value.startswith(b'{"schema":'):
            return
        text = value.decode()
        try:
            _, end = _FLOATS.raw_decode(text, len('{"schema":'))
        except ValueError:
            return
        if text.startswith(',"payload":', end):
            opening = text[: end + len(',"payload":')].encode()
            if len(self._openings) >= _MOST_OPENINGS:
                self._openings.clear()
            self._openings[opening] = read_by

    def _schema(self, shown: Any) -> Schema | None:
        return schema_from_json(shown, lambda schema, each: reader(schema, self._replace_null)(each))

    def _make_reader(self, schema: Schema | None) -> _ReadBy:
        if schema is None:
            return None, lambda shown: shown, _FLOATS
        return schema, reader(schema, self._replace_null), _DECIMALS if has_decimals(schema) else _FLOATS


def _parse(decoder: JSONDecoder, value: bytes) -> Any:
    try:
        return decoder.decode(value.decode())
    except (JSONDecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(
            f"Converting byte[] to Kafka Connect data failed due to serialization error: {error}"
        ) from error
