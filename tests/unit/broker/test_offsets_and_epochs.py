"""ListOffsets by time and by name, and OffsetForLeaderEpoch."""

from __future__ import annotations

import pytest

from engine.model.errors import ErrorCode
from engine.record.builder import NewRecord, build_batch
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from engine.wire.messages.offset_for_leader_epoch_request import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    list_offset,
    pause_follower,
    produce,
    produce_ok,
    replica_of,
    until_in_sync,
    until_led_by,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING = -1, -2, -3, -4, -5, -6
T = 1_700_000_000_000


async def with_timestamps(cluster: InProcessCluster, *stamps: int) -> None:
    """A topic whose records have these timestamps (relative to T), two in a batch."""
    await create_topic(cluster, "t", configs={"retention.ms": "-1"})
    for at in range(0, len(stamps), 2):
        records = [NewRecord(None, b"%d" % each, timestamp=T + each) for each in stamps[at : at + 2]]
        assert (await produce(cluster, 1, "t", build_batch(records))).error_code == 0


async def test_the_first_record_at_or_after_a_timestamp_is_found(broker: InProcessCluster) -> None:
    await with_timestamps(broker, 10, 20, 30, 25, 40, 50)
    for asked, expected in ((0, 0), (10, 0), (11, 1), (20, 1), (21, 2), (26, 2), (31, 4), (50, 5)):
        answer = await list_offset(broker, 1, "t", T + asked)
        assert (answer.error_code, answer.offset, answer.leader_epoch) == (0, expected, 0), asked
    answer = await list_offset(broker, 1, "t", T + 21)
    assert answer.timestamp == T + 30
    answer = await list_offset(broker, 1, "t", T + 51)
    assert (answer.error_code, answer.timestamp, answer.offset, answer.leader_epoch) == (0, -1, -1, -1)


@pytest.mark.parametrize(
    ("timestamp", "since", "expected"),
    [
        (LATEST, 1, (-1, 6)),
        (EARLIEST, 1, (-1, 0)),
        (MAX_TIMESTAMP, 7, (T + 50, 4)),
        (EARLIEST_LOCAL, 8, (-1, 0)),
        (LATEST_TIERED, 9, (-1, -1)),
        (EARLIEST_PENDING, 11, (-1, -1)),
        (-7, 99, (-1, -1)),
    ],
)
async def test_special_timestamps_are_known_from_their_versions_on(
    broker: InProcessCluster, timestamp: int, since: int, expected: tuple[int, int]
) -> None:
    await with_timestamps(broker, 10, 20, 30, 25, 50, 40)
    for version in range(1, 12):
        answer = await list_offset(broker, 1, "t", timestamp, version=version)
        if version < since:
            assert ErrorCode(answer.error_code) is ErrorCode.UNSUPPORTED_VERSION, version
            assert (answer.timestamp, answer.offset) == (-1, -1)
        else:
            assert (answer.error_code, answer.timestamp, answer.offset) == (0, *expected), version


