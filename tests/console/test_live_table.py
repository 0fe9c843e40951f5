"""What the live table draws: counted in lines, not in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from scripted import FrozenClock
from textual.app import App, ComposeResult

from console.palette import Palette
from console.viewmodel.cells import Cell, Column, cell
from console.viewmodel.filters import Filter
from console.widgets.live_table import FLASH_MS, LiveTable
from themes import builtin_themes


@dataclass(frozen=True)
class Row:
    key: str
    number: int
    state: str = "up"
    age_ms: float = 0.0


COLUMNS = (
    Column("key", "KEY", lambda row: cell(row.key), 10, lambda row: row.key),
    Column("number", "NUMBER", lambda row: cell(row.number), 8, lambda row: row.number, right=True),
    Column("state", "STATE", lambda row: cell(row.state), 8, flashes=True),
)


class TableApp(App[None]):
    def __init__(self, clock: FrozenClock) -> None:
        super().__init__()
        self.palette = Palette(builtin_themes()["dark"])
        self.made_cells = 0
        self.table = LiveTable(
            COLUMNS, lambda row: row.key, age_ms=lambda row: row.age_ms, clock=clock.monotonic_ms, empty="empty"
        )

    def compose(self) -> ComposeResult:
        yield self.table


async def drawn(app: TableApp, pilot: Any, lines: int) -> None:
    """Wait until so many lines were made; and then whether more come."""
    for _ in range(200):
        await pilot.pause()
        if app.table.lines_made >= lines:
            break
    await pilot.pause()


def rows(count: int) -> list[Row]:
    return [Row(f"row-{at:06}", at) for at in range(count)]


async def test_the_first_picture_of_fifty_thousand_rows_draws_only_what_is_visible() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.lines_made = 0
        app.table.update_rows(rows(50_000))
        await drawn(app, pilot, 23)
        assert 23 <= app.table.lines_made <= 2 * 24


async def test_one_changed_cell_draws_one_line() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        before = rows(5_000)
        app.table.update_rows(before)
        await drawn(app, pilot, 23)
        app.table.lines_made = 0
        app.table.update_rows([*before[:7], replace(before[7], number=99), *before[8:]])
        await drawn(app, pilot, 1)
        assert app.table.lines_made == 1


async def test_a_tail_that_moves_every_line_makes_each_cell_a_few_times() -> None:
    app = TableApp(FrozenClock())
    made = 0

    def growing(row: Row) -> Cell:
        nonlocal made
        made += 1
        return cell(row.key)

    async with app.run_test(size=(80, 24)) as pilot:
        app.table.columns = (Column("value", "VALUE", growing, 10, max_width=60), *COLUMNS)
        app.table.follow = True
        app.table.update_rows(rows(500))
        await pilot.pause()
        made = 0
        app.table.update_rows(rows(501))
        await pilot.pause()
        assert 0 < made <= 5 * 24, "placed, compared, drawn"


async def test_changes_out_of_sight_draw_nothing() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        before = rows(5_000)
        app.table.update_rows(before)
        await drawn(app, pilot, 23)
        app.table.lines_made = 0
        app.table.update_rows([*before[:100], *(replace(row, number=-1) for row in before[100:])])
        await pilot.pause()
        assert app.table.lines_made == 0


async def test_moving_the_selection_draws_two_lines() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.update_rows(rows(5_000))
        await drawn(app, pilot, 23)
        app.table.lines_made = 0
        app.table.move_by(1)
        await drawn(app, pilot, 2)
        assert app.table.lines_made == 2


async def test_a_changed_cell_stands_out_for_a_moment() -> None:
    clock = FrozenClock()
    app = TableApp(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        before = rows(3)
        app.table.update_rows(before)
        await pilot.pause()
        changed = app.palette.theme["changed"]

        def is_marked() -> bool:
            return any(
                segment.style is not None
                and segment.style.bgcolor is not None
                and segment.style.bgcolor.name == changed
                for segment in app.table.render_line(2)
            )

        assert not is_marked()
        app.table.update_rows([before[0], replace(before[1], state="down"), before[2]])
        assert is_marked()
        clock.advance(FLASH_MS + 1)
        app.table.tick()
        assert not is_marked()


async def test_a_stale_row_is_dimmed_and_tells_its_age() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.update_rows([Row("old", 1, age_ms=65_000), Row("new", 2)])
        await pilot.pause()
        assert app.table.render_line(1).text.rstrip().endswith("65s")
        tones = {segment.style.color.name for segment in app.table.render_line(1) if segment.text.strip() == "old"}
        assert tones == {app.palette.theme["muted"]}
        assert "s" not in app.table.render_line(2).text.replace("state", "").rstrip()[-4:]


async def test_the_selection_sticks_to_its_key_through_sorting_and_comes_along() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.update_rows(rows(100))
        app.table.move_to(5)
        await pilot.pause()
        app.table.sort_by("number")
        app.table.reverse_order()
        assert app.table.cursor_key == "row-000005"
        assert app.table.cursor_index == 94


async def test_a_selected_row_that_goes_leaves_the_selection_at_its_place() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)):
        before = rows(10)
        app.table.update_rows(before)
        app.table.move_to(4)
        app.table.update_rows([*before[:4], *before[5:]])
        assert app.table.cursor_index == 4
        assert app.table.cursor_key == "row-000005"


async def test_rows_that_come_above_do_not_move_the_selected_line_on_the_screen() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        before = rows(200)
        app.table.update_rows(before)
        app.table.move_to(50)
        await pilot.pause()
        line = app.table.cursor_index - app.table.scroll_offset.y
        app.table.update_rows([Row("aaa", 0), Row("aab", 0), *before])
        await pilot.pause()
        assert app.table.cursor_key == "row-000050"
        assert app.table.cursor_index - app.table.scroll_offset.y == line


async def test_following_keeps_the_last_row_in_sight() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.follow = True
        for count in (10, 100, 1_000):
            app.table.update_rows(rows(count))
            await pilot.pause()
            assert app.table.cursor_index == count - 1
            assert app.table.cursor_index - app.table.scroll_offset.y < 23


async def test_marks_outlive_filters() -> None:
    app = TableApp(FrozenClock())
    async with app.run_test(size=(80, 24)):
        app.table.update_rows(rows(10))
        app.table.toggle_mark()
        app.table.toggle_mark()
        app.table.filter = Filter.parse("000001")
        app.table.rearrange()
        assert [row.key for row in app.table.chosen()] == ["row-000001"]
        app.table.filter = Filter()
        app.table.rearrange()
        assert [row.key for row in app.table.chosen()] == ["row-000000", "row-000001"]
