"""Faults with stopwatch and ledger: the probe runs, the fault begins, facts fill the timeline, records are counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.supervisor.broker_process import ChildProcess, python_command
from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.snapshot import PROBE_TOPIC, Stage
from engine.world import World

if TYPE_CHECKING:
    from engine.supervisor.cluster_admin import ClusterAdmin, Lead

# How long a failover may take before its stopwatch gives up; Kafka's own session is 9 s.
_GIVE_UP_S = 45.0
_PROBE_START_S = 15.0
# The probe goes on after the first fetch, so that late duplicates and losses are seen.
_SETTLE_S = 1.0
_READ_BACK_S = 60.0
# A fault that nobody heals is measured for so long.
_MOST_S = 600.0


class Begun(NamedTuple):
    """A fault that lasts was begun: when, when it is over, and how long until the cluster is whole after that."""

    at_ns: int
    over: asyncio.Future[int]
    whole: Callable[[float], Awaitable[str]]


class Probe:
    """The probe's process, started on first use."""

    def __init__(self, bus: FactBus, log_file: str, bootstrap: str) -> None:
        self._bus = bus
        self._log_file = log_file
        self._bootstrap = bootstrap
        self._child: ChildProcess | None = None
        self._waiters: dict[tuple[str, int], asyncio.Future[Fact]] = {}

    @property
    def pid(self) -> int | None:
        """Of the running probe."""
        return self._child.pid if self._child is not None and not self._child.exited.done() else None

    async def ensure_running(self) -> None:
        """Start the process if there is none. Raises: CommandError."""
        if self.pid is not None:
            return
        try:
            self._child = await ChildProcess.spawn(
                python_command("engine.supervisor.probe", "--bootstrap-servers", self._bootstrap),
                log_file=self._log_file,
                on_fact=self._on_fact,
            )
        except OSError as error:
            raise CommandError(f"the probe cannot be run: {error}") from error
        self._child.exited.add_done_callback(lambda _: self._fail_waiters())

    def send(self, **message: Any) -> None:
        """Send a command."""
        if self._child is not None:
            self._child.send(message)

    async def wait_for(self, fact_type: str, act_id: int) -> Fact:
        """The next fact of that type for the act; it may never come.

        Raises:
            CommandError: the probe ended.
        """
        future: asyncio.Future[Fact] = asyncio.get_running_loop().create_future()
        self._waiters[fact_type, act_id] = future
        try:
            return await future
        finally:
            self._waiters.pop((fact_type, act_id), None)

    def _on_fact(self, fact: dict[str, Any]) -> None:
        fact["source"] = "probe"
        self._bus.publish(fact)
        waiter = self._waiters.get((fact["type"], int(fact.get("act_id", -1))))
        if waiter is not None and not waiter.done():
            waiter.set_result(fact)

    def _fail_waiters(self) -> None:
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(CommandError(f"the probe ended; see {self._log_file}"))

    async def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end_of_input()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.shield(self._child.exited)
                return
            import signal

            self._child.signal(signal.SIGKILL)


