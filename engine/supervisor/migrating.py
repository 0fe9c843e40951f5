"""Moving a stopped cluster from ZooKeeper to KRaft: what is read, in which order what is written, and the way back.

Nothing that was there before is changed until all that is new is on the disk, and ZooKeeper's tree never, but for
``/kconsole/migrated``, which is made first: with it no broker starts under ZooKeeper again. So a migration that was cut
anywhere is done again from its beginning, or undone. In order:

1. the marker, as begun; 2. each voter's metadata directory; 3. meta.properties of all brokers; 4. files that say how
the cluster is coordinated, of which a copy is kept; 5. the marker, as written. Offsets that groups committed to
ZooKeeper are the sixth: they are committed to the cluster once it runs (:mod:`engine.supervisor.zookeeper_offsets`).
Then, or if there are none, the marker says done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.core.controller.feature_control import bootstrap_records
from engine.core.raft.identity import VoterSet
from engine.core.znodes.operations import Znode
from engine.supervisor import kraft_directories
from engine.supervisor.kraft_directories import NodeDirectories
from engine.supervisor.zookeeper_migration import (
    MARKER,
    Metadata,
    NotMigratable,
    check_stopped,
    cluster_id_of,
    metadata_of,
)
from engine.world import Disk, World
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import NodeExists, NoNode
from engine.zookeeper.session import ZooKeeperSession

# Written: the directories are KRaft's; only committed offsets may be missing.
BEGUN, WRITTEN, DONE = "begun", "written", "done"


class NewFile(NamedTuple):
    """A file that is written in the end; ``backup``: where the one that is there now is kept, if it is to be."""

    path: str
    content: bytes
    backup: str | None = None


class Cluster(NamedTuple):
    """A cluster that is to move: where ZooKeeper is, the directories of every broker, the files that change in the
    end, and what is worth knowing."""

    zookeeper: ZooKeeperConfig
    nodes: tuple[NodeDirectories, ...]
    files: tuple[NewFile, ...] = ()
    notes: tuple[str, ...] = ()


class Plan(NamedTuple):
    """What would be written."""

    cluster: Cluster
    metadata: Metadata
    directory_ids: Mapping[int, dict[str, bytes]]
    state: str

    @property
    def voters(self) -> list[int]:
        """Who votes on the metadata from now on."""
        return [each.node_id for each in self.cluster.nodes if each.is_voter]


def marker_of(state: str, now_ms: int) -> bytes:
    """The marker's value."""
    return json.dumps({"version": 1, "state": state, "timestamp": str(now_ms)}, separators=(",", ":")).encode()


class ZooKeeperTree:
    """One connection that reads a tree and keeps the marker. It makes nothing else, not even a chroot."""

    def __init__(self, config: ZooKeeperConfig) -> None:
        self._chroot = config.chroot
        # Under its own name a session makes the chroot where there is none.
        self._session = ZooKeeperSession(dataclasses.replace(config, chroot=""))

    async def __aenter__(self) -> ZooKeeperTree:
        """Raises: ZooKeeperError."""
        await self._session.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def read(self, beneath: str = "/") -> dict[str, Znode]:
        """All znodes at and beneath a path, by their paths under the chroot. Raises: ZooKeeperError."""
        root = (self._chroot + beneath).rstrip("/") or "/"
        with contextlib.suppress(NoNode):
            await self._session.sync(root)
        tree = await self._session.read_tree([root])
        cut = len(self._chroot)
        return {
            path[cut:] or "/": znode
            for path, znode in tree.items()
            if self._chroot or not (path == "/zookeeper" or path.startswith("/zookeeper/"))
        }

    async def set_marker(self, state: str, now_ms: int) -> None:
        """Say how far the migration is. Raises: ZooKeeperError."""
        data = marker_of(state, now_ms)
        path = self._chroot + MARKER
        try:
            await self._session.create(path, data, make_parents=True)
        except NodeExists:
            await self._session.set(path, data)

    async def remove_marker(self) -> bool:
        """Let ZooKeeper's brokers in again; whether there was a marker. Raises: ZooKeeperError."""
        try:
            await self._session.delete(self._chroot + MARKER)
        except NoNode:
            return False
        return True


def marker_state(tree: Mapping[str, Znode]) -> str:
    """How far an earlier migration came, "" if there was none."""
    if MARKER not in tree:
        return ""
    try:
        return str(json.loads(tree[MARKER].data)["state"])
    except (ValueError, KeyError, TypeError):
        return BEGUN


