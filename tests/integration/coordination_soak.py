"""``python -m tests.integration.coordination_soak [rounds]``: brokers on three servers of ZooKeeper, while servers,
sessions and controllers die one after the other: nothing that was committed is lost, and all see the same.

``… random SECONDS [SEED]``: what dies, hangs or expires is drawn, and may do so while the last has not come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from engine.zookeeper.errors import ConnectionLoss
from tests.integration.test_coordination_on_zookeeper import ZooKeeperCluster, brokers_on
from tests.integration.zookeeper_server import zookeeper
from tests.unit.broker.coordination_contract import NODES, CoordinatedCluster, Journal


class Appender:
    """Appends one batch after the other, to whoever is the controller, and remembers what was committed."""

    def __init__(self, cluster: CoordinatedCluster) -> None:
        self._cluster = cluster
        self.committed: list[str] = []
        self._tried = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            leader = await self._cluster.controller()
            self._tried += 1
            append = self._cluster.append(leader, f"kept-{self._tried}")
            await self._cluster.until(
                lambda leader=leader, append=append: append.is_settled or leader not in self._cluster.brokers,  # type: ignore[misc]
                "an append is settled",
            )
            if append.committed:
                self.committed.append(append.name)

    async def more(self, count: int) -> None:
        """Wait until so many more are committed."""
        wanted = len(self.committed) + count
        await self._cluster.until(lambda: self._task.done() or len(self.committed) >= wanted, f"{count} more appends")
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))


async def survive(cluster: ZooKeeperCluster, rounds: int) -> None:
    """The leader of the ensemble dies, then a session ends, then a controller dies: what was committed stays."""
    ensemble = cluster.inside.ensemble
    appender = Appender(cluster)
    for number in range(rounds):
        began = time.monotonic()
        after: list[str] = []

        async def go_on(what: str, after: list[str] = after) -> None:
            since = time.monotonic()
            await appender.more(5)
            after.append(f"{what} {time.monotonic() - since:.2f} s")

        await appender.more(5)
        dead = ensemble.leader
        assert dead is not None
        dead.kill()
        await go_on("ZooKeeper's leader dead")
        dead.start()
        entry = cluster.brokers[await cluster.controller()].zookeeper
        assert entry is not None
        await entry.session.expire()
        await go_on("the controller's session over")
        killed = await cluster.controller()
        await cluster.kill(killed)
        await go_on("the controller dead")
        await cluster.start(killed)
        await cluster.until(lambda dead=dead: dead.mode, "the server serves again")  # type: ignore[misc]
        print(
            f"{number + 1}: five more appends after: {', '.join(after)}; {time.monotonic() - began:.1f} s", flush=True
        )
    await check(cluster, appender)


async def check(cluster: ZooKeeperCluster, appender: Appender) -> None:
    """Everybody has everything that was committed, and no epoch had two controllers."""
    await appender.stop()
    await cluster.settle()
    lost = [(node_id, each) for node_id in NODES for each in appender.committed if cluster.seen(node_id, each) != 3]
    assert not lost
    epochs = [epoch for _, epoch in cluster.journal.led]
    assert epochs == sorted(set(epochs)), epochs
    print(f"{len(appender.committed)} batches were committed, none is lost; {len(epochs)} controllers")


class Faults:
    """What may be done to servers, sessions and brokers; each heals by itself within seconds."""

    def __init__(self, cluster: ZooKeeperCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._servers = cluster.inside.ensemble.servers
        self._rng = rng

    async def server_dies(self) -> None:
        server = self._rng.choice(list(self._servers.values()))
        server.kill()
        await asyncio.sleep(self._rng.random())
        server.start()

    async def zookeepers_leader_dies(self) -> None:
        if (leader := self._cluster.inside.ensemble.leader) is not None:
            leader.kill()
            await asyncio.sleep(self._rng.random())
            leader.start()

    async def all_servers_die(self) -> None:
        for server in self._servers.values():
            server.kill()
        await asyncio.sleep(self._rng.random())
        for server in self._servers.values():
            server.start()

    async def zookeepers_leader_hangs(self) -> None:
        leader = self._cluster.inside.ensemble.leader
        if leader is not None and leader.process is not None:
            leader.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(self._rng.random() * 8)
            leader.process.send_signal(signal.SIGCONT)

    async def session_expires(self) -> None:
        entry = self._cluster.brokers[self._rng.choice(NODES)].zookeeper
        assert entry is not None
        # It may have no connection just now.
        with contextlib.suppress(ConnectionLoss):
            await entry.session.expire()

    async def controller_dies(self) -> None:
        await self._die(await self._cluster.controller())

    async def two_brokers_die(self) -> None:
        await self._die(*self._rng.sample(NODES, 2))

    async def controller_and_zookeepers_leader_die(self) -> None:
        leader = self._cluster.inside.ensemble.leader
        controller = await self._cluster.controller()
        await self._cluster.kill(controller)
        if leader is not None:
            leader.kill()
            await asyncio.sleep(0.2)
            leader.start()
        await self._start(controller)

    async def _die(self, *node_ids: int) -> None:
        for node_id in node_ids:
            await self._cluster.kill(node_id)
        await asyncio.sleep(self._rng.random())
        await asyncio.gather(*(self._start(node_id) for node_id in node_ids))

    async def _start(self, node_id: int) -> None:
        async with asyncio.timeout(60):
            await self._cluster.start(node_id)


async def survive_at_random(cluster: ZooKeeperCluster, seconds: float, seed: int) -> None:
    rng = random.Random(seed)
    faults = Faults(cluster, rng)
    kinds = [getattr(faults, name) for name in sorted(vars(Faults)) if not name.startswith("_")]
    appender = Appender(cluster)
    end = time.monotonic() + seconds
    done: Counter[str] = Counter()
    while time.monotonic() < end:
        fault = rng.choice(kinds)
        done[fault.__name__] += 1
        began = time.monotonic()
        await fault()
        await appender.more(2)
        print(f"{fault.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    for server in cluster.inside.ensemble.servers.values():
        server.wait_until_it_serves()
    print(", ".join(f"{count} × {name}" for name, count in sorted(done.items())))
    await check(cluster, appender)


async def main(arguments: list[str]) -> None:
    journal = Journal()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="kconsole-soak-") as name,
        zookeeper(Path(name) / "zookeeper", servers=3) as ensemble,
    ):
        journal.watch(patch)
        async with brokers_on(ensemble, Path(name), "/survives") as inside:
            cluster = ZooKeeperCluster(journal, inside)
            if arguments[:1] == ["random"]:
                await survive_at_random(cluster, float(arguments[1]), int(arguments[2]) if arguments[2:] else 1)
            else:
                await survive(cluster, int(arguments[0]) if arguments else 10)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
