"""Sources and sinks: where bytes become rows and rows become bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from engine.streams.errors import StreamsError
from engine.streams.processors.node import Node
from engine.streams.records import Headers, InputRecord, OutputRecord, RecordMetadata, Row, Windowed
from engine.streams.serdes import Serde, SessionWindowedSerde, TimeWindowedSerde
from engine.streams.topology import SinkSpec, SourceSpec, StreamPartitioner, TimestampExtractor, TopicNameExtractor

_KNOWN_PARTITIONS = 100_000


class ConsumedRecord(NamedTuple):
    """A record as a timestamp extractor sees it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: Headers


def fail_on_invalid_timestamp(record: ConsumedRecord, partition_time: int) -> int:
    """The record's own time; an invalid one stops the application (``FailOnInvalidTimestamp``, Kafka's default)."""
    if record.timestamp < 0:
        raise StreamsError(
            f"record at {record.topic}-{record.partition} offset {record.offset} has an invalid (negative) timestamp; "
            "give the source another timestamp_extractor, e.g. log_and_skip_on_invalid_timestamp"
        )
    return record.timestamp


def log_and_skip_on_invalid_timestamp(record: ConsumedRecord, partition_time: int) -> int:
    """The record's own time; an invalid one drops the record (``LogAndSkipOnInvalidTimestamp``)."""
    return record.timestamp


def use_partition_time_on_invalid_timestamp(record: ConsumedRecord, partition_time: int) -> int:
    """The record's own time, or the latest of its partition (``UsePartitionTimeOnInvalidTimestamp``)."""
    return record.timestamp if record.timestamp >= 0 else partition_time


class SourceNode(Node):
    """Reads the topics of one source node. The task deserializes with :meth:`read` and feeds what comes out."""

    __slots__ = ("_extractor", "_key", "_serdes", "_value", "spec")

    def __init__(self, spec: SourceSpec, key: Serde[Any], value: Serde[Any], extractor: TimestampExtractor | None):
        super().__init__()
        self.spec = spec
        self._key, self._value = key, value
        self._extractor = spec.timestamp_extractor or extractor
        if self._extractor is fail_on_invalid_timestamp:
            self._extractor = None  # what read() does without one
        self._serdes: dict[str, tuple[Serde[Any], Serde[Any]]] = {}

    def process(self, rows: list[Row]) -> None:
        """Hand rows to the topology."""
        self.forward(rows)

    def _serdes_of(self, topic: str) -> tuple[Serde[Any], Serde[Any]]:
        found = self._serdes.get(topic)
        if found is None:
            found = self._key.for_topic(topic, is_key=True), self._value.for_topic(topic, is_key=False)
            self._serdes[topic] = found
        return found

    def read(
        self, topic: str, partition: int, records: list[InputRecord], partition_time: int, task: SourceTask
    ) -> list[Row]:
        """The rows of fetched records, in order, without those that the handlers or the extractor drop."""
        key_serde, value_serde = self._serdes_of(topic)
        read_key, read_value = key_serde.deserialize, value_serde.deserialize
        rows: list[Row] = []
        rest = iter(records)

        def plain(todo: Iterator[InputRecord]) -> Iterable[Row]:
            for offset, timestamp, key, value, headers in todo:
                if timestamp < 0:
                    fail_on_invalid_timestamp(
                        ConsumedRecord(topic, partition, offset, timestamp, key, value, headers), -1
                    )
                yield (
                    None if key is None else read_key(key),
                    None if value is None else read_value(value),
                    timestamp,
                    headers,
                    offset,
                )

        def extracted(todo: Iterator[InputRecord]) -> Iterable[Row]:
            extractor = self._extractor
            assert extractor is not None
            latest = partition_time
            for offset, timestamp, raw_key, raw_value, headers in todo:
                key = None if raw_key is None else read_key(raw_key)
                value = None if raw_value is None else read_value(raw_value)
                record = ConsumedRecord(topic, partition, offset, timestamp, key, value, headers)
                try:
                    time = extractor(record, latest)
                except StreamsError:
                    raise
                except Exception as error:
                    raise StreamsError(
                        f"the timestamp extractor of {self.name} failed at {topic}-{partition} offset {offset}: {error}"
                    ) from error
                if time < 0:
                    self.context.dropped(self.name)
                    continue
                latest = max(latest, time)
                yield key, value, time, headers, offset

        work = plain if self._extractor is None else extracted
        while True:
            try:
                rows.extend(work(rest))
                return rows
            except StreamsError:
                raise
            except Exception as error:
                at = len(records) - rest.__length_hint__() - 1  # type: ignore[attr-defined]
                task.failed_to_deserialize(self.name, topic, partition, records[at], error)


class SourceTask(Protocol):
    """What a source asks of its task besides."""

    def failed_to_deserialize(
        self, node: str, topic: str, partition: int, record: InputRecord, error: Exception
    ) -> None:
        """Returns when the record is to be passed over, raises otherwise."""


class _NoPartition(Exception):
    """The partitioner failed, or chose what is not there: its cause says how."""


