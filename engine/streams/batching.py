"""From which sources a topology may be fed whole lists, so that nobody can tell it from record by record.

A list goes through a node, then the node's whole output through the next. That differs from record by record where
what one record does farther down could be seen by a later record farther up or on another way: where two ways from
the source meet in one node, where two nodes on the way share a store, where two sinks write to one topic, and where
user code may look about (processors). There the task feeds single records.
"""

from __future__ import annotations

from engine.streams.topology import ProcessorSpec, SinkSpec, SourceSpec, Topology


def batchable_sources(topology: Topology) -> set[str]:
    """The names of the source nodes that may be fed lists."""
    children: dict[str, list[str]] = {name: [] for name in topology.nodes}
    for name, spec in topology.nodes.items():
        for parent in spec.predecessors:
            children[parent].append(name)
    return {
        name
        for name, spec in topology.nodes.items()
        if isinstance(spec, SourceSpec) and _is_plain(topology, children, name)
    }


def _is_plain(topology: Topology, children: dict[str, list[str]], source: str) -> bool:
    seen: set[str] = set()
    stores: set[str] = set()
    topics: set[str] = set()
    todo = [source]
    while todo:
        name = todo.pop()
        if name in seen:
            return False
        seen.add(name)
        spec = topology.nodes[name]
        if isinstance(spec, ProcessorSpec):
            if spec.record_by_record or not stores.isdisjoint(spec.stores):
                return False
            stores.update(spec.stores)
        elif isinstance(spec, SinkSpec):
            topic = spec.topic or ""
            if topics and (topic in topics or "" in topics or not topic):
                return False  # a sink that asks a function may write where another one writes
            topics.add(topic)
        todo.extend(children[name])
    return True
