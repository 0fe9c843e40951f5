"""The metadata as one value: replay, snapshots, copies that share, and deltas."""

from __future__ import annotations

from typing import Any

import pytest
from controller_harness import ControllerHarness, directory_of

from engine.core.controller.image import MetadataDelta, MetadataImage, ReplayError
from engine.wire.apis import message_class
from engine.wire.message import Message
from engine.wire.messages.client_quota_record import ClientQuotaRecord, EntityData
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.partition_change_record import PartitionChangeRecord
from engine.wire.messages.partition_record import PartitionRecord
from engine.wire.messages.topic_record import TopicRecord

TOPIC_ID = b"topic" + bytes(11)
OTHER_ID = b"other" + bytes(11)


def record(schema: str, /, **fields: Any) -> Message:
    made: Any = message_class(schema)()
    for field, value in fields.items():
        assert hasattr(made, field)
        setattr(made, field, value)
    return made  # type: ignore[no-any-return]


def partition_record(number: int = 0, **fields: Any) -> PartitionRecord:
    return PartitionRecord(
        topic_id=TOPIC_ID,
        partition_id=number,
        replicas=[1, 2],
        isr=[1, 2],
        leader=1,
        leader_epoch=0,
        partition_epoch=0,
        directories=[directory_of(1), directory_of(2)],
        **fields,
    )


def change(**fields: Any) -> PartitionChangeRecord:
    return PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=0, **fields)


def image_of(*records: Message) -> MetadataImage:
    image = MetadataImage()
    for each in records:
        image.replay(each)
    return image


EVERYTHING: list[Message] = [
    record("FeatureLevelRecord", name="metadata.version", feature_level=30),
    record("RegisterBrokerRecord", broker_id=1, broker_epoch=5, incarnation_id=b"i" * 16, fenced=True, rack="r"),
    record("RegisterControllerRecord", controller_id=7, incarnation_id=b"c" * 16),
    TopicRecord(name="t", topic_id=TOPIC_ID),
    partition_record(0),
    partition_record(1, eligible_leader_replicas=[2], last_known_elr=[1]),
    ConfigRecord(resource_type=2, resource_name="t", name="retention.ms", value="5"),
    ConfigRecord(resource_type=4, resource_name="", name="log.cleaner.threads", value="2"),
    ClientQuotaRecord(
        entity=[EntityData(entity_type="user", entity_name="u"), EntityData(entity_type="client-id", entity_name=None)],
        key="producer_byte_rate",
        value=1.5,
        remove=False,
    ),
    record("ProducerIdsRecord", broker_id=1, broker_epoch=5, next_producer_id=3_000),
    record("AccessControlEntryRecord", id=b"a" * 16, resource_name="t"),
    record("UserScramCredentialRecord", name="u", mechanism=1, salt=b"s", stored_key=b"k", server_key=b"v"),
    record("DelegationTokenRecord", token_id="token"),
]


# -- replay and snapshots ---------------------------------------------------------------------------------------


def test_a_snapshot_makes_the_same_image() -> None:
    image = image_of(*EVERYTHING)
    assert image_of(*image.to_records()) == image
    assert [each.NAME for each in image.to_records()][:2] == ["FeatureLevelRecord", "RegisterBrokerRecord"]


def test_what_is_removed_leaves_nothing_behind() -> None:
    image = image_of(
        *EVERYTHING,
        record("RemoveTopicRecord", topic_id=TOPIC_ID),
        record("UnregisterBrokerRecord", broker_id=1, broker_epoch=5),
        ConfigRecord(resource_type=4, resource_name="", name="log.cleaner.threads", value=None),
        record("FeatureLevelRecord", name="metadata.version", feature_level=0),
        record("RemoveAccessControlEntryRecord", id=b"a" * 16),
        record("RemoveUserScramCredentialRecord", name="u", mechanism=1),
        record("RemoveDelegationTokenRecord", token_id="token"),
        ClientQuotaRecord(
            entity=[
                EntityData(entity_type="client-id", entity_name=None),
                EntityData(entity_type="user", entity_name="u"),
            ],
            key="producer_byte_rate",
            remove=True,
        ),
    )
    assert [each.NAME for each in image.to_records()] == ["RegisterControllerRecord", "ProducerIdsRecord"]


def test_records_of_times_past_and_empty_ones_change_nothing() -> None:
    image = image_of(*EVERYTHING)
    before = image.copy()
    for name in ("NoOpRecord", "ZkMigrationStateRecord"):
        image.replay(record(name), 99)
    assert image == before and image.offset == 99


