"""The cluster in this process, as clients that others wrote see it: soon there, every fault, and nothing left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer
from raw_client import framed, request_bytes

from engine.testing import BrokerState, KafkaCluster, KafkaClusterError, KafkaClusterTimeout, Topic
from engine.testing import broker_thread as threads
from engine.wire.messages.api_versions_request import ApiVersionsRequest

pytestmark = pytest.mark.integration

ROUNDS = int(os.environ.get("KCONSOLE_FIXTURE_ROUNDS", "20"))
QUIET = {"log_level": 0}
API_VERSIONS = framed(request_bytes(ApiVersionsRequest("test", "1"), 3))


@pytest.fixture
def cluster(caplog: pytest.LogCaptureFixture) -> Iterator[KafkaCluster]:
    """Three brokers, a topic with a replica on each. No fault may make the engine complain of an error."""
    with KafkaCluster(topics=[Topic("orders", 3)]) as running:
        yield running
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.fixture
def producer(cluster: KafkaCluster) -> Producer:
    return Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", "linger.ms": 0, **QUIET})


def write(producer: Producer, *values: bytes, partition: int = 0, timeout_s: float = 20) -> None:
    """Returns when all of them are acknowledged."""
    failures: list[Any] = []
    for value in values:
        producer.produce("orders", value, partition=partition, on_delivery=lambda e, m: failures.append(e))
    assert producer.flush(timeout_s) == 0
    assert failures == [None] * len(values)


def read(cluster: KafkaCluster, count: int, partition: int = 0) -> list[bytes | None]:
    """What is in the partition."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "reader", **QUIET})
    consumer.assign([TopicPartition("orders", partition, 0)])
    values = [message.value() for message in consumer.consume(count, 20)]
    consumer.close()
    return values


def connection(cluster: KafkaCluster, broker_id: int) -> socket.socket:
    broker = cluster.brokers[broker_id]
    return socket.create_connection((broker.host, broker.port), 5)


def answers(stream: socket.socket, within_s: float = 5.0) -> bool:
    """Whether anything comes; the end of the connection is nothing."""
    stream.settimeout(within_s)
    try:
        return len(stream.recv(4096)) > 0
    except (TimeoutError, ConnectionResetError):
        return False


# -- clients -----------------------------------------------------------------------------------------------------------


def test_librdkafka_finds_the_whole_cluster_at_once(cluster: KafkaCluster, producer: Producer) -> None:
    metadata = AdminClient({"bootstrap.servers": cluster.bootstrap_servers}).list_topics(timeout=5)
    assert sorted(metadata.brokers) == [1, 2, 3]
    assert [sorted(each.isrs) for each in metadata.topics["orders"].partitions.values()] == [[1, 2, 3]] * 3
    write(producer, b"one", b"two")
    assert read(cluster, 2) == [b"one", b"two"]


async def test_aiokafka_works_in_the_tests_own_event_loop(cluster: KafkaCluster) -> None:
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait("orders", b"before")
        leader = cluster.leader("orders", 0)
        assert leader is not None
        cluster.kill(leader)
        await producer.send_and_wait("orders", b"after", partition=0)
    async with AIOKafkaConsumer(
        "orders", bootstrap_servers=cluster.bootstrap_servers, auto_offset_reset="earliest", group_id="g"
    ) as consumer:
        async with asyncio.timeout(20):
            found = {(await consumer.getone()).value for _ in range(2)}
    assert found == {b"before", b"after"}


