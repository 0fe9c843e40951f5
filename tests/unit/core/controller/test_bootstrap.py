"""What a new cluster's log begins with, and feature levels that Kafka set and nothing here implements."""

from __future__ import annotations

import pytest
from controller_harness import ELR, ControllerHarness

from engine.core.controller.feature_control import (
    BOOTSTRAP_FEATURES,
    LATEST_METADATA_VERSION,
    FeatureNotSupported,
    check_features,
)
from engine.core.controller.image import BROKER_RESOURCE, METADATA_VERSION
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.feature_level_record import FeatureLevelRecord

# What `kafka-storage.sh format` of Kafka 4.3.1 writes into bootstrap.checkpoint.
OF_KAFKA = {
    METADATA_VERSION: 30,
    ELR: 1,
    "group.version": 1,
    "share.version": 1,
    "streams.version": 1,
    "transaction.version": 2,
}


def levels(features: dict[str, int]) -> list[FeatureLevelRecord]:
    return [FeatureLevelRecord(name=name, feature_level=level) for name, level in features.items()]


def activated(*records: object) -> ControllerHarness:
    return ControllerHarness({"min.insync.replicas": "2"}, bootstrap=records)


def test_a_directory_that_says_nothing_begins_with_our_own_features() -> None:
    assert activated().image.features == BOOTSTRAP_FEATURES
    config = ConfigRecord(resource_type=BROKER_RESOURCE, resource_name="", name="num.partitions", value="7")
    h = activated(config)
    assert h.image.features == BOOTSTRAP_FEATURES
    assert h.image.config(BROKER_RESOURCE, "") == {"num.partitions": "7"}


def test_what_kafka_formatted_is_what_the_cluster_begins_with() -> None:
    h = activated(*levels(OF_KAFKA))
    assert h.image.features == OF_KAFKA
    # With eligible leader replicas comes one min.insync.replicas for the whole cluster.
    assert h.image.config(BROKER_RESOURCE, "") == {"min.insync.replicas": "2"}
    h.start(1, 2, 3)
    assert sorted(h.image.brokers) == [1, 2, 3]


def test_a_directory_of_the_time_before_transactions_keeps_its_level_until_it_is_raised() -> None:
    h = activated(*levels({METADATA_VERSION: 30}))
    h.start(1)
    assert h.image.features == {METADATA_VERSION: 30}
    assert h.update_feature("transaction.version", 2).error_code == 0
    assert h.image.features == {METADATA_VERSION: 30, "transaction.version": 2}


def test_groups_of_the_newer_kinds_are_switched_on_and_off() -> None:
    h = activated(*levels({**OF_KAFKA, "streams.version": 0}))
    h.start(1)
    assert h.image.features == {name: level for name, level in OF_KAFKA.items() if name != "streams.version"}
    assert h.update_feature("streams.version", 1).error_code == 0
    assert h.image.features == OF_KAFKA
    assert h.update_feature("share.version", 0, kind=2).error_code == 0
    assert "share.version" not in h.image.features


def test_levels_that_are_not_known_are_refused_by_name() -> None:
    check_features(OF_KAFKA)
    for name, level in [
        (METADATA_VERSION, LATEST_METADATA_VERSION + 1),
        ("transaction.version", 3),
        ("new.version", 1),
    ]:
        with pytest.raises(FeatureNotSupported, match=f"{name} at level {level}"):
            check_features({**OF_KAFKA, name: level})
        with pytest.raises(FeatureNotSupported):
            activated(*levels({**OF_KAFKA, name: level}))
    with pytest.raises(FeatureNotSupported, match=METADATA_VERSION):
        check_features({METADATA_VERSION: 1})
