"""Configs of a single group (resource type GROUP): Kafka's GroupConfig, as far as it is honoured here.

What a group does not set itself is the broker's group.consumer.* of the same meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError, ConfigKey, parse_all, parse_table

_TABLE = """
consumer.assignment.interval.ms int 1000 0.. medium
    The shortest time between two target assignments.
consumer.heartbeat.interval.ms int 5000 1.. medium
    How often members shall send heartbeats.
consumer.session.timeout.ms int 45000 1.. medium
    A member that is not heard of for so long is out.
"""

GROUP_CONFIGS: dict[str, ConfigKey] = parse_table(_TABLE, has_update_mode=False)


def broker_value(config: BrokerConfig, name: str) -> int:
    """What the broker's configs say where a group says nothing."""
    value = getattr(config, f"group_{name}".replace(".", "_"))
    assert isinstance(value, int)
    return value


def check_group_configs(configs: Mapping[str, str], broker: BrokerConfig) -> None:
    """Raises: ConfigError: in the words of GroupConfig.validate."""
    errors = [f"Unknown group config name: {name}" for name in configs if name not in GROUP_CONFIGS]
    values: dict[str, Any] = parse_all(GROUP_CONFIGS, configs, errors)
    if errors:
        raise ConfigError(errors)
    for name in ("consumer.heartbeat.interval.ms", "consumer.session.timeout.ms", "consumer.assignment.interval.ms"):
        value = values.setdefault(name, broker_value(broker, name))
        short = name.removeprefix("consumer.")
        low, high = f"consumer.min.{short}", f"consumer.max.{short}"
        if value < broker_value(broker, low):
            raise ConfigError([f"{name} must be greater than or equal to group.{low}"])
        if value > broker_value(broker, high):
            raise ConfigError([f"{name} must be less than or equal to group.{high}"])
    if values["consumer.session.timeout.ms"] <= values["consumer.heartbeat.interval.ms"]:
        raise ConfigError(["consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"])
