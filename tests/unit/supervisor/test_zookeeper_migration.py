"""What a real Kafka 3.9.1 kept in ZooKeeper becomes KRaft's metadata; the directories that get it, cut anywhere."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, cast

import pytest

from engine.broker.quorum import quorum_state_file
from engine.broker.quorum.snapshot_files import decode_snapshot
from engine.core.controller.directory_ids import UNASSIGNED
from engine.core.controller.image import MetadataImage
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.znodes.operations import Znode
from engine.model.topic_partition import TopicPartition
from engine.sim.disk import SimDisk, Survivors
from engine.storage.checkpoints import read_meta_properties
from engine.supervisor import kraft_directories, migrating
from engine.supervisor.kraft_directories import DirectoryProblem, NodeDirectories, read_formatted
from engine.supervisor.migrating import Cluster, Marker, NewFile
from engine.supervisor.zookeeper_migration import (
    CommittedOffset,
    Left,
    NotMigratable,
    cluster_id_of,
    metadata_of,
)
from engine.zookeeper.config import ZooKeeperConfig

GOLDEN = Path(__file__).parents[2] / "golden" / "zookeeper" / "kafka-3.9.1.json"
Tree = dict[str, Znode]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tree]:
    """Trees by what was alive."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return {
        name: {
            each["path"]: Znode(
                (each["data"] or "").encode(), each["version"], each["czxid"], each["mzxid"], int(each["ephemeral"])
            )
            for each in of_name["tree"]
        }
        for name, of_name in found.items()
    }


@pytest.fixture
def tree(recorded: dict[str, Tree]) -> Tree:
    return dict(recorded["stopped"])


def put(tree: Tree, path: str, data: bytes) -> None:
    tree[path] = Znode(data, 0, 1, 1, 0)


def replayed(records: list[Any]) -> MetadataImage:
    image = MetadataImage()
    for each in records:
        image.replay(each)
    return image


# -- what moves -------------------------------------------------------------------------------------------------


def test_everything_of_a_stopped_kafka_moves(tree: Tree) -> None:
    found = metadata_of(tree, directories={}, used_offsets=[700])
    assert found.cluster_id == cluster_id_of(tree)
    assert found.counts() == {
        "topics": 8,
        "partitions": 19,
        "brokers": 0,
        "configs": 23,
        "quotas": 32,
        "scram_credentials": 3,
        "acls": 10,
        "delegation_tokens": 1,
        "next_producer_id": 2000,
        "offsets": 0,
    }
    # Behind every transaction of ZooKeeper's and every broker epoch, in the epoch of its last controller.
    assert found.snapshot_id == OffsetAndEpoch(701, int(tree["/controller_epoch"].data))
    assert metadata_of(tree, directories={}).snapshot_id.offset == max(each.mzxid for each in tree.values()) + 1
    assert found.image.features["metadata.version"] == 30
    for topic in found.image.topics_by_name.values():
        for number, partition in topic.partitions.items():
            state = json.loads(tree[f"/brokers/topics/{topic.name}/partitions/{number}/state"].data)
            assert (partition.leader, partition.isr) == (-1, tuple(state["isr"]))
            assert partition.leader_epoch == state["leader_epoch"] + (state["leader"] != -1)
            assert set(partition.directories) == {UNASSIGNED}
    assert replayed(found.records) == found.image


def test_what_has_no_meaning_is_named(tree: Tree) -> None:
    put(tree, "/admin/reassign_partitions", b'{"version":1,"partitions":[]}')
    put(tree, "/consumers/old/ids/old_host-1", b"{}")
    put(tree, "/somebody/elses", b"data")
    put(tree, "/config/topics/orders", b'{"version":1,"config":{"message.format.version":"2.8","retention.ms":"5"}}')
    found = metadata_of(tree, directories={})
    left = {each.what: (each.number, each.example) for each in found.left}
    assert left["notifications of changed configs"] == (25, "/config/changes/config_change_0000000000")
    assert left["a reassignment that a tool asked for, and that had not ended: ask for it again"][0] == 1
    assert left["members and owners of consumers that are gone"] == (1, "/consumers/old/ids/old_host-1")
    assert left["znodes that are not Kafka's"] == (1, "/somebody/elses")
    assert Left("configs that Kafka 4 does not have", 1, "message.format.version") in found.left
    assert found.image.config(2, "orders") == {"retention.ms": "5"}


