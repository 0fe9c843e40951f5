"""Kafka's command-line tools beyond what test_foreign_clients.py has of them: each option that asks the broker for
something else, what must be refused, and DumpLogSegments on the files that brokers leave behind."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from tests.integration.conftest import SPEC, Cluster, start_cluster, stop_cluster
from tests.integration.java_tools import kafka_tool, run_tool
from tests.integration.observing import controller_address
from tests.integration.raw_client import wait_until
from tests.integration.test_foreign_clients import consume, create_topic, produce

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOOLS = "org.apache.kafka.tools."
GROUPS = TOOLS + "consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
DUMP = TOOLS + "DumpLogSegments"
# Small segments, so that there are closed ones with indexes.
JAVA_SPEC = SPEC + "  log.segment.bytes: 1048576\n  log.index.interval.bytes: 4096\n"


@pytest.fixture(scope="module")
def java_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(tmp_path_factory.mktemp("java"), JAVA_SPEC)
    yield running
    stop_cluster(running)


@pytest.fixture(scope="module")
def server(java_cluster: Cluster) -> tuple[str, str]:
    return "--bootstrap-server", java_cluster.bootstrap


def table(out: str, first_column: str) -> list[dict[str, str]]:
    """A tool's table as rows by column name. Columns are apart by blanks, in names there are none."""
    lines = [line.split() for line in out.splitlines()]
    start = next(number for number, words in enumerate(lines) if words[:1] == [first_column])
    names = lines[start]
    return [dict(zip(names, words, strict=False)) for words in lines[start + 1 :] if words]


def refused(tool: str, *arguments: str) -> str:
    """Run a tool that must fail; all that it says."""
    done = run_tool(tool, *arguments)
    assert done.exit_code == 1, done
    return done.out + done.err


