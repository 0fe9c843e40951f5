"""One application over streams: its workers, and its tasks, which move from one worker to another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.widgets import Rule

from console.gateway import GatewayError
from console.screens.base import View, ViewSpec, view_bindings
from console.viewmodel import text
from console.viewmodel.groups import find_group, topology_text
from console.viewmodel.streams_told import KeptWorkers
from console.viewmodel.streams_workers import (
    STREAMS_TASK_COLUMNS,
    WORKER_COLUMNS,
    StreamsTaskRow,
    WorkerRow,
    application_words,
    endpoints_of,
    streams_task_rows,
    worker_rows,
)
from console.widgets.live_table import LiveTable
from engine.supervisor.snapshot import ClusterSnapshot, GroupState

_REFRESH_S = 1.0
_LEAST_WORKERS = 3
# Corners and blanks beside the remark at the lower edge.
_EDGES = 6
PANES = ("tasks", "workers")


class WorkersWatched(View):
    """A screen of one application, whose workers are asked as long as it is there."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.group_id = str(about["group"])
        self.problem = ""

    @property
    def group(self) -> GroupState | None:
        """As it was seen last; ``None`` if it is not there."""
        picture = self.console.picture()
        return find_group(picture, self.group_id) if picture is not None else None

    @property
    def kept(self) -> KeptWorkers:
        """What its workers told, also to the screens before this one."""
        return self.console.history.workers.setdefault(self.group_id, KeptWorkers())

    def begin(self) -> None:
        super().begin()
        self.run_worker(self._watch, group="polled", exclusive=True, exit_on_error=False)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look(endpoints_of(self.group))
                self.problem = ""
            except GatewayError as error:
                # What was told stays, and grows old.
                self.problem = str(error)
            if not self.console.frozen:
                self.refresh_rows()
            await asyncio.sleep(_REFRESH_S)

    async def look(self, endpoints: Sequence[str]) -> None:
        """Ask. Raises: GatewayError: nobody can be asked."""
        self.kept.take(await self.console.gateway.streams.statuses(endpoints), self.console.monotonic_ms())

    def scope_word(self) -> str:
        return self.group_id

    def why_about(self, row: Any) -> Mapping[str, Any]:
        return {"group": self.group_id}

    def action_topology(self) -> None:
        self.console.push_view(ViewSpec("topology", {"group": self.group_id}))

    def action_stores(self) -> None:
        self.console.push_view(ViewSpec("stores", {"group": self.group_id}))


class ApplicationView(WorkersWatched):
    """Workers above, tasks below; ``tab`` goes from one to the other."""

    NAME = "application"
    COLUMNS = STREAMS_TASK_COLUMNS
    BINDINGS = view_bindings("application")

    DEFAULT_CSS = """
    ApplicationView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._pane = "tasks"
        self._words: list[tuple[str, int]] = []

    def compose(self) -> ComposeResult:
        yield self._workers_table()
        yield Rule()
        yield self.make_table()

    def _workers_table(self) -> LiveTable:
        table = LiveTable(
            WORKER_COLUMNS, self.key_of, age_ms=self.age_of, clock=lambda: self.console.monotonic_ms(), id="workers"
        )
        table.shows_cursor = False
        return table

    @property
    def _workers(self) -> LiveTable:
        return self.query_one("#workers", LiveTable)

    @property
    def _tasks(self) -> LiveTable:
        return self.query_one("#table", LiveTable)

    @property
    def table(self) -> LiveTable:
        """The one that keys are for."""
        return self._tasks if self._pane == "tasks" else self._workers

    def take_focus(self) -> None:
        self.screen.set_focus(self.table)

    def on_resize(self) -> None:
        self._share_height()

    def _share_height(self) -> None:
        wanted = 1 + min(max(1, len(self._workers.shown)), max(_LEAST_WORKERS, self.size.height // 3))
        if self._workers.styles.height != wanted:
            self._workers.styles.height = wanted

    def refresh_rows(self) -> None:
        picture, group = self.console.picture(), self.group
        now_ms = self.console.monotonic_ms()
        workers: list[WorkerRow] = []
        tasks: list[StreamsTaskRow] = []
        self._words = []
        if picture is None or group is None:
            said = "this application is not there (any more)"
        else:
            said = group.error or topology_text(group) or "nobody has anything to do"
            workers = worker_rows(group, self.kept, now_ms)
            moves = self.console.history.task_moves.of(self.group_id)
            tasks = streams_task_rows(picture, group, self.kept, moves, now_ms)
            self._words = application_words(workers, tasks, group)
        self._workers.empty = "no worker is in the group: kconsole streams run starts some"
        self._tasks.empty = said
        self._workers.update_rows(workers)
        self._tasks.update_rows(tasks)
        for table in (self._workers, self._tasks):
            table.tick()
        self._share_height()
        self.refresh_title()

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Any]:
        return self.table.shown

    def crumb_title(self) -> str:
        return self._pane

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["group"])

    def remark(self) -> str:
        words = [(f"! {self.problem}" if self.problem else "", 10), *self._words]
        return text.joined(words, max(40, self.size.width - _EDGES))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pane": self._pane}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._show_pane(state.get("pane", self._pane))
        super().restore(state)

    def describe_row(self, row: Any) -> object:
        if isinstance(row, WorkerRow):
            return {"told": row.told, "problem": row.problem, "members": row.members}
        return row

    # -- keys -----------------------------------------------------------------------------------------------------

    def _show_pane(self, pane: str) -> None:
        self._pane = pane
        for table, name in ((self._tasks, "tasks"), (self._workers, "workers")):
            table.shows_cursor = name == pane
            table.refresh()
        if not self.console.main.is_typing:
            self.take_focus()
        self.refresh_title()
        self.console.main.refresh_frame()

    def action_pane(self, step: int) -> None:
        self._show_pane(PANES[(PANES.index(self._pane) + step) % len(PANES)])

    def action_open(self) -> None:
        self.action_describe()

    def cursor_moved(self) -> None:
        # Whether it may be killed is another worker's question now.
        self.console.main.refresh_frame()

    def _chosen_worker(self) -> WorkerRow | None:
        """The selected one; of a selected task the one that has it."""
        row = self.table.cursor_row
        if isinstance(row, StreamsTaskRow):
            return next((each for each in self._workers.shown if row.member in each.members), None)
        return row

    def reason_against_action(self, action: str) -> str:
        if action != "kill_worker":
            return ""
        try:
            row = self._chosen_worker()
        except NoMatches:
            # The screen goes, and has lost its tables already.
            return ""
        if row is None:
            return "no worker has it" if self._tasks.shown else "there is no worker"
        if row.told is None:
            return f"nothing is known of its process: {row.problem or 'it was not asked yet'}"
        return row.told.no_kill

    def action_kill_worker(self) -> None:
        row = self._chosen_worker()
        if row is not None and row.told is not None:
            self.console.acts.streams.kill(row)

    def action_offsets(self) -> None:
        self.console.push_view(ViewSpec("group", {"group": self.group_id}))

    def action_plots(self) -> None:
        self.console.push_view(ViewSpec("plots", {"kind": "group", "name": self.group_id}))
