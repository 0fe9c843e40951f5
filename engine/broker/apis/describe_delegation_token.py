"""DescribeDelegationToken (41), versions 1-3: the tokens of users (KIP-48).

Every listener here is PLAINTEXT, and over PLAINTEXT Kafka gives no tokens either, with delegation.token.secret.key or
without: DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.

Not honoured: tokens themselves; they come with SASL. Those in a metadata log of Kafka's are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_delegation_token_request import DescribeDelegationTokenRequest
from engine.wire.messages.describe_delegation_token_response import DescribeDelegationTokenResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_DELEGATION_TOKEN, 1, 3)


def handle(context: RequestContext, request: DescribeDelegationTokenRequest) -> DescribeDelegationTokenResponse:
    """Always refused."""
    return DescribeDelegationTokenResponse(error_code=int(ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED))
