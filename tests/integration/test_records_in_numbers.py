"""Records in numbers on a real cluster: copied byte for byte, sent back once whatever breaks, found by their key,
counted over time, produced at a rate."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from console.cli import main
from console.gateway import GatewayError
from console.gateway.attached import AttachedGateway
from console.gateway.bulk_protocol import Kept, SenderOptions
from console.screens.record_volume import RecordVolume
from console.viewmodel.outgoing import Outgoing
from engine.model.topic_partition import TopicPartition as Place
from tests.integration.conftest import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SOURCE, TARGET, DEAD = "numbers-source", "numbers-target", "numbers-dead"
PARTITIONS = 4


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> str:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for made in admin.create_topics([NewTopic(each, PARTITIONS) for each in (SOURCE, TARGET, DEAD)]).values():
        made.result(30)
    return cluster.bootstrap


def kconsole(server: str, *words: str) -> dict[str, Any]:
    """What a command answers as JSON."""
    result = CliRunner().invoke(main, [*words, "--json", "--bootstrap-servers", server])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def records(server: str, topic: str) -> list[Any]:
    """All that is committed, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": server, "group.id": "count", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
    found, at_end = [], set()
    while len(at_end) < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None, f"{topic}: only {len(at_end)} of its partitions were read to their ends"
        if message.error() is not None:
            at_end.add(message.partition())
        else:
            found.append(message)
    consumer.close()
    return sorted(found, key=lambda each: (each.partition(), each.offset()))


def content(message: Any, *, without: int = 0) -> tuple[Any, ...]:
    headers = message.headers() or []
    return (
        message.partition(),
        message.key(),
        message.value(),
        headers[: len(headers) - without],
        message.timestamp(),
    )


def test_records_are_copied_byte_for_byte(server: str) -> None:
    producer = Producer({"bootstrap.servers": server, "compression.type": "zstd", "partitioner": "murmur2_random"})
    now_ms = int(time.time() * 1000)
    for number in range(300):
        producer.produce(
            SOURCE,
            None if number % 50 == 0 else b"" if number % 7 == 0 else b'{"n": %d}' % number,
            None if number % 9 == 0 else b"" if number % 11 == 0 else b"key-%d" % (number % 20),
            headers=[("h", None), ("h", b""), ("h", b"\xff")] if number % 3 == 0 else None,
            timestamp=now_ms - 3_600_000 + number * 1_000,
        )
    assert producer.flush(30) == 0
    counted = kconsole(server, "copy", SOURCE, TARGET)
    assert (counted["records"], counted["executed"]) == (300, False) and records(server, TARGET) == []
    done = kconsole(server, "copy", SOURCE, TARGET, "--execute")
    assert (done["records"], done["size_bytes"]) == (300, counted["size_bytes"])
    before, after = records(server, SOURCE), records(server, TARGET)
    assert [content(each) for each in before] == [content(each, without=3) for each in after]
    assert [dict(each.headers()[-3:])["kconsole.origin.offset"] for each in after] == [
        b"%d" % each.offset() for each in before
    ]
    # The key is where librdkafka put it by Kafka's rule, and it is found without the others.
    tail = ["tail", SOURCE, "--key", "key-8", "--from", "start", "--until", "end"]
    found = CliRunner().invoke(main, [*tail, "--bootstrap-servers", server])
    wanted = sum(each.key() == b"key-8" for each in before)
    beside = sum(each.partition() == next(e.partition() for e in before if e.key() == b"key-8") for each in before)
    assert wanted and f"{wanted} of {beside} records matched" in found.stderr
    # Counted over time: an hour ago five minutes were filled.
    volume = asyncio.run(_volume(server))
    assert sum(volume.counts) == 300 and volume.unknown == 0
    assert volume.counts[volume.window.bar_of(before[0].timestamp()[1])] > 0  # type: ignore[index]


async def _volume(server: str) -> Any:
    gateway = AttachedGateway(server, read_only=True, client_config={})
    volume = RecordVolume((SOURCE,), None)
    await volume.ask(gateway, 78)
    await gateway.close()
    assert volume.volume is not None, volume.problem
    return volume.volume


def test_dead_letters_go_back_once_also_after_a_crash(server: str) -> None:
    there = len(records(server, TARGET))
    producer = Producer({"bootstrap.servers": server})
    for number in range(200):
        headers = [("__connect.errors.topic", TARGET), ("__connect.errors.partition", b"%d" % (number % PARTITIONS))]
        producer.produce(DEAD, b"v", b"dead-%d" % number, headers=headers if number % 5 else None, partition=number % 2)
    assert producer.flush(30) == 0
    assert kconsole(server, "redrive", DEAD)["records"] == 160
    assert kconsole(server, "redrive", DEAD, "--filter", "-l key=dead-1", "--execute")["records"] == 89
    # A console that died in the middle of a transaction: what it sent is taken back, and nobody waits for it.
    asyncio.run(_die(server))
    assert kconsole(server, "redrive", DEAD, "--execute")["records"] == 71
    assert kconsole(server, "redrive", DEAD, "--execute")["records"] == 0
    back = [each for each in records(server, TARGET) if (each.key() or b"").startswith(b"dead-")]
    assert len(records(server, TARGET)) == there + 160
    assert Counter(each.key() for each in back) == Counter(b"dead-%d" % each for each in range(200) if each % 5)
    assert {tuple(each.headers()) for each in back} == {(("kconsole.redrive.count", b"1"),)}
    assert all(int(each.key()[5:]) % PARTITIONS == each.partition() for each in back)


async def _die(server: str) -> None:
    gateway = AttachedGateway(server, read_only=False, client_config={})
    name = f"kconsole-redrive.{DEAD}"
    first = await gateway.bulk.sender(SenderOptions(transactional_id=name, group=name))
    await first.send([Outgoing(TARGET, b"dead-2", b"v", partition=2)])
    sender = await gateway.bulk.sender(SenderOptions(transactional_id=name, group=name))
    with pytest.raises(GatewayError, match="somebody else began the same meanwhile"):
        await first.commit({Place(DEAD, 0): Kept(200, "")})
    await first.close()
    await sender.send([Outgoing(TARGET, b"dead-3", b"v", partition=3)])
    await sender.flush()
    # No commit, no abort, as after SIGKILL.
    sender._in_transaction = False  # type: ignore[attr-defined]
    await sender.close()
    await gateway.close()


def test_a_topic_is_produced_to_at_a_rate(server: str) -> None:
    done = kconsole(server, "load", TARGET, "--rate", "400", "--seconds", "0.5", "--size", "100", "--keys", "in turn")
    assert (done["sent"], done["acknowledged"]) == (200, 200)
    assert 0 < done["latency_ms"]["p50"] <= done["latency_ms"]["p99"] <= done["latency_ms"]["max"]
    assert 0 < done["records_per_s"] <= 500
