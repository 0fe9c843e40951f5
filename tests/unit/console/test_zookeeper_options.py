"""Where ZooKeeper is, from properties of a client, the command line and contexts."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.contexts import ContextError, ContextFile, options_of
from console.gateway.opening import open_gateway
from console.gateway.protocol import GatewayError
from console.gateway.zookeeper_options import (
    ZooKeeperOptionsError,
    without_zookeeper_properties,
    zookeeper_config,
)
from console.options import ConsoleOptions
from engine.client.security.secret import ClientProperties, is_sensitive

TLS = {
    "zookeeper.connect": "a:2181,[::1]:2182/kafka",
    "zookeeper.ssl.client.enable": "true",
    "zookeeper.ssl.truststore.location": "/etc/ca.pem",
    "zookeeper.ssl.endpoint.identification.algorithm": "",
    "kconsole.zookeeper.digest": "me:hush",
    "security.protocol": "PLAINTEXT",
}


def test_what_brokers_have_for_it_is_understood_and_kept_from_clients_of_kafka() -> None:
    config = zookeeper_config(TLS)
    assert config is not None and config.tls is not None
    assert (config.servers, config.chroot, config.digest) == ((("a", 2181), ("::1", 2182)), "/kafka", "me:hush")
    assert (config.tls.truststore, config.tls.checks_host) == ("/etc/ca.pem", False)
    assert dict(without_zookeeper_properties(TLS)) == {"security.protocol": "PLAINTEXT"}
    assert zookeeper_config({"security.protocol": "PLAINTEXT"}) is None
    plain = zookeeper_config({"zookeeper.connect": "a:2181"})
    assert plain is not None and plain.tls is None and plain.digest is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"zookeeper.connect": "a:x"}, "zookeeper.connect"),
        ({"zookeeper.ssl.client.enable": "perhaps"}, "zookeeper.ssl.client.enable"),
        ({"kconsole.zookeeper.digest": "me"}, "user:password"),
    ],
)
def test_what_is_wrong_is_named_without_what_is_secret(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ZooKeeperOptionsError, match=said) as raised:
        zookeeper_config({**TLS, **wrong})
    assert "hush" not in str(raised.value)
    with pytest.raises(GatewayError, match=said):
        open_gateway(ConsoleOptions("h:9092", ClientProperties({**TLS, **wrong})))


def test_a_context_may_name_it_and_its_credentials_by_placeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZK", "me:hush")
    file = ContextFile(tmp_path / "contexts.yaml")
    file.put(
        "old",
        {
            "bootstrap-servers": "h:9092",
            "zookeeper": "zk:2181/kafka",
            "properties": {"kconsole.zookeeper.digest": "${env:ZK}"},
        },
    )
    context = file.read().get("old")
    assert "hush" not in str(context)
    assert is_sensitive("kconsole.zookeeper.digest")
    config = zookeeper_config(options_of(context).command_config)
    assert config is not None and (str(config), config.digest) == ("zk:2181/kafka", "me:hush")
    with pytest.raises(ContextError, match="is for a cluster with bootstrap-servers"):
        file.put("mine", {"data-dir": "/x", "zookeeper": "zk:2181"})
