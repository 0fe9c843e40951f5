"""Copying records from topic to topic: reading all of it to count, and reading it again to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from console.gateway.bulk_protocol import SenderOptions
from console.gateway.protocol import GatewayError, ReadFrom, Start, Tail
from console.tail_reading import in_portions, read_to_the_end
from console.viewmodel import text
from console.viewmodel.copying import (
    CopyError,
    CopyPlan,
    CopyWish,
    check_layout,
    check_topics,
    copied,
    records_plan,
    target_notes,
)
from console.viewmodel.outgoing import Outgoing, Tally, Throttle, size_of, stays
from console.viewmodel.tailing import TailRun, passes
from engine.model.topic_partition import TopicPartition

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.gateway.bulk_protocol import Sender
    from console.viewmodel.records import RecordView

_PATIENCE_MS = 30_000.0


class Stopped(Exception):
    """Somebody gave it up."""


class Stop:
    """Said by whoever gives an act up; the act looks at it."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether to end."""
        return self._wanted.is_set()

    def want(self) -> None:
        """End as soon as one can."""
        self._wanted.set()

    def check(self) -> None:
        """Raises: Stopped."""
        if self._wanted.is_set():
            raise Stopped

    async def sleep(self, delay_ms: float) -> None:
        """Sleep, at most until it is given up. Raises: Stopped."""
        if delay_ms > 0:
            try:
                await asyncio.wait_for(self._wanted.wait(), delay_ms / 1000)
            except TimeoutError:
                return
        self.check()


class Progress(NamedTuple):
    """How far a copy is."""

    read: int
    acknowledged: int
    size_bytes: int


class Copied(NamedTuple):
    """What a copy did."""

    records: int
    size_bytes: int
    seconds: float
    unreadable: int
    # Where it could go on, of each partition; only of one that was given up.
    reached: dict[TopicPartition, int]
    given_up: bool = False

    @property
    def words(self) -> str:
        """In one sentence."""
        said = f"{text.plural(self.records, 'record')}, {text.size(self.size_bytes)} in {self.seconds:.1f} s"
        if self.unreadable:
            said += f"; {self.unreadable:,} do not decode or are masked, and stayed"
        if self.given_up:
            places = ", ".join(f"{place}@{offset}" for place, offset in sorted(self.reached.items())[:6])
            said = f"given up after {said}; they stay" + (f"; read up to {places}" if places else "")
        return said


async def plan_copy(gateway: Gateway, wish: CopyWish, stop: Stop, progress: Callable[[Tally, int], None]) -> CopyPlan:
    """Read everything that is meant and count it; nothing is changed.

    Raises:
        GatewayError: it cannot be read, or cannot be copied as wished.
        Stopped: given up.
    """
    tally, read, unreadable = Tally(), 0, 0
    starts: dict[TopicPartition, int] = {}

    async def take(records: list[RecordView]) -> None:
        nonlocal read, unreadable
        async for part in in_portions(records):
            for record in part:
                if stays(record):
                    unreadable += 1
                elif passes(wish.wanted, record):
                    tally.add(record)

    def on_read(records: Sequence[RecordView]) -> None:
        nonlocal read
        read += len(records)
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            starts[place] = min(record.offset, starts.get(place, record.offset))

    target_partitions = await _checked(gateway, wish)
    run = _run(wish)

    async def take_all(records: list[RecordView]) -> None:
        on_read(records)
        await take(records)

    def looked() -> None:
        stop.check()
        progress(tally, read)

    await read_to_the_end(gateway, _tail(wish), run, take_all, looked)
    _complete(run)
    notes = await _notes(gateway, wish, tally)
    plan = CopyPlan(wish, tally, read, unreadable, starts, dict(run.stops), notes)
    _check_plan(plan, target_partitions)
    return plan


async def plan_marked(gateway: Gateway, wish: CopyWish, records: Sequence[RecordView]) -> CopyPlan:
    """The same of records that are there already.

    Raises:
        GatewayError: they cannot be copied as wished.
    """
    target_partitions = await _checked(gateway, wish)
    plan = records_plan(wish, records)
    _check_plan(plan, target_partitions)
    return plan._replace(notes=await _notes(gateway, wish, plan.tally))


async def copy(
    gateway: Gateway,
    wish: CopyWish,
    stop: Stop,
    progress: Callable[[Progress], None],
    *,
    plan: CopyPlan | None = None,
    records: Sequence[RecordView] | None = None,
) -> Copied:
    """Read and send, each record in the order of its partition, until all is acknowledged by all replicas in sync.

    Args:
        plan: what was shown before: exactly that is copied, not what came since.
        records: these instead of what is read.

    Raises:
        GatewayError: it ended before; the message says after how many records.
    """
    partitions = await _checked(gateway, wish)
    copying = _Copying(gateway, wish, stop, progress, partitions)
    began = time.monotonic()
    reached: dict[TopicPartition, int] = {}
    given_up = False
    try:
        try:
            if records is not None:
                await copying.take(list(records))
            else:
                reached = await copying.read(plan)
            await copying.flush()
        except Stopped:
            given_up = True
            reached = copying.reached
            await copying.flush()
    except GatewayError as error:
        raise GatewayError(f"{error}; {text.plural(copying.acknowledged, 'record')} were copied before") from error
    finally:
        await copying.close()
    return Copied(
        copying.acknowledged,
        copying.size_bytes,
        time.monotonic() - began,
        copying.unreadable,
        reached if given_up else {},
        given_up,
    )


