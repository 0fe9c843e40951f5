"""Definitions of configs beside those of Kafka 4.3.1 (``ConfigDef`` asked in Java): names, types, defaults, places."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.connect.config_def import ConfigDef, ConfigKey
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.runtime.__main__ import run
from engine.connect.runtime.client_settings import librdkafka_settings
from engine.connect.runtime.connector_config import SINK_CONFIG, SOURCE_CONFIG, topic_creation_config
from engine.connect.runtime.worker_config import DISTRIBUTED_CONFIG, STANDALONE_CONFIG, WorkerConfig

GOLDEN = Path(__file__).parents[2] / "golden" / "connect-configs-4.3.1.tsv"
# Ours listens on loopback alone unless told otherwise.
OWN_DEFAULTS = {"listeners"}


def rows(section: str) -> list[list[str]]:
    found = [line.split("\t") for line in GOLDEN.read_text().splitlines()]
    return [each[1:] for each in found if each[0] == section]


def default(key: ConfigKey) -> str:
    if key.required:
        return "REQ"
    if key.default is None:
        return "null"
    if isinstance(key.default, bool):
        return str(key.default).lower()
    if isinstance(key.default, list):
        return f"[{', '.join(key.default)}]"
    return str(key.default)


@pytest.mark.parametrize(("section", "definition"), [("source", SOURCE_CONFIG), ("sink", SINK_CONFIG)])
def test_a_connectors_configs_are_kafkas_in_kafkas_order(section: str, definition: ConfigDef) -> None:
    ours = [
        [
            key.name,
            key.type.value,
            default(key),
            key.importance.value,
            str(key.group),
            str(key.order_in_group),
            key.width.value,
            key.display_name,
        ]
        for key in definition.keys.values()
    ]
    assert ours == rows(section)


@pytest.mark.parametrize(
    ("section", "definition"), [("standalone", STANDALONE_CONFIG), ("distributed", DISTRIBUTED_CONFIG)]
)
def test_a_workers_configs_have_kafkas_types_and_defaults(section: str, definition: ConfigDef) -> None:
    kafka = {row[0]: row[1:] for row in rows(section)}
    for key in definition.keys.values():
        if key.name in OWN_DEFAULTS or key.name not in kafka:
            continue
        found = default(key)
        if key.type.value == "CLASS" and found not in ("REQ", "null"):
            found = f"class {found}"
        assert [key.type.value, found, key.importance.value] == kafka[key.name], key.name
    required = [name for name, row in kafka.items() if row[1] == "REQ"]
    assert [name for name in required if name not in definition.keys] == []


def test_groups_of_topics_have_their_own_configs() -> None:
    given = {
        "topic.creation.groups": "logs",
        "topic.creation.default.partitions": "3",
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.logs.include": "log.*,audit",
    }
    values = topic_creation_config(given).parse(given)
    assert values["topic.creation.logs.include"] == ["log.*", "audit"]
    assert values["topic.creation.logs.partitions"] == -1
    assert values["topic.creation.default.partitions"] == 3
    assert values["topic.creation.default.include"] == [".*"]
    with pytest.raises(ConfigError, match="at least 1"):
        topic_creation_config(given).parse({**given, "topic.creation.default.partitions": "0"})


def worker(**given: str) -> WorkerConfig:
    props = {
        "bootstrap.servers": "127.0.0.1:9092",
        "key.converter": "String",
        "value.converter": "String",
        "offset.storage.file.filename": "/tmp/offsets",
    }
    return WorkerConfig(props | {name.replace("_", "."): value for name, value in given.items()})


def test_a_clients_configs_are_the_workers_then_those_of_its_kind_then_the_connectors() -> None:
    config = WorkerConfig(
        {
            **worker().props,
            "security.protocol": "PLAINTEXT",
            "producer.linger.ms": "7",
            "producer.batch.size": "100",
            "consumer.max.poll.records": "9",
        }
    )
    props = config.client_props("producer", {"producer.override.linger.ms": "0", "consumer.override.group.id": "x"})
    assert props == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "PLAINTEXT",
        "linger.ms": "0",
        "batch.size": "100",
    }


def test_the_override_policy_says_what_connectors_may() -> None:
    wanted = {"producer.override.linger.ms": "0", "admin.override.sasl.jaas.config": "secret"}
    policy = "connector.client.config.override.policy"
    assert WorkerConfig({**worker().props, policy: "All"}).refused_overrides(wanted) == {}
    principal = WorkerConfig({**worker().props, policy: "Principal"}).refused_overrides(wanted)
    assert list(principal) == ["producer.override.linger.ms"]
    name = "org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy"
    none = WorkerConfig({**worker().props, policy: name}).refused_overrides(wanted)
    assert set(none) == set(wanted) and "secret" not in str(none)


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match=r"offset\.storage\.file\.filename"):
        WorkerConfig({name: value for name, value in worker().props.items() if not name.startswith("offset")})
    with pytest.raises(ConfigError, match="host:port"):
        WorkerConfig({**worker().props, "bootstrap.servers": "nowhere"})
    with pytest.raises(ConfigError, match="eager protocol is not built"):
        WorkerConfig(
            {
                **worker().props,
                "group.id": "g",
                "config.storage.topic": "c",
                "offset.storage.topic": "o",
                "status.storage.topic": "s",
                "connect.protocol": "eager",
            }
        )


def test_javas_names_of_clients_configs_become_librdkafkas() -> None:
    assert librdkafka_settings(
        {
            "bootstrap.servers": "h:1",
            "buffer.memory": "33554432",
            "max.request.size": "5",
            "key.serializer": "x",
            "isolation.level": "READ_COMMITTED",
            "partition.assignment.strategy": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    ) == {
        "bootstrap.servers": "h:1",
        "queue.buffering.max.kbytes": "32768",
        "message.max.bytes": "5",
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
    }


async def test_a_worker_that_finds_no_broker_says_so_and_nothing_else() -> None:
    storage = {f"{each}.storage.topic": each for each in ("config", "offset", "status")}
    names = {"key.converter": "StringConverter", "value.converter": "StringConverter", "rest.auth": "none"}
    # Nobody listens on port 1.
    where = {"bootstrap.servers": "127.0.0.1:1", "listeners": "http://127.0.0.1:0", "group.id": "g"}
    with pytest.raises(ConnectError, match="Failed to connect to and describe Kafka cluster"):
        await run(WorkerConfig({**where, **names, **storage}), [])
