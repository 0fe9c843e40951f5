"""``kconsole groups reset`` beside kafka-consumer-groups.sh: the same plan by each rule on the same cluster."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from console.cli import main
from tests.integration.conftest import Cluster, kafka_tool
from tests.integration.java_tools import run_tool

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TOPIC, GROUP, OTHER = "reset-me", "reset-group", "reset-other"
_HOUR_S = 3_600


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> str:
    """A topic of three partitions: 40 records of two hours ago, 20 of now, the first 10 of partition 0 deleted, nothing
    in partition 2. A group with offsets in 0 and 1, another one elsewhere."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 3)])[TOPIC].result(30)
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    now_ms = int(time.time() * 1000)
    for number in range(60):
        for partition in (0, 1):
            at_ms = now_ms - (2 * _HOUR_S * 1000 - number if number < 40 else 0)
            producer.produce(TOPIC, b"v", partition=partition, timestamp=at_ms)
    assert producer.flush(30) == 0
    for result in admin.delete_records([TopicPartition(TOPIC, 0, 10)]).values():
        result.result(30)
    for group, offsets in ((GROUP, (25, 50)), (OTHER, (12, 33))):
        wanted = [TopicPartition(TOPIC, partition, offset) for partition, offset in enumerate(offsets)]
        # The first commit of a cluster has its offsets topic created, and is refused meanwhile: partition by partition.
        cluster.wait_for(f"offsets of {group}", lambda group=group, wanted=wanted: _commit(admin, group, wanted))
    return cluster.bootstrap


def _commit(admin: AdminClient, group: str, wanted: list[TopicPartition]) -> bool:
    (altered,) = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]).values()
    try:
        return all(each.error is None for each in altered.result(30).topic_partitions)
    except KafkaException:
        return False


def of_kafka(server: str, *words: str, group: str = GROUP) -> dict[int, int]:
    """What Kafka's tool would set, by partition."""
    out = kafka_tool(GROUPS, "--bootstrap-server", server, "--reset-offsets", "--group", group, *words, "--dry-run")
    rows = [line.split() for line in out.splitlines() if line.startswith(group)]
    return {int(partition): int(offset) for _, _, partition, offset in rows}


def of_ours(server: str, *words: str, code: int = 0, group: str = GROUP) -> dict[int, int]:
    """The same of ours."""
    result = CliRunner().invoke(main, ["groups", "reset", group, *words, "--json", "--bootstrap-servers", server])
    assert result.exit_code == code, result.output
    return {each["partition"]: each["after"] for each in json.loads(result.stdout)["offsets"]}


def test_each_rule_plans_what_kafkas_tool_plans(server: str, tmp_path: Path) -> None:
    an_hour_ago = datetime.fromtimestamp(time.time() - _HOUR_S, UTC).isoformat(timespec="milliseconds")
    everywhere, of_two = ("--topic", TOPIC), ("--topic", f"{TOPIC}:0,1")
    for words, expected in (
        ((*everywhere, "--to-earliest"), {0: 10, 1: 0, 2: 0}),
        ((*everywhere, "--to-latest"), {0: 60, 1: 60, 2: 0}),
        ((*everywhere, "--to-current"), {0: 25, 1: 50, 2: 0}),
        (("--all-topics", "--to-current"), {0: 25, 1: 50}),
        ((*everywhere, "--to-offset", "5"), {0: 10, 1: 5, 2: 0}),
        ((*of_two, "--shift-by", "-20"), {0: 10, 1: 30}),
        ((*of_two, "--shift-by", "20"), {0: 45, 1: 60}),
        ((*everywhere, "--to-datetime", an_hour_ago), {0: 40, 1: 40, 2: 0}),
        ((*everywhere, "--to-datetime", an_hour_ago.replace("+00:00", "")), {0: 40, 1: 40, 2: 0}),
        ((*everywhere, "--by-duration", "PT1H"), {0: 40, 1: 40, 2: 0}),
        ((*everywhere, "--by-duration", "P1DT2H"), {0: 10, 1: 0, 2: 0}),
    ):
        assert of_ours(server, *words) == of_kafka(server, *words) == expected, words
    # From another group and from files: ours reads what Kafka's tool exports, and the other way round.
    export = ("--bootstrap-server", server, "--reset-offsets", "--all-topics", "--to-current", "--export", "--dry-run")
    theirs, ours, many = tmp_path / "theirs.csv", tmp_path / "ours.csv", tmp_path / "many.csv"
    theirs.write_text(kafka_tool(GROUPS, *export, "--group", OTHER))
    many.write_text(kafka_tool(GROUPS, *export, "--group", OTHER, "--group", GROUP))
    result = CliRunner().invoke(
        main, ["groups", "reset", OTHER, "--all-topics", "--to-current", "--export", "--bootstrap-servers", server]
    )
    ours.write_text(result.stdout)
    assert sorted(ours.read_text().split()) == sorted(theirs.read_text().split()) == [f"{TOPIC},0,12", f"{TOPIC},1,33"]
    for file, expected in ((theirs, {0: 12, 1: 33}), (ours, {0: 12, 1: 33}), (many, {0: 25, 1: 50})):
        words = ("--from-file", str(file))
        assert of_ours(server, *words) == of_kafka(server, *words) == expected, file.name
    assert of_ours(server, "--from-group", OTHER) == {0: 12, 1: 33}


def test_what_is_wrong_is_refused_as_kafka_refuses_it(server: str) -> None:
    for words, said, theirs in (
        (("--topic", f"{TOPIC}:2", "--shift-by", "1"), "no committed offset there", "no current committed offset"),
        (("--topic", f"{TOPIC}:7", "--to-latest"), f"{TOPIC}-7 does not exist", "do not exist"),
    ):
        of_ours(server, *words, code=1)
        shown = CliRunner().invoke(main, ["groups", "reset", GROUP, *words, "--bootstrap-servers", server])
        assert said in shown.stderr
        refused = run_tool(GROUPS, "--bootstrap-server", server, "--reset-offsets", "--group", GROUP, *words)
        assert theirs in refused.out + refused.err


# Last: offsets move.
def test_offsets_are_committed_only_when_told_and_only_without_members(cluster: Cluster, server: str) -> None:
    words = ("--topic", f"{TOPIC}:1", "--shift-by", "-7")
    of_ours(server, *words)
    assert of_kafka(server, "--all-topics", "--to-current") == {0: 25, 1: 50}, "nothing was changed"
    assert of_ours(server, *words, "--execute") == {1: 43}
    assert of_kafka(server, "--all-topics", "--to-current") == {0: 25, 1: 43}
    consumer = Consumer({"bootstrap.servers": server, "group.id": GROUP, "client.id": "reader"})
    consumer.subscribe([TOPIC])
    cluster.wait_for("the member has partitions", lambda: consumer.poll(0.1) is None and consumer.assignment())
    try:
        result = CliRunner().invoke(
            main, ["groups", "reset", GROUP, *words, "--execute", "--bootstrap-servers", server]
        )
        assert result.exit_code == 1
        assert f"{GROUP} is Stable with 1 member: stop reader@" in result.stderr
        assert of_kafka(server, *words) == {}, "Kafka's tool refuses it as well"
    finally:
        consumer.close()