async def test_an_empty_log_has_an_end_a_start_and_no_largest_timestamp(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    answers = [await list_offset(broker, 1, "t", each) for each in (LATEST, EARLIEST, MAX_TIMESTAMP, 0)]
    assert [(each.error_code, each.offset) for each in answers] == [(0, 0), (0, 0), (0, -1), (0, -1)]


async def test_consumers_are_told_the_high_watermark_and_others_the_end(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"committed")
    await cluster.until(lambda: replica_of(cluster, 2, "t").partition.high_watermark >= 0)
    for each in (2, 3):
        pause_follower(cluster, each, "t")
    soon = cluster.world.clock.now_ms() + 60_000
    await produce(cluster, 1, "t", batch(b"not yet", timestamp=soon), acks=1)
    replica = replica_of(cluster, 1, "t")
    assert (replica.partition.high_watermark, replica.log.log_end_offset) == (1, 2)
    assert (await list_offset(cluster, 1, "t", LATEST)).offset == 1
    assert (await list_offset(cluster, 1, "t", LATEST, isolation_level=1)).offset == 1
    assert (await list_offset(cluster, 1, "t", LATEST, replica_id=2)).offset == 2
    # What is not committed is not told by its timestamp either.
    assert (await list_offset(cluster, 1, "t", soon)).offset == -1
    assert (await list_offset(cluster, 1, "t", MAX_TIMESTAMP)).offset == -1
    assert (await list_offset(cluster, 1, "t", MAX_TIMESTAMP, replica_id=2)).offset == 1
    # Only who debugs may ask a follower.
    refused = await list_offset(cluster, 2, "t", LATEST)
    assert ErrorCode(refused.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (await list_offset(cluster, 2, "t", LATEST, replica_id=-2)).offset == 1


async def test_a_new_leader_that_does_not_know_what_is_committed_says_so(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"first")
    await cluster.kill(3)
    await cluster.until(lambda: replica_of(cluster, 2, "t").log.log_end_offset == 1)
    # It takes over without having heard that the record is committed, and nobody follows it.
    follower = replica_of(cluster, 2, "t")
    follower.partition.high_watermark = 0
    follower.log.set_high_watermark(0)
    await cluster.kill(1)
    # One voter is left: the metadata is told by hand.
    state = cluster[2].metadata.image.topics_by_name["t"].partitions[0]
    follower.partition.on_become_leader(
        state._replace(leader=2, leader_epoch=state.leader_epoch + 1, partition_epoch=state.partition_epoch + 1), 0.0
    )
    assert follower.partition.is_leader
    assert ErrorCode((await list_offset(cluster, 2, "t", LATEST)).error_code) is ErrorCode.OFFSET_NOT_AVAILABLE
    old = await list_offset(cluster, 2, "t", LATEST, version=4)
    assert ErrorCode(old.error_code) is ErrorCode.LEADER_NOT_AVAILABLE
    missing = await list_offset(cluster, 2, "t", 4_000_000_000_000)
    assert ErrorCode(missing.error_code) is ErrorCode.OFFSET_NOT_AVAILABLE
    assert (await list_offset(cluster, 2, "t", EARLIEST)).offset == 0
    assert (await list_offset(cluster, 2, "t", LATEST, replica_id=3)).offset == 1


async def test_partitions_that_are_not_here_and_epochs_that_are_wrong_are_refused(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    unknown = await list_offset(broker, 1, "missing", LATEST)
    assert ErrorCode(unknown.error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    ahead = await list_offset(broker, 1, "t", LATEST, leader_epoch=5)
    assert ErrorCode(ahead.error_code) is ErrorCode.UNKNOWN_LEADER_EPOCH
    twice = ListOffsetsTopic("t", [ListOffsetsPartition(0, -1, LATEST)] * 2)
    response = await broker.ask(1, ListOffsetsRequest(-1, 0, [twice]), 7)
    assert [ErrorCode(each.error_code) for each in response.topics[0].partitions] == [ErrorCode.INVALID_REQUEST] * 2


async def epoch_end(
    cluster: InProcessCluster, node_id: int, epoch: int, *, version: int = 4, replica_id: int = -1, current: int = -1
) -> tuple[ErrorCode, int, int]:
    asked = OffsetForLeaderTopic("t", [OffsetForLeaderPartition(0, current, epoch)])
    request = OffsetForLeaderEpochRequest(topics=[asked])
    if version >= 3:
        request.replica_id = replica_id
    response = await cluster.ask(node_id, request, version)
    answer = response.topics[0].partitions[0]
    return ErrorCode(answer.error_code), answer.leader_epoch, answer.end_offset


async def test_the_end_of_an_epoch_is_told_by_its_leader(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"a")
    await produce_ok(cluster, 1, "t", b"b")
    assert await epoch_end(cluster, 1, 0) == (ErrorCode.NONE, 0, 2)
    await cluster.stop(1)
    await cluster.until(lambda: any(replica_of(cluster, each, "t").partition.is_leader for each in (2, 3)))
    leader = 2 if replica_of(cluster, 2, "t").partition.is_leader else 3
    epoch = replica_of(cluster, leader, "t").partition.leader_epoch
    assert epoch > 0
    await produce_ok(cluster, leader, "t", b"c")
    for version in (2, 3, 4):
        assert await epoch_end(cluster, leader, 0, version=version) == (ErrorCode.NONE, 0, 2)
        assert await epoch_end(cluster, leader, epoch, version=version) == (ErrorCode.NONE, epoch, 3)
        # Later than any here: nothing can be said.
        assert await epoch_end(cluster, leader, epoch + 5, version=version) == (ErrorCode.NONE, -1, -1)
    follower = 5 - leader
    assert (await epoch_end(cluster, follower, 0))[0] is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (await epoch_end(cluster, follower, 0, version=2))[0] is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (await epoch_end(cluster, follower, 0, replica_id=-2))[:2] == (ErrorCode.NONE, 0)
    assert (await epoch_end(cluster, leader, 0, current=epoch - 1))[0] is ErrorCode.FENCED_LEADER_EPOCH
    assert (await epoch_end(cluster, leader, 0, current=epoch + 1))[0] is ErrorCode.UNKNOWN_LEADER_EPOCH
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)


async def test_an_epoch_without_records_ends_where_the_next_begins(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    await produce_ok(cluster, 1, "t", b"a")
    for gone, leader in ((1, 2), (2, 1), (1, 2)):
        await cluster.stop(gone)
        await until_led_by(cluster, "t", leader)
        await cluster.start(gone)
        await until_in_sync(cluster, "t", 2)
    await produce_ok(cluster, 2, "t", b"b")
    epoch = replica_of(cluster, 2, "t").partition.leader_epoch
    assert epoch >= 3
    for between in range(epoch):
        code, known, end = await epoch_end(cluster, 2, between)
        assert (code, end) == (ErrorCode.NONE, 1) and known <= between
