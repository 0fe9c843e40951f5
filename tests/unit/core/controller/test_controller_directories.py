"""AssignReplicasToDirs: brokers with several log directories tell where each replica is (KIP-858)."""

from __future__ import annotations

from typing import Any

from controller_harness import ControllerHarness, directory_of

from engine.core.controller.directory_ids import UNASSIGNED
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.assign_replicas_to_dirs_request import (
    AssignReplicasToDirsRequest,
    DirectoryData,
    PartitionData,
    TopicData,
)


def with_two_directories() -> ControllerHarness:
    """Broker 1 has two directories, brokers 2 and 3 have one each; they all have ``t-0``, which 1 leads."""
    h = ControllerHarness()
    h.register(1, log_dirs=[directory_of(1, 0), directory_of(1, 1)])
    h.heartbeat(1)
    h.start(2, 3)
    h.create("t", [1, 2, 3])
    return h


def assign(
    h: ControllerHarness,
    number: int,
    broker_id: int = 1,
    *,
    topic_id: bytes | None = None,
    partition: int = 0,
    epoch: int | None = None,
) -> Any:
    """The broker tells that its replica is in its directory of that number."""
    topic = TopicData(
        h.image.topics_by_name["t"].topic_id if topic_id is None else topic_id, [PartitionData(partition)]
    )
    request = AssignReplicasToDirsRequest(
        broker_id,
        h.broker(broker_id).broker_epoch if epoch is None else epoch,
        [DirectoryData(directory_of(broker_id, number), [topic])],
    )
    return h.handle(ApiKey.ASSIGN_REPLICAS_TO_DIRS, request)


def code_of(response: Any) -> ErrorCode:
    return ErrorCode(response.directories[0].topics[0].partitions[0].error_code)


def test_a_directory_is_noted_and_changes_nothing_else() -> None:
    h = with_two_directories()
    before = h.partition("t")
    assert before.directory(1) == UNASSIGNED
    response = assign(h, 1)
    assert code_of(response) is ErrorCode.NONE and response.directories[0].id == directory_of(1, 1)
    after = h.partition("t")
    assert after.directory(1) == directory_of(1, 1)
    assert (after.leader, after.leader_epoch, after.isr) == (before.leader, before.leader_epoch, before.isr)
    assert after.directory(2) == before.directory(2)
    assign(h, 1)
    assert not h.last, "it is known already"


def test_when_the_directory_fails_its_replicas_are_led_by_others() -> None:
    h = with_two_directories()
    assign(h, 1)
    h.heartbeat(1, offline=[directory_of(1, 0)])
    assert h.partition("t").leader == 1, "it is in the other one"
    h.heartbeat(1, offline=[directory_of(1, 0), directory_of(1, 1)])
    assert h.partition("t").leader == 2


def test_a_replica_in_a_directory_that_failed_before_it_was_told_leads_no_more() -> None:
    h = with_two_directories()
    h.heartbeat(1, offline=[directory_of(1, 1)])
    assert h.partition("t").leader == 1, "nobody knows that it is there"
    assert code_of(assign(h, 1)) is ErrorCode.NONE
    assert (h.partition("t").leader, h.partition("t").isr) == (2, (2, 3))


def test_a_follower_in_a_directory_that_failed_leaves_the_isr() -> None:
    h = with_two_directories()
    h.create("u", [2, 1])
    h.heartbeat(1, offline=[directory_of(1, 1)])
    assert code_of(assign(h, 1, topic_id=h.image.topics_by_name["u"].topic_id)) is ErrorCode.NONE
    assert (h.partition("u").leader, h.partition("u").isr) == (2, (2,))


def test_what_does_not_exist_is_refused_one_by_one() -> None:
    h = with_two_directories()
    assert code_of(assign(h, 1, topic_id=b"not a topic's id")) is ErrorCode.UNKNOWN_TOPIC_ID
    assert code_of(assign(h, 1, partition=7)) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    h.create("u", [2, 3])
    elsewhere = assign(h, 1, topic_id=h.image.topics_by_name["u"].topic_id)
    assert code_of(elsewhere) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert not h.last


def test_a_past_incarnation_of_the_broker_is_refused() -> None:
    h = with_two_directories()
    response = assign(h, 1, epoch=h.broker(1).broker_epoch - 1)
    assert ErrorCode(response.error_code) is ErrorCode.STALE_BROKER_EPOCH
    assert h.partition("t").directory(1) == UNASSIGNED
