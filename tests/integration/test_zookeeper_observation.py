"""The console's own look at a real ZooKeeper: servers, sessions and their owners, znodes; it changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from engine.supervisor.zookeeper_changes import zookeeper_changes
from engine.supervisor.zookeeper_observation import ZooKeeperObserver
from engine.supervisor.zookeeper_snapshot import ZooKeeperState
from engine.world.real import real_world
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import ZooKeeperError
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.zookeeper_server import ZooKeeperServer, zookeeper

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as ensemble:
        yield ensemble.servers[1]


class Watched:
    """An observer with the changes that it told of."""

    def __init__(self, config: ZooKeeperConfig) -> None:
        self.told: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        self.observer = ZooKeeperObserver(real_world().clock, config, on_change=self._on_change, pace_s=0.1)

    def _on_change(self, before: ZooKeeperState, after: ZooKeeperState) -> None:
        self.told += [(each.kind, each.subject) for each in zookeeper_changes(before, after)]
        self._changed.set()

    async def until(self, holds: Callable[[ZooKeeperState], object]) -> ZooKeeperState:
        async with asyncio.timeout(50):
            while not holds(self.observer.state):
                self._changed.clear()
                await self._changed.wait()
        return self.observer.state


@asynccontextmanager
async def watched(config: ZooKeeperConfig) -> AsyncIterator[Watched]:
    found = Watched(config)
    found.observer.start()
    try:
        yield found
    finally:
        await found.observer.close()


@asynccontextmanager
async def session(config: ZooKeeperConfig) -> AsyncIterator[ZooKeeperSession]:
    found = ZooKeeperSession(config)
    await found.connect()
    try:
        yield found
    finally:
        await found.close()


async def test_brokers_and_the_controller_come_and_go_with_their_sessions(server: ZooKeeperServer) -> None:
    config = ZooKeeperConfig.of_connect(f"{server.address}/one", session_timeout_ms=5_000)
    async with session(config) as broker, watched(config) as watch:
        await broker.create("/controller_epoch", b"4", make_parents=True)
        state = await watch.until(lambda state: state.controller is not None and state.servers[0].serving)
        assert state.controller is not None
        assert (state.controller.broker_id, state.controller.epoch) == (-1, 4)
        assert state.servers[0].mode == "standalone"

        await broker.create("/brokers/ids/7", b"{}", ephemeral=True, make_parents=True)
        await broker.create("/controller", b'{"brokerid":7}', ephemeral=True)
        state = await watch.until(
            lambda state: [each for each in state.sessions if each.broker_id and each.is_connected]
        )
        (own,) = [each for each in state.sessions if each.broker_id == 7]
        await watch.until(lambda state: state.controller and state.controller.broker_id == 7)
        assert own.session_id == broker.session_id and own.timeout_ms == 5_000
        assert [each.is_own for each in state.sessions if each.session_id != own.session_id] == [True]

        await broker.expire()
        state = await watch.until(lambda state: state.controller and state.controller.broker_id == -1)
        await watch.until(lambda state: not state.brokers)
        assert {("broker_znode_made", "broker 7"), ("controller_znode_made", "broker 7")} <= set(watch.told)
        assert {("broker_znode_gone", "broker 7"), ("controller_znode_gone", "broker 7")} <= set(watch.told)


async def test_znodes_are_read_with_their_stat_and_none_is_made(server: ZooKeeperServer) -> None:
    root = ZooKeeperConfig.of_connect(server.address)
    config = ZooKeeperConfig.of_connect(f"{server.address}/two")
    async with watched(config) as watch, session(root) as other:
        await watch.until(lambda state: state.tree_observed_at_ms)
        found = await watch.observer.znodes(["/"], [])
        assert found.znodes == {"/": None}
        assert await other.exists("/two") is None, "whoever looks makes no chroot"
        await other.create("/two/brokers", b"", make_parents=True)
        await other.create("/two/controller_epoch", b"12")
        found = await watch.observer.znodes(["/"], ["/controller_epoch", "/gone"])
        top, epoch = found.znodes["/"], found.znodes["/controller_epoch"]
        assert top is not None and epoch is not None
        assert sorted(top.children or ()) == ["brokers", "controller_epoch"]
        assert (epoch.data, epoch.version, epoch.child_count, epoch.children) == (b"12", 0, 0, None)
        assert found.znodes["/gone"] is None


async def test_a_znode_that_an_acl_keeps_from_us_is_there_all_the_same(server: ZooKeeperServer) -> None:
    config = ZooKeeperConfig.of_connect(f"{server.address}/three", digest="me:secret")
    async with session(replace(config, set_acl=True)) as owner:
        await owner.create("/config/users/alice", b"{}", make_parents=True)
        for reader, private in ((config, False), (replace(config, digest=None), True)):
            async with watched(reader) as watch:
                await watch.until(lambda state: state.tree_observed_at_ms)
                found = (await watch.observer.znodes([], ["/config/users/alice"])).znodes["/config/users/alice"]
                assert found is not None
                assert (found.is_private, found.data) == (private, b"" if private else b"{}")


async def test_a_server_that_is_gone_keeps_its_figures(server: ZooKeeperServer) -> None:
    async with watched(ZooKeeperConfig.of_connect(server.address)) as watch:
        await watch.until(lambda state: state.servers[0].serving and state.tree_observed_at_ms)
        server.kill()
        state = await watch.until(lambda state: not state.servers[0].serving and state.error)
        assert (state.servers[0].mode, state.servers[0].connections is not None) == ("standalone", True)
        assert server.address in state.servers[0].error
        with pytest.raises(ZooKeeperError):
            await watch.observer.znodes(["/"], [])
        assert ("zookeeper_unreachable", f"ZooKeeper {server.address}") in watch.told
