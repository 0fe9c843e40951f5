"""Delegation tokens: /delegation_token/tokens/<id> (DelegationTokenManagerZk, version 3). Kafka has fields for all."""

from __future__ import annotations

from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields, ZnodeCorrupt, json_bytes
from engine.wire.messages.delegation_token_record import DelegationTokenRecord

_VERSION = 3


def token_path(token_id: str) -> str:
    """Where a token is."""
    return f"{paths.TOKENS}/{paths.sanitized(token_id)}"


def encode_token(token: DelegationTokenRecord) -> bytes:
    """All of a token but its HMAC, which is made of the id and the cluster's secret."""
    return json_bytes(
        {
            "issueTimestamp": token.issue_timestamp,
            "renewers": [paths.sanitized(each) for each in token.renewers],
            "tokenRequester": paths.sanitized(token.requester),
            "tokenId": token.token_id,
            "owner": paths.sanitized(token.owner),
            "expiryTimestamp": token.expiration_timestamp,
            "maxTimestamp": token.max_timestamp,
            "version": _VERSION,
        }
    )


def decode_token(path: str, data: bytes) -> DelegationTokenRecord:
    """The inverse of :func:`encode_token`, of older versions too. Raises: ZnodeCorrupt."""
    fields = JsonFields.parse(path, data)
    version = fields.integer("version")
    if not 1 <= version <= _VERSION:
        fields.corrupt(f"version {version} of a delegation token is not known")
    try:
        owner = paths.desanitized(fields.text("owner"))
        requester = paths.desanitized(fields.text("tokenRequester")) if version >= _VERSION else owner
        renewers = [paths.desanitized(each) for each in fields.texts("renewers")]
    except ValueError as error:
        raise ZnodeCorrupt(path, f"a principal is not UTF-8 ({error})") from None
    return DelegationTokenRecord(
        owner=owner,
        requester=requester,
        renewers=renewers,
        issue_timestamp=fields.long("issueTimestamp"),
        max_timestamp=fields.long("maxTimestamp"),
        expiration_timestamp=fields.long("expiryTimestamp"),
        token_id=fields.text("tokenId"),
    )
