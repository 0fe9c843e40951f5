"""A cluster goes from ZooKeeper to KRaft: everything is the same afterwards, under kconsole and under Apache Kafka.

The first test takes a recorded tree of a real Kafka 3.9.1. The others (``make zookeeper-migration``) let a real one,
and kconsole, work under ZooKeeper before, and compare all that a Java client sees.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from bench.clusters import free_port
from console.cli import main
from engine.core.znodes.cluster_znodes import decode_cluster_id
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.apache_kafka import apache_kafka
from tests.integration.conftest import KCONSOLE, start_cluster, stop_cluster
from tests.integration.raw_client import wait_until
from tests.integration.record_zookeeper_trees import GOLDEN, describe, make_acls, set_configs
from tests.integration.test_graduation import (
    assert_same,
    commit,
    consume,
    create_topics,
    end_open,
    fill,
    picture,
    set_config,
    start_again,
    transact,
    verify_everything,
)
from tests.integration.zookeeper_kafka import ZooKeeperKafka, tree_of, zookeeper_kafka
from tests.integration.zookeeper_server import ZooKeeperEnsemble, zookeeper

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

at_length = pytest.mark.skipif(
    not os.environ.get("KCONSOLE_ZOOKEEPER_MIGRATION"), reason="takes minutes: make zookeeper-migration"
)


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["zookeeper", *words])
    assert done.exit_code == code, done.output
    return done.output


@contextmanager
def brokers(files: Sequence[Path]) -> Iterator[None]:
    """kconsole's brokers on these properties."""
    logs = [file.with_suffix(".log") for file in files]
    processes = []
    try:
        for file, log_file in zip(files, logs, strict=True):
            with log_file.open("wb") as log:
                words = [str(KCONSOLE), "broker", "--properties", str(file)]
                processes.append(subprocess.Popen(words, stdout=log, stderr=log))
        for process, log_file in zip(processes, logs, strict=True):
            # Before, a client that learns of no broker would ask again half a minute later.
            wait_until(
                f"{log_file} says that it serves",
                lambda: process.poll() is not None or "serves clients" in log_file.read_text(),  # noqa: B023
            )
        yield
        for process in processes:
            process.terminate()
        assert [process.wait(30) for process in processes] == [0] * len(files)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def two_free_ports() -> int:
    """A port that is free, and so is the next one."""
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port


def without_marker(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in tree if not each["path"].startswith("/kconsole")]


# -- a recorded tree --------------------------------------------------------------------------------------------


# A consumer of Kafka 0.8 kept its offsets here.
OLD_CONSUMER: list[dict[str, Any]] = [
    {"path": "/consumers/old", "data": ""},
    {"path": "/consumers/old/offsets", "data": ""},
    {"path": "/consumers/old/offsets/orders", "data": ""},
    {"path": "/consumers/old/offsets/orders/0", "data": "1"},
]


async def restore(connect: str, tree: list[dict[str, Any]]) -> str:
    """Make the znodes of a recorded tree; the id of its cluster."""
    session = ZooKeeperSession(ZooKeeperConfig.of_connect(connect))
    await session.connect()
    for each in tree[1:]:
        await session.create(each["path"], (each["data"] or "").encode())
    cluster_id = decode_cluster_id((await session.get("/cluster/id")).data)
    await session.close()
    return cluster_id


