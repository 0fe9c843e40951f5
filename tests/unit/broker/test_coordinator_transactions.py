"""Writes of transactions through a coordinator's runtime: the log decides first, then the shard hears of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.broker.coordinator_log import TransactionalProducer, TransactionMarker
from engine.core.effects import Effects, Reply
from engine.model.errors import ErrorCode
from tests.unit.broker.scripted_coordinator import (
    NOT_AVAILABLE,
    WRITE_TIMEOUT_MS,
    P,
    World,
    in_virtual_time,
    pass_ms,
    refusal,
    settle,
    state,
)

PRODUCER = TransactionalProducer(7, 0)


def write(w: World, *values: str) -> asyncio.Future[Any]:
    return w.runtime.write_in_transaction(
        P, PRODUCER, lambda _shard, _now, token: Effects(append=list(values), reply=[Reply(token, "written")])
    )


def end(w: World, *, committed: bool) -> asyncio.Future[Any]:
    return w.runtime.complete_transaction(P, TransactionMarker(7, 0, 0, committed, 2))


@in_virtual_time
async def test_a_write_is_replayed_with_its_producer_and_answered_when_it_is_committed(w: World) -> None:
    w.log.put("before")
    await w.elected()
    answer = write(w, "a", "b")
    assert w.shards[-1].replayed[1:] == [("a", 1, 7), ("b", 2, 7)]
    await settle()
    assert state(answer) is None
    w.log.commit()
    await settle()
    assert state(answer) == "written"


@in_virtual_time
async def test_who_loads_the_log_replays_the_same(w: World) -> None:
    await w.elected()
    write(w, "a")
    w.put("plain")
    end(w, committed=True)
    write(w, "b")
    end(w, committed=False)
    await settle()
    w.log.commit()
    await settle()
    live = w.values()
    assert live == ["a", "plain", "7 committed", "b", "7 aborted"]
    w.runtime.on_resigned(P, 2)
    await w.elected(3)
    assert w.values() == live
    assert w.shards[-1].replayed == [("a", 0, 7), ("plain", 1, -1), ("b", 3, 7)]


@in_virtual_time
async def test_what_was_appended_before_stands_before_it_in_the_log(w: World) -> None:
    await w.elected()
    w.put("first")
    write(w, "second")
    w.put("third")
    end(w, committed=True)
    await settle()
    assert [values for _, values in w.log.appends] == [["first"], ["second"], ["third"], ["marker"]]
    assert w.values() == ["first", "second", "third", "7 committed"]


@pytest.mark.parametrize("act", ["write", "end"])
@in_virtual_time
async def test_a_producer_that_the_log_refuses_disturbs_nobody(w: World, act: str) -> None:
    await w.elected()
    parked = w.park()
    w.log.script.append(ErrorCode.INVALID_PRODUCER_EPOCH)
    refused = refusal(lambda: write(w, "a") if act == "write" else end(w, committed=True))
    assert refused is ErrorCode.INVALID_PRODUCER_EPOCH
    await settle()
    assert (state(parked), len(w.shards), w.values()) == (None, 1, [])


@in_virtual_time
async def test_a_queued_write_that_fails_takes_the_transactional_one_behind_it_along(w: World) -> None:
    await w.elected()
    queued = w.put("queued")
    w.log.script.append(ErrorCode.NOT_ENOUGH_REPLICAS)
    assert refusal(lambda: write(w, "a")) is ErrorCode.NOT_COORDINATOR
    await settle()
    assert state(queued) == NOT_AVAILABLE
    assert (w.log.appends, w.values()) == ([], [])


@in_virtual_time
async def test_nobody_hears_of_an_outcome_that_is_not_committed(w: World) -> None:
    await w.elected()
    write(w, "a")
    w.log.commit()
    await settle()
    ended = end(w, committed=True)
    read = w.get()
    await settle()
    assert (state(ended), state(read)) == (None, None)
    w.log.commit()
    await settle()
    assert (ended.done(), ended.result(), state(read)) == (True, None, ["a", "7 committed"])


@in_virtual_time
async def test_a_marker_that_is_in_the_log_but_not_committed_in_time_stands(w: World) -> None:
    await w.elected()
    ended = end(w, committed=True)
    await pass_ms(WRITE_TIMEOUT_MS + 1)
    assert state(ended) == NOT_AVAILABLE
    assert (w.values(), len(w.shards)) == (["7 committed"], 1)


@in_virtual_time
async def test_a_partition_that_is_not_led_takes_neither(w: World) -> None:
    assert refusal(lambda: write(w, "a")) is ErrorCode.NOT_COORDINATOR
    assert refusal(lambda: end(w, committed=True)) is ErrorCode.NOT_COORDINATOR
