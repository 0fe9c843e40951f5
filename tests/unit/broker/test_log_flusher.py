"""Group commit: who waits for a flush waits for the round that takes it, not for what others ask for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from engine.broker.log_flusher import LogFlusher
from engine.broker.replica import Replica


class FakeLog:
    def __init__(self, done: list[str], name: str) -> None:
        self.log_end_offset = 1
        self.durable_end_offset = 0
        self._done = done
        self._name = name

    def flush(self) -> None:
        self.durable_end_offset = self.log_end_offset
        self._done.append(f"flush {self._name}")

    def save_epochs(self) -> None:
        self._done.append(f"save {self._name}")


class FakeReplica:
    is_offline = False

    def __init__(self, done: list[str], name: str, log_dir: str) -> None:
        self.log = FakeLog(done, name)
        self.log_dir = log_dir


class Disk:
    """Work is done in the next turn of the loop; ``rounds`` counts it."""

    rounds = 0

    async def run_blocking(self, work: Callable[[], Any]) -> Any:
        self.rounds += 1
        await asyncio.sleep(0)
        return work()


def replica(done: list[str], name: str, log_dir: str = "/data") -> Replica:
    return cast(Replica, FakeReplica(done, name, log_dir))


def flusher(disk: Disk, on_flushed: Callable[[Replica], None]) -> LogFlusher:
    def failed(_: Replica, error: BaseException) -> None:
        raise error

    return LogFlusher(cast(Any, SimpleNamespace(disk=disk)), on_flushed=on_flushed, on_failed=failed)


async def soon(what: Awaitable[object]) -> None:
    async with asyncio.timeout(5):
        await what


async def test_a_log_that_is_always_written_keeps_no_other_waiting() -> None:
    done: list[str] = []
    busy, other = replica(done, "busy"), replica(done, "other")
    disk = Disk()

    def on_flushed(each: Replica) -> None:
        if each is busy and disk.rounds < 1000:
            under_test.ask(busy)

    under_test = flusher(disk, on_flushed)
    under_test.ask(busy)
    await soon(under_test.flush(other))
    assert other.log.durable_end_offset == 1
    assert disk.rounds < 10
    await under_test.stop()


async def test_what_has_time_is_done_a_few_at_a_time_and_a_flush_comes_between() -> None:
    done: list[str] = []
    disk = Disk()
    under_test = flusher(disk, lambda _: None)
    for number in range(100):
        ask = under_test.ask_to_save_epochs if number % 2 else under_test.ask_in_background
        ask(replica(done, str(number)))
    await asyncio.sleep(0)
    other = replica(done, "other")
    await soon(under_test.flush(other))
    assert done.index("flush other") < 20
    while len(done) < 101:
        await soon(asyncio.sleep(0))
    assert sorted(done) == sorted(
        ["flush other", *(f"{('flush', 'save')[number % 2]} {number}" for number in range(100))]
    )


async def test_who_waits_when_it_stops_does_not_wait_for_ever() -> None:
    done: list[str] = []
    under_test = flusher(Disk(), lambda _: None)
    waits = [asyncio.ensure_future(under_test.flush(replica(done, str(number)))) for number in range(3)]
    await asyncio.sleep(0)
    await soon(under_test.stop())
    await soon(asyncio.gather(*waits))
