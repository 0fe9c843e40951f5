"""``Topology.describe()``: Kafka Streams' text to the letter, the order of its sets included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.streams.java_order import TreeSet, hash_set_order
from engine.streams.topology import NodeSpec, ProcessorSpec, SinkSpec, SourceSpec

if TYPE_CHECKING:
    from engine.streams.topology import Topology


class _Described:
    """A node while its sub-topology is laid out. ``size`` counts it and what hangs below it, once for each way."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.size = 1
        self.predecessors: TreeSet[_Described] = TreeSet(_bigger_first)
        self.successors: TreeSet[_Described] = TreeSet(_bigger_first)

    def grow(self, by: int) -> None:
        self.size += by
        for node in self.predecessors:
            node.grow(by)


def _bigger_first(first: _Described, second: _Described) -> int:
    # By the sizes as they are now: Java's sorted sets are not sorted anew when a size grows later.
    if first is second:
        return 0
    if first.size != second.size:
        return second.size - first.size
    return -1 if first.name < second.name else 1


def _names(nodes: TreeSet[_Described]) -> str:
    return ", ".join(node.name for node in nodes) or "none"


def _text(node: _Described) -> str:
    spec = node.spec
    if isinstance(spec, SourceSpec):
        topics = (
            spec.pattern if spec.pattern is not None else f"[{', '.join(hash_set_order(spec.topics, copied=True))}]"
        )
        return f"Source: {spec.name} (topics: {topics})\n      --> {_names(node.successors)}"
    below = f"      <-- {_names(node.predecessors)}"
    if isinstance(spec, SinkSpec):
        if spec.topic is not None:
            return f"Sink: {spec.name} (topic: {spec.topic})\n{below}"
        return f"Sink: {spec.name} (extractor class: {spec.topic_extractor})\n{below}"
    stores = ", ".join(hash_set_order(hash_set_order(spec.stores), copied=True))
    return f"Processor: {spec.name} (stores: [{stores}])\n      --> {_names(node.successors)}\n{below}"


def _sub_topology(topology: Topology, number: int, group: list[str]) -> str:
    # Java puts the names into a hash set and the nodes into a hash map: their order decides which sizes are known when.
    nodes = {name: _Described(topology.nodes[name]) for name in hash_set_order(hash_set_order(group))}
    for node in nodes.values():
        for name in node.spec.predecessors:
            predecessor = nodes[name]
            node.predecessors.add(predecessor)
            predecessor.successors.add(node)
            predecessor.grow(node.size)
    ordered = sorted(nodes.values(), key=lambda node: (-node.size, node.name))
    lines = "".join(f"    {_text(node)}\n" for node in ordered)
    return f"Sub-topology: {number}\n{lines}\n"


def _global_store(topology: Topology, number: int, group: list[str]) -> str:
    source = next(topology.nodes[name] for name in group if isinstance(topology.nodes[name], SourceSpec))
    processor = next(topology.nodes[name] for name in group if isinstance(topology.nodes[name], ProcessorSpec))
    first, second = _Described(source), _Described(processor)
    first.successors.add(second)
    second.predecessors.add(first)
    return (
        f"Sub-topology: {number} for global store (will not generate tasks)\n    {_text(first)}\n    {_text(second)}\n"
    )


def described(topology: Topology) -> str:
    """The text of ``TopologyDescription.toString()``."""
    parts = []
    for number, group in enumerate(topology.node_groups()):
        write = _global_store if any(topology.is_global_source(name) for name in group) else _sub_topology
        parts.append("  " + write(topology, number, group))
    return "Topologies:\n " + "".join(parts)
