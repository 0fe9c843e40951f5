"""Faults that last: begun, healed by hand or after their time, and listed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.model.broker_faults import CLIENTS as CLIENTS_NODE
from engine.model.broker_faults import BrokerFaults
from engine.model.notes import NoteKind
from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.facts import FactBus
from engine.supervisor.fault_kinds import CLIENTS, KINDS, OF_ALL, OTHERS, FaultWish
from engine.supervisor.snapshot import ActiveFault, ProcessState
from engine.world import World

if TYPE_CHECKING:
    from engine.supervisor.cluster_admin import ClusterAdmin

# A broker that was healed is waited for so long.
_SERVES_S = 60.0
# Between looks at a cluster that is not whole yet.
_LOOK_S = 0.25


class Fault:
    """One that is active."""

    def __init__(self, fault_id: int, wish: FaultWish, at_ms: int) -> None:
        self.fault_id = fault_id
        self.wish = wish
        self.at_ms = at_ms
        self.progress = ""
        self.act_id: int | None = None
        self.began_ns = 0
        # Done when it is healed, with the monotonic nanoseconds of that.
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()

    def as_active(self) -> ActiveFault:
        """For consoles."""
        wish = self.wish
        heals_at_ms = self.at_ms + int(wish.for_ms) if wish.for_ms else None
        return ActiveFault(
            self.fault_id, wish.kind, wish.broker_id, wish.words, self.at_ms, heals_at_ms, self.progress, self.act_id
        )


class Faults:
    """All of a supervisor's. It tells brokers the whole of what is wrong with them at each change, so that faults of
    one broker neither hide nor end each other."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        brokers: dict[int, BrokerSupervision],
        admin: Callable[[], ClusterAdmin | None],
    ) -> None:
        self._world = world
        self._bus = bus
        self._brokers = brokers
        self._admin = admin
        self._last_id = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.active: dict[int, Fault] = {}

    # -- begin and heal -------------------------------------------------------------------------------------------

    def _refuse_nonsense(self, wish: FaultWish) -> None:
        broker = self._brokers[wish.broker_id]
        same = (wish.kind, wish.broker_id, wish.other)
        for each in self.active.values():
            if (each.wish.kind, each.wish.broker_id, each.wish.other) == same:
                raise CommandError(f"{each.wish.words} is on already: heal it first")
        if wish.kind in ("kill", "pause", "crash loop") and broker.state is not ProcessState.RUNNING:
            raise CommandError(f"broker {wish.broker_id} is {broker.state}: {wish.kind} needs a running one")
        if wish.kind == "rolling restart" and self._admin() is None:
            raise CommandError("the cluster is not up yet")

    async def begin(self, wish: FaultWish) -> Fault:
        """Do it, and heal it after its time.

        Raises:
            CommandError: it cannot be done now.
        """
        self._refuse_nonsense(wish)
        self._last_id += 1
        fault = Fault(self._last_id, wish, self._world.clock.now_ms())
        self.active[fault.fault_id] = fault
        fault.began_ns = self._world.clock.monotonic_ns()
        try:
            await self._do(fault)
        except CommandError:
            del self.active[fault.fault_id]
            raise
        self._note(NoteKind.FAULT_BEGUN, fault, f"{wish.words}, asked for")
        self.publish()
        if wish.for_ms:
            self._run(fault, self._heal_later(fault))
        return fault

    async def heal(self, fault_id: int | None) -> list[str]:
        """End one fault, or all; what they were.

        Raises:
            CommandError: there is no such fault.
        """
        if fault_id is None:
            wanted = list(self.active.values())
        elif fault_id in self.active:
            wanted = [self.active[fault_id]]
        else:
            raise CommandError(f"there is no active fault {fault_id}")
        for fault in wanted:
            await self._end(fault, "asked for")
        return [fault.wish.words for fault in wanted]

    async def _heal_later(self, fault: Fault) -> None:
        await asyncio.sleep(fault.wish.for_ms / 1000)
        await self._end(fault, f"after {fault.wish.for_ms / 1000:g} s")

    async def _end(self, fault: Fault, why: str) -> None:
        if self.active.pop(fault.fault_id, None) is None:
            return
        current = asyncio.current_task()
        for task in fault.tasks:
            if task is not current:
                task.cancel()
        await self._undo(fault)
        if not fault.over.done():
            fault.over.set_result(self._world.clock.monotonic_ns())
        self._note(NoteKind.FAULT_HEALED, fault, f"{fault.wish.words}: healed, {why}")
        self.publish()

    def _note(self, kind: NoteKind, fault: Fault, reason: str) -> None:
        wish = fault.wish
        detail: dict[str, Any] = {"fault": wish.kind, "fault_id": fault.fault_id}
        subject = "cluster"
        if wish.kind not in OF_ALL:
            subject, detail["broker_id"] = f"broker {wish.broker_id}", wish.broker_id
        self._bus.note(kind, subject, reason, **detail)

    def publish(self) -> None:
        """Tell consoles what is active."""
        self._bus.publish({"type": "faults", "faults": [asdict(each.as_active()) for each in self.active.values()]})

    def _run(self, fault: Fault, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        fault.tasks.add(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """The supervisor leaves: its brokers do, too."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what each kind does --------------------------------------------------------------------------------------

    async def _do(self, fault: Fault) -> None:
        wish, broker = fault.wish, self._brokers[fault.wish.broker_id]
        if wish.kind == "kill":
            fault.began_ns = await broker.kill()
        elif wish.kind == "pause":
            broker.pause()
        elif wish.kind == "crash loop":
            self._run(fault, self._crash_loop(fault, broker))
        elif wish.kind == "rolling restart":
            self._run(fault, self._roll(fault))
        else:
            self.tell_brokers()

    async def _undo(self, fault: Fault) -> None:
        wish, broker = fault.wish, self._brokers.get(fault.wish.broker_id)
        if broker is None:
            return
        with contextlib.suppress(CommandError):
            if wish.kind == "kill":
                if broker.state is ProcessState.KILLED:
                    await broker.start("its fault is healed")
            elif wish.kind == "pause":
                broker.resume()
            elif wish.kind in ("cut", "delay") or KINDS[wish.kind].is_of_disk:
                self.tell_brokers()
        if KINDS[wish.kind].is_of_disk and broker.state is ProcessState.CRASHED:
            # It ended because of the fault: an operator would start it now.
            with contextlib.suppress(CommandError):
                await broker.start("its fault is healed")

    def tell_brokers(self) -> None:
        """Tell each broker all that is wrong with it; one that does not run hears it when it starts."""
        for broker_id, broker in self._brokers.items():
            broker.set_faults(self.faults_of(broker_id))

    def faults_of(self, broker_id: int) -> BrokerFaults:
        """All that is wrong with one broker now."""
        delay_ms, fails, full = 0.0, False, False
        cut: set[int] = set()
        delays: dict[int, float] = {}
        for fault in self.active.values():
            wish = fault.wish
            if wish.broker_id == broker_id:
                delay_ms = max(delay_ms, wish.by_ms if wish.kind == "slow fsync" else 0.0)
                fails |= wish.kind == "failing fsync"
                full |= wish.kind == "disk full"
            for node in self._others_of(wish, broker_id):
                if wish.kind == "cut":
                    cut.add(node)
                else:
                    delays[node] = max(delays.get(node, 0.0), wish.by_ms)
        addresses = {}
        if cut or delays:
            for each in self._brokers.values():
                for port in (each.address.port, each.address.controller_port):
                    addresses[f"{each.address.host}:{port}"] = each.broker_id
        return BrokerFaults(delay_ms, fails, full, frozenset(cut), delays, addresses)

    def _others_of(self, wish: FaultWish, broker_id: int) -> list[int]:
        """Whom this broker does not hear well because of a fault of the network."""
        if wish.kind not in ("cut", "delay"):
            return []
        if wish.other == CLIENTS:
            return [CLIENTS_NODE] if broker_id == wish.broker_id else []
        others = [each for each in self._brokers if each != wish.broker_id]
        if wish.other != OTHERS:
            others = [int(wish.other)]
        if broker_id == wish.broker_id:
            return others
        return [wish.broker_id] if broker_id in others else []

    def _tell(self, fault: Fault, progress: str) -> None:
        if fault.progress != progress:
            fault.progress = progress
            self.publish()

    async def _crash_loop(self, fault: Fault, broker: BrokerSupervision) -> None:
        for number in range(1, fault.wish.times + 1):
            if number > 1:
                try:
                    async with asyncio.timeout(_SERVES_S):
                        while not broker.is_ready:
                            if broker.is_left_down:
                                raise CommandError("left down")
                            await asyncio.sleep(0.02)
                except (CommandError, TimeoutError):
                    # The restart policy gave up, or somebody else has it.
                    self._tell(fault, f"{number - 1} of {fault.wish.times}: {broker.why}")
                    break
            with contextlib.suppress(CommandError):
                broker.crash()
            await broker.wait_ended()
            self._tell(fault, f"{number} of {fault.wish.times}: {broker.why}")
        await self._end(fault, fault.progress)

    async def _roll(self, fault: Fault) -> None:
        """Stop and start one after the other. Cancelled between two of them, or while one is waited for."""
        from engine.supervisor.wholeness import what_is_missing

        admin = self._admin()
        assert admin is not None, "the cluster is up"
        ready = [broker_id for broker_id, broker in sorted(self._brokers.items()) if broker.is_ready]
        controller = await admin.controller(ready)
        order = sorted(self._brokers, key=lambda each: (each == controller, each))
        why = "every broker was restarted"
        for number, broker_id in enumerate(order, 1):
            where = f"{number} of {len(order)}: broker {broker_id}"
            broker = self._brokers.get(broker_id)
            if broker is None:
                continue
            while missing := await what_is_missing(admin, self._brokers):
                self._tell(fault, f"{where} waits, {missing}")
                await asyncio.sleep(_LOOK_S)
            self._tell(fault, f"{where} stops")
            try:
                # Who gives up now leaves no broker half restarted.
                await asyncio.shield(self._restart_one(fault, broker, where))
            except CommandError as error:
                why = f"given up: {error}"
                break
        else:
            while missing := await what_is_missing(admin, self._brokers):
                self._tell(fault, f"all restarted; {missing}")
                await asyncio.sleep(_LOOK_S)
        await self._end(fault, why)

    async def _restart_one(self, fault: Fault, broker: BrokerSupervision, where: str) -> None:
        await broker.stop()
        await broker.start("rolling restart")
        self._tell(fault, f"{where} starts")
        try:
            async with asyncio.timeout(_SERVES_S):
                await broker.wait_ready()
        except TimeoutError:
            raise CommandError(f"broker {broker.broker_id} does not serve within {_SERVES_S:g} s") from None
