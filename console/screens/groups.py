"""Consumer groups, and one group's offsets and members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.widgets import Rule

from console.gateway import ReadFrom, Start
from console.screens.base import View, ViewSpec, view_bindings
from console.screens.happened import Happened
from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, cell
from console.viewmodel.events import HISTORY_COLUMNS, event_key
from console.viewmodel.groups import (
    GROUP_COLUMNS,
    OFFSET_COLUMNS,
    GroupRow,
    OffsetRow,
    assignment_text,
    epochs,
    find_group,
    group_rows,
    lag_tone,
    offset_rows,
    outlook,
)
from engine.supervisor.snapshot import ClusterSnapshot, MemberState


class GroupsView(View):
    """One row a group."""

    NAME = "groups"
    COLUMNS = GROUP_COLUMNS
    EMPTY = "no consumer groups yet"
    BINDINGS = view_bindings("groups")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[GroupRow]:
        return group_rows(snapshot, self.console.history)

    def describe_row(self, row: GroupRow) -> object:
        return row.group

    def action_open(self) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("group", {"group": row.group.group_id}))

    def action_member(self, act: str) -> None:
        row: GroupRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.member(act, row.group.group_id)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member with the sum of its lag."""

    member: MemberState
    lag: int | None
    age_ms: float

    @property
    def key(self) -> str:
        """The member's id."""
        return self.member.member_id


def _assignment(row: MemberRow) -> Cell:
    told = assignment_text(row.member)
    return cell(told or "nothing", "text" if row.member.assignment else "under_replicated")


def _epoch(row: MemberRow) -> str:
    return "–" if row.member.member_epoch is None else str(row.member.member_epoch)


_MEMBER_COLUMNS: tuple[Column, ...] = (
    Column(
        "client",
        "CLIENT",
        lambda row: cell(row.member.instance_id or row.member.client_id),
        16,
        lambda row: row.member.client_id,
        max_width=30,
    ),
    Column(
        "host",
        "HOST",
        lambda row: cell(row.member.host.lstrip("/"), "muted"),
        12,
        lambda row: row.member.host,
        priority=2,
        max_width=24,
    ),
    Column(
        "partitions",
        "PARTITIONS",
        lambda row: cell(sum(len(each) for _, each in row.member.assignment)),
        10,
        lambda row: sum(len(each) for _, each in row.member.assignment),
        right=True,
        flashes=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: cell(text.count(row.lag), lag_tone(row.lag)),
        9,
        lambda row: row.lag or 0,
        right=True,
        descending=True,
    ),
    Column(
        "assignment",
        "ASSIGNMENT",
        _assignment,
        20,
        priority=1,
        max_width=80,
        flashes=True,
    ),
    Column(
        "epoch",
        "EPOCH",
        lambda row: cell(_epoch(row), "muted"),
        5,
        lambda row: row.member.member_epoch or 0,
        right=True,
        priority=2,
        flashes=True,
    ),
    Column("speaks", "PROTOCOL", lambda row: cell(row.member.protocol or "classic", "muted"), 8, priority=3),
    Column(
        "member-id",
        "MEMBER ID",
        lambda row: cell(text.shorten_middle(row.member.member_id, 28), "muted"),
        28,
        priority=3,
    ),
)


# Of what happened to a group so many lines are worth the room.
_LEAST_EVENT_LINES = 4


class GroupView(View):
    """A group's offsets by partition, or its members; below, what happened to it."""

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
        self._members = False
        self._remark = ""

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
            self._remark = (
                f"{group.state} · {text.plural(len(group.members), 'member')} · lag {text.count(group.total_lag)}"
                f" · coordinator {coordinator}"
            )
            if told := epochs(group):
                self._remark += f" · {told}"
            going = outlook(group.total_lag, self.console.history.of(("lag", self._group)))
            if going:
                self._remark += f" · {going}"
        if not self._members:
            return offset_rows(snapshot, self._group, self.console.history)
        if group is None:
            return []
        lags = {(offset.topic, offset.partition): offset.lag for offset in group.offsets}
        age = text.age_ms(snapshot.at_ms, group.observed_at_ms)
        rows = []
        for member in group.members:
            known = [
                lag
                for topic, partitions in member.assignment
                for partition in partitions
                if (lag := lags.get((topic, partition))) is not None
            ]
            rows.append(MemberRow(member, sum(known) if known else None, age))
        return sorted(rows, key=lambda row: (row.member.client_id, row.member.member_id))

    def crumb_title(self) -> str:
        return "members" if self._members else "offsets"

    def scope_word(self) -> str:
        return self._group

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["group"])

    def remark(self) -> str:
        return self._remark

    def describe_row(self, row: Any) -> object:
        return row.member if isinstance(row, MemberRow) else row.offset

    def state(self) -> dict[str, Any]:
        return {**super().state(), "members": self._members}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state.get("members", False) != self._members:
            self.action_members()
        super().restore(state)

    def action_members(self) -> None:
        self._members = not self._members
        picture = self.console.picture()
        columns = _MEMBER_COLUMNS if self._members else OFFSET_COLUMNS
        self.table.replace_all(columns, self.rows(picture) if picture is not None else ())
        self.refresh_title()

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
