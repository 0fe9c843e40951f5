"""Partitions of a topic, of a broker, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.partitions import (
    PARTITION_COLUMNS,
    PartitionRow,
    partition_rows,
    replica_columns,
    replica_rows,
)
from console.widgets.live_table import LiveTable
from engine.supervisor.snapshot import ClusterSnapshot

# Below, the replicas have a head and a rule above them; so many lines stay for the partitions at least.
_PANE_LINES = 2
_LEAST_PARTITION_LINES = 8


class PartitionsView(View):
    """One row a partition; below, each replica of the selected one, moving while one looks."""

    NAME = "partitions"
    COLUMNS = PARTITION_COLUMNS
    EMPTY = "no such partition is known"
    BINDINGS = view_bindings("partitions")

    DEFAULT_CSS = """
    PartitionsView #replicas, PartitionsView Rule { display: none; }
    PartitionsView.-tall #replicas, PartitionsView.-tall Rule { display: block; }
    PartitionsView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._shown_replicas = ""

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule()
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

    def on_resize(self) -> None:
        self._show_replicas()

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._show_replicas()

    def cursor_moved(self) -> None:
        self._show_replicas()

    def _show_replicas(self) -> None:
        table = self.query_one("#replicas", LiveTable)
        row: PartitionRow | None = self.table.cursor_row
        picture = self.console.picture()
        # As many lines as the widest partition needs, so that moving the selection moves nothing else.
        count = max((len(each.partition.replicas) for each in self.table.shown), default=0)
        tall = row is not None and self.size.height >= _LEAST_PARTITION_LINES + _PANE_LINES + count
        self.set_class(tall, "-tall")
        if not tall or row is None or picture is None:
            return
        table.styles.height = count + 1
        rows = replica_rows(row.partition, picture.at_ms)
        if row.key != self._shown_replicas:
            self._shown_replicas = row.key
            table.replace_all(replica_columns(row.key), rows)
        else:
            table.update_rows(rows)
            table.tick()

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

    def action_open(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            about = {"topics": (row.partition.topic,), "partitions": (row.partition.partition,)}
            self.console.push_view(ViewSpec("records", about))

    def action_tail(self) -> None:
        topics = dict.fromkeys(row.partition.topic for row in self.table.chosen())
        if topics:
            self.console.push_view(ViewSpec("records", {"topics": tuple(topics)}))

    def action_produce(self) -> None:
        row: PartitionRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.ask_produce(row.partition.topic, row.partition.partition)

    def action_elect_preferred(self) -> None:
        self.console.acts.elect_preferred(
            [(row.partition.topic, row.partition.partition) for row in self.table.chosen()]
        )

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
