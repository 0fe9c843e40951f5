"""StreamsGroupHeartbeat (88), version 0: threads of Kafka Streams join, stay, get tasks and leave (KIP-1071).

Internal topics that are missing are created through the controller; why one could not be is told in the status. As in
Kafka 4.3 there are no static members, no topics by regular expression, no warm-up tasks, and a topology that the group
has is not replaced. Answered with UNSUPPORTED_VERSION while streams.version is 0 or ``streams`` is not in
group.coordinator.rebalance.protocols. There is no authorizer that refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context, serves_streams_protocol
from engine.core.controller.topic_names import INTERNAL_TOPICS, check_topic_name
from engine.core.group.streams_topics import StreamsStatus
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest, Topology
from engine.wire.messages.streams_group_heartbeat_response import StreamsGroupHeartbeatResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.core.group.streams_heartbeat import StreamsAnswer

API = ApiSpec(ApiKey.STREAMS_GROUP_HEARTBEAT, 0, 0)


async def handle(context: RequestContext, request: StreamsGroupHeartbeatRequest) -> StreamsGroupHeartbeatResponse:
    """Answer one heartbeat."""
    broker = context.broker
    if not serves_streams_protocol(broker.config, broker.metadata.image):
        return StreamsGroupHeartbeatResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION))
    wrong = None if request.topology is None else _what_is_wrong(request.topology)
    if wrong is not None:
        return StreamsGroupHeartbeatResponse(error_code=int(ErrorCode.STREAMS_INVALID_TOPOLOGY), error_message=wrong)
    answer = await broker.groups.streams_group_heartbeat(client_context(context), request)
    if answer.to_create:
        broker.streams_topics.create(answer.to_create, answer.response.heartbeat_interval_ms)
        _tell_errors(answer, broker.streams_topics.errors(answer.to_create))
    return answer.response


def _what_is_wrong(topology: Topology) -> str | None:
    names = {
        name: None
        for each in topology.subtopologies
        for name in (
            *each.source_topics,
            *each.repartition_sink_topics,
            *(topic.name for topic in each.repartition_source_topics),
            *(topic.name for topic in each.state_changelog_topics),
        )
    }
    prohibited = [name for name in names if name in INTERNAL_TOPICS]
    if prohibited:
        return f"Use of Kafka internal topics {','.join(prohibited)} in a Kafka Streams topology is prohibited."
    invalid = [name for name in names if not _is_valid(name)]
    return f"Topic names {','.join(invalid)} are not valid topic names." if invalid else None


def _is_valid(name: str) -> bool:
    try:
        check_topic_name(name)
    except KafkaError:
        return False
    return True


def _tell_errors(answer: StreamsAnswer, errors: dict[str, str]) -> None:
    if not errors:
        return
    told = ", ".join(f"{name} ({why})" for name, why in errors.items())
    for status in answer.response.status or ():
        if status.status_code == StreamsStatus.MISSING_INTERNAL_TOPICS:
            status.status_detail += f"; Creation failed: {told}."
