"""The log directories of stopped nodes, from those of a cluster under ZooKeeper to those of one under KRaft, and back.

A voter gets ``__cluster_metadata-0`` with one snapshot, as if it had just fetched that from a leader and its log began
behind it; every log directory gets meta.properties version 1 (``node.id``, ``directory.id``) for version 0
(``broker.id``). Each file is whole or absent and synced before the next is begun, and meta.properties come last: a
directory whose meta.properties are of version 0 is one of ZooKeeper's, whatever else is in it. Everything can be done
again after a cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.broker.metadata_log import write_bootstrap
from engine.broker.quorum import quorum_state_file
from engine.broker.quorum.snapshot_files import PARTIAL_SUFFIX, encode_snapshot, snapshot_file_name
from engine.core.raft.identity import ElectionState, OffsetAndEpoch, VoterSet
from engine.model.ids import METADATA_TOPIC_ID, Uuid, uuid_from_str, uuid_to_str
from engine.model.properties import read_properties
from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import (
    LOCK,
    META_PROPERTIES,
    PARTITION_METADATA,
    MetaProperties,
    read_clean_shutdown,
    write_meta_properties,
)
from engine.storage.file_sync import make_dirs_synced
from engine.storage.log_directory import METADATA_DIRECTORY
from engine.wire.message import Message
from engine.world import Disk

_NOT_LOGS = ("-delete", "-future", "-stray")


class DirectoryProblem(Exception):
    """A log directory cannot be converted; the message names it, and says what to do."""


class NodeDirectories(NamedTuple):
    """One node: its log directories, the one with the metadata log, and whether it is to vote."""

    node_id: int
    log_dirs: tuple[str, ...]
    metadata_log_dir: str
    is_voter: bool


class Formatted(NamedTuple):
    """What meta.properties say: version 0 is ZooKeeper's, 1 is KRaft's."""

    version: int
    cluster_id: str | None
    node_id: int | None
    directory_id: Uuid | None


def read_formatted(disk: Disk, path: str) -> Formatted | None:
    """meta.properties of either version; ``None`` if there are none.

    Raises:
        DirectoryProblem: they cannot be read.
    """
    file = f"{path}/{META_PROPERTIES}"
    try:
        properties = read_properties(disk.read(file).decode())
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise DirectoryProblem(f"{file} is no text: restore it") from None
    try:
        version = int(properties.get("version", "0"))
        node_id = properties.get("node.id" if version else "broker.id")
        directory_id = properties.get("directory.id")
        return Formatted(
            version,
            properties.get("cluster.id"),
            None if node_id is None else int(node_id),
            None if directory_id is None else uuid_from_str(directory_id),
        )
    except ValueError as error:
        raise DirectoryProblem(f"{file}: {error}: restore it") from None


class FoundDirectories(NamedTuple):
    """What stands in a node's directories: an id for each (a new one where it has none), where each replica is, and the
    broker epochs of the last shutdown."""

    directory_ids: dict[str, Uuid]
    replicas: dict[TopicPartition, Uuid]
    broker_epochs: list[int]


def look(disk: Disk, node: NodeDirectories, cluster_id: str, new_ids: Iterable[Uuid]) -> FoundDirectories:
    """Check a stopped node's directories; changes nothing but ``.lock`` files, which are taken for a moment.

    Raises:
        DirectoryProblem: a directory is missing, in use, another's, or has run under KRaft already.
    """
    ids: dict[str, Uuid] = {}
    replicas: dict[TopicPartition, Uuid] = {}
    epochs: list[int] = []
    fresh = iter(new_ids)
    for path in node.log_dirs:
        if not disk.is_dir(path):
            raise DirectoryProblem(f"{path}, a log directory of broker {node.node_id}, is not there: bring it back")
        try:
            disk.lock(f"{path}/{LOCK}").release()
        except BlockingIOError:
            raise DirectoryProblem(
                f"a running broker, kconsole's or Kafka's, has {path}: stop that process first"
            ) from None
        found = read_formatted(disk, path)
        if found is None:
            raise DirectoryProblem(f"{path} has no {META_PROPERTIES}: it is no log directory of a cluster that ran")
        if found.cluster_id not in (None, cluster_id):
            raise DirectoryProblem(
                f"{path} belongs to cluster {found.cluster_id}, and ZooKeeper has {cluster_id}: give the right one"
            )
        if found.node_id not in (None, node.node_id):
            raise DirectoryProblem(f"{path} belongs to broker {found.node_id}, not to {node.node_id}")
        ids[path] = found.directory_id or next(fresh)
        for name in disk.list_dir(path):
            topic, _, number = name.rpartition("-")
            if topic and number.isdigit() and name != METADATA_DIRECTORY and not name.endswith(_NOT_LOGS):
                replicas[TopicPartition(topic, int(number))] = ids[path]
        epoch = read_clean_shutdown(disk, path)
        if epoch is not None:
            epochs.append(epoch)
    check_unused(disk, node)
    return FoundDirectories(ids, replicas, epochs)


def has_run_on_kraft(disk: Disk, node: NodeDirectories) -> bool:
    """Whether anything was written to a metadata log there: a segment, or a vote that was cast."""
    directory = f"{node.metadata_log_dir}/{METADATA_DIRECTORY}"
    if not disk.is_dir(directory):
        return False
    if any(name.endswith(".log") for name in disk.list_dir(directory)):
        return True
    try:
        election = quorum_state_file.decode(disk.read(f"{directory}/{quorum_state_file.FILE_NAME}"))
    except (FileNotFoundError, quorum_state_file.QuorumStateError):
        return False
    return election.leader_id is not None or election.voted is not None


def write_voter(
    disk: Disk,
    node: NodeDirectories,
    *,
    snapshot_id: OffsetAndEpoch,
    snapshot: bytes,
    voters: VoterSet,
    bootstrap: Sequence[Message],
    now_ms: int,
) -> None:
    """Write the metadata directory of a voter that begins at a snapshot. Raises ``OSError``."""
    # Only where no metadata directory is: afterwards it is there.
    write_bootstrap(disk, node.metadata_log_dir, bootstrap, now_ms)
    directory = f"{node.metadata_log_dir}/{METADATA_DIRECTORY}"
    make_dirs_synced(disk, directory)
    kept = snapshot_file_name(snapshot_id)
    for name in disk.list_dir(directory):
        # Of a migration that was cut, maybe of an older tree.
        if name != kept and name.endswith((".checkpoint", PARTIAL_SUFFIX)):
            disk.remove(f"{directory}/{name}")
    about = f"version: 0\ntopic_id: {uuid_to_str(METADATA_TOPIC_ID)}"
    disk.write_atomic(f"{directory}/{PARTITION_METADATA}", about.encode())
    election = ElectionState(snapshot_id.epoch, None, None)
    disk.write_atomic(f"{directory}/{quorum_state_file.FILE_NAME}", quorum_state_file.encode(election, voters))
    disk.write_atomic(f"{directory}/{kept}", snapshot)


def write_properties(disk: Disk, node: NodeDirectories, cluster_id: str, directory_ids: dict[str, Uuid]) -> None:
    """meta.properties version 1 in every log directory of a node. Raises ``OSError``."""
    for path in node.log_dirs:
        write_meta_properties(disk, path, MetaProperties(cluster_id, node.node_id, directory_ids[path]))


def check_unused(disk: Disk, node: NodeDirectories) -> None:
    """Raises: DirectoryProblem: the node ran under KRaft."""
    if has_run_on_kraft(disk, node):
        raise DirectoryProblem(
            f"broker {node.node_id} ran under KRaft ({node.metadata_log_dir}/{METADATA_DIRECTORY} has a log): what was "
            "done there would be lost"
        )


def restore_properties(disk: Disk, node: NodeDirectories) -> None:
    """meta.properties of version 0 again. Raises ``DirectoryProblem``, ``OSError``."""
    for path in node.log_dirs:
        found = read_formatted(disk, path)
        if found is None or found.version == 0:
            continue
        lines = ["#", f"broker.id={node.node_id}", f"cluster.id={found.cluster_id}"]
        if found.directory_id is not None:
            lines.append(f"directory.id={uuid_to_str(found.directory_id)}")
        lines.append("version=0")
        disk.write_atomic(f"{path}/{META_PROPERTIES}", ("\n".join(lines) + "\n").encode())


def remove_metadata(disk: Disk, node: NodeDirectories) -> None:
    """The metadata directory goes, in which nobody has worked.

    Raises:
        DirectoryProblem: somebody has.
        OSError: it cannot be removed.
    """
    check_unused(disk, node)
    if disk.is_dir(f"{node.metadata_log_dir}/{METADATA_DIRECTORY}"):
        disk.remove_tree(f"{node.metadata_log_dir}/{METADATA_DIRECTORY}")


def snapshot_of(records: Iterable[Message], snapshot_id: OffsetAndEpoch, now_ms: int) -> bytes:
    """The bytes of the snapshot, the same for every voter."""
    return b"".join(
        encode_snapshot(records, epoch=snapshot_id.epoch, last_contained_log_timestamp_ms=now_ms, now_ms=now_ms)
    )
