"""Trees that others wrote are brought into the form that the writer relies on, and say the same as before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from znode_tree import ZnodeTree

from engine.core.controller.feature_control import BOOTSTRAP_FEATURES
from engine.core.controller.image import MetadataDelta
from engine.core.znodes import paths
from engine.core.znodes.adoption import adoption_of, portions
from engine.core.znodes.broker_znodes import encode_ephemeral
from engine.core.znodes.operations import Delete
from engine.core.znodes.reading import image_of
from engine.core.znodes.writing import operations_of
from engine.wire.messages.client_quota_record import ClientQuotaRecord, EntityData
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.partition_change_record import PartitionChangeRecord
from engine.wire.messages.remove_topic_record import RemoveTopicRecord
from engine.wire.messages.unregister_broker_record import UnregisterBrokerRecord

STATE = b'{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":4,"isr":[2]}'
TOPIC = b'{"partitions":{"0":[2,1],"1":[1,2]},"adding_replicas":{},"removing_replicas":{},"version":3}'


def kafkas_tree() -> ZnodeTree:
    """A topic of an old Kafka, its second partition not begun with; empty configs; a broker that lives."""
    tree = ZnodeTree()
    tree.put("/brokers/topics/t", TOPIC)
    tree.put("/brokers/topics/t/partitions/0/state", b"{}")
    tree.put("/brokers/topics/t/partitions/0/state", STATE)
    tree.put("/config/brokers/1", b'{"version":1,"config":{}}')
    tree.put("/config/topics/gone", b'{"version":1,"config":{"retention.ms":"1"}}')
    tree.put("/config/users/u/clients/c", b'{"version":1,"config":{}}')
    tree.put(
        "/brokers/ids/2",
        b'{"features":{},"listener_security_protocol_map":{"IN":"SSL"},"endpoints":["IN://[::1]:9092"],"jmx_port":-1,'
        b'"port":-1,"host":null,"version":5,"timestamp":"1","rack":"r"}',
    )
    return tree


def test_what_kafka_wrote_is_read() -> None:
    tree = kafkas_tree()
    image = image_of(tree.znodes)
    first, second = image.topics_by_name["t"].partitions.values()
    # The epoch of a partition is its znode's version, as in Kafka.
    assert (first.leader, first.leader_epoch, first.partition_epoch, first.isr) == (2, 4, 1, (2,))
    # Nothing was ever stored in the second one: any replica may lead.
    assert (second.leader, second.isr, second.partition_epoch) == (-1, (1, 2), 0)
    assert {first.directory(2), second.directory(1)} == {bytes(15) + b"\x01"}
    broker = image.brokers[2]
    assert (broker.fenced, broker.rack, broker.listeners["IN"]) == (False, "r", ("::1", 9092, 1))
    assert broker.broker_epoch == tree.znodes["/brokers/ids/2"].czxid
    assert image.features == BOOTSTRAP_FEATURES
    assert not image.configs and not image.client_quotas


def test_adopting_changes_nothing_that_is_read_and_is_done_once() -> None:
    tree = kafkas_tree()
    before = image_of(tree.znodes)
    operations = adoption_of(tree.znodes, controller_epoch=7, now_ms=5)
    asked = list(portions(operations, 1_000))
    assert [each for portion in asked for each in portion] == operations and 3 < len(asked) < len(operations)
    for portion in asked:
        tree.multi(portion)
    assert image_of(tree.znodes) == before
    assert adoption_of(tree.znodes, controller_epoch=8, now_ms=6) == []
    assert tree.znodes["/brokers/topics/t/partitions/0/state"].data == STATE
    assert b'"topic_id"' in tree.znodes["/brokers/topics/t"].data
    assert "/config/topics/gone" not in tree.znodes and "/config/users/u" not in tree.znodes


def test_a_new_cluster_has_nothing_to_adopt() -> None:
    assert adoption_of(ZnodeTree().znodes, controller_epoch=1, now_ms=0) == []


@pytest.mark.parametrize(
    "record",
    [
        lambda image: ConfigRecord(resource_type=4, resource_name="1", name="a", value="b"),
        lambda image: ConfigRecord(resource_type=2, resource_name="t", name="a", value="b"),
        lambda image: PartitionChangeRecord(topic_id=image.topics_by_name["t"].topic_id, partition_id=1, leader=1),
        lambda image: RemoveTopicRecord(topic_id=image.topics_by_name["t"].topic_id),
        lambda image: UnregisterBrokerRecord(broker_id=2, broker_epoch=image.brokers[2].broker_epoch),
        lambda image: ClientQuotaRecord(
            entity=[EntityData(entity_type="user", entity_name="u")], key="request_percentage", value=1.0
        ),
    ],
)
def test_after_adoption_any_change_can_be_written(record: Callable) -> None:  # type: ignore[type-arg]
    tree = kafkas_tree()
    tree.multi(adoption_of(tree.znodes, controller_epoch=7, now_ms=5))
    tree.multi([Delete("/brokers/ids/2")])
    delta = MetadataDelta(image_of(tree.znodes))
    delta.replay(record(delta.image), 0)
    tree.multi(operations_of(delta, controller_epoch=7, now_ms=6))
    assert image_of(tree.znodes) == delta.image


def test_a_broker_of_ours_that_lives_is_registered_by_the_controller_alone() -> None:
    tree = kafkas_tree()
    broker = image_of(tree.znodes).brokers[2]
    tree.put("/brokers/ids/3", encode_ephemeral(broker._replace(broker_id=3), timestamp_ms=1))
    assert image_of(tree.znodes).brokers.keys() == {2}


def test_kafka_rewrote_a_state_of_ours() -> None:
    """Kafka drops fields that it does not know: the partition's epoch is then the znode's version again."""
    tree = kafkas_tree()
    tree.multi(adoption_of(tree.znodes, controller_epoch=7, now_ms=5))
    path = paths.partition_state("t", 1)
    tree.put(path, STATE)
    tree.put(path, STATE)
    partition = image_of(tree.znodes).partition("t", 1)
    assert partition is not None and partition.partition_epoch == tree.znodes[path].version == 2
