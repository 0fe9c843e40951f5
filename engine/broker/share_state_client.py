"""Asks share coordinators, in this broker or in others (Kafka: DefaultStatePersister, PersisterStateManager).

What leads or coordinates a share group here keeps its state there. A coordinator that moves, loads or does not answer
is asked again, with growing pauses, until the time is up. Writes of one share partition go out one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.broker.share_coordinator_service import SHARE_STATE_TOPIC, ShareCoordinatorService
from engine.client.errors import ClientError
from engine.core.share.records import SharePartitionKey, ShareState, batches_of
from engine.core.share.shard import WrittenState
from engine.model.coordinator_partitions import partition_for
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages import delete_share_group_state_request as delete
from engine.wire.messages import initialize_share_group_state_request as initialize
from engine.wire.messages import read_share_group_state_request as read
from engine.wire.messages import read_share_group_state_summary_request as summary
from engine.wire.messages import write_share_group_state_request as write

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.broker.peer_channels import PeerChannels
    from engine.world import World

_RETRY_MS = 20
_RETRY_MAX_MS = 500
_TIMEOUT_MS = 15_000
_RETRIED = frozenset(
    {
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


class ShareStateClient:
    """One for a broker."""

    def __init__(
        self,
        world: World,
        broker_id: int,
        metadata: MetadataCache,
        peers: PeerChannels,
        coordinator: ShareCoordinatorService,
        make_sure_of_topic: Callable[[], Awaitable[str | None]],
        *,
        request_timeout_ms: int,
    ) -> None:
        """``make_sure_of_topic()`` creates the topic if there is none."""
        self._clock = world.clock
        self._broker_id = broker_id
        self._metadata = metadata
        self._peers = peers
        self._coordinator = coordinator
        self._make_sure_of_topic = make_sure_of_topic
        self._request_timeout_ms = request_timeout_ms
        self._writing: dict[SharePartitionKey, asyncio.Lock] = {}

    async def initialize(self, key: SharePartitionKey, state_epoch: int, start_offset: int) -> None:
        """Raises: KafkaError: what the coordinator says, or COORDINATOR_NOT_AVAILABLE when the time is up."""
        partition = initialize.PartitionData(key.partition, state_epoch, start_offset)
        topic = initialize.InitializeStateData(key.topic_id, [partition])
        request = initialize.InitializeShareGroupStateRequest(key.group_id, [topic])
        await self._ask(key, request, 0, self._coordinator.initialize)

    async def read(self, key: SharePartitionKey, leader_epoch: int) -> ShareState:
        """State epoch, start offset and batches. Raises as above."""
        topic = read.ReadStateData(key.topic_id, [read.PartitionData(key.partition, leader_epoch)])
        request = read.ReadShareGroupStateRequest(key.group_id, [topic])
        found = await self._ask(key, request, 0, self._coordinator.read)
        return ShareState(
            0, found.state_epoch, leader_epoch, found.start_offset, -1, 0, 0, batches_of(found.state_batches)
        )

    async def write(self, key: SharePartitionKey, written: WrittenState) -> None:
        """Raises as above."""
        partition = write.PartitionData(
            key.partition,
            written.state_epoch,
            written.leader_epoch,
            written.start_offset,
            written.delivery_complete_count,
            [write.StateBatch(*each) for each in written.batches],
        )
        request = write.WriteShareGroupStateRequest(key.group_id, [write.WriteStateData(key.topic_id, [partition])])
        lock = self._writing.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                await self._ask(key, request, 1, self._coordinator.write)
        finally:
            if not lock.locked() and self._writing.get(key) is lock:
                del self._writing[key]

    async def delete(self, key: SharePartitionKey) -> None:
        """Raises as above."""
        topic = delete.DeleteStateData(key.topic_id, [delete.PartitionData(key.partition)])
        request = delete.DeleteShareGroupStateRequest(key.group_id, [topic])
        await self._ask(key, request, 0, self._coordinator.delete)

    async def read_summary(self, key: SharePartitionKey) -> ShareState:
        """Epochs, start offset and count of delivered records. Raises as above."""
        topic = summary.ReadStateSummaryData(key.topic_id, [summary.PartitionData(key.partition, -1)])
        request = summary.ReadShareGroupStateSummaryRequest(key.group_id, [topic])
        found = await self._ask(key, request, 1, self._coordinator.read_summary)
        return ShareState(
            0, found.state_epoch, found.leader_epoch, found.start_offset, found.delivery_complete_count, 0, 0
        )

    async def _ask(
        self, key: SharePartitionKey, request: Any, version: int, locally: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        """The coordinator's result for the partition."""
        deadline_ms = self._clock.monotonic_ms() + _TIMEOUT_MS
        pause_ms = _RETRY_MS
        while True:
            error = await self._try(key, request, version, locally)
            if not isinstance(error, KafkaError):
                return error
            if not self._may_pass(error, key) or self._clock.monotonic_ms() + pause_ms > deadline_ms:
                raise error
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(pause_ms * 2, _RETRY_MAX_MS)

    def _may_pass(self, error: KafkaError, key: SharePartitionKey) -> bool:
        if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            # The coordinator's broker may not have heard yet of what this one knows.
            return self._metadata.image.partition_by_id(key.topic_id, key.partition) is not None
        return error.code in _RETRIED

    async def _try(
        self, key: SharePartitionKey, request: Any, version: int, locally: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        image = self._metadata.image
        topic = image.topics_by_name.get(SHARE_STATE_TOPIC)
        if topic is None:
            problem = await self._make_sure_of_topic()
            return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, problem or f"{SHARE_STATE_TOPIC} is being created")
        number = partition_for(key.coordinator_key(), len(topic.partitions))
        leader = topic.partitions[number].leader
        try:
            if leader == self._broker_id:
                response = await locally(request)
            elif leader < 0 or not self._peers.knows(leader):
                return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{SHARE_STATE_TOPIC}-{number} has no leader")
            else:
                channel = self._peers.to(leader)
                response = await channel.send(request, version=version, timeout_ms=self._request_timeout_ms)
        except (ClientError, TimeoutError, OSError) as error:
            return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"broker {leader} did not answer: {error}")
        except KafkaError as error:
            return error
        result = response.results[0].partitions[0]
        if result.error_code != ErrorCode.NONE:
            code = ErrorCode(result.error_code)
            return KafkaError(code, result.error_message or code.name)
        return result
