"""What an embedded ZooKeeper server is made of: where it comes from, its file, and what a directory remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.coordination import check_fresh, coordination_of, remember
from engine.supervisor.data_dir import DataDirError
from engine.supervisor.spec_types import ClusterSpec
from engine.supervisor.zookeeper_files import ServerPorts, connect_string, zoo_cfg
from engine.supervisor.zookeeper_installation import ZooKeeperMissing, find_zookeeper

PORTS = {1: ServerPorts(2181, 2888, 3888), 2: ServerPorts(2182, 2889, 3889), 3: ServerPorts(2183, 2890, 3890)}


def spec_of(text: str) -> ClusterSpec:
    return parse_cluster_spec(text + "brokers: [{id: 1}]\n")[0]


KRAFT = spec_of("")
ONE = spec_of("coordination: zookeeper\n")
THREE = spec_of("coordination: zookeeper\nzookeeper: {servers: 3}\n")
THEIRS = spec_of("coordination: zookeeper\nzookeeper.connect: zk-1:2181/kafka\n")


def test_a_server_alone_knows_of_no_others_and_three_know_each_other() -> None:
    alone = zoo_cfg(1, {1: PORTS[1]}, "/data", is_synced=True)
    assert "server." not in alone
    assert {"clientPort=2181", "clientPortAddress=127.0.0.1", "dataDir=/data", "forceSync=yes"} <= set(
        alone.split("\n")
    )
    second = zoo_cfg(2, PORTS, "/data", is_synced=False).split("\n")
    assert {f"server.{each}=127.0.0.1:{at.quorum}:{at.election}" for each, at in PORTS.items()} <= set(second)
    assert {"clientPort=2182", "forceSync=no"} <= set(second)
    assert connect_string(PORTS) == "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183/kafka"


def test_jars_are_those_that_were_named_then_the_checkouts_then_the_systems(tmp_path: Path) -> None:
    named, checkout, system = tmp_path / "named", tmp_path / "checkout", tmp_path / "system"
    for directory in (named, checkout, system, tmp_path / "bin"):
        directory.mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("")
    java.chmod(0o755)
    system_jar = system / "zookeeper.jar"

    def class_path(**environment: str) -> str:
        known = {"PATH": str(tmp_path / "bin"), **environment}
        found = find_zookeeper(known, checkout_jars=str(checkout), system_jar=str(system_jar))
        assert found.java == str(java)
        return found.class_path

    with pytest.raises(ZooKeeperMissing, match=r"apt install zookeeper.*make zookeeper.*zookeeper\.connect"):
        class_path()
    system_jar.write_text("")
    assert class_path() == str(system_jar)
    (system / "slf4j-simple.jar").write_text("")
    assert class_path() == f"{system_jar}:{system}/slf4j-simple.jar"
    (checkout / "zookeeper-3.8.4.jar").write_text("")
    assert class_path() == f"{checkout}/*"
    with pytest.raises(ZooKeeperMissing, match=r"KCONSOLE_ZOOKEEPER_JARS=.*has no zookeeper-\*\.jar"):
        class_path(KCONSOLE_ZOOKEEPER_JARS=str(named))
    (named / "zookeeper-3.9.3.jar").write_text("")
    assert class_path(KCONSOLE_ZOOKEEPER_JARS=str(named)) == f"{named}/*"
    listed = f"{named}/zookeeper-3.9.3.jar:{named}/*"
    assert class_path(KCONSOLE_ZOOKEEPER_JARS=listed) == listed
    with pytest.raises(ZooKeeperMissing, match=r"names /nowhere/a\.jar, which is not there"):
        class_path(KCONSOLE_ZOOKEEPER_JARS="/nowhere/a.jar")
    with pytest.raises(ZooKeeperMissing, match=r"no java on the PATH.*apt install default-jre-headless"):
        class_path(PATH="/nowhere")
    with pytest.raises(ZooKeeperMissing, match="JAVA_HOME=/nowhere has no bin/java"):
        class_path(JAVA_HOME="/nowhere")


def test_a_directory_stays_with_what_coordinated_it() -> None:
    state: dict[str, Any] = {}
    remember(THREE, state, is_new=True, data_dir="/d")
    assert coordination_of(state) == "zookeeper" and state["zookeeper"]["servers"] == 3
    remember(THREE, state, is_new=False, data_dir="/d")
    with pytest.raises(DataDirError, match=r"in /d is coordinated by ZooKeeper.*kconsole zookeeper migrate"):
        remember(KRAFT, state, is_new=False, data_dir="/d")
    with pytest.raises(DataDirError, match="by 3 ZooKeeper servers of its own, and its file says 1 ZooKeeper server"):
        remember(ONE, state, is_new=False, data_dir="/d")
    with pytest.raises(DataDirError, match="its file says ZooKeeper servers that are not its own"):
        remember(THEIRS, state, is_new=False, data_dir="/d")
    # Of a kconsole that knew of no ZooKeeper.
    old: dict[str, Any] = {"cluster_id": "c"}
    with pytest.raises(DataDirError, match=r"by its own quorum \(KRaft\).*to which no cluster goes back"):
        remember(ONE, old, is_new=False, data_dir="/d")
    remember(KRAFT, old, is_new=False, data_dir="/d")
    assert coordination_of(old) == "kraft"


def test_fresh_does_not_pretend_to_delete_what_others_keep() -> None:
    state: dict[str, Any] = {}
    check_fresh(THEIRS, None)
    remember(THEIRS, state, is_new=True, data_dir="/d")
    with pytest.raises(DataDirError, match=r"what zk-1:2181/kafka knows of the cluster stays.*another chroot"):
        check_fresh(THEIRS, state)
    check_fresh(THREE, state)
    remember(THREE, owned := {}, is_new=True, data_dir="/d")
    check_fresh(THREE, owned)
