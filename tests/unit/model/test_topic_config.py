from typing import get_type_hints

import pytest

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError, closest
from engine.model.topic_config import TOPIC_CONFIGS, TOPIC_SYNONYMS, LogConfig, check_topic_configs
from tests.unit.model.test_broker_config import COMBINED


def broker(**texts: str) -> BrokerConfig:
    return BrokerConfig.from_properties({**COMBINED, **{name.replace("_", "."): text for name, text in texts.items()}})


def test_a_topics_own_value_hides_the_brokers_synonym() -> None:
    config = broker(log_segment_bytes="2097152", log_retention_minutes="5")
    assert LogConfig.from_(config, {}).segment_bytes == 2097152
    assert LogConfig.from_(config, {}).retention_ms == 300_000
    assert LogConfig.from_(config, {"segment.bytes": "1048576"}).segment_bytes == 1048576


def test_defaults_are_kafkas_without_a_broker_and_with_a_bare_one() -> None:
    alone, bare = LogConfig.from_(None, {}), LogConfig.from_(broker(), {})
    assert alone == bare
    assert alone.cleanup_policy == ("delete",)
    # A list is told in the order in which it was given.
    assert LogConfig.from_(None, {"cleanup.policy": "delete,compact"}).texts()["cleanup.policy"] == "delete,compact"
    assert alone.flush_messages == 2**63 - 1
    assert alone.max_message_bytes == 1048588
    assert alone.internal_segment_bytes is None


def test_the_internal_segment_size_has_no_lower_bound() -> None:
    assert LogConfig.from_(None, {"internal.segment.bytes": "100"}).segment_bytes == 100


def test_every_definition_is_an_attribute_and_every_synonym_exists() -> None:
    hints = get_type_hints(LogConfig)
    assert {key.attribute for key in TOPIC_CONFIGS.values()} <= set(hints)
    for name, synonyms in TOPIC_SYNONYMS.items():
        assert name in TOPIC_CONFIGS
        for synonym, _ in synonyms:
            assert hasattr(broker(), synonym.replace(".", "_")), synonym


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"foo.bar": "1"}, "Unknown topic config name: foo.bar"),
        ({"retention.ms": "-2"}, "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ({"cleanup.policy": "foo"}, "String must be one of: compact, delete"),
        ({"compression.type": "GZIP"}, "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ({"compression.zstd.level": "23"}, "Value must be no more than 22"),
        ({"min.cleanable.dirty.ratio": "1.5"}, "Value must be no more than 1"),
        ({"leader.replication.throttled.replicas": "x"}, "must be the literal '*' or a list of replicas"),
        ({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, "conflict topic config setting"),
        ({"remote.storage.enable": "true"}, "Tiered Storage functionality is disabled"),
    ],
)
def test_what_kafka_refuses_is_refused(overrides: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_topic_configs(overrides)
    assert expected in str(caught.value)


def test_what_kafka_takes_is_taken() -> None:
    check_topic_configs(
        {
            "cleanup.policy": "delete, compact",
            "preallocate": " TRUE ",
            "segment.ms": " 5 ",
            "leader.replication.throttled.replicas": "0:1,1:2",
            "retention.bytes": "-1",
        }
    )


def test_all_errors_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_topic_configs({"foo": "1", "retention.ms": "x"})
    assert len(caught.value.errors) == 2


def test_a_near_name_is_suggested_and_a_far_one_is_not() -> None:
    assert closest("retention.msec", TOPIC_CONFIGS) == "retention.ms"
    assert closest("zzz", TOPIC_CONFIGS) is None


def test_effective_texts_hide_internal_configs() -> None:
    texts = LogConfig.from_(None, {"cleanup.policy": "delete,compact"}).texts()
    assert texts["cleanup.policy"] == "delete,compact"
    assert texts["retention.ms"] == "604800000"
    assert "internal.segment.bytes" not in texts
