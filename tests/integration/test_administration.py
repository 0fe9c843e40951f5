"""The administration screens' questions and changes, by the protocol over real brokers in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import KafkaError as ConsumerError
from confluent_kafka import TopicPartition as Place

from console.gateway import Gateway, GatewayError
from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from console.viewmodel.acls import AclRow, AclWish
from console.viewmodel.client_quotas import QuotaChange, removal_of
from console.viewmodel.configs import APPEND, BROKER, DELETE, SET, TOPIC, ConfigOf, ConfigValue, Edit
from console.viewmodel.scram_users import ScramRow, ScramWish
from engine.client.admin import AdminClient
from engine.record.builder import NewRecord, build_batch
from engine.testing import KafkaCluster
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from engine.world.real import real_world
from tests.integration.raw_client import parse_address

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

CONFIGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # As before KIP-890: a leader takes transactional records that no coordinator knows of.
    "transaction.partition.verification.enable": "false",
}
ORDERS = ConfigOf(TOPIC, "orders")


@asynccontextmanager
async def administered(kafka: KafkaCluster, *, read_only: bool = False) -> AsyncIterator[Gateway]:
    gateway = open_gateway(ConsoleOptions(bootstrap_servers=kafka.bootstrap_servers, read_only=read_only))
    try:
        yield gateway
    finally:
        await gateway.close()


async def config(gateway: Gateway, of: ConfigOf, name: str) -> ConfigValue | None:
    return next((each for each in await gateway.administration.configs(of) if each.name == name), None)


async def test_what_is_set_is_told_and_what_is_refused_is_not_done() -> None:
    with KafkaCluster(1, configs=CONFIGS, topics=["orders"]) as kafka:
        async with administered(kafka) as gateway:
            administration = gateway.administration
            edits = [Edit("cleanup.policy", APPEND, "compact"), Edit("retention.ms", SET, "5000")]
            await administration.alter_configs(ORDERS, edits, validate_only=True)
            policy = await config(gateway, ORDERS, "cleanup.policy")
            assert policy is not None and (policy.value, policy.kind) == ("delete", "LIST")
            with pytest.raises(GatewayError, match="INVALID_CONFIG"):
                await administration.alter_configs(ORDERS, [Edit("retention.ms", SET, "x")], validate_only=True)
            await administration.alter_configs(ORDERS, edits, validate_only=False)
            policy = await config(gateway, ORDERS, "cleanup.policy")
            assert policy is not None and (policy.value, policy.source) == ("delete,compact", ORDERS.level)
            assert [each.source for each in policy.synonyms] == [ORDERS.level, "DEFAULT_CONFIG"]
            everywhere = ConfigOf(BROKER, "")
            await administration.alter_configs(everywhere, [Edit("log.cleaner.threads", SET, "2")], validate_only=False)
            threads = await config(gateway, ConfigOf(BROKER, "1"), "log.cleaner.threads")
            assert threads is not None and (threads.value, threads.source) == ("2", everywhere.level)
            await administration.alter_configs(everywhere, [Edit("log.cleaner.threads", DELETE)], validate_only=False)
            assert await administration.configs(everywhere) == []

            rows = [
                AclRow("TOPIC", "ord", "PREFIXED", "User:alice", "*", "READ", "ALLOW"),
                AclRow("TOPIC", "*", "LITERAL", "User:bob", "10.0.0.1", "WRITE", "DENY"),
                AclRow("GROUP", "billing", "LITERAL", "User:alice", "*", "READ", "ALLOW"),
            ]
            for row in rows:
                await administration.create_acl(row)
            found = await administration.acls(AclWish("TOPIC", "orders", "MATCH"))
            assert sorted(found) == sorted(rows[:2]), "those that hold for orders"
            assert await administration.delete_acls(found[:1]) == 1, "just that one"
            assert len(await administration.acls(AclWish())) == 2

            await administration.set_scram_user(ScramWish("alice", "SCRAM-SHA-256", 4096, "secret"))
            await administration.set_scram_user(ScramWish("alice", "SCRAM-SHA-512", 8192, "secret"))
            users = await administration.scram_users()
            assert users == [ScramRow("alice", "SCRAM-SHA-256", 4096), ScramRow("alice", "SCRAM-SHA-512", 8192)]
            await administration.delete_scram_users(users)
            assert await administration.scram_users() == []

            entity = (("client-id", None), ("user", "alice"))
            change = QuotaChange(entity, {}, {"producer_byte_rate": 1024.0, "request_percentage": 12.5})
            await administration.alter_quotas(change, validate_only=True)
            assert await administration.quotas() == []
            await administration.alter_quotas(change, validate_only=False)
            (quota,) = await administration.quotas()
            assert (quota.entity, quota.values) == (entity, change.changes)
            await administration.alter_quotas(removal_of(quota), validate_only=False)
            assert await administration.quotas() == []
        async with administered(kafka, read_only=True) as gateway:
            with pytest.raises(GatewayError, match="--read-only"):
                await gateway.administration.create_acl(rows[0])


async def write(kafka: KafkaCluster, producer_id: int, sequence: int, *, transactional: bool) -> None:
    """A batch of an idempotent producer, or one of a transaction that no coordinator has heard of."""
    batch = build_batch(
        [NewRecord(b"k", b"v")] * 3,
        timestamp=int(time.time() * 1000),
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=sequence,
        is_transactional=transactional,
    )
    topic = TopicProduceData(name="orders", partition_data=[PartitionProduceData(0, batch)])
    request = ProduceRequest("unheard-of" if transactional else None, -1, 10_000, [topic])
    admin = AdminClient(real_world(), [parse_address(each) for each in kafka.bootstrap_servers.split(",")])
    try:
        await admin.metadata(["orders"])
        answer = await admin.brokers.send(kafka.leader("orders") or 0, request, max_version=11)
        assert answer.responses[0].partition_responses[0].error_code == 0
    finally:
        admin.close()


async def test_what_a_producer_has_open_is_terminated_and_it_is_fenced() -> None:
    with KafkaCluster(1, topics=["orders"]) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "tx-1", "log_level": 0})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce("orders", b"v")
        assert producer.flush(10) == 0
        async with administered(kafka) as gateway:
            (row,) = (await gateway.transactions()).rows
            assert (row.state, row.partitions) == ("Ongoing", ("orders-0",))
            await gateway.administration.terminate_transaction(row)
            (row,) = (await gateway.transactions()).rows
            assert (row.state, row.open_ms) == ("Empty", None)
        with pytest.raises(KafkaException) as caught:
            producer.commit_transaction(10)
        assert caught.value.args[0].fatal()
        assert committed(kafka) == []


def committed(kafka: KafkaCluster) -> list[int]:
    """Offsets of what a read_committed consumer is given, up to the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([Place("orders", 0, 0)])
        found: list[int] = []
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found.append(message.offset() or 0)
        assert message is not None and message.error().code() == ConsumerError._PARTITION_EOF
        return found
    finally:
        consumer.close()


