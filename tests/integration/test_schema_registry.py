"""The schema registry under confluent-kafka's serializers as they are; its topic under restarts and rivals."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    dual_schema_id_deserializer,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from engine.registry.config import RegistryConfig
from engine.registry.errors import CannotStart
from engine.registry.topic_log import TopicLog
from engine.testing.cluster import KafkaCluster
from tests.integration.registry_thread import RegistryThread

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

QUIET = {"log_level": 0}
ADDRESS = '{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"}]}'
ORDER = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "id", "type": "long"}, {"name": "to", "type": "shop.Address"}],
    }
)
PERSON = '{"$id": "person.json", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
CART = '{"$id": "cart.json", "type": "object", "properties": {"owner": {"$ref": "person.json"}}}'


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(3) as running:
        yield running


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Each test has schemas of its own."""
    return f"_schemas-{abs(hash(request.node.name)) % 100_000}"


def config(cluster: KafkaCluster, topic: str, port: int = 0) -> RegistryConfig:
    return RegistryConfig(cluster.bootstrap_servers, port=port, topic=topic)


def client(registry: RegistryThread) -> SchemaRegistryClient:
    """A new one: it has nothing in a cache."""
    return SchemaRegistryClient({"url": registry.url})


def context(subject: str, headers: Any = None) -> SerializationContext:
    return SerializationContext(subject, MessageField.VALUE, headers)


def protobuf_messages() -> tuple[Any, Any]:
    """shop.Order of order.proto, which imports common.proto and a well-known file; and shop.Money."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    common = descriptor_pb2.FileDescriptorProto(name="common.proto", package="shop", syntax="proto3")
    money = common.message_type.add(name="Money")
    money.field.add(name="cents", number=1, type=3, label=1)
    pool.Add(common)
    order = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    order.dependency.extend(["common.proto", "google/protobuf/timestamp.proto"])
    message = order.message_type.add(name="Order")
    message.field.add(name="item_name", number=1, type=9, label=1)
    message.field.add(name="price", number=2, type=11, type_name=".shop.Money", label=1)
    message.field.add(name="at", number=3, type=11, type_name=".google.protobuf.Timestamp", label=1)
    pool.Add(order)
    found = (pool.FindMessageTypeByName(each) for each in ("shop.Order", "shop.Money"))
    first, second = (message_factory.GetMessageClass(each) for each in found)
    return first, second


def read_topic(cluster: KafkaCluster, topic: str) -> list[tuple[bytes, bytes | None]]:
    """All records, as bytes."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "looks", "enable.partition.eof": True, **QUIET}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(10)
        assert message is not None, "the topic does not end"
        if message.error() is not None:
            break
        found.append((message.key(), message.value()))
    consumer.close()
    return found


def test_serializers_of_all_kinds_find_their_schemas_after_a_restart_and_with_a_broker_dead(
    cluster: KafkaCluster, topic: str
) -> None:
    order_class, money_class = protobuf_messages()
    order = order_class(item_name="tea", price=money_class(cents=250))
    order.at.FromSeconds(1_700_000_000)
    with RegistryThread(config(cluster, topic)) as registry:
        writes = client(registry)
        writes.register_schema("shop.Address", Schema(ADDRESS, "AVRO"))
        avro = Schema(ORDER, "AVRO", [SchemaReference("shop.Address", "shop.Address", 1)])
        avro_bytes = AvroSerializer(writes, avro)({"id": 7, "to": {"city": "Graz"}}, context("avro"))
        writes.register_schema("person", Schema(PERSON, "JSON"))
        cart = Schema(CART, "JSON", [SchemaReference("person.json", "person", 1)])
        json_bytes = JSONSerializer(cart, writes)({"owner": {"name": "Ada"}}, context("json"))
        protobuf_bytes = ProtobufSerializer(order_class, writes)(order, context("protobuf"))
        port = registry.port
        ids = [int.from_bytes(each[1:5], "big") for each in (avro_bytes, json_bytes, protobuf_bytes)]
        assert ids == [2, 4, 6]  # between them are the schemas that they refer to
        leader = cluster.leader(topic)
        cluster.kill(leader)
        assert writes.register_schema("meanwhile", Schema('"long"', "AVRO")) == 7

    try:
        with RegistryThread(config(cluster, topic, port)) as registry:
            reads = client(registry)
            assert AvroDeserializer(reads)(avro_bytes, context("avro")) == {"id": 7, "to": {"city": "Graz"}}
            assert JSONDeserializer(cart, schema_registry_client=reads)(json_bytes, context("json")) == {
                "owner": {"name": "Ada"}
            }
            read = ProtobufDeserializer(order_class, {}, reads)(protobuf_bytes, context("protobuf"))
            assert read == order
            # What is written now has the ids of before, and a new schema the next one.
            assert (
                AvroSerializer(client(registry), avro)({"id": 8, "to": {"city": "Linz"}}, context("avro"))[:5]
                == (avro_bytes[:5])
            )
            again = ProtobufSerializer(order_class, client(registry))(order, context("protobuf"))
            assert again == protobuf_bytes
            assert reads.register_schema("new", Schema('"string"', "AVRO")) == 8
    finally:
        cluster.start(leader)


