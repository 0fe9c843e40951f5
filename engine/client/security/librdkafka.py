"""The same settings for librdkafka, which has some names of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.client.security.properties import PemSource, read_security

# What is said by other names below, or means nothing to librdkafka (Java's classes and stores).
_OURS = ("security.protocol", "sasl.", "ssl.", "enable.ssl.certificate.verification")


def librdkafka_security(properties: Mapping[str, str]) -> dict[str, str]:
    """Security of ``properties`` (Kafka's names) as librdkafka's; never print it.

    Raises:
        SecurityError: a property is wrong or missing.
    """
    settings = read_security(properties)
    if settings.protocol == "PLAINTEXT":
        return {}
    found = {"security.protocol": settings.protocol.lower()}
    if settings.tls:
        found["ssl.endpoint.identification.algorithm"] = "https" if settings.checks_host else "none"
        found["enable.ssl.certificate.verification"] = str(settings.checks_certificate).lower()
        found |= _pem("ssl.ca", settings.trusted)
        found |= _pem("ssl.certificate", settings.certificate)
        # Kafka's PEM store has the key in the file of its certificate.
        found |= _pem("ssl.key", settings.key or settings.certificate)
        if settings.key_password is not None:
            found["ssl.key.password"] = settings.key_password.reveal()
    if settings.sasl is not None:
        found["sasl.mechanism"] = settings.sasl.mechanism
        found["sasl.username"] = settings.sasl.username
        found["sasl.password"] = settings.sasl.password.reveal()
    return found


def without_security(properties: Mapping[str, str]) -> dict[str, str]:
    """All that is not about security."""
    return {name: value for name, value in properties.items() if not name.startswith(_OURS)}


def _pem(prefix: str, source: PemSource | None) -> dict[str, str]:
    if source is None:
        return {}
    if source.text is not None:
        return {f"{prefix}.pem": source.text.reveal()}
    return {f"{prefix}.location": source.path}
