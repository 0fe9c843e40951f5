"""Configs of a node that ZooKeeper coordinates: those of Kafka 3.9 (ZkConfigs), which 4.x has no more, and our own.

They are known only where zookeeper.connect is set; elsewhere they are what they are to Kafka 4.x, unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model.configs import ConfigKey, parse_table

TABLE = """
zookeeper.connect string ! * read-only high
    ZooKeeper's servers, host:port each, and after the last one the path (chroot) below which everything is kept.
zookeeper.session.timeout.ms int 18000 * read-only high
    How long ZooKeeper hears nothing of a broker until it is gone.
zookeeper.connection.timeout.ms int - * read-only high
    How long a broker that starts tries to reach ZooKeeper; null means zookeeper.session.timeout.ms.
zookeeper.max.in.flight.requests int 10 1.. read-only high
    Requests that may be unanswered on the connection to ZooKeeper.
zookeeper.set.acl boolean false * read-only high
    Only who made a znode may change it; secrets are not readable to others either.
zookeeper.ssl.client.enable boolean false * read-only medium
    The connection to ZooKeeper uses TLS.
zookeeper.clientCnxnSocket string - * read-only medium
    The Java class that Kafka connects with; kept for Kafka.
zookeeper.ssl.keystore.location string - * read-only medium
    File with the certificate and the private key to show to ZooKeeper, in PEM.
zookeeper.ssl.keystore.password password - * read-only medium
    Opens the private key if it is encrypted.
zookeeper.ssl.keystore.type string - * read-only medium
    Format of that file: PEM, or null to see by its content.
zookeeper.ssl.truststore.location string - * read-only medium
    File with the certificates of those who may sign ZooKeeper's, in PEM; null means those that the system trusts.
zookeeper.ssl.truststore.password password - * read-only medium
    Kept for Kafka; certificates in PEM have no password.
zookeeper.ssl.truststore.type string - * read-only medium
    Format of that file: PEM, or null to see by its content.
zookeeper.ssl.protocol string TLSv1.2 * read-only low
    The oldest TLS to speak with ZooKeeper: TLSv1.2 or TLSv1.3.
zookeeper.ssl.enabled.protocols list - * read-only low
    The versions of TLS that may be spoken; null means zookeeper.ssl.protocol and later ones.
zookeeper.ssl.cipher.suites list - * read-only low
    The ciphers that TLSv1.2 may use, by OpenSSL's names; null means OpenSSL's choice.
zookeeper.ssl.endpoint.identification.algorithm string HTTPS * read-only low
    HTTPS: the certificate must be for the host that was connected to; empty: it need not be.
zookeeper.ssl.crl.enable boolean false * read-only low
    Kafka asks whether a certificate was revoked; not supported here.
zookeeper.ssl.ocsp.enable boolean false * read-only low
    Kafka asks a server whether a certificate was revoked; not supported here.
control.plane.listener.name string - * read-only high
    The listener on which the controller answers, as Kafka 3.9 names it; controller.listener.names is taken as well.
# kconsole's own: Kafka has no such configs
kconsole.zookeeper.digest password - * read-only medium
    user:password with which to authenticate to ZooKeeper, for the ACLs of scheme digest.
kconsole.zookeeper.multi.max.bytes int 1048575 1024.. read-only medium
    So many bytes are written to ZooKeeper at once at most: jute.maxbuffer of its servers.
offsets.storage string kafka kafka|zookeeper read-only medium
    Where committed offsets are kept: in __consumer_offsets, or in ZooKeeper as before Kafka 0.9.
