"""Brokers that do not reach each other: who is left out, what is not acknowledged, and how it ends."""

from __future__ import annotations

import asyncio

from engine.model.errors import ErrorCode
from engine.wire.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreateTopicsRequest,
)
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    fetch_one,
    produce,
    produce_ok,
    replica_of,
    state_of,
    until_in_sync,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


async def test_a_follower_that_does_not_reach_its_leader_leaves_the_isr_until_it_does(
    quick_cluster: InProcessCluster,
) -> None:
    cluster = quick_cluster
    # Both still reach the controller.
    leader, follower = [each for each in cluster.node_ids if each != cluster.controller_id]
    await create_topic(cluster, "t", [[leader, follower]])
    await produce_ok(cluster, leader, "t", b"both")
    cluster.incarnations[follower].world.network.cut_from(f"broker-{leader}")
    await produce_ok(cluster, leader, "t", b"one")
    await cluster.until(lambda: tuple(state_of(cluster, "t", at=leader).isr) == (leader,))
    assert not cluster[leader].metadata.image.brokers[follower].fenced
    cluster.heal()
    await until_in_sync(cluster, "t", 2)
    assert replica_of(cluster, follower, "t").log.log_end_offset == 2


async def test_a_leader_that_is_cut_off_acknowledges_nothing_and_is_replaced(cluster: InProcessCluster) -> None:
    old = next(each for each in cluster.node_ids if each != cluster.controller_id)
    others = [each for each in cluster.node_ids if each != old]
    await create_topic(cluster, "t", [[old, *others]], {"min.insync.replicas": "2"})
    await produce_ok(cluster, old, "t", b"before")
    cluster.cut(old, *others)
    at_old = asyncio.ensure_future(produce(cluster, old, "t", batch(b"never"), timeout_ms=400))
    await cluster.until(lambda: state_of(cluster, "t", at=others[0]).leader in others, "another leads")
    new = state_of(cluster, "t", at=others[0]).leader
    await cluster.until(lambda: replica_of(cluster, new, "t").partition.is_leader)
    assert await produce_ok(cluster, new, "t", b"after") == 1
    # The old one does not know, and cannot commit.
    assert replica_of(cluster, old, "t").partition.is_leader
    assert ErrorCode((await at_old).error_code) is ErrorCode.REQUEST_TIMED_OUT
    assert (await produce(cluster, old, "t", batch(b"lost"), acks=1)).error_code == 0
    assert values((await fetch_one(cluster, old, "t")).records) == [b"before"]
    cluster.heal()
    await until_in_sync(cluster, "t", 3)
    for each in cluster.node_ids:
        assert values(replica_of(cluster, each, "t").log.read(0, 1 << 20)) == [b"before", b"after"]
    (note,) = [each for each in cluster.notes("log_truncated", "t-0") if each["broker"] == old]
    assert (note["detail"]["to"], note["detail"]["below_high_watermark"]) == (1, False)


async def test_a_controller_that_is_cut_off_is_replaced_and_follows(cluster: InProcessCluster) -> None:
    old = cluster.controller_id
    others = [each for each in cluster.node_ids if each != old]
    cluster.cut(old, *others)
    await cluster.until(
        lambda: any(cluster[each].controller.is_active for each in others),  # type: ignore[union-attr]
        "another controller",
    )
    await create_topic_at(cluster, others[0], "t", others)
    assert "t" not in cluster[old].metadata.image.topics_by_name
    cluster.heal()
    await cluster.until(lambda: "t" in cluster[old].metadata.image.topics_by_name)
    assert not cluster[old].controller.is_active  # type: ignore[union-attr]
    assert len([each for each in cluster if each.controller.is_active]) == 1


async def create_topic_at(cluster: InProcessCluster, node_id: int, name: str, replicas: list[int]) -> None:
    topic = CreatableTopic(name, -1, -1, assignments=[CreatableReplicaAssignment(0, replicas)])
    response = await cluster.ask(node_id, CreateTopicsRequest([topic], timeout_ms=5000), 7)
    assert ErrorCode(response.topics[0].error_code) is ErrorCode.NONE
