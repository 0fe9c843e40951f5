"""The promises of docs/promises.md by their names, looked at while whole brokers run (safety) and at the end.

Everything here reads the brokers' insides and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.replica.roles import Leader

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.replica import Replica
    from engine.sim.cluster import SimCluster

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
                        _check_epochs(each, node_id, replica)
                        by_partition.setdefault(each, []).append((node_id, replica))
        for each, replicas in by_partition.items():
            for at, (first_id, first) in enumerate(replicas):
                for second_id, second in replicas[at + 1 :]:
                    if first.topic_id == second.topic_id:
                        self._compare(each, first_id, first, second_id, second)

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


def _check_epochs(each: Partition, node_id: int, replica: Replica) -> None:
    """L3: the epochs that the log's batches bear are those of its leader-epoch-checkpoint."""
    entries = {(entry.epoch, entry.start_offset) for entry in replica.log.leader_epochs.entries}
    first = min(entries, default=(0, 0))
    last_epoch = -1
    for segment in replica.log.segments:
        for _, header in segment.headers():
            epoch = header.partition_leader_epoch
            if header.base_offset < replica.log.log_start_offset:
                last_epoch = epoch
                continue
            if epoch != last_epoch and (epoch, header.base_offset) not in entries and epoch != first[0]:
                raise Violation(
                    "L3",
                    f"{each} on {node_id}: epoch {epoch} begins at offset {header.base_offset}, the epochs are "
                    f"{sorted(entries)}",
                )
            last_epoch = epoch


def _next_offset(batches: bytes) -> int:
    from engine.record.batch import iter_batches

    last = 0
    for header, _ in iter_batches(batches):
        last = header.last_offset + 1
    return last
