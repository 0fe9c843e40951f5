"""Connectors of Kafka Connect; one with its tasks; and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.modals.detail import Detail
from console.screens.base import View, ViewSpec, as_data, view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.cells import cell
from console.viewmodel.connect_told import first_line, hidden, problems_of
from console.viewmodel.connectors import (
    CONNECTOR_COLUMNS,
    OFFSET_COLUMNS,
    TASK_COLUMNS,
    ConnectorRow,
    ConnectTaskRow,
    OffsetRow,
    connectors_words,
    sink_group,
    with_lag,
)
from console.viewmodel.keeping import Told
from console.viewmodel.records import json_lines
from engine.supervisor.snapshot import ClusterSnapshot

# Corners and blanks beside the remark at the lower edge.
_EDGES = 6


class ConnectorsView(PolledView):
    """One row a connector of all groups of workers that are known."""

    NAME = "connect"
    COLUMNS = CONNECTOR_COLUMNS
    NOTHING = "no connectors yet: n creates one"
    BINDINGS = view_bindings("connect")

    def begin(self) -> None:
        # What was told before stays, with its age, also for who comes back.
        self.kept = self.console.history.connectors
        super().begin()

    async def ask(self) -> Told:
        return await self.console.gateway.connect.connectors()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[ConnectorRow]:
        return with_lag(super().rows(snapshot), snapshot)

    def crumb_title(self) -> str:
        return "connectors"

    def counts(self) -> str:
        return connectors_words(self.table.shown)

    def row_title(self) -> str:
        return "" if self._row is None else self._row.told.name

    def describe_row(self, row: ConnectorRow) -> object:
        return _described(row)

    @property
    def _row(self) -> ConnectorRow | None:
        row: ConnectorRow | None = self.table.cursor_row
        return row

    def action_open(self) -> None:
        row = self._row
        if row is not None:
            self.console.push_view(ViewSpec("connector", {"group": row.group, "name": row.told.name}))

    def action_offsets(self) -> None:
        row = self._row
        if row is not None:
            self.console.push_view(ViewSpec("connector-offsets", {"group": row.group, "name": row.told.name}))

    def action_new(self) -> None:
        self.console.acts.connect.ask_new(self.read_again)

    def action_edit(self) -> None:
        row = self._row
        if row is not None:
            self.console.acts.connect.ask_edit(row, self.read_again)

    def action_target(self, what: str) -> None:
        row = self._row
        if row is not None:
            self.console.acts.connect.set_target(row, what, self.read_again)

    def action_restart(self) -> None:
        row = self._row
        if row is not None:
            self.console.acts.connect.restart(row, self.read_again)

    def action_delete(self) -> None:
        row = self._row
        if row is not None:
            self.console.acts.connect.delete(row, self.read_again)

    def action_redrive(self) -> None:
        row = self._row
        if row is not None:
            self.console.acts.connect.redrive(row)

    def action_error(self) -> None:
        row = self._row
        if row is not None:
            _show_error(self, row)

    def reason_against_action(self, action: str) -> str:
        return _reason(action, self._row) if self.is_mounted and self.is_attached else ""

    def cursor_moved(self) -> None:
        self.console.main.refresh_frame()


class ConnectorView(PolledView):
    """One row a task; the connector's own state stands below."""

    NAME = "connector"
    COLUMNS = TASK_COLUMNS
    NOTHING = "no tasks"
    BINDINGS = view_bindings("connector")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._connector: ConnectorRow | None = None

    def begin(self) -> None:
        # What the list told is there at once, with its age, also where no worker answers now.
        now_ms = self.console.monotonic_ms()
        for row in self.console.history.connectors.rows(now_ms):
            if (row.group, row.told.name) == (self.about["group"], self.about["name"]):
                self._connector = row
                tasks = [ConnectTaskRow(each, row.counts.get(each.number)) for each in row.told.tasks]
                self.kept.take(Told({"": tasks}), now_ms - row.age_ms)
        super().begin()

    async def ask(self) -> Told:
        told = await self.console.gateway.connect.tasks(self.about["group"], self.about["name"])
        first, *tasks = told.rows[""] or ()
        self._connector = first
        return Told({"": tasks}, told.problems)

    def scope_word(self) -> str:
        return str(self.about["name"])

    def crumb_title(self) -> str:
        return "tasks"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["name"])

    def counts(self) -> str:
        row = self._connector
        if row is None:
            return ""
        (picture,) = with_lag([row], snapshot) if (snapshot := self.console.picture()) is not None else [row]
        told = row.told
        problems = problems_of(told)
        words = [
            (f"! {problems[0]}" if told.state == "FAILED" else told.state.lower(), 10),
            (f"{told.type} {told.kind}", 4),
            (f"lag {text.count(picture.lag)}" if picture.lag is not None else "", 6),
            (f"topics {', '.join(row.topics)}" if row.topics else "", 3),
            (f"dead letters in {row.dead_letters}" if row.dead_letters else "", 2),
            (f"on {told.worker}" if told.worker else "", 1),
        ]
        return text.joined(words, max(40, self.size.width - _EDGES))

    def describe_row(self, row: ConnectTaskRow) -> object:
        return {**row.told._asdict(), "count": row.count}

    def action_open(self) -> None:
        self.action_error()

    def action_error(self) -> None:
        row: ConnectTaskRow | None = self.table.cursor_row
        if row is not None and row.told.trace:
            said = cell(first_line(row.told.trace), "offline")
            title = f"task {row.told.number} of {self.about['name']}"
            self.console.push_screen(Detail(title, [said, *_lines(row.told.trace)], indent=0))
        elif self._connector is not None:
            _show_error(self, self._connector)

    def action_configs(self) -> None:
        if self._connector is not None:
            document = _described(self._connector)
            self.console.push_screen(Detail(f"connector {self.about['name']}", json_lines(document)))

    def action_offsets(self) -> None:
        self.console.push_view(ViewSpec("connector-offsets", self.about))

    def action_lag(self) -> None:
        if self._connector is not None:
            self.console.push_view(ViewSpec("group", {"group": sink_group(self._connector.told)}))

    def action_edit(self) -> None:
        if self._connector is not None:
            self.console.acts.connect.ask_edit(self._connector, self.read_again)

    def action_target(self, what: str) -> None:
        if self._connector is not None:
            self.console.acts.connect.set_target(self._connector, what, self.read_again)

    def action_restart(self) -> None:
        if self._connector is not None:
            self.console.acts.connect.restart(self._connector, self.read_again)

    def action_restart_task(self) -> None:
        row: ConnectTaskRow | None = self.table.cursor_row
        if row is not None and self._connector is not None:
            self.console.acts.connect.restart_task(self._connector, row.told.number, self.read_again)

    def action_redrive(self) -> None:
        if self._connector is not None:
            self.console.acts.connect.redrive(self._connector)

    def reason_against_action(self, action: str) -> str:
        return _reason(action, self._connector)


