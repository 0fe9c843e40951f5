"""The embedded cluster: what any cluster shows, and what only its supervisor knows and can do."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from console.gateway.attached import AttachedGateway, addresses_of, names_by_id
from console.gateway.inspecting import BrokerInspector
from console.gateway.protocol import BrokerLog, Capabilities, EventBatch, GatewayError
from console.gateway.segment_files import find_position, list_segments, read_batch, read_batches
from console.gateway.zookeeper_options import ZooKeeperOptionsError, zookeeper_config
from console.viewmodel.connections import ConnectionsFound
from console.viewmodel.segments import BatchPage, BatchView, Segments
from console.viewmodel.wire import WireBatch, WireRow
from console.viewmodel.zookeeper import KRAFT
from engine.client.channel import Address
from engine.model.properties import read_properties
from engine.supervisor.control_client import AsyncControl, ControlError, NoSupervisor
from engine.supervisor.fact_view import FactView
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.observer import Pace
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    ProcessFacts,
    ProcessState,
    Source,
)

if TYPE_CHECKING:
    from engine.zookeeper.config import ZooKeeperConfig

_RETRY_S = 1.0
_MIN_INTERVAL_S = 0.1
_KEPT_EVENTS = 5_000
_LOG_TAIL_BYTES = 256 * 1024
# A broker is killed with clients that measure; it is killed without them if they do not get going.
_PROBE_PATIENCE_S = 5.0
# Counters come once a second; older ones tell nothing of now.
_RATE_LIFE_MS = 3_500
_BYTES_IN = ("bytes_in", "bytes_in_total", "BytesInPerSec")
_BYTES_OUT = ("bytes_out", "bytes_out_total", "BytesOutPerSec")
_STOPPED = "the cluster was stopped; leave with :q, kconsole starts it again"
# What of a process, once changed, gives the protocol something new to tell; what it uses comes every two seconds.
_NEWS_OF_PROCESS = ("state", "pid", "incarnation", "address")
# Commands that change nothing.
_LOOKING = ("status", "connections", "wire", "message")


class EmbeddedGateway(AttachedGateway):
    """A cluster under a supervisor's control socket."""

    def __init__(self, control_socket: str, *, read_only: bool, pace: Pace | None = None) -> None:
        super().__init__("", read_only=read_only, client_config={}, pace=pace)
        self._socket = control_socket
        self._capabilities = Capabilities(Source.EMBEDDED, read_only)
        self._control: AsyncControl | None = None
        self._connecting = asyncio.Lock()
        self._facts = FactView()
        self._brokers = BrokerInspector(self._call)
        self._events_kept: deque[ClusterEvent] = deque(maxlen=_KEPT_EVENTS)
        self._event_count = 0
        self._changed = asyncio.Event()
        self._new_event = asyncio.Event()
        self._observed: ClusterSnapshot | None = None
        self._processes: dict[int, tuple[Any, ...]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._gone = ""
        self._supervisor_seen_at_ms = 0
        self._log_inodes: dict[tuple[int, bool], int] = {}

    # -- the supervisor -------------------------------------------------------------------------------------------

    async def _supervisor(self) -> AsyncControl:
        async with self._connecting:
            if self._control is None or self._control.closed:
                try:
                    self._control = await AsyncControl.open(self._socket)
                except NoSupervisor as error:
                    was_there = self._control is not None and isinstance(error.__cause__, FileNotFoundError)
                    said = _STOPPED if was_there else str(error)
                    raise GatewayError(said) from error
            return self._control

    async def _call(self, command: str, **arguments: Any) -> Any:
        if self._capabilities.read_only and command not in _LOOKING:
            raise GatewayError(self._capabilities.read_only_because)
        control = await self._supervisor()
        try:
            return await control.call(command, **arguments)
        except (ControlError, NoSupervisor) as error:
            raise GatewayError(str(error)) from error

    async def bootstrap(self) -> list[Address]:
        servers = self._facts.bootstrap_servers
        if not servers:
            status = await self._call("status")
            servers = str(status["bootstrap_servers"])
            self._facts.registry_url = str(status.get("registry_url", ""))
        self._capabilities = self._capabilities._replace(bootstrap_servers=servers)
        return addresses_of(servers)

    async def registry_url(self) -> str:
        """Of the cluster's own schema registry; empty where its file has none. Raises: GatewayError."""
        await self.bootstrap()
        return self._facts.registry_url

    async def _read_facts(self) -> None:
        while True:
            try:
                control = await self._supervisor()
                async for fact in control.facts():
                    self._gone = ""
                    self._take(fact)
                self._gone = "the supervisor is gone"
            except GatewayError as error:
                self._gone = str(error)
            except (ControlError, NoSupervisor) as error:
                self._gone = str(error)
            self._changed.set()
            await asyncio.sleep(_RETRY_S)

    def _take(self, fact: Mapping[str, Any]) -> None:
        event = self._facts.on_fact(dict(fact))
        if fact["type"] == "zookeeper":
            was_own = self._ensemble.is_own
            self._ensemble.on_process(fact)
            if not was_own:
                self._find_ensemble()
        elif fact["type"] == "cluster":
            self._find_ensemble()
        if event is not None:
            self._events_kept.append(event)
            self._event_count += 1
            self._new_event.set()
        if event is not None or self._is_news(fact):
            self._look_now()
        self._changed.set()

    def _find_ensemble(self) -> None:
        connect = self._facts.zookeeper_connect
        reason = KRAFT if self._facts.bootstrap_servers else ""
        if connect:
            self._ensemble.is_at(self._ensemble_config(connect))
            self._ensemble.begin()
            reason = "" if self._ensemble.is_own else f"the ZooKeeper servers of {connect} are not this cluster's own"
        self._capabilities = self._capabilities._replace(no_ensemble_control=reason)

    def _ensemble_config(self, connect: str) -> ZooKeeperConfig:
        """As brokers reach it, with their credentials if their configs have some."""
        from engine.zookeeper.config import ZooKeeperConfig

        for log_file in self._facts.log_files.values():
            said = self._properties_beside(log_file)
            with contextlib.suppress(ZooKeeperOptionsError):
                if (found := zookeeper_config({**said, "zookeeper.connect": connect})) is not None:
                    return found
        return ZooKeeperConfig.of_connect(connect)

    @staticmethod
    def _properties_beside(log_file: str) -> dict[str, str]:
        """What a broker was started with."""
        try:
            with open(os.path.join(os.path.dirname(log_file), "server.properties"), encoding="utf-8") as file:
                return read_properties(file.read())
        except (OSError, ValueError):
            return {}

    def _tell(self, event: ClusterEvent) -> None:
        self._events_kept.append(event)
        self._event_count += 1
        self._new_event.set()
        self._look_now()

    def _ensemble_changed(self) -> None:
        self._changed.set()

    def _is_news(self, fact: Mapping[str, Any]) -> bool:
        """Whether the protocol has something new to tell after it."""
        if fact["type"] != "process":
            return fact["type"] in ("act", "faults")
        now = tuple(fact.get(each) for each in _NEWS_OF_PROCESS)
        before = self._processes.get(fact["broker"])
        self._processes[fact["broker"]] = now
        return now != before

    async def _read_observer(self) -> None:
        while True:
            try:
                observer = await self._observing()
                async for snapshot in observer.snapshots():
                    self._observed = snapshot
                    self._changed.set()
                return
            except GatewayError as error:
                self._gone = str(error)
                self._changed.set()
            await asyncio.sleep(_RETRY_S)

    def _begin(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(self._read_facts()), asyncio.ensure_future(self._read_observer())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()
        if self._control is not None:
            await self._control.close()

    # -- pictures -------------------------------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        self._begin()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._observed is None and not self._facts.processes:
                if self._gone:
                    raise GatewayError(self._gone)
                continue
            yield self._ensemble.seen_with(self._merged())
            await asyncio.sleep(_MIN_INTERVAL_S)

    def _merged(self) -> ClusterSnapshot:
        facts = self._facts
        now_ms = self._world.clock.now_ms()
        if facts.processes and not self._gone:
            self._supervisor_seen_at_ms = now_ms
        observed = self._observed or ClusterSnapshot(now_ms, Source.EMBEDDED, facts.cluster_id)
        by_id = {broker.broker_id: broker for broker in observed.brokers}
        for broker_id in facts.processes:
            if broker_id not in by_id:
                host, port = facts.addresses.get(broker_id, ("", 0))
                # Not in the metadata (yet, or any more): its process is all that is known.
                by_id[broker_id] = BrokerState(broker_id, host, port)
        return observed.with_facts(
            at_ms=max(observed.at_ms, now_ms),
            cluster_id=observed.cluster_id or facts.cluster_id,
            brokers=tuple(
                self._with_process(broker, facts.processes.get(broker_id), now_ms)
                for broker_id, broker in sorted(by_id.items())
            ),
            workload=facts.workload,
            acts=facts.acts,
            faults=facts.faults,
            # Without its supervisor brokers end, too: that is the reason, not what follows from it.
            error=self._gone or observed.error,
            processes_observed_at_ms=self._supervisor_seen_at_ms,
        )

    def _with_process(self, broker: BrokerState, process: ProcessFacts | None, now_ms: int) -> BrokerState:
        if process is None:
            return broker
        up = process.state in (ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPING)
        return replace(
            broker,
            process=process,
            # A process that is not there answers nobody, whatever was seen last; and that is known this moment.
            reachable=broker.reachable and up,
            observed_at_ms=broker.observed_at_ms if up else now_ms,
            error=broker.error if up else "",
            bytes_in_per_s=self._rate(broker.broker_id, _BYTES_IN, now_ms) if up else None,
            bytes_out_per_s=self._rate(broker.broker_id, _BYTES_OUT, now_ms) if up else None,
        )

    def _rate(self, broker_id: int, names: tuple[str, ...], now_ms: int) -> float | None:
        counters = self._facts.counters.get(broker_id)
        if counters is None or now_ms - counters.at_ms > _RATE_LIFE_MS:
            return None
        for name in names:
            rate = self._facts.rate_per_s(broker_id, name)
            if rate is not None:
                return rate
        return None

    async def events(self) -> AsyncIterator[EventBatch]:
        self._begin()
        told = 0
        while True:
            new = self._event_count - told
            if new > 0:
                told = self._event_count
                yield EventBatch(list(self._events_kept)[-new:])
            self._new_event.clear()
            await self._new_event.wait()

    # -- logs -----------------------------------------------------------------------------------------------------

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        path = self._facts.log_files.get(broker_id)
        if path is None:
            raise GatewayError(f"the supervisor has not told yet where broker {broker_id} writes its log")
        path += ".1" if previous else ""
        return await asyncio.to_thread(self._read_log, (broker_id, previous), path, position)

    def _read_log(self, which: tuple[int, bool], path: str, position: int | None) -> BrokerLog:
        try:
            with open(path, "rb") as file:
                about = os.fstat(file.fileno())
                restarted = position is not None and (
                    about.st_size < position or self._log_inodes.get(which, about.st_ino) != about.st_ino
                )
                self._log_inodes[which] = about.st_ino
                start = 0 if restarted or position is None else position
                cut = max(start, about.st_size - _LOG_TAIL_BYTES)
                file.seek(cut)
                data = file.read(_LOG_TAIL_BYTES)
        except FileNotFoundError:
            return BrokerLog((), 0, path)
        except OSError as error:
            raise GatewayError(f"{path} cannot be read: {error.strerror}") from error
        if cut > start:
            # In the middle of a line.
            skipped = data.find(b"\n") + 1
            cut, data = cut + skipped, data[skipped:]
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].decode(errors="replace").splitlines()
        return BrokerLog(lines, cut + whole, path, restarted)

    # -- files ----------------------------------------------------------------------------------------------------

    async def segments(self, topic: str, partition: int) -> Segments:
        self._begin()
        found = await asyncio.to_thread(self._list_segments, topic, partition)
        if not self._facts.processes:
            raise GatewayError("the supervisor has not told yet where its brokers keep their files")
        return found

    def _list_segments(self, topic: str, partition: int) -> Segments:
        log_dirs = {
            broker_id: self._log_dirs(broker_id, process.log_dir)
            for broker_id, process in list(self._facts.processes.items())
        }
        return list_segments(self._world.disk, log_dirs, topic, partition)

    def _log_dirs(self, broker_id: int, usual: str) -> list[str]:
        """The broker's ``log.dirs``, as the file says that it was started with."""
        said = self._properties_beside(self._facts.log_files.get(broker_id, "")).get("log.dirs", usual)
        return [each.strip() for each in said.split(",") if each.strip()]

    async def batches(self, path: str, position: int, limit: int) -> BatchPage:
        return await asyncio.to_thread(read_batches, self._world.disk, path, position, limit)

    async def find_batch(self, path: str, offset: int) -> int:
        return await asyncio.to_thread(find_position, self._world.disk, path, offset)

    async def batch(self, path: str, position: int) -> BatchView:
        return await asyncio.to_thread(read_batch, self._world.disk, path, position)

    # -- the wire -------------------------------------------------------------------------------------------------

    async def connections(self) -> ConnectionsFound:
        return await self._brokers.connections(self._up())

    async def wire(self, broker_id: int | None, *, hold: bool = False) -> WireBatch:
        return await self._brokers.wire(self._up() if broker_id is None else [broker_id], hold=hold)

    async def wire_message(self, row: WireRow) -> list[str]:
        return await self._brokers.message(row, names_by_id(self._observed))

    def _up(self) -> list[int]:
        self._begin()
        # One that starts reads no questions yet; one that is paused says so.
        asked = (ProcessState.RUNNING, ProcessState.PAUSED)
        return sorted(each for each, process in self._facts.processes.items() if process.state in asked)

    # -- brokers that come and go ---------------------------------------------------------------------------------

    async def add_broker(self, rack: str | None) -> int:
        answer = await self._call("add_broker", rack=rack)
        self._look_now()
        return int(answer["brokers"][0]["id"])

    async def remove_broker(self, broker_id: int) -> None:
        await self._call("remove_broker", broker=broker_id)
        self._look_now()

    # -- processes ------------------------------------------------------------------------------------------------

    async def kill_brokers(self, broker_ids: Sequence[int]) -> None:
        ids = list(broker_ids)
        if len(ids) > 1:
            # All at the same moment: one that waited for a stopwatch would outlive the others.
            await self._process("kill", ids)
            return
        try:
            await self._call("kill", brokers=ids, measure=True, patience_s=_PROBE_PATIENCE_S)
        except GatewayError as error:
            process = self._facts.processes.get(ids[0])
            if self._capabilities.read_only or process is None or process.pid is None:
                raise
            # Without a cluster that answers nothing can be measured; the broker is killed all the same.
            with contextlib.suppress(GatewayError):
                await self._call("kill", brokers=ids)
                return
            raise error
        self._look_now()

    async def stop_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._process("stop", broker_ids)

    async def pause_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._process("pause", broker_ids)

    async def resume_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._process("resume", broker_ids)

    async def start_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._process("start", broker_ids)

    async def restart_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._process("restart", broker_ids)

    async def _process(self, command: str, broker_ids: Sequence[int]) -> None:
        await self._call(command, brokers=list(broker_ids))
        self._look_now()

    async def zookeeper_servers(self, act: str, server_ids: Sequence[int]) -> None:
        await self._call("zookeeper", act=act, servers=list(server_ids))

    async def expire_session(self, broker_id: int) -> None:
        await self._call("expire_session", broker=broker_id)
        self._look_now()

    async def begin_fault(self, wish: FaultWish) -> int:
        answer = await self._call("fault", **wish.as_arguments(), measure=True, patience_s=_PROBE_PATIENCE_S)
        self._look_now()
        return int(answer["fault_id"])

    async def heal_faults(self, fault_id: int | None) -> list[str]:
        answer = await self._call("heal", fault=fault_id)
        self._look_now()
        return [str(each) for each in answer["healed"]]

    async def start_workload(self) -> None:
        await self._call("workload_start")

    async def stop_workload(self) -> None:
        await self._call("workload_stop")

    async def add_member(self, group: str) -> None:
        await self._call("add_member", group=group)
        self._look_now()

    async def remove_member(self, group: str) -> None:
        await self._call("remove_member", group=group)
        self._look_now()
