"""The small text files of a log directory. Each is replaced as a whole, so that a crash leaves the old or the new one.

``recovery-point-``, ``replication-``, ``log-start-`` and ``cleaner-offset-checkpoint`` are those of
OffsetCheckpointFile, ``.kafka_cleanshutdown`` that of CleanShutdownFileHandler, ``meta.properties`` that of
MetaProperties (version 0 where ZooKeeper coordinates, 1 where a quorum does), and a partition's ``partition.metadata``
that of PartitionMetadataFile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid, uuid_from_str, uuid_to_str
from engine.model.properties import read_properties
from engine.model.topic_partition import TopicPartition
from engine.world import Disk

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
LOG_START_OFFSETS = "log-start-offset-checkpoint"
CLEANER_OFFSETS = "cleaner-offset-checkpoint"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
META_PROPERTIES = "meta.properties"
LOCK = ".lock"
PARTITION_METADATA = "partition.metadata"

NO_BROKER_EPOCH = -1
_VERSION = 0
# Of meta.properties: under ZooKeeper, under a quorum; and what each calls the node's id.
ZOOKEEPER_VERSION = 0
KRAFT_VERSION = 1
_NODE_ID = {ZOOKEEPER_VERSION: "broker.id", KRAFT_VERSION: "node.id"}


class CheckpointCorrupt(ValueError):
    """A small file does not read as what it should be."""


def encode_lines(lines: Iterable[str]) -> bytes:
    """Version, number of lines, lines (CheckpointFile)."""
    content = list(lines)
    return ("\n".join([str(_VERSION), str(len(content)), *content]) + "\n").encode()


def decode_lines(path: str, content: bytes) -> list[str]:
    """The lines of such a file. Kafka makes it empty and fills it later: one without a byte has no lines.

    Raises:
        CheckpointCorrupt: its version is another, or its count is wrong.
    """
    if not content:
        return []
    try:
        version, count, *lines = content.decode().splitlines()
        if int(version) != _VERSION:
            raise CheckpointCorrupt(f"{path} has version {version}, {_VERSION} is known")
        while lines and not lines[-1].strip():
            lines.pop()
        if int(count) != len(lines):
            raise CheckpointCorrupt(f"{path} announces {count} lines and has {len(lines)}")
    except CheckpointCorrupt:
        raise
    except ValueError:
        raise CheckpointCorrupt(f"{path} is no checkpoint file") from None
    return lines


def read_offsets(disk: Disk, path: str) -> dict[TopicPartition, int]:
    """Offsets of partitions; empty if there is no file.

    Raises:
        CheckpointCorrupt: as :func:`decode_lines`, or a line is none.
    """
    try:
        content = disk.read(path)
    except FileNotFoundError:
        return {}
    found: dict[TopicPartition, int] = {}
    for line in decode_lines(path, content):
        try:
            topic, partition, offset = line.split()
            found[TopicPartition(topic, int(partition))] = int(offset)
        except ValueError:
            raise CheckpointCorrupt(f"{path}: {line!r} is not topic, partition and offset") from None
    return found


def write_offsets(disk: Disk, path: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Replace the file, durably. Raises ``OSError``."""
    lines = [f"{each.topic} {each.partition} {offset}" for each, offset in sorted(offsets.items())]
    disk.write_atomic(path, encode_lines(lines))


def read_clean_shutdown(disk: Disk, directory: str) -> int | None:
    """The broker epoch at the last shutdown, -1 if it does not say; ``None`` if that was not clean."""
    try:
        content = disk.read(f"{directory}/{CLEAN_SHUTDOWN}")
    except FileNotFoundError:
        return None
    try:
        epoch = json.loads(content)["brokerEpoch"]
    except (ValueError, KeyError, TypeError):
        # Kafka before 3.6 left it empty.
        return NO_BROKER_EPOCH
    return epoch if isinstance(epoch, int) else NO_BROKER_EPOCH


def write_clean_shutdown(disk: Disk, directory: str, broker_epoch: int) -> None:
    """Say that everything is on the device and need not be recovered."""
    content = json.dumps({"version": _VERSION, "brokerEpoch": broker_epoch}, separators=(",", ":"))
    disk.write_atomic(f"{directory}/{CLEAN_SHUTDOWN}", content.encode())


