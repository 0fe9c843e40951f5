"""AlterConfigs (33), versions 0-2: replace all configs of a resource. Deprecated in Kafka, still spoken.

A broker checks changes of its own configs before the controller hears of them, as in IncrementalAlterConfigs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.broker.api_spec import ApiSpec
from engine.broker.broker_config_check import check_broker_resource
from engine.broker.controller_forwarding import answer_or_forward
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_configs_request import AlterConfigsRequest
from engine.wire.messages.alter_configs_response import (
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.wire.message import Message

API = ApiSpec(ApiKey.ALTER_CONFIGS, 0, 2, listeners=("broker", "controller"))


async def handle(context: RequestContext, request: AlterConfigsRequest) -> Message:
    """Refuse what is wrong for this broker; the active controller answers for the rest."""
    if context.is_controller_listener:
        return await answer_or_forward(context, request)
    refused: list[AlterConfigsResourceResponse] = []
    left = []
    for resource in request.resources:
        try:
            check_broker_resource(
                context.broker.config,
                context.broker.metadata.image,
                resource.resource_type,
                resource.resource_name,
                {each.name: each.value for each in resource.configs},
            )
        except KafkaError as error:
            refused.append(
                AlterConfigsResourceResponse(
                    error_code=int(error.code),
                    error_message=error.message,
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
            )
        else:
            left.append(resource)
    if not left:
        return AlterConfigsResponse(responses=refused)
    response: Any = await answer_or_forward(
        context, AlterConfigsRequest(resources=left, validate_only=request.validate_only)
    )
    response.responses += refused
    return response  # type: ignore[no-any-return]
