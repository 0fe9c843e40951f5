"""DescribeAcls (29), versions 1-3: the access control entries that a filter takes, from this node's own metadata.

Without authorizer.class.name refused with SECURITY_DISABLED, as in Kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.access_control import describe_acls
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_acls_request import DescribeAclsRequest
from engine.wire.messages.describe_acls_response import DescribeAclsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_ACLS, 1, 3, listeners=("broker", "controller"))


def handle(context: RequestContext, request: DescribeAclsRequest) -> DescribeAclsResponse:
    """Entries by resource pattern."""
    if not context.broker.config.authorizer_class_name:
        message = "No Authorizer is configured on the broker"
        return DescribeAclsResponse(error_code=int(ErrorCode.SECURITY_DISABLED), error_message=message)
    try:
        return describe_acls(context.broker.metadata.image, request)
    except KafkaError as error:
        return DescribeAclsResponse(error_code=int(error.code), error_message=error.message)