def test_offsets_of_groups_are_found(tree: Tree) -> None:
    put(tree, "/consumers/billing/offsets/orders/0", b"17")
    put(tree, "/consumers/billing/offsets/orders/10", b"4")
    put(tree, "/consumers/billing/offsets/orders/1", b"seven")
    found = metadata_of(tree, directories={})
    partitions = [(TopicPartition("orders", 0), 17), (TopicPartition("orders", 10), 4)]
    assert found.offsets == [CommittedOffset("billing", each, offset) for each, offset in partitions]


def test_replicas_stay_in_the_directories_they_are_in(tree: Tree) -> None:
    place = TopicPartition("orders", 0)
    found = metadata_of(tree, directories={1: {place: b"1" * 16}, 2: {place: b"2" * 16}})
    partition = found.image.partition("orders", 0)
    assert partition is not None and partition.replicas == (2, 1)
    assert partition.directories == (b"2" * 16, b"1" * 16)


def test_nobody_may_be_alive(recorded: dict[str, Tree], tree: Tree) -> None:
    with pytest.raises(NotMigratable, match=r"brokers 1, 2 are alive .*stop the whole cluster"):
        metadata_of(recorded["alive"], directories={})
    with pytest.raises(NotMigratable, match=r"broker 1 is alive"):
        metadata_of(recorded["broker 2 dead"], directories={})
    put(tree, "/controller", recorded["alive"]["/controller"].data)
    with pytest.raises(NotMigratable, match=r"live controller, broker [12] "):
        metadata_of(tree, directories={})
    with pytest.raises(NotMigratable, match=r"check the connect string, its chroot"):
        metadata_of({"/": Znode(b"", 0, 1, 1, 0)}, directories={})


# -- directories ------------------------------------------------------------------------------------------------


NODES = tuple(NodeDirectories(each, (f"/k{each}/a", f"/k{each}/b"), f"/k{each}/a", each == 1) for each in (1, 2))
FILES = (NewFile("/cluster.yaml", b"kraft", "/before/cluster.yaml"),)


class OnDisk:
    """A cluster of two brokers with two disks each, and what a migration needs of the world."""

    def __init__(self, tree: Tree, disk: SimDisk, seed: int = -1) -> None:
        self.tree, self.disk, self.random, self.clock = tree, disk, self, self
        self._rng = random.Random(f"ids {seed}")
        self.cluster = Cluster(ZooKeeperConfig.of_connect("localhost"), NODES, FILES)

    def now_ms(self) -> int:
        return 5

    def uuid(self) -> bytes:
        return self._rng.randbytes(16)

    def plan(self, only: list[int] | None = None) -> migrating.Plan:
        return migrating.make_plan(self, self.cluster, self.tree, only)  # type: ignore[arg-type]

    def write(self) -> None:
        migrating.write(self.disk, self.plan(), 5)


@pytest.fixture
def there(tree: Tree) -> OnDisk:
    # Little of the tree: it is read again and again.
    some = ("/cluster/id", "/controller_epoch", "/brokers/topics/orders")
    tree = {path: znode for path, znode in tree.items() if path.startswith(some)}
    disk = SimDisk(random.Random(1))
    for node in NODES:
        for path in node.log_dirs:
            disk.make_dirs(path)
            text = f"#\nbroker.id={node.node_id}\ncluster.id={cluster_id_of(tree)}\nversion=0\n"
            disk.write_atomic(f"{path}/meta.properties", text.encode())
        disk.make_dirs(f"{node.log_dirs[1]}/orders-0")
        disk.write_atomic(f"{node.log_dirs[1]}/.kafka_cleanshutdown", b'{"version":0,"brokerEpoch":9000}')
    disk.write_atomic("/cluster.yaml", b"zookeeper")
    disk.sync_dir("/")
    for path in list(disk._directories):
        disk.sync_dir(path)
    return OnDisk(tree, disk)


