"""Interactive queries without a cluster: keys from text, answers in JSON, who is asked, and what becomes of answers."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from engine.streams import (
    Consumed,
    Grouped,
    InvalidStateStoreError,
    Materialized,
    Record,
    Repartitioned,
    Serdes,
    SessionWindows,
    Stores,
    StreamsBuilder,
    TimeWindows,
    Topology,
    key_value_with_ttl,
)
from engine.streams.global_task import GlobalTask
from engine.streams.processors.endpoints import partition_of_key
from engine.streams.queries.answers import Answers, PartitionAnswer, joined, merged
from engine.streams.queries.catalogue import Catalogue
from engine.streams.queries.errors import InvalidQuery, NotReady, QueryError, UnknownStore, WrongKind
from engine.streams.queries.query import Kind, Query, Wishes, read_query, write_query
from engine.streams.queries.reading import read_entries
from engine.streams.queries.routes import Endpoint, Routes
from engine.streams.queries.values import as_json, key_bytes_of
from engine.streams.records import InputRecord, Window, Windowed
from engine.streams.runtime.group_topology import TaskId
from engine.streams.runtime.local_stores import LocalStores
from engine.streams.runtime.query_service import QueryService
from engine.streams.runtime.store_gate import GateBusy, StoreGate
from engine.streams.runtime.store_view import ReadOnlyStore
from engine.streams.runtime.worker_task import Phase, WorkerTask
from engine.streams.serdes import Serde
from engine.streams.stores.ttl import TtlKeyValueStore
from engine.streams.task import StreamTask
from engine.streams.test_driver import TopologyTestDriver
from engine.wire.messages import streams_group_heartbeat_response as heartbeat

TEXT, LONG = Serdes.string(), Serdes.long()
PARTITIONS = 4


def word_count() -> Topology:
    builder = StreamsBuilder()
    lines = builder.stream("lines", Consumed(key_serde=TEXT, value_serde=TEXT))
    words = lines.group_by(lambda _, word: word, Grouped(key_serde=TEXT, value_serde=TEXT))
    words.count(Materialized("counts"))
    words.windowed_by(TimeWindows.of_size_and_grace(10, 1000)).count(Materialized("windows"))
    words.windowed_by(SessionWindows.of_inactivity_gap_and_grace(5, 1000)).count(Materialized("sessions"))
    builder.table("customers", Consumed(key_serde=TEXT, value_serde=TEXT), Materialized("customers"))
    builder.global_table("rates", Consumed(key_serde=TEXT, value_serde=TEXT), Materialized("rates"))
    return builder.build()


def catalogue(topology: Topology) -> Catalogue:
    return Catalogue(topology, topology.sub_topologies("app"), "app", {})


# -- keys and values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serde", "text", "value"),
    [
        (Serdes.string(), "7", "7"),
        (Serdes.bytes(), "ä", "ä".encode()),
        (Serdes.long(), "-7", -7),
        (Serdes.integer(), "7", 7),
        (Serdes.short(), "7", 7),
        (Serdes.double(), "1e3", 1000.0),
        (Serdes.float(), "0.5", 0.5),
        (Serdes.boolean(), "true", True),
        (Serdes.uuid(), "{12345678123456781234567812345678}", uuid.UUID(int=0x12345678123456781234567812345678)),
        (Serdes.json(), '{"a": [1, 2]}', {"a": [1, 2]}),
    ],
)
def test_a_key_is_text_as_its_serde_reads_it(serde: Serde[Any], text: str, value: Any) -> None:
    assert key_bytes_of(serde, text, "key") == serde.serialize(value)


@pytest.mark.parametrize(
    ("serde", "text"),
    [(LONG, "seven"), (LONG, str(2**63)), (Serdes.boolean(), "yes"), (Serdes.json(), "{"), (Serdes.uuid(), "1")],
)
def test_what_is_no_key_is_named_with_the_way_to_give_bytes(serde: Serde[Any], text: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        key_bytes_of(serde, text, "key")
    assert repr(text) in str(caught.value)
    assert "key_base64" in str(caught.value)


def test_a_serde_of_the_users_is_given_json_or_else_the_text() -> None:
    pair: Serde[Any] = Serde(lambda value: f"{value['a']}".encode(), lambda data: {"a": data.decode()})
    assert key_bytes_of(pair, '{"a": "x"}', "key") == b"x"
    upper: Serde[str] = Serde(lambda value: value.upper().encode(), bytes.decode)
    assert key_bytes_of(upper, "x y", "key") == b"X Y"


@dataclass
class _Order:
    amount: float
    tags: set[str]


def test_values_are_json_where_json_can_say_them() -> None:
    assert as_json({"a": [1, None, True, "ä"]}) == {"a": [1, None, True, "ä"]}
    assert as_json(b"\xff") == {"base64": "/w=="}
    assert as_json(_Order(0.5, {"b", "a"})) == {"amount": 0.5, "tags": ["a", "b"]}
    assert as_json(Windowed("k", Window(1, 2))) == {"key": "k", "window": {"start": 1, "end": 2}}
    assert as_json({1: 2}) == {"repr": "{1: 2}"}
    assert as_json(float("nan")) == {"repr": "nan"}
    endless: list[Any] = []
    endless.append(endless)
    json.dumps(as_json(endless))


# -- questions --------------------------------------------------------------------------------------------------------


def test_a_question_that_is_sent_on_is_the_same_question() -> None:
    stores = catalogue(word_count())
    asked = {
        (Kind.KEY, "counts"): {"key": "ä b", "stale": "true"},
        (Kind.RANGE, "counts"): {"from": "a", "to_base64": "eg==", "limit": "7", "reverse": "true"},
        (Kind.WINDOW, "windows"): {"from_ms": "5", "partitions": "2,0", "partial": "true"},
        (Kind.SESSION, "sessions"): {"key": "k", "to_ms": "9", "local": "true"},
    }
    for (kind, store), given in asked.items():
        query, wishes = read_query(stores[store], kind, given)
        assert read_query(stores[store], kind, write_query(query, wishes)) == (query, wishes)
    assert query == Query("sessions", Kind.SESSION, key=b"k", to_ms=9)
    assert wishes == Wishes(local=True)


@pytest.mark.parametrize(
    ("store", "kind", "given", "says"),
    [
        ("counts", Kind.KEY, {}, "key: say which"),
        ("counts", Kind.KEY, {"key": "a", "key_base64": "YQ=="}, "exclude each other"),
        ("counts", Kind.KEY, {"key_base64": "a b"}, "key_base64: 'a b' is not base64"),
        ("counts", Kind.KEY, {"key_base64": "/w=="}, "key_base64: b'\\xff' is no key of the serde string"),
        ("counts", Kind.RANGE, {"limit": "0"}, "limit: 0 is not between 1 and 5000"),
        ("counts", Kind.RANGE, {"limits": "1"}, "limits: no parameter of range queries"),
        ("counts", Kind.RANGE, {"prefix": "a", "from": "b"}, "prefix goes without"),
        ("counts", Kind.RANGE, {"reverse": "1"}, "reverse: '1' is neither true nor false"),
        ("counts", Kind.RANGE, {"partition": "one"}, "'one' is not numbers"),
        ("windows", Kind.WINDOW, {"from_ms": "now"}, "from_ms: 'now' is no whole number"),
    ],
)
def test_a_wrong_parameter_is_named(store: str, kind: Kind, given: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        read_query(catalogue(word_count())[store], kind, given)
    assert says in str(caught.value)


def test_a_store_is_asked_in_its_own_way_and_by_its_name() -> None:
    stores = catalogue(word_count())
    with pytest.raises(WrongKind, match="windows is a timestamped-window store: ask by window, not by key"):
        read_query(stores["windows"], Kind.KEY, {"key": "a"})
    with pytest.raises(UnknownStore, match="no store nix; its stores: counts, customers, rates, sessions, windows"):
        stores["nix"]


def test_stores_for_the_runtimes_own_use_cannot_be_asked() -> None:
    builder = StreamsBuilder()
    left = builder.stream("left", Consumed(key_serde=TEXT, value_serde=TEXT))
    right = builder.stream("right", Consumed(key_serde=TEXT, value_serde=TEXT))
    from engine.streams import JoinWindows

    left.outer_join_stream(right, lambda a, b: (a, b), JoinWindows.of_time_difference_and_grace(10, 10))
    stores = catalogue(builder.build())
    (buffer,) = [each for each in stores.stores.values() if not each.can_be_asked]
    with pytest.raises(WrongKind, match="stores of this kind cannot be asked"):
        read_query(buffer, Kind.RANGE, {})


# -- where keys are ---------------------------------------------------------------------------------------------------


def test_only_where_the_runtime_partitions_records_itself_a_keys_place_is_certain() -> None:
    stores = catalogue(word_count())
    assert stores["counts"].is_placed
    assert not stores["customers"].is_placed  # others write the topic, by whatever partitioner
    assert stores["counts"].source_topics == ("app-counts-repartition",)
    assert stores["counts"].partition_of(b"word", 12) == partition_of_key(b"word", 12)

    def of(partitioner: Any, *, by_user: bool) -> bool:
        builder = StreamsBuilder()
        lines = builder.stream("lines", Consumed(key_serde=TEXT, value_serde=TEXT))
        wanted = Repartitioned(key_serde=TEXT, value_serde=TEXT, partitioner=partitioner)
        there = lines.repartition(wanted)
        if by_user:
            builder.add_state_store(Stores.key_value("store", TEXT, TEXT))
            there.process(_Nothing, stores=["store"])
        else:
            there.to_table(Materialized("store", key_serde=TEXT, value_serde=TEXT))
        return catalogue(builder.build())["store"].is_placed

    assert of(None, by_user=False)
    assert not of(lambda topic, key, value, count: 0, by_user=False)
    assert not of(None, by_user=True)


class _Nothing:
    def init(self, context: Any) -> None: ...

    def process(self, record: Record[Any, Any]) -> None: ...

    def close(self) -> None: ...


def test_all_windows_of_a_key_are_in_its_partition() -> None:
    builder = StreamsBuilder()
    serde = Serdes.time_windowed(TEXT, 10)
    builder.table("sums", Consumed(key_serde=serde, value_serde=LONG), Materialized("sums"))
    info = catalogue(builder.build())["sums"]
    for start in (0, 10, 20):
        at = info.partition_of(serde.serialize(Windowed("k", Window(start, start + 10))), 12)
        assert at == partition_of_key(b"k", 12)


def _told(host: str, active: dict[str, list[int]], standby: dict[str, list[int]] | None = None) -> Any:
    def of(topics: dict[str, list[int]]) -> list[heartbeat.TopicPartition]:
        return [heartbeat.TopicPartition(topic=name, partitions=numbers) for name, numbers in topics.items()]

    return heartbeat.EndpointToPartitions(
        user_endpoint=heartbeat.Endpoint(host=host, port=1),
        active_partitions=of(active),
        standby_partitions=of(standby or {}),
    )


def test_routes_are_what_the_coordinator_tells() -> None:
    routes = Routes(
        [_told("a", {"orders": [0], "rates": [0]}, {"orders": [1]}), _told("b", {"orders": [1, 2]}), _told("c", {})]
    )
    topics = ("rates", "orders")
    assert [routes.active(topics, each) for each in range(4)] == [
        Endpoint("a", 1),
        Endpoint("b", 1),
        Endpoint("b", 1),
        None,
    ]
    assert routes.standbys(topics, 1) == [Endpoint("a", 1)]
    assert [each.host for each in routes.endpoints] == ["a", "b", "c"]
    assert str(Endpoint("::1", 5)) == "[::1]:5"


# -- answers ----------------------------------------------------------------------------------------------------------


def test_the_first_answer_of_a_partition_counts_and_a_restore_says_more_than_an_absence() -> None:
    def answer(worker: str) -> PartitionAnswer:
        return PartitionAnswer([], False, worker)

    first = Answers({0: answer("a")}, {1: "RESTORING", 2: "ABSENT", 3: "ABSENT"})
    second = Answers({0: answer("b"), 3: answer("b")}, {1: "ABSENT", 2: "RESTORING"})
    both = joined((first, second))
    assert {at: each.worker for at, each in both.found.items()} == {0: "a", 3: "b"}
    assert both.missing == {1: "RESTORING", 2: "RESTORING"}
    assert joined((Answers({}, {0: "ABSENT"}), Answers({}, {0: "UNREACHABLE"}))).missing == {0: "UNREACHABLE"}
    assert Answers.of(json.loads(json.dumps(both.document()))) == both
    with pytest.raises(ValueError, match="no answer of a worker"):
        Answers.of({"found": [{"of": 1}], "missing": []})


class _Nowhere:
    def send(self, *_: Any) -> None: ...

    def log_changes(self, *_: Any) -> None: ...

    def partitions_of(self, topic: str) -> int:
        return PARTITIONS


class _World:
    """Workers of one application that ask each other without a network."""

    def __init__(self, topology: Topology, workers: int) -> None:
        self.topology = topology
        self.stores = catalogue(topology)
        self.dead: set[str] = set()
        self.asked = 0
        self.gates = [StoreGate() for _ in range(workers)]
        self.tasks: list[dict[TaskId, WorkerTask]] = [{} for _ in range(workers)]
        self.locals: list[LocalStores] = []
        self.services: list[QueryService] = []
        self._executor = ThreadPoolExecutor(4)
        for number in range(workers):
            self._globals = GlobalTask(topology, {"application.id": "app"})
            local = LocalStores(
                self.stores,
                self.gates[number],
                self.tasks[number],
                self._globals.stores,
                list,
                lambda: True,
                lambda number=number: number not in self.unsure,  # type: ignore[misc]
            )
            self.locals.append(local)
            service = QueryService(
                local, Endpoint(f"w{number}", 1), self.routes, lambda topic: PARTITIONS, self._fetch, self._executor
            )
            self.services.append(service)
        self.told: Routes | None = None
        self.unsure: set[int] = set()

    def close(self) -> None:
        self._executor.shutdown()

    def give(
        self, worker: int, store: str, partition: int, *, role: str = "active", phase: str = "RUNNING"
    ) -> StreamTask:
        info = self.stores[store]
        task = StreamTask(
            self.topology,
            {"application.id": "app"},
            sub_topology=info.sub_topology,
            partition=partition,
            collector=_Nowhere(),
        )
        task.init(0)
        at = TaskId(info.sub_topology, partition)
        made = WorkerTask(at, role, task, [(topic, partition) for topic in info.source_topics])
        made.phase = Phase(phase)
        self.tasks[worker][at] = made
        return task

    def routes(self) -> Routes:
        if self.told is not None:
            return self.told
        told = []
        for number, tasks in enumerate(self.tasks):
            active: dict[str, list[int]] = {}
            standby: dict[str, list[int]] = {}
            for task in tasks.values():
                for topic, partition in task.inputs:
                    (active if task.is_active else standby).setdefault(topic, []).append(partition)
            told.append(_told(f"w{number}", active, standby))
        return Routes(told)

    async def _fetch(self, endpoint: Endpoint, path: str, parameters: Mapping[str, str]) -> tuple[int, Any]:
        self.asked += 1
        if endpoint.host in self.dead:
            raise ConnectionRefusedError(str(endpoint))
        _, _, _, store, kind = path.split("/")
        try:
            document = await self.services[int(endpoint.host[1:])].parts(store, Kind(kind), parameters)
        except QueryError as error:
            return error.status, error.document()
        return 200, json.loads(json.dumps(document))

    def ask(self, worker: int, store: str, kind: str, **given: str) -> Any:
        given = {name.rstrip("_"): value for name, value in given.items()}
        return asyncio.run(self.services[worker].answer(store, Kind(kind), given))


def counted(workers: int) -> tuple[_World, list[tuple[str, int]]]:
    """Words, counted by several workers, and all of them with their times."""
    world = _World(word_count(), workers)
    chance = random.Random(5)
    words = [(f"w{chance.randrange(40)}", chance.randrange(300)) for _ in range(400)]
    for store in ("counts", "windows", "sessions"):
        (source,) = world.stores[store].source_topics
        tasks = [world.give(partition % workers, store, partition) for partition in range(PARTITIONS)]
        for offset, (word, time_ms) in enumerate(words):
            key = word.encode()
            partition = partition_of_key(key, PARTITIONS)
            tasks[partition].add_records(source, partition, [InputRecord(offset, time_ms, key, key)])
            while tasks[partition].process(0, 10):
                pass
    return world, words


def test_any_worker_answers_for_all() -> None:
    world, words = counted(3)
    counts: dict[str, int] = {}
    windows: dict[tuple[int, str], int] = {}
    for word, time_ms in words:
        counts[word] = counts.get(word, 0) + 1
        window = time_ms // 10 * 10, word
        windows[window] = windows.get(window, 0) + 1
    try:
        for worker in range(3):
            for word in (*counts, "never"):
                answer = world.ask(worker, "counts", "key", key=word)
                assert (answer["found"], answer["value"]) == (word in counts, counts.get(word))
                assert answer["worker"] == f"w{partition_of_key(word.encode(), PARTITIONS) % 3}:1"
            answer = world.ask(worker, "counts", "range")
            assert [(each["key"], each["value"]) for each in answer["entries"]] == sorted(counts.items())
            assert not answer["truncated"]
            answer = world.ask(worker, "counts", "range", from_="w2", to="w35", limit="9", reverse="true")
            wanted = sorted((each for each in counts if "w2" <= each <= "w35"), reverse=True)
            assert [each["key"] for each in answer["entries"]] == wanted[:9]
            assert answer["truncated"]
            answer = world.ask(worker, "counts", "range", prefix="w3")
            assert [each["key"] for each in answer["entries"]] == sorted(each for each in counts if each[:2] == "w3")
            answer = world.ask(worker, "windows", "window", from_ms="100", to_ms="200", limit="5000")
            got = [((each["window"]["start"], each["key"]), each["value"]) for each in answer["entries"]]
            assert got == sorted(each for each in windows.items() if 100 <= each[0][0] <= 200)
            answer = world.ask(worker, "windows", "window", key="w7", reverse="true")
            got = [((each["window"]["start"], "w7"), each["value"]) for each in answer["entries"]]
            assert got == sorted((each for each in windows.items() if each[0][1] == "w7"), reverse=True)
    finally:
        world.close()


def test_sessions_are_merged_by_key_and_end() -> None:
    world, words = counted(2)
    sessions: dict[str, list[list[int]]] = {}
    for word, time_ms in sorted(words, key=lambda each: each[1]):
        of_word = sessions.setdefault(word, [])
        if of_word and time_ms - of_word[-1][1] <= 5:
            of_word[-1][1] = time_ms
        else:
            of_word.append([time_ms, time_ms])
    try:
        answer = world.ask(1, "sessions", "session", from_ms="50", to_ms="150", limit="5000")
        got = [(each["key"], [each["window"]["start"], each["window"]["end"]]) for each in answer["entries"]]
        wanted = [
            (word, each) for word in sorted(sessions) for each in sessions[word] if each[1] >= 50 and each[0] <= 150
        ]
        assert got == wanted
        answer = world.ask(0, "sessions", "session", key="w9", reverse="true")
        assert [each["window"]["end"] for each in answer["entries"]] == [each[1] for each in reversed(sessions["w9"])]
    finally:
        world.close()


def test_who_may_have_lost_its_tasks_without_knowing_it_answers_only_for_whom_old_values_will_do() -> None:
    world, words = counted(2)
    word = next(each for each, _ in words if partition_of_key(each.encode(), PARTITIONS) == 0)
    try:
        world.unsure.add(0)
        with pytest.raises(NotReady, match="has not heard of its group for longer than a session") as caught:
            world.ask(0, "counts", "key", key=word)
        assert caught.value.state == "UNSURE"
        answer = world.ask(0, "counts", "key", key=word, stale="true")
        assert (answer["found"], answer["stale"]) == (True, True)
        # Whoever has the task since is found.
        task = TaskId(world.stores["counts"].sub_topology, 0)
        world.tasks[1][task] = world.tasks[0][task]
        assert world.ask(0, "counts", "key", key=word)["worker"] == "w1:1"
    finally:
        world.close()


def test_a_dead_worker_is_said_and_who_took_over_is_found_before_the_group_tells() -> None:
    world, words = counted(3)
    word = next(each for each, _ in words if partition_of_key(each.encode(), PARTITIONS) == 1)
    try:
        world.told = world.routes()
        world.dead.add("w1")
        with pytest.raises(NotReady, match="partition 1 was with a worker that does not answer") as caught:
            world.ask(0, "counts", "key", key=word)
        assert caught.value.status == 503
        answer = world.ask(0, "counts", "range", partial="true")
        assert [each["partition"] for each in answer["missing"]] == [1]
        answer = world.ask(0, "counts", "key", key=word, partial="true")
        assert (answer["found"], answer["missing"]) == (False, [{"partition": 1, "state": "UNREACHABLE"}])
        task = TaskId(world.stores["counts"].sub_topology, 1)
        world.tasks[2][task] = world.tasks[1].pop(task)
        answer = world.ask(0, "counts", "key", key=word)
        assert (answer["found"], answer["worker"]) == (True, "w2:1")
    finally:
        world.close()


def test_a_task_that_is_restored_answers_503_and_a_standby_where_it_may() -> None:
    world = _World(word_count(), 2)
    try:
        for partition in range(PARTITIONS):
            world.give(0, "counts", partition, phase="RESTORING" if partition == 2 else "RUNNING")
            standby = world.give(1, "counts", partition, role="standby")
            standby.restore("counts", [(b"word", (partition).to_bytes(8, "big"), 5, ())])
        for worker in range(2):
            with pytest.raises(NotReady) as caught:
                world.ask(worker, "counts", "range")
            assert caught.value.document()["state"] == "RESTORING"
            assert caught.value.document()["retry_after_ms"] > 0
            assert "partition 2 is being restored" in str(caught.value)
            answer = world.ask(worker, "counts", "range", partial="true")
            assert answer["missing"] == [{"partition": 2, "state": "RESTORING"}]
        world.dead.add("w0")
        partition = partition_of_key(b"word", PARTITIONS)
        with pytest.raises(NotReady):
            world.ask(1, "counts", "key", key="word")
        answer = world.ask(1, "counts", "key", key="word", stale="true")
        assert (answer["value"], answer["stale"], answer["worker"]) == (partition, True, "w1:1")
    finally:
        world.close()


def test_a_key_that_others_partitioned_is_looked_for_everywhere() -> None:
    world = _World(word_count(), 2)
    try:
        for partition in range(PARTITIONS):
            task = world.give(partition % 2, "customers", partition)
            if partition == (partition_of_key(b"k", PARTITIONS) + 1) % PARTITIONS:
                task.restore("customers", [(b"k", b"elsewhere", 0, ())])
        assert world.ask(0, "customers", "key", key="k")["value"] == "elsewhere"
        assert not world.ask(0, "customers", "key", key="nobody")["found"]
        with pytest.raises(QueryError, match="no partition 9, only 0 to 3"):
            world.ask(0, "customers", "range", partition="9")
    finally:
        world.close()


def test_a_global_store_is_read_here() -> None:
    world = _World(word_count(), 1)
    try:
        world._globals.restore("rates", [(b"eur", b"1.1", 7, ())])
        answer = world.ask(0, "rates", "range")
        assert [(each["key"], each["value"], each["partition"]) for each in answer["entries"]] == [("eur", "1.1", None)]
        answer = world.ask(0, "rates", "key", key="usd")
        assert (answer["found"], answer["key"], answer["partition"]) == (False, "usd", None)
        assert world.asked == 0
    finally:
        world.close()


def test_a_query_leaves_no_trace_in_a_store_whose_values_end() -> None:
    topology = Topology().add_source("source", "in", key_serde=TEXT, value_serde=TEXT)
    topology.add_processor("processor", _Nothing, "source")
    topology.add_state_store(key_value_with_ttl("kept", 10, TEXT, TEXT), "processor")
    with TopologyTestDriver(topology) as driver:
        store = driver.task.stores["kept"]
        assert isinstance(store, TtlKeyValueStore)
        store.put("k", "v")
        before = store.observed_stream_time
        driver.task.stream_time = 1000
        info = catalogue(topology)["kept"]
        assert read_entries(store, info, Query("kept", Kind.KEY, key=b"k")) == ([], False)
        assert store.observed_stream_time == before


def test_merged_lists_are_in_the_stores_order_whatever_the_language_of_keys() -> None:
    world = _World(word_count(), 1)
    try:
        keys = ["a", "Z", "ä", "z", "\U0001f600", "b"]
        for key in keys:
            partition = partition_of_key(key.encode(), PARTITIONS)
            at = TaskId(world.stores["counts"].sub_topology, partition)
            if at not in world.tasks[0]:
                world.give(0, "counts", partition)
            world.tasks[0][at].task.restore("counts", [(key.encode(), bytes(8), 0, ())])
        answer = world.ask(0, "counts", "range", partial="true")
        assert [each["key"] for each in answer["entries"]] == sorted(keys, key=str.encode)
        some = [
            {"key_base64": "YQ==", "window": {"start": 2, "end": 3}},
            {"key_base64": "YQ==", "window": {"start": 1, "end": 3}},
        ]
        answers = Answers({n: PartitionAnswer([each], False, "w") for n, each in enumerate(some)}, {})
        assert merged(Query("s", Kind.SESSION), answers)[0] == [some[1], some[0]]
    finally:
        world.close()


# -- the gate ---------------------------------------------------------------------------------------------------------


def test_queries_run_only_in_gaps_and_a_busy_worker_leaves_some() -> None:
    gate = StoreGate()
    inside, overlaps, ended = [False], [0], threading.Event()

    def work() -> None:
        gate.take()
        while not ended.is_set():
            inside[0] = True
            time.sleep(0.0005)
            inside[0] = False
            gate.let_in()
        gate.give()

    def look() -> int:
        overlaps[0] += inside[0]
        return 1

    worker = threading.Thread(target=work)
    worker.start()
    began = time.monotonic()
    assert sum(gate.run(look, 5) for _ in range(50)) == 50
    took = time.monotonic() - began
    ended.set()
    worker.join()
    assert overlaps == [0]
    assert took < 2


def test_a_worker_without_time_is_said_and_one_that_waits_answers() -> None:
    gate = StoreGate()
    gate.take()
    results: list[object] = []

    def ask() -> None:
        try:
            results.append(gate.run(lambda: "answer", 0.01))
        except GateBusy as error:
            results.append(str(error))

    for wait in (False, True):
        asker = threading.Thread(target=ask)
        if wait:
            with gate.gap():
                asker.start()
                asker.join()
        else:
            asker.start()
            asker.join()
    assert results == ["the worker left no gap within 0.01 s", "answer"]


def test_the_workers_own_functions_may_ask_while_it_works() -> None:
    gate = StoreGate()
    gate.take()
    assert gate.run(lambda: 7, 0) == 7
    gate.give()


def test_batches_of_slow_functions_become_small_and_large_again() -> None:
    world = _World(word_count(), 1)
    world.give(0, "counts", 0)
    world.close()
    (task,) = world.tasks[0].values()
    assert task.batch == 1
    for _ in range(20):
        task.fit_batch(1, 50)
    assert task.batch == 2, "of a function that is slow, seen one record at a time"
    for _ in range(10):
        task.fit_batch(task.batch, 3)
    assert task.batch == 1000
    task.fit_batch(1000, 5000)
    assert task.batch == 20
    task.fit_batch(20, 9000)
    assert task.batch == 1
    for _ in range(10):
        task.fit_batch(task.batch, 3)
    assert task.batch == 1000


# -- Worker.store() ---------------------------------------------------------------------------------------------------


def test_other_threads_read_the_stores_that_are_here() -> None:
    world, words = counted(2)
    counts = Counter(word for word, _ in words)
    here = {word for word in counts if partition_of_key(word.encode(), PARTITIONS) % 2 == 0}
    local = world.locals[0]
    store = ReadOnlyStore(local, world.stores["counts"])
    assert {key: value.value for key, value in store.all()} == {word: counts[word] for word in here}
    assert store.approximate_num_entries() == len(here)
    word = min(here)
    found = store.get(word)
    assert found is not None
    assert found.value == counts[word]
    assert store.get("never") is None
    assert {key for key, _ in store.range("w1", "w3")} == {each for each in here if "w1" <= each <= "w3"}
    assert {key for key, _ in store.prefix_scan("w3", TEXT)} == {each for each in here if each.startswith("w3")}
    windows = ReadOnlyStore(local, world.stores["windows"])
    assert sum(count.value for _, count in windows.fetch(word, 0, 300)) == counts[word]
    assert sum(count.value for _, count in windows.fetch_all(0, 300)) == sum(counts[each] for each in here)
    sessions = ReadOnlyStore(local, world.stores["sessions"])
    assert sum(count for _, count in sessions.fetch(word)) == counts[word]
    with pytest.raises(InvalidStateStoreError, match=r"timestamped-window store: no range\(\)"):
        windows.range("a", "b")
    for task in world.tasks[0].values():
        task.phase = Phase.RESTORING
    with pytest.raises(InvalidStateStoreError, match="still RESTORING"):
        store.get(word)
    world.tasks[0].clear()
    with pytest.raises(InvalidStateStoreError, match="no partition of it is here"):
        store.get(word)
    world.close()
