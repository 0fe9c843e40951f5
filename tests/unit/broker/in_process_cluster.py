"""A cluster of real brokers in one event loop: started in milliseconds, stopped, killed, restarted."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from engine.broker.broker import Broker
from engine.client.connection import Connection
from engine.model.broker_config import BrokerConfig
from engine.model.ids import uuid_to_str
from tests.unit.broker.loopback_world import Loopback, LoopbackWorld

T = TypeVar("T")

CLUSTER_ID = "kconsoleTestCluster0w"
PORT, CONTROLLER_PORT = 9092, 9093

_owner: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("owner", default=None)


class Incarnation:
    """One life of one broker: its tasks and timers, its world, its sockets."""

    def __init__(self, node_id: int, loopback: Loopback, config: BrokerConfig, facts: list[dict[str, Any]]) -> None:
        self.node_id = node_id
        self.world = LoopbackWorld(loopback, f"broker-{node_id}")
        self.tasks: set[asyncio.Task[Any]] = set()
        self.is_dead = False
        self._facts = facts
        self._context = contextvars.copy_context()
        self._context.run(_owner.set, self)
        self.broker: Broker = self._context.run(Broker, self.world, config, sink=self._on_fact)

    def _on_fact(self, line: bytes) -> bool:
        self._facts.append(json.loads(line))
        return True

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run as a part of this broker."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    async def kill(self) -> None:
        """End as by SIGKILL: no more bytes leave, no more bytes are written, nobody is told."""
        for connection in list(self.broker.router.connections):
            if connection.transport is not None:
                self._context.run(connection.transport.abort)
        self._context.run(self.world.network.die)
        # What has not begun cannot be cancelled without a complaint.
        await asyncio.sleep(0)
        self.is_dead = True
        await self._cancel()
        await self.world.disk.die()
        await self._cancel()

    async def _cancel(self) -> None:
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.wait(list(self.tasks))


async def _gone() -> None:
    """What a dead broker begins."""
    raise asyncio.CancelledError


def _unless_dead(owner: Incarnation, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not owner.is_dead:
        callback(*arguments)


def _keep_track(loop: asyncio.AbstractEventLoop) -> None:
    """Know every task and timer by the broker that made it, so that a killed broker leaves none."""
    if getattr(loop, "keeps_track", False):
        return
    call_at, call_soon = loop.call_at, loop.call_soon

    def new_task(
        loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        owner = _owner.get() if context is None else context.get(_owner)
        if owner is not None and owner.is_dead:
            work.close()
            work = _gone()
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        if owner is not None:
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
        return task

    def new_timer(when: float, callback: Callable[..., Any], *arguments: Any, context: Any = None) -> Any:
        owner = _owner.get()
        if owner is None:
            return call_at(when, callback, *arguments, context=context)

        return call_at(when, _unless_dead, owner, callback, arguments, context=context)

    def soon(callback: Callable[..., Any], *arguments: Any, context: Any = None) -> Any:
        owner = _owner.get()
        # Steps of tasks go on, so that these can be cancelled.
        if owner is None or not type(getattr(callback, "__self__", None)).__module__.startswith("engine."):
            return call_soon(callback, *arguments, context=context)
        return call_soon(_unless_dead, owner, callback, arguments, context=context)

    loop.set_task_factory(new_task)  # type: ignore[arg-type]
    loop.call_at = new_timer  # type: ignore[method-assign]
    loop.call_soon = soon  # type: ignore[method-assign]
    loop.keeps_track = True  # type: ignore[attr-defined]


class InProcessCluster:
    """``size`` nodes with ids from 1, all of them brokers and voters (the first three vote)."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        configs: Mapping[str, str] | None = None,
        *,
        log_dirs: int = 1,
    ) -> None:
        self.directory = directory
        self.node_ids = list(range(1, size + 1))
        self.loopback = Loopback()
        # What every broker told its supervisor, in order.
        self.facts: list[dict[str, Any]] = []
        self.incarnations: dict[int, Incarnation] = {}
        self.world = LoopbackWorld(self.loopback, "client")
        self.own_configs: dict[int, dict[str, str]] = {}
        # Fetchers by broker, and the replicas that a test does not let them copy.
        self.paused: dict[int, tuple[Any, set[Any]]] = {}
        self._configs = dict(configs or {})
        self._log_dirs = log_dirs
        self._connections: dict[tuple[int, int], Connection] = {}

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> InProcessCluster:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, *node_ids: int) -> None:
        """Start nodes (all of them unless named) at the same time; returns when each serves clients."""
        _keep_track(asyncio.get_running_loop())
        starting = []
        for node_id in node_ids or self.node_ids:
            incarnation = self.prepare(node_id)
            starting.append(incarnation.run(incarnation.broker.start()))
        await asyncio.gather(*starting)

    def prepare(self, node_id: int) -> Incarnation:
        """A broker that is made but not started."""
        _keep_track(asyncio.get_running_loop())
        config = BrokerConfig.from_properties(self.properties(node_id))
        for index in range(self._log_dirs):
            self._format(node_id, index)
        incarnation = self.incarnations[node_id] = Incarnation(node_id, self.loopback, config, self.facts)
        return incarnation

    def properties(self, node_id: int) -> dict[str, str]:
        """The node's server.properties."""
        voters = self.node_ids[:3]
        is_voter = node_id in voters
        client = f"PLAINTEXT://broker-{node_id}:{PORT}"
        controller = f"CONTROLLER://broker-{node_id}:{CONTROLLER_PORT}"
        return {
            "node.id": str(node_id),
            "process.roles": "broker,controller" if is_voter else "broker",
            "listeners": f"{client},{controller}" if is_voter else client,
            "advertised.listeners": client,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(f"{each}@broker-{each}:{CONTROLLER_PORT}" for each in voters),
            "log.dirs": ",".join(self.log_dir(node_id, index) for index in range(self._log_dirs)),
            "default.replication.factor": str(len(voters)),
            "offsets.topic.replication.factor": str(len(voters)),
            "offsets.topic.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            **self._configs,
            **self.own_configs.get(node_id, {}),
        }

    def log_dir(self, node_id: int, index: int = 0) -> str:
        """One of the node's ``log.dirs``."""
        return str(self.directory / f"broker-{node_id}" / f"data-{index}")

    def _format(self, node_id: int, index: int) -> None:
        path = Path(self.log_dir(node_id, index))
        path.mkdir(parents=True, exist_ok=True)
        properties = path / "meta.properties"
        if not properties.exists():
            directory_id = uuid_to_str(bytes([node_id, index]) + bytes(13) + b"\x01")
            properties.write_text(
                f"version=1\ncluster.id={CLUSTER_ID}\nnode.id={node_id}\ndirectory.id={directory_id}\n"
            )

    async def stop(self, node_id: int, *, controlled: bool = True) -> None:
        """Stop a broker in order."""
        incarnation = self.incarnations.pop(node_id)
        self._forget_connections(node_id)
        await incarnation.run(incarnation.broker.stop(controlled=controlled))
        for _ in range(5):
            await asyncio.sleep(0)
        left = [each for each in incarnation.tasks if not each.done()]
        assert not left, f"broker {node_id} left tasks behind: {left}"
        incarnation.world.disk.close()

    async def kill(self, node_id: int) -> None:
        """End a broker without a word."""
        incarnation = self.incarnations.pop(node_id)
        self._forget_connections(node_id)
        await incarnation.kill()

    async def close(self) -> None:
        """End everything that still runs."""
        for key in list(self._connections):
            self._connections.pop(key).close()
        for node_id in list(self.incarnations):
            await self.kill(node_id)
        self.world.disk.close()

    # -- the network --------------------------------------------------------------------------------------------

    def cut(self, node_id: int, *others: int) -> None:
        """Break the connections between a broker and others, and refuse new ones; clients still reach it."""
        for other in others:
            for here, there in ((node_id, other), (other, node_id)):
                self.incarnations[here].world.network.cut_from(f"broker-{there}")

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.loopback.cut.clear()

    # -- brokers ------------------------------------------------------------------------------------------------

    def __getitem__(self, node_id: int) -> Broker:
        return self.incarnations[node_id].broker

    def __iter__(self) -> Any:
        return (each.broker for each in list(self.incarnations.values()))

    def faults(self, node_id: int) -> Any:
        """The faults of a broker's disk."""
        return self.incarnations[node_id].world.faults

    def notes(self, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
        """What was told of this kind, by any broker."""
        return [
            fact
            for fact in self.facts
            if fact["type"] == "note" and fact["kind"] == kind and subject in (None, fact["subject"])
        ]

    @property
    def controller_id(self) -> int:
        """The active controller's node."""
        (active,) = [each.config.node_id for each in self if each.controller is not None and each.controller.is_active]
        return int(active)

    async def until(self, holds: Callable[[], Any], what: str = "", timeout_s: float = 5) -> Any:
        """Wait for something, looking often."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            value = holds()
            if value:
                return value
            assert loop.time() < deadline, f"not within {timeout_s} s: {what or holds}"
            await asyncio.sleep(0.002)

    # -- clients ------------------------------------------------------------------------------------------------

    async def connect(self, node_id: int, *, port: int = PORT) -> Connection:
        """A new connection to a broker."""
        return await Connection.open(
            self.world, f"broker-{node_id}", port, client_id="test", timeout_ms=2000, negotiate=False
        )

    async def connection(self, node_id: int, *, port: int = PORT) -> Connection:
        """The test's own connection to a broker."""
        known = self._connections.get((node_id, port))
        if known is None or known.closed:
            known = self._connections[node_id, port] = await self.connect(node_id, port=port)
        return known

    def _forget_connections(self, node_id: int) -> None:
        for key in [each for each in self._connections if each[0] == node_id]:
            self._connections.pop(key).close()

    async def ask(self, node_id: int, request: Any, version: int, *, timeout_ms: float = 10_000) -> Any:
        """A broker's answer."""
        connection = await self.connection(node_id)
        return await connection.send(request, version=version, timeout_ms=timeout_ms)

    async def ask_controller(self, request: Any, version: int) -> Any:
        """The active controller's answer, on its own listener."""
        connection = await self.connection(self.controller_id, port=CONTROLLER_PORT)
        return await connection.send(request, version=version)
