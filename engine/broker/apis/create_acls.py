"""CreateAcls (30), versions 1-3: add access control entries (KIP-290 for prefixed patterns).

Without authorizer.class.name refused with SECURITY_DISABLED, as in Kafka.

Not honoured: entries are kept and shown, nothing is refused because of them (docs/decisions/0009).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.create_acls_request import CreateAclsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.CREATE_ACLS, 1, 3, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: CreateAclsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
