"""Configs of a node that ZooKeeper coordinates."""

import pytest

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.model.zookeeper_config import parse_connect

NODE = {
    "broker.id": "3",
    "zookeeper.connect": "one:2181,two/kafka",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "controller.listener.names": "CONTROLLER",
}


def refusal(**changes: str | None) -> str:
    texts = {**NODE, **{name.replace("_", "."): text for name, text in changes.items()}}
    with pytest.raises(ConfigError) as raised:
        BrokerConfig.from_properties({name: text for name, text in texts.items() if text is not None})
    return str(raised.value)


def test_a_node_with_zookeeper_connect_is_broker_and_controller_without_voters() -> None:
    config = BrokerConfig.from_properties(NODE)
    assert (config.coordination, config.is_broker, config.is_controller) == ("zookeeper", True, True)
    assert (config.node_id, config.broker_id, config.quorum_voters) == (3, 3, {})
    assert [each.name for each in config.controller_listeners] == ["CONTROLLER"]
    assert config.warnings == ()


def test_defaults_are_those_of_kafka_3_9() -> None:
    config = BrokerConfig.from_properties(NODE)
    assert (config.zookeeper_session_timeout_ms, config.zookeeper_connection_timeout_ms) == (18000, 18000)
    assert (config.zookeeper_max_in_flight_requests, config.zookeeper_set_acl) == (10, False)
    assert (config.zookeeper_ssl_client_enable, config.zookeeper_ssl_endpoint_identification_algorithm) == (
        False,
        "HTTPS",
    )
    assert config.offsets_storage == "kafka"
    other = BrokerConfig.from_properties({**NODE, "zookeeper.session.timeout.ms": "6000"})
    assert other.with_dynamic({}, {}).zookeeper_connection_timeout_ms == 6000


def test_what_a_kafka_3_9_is_configured_with_is_taken_as_it_is() -> None:
    kafkas = {name: text for name, text in NODE.items() if name != "controller.listener.names"}
    kafkas |= {
        "control.plane.listener.name": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
    }
    config = BrokerConfig.from_properties(kafkas)
    assert [each.name for each in config.controller_listeners] == ["CONTROLLER"]
    assert [each.name for each in config.advertised_listeners] == ["PLAINTEXT"]
    assert config.warnings == (
        "authorizer.class.name: access control lists are kept and shown, but nothing is refused because of them",
    )
    assert "two names for one thing" in refusal(control_plane_listener_name="OTHER")
    said = refusal(controller_listener_names=None, listeners="PLAINTEXT://:9092")
    assert "control.plane.listener.name=CONTROLLER" in said and "KRaft" not in said


def test_without_zookeeper_connect_kafkas_quorum_coordinates_and_nothing_of_zookeeper_is_known() -> None:
    config = BrokerConfig.from_properties(
        {
            "node.id": "1",
            "process.roles": "broker,controller",
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": NODE["listeners"],
            "controller.listener.names": "CONTROLLER",
            "zookeeper.session.timeout.ms": "6000",
        }
    )
    assert (config.coordination, config.offsets_storage) == ("quorum", "kafka")
    assert config.warnings == ("zookeeper.session.timeout.ms is not a known config",)
    assert "zookeeper.connect" not in config.effective


@pytest.mark.parametrize("name", ["process.roles", "controller.quorum.voters", "controller.quorum.bootstrap.servers"])
def test_configs_of_a_quorum_beside_zookeeper_connect_are_an_error_that_names_both(name: str) -> None:
    value = {"process.roles": "broker", "controller.quorum.voters": "3@localhost:9093"}.get(name, "localhost:9093")
    assert refusal(**{name: value}).startswith(f"{name} and zookeeper.connect are both set")


def test_offsets_in_zookeeper_need_zookeeper() -> None:
    assert "without zookeeper.connect offsets are kept in Kafka" in refusal(
        **{
            "zookeeper.connect": None,
            "process.roles": "broker,controller",
            "controller.quorum.voters": "3@localhost:9093",
            "offsets.storage": "zookeeper",
        }
    )


def test_acls_need_somebody_to_whom_znodes_belong() -> None:
    assert "nothing says who this broker is" in refusal(**{"zookeeper.set.acl": "true"})
    secured = {**NODE, "zookeeper.set.acl": "true", "kconsole.zookeeper.digest": "kafka:secret"}
    assert BrokerConfig.from_properties(secured).zookeeper_set_acl
    assert "must be user:password" in refusal(**{"kconsole.zookeeper.digest": "kafka"})


def test_what_only_java_can_do_is_refused_with_what_helps() -> None:
    assert "openssl pkcs12 -in client.p12" in refusal(**{"zookeeper.ssl.keystore.type": "JKS"})
    assert "keytool -exportcert -rfc" in refusal(**{"zookeeper.ssl.truststore.type": "PKCS12"})
    assert "zookeeper.ssl.crl.enable is not supported" in refusal(**{"zookeeper.ssl.crl.enable": "true"})
    assert "SSLv3 is none of TLSv1.2, TLSv1.3" in refusal(**{"zookeeper.ssl.enabled.protocols": "TLSv1.2,SSLv3"})


def test_a_connect_string_has_servers_and_one_chroot() -> None:
    assert parse_connect("one:2181, two,[::1]:2183/kafka/a") == (
        (("one", 2181), ("two", 2181), ("::1", 2183)),
        "/kafka/a",
    )
    assert parse_connect("[::1]") == ((("::1", 2181),), "")
    assert parse_connect("one:1/") == ((("one", 1),), "")


@pytest.mark.parametrize(
    ("connect", "complaint"),
    [
        ("one:2181/kafka,two:2181/kafka", "is no path for a chroot"),
        ("one:", "is no server"),
        (":2181", "is no server"),
        ("one,,two", "is no server"),
        ("one:70000", "between 1 and 65535"),
        ("one//kafka", "is no path for a chroot"),
        ("one/kafka/../other", "is no path for a chroot"),
    ],
)
def test_a_wrong_connect_string_is_refused_with_what_is_wrong(connect: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_connect(connect)
    assert complaint in refusal(**{"zookeeper.connect": connect})


def test_controllers_are_advertised_beside_the_listeners_of_clients() -> None:
    def advertised(**more: str) -> list[str]:
        config = BrokerConfig.from_properties({**NODE, **{name.replace("_", "."): text for name, text in more.items()}})
        assert [each.name for each in config.advertised_listeners] == ["PLAINTEXT"]
        return [f"{each.name}://{each.host}:{each.port}" for each in config.advertised_controller_listeners]

    assert advertised() == ["CONTROLLER://:9093"]
    assert advertised(advertised_listeners="PLAINTEXT://h:1,CONTROLLER://h:2") == ["CONTROLLER://h:2"]
    assert advertised(advertised_listeners="PLAINTEXT://h:1") == []
