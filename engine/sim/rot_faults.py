"""Disks that change at rest: derived files that vanish, bits of snapshots and of records that flip.

Derived files are made again (L3): producer snapshots, whose CRC tells that a bit has flipped; indexes, epochs and
checkpoints are lost as a whole, for they bear no checksum, as in Kafka.

Bits of records flip on one broker that is down, and out of every ISR by then, while all others are in sync: a disk that
changes what was synced is promised to cost that replica only. And they flip where a start reads: behind the recovery
point (the log is cut there, and copied again), or in the last segment before it, if it has no index yet (that replica
is copied anew).

And they flip under a leader or a follower that runs, wherever in its log, while all replicas are in sync; somebody
reads there at once, who must not get them. (Later the others might have died for good reasons of their own, and who
would be left is a replica that serves nothing.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from engine.core.controller.image import MetadataImage
from engine.model.errors import KafkaError
from engine.record.batch import LOG_OVERHEAD_BYTES, BatchHeader
from engine.sim.cluster import Machine
from engine.sim.disk import SimDisk
from engine.sim.fault_kit import Act, FaultKit
from engine.sim.violation import Violation
from engine.storage.checkpoints import CLEAN_SHUTDOWN
from engine.storage.log import Log

_DERIVED = (".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint")
_RECOVERY_POINTS = "recovery-point-offset-checkpoint"
_CHECKPOINTS = (_RECOVERY_POINTS, "replication-offset-checkpoint", "log-start-offset-checkpoint")
_QUORUM_DIRECTORY = "/__cluster_metadata-0/"
# Directories whose records are spared: of deleted partitions, and of those with two replicas, where the other one may
# die for good reasons of its own.
_SPARED = (_QUORUM_DIRECTORY, "-delete/", "/moving-")
_SIZE_AT = 8
# Before the magic stand the offset and the leader epoch: no CRC covers them, and as in Kafka nothing sees a change.
_COVERED_FROM = 16


class RotFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {"rot": self._rot}

    def _rot(self) -> str:
        kind = self._kit.rng.random()
        if kind < 0.3:
            return self._rot_while_it_runs() or self._rot_derived()
        return self._rot_records() if kind < 0.6 else self._rot_derived()

    def _rot_while_it_runs(self) -> str:
        kit = self._kit
        node_id = kit.some_up()
        if node_id is None:
            return ""
        machine = kit.cluster.machines[node_id]
        images = self._images()
        replicas = getattr(machine.broker, "replicas", None)
        if machine.process is None or replicas is None or not images:
            return ""
        found = [
            (replica.log, *place)
            for (topic, number), replica in sorted(replicas.replicas.items())
            if not replica.is_offline
            and replica.log.failure is None
            and all(_is_whole_in(image, topic, number) for image in images)
            for place in _batches_of_the_past(replica.log)
        ]
        if not found:
            return ""
        log, path, position, header = kit.rng.choice(found)
        is_dense = log.first_dirty_offset is None and not log.config.compact
        # Of a compacted log's offsets nobody knows where they were.
        at = kit.rng.randrange(0 if is_dense else _SIZE_AT, header.size_in_bytes)
        machine.disk.flip_bit(path, position + at)
        machine.process.context.copy().run(_read_there, log, max(header.base_offset, log.log_start_offset))
        return f"a bit of {path} of {node_id} flips while it runs"

    def _rot_derived(self) -> str:
        """A broker goes down, and some of its derived files are gone or changed before it comes back."""
        kit = self._kit
        machine = kit.some_machine()
        found = [each for each in machine.disk.paths() if _is_derived(each)]
        if not found:
            return ""
        if machine.is_up:
            kit.kill(machine.node_id, 4.0)
        chosen = sorted(kit.rng.sample(found, min(len(found), kit.rng.choice((1, 1, 3, 20)))))
        for path in chosen:
            if path.endswith(".snapshot") and kit.rng.random() < 0.5:
                machine.disk.flip_bit(path)
            else:
                machine.disk.remove(path)
        return f"kill {machine.node_id}, rot of {' '.join(chosen)}"

    def _rot_records(self) -> str:
        """A broker goes down; once the others are in sync without it, a bit of its records flips."""
        kit = self._kit
        node_id = kit.some_up()
        if node_id is None:
            return ""
        machine = kit.cluster.machines[node_id]
        kit.cluster.kill(node_id)
        kit.later(8.0, lambda: self._flip(machine))
        return ""

    def _flip(self, machine: Machine) -> None:
        kit = self._kit
        if not machine.is_up and not kit.is_healed and not machine.disk.failing and self._is_spare(machine.node_id):
            where = flip_record_bit(machine.disk, kit.rng)
            if where:
                kit.struck("rot", f"a bit of {where} of {machine.node_id} flips")
        kit.restart(machine.node_id)

    def _is_spare(self, node_id: int) -> bool:
        """Whether it is fenced and out of every ISR, and all others are in theirs: what was committed says so, and what
        the controller is about to commit. While the broker is down nothing brings it back."""
        images = self._images()
        return bool(images) and all(_is_spare_in(image, node_id) for image in images)

    def _images(self) -> list[MetadataImage]:
        """The active controller's and what it knows to be committed; nothing if another one may have followed it."""
        cluster = self._kit.cluster
        voters = [cluster.machines[node_id].broker for node_id in cluster.voters if cluster.machines[node_id].broker]
        quorums = [getattr(broker, "quorum", None) for broker in voters]
        epochs = {quorum.local.id: quorum.leader_and_epoch.epoch for quorum in quorums if quorum is not None}
        for broker in voters:
            controller = None if broker is None else broker.controller
            # While most voters are in its epoch none of a later one was elected.
            if (
                broker is not None
                and controller is not None
                and controller.machine is not None
                and sum(epochs.get(each) == controller.epoch for each in broker.quorum.voters)
                >= broker.quorum.voters.majority
            ):
                return [controller.machine.image, broker.metadata.image]
        return []


