"""The table of APIs: classes (imported when first asked for), versions, header versions."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from engine.wire.api_table import APIS, ApiKey
from engine.wire.message import Message

__all__ = [
    "ApiKey",
    "latest_version",
    "message_class",
    "request_class",
    "request_header_version",
    "response_class",
    "response_header_version",
    "schema_listeners",
    "version_range",
]

_classes: dict[str, type[Message]] = {}


def message_class(name: str) -> type[Message]:
    """The generated class of a message by its schema's name, ``ProduceRequest`` say."""
    found = _classes.get(name)
    if found is None:
        module = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
        loaded: Any = import_module(f"engine.wire.messages.{module}")
        found = _classes[name] = getattr(loaded, name)
    return found


def request_class(key: int) -> type[Message]:
    """The request's class. Raises ``KeyError`` for a key that Kafka does not have."""
    return message_class(APIS[key][0] + "Request")


def response_class(key: int) -> type[Message]:
    """The response's class. Raises ``KeyError`` for a key that Kafka does not have."""
    return message_class(APIS[key][0] + "Response")


def version_range(key: int) -> tuple[int, int]:
    """The lowest and highest version of the schema."""
    return APIS[key][1], APIS[key][2]


def latest_version(key: int) -> int:
    """The highest stable version of the schema."""
    _, _, high, _, _, unstable = APIS[key]
    return high - 1 if unstable else high


def schema_listeners(key: int) -> tuple[str, ...]:
    """Where Kafka serves the API: ``broker``, ``controller``."""
    return APIS[key][4]


def request_header_version(key: int, version: int) -> int:
    """2 for flexible versions, 1 before."""
    return 2 if version >= APIS[key][3] else 1


def response_header_version(key: int, version: int) -> int:
    """1 for flexible versions, 0 before; always 0 for ApiVersions, whose client may not know the version (KIP-511)."""
    return 1 if version >= APIS[key][3] and key != ApiKey.API_VERSIONS else 0
