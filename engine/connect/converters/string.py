"""Texts (``org.apache.kafka.connect.storage.StringConverter``)."""

from __future__ import annotations

from codecs import lookup
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, Width
from engine.connect.converters.converter import (
    ConverterOfBoth,
    RawHeaders,
    converter_config_def,
    read_converter_configs,
)
from engine.connect.data import STRING, Schema, SchemaAndValue
from engine.connect.errors import ConfigError, DataError
from engine.connect.java_text import java_text

_OPTIONAL_STRING = STRING.as_optional()


class StringConverter(ConverterOfBoth):
    """Writes anything as the text that Java shows of it, reads texts.

    Bytes that are no text of the encoding become U+FFFD, as in Java.
    """

    def __init__(self) -> None:
        self._encoding = "utf-8"

    @classmethod
    def config(cls) -> ConfigDef:
        return converter_config_def().define(
            "converter.encoding",
            ConfigType.STRING,
            "UTF-8",
            Importance.HIGH,
            "The name of the character set to use for encoding strings as byte arrays.",
            width=Width.MEDIUM,
            display_name="Encoding",
        )

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        name = read_converter_configs(self.config(), configs, is_key)["converter.encoding"]
        try:
            self._encoding = lookup(name).name
        except LookupError:
            raise ConfigError("converter.encoding", name, "There is no such encoding") from None

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        if value is None:
            return None
        if type(value) is str:
            return value.encode(self._encoding, "replace")
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise DataError("StringConverter does not write bytes: use ByteArrayConverter, or decode them before")
        return java_text(schema, value).encode(self._encoding, "replace")

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        return SchemaAndValue(_OPTIONAL_STRING, None if value is None else value.decode(self._encoding, "replace"))

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        encoding, otherwise = self._encoding, self.from_connect_data

        def encode(value: Any) -> bytes | None:
            if type(value) is str:
                return value.encode(encoding, "replace")
            return otherwise(topic, None, schema, value)

        return encode

    def encode_batch(self, topic: str, schema: Schema | None, values: Sequence[Any]) -> list[bytes | None]:
        encoding = self._encoding
        try:
            return [each.encode(encoding, "replace") for each in values]
        except AttributeError:  # not all are texts
            return super().encode_batch(topic, schema, values)

    def decoder(self, topic: str) -> Callable[[bytes | None], SchemaAndValue]:
        encoding = self._encoding

        def decode(value: bytes | None) -> SchemaAndValue:
            return SchemaAndValue(_OPTIONAL_STRING, None if value is None else value.decode(encoding, "replace"))

        return decode
