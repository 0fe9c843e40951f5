"""Committed offsets in ZooKeeper: the znodes of one coordinated partition, read when it is loaded and written in order.

Each group's offsets are written one multi after the other: what is committed meanwhile goes together into the next one,
the last value of each partition. Groups do not wait for each other: their multis are pipelined. Every multi checks the
znode in which the coordinator of the partition of ``__consumer_offsets`` has put itself, so one that was replaced, and
does not know it yet, writes nothing over what its successor has acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from engine.core.znodes import consumer_offsets
from engine.core.znodes.consumer_offsets import KeptOffset, KnownZnodes, ZnodeNotUnderstood
from engine.core.znodes.operations import Check, Operation, SetData, Znode
from engine.model.errors import ErrorCode, KafkaError
from engine.zookeeper.errors import BadVersion, MultiFailed, NodeExists, NoNode, NotEmpty, ZooKeeperError

if TYPE_CHECKING:
    from engine.zookeeper.session import ZooKeeperSession
    from engine.zookeeper.stat import ZnodeStat

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""Topic and partition number."""

T = TypeVar("T")

# In one multi: it keeps others waiting, and ZooKeeper takes so much only.
_MOST_BYTES = 256 * 1024
# More than an operation takes beside names, and than the detail of an offset takes beside metadata.
_OPERATION_BYTES, _DETAIL_BYTES = 192, 256
# What JSON makes at most of one character: two of UTF-16, with six of ASCII each.
_CHARACTER_BYTES = 12
# Of group and topic, in both trees.
_MOST_PARENTS = 5
_READ_AT_ONCE = 500
# How often a write is put together anew because others made or deleted its znodes.
_MOST_ATTEMPTS = 8


class Change(NamedTuple):
    """A commit, or its end (None)."""

    group_id: str
    topic: str
    partition: int
    kept: KeptOffset | None


class Found(NamedTuple):
    """An offset as it was found. ``is_ours``: as a coordinator of this cluster wrote it."""

    group_id: str
    topic: str
    partition: int
    kept: KeptOffset
    is_ours: bool


class _Group:
    """What is to be written of one group."""

    __slots__ = ("known", "looking", "pending", "waiting", "writing")

    def __init__(self, group_id: str) -> None:
        self.known = KnownZnodes(group_id)
        for path in (consumer_offsets.CONSUMERS, consumer_offsets.OFFSETS):
            self.known.found(path, exists=True)
        self.pending: dict[Key, KeptOffset | None] = {}
        self.writing: dict[Key, KeptOffset | None] = {}
        self.waiting: list[asyncio.Future[None]] = []
        # Who reads the group's znodes is told what is written meanwhile.
        self.looking: list[set[Key]] = []


