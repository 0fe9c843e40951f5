"""From kconsole to Apache Kafka on the same directories, and back: everything stays as it is.

The picture that is compared is a Java client's (``java/Picture.java``); that every file is sound is what Kafka's
DumpLogSegments says.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from bench.clusters import free_port
from tests.integration.apache_kafka import apache_kafka
from tests.integration.conftest import KCONSOLE, ROOT, Cluster, start_cluster, stop_cluster
from tests.integration.java_tools import kafka_tool, run_tool
from tests.integration.raw_client import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]

# Small segments and snapshots of the metadata, so that there is more than one of each.
SPEC = """
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  transaction.state.log.num.partitions: 3
  log.segment.bytes: 1048576
  log.cleaner.backoff.ms: 200
  metadata.log.max.record.bytes.between.snapshots: 3000
  metadata.log.segment.bytes: 8388608
brokers:
  - {id: 1, rack: a}
  - {id: 2, rack: b}
  - {id: 3, rack: c}
"""
CODECS = {
    "plain": "none",
    "gzipped": "gzip",
    "snappied": "snappy",
    "lz4ed": "lz4",
    "zstded": "zstd",
    "compacted": "none",
}
PARTITIONS = 2
GROUPS = ("billing", "readers", "new-protocol", "movers")
DUMP = "org.apache.kafka.tools.DumpLogSegments"
# An hour ago, so that retention leaves them alone.
BASE_TIMESTAMP = int(time.time() * 1000) - 3_600_000


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def create_topics(bootstrap: str, replication_factor: int = 3) -> None:
    topics = [
        NewTopic(
            name,
            PARTITIONS,
            replication_factor,
            config={
                "min.insync.replicas": "2" if replication_factor > 1 else "1",
                **({"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"} if name == "compacted" else {}),
            },
        )
        for name in CODECS
    ]
    admin = admin_of(bootstrap)
    for future in admin.create_topics(topics).values():
        future.result(30)


def set_config(bootstrap: str, topic: str, config: str, value: str) -> None:
    entry = ConfigEntry(config, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = admin_of(bootstrap)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def delete_records(bootstrap: str, before: TopicPartition) -> None:
    admin = admin_of(bootstrap)
    for future in admin.delete_records([before]).values():
        assert future.result(30).low_watermark == before.offset


def fill(bootstrap: str, first: int, count: int, *, large: int = 0) -> None:
    """Records of every shape into each topic with its codec; ``large`` ones of 2 KB into two without one."""
    for topic, codec in CODECS.items():
        producer = Producer(
            {"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20}
        )
        for number in range(first, first + count):
            producer.produce(
                topic,
                None if number % 11 == 0 else b"value %d " % number + b"x" * (number % 50),
                None if number % 7 == 0 and topic != "compacted" else b"key %d" % (number % 40),
                number % PARTITIONS,
                timestamp=BASE_TIMESTAMP + number,
                headers=[("n", b"%d" % number), ("null", None)] if number % 3 == 0 else [],
            )
        for number in range(large if topic in ("plain", "compacted") else 0):
            producer.produce(
                topic, b"%d" % number * 400, b"large %d" % (number % 40), 0, timestamp=BASE_TIMESTAMP + number
            )
            if number % 300 == 0:
                producer.flush(30)
        assert producer.flush(30) == 0


def commit(bootstrap: str, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    offsets = [TopicPartition(topic, 0, offset, f"{group} at {offset}") for topic in CODECS]
    committed = consumer.commit(offsets=offsets, asynchronous=False)
    assert committed is not None and all(each.error is None for each in committed)
    consumer.close()


def consume(bootstrap: str, group: str, topic: str, **more: str) -> None:
    """A group with a member that reads a topic and commits what it read."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **more,
        }
    )
    consumer.subscribe([topic])
    assert len(consumer.consume(20, 30)) == 20
    consumer.commit(asynchronous=False)
    consumer.close()


