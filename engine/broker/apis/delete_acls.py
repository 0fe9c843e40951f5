"""DeleteAcls (31), versions 1-3: delete the access control entries that filters take.

Without authorizer.class.name refused with SECURITY_DISABLED, as in Kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_or_forward
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_acls_request import DeleteAclsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.DELETE_ACLS, 1, 3, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: DeleteAclsRequest) -> Message:
    """Answered by the active controller."""
    return await answer_or_forward(context, request)
