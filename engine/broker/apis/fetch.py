"""Fetch (1), versions 4-18: record batches as they stand in the log, to consumers and followers.

Version 5 tells the log start offset, 7 brings sessions (KIP-227), 9 leader epochs (KIP-320), 11 the consumer's rack
(KIP-392: any replica may then be read; with replica.selector.class the leader sends a consumer to the one in its rack),
12 divergence (KIP-595), 13 topic ids (KIP-516), 15 the follower's broker epoch (KIP-903), 16 the new leader's endpoint
(KIP-951), 17 the follower's directory (KIP-853), 18 its high watermark (KIP-1166). Consumers read up to the high
watermark (read_committed: the last stable offset), followers everything.

The answer waits until min_bytes are there, at most max_wait_ms. On the controller's listener the quorum answers for the
metadata log. The quota consumer_byte_rate holds (KIP-219): what is too much is given, and the consumer not heard until
the rate is right again, where Kafka gives nothing until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.client_throttle import throttled
from engine.broker.fetch_sessions import NO_SESSION, FetchedPartition, FetchScope, PartitionKey
from engine.broker.leader_hints import NodeEndpoints, leader_hint
from engine.core.replica.read_replica import preferred_read_replica
from engine.core.replica.truncation import diverging_epoch
from engine.model.broker_config import RACK_AWARE_SELECTOR
from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import iter_batches
from engine.storage.file_slice import FileSlice
from engine.wire.apis import ApiKey
from engine.wire.messages.fetch_request import FetchRequest
from engine.wire.messages.fetch_response import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.replica import Replica
    from engine.broker.replication_throttle import ReplicationThrottle
    from engine.wire.message import Message

API = ApiSpec(ApiKey.FETCH, 4, 18, listeners=("broker", "controller"))

_FIRST_VERSION_WITH_REPLICA_STATE = 15
_FIRST_VERSION_FROM_FOLLOWERS = 11
_FIRST_VERSION_WITH_HINTS = 12
_FIRST_VERSION_WITH_ENDPOINTS = 16
_READ_COMMITTED = 1
# So much of an answer is read at once; the rest stays in the log's files until the socket takes it.
_MAX_READ_BYTES = 256 * 1024
# Less than this is read in any case: opening the file again would cost more.
_MIN_SLICE_BYTES = 4096


def handle(context: RequestContext, request: FetchRequest) -> Message | Awaitable[Message]:
    """Answer what is there, or wait for it."""
    if context.is_controller_listener:
        return context.broker.quorum.handle_fetch(request, context.api_version)
    try:
        fetch = _Fetch(context, request)
    except KafkaError as error:
        return FetchResponse(error_code=int(error.code))
    try:
        if fetch.is_follower:
            fetch.note_positions()
        response, total, at_once = fetch.read()
    except BaseException:
        if fetch.scope.session_id == NO_SESSION:
            fetch.scope.close()
        raise
    if at_once or total >= fetch.min_bytes or request.max_wait_ms <= 0 or not fetch.scope.partitions:
        return fetch.finish(response, total)
    fetch.scope.is_busy = True
    # From now on, not from when the coroutine begins: what moves between the two would not be noticed.
    fetch.scope.watch.waiting = asyncio.get_running_loop().create_future()
    return fetch.wait_and_read(response, total)


class _Fetch:
    """One request while it is being answered."""

    __slots__ = (
        "broker_epoch",
        "context",
        "is_follower",
        "is_full",
        "leader_only",
        "max_bytes",
        "min_bytes",
        "named",
        "rack",
        "read_committed",
        "replica_id",
        "request",
        "scope",
    )

    def __init__(self, context: RequestContext, request: FetchRequest) -> None:
        """Raises: KafkaError: the session is not there."""
        self.context = context
        self.request = request
        version = context.api_version
        broker = context.broker
        state = request.replica_state
        has_state = version >= _FIRST_VERSION_WITH_REPLICA_STATE
        self.replica_id = state.replica_id if has_state else request.replica_id
        self.broker_epoch = state.replica_epoch if has_state else -1
        self.is_follower = self.replica_id >= 0
        self.leader_only = self.is_follower or version < _FIRST_VERSION_FROM_FOLLOWERS
        self.read_committed = request.isolation_level == _READ_COMMITTED
        self.max_bytes = (
            request.max_bytes if self.is_follower else min(request.max_bytes, broker.config.fetch_max_bytes)
        )
        throttle = broker.client_throttle
        if not self.is_follower and throttle.throttles_consumers():
            self.max_bytes = int(min(self.max_bytes, throttle.most_bytes(context)))
        self.min_bytes = min(request.min_bytes, self.max_bytes)
        # Empty: it reads from the leader, whatever its rack (replica.selector.class).
        chooses = not self.leader_only and broker.config.replica_selector_class == RACK_AWARE_SELECTOR
        self.rack = (request.rack_id or "") if chooses else ""
        self.scope: FetchScope = broker.fetch_sessions.scope_of(
            request, version, context.connection, is_follower=self.is_follower
        )
        self.is_full = request.session_epoch <= 0
        self.named = self.scope.update(request)

    def note_positions(self) -> None:
        """A follower says how far it is, of the partitions that its request names.

        What it does not name has not moved: the leader keeps the time of that by itself.
        """
        broker = self.context.broker
        manager, session_id = broker.replicas, self.scope.session_id
        for key in self.named:
            fetched = self.scope.partitions[key]
            asked = fetched.asked
            try:
                replica = self.scope.replica_of(key, fetched, manager)
                replica.partition.check_epoch(asked.current_leader_epoch, leader_only=True)
                replica.partition.check_follower(self.replica_id, asked.current_leader_epoch)
                files = replica.log
                offset, start = asked.fetch_offset, files.log_start_offset
                if not start <= offset <= files.log_end_offset:
                    continue
                if diverging_epoch(files.leader_epochs, asked.last_fetched_epoch, offset, start) is None:
                    manager.on_follower_fetch(
                        replica, self.replica_id, self.broker_epoch, offset, asked.log_start_offset
                    )
                    before = replica.fetched_in.get(self.replica_id, NO_SESSION)
                    if before != session_id:
                        replica.fetched_in[self.replica_id] = session_id
                        broker.fetch_sessions.doubt(before)
            except KafkaError:
                # Reading finds the same and tells it.
                continue

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self) -> tuple[FetchResponse, int, bool]:
        """What there is now: the answer, its bytes of records, and whether it must go at once (errors, divergence).

        In a session only partitions that moved are looked at.
        """
        scope = self.scope
        response = FetchResponse(session_id=scope.session_id)
        topics: dict[bytes | str, list[PartitionData]] = {}
        total, at_once = 0, False
        keys: Iterable[PartitionKey] = scope.partitions if self.is_full else list(scope.watch.moved)
        manager = self.context.broker.replicas
        for key in keys:
            fetched = scope.partitions.get(key)
            if fetched is None:
                scope.watch.moved.pop(key, None)
                continue
            is_told, has_more = False, False
            try:
                replica = scope.replica_of(key, fetched, manager)
                try:
                    answer, is_told, has_more = self._read_partition(replica, fetched, total)
                except OSError as error:
                    raise manager.read_failed(replica, error) from error
            except KafkaError as error:
                answer, is_told = self._refused(response, fetched, error), True
            if answer is None:
                scope.watch.moved.pop(key, None)
                continue
            if answer.records:
                total += len(answer.records)
                # What its limits kept out of the answer will not come into it by waiting.
                at_once = at_once or has_more
            elif is_told:
                at_once = True
            elif not self.is_full and (
                answer.high_watermark == fetched.told_high_watermark
                and answer.log_start_offset == fetched.told_log_start_offset
            ):
                # Nothing to tell: it is looked at again when it moves, or next time if only the room was used up.
                if not has_more:
                    scope.watch.moved.pop(key, None)
                continue
            elif not self.is_full and self.is_follower and answer.log_start_offset != fetched.told_log_start_offset:
                # Somebody waits for it (DeleteRecords).
                at_once = True
            answers = topics.get(key[0])
            if answers is None:
                answers = topics[key[0]] = []
                response.responses.append(FetchableTopicResponse(fetched.topic, fetched.topic_id, answers))
            answers.append(answer)
        return response, total, at_once

    def _read_partition(
        self, replica: Replica, fetched: FetchedPartition, total: int
    ) -> tuple[PartitionData | None, bool, bool]:
        """The partition's answer, None if the session was told all of it; whether it must go at once; whether there is
        more than limits let in."""
        asked, partition, files = fetched.asked, replica.partition, replica.log
        partition.check_epoch(asked.current_leader_epoch, leader_only=self.leader_only)
        if self.is_follower:
            partition.check_follower(self.replica_id, asked.current_leader_epoch)
        offset, log_start_offset = asked.fetch_offset, files.log_start_offset
        high_watermark = files.high_watermark
        last_stable_offset = files.last_stable_offset
        if self.is_follower:
            limit = files.log_end_offset
        else:
            limit = last_stable_offset if self.read_committed else high_watermark
        if (
            offset == limit
            and high_watermark == fetched.told_high_watermark
            and log_start_offset == fetched.told_log_start_offset
            and not (self.is_full or self.rack)
            and (asked.last_fetched_epoch < 0 or asked.last_fetched_epoch == files.leader_epochs.latest_epoch)
        ):
            # Most of what a session looks at.
            return None, False, False
        answer = PartitionData(asked.partition, 0, high_watermark, last_stable_offset, log_start_offset, records=b"")
        if self.rack:
            preferred = preferred_read_replica(partition, self.rack, offset)
            if preferred is not None:
                answer.preferred_read_replica = preferred
                return answer, True, False
        if asked.last_fetched_epoch >= 0:
            diverging = diverging_epoch(files.leader_epochs, asked.last_fetched_epoch, offset, log_start_offset)
            if diverging is not None:
                answer.diverging_epoch = EpochEndOffset(diverging.epoch, diverging.end_offset)
                return answer, True, False
        if not log_start_offset <= offset <= files.log_end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{replica.topic_partition} has offsets {log_start_offset} to {files.log_end_offset}, not {offset}",
            )
        has_more = False
        throttle = None
        if self.is_follower and files.config.leader_replication_throttled_replicas:
            throttle = self._throttle_of(replica)
        if throttle is not None and throttle.is_exceeded:
            has_more = offset < limit
        elif offset < limit:
            if not total or total < self.max_bytes:
                answer.records = files.read_or_slice(  # type: ignore[assignment]
                    offset,
                    min(asked.partition_max_bytes, max(0, self.max_bytes - total)),
                    max_offset=limit,
                    # One batch that is larger than all limits goes out all the same: the consumer must get past it.
                    min_one_message=total == 0,
                    max_read_bytes=max(_MIN_SLICE_BYTES, _MAX_READ_BYTES - total),
                )
            has_more = not answer.records or (
                total + len(answer.records) < self.min_bytes and _next_offset(answer.records) < limit
            )
        if throttle is not None and answer.records:
            throttle.record(len(answer.records))
        if not self.read_committed:
            answer.aborted_transactions = None
        elif answer.records:
            answer.aborted_transactions = [
                AbortedTransaction(each.producer_id, each.first_offset)
                for each in files.aborted_transactions(offset, limit)
            ]
        return answer, False, has_more

    def _throttle_of(self, replica: Replica) -> ReplicationThrottle | None:
        """What the follower is throttled by: it is not in sync, and this broker's replica is named (KIP-73)."""
        throttle = self.context.broker.replicas.leader_throttle
        named = throttle.names(
            replica.log.config.leader_replication_throttled_replicas, replica.topic_partition.partition
        )
        return throttle if named and self.replica_id not in replica.partition.isr else None

    def _refused(self, response: FetchResponse, fetched: FetchedPartition, error: KafkaError) -> PartitionData:
        answer = PartitionData(fetched.asked.partition, int(error.code), -1, -1, -1, records=b"")
        version = self.context.api_version
        if version >= _FIRST_VERSION_WITH_HINTS:
            topic_id = fetched.topic_id
            if not self.scope.by_id:
                known = self.context.broker.metadata.image.topics_by_name.get(fetched.topic)
                topic_id = topic_id if known is None else known.topic_id
            hint = leader_hint(self.context, topic_id, fetched.asked.partition, error.code)
            if hint is not None:
                answer.current_leader = LeaderIdAndEpoch(hint.leader_id, hint.leader_epoch)
                told = NodeEndpoints(response.node_endpoints)
                if (
                    version >= _FIRST_VERSION_WITH_ENDPOINTS
                    and hint.endpoint is not None
                    and told.lacks(hint.leader_id)
                ):
                    response.node_endpoints.append(NodeEndpoint(hint.leader_id, *hint.endpoint))
        return answer

    # -- waiting ------------------------------------------------------------------------------------------------

    async def wait_and_read(self, response: FetchResponse, total: int) -> FetchResponse:
        """Look again whenever a partition moves, until there is enough or the time is up."""
        request, scope = self.request, self.scope
        loop = asyncio.get_running_loop()
        clock = self.context.broker.world.clock
        deadline_ms = clock.monotonic_ms() + request.max_wait_ms
        at_once = False
        try:
            while not at_once and total < self.min_bytes:
                left_ms = deadline_ms - clock.monotonic_ms()
                if left_ms <= 0:
                    break
                moved = scope.watch.waiting
                if moved is None:
                    moved = scope.watch.waiting = loop.create_future()
                timer = loop.call_later(left_ms / 1000, _settle, moved)
                try:
                    await moved
                finally:
                    timer.cancel()
                    scope.watch.waiting = None
                response, total, at_once = self.read()
        finally:
            scope.is_busy = False
            scope.watch.waiting = None
            if scope.session_id == NO_SESSION:
                scope.close()
        return self.finish(response, total)

    def finish(self, response: FetchResponse, total: int) -> FetchResponse:
        """The answer goes out: remember what it tells, and count it."""
        scope, manager = self.scope, self.context.broker.replicas
        if scope.session_id == NO_SESSION:
            scope.close()
        else:
            moved = scope.watch.moved
            for topic in response.responses:
                name: bytes | str = topic.topic_id if scope.by_id else topic.topic
                for answer in topic.partitions:
                    key = (name, answer.partition_index)
                    fetched = scope.partitions.get(key)
                    if fetched is not None:
                        fetched.told_high_watermark = answer.high_watermark
                        fetched.told_log_start_offset = answer.log_start_offset
                        # What had records goes to the end of the line: all get their turn under max_bytes.
                        if answer.records:
                            moved.pop(key, None)
                        moved[key] = None
        if self.is_follower:
            manager.replication_bytes_out += total
            return response
        manager.bytes_out += total
        throttle = self.context.broker.client_throttle
        if throttle.throttles_consumers():
            return throttled(self.context, response, throttle.fetched(self.context, total))
        return response


def _next_offset(records: bytes | memoryview | FileSlice) -> int:
    """The offset behind whole batches; -1 of those that were left in their file, which are many."""
    if isinstance(records, FileSlice):
        return -1
    offset = -1
    for header, _ in iter_batches(records):
        offset = header.next_offset
    return offset


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
