"""What stands in the log directories of a broker that is stopped, and what in it would keep Apache Kafka from them.

Nothing is changed but ``.lock`` files, which are taken for a moment; everything of the size of the data is left unread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from engine.broker.quorum import quorum_state_file
from engine.broker.quorum.batches import MetadataNotUnderstood, decode_batch
from engine.broker.quorum.snapshot_files import SnapshotCorrupt, decode_snapshot, parse_snapshot_file_name
from engine.broker.quorum.voters import read_voters
from engine.core.controller.image import MetadataImage, ReplayError
from engine.core.raft.identity import OffsetAndEpoch, VoterSet
from engine.model.errors import KafkaError
from engine.model.ids import Uuid, uuid_to_str
from engine.model.topic_partition import TopicPartition
from engine.record.batch import check_crc, iter_batches
from engine.storage.batch_scan import scan_intact_batches
from engine.storage.checkpoints import (
    CLEAN_SHUTDOWN,
    HIGH_WATERMARKS,
    LOCK,
    LOG_START_OFFSETS,
    META_PROPERTIES,
    PARTITION_METADATA,
    RECOVERY_POINTS,
    CheckpointCorrupt,
    read_meta_properties,
    read_offsets,
    read_partition_metadata,
)
from engine.storage.leader_epochs import LeaderEpochs
from engine.storage.log_directory import METADATA_DIRECTORY
from engine.storage.segment import LOG_SUFFIX
from engine.world import Disk

_OTHER_SUFFIXES = ("-delete", "-future", "-stray")


class Problem(NamedTuple):
    """Why Kafka must not be started on a directory: whose, which file or directory, what is wrong, what to do."""

    broker_id: int
    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"broker {self.broker_id}: {self.path}: {self.what}: {self.remedy}"


class FoundLog(NamedTuple):
    """A partition's log: where it is, the topic's id, and where it ends."""

    path: str
    topic_id: Uuid | None
    end_offset: int


class StoppedBroker:
    """The log directories of one broker, read once.

    ``problems`` has all that is wrong, ``logs`` what could be read, ``directory_ids`` whose each directory is, and
    ``metadata`` the metadata log's end with the image that it makes (``None`` where there is no such log), ``voters``
    those that the log names itself.
    """

    def __init__(self, disk: Disk, broker_id: int, log_dirs: list[str], metadata_log_dir: str) -> None:
        """Nothing is read before :meth:`read`."""
        self._disk = disk
        self.broker_id = broker_id
        self.log_dirs = log_dirs
        self.metadata_log_dir = metadata_log_dir
        self.problems: list[Problem] = []
        self.logs: dict[TopicPartition, FoundLog] = {}
        self.directory_ids: dict[str, Uuid] = {}
        self.metadata: tuple[OffsetAndEpoch, MetadataImage] | None = None
        self.voters: VoterSet | None = None

    def read(self, cluster_id: str, *, is_voter: bool) -> None:
        """Look at everything. ``cluster_id``: the one that the directories must have."""
        for path in self.log_dirs:
            if not self._disk.is_dir(path):
                self._complain(path, "the log directory is not there", "bring it back, or start the cluster once more")
            elif self._is_free(path) and self._is_formatted(path, cluster_id):
                self._check_shutdown(path)
                self._read_logs(path)
        if self._disk.is_dir(self.metadata_log_dir):
            self._read_metadata(is_voter)

    def _complain(self, path: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(self.broker_id, path, what, remedy))

    # -- the directory ------------------------------------------------------------------------------------------

    def _is_free(self, path: str) -> bool:
        try:
            self._disk.lock(f"{path}/{LOCK}").release()
        except BlockingIOError:
            self._complain(path, "a running broker, kconsole's or Kafka's, has it", "stop that process first")
        except OSError as error:
            self._complain(path, f"it cannot be locked ({error.strerror})", "make it writable for this user")
        else:
            return True
        return False

    def _is_formatted(self, path: str, cluster_id: str) -> bool:
        file = f"{path}/{META_PROPERTIES}"
        try:
            found = read_meta_properties(self._disk, path)
        except (CheckpointCorrupt, OSError) as error:
            self._complain(file, _said(error), "restore it: cluster.json has the cluster's and the directory's id")
            return False
        if found is None:
            self._complain(file, "it is missing, so nobody knows whose directory this is", "restore it")
        elif found.cluster_id != cluster_id:
            remedy = f"take the directory out, or bring back the one of cluster {cluster_id}"
            self._complain(file, f"it belongs to another cluster, {found.cluster_id}", remedy)
        elif found.node_id != self.broker_id:
            self._complain(file, f"it belongs to node {found.node_id}", "bring back this broker's own directory")
        elif found.directory_id is None:
            self._complain(file, "it has no directory.id", "start and stop the cluster once more: that adds one")
        else:
            self.directory_ids[path] = found.directory_id
            return True
        return False

    def _check_shutdown(self, path: str) -> None:
        if not self._disk.exists(f"{path}/{CLEAN_SHUTDOWN}"):
            self._complain(
                f"{path}/{CLEAN_SHUTDOWN}",
                "it is missing, so the broker was killed or is in the middle of starting",
                "start the cluster and stop it with `kconsole shutdown`",
            )
        for name in (RECOVERY_POINTS, HIGH_WATERMARKS, LOG_START_OFFSETS):
            with self._complaints_about(f"{path}/{name}", "start and stop the cluster once more: that writes it anew"):
                read_offsets(self._disk, f"{path}/{name}")

    @contextlib.contextmanager
    def _complaints_about(self, path: str, remedy: str) -> Iterator[None]:
        try:
            yield
        except (CheckpointCorrupt, KafkaError, OSError) as error:
            self._complain(path, _said(error), remedy)

    # -- partitions ---------------------------------------------------------------------------------------------

    def _read_logs(self, log_dir: str) -> None:
        high_watermarks: dict[TopicPartition, int] = {}
        with contextlib.suppress(CheckpointCorrupt, OSError):
            high_watermarks = read_offsets(self._disk, f"{log_dir}/{HIGH_WATERMARKS}")
        for name in self._disk.list_dir(log_dir):
            path = f"{log_dir}/{name}"
            topic, _, number = name.rpartition("-")
            if not topic or not number.isdigit() or name == METADATA_DIRECTORY or not self._disk.is_dir(path):
                if name.endswith(_OTHER_SUFFIXES) or name == METADATA_DIRECTORY or not self._disk.is_dir(path):
                    continue
                self._complain(path, "Kafka does not start beside a directory that is no partition's", "move it away")
                continue
            topic_partition = TopicPartition(topic, int(number))
            with self._complaints_about(path, "start the cluster, let it copy the partition anew, and stop it"):
                found = self._read_log(path)
                if topic_partition in self.logs:
                    remedy = "remove the older one"
                    self._complain(path, f"the partition is in {self.logs[topic_partition].path} too", remedy)
                high_watermark = high_watermarks.get(topic_partition, 0)
                if found.end_offset < high_watermark:
                    raise CheckpointCorrupt(
                        f"it ends at offset {found.end_offset}, and was committed up to {high_watermark}"
                    )
                self.logs[topic_partition] = found

    def _read_log(self, path: str) -> FoundLog:
        disk = self._disk
        topic_id = read_partition_metadata(disk, path)
        if topic_id is None:
            raise CheckpointCorrupt(f"{PARTITION_METADATA} is missing")
        segments = [each for each in disk.list_dir(path) if each.endswith(LOG_SUFFIX)]
        if not segments:
            raise CheckpointCorrupt("it has no segment")
        end_offset = self._end_of_segment(f"{path}/{segments[-1]}")
        LeaderEpochs(disk, path, lambda: end_offset).load()
        return FoundLog(path, topic_id, end_offset)

    def _end_of_segment(self, path: str) -> int:
        """Every batch of a partition's last segment is checked: it is what was written last."""
        size = self._disk.file_size(path)
        end_offset, end_position = int(path.rpartition("/")[2].removesuffix(LOG_SUFFIX)), 0
        file = self._disk.open(path, read_only=True)
        try:
            for position, header in scan_intact_batches(file, 0, size):
                end_offset, end_position = header.next_offset, position + header.size_in_bytes
        finally:
            file.close()
        if end_position != size:
            raise CheckpointCorrupt(f"{path} has a corrupt batch at byte {end_position} (offset {end_offset})")
        return end_offset

    # -- metadata -----------------------------------------------------------------------------------------------

    def _read_metadata(self, is_voter: bool) -> None:
        directory = f"{self.metadata_log_dir}/{METADATA_DIRECTORY}"
        if not self._disk.is_dir(directory):
            self._complain(directory, "the metadata log is missing", "start the cluster once more, or bring it back")
            return
        state = f"{directory}/{quorum_state_file.FILE_NAME}"
        try:
            if self._disk.exists(state):
                quorum_state_file.decode(self._disk.read(state))
            elif is_voter:
                self._complain(state, "it is missing, and says whom this voter voted for", "bring it back")
            self.metadata = self._replay(directory)
            named = read_voters(self._disk, self.metadata_log_dir)
            self.voters = named[-1].voters if named else None
        except quorum_state_file.QuorumStateError as error:
            self._complain(state, str(error), "bring it back")
        except (KafkaError, MetadataNotUnderstood, ReplayError, SnapshotCorrupt, CheckpointCorrupt, OSError) as error:
            self._complain(
                directory, _said(error), "start the cluster: a voter copies what a majority has; then stop it"
            )

    def _replay(self, directory: str) -> tuple[OffsetAndEpoch, MetadataImage]:
        """The newest snapshot and the batches after it."""
        disk, image = self._disk, MetadataImage()
        end = OffsetAndEpoch(0, 0)
        names = disk.list_dir(directory)
        snapshots = [each for each in map(parse_snapshot_file_name, names) if each is not None]
        if snapshots:
            end = max(snapshots)
            for record in decode_snapshot(disk.read(f"{directory}/{_snapshot_name(names, end)}")):
                image.replay(record)
        for name in names:
            if not name.endswith(LOG_SUFFIX):
                continue
            for header, batch in iter_batches(disk.read(f"{directory}/{name}")):
                if header.next_offset <= end.offset:
                    continue
                check_crc(batch)
                if header.base_offset != end.offset:
                    raise CheckpointCorrupt(f"{name}: offsets {end.offset} to {header.base_offset - 1} are missing")
                if not header.is_control:
                    for record in decode_batch(batch):
                        image.replay(record)
                end = OffsetAndEpoch(header.next_offset, header.partition_leader_epoch)
        return end, image


