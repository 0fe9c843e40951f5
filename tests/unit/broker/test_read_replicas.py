"""Consumers are sent to a replica in their rack (KIP-392)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.model.broker_config import RACK_AWARE_SELECTOR, BrokerConfig
from engine.model.configs import ConfigError
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    fetch_one,
    pause_follower,
    produce,
    produce_ok,
    replica_of,
    resume_follower,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


@pytest.fixture
async def racks(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Racks a, b and c; followers hear of a high watermark at once and lag after a moment."""
    configs = {
        "replica.selector.class": RACK_AWARE_SELECTOR,
        "replica.fetch.wait.max.ms": "20",
        "replica.lag.time.max.ms": "200",
    }
    cluster = InProcessCluster(tmp_path, configs=configs)
    cluster.own_configs = {each: {"broker.rack": rack} for each, rack in ((1, "a"), (2, "b"), (3, "c"))}
    async with cluster:
        await create_topic(cluster, "t", [[1, 2, 3]], configs={"min.insync.replicas": "1"})
        await produce_ok(cluster, 1, "t", b"everywhere")
        await cluster.until(lambda: replica_of(cluster, 2, "t").partition.high_watermark == 1)
        yield cluster


async def test_the_replica_in_the_consumers_rack_is_recommended_and_serves(racks: InProcessCluster) -> None:
    sent_on = await fetch_one(racks, 1, "t", rack_id="b", max_wait_ms=5000)
    assert (sent_on.preferred_read_replica, values(sent_on.records), sent_on.high_watermark) == (2, [], 1)
    there = await fetch_one(racks, 2, "t", rack_id="b")
    assert (there.preferred_read_replica, values(there.records)) == (-1, [b"everywhere"])


async def test_who_has_no_better_replica_reads_from_the_leader(racks: InProcessCluster) -> None:
    for rack in ("", "a", "elsewhere"):
        answer = await fetch_one(racks, 1, "t", rack_id=rack)
        assert (answer.preferred_read_replica, values(answer.records)) == (-1, [b"everywhere"]), rack
    # A consumer too old to follow the advice, and an offset that the replica does not have.
    assert values((await fetch_one(racks, 1, "t", rack_id="b", version=10)).records) == [b"everywhere"]
    beyond = await fetch_one(racks, 1, "t", rack_id="b", offset=7)
    assert beyond.preferred_read_replica == -1 and beyond.error_code


async def test_a_replica_out_of_the_isr_is_not_recommended(racks: InProcessCluster) -> None:
    pause_follower(racks, 2, "t")
    await produce(racks, 1, "t", batch(b"not there"), acks=1)
    await racks.until(lambda: 2 not in replica_of(racks, 1, "t").partition.isr)
    assert (await fetch_one(racks, 1, "t", rack_id="b")).preferred_read_replica == -1
    resume_follower(racks, 2, "t")
    await racks.until(lambda: 2 in replica_of(racks, 1, "t").partition.isr)
    assert (await fetch_one(racks, 1, "t", rack_id="b")).preferred_read_replica == 2


async def test_without_a_selector_racks_are_not_looked_at(tmp_path: Path) -> None:
    cluster = InProcessCluster(tmp_path, 2)
    cluster.own_configs = {each: {"broker.rack": rack} for each, rack in ((1, "a"), (2, "b"))}
    async with cluster:
        await create_topic(cluster, "t", [[1, 2]])
        await produce_ok(cluster, 1, "t", b"here")
        assert values((await fetch_one(cluster, 1, "t", rack_id="b")).records) == [b"here"]


def test_an_unknown_selector_is_named(tmp_path: Path) -> None:
    properties = {**InProcessCluster(tmp_path, 1).properties(1), "replica.selector.class": "org.example.Mine"}
    with pytest.raises(ConfigError, match=r"org\.example\.Mine is none that there is: give org\.apache"):
        BrokerConfig.from_properties(properties)
