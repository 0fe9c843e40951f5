"""``TopologyTestDriver``: a topology without a broker, in virtual time.

    with TopologyTestDriver(topology) as driver:
        lines = driver.create_input_topic("lines", Serdes.string(), Serdes.string())
        counts = driver.create_output_topic("counts", Serdes.string(), Serdes.long())
        lines.pipe_input("k", "hello world", timestamp=0)
        assert counts.read_key_values() == [("hello", 1), ("world", 1)]

As Java's: every topic has one partition, every record is processed to the end when it is piped, what goes to an
internal topic or to a source topic is read back, and the wall clock stands still until the test moves it. There is no
cache: every update is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from engine.streams.error_handlers import ErrorHandlers
from engine.streams.errors import StreamsError
from engine.streams.global_task import GlobalTask
from engine.streams.processors.stream_join import EMIT_INTERVAL_CONFIG as JOIN_EMIT_INTERVAL
from engine.streams.processors.window_aggregate import EMIT_INTERVAL_CONFIG as WINDOW_EMIT_INTERVAL
from engine.streams.records import NO_HEADERS, ChangelogRecord, Headers, InputRecord, OutputRecord
from engine.streams.serdes import Serde
from engine.streams.stores.engines import Engines
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.state_store import StateStore
from engine.streams.task import StreamTask
from engine.streams.topology import Topology

K = TypeVar("K")
V = TypeVar("V")


class TestRecord(NamedTuple, Generic[K, V]):
    """A record of an input or an output topic."""

    key: K
    value: V
    timestamp: int = 0
    headers: Headers = NO_HEADERS


TestRecord.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for tests otherwise


class TopologyTestDriver:
    """Runs a topology in the test; see the module.

    ``config`` takes ``application.id`` (``test`` unless given), ``default.key.serde`` and the like. ``wall_clock_ms``
    is where the wall clock begins. ``engines`` keeps the stores; in memory unless given.
    """

    __test__ = False

    def __init__(
        self,
        topology: Topology,
        config: Mapping[str, Any] | None = None,
        *,
        wall_clock_ms: int = 0,
        engines: Engines | None = None,
        handlers: ErrorHandlers | None = None,
        engines_by_type: Mapping[str, Engines] | None = None,
    ) -> None:
        # As Java's driver: what is closed goes on at once, not once a second of a clock that stands still.
        at_once = {WINDOW_EMIT_INTERVAL: 0, JOIN_EMIT_INTERVAL: 0}
        self.config: dict[str, Any] = {"application.id": "test", **at_once, **(config or {})}
        self.wall_clock_ms = wall_clock_ms
        self.topology = topology
        self._outputs: dict[str, deque[OutputRecord]] = {}
        self._offsets: dict[str, int] = {}
        made = engines or MemoryEngines()
        self._global = GlobalTask(topology, self.config, engines=made, handlers=handlers)
        self._global.init(wall_clock_ms)
        self.task = StreamTask(
            topology,
            self.config,
            sub_topology=None,
            partition=0,
            collector=self,
            engines=made,
            engines_by_type=engines_by_type,
            handlers=handlers,
            global_stores=self._global.stores,
        )
        self.task.init(wall_clock_ms)

    # The Collector of the task.

    def send(self, topic: str, records: list[OutputRecord]) -> None:
        """Output of a sink: kept for the test, and read back when the topology reads the topic."""
        self._outputs.setdefault(topic, deque()).extend(records)
        if self._reads(topic):
            self._enqueue(topic, [(r.key, r.value, r.timestamp, r.headers) for r in records])

    def log_changes(self, topic: str, partition: int, records: list[ChangelogRecord]) -> None:
        """Changes of stores: kept, under the changelog's name."""
        self._outputs.setdefault(topic, deque()).extend(OutputRecord(*record) for record in records)

    def partitions_of(self, topic: str) -> int:
        """One."""
        return 1

    def _reads(self, topic: str) -> bool:
        if topic in self._global.topics:
            return True
        try:
            self.task.source_of(topic)
        except KeyError:
            return False
        return True

    def _enqueue(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, int, Headers]]) -> None:
        made = []
        for key, value, timestamp, headers in records:
            offset = self._offsets.get(topic, 0)
            self._offsets[topic] = offset + 1
            made.append(InputRecord(offset, timestamp, key, value, headers))
        if topic in self._global.topics:
            self._global.process(topic, 0, made, self.wall_clock_ms)
        else:
            self.task.add_records(topic, 0, made)

    # Input, time, output.

    def create_input_topic(
        self,
        topic: str,
        key_serde: Serde[K],
        value_serde: Serde[V],
        *,
        start_timestamp: int | None = None,
        auto_advance_ms: int = 0,
    ) -> TestInputTopic[K, V]:
        """Where records are piped in. Records without a timestamp get ``start_timestamp``, then later ones."""
        return TestInputTopic(self, topic, key_serde, value_serde, start_timestamp, auto_advance_ms)

    def create_output_topic(self, topic: str, key_serde: Serde[K], value_serde: Serde[V]) -> TestOutputTopic[K, V]:
        """Where records are read."""
        return TestOutputTopic(self, topic, key_serde, value_serde)

    def pipe_raw(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp: int, headers: Headers = NO_HEADERS
    ) -> None:
        """Pipe bytes, and process all that comes of them."""
        if not self._reads(topic):
            raise StreamsError(f"Unknown topic: {topic} is not read by the topology")
        self._enqueue(topic, [(key, value, timestamp, headers)])
        self._finish()

    def _finish(self) -> None:
        task = self.task
        while task.process(self.wall_clock_ms):
            self._commit()
            task.punctuate_stream_time(self.wall_clock_ms)
            self._commit()

    def _commit(self) -> None:
        self.task.prepare_commit()
        self.task.committed()

    def advance_wall_clock_time(self, by_ms: int) -> None:
        """Move the wall clock, call punctuators that are due, and process what comes of them."""
        self.wall_clock_ms += by_ms
        self.task.punctuate_wall_clock(self.wall_clock_ms)
        self._commit()
        self._finish()

    def read_raw(self, topic: str) -> OutputRecord | None:
        """The next record of an output, internal or changelog topic, None when there is none."""
        queue = self._outputs.get(topic)
        return queue.popleft() if queue else None

    def queue_size(self, topic: str) -> int:
        """How many records of a topic were not read yet."""
        return len(self._outputs.get(topic, ()))

    def produced_topics(self) -> list[str]:
        """Every topic that was written to."""
        return sorted(self._outputs)

    def get_state_store(self, name: str) -> Any:
        """A store by its name, for the test to look into or to fill."""
        found = self.all_state_stores().get(name)
        if found is None:
            known = ", ".join(sorted(self.all_state_stores())) or "none"
            raise StreamsError(f"there is no store {name}; there are: {known}")
        return found

    def all_state_stores(self) -> dict[str, StateStore]:
        """Every store by its name."""
        return {**self.task.stores, **self._global.stores}

    @property
    def dropped_records(self) -> dict[str, int]:
        """Metric ``dropped-records-total`` by node or store."""
        return self.task.dropped_records

    def close(self) -> None:
        """End the topology."""
        self.task.close()
        self._global.close()

    def __enter__(self) -> TopologyTestDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class TestInputTopic(Generic[K, V]):
    """A topic that the test writes."""

    __test__ = False

    def __init__(
        self,
        driver: TopologyTestDriver,
        topic: str,
        key_serde: Serde[K],
        value_serde: Serde[V],
        start_timestamp: int | None,
        auto_advance_ms: int,
    ) -> None:
        self._driver = driver
        self._topic = topic
        self._key, self._value = key_serde, value_serde
        self._time = driver.wall_clock_ms if start_timestamp is None else start_timestamp
        self._advance = auto_advance_ms

    def advance_time(self, by_ms: int) -> None:
        """Move the time of the next record without a timestamp."""
        self._time += by_ms

    def pipe_input(
        self, key: K | None, value: V | None, timestamp: int | None = None, headers: Headers = NO_HEADERS
    ) -> None:
        """Pipe a record."""
        if timestamp is None:
            timestamp = self._time
            self._time += self._advance
        raw_key = None if key is None else self._key.serialize(key)
        raw_value = None if value is None else self._value.serialize(value)
        self._driver.pipe_raw(self._topic, raw_key, raw_value, timestamp, headers)

    def pipe_values(self, values: Iterable[V | None]) -> None:
        """Pipe records without a key."""
        for value in values:
            self.pipe_input(None, value)

    def pipe_key_values(self, items: Iterable[tuple[K | None, V | None]]) -> None:
        """Pipe keys and values."""
        for key, value in items:
            self.pipe_input(key, value)

    def pipe_records(self, records: Iterable[TestRecord[K, V]]) -> None:
        """Pipe whole records."""
        for record in records:
            self.pipe_input(*record)