class MetaProperties(NamedTuple):
    """Whose a log directory is. ``directory_id`` may be missing in one that an older Kafka made (KIP-858), and is in
    those that Kafka made under ZooKeeper: their ``version`` is 0 (MetaPropertiesVersion)."""

    cluster_id: str
    node_id: int
    directory_id: Uuid | None
    version: int = KRAFT_VERSION


def read_meta_properties(disk: Disk, directory: str) -> MetaProperties | None:
    """``meta.properties`` of a log directory; ``None`` if it was never formatted.

    Raises:
        CheckpointCorrupt: something is missing, or the version is another.
    """
    path = f"{directory}/{META_PROPERTIES}"
    try:
        content = disk.read(path)
    except FileNotFoundError:
        return None
    try:
        properties = read_properties(content.decode())
        # Kafka: one that does not say has version 0.
        version = int(properties.get("version", ZOOKEEPER_VERSION))
        if version not in _NODE_ID:
            raise CheckpointCorrupt(f"{path} has version {version}, 0 and 1 are known")
        directory_id = properties.get("directory.id")
        return MetaProperties(
            properties["cluster.id"],
            int(properties[_NODE_ID[version]]),
            None if directory_id is None else uuid_from_str(directory_id),
            version,
        )
    except KeyError as missing:
        raise CheckpointCorrupt(f"{path} has no {missing.args[0]}") from None
    except CheckpointCorrupt:
        raise
    except ValueError as error:
        raise CheckpointCorrupt(f"{path}: {error}") from None


def write_meta_properties(disk: Disk, directory: str, properties: MetaProperties) -> None:
    """Replace it, durably."""
    found = {"cluster.id": properties.cluster_id, _NODE_ID[properties.version]: str(properties.node_id)}
    if properties.directory_id is not None:
        found["directory.id"] = uuid_to_str(properties.directory_id)
    found["version"] = str(properties.version)
    lines = ["#", *(f"{name}={value}" for name, value in sorted(found.items()))]
    disk.write_atomic(f"{directory}/{META_PROPERTIES}", ("\n".join(lines) + "\n").encode())


def read_partition_metadata(disk: Disk, directory: str) -> Uuid | None:
    """The topic's id in a partition's directory; ``None`` if there is none.

    Raises:
        CheckpointCorrupt: the file does not say.
    """
    path = f"{directory}/{PARTITION_METADATA}"
    try:
        content = disk.read(path)
    except FileNotFoundError:
        return None
    try:
        version, topic_id = content.decode().splitlines()[:2]
        if version.replace(" ", "") != f"version:{_VERSION}" or not topic_id.startswith("topic_id:"):
            raise ValueError
        return uuid_from_str(topic_id.removeprefix("topic_id:").strip())
    except ValueError:
        raise CheckpointCorrupt(f"{path} names no topic id") from None


def write_partition_metadata(disk: Disk, directory: str, topic_id: Uuid) -> None:
    """Write it; it is not synced, as in Kafka, whose PartitionMetadataFile waits for the first append even to be
    written: thousands of partitions are made at once."""
    path = f"{directory}/{PARTITION_METADATA}"
    disk.remove(path)
    file = disk.open(path, append=True, create=True)
    try:
        file.append((_note(topic_id),))
    finally:
        file.close()


def _note(topic_id: Uuid) -> bytes:
    return f"version: {_VERSION}\ntopic_id: {uuid_to_str(topic_id)}".encode()


def settle_topic_id(disk: Disk, directory: str, topic_id: Uuid | None, *, may_be_torn: bool = False) -> Uuid:
    """The id of the topic whose directory it is; ``topic_id``, noted there unsynced, if nothing says so yet.

    ``may_be_torn``: the log was perhaps never flushed, so that a loss of power left half of the file, or zeros; it goes
    then.

    Raises:
        CheckpointCorrupt: the file does not say.
        KafkaError: INCONSISTENT_TOPIC_ID if it is another one.
    """
    try:
        known = read_partition_metadata(disk, directory)
    except CheckpointCorrupt:
        path = f"{directory}/{PARTITION_METADATA}"
        content = disk.read(path)
        if not may_be_torn or (len(content) >= len(_note(ZERO_UUID)) and b"\0" not in content):
            raise
        disk.remove(path)
        known = None
    if topic_id is None or topic_id == ZERO_UUID:
        return ZERO_UUID if known is None else known
    if known is None:
        write_partition_metadata(disk, directory, topic_id)
    elif known != topic_id:
        raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID, f"{directory} belongs to another topic of the same name")
    return topic_id
