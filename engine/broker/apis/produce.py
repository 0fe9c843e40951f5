"""Produce (0), versions 3-13: append record batches.

Version 7 brings zstd (KIP-110), 8 tells which records were refused and why (KIP-467), 10 the new leader when this
broker leads no more (KIP-951), 13 speaks of topics by id (KIP-516). acks=0 is never answered: if it fails the
connection is closed, as Kafka does. acks=all is answered when the high watermark has passed, in the order of the
requests. The coordinator is asked before the first batch of a transaction is appended to a partition (KIP-890); from
version 12 on the partition is added with that, version 11 knows TRANSACTION_ABORTABLE. The quota
producer_byte_rate holds (KIP-219): bytes of record batches count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.append_verification import ProduceVerification
from engine.broker.client_throttle import throttled
from engine.broker.connection import CloseConnection
from engine.broker.leader_hints import NodeEndpoints, leader_hint
from engine.core.controller.topic_names import INTERNAL_TOPICS
from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import COMPRESSION_MASK, TRANSACTIONAL_MASK
from engine.record.compression import Compression
from engine.wire.apis import ApiKey
from engine.wire.messages.produce_request import ProduceRequest, TopicProduceData
from engine.wire.messages.produce_response import (
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.replica import Replica
    from engine.core.replica.outputs import AppendCommitted

API = ApiSpec(ApiKey.PRODUCE, 3, 13, pipelined=True)

_FIRST_VERSION_WITH_TOPIC_IDS = 13
_FIRST_VERSION_WITH_LEADER_HINTS = 10
_FIRST_VERSION_WITH_ZSTD = 7
# Position of the low byte of a batch's attributes.
_ATTRIBUTES_AT = 22
_BATCH_OVERHEAD_BYTES = 12


class _Pending:
    """A request whose appends are not all committed yet; the token of each of them carries the answer to fill.

    ``left`` is how many are waited for, and one for the request itself while it is being gone through: what is entered
    first may be settled (a disk that fails) before the last is entered.
    """

    __slots__ = ("context", "future", "left", "response", "timeout_ms", "timer", "waiters")

    def __init__(self, context: RequestContext, response: ProduceResponse, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        self.context = context
        self.response = response
        self.left = 1
        self.future: asyncio.Future[ProduceResponse] = asyncio.get_running_loop().create_future()
        self.waiters: list[_Waiter] = []
        self.timer: asyncio.TimerHandle | None = None

    def done(self) -> None:
        """One append less to wait for."""
        self.left -= 1
        if not self.left:
            if self.timer is not None:
                self.timer.cancel()
            if not self.future.done():
                self.future.set_result(self.response)

    def time_out(self) -> None:
        """The request's timeout_ms is over: the records are in the log, but nobody promises that they stay."""
        for waiter in self.waiters:
            if not waiter.is_done:
                waiter.is_done = True
                waiter.replica.partition.forget_waiting(waiter)
                waiter.answer.error_code = int(ErrorCode.REQUEST_TIMED_OUT)
                waiter.answer.base_offset = -1
                waiter.answer.log_start_offset = -1
                self.context.broker.refusals.timed_out(self.context, waiter.replica, self.timeout_ms)
                self.done()


class _Waiter:
    """CommitWaiter of one partition."""

    __slots__ = ("answer", "is_done", "pending", "replica")

    def __init__(self, pending: _Pending, replica: Replica, answer: PartitionProduceResponse) -> None:
        self.pending = pending
        self.replica = replica
        self.answer = answer
        self.is_done = False

    def on_committed(self, committed: AppendCommitted) -> None:
        if self.is_done:
            return
        self.is_done = True
        if committed.error is not ErrorCode.NONE:
            _refuse(self.pending.context, self.pending.response, self.answer, self.replica.topic_id, committed.error)
        self.pending.done()


def handle(
    context: RequestContext, request: ProduceRequest
) -> ProduceResponse | Awaitable[ProduceResponse | None] | None:
    """Append to every partition now; the answer waits for the slowest (acks=all).

    A producer over its quota is told, and not heard for a while.
    """
    answer = _begin(context, request)
    throttle = context.broker.client_throttle
    if not throttle.throttles_producers():
        return answer
    size = sum(len(data.records or b"") for topic in request.topic_data for data in topic.partition_data)
    throttle_ms = throttle.produced(context, size)
    if not throttle_ms:
        return answer
    if answer is None or isinstance(answer, ProduceResponse):
        return throttled(context, answer, throttle_ms)
    return _throttled_later(context, answer, throttle_ms)


async def _throttled_later(
    context: RequestContext, answer: Awaitable[ProduceResponse | None], throttle_ms: int
) -> ProduceResponse | None:
    return throttled(context, await answer, throttle_ms)


def _begin(
    context: RequestContext, request: ProduceRequest
) -> ProduceResponse | Awaitable[ProduceResponse | None] | None:
    """Append, or a coroutine where the coordinator must be asked first: nothing of it is done yet, and later requests
    wait."""
    if request.transactional_id is None:
        return _append(context, request, None)
    verification = ProduceVerification(context, request)
    if verification.guards:
        return _verify_and_append(context, request, verification)
    return _append(context, request, verification)


