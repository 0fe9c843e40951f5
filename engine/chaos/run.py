"""One run from the first process to the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TextIO

from engine.chaos.campaign import Campaign
from engine.chaos.clients import Shared
from engine.chaos.cluster import ChaosCluster, cluster_spec
from engine.chaos.controls import Control, LoseByAcks1, LoseByUncleanElection
from engine.chaos.coordination_kills import NO_KILLS, CoordinationKills, Kills
from engine.chaos.counted_faults import CountedFaults
from engine.chaos.machine import Machine
from engine.chaos.nemesis import Nemesis
from engine.chaos.power import sweep, why_no_power_cuts
from engine.chaos.workload import LYING, SAFE, UNCLEAN, WEAK, Workload
from engine.chaos.zookeeper_tree import wait_tree_agrees
from engine.sim.history import Event, History, HistoryError, from_lines, to_line
from engine.sim.history_checker import Verdict, check
from engine.sim.history_findings import Kind, Promises
from engine.sim.history_recorder import HistoryRecorder
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.zookeeper_installation import ZooKeeperMissing
from engine.world.real import real_world

BROKERS = 3
_REPORT_S = 5.0
_TOPICS_S = 20.0
_LOSSES = (Kind.LOST_WRITE, Kind.UNSEEN)
_WHY_LOST = {WEAK: "acks=1", UNCLEAN: "unclean elections", LYING: "an fsync that does nothing"}


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for. ``mode``: ``safe``, or ``weak``, ``unclean`` or ``lying`` where loss must be seen.

    With ``power_cuts``, ``kills`` or ``kills_of`` the run is that campaign, however long it takes, instead of
    ``seconds`` of faults.
    """

    seconds: float
    seed: int
    faults: frozenset[str]
    mode: str = SAFE
    durability: str = "mixed"
    records_per_s: float = 400.0
    whole_within_s: float = 60.0
    directory: str | None = None
    keep: bool = False
    power_cuts: int = 0
    kills: int = 0
    zookeeper_servers: int = 0
    kills_of: Kills = NO_KILLS

    @property
    def is_campaign(self) -> bool:
        """Whether the faults are counted."""
        return bool(self.power_cuts or self.kills or any(self.kills_of))