async def test_a_hanging_transaction_is_found_and_aborted_and_records_are_deleted() -> None:
    with KafkaCluster(3, configs=CONFIGS, topics={"orders": 2}) as kafka:
        await write(kafka, 7_001, 0, transactional=False)
        await write(kafka, 7_002, 0, transactional=True)
        async with administered(kafka) as gateway:
            administration = gateway.administration
            told = await administration.producers({"orders": (0,)})
            (rows,) = told.rows.values()
            assert rows is not None
            idle, hanging = sorted(rows, key=lambda row: row.producer_id)
            assert (idle.last_sequence, idle.is_open) == (2, False)
            assert (hanging.producer_id, hanging.transaction_start_offset) == (7_002, 3)
            assert await administration.hanging_transactions(60_000) == [], "it is young"
            while not (found := await administration.hanging_transactions(0)):
                pass
            assert [(row.producer_id, row.hangs) for row in found] == [(7_002, True)]
            await administration.abort_transaction(hanging)
            with pytest.raises(GatewayError, match="has ended meanwhile"):
                await administration.abort_transaction(hanging)
            assert await administration.hanging_transactions(0) == []
            assert committed(kafka) == [0, 1, 2], "what it wrote is skipped"
            # Six records and the marker.
            assert await administration.delete_records({("orders", 0): 4}) == {("orders", 0): 4}
            with pytest.raises(GatewayError, match="OFFSET_OUT_OF_RANGE"):
                await administration.delete_records({("orders", 0): 8})
            assert await administration.delete_records({("orders", 0): -1}) == {("orders", 0): 7}

            kafka.kill(3)
            told = await administration.log_dirs()
            assert told.rows[3] is None and told.problems[0].startswith("broker 3 does not tell")
            held = {
                broker: [replica.key for replica in dirs[0].replicas if replica.topic == "orders"]
                for broker, dirs in told.rows.items()
                if dirs is not None
            }
            assert held.keys() == {1, 2} and all(sorted(each) == ["orders-0", "orders-1"] for each in held.values())
