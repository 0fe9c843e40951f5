"""Watches the ZooKeeper ensemble that coordinates a cluster, on connections of its own, and changes nothing.

Each server is asked by itself with the four letter words ``srvr`` and ``cons`` (one that hangs leaves the others'
figures fresh), and one session reads what Kafka keeps: ``/controller``, ``/controller_epoch``, ``/brokers/ids``, and
the znodes that somebody looks at. What does not answer keeps its last figures, with their age. The session watches
``/controller`` and ``/brokers/ids``: what happens to them is seen when it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.supervisor.zookeeper_folding import clients_of, server_of, with_owners
from engine.supervisor.zookeeper_snapshot import (
    ZnodeSeen,
    ZnodesSeen,
    ZooKeeperClient,
    ZooKeeperController,
    ZooKeeperServer,
    ZooKeeperState,
)
from engine.zookeeper.errors import NoAuth, NoNode, SessionExpired, ZooKeeperError
from engine.zookeeper.four_letter_words import NotAllowed, cons, srvr
from engine.zookeeper.session import SessionState, ZooKeeperSession

if TYPE_CHECKING:
    from engine.core.znodes.operations import Znode
    from engine.world import Clock
    from engine.zookeeper.config import ZooKeeperConfig
    from engine.zookeeper.stat import ZnodeStat

PACE_S = 1.0
_TIMEOUT_S = 2.0
_UNSIGNED = (1 << 64) - 1


class ZooKeeperObserver:
    """``start()`` it, then read :attr:`state`, and ask for :meth:`znodes`."""

    def __init__(
        self,
        clock: Clock,
        config: ZooKeeperConfig,
        *,
        on_change: Callable[[ZooKeeperState, ZooKeeperState], None],
        pace_s: float = PACE_S,
    ) -> None:
        """``on_change`` is called with the state before and the new one."""
        self._clock = clock
        self._chroot = config.chroot
        # A session makes its chroot where there is none: this one looks only.
        self._config = replace(config, chroot="", connection_timeout_ms=int(_TIMEOUT_S * 1_000))
        self._on_change = on_change
        self._pace_s = pace_s
        self._session = ZooKeeperSession(self._config, on_state=lambda _: self._hurry.set())
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: dict[str, tuple[ZooKeeperClient, ...]] = {}
        self._processes: dict[str, Mapping[str, Any]] = {}
        self._word_errors: dict[str, str] = {}
        # What is watched now: a watch is called once, and then set again.
        self._watched: set[str] = set()
        addresses = [_address(server) for server in config.servers]
        self.state = ZooKeeperState(str(config), config.chroot, tuple(ZooKeeperServer(each) for each in addresses))

    def start(self) -> None:
        """Begin to look, in tasks of the running loop."""
        if not self._tasks:
            asks = [self._ask_server(server) for server in self._config.servers]
            self._tasks = [asyncio.ensure_future(each) for each in (*asks, self._ask_tree())]

    async def close(self) -> None:
        """End all looking, and the session."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._session.close()

    def on_process(self, fact: Mapping[str, Any]) -> None:
        """What the supervisor tells of a server's process (a ``zookeeper`` fact)."""
        self._processes[str(fact["address"])] = fact
        self._publish()

    def _publish(self, **changes: Any) -> None:
        before = self.state
        state = before._replace(**changes)
        servers = tuple(self._with_process(each) for each in state.servers)
        sessions = with_owners(self._clients, state.brokers, state.controller, self._own_id, state.tree_observed_at_ms)
        self.state = state._replace(
            servers=servers, sessions=sessions, sessions_error="; ".join(sorted(set(self._word_errors.values())))
        )
        self._on_change(before, self.state)

    def _with_process(self, server: ZooKeeperServer) -> ZooKeeperServer:
        fact = self._processes.get(server.address)
        if fact is None:
            return server
        up = fact["pid"] is not None
        return server._replace(
            server_id=int(fact["server"]),
            state=str(fact["state"]),
            pid=fact["pid"],
            # A process that is not there serves nobody, whatever was seen last.
            serving=server.serving and up,
            error=server.error if up else str(fact["why"]),
        )

    @property
    def _own_id(self) -> int:
        return self._session.session_id & _UNSIGNED

    # -- servers --------------------------------------------------------------------------------------------------

    async def _ask_server(self, server: tuple[str, int]) -> None:
        address = _address(server)
        tls = None
        while True:
            began = self._clock.monotonic_ms()
            known = next(each for each in self.state.servers if each.address == address)
            now_ms = self._clock.now_ms
            try:
                if self._config.tls is not None and tls is None:
                    tls = self._config.tls.context()
                status = await srvr(*server, tls=tls, timeout_s=_TIMEOUT_S)
                known = server_of(known, status, now_ms())
                try:
                    connections = await cons(*server, tls=tls, timeout_s=_TIMEOUT_S)
                    self._clients[address] = clients_of(connections, address, now_ms())
                    self._word_errors.pop(address, None)
                except NotAllowed as error:
                    # It serves, and has its reasons not to list connections.
                    self._word_errors[address] = str(error)
            except ZooKeeperError as error:
                known = known._replace(serving=False, error=str(error))
            others = self.state.servers
            self._publish(servers=tuple(known if each.address == address else each for each in others))
            await asyncio.sleep(max(self._pace_s / 4, self._pace_s - (self._clock.monotonic_ms() - began) / 1_000))

    # -- the tree -------------------------------------------------------------------------------------------------

    async def _ask_tree(self) -> None:
        while True:
            self._hurry.clear()
            try:
                await self._be_connected()
                async with asyncio.timeout(_TIMEOUT_S):
                    brokers, controller = await self._owners()
                self._publish(
                    brokers=brokers, controller=controller, tree_observed_at_ms=self._clock.now_ms(), error=""
                )
            except (ZooKeeperError, TimeoutError) as error:
                self._publish(error=self._why(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace_s):
                    await self._hurry.wait()

    async def _be_connected(self) -> None:
        if self._session.state in (SessionState.CLOSED, SessionState.EXPIRED):
            self._watched.clear()
            await self._session.connect()

    def _why(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"ZooKeeper did not answer within {_TIMEOUT_S * 1000:,.0f} ms"
        return str(error)

    async def _owners(self) -> tuple[tuple[tuple[int, int], ...], ZooKeeperController | None]:
        """Brokers that live with their sessions, and the controller."""
        names = await self._children("/brokers/ids", self._watch("/brokers/ids"))
        stats = await asyncio.gather(*(self._session.exists(self._at(f"/brokers/ids/{name}")) for name in names))
        brokers = tuple(
            sorted(
                (int(name), stat.ephemeral_owner & _UNSIGNED)
                for name, stat in zip(names, stats, strict=True)
                if stat is not None and name.isdigit()
            )
        )
        epoch = None
        with contextlib.suppress(NoNode, ValueError):
            epoch = int((await self._session.get(self._at("/controller_epoch"))).data)
        # Watched whether it is there or not.
        if await self._session.exists(self._at("/controller"), self._watch("/controller")) is None:
            return brokers, None if epoch is None else ZooKeeperController(-1, epoch, None, None)
        try:
            znode, stat = await self._session.get_with_stat(self._at("/controller"))
        except NoNode:
            return brokers, ZooKeeperController(-1, epoch, None, None)
        return brokers, ZooKeeperController(
            _broker_in(znode), epoch, znode.ephemeral_owner & _UNSIGNED, stat.ctime_ms, znode.czxid
        )

    def _watch(self, path: str) -> Callable[[Any], None] | None:
        if path in self._watched:
            return None

        def called(_: object) -> None:
            self._watched.discard(path)
            self._hurry.set()

        self._watched.add(path)
        return called

    async def _children(self, path: str, watch: Callable[[Any], None] | None = None) -> list[str]:
        try:
            return await self._session.children(self._at(path), watch)
        except NoNode:
            # Then nothing is watched.
            self._watched.discard(path)
            return []

    def _at(self, path: str) -> str:
        return (self._chroot + path if path != "/" else self._chroot) or "/"

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        """These znodes, ``opened`` with their children. One that may not be read is there, and private.

        Raises:
            ZooKeeperError: there is no session that answers.
        """
        if self._session.state is not SessionState.CONNECTED:
            raise SessionExpired(self.state.error or "there is no session with ZooKeeper yet")
        paths = list(dict.fromkeys((*opened, *wanted)))
        with_children = set(opened)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = await asyncio.gather(*(self._znode(each, children=each in with_children) for each in paths))
        except TimeoutError as error:
            raise ZooKeeperError(self._why(error)) from None
        return ZnodesSeen(dict(zip(paths, found, strict=True)), self._clock.now_ms())

    async def _znode(self, path: str, *, children: bool) -> ZnodeSeen | None:
        at = self._at(path)
        names = None
        try:
            if children:
                names = tuple(await self._session.children(at))
            znode, stat = await self._session.get_with_stat(at)
        except NoNode:
            return None
        except NoAuth:
            # Neither its value nor its stat is told, nor what is below it.
            return ZnodeSeen(path, b"", -1, 0, 0, 0, 0, 0, 0, 0, is_private=True)
        return _seen(path, znode.data, stat, names)


def _seen(path: str, data: bytes, stat: ZnodeStat, children: tuple[str, ...] | None) -> ZnodeSeen:
    return ZnodeSeen(
        path,
        data,
        stat.version,
        stat.czxid,
        stat.mzxid,
        stat.ephemeral_owner & _UNSIGNED,
        stat.ctime_ms,
        stat.mtime_ms,
        stat.num_children,
        stat.data_length,
        children,
        stat.cversion,
        stat.aversion,
    )


def _broker_in(znode: Znode) -> int:
    try:
        return int(json.loads(znode.data)["brokerid"])
    except (KeyError, TypeError, ValueError):
        return -1


def _address(server: tuple[str, int]) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
