"""DescribeUserScramCredentials (50), version 0: which users have which SCRAM credentials (KIP-554).

Mechanisms and iterations only: salts and keys never leave the metadata. From this node's own metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.scram_credentials import describe_scram_credentials
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_user_scram_credentials_request import DescribeUserScramCredentialsRequest
from engine.wire.messages.describe_user_scram_credentials_response import DescribeUserScramCredentialsResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0)


def handle(
    context: RequestContext, request: DescribeUserScramCredentialsRequest
) -> DescribeUserScramCredentialsResponse:
    """The users asked for, or all (null and the empty list)."""
    return describe_scram_credentials(context.broker.metadata.image, request)
