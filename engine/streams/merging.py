"""``merge.repartition.topics``: one repartition topic behind a node that changes keys, where several would be written.

The words of Kafka's ``InternalStreamsBuilder`` are kept: a *key changer* is a node that changes keys; the repartition
topics that can be one are those behind the same key changer, with no change of values between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.streams.errors import StreamsError
from engine.streams.graph import Graph, GraphNode, RepartitionGraphNode
from engine.streams.serdes import Serde


def _matching(start: GraphNode, wanted: Callable[[GraphNode], bool]) -> GraphNode | None:
    if wanted(start):
        return start
    for parent in start.parents:
        found = _matching(parent, wanted)
        if found is not None:
            return found
    return None


def _right_below(start: GraphNode, above: GraphNode) -> GraphNode | None:
    """The node on the way up from ``start`` that hangs right below ``above``; None when no way leads there."""
    return _matching(start, lambda found: above in found.parents)


class _Merging:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.behind: dict[GraphNode, dict[RepartitionGraphNode, None]] = {}
        self.merges: list[GraphNode] = []

    def note(self, node: GraphNode) -> None:
        """What the builder notes of each node when it is added, in the order of adding."""
        if node.key_changing:
            self.behind[node] = {}
        elif isinstance(node, RepartitionGraphNode) and node.optimizable:
            changer = _matching(node, lambda found: found.key_changing)
            first = _matching(node, lambda found: found.key_changing or found.value_changing)
            if changer is not None and first is changer:
                self.behind[changer][node] = None
        elif node.is_merge:
            self.merges.append(node)

    def move_behind_merges(self) -> None:
        """Repartition topics behind a merge of changed keys belong to the merge."""
        gone: set[GraphNode] = set()
        for merge in self.merges:
            changers = [
                changer
                for changer, nodes in self.behind.items()
                if all(_right_below(node, merge) is not None for node in nodes)
                and _right_below(merge, changer) is not None
            ]
            nodes = {node: None for changer in changers for node in self.behind[changer]}
            gone.update(changers)
            self.behind[merge] = nodes
        for changer in gone:
            self.behind.pop(changer, None)

    def merge(self) -> None:
        """Put one repartition topic in the place of those behind each key changer."""
        for changer, nodes in self.behind.items():
            if not nodes:
                continue
            one = self._one(list(nodes))
            one.priority = changer.priority
            for node in nodes:
                child = _right_below(node, changer)
                if child is None:
                    raise StreamsError(f"Found a null keyChangingChild node for {node.name}")
                one.add_child(child)
                changer.remove_child(child)
                parents = list(node.parents)
                for below in list(node.children):
                    for parent in parents:
                        parent.add_child(below)
                    node.remove_child(below)
                for parent in parents:
                    parent.remove_child(node)
                self.graph.topology.replace_copartitioned(node.name, one.name)
            changer.add_child(one)

    def _one(self, nodes: list[RepartitionGraphNode]) -> RepartitionGraphNode:
        from engine.streams.kstream import repartition_node

        def first(serdes: list[Serde[Any] | None]) -> Serde[Any] | None:
            return next((serde for serde in serdes if serde is not None), None)

        return repartition_node(
            self.graph,
            nodes[0].topic,
            first([node.key_serde for node in nodes]),
            first([node.value_serde for node in nodes]),
        )


def merge_repartition_topics(graph: Graph, added: list[GraphNode]) -> None:
    """Merge what can be merged; ``added`` are the graph's nodes in the order in which they were added."""
    merging = _Merging(graph)
    for node in added:
        merging.note(node)
    merging.move_behind_merges()
    merging.merge()
