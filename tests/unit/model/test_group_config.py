"""Configs of groups, and the broker's that bound them, in Kafka's words."""

from __future__ import annotations

import pytest

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.model.group_config import GROUP_CONFIGS, broker_default, check_group_configs

PROPERTIES = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.voters": "1@localhost:9093",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
}


def broker(**more: str) -> BrokerConfig:
    return BrokerConfig.from_properties(
        {**PROPERTIES, **{name.replace("_", "."): value for name, value in more.items()}}
    )


def test_the_defaults_of_a_group_are_those_of_its_broker() -> None:
    of_group = {name: broker_default(broker(), name) for name in GROUP_CONFIGS}
    assert of_group == {name: key.default for name, key in GROUP_CONFIGS.items()}
    changed = broker(group_consumer_heartbeat_interval_ms="7000")
    assert broker_default(changed, "consumer.heartbeat.interval.ms") == "7000"


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        ({"planet.session.timeout.ms": "50000"}, "Unknown group config name"),
        ({"consumer.heartbeat.interval.ms": "x"}, "Not a number"),
        ({"consumer.heartbeat.interval.ms": "4000"}, "greater than or equal to group.consumer.min.heartbeat"),
        ({"consumer.heartbeat.interval.ms": "16000"}, "less than or equal to group.consumer.max.heartbeat"),
        ({"consumer.session.timeout.ms": "100"}, "greater than or equal to group.consumer.min.session"),
        ({"consumer.session.timeout.ms": "60001"}, "less than or equal to group.consumer.max.session"),
        ({"consumer.assignment.interval.ms": "15001"}, "less than or equal to group.consumer.max.assignment"),
        ({"share.session.timeout.ms": "60001"}, "less than or equal to group.share.max.session"),
        ({"streams.session.timeout.ms": "100"}, "greater than or equal to group.streams.min.session"),
        ({"streams.num.standby.replicas": "3"}, "less than or equal to group.streams.max.standby"),
    ],
)
def test_values_out_of_the_brokers_bounds_are_refused(configs: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check_group_configs(configs, broker())


def test_a_session_is_longer_than_a_heartbeat_interval() -> None:
    small = broker(group_consumer_min_session_timeout_ms="1000", group_consumer_session_timeout_ms="6000")
    check_group_configs({"consumer.session.timeout.ms": "5001"}, small)
    with pytest.raises(ConfigError, match="must be greater than consumer"):
        check_group_configs({"consumer.session.timeout.ms": "5000"}, small)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("group.consumer.heartbeat.interval.ms", "100", "greater than or equal to group.consumer.min.heartbeat"),
        ("group.consumer.session.timeout.ms", "100", "greater than or equal to group.consumer.min.session"),
        ("group.consumer.assignors", "mine", "must be one of"),
        ("group.consumer.assignors", "", "at least one"),
        ("group.consumer.migration.policy", "maybe", "DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL"),
        ("group.consumer.regex.refresh.interval.ms", "1", "at least 10000"),
    ],
)
def test_a_broker_does_not_start_with_wrong_configs(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        BrokerConfig.from_properties({**PROPERTIES, name: value})
    assert BrokerConfig.from_properties({**PROPERTIES, "group.consumer.migration.policy": "UpGrade"})
