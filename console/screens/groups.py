"""Groups, and one group's offsets, members and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.gateway import ReadFrom, Start
from console.screens.base import View, ViewSpec, view_bindings
from console.screens.happened import Happened
from console.viewmodel import text
from console.viewmodel.cells import Column
from console.viewmodel.configs import GROUP, ConfigOf
from console.viewmodel.events import HISTORY_COLUMNS, event_key
from console.viewmodel.group_members import TASK_COLUMNS, MemberRow, member_columns, member_rows, task_rows
from console.viewmodel.groups import (
    GROUP_COLUMNS,
    OFFSET_COLUMNS,
    GroupRow,
    OffsetRow,
    epochs,
    find_group,
    group_rows,
    offset_columns,
    offset_rows,
    outlook,
    topology_text,
)
from console.viewmodel.pace import going, stuck_words, together
from engine.supervisor.snapshot import ClusterSnapshot, GroupState


class GroupsView(View):
    """One row a group."""

    NAME = "groups"
    COLUMNS = GROUP_COLUMNS
    EMPTY = "no groups yet"
    BINDINGS = view_bindings("groups")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[GroupRow]:
        return group_rows(snapshot, self.console.history)

    def describe_row(self, row: GroupRow) -> object:
        return row.group

    def why_about(self, row: GroupRow) -> Mapping[str, Any]:
        return {"group": row.group.group_id}

    def action_open(self) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("group", {"group": row.group.group_id}))

    def action_member(self, act: str) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.member(act, row.group.group_id)

    def action_plots(self) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("plots", {"kind": "group", "name": row.group.group_id}))

    def action_configs(self) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("configs", {"of": ConfigOf(GROUP, row.group.group_id)}))

    def action_reset(self) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.resetting.ask(row.group.group_id)


# Corners and blanks beside the remark at the lower edge.
_EDGES = 6
# Of what happened to a group so many lines are worth the room.
_LEAST_EVENT_LINES = 4


class GroupView(View):
    """A group's offsets by partition, its members, or the tasks of a streams group; below, what happened to it."""

    NAME = "group"
    COLUMNS = OFFSET_COLUMNS
    EMPTY = "no offsets committed, no partitions assigned"
    BINDINGS = view_bindings("group")

    DEFAULT_CSS = """
    GroupView Happened, GroupView Rule { display: none; }
    GroupView.-tall Happened, GroupView.-tall Rule { display: block; }
    GroupView Rule.-horizontal { margin: 0; color: $kc-border; }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._group: str = about["group"]
        self._shown = "offsets"
        self._columns: tuple[Column, ...] = OFFSET_COLUMNS
        self._remark = ""

    @classmethod
    def known_columns(cls) -> list[str]:
        """Members have others than offsets."""
        return []

    def compose(self) -> ComposeResult:
        yield self.make_table()
        yield Rule()
        yield Happened(HISTORY_COLUMNS, event_key)

    def on_resize(self) -> None:
        self._share_height()

    def refresh_rows(self) -> None:
        super().refresh_rows()
        self._share_height()
        if self.has_class("-tall"):
            self.query_one(Happened).show(
                self._group,
                lambda events: [event for event in events if event.subject == self._group],
                f"nothing happened to {self._group} since the console was opened",
            )

    def _share_height(self) -> None:
        # Head and rows; below a rule, another head, and some events at least.
        wanted = len(self.table.shown) + 1
        tall = self.size.height - wanted >= _LEAST_EVENT_LINES + 2
        self.set_class(tall, "-tall")
        self.table.styles.height = wanted if tall else "1fr"

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Any]:
        group = find_group(snapshot, self._group)
        self._remark = "this group is not there (any more)"
        if group is not None:
            coordinator = "unknown" if group.coordinator is None else str(group.coordinator)
            paces = self.console.history.paces.of(self._group)
            words = outlook(group.total_lag, self.console.history.of(("lag", self._group)))
            if group.members and paces:
                words = going(together(paces.values()))[0].replace("–", "")
            stuck = stuck_words(group.members, paces)
            parts = [
                (group.state, 9),
                (text.plural(len(group.members), "member"), 3),
                (f"lag {text.count(group.total_lag)}", 7),
                (topology_text(group), 5 if self._shown == "tasks" else 8 if group.state == "NotReady" else 1),
                (f"coordinator {coordinator}", 4),
                (epochs(group), 2),
                (f"not described: {group.error}" if group.error else "", 8),
                (stuck or words, 8 if stuck else 6),
            ]
            self._remark = text.joined(parts, self.size.width - _EDGES)
        if self._columns != self._columns_for(group):
            # The group's type was not known before.
            self._columns = self._columns_for(group)
            self.table.columns = self._columns
        if group is None:
            return []
        if self._shown == "members":
            return member_rows(snapshot, group, self.console.history.paces.of(self._group))
        if self._shown == "tasks":
            return task_rows(snapshot, group)
        return offset_rows(snapshot, self._group, self.console.history)

    def _columns_for(self, group: GroupState | None) -> tuple[Column, ...]:
        if self._shown == "tasks":
            return TASK_COLUMNS
        return member_columns(group) if self._shown == "members" else offset_columns(group)

    def crumb_title(self) -> str:
        return self._shown

    def scope_word(self) -> str:
        return self._group

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["group"])

    def remark(self) -> str:
        return self._remark

    def describe_row(self, row: Any) -> object:
        if isinstance(row, OffsetRow):
            return row.offset
        return row.member if isinstance(row, MemberRow) else row

    def state(self) -> dict[str, Any]:
        return {**super().state(), "shown": self._shown}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._show(state.get("shown", self._shown))
        super().restore(state)

    def action_members(self) -> None:
        picture = self.console.picture()
        group = find_group(picture, self._group) if picture is not None else None
        kinds = ["offsets", "members"]
        if group is not None and group.is_streams:
            kinds.append("tasks")
        at = kinds.index(self._shown) if self._shown in kinds else -1
        self._show(kinds[(at + 1) % len(kinds)])

    def _show(self, shown: str) -> None:
        if shown == self._shown:
            return
        self._shown = shown
        picture = self.console.picture()
        group = find_group(picture, self._group) if picture is not None else None
        self._columns = self._columns_for(group)
        self.table.replace_all(self._columns, self.rows(picture) if picture is not None else ())
        self.refresh_title()

    def why_about(self, row: Any) -> Mapping[str, Any]:
        return {"group": self.about["group"]}

    def action_open(self) -> None:
        row = self.table.cursor_row
        if isinstance(row, OffsetRow):
            about: dict[str, Any] = {"topics": (row.offset.topic,), "partitions": (row.offset.partition,)}
            if row.offset.committed_offset is not None:
                about["read_from"] = ReadFrom(Start.OFFSET, row.offset.committed_offset)
            self.console.push_view(ViewSpec("records", about))
        elif row is not None:
            self.action_describe()

    def action_member(self, act: str) -> None:
        self.console.acts.member(act, self._group)

    def action_reset(self) -> None:
        self.console.acts.resetting.ask(self._group)

    def action_plots(self) -> None:
        self.console.push_view(ViewSpec("plots", {"kind": "group", "name": self._group}))
