"""One run: a cluster, clients that use it, faults, healing, and the questions that are asked at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from engine.sim import transactions
from engine.sim.clients import Unavailable
from engine.sim.cluster import SimCluster
from engine.sim.invariants import Invariants, Violation
from engine.sim.ledger import RecordLedger
from engine.sim.loop import SimLoop
from engine.sim.nemesis import Nemesis
from engine.sim.network import LinkTiming
from engine.sim.options import CLOCK_FAULTS, Options
from engine.sim.workload import SAFE_TOPIC, UNSAFE_TOPIC, Workload

# Invariants are looked at after so many callbacks, and whenever a fact is told; logs are compared more rarely.
_CHECK_EVERY = 200
_COMPARE_EVERY = 20
_TIME_AND_LENGTH = Struct(">dq")
# After healing everything must be whole again within this time.
_HEAL_WITHIN_S = 60.0
# Then every request is answered, which is watched for this time.
_ANSWERS_S = 1.5
# And when no client asks any more, everything that was asked has been answered within this time.
_QUIET_S = 15.0


class Report(NamedTuple):
    """What a run did. ``digest`` is that of every byte that crossed the wire, with its time."""

    options: Options
    digest: str
    events: int
    simulated_s: float
    faults: Counter[str]
    operations: Counter[str]
    checks: int


class SimulationFailed(AssertionError):
    """A promise was broken; the story and the options are told with it."""

    def __init__(self, options: Options, promise: str, what: str, story: list[str]) -> None:
        super().__init__(f"{promise}: {what}")
        self.options = options
        self.promise = promise
        self.what = what
        self.story = story


class Simulation:
    """Run once."""

    def __init__(self, options: Options, loop: SimLoop | None = None) -> None:
        self.options = options
        self.loop = SimLoop() if loop is None else loop
        self._digest = hashlib.blake2b(digest_size=10)
        timing = LinkTiming(longest_s=options.longest_delay_s, hiccup_chance=options.hiccup_chance)
        self.cluster = SimCluster(
            self.loop,
            options.seed,
            brokers=options.brokers,
            configs=_configs(options),
            timing=timing,
            log_dirs=options.log_dirs,
        )
        self.nemesis = Nemesis(self.cluster, options)
        self.invariants = Invariants(self.cluster)
        self.ledger = RecordLedger(self.invariants, lambda: int(self.loop.time() * 1e9))
        self.workload = Workload(self.cluster, self.ledger, options)
        self.workload.tell = self.nemesis.tell
        self.ledger.on_acknowledged = self.nemesis.on_acknowledged
        self._violation: Violation | None = None
        self._errors = _ErrorLog()

    def run(self) -> Report:
        """Raises: SimulationFailed."""
        start_s = self.loop.time()
        try:
            with self.watched():
                self.loop.run(self.main())
        except Violation as violation:
            raise self._failed(violation) from violation
        return Report(
            self.options,
            self.digest(),
            self.loop.events,
            self.loop.time() - start_s,
            self.nemesis.done,
            self.workload.done,
            self.invariants.checks,
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While the loop runs: what crosses the wire is digested, promises are checked, brokers' errors are taken."""
        self.cluster.fabric.on_delivered = self._delivered
        self.loop.on_event, self.loop.on_event_every = self._on_event, _CHECK_EVERY
        root = logging.getLogger("engine")
        before = root.level, root.propagate
        root.setLevel(logging.WARNING)
        root.propagate = False
        root.addHandler(self._errors)
        try:
            with warnings.catch_warnings():
                # What a process that was killed had not awaited yet.
                warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
                yield
        finally:
            root.removeHandler(self._errors)
            root.setLevel(before[0])
            root.propagate = before[1]

    def digest(self) -> str:
        """Of every byte that crossed the wire so far, with its time."""
        return self._digest.hexdigest()

    def _failed(self, violation: Violation) -> SimulationFailed:
        what = str(violation).removeprefix(f"{violation.promise}: ")
        return SimulationFailed(self.options, violation.promise, what, self.nemesis.story)

    def _delivered(self, source: str, target: str, data: bytes) -> None:
        head = f"{source} {target} ".encode()
        self._digest.update(b"".join((head, _TIME_AND_LENGTH.pack(self.loop.time(), len(data)), data)))

    def _on_event(self) -> None:
        self.invariants.check()
        if self.invariants.checks % _COMPARE_EVERY == 0:
            self.invariants.compare_logs()
        self._check_failures()

    def _check_failures(self) -> None:
        if self.cluster.told.violation is not None:
            raise self.cluster.told.violation
        if self.loop.failures:
            raise Violation("V3", f"an exception that nobody took: {self.loop.failures[0]}")
        if self._errors.found:
            raise Violation("S4", f"a broker logged an error: {self._errors.found[0]}")

    async def main(self) -> None:
        """The whole run."""
        await self.cluster.start_all()
        await self.workload.create_topics()
        self.workload.start()
        await self.nemesis.run()
        self.workload.on_healed()
        await self._wait_until_whole()
        await self._wait_until_everybody_gets_on()
        await self.workload.settle()
        self.cluster.told.whole_since_s = self.loop.time()
        await asyncio.sleep(_ANSWERS_S)
        await self.workload.stop()
        await self._wait_until_whole()
        if self.options.transactions:
            await transactions.wait_until_all_ended(self.workload)
        await self.workload.read_everything()
        self.invariants.check()
        self.invariants.compare_logs()
        self._check_failures()
        self.ledger.check()
        self.workload.contended.check()
        await asyncio.sleep(_QUIET_S)
        self.invariants.check_quiet()

    async def _wait_until_whole(self) -> None:
        """V1: every broker serves, every partition has its leader and all of its replicas in sync."""
        deadline = self.loop.time() + _HEAL_WITHIN_S
        while True:
            why = self._what_is_missing()
            if not why:
                return
            if self.loop.time() > deadline:
                raise Violation("V1", f"{_HEAL_WITHIN_S:.0f} s after healing: {why}")
            # A broker that left for a failed disk, or whose start failed, is started again, as its operator would.
            for node_id, machine in self.cluster.machines.items():
                if not machine.is_up:
                    self.cluster.start(node_id)
                else:
                    self.cluster.repair(node_id)
            await asyncio.sleep(0.25)

    async def _wait_until_everybody_gets_on(self) -> None:
        """V1 and G4 as clients see them: every producer is acknowledged, every reader reads, and in every group each
        partition has a member that commits."""
        deadline = self.loop.time() + _HEAL_WITHIN_S * (3 if self.workload.is_light else 1)
        while who := self.workload.who_stands_still():
            if self.loop.time() > deadline:
                raise Violation(
                    "G4" if who.startswith("group ") else "V1", f"{who} stands still since faults are healed"
                )
            await asyncio.sleep(0.25)

    def _what_is_missing(self) -> str:
        for node_id, machine in self.cluster.machines.items():
            broker = machine.broker
            if broker is None or not getattr(broker, "_started", False):
                return f"broker {node_id} does not serve ({machine.exit or 'it is starting'})"
        for node_id, machine in self.cluster.machines.items():
            assert machine.broker is not None
            image = machine.broker.metadata.image
            if any(broker.fenced for broker in image.brokers.values()) or len(image.brokers) < len(
                self.cluster.machines
            ):
                return f"broker {node_id} counts some broker as fenced"
            for topic in image.topics_by_id.values():
                for number, state in topic.partitions.items():
                    if state.leader < 0 or len(state.isr) < len(state.replicas):
                        return f"{topic.name}-{number} has leader {state.leader} and ISR {state.isr}, says {node_id}"
        return ""


