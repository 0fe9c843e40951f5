"""Configs of a single group (resource type GROUP): Kafka's GroupConfig, as far as it is honoured here.

What a group does not set itself is the broker's config of the same meaning, group. before its name, where there is one.
"""

from __future__ import annotations

import re
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
share.assignment.interval.ms int 1000 0.. medium
    The shortest time between two target assignments of a share group.
share.auto.offset.reset string latest * medium
    Where a share group begins to read a partition: earliest, latest, or by_duration: with an ISO 8601 duration.
share.delivery.count.limit int 5 2.. medium
    How often a record is given to the share group at most.
share.heartbeat.interval.ms int 5000 1.. medium
    How often members of a share group shall send heartbeats.
share.isolation.level string read_uncommitted read_committed|read_uncommitted medium
    Whether records of transactions that were aborted are given to the share group.
share.partition.max.record.locks int 2000 100.. medium
    Records of a partition that the share group may have in flight.
share.record.lock.duration.ms int 30000 1000.. medium
    How long a consumer of the share group has a record for itself.
share.renew.acknowledge.enable boolean true * medium
    Whether consumers may prolong the locks of their records.
share.session.timeout.ms int 45000 1.. medium
    A member of a share group that is not heard of for so long is out.
streams.assignment.interval.ms int 1000 0.. medium
    The shortest time between two target assignments of a streams group.
streams.heartbeat.interval.ms int 5000 1.. medium
    How often members of a streams group shall send heartbeats.
streams.initial.rebalance.delay.ms int 3000 0.. medium
    How long a new streams group waits for more members before tasks are given out.
streams.num.standby.replicas int 0 0.. medium
    Copies of the state of each task that are kept besides the one that works.
streams.session.timeout.ms int 45000 1.. medium
    A member of a streams group that is not heard of for so long is out.
"""
_BOUNDED = (
    "consumer.heartbeat.interval.ms",
    "consumer.session.timeout.ms",
    "consumer.assignment.interval.ms",
    "share.heartbeat.interval.ms",
    "share.session.timeout.ms",
    "share.assignment.interval.ms",
    "share.record.lock.duration.ms",
    "share.delivery.count.limit",
    "share.partition.max.record.locks",
    "streams.heartbeat.interval.ms",
    "streams.session.timeout.ms",
    "streams.assignment.interval.ms",
)
_OF_BROKER = (*_BOUNDED, "streams.initial.rebalance.delay.ms", "streams.num.standby.replicas")
_DURATION = re.compile(
    r"P(?!$)(?:(?P<days>\d+)D)?(?:T(?!$)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d{1,9})?)S)?)?",
    re.IGNORECASE,
)
BY_DURATION = "by_duration:"

GROUP_CONFIGS: dict[str, ConfigKey] = parse_table(_TABLE, has_update_mode=False)


def broker_default(config: BrokerConfig, name: str) -> str:
    """What counts where a group says nothing, as a text: the broker's config, or a default."""
    if name in _OF_BROKER:
        return str(broker_value(config, name))
    default = GROUP_CONFIGS[name].default
    assert default is not None
    return default


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
    for name in _BOUNDED:
        value = values.setdefault(name, broker_value(broker, name))
        protocol, short = name.split(".", 1)
        low, high = f"{protocol}.min.{short}", f"{protocol}.max.{short}"
        if value < broker_value(broker, low):
            raise ConfigError([f"{name} must be greater than or equal to group.{low}"])
        if value > broker_value(broker, high):
            raise ConfigError([f"{name} must be less than or equal to group.{high}"])
    most = "streams.max.standby.replicas"
    if values.get("streams.num.standby.replicas", 0) > broker_value(broker, most):
        raise ConfigError([f"streams.num.standby.replicas must be less than or equal to group.{most}"])
    for protocol in ("consumer", "share", "streams"):
        session, heartbeat = f"{protocol}.session.timeout.ms", f"{protocol}.heartbeat.interval.ms"
        if values[session] <= values[heartbeat]:
            raise ConfigError([f"{session} must be greater than {heartbeat}"])
    reset = configs.get("share.auto.offset.reset", "latest")
    try:
        reset_duration_ms(reset)
    except ValueError:
        raise ConfigError(
            [
                f"Invalid value {reset} for configuration share.auto.offset.reset: Invalid share group auto offset "
                "reset strategy. Only 'latest', 'earliest' and 'by_duration:PnDTnHnMn.nS' are allowed"
            ]
        ) from None


def reset_duration_ms(strategy: str) -> int | None:
    """How far back a value of share.auto.offset.reset reaches, in milliseconds; None for earliest and latest.

    Raises:
        ValueError: the text means nothing.
    """
    if strategy in ("earliest", "latest"):
        return None
    found = _DURATION.fullmatch(strategy.removeprefix(BY_DURATION)) if strategy.startswith(BY_DURATION) else None
    if found is None:
        raise ValueError(strategy)
    days, hours, minutes, seconds = (float(found[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    return int((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
