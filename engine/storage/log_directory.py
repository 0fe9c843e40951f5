"""One of ``log.dirs``: its lock, whose it is, and what its checkpoints say."""

from __future__ import annotations

import logging
from typing import NamedTuple

from engine.model.ids import Uuid, uuid_to_str
from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import (
    KRAFT_VERSION,
    LOCK,
    NO_BROKER_EPOCH,
    ZOOKEEPER_VERSION,
    MetaProperties,
    read_meta_properties,
    write_meta_properties,
)
from engine.world import DiskLock, World

log = logging.getLogger(__name__)

METADATA_DIRECTORY = "__cluster_metadata-0"


class CheckpointValues(NamedTuple):
    """The offset checkpoints of one directory. ``cleaner_offsets``: where the part of a log begins that was not
    compacted."""

    recovery_points: dict[TopicPartition, int]
    high_watermarks: dict[TopicPartition, int]
    log_start_offsets: dict[TopicPartition, int]
    cleaner_offsets: dict[TopicPartition, int]


class LogDirectory:
    """One of ``log.dirs``."""

    __slots__ = (
        "checkpointed",
        "clean_shutdown",
        "directory_id",
        "failure",
        "lock",
        "lost_recovery_points",
        "path",
        "previous_broker_epoch",
    )

    def __init__(self, path: str, lock: DiskLock | None) -> None:
        self.path = path
        self.lock = lock
        self.directory_id: Uuid = bytes(16)
        self.clean_shutdown = False
        self.previous_broker_epoch = NO_BROKER_EPOCH
        self.failure: str | None = None
        # Whether there was no recovery-point-offset-checkpoint that can be read.
        self.lost_recovery_points = False
        # What the files say.
        self.checkpointed = CheckpointValues({}, {}, {}, {})


def lock(world: World, path: str) -> DiskLock:
    try:
        return world.disk.lock(f"{path}/{LOCK}")
    except BlockingIOError:
        raise OSError(
            f"log directory {path} is used by another process: stop that broker, or set log.dirs to another directory"
        ) from None


def identify(
    world: World,
    directories: list[LogDirectory],
    node_id: int,
    cluster_id: str | None,
    may_found_cluster: bool,
    under_zookeeper: bool,
) -> str:
    """Read or make each directory's meta.properties; returns the cluster's id."""
    found = [(each, read_meta_properties(world.disk, each.path)) for each in directories]
    _check_coordination(world, found, under_zookeeper)
    for directory, properties in found:
        if properties is None:
            continue
        if properties.node_id != node_id:
            raise ValueError(
                f"{directory.path} belongs to node {properties.node_id}, this is node {node_id}: "
                "correct node.id or log.dirs"
            )
        if cluster_id is None:
            cluster_id = properties.cluster_id
        if properties.cluster_id != cluster_id:
            raise ValueError(
                f"{directory.path} belongs to cluster {properties.cluster_id}, this is cluster {cluster_id}: "
                "set log.dirs to a directory of this cluster"
            )
    if cluster_id is None:
        new_id = uuid_to_str(world.random.uuid())
        if not may_found_cluster:
            raise ValueError(
                f"{directories[0].path} is not formatted, no meta.properties names its cluster: give every node of a "
                f"new cluster the same id, --cluster-id {new_id} say; for one that exists, correct log.dirs"
            )
        cluster_id = new_id
        log.warning("%s was empty: this node begins the new cluster %s in it", directories[0].path, cluster_id)
    seen: dict[Uuid, str] = {}
    for directory, properties in found:
        directory_id = None if properties is None else properties.directory_id
        if directory_id is None:
            directory_id = world.random.uuid()
            version = ZOOKEEPER_VERSION if under_zookeeper else KRAFT_VERSION
            if properties is not None:
                version = properties.version
            made = MetaProperties(cluster_id, node_id, directory_id, version)
            write_meta_properties(world.disk, directory.path, made)
        if directory_id in seen:
            raise ValueError(
                f"{directory.path} and {seen[directory_id]} have the same directory.id: one is a copy of the other, "
                "take it out of log.dirs"
            )
        seen[directory_id] = directory.path
        directory.directory_id = directory_id
    return cluster_id


def _check_coordination(
    world: World, found: list[tuple[LogDirectory, MetaProperties | None]], under_zookeeper: bool
) -> None:
    """What a quorum coordinated holds records that ZooKeeper knows nothing of, and the other way round: partitions that
    the one knows are strays to the other."""
    if under_zookeeper:
        for directory, properties in found:
            # Kafka refuses it too (MetaPropertiesEnsemble, REQUIRE_V0).
            if properties is not None and properties.version != ZOOKEEPER_VERSION:
                raise ValueError(
                    f"{directory.path} belongs to a cluster that its own quorum coordinates (KRaft), and this node's "
                    "zookeeper.connect is set: take it out, or correct log.dirs; no cluster goes back to ZooKeeper"
                )
        return
    # Kafka leaves version 0 in directories that it has moved to KRaft; then there is a metadata log.
    was_moved = any(world.disk.exists(f"{directory.path}/{METADATA_DIRECTORY}") for directory, _ in found)
    for directory, properties in found:
        if properties is not None and properties.version == ZOOKEEPER_VERSION and not was_moved:
            raise ValueError(
                f"{directory.path} belongs to a cluster that ZooKeeper coordinates, and this node's configs name none: "
                "set zookeeper.connect, or move the cluster with `kconsole zookeeper migrate`"
            )