def test_what_a_kafka_kept_in_zookeeper_is_served_under_kraft(tmp_path: Path) -> None:
    recorded = json.loads(GOLDEN.read_text())["stopped"]["tree"] + OLD_CONSUMER
    with zookeeper(tmp_path) as ensemble:
        connect = f"{ensemble.connect}/kafka"
        cluster_id = asyncio.run(restore(connect, recorded))
        before = tree_of(connect)
        look_at(connect)
        files, words, ports = (
            [],
            ["migrate", "--controller-port", str(two_free_ports())],
            {1: free_port(), 2: free_port()},
        )
        for broker_id, port in ports.items():
            data = tmp_path / f"data-{broker_id}"
            data.mkdir()
            (data / "meta.properties").write_text(f"broker.id={broker_id}\ncluster.id={cluster_id}\nversion=0\n")
            file = tmp_path / f"broker-{broker_id}.properties"
            file.write_text(
                f"broker.id={broker_id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={data}\n"
                f"zookeeper.connect={connect}\noffsets.topic.replication.factor=1\n"
                "authorizer.class.name=kafka.security.authorizer.AclAuthorizer\n"
            )
            files.append(file)
            words += ["--properties", str(file)]
        shown = json.loads(run(*words, "--dry-run", "--json"))
        assert shown["moved"]["topics"] == 8 and tree_of(connect) == before
        moved = json.loads(run(*words, "--json"))
        assert moved == {**shown, "dry_run": False, "files": moved["files"]}
        assert without_marker(tree_of(connect)) == before
        run(*words, code=1)
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        with brokers([Path(each) for each in moved["files"]]):
            admin = AdminClient({"bootstrap.servers": bootstrap})
            wait_until("both brokers serve", lambda: len(admin.list_topics(timeout=10).brokers) == 2)
            check_served(admin, recorded)
            partition = produce(bootstrap)
            move_offsets(admin, "--connect", connect, "--bootstrap-servers", bootstrap)
    # Broker 2, which alone was in sync, leads in the epoch after that of ZooKeeper.
    lines = (tmp_path / f"data-2/orders-{partition}/leader-epoch-checkpoint").read_text().splitlines()
    assert lines[2:] == [f"{epoch_of(recorded, partition) + 1} 0"]


def check_served(admin: AdminClient, recorded: list[dict[str, Any]]) -> None:
    """Topics, configs, users and ACLs are those of the tree."""
    topics = admin.list_topics(timeout=10).topics
    assert sorted(topics) == sorted(
        each["path"].rpartition("/")[2]
        for each in recorded
        if each["path"].count("/") == 3 and each["path"].startswith("/brokers/topics/")
    )
    assert [each.replicas for _, each in sorted(topics["orders"].partitions.items())] == [[2, 1], [1, 2], [2, 1]]
    resource = ConfigResource(ResourceType.TOPIC, "orders")
    configs = admin.describe_configs([resource])[resource].result(10)
    assert configs["retention.ms"].value == "86400000" and configs["segment.bytes"].value == "1048576"
    assert sorted(admin.describe_user_scram_credentials().result(10)) == ["alice", "an odd/name:with %, * and ü"]
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    assert len(admin.describe_acls(everything).result(10)) == 10


