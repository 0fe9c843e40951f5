"""AssignReplicasToDirs (73), version 0: a broker tells which log directory each of its replicas is in (KIP-858)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.controller_forwarding import answer_as_controller
from engine.wire.apis import ApiKey
from engine.wire.messages.assign_replicas_to_dirs_request import AssignReplicasToDirsRequest

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ASSIGN_REPLICAS_TO_DIRS, 0, 0, listeners=("controller",))


async def handle(context: RequestContext, request: AssignReplicasToDirsRequest) -> Message:
    """Answered by this node's controller if it is the active one, else NOT_CONTROLLER."""
    return await answer_as_controller(context, request)
