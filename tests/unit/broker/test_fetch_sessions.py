"""Fetch sessions (KIP-227): what a client need not say again, what it is not told again, and what ends a session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from engine.client.connection import Connection
from engine.model.errors import ErrorCode
from engine.wire.messages.fetch_request import ForgottenTopic
from engine.wire.messages.fetch_response import FetchResponse
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    delete_topic,
    fetch_request,
    produce_ok,
    replica_of,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


class Session:
    """A consumer that keeps a session, over a connection of its own."""

    def __init__(self, connection: Connection, topic: str | bytes) -> None:
        self.connection = connection
        self.topic = topic
        self.id = 0
        self.epoch = 0

    @classmethod
    async def open(cls, cluster: InProcessCluster, topic: str | bytes, node_id: int = 1) -> Session:
        return cls(await cluster.connect(node_id), topic)

    async def fetch(self, offsets: Mapping[int, int] | None = None, **options: Any) -> FetchResponse:
        version = 13 if isinstance(self.topic, bytes) else 12
        request = fetch_request(self.topic, offsets or {}, session=(self.id, self.epoch), **options)
        response: FetchResponse = await self.connection.send(request, version=version)
        if not response.error_code:
            self.id, self.epoch = response.session_id, self.epoch + 1
        return response

    async def read(self, offsets: Mapping[int, int] | None = None, **options: Any) -> dict[int, list[bytes]]:
        """Values by partition; partitions that are not in the answer are not in here."""
        response = await self.fetch(offsets, **options)
        assert response.error_code == 0, ErrorCode(response.error_code)
        return {each.partition_index: values(each.records) for topic in response.responses for each in topic.partitions}


async def test_a_session_answers_only_what_moved(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t", 3)
    for topic in ("t", topic_id):
        start = replica_of(broker, 1, "t").log.log_end_offset
        session = await Session.open(broker, topic)
        assert await session.read({0: start, 1: start, 2: start}) == {0: [], 1: [], 2: []}
        assert session.id > 0
        assert await session.read() == {}
        await produce_ok(broker, 1, "t", b"new", partition=1)
        assert await session.read() == {1: [b"new"]}
        # It was not told of a new offset, so it is told the same again.
        assert await session.read() == {1: [b"new"]}
        assert await session.read({1: start + 1}) == {}
        for number in (0, 2):
            await produce_ok(broker, 1, "t", b"level", partition=number)


async def test_a_waiting_session_is_woken_by_partitions_that_its_request_does_not_name(
    broker: InProcessCluster,
) -> None:
    await create_topic(broker, "t", 2)
    session = await Session.open(broker, "t")
    await session.read({0: 0, 1: 0})
    waiting = asyncio.ensure_future(session.read(max_wait_ms=5000))
    await asyncio.sleep(0.01)
    await produce_ok(broker, 1, "t", b"woken", partition=1)
    assert await waiting == {1: [b"woken"]}


async def test_partitions_that_did_not_fit_have_their_turn_next(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 3)
    for number in range(3):
        for each in range(3):
            await produce_ok(broker, 1, "t", b"%d-%d" % (number, each), partition=number)
    size = len(batch(b"0-0"))
    session = await Session.open(broker, "t")
    found: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    offsets: dict[int, int] = {0: 0, 1: 0, 2: 0}
    named: dict[int, int] = dict(offsets)
    order = []
    while sum(map(len, found.values())) < 9:
        answer = await session.read(named, max_bytes=size, max_wait_ms=1000)
        named = {}
        for number, read in answer.items():
            if read:
                order.append(number)
                found[number] += read
                offsets[number] += len(read)
                named[number] = offsets[number]
    assert order == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert found == {number: [b"%d-%d" % (number, each) for each in range(3)] for number in range(3)}


async def test_a_partition_whose_high_watermark_moves_on_does_not_lose_its_turn(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 2)
    for number in (0, 1):
        await produce_ok(broker, 1, "t", b"first", partition=number)
    size = len(batch(b"first"))
    session = await Session.open(broker, "t")
    assert await session.read({0: 0, 1: 0}, max_bytes=size) == {0: [b"first"], 1: []}
    for number in (0, 1):
        await produce_ok(broker, 1, "t", b"other", partition=number)
    assert (await session.read({0: 1}, max_bytes=size))[1] == [b"first"]


async def test_forgotten_partitions_are_not_told_any_more(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t", 2)
    for topic, forgotten in (
        ("t", ForgottenTopic(topic="t", partitions=[0])),
        (topic_id, ForgottenTopic(topic_id=topic_id, partitions=[0])),
    ):
        end = [replica_of(broker, 1, "t", number).log.log_end_offset for number in (0, 1)]
        session = await Session.open(broker, topic)
        await session.read({0: end[0], 1: end[1]})
        await session.read(forgotten=[forgotten])
        for number in (0, 1):
            await produce_ok(broker, 1, "t", b"x", partition=number)
        assert await session.read() == {1: [b"x"]}
        session.connection.close()
    await broker.until(lambda: not replica_of(broker, 1, "t").consumer_watches)


async def test_partitions_join_a_session_later(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 2)
    session = await Session.open(broker, "t")
    assert await session.read({0: 0}) == {0: []}
    assert await session.read({1: 0}) == {1: []}
    await produce_ok(broker, 1, "t", b"x", partition=1)
    assert await session.read() == {1: [b"x"]}


async def test_unknown_sessions_and_wrong_epochs_are_refused(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t")
    session = await Session.open(broker, "t")
    await session.fetch({0: 0})
    stranger = await Session.open(broker, "t")
    stranger.id, stranger.epoch = session.id ^ 1, 1
    assert ErrorCode((await stranger.fetch()).error_code) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    for epoch in (2, 7):
        session.epoch = epoch
        response = await session.fetch()
        assert ErrorCode(response.error_code) is ErrorCode.INVALID_FETCH_SESSION_EPOCH
        assert not response.responses
    # A session began with names, so it goes on with names.
    session.epoch, session.topic = 1, topic_id
    assert ErrorCode((await session.fetch()).error_code) is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    session.epoch, session.topic = 1, "t"
    assert (await session.fetch()).error_code == 0


async def test_a_client_ends_its_session_or_begins_another_in_its_place(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    sessions = broker[1].fetch_sessions
    session = await Session.open(broker, "t")
    await session.fetch({0: 0})
    first, session.epoch = session.id, 0
    await session.fetch({0: 0})
    assert session.id != first and len(sessions) == 1
    session.epoch = -1
    response = await session.fetch({0: 0})
    assert response.session_id == 0 and len(sessions) == 0
    assert not replica_of(broker, 1, "t").consumer_watches


async def test_a_topic_that_is_made_anew_under_its_name_is_seen_by_name_only(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t")
    by_name, by_id = await Session.open(broker, "t"), await Session.open(broker, topic_id)
    for each in (by_name, by_id):
        assert await each.read({0: 0}) == {0: []}
    waits = [asyncio.ensure_future(each.fetch(max_wait_ms=5000)) for each in (by_name, by_id)]
    await asyncio.sleep(0.01)
    await delete_topic(broker, "t")
    codes = [ErrorCode((await each).responses[0].partitions[0].error_code) for each in waits]
    assert codes == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID]
    await create_topic(broker, "t")
    await produce_ok(broker, 1, "t", b"another topic")
    assert await by_name.read() == {0: [b"another topic"]}
    response = await by_id.fetch()
    assert ErrorCode(response.responses[0].partitions[0].error_code) is ErrorCode.UNKNOWN_TOPIC_ID


async def test_there_are_only_so_many_sessions_and_old_ones_give_way(tmp_path) -> None:  # type: ignore[no-untyped-def]
    configs = {"max.incremental.fetch.session.cache.slots": "2"}
    async with InProcessCluster(tmp_path, 1, configs) as broker:
        await create_topic(broker, "t")
        sessions = [await Session.open(broker, "t") for _ in range(3)]
        for each in sessions:
            await each.fetch({0: 0})
        # The third one is served all the same, without a session.
        assert [each.id > 0 for each in sessions] == [True, True, False]
        clock = broker.incarnations[1].world.clock
        clock.monotonic_offset_ms = 121_000.0
        await sessions[0].fetch()
        clock.monotonic_offset_ms = 122_000.0
        third = sessions[2]
        third.epoch = 0
        await third.fetch({0: 0})
        assert third.id > 0
        assert (await sessions[0].fetch()).error_code == 0
        assert ErrorCode((await sessions[1].fetch()).error_code) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND


async def test_a_session_goes_on_over_another_connection_and_has_missed_nothing(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 2)
    session = await Session.open(broker, "t")
    await session.read({0: 0, 1: 0})
    session.connection.close()
    # Nobody is there to be told: appends do not look at it.
    await broker.until(lambda: not replica_of(broker, 1, "t", 1).consumer_watches)
    await produce_ok(broker, 1, "t", b"meanwhile", partition=1)
    session.connection = await broker.connect(1)
    assert await session.read() == {1: [b"meanwhile"]}
    waiting = asyncio.ensure_future(session.read({1: 1}, max_wait_ms=5000))
    await asyncio.sleep(0.01)
    await produce_ok(broker, 1, "t", b"watched again", partition=0)
    assert await waiting == {0: [b"watched again"]}


async def test_a_client_that_lost_its_connection_in_a_wait_goes_on_at_once(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    session = await Session.open(broker, "t")
    await session.fetch({0: 0})
    waiting = asyncio.ensure_future(session.fetch(max_wait_ms=60_000))
    await asyncio.sleep(0.01)
    old, session.connection = session.connection, await broker.connect(1)
    # The broker has not heard yet that the old connection is gone: the session is busy there.
    session.epoch = 2
    assert ErrorCode((await session.fetch()).error_code) is ErrorCode.INVALID_FETCH_SESSION_EPOCH
    session.epoch = 0
    await session.fetch({0: 0})
    old.close()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.01)
    await produce_ok(broker, 1, "t", b"x")
    assert await session.read() == {0: [b"x"]}
    assert len(replica_of(broker, 1, "t").consumer_watches) == 1


async def test_a_follower_that_comes_back_leaves_no_session_of_its_past_behind(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"x")
    sessions = cluster[1].fetch_sessions
    await cluster.until(lambda: len(sessions) == 2)
    for _ in range(3):
        await cluster.kill(2)
        await cluster.start(2)
        await cluster.until(lambda: len(replica_of(cluster, 1, "t").follower_watches) == 2)
    assert len(sessions) == 2


async def test_a_fetch_of_the_past_does_not_take_a_followers_position_back_for_good(cluster: InProcessCluster) -> None:
    """A request that the network held back arrives after its follower went on over another connection (seed 220496)."""
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"x")
    role = replica_of(cluster, 1, "t").partition.leader_role()
    follower = role.replicas[2]
    await cluster.until(lambda: follower.log_end_offset == 1)
    broker_epoch = follower.broker_epoch
    topic_id = replica_of(cluster, 1, "t").topic_id
    for session in (0, -1), (0, 0):
        late = fetch_request(
            topic_id, 0, leader_epoch=0, replica=2, replica_epoch=broker_epoch, session=session, max_wait_ms=0
        )
        late_connection = await cluster.connect(1)
        response = await late_connection.send(late, version=17)
        assert values(response.responses[0].partitions[0].records) == [b"x"]
        assert follower.log_end_offset == 0, "the late request does not say what it is here to say"
        await cluster.until(lambda: follower.log_end_offset == 1, "the follower's next fetch sets it right")