def test_old_records_fence_and_unfence_too() -> None:
    image = image_of(*EVERYTHING, record("UnfenceBrokerRecord", id=1, epoch=5))
    assert not image.brokers[1].fenced
    image.replay(record("FenceBrokerRecord", id=1, epoch=5))
    assert image.brokers[1].fenced


@pytest.mark.parametrize(
    "wrong",
    [
        TopicRecord(name="t", topic_id=OTHER_ID),
        TopicRecord(name="u", topic_id=TOPIC_ID),
        PartitionRecord(topic_id=OTHER_ID),
        PartitionChangeRecord(topic_id=OTHER_ID),
        PartitionChangeRecord(topic_id=TOPIC_ID, partition_id=9),
        record("RemoveTopicRecord", topic_id=OTHER_ID),
        record("UnregisterBrokerRecord", broker_id=1, broker_epoch=4),
        record("UnregisterBrokerRecord", broker_id=2, broker_epoch=5),
        record("BrokerRegistrationChangeRecord", broker_id=1, broker_epoch=4, fenced=1),
        record("BrokerRegistrationChangeRecord", broker_id=1, broker_epoch=5, fenced=2),
        record("BrokerRegistrationChangeRecord", broker_id=1, broker_epoch=5, in_controlled_shutdown=-1),
        record("ProducerIdsRecord", next_producer_id=2_999),
        record("ClearElrRecord", topic_name="ghost"),
        record("AbortTransactionRecord"),
    ],
)
def test_a_record_that_does_not_fit_is_an_error(wrong: Message) -> None:
    image = image_of(*EVERYTHING)
    before = image.copy()
    with pytest.raises(ReplayError):
        image.replay(wrong)
    assert image == before


def test_a_record_of_an_unknown_type_is_an_error() -> None:
    with pytest.raises(ReplayError):
        MetadataImage().replay(record("LeaderChangeMessage"))


# -- partitions -------------------------------------------------------------------------------------------------


def test_any_change_of_a_partition_is_another_partition_epoch_and_a_named_leader_another_leader_epoch() -> None:
    image = image_of(*EVERYTHING)
    image.replay(change(isr=[1]))
    partition = image.partition("t", 0)
    assert partition is not None
    assert (partition.isr, partition.leader_epoch, partition.partition_epoch) == ((1,), 0, 1)
    image.replay(change(leader=1))
    partition = image.partition("t", 0)
    assert partition is not None
    assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (1, 1, 2)


def test_a_partition_without_directories_is_in_migration() -> None:
    image = image_of(
        TopicRecord(name="t", topic_id=TOPIC_ID),
        PartitionRecord(topic_id=TOPIC_ID, partition_id=0, replicas=[1, 2], isr=[1], leader=1),
    )
    partition = image.partition("t", 0)
    assert partition is not None and partition.directory(2) == bytes(16)
    with pytest.raises(ValueError):
        partition.directory(3)


def test_clearing_the_eligible_replicas_touches_only_partitions_that_have_some() -> None:
    image = image_of(*EVERYTHING, record("ClearElrRecord", topic_name="t"))
    first, second = image.topics_by_name["t"].partitions[0], image.topics_by_name["t"].partitions[1]
    assert first.partition_epoch == 0
    assert (second.elr, second.last_known_elr, second.partition_epoch) == ((), (), 1)
    image = image_of(*EVERYTHING, record("ClearElrRecord"))
    assert image.topics_by_name["t"].partitions[1].elr == ()


# -- copies -----------------------------------------------------------------------------------------------------


def test_a_copy_and_its_original_change_independently() -> None:
    original = image_of(*EVERYTHING)
    copy = original.copy()
    reference = image_of(*EVERYTHING)
    copy.replay(change(isr=[2]))
    copy.replay(ConfigRecord(resource_type=2, resource_name="t", name="retention.ms", value="6"))
    copy.replay(TopicRecord(name="u", topic_id=OTHER_ID))
    copy.replay(record("UnregisterBrokerRecord", broker_id=1, broker_epoch=5))
    assert original == reference
    before = copy.copy()
    original.replay(change(isr=[1]))
    original.replay(record("RemoveTopicRecord", topic_id=TOPIC_ID))
    assert copy == before
    partition = copy.partition("t", 0)
    assert partition is not None and partition.isr == (2,)


def test_a_topic_deleted_and_made_again_under_its_name_is_another() -> None:
    image = image_of(*EVERYTHING)
    copy = image.copy()
    copy.replay(record("RemoveTopicRecord", topic_id=TOPIC_ID))
    copy.replay(TopicRecord(name="t", topic_id=OTHER_ID))
    copy.replay(ConfigRecord(resource_type=2, resource_name="t", name="segment.ms", value="7"))
    assert copy.partition("t", 0) is None and copy.partition_by_id(TOPIC_ID, 0) is None
    assert copy.config(2, "t") == {"segment.ms": "7"}
    assert image.config(2, "t") == {"retention.ms": "5"}


