"""Handing a cluster over to Apache Kafka: what is written, and every state of the directories in which nothing is.

The directories are those of real brokers; that Kafka really starts on them is in tests/integration/test_graduation.py.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.batches import leader_change_batch
from engine.core.raft.voter_history import VotersEntry, voters_of
from engine.model.broker_config import BrokerConfig
from engine.model.ids import uuid_to_str
from engine.model.properties import read_properties
from engine.record.batch import read_header, stamp
from engine.supervisor import graduation
from engine.supervisor.data_dir import DataDir
from engine.wire.messages.voters_record import Endpoint, Voter, VotersRecord
from engine.world.real import real_world
from tests.unit.broker.broker_requests import create_topic, produce_ok, until_in_sync
from tests.unit.broker.in_process_cluster import CLUSTER_ID, InProcessCluster

SPEC = """
durability: page-cache
brokers:
  - {id: 1, port: 19092, controller_port: 19093, rack: a}
  - {id: 2, port: 29092, controller_port: 29093, rack: b}
  - {id: 3, port: 39092, controller_port: 39093, rack: c, configs: {log.retention.hours: 3}}
configs:
  offsets.topic.num.partitions: 3
  kconsole.fenced.broker.linger.ms: 100
  group.coordinator.background.threads: 7
  controller.quota.window.num: 9
