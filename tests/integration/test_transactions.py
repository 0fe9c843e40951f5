"""Transactions of the producers of librdkafka, Java and aiokafka: committed and aborted, fenced, timed out."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from engine.wire.messages.describe_transactions_request import DescribeTransactionsRequest
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from tests.integration.conftest import SPEC, Cluster, start_cluster, stop_cluster
from tests.integration.raw_client import RawConnection, parse_address
from tests.integration.test_exactly_once import JAVA

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CONFIGS = """  transaction.state.log.num.partitions: 5
  transaction.abort.timed.out.transaction.cleanup.interval.ms: 200
"""
PARTITIONS = 3
WAIT_S = 30.0


@pytest.fixture(scope="module")
def txn_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Brokers that look often for transactions that timed out."""
    running = start_cluster(tmp_path_factory.mktemp("transactions"), SPEC + CONFIGS)
    yield running
    stop_cluster(running)


def create(cluster: Cluster, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 3)])[name].result(20)


def producer(cluster: Cluster, transactional_id: str, **configs: object) -> Producer:
    made = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": transactional_id, **configs})
    made.init_transactions(WAIT_S)
    return made


def write(made: Producer, topic: str, value: str) -> None:
    """One record to each partition, in the log when it returns."""
    for partition in range(PARTITIONS):
        made.produce(topic, value, partition=partition)
    assert made.flush(WAIT_S) == 0


