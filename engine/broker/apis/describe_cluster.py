"""DescribeCluster (60), versions 0-2: brokers (or controllers) and the controller's id.

Version 1 adds the endpoint type (KIP-919), version 2 fenced brokers on request (KIP-1073). Authorized operations are
not computed until security exists: the default value says "not asked for".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_cluster_request import DescribeClusterRequest
from engine.wire.messages.describe_cluster_response import DescribeClusterBroker, DescribeClusterResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_CLUSTER, 0, 2, listeners=("broker", "controller"))

_BROKERS, _CONTROLLERS = 1, 2


def handle(context: RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """Answer from the metadata cache (broker listener) or the quorum's voters (controller listener)."""
    broker = context.broker
    wanted = _CONTROLLERS if context.is_controller_listener else _BROKERS
    if request.endpoint_type != wanted:
        known = request.endpoint_type in (_BROKERS, _CONTROLLERS)
        # Version 0 can neither ask for controllers nor be told of them: on their listener it is always refused.
        return DescribeClusterResponse(
            error_code=int(ErrorCode.MISMATCHED_ENDPOINT_TYPE if known else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE),
            error_message=f"endpoint type {request.endpoint_type} is not served on listener {context.listener}",
        )
    response = DescribeClusterResponse(cluster_id=broker.cluster_id, endpoint_type=wanted)
    if context.is_controller_listener:
        leader_id = broker.coordinator.leader_and_epoch.leader_id
        response.controller_id = -1 if leader_id is None else leader_id
        response.brokers = [
            DescribeClusterBroker(broker_id=node_id, host=host, port=port)
            for node_id, host, port in broker.coordinator.controller_nodes()
        ]
        return response
    metadata = broker.metadata
    response.controller_id = metadata.controller_for_clients()
    for each in metadata.brokers_sorted():
        endpoint = each.listeners.get(context.listener)
        if endpoint is None or (each.fenced and not (context.api_version >= 2 and request.include_fenced_brokers)):
            continue
        response.brokers.append(
            DescribeClusterBroker(
                broker_id=each.broker_id,
                host=endpoint.host,
                port=endpoint.port,
                rack=each.rack,
                is_fenced=each.fenced,
            )
        )
    return response
