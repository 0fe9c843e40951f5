"""The promises of docs/promises.md by their names, looked at while whole brokers run (safety) and at the end.

Everything here reads the brokers' insides and changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.core.replica.roles import Leader
from engine.record.batch import LOG_OVERHEAD_BYTES
from engine.sim.quorum_invariants import LiveBroker, QuorumInvariants, next_offset
from engine.sim.violation import Violation
from engine.storage.failure import LogCorrupt

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.replica import Replica
    from engine.core.controller.image import MetadataImage
    from engine.core.controller.topic_image import PartitionImage
    from engine.sim.cluster import SimCluster
    from engine.storage.log import Log
    from engine.storage.segment import Segment

Partition = tuple[str, int]
# Of a broker that nobody asks anything: it has less than 20.
_MOST_TASKS = 60
_COMPARE_CHUNK_BYTES = 1 << 20


class Invariants:
    """Remembers what was seen, and compares."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._quorum = QuorumInvariants(cluster)
        # Partitions: what clients were told is committed, and the leaders' high watermarks by epoch.
        self.acknowledged_end: dict[Partition, int] = {}
        self._leader_epoch: dict[Partition, int] = {}
        # The highest of an active controller.
        self._controller_epoch = -1
        # What was looked at last, by node: images share their dicts until one of them changes.
        self._images: dict[int, tuple[object, object]] = {}
        # By topic id: a topic that was deleted and made again, late, is another one.
        self._leader_of: dict[tuple[bytes, int, int], int] = {}
        self._high_watermark: dict[tuple[bytes, int, int, str], int] = {}
        self._replica_high_watermark: dict[tuple[Partition, str], tuple[Replica, int]] = {}
        # By topic id, partition and member of the ISR: its broker epoch, and the newest state that it was a member of.
        self._member_since: dict[tuple[bytes, int, int], tuple[int, int]] = {}
        # How far replicas were compared.
        self._compared: dict[tuple[Partition, int, int], int] = {}
        # How far the batches of logs were walked.
        self._walked: dict[tuple[Partition, int], _Walk] = {}
        self.checks = 0

    def _brokers(self) -> list[LiveBroker]:
        return [
            LiveBroker(node_id, machine.process.name, machine.broker)
            for node_id, machine in self._cluster.machines.items()
            if machine.process is not None and machine.broker is not None
        ]

    def check(self) -> None:
        """Everything that holds at each moment. Raises: Violation."""
        self.checks += 1
        brokers = self._brokers()
        self._quorum.check(brokers)
        for each in brokers:
            self._check_image(each.node_id, each.broker)
        by_id = {each.node_id: each.broker for each in brokers}
        self._check_acknowledged(by_id)
        for node_id, life, broker in brokers:
            if not hasattr(broker, "replicas"):
                continue
            for partition, replica in broker.replicas.replicas.items():
                if not replica.is_offline:
                    self._check_replica(node_id, life, partition, replica)

    def _check_image(self, node_id: int, broker: Broker) -> None:
        image = broker.metadata.image
        seen = self._images.get(node_id)
        if seen is not None and seen[0] is image.topics_by_id and seen[1] is image.brokers:
            return
        self._images[node_id] = (image.topics_by_id, image.brokers)
        for topic in image.topics_by_id.values():
            for number, state in topic.partitions.items():
                each = (topic.name, number)
                if state.leader_epoch > self._leader_epoch.get(each, -1):
                    self._leader_epoch[each] = state.leader_epoch
                if state.leader >= 0:
                    known = self._leader_of.setdefault((topic.topic_id, number, state.leader_epoch), state.leader)
                    if known != state.leader:
                        raise Violation(
                            "K5",
                            f"{topic.name}-{number} epoch {state.leader_epoch}: leaders {known} and {state.leader}",
                        )
                if len(state.isr) > 1:
                    self._check_incarnations(image, topic.topic_id, each, state)
                    fenced = [
                        member for member in state.isr if member in image.brokers and image.brokers[member].fenced
                    ]
                    if fenced:
                        raise Violation("K10", f"{topic.name}-{number}: fenced brokers {fenced} in the ISR {state.isr}")

    def _check_incarnations(
        self, image: MetadataImage, topic_id: bytes, each: Partition, state: PartitionImage
    ) -> None:
        """R8: a broker that registered anew is not in the ISR by what its last process had."""
        for member in state.isr:
            broker = image.brokers.get(member)
            if broker is None:
                continue
            key = (topic_id, each[1], member)
            known = self._member_since.get(key, (-1, -1))
            if broker.broker_epoch > known[0]:
                if state.partition_epoch == known[1]:
                    raise Violation(
                        "R8",
                        f"{each[0]}-{each[1]}: broker {member} registered anew, and is still in the ISR {state.isr}",
                    )
                self._member_since[key] = (broker.broker_epoch, state.partition_epoch)
            elif broker.broker_epoch == known[0] and state.partition_epoch > known[1]:
                self._member_since[key] = (broker.broker_epoch, state.partition_epoch)

    def _check_acknowledged(self, brokers: dict[int, Broker]) -> None:
        """R3: whoever the controller may elect has everything that was acknowledged; R4: the leader counts all of them;
        R7, R9: so many replicas have it as min.insync.replicas says."""
        active = [each for each in brokers.values() if each.controller is not None and each.controller.is_active]
        if not active:
            return
        epoch, image = max(
            ((each.controller.epoch if each.controller else -1, each.metadata.image) for each in active),
            key=lambda found: found[0],
        )
        if epoch < self._controller_epoch:
            # One that was paused or cut off, and does not know that it is of the past: another one had followed it.
            return
        self._controller_epoch = epoch
        for (topic, number), end in self.acknowledged_end.items():
            state = image.partition(topic, number)
            if state is None:
                continue
            ends = {}
            for member in state.replicas:
                broker = brokers.get(member)
                replica = (
                    None if broker is None or not hasattr(broker, "replicas") else broker.replicas.get(topic, number)
                )
                if replica is None or replica.is_offline:
                    continue
                ends[member] = replica.log.log_end_offset
                role = replica.partition.role
                if isinstance(role, Leader) and replica.partition.leader_epoch == state.leader_epoch:
                    missing = set(state.isr) - role.maximal_isr
                    if missing:
                        raise Violation(
                            "R4",
                            f"{topic}-{number}: the controller may elect {sorted(missing)}, leader {member} waits for "
                            f"{sorted(role.maximal_isr)} only",
                        )
            behind = {member: at for member, at in ends.items() if at < end}
            for member in state.isr:
                if member in behind:
                    raise Violation(
                        "R3",
                        f"{topic}-{number}: {member} is in the ISR {state.isr} and ends at {behind[member]}, "
                        f"acknowledged was everything before {end}",
                    )
            # Who is down, or is loading its logs, may have it.
            if len(state.replicas) - len(behind) < min(self._cluster.min_insync_replicas, len(state.replicas)):
                raise Violation(
                    "R7",
                    f"{topic}-{number}: everything before {end} was acknowledged with acks=all, the logs end at {ends}",
                )

    def _check_replica(self, node_id: int, life: str, each: Partition, replica: Replica) -> None:
        log, partition = replica.log, replica.partition
        if not log.log_start_offset <= log.last_stable_offset <= log.high_watermark <= log.log_end_offset:
            raise Violation(
                "L6",
                f"{each} on {node_id}: start {log.log_start_offset}, stable {log.last_stable_offset}, "
                f"high watermark {log.high_watermark}, end {log.log_end_offset}",
            )
        known = self._replica_high_watermark.get((each, life), (replica, 0))
        if known[0] is replica and log.high_watermark < known[1]:
            raise Violation(
                "R5", f"{each} on {node_id}: the high watermark went from {known[1]} to {log.high_watermark}"
            )
        self._replica_high_watermark[each, life] = (replica, log.high_watermark)
        if not isinstance(partition.role, Leader):
            return
        epoch = partition.leader_epoch
        key = (replica.topic_id, each[1], epoch, life)
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
        """What takes reading: R1, K5, K9, L1, L3. Two replicas are equal below both high watermarks, byte for byte, and
        so is the metadata; batches follow each other. Raises: Violation."""
        with self._undisturbed():
            self._compare_logs()

    def check_quiet(self) -> None:
        """V2, V3: when clients have been still for a while, nobody waits for an answer, and no task is left over."""
        for node_id, life, broker in self._brokers():
            for connection in broker.router.connections:
                asked_by_client = not connection.peer_host.startswith("broker-")
                if asked_by_client and connection._slots:
                    raise Violation(
                        "V2", f"broker {node_id} owes {connection.peer_host} {len(connection._slots)} answers"
                    )
            process = self._cluster.machines[node_id].process
            assert process is not None
            tasks = process.live_tasks()
            if len(tasks) > _MOST_TASKS:
                raise Violation("V3", f"broker {node_id} ({life}) has {len(tasks)} tasks: {tasks[-3:]}")

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """What only looks is not kept from it by a disk that fails."""
        failing = [(machine.disk, machine.disk.failing) for machine in self._cluster.machines.values()]
        for disk, _ in failing:
            disk.failing = set()
        try:
            yield
        finally:
            for disk, operations in failing:
                disk.failing = operations

    def _compare_logs(self) -> None:
        brokers = self._brokers()
        self._quorum.compare(brokers)
        by_partition: dict[Partition, list[tuple[int, Replica]]] = {}
        for node_id, _, broker in brokers:
            if hasattr(broker, "replicas"):
                for each, replica in broker.replicas.replicas.items():
                    if not replica.is_offline:
                        self._check_batches(each, node_id, replica)
                        by_partition.setdefault(each, []).append((node_id, replica))
        for each, replicas in by_partition.items():
            if replicas[0][1].log.config.compact:
                # Each replica compacts by itself: what is left is judged, see engine.sim.compacted.
                continue
            for at, (first_id, first) in enumerate(replicas):
                for second_id, second in replicas[at + 1 :]:
                    if first.topic_id == second.topic_id:
                        self._compare(each, first_id, first, second_id, second)

    def _check_batches(self, each: Partition, node_id: int, replica: Replica) -> None:
        """L1, L3: batches follow each other, and the epochs that they bear are those of leader-epoch-checkpoint."""
        log = replica.log
        walked = self._walked.get((each, node_id))
        # A compaction replaces segments.
        if walked is not None and walked.log is log and (not log.config.compact or walked.segments is log.segments):
            try:
                self._walked[each, node_id] = walked.go_on()
                return
            except _OutOfStep:
                # The log was cut meanwhile and written anew, or it is wrong: all of it tells.
                pass
        try:
            self._walked[each, node_id] = _Walk(log, log.segments, log.segments[0].base_offset, 0, -1, -1).go_on()
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
            try:
                ours = bytes(first.log.read(start, _COMPARE_CHUNK_BYTES, max_offset=end))
                theirs = bytes(second.log.read(start, _COMPARE_CHUNK_BYTES, max_offset=end))
            except LogCorrupt:
                # It goes offline, this very moment.
                return
            shared = min(len(ours), len(theirs))
            if not shared:
                break
            if ours[:shared] != theirs[:shared]:
                raise Violation("R1", f"{each}: replicas {first_id} and {second_id} differ behind offset {start}")
            start = next_offset(ours[:shared] if len(ours) <= len(theirs) else theirs[:shared])
        self._compared[each, first_id, second_id] = max(start, self._compared.get((each, first_id, second_id), 0))


