"""A topology drawn: its nodes one below the other, with lines from each to those that it feeds, and their rates. Pure.

Nodes stand in an order in which whatever feeds a node is above it. Each line that goes down has a lane of its own: a
node that feeds several opens lanes to its right, one that is fed by several closes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import EMPTY, UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.groups import lag_tone
from console.viewmodel.streams import StreamsRow
from console.viewmodel.streams_told import KeptWorkers
from engine.supervisor.snapshot import Subtopology

_CHANGELOG = "-changelog"
_TREND = 16
# What brokers do not know has a node that says so.
UNTOLD = "(processors: told by workers)"


class TopologyNode(NamedTuple):
    """A node as ``/v1/topology`` tells it. ``kind`` is source, processor or sink."""

    name: str
    kind: str
    topics: tuple[str, ...]
    stores: tuple[str, ...]
    successors: tuple[str, ...]


class TopologyTold(NamedTuple):
    """Parts by their ids; those that fill global stores are ``N global``."""

    parts: tuple[tuple[str, tuple[TopologyNode, ...]], ...]
    description: str = ""


def topology_told(document: Any) -> TopologyTold:
    """Read what ``/v1/topology`` answered.

    Raises:
        ValueError: it is no topology.
    """
    try:
        parts = tuple(
            (f"{each['id']} global" if each.get("is_global") else str(each["id"]), tuple(map(_node, each["nodes"])))
            for each in document["sub_topologies"]
        )
        return TopologyTold(parts, str(document.get("description") or ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("what it answers is no topology") from error


def _node(document: Any) -> TopologyNode:
    return TopologyNode(
        str(document["name"]),
        str(document["kind"]).lower(),
        tuple(map(str, document.get("topics") or ())),
        tuple(map(str, document.get("stores") or ())),
        tuple(map(str, document.get("successors") or ())),
    )


def known_to_brokers(part: Subtopology, short: Any) -> tuple[TopologyNode, ...]:
    """What a coordinator tells of a part: topics and changelogs; ``short`` takes the application's name off a topic."""
    sinks = [TopologyNode(short(each), "sink", (each,), (), ()) for each in part.repartition_sink_topics]
    stores = tuple(short(each).removesuffix(_CHANGELOG) for each in part.changelog_topics)
    middle = TopologyNode(UNTOLD, "processor", (), stores, tuple(each.name for each in sinks))
    sources = [
        TopologyNode(short(each), "source", (each,), (), (UNTOLD,))
        for each in (*part.source_topics, *part.repartition_source_topics)
    ]
    return (*sources, middle, *sinks)


def in_order(nodes: Sequence[TopologyNode]) -> list[TopologyNode]:
    """Each after all that feed it, and right after one of them where it can be."""
    by_name = {each.name: each for each in nodes}
    waits = dict.fromkeys(by_name, 0)
    for each in nodes:
        for name in dict.fromkeys(each.successors):
            if name in waits:
                waits[name] += 1
    ready = [each.name for each in reversed(nodes) if not waits[each.name]]
    found: list[TopologyNode] = []
    while ready:
        node = by_name[ready.pop()]
        found.append(node)
        for name in reversed(dict.fromkeys(node.successors)):
            if name in waits:
                waits[name] -= 1
                if not waits[name]:
                    ready.append(name)
    return found


def _joint(lanes: Sequence[str | None], at: int, others: Sequence[int], middle: str, last: str) -> str:
    """The line on which lanes leave ``at`` to the right, or come into it."""
    end = max(others)
    drawn = []
    for lane, name in enumerate(lanes):
        if lane == at:
            drawn.append("├")
        elif lane in others:
            drawn.append(last if lane == end else middle)
        elif at < lane < end:
            drawn.append("┼" if name is not None else "─")
        else:
            drawn.append("│" if name is not None else " ")
        drawn.append("─" if at <= lane < end else " ")
    return "".join(drawn).rstrip()


_GLYPHS = {"source": "○", "sink": "◇"}


def drawn(nodes: Sequence[TopologyNode]) -> list[tuple[str, TopologyNode | None]]:
    """Lines from top to bottom: what is drawn, and the node that stands there; ``None`` where lines fork or join."""
    lines: list[tuple[str, TopologyNode | None]] = []
    lanes: list[str | None] = []
    known = {each.name for each in nodes}

    def free_lane(after: int) -> int:
        found = next((lane for lane in range(after + 1, len(lanes)) if lanes[lane] is None), None)
        if found is None:
            lanes.append(None)
            return len(lanes) - 1
        return found

    for node in in_order(nodes):
        mine = [lane for lane, name in enumerate(lanes) if name == node.name]
        if not mine and lines:
            # What stands right above a source does not feed it.
            lines.append((" ".join("│" if name is not None else " " for name in lanes).rstrip(), None))
        at = mine[0] if mine else free_lane(-1)
        if len(mine) > 1:
            lines.append((_joint(lanes, at, mine[1:], "┴", "╯"), None))
            for lane in mine[1:]:
                lanes[lane] = None
        glyph = _GLYPHS.get(node.kind, "◉" if node.stores else "●")
        row = [glyph if lane == at else "│" if name is not None else " " for lane, name in enumerate(lanes)]
        lines.append((" ".join(row).rstrip(), node))
        fed = [name for name in dict.fromkeys(node.successors) if name in known]
        lanes[at] = fed[0] if fed else None
        if len(fed) > 1:
            opened = []
            for name in fed[1:]:
                lane = free_lane(at)
                lanes[lane] = name
                opened.append(lane)
            lines.append((_joint(lanes, at, opened, "┬", "╮"), None))
        while lanes and lanes[-1] is None:
            lanes.pop()
    return lines