def make_plan(world: World, cluster: Cluster, tree: Mapping[str, Znode]) -> Plan:
    """Check everything, and say what moves. Changes nothing.

    Raises:
        NotMigratable: somebody is alive, or the tree is no cluster's.
        DirectoryProblem: a log directory is missing, in use or another's.
        OSError: one cannot be read.
    """
    check_stopped(tree)
    state = marker_state(tree)
    if state in (WRITTEN, DONE):
        raise NotMigratable(
            f"this cluster was moved to KRaft already ({MARKER} in ZooKeeper): start it as it is now, or take that "
            "back with --undo, as long as it was not started"
        )
    cluster_id = cluster_id_of(tree)
    found = {
        node.node_id: kraft_directories.look(world.disk, node, cluster_id, [world.random.uuid() for _ in node.log_dirs])
        for node in cluster.nodes
    }
    metadata = metadata_of(
        tree,
        directories={node_id: each.replicas for node_id, each in found.items()},
        used_offsets=[epoch for each in found.values() for epoch in each.broker_epochs],
    )
    _check_owners(metadata, cluster.nodes)
    return Plan(cluster, metadata, {node_id: each.directory_ids for node_id, each in found.items()}, state)


def _check_owners(metadata: Metadata, nodes: Sequence[NodeDirectories]) -> None:
    """Whoever has a replica has to be among the brokers that move: nobody else learns who the voters are."""
    holders = {
        replica
        for topic in metadata.image.topics_by_id.values()
        for partition in topic.partitions.values()
        for replica in partition.replicas
    }
    missing = sorted(holders - {each.node_id for each in nodes})
    if missing:
        raise NotMigratable(
            f"broker{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))} "
            f"ha{'ve' if len(missing) > 1 else 's'} replicas, and no directory was given: give every broker's"
        )


async def carry_out(world: World, tree: ZooKeeperTree, plan: Plan) -> None:
    """Write it all, in order; what is done already is done again.

    Raises:
        ZooKeeperError: the marker cannot be set.
        OSError: a file cannot be written.
    """
    now_ms = world.clock.now_ms()
    await tree.set_marker(BEGUN, now_ms)
    await world.disk.run_blocking(lambda: write(world.disk, plan, now_ms))
    await tree.set_marker(WRITTEN if plan.metadata.offsets else DONE, world.clock.now_ms())


def write(disk: Disk, plan: Plan, now_ms: int) -> None:
    """The files, each synced before the next. Raises ``OSError``."""
    metadata = plan.metadata
    snapshot = kraft_directories.snapshot_of(metadata.records, metadata.snapshot_id, now_ms)
    for node in plan.cluster.nodes:
        if node.is_voter:
            kraft_directories.write_voter(
                disk,
                node,
                snapshot_id=metadata.snapshot_id,
                snapshot=snapshot,
                voters=VoterSet(plan.voters),
                bootstrap=bootstrap_records(),
                now_ms=now_ms,
            )
    for node in plan.cluster.nodes:
        kraft_directories.write_properties(disk, node, metadata.cluster_id, plan.directory_ids[node.node_id])
    for file in plan.cluster.files:
        if file.backup is not None and disk.exists(file.path) and not disk.exists(file.backup):
            disk.make_dirs(os.path.dirname(file.backup))
            disk.write_atomic(file.backup, disk.read(file.path))
        disk.write_atomic(file.path, file.content)


async def undo(world: World, tree: ZooKeeperTree, cluster: Cluster) -> bool:
    """Back to ZooKeeper, as long as no broker was started under KRaft; whether there was anything to undo.

    Raises:
        NotMigratable: somebody is alive.
        DirectoryProblem: a broker ran under KRaft.
        ZooKeeperError, OSError: something cannot be read or written.
    """
    found = await tree.read()
    check_stopped(found)
    await world.disk.run_blocking(lambda: restore(world.disk, cluster))
    # Last: until here no broker starts under ZooKeeper.
    return await tree.remove_marker()


def restore(disk: Disk, cluster: Cluster) -> None:
    """The directories as they were. Raises ``DirectoryProblem``, ``OSError``."""
    for node in cluster.nodes:
        # Before anything of any of them is touched.
        kraft_directories.check_unused(disk, node)
    for file in cluster.files:
        if file.backup is not None and disk.exists(file.backup):
            disk.write_atomic(file.path, disk.read(file.backup))
    for node in cluster.nodes:
        kraft_directories.restore_properties(disk, node)
    for node in cluster.nodes:
        kraft_directories.remove_metadata(disk, node)
    for file in cluster.files:
        if file.backup is not None:
            disk.remove(file.backup)


def as_json(plan: Plan, *, is_dry: bool) -> dict[str, Any]:
    """The plan for scripts."""
    metadata = plan.metadata
    return {
        "cluster_id": metadata.cluster_id,
        "dry_run": is_dry,
        "voters": plan.voters,
        "metadata_offset": metadata.snapshot_id.offset,
        "controller_epoch": metadata.snapshot_id.epoch,
        "moved": metadata.counts(),
        "left": [each._asdict() for each in metadata.left],
        "offsets": [
            {
                "group": each.group,
                "topic": each.partition.topic,
                "partition": each.partition.partition,
                "offset": each.offset,
            }
            for each in metadata.offsets
        ],
        "log_dirs": {str(node.node_id): list(node.log_dirs) for node in plan.cluster.nodes},
        "files": [each.path for each in plan.cluster.files],
        "notes": list(plan.cluster.notes),
    }
