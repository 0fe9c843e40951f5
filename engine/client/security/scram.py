"""The client's side of SCRAM (RFC 5802, RFC 7677) as Kafka's ScramSaslClient speaks it. Pure.

Kafka prepares neither names nor passwords (no SASLprep): both are their UTF-8 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache

from engine.client.security.secret import Secret

# ScramMechanism's own least; the most is ours: a server that asks for more only wants to keep us busy.
_MIN_ITERATIONS, _MAX_ITERATIONS = 4_096, 2_000_000


class ScramError(Exception):
    """The server does not keep to SCRAM, does not know the password, or refused."""


@lru_cache(maxsize=64)
def _salted(hash_name: str, password: Secret, salt: bytes, iterations: int) -> bytes:
    # A cluster has one salt a user: all brokers' connections share this, the only slow step.
    return hashlib.pbkdf2_hmac(hash_name, password.reveal().encode(), salt, iterations)


class ScramClient:
    """One exchange: :meth:`first`, then :meth:`final` with the server's first, then :meth:`verify` with its final."""

    def __init__(self, hash_name: str, username: str, password: Secret, nonce: str, *, from_token: bool) -> None:
        """``nonce`` is printable and random; ``hash_name`` is hashlib's."""
        self._hash = hash_name
        self._password = password
        self._nonce = nonce
        name = username.replace("=", "=3D").replace(",", "=2C")
        extensions = ",tokenauth=true" if from_token else ""
        self._first_bare = f"n={name},r={nonce}{extensions}"
        self._server_signature = b""

    def first(self) -> bytes:
        """client-first-message."""
        return f"n,,{self._first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """client-final-message. Raises: ScramError."""
        said = server_first.decode("utf-8", "replace")
        parts = _attributes(said)
        if "e" in parts:
            raise ScramError(parts["e"])
        nonce, iterations = parts.get("r", ""), parts.get("i", "")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramError("the server's nonce does not continue ours")
        if not iterations.isdigit() or not _MIN_ITERATIONS <= int(iterations) <= _MAX_ITERATIONS:
            raise ScramError(f"{iterations or 'no'} iterations are outside {_MIN_ITERATIONS} to {_MAX_ITERATIONS}")
        try:
            salt = base64.b64decode(parts.get("s", ""), validate=True)
        except binascii.Error:
            raise ScramError("the server's salt is not base64") from None
        salted = _salted(self._hash, self._password, salt, int(iterations))
        client_key = self._hmac(salted, b"Client Key")
        # biws: the GS2 header n,, in base64.
        without_proof = f"c=biws,r={nonce}"
        message = f"{self._first_bare},{said},{without_proof}".encode()
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> None:
        """The server knows the password as well. Raises: ScramError."""
        parts = _attributes(server_final.decode("utf-8", "replace"))
        if "e" in parts:
            raise ScramError(parts["e"])
        expected = base64.b64encode(self._server_signature).decode()
        if not self._server_signature or not hmac.compare_digest(parts.get("v", "").encode(), expected.encode()):
            raise ScramError("the server's signature is wrong: it does not know the password")

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)


def _attributes(message: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in message.split(",") if part[1:2] == "="}