def test_kafka_python_reads_with_a_group(cluster: KafkaCluster, producer: Producer) -> None:
    write(producer, b"one")
    consumer = KafkaConsumer(
        "orders",
        bootstrap_servers=cluster.bootstrap_servers.split(","),
        group_id="g",
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    assert next(consumer).value == b"one"
    consumer.close()


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_killed_broker_breaks_its_connections_and_the_others_take_over(
    cluster: KafkaCluster, producer: Producer
) -> None:
    write(producer, b"before")
    leader = cluster.leader("orders")
    assert leader is not None
    with connection(cluster, leader) as stream:
        cluster.kill(leader)
        assert not answers(stream, 1)
    with pytest.raises(ConnectionRefusedError):
        connection(cluster, leader)
    assert cluster.brokers[leader].state is BrokerState.KILLED
    assert not Path(cluster.brokers[leader].log_dir, ".kafka_cleanshutdown").exists()
    assert cluster.wait_for_leader("orders", other_than=leader) != leader
    write(producer, b"after")
    cluster.start(leader)
    cluster.wait_until_in_sync()
    assert cluster.isr("orders") and set(cluster.isr("orders")) == {1, 2, 3}
    assert read(cluster, 2) == [b"before", b"after"]


def test_what_was_acknowledged_survives_the_kill_of_all_brokers(cluster: KafkaCluster, producer: Producer) -> None:
    values = [b"%d" % number for number in range(500)]
    write(producer, *values)
    cluster.kill(1, 2, 3)
    # The first alone is no majority.
    cluster.start(2)
    assert cluster.controller is None
    cluster.start()
    cluster.wait_until_in_sync()
    assert read(cluster, 500) == values


def test_a_stopped_broker_hands_its_partitions_over_first(cluster: KafkaCluster, producer: Producer) -> None:
    write(producer, b"before")
    leader = cluster.leader("orders")
    assert leader is not None
    cluster.stop(leader)
    assert cluster.leader("orders") != leader
    assert Path(cluster.brokers[leader].log_dir, ".kafka_cleanshutdown").exists()
    write(producer, b"after")
    with pytest.raises(KafkaClusterError, match=f"broker {leader} is stopped"):
        cluster.stop(leader)
    cluster.start(leader)
    cluster.wait_until_in_sync("orders")
    assert read(cluster, 2) == [b"before", b"after"]


def test_a_paused_broker_keeps_its_sockets_and_answers_nothing(cluster: KafkaCluster) -> None:
    # A client waits for a broker that is silent as long as its own time-outs allow.
    patience = {"socket.timeout.ms": 1000, "request.timeout.ms": 1000}
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", **patience, **QUIET})
    write(producer, b"before")
    leader = cluster.leader("orders")
    assert leader is not None
    with connection(cluster, leader) as old:
        cluster.pause(leader)
        assert cluster.brokers[leader].state is BrokerState.PAUSED
        with connection(cluster, leader) as new:
            for stream in (old, new):
                stream.sendall(API_VERSIONS)
                assert not answers(stream, 0.1)
            # Its session lapses after broker.session.timeout.ms.
            cluster.wait_for_leader("orders", other_than=leader)
            write(producer, b"meanwhile")
            assert not answers(old, 0.1)
            cluster.resume(leader)
            assert answers(old) and answers(new)
    cluster.wait_until_in_sync()
    assert read(cluster, 2) == [b"before", b"meanwhile"]


def test_a_paused_broker_can_be_killed(cluster: KafkaCluster) -> None:
    with connection(cluster, 2) as stream:
        cluster.pause(2)
        cluster.kill(2)
        assert not answers(stream)
    cluster.start()
    cluster.wait_until_in_sync()
    assert not cluster.is_disturbed


def test_isolated_brokers_lose_each_other_and_no_client(caplog: pytest.LogCaptureFixture) -> None:
    with KafkaCluster(configs={"replica.lag.time.max.ms": 500}, topics=["orders"]) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", **QUIET})
        write(producer, b"before")
        leader = cluster.leader("orders")
        # The quorum is not what is tried here: the follower is not the controller, and reaches it.
        follower = next(each for each in (1, 2, 3) if each not in (leader, cluster.controller))
        assert leader is not None
        cluster.isolate(leader, follower)
        write(producer, b"meanwhile")
        assert follower not in cluster.isr("orders")
        assert cluster.leader("orders") == leader
        for broker_id in (leader, follower):
            with connection(cluster, broker_id) as stream:
                stream.sendall(API_VERSIONS)
                assert answers(stream)
        with pytest.raises(KafkaClusterTimeout, match=r"orders-0: leader \d, in sync"):
            cluster.wait_until_in_sync(timeout_s=0.2)
        cluster.heal()
        cluster.wait_until_in_sync()
        assert read(cluster, 2) == [b"before", b"meanwhile"]


def test_a_broker_that_is_cut_off_from_all_others_leads_nothing_any_more(cluster: KafkaCluster) -> None:
    leader = cluster.leader("orders")
    assert leader is not None
    cluster.isolate(leader)
    assert cluster.wait_for_leader("orders", other_than=leader) != leader
    cluster.create_topic("made-meanwhile", 2)
    with pytest.raises(KafkaClusterTimeout):
        cluster.wait_until_in_sync("orders", timeout_s=0.1)
    cluster.restore()
    assert not cluster.is_disturbed
    assert set(cluster.isr("made-meanwhile", 1)) == {1, 2, 3}


@pytest.mark.parametrize("fault", ["kill", "pause", "stop", "isolate"])
def test_the_controller_is_no_exception(cluster: KafkaCluster, fault: str) -> None:
    controller = cluster.controller
    assert controller is not None
    getattr(cluster, fault)(controller)
    deadline = time.monotonic() + 20
    while cluster.controller in (None, controller):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.create_topic("made-by-another", 1)
    cluster.restore()
    assert set(cluster.isr("made-by-another")) == {1, 2, 3}


def test_faults_work_on_asyncios_own_loop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_new_event_loop", asyncio.new_event_loop)
    with KafkaCluster(topics=["orders"]) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", **QUIET})
        write(producer, b"one")
        leader = cluster.leader("orders")
        assert leader is not None
        cluster.kill(leader)
        write(producer, b"two")
        cluster.isolate(leader)
        cluster.start(leader)
        cluster.pause(cluster.wait_for_leader("orders", other_than=leader))
        cluster.restore()
        write(producer, b"three")
        assert read(cluster, 3) == [b"one", b"two", b"three"]


# -- topics and addresses ----------------------------------------------------------------------------------------------


def test_topics_are_there_for_every_broker_when_they_were_created(cluster: KafkaCluster) -> None:
    cluster.create_topic("payments", 2, 2, {"retention.ms": 1000, "unclean.leader.election.enable": True})
    for broker in cluster.brokers.values():
        metadata = AdminClient({"bootstrap.servers": broker.address}).list_topics("payments", timeout=5)
        assert len(metadata.topics["payments"].partitions) == 2
    assert cluster.topics() == {"orders": 3, "payments": 2}
    with pytest.raises(KafkaClusterError, match="TOPIC_ALREADY_EXISTS"):
        cluster.create_topic("payments")
    with pytest.raises(KafkaClusterError, match="INVALID_REPLICATION_FACTOR"):
        cluster.create_topic("wide", 1, 4)
    cluster.delete_topic("payments")
    assert cluster.topics() == {"orders": 3}
    with pytest.raises(KafkaClusterError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        cluster.delete_topic("payments")
    with pytest.raises(KafkaClusterError, match="no partition payments-0"):
        cluster.leader("payments")


def test_addresses_stay_when_brokers_come_back(cluster: KafkaCluster) -> None:
    before = cluster.bootstrap_servers
    for broker_id in cluster.brokers:
        cluster.kill(broker_id)
        cluster.start(broker_id)
    assert cluster.bootstrap_servers == before
    assert cluster.brokers[1].address == before.split(",")[0]
    with pytest.raises(KafkaClusterError, match="no broker 4, only 1, 2, 3"):
        cluster.kill(4)


def test_configs_reach_the_brokers() -> None:
    with KafkaCluster(
        2,
        configs={"auto.create.topics.enable": False, "num.partitions": 4},
        broker_configs={2: {"broker.rack": "b"}},
        topics={"orders": -1},
    ) as cluster:
        assert cluster.topics() == {"orders": 4}
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        racks = {each.id: each.rack for each in admin.describe_cluster().result(5).nodes}
        assert racks == {1: None, 2: "b"}


def test_several_clusters_live_beside_each_other() -> None:
    with KafkaCluster(1, topics=["a"]) as one, KafkaCluster(1, topics=["b"]) as two:
        assert one.topics() == {"a": 1} and two.topics() == {"b": 1}
        assert not set(one.bootstrap_servers.split(",")) & set(two.bootstrap_servers.split(","))


# -- the beginning and the end -----------------------------------------------------------------------------------------


def test_three_brokers_are_there_soon_and_leave_nothing_behind(
    record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    process = psutil.Process()

    def round_trip() -> tuple[float, float, str]:
        began = time.perf_counter()
        cluster = KafkaCluster(3, topics=["orders"])
        cluster.start()
        ready = time.perf_counter()
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", **QUIET})
        write(producer, b"value")
        del producer
        asked = time.perf_counter()
        addresses, directory = cluster.bootstrap_servers, cluster.data_dir
        cluster.close()
        closed = time.perf_counter()
        assert not Path(directory).exists()
        for address in addresses.split(","):
            host, port = address.split(":")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), 1)
            with socket.socket() as stream:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stream.bind((host, int(port)))
        return (ready - began) * 1000, (closed - asked) * 1000, directory

    def held() -> tuple[int, int, int]:
        gc.collect()
        tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in gc.get_objects())
        return threading.active_count(), process.num_fds(), tasks

    round_trip()
    before, memory = held(), process.memory_info().rss
    rounds = [round_trip() for _ in range(ROUNDS)]
    # librdkafka's threads of a producer that is gone take a moment.
    deadline = time.monotonic() + 5
    while held() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held() == before, "threads, descriptors, tasks"
    grown = process.memory_info().rss - memory
    starts, closes = [each[0] for each in rounds], [each[1] for each in rounds]
    text = (
        f"{ROUNDS} rounds of three brokers with a topic: ready in {statistics.median(starts):.0f} ms "
        f"(at most {max(starts):.0f}), closed in {statistics.median(closes):.0f} ms (at most {max(closes):.0f}), "
        f"memory {grown / 2**20:+.1f} MiB"
    )
    record_property("figures", text)
    with capsys.disabled():
        print(f"\n{text}")
    # Only a hang, or a time-out that was waited for: machines differ.
    assert statistics.median(starts) < 2000 and statistics.median(closes) < 1000


def test_a_cluster_that_fails_to_start_is_closed() -> None:
    threads_before = threading.active_count()
    cluster = KafkaCluster(1)
    Path(cluster.brokers[1].log_dir, "meta.properties").write_text("version=1\ncluster.id=x\nnode.id=7\n")
    with pytest.raises(KafkaClusterError, match=r"broker 1 cannot start: .* belongs to node 7"):
        cluster.start()
    assert threading.active_count() == threads_before
    assert not Path(cluster.data_dir).exists()
    with pytest.raises(KafkaClusterError, match="closed"):
        cluster.start()


def test_a_cluster_that_is_forgotten_is_closed() -> None:
    threads_before = threading.active_count()
    cluster = KafkaCluster(1)
    cluster.start()
    directory = Path(cluster.data_dir)
    del cluster
    gc.collect()
    assert threading.active_count() == threads_before
    assert not directory.exists()


def test_closing_takes_any_state(cluster: KafkaCluster) -> None:
    cluster.pause(1)
    cluster.isolate(2, 3)
    cluster.kill(3)
    cluster.close()
    cluster.close()
    assert not [each.name for each in threading.enumerate() if each.name.startswith("kafka-broker")]