def check_migrated(there: OnDisk) -> None:
    disk, plan = there.disk, there.plan()
    directory = "/k1/a/__cluster_metadata-0"
    names = [each for each in disk.list_dir(directory) if not each.endswith(".tmp")]
    assert names == ["00000000000000009001-0000000002.checkpoint", "partition.metadata", "quorum-state"]
    image = replayed(decode_snapshot(disk.read(f"{directory}/{names[0]}")))
    assert image == plan.metadata.image
    assert quorum_state_file.decode(disk.read(f"{directory}/quorum-state")).epoch == 2
    assert not disk.is_dir("/k2/a/__cluster_metadata-0")
    ids = {}
    for node in NODES:
        for path in node.log_dirs:
            found = read_meta_properties(disk, path)
            assert found is not None and found.node_id == node.node_id and found.directory_id is not None
            ids[path] = found.directory_id
    assert len(set(ids.values())) == 4
    partition = image.partition("orders", 0)
    assert partition is not None and partition.directories == (ids["/k2/b"], ids["/k1/b"])
    assert disk.read("/cluster.yaml") == b"kraft" and disk.read("/before/cluster.yaml") == b"zookeeper"


def check_order(disk: SimDisk) -> None:
    """Whatever says that the cluster is under KRaft is there only once all that KRaft needs is."""
    found = [read_formatted(disk, path) for node in NODES for path in node.log_dirs]
    versions = {-1 if each is None else each.version for each in found}
    if 1 in versions:
        [snapshot] = [each for each in disk.paths() if each.endswith(".checkpoint") and "__cluster_metadata-0" in each]
        assert replayed(decode_snapshot(disk.read(snapshot))).topics_by_name.keys() == {"orders"}
        assert quorum_state_file.decode(disk.read("/k1/a/__cluster_metadata-0/quorum-state")).epoch == 2
    if disk.read("/cluster.yaml") == b"kraft":
        assert versions == {1} and disk.read("/before/cluster.yaml") == b"zookeeper"


def check_restored(there: OnDisk) -> None:
    disk = there.disk
    for node in NODES:
        for path in node.log_dirs:
            found = read_formatted(disk, path)
            assert found is not None and (found.version, found.node_id) == (0, node.node_id)
            assert found.cluster_id == cluster_id_of(there.tree)
        assert not disk.is_dir(f"{node.metadata_log_dir}/__cluster_metadata-0")
    assert disk.read("/cluster.yaml") == b"zookeeper" and not disk.exists("/before/cluster.yaml")


def test_directories_go_over_and_back(there: OnDisk) -> None:
    there.write()
    check_migrated(there)
    there.write()
    check_migrated(there)
    migrating.restore(there.disk, there.cluster)
    check_restored(there)
    there.write()
    check_migrated(there)


