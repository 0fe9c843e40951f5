"""Configs: /config/topics/T and /config/brokers/B (ConfigEntityZNode).

Kafka 3.9 with ZooKeeper has no configs of groups and of client metrics, and its brokers know no handler for them; they
are in /kconsole/config.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.controller.image import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    ConfigKey,
)
from engine.core.znodes import paths
from engine.core.znodes.java_order import properties_ordered
from engine.core.znodes.json_fields import JsonFields, json_bytes

# Parent of the znodes of each type of resource. Levels of loggers (type 8) are never kept.
CONFIG_ROOTS: dict[int, str] = {
    TOPIC_RESOURCE: paths.TOPIC_CONFIGS,
    BROKER_RESOURCE: paths.BROKER_CONFIGS,
    CLIENT_METRICS_RESOURCE: paths.CLIENT_METRICS_CONFIGS,
    GROUP_RESOURCE: paths.GROUP_CONFIGS,
}


def encode_configs(configs: Mapping[str, str]) -> bytes:
    """The configs of one entity, byte for byte as Kafka writes them."""
    return json_bytes({"version": 1, "config": properties_ordered(configs)})


def decode_configs(path: str, data: bytes) -> dict[str, str]:
    """The inverse of :func:`encode_configs`; an empty znode has none. Raises: ZnodeCorrupt."""
    if not data:
        return {}
    return JsonFields.parse(path, data).object("config", {}).as_texts()


def config_path(key: ConfigKey) -> str:
    """Where a resource's configs are. Raises: KeyError: no configs of this type are kept."""
    resource_type, name = key
    return f"{CONFIG_ROOTS[resource_type]}/{paths.config_entity(name)}"


def config_key(resource_type: int, path: str) -> ConfigKey:
    """The inverse of :func:`config_path`. Raises: ValueError: the name is not one that anybody sanitized."""
    part = paths.name_of(path)
    return resource_type, "" if part == paths.DEFAULT_ENTITY else paths.desanitized(part)
