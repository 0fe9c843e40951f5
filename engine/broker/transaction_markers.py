"""Tells the leaders of a transaction's partitions how it ended, until all of them know (Kafka:
TransactionMarkerChannelManager).

A decision is in the coordinator's log before it comes here. Each broker that leads some of the partitions gets one
request at a time, with all markers that wait for it. What is refused because leaders moved, or not answered at all, is
sent again to whoever leads then; partitions that were deleted need no marker. The log accepts a marker that it has
already (KAFKA-19999), so that one which was written and not answered may go out twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.write_txn_markers_request import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)
from engine.wire.messages.write_txn_markers_response import WritableTxnMarkerResult, WriteTxnMarkersResponse

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.broker.peer_channels import PeerChannels
    from engine.core.txn.records import MarkersToWrite

log = logging.getLogger(__name__)

_VERSION = 2
_RETRY_MS = 20
_RETRY_MAX_MS = 500

# The partition has the marker, or will never have the records that it would end.
_DONE = frozenset({ErrorCode.NONE, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, ErrorCode.UNSUPPORTED_VERSION})
# The log knows more than this coordinator: a newer one has ended the transaction.
_OVERTAKEN = frozenset({ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED})

# Told of partitions that have the marker; raises KafkaError if that cannot be taken note of now.
OnWritten = Callable[[int, "MarkersToWrite", Iterable[TopicPartition]], None]


class _Task:
    """Markers of one transaction that one broker has to write. ``number`` is the coordinator's partition."""

    __slots__ = ("attempts", "markers", "number", "partitions")

    def __init__(
        self, number: int, markers: MarkersToWrite, partitions: list[TopicPartition], attempts: int = 0
    ) -> None:
        self.number = number
        self.markers = markers
        self.partitions = partitions
        self.attempts = attempts


