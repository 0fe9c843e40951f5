"""A coordinator runtime in virtual time, with a log that does what a test tells it to and a machine that is easy to see
through."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from engine.broker.coordinator_log import KeyValue, TransactionalProducer, TransactionMarker
from engine.broker.coordinator_runtime import CoordinatorRuntime
from engine.core.effects import Effects, Reply
from engine.core.group.context import Now
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker
from engine.sim.loop import SimLoop
from engine.sim.world import SimClock

P = 3
WRITE_TIMEOUT_MS = 5_000
_APPENDED = (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)


class ScriptedLog:
    """CoordinatorLogs in memory: nothing is committed until :meth:`commit`, and appends fail as they are told to."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.start = self.end = self.committed = 0
        self.leads = True
        self.refusal: ErrorCode | None = None
        self.unreadable: BaseException | None = None
        # What the next appends do: fail with an error (before or after they are in the log), or None.
        self.script: deque[ErrorCode | Exception | None] = deque()
        self.max_bytes = 1_000
        self.read_bytes = 1 << 30
        self.appends: list[tuple[int, list[str]]] = []
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.listeners: list[Callable[[int, int], None]] = []

    def put(self, *values: str, **arguments: Any) -> None:
        """Records that somebody wrote before."""
        records = [NewRecord(b"k", value.encode(), timestamp=0) for value in values]
        self.add(build_batch(records, base_offset=self.end, **arguments))
        self.committed = self.end

    def add(self, batch: bytes) -> None:
        self.batches.append(batch)
        self.end = read_header(batch).last_offset + 1

    def commit(self, end: int | None = None) -> None:
        """The followers have everything up to ``end``."""
        self.committed = self.end if end is None else end
        for each, future in self.waiting:
            if each <= self.committed and not future.done():
                future.set_result(None)
        for listener in self.listeners:
            listener(P, self.committed)

    def _check(self) -> None:
        if not self.leads:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "another leads")

    def log_start_offset(self, partition: int) -> int:
        self._check()
        return self.start

    def log_end_offset(self, partition: int) -> int:
        self._check()
        return self.end

    def high_watermark(self, partition: int) -> int:
        self._check()
        return self.committed

    def max_batch_bytes(self, partition: int) -> int:
        return self.max_bytes

    def read(self, partition: int, offset: int, max_bytes: int) -> bytes:
        if self.unreadable is not None:
            raise self.unreadable
        found = [batch for batch in self.batches if read_header(batch).last_offset >= offset]
        chunk = found[0]
        for batch in found[1:]:
            if len(chunk) + len(batch) > min(max_bytes, self.read_bytes):
                break
            chunk += batch
        return chunk

    def check_append(self, partition: int) -> None:
        self._check()
        if self.refusal is not None:
            raise KafkaError(self.refusal, "refused")

    def append(
        self,
        partition: int,
        leader_epoch: int,
        records: list[KeyValue],
        timeout_ms: int,
        producer: TransactionalProducer | None = None,
    ) -> Coroutine[Any, Any, None]:
        new = [NewRecord(key, value, timestamp=0) for key, value in records]
        arguments: dict[str, Any] = {}
        if producer is not None:
            arguments = {
                "producer_id": producer.producer_id,
                "producer_epoch": producer.producer_epoch,
                "is_transactional": True,
            }
        values = [(value or b"").decode() for _, value in records]
        return self._append(leader_epoch, values, build_batch(new, base_offset=self.end, **arguments), timeout_ms)

    def append_marker(
        self, partition: int, leader_epoch: int, marker: TransactionMarker, timeout_ms: int
    ) -> Coroutine[Any, Any, None]:
        batch = build_end_transaction_marker(
            committed=marker.committed,
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            timestamp=0,
            base_offset=self.end,
        )
        return self._append(leader_epoch, ["marker"], batch, timeout_ms)

    def _append(self, leader_epoch: int, values: list[str], batch: bytes, timeout_ms: int) -> Coroutine[Any, Any, None]:
        self.check_append(P)
        failure = self.script.popleft() if self.script else None
        if failure is not None and failure not in _APPENDED:
            raise KafkaError(failure, "scripted") if isinstance(failure, ErrorCode) else failure
        self.appends.append((leader_epoch, values))
        self.add(batch)
        return self._wait(self.end, failure, timeout_ms)

    async def _wait(self, end: int, failure: ErrorCode | Exception | None, timeout_ms: int) -> None:
        if failure is not None:
            assert isinstance(failure, ErrorCode)
            raise KafkaError(failure, "scripted")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((end, future))
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await future
        except TimeoutError:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "not committed") from None

    def on_high_watermark_advanced(self, listener: Callable[[int, int], None]) -> None:
        self.listeners.append(listener)


