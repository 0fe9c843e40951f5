"""A table for rows that change all the time: only visible lines are made, only changed lines are drawn.

Textual's DataTable draws every visible row again when one cell changes, and measures columns over all rows; here the
cost of an update is that of the visible lines, whatever the number of rows. The selection sticks to a row's key.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.viewmodel.cells import Cell, Column, Placed, Span, place_columns, plain
from console.viewmodel.filters import Filter
from console.viewmodel.health import STALE_MS
from console.viewmodel.text import age
from console.widgets.lines import fit, strip_of, width_of

if TYPE_CHECKING:
    from console.palette import Palette

# How long a changed cell stays marked.
FLASH_MS = 1_200
_GUTTER = 2
_AGE = Column("age", "AGE", lambda row: (Span(""),), 4, right=True)


class _Line(NamedTuple):
    """All that a line's look depends on."""

    key: str
    cells: tuple[Cell, ...]
    is_cursor: bool
    is_marked: bool
    stale: str
    flashing: frozenset[str]


class LiveTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of any type. ``key`` and ``age_ms`` read a row; columns make its cells."""

    DEFAULT_CSS = """
    LiveTable { height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    class Opened(Message):
        """A row was opened by the mouse."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class CursorMoved(Message):
        """Another row is selected. Comes from people, not from updates."""

    def __init__(
        self,
        columns: Sequence[Column],
        key: Callable[[Any], str],
        *,
        age_ms: Callable[[Any], float] | None = None,
        clock: Callable[[], float],
        empty: str = "nothing here",
        follow: bool = False,
        arranged: Callable[[Sequence[Column]], tuple[Column, ...]] = tuple,
        id: str | None = None,
    ) -> None:
        """``clock`` gives milliseconds that only go forward; ``follow`` keeps the selection at the last row."""
        super().__init__(id=id)
        self.given_columns = tuple(columns)
        self._arranged = arranged
        self._columns = arranged(columns)
        self._key = key
        self._age_ms = age_ms
        self._clock = clock
        self._empty = empty
        self.follow = follow
        self._source: Sequence[Any] = ()
        self._rows: list[Any] = []
        self._index: dict[str, int] = {}
        self._cursor = 0
        self._cursor_key: str | None = None
        self._wanted_key: str | None = None
        self.marks: dict[str, None] = {}
        self.filter = Filter()
        self.search_text: Callable[[Any], str] | None = None
        self.search_part: Callable[[Any, str], str] | None = None
        self.search_data: Callable[[Any], Any] | None = None
        # Of rows that never change: what a program said of each is not asked again.
        self.rows_are_final = False
        self._verdicts: dict[str, bool] = {}
        self._verdicts_of: Filter | None = None
        self.keep: Callable[[Any], bool] | None = None
        self.sort_key = ""
        self.reverse = False
        self.wide = False
        self.shows_cursor = True
        self._placed: list[Placed] = []
        self._placed_for: tuple[Any, ...] = ()
        self._content: dict[str, int] = {}
        self._drawn: dict[int, _Line | None] = {}
        self._texts: dict[str, tuple[str, ...]] = {}
        self._flash_until: dict[tuple[str, str], float] = {}
        # Counted by the performance test: lines made since the start.
        self.lines_made = 0

    # -- rows -----------------------------------------------------------------------------------------------------

    @property
    def palette(self) -> Palette:
        """The app's."""
        return cast("Palette", self.app.palette)  # type: ignore[attr-defined]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All, shown or not."""
        return self._columns

    @columns.setter
    def columns(self, columns: Sequence[Column]) -> None:
        self.given_columns = tuple(columns)
        self.arrange_columns()

    def arrange_columns(self) -> None:
        """As the user has them now, which may have changed."""
        self._columns = self._arranged(self.given_columns)
        self._placed_for = ()
        self._content.clear()
        self._texts.clear()
        self._draw_changes()

    @property
    def empty(self) -> str:
        """What is said where there are no rows."""
        return self._empty

    @empty.setter
    def empty(self, text: str) -> None:
        if text != self._empty:
            self._empty = text
            if not self._rows:
                self.refresh()

    def clear(self) -> None:
        """No rows, and nothing selected: the next ones begin at the top."""
        self._source, self._rows, self._index = (), [], {}
        self._cursor, self._cursor_key = 0, None
        self.scroll_to(y=0, animate=False, force=True)
        self._resize()
        self._draw_changes()

    def replace_all(self, columns: Sequence[Column], rows: Sequence[Any]) -> None:
        """Show rows of another kind."""
        self._source, self._rows, self._index = (), [], {}
        self.sort_key, self.reverse = "", False
        self._cursor, self._cursor_key = 0, None
        self.columns = columns
        self.update_rows(rows)
        self.refresh()

    def update_rows(self, rows: Sequence[Any]) -> None:
        """Take new rows; selection, marks, sort and scroll place stay."""
        self._source = rows
        self._arrange()

    def rearrange(self) -> None:
        """Apply changed filter, sort or faults setting."""
        self._arrange()

    @property
    def shown(self) -> list[Any]:
        """The rows that pass the filter, in the order of the screen."""
        return self._rows

    @property
    def total(self) -> int:
        """How many rows there are without filter."""
        return len(self._source)

    def _arrange(self) -> None:
        rows: list[Any] = [row for row in self._source if self._passes(row)]
        column = next((each for each in self._columns if each.key == self.sort_key), None)
        if column is not None and column.sort is not None:
            rows.sort(key=column.sort, reverse=self.reverse != column.descending)
        before = self._cursor
        self._rows = rows
        key = self._key
        self._index = {key(row): at for at, row in enumerate(rows)}
        wanted = self._index.get(self._wanted_key) if self._wanted_key is not None else None
        if wanted is not None:
            self._cursor, self._wanted_key = wanted, None
        elif self.follow and rows:
            self._cursor = len(rows) - 1
        elif not self.shows_cursor:
            # Nobody selected anything that would have to stay in view.
            self._cursor = 0
        else:
            at = self._index.get(self._cursor_key) if self._cursor_key is not None else None
            self._cursor = at if at is not None else max(0, min(self._cursor, len(rows) - 1))
        if rows:
            self._cursor_key = key(rows[self._cursor])
        self._resize()
        if self.follow or wanted is not None:
            self._show_cursor()
        elif self._cursor != before and self._is_visible(before):
            # Rows came or went above: the selected row keeps its place on the screen.
            self.scroll_to(y=self.scroll_offset.y + self._cursor - before, animate=False)
        self._draw_changes()

    def _passes(self, row: Any) -> bool:
        if self.keep is not None and not self.keep(row):
            return False
        if not self.filter.is_active:
            return True
        if self.filter.program is not None:
            return self._holds(row)
        if self.search_text is not None:
            text = self.search_text(row)
        else:
            # A few letters in some order occur in nearly every row as a whole: fuzzy means the name.
            text = self._key(row) if self.filter.fuzzy else self._row_text(row)
        return self.filter.matches(text, lambda column: self._part(row, column))

    def _holds(self, row: Any) -> bool:
        def data() -> Any:
            return None if self.search_data is None else self.search_data(row)

        if not self.rows_are_final:
            return self.filter.matches("", data_of=data)
        if self._verdicts_of is not self.filter or len(self._verdicts) > 4 * len(self._source) + 100:
            self._verdicts, self._verdicts_of = {}, self.filter
        key = self._key(row)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self.filter.matches("", data_of=data)
        return verdict

    def _row_text(self, row: Any) -> str:
        return "  ".join(plain(column.cell(row)) for column in self._columns)

    def _part(self, row: Any, name: str) -> str:
        if self.search_part is not None:
            return self.search_part(row, name)
        for column in self._columns:
            if column.key.startswith(name) or column.title.lower().startswith(name):
                return plain(column.cell(row))
        return ""

    # -- selection ------------------------------------------------------------------------------------------------

    @property
    def cursor_key(self) -> str | None:
        """Key of the selected row."""
        return self._cursor_key if self._rows else None

    @property
    def cursor_row(self) -> Any | None:
        """The selected row."""
        return self._rows[self._cursor] if self._rows else None

    @property
    def cursor_index(self) -> int:
        """Place of the selected row."""
        return self._cursor

    def select(self, key: str) -> bool:
        """Select a row by its key; one that is not there yet is selected when it comes, unless somebody moves first."""
        at = self._index.get(key)
        if at is None:
            self._wanted_key = key
            return False
        self.move_to(at)
        return True

    def move_to(self, index: int) -> None:
        """Select by place."""
        self._wanted_key = None
        if not self._rows:
            return
        self._cursor = max(0, min(index, len(self._rows) - 1))
        self._cursor_key = self._key(self._rows[self._cursor])
        self._show_cursor()
        self._draw_changes()
        self.post_message(self.CursorMoved())

    def move_by(self, rows: int) -> None:
        """Select relative to the selected row."""
        self.move_to(self._cursor + rows)

    def page(self, direction: int) -> None:
        """Move by what is visible."""
        self.move_by(direction * max(1, self._visible_rows - 1))

    def toggle_mark(self) -> None:
        """Mark or unmark the selected row, and go on to the next."""
        key = self.cursor_key
        if key is None:
            return
        if key in self.marks:
            del self.marks[key]
        else:
            self.marks[key] = None
        self.move_by(1)
        self._draw_changes()

    def clear_marks(self) -> None:
        """Unmark all."""
        self.marks.clear()
        self._draw_changes()

    def chosen(self) -> list[Any]:
        """The marked rows, or the selected one."""
        marked = [self._rows[self._index[key]] for key in self.marks if key in self._index]
        row = self.cursor_row
        return marked or ([row] if row is not None else [])

    @property
    def _visible_rows(self) -> int:
        return max(0, self.size.height - 1)

    def _is_visible(self, index: int) -> bool:
        return 0 <= index - self.scroll_offset.y < self._visible_rows

    def _show_cursor(self) -> None:
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._visible_rows and self._cursor >= top + self._visible_rows:
            self.scroll_to(y=self._cursor - self._visible_rows + 1, animate=False, force=True)

    # -- columns --------------------------------------------------------------------------------------------------

    def sort_by(self, key: str) -> None:
        """Sort by a column; again reverses."""
        if self.sort_key == key:
            self.reverse = not self.reverse
        else:
            self.sort_key, self.reverse = key, False
        self._arrange()
        self.refresh()

    def move_sort(self, step: int) -> None:
        """Sort by the next column that can be sorted."""
        sortable = [placed.column.key for placed in self._place() if placed.column.sort is not None]
        if not sortable:
            return
        at = sortable.index(self.sort_key) if self.sort_key in sortable else (-1 if step > 0 else 0)
        self.sort_key, self.reverse = sortable[(at + step) % len(sortable)], False
        self._arrange()
        self.refresh()

    def order_by(self, key: str, *, reverse: bool) -> None:
        """By a column; by none, with no ``key``, or one that is not there or has no order."""
        sortable = {each.key for each in self._columns if each.sort is not None}
        self.sort_key, self.reverse = (key, reverse) if key in sortable else ("", False)
        self._arrange()
        self.refresh()

    def reverse_order(self) -> None:
        """The other way round."""
        if not self.sort_key:
            self.move_sort(1)
        self.reverse = not self.reverse
        self._arrange()
        self.refresh()

    def toggle_wide(self) -> None:
        """Squeeze in columns that have no room."""
        self.wide = not self.wide
        self.refresh()

    def _place(self) -> list[Placed]:
        stale = self._age_ms is not None and any(self._age_ms(row) > STALE_MS for row in self._visible())
        columns = (*self._columns, _AGE) if stale else self._columns
        for column in columns:
            if column.max_width is not None:
                widest = self._content.get(column.key, width_of(column.title))
                for row in self._visible():
                    widest = max(widest, sum(width_of(span.text) for span in column.cell(row)))
                self._content[column.key] = widest
        wanted = (self.size.width, stale, self.wide, len(columns), tuple(self._content.items()))
        if wanted != self._placed_for:
            self._placed_for = wanted
            available = max(1, self.size.width - _GUTTER - 1)
            placed = place_columns(columns, available, self._content, wide=self.wide)
            if placed != self._placed:
                self._placed = placed
                self._drawn.clear()
                self.refresh()
        return self._placed

    def _visible(self) -> list[Any]:
        top = self.scroll_offset.y
        return self._rows[top : top + self._visible_rows]

    # -- drawing --------------------------------------------------------------------------------------------------

    def _resize(self) -> None:
        wanted = Size(self.size.width, len(self._rows) + 1)
        if self.virtual_size != wanted:
            self.virtual_size = wanted
            if self.scroll_offset.y > max(0, wanted.height - self.size.height):
                self.scroll_to(y=max(0, wanted.height - self.size.height), animate=False, force=True)

    def on_resize(self, event: events.Resize) -> None:
        self._placed_for = ()
        self._resize()
        if self._rows and not self._is_visible(self._cursor):
            self._show_cursor()
        self._draw_changes()

    def on_focus(self) -> None:
        self._draw_changes()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()

    def tick(self) -> None:
        """Let marks of changed cells fade."""
        if self.show_vertical_scrollbar:
            # One that has just appeared does not know how far was scrolled before.
            self.vertical_scrollbar.position = self.scroll_y
        now = self._clock()
        gone = [place for place, until in self._flash_until.items() if until <= now]
        for place in gone:
            del self._flash_until[place]
        if gone:
            self._draw_changes()

    def _draw_changes(self) -> None:
        """Ask for the lines that would look different, and no others."""
        if not self.size.height or not self.is_mounted:
            return
        self._place()
        for y in range(1, self.size.height):
            line = self._line(y)
            if y in self._drawn and self._drawn[y] == line:
                continue
            self._drawn[y] = line
            self.refresh(Region(0, y, self.size.width, 1))

    def _line(self, y: int) -> _Line | None:
        at = self.scroll_offset.y + y - 1
        if not 0 <= at < len(self._rows):
            return None
        row = self._rows[at]
        key = self._key(row)
        cells = tuple(placed.column.cell(row) for placed in self._placed)
        old_ms = self._age_ms(row) if self._age_ms is not None else 0
        return _Line(
            key,
            cells,
            at == self._cursor and self.shows_cursor,
            key in self.marks,
            age(old_ms) if old_ms > STALE_MS else "",
            self._flashing(key, cells),
        )

    def _flashing(self, key: str, cells: tuple[Cell, ...]) -> frozenset[str]:
        watched = [
            (placed.column.key, plain(cells[at])) for at, placed in enumerate(self._placed) if placed.column.flashes
        ]
        if not watched:
            return frozenset()
        texts = tuple(f"{name}={text}" for name, text in watched)
        before = self._texts.get(key)
        if before != texts:
            if before is not None and len(before) == len(texts):
                until = self._clock() + FLASH_MS
                for (name, _), old, new in zip(watched, before, texts, strict=True):
                    if old != new and old.split("=", 1)[0] == name:
                        self._flash_until[key, name] = until
            if len(self._texts) > 2_000:
                self._texts.clear()
            self._texts[key] = texts
        if not self._flash_until:
            return frozenset()
        return frozenset(name for name, _ in watched if (key, name) in self._flash_until)

    def render_line(self, y: int) -> Strip:
        self.lines_made += 1
        width = self.size.width
        if y == 0:
            return self._header(width)
        if not self._rows:
            return self._empty_line(y, width)
        # Columns were placed for these rows when they came, or by the head's line: not for each line anew.
        if not self._placed:
            self._place()
        line = self._line(y)
        self._drawn[y] = line
        if line is None:
            return Strip([Segment(" " * width, self.palette.style("text"))])
        return self._row(line, width)

    def _header(self, width: int) -> Strip:
        style = self.palette.style("title", "panel", bold=True)
        segments = [Segment(" " * _GUTTER, style)]
        x = 0
        for column, at, room in self._place():
            if at > x:
                segments.append(Segment(" " * (at - x), style))
            title = column.title
            if column.key == self.sort_key:
                title += "↑" if self.reverse == column.descending else "↓"
            tone = "accent" if column.key == self.sort_key else "title"
            for span in fit((Span(title, tone),), room, right=column.right):
                segments.append(Segment(span.text, self.palette.style(span.tone, "panel", bold=True)))
            x = at + room
        return Strip(segments).adjust_cell_length(width, style)

    def _empty_line(self, y: int, width: int) -> Strip:
        hidden = f"none of {self.total:,} passes the filter: esc clears it"
        text = hidden if self.total and (self.filter.is_active or self.keep) else self.empty
        # One line of air below the head; a reason is told whole.
        said = ["", "", *textwrap.wrap(text, max(20, width - 4))][y : y + 1]
        return strip_of(fit((Span("  " + "".join(said), "muted"),), width), self.palette, "surface")

    def _row(self, line: _Line, width: int) -> Strip:
        palette = self.palette
        background = "cursor" if line.is_cursor else "surface"
        bold = line.is_cursor and self.has_focus
        segments = [
            Segment("▌" if line.is_cursor else " ", palette.style("accent", background)),
            Segment("◆" if line.is_marked else " ", palette.style("under_replicated", background)),
        ]
        blank = palette.style("text", background)
        x = 0
        for (column, at, room), value in zip(self._placed, line.cells, strict=True):
            if at > x:
                segments.append(Segment(" " * (at - x), blank))
            shown: Cell = (Span(line.stale, "under_replicated"),) if column is _AGE else value
            on = "changed" if column.key in line.flashing else background
            for span in fit(
                shown, room, right=column.right, cut_middle=column.cut_middle, drops_spans=column.drops_spans
            ):
                tone = "muted" if line.stale and column is not _AGE else span.tone
                segments.append(Segment(span.text, palette.style(tone, on, bold=bold or column.key in line.flashing)))
            x = at + room
        return Strip(segments).adjust_cell_length(width, blank)

    # -- mouse ----------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        if not self.shows_cursor:
            return
        if event.y == 0:
            x = event.x - _GUTTER
            for column, at, room in self._placed:
                if at <= x < at + room and column.sort is not None:
                    self.sort_by(column.key)
                    return
            return
        at = self.scroll_offset.y + event.y - 1
        if not 0 <= at < len(self._rows):
            return
        again = at == self._cursor and event.chain >= 2
        self.follow = False
        self.move_to(at)
        if again and self._cursor_key is not None:
            self.post_message(self.Opened(self._cursor_key))

    # -- as text --------------------------------------------------------------------------------------------------

    def as_text(self, rows: Iterable[Any] | None = None) -> str:
        """All rows with all columns, for files and the clipboard."""
        table = [[column.title for column in self._columns]]
        for row in self._rows if rows is None else rows:
            table.append([plain(column.cell(row)).strip() for column in self._columns])
        widths = [max(len(line[at]) for line in table) for at in range(len(self._columns))]
        return "\n".join(
            "  ".join(text.ljust(room) for text, room in zip(line, widths, strict=True)).rstrip() for line in table
        )
