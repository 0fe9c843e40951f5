"""Share groups over real replicas: sessions, what leaders give, and state that outlives leaders and coordinators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.broker.share_coordinator_service import SHARE_STATE_TOPIC
from engine.client.connection import Connection
from engine.core.share.partition import ACCEPT, RELEASE, RENEW
from engine.core.share.records import SharePartitionKey
from engine.model.errors import ErrorCode
from engine.wire.messages import share_acknowledge_request as acknowledging
from engine.wire.messages import share_fetch_request as fetching
from engine.wire.messages.alter_share_group_offsets_request import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsRequestPartition,
    AlterShareGroupOffsetsRequestTopic,
)
from engine.wire.messages.delete_groups_request import DeleteGroupsRequest
from engine.wire.messages.describe_share_group_offsets_request import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
    DescribeShareGroupOffsetsRequestTopic,
)
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from tests.unit.broker.broker_requests import (
    NONE,
    alter_config,
    create_topic,
    produce_ok,
    reassign,
    state_of,
    until_led_by,
)
from tests.unit.broker.in_process_cluster import InProcessCluster
from tests.unit.broker.transaction_requests import CONFIGS as TRANSACTIONS
from tests.unit.broker.transaction_requests import TransactionalProducer

CONFIGS = TRANSACTIONS | {
    "share.coordinator.state.topic.num.partitions": "2",
    "offsets.topic.num.partitions": "2",
    "group.share.assignment.interval.ms": "0",
    "group.share.min.record.lock.duration.ms": "1000",
}
GROUP = 32
Given = list[tuple[int, int, int]]


@pytest.fixture
async def sharing(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers; group ``g`` begins where logs do."""
    async with InProcessCluster(tmp_path, configs=CONFIGS) as running:
        await alter_config(running, "share.auto.offset.reset", "earliest", "g", GROUP)
        yield running


class Member:
    """A member that knows its topic's leader, over a connection of its own."""

    def __init__(self, cluster: InProcessCluster, member_id: str, topic: str, topic_id: bytes) -> None:
        self.cluster = cluster
        self.member_id = member_id
        self.topic = topic
        self.topic_id = topic_id
        self.epoch = 0
        self.connection: Connection | None = None

    async def join(self) -> None:
        """Heartbeats until the partition is assigned."""
        epoch = 0
        while True:
            find = FindCoordinatorRequest(key_type=0, coordinator_keys=["g"])
            (found,) = (await self.cluster.ask(next(iter(self.cluster.incarnations)), find, 4)).coordinators
            if found.error_code == NONE:
                request = ShareGroupHeartbeatRequest("g", self.member_id, epoch)
                if not epoch:
                    request.subscribed_topic_names = [self.topic]
                answer = await self.cluster.ask(found.node_id, request, 1)
                epoch = answer.member_epoch or epoch
                if answer.assignment is not None and answer.assignment.topic_partitions:
                    return

    async def _ask(self, request: Any) -> Any:
        if self.connection is None:
            self.connection = await self.cluster.connect(state_of(self.cluster, self.topic).leader)
        return await self.connection.send(request, version=2, timeout_ms=20_000)

    async def fetch(
        self, *, max_records: int = 100, epoch: int | None = None, wait_ms: int = 2000, acks: Any = ()
    ) -> tuple[Given, Any]:
        """What was acquired; and the whole answer."""
        batches = [fetching.AcknowledgementBatch(first, last, list(types)) for first, last, *types in acks]
        partition = fetching.FetchPartition(0, acknowledgement_batches=batches)
        request = fetching.ShareFetchRequest(
            "g",
            self.member_id,
            self.epoch if epoch is None else epoch,
            max_wait_ms=wait_ms,
            max_records=max_records,
            batch_size=max_records,
            topics=[fetching.FetchTopic(self.topic_id, [partition])],
        )
        answer = await self._ask(request)
        if answer.error_code == NONE:
            self.epoch += 1
        given = [
            (each.first_offset, each.last_offset, each.delivery_count)
            for topic in answer.responses
            for one in topic.partitions
            for each in one.acquired_records
        ]
        return given, answer

    async def acknowledge(
        self, first: int, last: int, *types: int, epoch: int | None = None, renew: bool = False
    ) -> Any:
        """The partition's error, or that of the whole request."""
        batch = acknowledging.AcknowledgementBatch(first, last, list(types))
        partition = acknowledging.AcknowledgePartition(0, [batch])
        request = acknowledging.ShareAcknowledgeRequest(
            "g",
            self.member_id,
            self.epoch if epoch is None else epoch,
            renew,
            [acknowledging.AcknowledgeTopic(self.topic_id, [partition])],
        )
        answer = await self._ask(request)
        if answer.error_code != NONE:
            return ErrorCode(answer.error_code)
        self.epoch += 1
        return ErrorCode(answer.responses[0].partitions[0].error_code)