class Acts:
    """Runs measured kills and faults, one at a time; others of the same moment go without clients' measures."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        admin: ClusterAdmin,
        probe: Probe,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings`` of the cluster stand beside what is found out for each act."""
        self._settings = dict(settings or {})
        self._world = world
        self._bus = bus
        self._admin = admin
        self._probe = probe
        self._probe_in_use = asyncio.Lock()
        self._last_id = 0
        # What the probe's topic has of its own; a supervisor that takes over does not know, and sets what is asked for.
        self._min_isr = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: list[Any] = []
        bus.listen(self._on_fact)

    def _on_fact(self, fact: Fact) -> None:
        for run in list(self._watching):
            run.on_fact(fact)

    async def warm_up(self) -> None:
        """Somebody may kill a broker soon: have the probe ready."""
        with contextlib.suppress(CommandError):
            await self._probe.ensure_running()

    async def kill(
        self,
        victim: BrokerSupervision,
        others: list[BrokerSupervision],
        *,
        acks: str,
        rate: float,
        patience_s: float | None = None,
    ) -> int:
        """Kill the broker with a stopwatch; returns the act's id as soon as it is dead.

        The probe has ``patience_s`` to get a first record through; without it the kill goes unmeasured by clients.

        Raises:
            CommandError: the broker does not run.
        """

        async def kill(_: int) -> int:
            return await victim.kill()

        return await self.measure("kill", victim, others, kill, acks=acks, rate=rate, patience_s=patience_s)

    async def measure(
        self,
        kind: str,
        victim: BrokerSupervision,
        others: list[BrokerSupervision],
        begin: Callable[[int], Awaitable[int | Begun]],
        *,
        acks: str,
        rate: float,
        patience_s: float | None = None,
        what: str = "",
        min_isr: int = 0,
    ) -> int:
        """Do it with a stopwatch; returns the act's id as soon as it has begun.

        ``begin`` is told the act's id, and answers when it began, in monotonic nanoseconds; what lasts answers more.
        ``min_isr`` is min.insync.replicas of the probe's topic; 0 leaves it to the brokers.

        Raises:
            CommandError: ``begin`` does.
        """
        self._last_id += 1
        run = _Run(self._world, self._bus, self._last_id, victim, kind, what, self._settings)
        running = sorted(broker.broker_id for broker in others if broker.is_ready)
        probed = False
        if not self._probe_in_use.locked():
            await self._probe_in_use.acquire()
            try:
                async with asyncio.timeout(_PROBE_START_S if patience_s is None else patience_s):
                    await self._start_probe(run.act_id, victim.broker_id, running, acks, rate, min_isr)
                    run.settings["min.insync.replicas"] = await self._admin.topic_config(
                        [victim.broker_id, *running], PROBE_TOPIC, "min.insync.replicas"
                    )
                probed = True
            except (CommandError, TimeoutError) as error:
                run.error = f"no client measures: {error or 'the probe did not get a record acknowledged in time'}"
                self._probe.send(command="abort", act_id=run.act_id)
                self._probe_in_use.release()
        else:
            run.error = "no client measures: the probe was busy with another act"
        try:
            led, controller = await self._state([victim.broker_id, *running])
            begun = await run.begin(led, controller, running, probed, acks, begin=begin, watch=self._watching.append)
        except CommandError:
            if run in self._watching:
                self._watching.remove(run)
            if probed:
                self._probe.send(command="abort", act_id=run.act_id)
                self._probe_in_use.release()
            raise
        if probed:
            self._probe.send(
                command="mark", act_id=run.act_id, mono_ns=begun if isinstance(begun, int) else begun.at_ns
            )
        task = asyncio.ensure_future(self._finish(run, probed, None if isinstance(begun, int) else begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run.act_id

    async def _start_probe(
        self, act_id: int, victim: int, others: list[int], acks: str, rate: float, min_isr: int
    ) -> None:
        if await self._admin.controller([victim, *others]) < 0:
            # Nothing can fail over: whoever kills the last brokers should not have to wait for a probe.
            raise CommandError("no controller is active")
        partition = await self._probe_partition(victim, others)
        await self._set_min_isr(sorted([victim, *others]), min_isr)
        await self._probe.ensure_running()
        self._probe.send(command="begin", act_id=act_id, partition=partition, acks=acks, rate=rate)
        await self._probe.wait_for("probe_running", act_id)

    async def _set_min_isr(self, broker_ids: list[int], min_isr: int) -> None:
        from engine.supervisor.cluster_admin import ClusterAdminError

        if min_isr == self._min_isr:
            return
        try:
            value = str(min_isr) if min_isr else None
            await self._admin.set_topic_config(broker_ids, PROBE_TOPIC, "min.insync.replicas", value)
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error
        self._min_isr = min_isr

    async def _state(self, broker_ids: list[int]) -> tuple[list[Lead], int]:
        from engine.supervisor.cluster_admin import ClusterAdminError

        try:
            return await self._admin.leaders(broker_ids), await self._admin.controller(broker_ids)
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error

    async def _probe_partition(self, victim: int, others: list[int]) -> int:
        """A partition of the probe's topic that the victim leads."""
        from engine.supervisor.cluster_admin import ClusterAdminError

        ids = sorted([victim, *others])
        try:
            leads = await self._admin.leaders(ids)
            if not any(lead.topic == PROBE_TOPIC for lead in leads):
                await self._admin.create_probe_topic(ids)
            async with asyncio.timeout(5):
                asked: set[int] = set()
                while True:
                    leads = [lead for lead in await self._admin.leaders(ids) if lead.topic == PROBE_TOPIC]
                    for lead in leads:
                        if lead.leader == victim:
                            return lead.partition
                    # Leaders moved away from it in an earlier act: its partition is the one where it stands first.
                    for lead in leads:
                        if lead.partition not in asked:
                            asked.add(lead.partition)
                            await self._admin.elect_preferred(ids, PROBE_TOPIC, lead.partition)
                    await asyncio.sleep(0.02)
        except ClusterAdminError as error:
            raise CommandError(str(error)) from error
        except TimeoutError:
            raise CommandError(f"broker {victim} leads no partition of {PROBE_TOPIC}") from None

    async def _wait_over(self, run: _Run, begun: Begun) -> None:
        """Wait until a fault that lasts is healed, and everything in sync again."""
        try:
            async with asyncio.timeout(_MOST_S):
                run.reach(Stage.HEALED, await asyncio.shield(begun.over))
        except TimeoutError:
            run.error = run.error or f"not healed within {_MOST_S:g} s: measured until then"
            return
        missing = await begun.whole(_GIVE_UP_S)
        if missing:
            run.error = run.error or f"not in sync within {_GIVE_UP_S:g} s: {missing}"
        else:
            run.reach(Stage.IN_SYNC, self._world.clock.monotonic_ns())

    async def _finish(self, run: _Run, probed: bool, begun: Begun | None) -> None:
        try:
            try:
                if begun is not None:
                    await self._wait_over(run, begun)
                else:
                    async with asyncio.timeout(_GIVE_UP_S):
                        await run.complete.wait()
                if probed:
                    await asyncio.sleep(_SETTLE_S)
            except TimeoutError:
                run.error = run.error or f"not all stages were reached within {_GIVE_UP_S:.0f} s"
            if probed:
                self._probe.send(command="finish", act_id=run.act_id)
                try:
                    async with asyncio.timeout(_READ_BACK_S):
                        run.take_ledger(await self._probe.wait_for("probe_ledger", run.act_id))
                except (CommandError, TimeoutError) as error:
                    run.error = f"no ledger: {error or 'the records could not be read back in time'}"
        finally:
            if probed:
                self._probe_in_use.release()
            self._watching.remove(run)
            run.finish()

    async def close(self) -> None:
        """Give up what is under way, and end the probe."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._probe.close()


class _Run:
    """One measured act."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        act_id: int,
        victim: BrokerSupervision,
        kind: str,
        what: str,
        settings: Mapping[str, str],
    ) -> None:
        self._world = world
        self._bus = bus
        self._victim = victim
        self._kind = kind
        self._what = what
        self.settings = dict(settings)
        self.act_id = act_id
        self.complete = asyncio.Event()
        self.error = ""
        self._at_ms = 0
        self._led = 0
        self._was_controller = False
        self._ledger: dict[str, Any] | None = None
        self._finished = False
        self._stopwatch: Any = None

    async def begin(
        self,
        led: list[Lead],
        controller: int,
        survivors: list[int],
        probed: bool,
        acks: str,
        *,
        begin: Callable[[int], Awaitable[int | Begun]],
        watch: Any,
    ) -> int | Begun:
        from engine.supervisor.stopwatch import Stopwatch

        victim = self._victim.broker_id
        places = [(lead.topic, lead.partition) for lead in led if lead.leader == victim]
        self._led = len(places)
        self._was_controller = controller == victim
        self._at_ms = self._world.clock.now_ms()
        if probed:
            self.settings["acks"] = acks
            self._ledger = {
                "acks": acks,
                "sent": 0,
                "acknowledged": 0,
                "lost": None,
                "duplicated": None,
                "reordered": None,
                "complete": False,
                "lost_offsets": [],
                "slowest_ms": None,
            }
        # Facts that come before the act returns are kept back by time, not by order.
        early: list[Fact] = []
        self._early = early
        watch(self)
        begun = await begin(self.act_id)
        at_ns = begun if isinstance(begun, int) else begun.at_ns
        self._stopwatch = Stopwatch(self.act_id, victim, at_ns, places, survivors, probed=probed)
        for fact in early:
            self._stopwatch.on_fact(fact)
        self._publish()
        return begun

    def reach(self, stage: Stage, at_ns: int) -> None:
        """A stage that no fact tells of."""
        self._stopwatch.reach(stage, at_ns)
        self._publish()

    def on_fact(self, fact: Fact) -> None:
        if fact["type"] not in ("note", "metadata_applied", "probe_first_produce", "probe_first_fetch"):
            return
        if self._stopwatch is None:
            self._early.append(fact)
        elif self._stopwatch.on_fact(fact):
            self._publish()
        if self._stopwatch is not None and self._stopwatch.complete:
            self.complete.set()

    def take_ledger(self, fact: Fact) -> None:
        assert self._ledger is not None, "a ledger without a probe"
        for name in self._ledger:
            if name in fact:
                self._ledger[name] = fact[name]
        if not fact["complete"]:
            # Half a reading proves nothing about what was not read.
            self._ledger.update(lost=None, lost_offsets=[])
            self.error = self.error or "the records could not all be read back"

    def finish(self) -> None:
        self._finished = True
        self._publish()

    def _publish(self) -> None:
        self._bus.publish(
            {
                "type": "act",
                "act_id": self.act_id,
                "kind": self._kind,
                "what": self._what,
                "settings": self.settings,
                "broker_id": self._victim.broker_id,
                "at_ms": self._at_ms,
                "partitions_led": self._led,
                "was_controller": self._was_controller,
                "stages": [list(stage) for stage in self._stopwatch.stages()],
                "ledger": self._ledger,
                "finished": self._finished,
                "error": self.error,
            }
        )
