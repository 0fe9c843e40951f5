"""What screens share: a live table in a titled frame, its keys, and the state that survives going away and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region

from console.acts import reason_against
from console.key_layers import added_keys
from console.keymap import FRAME, SCREENS, bindings, keys_of
from console.modals.detail import Detail
from console.viewmodel.cells import Column
from console.viewmodel.records import json_lines
from console.widgets.live_table import LiveTable
from engine.supervisor.snapshot import ClusterSnapshot

if TYPE_CHECKING:
    from console.app import KConsole


class ViewSpec(NamedTuple):
    """What to show: a screen's name and what it is about."""

    name: str
    about: Mapping[str, Any] = {}


class View(Vertical):
    """One screen. Subclasses say what its rows are and what its keys do."""

    NAME: ClassVar[str] = ""
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    EMPTY: ClassVar[str] = "nothing here yet"
    FOLLOWS: ClassVar[bool] = False

    DEFAULT_CSS = """
    View {
        height: 1fr; width: 1fr; background: $kc-surface;
        border: round $kc-border-focus; padding: 0;
        border-title-color: $kc-title; border-title-align: center; border-title-style: bold;
        border-subtitle-color: $kc-muted; border-subtitle-align: right;
    }
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(id="view")
        self.about = about
        self._faults = False
        self._titles = ("", "")
        for key in added_keys(self.NAME):
            self._bindings.bind(key.keys, key.action, key.label, show=False)
        self._only_edges = False

    @property
    def console(self) -> KConsole:
        """The app by its own type."""
        return cast("KConsole", self.app)

    @property
    def table(self) -> LiveTable:
        """The table."""
        return self.query_one("#table", LiveTable)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Whose keys work here."""
        return SCREENS[self.NAME]

    def compose(self) -> ComposeResult:
        yield self.make_table()

    def make_table(self) -> LiveTable:
        """The table with this screen's columns."""
        table = LiveTable(
            self.columns(),
            self.key_of,
            age_ms=self.age_of,
            clock=lambda: self.console.monotonic_ms(),
            empty=self.EMPTY,
            follow=self.FOLLOWS,
            arranged=lambda columns: self.console.columns.of(self.NAME).arranged(columns),
            id="table",
        )
        layout = self.console.columns.of(self.NAME)
        if layout.sort:
            table.sort_key, table.reverse = layout.sort_key, layout.sort.startswith("-")
        table.search_data = lambda row: json.loads(json.dumps(as_data(self.describe_row(row)), default=str))
        return table

    @property
    def samples_ms(self) -> int:
        """How much of the time before it is to be known with a moment of the past."""
        return 60_000

    # -- for subclasses -------------------------------------------------------------------------------------------

    def columns(self) -> Sequence[Column]:
        """Of the table."""
        return self.COLUMNS

    @classmethod
    def known_columns(cls) -> list[str]:
        """Their keys; none where they change with what is shown."""
        return [] if cls.columns is not View.columns else [each.key for each in cls.COLUMNS]

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[Any]:
        """Of the table."""
        return ()

    def key_of(self, row: Any) -> str:
        """A row's name that never changes."""
        return str(row.key)

    def age_of(self, row: Any) -> float:
        """How old a row's figures are, in milliseconds."""
        return float(getattr(row, "age_ms", 0.0))

    def is_fault(self, row: Any) -> bool:
        """Whether ``ctrl-z`` keeps a row."""
        return not getattr(row, "is_healthy", True)

    def scope_word(self) -> str:
        """What stands in the brackets of the title: ``all``, or a name."""
        return "all"

    def remark(self) -> str:
        """What stands at the lower edge."""
        return ""

    def crumb(self) -> str:
        """Its name in the breadcrumbs."""
        return self.crumb_of(self.about)

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        """The same, of a screen that is not there now."""
        return cls.NAME

    def describe_row(self, row: Any) -> object:
        """What ``d`` shows of a row."""
        return row

    # -- life -----------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        # Textual calls this handler of every class: subclasses have begin instead.
        self.begin()

    def begin(self) -> None:
        """It has just come onto the screen."""
        if not self.console.main.is_typing:
            # Who types has the keys until the prompt is closed.
            self.screen.set_focus(self.table)
        self.refresh_rows()

    def take_focus(self) -> None:
        """Keys are the view's again."""
        self.screen.set_focus(self.query_one("#table"))

    def refresh_rows(self) -> None:
        """Show the picture of now. Called a few times a second at most."""
        picture = self.console.picture()
        if picture is not None:
            self.table.update_rows(self.rows(picture))
        self.table.tick()
        self.refresh_title()

    def refresh_title(self) -> None:
        """Counts, filter, order."""
        table = self.table
        shown, total = len(table.shown), table.total
        number = f"{shown:,}" if shown == total else f"{shown:,}/{total:,}"
        title = f" {self.crumb_title()}({self.scope_word()})[{number}]"
        if table.filter.text:
            title += f" </{table.filter.text}>"
        if self._faults:
            title += " <faults>"
        remarks = [self.remark()]
        if table.sort_key:
            column = next((each for each in table.columns if each.key == table.sort_key), None)
            if column is not None:
                remarks.append(
                    f"by {(column.title.strip() or column.key).lower()}{' reversed' if table.reverse else ''}"
                )
        if table.marks:
            remarks.append(f"{len(table.marks)} marked")
        remark = " · ".join(each for each in remarks if each)
        wanted = (title + " ", f" {remark} " if remark else "")
        if wanted != self._titles:
            self._titles = wanted
            self._only_edges = True
            self.border_title = Content(wanted[0].strip())
            self.border_subtitle = Content(wanted[1].strip()) if wanted[1] else None
            self._only_edges = False

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """As Textual's; but titles, which change with each row that is selected, have only their two lines drawn again,
        not the whole screen."""
        if self._only_edges and self.is_mounted and not (layout or recompose):
            width, height = self.size.width + 2, self.size.height
            # From the corner of the content: the border's lines are just outside.
            regions = (Region(-1, -1, width, 1), Region(-1, height, width, 1))
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def crumb_title(self) -> str:
        """The title's first word."""
        return self.NAME

    def state(self) -> dict[str, Any]:
        """What is worth keeping while it is away."""
        table = self.table
        return {
            "filter": table.filter.text,
            "sort": table.sort_key,
            "reverse": table.reverse,
            "wide": table.wide,
            "faults": self._faults,
            "cursor": table.cursor_key,
            "follow": table.follow,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was."""
        table = self.table
        table.order_by(state.get("sort", ""), reverse=state.get("reverse", False))
        table.wide = state.get("wide", False)
        table.follow = state.get("follow", table.follow)
        self._set_faults(state.get("faults", False))
        self.set_filter(state.get("filter", ""))
        if state.get("cursor") is not None and not table.follow:
            table.select(state["cursor"])

    def set_filter(self, text: str) -> str:
        """Filter rows; answers what is wrong with the filter."""
        table = self.table
        table.filter = self.console.filters.parse(text)
        table.rearrange()
        table.refresh()
        self.refresh_title()
        return table.filter.error

    @property
    def filter_text(self) -> str:
        """What is filtered by."""
        return self.table.filter.text

    # -- keys -----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed (``None``) when the cluster does not allow it; the reason shows in ``?`` and when the key is hit."""
        name = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
        for key in keys_of(*self.scopes):
            if key.action == name and (
                reason_against(key.need, self.console.gateway.capabilities) or self.reason_against_action(name)
            ):
                return None
        return True

    def action_cursor(self, rows: int) -> None:
        self._stop_following(rows)
        self.table.move_by(rows)

    def _stop_following(self, rows: int) -> None:
        table = self.table
        if self.FOLLOWS and (rows < 0 or table.cursor_index + rows < len(table.shown) - 1):
            table.follow = False
            self.refresh_title()

    def action_cursor_top(self) -> None:
        self.table.follow = False
        self.table.move_to(0)
        self.refresh_title()

    def action_cursor_bottom(self) -> None:
        self.table.follow = self.FOLLOWS
        self.table.move_to(len(self.table.shown) - 1)
        self.refresh_title()

    def action_page(self, direction: int) -> None:
        self._stop_following(direction * self.table.size.height)
        self.table.page(direction)

    def action_sort_column(self, step: int) -> None:
        self.table.move_sort(step)
        self.refresh_title()

    def action_reverse(self) -> None:
        self.table.reverse_order()
        self.refresh_title()

    def action_wide(self) -> None:
        self.table.toggle_wide()

    def action_faults(self) -> None:
        self._set_faults(not self._faults)

    def _set_faults(self, on: bool) -> None:
        self._faults = on
        self.table.keep = self.is_fault if on else None
        self.table.rearrange()
        self.table.refresh()
        self.refresh_title()

    def action_mark(self) -> None:
        self.table.toggle_mark()
        self.refresh_title()

    def action_clear_marks(self) -> None:
        self.table.clear_marks()
        self.refresh_title()

    def action_copy_key(self) -> None:
        if self.table.cursor_key is not None:
            self.console.copy(self.table.cursor_key, f"copied {self.table.cursor_key}")

    def action_copy_row(self) -> None:
        row = self.table.cursor_row
        if row is not None:
            self.console.copy(json.dumps(as_data(self.describe_row(row)), default=str), "copied the row as JSON")

    def row_title(self) -> str:
        """What the selected row is called."""
        return str(self.table.cursor_key)

    def action_describe(self) -> None:
        row = self.table.cursor_row
        if row is not None:
            title = f"{self.NAME.rstrip('s')} {self.row_title()}"
            self.console.push_screen(Detail(title, json_lines(as_data(self.describe_row(row)))))

    def action_open(self) -> None:
        """Drill down."""

    def action_plugin(self, name: str) -> None:
        """A command of the user's own."""
        self.console.plugins.run(name)

    def reason_against_action(self, action: str) -> str:
        """Why a key cannot do anything with what is selected now, whatever the cluster allows; empty if it can."""
        return ""

    def why_about(self, row: Any) -> Mapping[str, Any]:
        """What a row is, for :func:`console.viewmodel.whys.story_of`."""
        return {}

    def action_why(self) -> None:
        """From the selected row to the events that made it."""
        row = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("events", self.why_about(row)))

    def on_live_table_opened(self, event: LiveTable.Opened) -> None:
        event.stop()
        self.action_open()

    def on_live_table_cursor_moved(self, event: LiveTable.CursorMoved) -> None:
        event.stop()
        self.cursor_moved()

    def cursor_moved(self) -> None:
        """Somebody selected another row."""

    def action_follow(self) -> None:
        table = self.table
        table.follow = not table.follow
        if table.follow:
            table.move_to(len(table.shown) - 1)
        self.refresh_title()


def as_data(value: object) -> Any:
    """Plain data of rows, for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_data(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: as_data(each) for name, each in value._asdict().items()}
    if isinstance(value, dict):
        return {str(name): as_data(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(each) for each in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def view_bindings(name: str) -> list[Any]:
    """A screen's keys; the global ones belong to the frame."""
    return bindings(*(scope for scope in SCREENS[name] if scope not in FRAME))