def produce(bootstrap: str) -> int:
    """One record, acknowledged by all; its partition."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    taken: list[Any] = []
    producer.produce("orders", b"under KRaft", on_delivery=lambda error, message: taken.append((error, message)))
    producer.flush(10)
    [(error, message)] = taken
    assert error is None
    return int(message.partition())


def move_offsets(admin: AdminClient, *where: str) -> None:
    """`kconsole zookeeper offsets`: what an old consumer committed to ZooKeeper."""
    assert run("offsets", *where, "--dry-run") == "old  orders-0  1\n"
    assert run("offsets", *where) == "1 offsets committed\n"
    group = ConsumerGroupTopicPartitions("old")

    def committed() -> list[tuple[str, int, int]]:
        found = admin.list_consumer_group_offsets([group])["old"].result(10).topic_partitions
        return [(each.topic, each.partition, each.offset) for each in found]

    assert committed() == [("orders", 0, 1)]
    assert json.loads(run("status", *where[:2], "--json"))["migrated"] == "done"
    # Again: what the group has in the cluster counts, until it is said not to.
    there = ConsumerGroupTopicPartitions("old", [TopicPartition("orders", 0, 0)])
    admin.alter_consumer_group_offsets([there])["old"].result(10)
    assert "1 left as they are" in run("offsets", *where) and committed() == [("orders", 0, 0)]
    assert run("offsets", *where, "--replace") == "1 offsets committed\n" and committed() == [("orders", 0, 1)]


def look_at(connect: str) -> None:
    """`kconsole zookeeper tree` and `status` of the recorded tree."""
    printed = {each["path"]: each for each in json.loads(run("tree", "--connect", connect, "--json"))}
    orders = printed["/brokers/topics/orders"]["value"]
    assert orders["partitions"] == {"0": [2, 1], "1": [1, 2], "2": [2, 1]}
    # Secrets are left out.
    assert "SCRAM-SHA-256" in printed["/config/users/alice"]["value"]["config"]
    users = run("tree", "/config/users", "--connect", connect)
    assert users.startswith("/config/users\n  <default>") and "salt" not in users and "iterations" not in users
    assert run("tree", "/brokers/seqid", "--connect", connect) == "/brokers/seqid\n"
    assert "no znode /nowhere in ZooKeeper at" in run("tree", "/nowhere", "--connect", connect, code=1)
    said = json.loads(run("status", "--connect", connect, "--json"))
    assert (said["controller"], said["controller_epoch"], said["brokers"], said["migrated"]) == (None, 2, [], None)
    assert [each["mode"] for each in said["servers"]] == ["standalone"]
    shown = run("status", "--connect", connect)
    assert "no controller, epoch 2\nbrokers alive: none\n" in shown
    lost = json.loads(run("status", "--connect", "127.0.0.1:1/kafka", "--json", code=1))
    assert "Connection refused" in lost["servers"][0]["error"]


def epoch_of(recorded: list[dict[str, Any]], partition: int) -> int:
    """The leader epoch that a partition of ``orders`` had under ZooKeeper, without leader."""
    path = f"/brokers/topics/orders/partitions/{partition}/state"
    state = json.loads(next(each["data"] for each in recorded if each["path"] == path))
    return int(state["leader_epoch"]) + (state["leader"] != -1)


# -- at length --------------------------------------------------------------------------------------------------


def work(bootstrap: str, replication_factor: int) -> None:
    """Records with every codec, configs, quotas, users, ACLs, groups, transactions, one of them open."""
    create_topics(bootstrap, replication_factor)
    fill(bootstrap, 0, 150, large=200)
    set_config(bootstrap, "gzipped", "retention.ms", "86400000")
    commit(bootstrap, "billing", 17)
    consume(bootstrap, "readers", "zstded")
    transact(bootstrap, 7)
    # Left open, for as long as it takes to move.
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": "left-open", "transaction.timeout.ms": 600_000}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("lz4ed", b"open", b"k", 0)
    assert producer.flush(30) == 0


@pytest.mark.slow
@at_length
@pytest.mark.parametrize("moves", ["at once", "machine by machine"])
def test_everything_of_a_real_kafka_3_9_is_the_same(tmp_path: Path, moves: str) -> None:
    with zookeeper(tmp_path) as ensemble:
        files, bootstrap, before, described = run_kafka_3(tmp_path, ensemble)
        connect = f"{ensemble.connect}/kafka"
        tree = tree_of(connect)
        words = ["migrate", "--controller-port", str(two_free_ports()), *(f"--properties={each}" for each in files)]
        for only in [[]] if moves == "at once" else [["--only", "2"], ["--only", "1"]]:
            print(run(*words, *only))
        assert without_marker(tree_of(connect)) == tree
        # No broker of Apache Kafka's gets in again either: its directories are not ZooKeeper's any more.
        again = ZooKeeperKafka(tmp_path / "again", connect, ports={1: free_port()}, log_dirs={1: log_dir(files[0])})
        with pytest.raises(AssertionError, match=r"meta.properties"):
            again.start()
    after = [each.with_suffix(".kraft.properties") for each in files]
    with brokers(after):
        assert_same(before, picture(bootstrap), at_least=500)
        assert_described(described, describe(bootstrap))
    with apache_kafka(after, bootstrap.split(","), tmp_path):
        assert_same(before, picture(bootstrap), at_least=500)
        assert_described(described, describe(bootstrap))
        end_open(bootstrap, b"ended by Kafka 4.3")
        fill(bootstrap, 150, 50)
        transact(bootstrap, 9)
    with brokers(after):
        end_open(bootstrap, b"ended by kconsole")


def run_kafka_3(directory: Path, ensemble: ZooKeeperEnsemble) -> tuple[list[Path], str, list[str], dict[str, Any]]:
    """Two brokers that were given something of every kind, and are stopped now: their properties, where they were,
    what a Java client saw, what Kafka's tools said."""
    # One of them has two disks.
    log_dirs = {1: f"{directory}/kafka-1a,{directory}/kafka-1b", 2: f"{directory}/kafka-2"}
    ports = {1: free_port(), 2: free_port()}
    connect = f"{ensemble.connect}/kafka"
    with zookeeper_kafka(directory / "kafka", connect, ports=ports, log_dirs=log_dirs) as kafka:
        bootstrap = kafka.bootstrap
        work(bootstrap, 2)
        set_configs_and_acls(bootstrap)
        seen, described = picture(bootstrap), describe(bootstrap)
        return [kafka.properties(each) for each in kafka.ports], bootstrap, seen, described


