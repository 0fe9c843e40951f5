"""Moving a stopped cluster from ZooKeeper to KRaft: what is read, in which order what is written, and the way back.

Nothing that was there before is changed until all that is new is on the disk, and ZooKeeper's tree never, but for
``/kconsole/migrated``, which is made first: with it no broker starts under ZooKeeper again. So a migration that was cut
anywhere is done again from its beginning, or undone. In order:

1. the marker, as begun; 2. each voter's metadata directory; 3. meta.properties of all brokers; 4. files that say how
the cluster is coordinated, of which a copy is kept; 5. the marker, as written. Offsets that groups committed to
ZooKeeper are the sixth: they are committed to the cluster once it runs (:mod:`engine.supervisor.zookeeper_offsets`).
Then, or if there are none, the marker says done.

Brokers on several machines move machine by machine (``only``): the marker keeps where the metadata begins, a digest of
it, and whose directories are written; the last one makes it written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from engine.core.controller.feature_control import bootstrap_records
from engine.core.raft.identity import OffsetAndEpoch, VoterSet
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
from engine.wire.record_frames import encode_metadata_record
from engine.world import Disk, World
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import NodeExists, NoNode
from engine.zookeeper.session import ZooKeeperSession

# Written: the directories are KRaft's; only committed offsets may be missing.
BEGUN, WRITTEN, DONE = "begun", "written", "done"


class NewFile(NamedTuple):
    """A file that is written in the end; ``backup``: where the one that is there now is kept, if it is to be;
    ``broker_id``: whose it is, if it is one broker's."""

    path: str
    content: bytes
    backup: str | None = None
    broker_id: int | None = None


class Cluster(NamedTuple):
    """A cluster that is to move: where ZooKeeper is, the directories of every broker, the files that change in the
    end, and what is worth knowing."""

    zookeeper: ZooKeeperConfig
    nodes: tuple[NodeDirectories, ...]
    files: tuple[NewFile, ...] = ()
    notes: tuple[str, ...] = ()


class Marker(NamedTuple):
    """``/kconsole/migrated``. ``brokers``: whose directories are written, where they move machine by machine, with
    where the metadata begins and its digest; else ``None``."""

    state: str
    brokers: tuple[int, ...] | None = None
    snapshot_id: OffsetAndEpoch | None = None
    digest: str = ""

    def encode(self, now_ms: int) -> bytes:
        """Its value."""
        fields: dict[str, Any] = {"version": 1, "state": self.state, "timestamp": str(now_ms)}
        if self.brokers is not None and self.snapshot_id is not None:
            fields |= {"brokers": self.brokers, "snapshot": self.snapshot_id, "digest": self.digest}
        return json.dumps(fields, separators=(",", ":")).encode()


class Plan(NamedTuple):
    """What would be written: the directories of ``nodes``, all of the cluster's or those on this machine. ``marker`` is
    what an earlier run left."""

    cluster: Cluster
    metadata: Metadata
    directory_ids: Mapping[int, dict[str, bytes]]
    nodes: tuple[NodeDirectories, ...]
    marker: Marker | None
    digest: str
    moves_by_machine: bool

    @property
    def voters(self) -> list[int]:
        """Who votes on the metadata from now on."""
        return [each.node_id for each in self.cluster.nodes if each.is_voter]

    @property
    def files(self) -> tuple[NewFile, ...]:
        """The files that change, of the brokers that move now."""
        here = {each.node_id for each in self.nodes}
        return tuple(each for each in self.cluster.files if each.broker_id is None or each.broker_id in here)

    @property
    def still_to_move(self) -> list[int]:
        """Brokers whose directories are not written when this plan is carried out."""
        before = (self.marker.brokers if self.marker is not None else None) or ()
        written = {*before, *(each.node_id for each in self.nodes)}
        return sorted(each.node_id for each in self.cluster.nodes if each.node_id not in written)


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

    async def set_marker(self, marker: Marker, now_ms: int) -> None:
        """Say how far the migration is. Raises: ZooKeeperError."""
        data = marker.encode(now_ms)
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


def marker_in(tree: Mapping[str, Znode]) -> Marker | None:
    """How far an earlier migration came, ``None`` if there was none."""
    if MARKER not in tree:
        return None
    try:
        said = json.loads(tree[MARKER].data)
        if "brokers" not in said:
            return Marker(str(said["state"]))
        offset, epoch = map(int, said["snapshot"])
        return Marker(
            str(said["state"]), tuple(map(int, said["brokers"])), OffsetAndEpoch(offset, epoch), str(said["digest"])
        )
    except (ValueError, KeyError, TypeError):
        return Marker(BEGUN)


def is_written(tree: Mapping[str, Znode]) -> bool:
    """Whether all directories are KRaft's, and only committed offsets are missing."""
    marker = marker_in(tree)
    return marker is not None and marker.state == WRITTEN


