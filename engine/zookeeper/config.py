"""How to reach ZooKeeper: from a broker's configs, or from a connect string and options."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from engine.model.broker_config import BrokerConfig
from engine.model.zookeeper_config import NOT_PEM, parse_connect
from engine.zookeeper.errors import ZooKeeperError

SESSION_TIMEOUT_MS = 18_000
MAX_IN_FLIGHT = 10


class ZooKeeperConfigError(ZooKeeperError):
    """What was configured cannot be used; the text names it and what helps."""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS to ZooKeeper. Both files are PEM; ``truststore`` None trusts whom the system trusts, no ``keystore`` shows no
    certificate. ``versions`` are those that may be spoken, none: ``oldest`` and later ones."""

    keystore: str | None = None
    keystore_password: str | None = field(default=None, repr=False)
    truststore: str | None = None
    oldest: str = "TLSv1.2"
    versions: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()
    checks_host: bool = True

    def context(self) -> ssl.SSLContext:
        """What connections are made with. Reads the files.

        Raises:
            ZooKeeperConfigError: a file is not there, or not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.checks_host
        spoken = self.versions or (self.oldest,)
        context.minimum_version = min((_VERSIONS[each] for each in spoken), default=ssl.TLSVersion.TLSv1_2)
        if self.versions:
            context.maximum_version = max(_VERSIONS[each] for each in self.versions)
        if self.ciphers:
            try:
                context.set_ciphers(":".join(self.ciphers))
            except ssl.SSLError:
                raise ZooKeeperConfigError(
                    f"zookeeper.ssl.cipher.suites: OpenSSL knows none of {', '.join(self.ciphers)}; "
                    "`openssl ciphers` lists its names"
                ) from None
        if self.truststore is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _check_pem("truststore", self.truststore)
            try:
                context.load_verify_locations(self.truststore)
            except ssl.SSLError:
                raise ZooKeeperConfigError(
                    f"zookeeper.ssl.truststore.location: {self.truststore} holds no certificate in PEM"
                ) from None
        if self.keystore is not None:
            _check_pem("keystore", self.keystore)
            try:
                context.load_cert_chain(self.keystore, password=lambda: self.keystore_password or "")
            except ssl.SSLError as error:
                raise ZooKeeperConfigError(
                    f"zookeeper.ssl.keystore.location: {self.keystore} does not give a certificate and its private key "
                    f"({(error.reason or 'wrong').lower().replace('_', ' ')}): both have to be in it, in PEM, and "
                    "zookeeper.ssl.keystore.password has to open the key"
                ) from None
        return context


_VERSIONS = {"TLS": ssl.TLSVersion.TLSv1_2, "TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def _check_pem(store: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ZooKeeperConfigError(f"zookeeper.ssl.{store}.location: cannot read {path}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise ZooKeeperConfigError(f"zookeeper.ssl.{store}.location: {path} is not PEM: {NOT_PEM[store]}")


@dataclass(frozen=True, slots=True)
class ZooKeeperConfig:
    """Servers, the path below which everything is kept ("" or /path), times in ms, and who we are.

    ``digest`` is user:password. ``set_acl``: znodes are made with Kafka's ACLs (:mod:`engine.zookeeper.acl`).
    """

    servers: tuple[tuple[str, int], ...]
    chroot: str = ""
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    connection_timeout_ms: int = SESSION_TIMEOUT_MS
    max_in_flight: int = MAX_IN_FLIGHT
    digest: str | None = field(default=None, repr=False)
    set_acl: bool = False
    tls: TlsConfig | None = None
    # jute.maxbuffer: what a server takes in one request unless it is told otherwise. It cuts the connections of others.
    largest_request: int = 0xFFFFF

    @classmethod
    def of_connect(
        cls,
        connect: str,
        *,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        connection_timeout_ms: int | None = None,
        digest: str | None = None,
        tls: TlsConfig | None = None,
    ) -> ZooKeeperConfig:
        """From ``host:port,host:port/path``.

        Raises:
            ZooKeeperConfigError: it is none.
        """
        try:
            servers, chroot = parse_connect(connect)
        except ValueError as error:
            raise ZooKeeperConfigError(f"zookeeper.connect: {error}") from None
        return cls(
            servers,
            chroot,
            session_timeout_ms,
            session_timeout_ms if connection_timeout_ms is None else connection_timeout_ms,
            digest=digest,
            tls=tls,
        )

    @classmethod
    def of_broker(cls, config: BrokerConfig) -> ZooKeeperConfig:
        """From the zookeeper.* configs of a node."""
        servers, chroot = parse_connect(config.zookeeper_connect)
        return cls(
            servers,
            chroot,
            config.zookeeper_session_timeout_ms,
            config.zookeeper_connection_timeout_ms,
            config.zookeeper_max_in_flight_requests,
            config.kconsole_zookeeper_digest,
            config.zookeeper_set_acl,
            TlsConfig(
                config.zookeeper_ssl_keystore_location,
                config.zookeeper_ssl_keystore_password,
                config.zookeeper_ssl_truststore_location,
                config.zookeeper_ssl_protocol,
                config.zookeeper_ssl_enabled_protocols or (),
                config.zookeeper_ssl_cipher_suites or (),
                config.zookeeper_ssl_endpoint_identification_algorithm.upper() == "HTTPS",
            )
            if config.zookeeper_ssl_client_enable
            else None,
            config.kconsole_zookeeper_multi_max_bytes,
        )

    def __str__(self) -> str:
        servers = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.servers)
        return ",".join(servers) + self.chroot
