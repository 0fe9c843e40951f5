"""The broker's door to its transaction coordinator (Kafka: TransactionCoordinator, TransactionStateManager).

Finds the partition of a transactional id, hands the request to that partition's shard, brings producer ids where the
shard wants them, and has the markers written that the shard sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from engine.broker.coordinator_log import CoordinatorLogs
from engine.broker.coordinator_records import CoordinatorRecordCodec
from engine.broker.coordinator_runtime import CoordinatorRuntime
from engine.broker.coordinator_topic import CoordinatorTopic
from engine.broker.transaction_markers import TransactionMarkers
from engine.core.controller.feature_control import TRANSACTION_VERSION
from engine.core.effects import Effects
from engine.core.group.linear_regex import LinearRegex, RegexSyntaxError
from engine.core.now import Now
from engine.core.txn.context import NEEDS_PRODUCER_ID, EndTxnResult, TransactionLimits
from engine.core.txn.describe import unknown_states
from engine.core.txn.records import MarkersToWrite, ProducerIdWanted
from engine.core.txn.shard import TransactionCoordinatorShard
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_transactions_response import TransactionState as DescribedTransaction
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.list_transactions_response import ListTransactionsResponse
from engine.wire.messages.write_txn_markers_request import WriteTxnMarkersRequest
from engine.wire.messages.write_txn_markers_response import WriteTxnMarkersResponse
from engine.world import World

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.broker.peer_channels import PeerChannels
    from engine.broker.producer_ids import ProducerIds
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.model.broker_config import BrokerConfig

log = logging.getLogger(__name__)

TRANSACTION_TOPIC = "__transaction_state"


class TransactionCoordinatorService:
    """Transactions of this broker. Subscribe :meth:`on_metadata` to the metadata behind the replica manager."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        metadata: MetadataCache,
        logs: CoordinatorLogs,
        producer_ids: ProducerIds,
        peers: PeerChannels,
        write_locally: Callable[[WriteTxnMarkersRequest], Awaitable[WriteTxnMarkersResponse]],
        publish: Callable[[Iterable[Note]], None],
    ) -> None:
        """``write_locally`` answers WriteTxnMarkers for partitions that this broker leads itself."""
        self._clock = world.clock
        self._metadata = metadata
        self._producer_ids = producer_ids
        limits = TransactionLimits(
            config.transaction_max_timeout_ms,
            config.transactional_id_expiration_ms,
            config.transaction_abort_timed_out_transaction_cleanup_interval_ms,
            config.transaction_remove_expired_transaction_cleanup_interval_ms,
        )
        self.runtime: CoordinatorRuntime[TransactionCoordinatorShard] = CoordinatorRuntime(
            world,
            TRANSACTION_TOPIC,
            logs,
            CoordinatorRecordCodec("transaction"),
            lambda: TransactionCoordinatorShard(limits, self.transaction_version),
            write_timeout_ms=config.request_timeout_ms,
            publish=publish,
            send=self._send,
            on_unloaded=self._on_unloaded,
        )
        self._topic = CoordinatorTopic(
            TRANSACTION_TOPIC, config.node_id, self.runtime, config.transaction_state_log_num_partitions
        )
        self._markers = TransactionMarkers(
            config.node_id,
            metadata,
            peers,
            write_locally,
            self.runtime.leader_epoch,
            self._on_written,
            request_timeout_ms=config.request_timeout_ms,
        )
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}

    def transaction_version(self) -> int:
        """The finalized level of transaction.version."""
        return self._metadata.image.features.get(TRANSACTION_VERSION, 0)

    def partition_for(self, transactional_id: str) -> int:
        """The partition of the topic that coordinates the transactional id."""
        return self._topic.partition_for(transactional_id)

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow elections of the topic."""
        self._topic.follow(image)

    async def shutdown(self) -> None:
        """Answer all who wait and stop."""
        await self._markers.shutdown()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.runtime.shutdown()

    # -- what shards send ---------------------------------------------------------------------------------------

    def _send(self, number: int, messages: list[Any]) -> None:
        for message in messages:
            if isinstance(message, MarkersToWrite):
                self._markers.add(number, message)
            else:
                task = asyncio.ensure_future(self._bring_producer_id(number, message))
                self._tasks[task] = None
                task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _on_unloaded(self, number: int) -> None:
        self._markers.forget(number)

    def _on_written(self, number: int, markers: MarkersToWrite, partitions: Iterable[TopicPartition]) -> None:
        self.runtime.run(
            number,
            lambda shard, now: shard.on_markers_written(
                markers.transactional_id, markers.producer_id, markers.producer_epoch, partitions, now
            ),
            writes=True,
        )

    async def _bring_producer_id(self, number: int, wanted: ProducerIdWanted) -> None:
        try:
            producer_id = await self._producer_ids.next_producer_id()
            self.runtime.run(number, lambda shard, now: shard.on_timed_out(*wanted, producer_id, now), writes=True)
        except KafkaError as error:
            # The next look at what timed out asks again.
            log.info("a transaction of %r stays open: %s", wanted.transactional_id, error)

    # -- requests -----------------------------------------------------------------------------------------------

    async def _ask(
        self,
        transactional_id: str,
        operation: Callable[[TransactionCoordinatorShard, Now, object, int], Effects[Any, Any]],
    ) -> Any:
        """The shard's answer, with a producer id if it wants one.

        Raises:
            KafkaError: as ``CoordinatorRuntime.submit``; COORDINATOR_LOAD_IN_PROGRESS too if there is no producer id.
        """
        producer_id = -1
        while True:
            answer: Any = await self.runtime.submit(
                self.partition_for(transactional_id),
                lambda shard, now, token: operation(shard, now, token, producer_id),  # noqa: B023  run at once
                writes=True,
            )
            if answer is not NEEDS_PRODUCER_ID:
                return answer
            producer_id = await self._producer_ids.next_producer_id()

    async def init_producer_id(self, request: InitProducerIdRequest) -> InitProducerIdResponse:
        """InitProducerId with a transactional id."""
        try:
            answer: InitProducerIdResponse = await self._ask(
                request.transactional_id or "",
                lambda shard, now, token, spare: shard.handle_init_producer_id(request, now, token, spare),
            )
        except KafkaError as error:
            return InitProducerIdResponse(error_code=int(error.code), producer_id=-1, producer_epoch=-1)
        return answer

    async def add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        client_transaction_version: int,
    ) -> ErrorCode:
        """AddPartitionsToTxn of one transaction."""
        try:
            answer: ErrorCode = await self._ask(
                transactional_id,
                lambda shard, now, token, _: shard.handle_add_partitions(
                    transactional_id,
                    producer_id,
                    producer_epoch,
                    partitions,
                    client_transaction_version,
                    now,
                    token,
                ),
            )
        except KafkaError as error:
            return error.code
        return answer

    async def verify_partitions(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        """AddPartitionsToTxn of one transaction that only asks whether the partitions take part."""
        if not transactional_id:
            return dict.fromkeys(partitions, ErrorCode.INVALID_REQUEST)
        try:
            answer: dict[TopicPartition, ErrorCode] = await self.runtime.submit(
                self.partition_for(transactional_id),
                lambda shard, now, token: shard.handle_verify_partitions(
                    transactional_id, producer_id, producer_epoch, partitions, token
                ),
            )
        except KafkaError as error:
            return dict.fromkeys(partitions, error.code)
        return answer

    async def end_txn(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        client_transaction_version: int,
    ) -> EndTxnResult:
        """EndTxn; returns when the decision is committed in the log."""
        try:
            answer: EndTxnResult = await self._ask(
                transactional_id,
                lambda shard, now, token, spare: shard.handle_end_txn(
                    transactional_id,
                    producer_id,
                    producer_epoch,
                    committed,
                    client_transaction_version,
                    now,
                    token,
                    spare,
                ),
            )
        except KafkaError as error:
            return EndTxnResult(error.code)
        return answer

    # -- looking ------------------------------------------------------------------------------------------------

    def describe(self, transactional_id: str) -> DescribedTransaction:
        """DescribeTransactions of one id."""
        if not transactional_id:
            return DescribedTransaction(int(ErrorCode.INVALID_REQUEST), transactional_id)
        try:
            return self.runtime.shard(self.partition_for(transactional_id)).describe(transactional_id)
        except KafkaError as error:
            return DescribedTransaction(int(error.code), transactional_id)

    def list(self, request: ListTransactionsRequest) -> ListTransactionsResponse:
        """ListTransactions over all partitions that this broker leads."""
        if self.runtime.is_loading():
            # Half a list would look like transactions that are gone.
            return ListTransactionsResponse(error_code=int(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
        pattern = request.transactional_id_pattern
        try:
            matches = LinearRegex(pattern).matches if pattern else _any
        except RegexSyntaxError:
            return ListTransactionsResponse(error_code=int(ErrorCode.INVALID_REGULAR_EXPRESSION))
        now_ms = self._clock.now_ms()
        response = ListTransactionsResponse(unknown_state_filters=unknown_states(request))
        for number in self.runtime.active_partitions():
            response.transaction_states += self.runtime.shard(number).list(request, matches, now_ms)
        return response


def _any(transactional_id: str) -> bool:
    """There is no filter by transactional id."""
    return True
