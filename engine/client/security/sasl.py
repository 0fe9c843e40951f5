"""Authentication of a connection: SaslHandshake v1, SaslAuthenticate v2 (KIP-43, KIP-152), again before the session
ends (KIP-368)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.client.errors import AuthenticationFailed
from engine.client.security.properties import SCRAM_HASHES, SaslCredentials
from engine.client.security.scram import ScramClient, ScramError
from engine.model.errors import ErrorCode
from engine.wire.messages.sasl_authenticate_request import SaslAuthenticateRequest
from engine.wire.messages.sasl_handshake_request import SaslHandshakeRequest

if TYPE_CHECKING:
    from engine.wire.message import Message

Send = Callable[["Message"], Awaitable[Any]]

_NONCE_BYTES = 18


async def authenticate(send: Send, credentials: SaslCredentials, nonce: bytes, where: str) -> int:
    """Say who one is. Returns how long that holds, in milliseconds; 0: as long as the connection.

    Args:
        send: sends a request in the highest common version and answers its response.
        nonce: random bytes, never the same.
        where: the broker, for errors.

    Raises:
        AuthenticationFailed: the broker does not take the mechanism or the credentials.
    """
    mechanism = credentials.mechanism
    shaken = await send(SaslHandshakeRequest(mechanism=mechanism))
    if shaken.error_code == ErrorCode.UNSUPPORTED_SASL_MECHANISM:
        theirs = ", ".join(sorted(shaken.mechanisms)) or "none"
        raise AuthenticationFailed(f"{where} does not take sasl.mechanism {mechanism}: it takes {theirs}")
    if shaken.error_code == ErrorCode.ILLEGAL_SASL_STATE:
        raise AuthenticationFailed(f"{where} asks nobody who he is: set security.protocol without SASL for it")
    if shaken.error_code:
        raise AuthenticationFailed(f"{where} refused SaslHandshake: {ErrorCode(shaken.error_code).name}")

    async def exchange(token: bytes) -> Any:
        answer = await send(SaslAuthenticateRequest(auth_bytes=token))
        if answer.error_code:
            why = answer.error_message or ErrorCode(answer.error_code).name
            raise AuthenticationFailed(
                f"{where} refuses user {credentials.username}: {why.rstrip('.')}: "
                f"look at the username and password of sasl.jaas.config (or sasl.username, sasl.password)"
            )
        return answer

    if mechanism == "PLAIN":
        # RFC 4616: no authorization id, then who and the password.
        token = f"\0{credentials.username}\0{credentials.password.reveal()}".encode()
        return int((await exchange(token)).session_lifetime_ms)
    scram = ScramClient(
        SCRAM_HASHES[mechanism],
        credentials.username,
        credentials.password,
        base64.b64encode(nonce).decode().rstrip("="),
        from_token=credentials.from_token,
    )
    try:
        first = await exchange(scram.first())
        last = await exchange(scram.final(first.auth_bytes))
        scram.verify(last.auth_bytes)
    except ScramError as error:
        raise AuthenticationFailed(f"{where}: {mechanism} failed: {error}") from None
    return int(last.session_lifetime_ms)
