"""Transactional ids: which there are, and how their transactions stand (KIP-664)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import Failure, check, refusal
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_transactions_request import DescribeTransactionsRequest
from engine.wire.messages.describe_transactions_response import DescribeTransactionsResponse
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.list_transactions_response import ListTransactionsResponse

_AGAIN = (ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
_RETRY_S = 0.1


class TransactionDescription(NamedTuple):
    """A transactional id at its coordinator. ``start_time_ms`` is -1 while no transaction is open; ``partitions`` are
    those of the open one. ``state`` in Kafka's words (``Ongoing``, ``PrepareCommit``, …)."""

    transactional_id: str
    coordinator: int
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    start_time_ms: int
    partitions: tuple[TopicPartition, ...]


class TransactionAdmin(AdminBase):
    """Every broker tells of the transactional ids that it coordinates."""

    async def transactions(
        self, broker_ids: Iterable[int], *, timeout_ms: float | None = None
    ) -> dict[int, list[TransactionDescription] | Failure]:
        """Those of each broker; ids that it gave up between the two requests are left out."""

        async def ask(broker_id: int) -> list[TransactionDescription]:
            listed: ListTransactionsResponse = await self.brokers.send(
                broker_id, ListTransactionsRequest(), timeout_ms=timeout_ms
            )
            check(listed.error_code)
            ids = [each.transactional_id for each in listed.transaction_states]
            if not ids:
                return []
            described: DescribeTransactionsResponse = await self.brokers.send(
                broker_id, DescribeTransactionsRequest(transactional_ids=ids), timeout_ms=timeout_ms
            )
            return [
                TransactionDescription(
                    each.transactional_id,
                    broker_id,
                    each.transaction_state,
                    each.producer_id,
                    each.producer_epoch,
                    each.transaction_timeout_ms,
                    each.transaction_start_time_ms,
                    tuple(TopicPartition(topic.topic, number) for topic in each.topics for number in topic.partitions),
                )
                for each in described.transaction_states
                if not each.error_code
            ]

        return await self._of_each(broker_ids, ask)

    async def force_terminate(self, transactional_id: str, coordinator: int, *, timeout_ms: float = 30_000) -> None:
        """Fence the producer of a transactional id: what it has open is aborted, and its next request fails.

        As Admin.forceTerminateTransaction (FenceProducersHandler): an InitProducerId without producer id, again while
        the coordinator is still ending the transaction.

        Raises:
            ClientError: the coordinator does not answer.
            KafkaError: refused: NOT_COORDINATOR, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, …; CONCURRENT_TRANSACTIONS
                when it was not done in time.
        """
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=int(timeout_ms))
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_ms / 1000
        while True:
            response: InitProducerIdResponse = await self.brokers.send(coordinator, request, timeout_ms=timeout_ms)
            failure = refusal(response.error_code)
            if failure is None:
                return
            if failure.code not in _AGAIN or loop.time() >= deadline_s:
                raise failure
            await asyncio.sleep(_RETRY_S)
