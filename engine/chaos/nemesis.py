"""What goes wrong, to whom, when: kills, pauses, restarts, disks and clocks of real processes, and their network.

Two schedules run beside each other, one for processes, one for the network, and a third one for the servers of
ZooKeeper where these coordinate; so a leader is paused while its messages are late. At most one broker at a time has a
disk that fails: with three replicas and two of them needed, that is what is promised to be survived.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from engine.chaos.cluster import ChaosCluster
from engine.chaos.machine import ZOOKEEPER, Machine
from engine.chaos.network import Request, Tampering
from engine.chaos.zookeeper_acts import ZooKeeperActs, ensure_running
from engine.model.broker_faults import CLIENTS
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.snapshot import ProcessState
from engine.wire.apis import ApiKey

Act = Callable[[], Awaitable[None]]
Say = Callable[[str], None]

_PAUSES_S = (0.3, 1.0, 3.0, 6.0, 15.0)
_CLOCK_ERRORS_S = (-3000.0, -600.0, -30.0, -1.0, 0.0, 1.0, 30.0, 600.0, 3000.0)
_DISK_LEFT_BYTES = 16 << 10
_ATTACH_S = 5.0

_OF_CLIENTS: tuple[ApiKey, ...] = (
    ApiKey.PRODUCE,
    ApiKey.FETCH,
    ApiKey.METADATA,
    ApiKey.INIT_PRODUCER_ID,
    ApiKey.JOIN_GROUP,
    ApiKey.SYNC_GROUP,
    ApiKey.HEARTBEAT,
    ApiKey.LEAVE_GROUP,
)
_OF_BROKERS: tuple[ApiKey, ...] = (
    ApiKey.FETCH,
    ApiKey.OFFSET_FOR_LEADER_EPOCH,
    ApiKey.ALTER_PARTITION,
    ApiKey.BROKER_HEARTBEAT,
    ApiKey.BROKER_REGISTRATION,
    ApiKey.ALLOCATE_PRODUCER_IDS,
    ApiKey.VOTE,
    ApiKey.BEGIN_QUORUM_EPOCH,
    ApiKey.END_QUORUM_EPOCH,
)


class Nemesis:
    """Makes faults until it is stopped; :attr:`done` counts them, :attr:`fault_times_ns` says when."""

    def __init__(self, cluster: ChaosCluster, machine: Machine, rng: random.Random, say: Say) -> None:
        self._cluster = cluster
        self._proxy = cluster.proxy
        self._rng = rng
        self._say = say
        self._faults = machine.faults
        self._stopping = asyncio.Event()
        self._tracers: set[asyncio.subprocess.Process] = set()
        self.done: Counter[str] = Counter()
        self.fault_times_ns: list[tuple[int, str]] = []
        self.failures: list[str] = []
        """What went wrong that was no fault of ours: brokers that do not come up again."""

    def _note(self, kind: str, what: str) -> None:
        self.done[kind] += 1
        self.fault_times_ns.append((time.monotonic_ns(), kind))
        self._say(what)

    # -- schedules ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until :meth:`stop`; faults under way are ended early."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._schedule(self._process_acts(), 0.5, 4.0))
            group.create_task(self._schedule(self._network_acts(), 0.3, 3.0))
            group.create_task(self._schedule(self._zookeeper_acts(), 1.0, 8.0))

    def stop(self) -> None:
        """Begin no more."""
        self._stopping.set()

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _schedule(self, acts: Sequence[tuple[int, Act]], least_s: float, most_s: float) -> None:
        if not acts:
            return
        weights = [weight for weight, _ in acts]
        while True:
            await self._sleep(self._rng.uniform(least_s, most_s))
            if self._stopping.is_set():
                return
            ((_, act),) = self._rng.choices(acts, weights)
            await act()

    def _process_acts(self) -> list[tuple[int, Act]]:
        acts: dict[str, list[tuple[int, Act]]] = {
            "kill": [(5, self._kill_one), (2, self._kill_twice), (1, self._kill_all)],
            "pause": [(4, self._pause_one), (1, self._pause_and_kill)],
            "restart": [(2, self._restart)],
            "disk-full": [(2, self._fill_disk)],
            "eio": [(2, self._fail_fsync)],
            "clock": [(3, self._set_clock), (1, self._strobe_clock)],
        }
        return [each for fault, found in acts.items() if fault in self._faults for each in found]

    def _network_acts(self) -> list[tuple[int, Act]]:
        acts: dict[str, list[tuple[int, Act]]] = {
            "partition": [(3, self._isolate), (2, self._cut_pair), (2, self._reset), (1, self._slow)],
            "tamper": [(4, self._hold), (4, self._repeat)],
        }
        return [each for fault, found in acts.items() if fault in self._faults for each in found]

    def _zookeeper_acts(self) -> Sequence[tuple[int, Act]]:
        ensemble = self._cluster.zookeeper
        if ensemble is None or ZOOKEEPER not in self._faults:
            return ()
        return ZooKeeperActs(ensemble, self._rng, self._note, self._sleep).acts()

    # -- whom ---------------------------------------------------------------------------------------------------

    async def _victim(self) -> tuple[int, str]:
        """A broker that runs, and what it is: the controller, a leader, or any."""
        alive = self._cluster.alive() or sorted(self._cluster.broker_ids)
        view = await self._cluster.any_view()
        kind = self._rng.choice(("controller", "leader", "any"))
        if kind == "controller" and view.controller in alive:
            return view.controller, f"{view.controller}, the controller"
        if kind == "leader":
            led = [each for each, partition in sorted(view.partitions.items()) if partition.leader in alive]
            if led:
                topic, number = self._rng.choice(led)
                leader = view.partitions[topic, number].leader
                return leader, f"{leader}, leader of {topic}-{number}"
        broker_id = self._rng.choice(alive)
        return broker_id, str(broker_id)

    async def _start(self, broker_id: int) -> None:
        with contextlib.suppress(CommandError):
            await self._cluster.ensure_running(broker_id)

    # -- processes ----------------------------------------------------------------------------------------------

    async def _kill_one(self) -> None:
        broker_id, who = await self._victim()
        down_s = self._rng.choice((0.0, 0.2, 1.0, 4.0, 8.0))
        self._note("kill", f"SIGKILL of broker {who}, down for {down_s:g} s")
        await self._cluster.kill(broker_id)
        await self._sleep(down_s)
        await self._start(broker_id)

    async def _kill_twice(self) -> None:
        """Once more while it recovers."""
        broker_id, who = await self._victim()
        again_s = self._rng.uniform(0.2, 2.0)
        self._note("kill", f"SIGKILL of broker {who}, and again {again_s:.1f} s after its start")
        await self._cluster.kill(broker_id)
        await self._start(broker_id)
        await self._sleep(again_s)
        self.done["kill"] += 1
        await self._cluster.kill(broker_id)
        await self._start(broker_id)

    async def _kill_all(self) -> None:
        broker_ids = sorted(self._cluster.broker_ids)
        down_s = self._rng.choice((0.0, 0.5, 2.0))
        self._note("kill of all", f"SIGKILL of all brokers at once, down for {down_s:g} s")
        await asyncio.gather(*map(self._cluster.kill, broker_ids))
        await self._sleep(down_s)
        self._rng.shuffle(broker_ids)
        for broker_id in broker_ids:
            await self._start(broker_id)
            await self._sleep(self._rng.choice((0.0, 0.0, 0.5, 2.0)))

    async def _pause_one(self) -> None:
        broker_id, who = await self._victim()
        for_s = self._rng.choice(_PAUSES_S)
        await self._pause(broker_id, f"SIGSTOP of broker {who} for {for_s:g} s")
        await self._sleep(for_s)
        self._resume(broker_id)

    async def _pause_and_kill(self) -> None:
        """While one stands still, another one dies: the one that wakes up must not believe that it leads."""
        broker_id, who = await self._victim()
        for_s = self._rng.choice((3.0, 6.0, 10.0))
        await self._pause(broker_id, f"SIGSTOP of broker {who} for {for_s:g} s, and SIGKILL of another meanwhile")
        await self._sleep(for_s / 3)
        other = self._rng.choice(sorted(self._cluster.broker_ids - {broker_id}))
        self.done["kill"] += 1
        await self._cluster.kill(other)
        await self._sleep(for_s / 3)
        await self._start(other)
        await self._sleep(for_s / 3)
        self._resume(broker_id)

    async def _pause(self, broker_id: int, what: str) -> None:
        with contextlib.suppress(CommandError):
            self._cluster.brokers[broker_id].pause()
            self._note("pause", what)

    def _resume(self, broker_id: int) -> None:
        with contextlib.suppress(CommandError):
            self._cluster.brokers[broker_id].resume()

    async def _restart(self) -> None:
        broker_id, who = await self._victim()
        self._note("restart", f"restart of broker {who}, in order")
        with contextlib.suppress(CommandError):
            await self._cluster.brokers[broker_id].restart()
        await self._start(broker_id)

    # -- disks --------------------------------------------------------------------------------------------------

    async def _fill_disk(self) -> None:
        broker_id, who = await self._victim()
        disk, for_s = self._cluster.disks[broker_id], self._rng.choice((2.0, 6.0))
        try:
            await asyncio.to_thread(disk.fill, _DISK_LEFT_BYTES)
        except OSError as error:
            self._say(f"the disk of broker {broker_id} is not full: {error}")
            return
        self._note("disk full", f"the disk of broker {who} is full for {for_s:g} s")
        await self._sleep(for_s)
        await asyncio.to_thread(disk.free)
        await self._replace(broker_id, "disk full")

    async def _fail_fsync(self) -> None:
        broker_id, who = await self._victim()
        pid = self._cluster.brokers[broker_id].pid
        if pid is None or self._cluster.brokers[broker_id].state is not ProcessState.RUNNING:
            return
        for_s = self._rng.choice((1.0, 3.0))
        tracer = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=fsync,fdatasync:error=EIO", "-p", str(pid)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._tracers.add(tracer)
        try:
            await _attached(tracer, pid)
            self._note("eio", f"fsync of broker {who} fails with EIO for {for_s:g} s")
            await self._sleep(for_s)
        finally:
            await self._detach(tracer)
        await self._replace(broker_id, "eio")

    async def _detach(self, tracer: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_ATTACH_S):
                await tracer.wait()
        except TimeoutError:
            tracer.kill()
            await tracer.wait()
        self._tracers.discard(tracer)

    async def _replace(self, broker_id: int, why: str) -> None:
        """What an operator does when the disk is well again."""
        broker = self._cluster.brokers[broker_id]
        if broker.is_alive:
            self.done[f"{why}: the broker lived on"] += 1
            with contextlib.suppress(CommandError):
                await broker.stop()
        else:
            self.done[f"{why}: the broker ended itself"] += 1
        await self._start(broker_id)

    # -- clocks -------------------------------------------------------------------------------------------------

    async def _set_clock(self) -> None:
        broker_id, who = await self._victim()
        seconds = self._rng.choice(_CLOCK_ERRORS_S)
        self._cluster.set_clock(broker_id, seconds)
        self._note("clock", f"the clock of broker {who} is wrong by {seconds:+g} s from now on")

    async def _strobe_clock(self) -> None:
        broker_id, who = await self._victim()
        self._note("clock", f"the clock of broker {who} jumps to and fro ten times in a second")
        for _ in range(10):
            self._cluster.set_clock(broker_id, self._rng.choice(_CLOCK_ERRORS_S))
            await asyncio.sleep(0.1)

    # -- the network --------------------------------------------------------------------------------------------

    async def _isolate(self) -> None:
        """One broker from the others, or from everybody; in one direction or in both."""
        broker_id, who = await self._victim()
        others = set(self._cluster.broker_ids - {broker_id})
        with_clients = self._rng.random() < 0.3
        if with_clients:
            others.add(CLIENTS)
        kind = self._rng.choice(("both", "out", "in"))
        if kind == "in":
            for other in others:
                self._proxy.cut(other, broker_id, one_way=True)
        else:
            self._proxy.isolate(broker_id, others, one_way=kind == "out")
        how = {"both": "is cut off from", "out": "is not heard by", "in": "does not hear"}[kind]
        whom = "everybody" if with_clients else "the other brokers"
        await self._until_healed(
            f"partition ({'both ways' if kind == 'both' else 'one way'})", f"broker {who} {how} {whom}"
        )

    async def _cut_pair(self) -> None:
        one, other = self._rng.sample(sorted(self._cluster.broker_ids | {CLIENTS}), 2)
        one_way = self._rng.random() < 0.5
        self._proxy.cut(one, other, one_way=one_way)
        names = ["the clients" if each == CLIENTS else f"broker {each}" for each in (one, other)]
        arrow = "nothing passes from {} to {}" if one_way else "{} and {} do not reach each other"
        await self._until_healed(f"partition ({'one way' if one_way else 'both ways'})", arrow.format(*names))

    async def _until_healed(self, kind: str, what: str) -> None:
        for_s = self._rng.choice((0.5, 2.0, 5.0, 10.0))
        resets = self._rng.random() < 0.5
        self._note(kind, f"{what} for {for_s:g} s; then what stood still {'is lost' if resets else 'arrives'}")
        await self._sleep(for_s)
        self._proxy.heal(resets=resets)

    async def _reset(self) -> None:
        one, other = self._rng.sample(sorted(self._cluster.broker_ids | {CLIENTS}), 2)
        count = self._proxy.reset(one, other)
        names = ["clients" if each == CLIENTS else f"broker {each}" for each in sorted((one, other))]
        self._note("reset", f"{count} connections between {names[0]} and {names[1]} are reset")

    async def _slow(self) -> None:
        delay_s, for_s = self._rng.choice((0.05, 0.3, 1.0)), self._rng.choice((2.0, 5.0))
        one, other = self._rng.sample(sorted(self._cluster.broker_ids | {CLIENTS}), 2)
        self._proxy.delay(one, other, delay_s)
        names = ["the clients" if each == CLIENTS else f"broker {each}" for each in (one, other)]
        self._note("delay", f"everything between {names[0]} and {names[1]} takes {delay_s:g} s longer for {for_s:g} s")
        await self._sleep(for_s)
        self._proxy.heal()

    # -- requests -----------------------------------------------------------------------------------------------

    def _requests(self) -> tuple[Callable[[Request], bool], str]:
        """Some kind of request, of clients or of brokers."""
        of_brokers = self._rng.random() < 0.5
        key = self._rng.choice(_OF_BROKERS if of_brokers else _OF_CLIENTS)
        whose = "of brokers" if of_brokers else "of clients"

        def matches(request: Request) -> bool:
            return request.api_key == key and (request.source != CLIENTS) == of_brokers

        return matches, f"{key.name} {whose}"

    async def _hold(self) -> None:
        matches, name = self._requests()
        resets = self._rng.random() < 0.7
        count, after_s = self._rng.choice((1, 1, 3)), self._rng.choice((0.1, 1.0, 4.0, 8.0, 12.0))
        tampering = Tampering("hold", matches, after_s, left=count, resets=resets)
        self._proxy.tamper(tampering)
        how = "its sender loses the connection" if resets else "its sender waits"
        self._note("hold", f"the next {_times(count)}{name} arrives {after_s:g} s late; {how}")

    async def _repeat(self) -> None:
        matches, name = self._requests()
        count, after_s = self._rng.choice((1, 3, 10)), self._rng.choice((0.0, 0.1, 1.0, 5.0))
        self._proxy.tamper(Tampering("repeat", matches, after_s, left=count))
        self._note("duplicate", f"the next {_times(count)}{name} arrives again after {after_s:g} s")

    # -- the end ------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """Nothing is wrong any more: everything runs, all disks and clocks are right, the network lets all pass."""
        for tracer in list(self._tracers):
            await self._detach(tracer)
        self._proxy.faults.tamperings.clear()
        self._proxy.heal()
        if self._cluster.zookeeper is not None:
            try:
                await ensure_running(self._cluster.zookeeper.servers.values())
            except CommandError as error:
                self.failures.append(str(error))
        for broker_id in sorted(self._cluster.broker_ids):
            self._cluster.set_clock(broker_id, 0)
            if broker_id in self._cluster.disks:
                await asyncio.to_thread(self._cluster.disks[broker_id].free)
            try:
                await self._cluster.ensure_running(broker_id)
            except CommandError as error:
                self.failures.append(str(error))


def _times(count: int) -> str:
    return "" if count == 1 else f"{count} times "


async def _attached(tracer: asyncio.subprocess.Process, pid: int) -> None:
    """Wait until the process is traced, or its tracer has ended."""
    deadline = time.monotonic() + _ATTACH_S
    while tracer.returncode is None and time.monotonic() < deadline:
        try:
            status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text, errors="replace")
        except OSError:
            return
        if f"TracerPid:\t{tracer.pid}" in status:
            return
        await asyncio.sleep(0.02)
