"""The TLS context of a client, from PEM (KIP-651), and what TLS's errors mean in terms of Kafka's properties."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable

from engine.client.security.properties import PemSource, SecurityError, SecuritySettings, pem_remedy

ReadFile = Callable[[str], bytes]

# OpenSSL's X509_V_ERR_…: the chain ends at somebody whom nobody here trusts.
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_EXPIRED, _NOT_YET = 10, 9
_WRONG_HOST = {62, 64}


def make_context(settings: SecuritySettings, read: ReadFile) -> ssl.SSLContext | None:
    """The context, or ``None`` where nothing is encrypted. Reads files; call it before anything is connected.

    Raises:
        SecurityError: a file is not there or is not what the property says.
    """
    if not settings.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.checks_host and settings.checks_certificate
    context.verify_mode = ssl.CERT_REQUIRED if settings.checks_certificate else ssl.CERT_NONE
    if settings.trusted is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, settings.trusted, read)
    if settings.certificate is not None:
        _show_certificate(context, settings, settings.certificate, read)
    return context


def _trust(context: ssl.SSLContext, source: PemSource, read: ReadFile) -> None:
    try:
        if source.path and os.path.isdir(source.path):
            context.load_verify_locations(capath=source.path)
            return
        context.load_verify_locations(cadata=_pem(source, read, "truststore").decode("ascii", "replace"))
    except ssl.SSLError:
        raise SecurityError(f"{source.property}{_at(source)} holds no certificate in PEM") from None


def _show_certificate(context: ssl.SSLContext, settings: SecuritySettings, chain: PemSource, read: ReadFile) -> None:
    password = settings.key_password
    both = _pem(chain, read, "keystore") + b"\n"
    if settings.key is not None:
        both += _pem(settings.key, read, "keystore")
    if b"PRIVATE KEY-----" not in both:
        where = f"{chain.property}{_at(chain)}"
        raise SecurityError(f"{where} holds no private key beside its certificate: add it, or set ssl.keystore.key")
    if b"ENCRYPTED" in both and password is None:
        raise SecurityError("the private key is encrypted: set ssl.key.password")
    # OpenSSL takes chains from files alone: one that only this user can read, and only for this moment.
    descriptor, name = tempfile.mkstemp(prefix="kconsole-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(both)
        context.load_cert_chain(name, password=lambda: password.reveal() if password is not None else "")
    except ssl.SSLError as error:
        wrong = settings.key or chain
        if error.reason in ("BAD_DECRYPT", "BAD_PASSWORD_READ") or "PASSWORD" in (error.reason or ""):
            raise SecurityError("ssl.key.password does not open the private key") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SecurityError(f"{wrong.property}: the private key is not that of {chain.property}") from None
        raise SecurityError(f"{chain.property}{_at(chain)}: not a certificate and its key in PEM") from None
    finally:
        os.unlink(name)


def _pem(source: PemSource, read: ReadFile, store: str) -> bytes:
    if source.text is not None:
        data = source.text.reveal().encode()
    else:
        try:
            data = read(source.path)
        except OSError as error:
            raise SecurityError(f"{source.property}: cannot read {source.path}: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        raise SecurityError(f"{source.property}{_at(source)} is not PEM: {pem_remedy(store)}")
    return data


def _at(source: PemSource) -> str:
    return f" ({source.path})" if source.path else ""


def explain(error: BaseException, host: str, port: int) -> str:
    """What a failed handshake means, and what helps."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _UNKNOWN_CA:
            return (
                f"the certificate of {host}:{port} is signed by nobody who is trusted here: "
                f"set ssl.truststore.location (or ssl.ca.location) to its CA's certificate in PEM"
            )
        if code in _WRONG_HOST:
            return (
                f"the certificate of {host}:{port} is not for {host}: connect by a name that stands in it, "
                f"or leave ssl.endpoint.identification.algorithm empty to skip this check"
            )
        if code in (_EXPIRED, _NOT_YET):
            what = "has expired" if code == _EXPIRED else "is not valid yet"
            return f"the certificate of {host}:{port} {what}: it needs a new one (or a clock is wrong)"
        return f"the certificate of {host}:{port} is refused: {error.verify_message}"
    reason = getattr(error, "reason", None) or ""
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason or not isinstance(error, ssl.SSLError):
        return f"{host}:{port} does not answer in TLS: is security.protocol right for that listener?"
    if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            f"{host}:{port} does not accept this client's certificate ({reason.lower()}): "
            f"set ssl.keystore.location to one in PEM, with its key, that its truststore knows"
        )
    return f"{host}:{port} ended TLS: {reason.lower().replace('_', ' ') or error}"