class TransactionMarkers:
    """All markers that this broker's coordinators have to send."""

    def __init__(
        self,
        broker_id: int,
        metadata: MetadataCache,
        peers: PeerChannels,
        write_locally: Callable[[WriteTxnMarkersRequest], Awaitable[WriteTxnMarkersResponse]],
        coordinator_epoch: Callable[[int], int],
        on_written: OnWritten,
        *,
        request_timeout_ms: int,
    ) -> None:
        """``coordinator_epoch(partition)`` is the leader epoch in which this broker coordinates; it raises KafkaError
        where it does not."""
        self._broker_id = broker_id
        self._metadata = metadata
        self._peers = peers
        self._write_locally = write_locally
        self._coordinator_epoch = coordinator_epoch
        self._on_written = on_written
        self._request_timeout_ms = request_timeout_ms
        # The present decision of each transaction, by the coordinator's partition and transactional id.
        self._decisions: dict[int, dict[str, MarkersToWrite]] = {}
        # What waits for each broker, and those that a request is under way to.
        self._waiting: dict[int, list[_Task]] = {}
        # An ordered set: the order of iteration must replay.
        self._sending: dict[asyncio.Task[None], None] = {}
        self._busy: set[int] = set()
        self._timers: dict[asyncio.TimerHandle, None] = {}
        self._stopped = False

    def add(self, number: int, markers: MarkersToWrite) -> None:
        """A transaction of the coordinator's partition ``number`` is decided."""
        self._decisions.setdefault(number, {})[markers.transactional_id] = markers
        self._route(_Task(number, markers, list(markers.partitions)))

    def forget(self, number: int) -> None:
        """This broker does not coordinate the partition any more, or begins to do so anew."""
        self._decisions.pop(number, None)

    def _is_present(self, task: _Task) -> bool:
        return self._decisions.get(task.number, {}).get(task.markers.transactional_id) is task.markers

    def _route(self, task: _Task) -> None:
        """Give a task's partitions to their present leaders; those that are gone are done with."""
        if self._stopped or not self._is_present(task):
            return
        image = self._metadata.image
        gone: list[TopicPartition] = []
        by_leader: dict[int, list[TopicPartition]] = {}
        for each in task.partitions:
            partition = image.partition(*each)
            if partition is None:
                gone.append(each)
            else:
                leader = partition.leader
                is_known = leader == self._broker_id or (leader >= 0 and self._peers.knows(leader))
                by_leader.setdefault(leader if is_known else -1, []).append(each)
        for leader, partitions in sorted(by_leader.items()):
            part = _Task(task.number, task.markers, partitions, task.attempts)
            if leader < 0:
                self._again(part)
            else:
                self._waiting.setdefault(leader, []).append(part)
                self._kick(leader)
        if gone or not task.partitions:
            self._written(task, gone)

    def _again(self, task: _Task) -> None:
        """A little later, to whoever leads then."""
        delay_ms = min(_RETRY_MS * 2 ** min(task.attempts, 10), _RETRY_MAX_MS)
        task.attempts += 1
        self._later(delay_ms, lambda: self._route(task))

    def _later(self, delay_ms: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            del self._timers[timer]
            act()

        if not self._stopped:
            timer = asyncio.get_running_loop().call_later(delay_ms / 1000, fire)
            self._timers[timer] = None

    def _written(self, task: _Task, partitions: list[TopicPartition]) -> None:
        if not self._is_present(task):
            return
        try:
            self._on_written(task.number, task.markers, partitions)
        except KafkaError as error:
            if error.code is ErrorCode.COORDINATOR_NOT_AVAILABLE:
                # The coordinator's own log takes nothing now: the end of the transaction comes when it does.
                self._later(_RETRY_MAX_MS, lambda: self._written(task, partitions))

    # -- requests -----------------------------------------------------------------------------------------------

    def _kick(self, leader: int) -> None:
        if leader not in self._busy and not self._stopped:
            self._busy.add(leader)
            sending = asyncio.ensure_future(self._drain(leader))
            self._sending[sending] = None
            sending.add_done_callback(lambda done: self._sending.pop(done, None))

    async def _drain(self, leader: int) -> None:
        try:
            while tasks := self._waiting.pop(leader, None):
                await self._send(leader, tasks)
        finally:
            self._busy.discard(leader)

    async def _send(self, leader: int, tasks: list[_Task]) -> None:
        sent: list[_Task] = []
        request = WriteTxnMarkersRequest()
        for task in tasks:
            if not self._is_present(task):
                continue
            try:
                epoch = self._coordinator_epoch(task.number)
            except KafkaError:
                continue  # the next coordinator finds the decision in its log
            sent.append(task)
            request.markers.append(_marker(task, epoch))
        if not sent:
            return
        try:
            if leader == self._broker_id:
                response = await self._write_locally(request)
            else:
                channel = self._peers.to(leader)
                response = await channel.send(request, version=_VERSION, timeout_ms=self._request_timeout_ms)
        except (ClientError, KafkaError, TimeoutError, OSError) as error:
            log.info("markers of %d transactions did not reach broker %d: %s", len(sent), leader, error)
            response = WriteTxnMarkersResponse()
        except Exception:
            # A bug, and no reason for a transaction to hang.
            log.exception("markers of %d transactions for broker %d failed", len(sent), leader)
            response = WriteTxnMarkersResponse()
        # Two markers may be of one producer id: they come back in the order in which they went.
        for task, result in zip(sent, response.markers, strict=False):
            self._settle(task, result)
        for task in sent[len(response.markers) :]:
            self._again(task)

    def _settle(self, task: _Task, result: WritableTxnMarkerResult) -> None:
        errors = {
            TopicPartition(topic.name, each.partition_index): ErrorCode(each.error_code)
            for topic in result.topics
            for each in topic.partitions
        }
        done, again = [], []
        for each in task.partitions:
            error = errors.get(each, ErrorCode.UNKNOWN_SERVER_ERROR)
            if error in _DONE:
                done.append(each)
            elif error in _OVERTAKEN:
                # Kafka gives the whole transaction up here, and its id stays as it is until the coordinator moves.
                log.warning("%s refuses the marker of %r: %s", each, task.markers.transactional_id, error.name)
                done.append(each)
            else:
                again.append(each)
        if again:
            self._again(_Task(task.number, task.markers, again, task.attempts))
        if done:
            self._written(task, done)

    async def shutdown(self) -> None:
        """Send nothing more."""
        self._stopped = True
        for timer in list(self._timers):
            timer.cancel()
        self._timers.clear()
        for sending in list(self._sending):
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


def _marker(task: _Task, coordinator_epoch: int) -> WritableTxnMarker:
    markers = task.markers
    topics: dict[str, WritableTxnMarkerTopic] = {}
    for topic, number in task.partitions:
        topics.setdefault(topic, WritableTxnMarkerTopic(topic)).partition_indexes.append(number)
    return WritableTxnMarker(
        producer_id=markers.producer_id,
        producer_epoch=markers.producer_epoch,
        transaction_result=markers.committed,
        topics=list(topics.values()),
        coordinator_epoch=coordinator_epoch,
        transaction_version=markers.transaction_version,
    )
