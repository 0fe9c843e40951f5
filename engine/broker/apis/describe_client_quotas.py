"""DescribeClientQuotas (48), versions 0-1: quotas of the entities that a filter takes, from this node's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.client_quotas import describe_client_quotas
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_client_quotas_request import DescribeClientQuotasRequest
from engine.wire.messages.describe_client_quotas_response import DescribeClientQuotasResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_CLIENT_QUOTAS, 0, 1)


def handle(context: RequestContext, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    """Components are of user, client-id or ip, each by name, by default, or any that has one."""
    try:
        return describe_client_quotas(context.broker.metadata.image, request)
    except KafkaError as error:
        return DescribeClientQuotasResponse(error_code=int(error.code), error_message=error.message, entries=None)
