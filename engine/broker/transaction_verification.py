"""Asks the coordinators whether partitions take part in transactions, before their leaders append the first batch
(KIP-890; Kafka: AddPartitionsToTxnManager).

A client of transaction.version 2 does not add partitions itself: the leader does so for it. Each broker that
coordinates gets one request at a time, with all transactions that were asked about meanwhile; of one transaction only
the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, Any

from engine.broker.transaction_coordinator_service import TRANSACTION_TOPIC
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.add_partitions_to_txn_request import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)
from engine.wire.messages.add_partitions_to_txn_response import AddPartitionsToTxnResult

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.broker.peer_channels import PeerChannels

log = logging.getLogger(__name__)

_VERSION = 5

# What is wrong by partition; those that are not in it are right.
Errors = dict[TopicPartition, ErrorCode]
AskLocally = Callable[[AddPartitionsToTxnRequest], Awaitable[list[AddPartitionsToTxnResult]]]


class TransactionSupportedOperation(Enum):
    """What the client that produces, or commits offsets, knows of KIP-890, by the version of its request."""

    DEFAULT_ERROR = "it adds partitions itself, and does not know TRANSACTION_ABORTABLE"
    GENERIC_ERROR_SUPPORTED = "it adds partitions itself"
    ADD_PARTITION = "the leader adds partitions for it"

    @property
    def supports_epoch_bump(self) -> bool:
        """Whether it is a client of transaction.version 2."""
        return self is TransactionSupportedOperation.ADD_PARTITION


class _Question:
    """One transaction that a coordinator is asked about, and who waits for the answer."""

    __slots__ = ("future", "operation", "transaction")

    def __init__(self, transaction: AddPartitionsToTxnTransaction, operation: TransactionSupportedOperation) -> None:
        self.transaction = transaction
        self.operation = operation
        self.future: asyncio.Future[Errors] = asyncio.get_running_loop().create_future()

    def answer_all(self, error: ErrorCode) -> None:
        """The same for all partitions; NONE: they are right."""
        found: Errors = {} if error is ErrorCode.NONE else dict.fromkeys(_partitions(self.transaction), error)
        if not self.future.done():
            self.future.set_result(found)


class TransactionVerification:
    """Questions from this broker to all coordinators."""

    def __init__(
        self,
        broker_id: int,
        metadata: MetadataCache,
        peers: PeerChannels,
        partition_for: Callable[[str], int],
        ask_locally: AskLocally,
        *,
        request_timeout_ms: int,
    ) -> None:
        """``ask_locally`` answers AddPartitionsToTxn for transactions that this broker coordinates itself."""
        self._broker_id = broker_id
        self._metadata = metadata
        self._peers = peers
        self._partition_for = partition_for
        self._ask_locally = ask_locally
        self._request_timeout_ms = request_timeout_ms
        # What waits for each broker, by transactional id.
        self._waiting: dict[int, dict[str, _Question]] = {}
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._stopped = False

    async def add_or_verify(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        operation: TransactionSupportedOperation,
    ) -> Errors:
        """What is wrong with the partitions.

        Of one transactional id only one question waits at a time: one that another replaces is answered
        INVALID_PRODUCER_EPOCH or NETWORK_EXCEPTION, at which clients ask again.
        """
        node = None if self._stopped else self._coordinator(transactional_id)
        if node is None:
            return dict.fromkeys(partitions, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        topics: dict[str, AddPartitionsToTxnTopic] = {}
        for topic, number in partitions:
            topics.setdefault(topic, AddPartitionsToTxnTopic(topic)).partitions.append(number)
        transaction = AddPartitionsToTxnTransaction(
            transactional_id=transactional_id,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            verify_only=not operation.supports_epoch_bump,
            topics=list(topics.values()),
        )
        question = _Question(transaction, operation)
        waiting = self._waiting.setdefault(node, {})
        before = waiting.pop(transactional_id, None)
        if before is not None:
            before_epoch = before.transaction.producer_epoch
            if before_epoch > producer_epoch:
                waiting[transactional_id] = before
                return dict.fromkeys(partitions, ErrorCode.INVALID_PRODUCER_EPOCH)
            is_older = before_epoch < producer_epoch
            before.answer_all(ErrorCode.INVALID_PRODUCER_EPOCH if is_older else ErrorCode.NETWORK_EXCEPTION)
        waiting[transactional_id] = question
        if node not in self._busy:
            self._busy[node] = asyncio.ensure_future(self._drain(node))
        return await question.future

    def _coordinator(self, transactional_id: str) -> int | None:
        partition = self._metadata.image.partition(TRANSACTION_TOPIC, self._partition_for(transactional_id))
        if partition is None or partition.leader < 0:
            return None
        node = partition.leader
        return node if node == self._broker_id or self._peers.knows(node) else None

    async def _drain(self, node: int) -> None:
        try:
            while waiting := self._waiting.pop(node, None):
                questions = list(waiting.values())
                try:
                    await self._ask(node, questions)
                except Exception:
                    log.exception("broker %d was not asked about %d transactions", node, len(questions))
                finally:
                    # Whatever happened, nobody waits for ever.
                    for each in questions:
                        each.answer_all(ErrorCode.NETWORK_EXCEPTION)
        finally:
            del self._busy[node]

    async def _ask(self, node: int, questions: list[_Question]) -> None:
        request = AddPartitionsToTxnRequest(transactions=[each.transaction for each in questions])
        try:
            if node == self._broker_id:
                results = await self._ask_locally(request)
            else:
                channel = self._peers.to(node)
                response: Any = await channel.send(request, version=_VERSION, timeout_ms=self._request_timeout_ms)
                if response.error_code:
                    for each in questions:
                        each.answer_all(ErrorCode(response.error_code))
                    return
                results = response.results_by_transaction
        except (ClientError, KafkaError, TimeoutError, OSError) as error:
            log.info("broker %d was not asked about %d transactions: %s", node, len(questions), error)
            return
        by_id = {each.transaction.transactional_id: each for each in questions}
        for result in results:
            question = by_id.get(result.transactional_id)
            if question is not None and not question.future.done():
                question.future.set_result(_errors(result, question.operation))

    async def shutdown(self) -> None:
        """Ask nobody any more; who waits is told so."""
        self._stopped = True
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        for waiting in self._waiting.values():
            for each in waiting.values():
                each.answer_all(ErrorCode.NETWORK_EXCEPTION)
        self._waiting.clear()


def _partitions(transaction: AddPartitionsToTxnTransaction) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for topic in transaction.topics for number in topic.partitions]


def _errors(result: AddPartitionsToTxnResult, operation: TransactionSupportedOperation) -> Errors:
    found: Errors = {}
    for topic in result.topic_results:
        for each in topic.results_by_partition:
            error = ErrorCode(each.partition_error_code)
            if error is ErrorCode.NONE:
                continue
            if error is ErrorCode.PRODUCER_FENCED:
                error = ErrorCode.INVALID_PRODUCER_EPOCH
            elif error is ErrorCode.TRANSACTION_ABORTABLE and operation is TransactionSupportedOperation.DEFAULT_ERROR:
                error = ErrorCode.INVALID_TXN_STATE
            found[TopicPartition(topic.name, each.partition_index)] = error
    return found
