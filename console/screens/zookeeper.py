"""The ZooKeeper ensemble that coordinates a cluster: its servers, the sessions of its clients, and its znodes, live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.gateway import GatewayError
from console.gateway.metadata_batches import metadata_records
from console.modals.detail import Detail
from console.screens.base import View, view_bindings
from console.viewmodel import text
from console.viewmodel.cells import Column
from console.viewmodel.health import STALE_MS
from console.viewmodel.znode_meaning import meaning_of, private
from console.viewmodel.zookeeper import (
    SERVER_COLUMNS,
    SESSION_COLUMNS,
    TREE_COLUMNS,
    UNASKED,
    Looked,
    ServerRow,
    SessionRow,
    TreeRow,
    controller_words,
    ensemble_words,
    owner_words,
    parent_of,
    server_rows,
    session_rows,
    session_words,
    tree_rows,
    without_zookeeper,
    znode_lines,
)
from console.widgets.live_table import LiveTable
from console.widgets.log_pane import LogPane
from engine.supervisor.snapshot import ClusterSnapshot
from engine.supervisor.zookeeper_snapshot import ZnodesSeen, ZooKeeperState

_REFRESH_S = 1.0
_MOST_SERVERS = 5
# The view must be so high for the selected znode to stand beside (below) the tree.
_TALL = 30
PANES = ("tree", "sessions", "servers")
_OPEN_AT_FIRST = ("/", "/brokers", "/brokers/ids")


class ZooKeeperView(View):
    """Servers above; below them the tree of znodes or the sessions; on high terminals the selected znode whole."""

    NAME = "zookeeper"
    COLUMNS = TREE_COLUMNS
    EMPTY = UNASKED
    BINDINGS = view_bindings("zookeeper")

    DEFAULT_CSS = """
    ZooKeeperView Rule.-horizontal { margin: 0; color: $kc-border; }
    ZooKeeperView .-hidden { display: none; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._pane = "tree"
        self._lower = "tree"
        self._opened = set(_OPEN_AT_FIRST)
        self._looked: dict[str, Looked] = {}
        self._asked_at_ms = 0
        self._problem = ""
        self._soon = asyncio.Event()
        self._detail_of: object = None

    # -- its three tables -----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._table("servers", SERVER_COLUMNS)
        yield Rule()
        yield self.make_table()
        yield self._table("sessions", SESSION_COLUMNS)
        yield Rule(id="above-whole")
        yield LogPane(indent=4, id="whole")

    def _table(self, name: str, columns: Sequence[Column]) -> LiveTable:
        table = LiveTable(
            columns,
            self.key_of,
            age_ms=self.age_of,
            clock=lambda: self.console.monotonic_ms(),
            empty=UNASKED,
            id=name,
        )
        table.shows_cursor = False
        return table

    def _of(self, pane: str) -> LiveTable:
        return self.query_one("#table" if pane == "tree" else f"#{pane}", LiveTable)

    @property
    def table(self) -> LiveTable:
        """The one that keys are for."""
        return self._of(self._pane)

    def take_focus(self) -> None:
        self.screen.set_focus(self.table)

    def begin(self) -> None:
        self._show_pane(self._pane)
        self.refresh_rows()
        self.run_worker(self._read, group="zookeeper", exclusive=True, exit_on_error=False)

    def _show_pane(self, pane: str) -> None:
        self._pane = pane
        if pane != "servers":
            self._lower = pane
        for each in PANES:
            table = self._of(each)
            if each != "servers":
                table.set_class(each != self._lower, "-hidden")
            if table.shows_cursor != (each == pane):
                table.shows_cursor = each == pane
                table.refresh()
        if not self.console.main.is_typing:
            self.take_focus()
        self._share_height()
        self.refresh_title()

    def on_resize(self) -> None:
        self._share_height()

    def _share_height(self) -> None:
        height = self.size.height
        servers = self._of("servers")
        lines = 1 + max(1, min(_MOST_SERVERS, len(servers.shown)))
        if not servers.shown:
            lines = 4
        if servers.styles.height != lines:
            servers.styles.height = lines
        whole = self.query_one("#whole", LogPane)
        shown = height >= _TALL and self._lower == "tree"
        for name in ("#whole", "#above-whole"):
            self.query_one(name).set_class(not shown, "-hidden")
        if shown and whole.styles.height != height // 3:
            whole.styles.height = height // 3

    # -- asking ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            if self._state is not None:
                try:
                    self._problem = self._take(
                        await self.console.gateway.znodes(self._opened_paths(), self._wanted_paths())
                    )
                except GatewayError as error:
                    # The tree stays, and grows old.
                    self._problem = str(error)
                if not self.console.frozen:
                    self.refresh_rows()
            try:
                # At once where somebody opened a znode or went on.
                async with asyncio.timeout(_REFRESH_S):
                    await self._soon.wait()
                self._soon.clear()
            except TimeoutError:
                pass

    def _opened_paths(self) -> list[str]:
        """Open znodes whose parents are open, too."""
        return sorted(each for each in self._opened if self._is_reached(each))

    def _is_reached(self, path: str) -> bool:
        while path != "/":
            path = parent_of(path)
            if path not in self._opened:
                return False
        return True

    def _wanted_paths(self) -> list[str]:
        """Those in view, and the selected one; the others' values are as old as they are."""
        table = self._of("tree")
        top = table.scroll_offset.y
        rows: list[TreeRow] = table.shown[top : top + max(24, table.size.height)]
        selected: TreeRow | None = table.cursor_row
        wanted = [row.path for row in rows if not row.hidden]
        return wanted if selected is None or selected.path in wanted else [*wanted, selected.path]

    def _take(self, seen: ZnodesSeen) -> str:
        """Keep what was seen; what is wrong with it, if something is."""
        if seen.znodes.get("/", seen) is None:
            return f"there is no {self.scope_word()} in this ZooKeeper: nothing is coordinated below it"
        new = False
        for path, znode in seen.znodes.items():
            before = self._looked.get(path)
            if znode is None:
                if before is not None:
                    self._looked[path] = before._replace(znode=None, at_ms=seen.observed_at_ms)
                self._opened.discard(path)
                continue
            was = before.znode if before is not None else None
            if before is not None and was is not None and (was.czxid, was.mzxid) == (znode.czxid, znode.mzxid):
                self._looked[path] = before._replace(znode=znode, at_ms=seen.observed_at_ms)
                new = new or was.children != znode.children
                continue
            new = True
            meaning = private(path) if znode.is_private else meaning_of(path, znode.data, metadata_records)
            self._looked[path] = Looked(znode, meaning, seen.observed_at_ms)
        self._asked_at_ms = seen.observed_at_ms
        if new:
            # Children that were just heard of have not been looked at.
            self._look_again()
        return ""

    def _look_again(self) -> None:
        self._soon.set()

    # -- rows -----------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> ZooKeeperState | None:
        picture = self.console.picture()
        return picture.zookeeper if picture is not None else None

    @property
    def _now_ms(self) -> int:
        return self.console.now_ms()

    def refresh_rows(self) -> None:
        state = self._state
        reason = without_zookeeper(self.console.picture()) if state is None else ""
        self._of("servers").empty = reason or "no server is known"
        self._of("servers").update_rows(server_rows(state, self._now_ms))
        sessions = self._of("sessions")
        sessions.empty = "" if reason else (state.sessions_error if state is not None else "") or UNASKED
        sessions.update_rows(session_rows(state, self._now_ms))
        tree = self._of("tree")
        tree.empty = "" if reason else self._problem or UNASKED
        tree.update_rows(self._tree() if state is not None and self._asked_at_ms else ())
        for pane in PANES:
            self._of(pane).tick()
        self._share_height()
        self._show_whole()
        self.refresh_title()

    def _tree(self) -> list[TreeRow]:
        rows = tree_rows(self._opened, self._looked, self._now_ms)
        if not self._problem:
            # What is out of view is not asked for: that is no fault that would have to be shown.
            rows = [row._replace(age_ms=0.0) for row in rows]
        return rows

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Any]:
        return self.table.shown

    def _owner(self, session_id: int) -> str:
        state = self._state
        found = next((each for each in state.sessions if each.session_id == session_id), None) if state else None
        return owner_words(found) if found is not None else ""

    def _lines_of(self, row: TreeRow) -> list[Any]:
        znode = row.znode
        owner = self._owner(znode.ephemeral_owner) if znode is not None else ""
        return znode_lines(row, owner, self._now_ms)

    def _show_whole(self) -> None:
        pane = self.query_one("#whole", LogPane)
        row: TreeRow | None = self._of("tree").cursor_row
        made_of = (row, self.size.width)
        if pane.has_class("-hidden") or made_of == self._detail_of:
            return
        self._detail_of = made_of
        pane.set_lines([] if row is None else self._lines_of(row))

    def cursor_moved(self) -> None:
        self._show_whole()
        self._look_again()

    def scope_word(self) -> str:
        state = self._state
        return (state.chroot or "/") if state is not None else "none"

    def crumb_title(self) -> str:
        return {"tree": "znodes", "sessions": "sessions", "servers": "zookeeper"}[self._pane]

    def remark(self) -> str:
        state = self._state
        if state is None:
            return ""
        said = [(ensemble_words(state, self._now_ms), 3), (controller_words(state, self._now_ms), 2)]
        problem = self._problem or state.error or (state.sessions_error if self._pane == "sessions" else "")
        if problem:
            age_ms = text.age_ms(self._now_ms, self._asked_at_ms) if self._problem else 0.0
            old = f", the tree is {text.age(age_ms)} old" if age_ms > STALE_MS else ""
            said.insert(0, (f"! {problem}{old}", 4))
        return text.joined(said, max(40, self.size.width - 6))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "pane": self._pane, "opened": sorted(self._opened)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._opened = set(state.get("opened", self._opened))
        self._show_pane(state.get("pane", self._pane))
        super().restore(state)

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_pane(self, step: int) -> None:
        self._show_pane(PANES[(PANES.index(self._pane) + step) % len(PANES)])
        self._show_whole()

    def action_open(self) -> None:
        row = self.table.cursor_row
        if not isinstance(row, TreeRow):
            self.action_describe()
        elif row.path in self._opened:
            self.action_fold()
        else:
            self.action_unfold()

    def action_unfold(self) -> None:
        row = self._of("tree").cursor_row
        if self._pane != "tree" or row is None or row.hidden:
            return
        if row.znode is not None and not row.znode.child_count:
            self.console.flash(f"{row.path} has no children: d shows it whole", "info", 3)
            return
        self._opened.add(row.path)
        self._look_again()
        self.refresh_rows()

    def action_fold(self) -> None:
        row = self._of("tree").cursor_row
        if self._pane != "tree" or row is None:
            return
        path = row.path if row.path in self._opened and row.path != "/" else parent_of(row.path)
        if path != "/":
            self._opened.discard(path)
        self._of("tree").select(path)
        self.refresh_rows()

    def action_describe(self) -> None:
        row = self.table.cursor_row
        if isinstance(row, TreeRow):
            self.console.push_screen(Detail(f"znode {row.path}", self._lines_of(row), indent=4))
            return
        super().action_describe()

    def describe_row(self, row: Any) -> object:
        if isinstance(row, SessionRow):
            return {
                "session": session_words(row.session.session_id),
                "owner": owner_words(row.session),
                **row.session._asdict(),
            }
        if isinstance(row, ServerRow):
            return row.server
        stat = row.znode._replace(data=b"") if row.znode else None
        return {"path": row.path, "stat": stat, "value": row.looked.meaning.document if row.looked else None}

    def action_server(self, act: str) -> None:
        row = self._of("servers").cursor_row
        if self._pane != "servers" or row is None:
            self._show_pane("servers")
            self.console.flash(f"select a server, then again to {act} it", "info", 4)
            return
        self.console.acts.ensemble.server(act, row.server)

    def action_expire(self) -> None:
        row = self.table.cursor_row
        if isinstance(row, TreeRow) and row.znode is not None:
            owner = row.znode.ephemeral_owner
            row = next(
                (each for each in self._of("sessions").shown if owner and each.session.session_id == owner), None
            )
        if not isinstance(row, SessionRow) or row.session.broker_id is None:
            self._show_pane("sessions")
            self.console.flash("select the session of a broker, then again to expire it", "info", 4)
            return
        session = row.session
        self.console.acts.ensemble.expire(session.broker_id, row.key, session.is_controller)

    def action_find_owner(self) -> None:
        """From an ephemeral znode to its session, and from a session to what it owns."""
        row = self.table.cursor_row
        if isinstance(row, TreeRow) and row.znode is not None and row.znode.ephemeral_owner:
            self._show_pane("sessions")
            self.table.select(session_words(row.znode.ephemeral_owner))
        elif isinstance(row, SessionRow) and row.session.broker_id is not None:
            self._show_pane("tree")
            self._opened |= {"/brokers", "/brokers/ids"}
            self.table.select(f"/brokers/ids/{row.session.broker_id}")
            self._look_again()
