"""Where a cluster's ZooKeeper is, among the properties of a client: by the names that a node's own configs have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.client.security.secret import ClientProperties
from engine.model.configs import parse_all
from engine.model.zookeeper_config import ZOOKEEPER_CONFIGS

if TYPE_CHECKING:
    from engine.zookeeper.config import ZooKeeperConfig

CONNECT = "zookeeper.connect"
# A console holds no ephemeral znodes: how soon its session is given up decides nothing.
_SESSION_TIMEOUT_MS = 10_000


class ZooKeeperOptionsError(Exception):
    """A property is not right; the message says which, and what is."""


def without_zookeeper_properties(properties: Mapping[str, str]) -> ClientProperties:
    """What is left for clients of Kafka."""
    return ClientProperties({name: value for name, value in properties.items() if name not in ZOOKEEPER_CONFIGS})


def zookeeper_config(properties: Mapping[str, str]) -> ZooKeeperConfig | None:
    """From ``zookeeper.connect``, ``zookeeper.ssl.*`` and ``kconsole.zookeeper.digest``; ``None`` without the first.

    Raises:
        ZooKeeperOptionsError: one of them is not what it should be.
    """
    if not properties.get(CONNECT, "").strip():
        return None
    from engine.zookeeper.config import TlsConfig, ZooKeeperConfig, ZooKeeperConfigError

    said = {name: value for name, value in properties.items() if name in ZOOKEEPER_CONFIGS}
    errors: list[str] = []
    usual = {name: key.default and key.parse(key.default) for name, key in ZOOKEEPER_CONFIGS.items()}
    found: dict[str, Any] = {**usual, **parse_all(ZOOKEEPER_CONFIGS, said, errors)}
    digest = found["kconsole.zookeeper.digest"]
    if digest is not None and ":" not in digest:
        errors.append("kconsole.zookeeper.digest is user:password")
    if errors:
        raise ZooKeeperOptionsError("; ".join(errors))
    tls = None
    if found["zookeeper.ssl.client.enable"]:
        tls = TlsConfig(
            found["zookeeper.ssl.keystore.location"],
            found["zookeeper.ssl.keystore.password"],
            found["zookeeper.ssl.truststore.location"],
            found["zookeeper.ssl.protocol"],
            tuple(found["zookeeper.ssl.enabled.protocols"] or ()),
            tuple(found["zookeeper.ssl.cipher.suites"] or ()),
            found["zookeeper.ssl.endpoint.identification.algorithm"].upper() == "HTTPS",
        )
    try:
        return ZooKeeperConfig.of_connect(
            properties[CONNECT], session_timeout_ms=_SESSION_TIMEOUT_MS, digest=digest, tls=tls
        )
    except ZooKeeperConfigError as error:
        raise ZooKeeperOptionsError(str(error)) from None
