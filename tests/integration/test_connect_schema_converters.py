"""Connect's converters that keep schemas in a registry, beside confluent-kafka's serializers, over our registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from engine.connect import data
from engine.connect.converters.protobuf_files import ProtobufFile
from engine.connect.data import Struct
from engine.connect.errors import ConfigError, DataError, RetriableError
from engine.connect.plugins import PluginType, find
from engine.protobuf.files import compiled
from engine.registry.config import RegistryConfig
from engine.testing.cluster import KafkaCluster
from tests.integration.registry_thread import RegistryThread

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ORDER = data.struct(
    {
        "id": data.INT64,
        "note": data.STRING.as_optional(),
        "price": data.decimal(2),
        "at": data.TIMESTAMP,
        "to": data.struct({"city": data.STRING}, name="shop.Address", optional=True),
    },
    name="shop.Order",
)


def order(number: int) -> Struct:
    address = ORDER.field("to")
    assert address is not None
    return Struct(
        ORDER,
        {
            "id": number,
            "price": Decimal("1.50"),
            "at": datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
            "to": Struct(address.schema, {"city": "Oslo"}),
        },
    )


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryThread]:
    with KafkaCluster(1) as cluster, RegistryThread(RegistryConfig(cluster.bootstrap_servers, port=0)) as running:
        yield running


def converter(name: str, registry: RegistryThread, **configs: Any) -> Any:
    made = find(f"io.confluent.connect.{name}", PluginType.CONVERTER)()
    made.configure({"schema.registry.url": registry.url, **configs}, False)
    return made


def context(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def test_what_the_avro_converter_writes_others_read(registry: RegistryThread) -> None:
    avro = converter("avro.AvroConverter", registry)
    encode = avro.encoder("orders", ORDER)
    raw = [encode(order(number)) for number in range(3)]
    read = AvroDeserializer(SchemaRegistryClient({"url": registry.url}))(raw[2], context("orders"))
    assert read == {
        "id": 2,
        "note": None,
        "price": Decimal("1.50"),
        "at": datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
        "to": {"city": "Oslo"},
    }
    fresh = converter("avro.AvroConverter", registry)
    schema, value = fresh.to_connect_data("orders", None, raw[1])
    # The version in the subject becomes the schema's, as it has no other.
    assert (schema.name, schema.version) == ("shop.Order", 1)
    assert list(value.values[:4]) == list(order(1).values[:4])
    assert encode(None) is None
    assert fresh.to_connect_data("orders", None, None) == (None, None)


def test_the_avro_converter_reads_what_others_write(registry: RegistryThread) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    city = json.dumps(
        {"type": "record", "name": "City", "namespace": "geo", "fields": [{"name": "name", "type": "string"}]}
    )
    client.register_schema("city", Schema(city, "AVRO"))
    text = json.dumps(
        {"type": "record", "name": "Trip", "namespace": "geo", "fields": [{"name": "to", "type": "geo.City"}]}
    )
    reference = SchemaReference("geo.City", "city", 1)
    raw = AvroSerializer(client, Schema(text, "AVRO", [reference]))({"to": {"name": "Rome"}}, context("trips"))
    schema, value = converter("avro.AvroConverter", registry).to_connect_data("trips", None, raw)
    assert (schema.name, str(value)) == ("geo.Trip", "Struct{to=Struct{name=Rome}}")


def test_the_latest_avro_schema_is_the_one_that_values_are_written_by(registry: RegistryThread) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    fields = [
        {"name": "city", "type": "string"},
        {"name": "n", "type": "int", "default": 7},
        {"name": "id", "type": "long"},
    ]
    client.register_schema(
        "written-value", Schema(json.dumps({"type": "record", "name": "S", "fields": fields}), "AVRO")
    )
    made = converter("avro.AvroConverter", registry, **{"auto.register.schemas": "false", "use.latest.version": "true"})
    sale = data.struct({"id": data.INT32, "city": data.STRING}, name="S")
    raw = made.from_connect_data("written", None, sale, Struct(sale, {"id": 1, "city": "Oslo"}))
    assert AvroDeserializer(client)(raw, context("written")) == {"city": "Oslo", "n": 7, "id": 1}
    more = data.struct({"id": data.INT64, "city": data.STRING, "unknown": data.STRING}, name="S")
    for wrong, values in ((more, {"id": 1, "city": "x", "unknown": "x"}), (data.struct({"id": data.INT64}), {"id": 1})):
        with pytest.raises(DataError, match="topic written"):
            made.from_connect_data("written", None, wrong, Struct(wrong, values))


def test_plain_values_have_a_subject_for_themselves(registry: RegistryThread) -> None:
    avro = converter("avro.AvroConverter", registry)
    for topic, schema, value in (
        ("texts", data.STRING, "é"),
        ("raws", data.BYTES, b"\0\1"),
        ("anything", None, {"a": [1, "x", None]}),
    ):
        raw = avro.from_connect_data(topic, None, schema, value)
        assert avro.to_connect_data(topic, None, raw).value == value
    assert raw[:1] == b"\0"
    assert avro.from_connect_data("raws", None, data.BYTES, b"\0\1")[5:] == b"\0\1"


def test_what_the_registry_refuses_is_about_the_data_and_its_absence_is_not(registry: RegistryThread) -> None:
    avro = converter("avro.AvroConverter", registry)
    avro.from_connect_data(
        "grown",
        None,
        data.struct({"a": data.INT32}, name="G"),
        Struct(data.struct({"a": data.INT32}, name="G"), {"a": 1}),
    )
    changed = data.struct({"a": data.INT32, "b": data.INT32}, name="G")
    with pytest.raises(DataError, match="incompatible"):
        avro.from_connect_data("grown", None, changed, Struct(changed, {"a": 1, "b": 2}))
    with pytest.raises(DataError, match="magic byte"):
        avro.to_connect_data("grown", None, b'{"a":1}')
    with pytest.raises(DataError, match="40403"):
        avro.to_connect_data("grown", None, b"\0\0\1\0\0")
    closed = converter("avro.AvroConverter", registry, **{"auto.register.schemas": "false"})
    with pytest.raises(DataError, match="40401"):
        closed.from_connect_data("never", None, data.STRING, "x")
    with pytest.raises(ConfigError, match=r"subject\.name\.strategy"):
        converter("avro.AvroConverter", registry, **{"subject.name.strategy": "None"})
    nobody = find("io.confluent.connect.avro.AvroConverter", PluginType.CONVERTER)()
    nobody.configure({"schema.registry.url": "http://127.0.0.1:1"}, False)
    with pytest.raises(RetriableError):
        nobody.from_connect_data("t", None, data.STRING, "x")


@pytest.mark.parametrize("name", ["avro.AvroConverter", "json.JsonSchemaConverter", "protobuf.ProtobufConverter"])
def test_subjects_are_named_as_the_strategy_says(registry: RegistryThread, name: str) -> None:
    strategy = "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy"
    made = converter(name, registry, **{"subject.name.strategy": strategy})
    topic = name.replace(".", "-")
    raw = made.from_connect_data(topic, None, ORDER, order(1))
    assert f"{topic}-shop.Order" in SchemaRegistryClient({"url": registry.url}).get_subjects()
    assert made.to_connect_data(topic, None, raw).schema.version == 1


def test_what_the_json_schema_converter_writes_others_read_and_the_other_way(registry: RegistryThread) -> None:
    made = converter("json.JsonSchemaConverter", registry, **{"decimal.format": "NUMERIC"})
    raw = made.from_connect_data("carts", None, ORDER, order(7))
    client = SchemaRegistryClient({"url": registry.url})
    text = client.get_latest_version("carts-value").schema.schema_str
    read = JSONDeserializer(text, schema_registry_client=client)(raw, context("carts"))
    assert read == {"id": 7, "note": None, "price": 1.5, "at": 1709168523000, "to": {"city": "Oslo"}}
    fresh = converter("json.JsonSchemaConverter", registry, **{"decimal.format": "NUMERIC"})
    schema, value = fresh.to_connect_data("carts", None, raw)
    assert (schema.name, value.get("price")) == ("shop.Order", Decimal("1.50"))
    person = '{"$id": "person.json", "type": "object", "properties": {"name": {"type": "string"}}}'
    client.register_schema("person", Schema(person, "JSON"))
    cart = '{"type": "object", "properties": {"owner": {"$ref": "person.json"}}}'
    reference = SchemaReference("person.json", "person", 1)
    raw = JSONSerializer(Schema(cart, "JSON", [reference]), client)({"owner": {"name": "Ada"}}, context("owners"))
    assert str(made.to_connect_data("owners", None, raw).value) == "Struct{owner=Struct{name=Ada}}"


TRIP = """syntax = "proto3";
package geo;
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";
message Other { string x = 1; }
message Trip {
  message Stop { string city = 1; int32 nights = 2; }
  google.protobuf.Timestamp at = 7;
  repeated Stop stops = 3;
  oneof price { double euros = 4; int64 points = 5; }
  optional string note = 6;
  google.type.Date day = 8;
}
"""


def classes(text: str, *names: str) -> list[Any]:
    """Classes of a file's messages, as protoc would make them."""
    file = ProtobufFile(*compiled(text, ()))
    return [file.class_of(file.message(file.path(name))) for name in names]


