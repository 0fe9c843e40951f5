"""RenewDelegationToken (39), versions 1-2: let a token live longer (KIP-48).

Every listener here is PLAINTEXT, and over PLAINTEXT Kafka gives no tokens either, with delegation.token.secret.key or
without: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.

Not honoured: tokens themselves; they come with SASL. Those in a metadata log of Kafka's are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.renew_delegation_token_request import RenewDelegationTokenRequest
from engine.wire.messages.renew_delegation_token_response import RenewDelegationTokenResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.RENEW_DELEGATION_TOKEN, 1, 2, listeners=("broker", "controller"))


def handle(context: RequestContext, request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse:
    """Always refused."""
    return RenewDelegationTokenResponse(
        error_code=int(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED), expiry_timestamp_ms=-1
    )
