"""AlterPartition: a leader asks for another ISR, and every way to be refused (KIP-497, 841, 903)."""

from __future__ import annotations

import pytest
from controller_harness import ControllerHarness, incarnation_of

from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_partition_request import AlterPartitionRequest, BrokerState, PartitionData, TopicData


def led_by_one(*, brokers: int = 3) -> ControllerHarness:
    h = ControllerHarness()
    h.start(*range(1, brokers + 1))
    h.create("t", [1, 2, 3])
    return h


def refused(h: ControllerHarness, answer: object, error: ErrorCode) -> bool:
    """Whether the answer is this error and nothing was written: no refusal but one may change the ISR."""
    return answer.error_code == error and not h.last  # type: ignore[attr-defined]


# -- accepted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_a_leader_shrinks_and_expands_its_isr(version: int) -> None:
    h = led_by_one()
    answer = h.alter_partition(1, [1, 3], version=version)
    assert (answer.error_code, answer.leader_id, answer.leader_epoch, answer.partition_epoch) == (0, 1, 0, 1)
    assert list(answer.isr) == [1, 3] and h.partition("t").isr == (1, 3)
    answer = h.alter_partition(1, [1, 3, 2], version=version)
    assert (answer.error_code, answer.leader_epoch, answer.partition_epoch) == (0, 0, 2)
    assert h.partition("t").isr == (1, 3, 2)
    # The leader tells of it, with the reason.
    assert NoteKind.ISR_SHRUNK not in h.kinds() and NoteKind.ISR_EXPANDED not in h.kinds()


def test_a_change_of_the_isr_changes_neither_leader_nor_leader_epoch() -> None:
    h = led_by_one()
    h.alter_partition(1, [1])
    assert (h.partition("t").leader, h.partition("t").leader_epoch) == (1, 0)


def test_asking_for_the_isr_that_holds_succeeds_without_a_record() -> None:
    h = led_by_one()
    answer = h.alter_partition(1, [1, 2, 3])
    assert (answer.error_code, answer.partition_epoch, list(answer.isr)) == (0, 0, [1, 2, 3])
    assert not h.last


def test_a_member_that_the_leader_has_not_heard_goes_without_epoch() -> None:
    h = led_by_one()
    assert h.alter_partition(1, [(1, h.broker(1).broker_epoch), (2, -1)]).error_code == 0


# -- refused ----------------------------------------------------------------------------------------------------


def test_a_leader_with_a_past_partition_epoch_is_refused() -> None:
    h = led_by_one()
    h.alter_partition(1, [1, 2])
    assert refused(h, h.alter_partition(1, [1], partition_epoch=0), ErrorCode.INVALID_UPDATE_VERSION)


def test_a_leader_with_a_past_leader_epoch_is_fenced() -> None:
    h = led_by_one()
    h.fence(1)
    assert (h.partition("t").leader, h.partition("t").leader_epoch) == (2, 1)
    h.heartbeat(1)
    answer = h.alter_partition(1, [1, 2], leader_epoch=0, partition_epoch=0)
    assert refused(h, answer, ErrorCode.FENCED_LEADER_EPOCH)


@pytest.mark.parametrize("ahead", [{"leader_epoch": 1}, {"partition_epoch": 1}])
def test_a_leader_that_knows_more_must_look_for_another_controller(ahead: dict[str, int]) -> None:
    h = led_by_one()
    assert refused(h, h.alter_partition(1, [1], **ahead), ErrorCode.NOT_CONTROLLER)  # type: ignore[arg-type]