async def member_of(cluster: InProcessCluster, records: int, member_id: str = "m", leader: int = 1) -> Member:
    """A member that has joined, of a topic with so many records in batches of two."""
    others = [each for each in (1, 2, 3) if each != leader]
    topic_id = await create_topic(cluster, "t", [[leader, *others]])
    for number in range(0, records, 2):
        await produce_ok(cluster, leader, "t", b"%d" % number, b"%d" % (number + 1))
    member = Member(cluster, member_id, "t", topic_id)
    await member.join()
    return member


async def offsets(cluster: InProcessCluster) -> Any:
    find = FindCoordinatorRequest(key_type=0, coordinator_keys=["g"])
    (found,) = (await cluster.ask(next(iter(cluster.incarnations)), find, 4)).coordinators
    request = DescribeShareGroupOffsetsRequest([DescribeShareGroupOffsetsRequestGroup("g", None)])
    (group,) = (await cluster.ask(found.node_id, request, 1)).groups
    assert group.error_code == NONE
    return group, found.node_id


async def test_records_are_given_acknowledged_and_given_again(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 6)
    n = Member(sharing, "n", "t", m.topic_id)
    assert (await m.fetch(max_records=3))[0] == [(0, 3, 1)]
    assert (await n.fetch())[0] == [(4, 5, 1)]
    assert await n.acknowledge(0, 1, ACCEPT) is ErrorCode.INVALID_RECORD_STATE
    assert await m.acknowledge(0, 3, ACCEPT, RELEASE, RELEASE, ACCEPT) is ErrorCode.NONE
    given, answer = await n.fetch(acks=[(4, 5, ACCEPT)])
    assert given == [(1, 2, 2)]
    assert answer.responses[0].partitions[0].acknowledge_error_code == NONE
    assert answer.acquisition_lock_timeout_ms == 30_000
    group, _ = await offsets(sharing)
    (partition,) = group.topics[0].partitions
    # Of six records two are not dealt with.
    assert partition.lag == 2
    # Its connection ends, and with it the session: what it had is given to others at once.
    assert n.connection is not None
    n.connection.close()
    assert (await m.fetch())[0] == [(1, 2, 3)]


async def test_requests_of_a_session_are_in_order(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 2)

    async def refused(**options: Any) -> ErrorCode:
        return ErrorCode((await m.fetch(wait_ms=0, **options))[1].error_code)

    assert await refused(epoch=5) is ErrorCode.SHARE_SESSION_NOT_FOUND
    assert await refused(epoch=0, acks=[(0, 0, ACCEPT)]) is ErrorCode.INVALID_REQUEST
    await m.fetch()
    assert await refused(epoch=5) is ErrorCode.INVALID_SHARE_SESSION_EPOCH
    assert await m.acknowledge(0, 0, ACCEPT, epoch=0) is ErrorCode.INVALID_SHARE_SESSION_EPOCH
    assert await m.acknowledge(0, 0, RENEW) is ErrorCode.INVALID_REQUEST
    assert await m.acknowledge(0, 0, RENEW, renew=True) is ErrorCode.NONE
    assert await m.acknowledge(0, 1, ACCEPT, epoch=-1) is ErrorCode.NONE
    assert await m.acknowledge(0, 1, ACCEPT) is ErrorCode.SHARE_SESSION_NOT_FOUND


async def test_a_fetch_that_waits_gets_what_comes(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 0)
    assert (await m.fetch(wait_ms=1))[0] == []
    waiting = sharing.incarnations[2].run(m.fetch(wait_ms=5000))
    await produce_ok(sharing, 1, "t", b"x")
    assert (await waiting)[0] == [(0, 0, 1)]