# -- metadata transactions (KIP-868) ----------------------------------------------------------------------------


def test_an_aborted_transaction_leaves_no_trace_and_an_ended_one_stays() -> None:
    image = image_of(*EVERYTHING)
    before = image.copy()
    image.replay(record("BeginTransactionRecord"))
    image.replay(change(isr=[2]))
    image.replay(record("ProducerIdsRecord", next_producer_id=9_000))
    image.replay(record("AbortTransactionRecord"))
    assert image == before
    image.replay(record("BeginTransactionRecord"))
    image.replay(change(isr=[2]))
    image.replay(record("EndTransactionRecord"))
    partition = image.partition("t", 0)
    assert partition is not None and partition.isr == (2,)


# -- deltas -----------------------------------------------------------------------------------------------------


def delta_of(*records: Message) -> MetadataDelta:
    delta = MetadataDelta(image_of(*EVERYTHING))
    for offset, each in enumerate(records):
        delta.replay(each, offset)
    return delta


def test_a_delta_names_what_a_batch_changed() -> None:
    delta = delta_of(
        change(isr=[2]),
        TopicRecord(name="u", topic_id=OTHER_ID),
        ConfigRecord(resource_type=4, resource_name="", name="log.cleaner.threads", value="3"),
        record("BrokerRegistrationChangeRecord", broker_id=1, broker_epoch=5, fenced=-1),
        record("FeatureLevelRecord", name="other", feature_level=1),
    )
    assert list(delta.changed_partitions) == [TOPIC_ID, OTHER_ID]
    assert list(delta.changed_partitions[TOPIC_ID]) == [0]
    assert [topic.name for topic in delta.created_topics] == ["u"]
    assert list(delta.changed_configs) == [(4, "")]
    assert delta.changed_brokers == {1: delta.image.brokers[1]} and not delta.image.brokers[1].fenced
    assert delta.changed_features == {"other": 1}
    assert delta.apply(7, 3) is delta.image and (delta.image.offset, delta.image.epoch) == (7, 3)


def test_a_delta_tells_what_was_deleted_as_it_was() -> None:
    delta = delta_of(change(isr=[2]), record("RemoveTopicRecord", topic_id=TOPIC_ID))
    assert not delta.changed_partitions
    assert delta.deleted_topics[TOPIC_ID].partitions[0].isr == (1, 2)
    assert list(delta.changed_configs) == [(2, "t")]


def test_a_topic_that_came_and_went_within_a_batch_was_never_there() -> None:
    delta = delta_of(TopicRecord(name="u", topic_id=OTHER_ID), record("RemoveTopicRecord", topic_id=OTHER_ID))
    assert not delta.changed_partitions and not delta.deleted_topics


def test_an_unregistered_broker_is_a_change_to_nothing() -> None:
    assert delta_of(record("UnregisterBrokerRecord", broker_id=1, broker_epoch=5)).changed_brokers == {1: None}


def test_a_delta_after_an_aborted_transaction_is_empty() -> None:
    delta = delta_of(record("BeginTransactionRecord"), change(isr=[2]), record("AbortTransactionRecord"))
    assert not delta.changed_partitions and delta.image == delta.before


def test_a_snapshot_is_a_delta_as_well() -> None:
    target = image_of(*EVERYTHING)
    target.replay(change(isr=[2]))
    target.replay(record("UnregisterBrokerRecord", broker_id=1, broker_epoch=5))
    delta = MetadataDelta(image_of(*EVERYTHING))
    delta.replace(target.to_records())
    assert delta.image == target
    assert list(delta.changed_partitions[TOPIC_ID]) == [0]
    assert delta.changed_brokers == {1: None} and not delta.changed_configs and not delta.deleted_topics


def test_the_deltas_of_a_controllers_batches_agree_with_comparing_images() -> None:
    h = ControllerHarness()
    h.start(1, 2, 3)
    h.create("t", [1, 2, 3], configs={"retention.ms": "5"})
    before = MetadataImage()
    for each in h.log:
        delta = MetadataDelta(before)
        delta.replay(each, 0)
        compared = MetadataDelta(before)
        compared.replace(delta.image.to_records())
        assert compared.image == delta.image
        assert compared.changed_brokers == delta.changed_brokers
        assert list(compared.changed_configs) == list(delta.changed_configs)
        assert compared.changed_partitions == delta.changed_partitions
        before = delta.image