class Run:
    """Says what it does on ``out``."""

    def __init__(self, options: Options, out: TextIO = sys.stdout) -> None:
        self._options = options
        self._out = out
        self._began = time.monotonic()
        self._machine = Machine(options.faults)
        self._problems: list[str] = []
        """What went wrong beside the checker's findings."""
        self._history_file = ""

    def say(self, text: str) -> None:
        """A line with its time."""
        self._out.write(f"{time.monotonic() - self._began:7.1f} s  {text}\n")
        self._out.flush()

    def _write(self, *lines: str) -> None:
        for line in lines:
            self._out.write(line + "\n")
        self._out.flush()

    def run(self) -> int:
        """All of it; the exit status: 0 good, 1 anomalies, 2 it could not be done."""
        options = self._options
        directory = options.directory or tempfile.mkdtemp(prefix="kconsole-chaos-")
        os.makedirs(directory, exist_ok=True)
        self._history_file = os.path.join(directory, "history.jsonl")
        servers = options.zookeeper_servers
        coordination = f"{servers} ZooKeeper server{'s' if servers > 1 else ''}, " if servers else ""
        campaign = f"{options.power_cuts} power cuts and {options.kills} SIGKILLs"
        if any(options.kills_of):
            campaign = f"SIGKILLs: {options.kills_of}"
        self._write(
            f"chaos: {BROKERS} brokers, {coordination}{campaign if options.is_campaign else f'{options.seconds:g} s'}, "
            f"seed {options.seed}, {options.mode}, "
            f"durability {options.durability}, in {directory}",
            f"faults: {', '.join(sorted(self._machine.faults)) or 'none'}"
            + (f"; the control of {options.mode}" if options.mode != SAFE else ""),
            *self._machine.warnings(),
        )
        if options.power_cuts:
            self._write(*(f"swept away what an earlier run had left mounted at {where}" for where in sweep()))
            why_not = why_no_power_cuts()
            if why_not:
                self._write(f"could not be done: NOT POSSIBLE HERE: power cuts: {why_not}")
                return 2
        try:
            status = asyncio.run(self._run_until_told(directory))
        except (CommandError, OSError, TimeoutError, ZooKeeperMissing) as error:
            self._write(f"could not be done: {error}", f"its files are in {directory}")
            return 2
        if status == 0 and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
        return status

    async def _run_until_told(self, directory: str) -> int:
        # Whoever ends it must not leave brokers and mounts behind.
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await self._run(directory)

    async def _run(self, directory: str) -> int:
        options = self._options
        cluster = ChaosCluster(
            real_world(),
            os.path.join(directory, "cluster"),
            cluster_spec(BROKERS, options.durability, options.zookeeper_servers),
            self._machine,
            has_power_disks=options.power_cuts > 0,
            broker_module="engine.chaos.lying_broker" if options.mode == LYING else "engine.broker",
        )
        status = 2
        try:
            status = await self._break(cluster)
        finally:
            cluster.take_disks_away(keep=status != 0 or options.keep)
        return status

    async def _break(self, cluster: ChaosCluster) -> int:
        options = self._options
        rng = random.Random(options.seed)
        # Written by the clients' threads; nothing here waits for it.
        with open(self._history_file, "w", encoding="utf-8", buffering=1 << 20) as file:  # noqa: ASYNC230

            def write(event: Event) -> None:
                file.write(to_line(event))

            recorder = HistoryRecorder(time.monotonic_ns, write)
            shared = Shared(
                cluster.bootstrap, os.path.join(os.path.dirname(self._history_file), "clients.log"), recorder
            )
            workload = Workload(shared, options.mode, options.records_per_s, rng)
            nemesis = self._nemesis(cluster, workload, shared, rng)
            try:
                await cluster.start()
                await asyncio.to_thread(workload.create_topics)
                self._problem("before any fault", await cluster.wait_whole(options.whole_within_s))
                workload.start()
                await self._suffer(nemesis, cluster, shared)
                await self._become_whole(nemesis, cluster, workload)
                await self._finish(workload)
            finally:
                shared.stopping.set()
                await cluster.close()
        for each in (*nemesis.failures, *shared.suspicious):
            self._problem("during the run", each)
        if shared.failures:
            self._write(*(f"a client of ours failed: {each}" for each in shared.failures))
            return 2
        self._summarize(nemesis, cluster, shared, workload)
        return self._judge(nemesis)

    def _problem(self, when: str, what: str) -> None:
        if what:
            self._problems.append(f"{when}: {what}")
            self.say(f"PROBLEM {when}: {what}")

    def _nemesis(
        self, cluster: ChaosCluster, workload: Workload, shared: Shared, rng: random.Random
    ) -> Nemesis | Control | CountedFaults:
        options = self._options
        if any(options.kills_of):
            return CoordinationKills(
                cluster,
                workload,
                shared,
                random.Random(rng.getrandbits(64)),
                self.say,
                kills=options.kills_of,
                whole_within_s=options.whole_within_s,
            )
        if options.is_campaign:
            return Campaign(
                cluster,
                workload,
                shared,
                random.Random(rng.getrandbits(64)),
                self.say,
                cuts=options.power_cuts,
                kills=options.kills,
                whole_within_s=options.whole_within_s,
                lying=options.mode == LYING,
            )
        if self._options.mode == WEAK:
            return LoseByAcks1(cluster, self.say)
        if self._options.mode == UNCLEAN:
            return LoseByUncleanElection(cluster, self.say)
        return Nemesis(cluster, self._machine, random.Random(rng.getrandbits(64)), self.say)

    # -- phases -------------------------------------------------------------------------------------------------

    async def _suffer(self, nemesis: Nemesis | Control | CountedFaults, cluster: ChaosCluster, shared: Shared) -> None:
        making = asyncio.ensure_future(nemesis.run())
        reporting = asyncio.ensure_future(self._report(cluster, shared))
        timeout = None if self._options.is_campaign else self._options.seconds
        await asyncio.wait({making, reporting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        nemesis.stop()
        try:
            await making
        finally:
            reporting.cancel()

    async def _report(self, cluster: ChaosCluster, shared: Shared) -> None:
        """Say how it goes; ends when a client of ours has failed."""
        before = 0
        while not shared.failures:
            await asyncio.sleep(_REPORT_S)
            sent = shared.done["send ok"]
            self.say(
                f"        {(sent - before) / _REPORT_S:.0f} records/s acknowledged, {sent} in all; "
                f"{len(cluster.alive())} of {len(cluster.broker_ids)} brokers run"
            )
            before = sent

    async def _become_whole(
        self, nemesis: Nemesis | Control | CountedFaults, cluster: ChaosCluster, workload: Workload
    ) -> None:
        self.say("all faults end")
        healed_at = time.monotonic()
        await nemesis.heal()
        missing = await cluster.wait_whole(self._options.whole_within_s)
        self._problem(f"not whole {self._options.whole_within_s:g} s after the last fault", missing)
        if not missing:
            self.say(f"whole again after {time.monotonic() - healed_at:.1f} s")
        self._problem("after the last fault", await wait_tree_agrees(cluster, self._options.whole_within_s))
        if not await asyncio.to_thread(workload.wait_acknowledged, self._options.whole_within_s):
            self._problem("after the last fault", "not every partition acknowledges records")

    async def _finish(self, workload: Workload) -> None:
        for name in await asyncio.to_thread(workload.stop):
            # A request that is not answered times out: librdkafka waits for itself.
            self.say(f"this client hangs in its library: {name}")
        for partition in await asyncio.to_thread(workload.read_back):
            self._problem("at the end", f"{partition} cannot be read to its end")
        if workload.administrator is not None:
            for wrong in await asyncio.to_thread(workload.administrator.check, _TOPICS_S):
                self._problem("at the end", wrong)

    # -- figures ------------------------------------------------------------------------------------------------

    def _summarize(
        self, nemesis: Nemesis | Control | CountedFaults, cluster: ChaosCluster, shared: Shared, workload: Workload
    ) -> None:
        self._write("", "operations:")
        self._write(*(f"  {what:42} {count:9,}" for what, count in sorted(shared.done.items())))
        self._write("faults:")
        self._write(*(f"  {what:42} {count:9,}" for what, count in sorted(nemesis.done.items())))
        self._write("ends of brokers:")
        self._write(*(f"  {what:42} {count:9,}" for what, count in sorted(cluster.ends.items())))
        self._write("the proxy's requests:")
        self._write(*(f"  {what:42} {count:9,}" for what, count in sorted(cluster.proxy.faults.done.items())))
        self._write(*self._machine.warnings())
        first_acks = workload.first_acks()
        found: dict[str, list[float]] = {}
        for at_ns, kind in nemesis.fault_times_ns:
            after_ns = first_acks.after(at_ns)
            if after_ns is not None:
                found.setdefault(kind, []).append(after_ns / 1e9)
        if found:
            self._write("seconds from a fault until every safe partition acknowledged a record sent after it:")
            for kind, times in sorted(found.items()):
                self._write(f"  {kind:42} median {statistics.median(times):5.2f}, longest {max(times):5.2f}")

    def _judge(self, nemesis: Nemesis | Control | CountedFaults) -> int:
        options = self._options
        self._write("")
        unclean = frozenset({options.mode}) if options.mode in (UNCLEAN, LYING) else frozenset()
        # A million operations are millions of objects, none of them in a cycle that is given up before the end.
        gc.disable()
        try:
            with open(self._history_file, encoding="utf-8") as file:
                verdict = check(History.of(from_lines(file)), Promises(unclean))
        except HistoryError as error:
            self._write(f"the history is none: {error}")
            return 2
        finally:
            gc.enable()
        self._write(verdict.report())
        allowed = verdict.allowed_counts
        # That an offset holds another record by now is told of lost ones too, and of those that were read before alone.
        lost = max(sum(allowed.get(kind, 0) for kind in _LOSSES), allowed.get(Kind.INCONSISTENT_OFFSETS, 0))
        anomalies = sum(verdict.anomaly_counts.values()) + len(self._problems)
        self._write(*(f"PROBLEM {each}" for each in self._problems))
        is_good = not anomalies and (options.mode == SAFE or lost > 0)
        if not is_good:
            more = f" --unclean {options.mode}" if options.mode in (UNCLEAN, LYING) else ""
            self._write(f"check it again: {sys.executable} -m engine.sim.check {self._history_file}{more}")
        if isinstance(nemesis, CountedFaults):
            self._write(nemesis.summary)
        self._write(self._verdict_line(verdict, anomalies, lost))
        return 0 if is_good else 1

    def _verdict_line(self, verdict: Verdict, anomalies: int, lost: int) -> str:
        options, counts = self._options, verdict.counts
        done = f"{counts.acknowledged:,} records acknowledged, {counts.operations:,} operations, seed {options.seed}"
        if options.mode == SAFE:
            return f"chaos {'ok' if not anomalies else 'FAILED'}: {anomalies} anomalies; {done}"
        why = _WHY_LOST[options.mode]
        if anomalies:
            return f"chaos FAILED: {anomalies} anomalies that {why} do not excuse; {done}"
        if not lost:
            return f"chaos FAILED: {why} lost nothing, so the checker was not put to the test; {done}"
        return f"chaos ok: the checker reports {lost} records lost or replaced by {why}, as it must; {done}"


def run(options: Options) -> int:
    """A run with its output on standard output; the exit status."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        return Run(options).run()
    return 130
