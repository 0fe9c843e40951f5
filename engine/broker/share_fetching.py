"""ShareFetch and ShareAcknowledge on a partition's leader (Kafka: KafkaApis, SharePartitionManager, DelayedShareFetch).

A request first says what the member did with records that it has, then asks for more: at most so many records, from the
partitions of its session, beginning with another one each time. If there are none it waits for some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.broker.replica import FetchWatch
from engine.broker.share_partitions import LedSharePartition, SharePartitions
from engine.broker.share_sessions import FINAL_EPOCH, INITIAL_EPOCH, SessionKey, ShareSession, ShareSessions
from engine.core.share.partition import RENEW, AcknowledgedRange, AcquiredRange, OffsetRange
from engine.core.share.records import SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import BatchHeader, iter_batches

if TYPE_CHECKING:
    from engine.broker.connection import ServerConnection
    from engine.model.broker_config import BrokerConfig
    from engine.wire.messages.share_acknowledge_request import ShareAcknowledgeRequest
    from engine.wire.messages.share_fetch_request import ShareFetchRequest
    from engine.world import World

# So much of a log is looked through at a time: the next fetch goes on behind it.
_MAX_READ_BYTES = 1024 * 1024
_RECORD_LIMIT = 1


class FetchedRecords(NamedTuple):
    """What a member got of one partition, or why it got nothing."""

    records: bytes
    acquired: list[AcquiredRange]
    error: KafkaError | None


Acknowledged = dict[SharePartitionKey, KafkaError | None]
Fetched = dict[SharePartitionKey, FetchedRecords]


class ShareFetching:
    """Share sessions of this broker, and what their requests do."""

    def __init__(self, world: World, config: BrokerConfig, partitions: SharePartitions) -> None:
        self._clock = world.clock
        self.partitions = partitions
        self.sessions = ShareSessions(config.group_share_max_share_sessions, self._release)
        self._fetch_max_bytes = config.fetch_max_bytes

    def _release(self, session: ShareSession) -> None:
        """Give back all that a member has of the partitions of its session."""
        released = []
        for key in session.partitions:
            led = self.partitions.find(key)
            if led is not None and led.machine is not None:
                released.append(led.release(session.key.member_id))
        group_id = session.key.group_id

        def forget(*_: object) -> None:
            if not self.sessions.has_group(group_id):
                self.partitions.forget_group(group_id)

        if released:
            asyncio.gather(*released).add_done_callback(forget)
        else:
            forget()

    # -- acknowledging ------------------------------------------------------------------------------------------

    async def acknowledge(self, request: ShareAcknowledgeRequest) -> Acknowledged:
        """ShareAcknowledge.

        Raises:
            KafkaError: the request is refused as a whole.
        """
        key = _session_key(request)
        if request.share_session_epoch == INITIAL_EPOCH:
            raise KafkaError(
                ErrorCode.INVALID_SHARE_SESSION_EPOCH,
                "a share session begins with ShareFetch, not with acknowledgements",
            )
        session = self.sessions.resume(key, request.share_session_epoch)
        results = await self._acknowledge(key, _acknowledgements(request), is_renewal=request.is_renew_ack)
        if request.share_session_epoch == FINAL_EPOCH:
            self._release(session)
        return results

    async def _acknowledge(
        self, member: SessionKey, given: dict[SharePartitionKey, list[AcknowledgedRange]], *, is_renewal: bool
    ) -> Acknowledged:
        waiting: dict[SharePartitionKey, Any] = {}
        results: Acknowledged = {}
        for key, ranges in given.items():
            renews = any(RENEW in each.types for each in ranges)
            if renews and not (is_renewal and self.partitions.may_renew(key.group_id)):
                why = "only with IsRenewAck" if not is_renewal else "not in this group: share.renew.acknowledge.enable"
                results[key] = KafkaError(ErrorCode.INVALID_REQUEST, f"acquisition locks can be renewed {why}")
                continue
            led = self.partitions.find(key)
            if led is None or led.machine is None:
                try:
                    self.partitions.get(key)
                    results[key] = KafkaError(
                        ErrorCode.INVALID_RECORD_STATE, "nobody has acquired records of this leader"
                    )
                except KafkaError as error:
                    results[key] = error
                continue
            waiting[key] = led.acknowledge(member.member_id, ranges)
        for key, future in waiting.items():
            results[key] = await future
        return results

    # -- fetching -----------------------------------------------------------------------------------------------

    async def fetch(
        self, connection: ServerConnection, request: ShareFetchRequest, api_version: int
    ) -> tuple[Acknowledged, Fetched]:
        """ShareFetch.

        Raises:
            KafkaError: the request is refused as a whole.
        """
        key = _session_key(request)
        given = _acknowledgements(request)
        epoch = request.share_session_epoch
        if epoch == INITIAL_EPOCH:
            if given:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST, "a request that opens a share session has nothing to acknowledge"
                )
            session = self.sessions.open(key, connection)
        else:
            session = self.sessions.resume(key, epoch)
        for forgotten in request.forgotten_topics_data:
            for number in forgotten.partitions:
                session.partitions.pop(SharePartitionKey(key.group_id, forgotten.topic_id, number), None)
        if epoch != FINAL_EPOCH:
            for topic in request.topics:
                for asked in topic.partitions:
                    session.partitions[SharePartitionKey(key.group_id, topic.topic_id, asked.partition_index)] = None
        acknowledged = await self._acknowledge(key, given, is_renewal=request.is_renew_ack)
        if epoch == FINAL_EPOCH:
            self._release(session)
            return acknowledged, {}
        if request.is_renew_ack or request.max_records <= 0:
            return acknowledged, {}
        is_strict = api_version >= 2 and request.share_acquire_mode == _RECORD_LIMIT
        fetch = _Fetch(self.partitions, session, request, is_strict, min(request.max_bytes, self._fetch_max_bytes))
        try:
            return acknowledged, await fetch.run(self._clock.monotonic_ms() + request.max_wait_ms, self._clock)
        finally:
            fetch.close()


class _Fetch:
    """One ShareFetch while it looks for records."""

    def __init__(
        self,
        partitions: SharePartitions,
        session: ShareSession,
        request: ShareFetchRequest,
        is_strict: bool,
        max_bytes: int,
    ) -> None:
        self._partitions = partitions
        self._session = session
        self._request = request
        self._is_strict = is_strict
        self._max_bytes = max_bytes
        self._watch = FetchWatch()
        self._watched: dict[SharePartitionKey, LedSharePartition] = {}
        keys = list(session.partitions)
        # Another partition comes first each time (PartitionRotateStrategy).
        first = session.epoch % len(keys) if keys else 0
        self._keys = keys[first:] + keys[:first]

    async def run(self, deadline_ms: float, clock: Any) -> Fetched:
        """What there is, or what comes until the deadline."""
        loop = asyncio.get_running_loop()
        while True:
            fetched = self._look()
            left_ms = deadline_ms - clock.monotonic_ms()
            if fetched or left_ms <= 0 or self._session.connection.closed:
                return fetched
            moved: asyncio.Future[None] = loop.create_future()
            self._watch.waiting = moved
            timer = loop.call_later(left_ms / 1000, _settle, moved)
            try:
                await moved
            finally:
                timer.cancel()
                self._watch.waiting = None

    def close(self) -> None:
        """Watch nothing any more."""
        for led in self._watched.values():
            led.watches.pop(self._watch, None)
            led.replica.consumer_watches.pop(self._watch, None)

    def _look(self) -> Fetched:
        fetched: Fetched = {}
        max_records, max_bytes = self._request.max_records, self._max_bytes
        for key in self._keys:
            if max_records <= 0 or (max_bytes <= 0 and fetched):
                break
            try:
                led = self._partitions.get(key)
                self._look_again_when_moved(key, led)
                if led.machine is None:
                    continue
                found = self._acquire(led, max_records, max_bytes)
            except KafkaError as error:
                fetched[key] = FetchedRecords(b"", [], error)
                continue
            if found is not None:
                fetched[key] = found
                max_records -= sum(each.last_offset - each.first_offset + 1 for each in found.acquired)
                max_bytes -= len(found.records)
        return fetched

    def _look_again_when_moved(self, key: SharePartitionKey, led: LedSharePartition) -> None:
        before = self._watched.get(key)
        if before is led:
            return
        if before is not None:
            before.watches.pop(self._watch, None)
            before.replica.consumer_watches.pop(self._watch, None)
        self._watched[key] = led
        led.watches[self._watch] = key
        led.replica.consumer_watches[self._watch] = key

    def _acquire(self, led: LedSharePartition, max_records: int, max_bytes: int) -> FetchedRecords | None:
        """Records for the member; None if there are none for it now.

        Raises:
            KafkaError: the log cannot be read.
        """
        machine, files = led.machine, led.replica.log
        assert machine is not None
        group_id, member_id = self._session.key
        partitions = self._partitions
        machine.limits = partitions.limits(group_id)
        machine.on_log_start(files.log_start_offset)
        committed = partitions.reads_committed(group_id)
        limit = files.last_stable_offset if committed else files.high_watermark
        while machine.can_acquire():
            offset = machine.next_fetch_offset()
            if offset >= limit:
                return None
            try:
                data = memoryview(
                    files.read(offset, max(1, min(max_bytes, _MAX_READ_BYTES)), max_offset=limit, min_one_message=True)
                )
            except OSError as error:
                raise partitions.read_failed(led.replica, error) from error
            batches: list[tuple[BatchHeader, int, int]] = []
            position = 0
            for header, _ in iter_batches(data):
                size = header.size_in_bytes
                if header.last_offset >= offset and header.last_offset < limit:
                    batches.append((header, position, position + size))
                position += size
            if not batches:
                return None
            acquired = machine.acquire(
                member_id,
                offset,
                [OffsetRange(header.base_offset, header.last_offset) for header, _, _ in batches],
                partitions.now(),
                max_records=max_records,
                is_strict=self._is_strict,
                batch_size=self._request.batch_size,
                aborted=_unreadable([header for header, _, _ in batches], files, offset, limit, committed),
            )
            if acquired:
                partitions.arm(led)
                first, last = acquired[0].first_offset, acquired[-1].last_offset
                wanted = [each for each in batches if each[0].last_offset >= first and each[0].base_offset <= last]
                return FetchedRecords(bytes(data[wanted[0][1] : wanted[-1][2]]), acquired, None)
            if machine.next_fetch_offset() <= offset:
                return None
        return None


def _unreadable(headers: list[BatchHeader], files: Any, offset: int, limit: int, committed: bool) -> Any:
    """Tells of offsets where nobody shall read: markers, and with read_committed what was aborted."""
    ranges = [(each.base_offset, each.last_offset) for each in headers if each.is_control]
    if committed:
        aborted = files.aborted_transactions(offset, limit)
        ranges += [
            (each.base_offset, each.last_offset)
            for each in headers
            if each.is_transactional
            and not each.is_control
            and any(
                one.producer_id == each.producer_id and one.first_offset <= each.base_offset <= one.last_offset
                for one in aborted
            )
        ]
    if not ranges:
        return None
    return lambda at: any(first <= at <= last for first, last in ranges)


def _session_key(request: ShareFetchRequest | ShareAcknowledgeRequest) -> SessionKey:
    """Raises: KafkaError: INVALID_REQUEST."""
    if not request.group_id or not request.member_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a share session has a group id and a member id")
    return SessionKey(request.group_id, request.member_id)


def _acknowledgements(
    request: ShareFetchRequest | ShareAcknowledgeRequest,
) -> dict[SharePartitionKey, list[AcknowledgedRange]]:
    topics: Iterable[Any] = request.topics
    return {
        SharePartitionKey(request.group_id or "", topic.topic_id, each.partition_index): [
            AcknowledgedRange(batch.first_offset, batch.last_offset, batch.acknowledge_types)
            for batch in each.acknowledgement_batches
        ]
        for topic in topics
        for each in topic.partitions
        if each.acknowledgement_batches
    }


def _settle(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)