def _read_there(log: Log, offset: int) -> None:
    try:
        log.read(offset, 1)
    except (KafkaError, OSError):
        return
    raise Violation("L2", f"{log} serves offset {offset}, of which a bit has flipped")


def _batches_of_the_past(log: Log) -> Iterator[tuple[str, int, BatchHeader]]:
    """Path, position and header of batches that are not read as they were appended just now."""
    for segment in log.segments:
        for position, header in segment.headers():
            if segment is log.segments[-1] and position >= segment.appended_from:
                return
            if header.last_offset >= log.log_start_offset:
                yield segment.log_path, position, header


def _is_whole_in(image: MetadataImage, topic: str, number: int) -> bool:
    state = image.partition(topic, number)
    return state is not None and len(state.replicas) > 2 and set(state.isr) == set(state.replicas)


def _is_spare_in(image: MetadataImage, node_id: int) -> bool:
    if node_id not in image.brokers or not image.brokers[node_id].fenced:
        return False
    states = [state for topic in image.topics_by_id.values() for state in topic.partitions.values()]
    return all(
        node_id not in state.isr and (len(state.replicas) <= 2 or set(state.isr) == set(state.replicas) - {node_id})
        for state in states
    )


def flip_record_bit(disk: SimDisk, rng: random.Random) -> str:
    """A bit that a start looks at; the file that holds it, or nothing: there is none."""
    segments: dict[str, list[str]] = {}
    for path in disk.paths():
        if path.endswith(".log") and not any(each in path for each in _SPARED):
            segments.setdefault(path.rpartition("/")[0], []).append(path)
    found = []
    for directory, paths in segments.items():
        log_dir, _, partition = directory.rpartition("/")
        if disk.exists(f"{log_dir}/{CLEAN_SHUTDOWN}"):
            continue
        point = _recovery_points(disk, log_dir).get(partition, 0)
        # With an index, which a clean shutdown left, a start begins near the recovery point.
        last = None if disk.exists(f"{paths[-1][:-4]}.index") else paths[-1]
        read = [path for path in paths if int(path.rpartition("/")[2][:-4]) >= point or path is last]
        found += [path for path in read if disk.file_size(path) > LOG_OVERHEAD_BYTES]
    if not found:
        return ""
    path = rng.choice(found)
    data = disk.read(path)
    batches, position = [], 0
    while position + LOG_OVERHEAD_BYTES < len(data):
        size = int.from_bytes(data[position + _SIZE_AT : position + LOG_OVERHEAD_BYTES], "big") + LOG_OVERHEAD_BYTES
        if size <= LOG_OVERHEAD_BYTES or position + size > len(data):
            break
        batches.append((position, size))
        position += size
    if not batches:
        return ""
    position, size = rng.choice(batches)
    disk.flip_bit(path, position + rng.randrange(_COVERED_FROM, size))
    return path


def _recovery_points(disk: SimDisk, log_dir: str) -> dict[str, int]:
    """Directory name to offset; lines of topic, partition and offset behind two others."""
    try:
        lines = disk.read(f"{log_dir}/{_RECOVERY_POINTS}").decode().splitlines()[2:]
    except OSError:
        return {}
    return {f"{topic}-{number}": int(offset) for topic, number, offset in (line.split() for line in lines)}


def _is_derived(path: str) -> bool:
    return path.endswith((*_DERIVED, *_CHECKPOINTS)) and _QUORUM_DIRECTORY not in path
