"""What goes wrong with the ZooKeeper servers that coordinate the brokers: they die, hang, and come again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

from engine.supervisor.broker_questions import CommandError
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.supervisor.zookeeper_server import ZooKeeperServer

Act = Callable[[], Awaitable[None]]

_DOWN_S = (0.0, 0.5, 2.0, 6.0)
# Followers give a leader up after 3 s, brokers' sessions end after 6 s.
_PAUSES_S = (0.5, 2.0, 4.0, 8.0)


class ZooKeeperActs:
    """Faults of an ensemble, each ended by itself; ``note`` counts one and says it, ``sleep`` ends early at the end."""

    def __init__(
        self,
        ensemble: ZooKeeperEnsemble,
        rng: random.Random,
        note: Callable[[str, str], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._ensemble = ensemble
        self._rng = rng
        self._note = note
        self._sleep = sleep

    def acts(self) -> Sequence[tuple[int, Act]]:
        """Each with its weight."""
        return [(4, self._kill_one), (1, self._kill_all), (3, self._pause_one), (1, self._restart)]

    def _victim(self) -> tuple[ZooKeeperServer, str]:
        """A server, the one that leads more often than not."""
        leader = self._ensemble.leader
        if leader is not None and self._rng.random() < 0.6:
            return leader, f"ZooKeeper server {leader.server_id}, which leads"
        server = self._rng.choice(list(self._ensemble.servers.values()))
        return server, f"ZooKeeper server {server.server_id}"

    async def _kill_one(self) -> None:
        server, who = self._victim()
        down_s = self._rng.choice(_DOWN_S)
        self._note("ZooKeeper kill", f"SIGKILL of {who}, down for {down_s:g} s")
        await _kill(server)
        await self._sleep(down_s)
        await ensure_running((server,))

    async def _kill_all(self) -> None:
        servers = list(self._ensemble.servers.values())
        down_s = self._rng.choice(_DOWN_S)
        self._note("ZooKeeper kill of all", f"SIGKILL of all ZooKeeper servers at once, down for {down_s:g} s")
        await asyncio.gather(*map(_kill, servers))
        await self._sleep(down_s)
        self._rng.shuffle(servers)
        for server in servers:
            await ensure_running((server,))
            await self._sleep(self._rng.choice((0.0, 0.0, 0.5)))

    async def _pause_one(self) -> None:
        server, who = self._victim()
        for_s = self._rng.choice(_PAUSES_S)
        with contextlib.suppress(CommandError):
            server.pause()
            self._note("ZooKeeper pause", f"SIGSTOP of {who} for {for_s:g} s")
            await self._sleep(for_s)
            server.resume()

    async def _restart(self) -> None:
        server, who = self._victim()
        self._note("ZooKeeper restart", f"restart of {who}")
        with contextlib.suppress(CommandError):
            await server.restart()
        await ensure_running((server,))


async def _kill(server: ZooKeeperServer) -> None:
    with contextlib.suppress(CommandError):
        await server.kill()


async def ensure_running(servers: Iterable[ZooKeeperServer]) -> None:
    """Resume or start each, whatever it is at. Raises: CommandError: it cannot be run."""
    for server in servers:
        if server.state is ProcessState.PAUSED:
            server.resume()
        if not server.is_alive:
            await server.start("asked for by the nemesis")
