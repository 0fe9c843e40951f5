"""The embedded ZooKeeper ensemble of a cluster: one server, or three of which any two go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import FactBus
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.zookeeper_files import ServerPorts, connect_string, server_command, zoo_cfg
from engine.supervisor.zookeeper_installation import MAIN_CLASS, ZooKeeperInstallation
from engine.supervisor.zookeeper_server import ZooKeeperServer
from engine.world import World

LEADER = "leader"
ACTS = ("kill", "start", "stop", "pause", "resume", "restart")
# How often each server is asked for its mode.
_LOOK_S = 0.5

_UP = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.PAUSED, ProcessState.STOPPING)
_DOWN = (ProcessState.STOPPED, ProcessState.KILLED, ProcessState.CRASHED)
_APPLIES: dict[str, tuple[ProcessState, ...]] = {
    "kill": _UP,
    "stop": _UP,
    "start": _DOWN,
    "pause": (ProcessState.STARTING, ProcessState.RUNNING),
    "resume": (ProcessState.PAUSED,),
    "restart": (*_UP, *_DOWN),
}


class ZooKeeperEnsemble:
    """From :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        ports: Mapping[int, ServerPorts],
        installation: ZooKeeperInstallation,
        restart: RestartSpec,
        *,
        is_synced: bool = True,
        keep: bool = False,
        command: Callable[[str], list[str]] | None = None,
    ) -> None:
        """Write the servers' files. ``is_synced``: as :func:`zoo_cfg`; ``keep``: they outlive this process; ``command``
        makes a server's command line from its zoo.cfg (tests put a dummy there)."""
        self._bus = bus
        self._looking: asyncio.Task[None] | None = None
        self._leader: int | None = None
        self.connect = connect_string(ports)
        self.servers: dict[int, ZooKeeperServer] = {}
        make_command = command or (
            lambda cfg: server_command(installation.java, installation.class_path, MAIN_CLASS, cfg)
        )
        for server_id, own in sorted(ports.items()):
            directory = data_dir.zookeeper_data(server_id)
            world.disk.make_dirs(directory)
            world.disk.write_atomic(f"{directory}/myid", f"{server_id}\n".encode())
            text = zoo_cfg(server_id, ports, directory, is_synced=is_synced)
            world.disk.write_atomic(data_dir.zoo_cfg(server_id), text.encode())
            self.servers[server_id] = ZooKeeperServer(
                world, bus, data_dir, server_id, own, make_command, restart, keep=keep
            )

    async def start(self) -> None:
        """Start all servers and wait until all serve.

        Raises:
            CommandError: one cannot be run, or ended.
        """
        for server in self.servers.values():
            await server.start("the cluster starts")
        await asyncio.gather(*(server.wait_serving() for server in self.servers.values()))
        self._tell_of_leader()
        self._looking = asyncio.ensure_future(self._look())

    @property
    def leader(self) -> ZooKeeperServer | None:
        """Who leads, or is alone, as far as is known."""
        leading = [each for each in self.servers.values() if each.mode in ("leader", "standalone")]
        # One that was paused says for a moment that it leads still; its epoch, the zxid's upper half, is over.
        return max(leading, key=lambda each: each.zxid >> 32, default=None)

    @property
    def has_majority(self) -> bool:
        """Whether enough servers run to serve."""
        running = sum(1 for each in self.servers.values() if each.state is ProcessState.RUNNING)
        return 2 * running > len(self.servers)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Ask every server for its mode."""
        await asyncio.gather(*(server.look() for server in self.servers.values()))
        self._tell_of_leader()

    def _tell_of_leader(self) -> None:
        leader = self.leader
        if leader is None or leader.server_id == self._leader or len(self.servers) == 1:
            return
        was, self._leader = self._leader, leader.server_id
        reason = "the first" if was is None else f"it was server {was} before"
        self._bus.note(
            "zookeeper_leader_elected",
            f"ZooKeeper server {leader.server_id}",
            reason,
            zookeeper_server=leader.server_id,
        )

    # -- acts ---------------------------------------------------------------------------------------------------

    async def act(self, act: str, which: object) -> list[ZooKeeperServer]:
        """Kill, start, stop, pause, resume or restart servers: ``which`` is a list of ids, ``"leader"``, or ``None``
        for all to which it applies. Returns them; those that were started serve, if a majority runs.

        Raises:
            CommandError: there is no such act or server, or it cannot be done.
        """
        if act not in ACTS:
            raise CommandError(f"a ZooKeeper server is told to {', '.join(ACTS)}, not {act!r}")
        servers = await self._which(act, which)
        if act == "restart":
            # One after the other: the others go on meanwhile.
            for server in servers:
                await server.restart()
                await self._until_serving(server)
            await self.look()
            return servers
        steps: dict[str, Callable[[ZooKeeperServer], Awaitable[Any]]] = {
            "kill": lambda server: server.kill(),
            "stop": lambda server: server.stop(),
            "start": self._start,
            "pause": _pause,
            "resume": _resume,
        }
        results = await asyncio.gather(*(steps[act](each) for each in servers), return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException) and not isinstance(failure, CommandError):
                raise failure
        failed = [str(each) for each in results if isinstance(each, CommandError)]
        if failed:
            raise CommandError("; ".join(failed))
        if act == "start":
            await asyncio.gather(*(self._until_serving(each) for each in servers))
        return servers

    async def _which(self, act: str, which: object) -> list[ZooKeeperServer]:
        if which == LEADER:
            await self.look()
            leader = self.leader
            if leader is None:
                states = ", ".join(f"server {each} is {one.state}" for each, one in self.servers.items())
                raise CommandError(f"no ZooKeeper server leads now: {states}")
            return [leader]
        if which is not None and not (isinstance(which, list) and all(isinstance(each, int) for each in which)):
            raise CommandError('servers is a list of ids, or "leader"')
        for each in which or ():
            if each not in self.servers:
                known = ", ".join(map(str, self.servers))
                raise CommandError(f"there is no ZooKeeper server {each}; the cluster has {known}")
        if which:
            return [self.servers[each] for each in dict.fromkeys(which)]
        found = [each for each in self.servers.values() if each.state in _APPLIES[act]]
        if not found:
            states = ", ".join(f"{each} is {one.state}" for each, one in self.servers.items())
            raise CommandError(f"there is no ZooKeeper server to {act}: {states}")
        return found

    async def _start(self, server: ZooKeeperServer) -> None:
        # The restart policy may have been faster.
        if server.state not in (ProcessState.STARTING, ProcessState.RUNNING):
            await server.start("start was asked for")

    async def _until_serving(self, server: ZooKeeperServer) -> None:
        alive = sum(1 for each in self.servers.values() if each.is_alive and each.state is not ProcessState.PAUSED)
        if 2 * alive > len(self.servers):
            await server.wait_serving()

    # -- end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """No more restarts, no more looking."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for server in self.servers.values():
            server.close()

    async def stop(self) -> None:
        """Stop all servers that run.

        Raises:
            CommandError: one had to be killed; the others are stopped all the same.
        """
        self.close()
        alive = [each for each in self.servers.values() if each.is_alive]
        results = await asyncio.gather(*(each.stop() for each in alive), return_exceptions=True)
        failed = [str(each) for each in results if isinstance(each, BaseException)]
        if failed:
            raise CommandError("; ".join(failed))


async def _pause(server: ZooKeeperServer) -> None:
    server.pause()


async def _resume(server: ZooKeeperServer) -> None:
    server.resume()
