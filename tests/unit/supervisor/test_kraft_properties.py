"""A server.properties of Kafka 3.9 under ZooKeeper as one under KRaft."""

from __future__ import annotations

import pytest

from engine.model.broker_config import BrokerConfig
from engine.supervisor.kraft_properties import UnusableProperties, convert

SECURED = {
    "broker.id": "7",
    "zookeeper.connect": "zk:2181/k",
    "zookeeper.set.acl": "true",
    "inter.broker.protocol.version": "3.9",
    "listeners": "IN://:9092,CONTROLLER://10.0.0.7:9093",
    "advertised.listeners": "IN://kafka-7:9092",
    "listener.security.protocol.map": "IN:SASL_SSL,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "IN",
    "log.dirs": "/a/,/b",
    "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
    "num.io.threads": "3",
}


def plain(broker_id: int, port: int) -> dict[str, str]:
    return {"broker.id": str(broker_id), "listeners": f"PLAINTEXT://127.0.0.1:{port}", "log.dir": f"/k{broker_id}"}


def test_voters_are_an_odd_number_with_ports_of_their_own() -> None:
    found = convert({str(each): plain(each, 9000 + each) for each in (4, 1, 3, 2)}, 19093)
    assert [each.is_voter for each in found.nodes.values()] == [True, True, True, False]
    voters = "1@127.0.0.1:19093,2@127.0.0.1:19094,3@127.0.0.1:19095"
    for node_id, node in found.nodes.items():
        assert node.properties["controller.quorum.voters"] == voters
        assert node.log_dirs == (f"/k{node_id}",) and node.metadata_log_dir == f"/k{node_id}"
        # It is one that a node starts with.
        config = BrokerConfig.from_properties(node.properties)
        assert config.node_id == node_id and config.is_controller == (node_id != 4)
    assert found.nodes[2].properties["listeners"] == "PLAINTEXT://127.0.0.1:9002,CONTROLLER://127.0.0.1:19094"
    assert found.nodes[4].properties["listeners"] == "PLAINTEXT://127.0.0.1:9004"
    assert not found.dropped and not found.notes


def test_a_secured_broker_keeps_its_listeners_and_gets_another_name_for_the_new_one() -> None:
    found = convert({"f": SECURED}, 9093)
    properties = found.nodes[7].properties
    assert properties["listeners"] == "IN://:9092,CONTROLLER://10.0.0.7:9093,KRAFT_CONTROLLER://:9093"
    assert properties["advertised.listeners"] == "IN://kafka-7:9092"
    assert properties["controller.quorum.voters"] == "7@kafka-7:9093"
    assert properties["listener.security.protocol.map"] == "IN:SASL_SSL,CONTROLLER:PLAINTEXT,KRAFT_CONTROLLER:PLAINTEXT"
    assert properties["authorizer.class.name"] == "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    assert properties["num.io.threads"] == "3"
    assert not [name for name in properties if name.startswith(("zookeeper", "broker.id", "inter.broker.protocol"))]
    assert found.nodes[7].log_dirs == ("/a", "/b")
    assert found.dropped == ["inter.broker.protocol.version"]
    assert ["KRAFT_CONTROLLER is PLAINTEXT" in each for each in found.notes] == [True]


@pytest.mark.parametrize("config", ["control.plane.listener.name", "controller.listener.names"])
def test_a_listener_that_the_controller_has_already_stays_its_own(config: str) -> None:
    files = {}
    for broker_id in (1, 2, 3, 4):
        listeners = f"PLAINTEXT://[::1]:909{broker_id},MINE://[::1]:1909{broker_id}"
        files[str(broker_id)] = {
            "broker.id": str(broker_id),
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,MINE:SSL",
            config: "MINE",
        }
    found = convert(files, 9093)
    for node_id, node in found.nodes.items():
        assert node.properties["controller.quorum.voters"] == "1@[::1]:19091,2@[::1]:19092,3@[::1]:19093"
        assert node.properties["controller.listener.names"] == "MINE"
        assert node.properties["advertised.listeners"] == f"PLAINTEXT://[::1]:909{node_id}"
        assert node.properties["listener.security.protocol.map"] == "PLAINTEXT:PLAINTEXT,MINE:SSL"
    assert found.nodes[3].properties["listeners"] == "PLAINTEXT://[::1]:9093,MINE://[::1]:19093"
    assert found.nodes[4].properties["listeners"] == "PLAINTEXT://[::1]:9094"
    assert not found.dropped and not found.notes


def test_files_that_do_not_belong_together_are_named() -> None:
    with pytest.raises(UnusableProperties, match=r"two: broker.id 1 is in another file too"):
        convert({"one": plain(1, 1), "two": plain(1, 2)}, 9093)
    with pytest.raises(UnusableProperties, match=r"one has no broker.id"):
        convert({"one": {"broker.id": "-1"}}, 9093)