@dataclass(frozen=True, slots=True)
class TopologyRow:
    """A line of the drawing; without ``node`` it begins a part (``about``), or lines fork or join there."""

    key: str
    lanes: str
    node: TopologyNode | None
    about: StreamsRow | None
    title: str
    rate: float | None
    past: tuple[float, ...]
    total: int | None
    prefix: str
    age_ms: float

    def short(self, topic: str) -> str:
        """A topic's name without what the application's own begin with."""
        return topic.removeprefix(self.prefix)


def topology_rows(
    application: Sequence[StreamsRow], told: TopologyTold | None, kept: KeptWorkers, age_ms: float
) -> list[TopologyRow]:
    """Part by part.

    Args:
        application: its row, and those of its parts, as brokers know them.
        told: by a worker; ``None`` if none tells.
        kept: what workers told of themselves.
        age_ms: of what workers told last.
    """
    if not application:
        return []
    group_id = application[0].group.group_id
    prefix = f"{group_id}-"
    by_id = {each.subtopology.subtopology_id: each for each in application if each.subtopology is not None}
    parts: Iterable[tuple[str, tuple[TopologyNode, ...]]]
    if told is not None:
        parts = told.parts
    else:
        parts = [
            (name, known_to_brokers(each.subtopology, each.short)) for name, each in by_id.items() if each.subtopology
        ]
    rates = kept.rates
    rows: list[TopologyRow] = []
    for name, nodes in parts:
        title = f"sub-topology {name}"
        rows.append(TopologyRow(f"part {name}", "", None, by_id.get(name), title, None, (), None, prefix, 0.0))
        for number, (lanes, node) in enumerate(drawn(nodes)):
            if node is None:
                rows.append(TopologyRow(f"{name} {number}", lanes, None, None, "", None, (), None, prefix, 0.0))
                continue
            key = node.name if told is not None else f"{name} {node.name}"
            rate, past, total = rates.of(node.name), rates.past(node.name), rates.total(node.name)
            rows.append(TopologyRow(key, lanes, node, None, "", rate, past, total, prefix, age_ms))
    return rows


_TONES = {"source": "leader", "sink": "controller"}


def _named(row: TopologyRow) -> Cell:
    if row.title:
        return cell(row.title, "title")
    if row.node is None:
        return cell(row.lanes, "muted")
    tone = _TONES.get(row.node.kind, "accent" if row.node.stores else "text")
    at = max(row.lanes.find(each) for each in "○◇◉●")
    return (
        Span(row.lanes[:at], "muted"),
        Span(row.lanes[at], tone),
        Span(row.lanes[at + 1 :] + " ", "muted"),
        Span(row.node.name, "muted" if row.node.name == UNTOLD else "text"),
    )


def _part_words(row: StreamsRow) -> Cell:
    spans = [Span(f"{row.running}/{len(row.tasks)} tasks", "text" if row.running == len(row.tasks) else "offline")]
    if row.lag is not None:
        spans += [Span("  lag ", "muted"), Span(text.count(row.lag), lag_tone(row.lag))]
    return tuple(spans)


def _what(row: TopologyRow) -> Cell:
    if row.about is not None:
        return _part_words(row.about)
    if row.node is None:
        return EMPTY
    spans: list[Span] = []
    if row.node.topics:
        verb = "writes " if row.node.kind == "sink" else "reads "
        spans += [
            Span(verb, "muted"),
            Span(", ".join(map(row.short, row.node.topics)), _TONES.get(row.node.kind, "text")),
        ]
    if row.node.stores:
        spans += [
            Span(" " if spans else "", "muted"),
            Span("store ", "muted"),
            Span(", ".join(row.node.stores), "accent"),
        ]
    return tuple(spans) or EMPTY


def _rate(row: TopologyRow) -> Cell:
    if row.node is None:
        return EMPTY
    return UNKNOWN if row.rate is None else cell(text.per_second(row.rate), "text" if row.rate else "muted")


def _processed(row: TopologyRow) -> Cell:
    if row.node is None:
        return EMPTY
    return UNKNOWN if row.total is None else cell(text.count(row.total), "muted")


def _trend(row: TopologyRow) -> Cell:
    return EMPTY if row.node is None or not row.past else cell(text.spark(row.past, _TREND), "in_sync")


TOPOLOGY_COLUMNS: tuple[Column, ...] = (
    Column("node", "NODE", _named, 34, max_width=70),
    Column("rate", "RATE", _rate, 9, right=True),
    Column("what", "TOPICS AND STORES", _what, 24, max_width=60),
    Column("trend", "TREND", _trend, _TREND, priority=1),
    Column("processed", "PROCESSED", _processed, 11, right=True, priority=2),
)
