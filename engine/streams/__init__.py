"""Kafka Streams in Python: topologies of streams and tables over any Kafka cluster.

    from engine.streams import Consumed, Grouped, Materialized, Serdes, StreamsBuilder

    builder = StreamsBuilder()
    grouped = Grouped(key_serde=Serdes.string(), value_serde=Serdes.string())
    lines = builder.stream("lines", Consumed(key_serde=Serdes.string(), value_serde=Serdes.string()))
    counts = lines.flat_map_values(str.split).group_by(lambda _, word: word, grouped).count(Materialized("counts"))
    counts.to_stream().to("word-counts")
    print(builder.build().describe())

docs/streams.md tells all of it.
"""

from __future__ import annotations

from engine.streams.builder import StreamsBuilder
from engine.streams.error_handlers import ErrorContext, ErrorHandlers
from engine.streams.errors import (
    InvalidStateStoreError,
    ProcessingError,
    SerdeMissingError,
    StreamsError,
    StreamsSerializationError,
    TopologyError,
)
from engine.streams.kgrouped import KGroupedStream, KGroupedTable
from engine.streams.kstream import BranchedKStream, KStream
from engine.streams.ktable import GlobalKTable, KTable
from engine.streams.params import (
    Consumed,
    Grouped,
    Joined,
    Materialized,
    Produced,
    Repartitioned,
    StreamJoined,
    TableJoined,
)
from engine.streams.printed import Printed
from engine.streams.processor_api import (
    STREAM_TIME,
    WALL_CLOCK_TIME,
    FixedKeyProcessor,
    Processor,
    ProcessorContext,
    ValueTransformer,
)
from engine.streams.processors.endpoints import (
    ConsumedRecord,
    fail_on_invalid_timestamp,
    log_and_skip_on_invalid_timestamp,
    use_partition_time_on_invalid_timestamp,
)
from engine.streams.records import KeyValue, Record, RecordMetadata, ValueAndTimestamp, Window, Windowed
from engine.streams.serdes import Serde, Serdes
from engine.streams.stores.builders import StoreBuilder, Stores
from engine.streams.stores.ttl import TtlKeyValueStore, key_value_with_ttl
from engine.streams.stores.versioned import VersionedKeyValueStore, VersionedRecord
from engine.streams.suppressed import BufferConfig, Suppressed
from engine.streams.test_driver import TestInputTopic, TestOutputTopic, TestRecord, TopologyTestDriver
from engine.streams.topology import SubTopology, Topology
from engine.streams.windowed import ON_WINDOW_CLOSE, ON_WINDOW_UPDATE
from engine.streams.windows import JoinWindows, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows

__all__ = [
    "ON_WINDOW_CLOSE",
    "ON_WINDOW_UPDATE",
    "STREAM_TIME",
    "WALL_CLOCK_TIME",
    "BranchedKStream",
    "BufferConfig",
    "Consumed",
    "ConsumedRecord",
    "ErrorContext",
    "ErrorHandlers",
    "FixedKeyProcessor",
    "GlobalKTable",
    "Grouped",
    "InvalidStateStoreError",
    "JoinWindows",
    "Joined",
    "KGroupedStream",
    "KGroupedTable",
    "KStream",
    "KTable",
    "KeyValue",
    "Materialized",
    "Printed",
    "ProcessingError",
    "Processor",
    "ProcessorContext",
    "Produced",
    "Record",
    "RecordMetadata",
    "Repartitioned",
    "Serde",
    "SerdeMissingError",
    "Serdes",
    "SessionWindows",
    "SlidingWindows",
    "StoreBuilder",
    "Stores",
    "StreamJoined",
    "StreamsBuilder",
    "StreamsError",
    "StreamsSerializationError",
    "SubTopology",
    "Suppressed",
    "TableJoined",
    "TestInputTopic",
    "TestOutputTopic",
    "TestRecord",
    "TimeWindows",
    "Topology",
    "TopologyError",
    "TopologyTestDriver",
    "TtlKeyValueStore",
    "UnlimitedWindows",
    "ValueAndTimestamp",
    "ValueTransformer",
    "VersionedKeyValueStore",
    "VersionedRecord",
    "Window",
    "Windowed",
    "fail_on_invalid_timestamp",
    "key_value_with_ttl",
    "log_and_skip_on_invalid_timestamp",
    "use_partition_time_on_invalid_timestamp",
]
