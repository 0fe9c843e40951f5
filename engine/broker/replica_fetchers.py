"""Copies from leaders: one fetcher for each broker that leads partitions which this broker follows.

Kafka: ReplicaFetcherManager, ReplicaFetcherThread. A fetcher asks for all of its partitions at once and waits at the
leader for records (replica.fetch.wait.max.ms). Where logs parted, the leader says so in its answer (KIP-595's
diverging epoch); the follower cuts its log there and goes on. A partition that comes to a fetcher which is waiting
interrupts the wait: after an election nobody loses half a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.broker.fetch_sessions import NO_SESSION
from engine.broker.replica import Replica
from engine.client.channel import Channel
from engine.client.errors import ClientError, ConnectionLost
from engine.core.replica.truncation import EpochEnd, truncation_for
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.storage.failure import LogDirFailure
from engine.wire.messages.fetch_request import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
    ReplicaState,
)
from engine.wire.messages.fetch_response import FetchResponse, PartitionData
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from engine.wire.messages.list_offsets_response import ListOffsetsResponse

if TYPE_CHECKING:
    from engine.broker.replica_manager import ReplicaManager
    from engine.core.controller.image import MetadataImage
    from engine.world import World

log = logging.getLogger(__name__)

_FETCH_VERSION = 17
_LIST_OFFSETS_VERSION = 7
_LATEST, _EARLIEST = -1, -2
# The request's own wait, and this much for the way there and back.
_GRACE_MS = 5_000
_STALE_RETRY_MS = 30
# Where a position stands that the leader answered with an error: equal to none.
_REFUSED = (-1, -1, -1, -1)
_UNFLUSHED_RETRY_MS = 5
# Replicas that are copied too fast are left out of requests for this long.
_THROTTLED_RETRY_MS = 100

_SESSION_ERRORS = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
    }
)
_WAIT_FOR_METADATA = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.KAFKA_STORAGE_ERROR,
    }
)


class ReplicaFetchers:
    """All fetchers of this broker."""

    def __init__(
        self, world: World, manager: ReplicaManager, address_of: Callable[[int], tuple[str, int] | None]
    ) -> None:
        """``address_of(broker_id)`` is the broker's inter.broker.listener.name, as it advertises it."""
        self._world = world
        self._manager = manager
        self._address_of = address_of
        self._fetchers: dict[int, ReplicaFetcher] = {}
        # Where each replica is fetched from.
        self._leader_of: dict[Replica, int] = {}
        self._stopped = False

    def assign(self, image: MetadataImage, replicas: Iterable[Replica]) -> None:
        """Fetch each replica from its present leader, if another broker leads it."""
        # The quorum ends after the replicas: metadata goes on to change meanwhile.
        if self._stopped:
            return
        started: dict[int, None] = {}
        for replica in replicas:
            partition = replica.partition
            leader_id = -1 if partition.is_leader or replica.is_offline else partition.leader_id
            before = self._leader_of.get(replica, -1)
            if before >= 0 and before != leader_id:
                self.remove(replica)
            if leader_id < 0:
                continue
            self._leader_of[replica] = leader_id
            fetcher = self._fetchers.get(leader_id)
            if fetcher is None:
                fetcher = self._fetchers[leader_id] = ReplicaFetcher(
                    self._world,
                    self._manager,
                    leader_id,
                    lambda to=leader_id: self._address_of(to),  # type: ignore[misc]
                )
            if fetcher.add(replica):
                started[leader_id] = None
        for leader_id in started:
            self._fetchers[leader_id].wake()
        for fetcher in self._fetchers.values():
            fetcher.on_address_may_have_changed()

    def remove(self, replica: Replica) -> None:
        """Do not fetch this replica."""
        leader_id = self._leader_of.pop(replica, None)
        if leader_id is not None:
            self._fetchers[leader_id].remove(replica)

    async def stop(self) -> None:
        """End all fetchers, and start no more: what they copied would go into logs that are closed."""
        self._stopped = True
        fetchers = list(self._fetchers.values())
        self._fetchers.clear()
        self._leader_of.clear()
        await asyncio.gather(*(each.stop() for each in fetchers))