def transact(bootstrap: str, offset: int) -> None:
    """Transactions that are committed, with an offset of a group, and one that is aborted, also of keys that are
    compacted."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "mover", "linger.ms": 5})
    producer.init_transactions(30)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "movers", "enable.auto.commit": False})
    of_group = consumer.consumer_group_metadata()
    last = b""
    for outcome in ("committed", "aborted", "committed again"):
        producer.begin_transaction()
        for number in range(20):
            last = f"{outcome} {number}, {offset}".encode()
            for topic in ("lz4ed", "compacted"):
                producer.produce(topic, last, b"key %d" % number, number % PARTITIONS)
        producer.flush(30)
        moved = [TopicPartition("zstded", 0, offset, f"{outcome} at {offset}")]
        producer.send_offsets_to_transaction(moved, of_group, 30)
        (producer.abort_transaction if outcome == "aborted" else producer.commit_transaction)(30)
    consumer.close()
    # The markers follow the end of the transaction.
    wait_until("all is committed", lambda: committed_values(bootstrap, "lz4ed", 1)[-1:] == [last])


def leave_open(bootstrap: str) -> None:
    """A transaction that nobody ends."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "left-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("lz4ed", b"open", b"k", 0)
    assert producer.flush(30) == 0


def end_open(bootstrap: str, value: bytes) -> None:
    """Its producer comes again, to the coordinator of somebody else, which aborts it; then it commits ``value``."""
    heir = Producer({"bootstrap.servers": bootstrap, "transactional.id": "left-open"})
    heir.init_transactions(30)
    heir.begin_transaction()
    heir.produce("lz4ed", value, b"k", 0)
    heir.commit_transaction(30)
    # The marker follows the end of the transaction.
    wait_until(f"{value!r} is committed", lambda: committed_values(bootstrap, "lz4ed")[-1:] == [value])
    assert b"open" not in committed_values(bootstrap, "lz4ed")


