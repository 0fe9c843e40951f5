"""How ZooKeeper is reached, and who may do what with our znodes."""

import sys
from pathlib import Path

import pytest

from engine.broker.config_describer import ConfigDescriber
from engine.core.controller.config_schema import ConfigSource
from engine.core.controller.image import MetadataImage
from engine.core.znodes.operations import Create, SetData
from engine.model.broker_config import BrokerConfig
from engine.zookeeper.acl import Access, access_of
from engine.zookeeper.config import TlsConfig, ZooKeeperConfig, ZooKeeperConfigError
from engine.zookeeper.errors import TooLarge, ZooKeeperError
from engine.zookeeper.link import silence_s
from engine.zookeeper.session import SessionState, ZooKeeperSession

NODE = {
    "broker.id": "3",
    "zookeeper.connect": "one:2181,[::1]:2182/kafka",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "controller.listener.names": "CONTROLLER",
}


def test_what_a_broker_is_configured_with() -> None:
    plain = ZooKeeperConfig.of_broker(BrokerConfig.from_properties(NODE))
    assert plain == ZooKeeperConfig((("one", 2181), ("::1", 2182)), "/kafka")
    assert str(plain) == "one:2181,[::1]:2182/kafka"
    secured = ZooKeeperConfig.of_broker(
        BrokerConfig.from_properties(
            {
                **NODE,
                "zookeeper.session.timeout.ms": "6000",
                "zookeeper.max.in.flight.requests": "3",
                "zookeeper.set.acl": "true",
                "kconsole.zookeeper.digest": "kafka:secret",
                "zookeeper.ssl.client.enable": "true",
                "zookeeper.ssl.keystore.location": "/k.pem",
                "zookeeper.ssl.keystore.password": "hidden",
                "zookeeper.ssl.truststore.location": "/t.pem",
                "zookeeper.ssl.enabled.protocols": "TLSv1.3",
                "zookeeper.ssl.endpoint.identification.algorithm": "",
            }
        )
    )
    assert (secured.session_timeout_ms, secured.connection_timeout_ms, secured.max_in_flight) == (6000, 6000, 3)
    assert (secured.set_acl, secured.digest) == (True, "kafka:secret")
    assert secured.tls == TlsConfig("/k.pem", "hidden", "/t.pem", versions=("TLSv1.3",), checks_host=False)
    assert "secret" not in repr(secured) and "hidden" not in repr(secured)


def test_a_console_needs_only_a_connect_string() -> None:
    assert ZooKeeperConfig.of_connect("one/kafka", connection_timeout_ms=500).connection_timeout_ms == 500
    with pytest.raises(ZooKeeperConfigError, match=r"zookeeper\.connect: 'one:' is no server"):
        ZooKeeperConfig.of_connect("one:")


def test_what_java_keeps_certificates_in_is_refused_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "client.jks").write_bytes(b"\xfe\xed\xfe\xed")
    with pytest.raises(ZooKeeperConfigError, match=r"is not PEM: keytool -exportcert -rfc"):
        TlsConfig(truststore=str(tmp_path / "client.jks")).context()
    with pytest.raises(ZooKeeperConfigError, match=r"is not PEM: openssl pkcs12 -in"):
        TlsConfig(keystore=str(tmp_path / "client.jks")).context()
    with pytest.raises(ZooKeeperConfigError, match=r"truststore\.location: cannot read /nowhere: No such file"):
        TlsConfig(truststore="/nowhere").context()
    (tmp_path / "wrong.pem").write_text("-----BEGIN nothing")
    with pytest.raises(ZooKeeperConfigError, match="holds no certificate in PEM"):
        TlsConfig(truststore=str(tmp_path / "wrong.pem")).context()
    with pytest.raises(ZooKeeperConfigError, match="does not give a certificate and its private key"):
        TlsConfig(keystore=str(tmp_path / "wrong.pem")).context()
    with pytest.raises(ZooKeeperConfigError, match="OpenSSL knows none of TLS_NOTHING"):
        TlsConfig(ciphers=("TLS_NOTHING",)).context()


@pytest.mark.parametrize(
    ("path", "access"),
    [
        ("/brokers/ids/1", Access.READABLE),
        ("/config/topics/orders", Access.READABLE),
        ("/config/users/alice", Access.PRIVATE),
        ("/config/brokers/1", Access.PRIVATE),
        ("/delegation_token/tokens/t", Access.PRIVATE),
        ("/kconsole/metadata", Access.READABLE),
        ("/kconsole/log/00000000000000000007", Access.PRIVATE),
        ("/consumers", Access.OPEN),
        ("/consumers/group", Access.READABLE),
    ],
)
def test_secrets_are_for_who_made_them_and_the_rest_for_all_to_read(path: str, access: Access) -> None:
    assert access_of(path, set_acl=True) is access
    assert access_of(path, set_acl=False) is Access.OPEN


def test_a_silent_server_is_left_in_time_for_others() -> None:
    assert [silence_s(each) for each in (18, 6, 3, 60)] == [3, 2, 2, 10]
    assert silence_s(1.5) == 1


def test_tools_are_shown_the_configs_without_their_secrets() -> None:
    config = BrokerConfig.from_properties({**NODE, "kconsole.zookeeper.digest": "kafka:secret"})
    shown = {
        each.name: each
        for each in ConfigDescriber(config, MetadataImage()).broker(None, synonyms=True, documentation=False)
    }
    assert shown["zookeeper.connect"].value == NODE["zookeeper.connect"]
    assert shown["zookeeper.set.acl"].value == "false"
    assert [each.source for each in shown["zookeeper.set.acl"].synonyms] == [ConfigSource.DEFAULT]
    digest = shown["kconsole.zookeeper.digest"]
    assert digest.value is None and digest.is_sensitive and [each.value for each in digest.synonyms] == [None]


async def test_without_kazoo_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kazoo", None)
    monkeypatch.delitem(sys.modules, "engine.zookeeper.link", raising=False)
    with pytest.raises(ZooKeeperError, match=r"pip install 'kconsole\[zookeeper\]'"):
        await ZooKeeperSession(ZooKeeperConfig.of_connect("one")).connect()


async def test_what_servers_would_cut_the_connection_for_is_not_sent() -> None:
    session = ZooKeeperSession(ZooKeeperConfig.of_connect("one"))
    assert session.state is SessionState.CLOSED
    with pytest.raises(TooLarge, match="multi of 2 operations"):
        session.submit([Create("/a", bytes(0xFFFFF // 2)), SetData("/b", bytes(0xFFFFF // 2))])
    with pytest.raises(TooLarge, match="/a: "):
        await session.set("/a", bytes(0xFFFFF))