def test_descriptors_and_the_text_that_they_were_made_of_are_one_schema(cluster: KafkaCluster, topic: str) -> None:
    order_class, _ = protobuf_messages()
    with RegistryThread(config(cluster, topic)) as registry:
        ProtobufSerializer(order_class, client(registry))(order_class(), context("orders"))
        text = client(registry).get_latest_version("orders-value")
        assert "message Order {\n  string item_name = 1;\n  .shop.Money price = 2;" in text.schema.schema_str
        by_hand = text.schema.schema_str.replace(".shop.Money", "Money /* cents */")
        found = client(registry).lookup_schema("orders-value", Schema(by_hand, "PROTOBUF", text.schema.references))
        assert (found.version, found.schema_id) == (text.version, text.schema_id)
        serialized = client(registry).get_schema(text.schema_id, fmt="serialized")
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(serialized.schema_str))
        assert [each.name for each in file.message_type] == ["Order"]


def test_ids_in_headers_are_found_by_their_guid(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as registry:
        headers: list[Any] = []
        settings = {"schema.id.serializer": header_schema_id_serializer}
        data = AvroSerializer(client(registry), ADDRESS, conf=settings)({"city": "Klagenfurt"}, context("g", headers))
        assert [name for name, _ in headers] == ["__value_schema_id"]
        reads = AvroDeserializer(client(registry), conf={"schema.id.deserializer": dual_schema_id_deserializer})
        assert reads(data, context("g", headers)) == {"city": "Klagenfurt"}


def test_the_topic_has_the_records_that_confluents_registry_writes(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as registry:
        asks = client(registry)
        asks.register_schema("a", Schema('{"type": "string"}', "AVRO"))
        asks.register_schema("b", Schema("true", "JSON"))
        asks.register_schema("p", Schema('{"type":"object"}', "JSON", [SchemaReference("x", "b", 1)]))
        asks.set_compatibility("a", "FULL")
        asks.set_compatibility(level="NONE")
        httpx2.put(f"{registry.url}/mode/a", json={"mode": "READWRITE"})
        asks.delete_version("p", 1)
        asks.delete_subject("p", permanent=True)
        asks.delete_subject("a")
    with RegistryThread(config(cluster, topic)):
        pass
    ids = '{"keytype":"NOOP","magic":0}', '{"highestIds":{".":3}}'
    found = [(key.decode(), None if value is None else value.decode()) for key, value in read_topic(cluster, topic)]
    reference = '"references":[{"name":"x","subject":"b","version":1}]'
    p = '{"subject":"p","version":1,"id":3,"schemaType":"JSON",' + reference + ',"schema":"{\\"type\\":\\"object\\"}",'
    assert found == [
        ('{"keytype":"NOOP","magic":0}', None),
        (
            '{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}',
            '{"subject":"a","version":1,"id":1,"schema":"\\"string\\"","deleted":false}',
        ),
        (
            '{"keytype":"SCHEMA","subject":"b","version":1,"magic":1}',
            '{"subject":"b","version":1,"id":2,"schemaType":"JSON","schema":"true","deleted":false}',
        ),
        ('{"keytype":"SCHEMA","subject":"p","version":1,"magic":1}', p + '"deleted":false}'),
        ('{"keytype":"CONFIG","subject":"a","magic":0}', '{"subject":"a","compatibilityLevel":"FULL"}'),
        ('{"keytype":"CONFIG","magic":0}', '{"compatibilityLevel":"NONE"}'),
        ('{"keytype":"MODE","subject":"a","magic":0}', '{"subject":"a","mode":"READWRITE"}'),
        ('{"keytype":"SCHEMA","subject":"p","version":1,"magic":1}', p + '"deleted":true}'),
        ('{"keytype":"SCHEMA","subject":"p","version":1,"magic":1}', None),
        ids,
        ('{"keytype":"DELETE_SUBJECT","subject":"a","magic":0}', '{"subject":"a","version":1}'),
        # The next start: what the last record under this key says is not lost when the topic is compacted.
        ('{"keytype":"NOOP","magic":0}', None),
        ids,
    ]


def test_a_second_registry_fences_the_first_and_goes_on_with_its_ids(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as first:
        client(first).register_schema("a", Schema('"int"', "AVRO"))
        # One that cannot listen fences nobody.
        with pytest.raises(CannotStart, match="Address already in use"):
            RegistryThread(config(cluster, topic)._replace(port=first.port))
        assert not first.service.lost.done()
        with RegistryThread(config(cluster, topic)) as second:
            assert client(second).register_schema("b", Schema('"long"', "AVRO")) == 2
            assert "another registry writes" in first.lost(10)
            refused = httpx2.post(f"{first.url}/subjects/c/versions", json={"schema": '"float"'})
            assert (refused.status_code, refused.json()["error_code"]) == (500, 50001)
            assert httpx2.get(f"{first.url}/health").status_code == 503
            assert client(second).get_subjects() == ["a", "b"]


def test_a_write_of_a_registry_that_was_fenced_is_refused_by_the_brokers(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as registry:
        # As a second registry that has not written yet.
        settings = {"bootstrap.servers": cluster.bootstrap_servers, **QUIET}
        Producer({**settings, "transactional.id": f"schema-registry-{topic}"}).init_transactions(10)
        refused = httpx2.post(f"{registry.url}/subjects/c/versions", json={"schema": '"float"'})
        assert (refused.status_code, refused.json()["error_code"]) == (500, 50001)
        assert "fenced" in registry.lost(10)


def test_a_record_of_somebody_else_ends_the_registry(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as registry:
        client(registry).register_schema("a", Schema('"int"', "AVRO"))
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, **QUIET})
        producer.produce(topic, None, b'{"keytype":"NOOP","magic":0}')
        producer.flush(10)
        assert "only one may" in registry.lost(10)


def test_a_write_that_nobody_answered_is_told_so_and_the_next_one_is_done(topic: str) -> None:
    with KafkaCluster(1) as lone:
        settings = config(lone, topic)._replace(timeout_s=3.0)
        with RegistryThread(settings) as registry:
            client(registry).register_schema("a", Schema('"int"', "AVRO"))
            lone.pause(1)
            try:
                refused = httpx2.post(f"{registry.url}/subjects/b/versions", json={"schema": '"long"'}, timeout=30)
                assert (refused.status_code, refused.json()["error_code"]) == (500, 50002)
                # What is known is told all the same.
                assert httpx2.get(f"{registry.url}/schemas/ids/1").json()["schema"] == '"int"'
            finally:
                lone.resume(1)
            answer = httpx2.post(f"{registry.url}/subjects/c/versions", json={"schema": '"float"'}, timeout=30)
            assert answer.status_code == 200, answer.json()
            known = client(registry).get_subjects()
        assert known in (["a", "c"], ["a", "b", "c"])
        with RegistryThread(settings) as registry:
            assert client(registry).get_subjects() == known


class _WithoutOffset:
    """A producer whose next record is acknowledged as librdkafka does after a retry: without its offset."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._is_next = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def produce(self, *arguments: Any, on_delivery: Any) -> None:
        is_next, self._is_next = self._is_next, False
        told = (lambda error, message: on_delivery(error, Message())) if is_next else on_delivery
        self._producer.produce(*arguments, on_delivery=told)


def test_a_record_whose_offset_nobody_tells_is_written_once_more(cluster: KafkaCluster, topic: str) -> None:
    with RegistryThread(config(cluster, topic)) as registry:
        log = registry.service._log
        log._producer = _WithoutOffset(log._producer)
        answer = httpx2.post(f"{registry.url}/subjects/a/versions", json={"schema": '"int"'}, timeout=30)
        assert (answer.status_code, answer.json()["id"]) == (200, 1)
    assert [key for key, _ in read_topic(cluster, topic)].count(
        b'{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}'
    ) == 1


def test_an_id_that_was_given_and_not_read_back_yet_is_not_given_again(
    cluster: KafkaCluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = threading.Event()
    reads.set()
    take = TopicLog._take

    def take_late(log: TopicLog, messages: list[Any]) -> None:
        if reads.is_set():
            take(log, messages)
        else:
            asyncio.get_running_loop().call_later(0.05, take_late, log, messages)

    monkeypatch.setattr(TopicLog, "_take", take_late)
    with RegistryThread(config(cluster, topic)._replace(timeout_s=1.0)) as registry:
        reads.clear()
        unsure = httpx2.post(f"{registry.url}/subjects/a/versions", json={"schema": '"int"'}, timeout=30)
        assert (unsure.status_code, unsure.json()["error_code"]) == (500, 50002)
        refused = httpx2.post(f"{registry.url}/subjects/b/versions", json={"schema": '"long"'}, timeout=30)
        assert (refused.status_code, refused.json()["error_code"]) == (500, 50002)
        reads.set()
        ids = {each: client(registry).register_schema(each, Schema(f'"{each}"', "AVRO")) for each in ("long", "int")}
        assert ids == {"long": 2, "int": 1}


def test_a_topic_that_forgets_is_refused(cluster: KafkaCluster, topic: str) -> None:
    cluster.create_topic(topic, 1, configs={"cleanup.policy": "delete"})
    with pytest.raises(CannotStart, match=r"cleanup\.policy=delete"):
        RegistryThread(config(cluster, topic))
