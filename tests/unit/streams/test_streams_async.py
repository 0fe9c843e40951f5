"""Coroutines of the user's: bounded, in order, one after the other for a key, and their failures are handled."""

from __future__ import annotations

import asyncio

import pytest

from engine.streams import Consumed, ErrorHandlers, Produced, Serdes, StreamsBuilder, TopologyError
from engine.streams.error_handlers import go_on
from engine.streams.errors import ProcessingError
from engine.streams.records import InputRecord, OutputRecord
from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.worker_task import WorkerTask
from engine.streams.task import StreamTask

S = Serdes.string()


class Collected:
    def __init__(self) -> None:
        self.output: list[OutputRecord] = []

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        self.output.extend(records)

    def log_changes(self, topic: str, partition: int, records: object) -> None:
        raise AssertionError("there is no store")

    def partitions_of(self, topic: str) -> int:
        return 1


class Service:
    """Answers slow calls after those that were asked later, and fails bad ones."""

    def __init__(self) -> None:
        self.running: list[str | None] = []
        self.most = 0
        self.keys_together = False
        self.ended: list[str] = []

    async def ask(self, key: str | None, value: str) -> str:
        self.keys_together |= key in self.running
        self.running.append(key)
        self.most = max(self.most, len(self.running))
        for _ in range(20 if value == "slow" else 1):
            await asyncio.sleep(0)
        self.running.remove(key)
        self.ended.append(value)
        if value == "bad":
            raise ValueError("no such thing")
        if value == "cancelled":
            raise asyncio.CancelledError
        return value.upper()


def run(service: Service, records: list[tuple[str | None, str]], *, go_on_: bool = False) -> list[bytes | None]:
    builder = StreamsBuilder()
    stream = builder.stream("in", Consumed(key_serde=S, value_serde=S))
    stream.map_values_async(service.ask, concurrency=3).to("out", Produced(key_serde=S, value_serde=S))
    collected = Collected()
    handlers = ErrorHandlers(processing=go_on) if go_on_ else None
    config = {"application.id": "test"}
    task = StreamTask(builder.build(), config, sub_topology=0, partition=0, collector=collected, handlers=handlers)
    task.init(0)
    fetched = [InputRecord(at, at, key and key.encode(), value.encode()) for at, (key, value) in enumerate(records)]
    task.add_records("in", 0, fetched)
    try:
        task.process(0, limit=100)
    finally:
        task.close()
    return [record.value for record in collected.output]


def test_calls_overlap_up_to_the_bound_and_the_order_stays() -> None:
    service = Service()
    values = run(service, [("a", "slow"), ("b", "x"), ("c", "y"), ("d", "z"), ("a", "w")])
    assert values == [b"SLOW", b"X", b"Y", b"Z", b"W"]
    assert service.ended[0] != "slow"
    assert service.most == 3
    assert not service.keys_together


def test_a_record_that_fails_goes_alone_when_the_handler_says_so() -> None:
    assert run(Service(), [("a", "x"), ("b", "bad"), ("c", "y")], go_on_=True) == [b"X", b"Y"]
    with pytest.raises(ProcessingError, match="no such thing"):
        run(Service(), [("b", "bad")])


def test_a_bound_of_none_is_refused() -> None:
    stream = StreamsBuilder().stream("in")
    with pytest.raises(TopologyError, match="concurrency must be 1 or more"):
        stream.map_values_async(Service().ask, concurrency=0)


def test_a_worker_gives_coroutines_as_many_records_as_run_together_however_long_they_take() -> None:
    async def slow(_: str, value: str) -> str:
        return value

    builder = StreamsBuilder()
    stream = builder.stream("in", Consumed(key_serde=S, value_serde=S)).map_values_async(slow, concurrency=16)
    stream.to("out", Produced(key_serde=S, value_serde=S))
    config = {"application.id": "test"}
    task = StreamTask(builder.build(), config, sub_topology=0, partition=0, collector=Collected())
    of_worker = WorkerTask(TaskId(0, 0), "active", task, [("in", 0)])
    assert of_worker.batch == 16
    of_worker.fit_batch(16, 5_000)
    assert of_worker.batch == 16
    of_worker.fit_batch(16, 50)
    assert of_worker.batch == 32


def test_records_without_a_key_need_not_wait_for_each_other() -> None:
    service = Service()
    values = run(service, [(None, "slow"), (None, "a"), (None, "b"), (None, "c")])
    assert (values, service.most, service.ended[-1]) == ([b"SLOW", b"A", b"B", b"C"], 3, "slow")


def test_a_call_that_is_cancelled_fails_its_record() -> None:
    assert run(Service(), [("k", "a"), ("k", "cancelled"), ("k", "b")], go_on_=True) == [b"A", b"B"]
    with pytest.raises(ProcessingError, match="record of in-0 offset 0: StreamsError: the call was cancelled"):
        run(Service(), [("k", "cancelled")])