@pytest.mark.parametrize("who", ["leader", "coordinator"])
async def test_what_was_acknowledged_survives(sharing: InProcessCluster, who: str) -> None:
    m = await member_of(sharing, 4)
    assert (await m.fetch())[0] == [(0, 3, 1)]
    assert await m.acknowledge(0, 3, ACCEPT, RELEASE, ACCEPT, RELEASE) is ErrorCode.NONE
    key = SharePartitionKey("g", m.topic_id, 0)
    number = sharing[1].sharing.coordinator.partition_for(key.coordinator_key())
    coordinator = state_of(sharing, SHARE_STATE_TOPIC, number).leader
    victim = 1 if who == "leader" else coordinator
    await sharing.kill(victim)
    await sharing.until(lambda: state_of(sharing, SHARE_STATE_TOPIC, number).leader not in (-1, victim))
    await sharing.until(lambda: state_of(sharing, "t").leader not in (-1, victim))
    again = Member(sharing, "again", "t", m.topic_id)
    await sharing.until(lambda: sharing[state_of(sharing, "t").leader].replicas.get("t", 0).partition.is_leader)
    if who == "coordinator" and victim != 1:
        # The leader lives, and so does the session: its member still has nothing, and gets both again.
        again = m
    assert (await again.fetch(wait_ms=10_000))[0] == [(1, 1, 2), (3, 3, 2)]
    assert await again.acknowledge(1, 1, ACCEPT) is ErrorCode.NONE


async def test_a_leader_that_moved_says_where(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 2)
    await m.fetch()
    await reassign(sharing, "t", [2, 3])
    await until_led_by(sharing, "t", 2)
    await sharing.until(lambda: sharing[1].replicas.get("t", 0) is None)
    _, answer = await m.fetch(wait_ms=0)
    (partition,) = answer.responses[0].partitions
    assert partition.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.current_leader.leader_id == 2
    assert [each.node_id for each in answer.node_endpoints] == [2]


async def test_aborted_records_are_not_given_to_a_group_that_reads_committed_ones(sharing: InProcessCluster) -> None:
    await alter_config(sharing, "share.isolation.level", "read_committed", "g", GROUP)
    m = await member_of(sharing, 0)
    producer = TransactionalProducer(sharing, "p")
    await producer.init()
    for committed in (False, True):
        await producer.add("t")
        await producer.produce(b"x", "t")
        await producer.end(committed)
    given: Given = []
    while not given:
        given, _ = await m.fetch()
    # Offset 0 was aborted, 1 and 3 are markers.
    assert given == [(2, 2, 1)]
    assert await m.acknowledge(2, 2, ACCEPT) is ErrorCode.NONE


async def test_an_empty_group_begins_anew_and_is_deleted(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 4)
    await m.fetch()
    await m.acknowledge(0, 3, ACCEPT, epoch=-1)
    _, coordinator = await offsets(sharing)
    topic = AlterShareGroupOffsetsRequestTopic("t", [AlterShareGroupOffsetsRequestPartition(0, 2)])
    alter = AlterShareGroupOffsetsRequest("g", [topic])
    assert (await sharing.ask(coordinator, alter, 0)).error_code == ErrorCode.NON_EMPTY_GROUP
    await sharing.ask(coordinator, ShareGroupHeartbeatRequest("g", "m", -1), 1)
    answer = await sharing.ask(coordinator, alter, 0)
    assert answer.error_code == NONE and answer.responses[0].partitions[0].error_code == NONE
    group, _ = await offsets(sharing)
    assert (group.topics[0].partitions[0].start_offset, group.topics[0].partitions[0].lag) == (2, 2)
    again = Member(sharing, "again", "t", m.topic_id)
    assert (await again.fetch())[0] == [(2, 3, 1)]
    (result,) = (await sharing.ask(coordinator, DeleteGroupsRequest(["g"]), 2)).results
    assert result.error_code == NONE
    group, _ = await offsets(sharing)
    assert group.topics == []
    key = SharePartitionKey("g", m.topic_id, 0)
    assert (await sharing[1].sharing.client.read_summary(key)).start_offset == -1


async def test_partitions_that_do_not_exist_are_answered_at_once(sharing: InProcessCluster) -> None:
    m = await member_of(sharing, 1)
    await m.fetch()
    topics = [DescribeShareGroupOffsetsRequestTopic("t", [0, 100, -1])]
    request = DescribeShareGroupOffsetsRequest([DescribeShareGroupOffsetsRequestGroup("g", topics)])
    _, coordinator = await offsets(sharing)
    async with asyncio.timeout(5):
        ((group,)) = (await sharing.ask(coordinator, request, 1)).groups
    (topic,) = group.topics
    errors = [ErrorCode(each.error_code) for each in topic.partitions]
    assert errors == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.INVALID_REQUEST]
