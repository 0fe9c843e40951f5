"""CreateTopics, CreatePartitions and DeleteTopics, each with every way to be refused (ReplicationControlManager)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from controller_harness import ControllerHarness, directory_of, topic

from engine.model.errors import ErrorCode
from engine.model.ids import ZERO_UUID
from engine.model.notes import NoteKind
from engine.wire.apis import ApiKey
from engine.wire.messages.create_partitions_request import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from engine.wire.messages.create_topics_request import CreatableReplicaAssignment, CreatableTopic
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState


def three_brokers(properties: Mapping[str, str] | None = None) -> ControllerHarness:
    h = ControllerHarness(properties)
    h.start(1, 2, 3)
    return h


def refusal(h: ControllerHarness, wanted: CreatableTopic) -> tuple[ErrorCode, str]:
    """Code and message of a topic that is not created."""
    before = len(h.log)
    [result] = h.create_topics(wanted).topics
    assert result.error_code, "it was created"
    assert len(h.log) == before and result.topic_id == ZERO_UUID
    return ErrorCode(result.error_code), result.error_message


# -- create -----------------------------------------------------------------------------------------------------


def test_a_topic_is_created_with_its_configs_and_partitions_in_one_batch() -> None:
    h = three_brokers()
    [result] = h.create_topics(topic("orders", partitions=2, factor=3, configs={"retention.ms": "5"})).topics
    assert h.names_of_last() == ["TopicRecord", "ConfigRecord", "PartitionRecord", "PartitionRecord"]
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 2, 3)
    created = h.image.topics_by_name["orders"]
    assert result.topic_id == created.topic_id != ZERO_UUID
    assert h.image.config(2, "orders") == {"retention.ms": "5"}
    for number in (0, 1):
        partition = h.partition("orders", number)
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition.isr == partition.replicas and partition.leader == partition.replicas[0]
        assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)
        assert partition.directories == tuple(directory_of(each) for each in partition.replicas)
    assert h.kinds()[-1] is NoteKind.TOPIC_CREATED


def test_the_answer_tells_all_configs_with_their_sources() -> None:
    h = three_brokers({"log.segment.bytes": "2000000"})
    [result] = h.create_topics(topic("t", partitions=1, factor=1, configs={"cleanup.policy": "compact"})).topics
    configs = {each.name: (each.value, each.config_source) for each in result.configs}
    assert list(configs) == sorted(configs)
    assert configs["cleanup.policy"] == ("compact", 1)
    assert configs["segment.bytes"] == ("2000000", 4)
    assert configs["retention.ms"] == ("604800000", 5)


def test_minus_one_means_the_defaults_of_the_cluster() -> None:
    h = three_brokers({"num.partitions": "4", "default.replication.factor": "2"})
    h.create("t")
    partitions = h.image.topics_by_name["t"].partitions
    assert len(partitions) == 4 and all(len(each.replicas) == 2 for each in partitions.values())


def test_with_validate_only_everything_is_checked_and_nothing_written() -> None:
    h = three_brokers()
    before = len(h.log)
    response = h.create_topics(
        topic("good", partitions=2, factor=3), topic("bad", partitions=0, factor=3), validate_only=True
    )
    assert [each.error_code for each in response.topics] == [0, ErrorCode.INVALID_PARTITIONS]
    assert response.topics[0].num_partitions == 2
    assert len(h.log) == before and not h.image.topics_by_name
    assert NoteKind.TOPIC_CREATED not in h.kinds()


def test_what_is_wrong_with_one_topic_does_not_stop_the_others() -> None:
    h = three_brokers()
    response = h.create_topics(topic("a", partitions=1, factor=1), topic("b c"), topic("d", partitions=1, factor=9))
    codes = {each.name: each.error_code for each in response.topics}
    assert codes == {
        "a": 0,
        "b c": ErrorCode.INVALID_TOPIC_EXCEPTION,
        "d": ErrorCode.INVALID_REPLICATION_FACTOR,
    }
    assert list(h.image.topics_by_name) == ["a"]


def test_an_existing_topic_is_not_created_again() -> None:
    h = three_brokers()
    h.create("a.b", partitions=1, factor=1)
    assert refusal(h, topic("a.b", partitions=1, factor=1)) == (
        ErrorCode.TOPIC_ALREADY_EXISTS,
        "Topic 'a.b' already exists.",
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 250, "a\n"])
def test_invalid_names_are_refused(name: str) -> None:
    code, message = refusal(three_brokers(), topic(name, partitions=1, factor=1))
    assert code is ErrorCode.INVALID_TOPIC_EXCEPTION and message.startswith("Topic name is invalid: ")


def test_names_up_to_249_characters_are_fine() -> None:
    h = three_brokers()
    h.create("x" * 249, partitions=1, factor=1)
    h.create("A.b_c-9", partitions=1, factor=1)


def test_a_name_that_metrics_could_not_tell_from_another_is_refused() -> None:
    h = three_brokers()
    h.create("a.b", partitions=1, factor=1)
    assert refusal(h, topic("a_b", partitions=1, factor=1)) == (
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        "Topic 'a_b' collides with existing topic: a.b",
    )


def test_the_metadata_topic_and_names_given_twice_are_refused() -> None:
    h = three_brokers()
    response = h.create_topics(
        topic("twice", partitions=1, factor=1), topic("__cluster_metadata"), topic("twice", partitions=2, factor=1)
    )
    assert [(each.name, each.error_code) for each in response.topics] == [
        ("twice", ErrorCode.INVALID_REQUEST),
        ("__cluster_metadata", ErrorCode.INVALID_REQUEST),
    ]


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        ({"partitions": 0, "factor": 1}, ErrorCode.INVALID_PARTITIONS),
        ({"partitions": -2, "factor": 1}, ErrorCode.INVALID_PARTITIONS),
        ({"partitions": 1, "factor": 0}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"partitions": 1, "factor": -2}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"partitions": 1, "factor": 4}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"partitions": 10_001, "factor": 1}, ErrorCode.POLICY_VIOLATION),
    ],
)
def test_counts_that_cannot_be_are_refused(counts: dict[str, int], error: ErrorCode) -> None:
    assert refusal(three_brokers(), topic("t", **counts))[0] is error


def test_a_request_of_more_records_than_one_batch_may_have_creates_nothing_at_all() -> None:
    h = three_brokers()
    before = len(h.log)
    response = h.create_topics(topic("a", partitions=6_000, factor=1), topic("b", partitions=6_000, factor=1))
    assert {each.error_code for each in response.topics} == {ErrorCode.POLICY_VIOLATION}
    assert len(h.log) == before


def test_the_message_says_how_many_brokers_there_are() -> None:
    assert refusal(three_brokers(), topic("t", partitions=1, factor=4))[1].startswith(
        "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because "
        "only 3 broker(s) are registered"
    )


def test_without_an_unfenced_broker_nothing_can_be_placed() -> None:
    h = ControllerHarness()
    assert refusal(h, topic("t", partitions=1, factor=1))[0] is ErrorCode.INVALID_REPLICATION_FACTOR
    h.register(1)
    code, message = refusal(h, topic("t", partitions=1, factor=1))
    assert code is ErrorCode.INVALID_REPLICATION_FACTOR and "All brokers are currently fenced" in message


def test_a_fenced_broker_takes_replicas_but_is_not_in_sync() -> None:
    h = three_brokers()
    h.fence(3)
    h.create("t", partitions=4, factor=3)
    for number in range(4):
        partition = h.partition("t", number)
        assert sorted(partition.replicas) == [1, 2, 3] and partition.replicas[0] != 3
        assert sorted(partition.isr) == [1, 2]


# -- configs of new topics --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configs", "what"),
    [
        ({"no.such.config": "1"}, "no.such.config"),
        ({"retention.ms": "soon"}, "retention.ms"),
        ({"cleanup.policy": "burn"}, "cleanup.policy"),
        ({"min.insync.replicas": "0"}, "min.insync.replicas"),
        ({"retention.ms": None}, "Null value not supported for topic configs: retention.ms"),
    ],
)
def test_invalid_configs_are_refused(configs: dict[str, str | None], what: str) -> None:
    code, message = refusal(three_brokers(), topic("t", partitions=1, factor=1, configs=configs))
    assert code is ErrorCode.INVALID_CONFIG and what in message


# -- manual assignments -----------------------------------------------------------------------------------------


def test_replicas_can_be_assigned_by_hand() -> None:
    h = three_brokers()
    h.fence(3)
    h.create("t", [3, 1], [1, 2])
    assert h.partition("t", 0).replicas == (3, 1)
    assert (h.partition("t", 0).leader, h.partition("t", 0).isr) == (1, (1,)), "the first active one leads"
    assert (h.partition("t", 1).leader, h.partition("t", 1).isr) == (1, (1, 2))


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ([[]], "includes an empty replica list"),
        ([[1, 9]], "includes broker 9, but no such broker is registered"),
        ([[1, 2, 1]], "includes the broker 1 more than once"),
        ([[1, 2], [3]], "1 replica(s), but this is not consistent with previous partitions, which have 2"),
        ([[4]], "partition 0 are fenced or in controlled shutdown"),
    ],
)
def test_an_assignment_by_hand_is_refused(assignments: Sequence[Sequence[int]], message: str) -> None:
    h = three_brokers()
    h.register(4)
    code, why = refusal(h, topic("t", *assignments))
    assert code is ErrorCode.INVALID_REPLICA_ASSIGNMENT and message in why


@pytest.mark.parametrize("numbers", [(0, 0), (1,), (0, 2)])
def test_assigned_partitions_are_numbered_from_zero_without_gaps(numbers: Sequence[int]) -> None:
    wanted = topic("t")
    wanted.assignments = [CreatableReplicaAssignment(partition_index=each, broker_ids=[1]) for each in numbers]
    assert refusal(three_brokers(), wanted)[0] is ErrorCode.INVALID_REPLICA_ASSIGNMENT


@pytest.mark.parametrize("counts", [{"partitions": 1}, {"factor": 1}])
def test_an_assignment_by_hand_excludes_counts(counts: dict[str, int]) -> None:
    assert refusal(three_brokers(), topic("t", [1], **counts))[0] is ErrorCode.INVALID_REQUEST


# -- more partitions --------------------------------------------------------------------------------------------


def add_partitions(
    h: ControllerHarness,
    name: str,
    count: int,
    assignments: Sequence[Sequence[int]] | None = None,
    *,
    validate_only: bool = False,
) -> Any:
    wanted = CreatePartitionsTopic(
        name=name,
        count=count,
        assignments=None
        if assignments is None
        else [CreatePartitionsAssignment(broker_ids=list(each)) for each in assignments],
    )
    request = CreatePartitionsRequest(topics=[wanted], timeout_ms=1_000, validate_only=validate_only)
    [result] = h.handle(ApiKey.CREATE_PARTITIONS, request).results
    return result


def test_a_topic_gets_more_partitions_with_the_same_replication_factor() -> None:
    h = three_brokers()
    h.create("t", partitions=1, factor=2)
    assert add_partitions(h, "t", 4).error_code == 0
    assert h.names_of_last() == ["PartitionRecord"] * 3
    assert sorted(h.image.topics_by_name["t"].partitions) == [0, 1, 2, 3]
    assert all(len(h.partition("t", each).replicas) == 2 for each in range(4))
    assert h.kinds()[-1] is NoteKind.PARTITIONS_ADDED


def test_new_partitions_can_be_assigned_by_hand() -> None:
    h = three_brokers()
    h.create("t", [1, 2])
    assert add_partitions(h, "t", 3, [[2, 3], [3, 1]]).error_code == 0
    assert (h.partition("t", 1).replicas, h.partition("t", 2).replicas) == ((2, 3), (3, 1))


@pytest.mark.parametrize(
    ("count", "assignments", "error"),
    [
        (2, None, ErrorCode.INVALID_PARTITIONS),
        (1, None, ErrorCode.INVALID_PARTITIONS),
        (0, None, ErrorCode.INVALID_PARTITIONS),
        (4, [[1, 2]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (3, [], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (3, [[1]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (3, [[1, 9]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (3, [[4, 5]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (10_003, None, ErrorCode.POLICY_VIOLATION),
    ],
)
def test_partitions_are_not_added(count: int, assignments: list[list[int]] | None, error: ErrorCode) -> None:
    h = three_brokers()
    h.register(4)
    h.register(5)
    h.create("t", [1, 2], [2, 3])
    before = len(h.log)
    assert add_partitions(h, "t", count, assignments).error_code == error
    assert len(h.log) == before


def test_partitions_of_no_topic_cannot_be_added() -> None:
    assert add_partitions(three_brokers(), "ghost", 3).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_partitions_are_only_checked_with_validate_only() -> None:
    h = three_brokers()
    h.create("t", [1])
    assert add_partitions(h, "t", 3, validate_only=True).error_code == 0
    assert add_partitions(h, "t", 1, validate_only=True).error_code == ErrorCode.INVALID_PARTITIONS
    assert len(h.image.topics_by_name["t"].partitions) == 1


def test_a_topic_named_twice_gets_no_partitions() -> None:
    h = three_brokers()
    h.create("t", [1])
    topics = [CreatePartitionsTopic(name="t", count=each, assignments=None) for each in (2, 3)]
    response = h.handle(ApiKey.CREATE_PARTITIONS, CreatePartitionsRequest(topics=topics))
    assert [each.error_code for each in response.results] == [ErrorCode.INVALID_REQUEST]


# -- delete -----------------------------------------------------------------------------------------------------


def delete(
    h: ControllerHarness, *names: str, ids: Sequence[bytes] = (), version: int = 6, both: bool = False
) -> dict[object, int]:
    """Error codes by name, or by id where the name is not told."""
    request = DeleteTopicsRequest(timeout_ms=1_000)
    if version < 6:
        request.topic_names = list(names)
    else:
        request.topics = [DeleteTopicState(name=each, topic_id=ZERO_UUID) for each in names]
        request.topics += [DeleteTopicState(name="t" if both else None, topic_id=each) for each in ids]
    response = h.handle(ApiKey.DELETE_TOPICS, request, version)
    return {each.topic_id if each.name is None else each.name: each.error_code for each in response.responses}


@pytest.mark.parametrize("version", [1, 5, 6])
def test_a_topic_is_deleted_by_name_with_its_configs(version: int) -> None:
    h = three_brokers()
    h.create("t", [1], configs={"retention.ms": "5"})
    assert delete(h, "t", version=version) == {"t": 0}
    assert h.names_of_last() == ["RemoveTopicRecord"]
    assert not h.image.topics_by_name and not h.image.topics_by_id and not h.image.configs
    assert h.kinds()[-1] is NoteKind.TOPIC_DELETED
    old = h.log[-1].topic_id  # type: ignore[attr-defined]
    h.create("t", [1])
    assert h.image.topics_by_name["t"].topic_id != old


def test_a_topic_is_deleted_by_its_id() -> None:
    h = three_brokers()
    h.create("t", [1])
    assert delete(h, ids=[h.image.topics_by_name["t"].topic_id]) == {"t": 0}
    assert not h.image.topics_by_name


def test_what_does_not_exist_cannot_be_deleted() -> None:
    h = three_brokers()
    h.create("t", [1])
    unknown = b"0123456789abcdef"
    assert delete(h, "ghost", "t", ids=[unknown]) == {
        "ghost": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        unknown: ErrorCode.UNKNOWN_TOPIC_ID,
        "t": 0,
    }


def test_topics_named_twice_or_in_two_ways_are_not_deleted() -> None:
    h = three_brokers()
    h.create("t", [1])
    topic_id = h.image.topics_by_name["t"].topic_id
    assert delete(h, "t", "t", version=5) == {"t": ErrorCode.INVALID_REQUEST}
    assert delete(h, "t", ids=[topic_id]) == {"t": ErrorCode.INVALID_REQUEST}
    assert delete(h, ids=[topic_id, topic_id]) == {topic_id: ErrorCode.INVALID_REQUEST}
    assert delete(h, ids=[topic_id], both=True) == {"t": ErrorCode.INVALID_REQUEST}
    assert delete(h, ids=[ZERO_UUID]) == {ZERO_UUID: ErrorCode.INVALID_REQUEST}
    assert "t" in h.image.topics_by_name


@pytest.mark.parametrize(("version", "error"), [(2, ErrorCode.INVALID_REQUEST), (6, ErrorCode.TOPIC_DELETION_DISABLED)])
def test_topics_stay_where_deletion_is_disabled(version: int, error: ErrorCode) -> None:
    h = three_brokers({"delete.topic.enable": "false"})
    h.create("t", [1])
    assert delete(h, "t", version=version) == {"t": error}
    assert "t" in h.image.topics_by_name