def make_plan(world: World, cluster: Cluster, tree: Mapping[str, Znode], only: Collection[int] | None = None) -> Plan:
    """Check everything, and say what moves. Changes nothing. ``only``: the brokers whose directories are on this
    machine, if the others are elsewhere.

    Raises:
        NotMigratable: somebody is alive, the tree is no cluster's, or an earlier run was another one.
        DirectoryProblem: a log directory is missing, in use or another's.
        OSError: one cannot be read.
    """
    check_stopped(tree)
    marker = marker_in(tree)
    if marker is not None and marker.state in (WRITTEN, DONE):
        raise NotMigratable(
            f"this cluster was moved to KRaft already ({MARKER} in ZooKeeper): start it as it is now, or take that "
            "back with --undo, as long as it was not started"
        )
    if marker is not None and (only is None) != (marker.brokers is None):
        raise NotMigratable(
            "an earlier run moved "
            + ("some brokers with --only" if only is None else "all brokers at once, and was cut")
            + f" ({MARKER} in ZooKeeper): go on in that way, or take it back with --undo"
        )
    nodes = _chosen(cluster, only)
    cluster_id = cluster_id_of(tree)
    found = {
        node.node_id: kraft_directories.look(world.disk, node, cluster_id, [world.random.uuid() for _ in node.log_dirs])
        for node in nodes
    }
    # What only this machine knows must not be in what every voter has to have the same: brokers tell in which directory
    # they found a replica when they come up.
    metadata = metadata_of(
        tree,
        directories={} if only is not None else {node_id: each.replicas for node_id, each in found.items()},
        used_offsets=[] if only is not None else [epoch for each in found.values() for epoch in each.broker_epochs],
    )
    _check_owners(metadata, cluster.nodes)
    digest = hashlib.sha256(b"".join(map(encode_metadata_record, metadata.records))).hexdigest()
    if marker is not None and marker.snapshot_id is not None:
        if marker.digest != digest:
            raise NotMigratable(
                "what ZooKeeper has is not what it had when the first brokers were moved: take these back with --undo "
                "on their machines, and begin anew"
            )
        metadata = metadata._replace(snapshot_id=marker.snapshot_id)
    ids = {node_id: each.directory_ids for node_id, each in found.items()}
    return Plan(cluster, metadata, ids, nodes, marker, digest, only is not None)


def _chosen(cluster: Cluster, only: Collection[int] | None) -> tuple[NodeDirectories, ...]:
    unknown = sorted(set(only or ()) - {each.node_id for each in cluster.nodes})
    if unknown:
        raise NotMigratable(f"--only {unknown[0]}: broker {unknown[0]} is none of those whose files were given")
    return tuple(each for each in cluster.nodes if only is None or each.node_id in only)


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
    before = (plan.marker.brokers if plan.marker is not None else None) or ()
    marker = Marker(BEGUN)
    if plan.moves_by_machine:
        marker = Marker(BEGUN, before, plan.metadata.snapshot_id, plan.digest)
    await tree.set_marker(marker, now_ms)
    await world.disk.run_blocking(lambda: write(world.disk, plan, now_ms))
    if marker.brokers is not None:
        marker = marker._replace(brokers=tuple(sorted({*before, *(each.node_id for each in plan.nodes)})))
    if not plan.still_to_move:
        marker = marker._replace(state=WRITTEN if plan.metadata.offsets else DONE)
    await tree.set_marker(marker, world.clock.now_ms())


def write(disk: Disk, plan: Plan, now_ms: int) -> None:
    """The files, each synced before the next. Raises ``OSError``."""
    metadata = plan.metadata
    snapshot = kraft_directories.snapshot_of(metadata.records, metadata.snapshot_id, now_ms)
    for node in plan.nodes:
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
    for node in plan.nodes:
        kraft_directories.write_properties(disk, node, metadata.cluster_id, plan.directory_ids[node.node_id])
    for file in plan.files:
        if file.backup is not None and disk.exists(file.path) and not disk.exists(file.backup):
            disk.make_dirs(os.path.dirname(file.backup))
            disk.write_atomic(file.backup, disk.read(file.path))
        disk.write_atomic(file.path, file.content)


async def undo(world: World, tree: ZooKeeperTree, cluster: Cluster, only: Collection[int] | None = None) -> bool:
    """Back to ZooKeeper, as long as no broker was started under KRaft; whether there was anything to undo. ``only``: as
    in :func:`make_plan`.

    Raises:
        NotMigratable: somebody is alive.
        DirectoryProblem: a broker ran under KRaft.
        ZooKeeperError, OSError: something cannot be read or written.
    """
    found = await tree.read()
    check_stopped(found)
    marker = marker_in(found)
    here = cluster._replace(nodes=_chosen(cluster, only))
    if marker is not None and (only is None) != (marker.brokers is None):
        how = "with --only, on each machine" if only is None else "all at once: leave out --only"
        raise NotMigratable(f"the brokers were moved {how}: undo it in the same way")
    await world.disk.run_blocking(lambda: restore(world.disk, here))
    # Last: until here no broker starts under ZooKeeper.
    left = set() if marker is None or only is None else {*(marker.brokers or ())} - set(only)
    if marker is not None and left:
        await tree.set_marker(marker._replace(state=BEGUN, brokers=tuple(sorted(left))), world.clock.now_ms())
        return True
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
        "still_to_move": plan.still_to_move,
        "log_dirs": {str(node.node_id): list(node.log_dirs) for node in plan.nodes},
        "files": [each.path for each in plan.files],
        "notes": list(plan.cluster.notes),
    }