def test_groups_are_described_reset_and_deleted(java_cluster: Cluster, server: tuple[str, str]) -> None:
    topic, group = "group-tools", "group-tools"
    create_topic(java_cluster, topic, 3)
    produce(java_cluster, topic, [b"x"] * 90)
    consumer = Consumer(
        {
            "bootstrap.servers": java_cluster.bootstrap,
            "group.id": group,
            "client.id": "member",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    assert len(consumer.consume(90, 20)) == 90
    consumer.commit(asynchronous=False)
    of_group = (*server, "--group", group)
    (state,) = table(
        kafka_tool(GROUPS, *of_group, "--describe", "--state").replace("COORDINATOR (ID)", "AT ID"), "GROUP"
    )
    assert (state["STATE"], state["#MEMBERS"], state["ASSIGNMENT-STRATEGY"]) == ("Stable", "1", "range")
    (member,) = table(kafka_tool(GROUPS, *of_group, "--describe", "--members", "--verbose"), "GROUP")
    assert member["CONSUMER-ID"].startswith("member-") and member["CLIENT-ID"] == "member"
    assert (member["HOST"], member["#PARTITIONS"]) == ("/127.0.0.1", "3")
    assert f"{topic}:0,1,2" in member.values()
    offsets = table(kafka_tool(GROUPS, *of_group, "--describe", "--offsets"), "GROUP")
    assert {row["LAG"] for row in offsets} == {"0"} and {row["CONSUMER-ID"] for row in offsets} == {
        member["CONSUMER-ID"]
    }
    listed = table(kafka_tool(GROUPS, *server, "--list", "--state", "stable"), "GROUP")
    assert {"GROUP": group, "STATE": "Stable"} in listed
    kinds = table(kafka_tool(TOOLS + "GroupsCommand", *server, "--list"), "GROUP")
    assert {"GROUP": group, "TYPE": "Classic", "PROTOCOL": "consumer"} in kinds
    # A group with members is neither reset nor deleted.
    to_start = ("--reset-offsets", "--topic", topic, "--to-earliest", "--execute")
    assert "can only be reset if the group 'group-tools' is inactive" in kafka_tool(GROUPS, *of_group, *to_start)
    assert "is not empty" in kafka_tool(GROUPS, *server, "--delete", "--group", group)
    consumer.close()

    def reset(*how: str, topic_partitions: str = topic) -> dict[int, int]:
        out = kafka_tool(GROUPS, *of_group, "--reset-offsets", "--topic", topic_partitions, *how)
        return {int(row["PARTITION"]): int(row["NEW-OFFSET"]) for row in table(out, "GROUP")}

    def current() -> dict[int, int]:
        rows = table(kafka_tool(GROUPS, *of_group, "--describe"), "GROUP")
        return {int(row["PARTITION"]): int(row["CURRENT-OFFSET"]) for row in rows}

    ends = current()
    assert sum(ends.values()) == 90
    assert reset("--to-earliest", "--dry-run") == dict.fromkeys(range(3), 0)
    assert current() == ends, "a dry run changes nothing"
    assert reset("--to-earliest", "--execute") == dict.fromkeys(range(3), 0)
    assert reset("--to-latest", "--execute") == ends
    assert reset("--shift-by", "-5", "--execute") == {number: end - 5 for number, end in ends.items()} == current()
    assert reset("--to-datetime", "2000-01-01T00:00:00.000", "--execute") == dict.fromkeys(range(3), 0)
    assert reset("--by-duration", "PT1H", "--execute") == dict.fromkeys(range(3), 0)
    assert reset("--to-offset", "3", "--execute", topic_partitions=f"{topic}:1") == {1: 3}
    assert current() == {0: 0, 1: 3, 2: 0}
    out = kafka_tool(GROUPS, *of_group, "--delete-offsets", "--topic", f"{topic}:1")
    assert [row["STATUS"] for row in table(out, "TOPIC")] == ["Successful"]
    assert set(current()) == {0, 2}
    kafka_tool(GROUPS, *server, "--delete", "--group", group)
    assert "not found" in kafka_tool(GROUPS, *of_group, "--describe")


def test_get_offset_shell_knows_every_special_time(java_cluster: Cluster, server: tuple[str, str]) -> None:
    topic = "special-times"
    create_topic(java_cluster, topic, 1)
    now = int(time.time() * 1000)
    producer = Producer({"bootstrap.servers": java_cluster.bootstrap})
    for number in range(20):
        # The largest timestamp is in the middle.
        producer.produce(topic, b"x", timestamp=now + (10_000 if number == 7 else number))
    assert producer.flush(20) == 0
    shell = TOOLS + "GetOffsetShell"

    def ask(when: str) -> str:
        return kafka_tool(shell, *server, "--topic", topic, "--time", when).strip()

    for names, offset in (
        (("-1", "latest"), 20),
        (("-2", "earliest"), 0),
        (("-3", "max-timestamp"), 7),
        (("-4", "earliest-local"), 0),
        ((str(now + 15),), 7),
        ((str(now + 10_000),), 7),
        (("0",), 0),
    ):
        assert {ask(name) for name in names} == {f"{topic}:0:{offset}"}, names
    # Nothing is tiered, and nothing is so young.
    for name in ("-5", "latest-tiered", "-6", "earliest-pending-upload", str(now + 10_001)):
        assert ask(name) == "", name
    assert kafka_tool(shell, *server, "--topic-partitions", f"{topic}:0-5").strip() == f"{topic}:0:20"


def test_configs_of_brokers_are_changed_and_told_by_each(java_cluster: Cluster, server: tuple[str, str]) -> None:
    brokers = (*server, "--entity-type", "brokers")
    first = (*brokers, "--entity-name", "1")
    default = (*brokers, "--entity-default")
    kafka_tool(CONFIGS, *default, "--alter", "--add-config", "log.retention.ms=3600000,message.max.bytes=1500000")
    kafka_tool(CONFIGS, *first, "--alter", "--add-config", "message.max.bytes=2000000")
    assert "message.max.bytes=1500000" in kafka_tool(CONFIGS, *default, "--describe")
    described = kafka_tool(CONFIGS, *first, "--describe")
    assert (
        "message.max.bytes=2000000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:message.max.bytes=2000000, "
        "DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=1500000, DEFAULT_CONFIG:message.max.bytes=1048588}"
    ) in described
    assert "log.retention.ms" not in described.split("synonyms")[0]
    second = kafka_tool(CONFIGS, *brokers, "--entity-name", "2", "--describe", "--all")
    assert re.search(r"^\s+message.max.bytes=1500000 ", second, re.MULTILINE)
    assert re.search(r"^\s+log.retention.ms=3600000 ", second, re.MULTILINE)
    # A topic inherits, and its own value wins.
    create_topic(java_cluster, "inherits", 1)
    topic = (*server, "--entity-type", "topics", "--entity-name", "inherits")
    assert "retention.ms=3600000" in kafka_tool(CONFIGS, *topic, "--describe", "--all")
    kafka_tool(CONFIGS, *topic, "--alter", "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]")
    described = kafka_tool(CONFIGS, *topic, "--describe")
    assert "retention.ms=7200000" in described and "cleanup.policy=compact,delete" in described
    assert "dynamically" in refused(CONFIGS, *first, "--alter", "--add-config", "node.id=7")
    assert "retention.ms" in refused(CONFIGS, *topic, "--alter", "--add-config", "retention.ms=abc")
    assert "nonsense" in refused(CONFIGS, *topic, "--alter", "--add-config", "nonsense=1")
    kafka_tool(CONFIGS, *first, "--alter", "--delete-config", "message.max.bytes")
    kafka_tool(CONFIGS, *default, "--alter", "--delete-config", "log.retention.ms,message.max.bytes")
    assert "message.max.bytes" not in kafka_tool(CONFIGS, *first, "--describe")


def test_topics_are_placed_refused_and_found_by_their_state(java_cluster: Cluster, server: tuple[str, str]) -> None:
    tool = TOOLS + "TopicCommand"
    kafka_tool(tool, *server, "--create", "--topic", "placed", "--replica-assignment", "1:2:3,3:1:2")
    rows = re.findall(
        r"Partition: (\d)\s+Leader: (\d)\s+Replicas: ([\d,]+)\s+Isr: ([\d,]+)",
        kafka_tool(tool, *server, "--describe", "--topic", "placed"),
    )
    assert [(number, leader, replicas) for number, leader, replicas, _ in rows] == [
        ("0", "1", "1,2,3"),
        ("1", "3", "3,1,2"),
    ]
    assert "already exists" in refused(tool, *server, "--create", "--topic", "placed")
    kafka_tool(tool, *server, "--create", "--topic", "placed", "--if-not-exists")
    assert (
        "replication factor"
        in refused(
            tool, *server, "--create", "--topic", "too-many", "--replication-factor", "4", "--partitions", "1"
        ).lower()
    )
    assert "would not be an increase" in refused(tool, *server, "--alter", "--topic", "placed", "--partitions", "1")
    assert "does not exist" in refused(tool, *server, "--delete", "--topic", "not-there")
    for state in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        assert "placed" not in kafka_tool(tool, *server, "--describe", state)
    java_cluster.cli("stop", "2")
    shrunk = wait_until(
        "under-replicated partitions",
        lambda: (
            (out := kafka_tool(tool, *server, "--describe", "--under-replicated-partitions")).count("placed") == 2
            and out
        ),
    )
    assert "Isr: 1,3" in shrunk or "Isr: 3,1" in shrunk
    assert kafka_tool(tool, *server, "--describe", "--at-min-isr-partitions").count("placed") == 2
    java_cluster.cli("start", "2")
    wait_until(
        "whole ISRs", lambda: "placed" not in kafka_tool(tool, *server, "--describe", "--under-replicated-partitions")
    )
    kafka_tool(tool, *server, "--delete", "--topic", "placed")


def test_a_reassignment_reorders_replicas_and_an_election_follows_it(
    java_cluster: Cluster, server: tuple[str, str], tmp_path: Path
) -> None:
    topics, tool = TOOLS + "TopicCommand", TOOLS + "reassign.ReassignPartitionsCommand"
    kafka_tool(topics, *server, "--create", "--topic", "moved", "--replica-assignment", "1:2:3")

    def leader() -> str:
        found = re.search(r"Leader: (\d)", kafka_tool(topics, *server, "--describe", "--topic", "moved"))
        assert found
        return found[1]

    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"version": 1, "partitions": [{"topic": "moved", "partition": 0, "replicas": [3, 1, 2]}]})
    )
    kafka_tool(tool, *server, "--reassignment-json-file", str(plan), "--execute")
    verify = (tool, *server, "--reassignment-json-file", str(plan), "--verify")
    wait_until("the reassignment", lambda: "moved-0 is completed" in kafka_tool(*verify))
    assert "No partition reassignments found" in kafka_tool(tool, *server, "--list")
    assert leader() == "1", "the leader stays as long as it is a replica"
    election = (TOOLS + "LeaderElectionCommand", *server)
    one = tmp_path / "one.json"
    one.write_text(json.dumps({"partitions": [{"topic": "moved", "partition": 0}]}))
    out = kafka_tool(*election, "--election-type", "preferred", "--path-to-json-file", str(one))
    assert "Successfully completed leader election (PREFERRED) for partitions moved-0" in out
    wait_until("the preferred leader", lambda: leader() == "3")
    out = kafka_tool(*election, "--election-type", "preferred", "--topic", "moved", "--partition", "0")
    assert "Valid replica already elected" in out
    kafka_tool(*election, "--election-type", "preferred", "--all-topic-partitions")
    out = kafka_tool(*election, "--election-type", "unclean", "--topic", "moved", "--partition", "0")
    assert "Valid replica already elected" in out
    said = run_tool(*election, "--election-type", "preferred", "--topic", "not-there", "--partition", "0")
    assert said.exit_code == 1 and "not-there-0" in said.out + said.err


