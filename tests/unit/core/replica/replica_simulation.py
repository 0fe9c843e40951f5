"""One partition on three brokers in virtual time, the controller abstracted: random faults, and what must hold.

Fetches, their answers, metadata and ISR proposals come late, out of order or never; brokers crash, hang and come back
as other incarnations; leaders change with and without need. After every event R1 to R9 of docs/promises.md are checked.
What a broker leaves behind when it crashes is its log (without what was not durable, if appends are flushed) and a high
watermark of some time ago.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

from replica_harness import TOPIC_ID, TOPIC_PARTITION, Metadata
from replica_log import Record, ReplicaLog
from simulated_controller import NO_LEADER, SimulatedController

from engine.core.replica.cluster_view import ClusterView
from engine.core.replica.outputs import AlterPartition, AppendCommitted, PartitionEffects
from engine.core.replica.partition import Partition
from engine.core.replica.truncation import EpochEnd, diverging_epoch, truncation_for
from engine.model.errors import ErrorCode, KafkaError

LAG_MS = 250
SESSION_MS = 200
REQUEST_TIMEOUT_MS = 200
BROKERS = (1, 2, 3)


class InvariantBroken(AssertionError):
    """A promise of docs/promises.md does not hold."""


class Fetch(NamedTuple):
    """What a follower asks: it has everything before ``offset``."""

    replica_id: int
    broker_epoch: int
    leader_epoch: int
    offset: int
    last_epoch: int


class Broker:
    """One broker: log always, machine while its process runs."""

    def __init__(self, broker_id: int) -> None:
        self.id = broker_id
        self.log = ReplicaLog()
        self.durable = 0
        self.checkpoint = 0
        self.machine: Partition | None = None
        self.view = ClusterView(broker_id)
        self.incarnation = 0
        self.registered_at: int | None = None
        self.applied = -1
        self.paused_until = 0.0
        self.metadata_stalled_until = 0.0
        self.last_heartbeat = float("-inf")
        self.fetching: Fetch | None = None
        self.proposal: AlterPartition | None = None
        self.next_proposal: AlterPartition | None = None
        self.high_watermark_seen = 0
        self.verified = 0

    @property
    def led(self) -> Partition | None:
        """The machine if it believes to lead."""
        return self.machine if self.machine is not None and self.machine.is_leader else None


class Simulation:
    """Three brokers under one seed. ``flushes``: a leader's appends are durable only after a while, and a crash is a
    power cut; otherwise a crash is a SIGKILL, which loses nothing. ``trace`` gathers lines if it is a list."""

    def __init__(
        self,
        seed: int,
        *,
        min_isr: int = 2,
        flushes: bool = False,
        slow: float = 0.05,
        loss: float = 0.05,
        trace: list[str] | None = None,
        machine_class: type[Partition] = Partition,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.min_isr = min_isr
        self.flushes = flushes
        self.slow = slow
        self.loss = loss
        self.trace = trace
        self.machine_class = machine_class
        self.brokers = {broker_id: Broker(broker_id) for broker_id in BROKERS}
        self.controller = SimulatedController(BROKERS, self.random, self._on_written)
        self.blocked: set[tuple[int, int]] = set()
        self.committed: list[Record] = []
        self.acked: dict[int, Record] = {}
        self.answers: dict[ErrorCode, int] = {}
        self.truncations = 0
        # What one broker lost to a power cut although it had told its leader that it has it.
        self.lost_to_power: set[tuple[int, Record]] = set()
        # Whether the event in hand touched anything that the promises speak of.
        self.is_changed = False
        self.next_value = 0
        self._last_arrival: dict[tuple[int, int], float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.at(25, self._check_sessions)

    # -- driving ------------------------------------------------------------------------------------------------

    def at(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sequence, action))

    def run(self, duration_ms: float) -> None:
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            if self.is_changed:
                self.is_changed = False
                self.check()
        self.now = end

    def note(self, line: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:8.1f} {line}")

    def _delay(self) -> float:
        return self.random.random() * 900 if self.random.random() < self.slow else 0.5 + self.random.random() * 4

    def _lost(self) -> bool:
        return self.random.random() < self.loss

    def _later(self, broker: Broker, delay_ms: float, action: Callable[[], None]) -> None:
        """Do it in this process of the broker: not after a crash, and not while it hangs."""
        incarnation = broker.incarnation

        def run() -> None:
            if broker.machine is None or broker.incarnation != incarnation:
                return
            if broker.paused_until > self.now:
                self.at(broker.paused_until - self.now + self.random.random(), run)
            else:
                action()

        self.at(delay_ms, run)

    # -- processes ----------------------------------------------------------------------------------------------

    def start(self, broker_id: int) -> None:
        broker = self.brokers[broker_id]
        assert broker.machine is None
        broker.incarnation += 1
        broker.view = ClusterView(broker_id)
        broker.registered_at, broker.applied = None, -1
        broker.fetching = broker.proposal = broker.next_proposal = None
        broker.machine = self.machine_class(
            TOPIC_PARTITION,
            TOPIC_ID,
            broker.view,
            lag_max_ms=LAG_MS,
            min_insync_replicas=self.min_isr,
            log_end_offset=broker.log.end,
            high_watermark=broker.checkpoint,
        )
        broker.high_watermark_seen = broker.machine.high_watermark
        self.note(f"b{broker_id} starts with {broker.log.end} records, high watermark {broker.machine.high_watermark}")
        self._later(broker, self._delay(), lambda: self._register(broker))
        for period, work in ((6, self._fetch), (60, self._isr_check), (30, self._heartbeat), (6, self._metadata)):
            self._every(broker, period, work)

    def start_all(self) -> None:
        for broker in self.brokers.values():
            if broker.machine is None:
                self.start(broker.id)

    def _every(self, broker: Broker, period_ms: float, work: Callable[[Broker], None]) -> None:
        def again() -> None:
            work(broker)
            self._later(broker, period_ms * (0.5 + self.random.random()), again)

        self._later(broker, self.random.random() * period_ms, again)

    def crash(self, broker_id: int) -> None:
        broker = self.brokers[broker_id]
        if broker.machine is None:
            return
        broker.machine = None
        broker.paused_until = 0.0
        if self.random.random() < 0.7:
            # Its connection to the controller drops.
            incarnation = broker.incarnation
            self.at(20, lambda: self.controller.fence(broker_id) if broker.incarnation == incarnation else None)
        if self.flushes and broker.durable < broker.log.end:
            self._cut(broker, self.random.randint(broker.durable, broker.log.end))
            broker.durable = broker.log.end
        self.note(f"b{broker_id} crashes, {broker.log.end} records stay")

    def pause(self, broker_id: int, duration_ms: float) -> None:
        self.brokers[broker_id].paused_until = self.now + duration_ms
        self.note(f"b{broker_id} hangs for {duration_ms:.0f} ms")

    def stall_metadata(self, broker_id: int, duration_ms: float) -> None:
        """The broker hears nothing of the metadata quorum, and goes on as if nothing had happened."""
        self.brokers[broker_id].metadata_stalled_until = self.now + duration_ms
        self.note(f"b{broker_id} hears no metadata for {duration_ms:.0f} ms")

    def cut_power(self, broker_id: int) -> None:
        """The end of the log is lost, committed or not, and the broker comes back at once. Where that is noticed before
        the next fault, and another member of the ISR is there, nothing is lost for good (R8)."""
        others = [each for each in self.controller.partition.isr if each != broker_id]
        if any(self.controller.is_active(each) for each in others):
            self.controller.fence(broker_id)
            self.crash(broker_id)
            log = self.brokers[broker_id].log
            end = self.random.randint(max(0, log.end - 8), log.end)
            self.lost_to_power.update(enumerate(log.records[end:], end))
            self._cut(self.brokers[broker_id], end)
            self.start(broker_id)

    def _cut(self, broker: Broker, end: int) -> None:
        broker.log.truncate(end)
        broker.durable = min(broker.durable, end)
        broker.verified = min(broker.verified, end)

    # -- the controller's view of the brokers -------------------------------------------------------------------

    def _on_written(self, what: str) -> None:
        self.is_changed = True
        self.note(f"controller: {what}")

    def _register(self, broker: Broker) -> None:
        broker.view.local_broker_epoch = self.controller.register(broker.id)
        broker.registered_at = len(self.controller.versions) - 1
        broker.last_heartbeat = self.now

    def _heartbeat(self, broker: Broker) -> None:
        if broker.registered_at is None or self._lost():
            return
        broker.last_heartbeat = self.now
        if self.controller.brokers[broker.id].fenced and broker.applied >= broker.registered_at:
            self.controller.unfence(broker.id)

    def _check_sessions(self) -> None:
        for broker in self.brokers.values():
            if self.now - broker.last_heartbeat > SESSION_MS:
                self.controller.fence(broker.id)
        self.at(25, self._check_sessions)

    # -- ISR proposals ------------------------------------------------------------------------------------------

    def _submit(self, broker: Broker, proposal: AlterPartition) -> None:
        """One is under way at a time; a newer one takes the place of one that was not sent yet."""
        broker.next_proposal = proposal
        if broker.proposal is None:
            self._send_proposal(broker)

    def _send_proposal(self, broker: Broker) -> None:
        if broker.next_proposal is not None:
            broker.proposal, broker.next_proposal = broker.next_proposal, None
        asked = broker.proposal
        if asked is None:
            return
        broker_epoch, incarnation = broker.view.local_broker_epoch, broker.incarnation
        open_until = self.now + REQUEST_TIMEOUT_MS
        # Requests of one broker reach the controllers in their order, as over one connection.
        key = (broker.id, incarnation)
        arrival = max(self._last_arrival.get(key, 0.0), self.now + self._delay())
        self._last_arrival[key] = arrival
        is_lost = self._lost()

        def arrive() -> None:
            if is_lost:
                return
            error = self.controller.alter_partition(broker.id, broker_epoch, asked)
            self.note(f"b{broker.id} asked for ISR {[each for each, _ in asked.new_isr]}: {error.name}")
            after = self.controller.partition
            delay = self._delay()
            if not self._lost() and self.now + delay < open_until:
                self._later(broker, delay, lambda: answer(error, after))

        def answer(error: ErrorCode, after: Metadata) -> None:
            if broker.proposal is not asked or self.now >= open_until:
                return
            if error is ErrorCode.STALE_BROKER_EPOCH:
                return
            broker.proposal = None
            machine = broker.machine
            assert machine is not None
            self._perform(
                broker,
                machine.on_alter_partition_response(
                    asked, error, after.leader_epoch, after.partition_epoch, after.isr, self.now
                ),
            )
            if broker.proposal is None:
                self._send_proposal(broker)

        def timed_out() -> None:
            if broker.proposal is asked:
                self._send_proposal(broker)

        self.at(arrival - self.now, arrive)
        self._later(broker, REQUEST_TIMEOUT_MS, timed_out)

    # -- the shell of one broker --------------------------------------------------------------------------------

    def _perform(self, broker: Broker, effects: PartitionEffects) -> None:
        self.is_changed = True
        for start in effects.append:
            broker.log.start_epoch(start.leader_epoch, start.start_offset)
        for proposal in effects.send:
            self._submit(broker, proposal)
        for token, answer in effects.reply:
            self._answered(broker, token, answer)

    def _answered(self, broker: Broker, token: object, answer: AppendCommitted) -> None:
        assert isinstance(token, tuple)
        offset, record = token
        self.answers[answer.error] = self.answers.get(answer.error, 0) + 1
        if answer.error is not ErrorCode.NONE:
            return
        holders = [each.id for each in self.brokers.values() if each.log.records[offset : offset + 1] == [record]]
        if len(holders) + ((offset, record) in self.lost_to_power) < self.min_isr:
            raise InvariantBroken(f"R7: b{broker.id} acks offset {offset}, which only {holders} have")
        self.acked[offset] = record

    def _metadata(self, broker: Broker) -> None:
        """Apply what came since: some of it or all in one delta, after its own registration only."""
        latest = len(self.controller.versions) - 1
        first = broker.registered_at if broker.applied < 0 else broker.applied + 1
        if first is None or first > latest or self.now < broker.metadata_stalled_until:
            return
        machine = broker.machine
        assert machine is not None
        before = None if broker.applied < 0 else self.controller.versions[broker.applied]
        broker.applied = latest if self.random.random() < 0.7 else self.random.randint(first, latest)
        partition, brokers = self.controller.versions[broker.applied]
        broker.view.brokers = brokers
        if before is None or partition != before.partition:
            if partition.leader == broker.id:
                self._perform(broker, machine.on_become_leader(partition, self.now))
            else:
                self._perform(broker, machine.on_become_follower(partition))
        if machine.is_leader and (before is None or brokers != before.brokers):
            self._perform(broker, machine.on_cluster_changed(self.now))

    def produce(self, broker_id: int, *, acks: int = -1) -> None:
        """A producer sends a record to a broker that it takes for the leader."""
        broker = self.brokers[broker_id]
        machine = broker.led
        if machine is None or broker.paused_until > self.now:
            return
        try:
            machine.check_append(acks)
        except KafkaError:
            return
        self.next_value += 1
        record = Record(machine.leader_epoch, self.next_value)
        offset = broker.log.end
        broker.log.append(record)
        if self.flushes:
            self._later(broker, self.random.random() * 40, lambda: self._flushed(broker, offset + 1, record))
        else:
            broker.durable = broker.log.end
        self._perform(broker, machine.on_append(broker.log.end, broker.durable, self.now))
        if acks == -1:
            answer = machine.wait_until_committed(offset + 1, (offset, record))
            if answer is not None:
                self._answered(broker, (offset, record), answer)
        self.check()

    def _flushed(self, broker: Broker, end: int, last: Record) -> None:
        if broker.log.records[end - 1 : end] != [last] or end <= broker.durable:
            return
        broker.durable = end
        assert broker.machine is not None
        self._perform(broker, broker.machine.on_flushed(end, self.now))

    def _isr_check(self, broker: Broker) -> None:
        assert broker.machine is not None
        broker.checkpoint = broker.machine.high_watermark
        self._perform(broker, broker.machine.on_isr_check(self.now))

    # -- fetches ------------------------------------------------------------------------------------------------

    def _fetch(self, broker: Broker) -> None:
        machine = broker.machine
        assert machine is not None
        if machine.is_leader or machine.leader_id == NO_LEADER or broker.fetching is not None:
            return
        leader = self.brokers[machine.leader_id]
        last_epoch = broker.log.starts[-1][0] if broker.log.starts else -1
        request = Fetch(broker.id, broker.view.local_broker_epoch, machine.leader_epoch, broker.log.end, last_epoch)
        broker.fetching = request

        def timed_out() -> None:
            if broker.fetching is request:
                broker.fetching = None

        self._later(broker, REQUEST_TIMEOUT_MS, timed_out)
        if (broker.id, leader.id) in self.blocked or self._lost() or leader.machine is None:
            return
        # It reaches whichever process of the leader runs then, perhaps long after its sender has given up.
        self.at(self._delay(), lambda: self._later(leader, 0, lambda: self._on_fetch(leader, broker, request)))

    def _on_fetch(self, leader: Broker, follower: Broker, request: Fetch) -> None:
        machine = leader.machine
        assert machine is not None
        diverging: EpochEnd | None = None
        records: list[Record] = []
        try:
            machine.check_epoch(request.leader_epoch, leader_only=True)
            machine.check_follower(request.replica_id, request.leader_epoch)
            diverging = diverging_epoch(leader.log, request.last_epoch, request.offset, 0)
            if diverging is None:
                records = leader.log.records[request.offset : request.offset + self.random.randint(1, 6)]
                effects = machine.on_follower_fetch(
                    request.replica_id, request.broker_epoch, request.offset, 0, leader.log.end, self.now
                )
                self._perform(leader, effects)
        except KafkaError as error:
            if error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
                raise InvariantBroken(f"b{leader.id} cannot tell b{follower.id} where to go on: {request}") from None
            return
        high_watermark = machine.high_watermark
        if (leader.id, follower.id) not in self.blocked and not self._lost() and follower.machine is not None:
            self._later(
                follower, self._delay(), lambda: self._on_fetched(follower, request, diverging, records, high_watermark)
            )

    def _on_fetched(
        self,
        broker: Broker,
        request: Fetch,
        diverging: EpochEnd | None,
        records: list[Record],
        high_watermark: int,
    ) -> None:
        machine = broker.machine
        assert machine is not None
        if broker.fetching is not request:
            return
        broker.fetching = None
        if machine.is_leader or machine.leader_epoch != request.leader_epoch or broker.log.end != request.offset:
            return
        if diverging is not None:
            cut = truncation_for(broker.log, broker.log.end, machine.high_watermark, EpochEnd(*diverging))
            # A replica out of the ISR may obey a leader that is deposed already, and cut off what the next one has
            # committed since: it gets that again. A member of the ISR may not (R3).
            if cut.offset < machine.high_watermark:
                raise InvariantBroken(f"R6: b{broker.id} is cut at {cut.offset}, below {machine.high_watermark}")
            self.truncations += cut.offset < broker.log.end
            self._cut(broker, cut.offset)
            self._perform(broker, machine.on_truncated(broker.log.end, "diverged"))
            return
        for record in records:
            broker.log.append(record)
        broker.durable = broker.log.end
        self.is_changed = True
        machine.on_follower_append(broker.log.end, broker.durable, high_watermark)

    # -- what must hold -----------------------------------------------------------------------------------------

    def check(self) -> None:
        partition = self.controller.partition
        for broker in self.brokers.values():
            machine = broker.machine
            if machine is None:
                continue
            if machine.log_end_offset != broker.log.end:
                raise InvariantBroken(f"b{broker.id} believes in {machine.log_end_offset} of {broker.log.end} records")
            if machine.high_watermark < broker.high_watermark_seen:
                raise InvariantBroken(f"R5: b{broker.id} {broker.high_watermark_seen} → {machine.high_watermark}")
            if machine.high_watermark > broker.log.end:
                raise InvariantBroken(f"L6: b{broker.id} has high watermark {machine.high_watermark}")
            broker.high_watermark_seen = machine.high_watermark
            self._check_prefix(broker, machine.high_watermark, "R1")
            if machine.is_leader and machine.leader_epoch == partition.leader_epoch:
                missing = set(partition.isr) - machine.maximal_isr
                if missing:
                    raise InvariantBroken(f"R4: {missing} of the ISR do not count for leader b{broker.id}")
        for member in partition.isr:
            broker = self.brokers[member]
            if broker.log.end < len(self.committed):
                raise InvariantBroken(f"R3: b{member} of the ISR has {broker.log.end} of {len(self.committed)}")
            self._check_prefix(broker, len(self.committed), "R3")
        if partition.leader != NO_LEADER and partition.leader not in partition.isr:
            raise InvariantBroken(f"R2: leader {partition.leader} is not in the ISR {partition.isr}")
        for offset in list(self.acked)[-3:]:
            if offset >= len(self.committed) or self.committed[offset] != self.acked[offset]:
                raise InvariantBroken(f"R9: acked offset {offset} is not what was committed")

    def _check_prefix(self, broker: Broker, end: int, promise: str) -> None:
        records = broker.log.records
        for offset in range(broker.verified, end):
            if offset == len(self.committed):
                self.committed.append(records[offset])
            elif records[offset] != self.committed[offset]:
                raise InvariantBroken(
                    f"{promise}: b{broker.id} has {records[offset]} at {offset}, committed is {self.committed[offset]}"
                )
        broker.verified = max(broker.verified, end)