def log_dir(file: Path) -> str:
    return next(line.partition("=")[2] for line in file.read_text().splitlines() if line.startswith("log.dirs="))


_MOMENTARY = ("Leader:", "Isr:", "Elr:", "LastKnownElr:")


def comparable(described: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without what is of the moment (leaders, and who is in sync), and the order of configs."""
    found = {}
    for kind, lines in described.items():
        if kind == "topics":
            lines = ["\t".join(each for each in line.split("\t") if not each.startswith(_MOMENTARY)) for line in lines]
        found[kind] = sorted(" ".join(sorted(re.split(r"[,\s]+", line.strip()))) for line in lines if line.strip())
    return found


def assert_described(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    old, new = comparable(before), comparable(after)
    for kind in old:
        gone, came = sorted(set(old[kind]) - set(new[kind])), sorted(set(new[kind]) - set(old[kind]))
        assert not gone and not came, f"{kind}: gone {gone}, came {came}"
        assert old[kind] == new[kind]


EMBEDDED = """
coordination: zookeeper
durability: page-cache
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  transaction.state.log.num.partitions: 3
  offsets.storage: {storage}
  authorizer.class.name: org.apache.kafka.metadata.authorizer.StandardAuthorizer
  super.users: User:ANONYMOUS
brokers: [{{id: 1}}, {{id: 2}}, {{id: 3}}]
"""


@pytest.mark.slow
@at_length
@pytest.mark.parametrize("storage", ["kafka", "zookeeper"])
def test_everything_of_an_embedded_cluster_is_the_same(tmp_path: Path, storage: str) -> None:
    cluster = start_cluster(tmp_path, EMBEDDED.format(storage=storage))
    assert cluster.data_dir is not None
    bootstrap, where = cluster.bootstrap, ("--data-dir", str(cluster.data_dir))
    work(bootstrap, 3)
    set_configs_and_acls(bootstrap)
    before, described = picture(bootstrap), describe(bootstrap)
    assert "runs: stop it with" in run("migrate", *where, code=1)
    stop_cluster(cluster)
    run("migrate", *where)
    run("migrate", "--undo", *where, code=1 if storage == "zookeeper" else 0)
    if storage == "kafka":
        # Nothing had run under KRaft: it goes on under ZooKeeper, and moves again.
        again = start_again(tmp_path)
        assert_same(before, picture(bootstrap), at_least=500)
        stop_cluster(again)
        run("migrate", *where)
    moved = start_again(tmp_path)
    assert_same(before, picture(bootstrap), at_least=500)
    assert_described(described, describe(bootstrap))
    end_open(bootstrap, b"ended under KRaft")
    fill(bootstrap, 150, 50)
    transact(bootstrap, 9)
    seen = picture(bootstrap)
    stop_cluster(moved)
    verify_everything(cluster.data_dir)
    plan = CliRunner().invoke(main, ["storage", "graduate", str(cluster.data_dir), "--json"])
    assert plan.exit_code == 0, plan.output
    files = [Path(each["properties"]) for each in json.loads(plan.output)["brokers"]]
    with apache_kafka(files, bootstrap.split(","), tmp_path):
        assert_same(seen, picture(bootstrap), at_least=500)


def set_configs_and_acls(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic("orders", 3, 2), NewTopic("alone", 1, 1)]).values():
        future.result(30)
    set_configs(bootstrap)
    make_acls(bootstrap)
