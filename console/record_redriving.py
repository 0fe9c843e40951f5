"""Sending dead letters back: counting what goes, and sending it in transactions that remember what went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from console.gateway.bulk_protocol import Kept, Sender, SenderOptions
from console.gateway.protocol import GatewayError, ReadFrom, Start, Tail
from console.record_copying import Stop, Stopped
from console.tail_reading import in_portions, read_to_the_end
from console.viewmodel import text
from console.viewmodel.dead_letters import dead_letter
from console.viewmodel.outgoing import Outgoing, Throttle, size_of
from console.viewmodel.redriving import (
    Findings,
    Judged,
    RedriveError,
    Redriven,
    RedrivePlan,
    RedriveWish,
    Verdict,
    group_of,
    judge,
)
from console.viewmodel.tailing import TailRun
from engine.model.topic_partition import TopicPartition

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.viewmodel.records import RecordView

_PATIENCE_MS = 30_000.0
# So many records a transaction: what is sent twice over the wire after a break, and never seen twice by who reads
# committed records.
_TRANSACTION = 500

Memory = dict[TopicPartition, Redriven]


class RedriveDone(NamedTuple):
    """What was done."""

    records: int
    topics: Mapping[str, int]
    left: str
    seconds: float
    given_up: bool = False

    @property
    def words(self) -> str:
        """In one sentence."""
        where = ", ".join(f"{number:,} to {topic}" for topic, number in sorted(self.topics.items()))
        said = f"{text.plural(self.records, 'record')} sent back in {self.seconds:.1f} s"
        said += f" ({where})" if where else ""
        if self.left:
            said += f"; left: {self.left}"
        return f"given up: {said}; they are remembered" if self.given_up else said


async def plan_redrive(
    gateway: Gateway,
    wish: RedriveWish,
    stop: Stop,
    progress: Callable[[Findings], None],
    records: Sequence[RecordView] | None = None,
) -> RedrivePlan:
    """Read what was not sent back yet (or take ``records``) and count it; nothing is changed.

    Raises:
        GatewayError: it cannot be read.
        Stopped: given up.
    """
    going = _Judging(gateway, wish)
    await going.remember()
    findings = Findings()

    async def take(batch: list[RecordView]) -> None:
        async for part in in_portions(batch):
            for record in part:
                findings.add(await going.judged(record))

    if records is not None:
        await take(list(records))
    else:
        await going.read(stop, take, lambda: progress(findings))
    return RedrivePlan(wish, findings, await _notes(gateway, wish))


async def redrive(
    gateway: Gateway,
    wish: RedriveWish,
    stop: Stop,
    progress: Callable[[int], None],
    records: Sequence[RecordView] | None = None,
) -> RedriveDone:
    """Send them, each transaction with the offsets that remember it.

    Raises:
        GatewayError: it ended before; what was committed until then is remembered.
    """
    began = time.monotonic()
    group = group_of(wish.topic)
    going = _Judging(gateway, wish)
    # From here on nobody else redrives this topic, and what others had under way is over: what is remembered is true.
    sender = await gateway.bulk.sender(SenderOptions(compression="zstd", transactional_id=group, group=group))
    sending = _Sending(going, sender, stop, progress)
    given_up = False
    try:
        await going.remember()
        try:
            if records is not None:
                for record in sorted(records, key=lambda each: (each.partition, each.offset)):
                    await sending.take([record], in_order=False)
                await sending.commit()
            else:
                await going.read(stop, sending.take, stop.check)
                await sending.commit()
        except Stopped:
            given_up = True
            await sending.commit()
    except (GatewayError, RedriveError) as error:
        done = text.plural(sending.records, "record")
        raise GatewayError(f"{error}; {done} were sent back before, and are remembered") from error
    finally:
        await sender.close()
    topics = dict(sending.topics)
    return RedriveDone(sending.records, topics, sending.findings.left, time.monotonic() - began, given_up)


class _Judging:
    """What was sent already, and where the others go."""

    def __init__(self, gateway: Gateway, wish: RedriveWish) -> None:
        self._gateway = gateway
        self.wish = wish
        self.memory: Memory = {}
        self._partitions: dict[str, int] = {}

    async def remember(self) -> None:
        kept = await self._gateway.bulk.kept_offsets(group_of(self.wish.topic))
        self.memory = {
            place: Redriven.parse(each.offset, each.metadata)
            for place, each in kept.items()
            if place.topic == self.wish.topic
        }

    def of(self, place: TopicPartition) -> Redriven:
        return self.memory.setdefault(place, Redriven())

    async def judged(self, record: RecordView) -> Judged:
        letter = dead_letter(record.headers)
        if letter is not None and letter.topic not in self._partitions:
            self._partitions[letter.topic] = 0
            try:
                self._partitions[letter.topic] = await self._gateway.bulk.partition_count(letter.topic)
            except GatewayError as error:
                # Not there is an answer; not answered is none.
                if not str(error).startswith("there is no topic"):
                    raise
        place = TopicPartition(record.topic, record.partition)
        return judge(record, self.wish, self.of(place), self._partitions)

    async def read(
        self, stop: Stop, take: Callable[[list[RecordView]], Awaitable[None]], looked: Callable[[], None]
    ) -> None:
        """From what was dealt with up to the end as it is now."""
        starts = {place: each.next for place, each in self.memory.items()}
        tail = Tail((self.wish.topic,), None, ReadFrom(Start.START), starts, read_committed=True)
        run = TailRun(time.monotonic() * 1000, until=ReadFrom(Start.END), patience_ms=_PATIENCE_MS)

        def look() -> None:
            stop.check()
            looked()

        await read_to_the_end(self._gateway, tail, run, take, look)
        if run.ending is not None and not run.ending.complete:
            raise GatewayError(run.ending.said)


class _Sending:
    """Transactions under way."""

    def __init__(self, going: _Judging, sender: Sender, stop: Stop, progress: Callable[[int], None]) -> None:
        self._going = going
        self._sender = sender
        self._stop = stop
        self._progress = progress
        self._throttle = Throttle(going.wish.rate, time.monotonic() * 1000)
        self._waiting: list[Outgoing] = []
        self._touched: set[TopicPartition] = set()
        # Partitions of which a record was left: from there on what goes is remembered one by one.
        self._blocked: set[TopicPartition] = set()
        self.findings = Findings()
        self.records = 0
        self.topics: dict[str, int] = {}

    async def take(self, records: list[RecordView], in_order: bool = True) -> None:
        async for part in in_portions(records):
            await self._take(part, in_order)

    async def _take(self, records: Sequence[RecordView], in_order: bool) -> None:
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            judged = await self._going.judged(record)
            self.findings.add(judged)
            redriven = self._going.of(place)
            if judged.verdict is Verdict.GOES:
                assert judged.outgoing is not None
                self._waiting.append(judged.outgoing)
                redriven.add(record.offset)
                self._touched.add(place)
            elif judged.verdict is not Verdict.DONE:
                self._blocked.add(place)
            if in_order and place not in self._blocked:
                # Offsets that no record has (markers, aborted transactions) are passed over, too.
                redriven.pass_to(record.offset + 1)
            if len(self._waiting) >= min(_TRANSACTION, self._throttle.portion):
                await self.commit()
                self._stop.check()

    async def commit(self) -> None:
        """Send what waits, and remember it, or neither."""
        if not self._waiting:
            return
        offsets = {}
        for place in sorted(self._touched):
            redriven = self._going.of(place)
            redriven.check(str(place))
            offsets[place] = Kept(redriven.next, redriven.metadata)
        size = sum(map(size_of, self._waiting))
        with contextlib.suppress(Stopped):
            # What was begun ends, also when somebody gives it up meanwhile.
            await self._stop.sleep(self._throttle.delay_ms(time.monotonic() * 1000, len(self._waiting), size))
        await self._sender.send(self._waiting)
        await self._sender.commit(offsets)
        for each in self._waiting:
            self.topics[each.topic] = self.topics.get(each.topic, 0) + 1
        self.records += len(self._waiting)
        self._waiting, self._touched = [], set()
        self._progress(self.records)


async def _notes(gateway: Gateway, wish: RedriveWish) -> tuple[str, ...]:
    """How long what was sent back is remembered: Kafka forgets offsets of groups that nobody is a member of."""
    minutes = await gateway.bulk.offsets_retention_minutes()
    said = "in the end" if minutes is None else f"{text.age(minutes * 60_000)} after the last time"
    return (f"what was sent back is forgotten {said}, with the group's offsets (offsets.retention.minutes)",)
