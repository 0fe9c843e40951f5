"""The contract of coordination on the built-in quorum, in the simulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from engine.broker.broker import Broker
from engine.client.connection import Connection
from engine.sim.cluster import CONTROLLER_PORT, SimCluster, machine_name
from engine.sim.loop import SimLoop
from engine.wire.message import Message
from tests.unit.broker.coordination_contract import CONTRACT, NODES, CoordinatedCluster, Journal

# Little of the log is kept beside the snapshots.
_CONFIGS = {
    "metadata.log.max.record.bytes.between.snapshots": "2000",
    "metadata.log.segment.bytes": "8388608",
    "metadata.max.retention.bytes": "100",
    "metadata.max.retention.ms": "1",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class QuorumCluster(CoordinatedCluster):
    """Simulated machines, whose brokers are the voters."""

    def __init__(self, loop: SimLoop, journal: Journal, seed: int) -> None:
        super().__init__(journal)
        self._loop = loop
        self.machines = SimCluster(loop, seed, configs=_CONFIGS)
        self._client, self._world = self.machines.client()

    @property
    def brokers(self) -> dict[int, Broker]:
        return {
            node_id: machine.broker for node_id, machine in self.machines.machines.items() if machine.broker is not None
        }

    async def start(self, node_id: int) -> None:
        await self.machines.start(node_id)

    async def kill(self, node_id: int) -> None:
        self.machines.kill(node_id)

    async def deafen(self, node_id: int) -> None:
        for other in NODES:
            if other != node_id:
                self.machines.fabric.cut(machine_name(other), machine_name(node_id))
                self.machines.fabric.cut(machine_name(node_id), machine_name(other))

    async def heal(self) -> None:
        self.machines.fabric.heal_all()

    async def lose_session(self, node_id: int) -> None:
        await self.deafen(node_id)
        witness = await self.controller(besides=node_id)
        await self.until(
            lambda: self.brokers[witness].metadata.image.brokers[node_id].fenced, f"the session of {node_id} lapses"
        )
        await self.heal()

    def run_on(self, node_id: int, work: Coroutine[Any, Any, None]) -> None:
        process = self.machines.machines[node_id].process
        assert process is not None
        self._loop.spawn(process, work)

    async def ask(self, node_id: int, request: Message, version: int) -> Any:
        async def exchange() -> Any:
            connection = await Connection.open(
                self._world,
                machine_name(node_id),
                CONTROLLER_PORT,
                client_id="contract",
                timeout_ms=5000,
                negotiate=False,
            )
            try:
                return await connection.send(request, version=version, timeout_ms=5000)
            finally:
                connection.close()

        return await self._loop.spawn(self._client, exchange())


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_the_quorum_keeps_the_contract(
    promise: Callable[[CoordinatedCluster], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal()
    journal.watch(monkeypatch)
    loop = SimLoop()
    cluster = QuorumCluster(loop, journal, seed=1)

    async def scenario() -> None:
        await cluster.machines.start_all()
        await promise(cluster)

    loop.run(scenario())
    assert not loop.failures
