"""What a converter is: subclass these (``org.apache.kafka.connect.storage.Converter`` and ``HeaderConverter``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, one_of
from engine.connect.data import Schema, SchemaAndValue

RawHeaders = Sequence[tuple[str, bytes | None]]
"""A record's headers as they are in its topic."""

TYPE_CONFIG = "converter.type"


def converter_config_def() -> ConfigDef:
    """What every converter is told: whether it is for keys, values or headers (``ConverterConfig``)."""
    return ConfigDef().define(
        TYPE_CONFIG,
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.LOW,
        "How this converter will be used.",
        validator=one_of("key", "value", "header"),
    )


class Converter(ABC):
    """Of keys or values. One object is used by one thread at a time.

    Where many records are converted, ask :meth:`encoder` or :meth:`decoder` once and call what they give for each
    record: they leave out what is the same for all. Those that read or write headers have :attr:`uses_headers` set
    and must be called by :meth:`from_connect_data` and :meth:`to_connect_data`.
    """

    version: ClassVar[str] = "0.1.0"
    uses_headers: ClassVar[bool] = False

    @classmethod
    def config(cls) -> ConfigDef:
        """Its configs, without the prefix ``key.converter.`` or ``value.converter.``."""
        return converter_config_def()

    @abstractmethod
    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        """Before anything else.

        Raises:
            ConfigError: a config that cannot be.
        """

    @abstractmethod
    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        """A value's bytes for a topic; may append to ``headers``.

        Raises:
            DataError: the value or its schema is not what this converter writes.
        """

    @abstractmethod
    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        """What bytes from a topic mean.

        Raises:
            DataError: they are not what this converter reads.
        """

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        """For many values with one schema to one topic: value to bytes. What it gives raises DataError."""
        return lambda value: self.from_connect_data(topic, None, schema, value)

    def decoder(self, topic: str) -> Callable[[bytes | None], SchemaAndValue]:
        """For many values of one topic: bytes to value. What it gives raises DataError."""
        return lambda value: self.to_connect_data(topic, None, value)

    def encode_batch(self, topic: str, schema: Schema | None, values: Sequence[Any]) -> list[bytes | None]:
        """All these values with one schema; the first that does not fit raises DataError, and none is given."""
        return list(map(self.encoder(topic, schema), values))

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Not used any more."""


class HeaderConverter(ABC):
    """Of headers' values."""

    version: ClassVar[str] = "0.1.0"

    @classmethod
    def config(cls) -> ConfigDef:
        """Its configs, without the prefix ``header.converter.``."""
        return converter_config_def()

    @abstractmethod
    def configure_header(self, configs: Mapping[str, Any]) -> None:
        """Before anything else; raises ConfigError."""

    @abstractmethod
    def from_connect_header(self, topic: str, key: str, schema: Schema | None, value: Any) -> bytes | None:
        """A header's bytes; raises DataError."""

    @abstractmethod
    def to_connect_header(self, topic: str, key: str, value: bytes | None) -> SchemaAndValue:
        """What a header's bytes mean; raises DataError."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Not used any more."""


class ConverterOfBoth(Converter, HeaderConverter):
    """One that treats headers' values as it does other values."""

    def configure_header(self, configs: Mapping[str, Any]) -> None:
        self.configure({**configs, TYPE_CONFIG: "header"}, False)

    def from_connect_header(self, topic: str, key: str, schema: Schema | None, value: Any) -> bytes | None:
        return self.from_connect_data(topic, None, schema, value)

    def to_connect_header(self, topic: str, key: str, value: bytes | None) -> SchemaAndValue:
        return self.to_connect_data(topic, None, value)


def read_converter_configs(definition: ConfigDef, configs: Mapping[str, Any], is_key: bool) -> dict[str, Any]:
    """A converter's configs by their definition, ``converter.type`` among them.

    Raises:
        ConfigError: one cannot be.
    """
    return definition.parse({TYPE_CONFIG: "key" if is_key else "value", **configs})