class InZooKeeper:
    """The tree, as a migration sees it."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    async def read(self) -> Tree:
        return self.tree

    async def set_marker(self, marker: Marker, now_ms: int) -> None:
        put(self.tree, "/kconsole/migrated", marker.encode(now_ms))

    async def remove_marker(self) -> bool:
        return self.tree.pop("/kconsole/migrated", None) is not None


async def test_brokers_on_several_machines_move_machine_by_machine(there: OnDisk) -> None:
    disk, tree, world = there.disk, InZooKeeper(there.tree), cast(Any, there)
    there.cluster = there.cluster._replace(nodes=tuple(each._replace(is_voter=True) for each in NODES), files=())
    with pytest.raises(NotMigratable, match=r"--only 3: broker 3 is none of those"):
        there.plan([3])
    first = there.plan([1])
    assert first.still_to_move == [2] and first.voters == [1, 2]
    await migrating.carry_out(world, tree, first)  # type: ignore[arg-type]
    marker = migrating.marker_in(there.tree)
    assert marker is not None and (marker.state, marker.brokers) == ("begun", (1,))
    untouched = read_formatted(disk, "/k2/a")
    assert untouched is not None and untouched.version == 0
    with pytest.raises(NotMigratable, match=r"an earlier run moved some brokers with --only"):
        there.plan()
    # The znodes that the marker made, and what else changes no metadata, do not matter; what does is noticed.
    there.tree["/later"] = Znode(b"", 0, 20_000, 20_000, 0)
    second = there.plan([2])
    assert second.still_to_move == []
    put(there.tree, "/config/topics/orders", b'{"version":1,"config":{"retention.ms":"7"}}')
    with pytest.raises(NotMigratable, match=r"not what it had when the first brokers were moved: .*--undo"):
        there.plan([2])
    await migrating.carry_out(world, tree, second)  # type: ignore[arg-type]
    assert migrating.marker_in(there.tree) == marker._replace(state="done", brokers=(1, 2))
    snapshots = [each for each in disk.paths() if "__cluster_metadata-0" in each and each.endswith(".checkpoint")]
    assert len(snapshots) == 2 and len({each.rpartition("/")[2] for each in snapshots}) == 1
    images = [replayed(decode_snapshot(disk.read(each))) for each in snapshots]
    assert images[0] == images[1] == first.metadata.image
    with pytest.raises(NotMigratable, match=r"moved with --only, on each machine"):
        await migrating.undo(world, tree, there.cluster)  # type: ignore[arg-type]
    assert await migrating.undo(world, tree, there.cluster, [1])  # type: ignore[arg-type]
    assert migrating.marker_in(there.tree) == marker._replace(brokers=(2,))
    assert await migrating.undo(world, tree, there.cluster, [2])  # type: ignore[arg-type]
    assert migrating.marker_in(there.tree) is None
    assert not [each for each in disk.paths() if "__cluster_metadata-0" in each]


def test_what_changed_in_zookeeper_since_it_was_cut_moves_too(there: OnDisk) -> None:
    there.write()
    there.tree["/later"] = Znode(b"", 0, 20_000, 20_000, 0)
    there.write()
    snapshots = [each for each in there.disk.paths() if "__cluster_metadata-0" in each and each.endswith(".checkpoint")]
    assert snapshots == ["/k1/a/__cluster_metadata-0/00000000000000020001-0000000002.checkpoint"]


def test_cut_anywhere_it_is_done_again_or_undone(there: OnDisk) -> None:
    crashed: list[SimDisk] = []

    def cut(kind: str, path: str) -> None:
        for survivors in Survivors:
            after = there.disk.fork(random.Random(len(crashed)))
            after.on_power_lost(survivors)
            crashed.append(after)

    there.disk.on_operation = cut
    there.write()
    # The way back is cut as well.
    migrating.restore(there.disk, there.cluster)
    there.disk.on_operation = None
    assert len(crashed) > 150
    for number, disk in enumerate(crashed):
        check_order(disk)
        again = OnDisk(there.tree, disk.fork(random.Random(number)), number)
        again.write()
        check_migrated(again)
        back = OnDisk(there.tree, disk)
        migrating.restore(disk, back.cluster)
        check_restored(back)


def test_a_broker_that_ran_under_kraft_is_not_taken_back(there: OnDisk) -> None:
    there.write()
    there.disk.write_atomic("/k1/a/__cluster_metadata-0/00000000000000009001.log", b"")
    for refused in (there.write, lambda: migrating.restore(there.disk, there.cluster)):
        with pytest.raises(DirectoryProblem, match=r"broker 1 ran under KRaft .*would be lost"):
            refused()
    check = kraft_directories.read_formatted(there.disk, "/k2/a")
    assert check is not None and check.version == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda disk: disk.remove("/k2/b/meta.properties"), "/k2/b has no meta.properties"),
        (lambda disk: disk.remove_tree("/k2/b"), "/k2/b, a log directory of broker 2, is not there"),
        (lambda disk: disk.lock("/k1/b/.lock"), "a running broker, kconsole's or Kafka's, has /k1/b"),
        (
            lambda disk: disk.write_atomic("/k1/a/meta.properties", b"broker.id=1\ncluster.id=other\nversion=0\n"),
            "/k1/a belongs to cluster other",
        ),
        (
            lambda disk: disk.write_atomic("/k1/a/meta.properties", disk.read("/k2/a/meta.properties")),
            "/k1/a belongs to broker 2, not to 1",
        ),
    ],
)
def test_directories_that_are_not_right_are_named(there: OnDisk, change: Any, complaint: str) -> None:
    change(there.disk)
    with pytest.raises(DirectoryProblem, match=complaint):
        there.plan()


def test_every_broker_with_replicas_has_to_come_along(there: OnDisk) -> None:
    there.cluster = there.cluster._replace(nodes=NODES[:1])
    with pytest.raises(NotMigratable, match=r"broker 2 has replicas, and no directory was given"):
        there.plan()


def test_a_cluster_that_was_moved_is_not_moved_again(there: OnDisk) -> None:
    put(there.tree, "/kconsole/migrated", b'{"version":1,"state":"written"}')
    with pytest.raises(NotMigratable, match=r"moved to KRaft already .*--undo"):
        there.plan()
    put(there.tree, "/kconsole/migrated", b'{"version":1,"state":"begun"}')
    assert there.plan().marker == Marker("begun")