def _snapshot_name(names: list[str], snapshot_id: OffsetAndEpoch) -> str:
    return next(name for name in names if parse_snapshot_file_name(name) == snapshot_id)


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if isinstance(error, KafkaError) else str(error)


def missing_replicas(image: MetadataImage, broker: StoppedBroker) -> list[Problem]:
    """In-sync replicas of the broker whose log is not in its directories, or is another topic's: Kafka would begin them
    empty."""
    found: list[Problem] = []
    for topic in image.topics_by_name.values():
        for number, partition in sorted(topic.partitions.items()):
            if broker.broker_id not in partition.isr:
                continue
            log = broker.logs.get(TopicPartition(topic.name, number))
            name = f"{topic.name}-{number}"
            if log is None:
                if any(each.path.endswith(f"/{name}") for each in broker.problems):
                    continue
                path = f"{broker.log_dirs[0]}/{name}"
                remedy = "bring it back, or start the cluster, let it copy the partition anew, and stop it"
                found.append(Problem(broker.broker_id, path, "this in-sync replica has no log", remedy))
            elif log.topic_id != topic.topic_id:
                is_of = "nobody" if log.topic_id is None else uuid_to_str(log.topic_id)
                what = f"it belongs to topic id {is_of}, and {topic.name} is {uuid_to_str(topic.topic_id)}"
                found.append(Problem(broker.broker_id, log.path, what, "start the cluster, and stop it"))
    return found
