"""ListConfigResources (74), versions 0-1: what can have configs (KIP-1000, KIP-1142).

Version 0 asks for the subscriptions of clients' metrics alone, version 1 for any kinds of resource, none meaning all:
topics, brokers, brokers' loggers, client metrics, groups with configs of their own. From this node's own metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.image import (
    BROKER_LOGGER_RESOURCE,
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    MetadataImage,
)
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.list_config_resources_request import ListConfigResourcesRequest
from engine.wire.messages.list_config_resources_response import ConfigResource, ListConfigResourcesResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.LIST_CONFIG_RESOURCES, 0, 1)

_KINDS = (GROUP_RESOURCE, CLIENT_METRICS_RESOURCE, BROKER_LOGGER_RESOURCE, BROKER_RESOURCE, TOPIC_RESOURCE)


def handle(context: RequestContext, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    """Resources by kind. A kind that is not known refuses the whole: UNSUPPORTED_VERSION."""
    kinds = (CLIENT_METRICS_RESOURCE,) if context.api_version == 0 else tuple(request.resource_types) or _KINDS
    if any(kind not in _KINDS for kind in kinds):
        return ListConfigResourcesResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    image = context.broker.metadata.image
    return ListConfigResourcesResponse(
        config_resources=[
            ConfigResource(resource_name=name, resource_type=kind)
            for kind in _KINDS
            if kind in kinds
            for name in _names(image, kind)
        ]
    )


def _names(image: MetadataImage, kind: int) -> Iterable[str]:
    if kind == TOPIC_RESOURCE:
        return image.topics_by_name
    if kind in (BROKER_RESOURCE, BROKER_LOGGER_RESOURCE):
        return [str(broker.broker_id) for broker in image.brokers.values() if not broker.fenced]
    return [name for resource_type, name in image.configs if resource_type == kind]
