"""Byte for byte what Apache Kafka 3.9.1 writes; the expected bytes come from its own classes or brokers."""

from __future__ import annotations

import pytest

from engine.core.controller.broker_image import BrokerImage, Endpoint
from engine.core.controller.topic_image import PartitionImage, TopicImage
from engine.core.znodes import paths
from engine.core.znodes.broker_znodes import decode_ephemeral, encode_ephemeral
from engine.core.znodes.cluster_znodes import decode_controller, encode_cluster_id, encode_controller
from engine.core.znodes.config_znodes import encode_configs
from engine.core.znodes.java_order import properties_ordered, scala_ordered
from engine.core.znodes.operations import Znode
from engine.core.znodes.topic_znodes import encode_state, encode_topic
from engine.core.znodes.user_znodes import java_double
from engine.model.ids import uuid_from_str

ORDERS = uuid_from_str("8eDg9ciZTbmuGAVIt3upmw")


def without_ours(data: bytes, field: bytes) -> bytes:
    """Kafka's part: our fields are behind its own."""
    return data[: data.index(b',"' + field + b'"')] + b"}"


def test_a_broker() -> None:
    broker = BrokerImage(1, 7, bytes(16), {"PLAINTEXT": Endpoint("127.0.0.1", 23091)})
    written = encode_ephemeral(broker, timestamp_ms=1795424053327)
    assert without_ours(written, b"incarnation_id") == (
        b'{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},'
        b'"endpoints":["PLAINTEXT://127.0.0.1:23091"],"jmx_port":-1,"port":23091,"host":"127.0.0.1","version":5,'
        b'"timestamp":"1795424053327"}'
    )
    read = decode_ephemeral("/brokers/ids/1", Znode(written, 0, 7, 7, 1))
    assert read == broker._replace(fenced=False)


def test_a_broker_with_a_rack_and_without_a_plain_listener() -> None:
    broker = BrokerImage(
        3, 7, bytes(16), {"PLAINTEXT": Endpoint("h", 1), "SASL_SSL": Endpoint("::1", 2, 3)}, rack='rä"ck\x01'
    )
    written = encode_ephemeral(broker, timestamp_ms=1795713537254, jmx_port=9999)
    assert without_ours(written, b"incarnation_id").decode() == (
        '{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","SASL_SSL":"SASL_SSL"},'
        '"endpoints":["PLAINTEXT://h:1","SASL_SSL://[::1]:2"],"rack":"rä\\"ck\\u0001","jmx_port":9999,"port":1,'
        '"host":"h","version":5,"timestamp":"1795713537254"}'
    )
    assert decode_ephemeral("/brokers/ids/3", Znode(written, 0, 7, 7, 1)) == broker._replace(fenced=False)
    written = encode_ephemeral(BrokerImage(3, 7, bytes(16), {"IN": Endpoint("h", 1, 1)}), timestamp_ms=5)
    assert b'"jmx_port":-1,"port":-1,"host":null,"version":5' in written


def test_a_topic_and_a_partition() -> None:
    partition = PartitionImage(replicas=(2, 1), isr=(2, 1), leader=2, leader_epoch=0, partition_epoch=0)
    topic = TopicImage("orders", ORDERS, {0: partition, 1: partition._replace(replicas=(1, 2))})
    assert encode_topic(topic) == (
        b'{"partitions":{"0":[2,1],"1":[1,2]},"topic_id":"8eDg9ciZTbmuGAVIt3upmw","adding_replicas":{},'
        b'"removing_replicas":{},"version":3}'
    )
    assert without_ours(encode_state(partition, 1), b"partition_epoch") == (
        b'{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":0,"isr":[2,1]}'
    )


def test_a_topic_with_many_partitions_is_in_the_order_of_scalas_hash_map() -> None:
    partitions = {
        number: PartitionImage((1, 2), (1, 2), 1, 0, 0, adding_replicas=(2,) if number % 3 == 0 else ())
        for number in range(30)
    }
    order = [*range(22, 30), *range(10, 20), *range(10), 20, 21]
    adding = [0, 12, 24, 3, 15, 27, 6, 18, 9, 21]
    assert encode_topic(TopicImage("t", ORDERS, partitions)).decode() == (
        '{"partitions":{' + ",".join(f'"{each}":[1,2]' for each in order) + '},"topic_id":"8eDg9ciZTbmuGAVIt3upmw",'
        '"adding_replicas":{' + ",".join(f'"{each}":[2]' for each in adding) + '},"removing_replicas":{},"version":3}'
    )