class ReplicaFetcher:
    """Fetches from one leader."""

    def __init__(
        self,
        world: World,
        manager: ReplicaManager,
        leader_id: int,
        address: Callable[[], tuple[str, int] | None],
    ) -> None:
        self._world = world
        self._manager = manager
        self._leader_id = leader_id
        config = manager.config
        self._channel = Channel(
            world,
            address,
            f"broker-{config.node_id}-fetcher-{leader_id}",
            backoff_ms=20,
            # A leader that comes back must not wait long for its followers.
            backoff_max_ms=min(config.replica_fetch_backoff_ms, 200),
        )
        self._address = address
        self._last_address = address()
        # Replicas by (topic id, partition); the value says when it may be asked for (monotonic ms).
        self._replicas: dict[tuple[Uuid, int], tuple[Replica, float]] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._exchange: asyncio.Task[FetchResponse] | None = None
        self._said = ""
        # When replicas whose logs are being flushed may be asked for.
        self._next_request_ms: float | None = None
        # The fetch session at the leader: its id, the epoch of the next request, and what it was told of each replica
        # (leader epoch, fetch offset, last fetched epoch, log start offset).
        self._session_id = NO_SESSION
        self._session_epoch = 0
        self._told: dict[tuple[Uuid, int], tuple[int, int, int, int]] = {}

    def add(self, replica: Replica) -> bool:
        """Fetch this replica too; whether that is news (a new replica, or one that had to wait for new metadata)."""
        key = (replica.topic_id, replica.topic_partition.partition)
        known = self._replicas.get(key)
        self._replicas[key] = (replica, float("-inf"))
        return known is None or known[0] is not replica or known[1] > float("-inf")

    def remove(self, replica: Replica) -> None:
        """Do not fetch this replica; an answer that is on its way is not taken."""
        self._replicas.pop((replica.topic_id, replica.topic_partition.partition), None)

    def wake(self) -> None:
        """There are partitions that the request under way does not ask for: ask anew."""
        self._channel.reset_backoff()
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._exchange is not None:
            # The leader handles a connection's requests one after the other: only another connection is quick.
            self._channel.drop()

    def on_address_may_have_changed(self) -> None:
        """The leader may have come back elsewhere, or at all."""
        address = self._address()
        if address != self._last_address:
            self._last_address = address
            self._channel.on_moved()

    async def stop(self) -> None:
        """End; nothing is appended any more."""
        self._replicas.clear()
        self._channel.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    # -- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff_ms = float(self._manager.config.replica_fetch_backoff_ms)
        while True:
            self._news.clear()
            request = self._request()
            if request is None:
                await self._pause(self._time_to_next())
                continue
            try:
                # A task of its own, so that dropping the channel ends it and a cancellation of this one as well.
                self._exchange = asyncio.get_running_loop().create_task(self._send(request))
                try:
                    response: FetchResponse = await self._exchange
                finally:
                    self._exchange.cancel()
                    self._exchange = None
            except ClientError as error:
                if isinstance(error, ConnectionLost) and not self._news.is_set():
                    self._manager.suspects.on_connection_lost(self._leader_id)
                self._start_session_anew()
                if not self._news.is_set():
                    self._say(str(error))
                    await self._pause(backoff_ms / 20)
                continue
            except Exception:
                self._start_session_anew()
                log.exception("fetching from broker %d failed", self._leader_id)
                await self._pause(backoff_ms)
                continue
            self._said = ""
            self._manager.suspects.on_heard(self._leader_id)
            if response.error_code:
                self._start_session_anew()
                if response.error_code not in _SESSION_ERRORS:
                    self._say(ErrorCode(response.error_code).name)
                    await self._pause(backoff_ms)
                continue
            try:
                await self._take(response)
            except Exception:
                log.exception("an answer of broker %d could not be used", self._leader_id)
                await self._pause(backoff_ms)

    async def _send(self, request: FetchRequest) -> FetchResponse:
        """The answer. Raises: ClientError: there is none, or there is news that the request does not tell."""
        if not self._channel.connected:
            await self._channel.connection()
        if self._news.is_set():
            # It came before there was a connection that could have been dropped: the leader would keep the request for
            # replica.fetch.wait.max.ms.
            raise ConnectionLost("there is news")
        response: FetchResponse = await self._channel.send(
            request,
            version=_FETCH_VERSION,
            timeout_ms=self._manager.config.replica_fetch_wait_max_ms + _GRACE_MS,
        )
        return response

    async def _pause(self, pause_ms: float | None) -> None:
        try:
            async with asyncio.timeout(None if pause_ms is None else pause_ms / 1000):
                await self._news.wait()
        except TimeoutError:
            pass

    def _time_to_next(self) -> float | None:
        """How long until some replica may be asked for again; None without any."""
        if not self._replicas:
            return None
        now_ms = self._world.clock.monotonic_ms()
        next_ms = min(at for _, at in self._replicas.values())
        return max(1.0, (self._next_request_ms or next_ms) - now_ms)

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.info("fetching from broker %d: %s", self._leader_id, what)

    def _request(self) -> FetchRequest | None:
        """The next request: in a session only what changed since the last one; None if nothing may be asked for."""
        config = self._manager.config
        now_ms = self._world.clock.monotonic_ms()
        positions: dict[tuple[Uuid, int], tuple[int, int, int, int]] = {}
        max_wait_ms = float(config.replica_fetch_wait_max_ms)
        unflushed = False
        is_too_fast = self._manager.follower_throttle.is_exceeded
        for key, (replica, not_before_ms) in list(self._replicas.items()):
            files = replica.log
            end_offset = files.log_end_offset
            if not_before_ms > now_ms:
                # The leader must not hold this request for longer than the other replica has to wait.
                max_wait_ms = min(max_wait_ms, not_before_ms - now_ms)
            elif replica.durable and files.durable_end_offset < end_offset:
                # An offset says "I have everything before", which means the device here; after a start it may not have.
                self._manager.flusher.ask_in_background(replica)
                max_wait_ms = min(max_wait_ms, _UNFLUSHED_RETRY_MS)
                unflushed = True
            elif is_too_fast and self._manager.is_throttled_follower(replica):
                max_wait_ms = min(max_wait_ms, _THROTTLED_RETRY_MS)
                self._replicas[key] = (replica, now_ms + _THROTTLED_RETRY_MS)
            else:
                positions[key] = (
                    replica.partition.leader_epoch,
                    end_offset,
                    files.leader_epochs.latest_epoch,
                    files.log_start_offset,
                )
        self._next_request_ms = now_ms + _UNFLUSHED_RETRY_MS if unflushed else None
        if not positions:
            return None
        told = self._told if self._session_epoch > 0 else {}
        topics: dict[Uuid, FetchTopic] = {}
        for key, position in positions.items():
            if told.get(key) == position:
                continue
            topic_id, number = key
            topic = topics.get(topic_id)
            if topic is None:
                topic = topics[topic_id] = FetchTopic(self._replicas[key][0].topic_partition.topic, topic_id)
            leader_epoch, offset, last_epoch, log_start_offset = position
            topic.partitions.append(
                FetchPartition(
                    number, leader_epoch, offset, last_epoch, log_start_offset, config.replica_fetch_max_bytes
                )
            )
        forgotten: dict[Uuid, ForgottenTopic] = {}
        for topic_id, number in told:
            if (topic_id, number) not in positions:
                forgotten.setdefault(topic_id, ForgottenTopic(topic_id=topic_id)).partitions.append(number)
        self._told = positions
        return FetchRequest(
            replica_state=ReplicaState(config.node_id, self._manager.view.local_broker_epoch),
            max_wait_ms=max(1, int(max_wait_ms)),
            min_bytes=config.replica_fetch_min_bytes,
            max_bytes=config.replica_fetch_response_max_bytes,
            session_id=self._session_id,
            session_epoch=self._session_epoch,
            topics=list(topics.values()),
            forgotten_topics_data=list(forgotten.values()),
        )

    def _start_session_anew(self) -> None:
        """The leader does not know where the session stands: the next request tells everything."""
        self._session_epoch = 0

    async def _take(self, response: FetchResponse) -> None:
        self._session_id = response.session_id
        self._session_epoch = self._session_epoch + 1 if response.session_id else 0
        durable: list[Replica] = []
        for topic in response.responses:
            for data in topic.partitions:
                key = (topic.topic_id, data.partition_index)
                known = self._replicas.get(key)
                told = self._told.get(key)
                if known is None or told is None:
                    continue
                replica = known[0]
                if (
                    replica.is_offline
                    or replica.partition.is_leader
                    or replica.partition.leader_epoch != told[0]
                    or replica.log.log_end_offset != told[1]
                ):
                    continue  # an election or a truncation came between: the answer is about the past
                try:
                    await self._take_partition(replica, data)
                except LogDirFailure:
                    continue  # its directory is offline now
                except KafkaError as error:
                    log.error("%s cannot take what broker %d sent: %s", replica.topic_partition, self._leader_id, error)
                    self._delay(replica)
                if replica.durable and replica.log.durable_end_offset < replica.log.log_end_offset:
                    durable.append(replica)
        # A fetch offset says "I have everything before": where that means the device, the next fetch waits for it.
        for replica in durable:
            self._manager.flusher.ask(replica)
        for replica in durable:
            await self._manager.flusher.flush(replica)

    async def _take_partition(self, replica: Replica, data: PartitionData) -> None:
        error = data.error_code
        if error == 0:
            diverging = data.diverging_epoch
            if diverging.end_offset >= 0 or diverging.epoch >= 0:
                self._truncate(replica, EpochEnd(diverging.epoch, diverging.end_offset))
                return
            records = data.records
            manager = self._manager
            if records:
                manager.replication_bytes_in += len(records)
                if manager.is_throttled_follower(replica):
                    manager.follower_throttle.record(len(records))
            manager.append_as_follower(replica, records or b"", data.high_watermark)
            if data.log_start_offset > replica.log.log_start_offset:
                manager.move_log_start(replica, data.log_start_offset)
            return
        code = ErrorCode(error)
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            await self._reset_offset(replica)
        elif code in _WAIT_FOR_METADATA:
            # One of the two has not heard the newest metadata yet; it is on its way.
            self._delay(replica, _STALE_RETRY_MS)
        else:
            log.warning("%s: broker %d answered %s", replica.topic_partition, self._leader_id, code.name)
            self._delay(replica)

    def _delay(self, replica: Replica, pause_ms: float | None = None) -> None:
        key = (replica.topic_id, replica.topic_partition.partition)
        if key in self._told:
            # The leader did not take note of the position: the next request names the partition again, or forgets it.
            self._told[key] = _REFUSED
        if key in self._replicas:
            pause_ms = self._manager.config.replica_fetch_backoff_ms if pause_ms is None else pause_ms
            self._replicas[key] = (replica, self._world.clock.monotonic_ms() + pause_ms)

    def _truncate(self, replica: Replica, leader_end: EpochEnd) -> None:
        files = replica.log
        cut = truncation_for(files.leader_epochs, files.log_end_offset, replica.partition.high_watermark, leader_end)
        reason = (
            f"the leader's epoch {leader_end.epoch} ends at offset {leader_end.end_offset}: "
            f"what this replica has beyond {cut.offset} was never committed"
        )
        self._manager.truncate(replica, cut.offset, reason)

    async def _reset_offset(self, replica: Replica) -> None:
        """The leader does not have this replica's end: it ends earlier (an unclean election) or begins later."""
        latest = await self._leader_offset(replica, _LATEST)
        if latest is None:
            self._delay(replica)
            return
        if latest < replica.log.log_end_offset:
            self._manager.truncate(replica, latest, f"the leader's log ends at offset {latest} (unclean election)")
            return
        earliest = await self._leader_offset(replica, _EARLIEST)
        if earliest is None:
            self._delay(replica)
        elif earliest > replica.log.log_end_offset:
            self._manager.start_log_at(replica, earliest, f"the leader's log begins at offset {earliest}")
        else:
            # What was out of range is not any more, or never was by these numbers: not in a tight loop.
            self._delay(replica)

    async def _leader_offset(self, replica: Replica, timestamp: int) -> int | None:
        topic, number = replica.topic_partition
        request = ListOffsetsRequest(
            replica_id=self._manager.config.node_id,
            topics=[ListOffsetsTopic(topic, [ListOffsetsPartition(number, replica.partition.leader_epoch, timestamp)])],
        )
        epoch = replica.partition.leader_epoch
        try:
            response: ListOffsetsResponse = await self._channel.send(
                request, version=_LIST_OFFSETS_VERSION, timeout_ms=5000
            )
        except ClientError as error:
            self._say(str(error))
            return None
        answer = response.topics[0].partitions[0]
        if answer.error_code or replica.is_offline or replica.partition.leader_epoch != epoch:
            return None
        return answer.offset
