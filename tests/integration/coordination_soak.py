"""``python -m tests.integration.coordination_soak [rounds]``: brokers on three servers of ZooKeeper, while servers,
sessions and controllers die one after the other: nothing that was committed is lost, and all see the same."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import pytest

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
    await appender.stop()
    await cluster.settle()
    lost = [(node_id, each) for node_id in NODES for each in appender.committed if cluster.seen(node_id, each) != 3]
    assert not lost
    epochs = [epoch for _, epoch in cluster.journal.led]
    assert epochs == sorted(set(epochs)), epochs
    print(f"{len(appender.committed)} batches were committed, none is lost; {len(epochs)} controllers")


async def main(rounds: int) -> None:
    journal = Journal()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="kconsole-soak-") as name,
        zookeeper(Path(name) / "zookeeper", servers=3) as ensemble,
    ):
        journal.watch(patch)
        async with brokers_on(ensemble, Path(name), "/survives") as inside:
            await survive(ZooKeeperCluster(journal, inside), rounds)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
