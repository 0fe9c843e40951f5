"""The table of APIs: classes (imported when first asked for), versions, header versions."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from engine.wire.api_table import APIS, RETIRED, ApiKey
from engine.wire.message import Message

__all__ = [
    "ApiKey",
    "is_retired",
    "latest_version",
    "message_class",
    "request_class",
    "request_header_version",
    "response_class",
    "response_header_version",
    "schema_listeners",
    "version_range",
]

_classes: dict[tuple[str, str], type[Message]] = {}


def message_class(name: str, package: str = "engine.wire.messages") -> type[Message]:
    """The generated class of a message by its schema's name, ``ProduceRequest`` say."""
    found = _classes.get((package, name))
    if found is None:
        module = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
        loaded: Any = import_module(f"{package}.{module}")
        found = _classes[package, name] = getattr(loaded, name)
    return found


def request_class(key: int, version: int | None = None) -> type[Message]:
    """The request's class; of a ``version`` that Kafka 4 has no longer, the one of Kafka 3.9.

    Raises ``KeyError`` for a key that Kafka does not have.
    """
    return _class_of(key, "Request", version)


def response_class(key: int, version: int | None = None) -> type[Message]:
    """The response's class, as above."""
    return _class_of(key, "Response", version)


def is_retired(key: int, version: int) -> bool:
    """Whether only Kafka 3.9 has this version: a broker whose coordination is ZooKeeper serves it."""
    low, high = RETIRED.get(key, (0, -1))
    return low <= version <= high


def _class_of(key: int, kind: str, version: int | None) -> type[Message]:
    if version is not None and is_retired(key, version):
        return message_class(APIS[key][0] + kind, "engine.wire.messages.retired")
    return message_class(APIS[key][0] + kind)


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