class TestOutputTopic(Generic[K, V]):
    """A topic that the test reads."""

    __test__ = False

    def __init__(self, driver: TopologyTestDriver, topic: str, key_serde: Serde[K], value_serde: Serde[V]) -> None:
        self._driver = driver
        self._topic = topic
        self._key, self._value = key_serde, value_serde

    @property
    def queue_size(self) -> int:
        """How many records were not read yet."""
        return self._driver.queue_size(self._topic)

    def is_empty(self) -> bool:
        """Whether every record was read."""
        return self.queue_size == 0

    def read_record(self) -> TestRecord[Any, Any]:
        """The next record; StreamsError when there is none."""
        raw = self._driver.read_raw(self._topic)
        if raw is None:
            raise StreamsError(f"Empty topic: {self._topic}")
        key = None if raw.key is None else self._key.deserialize(raw.key)
        value = None if raw.value is None else self._value.deserialize(raw.value)
        return TestRecord(key, value, raw.timestamp, raw.headers)

    def read_value(self) -> Any:
        """The value of the next record."""
        return self.read_record().value

    def read_key_value(self) -> tuple[Any, Any]:
        """Key and value of the next record."""
        record = self.read_record()
        return record.key, record.value

    def read_records(self) -> list[TestRecord[Any, Any]]:
        """Every record that was not read yet."""
        return [self.read_record() for _ in range(self.queue_size)]

    def read_values(self) -> list[Any]:
        """The values of every record that was not read yet."""
        return [record.value for record in self.read_records()]

    def read_key_values(self) -> list[tuple[Any, Any]]:
        """Key and value of every record that was not read yet."""
        return [(record.key, record.value) for record in self.read_records()]

    def read_key_values_to_map(self) -> dict[Any, Any]:
        """The last value of each key."""
        return dict(self.read_key_values())
