"""Replicas that are added are copied no faster than leaders and followers are told (KIP-73)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.broker.broker_requests import (
    BROKER,
    alter_config,
    create_topic,
    produce_ok,
    reassign,
    replica_of,
    until_in_sync,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

BATCHES, BATCH_BYTES = 20, 5000
# A batch at a time, so that the first one is too much already.
CONFIGS = {"replica.fetch.max.bytes": "5000", "replica.fetch.response.max.bytes": "5000"}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    async with InProcessCluster(tmp_path, 2, CONFIGS) as cluster:
        yield cluster


async def added(cluster: InProcessCluster, side: str, named: str) -> None:
    """Broker 2 gets a replica of a topic that broker 1 leads, throttled on one side, and of another that is not."""
    await create_topic(cluster, "t", [[1]], {f"{side}.replication.throttled.replicas": named})
    await create_topic(cluster, "free", [[1]])
    for _ in range(BATCHES):
        await produce_ok(cluster, 1, "t", b"x" * BATCH_BYTES)
        await produce_ok(cluster, 1, "free", b"x" * BATCH_BYTES)
    await alter_config(cluster, f"{side}.replication.throttled.rate", "10", "", kind=BROKER)
    await reassign(cluster, "t", [1, 2])
    await reassign(cluster, "free", [1, 2])


@pytest.mark.parametrize(
    ("side", "named"), [("leader", "0:1"), ("follower", "0:2"), ("leader", "*"), ("follower", "*")]
)
async def test_a_throttled_replica_waits_and_others_do_not(two: InProcessCluster, side: str, named: str) -> None:
    await added(two, side, named)
    await until_in_sync(two, "free", 2)
    log = replica_of(two, 2, "t").log
    # What was fetched before the first bytes were counted.
    assert log.log_end_offset < BATCHES / 2
    await alter_config(two, f"{side}.replication.throttled.rate", None, "", kind=BROKER)
    await until_in_sync(two, "t", 2)
    assert replica_of(two, 2, "t").log.log_end_offset == BATCHES
    # Who is in sync is not throttled.
    await alter_config(two, f"{side}.replication.throttled.rate", "10", "", kind=BROKER)
    for _ in range(3):
        await produce_ok(two, 1, "t", b"x" * BATCH_BYTES)


@pytest.mark.parametrize(("side", "named"), [("leader", "0:2"), ("follower", "1:2")])
async def test_other_replicas_that_are_named_are_not_this_one(two: InProcessCluster, side: str, named: str) -> None:
    await added(two, side, named)
    await until_in_sync(two, "t", 2)
