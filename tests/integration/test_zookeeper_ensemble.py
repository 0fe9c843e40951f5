"""The embedded ensemble: real ZooKeeper servers that are killed, and end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.fact_view import FactView
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.ports import choose_zookeeper_ports
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.supervisor.zookeeper_installation import find_zookeeper
from engine.world.real import real_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ONE_BY_ONE = RestartSpec("on-failure", 50, 1000, 5, 60_000)


class Running:
    """An ensemble, and what was told of it."""

    def __init__(self, directory: Path, servers: int, restart: RestartSpec = ONE_BY_ONE) -> None:
        world = real_world()
        self.bus = FactBus(world.clock)
        self.view = FactView()
        self.notes: list[str] = []
        self.bus.listen(self._on_fact)
        ports = choose_zookeeper_ports(servers, {}, {}, world.random)
        data_dir = DataDir(world, str(directory))
        installation = find_zookeeper(os.environ)
        self.ensemble = ZooKeeperEnsemble(world, self.bus, data_dir, ports, installation, restart)

    def _on_fact(self, fact: Fact) -> None:
        self.view.on_fact(fact)
        if fact["type"] == "note":
            self.notes.append(f"{fact['kind']} {fact['detail']['zookeeper_server']}")

    def modes(self) -> list[str]:
        return sorted(server.mode for server in self.view.zookeeper.values())

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.02)
            await self.ensemble.look()


@asynccontextmanager
async def running(directory: Path, servers: int) -> AsyncIterator[Running]:
    found = Running(directory, servers)
    await found.ensemble.start()
    try:
        yield found
    finally:
        with contextlib.suppress(CommandError):
            await found.ensemble.stop()


async def test_three_servers_go_on_without_one_and_it_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, 3) as running_:
        ensemble = running_.ensemble
        assert running_.modes() == ["follower", "follower", "leader"]
        first = ensemble.leader
        assert first is not None
        (killed,) = await ensemble.act("kill", "leader")
        assert killed is first and killed.state is ProcessState.KILLED
        await running_.until(lambda: running_.modes() == ["", "follower", "leader"])
        second = ensemble.leader
        assert second is not None and second is not first
        # It was asked for: nobody starts it but who asks for that.
        assert not killed.awaits_restart
        await ensemble.act("start", None)
        assert running_.modes() == ["follower", "follower", "leader"] and ensemble.leader is second
        # One that ends by itself comes back by itself.
        follower = next(each for each in ensemble.servers.values() if each.mode == "follower")
        follower.crash()
        await running_.until(lambda: follower.restarts == 1 and follower.is_serving)
        seconds = [each for each in running_.notes if each.startswith("zookeeper_leader_elected")]
        assert seconds == [f"zookeeper_leader_elected {each.server_id}" for each in (first, second)]
        with pytest.raises(CommandError, match=r"there is no ZooKeeper server 4; the cluster has 1, 2, 3"):
            await ensemble.act("kill", [4])


async def test_a_server_that_cannot_serve_says_why(tmp_path: Path) -> None:
    found = Running(tmp_path, 1, ONE_BY_ONE._replace(policy="never"))
    (tmp_path / "zookeeper-1" / "zoo.cfg").write_text("clientPort=none\n")
    with pytest.raises(CommandError, match=r"(?s)ZooKeeper server 1 ended while starting.*server\.log.*Invalid config"):
        await found.ensemble.start()