def test_the_quorum_is_described_by_brokers_and_by_controllers(java_cluster: Cluster, server: tuple[str, str]) -> None:
    tool = TOOLS + "MetadataQuorumCommand"
    controllers = ",".join("{}:{}".format(*controller_address(java_cluster, each)) for each in (1, 2, 3))
    statuses = []
    for where in (server, ("--bootstrap-controller", controllers)):
        status = dict(
            line.split(":", 1) for line in kafka_tool(tool, *where, "describe", "--status").splitlines() if ":" in line
        )
        statuses.append({name: status[name].strip() for name in ("ClusterId", "LeaderId", "LeaderEpoch")})
        assert [voter["id"] for voter in json.loads(status["CurrentVoters"])] == [1, 2, 3]
        rows = table(kafka_tool(tool, *where, "describe", "--replication"), "NodeId")
        assert sorted(row["NodeId"] for row in rows) == ["1", "2", "3"]
        assert sorted(row["Status"] for row in rows) == ["Follower", "Follower", "Leader"]
        assert all(int(row["Lag"]) <= 10 for row in rows)
    assert statuses[0] == statuses[1]
    assert statuses[0]["ClusterId"] in kafka_tool(TOOLS + "ClusterTool", "cluster-id", *server)
    ends = kafka_tool(TOOLS + "ClusterTool", "list-endpoints", *server)
    assert [row["ID"] for row in table(ends, "ID")] == ["1", "2", "3"]
    ends = kafka_tool(TOOLS + "ClusterTool", "list-endpoints", "--bootstrap-controller", controllers)
    assert sorted(row["PORT"] for row in table(ends, "ID")) == sorted(
        each.rpartition(":")[2] for each in controllers.split(",")
    )
    features = kafka_tool(TOOLS + "FeatureCommand", *server, "describe")
    assert re.search(r"Feature: metadata.version\s+.*FinalizedVersionLevel: 4.3", features)
    versions = kafka_tool(TOOLS + "BrokerApiVersionsCommand", *server)
    assert versions.count("Fetch(1): 4 to 18") == 3 and "AddRaftVoter(80): 0 to 1" in versions