"""


async def fill(directory: Path) -> None:
    cluster = InProcessCluster(directory)
    try:
        await cluster.start()
        await create_topic(cluster, "orders", [[1, 2, 3]])
        await produce_ok(cluster, 1, "orders", b"one", b"two")
        await produce_ok(cluster, 1, "orders", b"three")
        await until_in_sync(cluster, "orders", 3)
        for node_id in (3, 2, 1):
            await cluster.stop(node_id, controlled=False)
    finally:
        await cluster.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a cluster that was stopped in order."""
    import asyncio

    path = tmp_path_factory.mktemp("graduation")
    asyncio.run(fill(path))
    brokers = {}
    for node_id in (1, 2, 3):
        (path / f"broker-{node_id}/data-0").rename(path / f"broker-{node_id}/data")
        brokers[str(node_id)] = {
            "directory_id": uuid_to_str(bytes([node_id, 0]) + bytes(13) + b"\x01"),
            "host": "127.0.0.1",
            "port": node_id * 10_000 + 9092,
            "controller_port": node_id * 10_000 + 9093,
        }
    state = {"cluster_id": CLUSTER_ID, "brokers": brokers, "topics_created": True, "voters": [1, 2, 3]}
    (path / "cluster.json").write_text(json.dumps(state))
    (path / "cluster.yaml").write_text(SPEC)
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it to break."""
    shutil.copytree(filled, tmp_path / "k")
    yield tmp_path / "k"


def graduate(path: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["storage", "graduate", str(path), *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def data(path: Path, broker_id: int = 1) -> Path:
    return path / f"broker-{broker_id}" / "data"


def test_each_broker_gets_its_file_and_its_command(path: Path) -> None:
    code, out = graduate(path)
    assert code == 0, out
    assert "3 brokers and 1 partitions are ready for Apache Kafka 4.3" in out
    for broker_id in (1, 2, 3):
        file = path / f"broker-{broker_id}/kafka/server.properties"
        assert f"  bin/kafka-server-start.sh {file}\n" in out
        properties = read_properties(file.read_text())
        assert properties["node.id"] == str(broker_id)
        assert properties["process.roles"] == "broker,controller"
        assert properties["log.dirs"] == str(data(path, broker_id))
        assert (
            properties["listeners"] == f"PLAINTEXT://127.0.0.1:{broker_id}9092,CONTROLLER://127.0.0.1:{broker_id}9093"
        )
        assert properties["controller.quorum.voters"] == "1@127.0.0.1:19093,2@127.0.0.1:29093,3@127.0.0.1:39093"
        assert properties["offsets.topic.num.partitions"] == "3"
        assert properties["offsets.topic.replication.factor"] == "3"
        assert properties["broker.rack"] == "abc"[broker_id - 1]
        assert properties.get("log.retention.hours") == ("3" if broker_id == 3 else None)
        # Kafka has these, kconsole does not; and the other way round.
        assert properties["group.coordinator.background.threads"] == "7"
        assert properties["controller.quota.window.num"] == "9"
        assert not [name for name in properties if name.startswith("kconsole.")]
    assert "Kafka honours group.coordinator.background.threads, which kconsole did not" in out
    assert "eligible leader replicas" in out and "upgrade --release-version 4.3" in out


def test_json_says_the_same_and_nothing_is_written_twice(path: Path) -> None:
    code, out = graduate(path, "--json")
    assert code == 0
    first = json.loads(out)
    assert first["cluster_id"] == CLUSTER_ID and first["partitions"] == 1
    assert first["bootstrap_servers"] == "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092"
    assert [(each["id"], each["written"]) for each in first["brokers"]] == [(1, True), (2, True), (3, True)]
    assert first["brokers"][0]["command"] == ["bin/kafka-server-start.sh", first["brokers"][0]["properties"]]
    again = json.loads(graduate(path, "--json")[1])
    assert [each["written"] for each in again["brokers"]] == [False, False, False]


def test_another_file_is_replaced_only_with_force(path: Path) -> None:
    assert graduate(path)[0] == 0
    file = path / "broker-2/kafka/server.properties"
    (path / "broker-3/kafka/server.properties").unlink()
    file.write_text("node.id=2\n# mine\n")
    code, out = graduate(path)
    assert code == 2 and f"broker 2: {file} is there and says something else" in out and "--force" in out
    assert not (path / "broker-3/kafka/server.properties").exists()
    assert graduate(path, "--force")[0] == 0
    assert "# mine" not in file.read_text() and (path / "broker-3/kafka/server.properties").exists()


def test_a_directory_without_a_cluster_is_named(tmp_path: Path) -> None:
    assert graduate(tmp_path / "none")[0] == 2
    code, out = graduate(tmp_path)
    assert code == 2 and "has no cluster.json" in out and "--data-dir" in out
    (tmp_path / "cluster.json").write_text("{")
    assert "cluster.json is damaged" in graduate(tmp_path)[1]
    (tmp_path / "cluster.json").write_text('{"brokers": {}, "voters": [1], "cluster_id": "x"}')
    code, out = graduate(tmp_path)
    assert code == 2 and f"cannot read {tmp_path}/cluster.yaml" in out and "--config" in out
    (tmp_path / "cluster.yaml").write_text("brokers: [{id: 1, prot: 1}]")
    code, out = graduate(tmp_path)
    assert code == 2 and "the cluster file is wrong" in out and "prot" in out
    (tmp_path / "cluster.yaml").write_text("brokers: [{id: 1}]")
    code, out = graduate(tmp_path)
    assert code == 2 and "cluster.json does not have broker 1 of the cluster file" in out


def test_a_cluster_that_runs_must_be_stopped_first(path: Path) -> None:
    lock = DataDir(real_world(), str(path)).own()
    code, out = graduate(path)
    assert code == 2 and f"the cluster in {path} runs: stop it with `kconsole shutdown --data-dir {path}`" in out
    lock.release()
    # A broker of Kafka's, on its own.
    with (data(path, 3) / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, out = graduate(path)
    assert code == 1 and f"broker 3: {data(path, 3)}: a running broker, kconsole's or Kafka's, has it" in out


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        assert old in (path / file).read_text()
        (path / file).write_text((path / file).read_text().replace(old, new))

    return change


def cut_log(path: Path) -> None:
    file = data(path) / "orders-0/00000000000000000000.log"
    file.write_bytes(file.read_bytes()[:-1])


def lose_a_batch(path: Path) -> None:
    file = data(path) / "orders-0/00000000000000000000.log"
    file.write_bytes(file.read_bytes()[: read_header(file.read_bytes()).size_in_bytes])


def flip_metadata(path: Path) -> None:
    for broker_id in (1, 2, 3):
        file = data(path, broker_id) / "__cluster_metadata-0/00000000000000000000.log"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def copy_of_another(path: Path) -> None:
    meta = (data(path, 1) / "meta.properties").read_text()
    (data(path, 2) / "meta.properties").write_text(meta.replace("node.id=1", "node.id=2"))


D1 = "broker-1/data"
BAD = {
    "killed": (
        lambda p: (p / D1 / ".kafka_cleanshutdown").unlink(),
        1,
        ".kafka_cleanshutdown: it is missing",
        "shutdown",
    ),
    "gone": (lambda p: shutil.rmtree(p / D1), 1, "the log directory is not there", "bring it back"),
    "unformatted": (lambda p: (p / D1 / "meta.properties").unlink(), 1, "meta.properties: it is missing", "restore"),
    "no version": (replace(f"{D1}/meta.properties", "version=1\n", ""), 1, "has no broker.id", "restore it"),
    "other cluster": (
        replace(f"{D1}/meta.properties", CLUSTER_ID, "MkU3OEVBNTcwNTJENDM2Qk"),
        1,
        "it belongs to another cluster, MkU3OEVBNTcwNTJENDM2Qk",
        f"bring back the one of cluster {CLUSTER_ID}",
    ),
    "other node": (replace(f"{D1}/meta.properties", "node.id=1", "node.id=2"), 1, "belongs to node 2", "bring back"),
    "copied": (copy_of_another, 2, "it has the same directory.id as", "bring back the right one"),
    "bad checkpoint": (
        lambda p: (p / D1 / "replication-offset-checkpoint").write_text("0\n7\n"),
        1,
        "replication-offset-checkpoint",
        "writes it anew",
    ),
    "strange directory": (lambda p: (p / D1 / "notes").mkdir(), 1, "no partition's", "move it away"),
    "torn log": (cut_log, 1, "has a corrupt batch at byte", "copy the partition anew"),
    "lost batch": (lose_a_batch, 1, "ends at offset 2, and was committed up to 3", "copy the partition anew"),
    "no replica": (
        lambda p: shutil.rmtree(p / D1 / "orders-0"),
        1,
        "this in-sync replica has no log",
        "copy the partition anew",
    ),
    "no topic id": (lambda p: (p / D1 / "orders-0/partition.metadata").unlink(), 1, "is missing", "copy the partition"),
    "other topic": (
        lambda p: (p / D1 / "orders-0/partition.metadata").write_text("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"),
        1,
        "it belongs to topic id AAECAwQFBgcICQoLDA0ODw, and orders is",
        "start the cluster",
    ),
    "bad epochs": (
        lambda p: (p / D1 / "orders-0/leader-epoch-checkpoint").write_text("0\n1\n5 x\n"),
        1,
        "is not an epoch and an offset",
        "copy the partition anew",
    ),
    "no metadata": (
        lambda p: shutil.rmtree(p / D1 / "__cluster_metadata-0"),
        1,
        "the metadata log is missing",
        "bring",
    ),
    "no vote": (lambda p: (p / D1 / "__cluster_metadata-0/quorum-state").unlink(), 1, "quorum-state", "bring it back"),
    "bad vote": (
        lambda p: (p / D1 / "__cluster_metadata-0/quorum-state").write_text("{}"),
        1,
        "quorum-state cannot be read",
        "bring it back",
    ),
    "bad metadata": (flip_metadata, 1, "__cluster_metadata-0:", "start the cluster"),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_state_names_broker_path_and_remedy(path: Path, name: str) -> None:
    breaks, broker_id, what, remedy = BAD[name]
    assert callable(breaks)
    breaks(path)
    code, out = graduate(path)
    assert code == 1, out
    lines = [line for line in out.splitlines() if what in line]
    assert lines, out
    assert lines[0].startswith(f"kconsole: broker {broker_id}: {path}/broker-{broker_id}/data"), lines
    assert str(remedy) in lines[0]
    assert not list(path.glob("broker-*/kafka"))


@pytest.mark.parametrize("port", [29093, 29094])
def test_voters_that_the_log_names_must_be_where_it_says(path: Path, port: int) -> None:
    """kafka-features.sh wrote them there, and the cluster file gave a broker another controller_port since."""
    world = real_world()
    ports = {1: 19093, 2: port, 3: 39093}
    record = VotersRecord(
        voters=[
            Voter(each, bytes([each, 0]) + bytes(13) + b"\x01", [Endpoint("CONTROLLER", "127.0.0.1", at)])
            for each, at in ports.items()
        ]
    )
    more = VotersEntry(0, 1, voters_of(record)).control_records()
    for broker_id in ports:
        config = BrokerConfig.from_properties(
            {
                "node.id": str(broker_id),
                "process.roles": "controller",
                "listeners": "CONTROLLER://127.0.0.1:1",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": f"{broker_id}@127.0.0.1:1",
                "log.dirs": str(data(path, broker_id)),
            }
        )
        metadata_log = MetadataLog.open(world.disk, world.clock, str(data(path, broker_id)), config)
        batch = bytearray(leader_change_batch(1, [1, 2, 3], [1, 2], timestamp_ms=1, more=more))
        stamp(batch, 0, metadata_log.end_offset, 9)
        metadata_log.append(bytes(batch))
        metadata_log.close()
    code, out = graduate(path)
    if port == 29093:
        assert code == 0, out
    else:
        assert code == 1 and "kconsole: broker 2: " in out
        assert f"voter 2 listens on 127.0.0.1:{port}" in out and "controller_port again" in out


def test_all_that_is_wrong_is_told_at_once(path: Path) -> None:
    for broker_id in (1, 2):
        (data(path, broker_id) / ".kafka_cleanshutdown").unlink()
    shutil.rmtree(data(path, 3))
    with pytest.raises(graduation.NotReady) as refused:
        graduation.make_plan(DataDir(real_world(), str(path)), real_world().disk)
    assert [each.broker_id for each in refused.value.problems] == [1, 2, 3]
