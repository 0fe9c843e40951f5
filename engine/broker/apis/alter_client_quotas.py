"""AlterClientQuotas (49), versions 0-1: set and remove quotas of users, clients and addresses (KIP-546).

Each entity as a whole or not at all; ``validate_only`` changes nothing. The quotas are Kafka's records in the metadata.

producer_byte_rate and consumer_byte_rate hold (KIP-219), and request_percentage (KIP-124: here one thread does all, and
100 is all of it), for each broker alone as in Kafka; controller_mutation_rate at the controller (KIP-599); by address,
connection_creation_rate (KIP-612).

Not honoured: quotas of named users: all are User:ANONYMOUS until security exists. An ip is an address, no name to be
resolved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_client_quotas_request import AlterClientQuotasRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALTER_CLIENT_QUOTAS, 0, 1, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: AlterClientQuotasRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
