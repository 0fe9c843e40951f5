from typing import Any, get_type_hints

import pytest

from engine.model.broker_config import BROKER_CONFIGS, BrokerConfig
from engine.model.configs import ConfigError, UpdateMode
from engine.model.listeners import ListenerEndpoint

COMBINED = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.quorum.voters": "1@localhost:9093,2@localhost:9095,3@[::1]:9097",
    "controller.listener.names": "CONTROLLER",
    "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
    "log.dirs": "/data/a, /data/b",
}


def errors_of(changes: dict[str, str | None]) -> tuple[str, ...]:
    properties = {name: text for name, text in {**COMBINED, **changes}.items() if text is not None}
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.from_properties(properties)
    return caught.value.errors


def test_a_combined_node_is_parsed_into_typed_values() -> None:
    config = BrokerConfig.from_properties(COMBINED)
    assert config.node_id == config.broker_id == 1
    assert config.is_broker and config.is_controller
    assert config.quorum_voters == {1: ("localhost", 9093), 2: ("localhost", 9095), 3: ("::1", 9097)}
    assert config.broker_listeners == (ListenerEndpoint("PLAINTEXT", "localhost", 9092, "PLAINTEXT"),)
    assert config.controller_listeners == (ListenerEndpoint("CONTROLLER", "localhost", 9093, "PLAINTEXT"),)
    assert config.advertised_listeners == config.broker_listeners
    assert config.inter_broker_listener_name == "PLAINTEXT"
    assert config.log_dirs == ("/data/a", "/data/b")
    assert config.metadata_log_dir == "/data/a"
    assert config.replica_lag_time_max_ms == 30_000
    assert config.broker_rack is None
    assert config.kconsole_connection_loss_detection_enable is True
    assert config.warnings == ()


def test_every_definition_has_an_annotated_attribute_of_its_type() -> None:
    hints = get_type_hints(BrokerConfig)
    config = BrokerConfig.from_properties(COMBINED)
    for key in BROKER_CONFIGS.values():
        assert key.attribute in hints, key.name
        assert hasattr(config, key.attribute), key.name
        assert key.documentation.endswith("."), key.name


def test_all_errors_are_reported_at_once_in_kafkas_words() -> None:
    errors = errors_of({"num.partitions": "0", "log.segment.bytes": "x", "auto.create.topics.enable": "1"})
    assert sorted(errors) == [
        "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        "Invalid value 1 for configuration auto.create.topics.enable: Expected value to be either true or false",
        "Invalid value x for configuration log.segment.bytes: Not a number of type INT",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"node.id": None}, 'Missing required configuration "node.id" which has no default value.'),
        ({"process.roles": "zookeeper"}, "String must be one of: broker, controller"),
        ({"controller.quorum.voters": "2@localhost:9093"}, "the node id 1 must be included in the set of voters"),
        ({"controller.quorum.voters": "x"}, "Each entry should be in the form `{id}@{host}:{port}`"),
        ({"process.roles": "broker", "listeners": "PLAINTEXT://:9092"}, "must not be included in the set of voters"),
        ({"listeners": "FOO://h:1,CONTROLLER://h:2"}, "No security protocol defined for listener FOO"),
        ({"listeners": "PLAINTEXT://h:1,CONTROLLER://h:1"}, "Each listener must have a different port"),
        ({"listeners": "PLAINTEXT://h:1,PLAINTEXT://h:2,CONTROLLER://h:3"}, "must have a different name"),
        ({"listeners": "PLAINTEXT://localhost,CONTROLLER://h:3"}, "unable to parse PLAINTEXT://localhost"),
        ({"listeners": "PLAINTEXT://h:1"}, "controller.listener.names must contain at least one value"),
        ({"listeners": "SSL://h:1,CONTROLLER://h:2"}, "kconsole does not serve SSL"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:9092"}, "nonroutable meta-address 0.0.0.0"),
        ({"advertised.listeners": "CONTROLLER://h:9093"}, "at least one broker advertised listener"),
        ({"broker.id": "2"}, "You must set `node.id` to the same value as `broker.id`."),
        ({"inter.broker.listener.name": "CONTROLLER"}, "must be a listener name defined in advertised.listeners"),
        ({"replica.fetch.wait.max.ms": "40000"}, "replica.socket.timeout.ms should always be at least"),
        ({"log.retention.ms": "0"}, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"),
        ({"log.dirs": ""}, "'log.dirs' must not be empty"),
        ({"compression.gzip.level": "0"}, "Value must be between 1 and 9 or equal to -1"),
        ({"num.partitions": "1_000"}, "Not a number of type INT"),
        ({"offsets.topic.replication.factor": "40000"}, "Not a number of type SHORT"),
    ],
)
def test_what_kafka_refuses_is_refused(changes: dict[str, str | None], expected: str) -> None:
    assert any(expected in error for error in errors_of(changes)), errors_of(changes)


def test_unknown_names_are_kept_and_warned_about() -> None:
    config = BrokerConfig.from_properties({**COMBINED, "my.plugin": "x", "ssl.keystore.location": "/k"})
    assert config.unknown == {"my.plugin": "x", "ssl.keystore.location": "/k"}
    assert config.warnings == (
        "my.plugin is not a known config",
        "ssl.keystore.location is a config of Kafka that kconsole does not honour",
    )


@pytest.mark.parametrize(
    ("texts", "retention_ms"),
    [
        ({}, 168 * 3_600_000),
        ({"log.retention.hours": "2"}, 7_200_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3"}, 180_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, 4),
        ({"log.retention.hours": "-1"}, -1),
    ],
)
def test_the_finest_unit_of_retention_holds(texts: dict[str, str], retention_ms: int) -> None:
    assert BrokerConfig.from_properties({**COMBINED, **texts}).log_retention_ms == retention_ms


def test_dynamic_configs_of_the_broker_hide_those_of_the_cluster_and_read_only_ones_do_not_change() -> None:
    config = BrokerConfig.from_properties({**COMBINED, "message.max.bytes": "1000"})
    changed = config.with_dynamic(
        {"message.max.bytes": "2000", "num.replica.fetchers": "4", "num.partitions": "9"}, {"message.max.bytes": "3000"}
    )
    assert (config.message_max_bytes, changed.message_max_bytes) == (1000, 3000)
    assert changed.num_replica_fetchers == 4
    assert changed.num_partitions == 1
    assert BROKER_CONFIGS["num.partitions"].update_mode is UpdateMode.READ_ONLY


def test_a_configuration_cannot_be_changed_in_place() -> None:
    config: Any = BrokerConfig.from_properties(COMBINED)
    with pytest.raises(AttributeError):
        config.num_partitions = 2
