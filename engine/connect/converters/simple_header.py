"""Headers' values as texts that tell their types (``org.apache.kafka.connect.storage.SimpleHeaderConverter``)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from engine.connect.config_def import ConfigDef
from engine.connect.converters.converter import HeaderConverter
from engine.connect.data import BYTES, NULL, Schema, SchemaAndValue
from engine.connect.errors import DataError
from engine.connect.values import parse, to_text

_LOG = logging.getLogger(__name__)


class SimpleHeaderConverter(HeaderConverter):
    """Writes texts; reads numbers, booleans, moments, lists and maps from them, or else the text."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef()

    def configure_header(self, configs: Mapping[str, Any]) -> None:
        """There is nothing to configure."""

    def from_connect_header(self, topic: str, key: str, schema: Schema | None, value: Any) -> bytes | None:
        return None if value is None else to_text(schema, value).encode("utf-8", "replace")

    def to_connect_header(self, topic: str, key: str, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return NULL
        try:
            return parse(value.decode("utf-8", "replace"))
        except (DataError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"
            _LOG.warning("header %s on topic %s is taken for bytes, as it cannot be read: %s", key, topic, why)
            return SchemaAndValue(BYTES, value)