class CoordinatedOffsets:
    """The offsets of all groups that one partition of ``__consumer_offsets`` coordinates, while this broker does."""

    def __init__(self, session: ZooKeeperSession, number: int, fence_version: int) -> None:
        self._session = session
        self._fence = Check(consumer_offsets.coordinator_path(number), fence_version)
        self._groups: dict[str, _Group] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.closed = False

    @classmethod
    async def open(
        cls, session: ZooKeeperSession, node_id: int, number: int, leader_epoch: int, owns: Callable[[str], bool]
    ) -> tuple[CoordinatedOffsets, list[Found]]:
        """Put this broker into the place of whoever coordinated the partition before, then read what is there.

        Raises:
            KafkaError: NOT_COORDINATOR: a broker in a later leader epoch has done so already.
            ZooKeeperError: ZooKeeper is not reached, or refuses.
        """
        for root in (consumer_offsets.CONSUMERS, consumer_offsets.OFFSETS):
            await _make_sure_of(session, root)
        offsets = cls(session, number, await _take_place(session, node_id, number, leader_epoch))
        group_ids = map(consumer_offsets.text_of, await session.children(consumer_offsets.CONSUMERS))
        found = await in_turn(offsets._read_group(group_id, None) for group_id in group_ids if owns(group_id))
        return offsets, [each for group in found for each in group]

    def close(self) -> None:
        """Write nothing more. What is on its way may still arrive, unless somebody else takes the place."""
        self.closed = True
        for task in list(self._tasks):
            task.cancel()
        error = KafkaError(ErrorCode.NOT_COORDINATOR, f"{self._fence.path} is left to others")
        for group in self._groups.values():
            self._fail(group, [], error)

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, changes: Iterable[Change]) -> Awaitable[object]:
        """Write behind what was given before; what is returned waits until ZooKeeper has acknowledged all of it.

        What is returned raises:
            KafkaError: NOT_COORDINATOR: another broker has taken the place; COORDINATOR_NOT_AVAILABLE: ZooKeeper was
                not reached, or refuses. What was written and what not is to be found out by :meth:`open`.
        """
        groups: dict[str, _Group] = {}
        for change in changes:
            group = groups[change.group_id] = self._group(change.group_id)
            key = change.topic, change.partition
            # Behind what waits already: the order of a group's partitions does not matter, the last value does.
            group.pending[key] = change.kept
            for touched in group.looking:
                touched.add(key)
        loop = asyncio.get_running_loop()
        written = []
        for group_id, group in groups.items():
            future: asyncio.Future[None] = loop.create_future()
            written.append(future)
            is_idle = not group.waiting and not group.writing
            group.waiting.append(future)
            if is_idle:
                self.start(self._write_group(group_id, group))
        return asyncio.gather(*written)

    def start(self, work: Awaitable[None]) -> None:
        """Do something until :meth:`close`."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _group(self, group_id: str) -> _Group:
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = _Group(group_id)
        return group

    async def _write_group(self, group_id: str, group: _Group) -> None:
        while group.pending:
            group.writing, group.pending = group.pending, {}
            waiting, group.waiting = group.waiting, []
            try:
                for part in self._parts(group_id, group.writing):
                    await self._write_part(group, part)
                if None in group.writing.values():
                    await self._remove_empty(group)
            except (ZooKeeperError, KafkaError) as error:
                if isinstance(error, ZooKeeperError):
                    error = KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"offsets of group {group_id}: {error}")
                self._fail(group, waiting, error)
                return
            group.writing = {}
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    @staticmethod
    def _fail(group: _Group, waiting: list[asyncio.Future[None]], error: KafkaError) -> None:
        # What was meant to come behind it must not come without it.
        for future in waiting + group.waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()
        group.pending, group.waiting, group.writing = {}, [], {}

    async def _write_part(self, group: _Group, part: dict[Key, KeptOffset | None]) -> None:
        for _ in range(_MOST_ATTEMPTS):
            operations: list[Operation] = [self._fence]
            for (topic, partition), kept in part.items():
                operations += group.known.operations(topic, partition, kept)
            if len(operations) == 1:
                return
            try:
                await self._session.submit(operations)
                return
            except MultiFailed as refused:
                if refused.index == 0:
                    message = f"another broker has taken the place in {self._fence.path}"
                    raise KafkaError(ErrorCode.NOT_COORDINATOR, message) from None
                if not isinstance(refused.error, NoNode | NodeExists):
                    raise
                await self._look_again(group, [each.path for each in operations[1:]])
        raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "others make and delete the same znodes all the time")

    def _parts(self, group_id: str, changes: dict[Key, KeptOffset | None]) -> Iterator[dict[Key, KeptOffset | None]]:
        """As much as goes into one multi each, however many of the znodes above have to be made."""
        limit = min(_MOST_BYTES, self._session.config.largest_request // 2)
        name = len(consumer_offsets.name_of(group_id).encode()) + len(self._session.config.chroot)
        part: dict[Key, KeptOffset | None] = {}
        size = 0
        topics: set[str] = set()
        for (topic, partition), kept in changes.items():
            operation = _OPERATION_BYTES + name + len(topic)
            cost = operation * (2 if topic in topics else 2 + _MOST_PARENTS)
            cost += 0 if kept is None else _DETAIL_BYTES + _CHARACTER_BYTES * len(kept.metadata)
            if part and size + cost > limit:
                yield part
                part, size, topics = {}, 0, set()
            part[topic, partition] = kept
            size += cost
            topics.add(topic)
        if part:
            yield part

    async def _look_again(self, group: _Group, paths: Iterable[str]) -> None:
        """Others have made or deleted znodes: find out which of these, and of their parents, are there."""
        wanted: dict[str, None] = {}
        for path in paths:
            while path:
                wanted[path] = None
                path = path.rpartition("/")[0]
        ordered = sorted(wanted, key=lambda path: path.count("/"), reverse=True)
        for path, stat in zip(ordered, await in_turn(self._session.exists(path) for path in ordered), strict=True):
            group.known.found(path, exists=stat is not None)

    async def _remove_empty(self, group: _Group) -> None:
        for path in group.known.emptied():
            try:
                await self._session.delete(path)
            except NoNode:
                continue
            except NotEmpty:
                # Others have something there.
                group.known.found(path, exists=True)

    # -- reading ------------------------------------------------------------------------------------------------

    async def set_by_others(
        self, group_id: str, partitions: Iterable[Key] | None, committed: Iterable[Key]
    ) -> list[tuple[str, int, KeptOffset | None]]:
        """Offsets that stand otherwise than the coordinator wrote them, and those of ``committed`` (all that it knows
        of the group) that are gone; none that it writes meanwhile. Raises: ZooKeeperError."""
        group = self._group(group_id)
        touched = {*group.pending, *group.writing}
        group.looking.append(touched)
        known = [key for key in committed if consumer_offsets.offset_path(group_id, *key) in group.known]
        wanted = None if partitions is None else list(partitions)
        try:
            found = {(each.topic, each.partition): each for each in await self._read_group(group_id, wanted)}
        finally:
            group.looking.remove(touched)
        gone = (key for key in known if key not in found and (wanted is None or key in wanted))
        return [
            *((*key, each.kept) for key, each in found.items() if not each.is_ours and key not in touched),
            *((*key, None) for key in gone if key not in touched),
        ]

    async def _read_group(self, group_id: str, partitions: list[Key] | None) -> list[Found]:
        if partitions is None:
            partitions = await self._partitions_of(group_id)
        found = await in_turn(self._read_offset(group_id, *key) for key in partitions)
        return [each for each in found if each is not None]

    async def _partitions_of(self, group_id: str) -> list[Key]:
        top = f"{consumer_offsets.CONSUMERS}/{consumer_offsets.name_of(group_id)}/offsets"
        topics = await _children(self._session, top)
        numbers = await in_turn(_children(self._session, f"{top}/{topic}") for topic in topics)
        return [
            (consumer_offsets.text_of(topic), int(number))
            for topic, children in zip(topics, numbers, strict=True)
            for number in sorted(children)
            if number.isdecimal() and str(int(number)) == number
        ]

    async def _read_offset(self, group_id: str, topic: str, partition: int) -> Found | None:
        known = self._group(group_id).known
        plain_at = consumer_offsets.offset_path(group_id, topic, partition)
        detail_at = consumer_offsets.detail_path(group_id, topic, partition)
        plain, detail = await asyncio.gather(_get(self._session, plain_at), _get(self._session, detail_at))
        known.found(plain_at, exists=plain is not None)
        known.found(detail_at, exists=detail is not None)
        if plain is None:
            return None
        try:
            kept, is_ours = consumer_offsets.kept_offset(plain_at, plain[0], detail_at, detail and detail[0])
        except ZnodeNotUnderstood as error:
            log.warning("an offset is passed over: %s", error)
            return None
        if not is_ours:
            kept = kept._replace(commit_timestamp_ms=plain[1].mtime_ms)
        return Found(group_id, topic, partition, kept, is_ours)


async def in_turn(work: Iterable[Awaitable[T]]) -> list[T]:
    """All of it, so much at once that neither ZooKeeper nor this process has too much of it."""
    results: list[T] = []
    batch: list[Awaitable[T]] = []
    for each in work:
        batch.append(each)
        if len(batch) == _READ_AT_ONCE:
            results += await asyncio.gather(*batch)
            batch = []
    return results + list(await asyncio.gather(*batch))


async def _get(session: ZooKeeperSession, path: str) -> tuple[Znode, ZnodeStat] | None:
    try:
        return await session.get_with_stat(path)
    except NoNode:
        return None


async def _children(session: ZooKeeperSession, path: str) -> list[str]:
    try:
        return sorted(await session.children(path))
    except NoNode:
        return []


async def _make_sure_of(session: ZooKeeperSession, path: str) -> None:
    if await session.exists(path) is None:
        try:
            await session.create(path, b"", make_parents=True)
        except NodeExists:
            return


async def _take_place(session: ZooKeeperSession, node_id: int, number: int, leader_epoch: int) -> int:
    """Returns the version that the znode has while the place is this broker's."""
    path = consumer_offsets.coordinator_path(number)
    data = json.dumps({"version": 1, "broker": node_id, "leader_epoch": leader_epoch}, separators=(",", ":")).encode()
    while True:
        znode = await _get(session, path)
        try:
            if znode is None:
                await session.create(path, data, make_parents=True)
                return 0
            later = _leader_epoch(znode[0].data)
            if later > leader_epoch:
                message = f"{path} says that a broker coordinates in leader epoch {later}, this one in {leader_epoch}"
                raise KafkaError(ErrorCode.NOT_COORDINATOR, message)
            await session.multi([SetData(path, data, znode[0].version)])
            return znode[0].version + 1
        except NodeExists:
            continue
        except MultiFailed as refused:
            if not isinstance(refused.error, BadVersion | NoNode):
                raise


def _leader_epoch(data: bytes) -> int:
    try:
        return int(json.loads(data)["leader_epoch"])
    except (ValueError, KeyError, TypeError):
        return -1