def test_what_the_protobuf_converter_writes_others_read(registry: RegistryThread) -> None:
    made = converter("protobuf.ProtobufConverter", registry)
    encode = made.encoder("sales", ORDER)
    raw = [encode(order(number)) for number in range(3)]
    assert encode(None) is None
    client = SchemaRegistryClient({"url": registry.url})
    text = client.get_latest_version("sales-value").schema.schema_str
    (cls,) = classes(text, "shop.Order")
    read = ProtobufDeserializer(cls, {}, client)(raw[2], context("sales"))
    assert (read.id, read.to.city, read.at.seconds, read.note) == (2, "Oslo", 1709168523, "")
    assert (read.price.value, read.price.scale) == (b"\0\x96", 2)
    fresh = converter("protobuf.ProtobufConverter", registry)
    schema, value = fresh.to_connect_data("sales", None, raw[1])
    assert (schema.name, schema.version) == ("Order", 1)
    assert (value["id"], value["price"], value["at"]) == (1, Decimal("1.50"), order(1)["at"])


def test_the_protobuf_converter_reads_what_others_write(registry: RegistryThread) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    made = converter("protobuf.ProtobufConverter", registry, **{"enhanced.protobuf.schema.support": "true"})
    trip, stop = classes(TRIP, "geo.Trip", "geo.Trip.Stop")
    message = trip(
        at={"seconds": 1}, stops=[{"city": "Rome", "nights": 2}], points=3, day={"year": 2024, "month": 2, "day": 29}
    )
    raw = ProtobufSerializer(trip, client)(message, context("trips-in-protobuf"))
    schema, value = made.to_connect_data("trips-in-protobuf", None, raw)
    assert schema.name == "geo.Trip"
    assert (str(value["price_0"]), value["day"]) == ("Struct{points=3}", date(2024, 2, 29))
    assert (value["at"], str(value["stops"])) == (
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "[Struct{city=Rome,nights=2}]",
    )

    # A message within another of its file.
    raw = ProtobufSerializer(stop, client)(stop(city="Oslo"), context("stops"))
    assert raw[5:8] == b"\x04\x02\x00"
    schema, value = made.to_connect_data("stops", None, raw)
    assert (schema.name, value["city"]) == ("geo.Trip.Stop", "Oslo")