def read(cluster: Cluster, topic: str, isolation_level: str = "read_committed") -> list[list[str]]:
    """The values of each partition, up to where the isolation level lets a consumer read now."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "reader",
            "enable.partition.eof": True,
            "isolation.level": isolation_level,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[list[str]] = [[] for _ in range(PARTITIONS)]
    ends = 0
    while ends < PARTITIONS:
        message = consumer.poll(WAIT_S)
        assert message is not None
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ends += 1
        else:
            found[message.partition()].append(message.value().decode())
    consumer.close()
    return found


def until_read(cluster: Cluster, topic: str, *values: str) -> None:
    """Each partition has these values for readers of what is committed: markers follow the end of a transaction."""
    expected = [list(values)] * PARTITIONS
    cluster.wait_for(f"{values} in {topic}", lambda: read(cluster, topic) == expected, WAIT_S)


def error_of(act: object, *arguments: object) -> KafkaError:
    with pytest.raises(KafkaException) as failure:
        act(*arguments)  # type: ignore[operator]
    error: KafkaError = failure.value.args[0]
    return error


def test_readers_of_what_is_committed_see_whole_transactions_or_nothing(txn_cluster: Cluster) -> None:
    create(txn_cluster, "whole")
    made = producer(txn_cluster, "whole")
    for value in ("first", "aborted", "second"):
        made.begin_transaction()
        write(made, "whole", value)
        if value == "aborted":
            made.abort_transaction(WAIT_S)
        else:
            made.commit_transaction(WAIT_S)
    made.begin_transaction()
    write(made, "whole", "open")
    until_read(txn_cluster, "whole", "first", "second")
    everything = ["first", "aborted", "second", "open"]
    assert read(txn_cluster, "whole", "read_uncommitted") == [everything] * PARTITIONS
    made.commit_transaction(WAIT_S)
    made.begin_transaction()
    made.abort_transaction(WAIT_S)
    until_read(txn_cluster, "whole", "first", "second", "open")


def test_offsets_are_committed_with_the_transaction_or_not_at_all(txn_cluster: Cluster) -> None:
    create(txn_cluster, "offsets")
    made = producer(txn_cluster, "offsets")
    group = Consumer({"bootstrap.servers": txn_cluster.bootstrap, "group.id": "of-a-transaction"})
    position = [TopicPartition("offsets", 0, 7)]
    for commits, expected in ((False, -1001), (True, 7)):
        made.begin_transaction()
        made.send_offsets_to_transaction(position, group.consumer_group_metadata(), WAIT_S)
        if commits:
            made.commit_transaction(WAIT_S)
        else:
            made.abort_transaction(WAIT_S)
        (found,) = group.committed([TopicPartition("offsets", 0)], WAIT_S)
        assert found.offset == expected
    group.close()


def test_a_zombie_is_fenced_and_what_it_left_open_is_aborted(txn_cluster: Cluster) -> None:
    create(txn_cluster, "fenced")
    zombie = producer(txn_cluster, "fenced")
    zombie.begin_transaction()
    write(zombie, "fenced", "of the zombie")
    heir = producer(txn_cluster, "fenced")
    assert error_of(zombie.commit_transaction, WAIT_S).code() in (
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    )
    heir.begin_transaction()
    write(heir, "fenced", "of the heir")
    heir.commit_transaction(WAIT_S)
    until_read(txn_cluster, "fenced", "of the heir")


def test_a_zombie_of_java_is_fenced_by_its_epoch_and_by_its_generation(txn_cluster: Cluster) -> None:
    create(txn_cluster, "of-java")
    source = str(Path(__file__).with_name("java") / "Zombie.java")
    run = subprocess.run(
        [*JAVA, source, txn_cluster.bootstrap, "of-java", "group-of-java"], capture_output=True, text=True, timeout=90
    )
    assert run.returncode == 0, run.stderr
    # The same words as Apache Kafka 4.3.1's.
    assert dict(line.split(": ", 1) for line in run.stdout.splitlines()) == {
        "the zombie writes": "InvalidProducerEpochException",
        "the zombie commits": "InvalidProducerEpochException",
        "the zombie begins": "InvalidProducerEpochException",
        "the heir writes": "done",
        "the heir commits": "done",
        "offsets of a member that is out": "CommitFailedException",
        "the heir aborts": "done",
        "the heir commits again": "done",
    }
    until_read(txn_cluster, "of-java", "of the heir", "of the heir again")
    group = Consumer({"bootstrap.servers": txn_cluster.bootstrap, "group.id": "group-of-java"})
    (found,) = group.committed([TopicPartition("of-java", 0)], WAIT_S)
    assert found.offset == -1001, "what the zombie had in its transaction is not committed"
    group.close()


def test_a_transaction_that_nobody_ends_times_out(txn_cluster: Cluster) -> None:
    create(txn_cluster, "timed-out")
    forgetful = producer(txn_cluster, "forgetful", **{"transaction.timeout.ms": 1000})
    forgetful.begin_transaction()
    write(forgetful, "timed-out", "forgotten")
    other = producer(txn_cluster, "other")
    other.begin_transaction()
    write(other, "timed-out", "kept")
    other.commit_transaction(WAIT_S)
    # Readers stand before the open transaction until it is aborted.
    until_read(txn_cluster, "timed-out", "kept")
    # Its epoch is over: it may not even say that it gives up.
    assert error_of(forgetful.commit_transaction, WAIT_S).code() != KafkaError._TIMED_OUT


def coordinator_of(cluster: Cluster, transactional_id: str) -> int:
    """Its broker id, as any broker that answers tells it; -1 while there is none."""
    for row in cluster.status():
        with contextlib.suppress(OSError), RawConnection(parse_address(row["address"]), timeout_s=5) as connection:
            request = FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id])
            return int(connection.ask(request, 6).coordinators[0].node_id)
    return -1


def state_of(cluster: Cluster, transactional_id: str) -> str:
    """What its coordinator says of it; nothing while there is none."""
    broker_id = coordinator_of(cluster, transactional_id)
    addresses = {row["id"]: parse_address(row["address"]) for row in cluster.status()}
    with contextlib.suppress(OSError, KeyError), RawConnection(addresses[broker_id], timeout_s=5) as connection:
        response = connection.ask(DescribeTransactionsRequest([transactional_id]), 0)
        return str(response.transaction_states[0].transaction_state)
    return ""


def test_a_decision_outlives_the_coordinator_that_made_it(txn_cluster: Cluster) -> None:
    made = producer(txn_cluster, "decided")
    coordinator = coordinator_of(txn_cluster, "decided")
    leader, bystander = sorted({1, 2, 3} - {coordinator})
    admin = AdminClient({"bootstrap.servers": txn_cluster.bootstrap})
    topic = NewTopic(
        "decided",
        PARTITIONS,
        replica_assignment=[[leader], [bystander], [bystander]],
        config={"min.insync.replicas": "1"},
    )
    admin.create_topics([topic])["decided"].result(20)
    made.begin_transaction()
    write(made, "decided", "kept")
    # One partition has no leader while the transaction is committed: its marker cannot be written.
    txn_cluster.cli("kill", str(leader))
    made.commit_transaction(WAIT_S)
    txn_cluster.wait_for("the decision", lambda: state_of(txn_cluster, "decided") == "PrepareCommit", WAIT_S)
    # SIGKILL between the decision and its completion.
    txn_cluster.cli("kill", str(coordinator))
    txn_cluster.cli("start", str(leader))
    txn_cluster.wait_for("completion", lambda: state_of(txn_cluster, "decided") == "CompleteCommit", WAIT_S)
    assert coordinator_of(txn_cluster, "decided") != coordinator
    txn_cluster.cli("start", str(coordinator))
    until_read(txn_cluster, "decided", "kept")
    made.begin_transaction()
    write(made, "decided", "next")
    made.commit_transaction(WAIT_S)
    until_read(txn_cluster, "decided", "kept", "next")


async def test_aiokafka_commits_aborts_and_is_fenced(txn_cluster: Cluster) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka import TopicPartition as Partition
    from aiokafka.errors import KafkaError as AioError

    create(txn_cluster, "of-aiokafka")

    async def write_one(made: AIOKafkaProducer, value: bytes) -> None:
        for partition in range(PARTITIONS):
            await made.send_and_wait("of-aiokafka", value, partition=partition)

    servers = {"bootstrap_servers": txn_cluster.bootstrap}
    zombie = AIOKafkaProducer(**servers, transactional_id="of-aiokafka")
    heir = AIOKafkaProducer(**servers, transactional_id="of-aiokafka")
    await zombie.start()
    for value, commits in ((b"first", True), (b"aborted", False), (b"second", True)):
        await zombie.begin_transaction()
        await write_one(zombie, value)
        await (zombie.commit_transaction() if commits else zombie.abort_transaction())
    await zombie.begin_transaction()
    await write_one(zombie, b"of the zombie")
    await heir.start()
    with pytest.raises(AioError):
        await zombie.commit_transaction()
    await heir.begin_transaction()
    await write_one(heir, b"of the heir")
    await heir.commit_transaction()
    expected = [b"first", b"second", b"of the heir"]
    consumer = AIOKafkaConsumer(**servers, isolation_level="read_committed", auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([Partition("of-aiokafka", number) for number in range(PARTITIONS)])
    found: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    async with asyncio.timeout(WAIT_S):
        while any(len(values) < len(expected) for values in found.values()):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                found[partition.partition] += [each.value for each in records]
    assert list(found.values()) == [expected] * PARTITIONS
    await consumer.stop()
    await heir.stop()
    with contextlib.suppress(AioError):
        await zombie.stop()
