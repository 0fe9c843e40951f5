"""Which cluster moves from ZooKeeper to KRaft, from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.supervisor import graduation
from engine.supervisor.data_dir import DataDir
from engine.supervisor.migration_sources import cluster_of, of_data_dir, of_properties
from engine.supervisor.zookeeper_migration import NotMigratable
from engine.world.real import real_world

WORLD = real_world()
FILE = """\
coordination: zookeeper
zookeeper.connect: zk:2181/k
configs: {offsets.storage: zookeeper}
brokers: [{id: 1}, {id: 2}, {id: 3}, {id: 4}]
"""
AFTER = "brokers: [{id: 1}, {id: 2}, {id: 3}, {id: 4}]\n"
ADDRESS = {"host": "127.0.0.1", "port": 1, "controller_port": 2}


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    state = {
        "brokers": {str(each): ADDRESS for each in (1, 2, 3, 9)},
        "cluster_id": "abc",
        "coordination": "zookeeper",
        "removed": [4],
        "added": [{"id": 9, "host": "127.0.0.1", "rack": None}],
        "voters": [],
        "zookeeper": {"servers": 0, "connect": "zk:2181/k", "ports": {}},
    }
    (tmp_path / "cluster.json").write_text(json.dumps(state))
    (tmp_path / "cluster.yaml").write_text(FILE)
    return DataDir(WORLD, str(tmp_path))


def test_an_embedded_cluster_is_all_of_its_brokers(data_dir: DataDir) -> None:
    embedded = of_data_dir(data_dir, WORLD.disk)
    cluster = cluster_of(embedded, "zk:2181/k")
    assert embedded.keeps_offsets_in_zookeeper
    assert str(cluster.zookeeper) == "zk:2181/k"
    # 4 was removed, 9 was added; voters are an odd number of the file's.
    assert [(each.node_id, each.is_voter) for each in cluster.nodes] == [(1, True), (2, True), (3, True), (9, False)]
    assert cluster.nodes[0].log_dirs == (data_dir.log_dir(1),)
    file, state = cluster.files
    assert (file.path, file.content) == (data_dir.spec_file, AFTER.encode())
    assert (file.backup, state.backup) == tuple(
        f"{data_dir.path}/before-kraft/cluster.{each}" for each in ("yaml", "json")
    )
    said = json.loads(state.content)
    assert (said["coordination"], said["voters"], "zookeeper" in said) == ("kraft", [1, 2, 3], False)
    assert said["brokers"] == embedded.state["brokers"]


def test_one_that_was_cut_is_what_it_was_before(data_dir: DataDir) -> None:
    before = of_data_dir(data_dir, WORLD.disk)
    for file in cluster_of(before, "zk:2181/k").files:
        assert file.backup is not None
        Path(file.backup).parent.mkdir(exist_ok=True)
        Path(file.backup).write_bytes(Path(file.path).read_bytes())
        Path(file.path).write_bytes(file.content)
    assert of_data_dir(data_dir, WORLD.disk)[1:] == before[1:]


def test_a_voter_that_was_removed_is_named(data_dir: DataDir, tmp_path: Path) -> None:
    state = json.loads((tmp_path / "cluster.json").read_text())
    (tmp_path / "cluster.json").write_text(json.dumps(state | {"removed": [3]}))
    with pytest.raises(NotMigratable, match=r"broker 3 was removed, .* take it out of the file"):
        cluster_of(of_data_dir(data_dir, WORLD.disk), "zk:2181/k")


def test_a_cluster_that_does_not_move_says_why(data_dir: DataDir, tmp_path: Path) -> None:
    with pytest.raises(graduation.WrongDirectory, match=r"move it to KRaft with `kconsole zookeeper migrate`"):
        graduation.make_plan(data_dir, WORLD.disk)
    lock = data_dir.own()
    with pytest.raises(NotMigratable, match=r"runs: stop it with `kconsole shutdown"):
        of_data_dir(data_dir, WORLD.disk)
    lock.release()
    (tmp_path / "cluster.yaml").write_text(AFTER)
    with pytest.raises(NotMigratable, match=r"its own quorum \(KRaft\) already"):
        of_data_dir(data_dir, WORLD.disk)
    (tmp_path / "cluster.json").unlink()
    with pytest.raises(NotMigratable, match=r"no cluster.json: give the --data-dir of an embedded cluster"):
        of_data_dir(data_dir, WORLD.disk)


def test_files_of_brokers_name_one_zookeeper(tmp_path: Path) -> None:
    files = [tmp_path / "one.properties", tmp_path / "two.properties"]
    for number, file in enumerate(files, 1):
        file.write_text(f"broker.id={number}\nzookeeper.connect=zk:2181/{number}\nlog.dirs=/d{number}\n")
    paths = list(map(str, files))
    with pytest.raises(NotMigratable, match=r"two.properties names ZooKeeper at zk:2181/2, and .*one.properties at zk"):
        of_properties(WORLD.disk, paths)
    cluster = of_properties(WORLD.disk, paths, connect="other:1/k", controller_port=7000)
    assert str(cluster.zookeeper) == "other:1/k"
    assert [each.path for each in cluster.files] == [f"{tmp_path}/{each}.kraft.properties" for each in ("one", "two")]
    assert b"controller.quorum.voters=1@localhost:7000,2@localhost:7001\n" in cluster.files[1].content
    files[0].write_text("broker.id=1\n")
    with pytest.raises(NotMigratable, match=r"zookeeper.connect is not set"):
        of_properties(WORLD.disk, paths[:1])