@pytest.mark.parametrize("gives_descriptors", [True, False])
def test_a_protobuf_schema_refers_to_others(registry: RegistryThread, gives_descriptors: bool) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    client.register_schema("geo.proto", Schema('syntax = "proto3";\nmessage City { string name = 1; }\n', "PROTOBUF"))
    text = 'syntax = "proto3";\nimport "geo.proto";\nmessage Flight { City to = 1; }\n'
    reference = SchemaReference("geo.proto", "geo.proto", 1)
    schema_id = client.register_schema("flights-value", Schema(text, "PROTOBUF", [reference]))
    made = converter("protobuf.ProtobufConverter", registry)
    if not gives_descriptors:
        # As if the registry did not know the format that is asked for: it gives the texts then.
        made._registry._format = None
    raw = b"\0" + schema_id.to_bytes(4, "big") + b"\0\x0a\x06\x0a\x04Oslo"
    assert str(made.to_connect_data("flights", None, raw).value) == "Struct{to=Struct{name=Oslo}}"


def test_the_latest_protobuf_schema_is_written_with_its_own_numbers(registry: RegistryThread) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    text = 'syntax = "proto3";\npackage shop;\nmessage Sale { string city = 9; int64 id = 4; }\n'
    latest = client.register_schema("latest-value", Schema(text, "PROTOBUF"))
    configs = {"auto.register.schemas": "false", "use.latest.version": "true"}
    made = converter("protobuf.ProtobufConverter", registry, **configs)
    sale = data.struct({"id": data.INT64, "city": data.STRING}, name="shop.Sale")
    raw = made.from_connect_data("latest", None, sale, Struct(sale, {"id": 1, "city": "Oslo"}))
    assert raw == b"\0" + latest.to_bytes(4, "big") + b"\0\x20\x01\x4a\x04Oslo"
    more = data.struct({"id": data.INT64, "unknown": data.STRING}, name="shop.Sale")
    with pytest.raises(DataError, match=r"topic latest: .*unknown"):
        made.from_connect_data("latest", None, more, Struct(more, {"id": 1, "unknown": "x"}))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a":1}', "magic byte"),
        (b"\0\0\1\0\0\0", "40403"),
        (b"", "which message of the schema"),
        (b"\x02\x14", r"no message \[10\]"),
        (b"\x80", "which message of the schema"),
        (b"\0\xff", "corrupt|Truncated"),
        (b"\0\x08", "corrupt|Truncated"),
    ],
)
def test_bytes_that_are_no_protobuf_are_told_with_their_topic(registry: RegistryThread, raw: bytes, why: str) -> None:
    made = converter("protobuf.ProtobufConverter", registry)
    opening = made.from_connect_data("whole", None, data.STRING, "x")[:5]
    raw = raw if b"\0\0\1" in raw or b"{" in raw else opening + raw
    with pytest.raises(DataError, match=f"topic broken to Protobuf: .*({why})"):
        made.to_connect_data("broken", None, raw)
    with pytest.raises(DataError, match=r"topic whole: .*needs a schema"):
        made.from_connect_data("whole", None, None, {"a": 1})