def test_performance_tools_write_and_read_what_they_say(java_cluster: Cluster, server: tuple[str, str]) -> None:
    topic = "performance"
    create_topic(java_cluster, topic)
    count = 30_000
    out = kafka_tool(
        TOOLS + "ProducerPerformance",
        *("--topic", topic, "--num-records", str(count), "--record-size", "100", "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={java_cluster.bootstrap}", "acks=1", "compression.type=lz4"),
    )
    assert f"{count} records sent" in out
    out = kafka_tool(
        TOOLS + "ConsumerPerformance", *server, "--topic", topic, "--num-records", str(count), "--timeout", "30000"
    )
    assert int(out.splitlines()[-1].split(", ")[4]) == count
    out = kafka_tool(
        TOOLS + "EndToEndLatency",
        *server,
        *("--topic", topic, "--num-records", "50", "--producer-acks", "all", "--record-size", "100"),
    )
    assert "Percentiles" in out
    sizes = json.loads(
        kafka_tool(TOOLS + "LogDirsCommand", *server, "--describe", "--topic-list", topic).splitlines()[-1]
    )
    assert [each["broker"] for each in sizes["brokers"]] == [1, 2, 3]
    held = [sum(each["size"] for each in broker["logDirs"][0]["partitions"]) for broker in sizes["brokers"]]
    assert min(held) > 0


