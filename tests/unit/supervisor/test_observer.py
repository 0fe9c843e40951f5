"""The observer over scripted brokers: what it sees, how old it is, what it tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.model.errors import ErrorCode
from engine.supervisor.observer import ClusterObserver
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_cluster_response import DescribeClusterResponse
from engine.wire.messages.describe_log_dirs_response import DescribeLogDirsResponse, DescribeLogDirsResult
from engine.wire.messages.list_groups_response import ListGroupsResponse
from engine.wire.messages.metadata_response import MetadataResponse
from tests.unit.client.fake_cluster import FakeCluster, FakeGroup
from tests.unit.client.fake_network import FakeWorld, Later
from tests.unit.client.virtual_time import virtual_time


def made() -> tuple[FakeCluster, ClusterObserver]:
    world = FakeWorld()
    cluster = FakeCluster(world)
    for partition in cluster.add_topic("orders", 3):
        partition.append(b"x", b"y", b"z")
    cluster.groups["billing"] = FakeGroup(2, members={"m1": {"orders": [0, 1]}}, offsets={("orders", 0): 1})
    return cluster, ClusterObserver(world, cluster.bootstrap)


async def seen(observer: ClusterObserver, what: Callable[[ClusterSnapshot], bool]) -> ClusterSnapshot:
    async with asyncio.timeout(120):
        async for snapshot in observer.snapshots():
            if what(snapshot):
                return snapshot
    raise AssertionError("the observer ended")


async def after(observer: ClusterObserver, seconds: float) -> ClusterSnapshot:
    await asyncio.sleep(seconds)
    return observer.snapshot


def partition_of(snapshot: ClusterSnapshot, number: int = 0) -> PartitionState:
    (topic,) = [each for each in snapshot.topics if each.name == "orders"]
    return topic.partitions[number]


@virtual_time
async def test_a_picture_has_brokers_partitions_groups_and_the_quorum() -> None:
    _, observer = made()
    observer.start()
    snapshot = await after(observer, 3)
    assert snapshot.cluster_id == "fake" and snapshot.controller_id == 1 and snapshot.controller_epoch == 1
    assert [(each.broker_id, each.reachable, each.leaders, each.replicas) for each in snapshot.brokers] == [
        (1, True, 1, 3),
        (2, True, 1, 3),
        (3, True, 1, 3),
    ]
    partition = partition_of(snapshot)
    assert (partition.leader, partition.high_watermark, partition.log_start_offset) == (1, 3, 0)
    assert [each.log_end_offset for each in partition.replica_states] == [3, 3, 3]
    (group,) = snapshot.groups
    assert group.coordinator == 2 and group.total_lag == 2
    assert [(each.partition, each.committed_offset, each.lag) for each in group.offsets] == [(0, 1, 2), (1, None, None)]
    assert snapshot.quorum is not None and snapshot.quorum.leader_id == 1
    assert snapshot.topics[0].min_insync_replicas == 2 and snapshot.topics[0].configs["retention.ms"] == "5"
    await observer.close()


@virtual_time
async def test_each_replica_of_a_watched_topic_tells_its_own_log() -> None:
    cluster, observer = made()
    fake = cluster.topics["orders"][0]
    fake.ends, fake.high_watermarks, fake.starts = {2: 2}, {1: 3, 2: 1, 3: 3}, {2: 1}
    observer.start()
    assert [each.high_watermark for each in partition_of(await after(observer, 3)).replica_states] == [None] * 3
    observer.watch(["orders"])
    partition = partition_of(await after(observer, 3))
    assert [
        (each.broker_id, each.log_start_offset, each.high_watermark, each.log_end_offset)
        for each in partition.replica_states
    ] == [(1, 0, 3, 3), (2, 1, 1, 2), (3, 0, 3, 3)]
    fake.ends, fake.high_watermarks = {}, {}
    partition = partition_of(await after(observer, 1.5))
    assert [each.high_watermark for each in partition.replica_states] == [3, 3, 3], "it moves while it is watched"
    observer.watch([])
    partition = partition_of(await after(observer, 6))
    assert [each.high_watermark for each in partition.replica_states] == [None] * 3, "an old figure is not shown as new"
    await observer.close()


@virtual_time
async def test_a_dead_broker_leaves_the_others_fresh_and_its_own_figures_old() -> None:
    cluster, observer = made()
    observer.start()
    observer.watch(["orders"])
    await after(observer, 3)
    cluster.kill(1)
    snapshot = await after(observer, 20)
    assert [each.reachable for each in snapshot.brokers] == [False, True, True]
    assert snapshot.brokers_up == 2 and snapshot.under_replicated == 3 and snapshot.offline == 0
    dead, *living = snapshot.brokers
    assert snapshot.at_ms - dead.observed_at_ms > 15_000
    assert all(snapshot.at_ms - each.observed_at_ms < 3_000 for each in living)
    partition = partition_of(snapshot)
    assert (partition.leader, partition.leader_epoch, partition.isr) == (2, 1, (2, 3))
    ages = {each.broker_id: snapshot.at_ms - each.observed_at_ms for each in partition.replica_states}
    assert ages[1] > 15_000 and ages[2] < 3_000 and ages[3] < 3_000
    await observer.close()


@virtual_time
async def test_a_broker_that_answers_nothing_delays_no_other() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    cluster.peers[1].silent = True
    snapshot = await after(observer, 30)
    assert [each.reachable for each in snapshot.brokers] == [False, True, True]
    assert all(snapshot.at_ms - each.observed_at_ms < 3_000 for each in snapshot.brokers[1:])
    assert snapshot.at_ms - snapshot.metadata_observed_at_ms < 5_000
    cluster.peers[1].silent = False
    snapshot = await seen(observer, lambda each: each.brokers_up == 3)
    await observer.close()


@virtual_time
async def test_a_cluster_that_is_gone_keeps_its_last_picture_and_says_why() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    for broker_id in (1, 2, 3):
        cluster.kill(broker_id, elect=False)
    snapshot = await after(observer, 10)
    assert snapshot.error and snapshot.brokers_up == 0
    assert len(snapshot.topics) == 1 and partition_of(snapshot).high_watermark == 3
    assert snapshot.at_ms - snapshot.metadata_observed_at_ms > 8_000
    await observer.close()


@virtual_time
async def test_a_restarted_broker_that_knows_nothing_yet_does_not_empty_the_picture() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    cluster.kill(2, elect=False)
    cluster.kill(3, elect=False)
    answers = {
        ApiKey.METADATA: MetadataResponse(cluster_id="fake", controller_id=-1),
        ApiKey.DESCRIBE_CLUSTER: DescribeClusterResponse(cluster_id="fake", controller_id=-1),
    }
    for key, answer in answers.items():
        cluster.peers[1].on(key, lambda request, version, answer=answer: answer)
    snapshot = await after(observer, 8)
    assert snapshot.error and snapshot.at_ms - snapshot.metadata_observed_at_ms > 7_000
    assert [each.replicas for each in snapshot.brokers] == [3, 3, 3] and partition_of(snapshot).high_watermark == 3
    await observer.close()


@virtual_time
async def test_a_cluster_whose_last_topic_is_deleted_is_watched_on() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    del cluster.topics["orders"]
    assert (await after(observer, 3)).topics == ()
    cluster.add_topic("payments")
    (topic,) = (await after(observer, 3)).topics
    assert topic.name == "payments" and topic.min_insync_replicas == 2
    await observer.close()


@virtual_time
async def test_a_topic_is_looked_at_as_soon_as_it_is_watched_and_then_twice_a_second() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3.2)
    observer.watch(["orders"])
    assert partition_of(await after(observer, 0.2)).replica_states[0].high_watermark == 3
    ends = set()
    for _ in range(20):
        cluster.topics["orders"][0].append(b"w")
        ends.add(partition_of(await after(observer, 0.1)).replica_states[1].log_end_offset)
    assert len(ends) >= 4
    await observer.close()


@virtual_time
async def test_an_answer_that_nobody_foresaw_is_told_and_the_watch_goes_on() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    ask, observer._quorum_admin.describe_quorum = observer._quorum_admin.describe_quorum, _broken
    assert "the observer failed and begins again: ZeroDivisionError" in (await after(observer, 3)).error
    observer._quorum_admin.describe_quorum = ask
    cluster.add_topic("payments")
    assert len((await after(observer, 4)).topics) == 2
    await observer.close()


async def _broken() -> None:
    raise ZeroDivisionError


@virtual_time
async def test_what_changed_is_told_with_its_reason() -> None:
    cluster, observer = made()
    observer.start()
    told: list[tuple[str, str]] = []

    async def read() -> None:
        async for batch in observer.events():
            told.extend((each.kind, each.subject) for each in batch)

    reading = asyncio.ensure_future(read())
    await after(observer, 3)
    assert told == [], "what is there at the beginning is no news"
    cluster.kill(1)
    cluster.controller, cluster.controller_epoch = 2, 2
    cluster.add_topic("payments")
    await after(observer, 5)
    assert ("broker_fenced", "broker 1") in told
    assert ("leader_changed", "orders-0") in told
    assert {("isr_shrunk", f"orders-{number}") for number in range(3)} <= set(told)
    assert ("topic_created", "payments") in told
    assert any(kind == "controller_changed" for kind, _ in told)
    await observer.close()
    await reading


@virtual_time
async def test_a_group_moves_to_another_coordinator_and_none_is_lost() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    cluster.kill(2)
    assert [each.group_id for each in (await after(observer, 2)).groups] == ["billing"], "its last figures stay"
    cluster.groups["billing"].coordinator = 3
    snapshot = await after(observer, 4)
    assert [(each.group_id, each.coordinator) for each in snapshot.groups] == [("billing", 3)]
    del cluster.groups["billing"]
    assert (await after(observer, 4)).groups == (), "what a dead broker once listed keeps nothing"
    await observer.close()


@virtual_time
async def test_a_share_group_starts_where_its_coordinator_says_and_its_partitions_have_several_readers() -> None:
    cluster, observer = made()
    share = {"orders": [0]}
    cluster.groups["workers"] = FakeGroup(
        3,
        members={"m1": share, "m2": share},
        offsets={("orders", 0): 1, ("orders", 1): 2},
        kind="Share",
        lags={("orders", 0): 1},
    )
    observer.start()
    (group,) = [each for each in (await after(observer, 3)).groups if each.group_id == "workers"]
    assert (group.group_type, group.group_epoch, group.total_lag) == ("share", 4, 1)
    assert [(each.committed_offset, each.log_end_offset, each.lag, each.member_id) for each in group.offsets] == [
        (1, 3, 1, None),
        (2, 3, None, None),
    ], "a lag that the coordinator does not tell is not made up: records beyond the start may be done"
    assert [each.assignment for each in group.members] == [(("orders", (0,)),)] * 2
    cluster.groups["workers"].lags[("orders", 0)] = 0
    (group,) = [each for each in (await after(observer, 3)).groups if each.group_id == "workers"]
    assert group.total_lag == 0
    await observer.close()


@virtual_time
async def test_a_coordinator_that_is_slow_to_tell_of_a_share_group_tells_all_else_in_time() -> None:
    cluster, observer = made()
    cluster.groups["workers"] = FakeGroup(2, offsets={("orders", 0): 1}, kind="Share", lags={("orders", 0): 2})
    observer.start()
    await after(observer, 3)
    cluster.peers[2].on(ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS, lambda request, version: None)
    snapshot = await after(observer, 7)
    assert snapshot.brokers[1].reachable and snapshot.at_ms - snapshot.brokers[1].observed_at_ms < 2_000
    ages = {each.group_id: snapshot.at_ms - each.observed_at_ms for each in snapshot.groups}
    assert ages["billing"] < 2_000 and 5_000 < ages["workers"] < 10_000
    await observer.close()


@virtual_time
async def test_members_of_a_streams_group_read_what_their_active_tasks_do() -> None:
    cluster, observer = made()
    cluster.add_topic("customers", 1)
    cluster.groups["app"] = FakeGroup(
        1,
        offsets={("orders", 2): 1},
        kind="Streams",
        sources={"0": ["orders", "customers"], "1": ["orders"]},
        tasks={"m1": ({"0": [0, 2]}, {"0": [1]}, {"1": [0]}), "m2": ({"0": [1]}, {}, {})},
    )
    observer.start()
    (group,) = [each for each in (await after(observer, 3)).groups if each.group_id == "app"]
    first, second = group.members
    assert first.assignment == (("customers", (0,)), ("orders", (0, 2))), "customers has one partition only"
    assert second.assignment == (("orders", (1,)),)
    assert first.tasks == ((("0", (0, 2)),), (("0", (1,)),), (("1", (0,)),))
    assert group.topology is not None and group.topology.epoch == 2 and group.topology.subtopologies is not None
    assert {(each.topic, each.partition): (each.lag, each.member_id) for each in group.offsets} == {
        ("customers", 0): (None, "m1"),
        ("orders", 0): (None, "m1"),
        ("orders", 1): (None, "m2"),
        ("orders", 2): (2, "m1"),
    }
    cluster.groups["app"].sources = None
    (group,) = [each for each in (await after(observer, 3)).groups if each.group_id == "app"]
    assert group.topology is not None and group.topology.subtopologies is None, "not ready: source topics are missing"
    await observer.close()


@virtual_time
async def test_a_log_directory_that_failed_is_told_with_its_path() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    failed = DescribeLogDirsResult(int(ErrorCode.KAFKA_STORAGE_ERROR), "/data/2b")
    healthy = DescribeLogDirsResult(log_dir="/data/2a", total_bytes=1000, usable_bytes=400)
    answer = DescribeLogDirsResponse(results=[healthy, failed])
    cluster.peers[2].on(ApiKey.DESCRIBE_LOG_DIRS, lambda request, version: answer)
    snapshot = await after(observer, 6)
    assert [each.failed_log_dirs for each in snapshot.brokers] == [(), ("/data/2b",), ()]
    batch = await anext(observer.events())
    assert [(each.kind, each.subject, each.reason) for each in batch if each.kind == "log_dir_failed"] == [
        ("log_dir_failed", "broker 2", "log directory /data/2b is offline")
    ]
    await observer.close()


@virtual_time
async def test_a_quorum_that_nobody_tells_of_makes_no_broker_seem_silent() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    for peer in cluster.peers.values():
        # As brokers do whose controllers are gone: they pass the question on, and no answer ever comes.
        peer.on(ApiKey.DESCRIBE_QUORUM, lambda request, version: None)
        # Something else is always under way.
        peer.on(ApiKey.LIST_GROUPS, lambda request, version: Later(0.9, ListGroupsResponse))
    for _ in range(40):
        snapshot = await after(observer, 0.5)
        assert [each.error for each in snapshot.brokers if not each.reachable] == []
    assert snapshot.quorum is not None and snapshot.metadata_observed_at_ms - snapshot.quorum.observed_at_ms > 15_000
    await observer.close()


@virtual_time
async def test_a_log_does_not_end_before_what_a_group_committed_later() -> None:
    cluster, observer = made()
    observer.start()
    await after(observer, 3)
    # Its leader answers no more, but the coordinator does.
    cluster.peers[1].silent = True
    cluster.groups["billing"].offsets[("orders", 0)] = 9
    (group,) = (await after(observer, 4)).groups
    assert next((each.committed_offset, each.log_end_offset, each.lag) for each in group.offsets) == (9, 9, 0)
    await observer.close()