class _Copying:
    """One copy under way."""

    def __init__(
        self, gateway: Gateway, wish: CopyWish, stop: Stop, progress: Callable[[Progress], None], partitions: int
    ) -> None:
        self._gateway = gateway
        self._wish = wish
        self._stop = stop
        self._progress = progress
        self._partitions = partitions
        self._sender: Sender | None = None
        self._throttle = Throttle(wish.rate, time.monotonic() * 1000)
        self._read = 0
        self.size_bytes = 0
        self.unreadable = 0
        self.reached: dict[TopicPartition, int] = {}

    @property
    def acknowledged(self) -> int:
        return self._sender.acknowledged if self._sender is not None else 0

    def check(self, partition: int) -> None:
        """Raises: GatewayError."""
        try:
            check_layout(self._wish, partition, self._partitions)
        except CopyError as error:
            raise GatewayError(str(error)) from error

    async def read(self, plan: CopyPlan | None) -> dict[TopicPartition, int]:
        tail = _tail(self._wish)
        run = _run(self._wish, plan)
        if plan is not None:
            tail = tail._replace(starts=plan.starts)

        def looked() -> None:
            self._stop.check()
            self._tell()

        await read_to_the_end(self._gateway, tail, run, self.take, looked)
        _complete(run)
        return self.reached

    async def take(self, records: list[RecordView]) -> None:
        """Raises: Stopped, GatewayError."""
        wanted = []
        async for part in in_portions(records):
            for record in part:
                self._read += 1
                if stays(record):
                    self.unreadable += 1
                elif passes(self._wish.wanted, record):
                    wanted.append(record)
        async for part in in_portions(wanted, self._throttle.portion):
            await self._send(part)
            for record in part:
                self.reached[TopicPartition(record.topic, record.partition)] = record.offset + 1

    async def _send(self, records: Sequence[RecordView]) -> None:
        for record in records:
            self.check(record.partition)
        size = sum(map(size_of, records))
        await self._stop.sleep(self._throttle.delay_ms(time.monotonic() * 1000, len(records), size))
        if self._sender is None:
            # As they were compressed, so that a copy is no larger than what it is a copy of.
            options = SenderOptions(compression=records[0].compression)
            self._sender = await self._gateway.bulk.sender(options)
        outgoing: list[Outgoing] = [copied(each, self._wish) for each in records]
        await self._sender.send(outgoing)
        self.size_bytes += size
        self._tell()

    def _tell(self) -> None:
        self._progress(Progress(self._read, self.acknowledged, self.size_bytes))

    async def flush(self) -> None:
        if self._sender is not None:
            await self._sender.flush()

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender.close()


def _tail(wish: CopyWish) -> Tail:
    # What an aborted transaction wrote was never there for those who read committed records, nor is it copied.
    return Tail((wish.source,), wish.partitions, wish.begin, read_committed=True)


def _run(wish: CopyWish, plan: CopyPlan | None = None) -> TailRun:
    stops = plan.stops if plan is not None else None
    return TailRun(
        time.monotonic() * 1000, until=wish.until or ReadFrom(Start.END), patience_ms=_PATIENCE_MS, stops=stops
    )


def _complete(run: TailRun) -> None:
    if run.ending is not None and not run.ending.complete:
        raise GatewayError(run.ending.said)


async def _checked(gateway: Gateway, wish: CopyWish) -> int:
    """How many partitions the target has."""
    try:
        check_topics(wish)
    except CopyError as error:
        raise GatewayError(str(error)) from error
    await gateway.bulk.partition_count(wish.source)
    return await gateway.bulk.partition_count(wish.target)


def _check_plan(plan: CopyPlan, target_partitions: int) -> None:
    highest = max((partition for _, partition in plan.tally.shares), default=-1)
    try:
        check_layout(plan.wish, highest, target_partitions)
    except CopyError as error:
        raise GatewayError(str(error)) from error


async def _notes(gateway: Gateway, wish: CopyWish, tally: Tally) -> tuple[str, ...]:
    try:
        configs = await gateway.topic_configs(wish.target)
    except GatewayError as error:
        # Who may write there need not be allowed to look at its configs.
        return (f"the configs of {wish.target} are not told: {error}",)
    return target_notes(wish, tally, {each.name: each.value for each in configs}, time.time_ns() // 1_000_000)
