"""Requests of one worker to another, signed with the key that all of the group read in the config topic (KIP-507)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from engine.connect.runtime.herder import BadRequest, RequestRefused

SIGNATURE = "X-Connect-Authorization"
ALGORITHM = "X-Connect-Request-Signature-Algorithm"
_HASHES = {
    "HmacSHA1": hashlib.sha1,
    "HmacSHA224": hashlib.sha224,
    "HmacSHA256": hashlib.sha256,
    "HmacSHA384": hashlib.sha384,
    "HmacSHA512": hashlib.sha512,
}
_MISSING = "Internal request missing required signature"


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """What came with a request (``InternalRequestSignature``); ``body`` is what it signs."""

    body: bytes
    algorithm: str
    signature: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str], body: bytes) -> RequestSignature | None:
        """The one that headers carry, or None.

        Raises:
            BadRequest: it cannot be one.
        """
        algorithm, encoded = headers.get(ALGORITHM), headers.get(SIGNATURE)
        if algorithm is None or encoded is None:
            return None
        if algorithm not in _HASHES:
            raise BadRequest(f"Algorithm {algorithm} not available")
        try:
            return cls(body, algorithm, base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError):
            raise BadRequest(f"The {SIGNATURE} header is not base64") from None


def signed(key: bytes, body: bytes, algorithm: str = "HmacSHA256") -> dict[str, str]:
    """The headers that sign a request's body."""
    made = hmac.new(key, body, _HASHES[algorithm]).digest()
    return {SIGNATURE: base64.b64encode(made).decode(), ALGORITHM: algorithm}


def check_signature(signature: RequestSignature | None, key: bytes | None, algorithms: Collection[str]) -> None:
    """Let through what a worker of the group has signed.

    Args:
        key: the session key; None as long as it has not been read.
        algorithms: ``inter.worker.verification.algorithms``.

    Raises:
        BadRequest: there is no signature, or one of another algorithm.
        RequestRefused: it is wrong (403), or nobody can tell yet (503).
    """
    if signature is None:
        raise BadRequest(_MISSING)
    if signature.algorithm not in algorithms:
        raise BadRequest(
            f"This worker does not support the '{signature.algorithm}' key signing algorithm used by other workers. "
            f"This worker is currently configured to use: [{', '.join(algorithms)}]. Check that all workers' "
            "configuration files permit the same set of signature algorithms, and correct any misconfigured worker "
            "and restart it."
        )
    if key is None:
        raise RequestRefused(503, "This worker is still starting up and has not been able to read a session key yet")
    made = hmac.new(key, signature.body, _HASHES[signature.algorithm]).digest()
    if not hmac.compare_digest(made, signature.signature):
        raise RequestRefused(403, "Internal request contained invalid signature.")
