"""The coordinators' topics, created when their first key is asked for (AutoTopicCreationManager)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.broker.share_coordinator_service import SHARE_STATE_TOPIC
from engine.broker.transaction_coordinator_service import TRANSACTION_TOPIC
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.model.broker_config import BrokerConfig

_CREATE_TIMEOUT_MS = 2_000


async def make_sure_of_topic(broker: Broker, topic: str) -> str | None:
    """Create a coordinator's topic if there is none, and wait until this broker knows its leaders, within bounds; why
    it could not be."""
    if topic in broker.metadata.image.topics_by_name:
        return None
    try:
        await _create(broker, _TOPICS[topic](broker.config))
    except (ClientError, KafkaError, TimeoutError, OSError) as error:
        return f"{topic} could not be created: {error}"
    return None


async def _create(broker: Broker, topic: CreatableTopic) -> None:
    """Raises:
    KafkaError: the controller refused, for instance INVALID_REPLICATION_FACTOR with too few brokers alive.
    ClientError, TimeoutError, OSError: no controller was reached in time.
    """
    request = CreateTopicsRequest(topics=[topic], timeout_ms=_CREATE_TIMEOUT_MS)
    async with asyncio.timeout(_CREATE_TIMEOUT_MS / 1000):
        response = await broker.forward_to_controller(request, 7)
        for result in response.topics:
            code = ErrorCode(result.error_code)
            if code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                raise KafkaError(code, result.error_message or code.name)
        while not broker.metadata.topic_has_leaders(topic.name):
            await broker.metadata.wait_for_change(_CREATE_TIMEOUT_MS)


def _offsets_topic(config: BrokerConfig) -> CreatableTopic:
    return CreatableTopic(
        name=OFFSETS_TOPIC,
        num_partitions=config.offsets_topic_num_partitions,
        replication_factor=config.offsets_topic_replication_factor,
        configs=[
            CreatableTopicConfig(name="cleanup.policy", value="compact"),
            CreatableTopicConfig(name="compression.type", value="producer"),
            CreatableTopicConfig(name="segment.bytes", value=str(config.offsets_topic_segment_bytes)),
        ],
    )


def _transaction_topic(config: BrokerConfig) -> CreatableTopic:
    return CreatableTopic(
        name=TRANSACTION_TOPIC,
        num_partitions=config.transaction_state_log_num_partitions,
        replication_factor=config.transaction_state_log_replication_factor,
        configs=[
            CreatableTopicConfig(name="unclean.leader.election.enable", value="false"),
            CreatableTopicConfig(name="compression.type", value="uncompressed"),
            CreatableTopicConfig(name="cleanup.policy", value="compact"),
            CreatableTopicConfig(name="min.insync.replicas", value=str(config.transaction_state_log_min_isr)),
            CreatableTopicConfig(name="segment.bytes", value=str(config.transaction_state_log_segment_bytes)),
        ],
    )


def _share_state_topic(config: BrokerConfig) -> CreatableTopic:
    return CreatableTopic(
        name=SHARE_STATE_TOPIC,
        num_partitions=config.share_coordinator_state_topic_num_partitions,
        replication_factor=config.share_coordinator_state_topic_replication_factor,
        configs=[
            # Not compacted: updates build on each other. What nobody needs is cut off (...prune.interval.ms).
            CreatableTopicConfig(name="cleanup.policy", value="delete"),
            CreatableTopicConfig(name="retention.ms", value="-1"),
            CreatableTopicConfig(name="compression.type", value="producer"),
            CreatableTopicConfig(name="min.insync.replicas", value=str(config.share_coordinator_state_topic_min_isr)),
            CreatableTopicConfig(name="segment.bytes", value=str(config.share_coordinator_state_topic_segment_bytes)),
        ],
    )


_TOPICS = {
    OFFSETS_TOPIC: _offsets_topic,
    TRANSACTION_TOPIC: _transaction_topic,
    SHARE_STATE_TOPIC: _share_state_topic,
}