"""

ZOOKEEPER_CONFIGS: dict[str, ConfigKey] = parse_table(TABLE, has_update_mode=True)

# Configs of a quorum; beside zookeeper.connect they contradict it.
_OF_A_QUORUM = ("process.roles", "controller.quorum.voters", "controller.quorum.bootstrap.servers")

# How what Java keeps its certificates in becomes what OpenSSL reads.
_CONTROL_PLANE = "control.plane.listener.name"
NOT_PEM = {
    "keystore": "openssl pkcs12 -in client.p12 -out client.pem writes certificate and key as PEM",
    "truststore": "keytool -exportcert -rfc writes a certificate as PEM",
}


class ZooKeeperConfigs:
    """Typed values of :data:`ZOOKEEPER_CONFIGS`, by attribute; there only where ``coordination`` is zookeeper."""

    # what coordinates the cluster: quorum (KRaft) or zookeeper
    coordination: str
    control_plane_listener_name: str | None
    offsets_storage: str
    zookeeper_connect: str
    zookeeper_session_timeout_ms: int
    zookeeper_connection_timeout_ms: int
    zookeeper_max_in_flight_requests: int
    zookeeper_set_acl: bool
    zookeeper_ssl_client_enable: bool
    zookeeper_clientCnxnSocket: str | None
    zookeeper_ssl_keystore_location: str | None
    zookeeper_ssl_keystore_password: str | None
    zookeeper_ssl_keystore_type: str | None
    zookeeper_ssl_truststore_location: str | None
    zookeeper_ssl_truststore_password: str | None
    zookeeper_ssl_truststore_type: str | None
    zookeeper_ssl_protocol: str
    zookeeper_ssl_enabled_protocols: tuple[str, ...] | None
    zookeeper_ssl_cipher_suites: tuple[str, ...] | None
    zookeeper_ssl_endpoint_identification_algorithm: str
    zookeeper_ssl_crl_enable: bool
    zookeeper_ssl_ocsp_enable: bool
    kconsole_zookeeper_digest: str | None
    kconsole_zookeeper_multi_max_bytes: int


def coordinated(texts: dict[str, str], errors: list[str]) -> tuple[dict[str, ConfigKey], dict[str, str]]:
    """The configs that a file may have besides, and what it says: with zookeeper.connect the node has both roles."""
    if not texts.get("zookeeper.connect", "").strip():
        return {}, texts
    for name in _OF_A_QUORUM:
        if texts.get(name, "").strip():
            errors.append(
                f"{name} and zookeeper.connect are both set: a cluster is coordinated by its own quorum or by "
                f"ZooKeeper. Leave out {name} for ZooKeeper, or zookeeper.connect for the quorum"
            )
    said = {name: text for name, text in texts.items() if name not in _OF_A_QUORUM}
    ours, theirs = (texts.get(name, "").strip() for name in ("controller.listener.names", _CONTROL_PLANE))
    if ours and theirs and ours.upper() != theirs.upper():
        errors.append(
            f"controller.listener.names={ours} and {_CONTROL_PLANE}={theirs} are two names for one thing: leave out "
            "the first, which Apache Kafka 3.9 refuses beside zookeeper.connect"
        )
    said["controller.listener.names"] = ours or theirs
    return ZOOKEEPER_CONFIGS, {**said, "process.roles": "broker,controller"}


def check_coordination(
    texts: Mapping[str, str], attributes: dict[str, Any], wrong: set[str], errors: list[str]
) -> None:
    """What coordinates, and the rules between ZooKeeper's configs; sets those that follow from others."""
    if "zookeeper_connect" in attributes:
        attributes["coordination"] = "zookeeper"
        if not wrong & ZOOKEEPER_CONFIGS.keys():
            _check_zookeeper(attributes, errors)
        return
    attributes["coordination"] = "quorum"
    attributes["offsets_storage"] = "kafka"
    if texts.get("offsets.storage", "kafka") != "kafka":
        errors.append(
            f"offsets.storage={texts['offsets.storage']}: without zookeeper.connect offsets are kept in Kafka; set "
            "zookeeper.connect, or leave out offsets.storage"
        )


def _check_zookeeper(attributes: dict[str, Any], errors: list[str]) -> None:
    if attributes["zookeeper_connection_timeout_ms"] is None:
        attributes["zookeeper_connection_timeout_ms"] = attributes["zookeeper_session_timeout_ms"]
    for name in ("session", "connection"):
        if attributes[f"zookeeper_{name}_timeout_ms"] <= 0:
            errors.append(f"zookeeper.{name}.timeout.ms must be more than 0")
    try:
        parse_connect(attributes["zookeeper_connect"])
    except ValueError as error:
        errors.append(f"zookeeper.connect: {error}")
    digest = attributes["kconsole_zookeeper_digest"]
    if digest is not None and not all(digest.partition(":")):
        errors.append("kconsole.zookeeper.digest must be user:password")
    tls, certificate = attributes["zookeeper_ssl_client_enable"], attributes["zookeeper_ssl_keystore_location"]
    if attributes["zookeeper_set_acl"] and digest is None and not (tls and certificate):
        errors.append(
            "zookeeper.set.acl=true, but nothing says who this broker is: set kconsole.zookeeper.digest, or "
            "zookeeper.ssl.client.enable and zookeeper.ssl.keystore.location"
        )
    for store, remedy in NOT_PEM.items():
        kind = attributes[f"zookeeper_ssl_{store}_type"]
        if kind and kind.upper() != "PEM":
            errors.append(f"zookeeper.ssl.{store}.type={kind} needs Java: {remedy}; then set it to PEM")
    for name in ("crl", "ocsp"):
        if attributes[f"zookeeper_ssl_{name}_enable"]:
            errors.append(f"zookeeper.ssl.{name}.enable is not supported here: leave it out")
    for version in (attributes["zookeeper_ssl_protocol"], *(attributes["zookeeper_ssl_enabled_protocols"] or ())):
        if version not in ("TLS", "TLSv1.2", "TLSv1.3"):
            errors.append(
                f"zookeeper.ssl.protocol, zookeeper.ssl.enabled.protocols: {version} is none of TLSv1.2, TLSv1.3"
            )


def parse_connect(connect: str) -> tuple[tuple[tuple[str, int], ...], str]:
    """Servers and chroot of a connect string: ``host:port,host:port/path``. No port is 2181, no path is "".

    Raises:
        ValueError: it is none; the text says what is wrong.
    """
    servers_text, slash, path = connect.strip().partition("/")
    chroot = (slash + path).rstrip("/")
    if "//" in chroot or "," in chroot or any(part in (".", "..") for part in chroot.split("/")):
        raise ValueError(
            f"{chroot} is no path for a chroot; it stands once, after the last server: host:port,host:port/path"
        )
    servers = []
    for each in servers_text.split(","):
        text = each.strip()
        host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
        if not colon:
            host, port = text, "2181"
        host = host.removeprefix("[").removesuffix("]")
        if not host or any(blank in host for blank in " \t") or not (port.isascii() and port.isdecimal()):
            raise ValueError(f"{text!r} is no server; give host:port of each, between commas")
        if not 0 < int(port) < 65536:
            raise ValueError(f"{text}: a port is between 1 and 65535")
        servers.append((host, int(port)))
    return tuple(servers), chroot