def committed_values(bootstrap: str, topic: str, partition: int = 0) -> list[bytes | None]:
    """What a reader of committed records finds in a partition."""
    # It commits nothing: a list of groups lacks those that their coordinator has not loaded yet.
    options = {"group.id": "reads-committed", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": bootstrap, **options})
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list[bytes | None] = []
    while (message := consumer.poll(30)) is not None and message.error() is None:
        found.append(message.value())
    consumer.close()
    return found


def raise_features(bootstrap: str) -> None:
    """All that 4.3 has; kraft.version among them, which waits until each voter has told the leader what it can do."""
    features = ("org.apache.kafka.tools.FeatureCommand", "--bootstrap-server", bootstrap)
    wait_until(
        "the features are raised", lambda: run_tool(*features, "upgrade", "--release-version", "4.3").exit_code == 0
    )


def is_cleaned(data_dir: Path) -> bool:
    """Whether every broker has compacted all but the last segment of the compacted topic's larger partition."""
    for data in sorted(data_dir.glob("broker-*/data")):
        last = max(int(file.stem) for file in (data / "compacted-0").glob("*.log"))
        file = data / "cleaner-offset-checkpoint"
        if last == 0 or not file.exists() or f"compacted 0 {last}\n" not in file.read_text():
            return False
    return True


def picture(bootstrap: str) -> list[str]:
    return kafka_tool(str(ROOT / "tests/integration/java/Picture.java"), bootstrap, *GROUPS).splitlines()


def assert_same(before: list[str], after: list[str], at_least: int = 1000) -> None:
    assert len(before) > at_least
    missing, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    assert not missing and not new, f"gone: {missing[:10]}\ncame: {new[:10]}"
    assert before == after


def ends(data_dir: Path) -> dict[str, int]:
    """Where each broker's logs end, now that they are closed in order."""
    found: dict[str, int] = {}
    for file in sorted(data_dir.glob("broker-*/data/recovery-point-offset-checkpoint")):
        for line in file.read_text().splitlines()[2:]:
            topic, partition, end = line.split()
            found[f"{file.parent.relative_to(data_dir)}/{topic}-{partition}"] = int(end)
    return found


def epochs(data_dir: Path, ends: dict[str, int]) -> dict[str, list[tuple[int, int]]]:
    """The leader epochs of the records below ``ends`` as each broker's file has them."""
    found: dict[str, list[tuple[int, int]]] = {}
    for log, end in ends.items():
        file = data_dir / log / "leader-epoch-checkpoint"
        lines = file.read_text().splitlines()[2:] if file.exists() else []
        entries = [(int(epoch), int(start)) for epoch, start in map(str.split, lines)]
        found[log] = [each for each in entries if each[1] < end]
    return found


def graduate(data_dir: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(KCONSOLE), "storage", "graduate", str(data_dir), "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dump_everything(data_dir: Path) -> None:
    """DumpLogSegments over every file of every broker finds nothing wrong."""
    verify_everything(data_dir)
    for data in sorted(data_dir.glob("broker-*/data")):
        metadata = data / "__cluster_metadata-0"
        logs = [file for file in sorted(data.glob("*/*.log")) if file.parent != metadata]
        assert len(logs) > 12
        out = kafka_tool(DUMP, "--files", ",".join(map(str, logs)), "--deep-iteration")
        check_dump(out, logs)
        groups = [file for file in logs if file.parent.name.startswith("__consumer_offsets")]
        check_dump(kafka_tool(DUMP, "--files", ",".join(map(str, groups)), "--offsets-decoder"), groups)
        coordinated = [file for file in logs if file.parent.name.startswith("__transaction_state")]
        out = kafka_tool(DUMP, "--files", ",".join(map(str, coordinated)), "--transaction-log-decoder")
        check_dump(out, coordinated)
        assert "mover" in out, data
        indexes = sorted(data.glob("*/*.index")) + sorted(data.glob("*/*.timeindex"))
        out = kafka_tool(DUMP, "--files", ",".join(map(str, indexes)), "--verify-index-only")
        check_dump(out, indexes)
        out = kafka_tool(DUMP, "--files", ",".join(map(str, indexes)), "--index-sanity-check")
        assert out.count("passed sanity check") + out.count("is empty") == len(indexes), out
        aborted = sorted(data.glob("*/*.txnindex"))
        assert {each.parent.name for each in aborted if each.stat().st_size} >= {"lz4ed-0", "lz4ed-1"}
        others = sorted(data.glob("*/*.snapshot")) + aborted
        assert len(others) > len(aborted) > 0
        check_dump(kafka_tool(DUMP, "--files", ",".join(map(str, others))), others)
        files = [data / "bootstrap.checkpoint", *sorted(metadata.glob("*.log")), *sorted(metadata.glob("*.checkpoint"))]
        out = kafka_tool(DUMP, "--files", ",".join(map(str, files)), "--cluster-metadata-decoder")
        check_dump(out, files)
        for kind in ("FEATURE_LEVEL_RECORD", "PARTITION_RECORD", "LeaderChange", "SnapshotHeader", "SnapshotFooter"):
            assert kind in out, (data, kind)


def verify_everything(data_dir: Path) -> None:
    """Our own verification finds nothing wrong in what either of the two wrote."""
    done = subprocess.run(
        [str(KCONSOLE), "storage", "verify", str(data_dir), "--deep"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": nothing is wrong" in done.stdout.splitlines()[-1]


def check_dump(out: str, files: list[Path]) -> None:
    assert len(re.findall(r"^Dumping ", out, re.MULTILINE)) == len(files), out[:2000]
    wrong = re.findall(
        r"^.*(?:isvalid: false|mismatch|out of order|non-consecutive|Non-secutive|rror|xception|Could not).*$",
        out,
        re.MULTILINE,
    )
    assert not wrong, wrong[:5]


def test_everything_is_the_same_under_apache_kafka_and_back(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, SPEC)
    assert cluster.data_dir is not None
    data_dir, bootstrap = cluster.data_dir, cluster.bootstrap
    addresses = bootstrap.split(",")
    create_topics(bootstrap)
    fill(bootstrap, 0, 150, large=1200)
    cluster.cli("restart")
    fill(bootstrap, 150, 150)
    set_config(bootstrap, "gzipped", "retention.ms", "86400000")
    set_config(bootstrap, "plain", "compression.type", "zstd")
    kafka_tool(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", bootstrap, "--alter", "--entity-type", "brokers", "--entity-default"),
        *("--add-config", "log.retention.ms=172800000"),
    )
    commit(bootstrap, "billing", 17)
    consume(bootstrap, "readers", "zstded")
    delete_records(bootstrap, TopicPartition("snappied", 1, 7))
    transact(bootstrap, 7)
    wait_until("the compacted topic is cleaned", lambda: is_cleaned(data_dir))
    of_kconsole = picture(bootstrap)
    assert len([each for each in of_kconsole if each.startswith("record compacted-0 ")]) < 1000
    kinds = {each.split()[0] for each in of_kconsole}
    assert kinds == {"partition", "config", "offset", "log", "record", "producer", "transactional"}
    assert any(each.startswith("offset movers zstded-0 7 ") for each in of_kconsole)
    stop_cluster(cluster)
    ends_of_kconsole = ends(data_dir)
    epochs_of_kconsole = epochs(data_dir, ends_of_kconsole)
    assert sum(len(each) > 1 for each in epochs_of_kconsole.values()) >= 3 * PARTITIONS * len(CODECS)

    plan = graduate(data_dir)
    dump_everything(data_dir)
    files = [Path(each["properties"]) for each in plan["brokers"]]
    with apache_kafka(files, addresses, tmp_path):
        assert_same(of_kconsole, picture(bootstrap))
        assert epochs(data_dir, ends_of_kconsole) == epochs_of_kconsole
        raise_features(bootstrap)
        fill(bootstrap, 300, 60, large=700)
        transact(bootstrap, 9)
        delete_records(bootstrap, TopicPartition("snappied", 0, 12))
        consume(bootstrap, "new-protocol", "zstded", **{"group.protocol": "consumer"})
        commit(bootstrap, "billing", 170)
        set_config(bootstrap, "gzipped", "retention.bytes", "123456789")
        of_kafka = picture(bootstrap)
    verify_everything(data_dir)
    ends_of_kafka = ends(data_dir)
    epochs_of_kafka = epochs(data_dir, ends_of_kafka)

    back = start_again(tmp_path)
    assert_same(of_kafka, picture(bootstrap))
    assert epochs(data_dir, ends_of_kafka) == epochs_of_kafka
    fill(bootstrap, 360, 20)
    transact(bootstrap, 11)
    stop_cluster(back)
    again = graduate(data_dir)
    assert again["brokers"] == [{**each, "written": False} for each in plan["brokers"]]
    # The features are raised by now.
    assert again["notes"] == plan["notes"][1:]
    dump_everything(data_dir)


SINGLE = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={directory}/one,{directory}/two
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
metadata.log.max.record.bytes.between.snapshots=3000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""

CONFIGS = "kafka.admin.ConfigCommand"
ACLS = "org.apache.kafka.tools.AclCommand"


def administer(bootstrap: str, user: str) -> None:
    """Quotas, a SCRAM credential, access control entries, a subscription to clients' metrics."""
    server = ("--bootstrap-server", bootstrap)
    of_user = (*server, "--alter", "--entity-type", "users", "--entity-name", user)
    kafka_tool(CONFIGS, *of_user, "--add-config", "producer_byte_rate=1048576,request_percentage=50.5")
    kafka_tool(CONFIGS, *of_user, "--add-config", "SCRAM-SHA-512=[iterations=5000,password=secret]")
    of_address = (*server, "--alter", "--entity-type", "ips", "--entity-default")
    kafka_tool(CONFIGS, *of_address, "--add-config", "connection_creation_rate=1000")
    kafka_tool(ACLS, *server, "--add", "--allow-principal", f"User:{user}", "--operation", "Read", "--topic", "plain")
    of_metrics = (*server, "--alter", "--entity-type", "client-metrics", "--entity-name", f"of-{user}")
    kafka_tool(CONFIGS, *of_metrics, "--add-config", "metrics=org.apache.kafka.,interval.ms=60000")


def administered(bootstrap: str) -> list[str]:
    """What is shown of all that."""
    server = ("--bootstrap-server", bootstrap)
    kinds = ("users", "ips", "client-metrics")
    shown = [kafka_tool(CONFIGS, *server, "--describe", "--entity-type", kind) for kind in kinds]
    shown.append(kafka_tool(ACLS, *server, "--list"))
    return sorted(line.strip() for each in shown for line in each.splitlines() if line.strip())


def directory_of(bootstrap: str, topic: str) -> str:
    """The log directory that partition 0 of a topic is in, once it is in one alone."""
    out = kafka_tool(
        "org.apache.kafka.tools.LogDirsCommand", "--bootstrap-server", bootstrap, "--describe", "--topic-list", topic
    )
    directories = [
        each["logDir"].rpartition("/")[2]
        for broker in json.loads(out.splitlines()[-1])["brokers"]
        for each in broker["logDirs"]
        if any(partition["partition"] == f"{topic}-0" for partition in each["partitions"])
    ]
    return "+".join(sorted(directories))


def move_to_other_directory(bootstrap: str, directory: Path, topic: str) -> str:
    """Partition 0 goes from one log directory of the broker to the other; its name."""
    there = {"one": "two", "two": "one"}[directory_of(bootstrap, topic)]
    file = directory / "move.json"
    moved = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [f"{directory}/{there}"]}
    file.write_text(json.dumps({"version": 1, "partitions": [moved]}))
    kafka_tool(
        "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
        *("--bootstrap-server", bootstrap, "--reassignment-json-file", str(file), "--execute"),
    )
    wait_until(f"{topic} is in {there}", lambda: directory_of(bootstrap, topic) == there)
    return there


def test_directories_that_kafka_formatted_filled_and_was_killed_on(tmp_path: Path) -> None:
    """What `kafka-storage.sh format --standalone` makes: voters in the log (KIP-853), features of 4.3, two disks."""
    port, controller = free_port(), free_port()
    file = tmp_path / "server.properties"
    file.write_text(SINGLE.format(port=port, controller=controller, directory=tmp_path))
    bootstrap = f"127.0.0.1:{port}"
    kafka_tool("kafka.tools.StorageTool", "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", str(file))

    # Before any Kafka was there.
    with kconsole_broker(file):
        create_topics(bootstrap, replication_factor=1)
        fill(bootstrap, 0, 100)
        administer(bootstrap, "alice")
        settings = administered(bootstrap)
        place = move_to_other_directory(bootstrap, tmp_path, "plain")
        leave_open(bootstrap)
        of_kconsole = picture(bootstrap)
    with apache_kafka([file], [bootstrap], tmp_path) as (kafka,):
        assert_same(of_kconsole, picture(bootstrap), at_least=400)
        assert administered(bootstrap) == settings and len(settings) >= 8
        assert directory_of(bootstrap, "plain") == place
        administer(bootstrap, "bob")
        settings = administered(bootstrap)
        end_open(bootstrap, b"ended by Kafka")
        fill(bootstrap, 100, 60, large=700)
        transact(bootstrap, 9)
        consume(bootstrap, "new-protocol", "zstded", **{"group.protocol": "consumer"})
        commit(bootstrap, "billing", 60)
        leave_open(bootstrap)
        of_kafka = picture(bootstrap)
        # Nobody else gets in meanwhile: Java's lock and ours know of each other.
        refused = subprocess.run([str(KCONSOLE), "broker", "--properties", str(file)], capture_output=True, text=True)
        assert refused.returncode == 1 and "used by another process" in refused.stderr
        kafka.kill()
    with kconsole_broker(file):
        assert_same(of_kafka, picture(bootstrap), at_least=400)
        assert administered(bootstrap) == settings
        move_to_other_directory(bootstrap, tmp_path, "lz4ed")
        assert_same(of_kafka, picture(bootstrap), at_least=400)
        end_open(bootstrap, b"ended by kconsole")
    metadata = tmp_path / "one" / "__cluster_metadata-0"
    assert json.loads((metadata / "quorum-state").read_text())["data_version"] == 1
    newest = sorted(metadata.glob("*.checkpoint"))[-1]
    out = kafka_tool(DUMP, "--files", str(newest), "--cluster-metadata-decoder")
    assert '"kRaftVersion":1' in out and f'"port":{controller}' in out and newest.name > "0" * 19 + "1"


@contextmanager
def kconsole_broker(properties_file: Path) -> Iterator[None]:
    """``kconsole broker`` until SIGTERM."""
    log_file = properties_file.parent / "kconsole.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(KCONSOLE), "broker", "--properties", str(properties_file)], stdout=log, stderr=log
        )
    try:
        # Sooner it listens, and a client that learns of no broker then asks again half a minute later.
        wait_until("it serves clients", lambda: process.poll() is not None or "serves clients" in log_file.read_text())
        yield
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def start_again(directory: Path) -> Cluster:
    """``kconsole up`` on the directory as it is."""
    process = subprocess.Popen(
        [str(KCONSOLE), "up", "--json", "--data-dir", str(directory / "data")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    return Cluster(line["bootstrap_servers"], directory / "data", process, line)
