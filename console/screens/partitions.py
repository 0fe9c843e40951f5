"""Partitions of a topic, of a broker, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel.partitions import PARTITION_COLUMNS, PartitionRow, partition_rows
from engine.supervisor.snapshot import ClusterSnapshot


class PartitionsView(View):
    """One row a partition; the log end of each replica moves while one looks."""

    NAME = "partitions"
    COLUMNS = PARTITION_COLUMNS
    EMPTY = "no such partition is known"
    BINDINGS = view_bindings("partitions")

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
