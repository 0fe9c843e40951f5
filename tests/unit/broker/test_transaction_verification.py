"""Questions of leaders to coordinators: one request at a time, one question a transaction, and always an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.broker.transaction_verification import TransactionSupportedOperation, TransactionVerification
from engine.client.errors import ConnectionLost
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.add_partitions_to_txn_request import AddPartitionsToTxnRequest
from engine.wire.messages.add_partitions_to_txn_response import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
)

DEFAULT, GENERIC, ADD = TransactionSupportedOperation
P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


class Cluster:
    """A coordinator on another broker, whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.leader: int | None = 2
        self.requests: list[AddPartitionsToTxnRequest] = []
        self.answers: list[asyncio.Future[ErrorCode]] = []
        self.image = self
        self.verification = TransactionVerification(
            1,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            lambda transactional_id: 0,
            self._locally,
            request_timeout_ms=1000,
        )

    def partition(self, topic: str, number: int) -> Any:
        assert topic == "__transaction_state"
        return None if self.leader is None else type("Partition", (), {"leader": self.leader})

    def knows(self, broker_id: int) -> bool:
        return broker_id == 2

    def to(self, broker_id: int) -> Any:
        return self

    async def send(self, request: AddPartitionsToTxnRequest, *, version: int, timeout_ms: float) -> Any:
        return AddPartitionsToTxnResponse(results_by_transaction=await self._locally(request))

    async def _locally(self, request: AddPartitionsToTxnRequest) -> list[AddPartitionsToTxnResult]:
        self.requests.append(request)
        self.answers.append(asyncio.get_running_loop().create_future())
        error = await self.answers[-1]
        return [
            AddPartitionsToTxnResult(
                transaction.transactional_id,
                [
                    AddPartitionsToTxnTopicResult(
                        topic.name, [AddPartitionsToTxnPartitionResult(each, int(error)) for each in topic.partitions]
                    )
                    for topic in transaction.topics
                ],
            )
            for transaction in request.transactions
        ]

    def ask(self, name: str, *partitions: TopicPartition, epoch: int = 0, operation: Any = ADD) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.verification.add_or_verify(name, 7, epoch, partitions, operation))

    async def let_go(self, error: ErrorCode | Exception = ErrorCode.NONE) -> None:
        await asyncio.sleep(0.01)
        if isinstance(error, Exception):
            self.answers[-1].set_exception(error)
        else:
            self.answers[-1].set_result(error)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("leader", [1, 2])
async def test_what_comes_while_a_request_is_under_way_goes_with_the_next_one(leader: int) -> None:
    cluster = Cluster()
    cluster.leader = leader
    first = cluster.ask("a", P0, P1)
    await asyncio.sleep(0.01)
    others = [cluster.ask("b", P0), cluster.ask("c", P0, operation=GENERIC)]
    await cluster.let_go()
    assert await first == {}
    await cluster.let_go(ErrorCode.TRANSACTION_ABORTABLE)
    assert [await each for each in others] == [{P0: ErrorCode.TRANSACTION_ABORTABLE}] * 2
    asked = [
        [(each.transactional_id, each.verify_only) for each in request.transactions] for request in cluster.requests
    ]
    assert asked == [[("a", False)], [("b", False), ("c", True)]]
    await cluster.verification.shutdown()


async def test_of_one_transaction_the_last_question_counts() -> None:
    cluster = Cluster()
    busy = cluster.ask("busy", P0)
    await asyncio.sleep(0.01)
    first = cluster.ask("a", P0, epoch=1)
    await asyncio.sleep(0)
    again = cluster.ask("a", P0, epoch=1)
    await asyncio.sleep(0)
    zombie = cluster.ask("a", P0, epoch=0)
    await asyncio.sleep(0)
    heir = cluster.ask("a", P0, epoch=2)
    assert await first == {P0: ErrorCode.NETWORK_EXCEPTION}
    assert await zombie == {P0: ErrorCode.INVALID_PRODUCER_EPOCH}
    assert await again == {P0: ErrorCode.INVALID_PRODUCER_EPOCH}
    await cluster.let_go()
    await cluster.let_go()
    assert await busy == await heir == {}
    await cluster.verification.shutdown()


@pytest.mark.parametrize(
    ("error", "operation", "told"),
    [
        (ErrorCode.PRODUCER_FENCED, ADD, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.TRANSACTION_ABORTABLE, DEFAULT, ErrorCode.INVALID_TXN_STATE),
        (ErrorCode.CONCURRENT_TRANSACTIONS, ADD, ErrorCode.CONCURRENT_TRANSACTIONS),
        (ConnectionLost("gone"), ADD, ErrorCode.NETWORK_EXCEPTION),
        (ZeroDivisionError(), ADD, ErrorCode.NETWORK_EXCEPTION),
    ],
)
async def test_errors_are_told_in_words_that_the_client_knows(
    error: ErrorCode | Exception, operation: TransactionSupportedOperation, told: ErrorCode
) -> None:
    cluster = Cluster()
    answer = cluster.ask("a", P0, operation=operation)
    await cluster.let_go(error)
    assert await answer == {P0: told}
    # Nothing is stuck behind it.
    answer = cluster.ask("a", P0)
    await cluster.let_go()
    assert await answer == {}
    await cluster.verification.shutdown()


async def test_without_coordinator_and_at_the_end_there_is_an_answer() -> None:
    cluster = Cluster()
    waiting = cluster.ask("a", P0)
    await asyncio.sleep(0.01)
    behind = cluster.ask("b", P0)
    await asyncio.sleep(0)
    await cluster.verification.shutdown()
    assert await waiting == await behind == {P0: ErrorCode.NETWORK_EXCEPTION}
    assert await cluster.ask("c", P0) == {P0: ErrorCode.COORDINATOR_NOT_AVAILABLE}
    for leader in (None, -1, 3):
        other = Cluster()
        other.leader = leader
        assert await other.ask("a", P0) == {P0: ErrorCode.COORDINATOR_NOT_AVAILABLE}
