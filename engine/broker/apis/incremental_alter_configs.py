"""IncrementalAlterConfigs (44), versions 0-1: set, delete, append to, subtract from configs (KIP-339).

A broker checks changes of its own configs before the controller hears of them, as only it knows what it can apply.
Levels of loggers (BROKER_LOGGER, KIP-412) are set at once and hold until the process ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.broker.api_spec import ApiSpec
from engine.broker.broker_config_check import check_broker_resource, check_node
from engine.broker.controller_forwarding import answer_or_forward
from engine.broker.logger_levels import alter_logger_levels
from engine.core.controller.config_control import DELETE, SET
from engine.core.controller.image import BROKER_LOGGER_RESOURCE
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.incremental_alter_configs_request import IncrementalAlterConfigsRequest
from engine.wire.messages.incremental_alter_configs_response import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: IncrementalAlterConfigsRequest) -> Message:
    """Refuse what is wrong for this broker, set its loggers' levels; the active controller answers for the rest."""
    if context.is_controller_listener and not any(
        each.resource_type == BROKER_LOGGER_RESOURCE for each in request.resources
    ):
        return await answer_or_forward(context, request)
    node_id = context.broker.config.node_id
    answered: list[AlterConfigsResourceResponse] = []
    left = []
    for resource in request.resources:
        answer = AlterConfigsResourceResponse(0, None, resource.resource_type, resource.resource_name)
        try:
            if resource.resource_type == BROKER_LOGGER_RESOURCE:
                check_node(node_id, resource.resource_name)
                alter_logger_levels(resource.configs, validate_only=request.validate_only)
                answered.append(answer)
                continue
            if not context.is_controller_listener:
                # What is appended to a list is the controller's to check.
                changes = {
                    each.name: each.value if each.config_operation == SET else None
                    for each in resource.configs
                    if each.config_operation in (SET, DELETE)
                }
                check_broker_resource(
                    context.broker.config,
                    context.broker.metadata.image,
                    resource.resource_type,
                    resource.resource_name,
                    changes,
                )
        except KafkaError as error:
            answer.error_code, answer.error_message = int(error.code), error.message
            answered.append(answer)
        else:
            left.append(resource)
    if not left:
        return IncrementalAlterConfigsResponse(responses=answered)
    response: Any = await answer_or_forward(
        context, IncrementalAlterConfigsRequest(resources=left, validate_only=request.validate_only)
    )
    response.responses += answered
    return response  # type: ignore[no-any-return]
