"""Requests of a transaction that arrive once more, or late, when the next one is under way, are without effect
(KAFKA-17754, KIP-890): transaction.version 2 gives each transaction an epoch of its own.

That the test can fail: ``late_frames(directory, "librdkafka")``, whose protocol is the one before, doubles records.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from engine.chaos.cluster import ChaosCluster, cluster_spec
from engine.chaos.machine import Machine
from engine.chaos.network import Request
from engine.chaos.proxy import Tampering
from engine.wire.apis import ApiKey
from engine.world.real import real_world
from tests.integration.raw_client import wait_until
from tests.integration.test_exactly_once import Copier, Feeder, assert_exactly_once, create, is_copied

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

RECORDS = 3000
FEEDING_S = 8.0
# Of the client, and of brokers: leaders that add partitions for it, a coordinator that tells of its decision.
LATE = (
    ApiKey.PRODUCE,
    ApiKey.END_TXN,
    ApiKey.TXN_OFFSET_COMMIT,
    ApiKey.ADD_PARTITIONS_TO_TXN,
    ApiKey.WRITE_TXN_MARKERS,
)


async def tamper(cluster: ChaosCluster, struck: dict[ApiKey, int], rng: random.Random) -> None:
    """One request after the other comes once more, a transaction later; now and then one is late, and its client has
    sent it again long before."""
    while True:
        key = rng.choice(LATE)

        def matches(request: Request, key: ApiKey = key) -> bool:
            if request.api_key != key:
                return False
            struck[key] += 1
            return True

        is_held = rng.random() < 0.1 and key in (ApiKey.END_TXN, ApiKey.PRODUCE)
        kind = "hold" if is_held else "repeat"
        cluster.proxy.tamper(Tampering(kind, matches, rng.uniform(0.02, 0.6), resets=is_held))
        await asyncio.sleep(0.03)


def copy_through_the_proxy(cluster: ChaosCluster, client: str) -> list[list[str]]:
    """In a thread: what was fed, once all of it is copied."""
    bootstrap = cluster.bootstrap
    create(bootstrap, "in", "out")
    copier = Copier(client, bootstrap, "in", "out", "late", batch=20, abort_every=5)
    try:
        copier_feeder = Feeder(bootstrap, "in", RECORDS, FEEDING_S)
        copier.gets_on()
        copier_feeder.finish()
        wait_until("everything is copied", lambda: is_copied(bootstrap, "in", "out"), 90)
    finally:
        copier.kill()
    return copier_feeder.written


async def late_frames(directory: Path, client: str = "java") -> dict[ApiKey, int]:
    """How many requests of each kind were struck; nothing else came of it."""
    cluster = ChaosCluster(
        real_world(), str(directory / "cluster"), cluster_spec(3, "page-cache"), Machine(frozenset())
    )
    struck = dict.fromkeys(LATE, 0)
    tampering = None
    try:
        await cluster.start()
        assert await cluster.wait_whole(30) == ""
        tampering = asyncio.ensure_future(tamper(cluster, struck, random.Random(17754)))
        written = await asyncio.to_thread(copy_through_the_proxy, cluster, client)
        tampering.cancel()
        cluster.proxy.faults.tamperings.clear()
        await asyncio.sleep(1.0)  # what is still on its way arrives
        await asyncio.to_thread(assert_exactly_once, written, cluster.bootstrap, "out")
        assert cluster.proxy.faults.done["delivered late or again"] >= 50, cluster.proxy.faults.done
    finally:
        if tampering is not None:
            tampering.cancel()
        await cluster.close()
    return struck


def test_what_arrives_when_the_next_transaction_has_begun_is_without_effect(tmp_path: Path) -> None:
    struck = asyncio.run(late_frames(tmp_path))
    assert all(struck.values()), struck
