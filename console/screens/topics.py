"""Topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import View, ViewSpec, view_bindings
from console.screens.configs import configs_spec
from console.viewmodel.configs import TOPIC, ConfigOf
from console.viewmodel.topics import TOPIC_COLUMNS, TopicRow, topic_rows
from engine.supervisor.snapshot import ClusterSnapshot


class TopicsView(View):
    """One row a topic."""

    NAME = "topics"
    COLUMNS = TOPIC_COLUMNS
    EMPTY = "no topics yet: n makes one"
    BINDINGS = view_bindings("topics")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._internal = False

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[TopicRow]:
        return topic_rows(snapshot, self.console.history, internal=self._internal)

    def describe_row(self, row: TopicRow) -> object:
        return row.topic

    def scope_word(self) -> str:
        return "all+internal" if self._internal else "all"

    def state(self) -> dict[str, Any]:
        return {**super().state(), "internal": self._internal}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._internal = state.get("internal", False)
        super().restore(state)

    def _names(self) -> list[str]:
        return [row.topic.name for row in self.table.chosen()]

    def why_about(self, row: TopicRow) -> Mapping[str, Any]:
        return {"topic": row.topic.name}

    def action_open(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("partitions", {"topics": (row.topic.name,)}))

    def action_tail(self) -> None:
        names = self._names()
        if names:
            self.console.push_view(ViewSpec("records", {"topics": tuple(names)}))

    def action_internal(self) -> None:
        self._internal = not self._internal
        self.refresh_rows()

    def action_produce(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        self.console.acts.records.ask_produce(row.topic.name if row is not None else "")

    def action_load(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.loading.ask(row.topic.name)

    def action_copy_records(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.copying.ask(row.topic.name)

    def action_create_topic(self) -> None:
        self.console.acts.ask_create_topic()

    def action_clone(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None and row.topic.partitions:
            self.console.acts.administering.ask_clone_topic(row.topic)

    def action_configs(self) -> None:
        spec = configs_spec([ConfigOf(TOPIC, name) for name in sorted(self._names())])
        if spec is not None:
            self.console.push_view(spec)

    def action_writers(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("producers", {"topic": row.topic.name}))

    def action_delete_records(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.administering.ask_delete_records(row.topic.partitions)

    def action_add_partitions(self) -> None:
        row: TopicRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.ask_add_partitions(row.topic.name, len(row.topic.partitions))

    def action_elect_preferred(self) -> None:
        self.console.acts.elect_preferred(
            [(row.topic.name, each.partition) for row in self.table.chosen() for each in row.topic.partitions]
        )

    def action_reassign(self) -> None:
        names = self._names()
        self.console.acts.reassigning.ask(
            [(row.topic.name, each.partition) for row in self.table.chosen() for each in row.topic.partitions],
            names[0] if len(names) == 1 else f"{len(names)} topics",
        )

    def action_delete(self) -> None:
        names = self._names()
        if names:
            self.console.acts.delete_topics(names)
