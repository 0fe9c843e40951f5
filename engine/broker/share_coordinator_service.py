"""The broker's door to its share coordinator (Kafka: ShareCoordinatorService).

Finds the partition of ``__share_group_state`` that coordinates a share partition, hands the request to its shard, and
cuts the log where the shard needs it no more. Requests name many share partitions; each is answered by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.broker.coordinator_log import CoordinatorLogs
from engine.broker.coordinator_records import CoordinatorRecordCodec
from engine.broker.coordinator_runtime import CoordinatorRuntime
from engine.broker.coordinator_topic import CoordinatorTopic
from engine.core.effects import Effects
from engine.core.now import Now
from engine.core.share.records import LogToPrune, SharePartitionKey, ShareState, batches_of
from engine.core.share.shard import ShareCoordinatorLimits, ShareCoordinatorShard, WrittenState
from engine.model.errors import KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Note
from engine.wire.messages import (
    delete_share_group_state_response as deleted,
)
from engine.wire.messages import (
    initialize_share_group_state_response as initialized,
)
from engine.wire.messages import (
    read_share_group_state_response as read,
)
from engine.wire.messages import (
    read_share_group_state_summary_response as summarized,
)
from engine.wire.messages import (
    write_share_group_state_response as written,
)
from engine.wire.messages.delete_share_group_state_request import DeleteShareGroupStateRequest
from engine.wire.messages.initialize_share_group_state_request import InitializeShareGroupStateRequest
from engine.wire.messages.read_share_group_state_request import ReadShareGroupStateRequest
from engine.wire.messages.read_share_group_state_summary_request import ReadShareGroupStateSummaryRequest
from engine.wire.messages.write_share_group_state_request import WriteShareGroupStateRequest
from engine.world import World

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.model.broker_config import BrokerConfig

log = logging.getLogger(__name__)

SHARE_STATE_TOPIC = "__share_group_state"


class ShareCoordinatorService:
    """Share partitions that this broker coordinates. Subscribe :meth:`on_metadata` behind the replica manager."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        metadata: MetadataCache,
        logs: CoordinatorLogs,
        prune: Callable[[int, int], None],
        publish: Callable[[Iterable[Note]], None],
    ) -> None:
        """``prune(partition, offset)`` lets go of the log before an offset."""
        self._metadata = metadata
        self._prune = prune
        limits = ShareCoordinatorLimits(
            config.share_coordinator_snapshot_update_records_per_snapshot,
            config.share_coordinator_state_topic_prune_interval_ms,
            config.share_coordinator_cold_partition_snapshot_interval_ms,
        )
        self.runtime: CoordinatorRuntime[ShareCoordinatorShard] = CoordinatorRuntime(
            world,
            SHARE_STATE_TOPIC,
            logs,
            CoordinatorRecordCodec("share"),
            lambda: ShareCoordinatorShard(limits, self._has_partition),
            write_timeout_ms=config.share_coordinator_write_timeout_ms,
            publish=publish,
            send=self._send,
        )
        self._topic = CoordinatorTopic(
            SHARE_STATE_TOPIC, config.node_id, self.runtime, config.share_coordinator_state_topic_num_partitions
        )

    def _has_partition(self, topic_id: Uuid, number: int) -> bool:
        topic = self._metadata.image.topics_by_id.get(topic_id)
        return topic is not None and number in topic.partitions

    def partition_for(self, coordinator_key: str) -> int:
        """The partition of the topic that coordinates ``group:topic id:partition``."""
        return self._topic.partition_for(coordinator_key)

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow elections of the topic."""
        self._topic.follow(image)

    async def shutdown(self) -> None:
        """Answer all who wait and stop."""
        await self.runtime.shutdown()

    def _send(self, number: int, messages: list[LogToPrune]) -> None:
        for message in messages:
            try:
                self._prune(number, message.offset)
            except KafkaError as error:
                # The next look asks again, here or where it is led then.
                log.info("%s-%d keeps what it does not need: %s", SHARE_STATE_TOPIC, number, error)

    async def _ask(
        self,
        key: SharePartitionKey,
        operation: Callable[[ShareCoordinatorShard, Now, object], Effects[Any, Any]],
        *,
        writes: bool,
    ) -> Any:
        """The shard's answer.

        Raises:
            KafkaError: the shard's refusal, or as ``CoordinatorRuntime.submit``.
        """
        number = self.partition_for(key.coordinator_key())
        answer = await self.runtime.submit(number, operation, writes=writes)
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    # -- requests -----------------------------------------------------------------------------------------------

    async def initialize(
        self, request: InitializeShareGroupStateRequest
    ) -> initialized.InitializeShareGroupStateResponse:
        """InitializeShareGroupState."""

        async def one(topic_id: Uuid, asked: Any) -> initialized.PartitionResult:
            key = SharePartitionKey(request.group_id, topic_id, asked.partition)
            try:
                await self._ask(
                    key,
                    lambda shard, now, token: shard.handle_initialize(
                        key, asked.state_epoch, asked.start_offset, now, token
                    ),
                    writes=True,
                )
            except KafkaError as error:
                return initialized.PartitionResult(asked.partition, int(error.code), error.message)
            return initialized.PartitionResult(asked.partition)

        results = await _for_each(request.topics, one)
        return initialized.InitializeShareGroupStateResponse(
            results=[initialized.InitializeStateResult(*each) for each in results]
        )

    async def read(self, request: ReadShareGroupStateRequest) -> read.ReadShareGroupStateResponse:
        """ReadShareGroupState."""

        async def one(topic_id: Uuid, asked: Any) -> read.PartitionResult:
            key = SharePartitionKey(request.group_id, topic_id, asked.partition)
            try:
                state: ShareState = await self._ask(
                    key,
                    lambda shard, now, token: shard.handle_read(key, asked.leader_epoch, now, token),
                    writes=True,
                )
            except KafkaError as error:
                return read.PartitionResult(asked.partition, int(error.code), error.message)
            return read.PartitionResult(
                asked.partition,
                state_epoch=state.state_epoch,
                start_offset=state.start_offset,
                state_batches=[read.StateBatch(*each) for each in state.batches],
            )

        results = await _for_each(request.topics, one)
        return read.ReadShareGroupStateResponse(results=[read.ReadStateResult(*each) for each in results])

    async def write(self, request: WriteShareGroupStateRequest) -> written.WriteShareGroupStateResponse:
        """WriteShareGroupState."""

        async def one(topic_id: Uuid, asked: Any) -> written.PartitionResult:
            key = SharePartitionKey(request.group_id, topic_id, asked.partition)
            state = WrittenState(
                asked.state_epoch,
                asked.leader_epoch,
                asked.start_offset,
                asked.delivery_complete_count,
                batches_of(asked.state_batches),
            )
            try:
                await self._ask(key, lambda shard, now, token: shard.handle_write(key, state, now, token), writes=True)
            except KafkaError as error:
                return written.PartitionResult(asked.partition, int(error.code), error.message)
            return written.PartitionResult(asked.partition)

        results = await _for_each(request.topics, one)
        return written.WriteShareGroupStateResponse(results=[written.WriteStateResult(*each) for each in results])

    async def delete(self, request: DeleteShareGroupStateRequest) -> deleted.DeleteShareGroupStateResponse:
        """DeleteShareGroupState."""

        async def one(topic_id: Uuid, asked: Any) -> deleted.PartitionResult:
            key = SharePartitionKey(request.group_id, topic_id, asked.partition)
            try:
                await self._ask(key, lambda shard, now, token: shard.handle_delete(key, token), writes=True)
            except KafkaError as error:
                return deleted.PartitionResult(asked.partition, int(error.code), error.message)
            return deleted.PartitionResult(asked.partition)

        results = await _for_each(request.topics, one)
        return deleted.DeleteShareGroupStateResponse(results=[deleted.DeleteStateResult(*each) for each in results])

    async def read_summary(
        self, request: ReadShareGroupStateSummaryRequest
    ) -> summarized.ReadShareGroupStateSummaryResponse:
        """ReadShareGroupStateSummary."""

        async def one(topic_id: Uuid, asked: Any) -> summarized.PartitionResult:
            key = SharePartitionKey(request.group_id, topic_id, asked.partition)
            try:
                state: ShareState = await self._ask(
                    key, lambda shard, now, token: shard.handle_read_summary(key, token), writes=False
                )
            except KafkaError as error:
                return summarized.PartitionResult(asked.partition, int(error.code), error.message)
            return summarized.PartitionResult(
                asked.partition,
                state_epoch=state.state_epoch,
                leader_epoch=state.leader_epoch,
                start_offset=state.start_offset,
                delivery_complete_count=state.delivery_complete_count,
            )

        results = await _for_each(request.topics, one)
        return summarized.ReadShareGroupStateSummaryResponse(
            results=[summarized.ReadStateSummaryResult(*each) for each in results]
        )


async def _for_each(topics: Iterable[Any], one: Callable[[Uuid, Any], Any]) -> list[tuple[Uuid, list[Any]]]:
    """All partitions of all topics at once, answered in the order asked."""
    return [
        (topic.topic_id, list(await asyncio.gather(*(one(topic.topic_id, each) for each in topic.partitions))))
        for topic in topics
    ]