class _OutOfStep(Exception):
    def __init__(self, promise: str, what: str) -> None:
        super().__init__(what)
        self.promise = promise


class _Walk(NamedTuple):
    """Up to a position in a segment the batches of a log are in order; the last of them has the epoch ``epoch``."""

    log: Log
    segments: Sequence[Segment]
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
        # What is compacted has gaps, and the first batch of an epoch may be gone.
        compact = log.config.compact
        for segment in log.segments:
            if segment.base_offset < base:
                continue
            if segment.base_offset > base:
                base, position = segment.base_offset, 0
            if position > segment.size:
                raise _OutOfStep("L1", f"the segment {base} ends before {position}")
            for at, header in segment.headers(position):
                if expected >= 0 and (header.base_offset < expected if compact else header.base_offset != expected):
                    raise _OutOfStep("L1", f"offset {header.base_offset} follows {expected - 1}")
                if header.partition_leader_epoch < epoch:
                    raise _OutOfStep(
                        "L1", f"epoch {header.partition_leader_epoch} at {header.base_offset} follows {epoch}"
                    )
                place = (header.partition_leader_epoch, header.base_offset)
                if (
                    not compact
                    and header.partition_leader_epoch != epoch
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
        return _Walk(log, log.segments, base, position, epoch, expected)


__all__ = ["Invariants", "Violation"]