async def _verify_and_append(
    context: RequestContext, request: ProduceRequest, verification: ProduceVerification
) -> ProduceResponse | None:
    await verification.ask()
    answer = _append(context, request, verification)
    return await answer if isinstance(answer, asyncio.Future) else answer


def _append(
    context: RequestContext, request: ProduceRequest, verification: ProduceVerification | None
) -> ProduceResponse | asyncio.Future[ProduceResponse] | None:
    acks = request.acks
    manager = context.broker.replicas
    by_id = context.api_version >= _FIRST_VERSION_WITH_TOPIC_IDS
    response = ProduceResponse()
    pending: _Pending | None = None
    for topic in request.topic_data:
        topic_id = topic.topic_id if by_id else None
        answers: list[PartitionProduceResponse] = []
        response.responses.append(TopicProduceResponse(topic.name, topic.topic_id, answers))
        for data in topic.partition_data:
            answer = PartitionProduceResponse(data.index)
            answers.append(answer)
            records = data.records
            try:
                if not -1 <= acks <= 1:
                    raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS, f"acks must be 0, 1 or -1 (all), not {acks}")
                _check_one_batch(records, context.api_version, request.transactional_id)
                assert records is not None
                replica = manager.find(topic.name, topic_id, data.index)
                if replica.topic_partition.topic in INTERNAL_TOPICS:
                    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "clients may not write to internal topics")
                guard = None
                if verification is not None:
                    refusal = verification.errors.get(replica.topic_partition)
                    if refusal is not None:
                        raise refusal
                    guard = verification.guards.get(replica.topic_partition)
                info = manager.append(replica, records, acks, verification=guard)
            except KafkaError as error:
                named = topic_id or _id_of(context, topic)
                _refuse(context, response, answer, named, error.code, error.message, topic.name)
                continue
            manager.bytes_in += len(records)
            manager.batches_in += 1
            answer.base_offset = info.base_offset
            answer.log_append_time_ms = info.log_append_time_ms
            answer.log_start_offset = info.log_start_offset
            if acks == -1 or (acks == 1 and replica.durable):
                if pending is None:
                    pending = _Pending(context, response, max(0, request.timeout_ms))
                waiter = _Waiter(pending, replica, answer)
                if acks == 1:
                    waits = manager.wait_until_synced(replica, info.last_offset + 1, waiter)
                else:
                    committed = replica.partition.wait_until_committed(info.last_offset + 1, waiter)
                    waits = committed is None
                    if committed is not None and committed.error is not ErrorCode.NONE:
                        _refuse(context, response, answer, replica.topic_id, committed.error)
                if waits:
                    pending.left += 1
                    pending.waiters.append(waiter)
    if not acks:
        failed = [
            each for topic_answer in response.responses for each in topic_answer.partition_responses if each.error_code
        ]
        if failed:
            raise CloseConnection(f"an append with acks=0 was refused: {ErrorCode(failed[0].error_code).name}")
        return None
    if pending is None or pending.left == 1:
        return response
    pending.left -= 1
    pending.timer = asyncio.get_running_loop().call_later(pending.timeout_ms / 1000, pending.time_out)
    return pending.future


def _check_one_batch(records: bytes | memoryview | None, version: int, transactional_id: str | None) -> None:
    """Since version 3 a partition's records are exactly one batch (ProduceRequest.validateRecords)."""
    if records is None or len(records) <= _ATTRIBUTES_AT:
        raise KafkaError(ErrorCode.INVALID_RECORD, "a partition's records must be exactly one record batch")
    size = int.from_bytes(records[8:12], "big", signed=True) + _BATCH_OVERHEAD_BYTES
    if size != len(records) and size > 0 and size < len(records):
        raise KafkaError(ErrorCode.INVALID_RECORD, "a partition's records must be exactly one record batch")
    attributes = records[_ATTRIBUTES_AT]
    if version < _FIRST_VERSION_WITH_ZSTD and attributes & COMPRESSION_MASK == Compression.ZSTD:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"Produce version {version} does not know zstd")
    if attributes & TRANSACTIONAL_MASK and transactional_id is None:
        raise KafkaError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactional records need a transactional id"
        )


def _id_of(context: RequestContext, topic: TopicProduceData) -> bytes | None:
    known = context.broker.metadata.image.topics_by_name.get(topic.name)
    return None if known is None else known.topic_id


def _refuse(
    context: RequestContext,
    response: ProduceResponse,
    answer: PartitionProduceResponse,
    topic_id: bytes | None,
    code: ErrorCode,
    message: str | None = None,
    topic_name: str = "",
) -> None:
    answer.error_code = int(code)
    answer.error_message = message
    answer.base_offset = -1
    answer.log_append_time_ms = -1
    answer.log_start_offset = -1
    context.broker.refusals.note(context, topic_id, answer.index, code, message, topic_name)
    if context.api_version >= _FIRST_VERSION_WITH_LEADER_HINTS and topic_id is not None:
        hint = leader_hint(context, topic_id, answer.index, code)
        if hint is not None:
            answer.current_leader = LeaderIdAndEpoch(hint.leader_id, hint.leader_epoch)
            endpoints = NodeEndpoints(response.node_endpoints)
            if hint.endpoint is not None and endpoints.lacks(hint.leader_id):
                response.node_endpoints.append(NodeEndpoint(hint.leader_id, *hint.endpoint))