class ConnectorOffsetsView(PolledView):
    """One row a partition, of the connector's own or of a topic; edited while the connector is stopped."""

    NAME = "connector-offsets"
    COLUMNS = OFFSET_COLUMNS
    NOTHING = "no offsets yet"
    BINDINGS = view_bindings("connector-offsets")

    async def ask(self) -> Told:
        return await self.console.gateway.connect.offsets(self.about["group"], self.about["name"])

    def scope_word(self) -> str:
        return str(self.about["name"])

    def crumb_title(self) -> str:
        return "offsets"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"{about['name']} offsets"

    def counts(self) -> str:
        return "edited while the connector is stopped"

    def action_open(self) -> None:
        self.action_edit()

    def action_edit(self) -> None:
        row: OffsetRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.connect.ask_offset(self.about["group"], self.about["name"], row, self.read_again)

    def action_reset(self) -> None:
        self.console.acts.connect.reset_offsets(self.about["group"], self.about["name"], self.read_again)


def _described(row: ConnectorRow) -> dict[str, Any]:
    return {
        **row.told.to_json(),
        "config": hidden(row.told.config),
        "topics": row.topics,
        "records": {str(number): as_data(each) for number, each in sorted(row.counts.items())},
        "workers": row.group,
    }


def _lines(trace: str) -> list[Any]:
    return [cell(line, "muted") for line in trace.rstrip().splitlines()]


def _show_error(view: View, row: ConnectorRow) -> None:
    told = row.told
    found = [("the connector", told.trace)] if told.trace else []
    found += [(f"task {each.number} on {each.worker}", each.trace) for each in told.tasks if each.trace]
    if not found:
        view.console.flash(f"nothing of {told.name} has failed", "info")
        return
    lines: list[Any] = []
    for who, trace in found:
        lines += [cell(f"{who}: {first_line(trace)}", "offline"), *_lines(trace), cell("")]
    view.console.push_screen(Detail(f"what {told.name} failed by", lines, indent=0))


def _reason(action: str, row: ConnectorRow | None) -> str:
    if row is None:
        return ""
    if action == "redrive" and not row.dead_letters:
        return "it has no dead-letter topic (errors.deadletterqueue.topic.name)"
    if action == "lag" and row.told.type != "sink":
        return "only sinks have a consumer group"
    if action == "error" and not row.told.trace and not any(each.trace for each in row.told.tasks):
        return "nothing of it has failed"
    return ""
