"""ApiVersions (18), versions 0-4: what this listener answers, and the features of the cluster.

Version 3 and later are flexible, yet their response header stays version 0 so that a client that guessed too high can
parse it (KIP-511). Exactly the implemented APIs are advertised, with one exception that Kafka makes too: Produce is
advertised from version 0 because librdkafka takes its absence for a broker without compression (KAFKA-18659); versions
0-2 are refused all the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.api_versions_response import (
    ApiVersion,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.router import Router

API = ApiSpec(ApiKey.API_VERSIONS, 0, 4, listeners=("broker", "controller"))

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def _advertised(router: Router, is_controller_listener: bool) -> list[ApiVersion]:
    return [
        ApiVersion(
            api_key=int(spec.key),
            min_version=0 if spec.key is ApiKey.PRODUCE else spec.min_version,
            max_version=spec.max_version,
        )
        for spec in router.advertised(is_controller_listener)
    ]


def unsupported_version(router: Router) -> ApiVersionsResponse:
    """The version 0 answer to a request in a version that is not known here."""
    return ApiVersionsResponse(
        error_code=int(ErrorCode.UNSUPPORTED_VERSION),
        api_keys=[ApiVersion(api_key=int(API.key), min_version=API.min_version, max_version=API.max_version)],
    )


def handle(context: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """Answer with the advertised APIs; remembers the client's software for the console."""
    broker = context.broker
    if context.api_version >= 3:
        name, version = request.client_software_name, request.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return ApiVersionsResponse(error_code=int(ErrorCode.INVALID_REQUEST))
        context.connection.client_software = (name, version)
    supported, finalized, epoch = broker.features()
    # Versions before 4 cannot say a minimum of 0 (KAFKA-17011): such features are left out there.
    if context.api_version < 4:
        supported = [feature for feature in supported if feature[1] > 0]
    return ApiVersionsResponse(
        api_keys=_advertised(broker.router, context.is_controller_listener),
        supported_features=[
            SupportedFeatureKey(name=n, min_version=low, max_version=high) for n, low, high in supported
        ],
        finalized_features_epoch=epoch,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in finalized
        ],
    )
