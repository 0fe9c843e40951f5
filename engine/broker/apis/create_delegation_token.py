"""CreateDelegationToken (38), versions 1-3: a token that stands for a user (KIP-48).

Every listener here is PLAINTEXT, and over PLAINTEXT Kafka gives no tokens either, with delegation.token.secret.key or
without: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.

Not honoured: tokens themselves; they come with SASL. Those in a metadata log of Kafka's are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.create_delegation_token_request import CreateDelegationTokenRequest
from engine.wire.messages.create_delegation_token_response import CreateDelegationTokenResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.CREATE_DELEGATION_TOKEN, 1, 3, listeners=("broker", "controller"))


def handle(context: RequestContext, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    """Always refused."""
    response = CreateDelegationTokenResponse(
        error_code=int(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
        principal_type="User",
        principal_name="ANONYMOUS",
        issue_timestamp_ms=-1,
        expiry_timestamp_ms=-1,
        max_timestamp_ms=-1,
    )
    if context.api_version >= 3:
        response.token_requester_principal_type, response.token_requester_principal_name = "User", "ANONYMOUS"
    return response
