"""FindCoordinator (10), versions 0-6: which broker coordinates a group, a transactional id or a share partition.

Version 1 adds the key type, version 4 asks for many keys at once (KIP-699), version 6 the key type of share groups.
The coordinator's topic is created through the controller on the first question (AutoTopicCreationManager); the answer
waits for its leaders, within bounds, so that a first client starts without a round of retries.

Keys of share groups are ``group:topic id:partition``: each share partition has a coordinator of its own. They are
refused with INVALID_REQUEST before version 6, for a key of another form, and while share.version is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.coordinator_topic_creation import make_sure_of_topic
from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.broker.share_coordinator_service import SHARE_STATE_TOPIC
from engine.broker.share_group_service import serves_share_groups
from engine.broker.transaction_coordinator_service import TRANSACTION_TOPIC
from engine.model.errors import ErrorCode
from engine.model.ids import uuid_from_str
from engine.wire.apis import ApiKey
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.find_coordinator_response import Coordinator, FindCoordinatorResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.FIND_COORDINATOR, 0, 6)

_GROUP, _TRANSACTION, _SHARE = 0, 1, 2
_TOPICS = {_GROUP: OFFSETS_TOPIC, _TRANSACTION: TRANSACTION_TOPIC, _SHARE: SHARE_STATE_TOPIC}
_FIRST_VERSION_WITH_SHARE = 6
_FIRST_BATCHED_VERSION = 4


async def handle(context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Answer each key; an error of one key does not touch the others."""
    topic = _TOPICS.get(request.key_type)
    if request.key_type == _SHARE and (
        context.api_version < _FIRST_VERSION_WITH_SHARE or not serves_share_groups(context.broker.metadata.image)
    ):
        topic = None
    problem = None if topic is None else await make_sure_of_topic(context.broker, topic)
    if context.api_version >= _FIRST_BATCHED_VERSION:
        answers = [_find(context, request.key_type, key, topic, problem) for key in request.coordinator_keys]
        return FindCoordinatorResponse(coordinators=answers)
    answer = _find(context, request.key_type, request.key, topic, problem)
    return FindCoordinatorResponse(
        error_code=answer.error_code,
        error_message=answer.error_message,
        node_id=answer.node_id,
        host=answer.host,
        port=answer.port,
    )


def _find(context: RequestContext, key_type: int, key: str, name: str | None, problem: str | None) -> Coordinator:
    if name is None:
        return _refused(key, ErrorCode.INVALID_REQUEST, f"coordinators of key type {key_type} are not supported")
    if key_type == _SHARE and not _is_share_key(key):
        return _refused(key, ErrorCode.INVALID_REQUEST, f"{key!r} is not a group id, a topic id and a partition")
    broker = context.broker
    topic = broker.metadata.image.topics_by_name.get(name)
    if topic is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, problem or f"{name} is being created")
    number = {
        _GROUP: broker.groups.partition_for,
        _TRANSACTION: broker.transactions.partition_for,
        _SHARE: broker.sharing.coordinator.partition_for,
    }[key_type](key)
    leader = topic.partitions[number].leader
    leader_image = broker.metadata.image.brokers.get(leader)
    endpoint = None if leader_image is None else leader_image.listeners.get(context.listener)
    if leader_image is None or leader_image.fenced or endpoint is None:
        return _refused(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{name}-{number} has no leader")
    return Coordinator(key=key, node_id=leader, host=endpoint.host, port=endpoint.port)


def _is_share_key(key: str) -> bool:
    group_id, _, rest = key.partition(":")
    topic_id, _, partition = rest.partition(":")
    try:
        uuid_from_str(topic_id)
    except ValueError:
        return False
    return bool(group_id.strip()) and partition.isascii() and partition.isdigit()


def _refused(key: str, error: ErrorCode, message: str) -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=int(error), error_message=message)
