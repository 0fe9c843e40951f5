"""Circular information flow (Adya's G1c): transactions that read from each other.

An edge leads from a transaction to one that read a record of it. Records are shown when their transaction has been
committed, and are read before the reader is: with read_committed there is no cycle. The order of the records in the
logs makes no edges: transactions interleave there, and cycles with such edges are normal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.sim.history import History, Operation, Poll, Send, Txn
from engine.sim.history_findings import Findings, Kind, Narrator
from engine.sim.history_records import READ_UNCOMMITTED


class _Edge(NamedTuple):
    """The reader's poll received the writer's record."""

    send: Send
    poll: Poll
    offset: int


_Graph = dict[Txn, dict[Txn, _Edge]]


def check_cycles(history: History, findings: Findings, narrator: Narrator) -> None:
    """Find one shortest cycle in every set of transactions that all depend on each other."""
    committed: _Graph = {}
    everything: _Graph = {}
    for txn in history.txns.values():
        if not txn.polls or txn.is_aborted:
            continue
        for poll in txn.polls:
            for partition, offset, value in poll.records:
                send = history.writers.get(partition, {}).get(value)
                if send is None or send.txn is None or send.txn is txn or send.txn.is_aborted:
                    continue
                edge = _Edge(send, poll, offset)
                everything.setdefault(send.txn, {}).setdefault(txn, edge)
                if poll.is_committed_only:
                    committed.setdefault(send.txn, {}).setdefault(txn, edge)
    told: set[Txn] = set()
    for graph, allowed in ((committed, None), (everything, READ_UNCOMMITTED)):
        for component in _components(graph):
            if told.isdisjoint(component):
                cycle = _shortest_cycle(graph, component)
                told.update(component)
                _add(cycle, allowed, findings, narrator)


def _add(cycle: Sequence[_Edge], allowed: str | None, findings: Findings, narrator: Narrator) -> None:
    def tell() -> list[str]:
        names = [f"{txn.txn} of {txn.process}" for txn in (edge.send.txn for edge in cycle) if txn is not None]
        gist = "each of these transactions read from the one before it, the first from the last: " + ", ".join(names)
        lines = [gist]
        for edge in cycle:
            record = f"{edge.send.value!r} at offset {edge.offset} of {edge.send.partition}"
            lines += [narrator.sent(edge.send), narrator.read(edge.poll, record)]
        return lines

    operations: list[Operation] = [operation for edge in cycle for operation in (edge.send, edge.poll)]
    findings.add(Kind.G1C, None, allowed, operations, tell)


def _components(graph: Mapping[Txn, Mapping[Txn, _Edge]]) -> list[list[Txn]]:
    """Strongly connected components of more than one node (Tarjan), without recursion."""
    number: dict[Txn, int] = {}
    low: dict[Txn, int] = {}
    stack: list[Txn] = []
    on_stack: set[Txn] = set()
    found: list[list[Txn]] = []
    for root in graph:
        if root in number:
            continue
        work = [(root, iter(graph.get(root, ())))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in number:
                    number[successor] = low[successor] = len(number)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(graph.get(successor, ()))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], number[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member is node:
                            break
                    if len(component) > 1:
                        found.append(component)
    return found


def _shortest_cycle(graph: Mapping[Txn, Mapping[Txn, _Edge]], component: Sequence[Txn]) -> list[_Edge]:
    """The shortest one through the component's earliest transaction."""
    members = set(component)
    start = min(component, key=lambda txn: txn.sends[0].place)
    came_from: dict[Txn, Txn] = {}
    waiting = deque([start])
    while start not in came_from:
        node = waiting.popleft()
        for successor in graph.get(node, ()):
            if successor in members and successor not in came_from:
                came_from[successor] = node
                waiting.append(successor)
    edges = []
    node = start
    while True:
        edges.append(graph[came_from[node]][node])
        node = came_from[node]
        if node is start:
            return edges[::-1]
