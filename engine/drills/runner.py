"""A drill carried out: cluster, load, acts at their times, the wait for everything in sync, the account."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from engine.drills.cluster import DrillCluster, EmbeddedCluster, ProxiedCluster
from engine.drills.drill import ALL, CLIENTS, DISK_ACTS, OTHERS, ZOOKEEPER_ACTS, Act, Drill
from engine.drills.load import DrillLoad
from engine.drills.losses import Election, Lost, attribute
from engine.drills.measurements import acknowledged_per_bucket, percentile_ms, silences
from engine.drills.report import BUCKET_NS, DoneAct, Findings, Moment, StateSpan
from engine.model.broker_faults import CLIENTS as CLIENTS_NODE
from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.data_dir import DataDirError
from engine.supervisor.facts import Fact
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.ledger import Account
from engine.supervisor.supervisor import PortsTaken, StartFailed
from engine.supervisor.zookeeper_installation import ZooKeeperMissing
from engine.world import World

Say = Callable[[str], None]

_WARM_UP_S = 30.0
# Without an assertion about it, so long is waited until everything is in sync, or at least acknowledges again.
_IN_SYNC_S = 30.0
# The load goes on after that, so that late duplicates and losses are seen.
_SETTLE_S = 1.0
_POLL_S = 0.02
_ROLL_S = 60.0
_SERVES_S = 60.0
_KINDS = frozenset(
    (
        "process_started",
        "process_killed",
        "process_exited",
        "process_paused",
        "process_resumed",
        "process_stopped",
        "fault_begun",
        "fault_healed",
        "log_dir_failed",
        "controller_activated",
        "broker_fenced",
        "broker_unfenced",
        "leader_changed",
        "isr_shrunk",
        "isr_expanded",
        "log_truncated",
        *(f"zookeeper_{what}" for what in ("started", "killed", "exited", "paused", "resumed", "stopped")),
        "zookeeper_leader_elected",
    )
)


class DrillFailed(Exception):
    """The drill could not even begin; the message says why."""


async def run_drill(world: World, directory: str, drill: Drill, say: Say) -> Findings:
    """Carry it out in ``directory``, which is empty; ``say`` takes a line for each step.

    Raises:
        DrillFailed: the cluster did not come up, or did not take the load.
    """
    run = _Run(world, directory, drill, say)
    try:
        return await run.run()
    finally:
        await run.close()


class _Run:
    def __init__(self, world: World, directory: str, drill: Drill, say: Say) -> None:
        self._clock = world.clock
        self._drill = drill
        self._say = say
        kind = ProxiedCluster if drill.needs_proxy else EmbeddedCluster
        try:
            self._cluster: DrillCluster = kind(world, os.path.join(directory, "cluster"), drill)
        except ZooKeeperMissing as error:
            raise DrillFailed(f"the cluster did not start: {error}") from error
        self._cluster.bus.listen(self._on_fact)
        self._moments: list[Moment] = []
        self._elections: list[Election] = []
        self._states: list[StateSpan] = []
        self._began_ns = 0
        self._acts: list[DoneAct] = []
        self._load: DrillLoad | None = None
        self._lost = Lost()

    async def close(self) -> None:
        if self._load is not None:
            for producer in self._load.producers:
                producer.stop()
        await self._cluster.close()

    def _on_fact(self, fact: Fact) -> None:
        if fact["type"] == "process":
            state = StateSpan(int(fact["broker"]), int(fact["mono_ns"]), str(fact["state"]))
            # Each sample of its processor time is such a fact too.
            last = next((each for each in reversed(self._states) if each.broker_id == state.broker_id), None)
            if last is None or last.state != state.state:
                self._states.append(state)
        elif fact["type"] == "note" and fact["kind"] in _KINDS:
            subject, topic = str(fact["subject"]), self._drill.load.topic.name
            about_partition = fact["kind"] in ("leader_changed", "isr_shrunk", "isr_expanded", "log_truncated")
            if not about_partition or subject.rpartition("-")[0] == topic:
                self._moments.append(Moment(int(fact["mono_ns"]), str(fact["kind"]), subject, str(fact["reason"])))
            if fact["kind"] == "leader_changed" and about_partition and subject.rpartition("-")[0] == topic:
                detail = fact["detail"]
                self._elections.append(
                    Election(
                        int(detail["partition"]),
                        int(fact["mono_ns"]),
                        int(detail["leader_epoch"]),
                        int(detail["to"]),
                        bool(detail["unclean"]),
                    )
                )

    # -- the phases ---------------------------------------------------------------------------------------------

    async def run(self) -> Findings:
        drill, cluster = self._drill, self._cluster
        self._say(f"starting {len(drill.cluster.brokers)} brokers")
        try:
            await cluster.start()
        except PortsTaken as error:
            raise DrillFailed("; ".join(each.message for each in error.errors)) from error
        except (StartFailed, DataDirError, CommandError, OSError) as error:
            raise DrillFailed(f"the cluster did not start: {error}") from error
        missing = await cluster.wait_whole(_WARM_UP_S)
        if missing:
            raise DrillFailed(f"the cluster is not whole before any fault: {missing}")
        self._load = load = DrillLoad(self._clock, cluster.bootstrap, drill.load)
        load.start()
        started_ns = self._clock.monotonic_ns()
        if not await self._acknowledges(started_ns, _WARM_UP_S):
            raise DrillFailed(f"not every partition acknowledged a record within {_WARM_UP_S:g} s {load.problems()}")
        self._began_ns = self._clock.monotonic_ns()
        stopped = ""
        for act in drill.acts:
            try:
                await self._act(act)
            except CommandError as error:
                stopped = f"{act.text} in line {act.line}: {error}"
                self._say(stopped)
                break
        back_ns, not_in_sync = (None, "the drill was not carried out") if stopped else await self._wait_in_sync()
        await asyncio.sleep(_SETTLE_S)
        nobody = "" if self._cluster.alive() else "no broker runs"
        self._say(nobody or "reading all records back")
        await asyncio.to_thread(load.finish, is_hopeless=bool(nobody))
        account, gap = await asyncio.to_thread(load.read_back, nobody)
        self._lost = attribute(load.losses, self._elections, load.epoch_starts)
        return self._findings(load, account, gap, back_ns, not_in_sync, stopped or load.problems())

    async def _acknowledges(self, since_ns: int, timeout_s: float) -> bool:
        """Wait until every partition acknowledged a record after that."""
        assert self._load is not None, "the load runs"
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while silent := self._load.silent_since(since_ns):
            if self._clock.monotonic_ns() > deadline_ns:
                break
            await asyncio.sleep(_POLL_S)
        return not silent

    async def _wait_in_sync(self) -> tuple[int | None, str]:
        if not self._cluster.alive():
            return None, "no broker runs"
        bounds = [each.value for each in self._drill.assertions if each.name == "back in sync within"]
        timeout_s = max(bounds, default=0.0) / 1000 + _IN_SYNC_S
        done_ns = max((act.done_ns for act in self._acts), default=self._clock.monotonic_ns())
        if not bounds and set(self._cluster.alive()) != self._cluster.brokers.keys():
            # It ends with brokers that are down: what can be had then is that those that are left acknowledge.
            await self._acknowledges(done_ns, timeout_s)
            return None, await self._cluster.missing()
        self._say("waiting until every replica is in sync")
        missing = await self._cluster.wait_whole(timeout_s)
        in_sync_ns = self._clock.monotonic_ns()
        if missing:
            return None, f"not within {timeout_s:g} s: {missing}"
        await self._acknowledges(done_ns, _IN_SYNC_S)
        return in_sync_ns, ""

    def _findings(
        self,
        load: DrillLoad,
        account: Account,
        gap: str,
        back_ns: int | None,
        not_in_sync: str,
        stopped: str,
    ) -> Findings:
        records = load.records()
        # The first records wait for connections and producer ids: that is no outage.
        measured = [each for each in records if not 0 < each.resolved_ns < self._began_ns]
        end_ns = load.ended_ns
        measured = [each._replace(sent_ns=max(each.sent_ns, self._began_ns)) for each in measured]
        return Findings(
            self._began_ns,
            end_ns,
            tuple(self._acts),
            tuple(silences(measured, end_ns)),
            account,
            gap,
            load.failed(),
            {
                "p50": percentile_ms(measured, 50),
                "p99": percentile_ms(measured, 99),
                "max": percentile_ms(measured, 100),
            },
            back_ns,
            not_in_sync,
            tuple(acknowledged_per_bucket(records, self._began_ns, end_ns, BUCKET_NS)),
            tuple(sorted(each for each in self._moments if self._began_ns <= each.at_ns <= end_ns)),
            tuple(each for each in self._states if each.at_ns <= end_ns),
            stopped,
            self._lost,
        )

    # -- the acts -----------------------------------------------------------------------------------------------

    async def _act(self, act: Act) -> None:
        """Wait for its time, and do it. Raises: CommandError."""
        due_ns = self._began_ns + int(act.at_s * 1e9)
        await asyncio.sleep(max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9))
        brokers = [] if act.kind in ZOOKEEPER_ACTS else await self._cluster.whom(act)
        began_ns = self._clock.monotonic_ns()
        self._say(f"{(began_ns - self._began_ns) / 1e9:.1f} s: {act.text}")
        done_ns = await self._do(act, brokers)
        self._acts.append(DoneAct(act.text, act.kind, tuple(brokers), act.at_s, began_ns, done_ns))

    async def _do(self, act: Act, ids: list[int]) -> int:
        brokers = [self._cluster.brokers[broker_id] for broker_id in ids]
        if act.kind in ZOOKEEPER_ACTS:
            await self._cluster.act_on_zookeeper(act)
            return self._clock.monotonic_ns()
        if act.kind == "rolling restart":
            return await self._roll(ids)
        if act.kind == "kill":
            await asyncio.gather(*(broker.kill() for broker in brokers))
        elif act.kind == "stop":
            # One after the other, so that leaders always have somebody to go to, as long as there is.
            for broker in brokers:
                await broker.stop()
        elif act.kind == "start":
            await asyncio.gather(*(broker.start("the drill starts it") for broker in brokers))
            done_ns = self._clock.monotonic_ns()
            # Without a quorum it cannot serve before others are started too.
            if self._cluster.can_serve():
                await self._wait_until_serves(brokers)
            return done_ns
        elif act.kind in ("pause", "resume"):
            for broker in brokers:
                broker.pause() if act.kind == "pause" else broker.resume()
        elif act.kind in ("crash loop", *DISK_ACTS):
            return await self._fault(act, ids)
        elif act.kind == "heal":
            return await self._heal(act, ids)
        else:
            self._network(act, ids)
        return self._clock.monotonic_ns()

    async def _fault(self, act: Act, ids: list[int]) -> int:
        """Something of a broker that lasts; a crash loop is waited for."""
        begun = [
            await self._cluster.faults.begin(FaultWish(act.kind, broker_id, by_ms=act.delay_s * 1000, times=act.times))
            for broker_id in ids
        ]
        if act.kind == "crash loop":
            return max(await asyncio.gather(*(fault.over for fault in begun)))
        return self._clock.monotonic_ns()

    async def _heal(self, act: Act, ids: list[int]) -> int:
        """What went down of it is started, and waited for."""
        if act.targets == (ALL,):
            self._cluster.heal_network()
        faults = self._cluster.faults
        for fault in list(faults.active.values()):
            if fault.wish.broker_id in ids:
                await faults.heal(fault.fault_id)
        done_ns = self._clock.monotonic_ns()
        started = [self._cluster.brokers[each] for each in ids]
        await self._wait_until_serves([each for each in started if each.is_alive and not each.is_ready])
        return done_ns

    async def _wait_until_serves(self, brokers: list[BrokerSupervision]) -> None:
        try:
            async with asyncio.timeout(_SERVES_S):
                await asyncio.gather(*(broker.wait_ready() for broker in brokers))
        except TimeoutError:
            late = ", ".join(str(broker.broker_id) for broker in brokers if not broker.is_ready)
            raise CommandError(f"broker {late} does not serve within {_SERVES_S:g} s") from None

    async def _roll(self, ids: list[int]) -> int:
        """Stop and start one after the other, each when all are in sync, the controller last."""
        cluster = self._cluster
        controller = await cluster.controller()
        done_ns = self._clock.monotonic_ns()
        for broker_id in sorted(ids, key=lambda each: (each == controller, each)):
            missing = await cluster.wait_whole(_ROLL_S)
            if missing:
                raise CommandError(f"broker {broker_id} cannot be restarted yet: {missing}")
            broker = cluster.brokers[broker_id]
            await broker.stop()
            await broker.start("rolling restart")
            done_ns = self._clock.monotonic_ns()
            await self._wait_until_serves([broker])
        return done_ns

    def _network(self, act: Act, ids: list[int]) -> None:
        one, other = ids[0], act.targets[1]
        if other == OTHERS:
            others = [each for each in self._cluster.brokers if each != one]
        elif other == CLIENTS:
            others = [CLIENTS_NODE]
        else:
            others = [each for each in ids[1:] if each != one]
        if not others:
            raise CommandError(f"both ends are broker {one}")
        self._cluster.network(act, one, others)
