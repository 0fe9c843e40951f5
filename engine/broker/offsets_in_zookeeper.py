"""``offsets.storage``: what becomes of the offset records of the group coordinator where ZooKeeper coordinates.

With ``offsets.storage=zookeeper`` committed offsets go to ZooKeeper and everything else goes on standing in
``__consumer_offsets``: groups with their members, and the offsets of transactions until these have ended, since only a
log can undo them. When a transaction was committed its offsets are written to ZooKeeper as well; should that not come
about, the next coordinator finds them in the log, later than what ZooKeeper has, and does it. The end of an offset is
written to both.

With ``offsets.storage=kafka`` everything is in the log. Offsets that stand in ZooKeeper since it was otherwise, and
later than what the log has, come into the log when it is loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.broker.zookeeper_offsets import Change, CoordinatedOffsets
from engine.core.group.offsets import OffsetAndMetadata
from engine.core.znodes import consumer_offsets
from engine.core.znodes.consumer_offsets import KeptOffset, decode_offset, encode_offset, offset_path
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_value import OffsetCommitValue
from engine.wire.record_frames import decode_coordinator_record
from engine.zookeeper.errors import NodeExists, NoNode, ZooKeeperError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.broker.coordinator_log import CoordinatorLogs, KeyValue, TransactionalProducer, TransactionMarker
    from engine.broker.offset_storage import Partitions
    from engine.core.group.shard import GroupCoordinatorShard
    from engine.world import Buffer
    from engine.zookeeper.session import ZooKeeperSession

log = logging.getLogger(__name__)

_MOST_NAME_BYTES = 4096
_OFFSET_KEY_TYPES = (b"\x00\x00", b"\x00\x01")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


_Key = tuple[str, str, int]
"""Group, topic and partition number."""


class _Open(NamedTuple):
    """What a partition has while this broker coordinates it."""

    offsets: CoordinatedOffsets
    shard: GroupCoordinatorShard
    settlement: _Settlement


class OffsetsInZooKeeper:
    """Satisfies :class:`~engine.broker.offset_storage.OffsetStorage`."""

    def __init__(
        self,
        session: ZooKeeperSession,
        logs: CoordinatorLogs,
        node_id: int,
        *,
        is_in_use: bool,
    ) -> None:
        """``is_in_use``: offsets.storage is zookeeper."""
        self._session = session
        self._logs = logs
        self._node_id = node_id
        self._is_in_use = is_in_use
        self._open: dict[int, _Open] = {}
        # The log's, which are the same here.
        self.log_start_offset = logs.log_start_offset
        self.log_end_offset = logs.log_end_offset
        self.high_watermark = logs.high_watermark
        self.max_batch_bytes = logs.max_batch_bytes
        self.check_append = logs.check_append
        self.on_high_watermark_advanced = logs.on_high_watermark_advanced

    @property
    def keeps_offsets_in_log(self) -> bool:
        """Whether committed offsets are records of the log."""
        return not self._is_in_use

    def takes(self, group_id: str) -> bool:
        """Whether ZooKeeper would take its offsets: each is in a path, and up to seven paths are in one request."""
        return not self._is_in_use or len(consumer_offsets.name_of(group_id).encode()) <= _MOST_NAME_BYTES

    def read(self, partition: int, offset: int, max_bytes: int) -> Buffer:
        """As the log."""
        return self._logs.read(partition, offset, max_bytes)

    # -- loading ------------------------------------------------------------------------------------------------

    async def complete_loading(
        self, number: int, leader_epoch: int, shard: GroupCoordinatorShard, owns: Callable[[str], bool]
    ) -> None:
        """Take the coordinator's place in ZooKeeper, and give the shard what stands there. As long as ZooKeeper is not
        reached this goes on: half of the offsets would look like consumers that never committed.

        Raises:
            KafkaError: NOT_COORDINATOR: another broker coordinates the partition in a later leader epoch.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not self._is_in_use and not await self._was_in_use(number):
                    return
                offsets, found = await CoordinatedOffsets.open(self._session, self._node_id, number, leader_epoch, owns)
                break
            except ZooKeeperError as error:
                if pause_s == _LONGEST_PAUSE_S:
                    log.warning("offsets of __consumer_offsets-%d cannot be read, on and on: %s", number, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        settlement = _Settlement(offsets, shard)
        self._open[number] = _Open(offsets, shard, settlement)
        as_kept = set()
        for each in found:
            # What others set in ZooKeeper is no business of a coordinator that keeps its offsets in the log.
            if (each.is_ours or self._is_in_use) and shard.replay_kept_offset(
                each.group_id, each.topic, each.partition, _as_committed(each.kept, each.kept.log_offset)
            ):
                as_kept.add((each.group_id, each.topic, each.partition))
        committed = shard.offsets.committed
        keys = [
            (group, topic, number) for group in committed.by_group for topic, number, _ in committed.of_group(group)
        ]
        if self._is_in_use and (later := [key for key in keys if key not in as_kept]):
            settlement.expect(later)
            settlement.begin(later)

    async def _was_in_use(self, number: int) -> bool:
        return await self._session.exists(consumer_offsets.coordinator_path(number)) is not None

    def on_unloaded(self, number: int) -> None:
        """What waits is not written."""
        if (found := self._open.pop(number, None)) is not None:
            found.offsets.close()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        partition: int,
        leader_epoch: int,
        records: list[KeyValue],
        timeout_ms: int,
        producer: TransactionalProducer | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Append one batch, each record to where it belongs; what is returned waits for both.

        Raises:
            KafkaError: as the log; nothing is written to ZooKeeper then.

        What is returned raises:
            KafkaError: as the log; NOT_COORDINATOR or COORDINATOR_NOT_AVAILABLE when ZooKeeper has not acknowledged:
                then only loading the partition anew tells what it has.
        """
        found = self._open.get(partition)
        if found is None or producer is not None:
            return self._logs.append(partition, leader_epoch, records, timeout_ms, producer)
        kept: list[Change] = []
        logged: list[KeyValue] = []
        for key, value in records:
            if bytes(key[:2]) not in _OFFSET_KEY_TYPES:
                logged.append((key, value))
                continue
            if value is None or not self._is_in_use:
                logged.append((key, value))
            if value is None or self._is_in_use:
                kept.append(_change(key, value))
        committed = self._logs.append(partition, leader_epoch, logged, timeout_ms) if logged else None
        if not kept:
            assert committed is not None, "a batch of no records"
            return committed
        after = self._logs.log_end_offset(partition) - 1
        changes = [
            change._replace(kept=None if change.kept is None else change.kept._replace(log_offset=after))
            for change in kept
        ]
        return _both(found.offsets.write(changes), committed, timeout_ms)

    def append_marker(
        self, partition: int, leader_epoch: int, marker: TransactionMarker, timeout_ms: int
    ) -> Coroutine[Any, Any, None]:
        """The end of a transaction. Its offsets count when the marker is in the log; then they go to ZooKeeper, which
        nobody waits for."""
        committed = self._logs.append_marker(partition, leader_epoch, marker, timeout_ms)
        found = self._open.get(partition)
        if found is None or not self._is_in_use or not marker.committed:
            return committed
        pending = found.shard.offsets.pending_by_producer.get(marker.producer_id)
        if pending is None:
            return committed
        keys = [(group, topic, number) for group in pending.by_group for topic, number, _ in pending.of_group(group)]
        found.settlement.expect(keys)
        return found.settlement.behind(committed, keys)

    # -- reading ------------------------------------------------------------------------------------------------

    async def set_by_others(
        self, number: int, group_id: str, partitions: Partitions | None
    ) -> list[tuple[str, int, OffsetAndMetadata | None]]:
        """What consumers of old and people have set or deleted in ZooKeeper.

        Raises:
            KafkaError: COORDINATOR_LOAD_IN_PROGRESS: ZooKeeper is not reached.
        """
        here = self._open.get(number)
        if here is None or not self._is_in_use:
            return []
        shard = here.shard
        known = [(topic, partition) for topic, partition, _ in shard.offsets.committed.of_group(group_id)]
        try:
            found = await here.offsets.set_by_others(group_id, partitions, known)
        except ZooKeeperError as error:
            # A code at which clients of every age ask the same broker again.
            code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            raise KafkaError(code, f"offsets of group {group_id} cannot be read: {error}") from None
        after = shard.last_record_offset
        return [
            (topic, each, None if kept is None else _as_committed(kept, after))
            for topic, each, kept in found
            if (group_id, topic, each) not in here.settlement
        ]

    # -- version 0 ----------------------------------------------------------------------------------------------

    async def commit_directly(self, group_id: str, topic: str, partition: int, offset: int) -> None:
        """As KafkaZkClient.setOrCreateConsumerOffset. Raises: ZooKeeperError."""
        path, data = offset_path(group_id, topic, partition), encode_offset(offset)
        while True:
            try:
                await self._session.set(path, data)
                return
            except NoNode:
                try:
                    await self._session.create(path, data, make_parents=True)
                    return
                except NodeExists:
                    continue

    async def committed_directly(self, group_id: str, topic: str, partition: int) -> int | None:
        """As KafkaZkClient.getConsumerOffset. Raises: ZooKeeperError, ZnodeNotUnderstood."""
        path = offset_path(group_id, topic, partition)
        try:
            return decode_offset(path, (await self._session.get(path)).data)
        except NoNode:
            return None


async def _both(written: Awaitable[object], committed: Coroutine[Any, Any, None] | None, timeout_ms: int) -> None:
    async def in_time() -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await written
        except TimeoutError:
            message = f"ZooKeeper has not acknowledged offsets within {timeout_ms} ms"
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, message) from None

    waited = [in_time()] if committed is None else [in_time(), committed]
    # ZooKeeper's refusal first: after it the partition has to be loaded anew.
    for outcome in await asyncio.gather(*waited, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


class _Settlement:
    """Writes offsets that the log has to ZooKeeper: those of transactions that were committed, and those that were
    committed before offsets.storage was what it is. Nobody waits for it."""

    def __init__(self, offsets: CoordinatedOffsets, shard: GroupCoordinatorShard) -> None:
        self._offsets = offsets
        self._shard = shard
        self._expected: Counter[_Key] = Counter()
        self._ready: Counter[_Key] = Counter()
        self._runs = False

    def __contains__(self, key: _Key) -> bool:
        """Whether the log knows better than ZooKeeper."""
        return key in self._expected

    def expect(self, keys: Iterable[_Key]) -> None:
        """These will come, whatever happens: :meth:`begin` is called for each once."""
        self._expected.update(keys)

    def begin(self, keys: Iterable[_Key]) -> None:
        """Write them as they stand when it can be done."""
        self._ready.update(keys)
        if self._ready and not self._runs and not self._offsets.closed:
            self._runs = True
            self._offsets.start(self._write())

    async def _write(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._ready and not self._offsets.closed:
            taken, self._ready = self._ready, Counter()
            try:
                await self._offsets.write(list(_changes(self._shard, taken)))
            except KafkaError as error:
                if pause_s == _FIRST_PAUSE_S:
                    log.warning("%d offsets of the log are not in ZooKeeper yet: %s", len(taken), error.message)
                self._ready.update(taken)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S
                self._expected -= taken
        self._runs = False

    async def behind(self, committed: Coroutine[Any, Any, None], keys: list[_Key]) -> None:
        """Begin when the marker is committed, and when it is not in time: how a transaction ends was decided before."""
        try:
            await committed
        finally:
            self.begin(keys)


def _changes(shard: GroupCoordinatorShard, keys: Iterable[tuple[str, str, int]]) -> Iterable[Change]:
    for group_id, topic, partition in keys:
        committed = shard.offsets.committed.get(group_id, topic, partition)
        if committed is not None:
            yield Change(group_id, topic, partition, _as_kept(committed))


def _change(key: bytes, value: bytes | None) -> Change:
    decoded = decode_coordinator_record(key, value, "group")
    assert decoded is not None, "an offset's record is of a known type"
    where, committed = decoded
    assert isinstance(where, OffsetCommitKey), where
    if committed is None:
        return Change(where.group, where.topic, where.partition, None)
    assert isinstance(committed, OffsetCommitValue), committed
    kept = KeptOffset(
        committed.offset,
        committed.leader_epoch,
        committed.metadata,
        committed.commit_timestamp,
        committed.expire_timestamp,
        committed.topic_id,
    )
    return Change(where.group, where.topic, where.partition, kept)


def _as_kept(offset: OffsetAndMetadata) -> KeptOffset:
    return KeptOffset(
        offset.committed_offset,
        offset.leader_epoch,
        offset.metadata,
        offset.commit_timestamp_ms,
        offset.expire_timestamp_ms,
        offset.topic_id,
        offset.record_offset,
    )


def _as_committed(kept: KeptOffset, record_offset: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(
        kept.offset,
        kept.leader_epoch,
        kept.metadata,
        kept.commit_timestamp_ms,
        kept.expire_timestamp_ms,
        kept.topic_id,
        record_offset,
    )