def test_only_the_leader_may_ask() -> None:
    h = led_by_one()
    assert refused(h, h.alter_partition(2, [2, 1]), ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize("isr", [[], [2, 3], [1, 2, 2], [1, 4], [1, 9]])
def test_an_isr_that_cannot_be_is_refused(isr: list[int]) -> None:
    h = led_by_one(brokers=4)
    assert refused(h, h.alter_partition(1, isr), ErrorCode.INVALID_REQUEST)


def test_a_fenced_replica_does_not_join() -> None:
    h = led_by_one()
    h.fence(3)
    assert refused(h, h.alter_partition(1, [1, 2, 3]), ErrorCode.INELIGIBLE_REPLICA)


def test_a_replica_on_its_way_out_does_not_join() -> None:
    h = led_by_one()
    h.create("u", [3, 1])
    h.heartbeat(3, want_shut_down=True)
    assert h.broker(3).in_controlled_shutdown and not h.broker(3).fenced
    assert refused(h, h.alter_partition(1, [1, 2, 3]), ErrorCode.INELIGIBLE_REPLICA)


def test_an_unregistered_replica_does_not_join() -> None:
    h = led_by_one()
    h.unregister(3)
    assert refused(h, h.alter_partition(1, [1, 2, 3]), ErrorCode.INELIGIBLE_REPLICA)


def test_a_replica_that_was_restarted_since_the_leader_heard_it_does_not_join() -> None:
    """KIP-903: the new process may lack what the old one had fetched."""
    h = led_by_one()
    old = h.broker(3).broker_epoch
    h.machine.on_broker_connection_lost(3, old, h.now_ms)
    h.register(3)
    h.heartbeat(3)
    assert h.partition("t").isr == (1, 2)
    members = [(1, h.broker(1).broker_epoch), (2, h.broker(2).broker_epoch)]
    assert refused(h, h.alter_partition(1, [*members, (3, old)]), ErrorCode.INELIGIBLE_REPLICA)
    assert h.alter_partition(1, [*members, (3, h.broker(3).broker_epoch)]).error_code == 0


def test_a_request_from_before_the_members_restart_has_a_past_partition_epoch() -> None:
    """What makes -1 safe for a member that the leader has not heard: its restart changes the partition epoch."""
    h = led_by_one()
    before = h.partition("t").partition_epoch
    h.machine.on_broker_connection_lost(3, h.broker(3).broker_epoch, h.now_ms)
    h.register(3)
    h.heartbeat(3)
    answer = h.alter_partition(1, [(1, -1), (2, -1), (3, -1)], partition_epoch=before)
    assert refused(h, answer, ErrorCode.INVALID_UPDATE_VERSION)


def test_unknown_topics_and_partitions_are_told_apart() -> None:
    h = led_by_one()
    assert refused(h, h.alter_partition(1, [1], topic_id=b"0123456789abcdef"), ErrorCode.UNKNOWN_TOPIC_ID)
    assert refused(h, h.alter_partition(1, [1], number=7), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def test_a_broker_that_is_not_registered_with_its_epoch_is_refused_as_a_whole() -> None:
    h = led_by_one()
    assert refused(h, h.alter_partition(1, [1], broker_epoch=0), ErrorCode.STALE_BROKER_EPOCH)
    assert refused(h, h.alter_partition(9, [1], broker_epoch=0), ErrorCode.STALE_BROKER_EPOCH)


def test_each_partition_is_judged_alone() -> None:
    h = led_by_one()
    h.create("u", [1, 2], [1, 2])
    topic_id = h.image.topics_by_name["u"].topic_id

    def ask(number: int, partition_epoch: int) -> PartitionData:
        return PartitionData(
            partition_index=number,
            partition_epoch=partition_epoch,
            new_isr_with_epochs=[BrokerState(broker_id=1, broker_epoch=-1)],
        )

    request = AlterPartitionRequest(
        broker_id=1,
        broker_epoch=h.broker(1).broker_epoch,
        topics=[TopicData(topic_id=topic_id, partitions=[ask(0, 0), ask(1, 5)])],
    )
    response = h.handle(ApiKey.ALTER_PARTITION, request)
    assert [each.error_code for each in response.topics[0].partitions] == [0, ErrorCode.NOT_CONTROLLER]
    assert (h.partition("u", 0).isr, h.partition("u", 1).isr) == ((1,), (1, 2))


# -- recovery from an unclean election --------------------------------------------------------------------------


def unclean() -> ControllerHarness:
    """Broker 2 leads after an unclean election, and must recover."""
    h = ControllerHarness()
    h.start(1, 2)
    h.create("t", [1, 2], configs={"unclean.leader.election.enable": "true"})
    h.alter_partition(1, [1])
    h.fence(1)
    assert (h.partition("t").leader, h.partition("t").isr, h.partition("t").leader_recovery_state) == (2, (2,), 1)
    h.heartbeat(1)
    return h


def test_a_recovering_leader_stays_alone_until_it_says_that_it_has_recovered() -> None:
    h = unclean()
    assert refused(h, h.alter_partition(2, [2, 1], recovery_state=1), ErrorCode.INVALID_REQUEST)
    answer = h.alter_partition(2, [2], recovery_state=1)
    assert (answer.error_code, answer.leader_recovery_state) == (0, 1)
    answer = h.alter_partition(2, [2, 1], recovery_state=0)
    assert (answer.error_code, answer.leader_recovery_state) == (0, 0)
    assert (h.partition("t").isr, h.partition("t").leader_recovery_state) == ((2, 1), 0)


def test_a_leader_that_has_recovered_does_not_recover_again() -> None:
    h = led_by_one()
    assert refused(h, h.alter_partition(1, [1], recovery_state=1), ErrorCode.INVALID_REQUEST)
    assert refused(h, h.alter_partition(1, [1], recovery_state=7), ErrorCode.INVALID_REQUEST)


def test_a_paused_leader_that_comes_back_changes_nothing() -> None:
    """R6: what it asks for belongs to an epoch that is over, and its broker epoch too if it was restarted."""
    h = led_by_one()
    epoch = h.broker(1).broker_epoch
    h.advance(8_999)
    h.heartbeat(2)
    h.heartbeat(3)
    h.advance(1)
    assert h.partition("t").leader == 2 and h.broker(1).fenced
    assert refused(
        h,
        h.alter_partition(1, [1], leader_epoch=0, partition_epoch=0, broker_epoch=epoch),
        ErrorCode.FENCED_LEADER_EPOCH,
    )
    h.register(1, incarnation=2)
    assert h.broker(1).incarnation_id == incarnation_of(1, 2)
    assert refused(
        h,
        h.alter_partition(1, [1], leader_epoch=0, partition_epoch=0, broker_epoch=epoch),
        ErrorCode.STALE_BROKER_EPOCH,
    )
