"""The contract of coordination on a real ZooKeeper, whose connections are cut and whose sessions end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from engine.broker.broker import Broker
from engine.wire.message import Message
from tests.integration.zookeeper_server import ZooKeeperEnsemble, zookeeper
from tests.unit.broker.coordination_contract import CONTRACT, NODES, CoordinatedCluster, Journal
from tests.unit.broker.in_process_cluster import CONTROLLER_PORT, InProcessCluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

# Long: only what ends a session on purpose may end one here.
_SESSION_MS = 6000


class Wire:
    """Between one broker and ZooKeeper: a proxy that may hold back what ZooKeeper says."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.partition(":")
        self._to = int(port)
        self._may_hear = asyncio.Event()
        self._may_hear.set()
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for each in self._tasks:
            each.cancel()

    def deafen(self) -> None:
        """What the broker says arrives, the answers do not."""
        self._may_hear.clear()

    def cut(self) -> None:
        """Connections break, and others are not taken."""
        self._is_cut = True
        for pair in self._pairs:
            for each in pair:
                each.transport.abort()

    def heal(self) -> None:
        self._is_cut = False
        self._may_hear.set()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there, to = await asyncio.open_connection(self._host, self._to)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, to)
        self._pairs.add(pair)
        pumps = [asyncio.ensure_future(self._pump(reader, to)), asyncio.ensure_future(self._pump(there, writer, True))]
        self._tasks.update(pumps)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in pair:
            each.transport.abort()
        self._pairs.discard(pair)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool = False) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65536):
                if answers:
                    await self._may_hear.wait()
                writer.write(part)


class _Brokers(InProcessCluster):
    """Brokers in one event loop, each behind a wire of its own to ZooKeeper."""

    def __init__(self, directory: Path, ensemble: ZooKeeperEnsemble, chroot: str) -> None:
        super().__init__(directory, len(NODES))
        self.ensemble = ensemble
        # Of several servers, whose death is the test, none is behind a wire.
        is_alone = len(ensemble.servers) == 1
        self.wires = {node_id: Wire(ensemble.connect) for node_id in NODES} if is_alone else {}
        self._chroot = chroot

    def properties(self, node_id: int) -> dict[str, str]:
        of_a_quorum = ("node.id", "process.roles", "controller.quorum.voters")
        return {
            **{name: text for name, text in super().properties(node_id).items() if name not in of_a_quorum},
            "broker.id": str(node_id),
            "zookeeper.connect": (f"127.0.0.1:{self.wires[node_id].port}" if self.wires else self.ensemble.connect)
            + self._chroot,
            "zookeeper.session.timeout.ms": str(_SESSION_MS),
        }

    def _format(self, node_id: int, index: int) -> None:
        """Nothing: brokers of ZooKeeper find out by themselves to which cluster they belong."""
        Path(self.log_dir(node_id, index)).mkdir(parents=True, exist_ok=True)

    async def kill(self, node_id: int) -> None:
        entry = self.incarnations[node_id].broker.zookeeper
        if entry is not None:
            entry.session.abandon()
        await super().kill(node_id)


class ZooKeeperCluster(CoordinatedCluster):
    def __init__(self, journal: Journal, inside: _Brokers) -> None:
        super().__init__(journal)
        self.inside = inside

    @property
    def brokers(self) -> dict[int, Broker]:
        return {node_id: each.broker for node_id, each in self.inside.incarnations.items()}

    async def start(self, node_id: int) -> None:
        await self.inside.start(node_id)

    async def kill(self, node_id: int) -> None:
        await self.inside.kill(node_id)

    async def deafen(self, node_id: int) -> None:
        self.inside.wires[node_id].deafen()
        # The others find that it refuses connections, and depose it at once.
        self.inside.cut(node_id, *(each for each in NODES if each != node_id and each in self.brokers))

    async def heal(self) -> None:
        self.inside.heal()
        for each in self.inside.wires.values():
            each.heal()

    async def lose_session(self, node_id: int) -> None:
        entry = self.brokers[node_id].zookeeper
        assert entry is not None
        credentials = (entry.session.session_id, entry.session.session_password)
        self.inside.wires[node_id].cut()
        await asyncio.get_running_loop().run_in_executor(None, self._end_session, credentials)
        witness = next(each for each in NODES if each != node_id)
        await self.until(
            lambda: self.brokers[witness].metadata.image.brokers[node_id].fenced, f"the session of {node_id} lapses"
        )
        await self.heal()

    def _end_session(self, credentials: tuple[int, bytes]) -> None:
        """As ZooKeeper does when it hears nothing: by another connection that takes the session over."""
        client = KazooClient(self.inside.ensemble.connect, client_id=credentials)
        client.start()
        client.stop()
        client.close()

    def run_on(self, node_id: int, work: Coroutine[Any, Any, None]) -> None:
        self.inside.incarnations[node_id].run(work)

    async def ask(self, node_id: int, request: Message, version: int) -> Any:
        connection = await self.inside.connection(node_id, port=CONTROLLER_PORT)
        return await connection.send(request, version=version, timeout_ms=5000)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperEnsemble]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@asynccontextmanager
async def brokers_on(ensemble: ZooKeeperEnsemble, directory: Path, chroot: str) -> AsyncIterator[_Brokers]:
    inside = _Brokers(directory, ensemble, chroot)
    for wire in inside.wires.values():
        await wire.open()
    try:
        async with inside:
            yield inside
    finally:
        for wire in inside.wires.values():
            wire.close()


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_zookeeper_keeps_the_contract(
    promise: Callable[[CoordinatedCluster], Awaitable[None]],
    ensemble: ZooKeeperEnsemble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal()
    journal.watch(monkeypatch)
    async with brokers_on(ensemble, tmp_path, f"/{promise.__name__}") as inside:
        await promise(ZooKeeperCluster(journal, inside))
