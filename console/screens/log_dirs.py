"""Log directories of all brokers, and the replicas of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.screens.base import ViewSpec, view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.keeping import Told
from console.viewmodel.log_dirs import LOG_DIR_COLUMNS, REPLICA_COLUMNS, LogDirRow, ReplicaRow, total_words


class LogDirsView(PolledView):
    """One row a directory of a broker; of a broker that does not answer, what it told last, with its age."""

    NAME = "log-dirs"
    COLUMNS = LOG_DIR_COLUMNS
    NOTHING = "no broker has told of a log directory"
    BINDINGS = view_bindings("log-dirs")

    async def ask(self) -> Told:
        return await self.console.gateway.administration.log_dirs(self.about.get("broker"))

    def scope_word(self) -> str:
        broker = self.about.get("broker")
        return "all" if broker is None else f"broker {broker}"

    def describe_row(self, row: LogDirRow) -> object:
        return row

    def counts(self) -> str:
        return total_words(self.table.shown)

    def action_open(self) -> None:
        row: LogDirRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("log-dir", {"broker": row.broker_id, "path": row.path}))


class LogDirView(PolledView):
    """One row a replica in a directory, the largest first."""

    NAME = "log-dir"
    COLUMNS = REPLICA_COLUMNS
    NOTHING = "no replica is here"
    BINDINGS = view_bindings("log-dir")

    async def ask(self) -> Told:
        found = await self.console.gateway.administration.log_dirs(self.about["broker"])
        rows: Sequence[LogDirRow] | None = found.rows.get(self.about["broker"])
        mine = None if rows is None else [one for row in rows if row.path == self.about["path"] for one in row.replicas]
        return Told({"": mine}, found.problems)

    def scope_word(self) -> str:
        return f"broker {self.about['broker']} {self.about['path']}"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return f"broker {about['broker']}"

    def counts(self) -> str:
        rows: list[ReplicaRow] = self.table.shown
        return f"{text.size(sum(row.size_bytes for row in rows))} in {text.plural(len(rows), 'replica')}"

    def action_open(self) -> None:
        row: ReplicaRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("partitions", {"topics": (row.topic,)}))