def test_a_table_grows_with_the_twelfth_entry() -> None:
    assert list(scala_ordered({str(number): 0 for number in range(11)})) == [str(number) for number in range(11)]
    assert list(scala_ordered({str(number): 0 for number in range(12)})) == [str(number) for number in (11, *range(11))]
    names = {number: [f"c.{each}.x" for each in range(number)] for number in (11, 12)}
    eleven, twelve = (list(properties_ordered(dict.fromkeys(each, 0))) for each in names.values())
    assert [each.split(".")[1] for each in eleven] == ["9", "0", "1", "2", "3", "10", "4", "5", "6", "7", "8"]
    assert [each.split(".")[1] for each in twelve] == ["0", "9", "1", "2", "3", "10", "11", "4", "5", "6", "7", "8"]


def test_configs_are_in_the_order_of_javas_properties() -> None:
    assert encode_configs({}) == b'{"version":1,"config":{}}'
    # In the order in which they were put.
    configs = dict.fromkeys(
        [
            "cleanup.policy",
            "retention.ms",
            "segment.bytes",
            "min.insync.replicas",
            "max.message.bytes",
            "compression.type",
        ],
        "1",
    )
    assert encode_configs(configs) == (
        b'{"version":1,"config":{"compression.type":"1","cleanup.policy":"1","max.message.bytes":"1",'
        b'"min.insync.replicas":"1","retention.ms":"1","segment.bytes":"1"}}'
    )
    more = ["a", "b", "c", "d", "e", "f", "g", "h", "retention.bytes", "flush.ms", "file.delete.delay.ms"]
    more += ["segment.ms", "index.interval.bytes", "delete.retention.ms", "message.timestamp.type"]
    configs |= dict.fromkeys(more, "1")
    assert encode_configs(configs) == (
        b'{"version":1,"config":{"compression.type":"1","a":"1","b":"1","c":"1","file.delete.delay.ms":"1","d":"1",'
        b'"max.message.bytes":"1","e":"1","f":"1","g":"1","h":"1","message.timestamp.type":"1",'
        b'"min.insync.replicas":"1","index.interval.bytes":"1","retention.bytes":"1","delete.retention.ms":"1",'
        b'"cleanup.policy":"1","flush.ms":"1","retention.ms":"1","segment.bytes":"1","segment.ms":"1"}}'
    )


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a b", "a%20b"),
        ("~*+-_.", "%7E%2A%2B-_."),
        ("ü/%:<default>", "%C3%BC%2F%25%3A%3Cdefault%3E"),
        # Kafka's Sanitizer leaves it, and ZooKeeper refuses it.
        ("..", "%2E%2E"),
    ],
)
def test_names_are_sanitized_as_kafkas_sanitizer_does_it(name: str, part: str) -> None:
    assert paths.sanitized(name) == part
    assert paths.desanitized(part) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (50.5, "50.5"),
        (1e7, "1.0E7"),
        (9999999.0, "9999999.0"),
        (1e-3, "0.001"),
        (9.99e-4, "9.99E-4"),
        (123456789.125, "1.23456789125E8"),
        (1e22, "1.0E22"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (2e-9, "2.0E-9"),
        (float("inf"), "Infinity"),
    ],
)
def test_quotas_are_printed_as_java_does_it(value: float, text: str) -> None:
    assert java_double(value) == text


def test_who_controls_which_cluster() -> None:
    written = encode_controller(2, timestamp_ms=1795424053327, address=("127.0.0.1", 9093))
    assert decode_controller(written).address == ("127.0.0.1", 9093)
    assert without_ours(written, b"kconsole") == (
        b'{"version":2,"brokerid":2,"timestamp":"1795424053327","kraftControllerEpoch":-1}'
    )
    assert encode_cluster_id("abc") == b'{"version":"1","id":"abc"}'