def test_dump_log_segments_reads_the_files_of_a_broker_that_runs_and_of_one_that_stopped(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, JAVA_SPEC)
    topic = "dumped"
    try:
        create_topic(cluster, topic, 1)
        values = [uuid.uuid4().hex.encode() * 10 for _ in range(12_000)]
        produce(cluster, topic, values, **{"enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 50})
        assert len(consume(cluster, topic, len(values))) == len(values)
        live = tmp_path / "data/broker-1/data" / f"{topic}-0"
        first = sorted(live.glob("*.log"))[0]
        out = kafka_tool(DUMP, "--files", str(first), "--deep-iteration", "--print-data-log")
        offsets = [int(each) for each in re.findall(r"^\| offset: (\d+) ", out, re.MULTILINE)]
        assert offsets == list(range(len(offsets))) and len(offsets) > 1000
        assert re.findall(r"payload: (\w+)$", out, re.MULTILINE) == [each.decode() for each in values[: len(offsets)]]
        assert "isvalid: false" not in out
    finally:
        stop_cluster(cluster)
    for broker_id in (1, 2, 3):
        directory = tmp_path / f"data/broker-{broker_id}/data"
        partition = directory / f"{topic}-0"
        indexes = sorted(partition.glob("*.index")) + sorted(partition.glob("*.timeindex"))
        assert len(indexes) >= 6
        # Not only the form: every entry must lead to its batch (a full verification reads the log beside the index).
        out = kafka_tool(DUMP, "--files", ",".join(map(str, indexes)), "--verify-index-only")
        assert "mismatch" not in out.lower() and "out of order" not in out.lower(), out
        out = kafka_tool(DUMP, "--files", ",".join(map(str, indexes)), "--index-sanity-check")
        assert out.count("passed sanity check") + out.count("is empty") == len(indexes), out
        out = kafka_tool(DUMP, "--files", str(indexes[0]))
        entries = [
            (int(offset), int(position)) for offset, position in re.findall(r"offset: (\d+) position: (\d+)", out)
        ]
        assert len(entries) > 50 and entries == sorted(entries)
        snapshots = sorted(partition.glob("*.snapshot"))
        out = kafka_tool(DUMP, "--files", str(snapshots[-1]))
        assert re.search(rf"producerId: \d+ producerEpoch: 0 .*lastSequence: {len(values) - 1} ", out), out
        metadata = sorted((directory / "__cluster_metadata-0").glob("*.log"))
        out = kafka_tool(DUMP, "--files", str(metadata[0]), "--cluster-metadata-decoder")
        for kind in ("REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "LeaderChange"):
            assert kind in out, kind
        assert f'"name":"{topic}"' in out and "isvalid: false" not in out
    groups = [
        each
        for each in sorted((tmp_path / "data/broker-1/data").glob("__consumer_offsets-*/*.log"))
        if each.stat().st_size
    ]
    out = kafka_tool(DUMP, "--files", ",".join(map(str, groups)), "--offsets-decoder")
    assert '"generation":1' in out and "isvalid: false" not in out
    said = kafka_tool("kafka.tools.StorageTool", "info", "-c", str(tmp_path / "data/broker-1/server.properties"))
    assert "node.id=1" in said and "version=1" in said


def test_records_are_deleted_and_refusals_are_told(
    java_cluster: Cluster, server: tuple[str, str], tmp_path: Path
) -> None:
    create_topic(java_cluster, "deleted-records", 1)
    produce(java_cluster, "deleted-records", [b"%d" % each for each in range(10)])
    asked = tmp_path / "offsets.json"
    for offset, said in ((4, "low_watermark: 4"), (-1, "low_watermark: 10"), (11, "OffsetOutOfRange")):
        partitions = [{"topic": "deleted-records", "partition": 0, "offset": offset}]
        asked.write_text(json.dumps({"version": 1, "partitions": partitions}))
        out = kafka_tool(TOOLS + "DeleteRecordsCommand", *server, "--offset-json-file", str(asked))
        assert said in out, out