class _ErrorLog(logging.Handler):
    """Errors that brokers log. Those that a fault explains are no news."""

    _EXPECTED = (
        "is offline",
        "quorum stopped",
        "cannot go on",
        "cannot be opened",
        "could not be removed",
        "log directory",
        "log directories",
        "closed in order",
    )

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if not any(each in text for each in self._EXPECTED):
            self.found.append(text)


def _configs(options: Options) -> dict[str, str]:
    configs: dict[str, Any] = {
        "log.retention.check.interval.ms": 5_000,
        "log.cleaner.backoff.ms": 1_000,
        "log.cleaner.min.cleanable.ratio": 0.1,
        "replica.lag.time.max.ms": 4_000,
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "kconsole.connection.loss.detection.enable": str(options.connection_loss_detection).lower(),
        # Where segments are small, so are the pieces of the metadata: some followers must load snapshots.
        "metadata.log.max.record.bytes.between.snapshots": options.segment_bytes,
        "metadata.max.retention.bytes": options.segment_bytes,
    }
    if options.durability == "fsync":
        configs["log.flush.interval.messages"] = 1
    if options.compacted:
        configs["log.cleaner.backoff.ms"] = 100
    if options.transactions:
        configs |= transactions.configs(options.brokers)
    if options.load == "light":
        # Most of what an idle cluster does is to say that it has nothing to say: seldom, so that hours go by.
        configs["replica.fetch.wait.max.ms"] = 1_500
        configs["metadata.max.idle.interval.ms"] = 2_000
        configs["broker.heartbeat.interval.ms"] = 1_000
        configs["metadata.log.max.snapshot.interval.ms"] = 120_000
        # By the wall clock: where that is wrong, what is judged would be forgotten too early.
        if not any(each in CLOCK_FAULTS for each in options.faults):
            configs["offsets.retention.minutes"] = 5
            configs["offsets.retention.check.interval.ms"] = 60_000
            configs["producer.id.expiration.ms"] = 300_000
            configs["producer.id.expiration.check.interval.ms"] = 60_000
    return {name: str(value) for name, value in configs.items()}


def run_seed(options: Options) -> Report:
    """One run. Raises: SimulationFailed."""
    with _collected_at_the_end():
        return Simulation(options).run()


@contextlib.contextmanager
def _collected_at_the_end() -> Iterator[None]:
    """No garbage is collected meanwhile: a run has little that goes in circles, and would be looked through again and
    again. What was there before is not looked at at all."""
    collects = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            # What processes that were killed had not awaited yet.
            warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
            gc.collect()
        gc.unfreeze()
        if collects:
            gc.enable()


__all__ = ["SAFE_TOPIC", "UNSAFE_TOPIC", "Report", "Simulation", "SimulationFailed", "Unavailable", "run_seed"]
