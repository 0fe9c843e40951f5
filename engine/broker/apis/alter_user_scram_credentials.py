"""AlterUserScramCredentials (51), version 0: set and delete SCRAM credentials of users (KIP-554).

What is kept is what Kafka keeps: salt, iterations and the two keys, no password.

Not honoured: nobody logs in with them until SASL exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_user_scram_credentials_request import AlterUserScramCredentialsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALTER_USER_SCRAM_CREDENTIALS, 0, 0, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: AlterUserScramCredentialsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
