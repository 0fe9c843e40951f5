"""Requests for the active controller, whoever got them first (KIP-590, ForwardingManager).

A broker answers admin requests of its clients by asking the controller, and asks again while the controller moves: a
client of the whole cluster need not know that there is such a thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.broker.client_throttle import throttled
from engine.client.errors import ClientError
from engine.core.controller.error_responses import error_response, is_not_controller
from engine.core.raft.reconfiguration import LEADERSHIP_LOST
from engine.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

_RETRY_MS = 25
_RETRY_MAX_MS = 200
_DEFAULT_TIMEOUT_MS = 30_000
# How long it is waited for a leader of the quorum.
_LEADER_WAIT_MS = 10_000


async def answer_as_controller(context: RequestContext, request: Any) -> Message:
    """The answer of this node's own controller, for APIs of the controller listener."""
    controller = context.broker.controller
    response: Message
    if controller is None:
        response = error_response(request.API_KEY, request, ErrorCode.NOT_CONTROLLER, "This node is not a controller.")
    else:
        response = await controller.handle(request.API_KEY, request, context.api_version, context)
    return response


async def answer_or_forward(context: RequestContext, request: Any) -> Message:
    """The active controller's answer: asked for on a broker's listener, or given on the controller's own.

    Asks again while there is no controller, up to the request's ``timeout_ms``; then the last error is the answer.
    """
    if context.is_controller_listener:
        return await answer_as_controller(context, request)
    broker, version = context.broker, context.api_version
    clock = broker.world.clock
    timeout_ms = getattr(request, "timeout_ms", _DEFAULT_TIMEOUT_MS)
    deadline_ms = clock.monotonic_ms() + timeout_ms
    retry_ms = _RETRY_MS
    while True:
        left_ms = deadline_ms - clock.monotonic_ms()
        response: Any
        try:
            controller = broker.controller
            if controller is not None and controller.is_active:
                response = await controller.handle(request.API_KEY, request, version, context)
            else:
                async with asyncio.timeout(max(0.001, left_ms / 1000)):
                    response = await broker.forward_for(context, request)
        except KafkaError as error:
            response = error_response(request.API_KEY, request, error.code, error.message)
        except TimeoutError:
            message = f"the controller did not answer within {timeout_ms} ms"
            response = error_response(request.API_KEY, request, ErrorCode.REQUEST_TIMED_OUT, message)
        except (ClientError, OSError) as error:
            message = f"no active controller can be reached: {error}"
            response = error_response(request.API_KEY, request, ErrorCode.NOT_CONTROLLER, message)
        if not is_not_controller(response) or clock.monotonic_ms() + retry_ms >= deadline_ms:
            # Whoever was over a quota of the controller's is not heard here.
            return throttled(context, response, getattr(response, "throttle_time_ms", 0))  # type: ignore[no-any-return]
        await asyncio.sleep(retry_ms / 1000)
        retry_ms = min(retry_ms * 2, _RETRY_MAX_MS)


async def ask_quorum_leader(
    context: RequestContext, request: Any, handle: Callable[[Any], Awaitable[Message]]
) -> Message:
    """The answer of the quorum's leader to what is no request for its controller; ``handle`` is this node's own.

    On a broker's listener it is asked for while no leader is known, or the one that is asked does not lead any more and
    has done nothing. What it began and could not end, as it lost the leadership, is not asked for again.
    """
    if context.is_controller_listener:
        return await handle(request)
    broker = context.broker
    clock = broker.world.clock
    deadline_ms = clock.monotonic_ms() + _LEADER_WAIT_MS
    retry_ms = _RETRY_MS
    while True:
        response: Any
        try:
            if broker.quorum.is_leader:
                response = await handle(request)
            else:
                response = await broker.forward_to_controller(request, context.api_version)
        except TimeoutError:
            message = "the leader of the quorum did not answer"
            return error_response(request.API_KEY, request, ErrorCode.REQUEST_TIMED_OUT, message)  # type: ignore[no-any-return]
        except (ClientError, OSError, KafkaError) as error:
            message = f"the leader of the quorum cannot be reached: {error}"
            response = error_response(request.API_KEY, request, ErrorCode.NOT_LEADER_OR_FOLLOWER, message)
        if (
            response.error_code != ErrorCode.NOT_LEADER_OR_FOLLOWER
            or response.error_message == LEADERSHIP_LOST
            or clock.monotonic_ms() + retry_ms >= deadline_ms
        ):
            return response  # type: ignore[no-any-return]
        await asyncio.sleep(retry_ms / 1000)
        retry_ms = min(retry_ms * 2, _RETRY_MAX_MS)
