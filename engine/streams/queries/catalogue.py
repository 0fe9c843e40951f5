"""The stores of a topology as queries know them: kind, serdes, and how a key finds its partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from engine.streams.errors import SerdeMissingError
from engine.streams.processors.endpoints import partition_of_key
from engine.streams.queries.errors import UnknownStore
from engine.streams.serdes import Serde, SessionWindowedSerde, TimeWindowedSerde
from engine.streams.stores.builders import (
    KIND_KEY_VALUE,
    KIND_SESSION,
    KIND_TIMESTAMPED_KEY_VALUE,
    KIND_TIMESTAMPED_WINDOW,
    KIND_VERSIONED_KEY_VALUE,
    KIND_WINDOW,
    BuildContext,
    StoreBuilder,
)
from engine.streams.stores.memory import MemoryEngines
from engine.streams.topology import ProcessorSpec, SinkSpec, SubTopology, Topology

_KINDS = (
    KIND_KEY_VALUE,
    KIND_TIMESTAMPED_KEY_VALUE,
    KIND_VERSIONED_KEY_VALUE,
    KIND_WINDOW,
    KIND_TIMESTAMPED_WINDOW,
    KIND_SESSION,
)


class StoreInfo(NamedTuple):
    """One store of the topology."""

    name: str
    kind: str
    """As its builder has it; those of buffers of joins and suppressions cannot be asked."""
    sub_topology: int
    is_global: bool
    source_topics: tuple[str, ...]
    """What the tasks read whose number, together with the sub-topology's, names them."""
    key_serde: Serde[Any] | None
    value_serde: Serde[Any] | None
    partition_serde: Serde[Any] | None
    """Writes keys as the source topics have them."""
    is_placed: bool
    """Whether Kafka's hash of a key says for sure in which partition it is."""
    retention_ms: int | None = None
    window_size_ms: int | None = None

    @property
    def can_be_asked(self) -> bool:
        """Whether the store answers queries."""
        return self.kind in _KINDS

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Where a key (its bytes in the store) is when records are partitioned as Kafka's producers do."""
        serde = self.partition_serde
        if isinstance(serde, TimeWindowedSerde):
            key = key[:-8]  # all windows of a key are in one partition (WindowedStreamPartitioner)
        elif isinstance(serde, SessionWindowedSerde):
            key = key[:-16]
        elif serde is not None and self.key_serde is not None and serde is not self.key_serde:
            key = serde.serialize(self.key_serde.deserialize(key))
        return partition_of_key(key, partitions)


class Catalogue:
    """Every store of a topology, by name."""

    def __init__(
        self,
        topology: Topology,
        sub_topologies: Iterable[SubTopology],
        application_id: str,
        defaults: Mapping[str, Any],
    ) -> None:
        """``defaults`` has the configs ``default.key.serde`` and ``default.value.serde``."""
        self._topology = topology
        self._application_id = application_id
        self._defaults = defaults
        self.stores: dict[str, StoreInfo] = {}
        for each in sub_topologies:
            names = topology.global_topics if each.is_global else each.stores
            for name in names:
                if not each.is_global:
                    self.stores[name] = self._info(topology.store_builders[name], each, False)
                elif topology.global_topics[name] in each.source_topics:
                    self.stores[name] = self._info(topology.global_store_builders[name], each, True)

    def __getitem__(self, name: str) -> StoreInfo:
        found = self.stores.get(name)
        if found is None:
            known = ", ".join(sorted(self.stores)) or "none"
            raise UnknownStore(f"the application has no store {name}; its stores: {known}")
        return found

    def _info(self, builder: StoreBuilder, sub_topology: SubTopology, is_global: bool) -> StoreInfo:
        topic = self._topology.changelog_name(builder.name, self._application_id)
        key, value, partitions = None, None, None
        if builder.kind in _KINDS:
            context = BuildContext(
                MemoryEngines(),
                None,
                self._defaults.get("default.key.serde"),
                self._defaults.get("default.value.serde"),
                topic,
            )
            with suppress(SerdeMissingError):  # tasks will say so in their own way
                key, value = builder.serdes(context)
            given = builder.key_serde or context.default_key_serde
            if given is not None and sub_topology.source_topics:
                partitions = given.for_topic(sub_topology.source_topics[0], is_key=True)
        return StoreInfo(
            builder.name,
            builder.kind,
            sub_topology.id,
            is_global,
            sub_topology.source_topics,
            key,
            value,
            partitions,
            self._is_placed(builder.name, sub_topology),
            builder.retention_ms,
            builder.window_size,
        )

    def _is_placed(self, store: str, sub_topology: SubTopology) -> bool:
        """Records of repartition topics are partitioned by us; what the user's own processors keep has any key."""
        mine = set(sub_topology.repartition_sources)
        if not mine or mine != set(sub_topology.source_topics):
            return False
        for spec in self._topology.nodes.values():
            if isinstance(spec, ProcessorSpec) and store in spec.stores and spec.record_by_record:
                return False
            if (
                isinstance(spec, SinkSpec)
                and spec.partitioner is not None
                and (spec.topic is None or self._topology.topic_name(spec.topic, self._application_id) in mine)
            ):
                return False
        return True
