"""The promises of docs/promises.md by their names, looked at while whole brokers run (safety) and at the end.

Everything here reads the brokers' insides and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.core.replica.roles import Leader
from engine.record.batch import LOG_OVERHEAD_BYTES

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.replica import Replica
    from engine.sim.cluster import SimCluster
    from engine.storage.log import Log

Partition = tuple[str, int]
_COMPARE_CHUNK_BYTES = 1 << 20


class Violation(AssertionError):
    """A promise does not hold. ``promise`` is its id."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


class Invariants:
    """Remembers what was seen, and compares."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        # Quorum: epoch to its leader; by process life: the highest epoch and high watermark.
        self._leader_of_epoch: dict[int, int] = {}
        self._quorum_epoch: dict[str, int] = {}
        self._quorum_high_watermark: dict[str, int] = {}
        # Partitions: what clients were told is committed, and the leaders' high watermarks by epoch.
        self.acknowledged_end: dict[Partition, int] = {}
        self._leader_epoch: dict[Partition, int] = {}
        self._leader_of: dict[tuple[Partition, int], int] = {}
        self._high_watermark: dict[tuple[Partition, int, str], int] = {}
        # How far replicas were compared.
        self._compared: dict[tuple[Partition, int, int], int] = {}
        # How far the batches of logs were walked.
        self._walked: dict[tuple[Partition, int], _Walk] = {}
        self.checks = 0

    def _brokers(self) -> list[tuple[int, str, Broker]]:
        found = []
        for node_id, machine in self._cluster.machines.items():
            if machine.process is not None and machine.broker is not None:
                found.append((node_id, machine.process.name, machine.broker))
        return found

    def check(self) -> None:
        """Everything that holds at each moment. Raises: Violation."""
        self.checks += 1
        brokers = self._brokers()
        for node_id, life, broker in brokers:
            self._check_quorum(node_id, life, broker)
            self._check_image(node_id, broker)
        self._check_isr_members({node_id: broker for node_id, _, broker in brokers})
        for node_id, life, broker in brokers:
            if not hasattr(broker, "replicas"):
                continue
            for each, replica in broker.replicas.replicas.items():
                if not replica.is_offline:
                    self._check_replica(node_id, life, each, replica)

    def _check_quorum(self, node_id: int, life: str, broker: Broker) -> None:
        quorum = getattr(broker, "quorum", None)
        if quorum is None or quorum._machine is None:
            return
        machine = quorum.machine
        epoch = machine.epoch
        # An epoch that was not told yet may be forgotten by a crash: it is compared within a process's life.
        before = self._quorum_epoch.get(life, 0)
        if epoch < before:
            raise Violation("K2", f"node {node_id} went back from epoch {before} to {epoch}")
        self._quorum_epoch[life] = epoch
        if machine.leader is not None:
            known = self._leader_of_epoch.setdefault(epoch, node_id)
            if known != node_id:
                raise Violation("K1", f"epoch {epoch} has the leaders {known} and {node_id}")
        high_watermark = machine.high_watermark
        if high_watermark < self._quorum_high_watermark.get(life, 0):
            raise Violation("K3", f"node {node_id}'s quorum high watermark went back to {high_watermark}")
        self._quorum_high_watermark[life] = high_watermark

    def _check_image(self, node_id: int, broker: Broker) -> None:
        image = broker.metadata.image
        for topic in image.topics_by_id.values():
            for number, state in topic.partitions.items():
                each = (topic.name, number)
                if state.leader_epoch > self._leader_epoch.get(each, -1):
                    self._leader_epoch[each] = state.leader_epoch
                if state.leader >= 0:
                    known = self._leader_of.setdefault((each, state.leader_epoch), state.leader)
                    if known != state.leader:
                        raise Violation(
                            "K5",
                            f"{topic.name}-{number} epoch {state.leader_epoch}: leaders {known} and {state.leader}",
                        )
                if len(state.isr) > 1:
                    fenced = [
                        member for member in state.isr if member in image.brokers and image.brokers[member].fenced
                    ]
                    if fenced:
                        raise Violation("K10", f"{topic.name}-{number}: fenced brokers {fenced} in the ISR {state.isr}")

    def _check_isr_members(self, brokers: dict[int, Broker]) -> None:
        """R3: whoever the controller may elect has everything that was acknowledged."""
        active = [each for each in brokers.values() if each.controller is not None and each.controller.is_active]
        if not active:
            return
        image = max(active, key=lambda each: each.controller.epoch if each.controller else -1).metadata.image
        for (topic, number), end in self.acknowledged_end.items():
            state = image.partition(topic, number)
            if state is None:
                continue
            for member in state.isr:
                broker = brokers.get(member)
                if broker is None or not hasattr(broker, "replicas"):
                    continue
                replica = broker.replicas.get(topic, number)
                if replica is not None and not replica.is_offline and replica.log.log_end_offset < end:
                    raise Violation(
                        "R3",
                        f"{topic}-{number}: {member} is in the ISR {state.isr} and ends at "
                        f"{replica.log.log_end_offset}, acknowledged was everything before {end}",
                    )

    def _check_replica(self, node_id: int, life: str, each: Partition, replica: Replica) -> None:
        log, partition = replica.log, replica.partition
        if not log.log_start_offset <= log.last_stable_offset <= log.high_watermark <= log.log_end_offset:
            raise Violation(
                "L6",
                f"{each} on {node_id}: start {log.log_start_offset}, stable {log.last_stable_offset}, "
                f"high watermark {log.high_watermark}, end {log.log_end_offset}",
            )
        if not isinstance(partition.role, Leader):
            return
        epoch = partition.leader_epoch
        key = (each, epoch, life)
        if partition.high_watermark < self._high_watermark.get(key, 0):
            raise Violation("R5", f"{each}: the leader's high watermark went back to {partition.high_watermark}")
        self._high_watermark[key] = partition.high_watermark
        if epoch == self._leader_epoch.get(each, -1) and log.log_end_offset < self.acknowledged_end.get(each, 0):
            raise Violation(
                "R2",
                f"{each}: leader {node_id} of epoch {epoch} ends at {log.log_end_offset}, acknowledged was "
                f"everything before {self.acknowledged_end[each]}",
            )

    def compare_logs(self) -> None:
        """R1: any two replicas are equal below both high watermarks, byte for byte. Raises: Violation."""
        by_partition: dict[Partition, list[tuple[int, Replica]]] = {}
        for node_id, _, broker in self._brokers():
            if hasattr(broker, "replicas"):
                for each, replica in broker.replicas.replicas.items():
                    if not replica.is_offline:
                        self._check_batches(each, node_id, replica)
                        by_partition.setdefault(each, []).append((node_id, replica))
        for each, replicas in by_partition.items():
            for at, (first_id, first) in enumerate(replicas):
                for second_id, second in replicas[at + 1 :]:
                    if first.topic_id == second.topic_id:
                        self._compare(each, first_id, first, second_id, second)

    def _check_batches(self, each: Partition, node_id: int, replica: Replica) -> None:
        """L1, L3: batches follow each other, and the epochs that they bear are those of leader-epoch-checkpoint."""
        log = replica.log
        walked = self._walked.get((each, node_id))
        if walked is not None and walked.log is log:
            try:
                self._walked[each, node_id] = walked.go_on()
                return
            except _OutOfStep:
                # The log was cut meanwhile and written anew, or it is wrong: all of it tells.
                pass
        try:
            self._walked[each, node_id] = _Walk(log, log.segments[0].base_offset, 0, -1, -1).go_on()
        except _OutOfStep as error:
            raise Violation(error.promise, f"{each} on {node_id}: {error}") from None

    def _compare(self, each: Partition, first_id: int, first: Replica, second_id: int, second: Replica) -> None:
        end = min(first.log.high_watermark, second.log.high_watermark)
        start = max(
            first.log.log_start_offset,
            second.log.log_start_offset,
            self._compared.get((each, first_id, second_id), 0),
        )
        while start < end:
            ours = bytes(first.log.read(start, _COMPARE_CHUNK_BYTES, max_offset=end))
            theirs = bytes(second.log.read(start, _COMPARE_CHUNK_BYTES, max_offset=end))
            shared = min(len(ours), len(theirs))
            if not shared:
                break
            if ours[:shared] != theirs[:shared]:
                raise Violation("R1", f"{each}: replicas {first_id} and {second_id} differ behind offset {start}")
            start = _next_offset(ours[:shared] if len(ours) <= len(theirs) else theirs[:shared])
        self._compared[each, first_id, second_id] = max(start, self._compared.get((each, first_id, second_id), 0))


class _OutOfStep(Exception):
    def __init__(self, promise: str, what: str) -> None:
        super().__init__(what)
        self.promise = promise


class _Walk(NamedTuple):
    """Up to a position in a segment the batches of a log are in order; the last of them has the epoch ``epoch``."""

    log: Log
    segment: int
    position: int
    epoch: int
    next_offset: int

    def go_on(self) -> _Walk:
        """Walk to the end of the log. Raises: _OutOfStep."""
        log = self.log
        entries = {(entry.epoch, entry.start_offset) for entry in log.leader_epochs.entries}
        first_epoch = min(entries, default=(0, 0))[0]
        base, position, epoch, expected = self.segment, self.position, self.epoch, self.next_offset
        for segment in log.segments:
            if segment.base_offset < base:
                continue
            if segment.base_offset > base:
                base, position = segment.base_offset, 0
            if position > segment.size:
                raise _OutOfStep("L1", f"the segment {base} ends before {position}")
            for at, header in segment.headers(position):
                if expected >= 0 and header.base_offset != expected:
                    raise _OutOfStep("L1", f"offset {header.base_offset} follows {expected - 1}")
                if header.partition_leader_epoch < epoch:
                    raise _OutOfStep(
                        "L1", f"epoch {header.partition_leader_epoch} at {header.base_offset} follows {epoch}"
                    )
                place = (header.partition_leader_epoch, header.base_offset)
                if (
                    header.partition_leader_epoch != epoch
                    and header.base_offset >= log.log_start_offset
                    and header.partition_leader_epoch != first_epoch
                    and place not in entries
                ):
                    raise _OutOfStep(
                        "L3", f"epoch {place[0]} begins at offset {place[1]}, the epochs are {sorted(entries)}"
                    )
                epoch, expected = header.partition_leader_epoch, header.last_offset + 1
                position = at + header.batch_length + LOG_OVERHEAD_BYTES
        if expected >= 0 and expected != log.log_end_offset:
            raise _OutOfStep("L1", f"the last batch ends before {expected}, the log at {log.log_end_offset}")
        return _Walk(log, base, position, epoch, expected)


def _next_offset(batches: bytes) -> int:
    from engine.record.batch import iter_batches

    last = 0
    for header, _ in iter_batches(batches):
        last = header.last_offset + 1
    return last