def _chosen(partition_of: StreamPartitioner, topic: str, key: Any, value: Any, count: int) -> int | None:
    try:
        partition = partition_of(topic, key, value, count)
        if partition is not None and not 0 <= partition < count:
            raise StreamsError(f"the partitioner chose partition {partition} of {topic}, which has {count}")
    except Exception as error:
        raise _NoPartition from error
    return partition


class SinkNode(Node):
    """Writes to a topic, or to the one a function says."""

    __slots__ = ("_extractor", "_key", "_partitioner", "_partitions", "_serdes", "_topic", "_value")

    def __init__(self, spec: SinkSpec, topic: str | None, key: Serde[Any], value: Serde[Any]) -> None:
        super().__init__()
        self._topic = topic
        self._extractor: TopicNameExtractor | None = spec.topic_extractor
        self._key, self._value = key, value
        self._partitioner: StreamPartitioner | None = spec.partitioner
        self._partitions: dict[int, dict[bytes, int]] = {}
        """Partitions of keys that were seen, by number of partitions: the hash costs more than all else here."""
        self._serdes: dict[str, tuple[Serde[Any], Serde[Any]]] = {}

    def process(self, rows: list[Row]) -> None:
        """Serialize and send."""
        if self._topic is not None:
            self._send(self._topic, rows)
            return
        assert self._extractor is not None
        topic_of, context = self._extractor, self.context
        run: list[Row] = []
        to: str | None = None
        for row in rows:
            metadata = RecordMetadata(context.topic or "", context.partition, row[4])
            try:
                topic = topic_of(row[0], row[1], metadata)
                if not topic:
                    raise StreamsError(f"the function that chooses topics gave {topic!r}, which names no topic")
            except Exception as error:
                context.failed(self.name, row, error)
                continue
            if topic != to and to is not None:
                self._send(to, run)
                run = []
            to = topic
            run.append(row)
        if to is not None:
            self._send(to, run)

    def _send(self, topic: str, rows: list[Row]) -> None:
        found = self._serdes.get(topic)
        if found is None:
            found = self._key.for_topic(topic, is_key=True), self._value.for_topic(topic, is_key=False)
            self._serdes[topic] = found
        write_key, write_value = found[0].serialize, found[1].serialize
        partition_of, context = self._partitioner, self.context
        windowed = partition_of is None and isinstance(found[0], TimeWindowedSerde | SessionWindowedSerde)
        # Outside of what is told to be serialization: the topic may be missing.
        count = context.partitions_of(topic) if windowed or partition_of is not None else 0
        out: list[OutputRecord] = []
        rest = iter(rows)

        def plain(todo: Iterator[Row]) -> Iterable[OutputRecord]:
            for key, value, timestamp, headers, _ in todo:
                yield OutputRecord(
                    None if key is None else write_key(key),
                    None if value is None else write_value(value),
                    timestamp,
                    headers,
                )

        def partitioned(todo: Iterator[Row]) -> Iterable[OutputRecord]:
            known = self._partitions.setdefault(count, {})
            inner_end = -8 if isinstance(found[0], TimeWindowedSerde) else -16
            for key, value, timestamp, headers, _ in todo:
                partition = None
                raw_key = None if key is None else write_key(key)
                if windowed and isinstance(key, Windowed) and raw_key is not None:
                    # By the key alone, so that all windows of a key are in one partition (WindowedStreamPartitioner).
                    inner = raw_key[:inner_end]
                    partition = known.get(inner)
                    if partition is None:
                        if len(known) > _KNOWN_PARTITIONS:
                            known.clear()
                        partition = known[inner] = partition_of_key(inner, count)
                elif partition_of is not None:
                    partition = _chosen(partition_of, topic, key, value, count)
                yield OutputRecord(
                    raw_key, None if value is None else write_value(value), timestamp, headers, partition
                )

        work = partitioned if count else plain
        while True:
            try:
                out.extend(work(rest))
                break
            except Exception as error:
                row = rows[len(rows) - rest.__length_hint__() - 1]  # type: ignore[attr-defined]
                if isinstance(error, _NoPartition):
                    assert isinstance(error.__cause__, Exception)
                    context.failed(self.name, row, error.__cause__)
                else:
                    context.failed_to_serialize(self.name, topic, row, error)
        if out:
            context.send(topic, out, self.name)


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key (``Utils.murmur2``), as a signed 32-bit number."""
    length = len(data)
    value = (0x9747B28C ^ length) & 0xFFFFFFFF
    multiplier = 0x5BD1E995
    whole = length // 4 * 4
    for index in range(0, whole, 4):
        word = int.from_bytes(data[index : index + 4], "little") * multiplier & 0xFFFFFFFF
        word = (word ^ word >> 24) * multiplier & 0xFFFFFFFF
        value = (value * multiplier & 0xFFFFFFFF) ^ word
    rest = data[whole:]
    if rest:
        value ^= int.from_bytes(rest, "little")
        value = value * multiplier & 0xFFFFFFFF
    value = (value ^ value >> 13) * multiplier & 0xFFFFFFFF
    value ^= value >> 15
    return value - 0x100000000 if value & 0x80000000 else value


def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition that Kafka's producers choose for a key (``BuiltInPartitioner.partitionForKey``)."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
