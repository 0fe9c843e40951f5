"""Partitions of a topic, of a broker, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.screens.base import View, ViewSpec, view_bindings
from console.screens.happened import Happened
from console.viewmodel.events import HISTORY_COLUMNS, event_key
from console.viewmodel.partitions import (
    PARTITION_COLUMNS,
    PartitionRow,
    partition_rows,
    replica_columns,
    replica_rows,
)
from console.widgets.live_table import LiveTable
from engine.supervisor.snapshot import ClusterSnapshot

# Below, the replicas have a head and a rule above them, and so has what happened to the partition; so many lines stay
# for the partitions and for events at least.
_PANE_LINES = 2
_LEAST_PARTITION_LINES = 7
_LEAST_EVENT_LINES = 3


class PartitionsView(View):
    """One row a partition; below, each replica of the selected one, moving while one looks, and what happened to it."""

    NAME = "partitions"
    COLUMNS = PARTITION_COLUMNS
    EMPTY = "no such partition is known"
    BINDINGS = view_bindings("partitions")

    DEFAULT_CSS = """
    PartitionsView #replicas, PartitionsView #happened, PartitionsView Rule { display: none; }
    PartitionsView.-tall #replicas, PartitionsView.-tall #above-replicas { display: block; }
    PartitionsView.-taller #happened, PartitionsView.-taller #above-happened { display: block; }
    PartitionsView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._shown_replicas = ""

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule(id="above-replicas")
        replicas = LiveTable(
            replica_columns(""),
            lambda row: str(row.key),
            age_ms=lambda row: float(row.age_ms),
            clock=lambda: self.console.monotonic_ms(),
            empty="no replica is known",
            id="replicas",
        )
        replicas.can_focus = False
        replicas.shows_cursor = False
        yield replicas
        yield Rule(id="above-happened")
        yield Happened(HISTORY_COLUMNS, event_key)

    def on_resize(self) -> None:
        self._show_panes()

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._show_panes()

    def cursor_moved(self) -> None:
        self._show_panes()

    def _show_panes(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        # As many lines as the widest partition needs, so that moving the selection moves nothing else.
        count = max((len(each.partition.replicas) for each in self.table.shown), default=0)
        self._share_height(count if row is not None else 0)
        if row is not None and self.has_class("-tall"):
            self._show_replicas(row)
        if row is not None and self.has_class("-taller"):
            self._show_happened(row)

    def _share_height(self, replicas: int) -> None:
        height = self.size.height
        # Without the panes' own rules and heads.
        room = height - replicas - _PANE_LINES
        tall = replicas > 0 and room >= _LEAST_PARTITION_LINES
        rows = len(self.table.shown) + 1
        if rows > room - _PANE_LINES - _LEAST_EVENT_LINES:
            rows = room - _PANE_LINES - max(_LEAST_EVENT_LINES, room // 3)
        taller = tall and rows >= min(len(self.table.shown) + 1, _LEAST_PARTITION_LINES)
        self.set_class(tall, "-tall")
        self.set_class(taller, "-taller")
        self.query_one("#replicas").styles.height = replicas + 1
        self.table.styles.height = rows if taller else "1fr"

    def _show_replicas(self, row: PartitionRow) -> None:
        picture = self.console.picture()
        if picture is None:
            return
        table = self.query_one("#replicas", LiveTable)
        rows = replica_rows(row.partition, picture.at_ms, row.silent)
        if row.key != self._shown_replicas:
            self._shown_replicas = row.key
            table.replace_all(replica_columns(row.key), rows)
        else:
            table.update_rows(rows)
            table.tick()

    def _show_happened(self, row: PartitionRow) -> None:
        self.query_one(Happened).show(
            row.key,
            lambda events: [event for event in events if event.subject == row.key],
            f"nothing happened to {row.key} since the console was opened",
        )

    @property
    def _topics(self) -> frozenset[str] | None:
        topics = self.about.get("topics")
        return frozenset(topics) if topics else None

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[PartitionRow]:
        rows = partition_rows(snapshot, topics=self._topics, broker=self.about.get("broker"))
        self.console.gateway.watch(frozenset(row.partition.topic for row in rows))
        return rows

    def on_unmount(self) -> None:
        self.console.gateway.watch(frozenset())

    def scope_word(self) -> str:
        return _word(self.about)

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        word = _word(about)
        return "partitions" if word == "all" else word

    def describe_row(self, row: PartitionRow) -> object:
        return row.partition

    def remark(self) -> str:
        return "★ leader, dim where it is not the preferred one" if self.size.width >= 100 else ""

    def why_about(self, row: PartitionRow) -> Mapping[str, Any]:
        return {"partition": (row.partition.topic, row.partition.partition)}

    def action_open(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            about = {"topics": (row.partition.topic,), "partitions": (row.partition.partition,)}
            self.console.push_view(ViewSpec("records", about))

    def action_segments(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            about = {"topic": row.partition.topic, "partition": row.partition.partition}
            self.console.push_view(ViewSpec("segments", about))

    def action_writers(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            about = {"topic": row.partition.topic, "partitions": (row.partition.partition,)}
            self.console.push_view(ViewSpec("producers", about))

    def action_delete_records(self) -> None:
        self.console.acts.administering.ask_delete_records([row.partition for row in self.table.chosen()])

    def action_tail(self) -> None:
        topics = dict.fromkeys(row.partition.topic for row in self.table.chosen())
        if topics:
            self.console.push_view(ViewSpec("records", {"topics": tuple(topics)}))

    def action_produce(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.records.ask_produce(row.partition.topic, row.partition.partition)

    def action_elect_preferred(self) -> None:
        self.console.acts.elect_preferred(
            [(row.partition.topic, row.partition.partition) for row in self.table.chosen()]
        )

    def action_reassign(self) -> None:
        self.console.acts.reassigning.ask(*self._chosen())

    def action_elect_unclean(self) -> None:
        self.console.acts.reassigning.ask_unclean(self._chosen()[0])

    def _chosen(self) -> tuple[list[tuple[str, int]], str]:
        """The marked partitions, or the selected one; and what to call them."""
        chosen = [(row.partition.topic, row.partition.partition) for row in self.table.chosen()]
        return chosen, f"{chosen[0][0]}-{chosen[0][1]}" if len(chosen) == 1 else f"{len(chosen)} partitions"

    def action_kill_leader(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.kill_leader(row.partition.topic, row.partition.partition)


def _word(about: Mapping[str, Any]) -> str:
    topics = about.get("topics")
    if topics:
        return ",".join(topics)
    broker = about.get("broker")
    return "all" if broker is None else f"broker {broker}"