class Ledger:
    """A machine that remembers values: put writes one, get reads all, park waits for the next put."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.replayed: list[tuple[str, int, int]] = []
        self.parked: list[object] = []
        self.deadlines: list[tuple[float, str]] = []
        self.fails_to: set[str] = set()

    def replay(self, key: Any, value: Any, *, record_offset: int, producer_id: int) -> None:
        self.replayed.append((value, record_offset, producer_id))
        self.values.append(value)

    def replay_end_transaction_marker(self, producer_id: int, committed: bool) -> None:
        self.values.append(f"{producer_id} {'committed' if committed else 'aborted'}")

    def on_loaded(self, now: Now) -> Effects[Any, Any]:
        if "load" in self.values:
            raise RuntimeError("cannot begin")
        if "write at load" in self.values and "written" not in self.values:
            return self._append("written")
        return Effects()

    def on_unloaded(self, error: ErrorCode) -> Effects[Any, Any]:
        if "unload" in self.fails_to:
            raise RuntimeError("broken")
        return Effects(reply=[Reply(token, f"unloaded: {error.name}") for token in self.parked])

    def on_timer(self, now: Now) -> Effects[Any, Any]:
        effects: Effects[Any, Any] = Effects()
        while self.deadlines and self.deadlines[0][0] <= now.monotonic_ms:
            effects.merge(self._append(self.deadlines.pop(0)[1]))
        return effects

    def next_deadline_ms(self) -> float | None:
        return self.deadlines[0][0] if self.deadlines else None

    def _append(self, *values: str) -> Effects[Any, Any]:
        self.values += values
        return Effects(append=list(values), notes=[Note(NoteKind.GROUP_CREATED, value, "", {}) for value in values])

    def put(self, token: object, *values: str) -> Effects[Any, Any]:
        effects = self._append(*values)
        effects.reply += [Reply(each, f"woken by {values[0]}") for each in self.parked]
        effects.reply.append(Reply(token, f"put {values[0]}"))
        self.parked.clear()
        return effects

    def get(self, token: object) -> Effects[Any, Any]:
        return Effects(reply=[Reply(token, list(self.values))])

    def park(self, token: object) -> Effects[Any, Any]:
        self.parked.append(token)
        return Effects()

    def break_down(self) -> Effects[Any, Any]:
        self.values.append("half-way")
        raise RuntimeError("a bug")


class LedgerCodec:
    def encode(self, record: str) -> KeyValue:
        if record == "unwritable":
            raise ValueError(record)
        return b"k", record.encode()

    def decode(self, key: Any, value: Any) -> tuple[str, str] | None:
        text = bytes(value).decode()
        if text == "undecodable":
            raise ValueError(text)
        return None if text == "of another version" else ("k", text)


class World:
    """One runtime and what tests do with it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self.loop = loop
        self.log = ScriptedLog()
        self.notes: list[Note] = []
        self.shards: list[Ledger] = []
        world: Any = SimpleNamespace(clock=SimClock(loop, loop.time()))
        self.runtime: CoordinatorRuntime[Ledger] = CoordinatorRuntime(
            world,
            "ledger",
            self.log,
            LedgerCodec(),
            self._new_shard,
            write_timeout_ms=WRITE_TIMEOUT_MS,
            publish=self.notes.extend,
        )

    def _new_shard(self) -> Ledger:
        self.shards.append(Ledger())
        return self.shards[-1]

    async def elected(self, leader_epoch: int = 1) -> Ledger:
        """Elected and loaded."""
        self.runtime.on_elected(P, leader_epoch)
        await settle()
        return self.runtime.shard(P)

    def put(self, *values: str, writes: bool = False) -> asyncio.Future[Any]:
        return self.runtime.submit(P, lambda shard, _, token: shard.put(token, *values), writes=writes)

    def get(self) -> asyncio.Future[Any]:
        return self.runtime.submit(P, lambda shard, _, token: shard.get(token))

    def park(self) -> asyncio.Future[Any]:
        return self.runtime.submit(P, lambda shard, _, token: shard.park(token))

    def break_down(self) -> asyncio.Future[Any]:
        return self.runtime.submit(P, lambda shard, _now, _token: shard.break_down())

    def set_timer(self, delay_ms: float, value: str) -> None:
        def schedule(shard: Ledger, now: Now) -> Effects[Any, Any]:
            shard.deadlines = sorted([*shard.deadlines, (now.monotonic_ms + delay_ms, value)])
            return Effects()

        self.runtime.run(P, schedule)

    def values(self) -> list[str]:
        """What the machine knows now, committed or not."""
        return self.runtime.shard(P).values


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def pass_ms(milliseconds: float) -> None:
    await asyncio.sleep(milliseconds / 1000)
    await settle()


class Refused(NamedTuple):
    """An answer that is an error."""

    error: ErrorCode


def state(future: Awaitable[Any]) -> Any:
    """The answer, the refusal, or None while there is neither."""
    assert isinstance(future, asyncio.Future)
    if not future.done():
        return None
    failure = future.exception()
    if failure is None:
        return future.result()
    assert isinstance(failure, KafkaError)
    return Refused(failure.code)


def refusal(submit: Callable[[], object]) -> ErrorCode:
    """The code with which a request is refused at once."""
    with pytest.raises(KafkaError) as refused:
        submit()
    return refused.value.code


NOT_COORDINATOR = Refused(ErrorCode.NOT_COORDINATOR)
NOT_AVAILABLE = Refused(ErrorCode.COORDINATOR_NOT_AVAILABLE)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own in which nothing waits; no task may fail unseen."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        loop = SimLoop()

        async def main() -> None:
            await test(World(), *arguments, **named)

        loop.run(main())
        assert loop.failures == []

    # Pytest takes the parameters for fixtures, and the world is none.
    run.__signature__ = inspect.Signature(list(inspect.signature(test).parameters.values())[1:])  # type: ignore[attr-defined]
    return run
