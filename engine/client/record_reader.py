"""Reading records of several topics from some place on, without end: what a console's tail shows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from engine.client.admin import AdminClient
from engine.client.admin.offsets import OffsetAt, OffsetSpec
from engine.client.channel import Address
from engine.client.errors import ClientError
from engine.client.fetched_records import FetchedRecord, decode_fetched
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from engine.wire.messages.fetch_response import FetchResponse, PartitionData

if TYPE_CHECKING:
    from engine.world import World

# Later versions name topics by id only.
_FETCH_BY_NAME = 12
_MAX_WAIT_MS = 500
_PARTITION_BYTES = 256 * 1024
_ANSWER_BYTES = 2 * 1024 * 1024
# Fetching pauses while so many records wait to be taken.
_MAX_WAITING = 5_000
_METADATA_INTERVAL_MS = 5_000
_RETRY_S = 0.25
_NOT_HERE = (
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.REPLICA_NOT_AVAILABLE,
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
)


class StartKind(StrEnum):
    """Where reading begins."""

    END = "end"
    START = "start"
    OFFSET = "offset"
    TIMESTAMP = "timestamp"


class StartAt(NamedTuple):
    """A place in each log. ``value``: an offset (negative: so many before the end) or wall-clock milliseconds.

    What lies outside a log is moved to its nearer end.
    """

    kind: StartKind = StartKind.END
    value: int = 0


AT_END = StartAt()


class ReadBatch(NamedTuple):
    """Records in the order of each partition. ``problem`` says what is not being read now, and why; ``caught_up`` that
    every partition was read to its end. ``positions`` are the offsets to read next (``None``: the start is not found
    yet), ``ends`` the ends that leaders told last."""

    records: list[FetchedRecord]
    problem: str
    caught_up: bool
    positions: dict[TopicPartition, int | None]
    ends: dict[TopicPartition, int]


class RecordReader:
    """``async for batch in reader``; with connections of its own, for a long-polling fetch delays what shares one.

    Leaders that move, brokers that are down, partitions that are added: all are followed; what cannot be read for now
    is named in :attr:`ReadBatch.problem`. Partitions added later are read from their start.
    """

    def __init__(
        self,
        world: World,
        bootstrap: Iterable[Address],
        topics: Iterable[str],
        *,
        partitions: Iterable[int] | None = None,
        start: StartAt = AT_END,
        starts: Mapping[TopicPartition, int] | None = None,
        read_committed: bool = False,
        include_control: bool = False,
        client_id: str = "kconsole-reader",
        request_timeout_ms: float = 3_000,
    ) -> None:
        self._world = world
        self._admin = AdminClient(
            world, bootstrap, client_id=client_id, request_timeout_ms=request_timeout_ms, connect_timeout_ms=1_500
        )
        self._request_timeout_ms = request_timeout_ms
        self._topics = tuple(sorted(set(topics)))
        self._wanted = None if partitions is None else frozenset(partitions)
        self._read_committed = read_committed
        self._include_control = include_control
        self._start = start
        # Offsets to begin at instead; one that is not there any more is moved to the nearer end by the first fetch.
        self._starts = dict(starts or {})
        # Offsets to read next; None until the start is found.
        self._positions: dict[TopicPartition, int | None] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._leaders: dict[TopicPartition, int] = {}
        self._problems: dict[str, str] = {}
        self._fetchers: dict[int, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._stale = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: list[FetchedRecord] = []
        self._told = ("", False)
        self._seen_topics = False
        self._closed = False

    # -- what its user calls

    def seek(self, start: StartAt) -> None:
        """Go on from another place; records that wait are dropped."""
        self._stop()
        self._start = start
        self._starts.clear()
        self._positions.clear()
        self._ends.clear()
        self._leaders.clear()
        self._waiting.clear()
        self._room.set()
        self._told = ("", False)
        self._seen_topics = False
        if not self._closed:
            self._following = asyncio.ensure_future(self._follow())

    def close(self) -> None:
        """End reading; the iteration ends."""
        self._closed = True
        self._stop()
        self._admin.close()
        self._news.set()

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each partition whose start was found."""
        return {partition: offset for partition, offset in self._positions.items() if offset is not None}

    async def __aiter__(self) -> AsyncIterator[ReadBatch]:
        if self._following is None and not self._closed:
            self._following = asyncio.ensure_future(self._follow())
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if self._closed:
                    return
                state = (self._problem(), self._caught_up())
                if self._waiting or state != self._told:
                    records, self._waiting = self._waiting, []
                    self._room.set()
                    self._told = state
                    yield ReadBatch(records, *state, self._positions.copy(), self._ends.copy())
                if self._following is not None and self._following.done():
                    self._following.result()
        finally:
            self.close()

    # -- following the metadata

    def _stop(self) -> None:
        for task in (self._following, *self._fetchers.values()):
            if task is not None:
                task.cancel()
        self._following = None
        self._fetchers.clear()

    async def _follow(self) -> None:
        """Keep each partition with the fetcher of its leader."""
        while True:
            self._stale.clear()
            try:
                await self._refresh()
                self._problems.pop("", None)
            except (ClientError, KafkaError) as error:
                self._problems[""] = str(error)
            self._news.set()
            unsettled = bool(self._problems) or None in self._positions.values()
            # A refresh that something asked for comes at once, but no more often than this.
            await asyncio.sleep(_RETRY_S)
            pause_s = _RETRY_S if unsettled else _METADATA_INTERVAL_MS / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stale.wait()

    async def _refresh(self) -> None:
        metadata = await self._admin.metadata(self._topics)
        leaders: dict[TopicPartition, int] = {}
        for name in self._topics:
            topic = metadata.topics.get(name)
            error = topic.error if topic is not None else KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if topic is None or error is not None:
                self._problems[name] = f"{name}: {error.code.name if error else 'unknown'}"
                continue
            self._problems.pop(name, None)
            absent = sorted((self._wanted or frozenset()) - {each.partition for each in topic.partitions})
            if absent:
                self._problems[name] = f"{name}: no partition {', '.join(map(str, absent))}"
            for each in topic.partitions:
                partition = TopicPartition(name, each.partition)
                if self._wanted is not None and each.partition not in self._wanted:
                    continue
                leaders[partition] = each.leader
                if each.leader < 0:
                    self._problems[str(partition)] = f"{partition}: no leader"
                else:
                    self._problems.pop(str(partition), None)
        for partition in [each for each in self._positions if each not in leaders]:
            # A topic that does not answer for a moment keeps its place; one that is gone has none.
            if partition.topic in metadata.topics and metadata.topics[partition.topic].error is None:
                del self._positions[partition]
        self._leaders = leaders
        await self._find_starts([each for each in sorted(leaders) if self._positions.get(each) is None])
        self._seen_topics = self._seen_topics or bool(leaders)
        for leader in sorted({each for each in leaders.values() if each >= 0}):
            task = self._fetchers.get(leader)
            if task is None or task.done():
                self._fetchers[leader] = asyncio.ensure_future(self._fetch_from(leader))

    async def _find_starts(self, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        added = [each for each in partitions if self._seen_topics and each not in self._positions]
        old = [each for each in partitions if each not in added]
        for each in partitions:
            self._positions[each] = None
        await self._start_at(added, StartAt(StartKind.START))
        self._place({each: self._starts[each] for each in old if each in self._starts})
        await self._start_at([each for each in old if each not in self._starts], self._start)

    async def _start_at(self, partitions: list[TopicPartition], start: StartAt) -> None:
        if not partitions:
            return
        if start.kind is StartKind.START:
            self._place(await self._offsets(partitions, OffsetSpec.EARLIEST))
            return
        ends = await self._offsets(partitions, OffsetSpec.LATEST)
        if start.kind is StartKind.END:
            self._place(ends)
        elif start.kind is StartKind.OFFSET:
            starts = await self._offsets(partitions, OffsetSpec.EARLIEST)
            self._place(
                {
                    each: min(max(start.value if start.value >= 0 else end + start.value, starts[each]), end)
                    for each, end in ends.items()
                    if each in starts
                }
            )
        else:
            found = await self._offsets(partitions, start.value)
            self._place({each: found[each] if found.get(each, -1) >= 0 else end for each, end in ends.items()})

    async def _offsets(self, partitions: list[TopicPartition], spec: int) -> dict[TopicPartition, int]:
        outcomes = await self._admin.list_offsets(dict.fromkeys(partitions, spec), read_committed=self._read_committed)
        return {each: outcome.offset for each, outcome in outcomes.items() if isinstance(outcome, OffsetAt)}

    def _place(self, offsets: dict[TopicPartition, int]) -> None:
        self._positions.update(offsets)

    # -- fetching

    async def _fetch_from(self, broker_id: int) -> None:
        """Fetch what the broker leads, until it leads nothing."""
        who = f"broker {broker_id}"
        while True:
            await self._room.wait()
            mine = [
                each
                for each, leader in self._leaders.items()
                if leader == broker_id and self._positions.get(each) is not None
            ]
            if not mine:
                self._problems.pop(who, None)
                return
            try:
                response: FetchResponse = await self._admin.brokers.send(
                    broker_id,
                    self._request(mine),
                    timeout_ms=_MAX_WAIT_MS + self._request_timeout_ms,
                    max_version=_FETCH_BY_NAME,
                )
            except ClientError as error:
                self._problems[who] = f"{who}: {error}"
                self._refresh_soon()
                await asyncio.sleep(_RETRY_S)
                continue
            self._problems.pop(who, None)
            for topic in response.responses:
                for data in topic.partitions:
                    await self._take(broker_id, TopicPartition(topic.topic, data.partition_index), data)
                    # Decoding is work: let others have their turn.
                    await asyncio.sleep(0)
            self._news.set()
            if len(self._waiting) >= _MAX_WAITING:
                self._room.clear()

    def _request(self, partitions: list[TopicPartition]) -> FetchRequest:
        topics: dict[str, FetchTopic] = {}
        for partition in partitions:
            position = self._positions[partition]
            assert position is not None
            topics.setdefault(partition.topic, FetchTopic(topic=partition.topic)).partitions.append(
                FetchPartition(
                    partition=partition.partition, fetch_offset=position, partition_max_bytes=_PARTITION_BYTES
                )
            )
        return FetchRequest(
            max_wait_ms=_MAX_WAIT_MS,
            min_bytes=1,
            max_bytes=_ANSWER_BYTES,
            isolation_level=int(self._read_committed),
            session_id=0,
            session_epoch=-1,
            topics=list(topics.values()),
        )

    async def _take(self, broker_id: int, partition: TopicPartition, data: PartitionData) -> None:
        position = self._positions.get(partition)
        if position is None or self._leaders.get(partition) != broker_id:
            return
        if data.error_code:
            await self._refused(partition, ErrorCode(data.error_code))
            return
        self._problems.pop(str(partition), None)
        self._ends[partition] = data.last_stable_offset if self._read_committed else data.high_watermark
        if data.records:
            decoded = decode_fetched(
                partition.topic,
                data,
                position,
                read_committed=self._read_committed,
                include_control=self._include_control,
            )
            self._positions[partition] = decoded.next_offset
            self._waiting += decoded.records

    async def _refused(self, partition: TopicPartition, code: ErrorCode) -> None:
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            # Retention removed it, or an unclean election shortened the log: go to the nearer end.
            start = StartAt(StartKind.OFFSET, self._positions[partition] or 0)
            with contextlib.suppress(ClientError, KafkaError):
                await self._start_at([partition], start)
            return
        self._problems[str(partition)] = f"{partition}: {code.name}"
        if code in _NOT_HERE:
            self._leaders[partition] = -1
        self._refresh_soon()

    def _refresh_soon(self) -> None:
        self._stale.set()
        self._news.set()

    # -- state

    def _problem(self) -> str:
        return "; ".join(self._problems[each] for each in sorted(self._problems))

    def _caught_up(self) -> bool:
        return bool(self._positions) and all(
            position is not None and position >= self._ends.get(each, position + 1)
            for each, position in self._positions.items()
        )
