"""DescribeConfigs (32), versions 1-4: configs of topics, of this broker, of the cluster's brokers (KIP-226, KIP-569).

Answered from this node's own metadata. Levels of loggers (BROKER_LOGGER, KIP-412) are those of this process.

Not honoured: listeners, listener.security.protocol.map, num.replica.fetchers and compression of groups' records can be
set while a broker runs, as in Kafka, but hold from its next start on; max.connection.creation.rate, metric.reporters
and the numbers of threads are taken and have no effect. All other dynamic broker configs hold at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.broker_config_check import check_node
from engine.broker.config_describer import ConfigDescriber
from engine.broker.logger_levels import logger_levels
from engine.core.controller.config_schema import ConfigSource
from engine.core.controller.image import (
    BROKER_LOGGER_RESOURCE,
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
)
from engine.core.controller.topic_names import check_topic_name
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.describe_configs_response import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_CONFIGS, 1, 4, listeners=("broker", "controller"))


def handle(context: RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """One result a resource; a refusal concerns that resource only."""
    broker = context.broker
    describer = ConfigDescriber(broker.config, broker.metadata.image)
    response = DescribeConfigsResponse()
    for resource in request.resources:
        result = DescribeConfigsResult(
            error_code=0,
            error_message=None,
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
        )
        try:
            result.configs = _describe(context, describer, request, resource)
        except KafkaError as error:
            result.error_code, result.error_message = int(error.code), error.message
        response.results.append(result)
    return response


def _describe(
    context: RequestContext,
    describer: ConfigDescriber,
    request: DescribeConfigsRequest,
    resource: DescribeConfigsResource,
) -> list[DescribeConfigsResourceResult]:
    kind, name, wanted = resource.resource_type, resource.resource_name, resource.configuration_keys
    synonyms, documentation = request.include_synonyms, request.include_documentation
    node_id = context.broker.config.node_id
    if kind == TOPIC_RESOURCE:
        check_topic_name(name)
        if name not in context.broker.metadata.image.topics_by_name:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
        return describer.topic(name, wanted, synonyms=synonyms, documentation=documentation)
    if kind == BROKER_RESOURCE:
        if not name:
            return describer.cluster_default(wanted, synonyms=synonyms, documentation=documentation)
        if not name.isdecimal():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
        if int(name) != node_id:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Unexpected broker id, expected {node_id} or empty string, but received {name}",
            )
        return describer.broker(wanted, synonyms=synonyms, documentation=documentation)
    if kind == GROUP_RESOURCE:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
        return describer.group(name, wanted, synonyms=synonyms, documentation=documentation)
    if kind == CLIENT_METRICS_RESOURCE:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
        return describer.client_metrics(name, wanted, synonyms=synonyms, documentation=documentation)
    if kind == BROKER_LOGGER_RESOURCE:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
        check_node(node_id, name)
        return [
            DescribeConfigsResourceResult(
                name=logger, value=level, config_source=ConfigSource.DYNAMIC_BROKER_LOGGER, config_type=0
            )
            for logger, level in logger_levels().items()
            if not wanted or logger in wanted
        ]
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unsupported resource type: {kind}")
