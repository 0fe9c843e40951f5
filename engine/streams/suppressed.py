"""``Suppressed``: what ``KTable.suppress`` waits for, and how much may wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.streams.errors import TopologyError
from engine.streams.graph import GraphNode, ProcessorGraphNode
from engine.streams.ktable import KTable
from engine.streams.params import check_name
from engine.streams.processors.suppress import SuppressSupplier, suppression_builder
from engine.streams.topology import Topology


@dataclass(frozen=True, slots=True)
class BufferConfig:
    """How much may wait; None is without a bound. When it is full: the oldest goes on, or the application stops."""

    max_records: int | None = None
    max_bytes: int | None = None
    shut_down_when_full_: bool = False
    logging_enabled: bool = True
    topic_config: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def unbounded() -> BufferConfig:
        """As much as there is."""
        return BufferConfig(shut_down_when_full_=True)

    def emit_early_when_full(self) -> BufferConfig:
        """The oldest goes on before its time."""
        return replace(self, shut_down_when_full_=False)

    def shut_down_when_full(self) -> BufferConfig:
        """The application stops."""
        return replace(self, shut_down_when_full_=True)

    def with_logging_disabled(self) -> BufferConfig:
        """No changelog: what waits is lost with the worker."""
        return replace(self, logging_enabled=False)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Made by :meth:`until_window_closes` or :meth:`until_time_limit`."""

    buffer: BufferConfig
    until_window_closes_: bool
    wait_ms: int | None = None
    name: str | None = None

    @staticmethod
    def until_window_closes(buffer: BufferConfig | None = None, name: str | None = None) -> Suppressed:
        """Each window's last value once, when it is closed. The buffer may not be one that emits early."""
        bounds = BufferConfig.unbounded() if buffer is None else buffer
        if not bounds.shut_down_when_full_:
            raise TopologyError(
                "until_window_closes(): a buffer that emits early would emit values that are not final; "
                "use shut_down_when_full()"
            )
        return Suppressed(bounds, True, None, name)

    @staticmethod
    def until_time_limit(wait_ms: int, buffer: BufferConfig, name: str | None = None) -> Suppressed:
        """Each key's last value, when ``wait_ms`` of stream time went by since its first."""
        if wait_ms < 0:
            raise TopologyError(f"until_time_limit(): the time must not be negative, it is {wait_ms}")
        return Suppressed(buffer, False, wait_ms, name)

    def with_name(self, name: str) -> Suppressed:
        """The same under a name."""
        return replace(self, name=name)


def suppress(table: KTable[Any, Any], suppressed: Suppressed) -> KTable[Any, Any]:
    """``KTable.suppress``."""
    graph, given = table.graph, suppressed.name
    check_name(given)
    if table.node.output_versioned:
        raise TopologyError("suppress() is only supported for non-versioned KTables")
    name = given if given is not None else graph.new_processor_name("KTABLE-SUPPRESS-")
    wait_ms = _grace_of(table.node, "") if suppressed.wait_ms is None else suppressed.wait_ms
    store_name = graph.new_store_name("KTABLE-SUPPRESS-") if given is None else f"{given}-store"
    bounds = suppressed.buffer
    builder = suppression_builder(
        store_name,
        table.key_serde,
        table.value_serde,
        logging_enabled=bounds.logging_enabled,
        topic_config=dict(bounds.topic_config),
    )
    supplier = SuppressSupplier(table.supplier, suppressed, wait_ms, builder)
    node = _SuppressGraphNode(name, supplier)
    node.output_versioned = False
    graph.add(table.node, node)
    return KTable(graph, name, table.key_serde, table.value_serde, {table.name}, None, supplier, node)


class _SuppressGraphNode(ProcessorGraphNode):
    def write(self, topology: Topology) -> None:
        """Put the node into the topology."""
        if self.reads_versions():
            raise TopologyError(
                "suppress() is only supported for non-versioned KTables (note that version semantics might be "
                "inherited from upstream)"
            )
        super().write(topology)


def _grace_of(node: GraphNode, chain: str) -> int:
    if node.grace_ms is not None:
        return node.grace_ms
    chain = f"{node.name}->{chain}" if chain else node.name
    if not node.parents or node.name == "root":
        raise TopologyError(f"Window close time is only defined for windowed computations. Got [{chain}].")
    return max(_grace_of(parent, chain) for parent in node.parents)
