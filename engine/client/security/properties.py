"""What a client's properties say of TLS and SASL, by the names of Kafka (SslConfigs, SaslConfigs) and of librdkafka.

Pure: files are named here and read elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from engine.client.security.jaas import JaasError, read_jaas
from engine.client.security.secret import Secret

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SCRAM_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
MECHANISMS = ("PLAIN", *SCRAM_HASHES)
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----\s*", re.DOTALL)


class SecurityError(ValueError):
    """A property is wrong or missing; the message names it and the remedy, and never a secret."""


class PemSource(NamedTuple):
    """PEM, in a file or in the property itself. ``property`` is who said so, for errors."""

    property: str
    path: str = ""
    text: Secret | None = None


class SaslCredentials(NamedTuple):
    """Who one is. ``from_token`` marks a delegation token (KIP-48), which SCRAM speaks of in an extension."""

    mechanism: str
    username: str
    password: Secret
    from_token: bool = False


class SecuritySettings(NamedTuple):
    """All of it. ``tls`` False: nothing of the TLS part counts."""

    protocol: str = "PLAINTEXT"
    trusted: PemSource | None = None
    certificate: PemSource | None = None
    key: PemSource | None = None
    key_password: Secret | None = None
    checks_certificate: bool = True
    checks_host: bool = True
    sasl: SaslCredentials | None = None

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol.endswith("SSL")


def read_security(properties: Mapping[str, str]) -> SecuritySettings:
    """Raises: SecurityError."""
    protocol = properties.get("security.protocol", "PLAINTEXT").strip().upper()
    if protocol not in PROTOCOLS:
        raise SecurityError(f"security.protocol: {protocol!r} is none of {', '.join(PROTOCOLS)}")
    settings = SecuritySettings(protocol)
    if settings.tls:
        settings = _with_tls(settings, properties)
    if protocol.startswith("SASL"):
        settings = settings._replace(sasl=_sasl(properties))
    return settings


def _with_tls(settings: SecuritySettings, properties: Mapping[str, str]) -> SecuritySettings:
    for store in ("truststore", "keystore"):
        kind = properties.get(f"ssl.{store}.type", "PEM").strip().upper()
        if kind != "PEM":
            raise SecurityError(f"ssl.{store}.type: {kind} is a store of Java's: {pem_remedy(store)}, with type PEM")
    algorithm = properties.get("ssl.endpoint.identification.algorithm", "https").strip().lower()
    if algorithm not in ("https", "", "none"):
        raise SecurityError(
            f"ssl.endpoint.identification.algorithm: {algorithm!r} is not known: https, or nothing for no check"
        )
    trusted = _source(properties, "ssl.truststore.certificates", "ssl.ca.pem", inline=True) or _source(
        properties, "ssl.truststore.location", "ssl.ca.location"
    )
    chain = _source(properties, "ssl.keystore.certificate.chain", "ssl.certificate.pem", inline=True) or _source(
        properties, "ssl.keystore.location", "ssl.certificate.location"
    )
    key = _source(properties, "ssl.keystore.key", "ssl.key.pem", inline=True) or _source(properties, "ssl.key.location")
    if key is not None and chain is None:
        raise SecurityError(f"{key.property} needs its certificate: set ssl.keystore.certificate.chain")
    if chain is not None and chain.text is not None and key is None:
        raise SecurityError(f"{chain.property} needs its private key: set ssl.keystore.key")
    password = properties.get("ssl.key.password")
    return settings._replace(
        trusted=trusted,
        certificate=chain,
        key=key,
        key_password=None if not password else Secret(password),
        checks_certificate=properties.get("enable.ssl.certificate.verification", "true").strip().lower() != "false",
        checks_host=algorithm == "https",
    )


def pem_remedy(store: str) -> str:
    """How a store of Java's becomes PEM."""
    if store == "truststore":
        return "keytool -exportcert -rfc writes its certificate as PEM: set ssl.truststore.location to that file"
    return "openssl pkcs12 -in client.p12 -out client.pem writes both as PEM: set ssl.keystore.location to that file"


def _source(properties: Mapping[str, str], *names: str, inline: bool = False) -> PemSource | None:
    for name in names:
        value = properties.get(name, "").strip()
        if value and not (name == "ssl.ca.location" and value == "probe"):
            return PemSource(name, text=Secret(rewrapped(value))) if inline else PemSource(name, path=value)
    return None


def rewrapped(pem: str) -> str:
    """PEM with the line ends that OpenSSL wants: a property often has it in one line, which Kafka reads as well."""

    def block(found: re.Match[str]) -> str:
        kind, body = found[1], found[2]
        if ":" in body:
            # Headers of an encrypted key of the old form: their lines mean something.
            return found[0].rstrip() + "\n"
        packed = "".join(body.split())
        lines = "\n".join(packed[at : at + 64] for at in range(0, len(packed), 64))
        return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"

    return _BLOCK.sub(block, pem)


def _sasl(properties: Mapping[str, str]) -> SaslCredentials:
    mechanism = (properties.get("sasl.mechanism") or properties.get("sasl.mechanisms") or "GSSAPI").strip().upper()
    if mechanism not in MECHANISMS:
        said = "not set" if "sasl.mechanism" not in properties and "sasl.mechanisms" not in properties else mechanism
        raise SecurityError(f"sasl.mechanism: {said}; kconsole speaks {', '.join(MECHANISMS)}: set one of these")
    username, password, token = properties.get("sasl.username"), properties.get("sasl.password"), False
    written = properties.get("sasl.jaas.config")
    if written is not None:
        try:
            entry = read_jaas(written)
        except JaasError as error:
            raise SecurityError(f"sasl.jaas.config does not parse: {error}") from None
        wanted = "PlainLoginModule" if mechanism == "PLAIN" else "ScramLoginModule"
        if not entry.login_module.endswith(wanted):
            raise SecurityError(f"sasl.jaas.config: sasl.mechanism {mechanism} needs {wanted}, not the one named")
        username = entry.options.get("username", username)
        password = entry.options.get("password", password)
        token = entry.options.get("tokenauth", "false").lower() == "true"
    if not username or password is None:
        missing = "username" if not username else "password"
        raise SecurityError(f"sasl.mechanism {mechanism} needs a {missing}: set sasl.jaas.config or sasl.{missing}")
    return SaslCredentials(mechanism, username, Secret(password), token)
