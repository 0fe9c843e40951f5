"""What keys do, on the scripted cluster: where they lead, what they filter, sort and show."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from driving import driving, screen_lines
from frames import text_of_screen
from sample_snapshots import kill_in
from scripted import ATTACHED
from textual.widgets import OptionList

from console.modals.detail import Detail, RecordDetail
from console.modals.form import Form
from console.widgets.prompt import Prompt


async def test_it_opens_on_the_brokers() -> None:
    async with driving() as driver:
        assert driver.view.NAME == "cluster"
        assert driver.keys == ["1", "2", "3"]
        assert "brokers(all)" in driver.title


async def test_digits_open_screens() -> None:
    async with driving() as driver:
        for digit, name in zip(
            "12345678",
            ("cluster", "topics", "groups", "events", "failover", "workload", "quorum", "commands"),
            strict=True,
        ):
            await driver.press(digit)
            assert name == driver.view.NAME


async def test_enter_drills_from_topic_to_partition_to_record() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter")
        assert driver.app.crumbs == ["topics", "orders"]
        assert len(driver.keys) == 6
        await driver.press("j", "enter")
        assert driver.app.crumbs == ["topics", "orders", "records"]
        assert driver.view.about["partitions"] == (1,)
        await driver.press("enter")
        assert isinstance(driver.app.screen, RecordDetail)
        await driver.press("escape", "escape", "escape")
        assert driver.app.crumbs == ["topics"]


async def test_a_filter_narrows_while_it_is_typed_and_inverts_with_an_exclamation_mark() -> None:
    async with driving() as driver:
        await driver.press("2", "slash")
        await driver.type("or")
        assert driver.keys == ["orders"]
        await driver.press("enter")
        assert "</or>" in driver.title
        assert "[1/4]" in driver.title
        await driver.press("slash", "home")
        await driver.type("!")
        await driver.press("enter")
        assert driver.keys == ["clicks", "customers", "payments"]


async def test_a_fuzzy_filter_and_one_of_a_column() -> None:
    async with driving() as driver:
        await driver.command("topics /-f pmt")
        assert driver.keys == ["payments"]
        await driver.command("topics /-l rf=4")
        assert driver.keys == []


async def test_esc_closes_the_prompt_then_clears_the_filter_then_goes_back() -> None:
    async with driving() as driver:
        await driver.press("2", "enter", "slash")
        await driver.type("1")
        prompt = driver.app.main.query_one(Prompt)
        assert prompt.is_open
        await driver.press("escape")
        assert not prompt.is_open
        assert driver.view.filter_text == "1"
        await driver.press("escape")
        assert driver.view.filter_text == ""
        assert driver.view.NAME == "partitions"
        await driver.press("escape")
        assert driver.view.NAME == "topics"
        await driver.press("escape")
        assert driver.view.NAME == "topics"
        assert "first screen" in driver.flash


async def test_commands_have_aliases_arguments_and_filters() -> None:
    async with driving() as driver:
        await driver.command("t /ord")
        assert driver.keys == ["orders"]
        await driver.command("tail orders payments")
        assert driver.view.NAME == "records"
        assert driver.calls("tail")[-1][1].topics == ("orders", "payments")
        await driver.command("g billing")
        assert driver.view.NAME == "group"
        await driver.command("log 2")
        assert driver.view.about["broker"] == 2


async def test_an_unknown_command_says_what_is_near() -> None:
    async with driving() as driver:
        await driver.command("topcis")
        assert "did you mean :topics?" in driver.flash
        await driver.command("records nosuch")
        assert "no topic nosuch" in driver.flash


async def test_tab_completes_commands_and_names() -> None:
    async with driving() as driver:
        await driver.press("colon")
        await driver.type("rec")
        await driver.press("tab")
        field = driver.app.main.query_one("Prompt Input")
        assert field.value == "records"
        await driver.type(" pay")
        await driver.press("tab")
        assert field.value == "records payments"


async def test_letters_reach_the_prompt_and_not_the_screen() -> None:
    async with driving() as driver:
        await driver.press("2", "slash")
        await driver.type("jkqpn")
        assert driver.view.NAME == "topics"
        assert driver.view.filter_text == "jkqpn"


async def test_history_goes_back_and_forth() -> None:
    async with driving() as driver:
        await driver.press("2", "3")
        await driver.press("left_square_bracket")
        assert driver.view.NAME == "topics"
        await driver.press("left_square_bracket")
        assert driver.view.NAME == "cluster"
        await driver.press("right_square_bracket")
        assert driver.view.NAME == "topics"
        await driver.press("minus")
        assert driver.view.NAME == "cluster"
        await driver.press("minus")
        assert driver.view.NAME == "topics"


async def test_a_screen_keeps_its_selection_while_one_is_away() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter", "j", "j", "j", "escape")
        assert driver.view.table.cursor_key == "orders"


async def test_help_lists_the_keys_of_the_screen_and_why_some_are_grey() -> None:
    async with driving(ATTACHED) as driver:
        await driver.press("question_mark")
        assert isinstance(driver.app.screen, Detail)
        text = driver.app.screen.copied()
        assert "ctrl-k" in text
        assert "not here: needs the processes of an embedded cluster" in text
        await driver.press("escape")
        assert not isinstance(driver.app.screen, Detail)


async def test_events_of_one_kind_and_moment_share_a_line_below_the_brokers() -> None:
    async with driving(size=(120, 40)) as driver:
        driver.gateway.clock.advance(5_000)
        for partition in range(12):
            driver.gateway.tell(
                "leader_changed", f"orders-{partition}", f"leader 2→3, epoch {partition}: broker 2 fenced"
            )
            driver.gateway.tell("isr_shrunk", f"orders-{partition}", f"ISR shrank: {partition}")
        await driver.settle()
        (line,) = [line for line in text_of_screen(driver.app) if "×12" in line and "leader changed" in line]
        assert "orders-0 +11" in line and "broker 2 fenced" in line
        await driver.press("4")
        assert sum("leader changed" in line for line in text_of_screen(driver.app)) >= 12, "each one on its own screen"


async def test_a_partition_shows_what_happened_to_it_below_its_replicas() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter", "j", "j", "j")
        shown = driver.screen
        assert "replica.lag.time.max.ms" in shown and "broker 3 caught up" in shown
        await driver.press("k")
        assert "nothing happened to orders-2" in driver.screen


async def test_faults_of_the_events_are_those_that_made_something_worse() -> None:
    async with driving() as driver:
        await driver.press("4", "ctrl+z")
        assert [row.kind for row in driver.view.table.shown] == ["group_rebalanced", "isr_shrunk"]


async def test_the_console_keeps_its_rows_when_the_cluster_is_gone_and_shows_their_age() -> None:
    async with driving() as driver:
        driver.gateway.fail("no broker answers")
        driver.gateway.clock.advance(30_000)
        await driver.settle()
        assert driver.keys == ["1", "2", "3"]
        assert driver.app.failure == "no broker answers"
        shown = "\n".join(screen_lines(driver.app))
        assert "stale 30s" in shown
        for digit in "12345678":
            await driver.press(digit)
        await driver.press("2")
        assert len(driver.keys) == 4
        assert driver.app.is_running


async def test_the_selection_stays_on_its_row_when_rows_come_before_it() -> None:
    async with driving() as driver:
        await driver.press("2", "G")
        assert driver.view.table.cursor_key == "payments"
        snapshot = driver.app.snapshot
        driver.gateway.show(snapshot.with_facts(topics=snapshot.topics[1:]))
        await driver.settle()
        assert driver.view.table.cursor_key == "payments"


async def test_faults_only_shows_what_is_unhealthy() -> None:
    async with driving() as driver:
        await driver.press("ctrl+z")
        assert driver.keys == []
        driver.gateway.show(kill_in(driver.app.snapshot, 3))
        await driver.settle()
        assert driver.keys == ["3"]


async def test_sorting_by_column_and_its_reverse() -> None:
    async with driving() as driver:
        await driver.press("2")
        driver.view.table.sort_by("records")
        assert driver.keys[0] == "orders"
        await driver.press("O")
        assert driver.keys[0] == "customers"


async def test_themes_change_at_once() -> None:
    async with driving() as driver:
        await driver.command("theme light")
        assert driver.app.palette.theme.name == "light"
        assert driver.app.theme == "light"


async def test_a_click_on_a_head_sorts_and_on_a_tab_opens() -> None:
    async with driving() as driver:
        await driver.press("2")
        await driver.pilot.click("#table", offset=(4, 0))
        await driver.settle()
        assert driver.view.table.sort_key == "name"
        await driver.pilot.click("Tabs", offset=(24, 0))
        await driver.settle()
        assert driver.view.NAME == "groups"


async def test_quitting_closes_the_gateway() -> None:
    async with driving() as driver:
        await driver.command("q")
        assert driver.calls("close")


async def test_keys_typed_ahead_reach_the_screen_they_are_meant_for() -> None:
    async with driving() as driver:
        await driver.pilot.press("2", "j", "j", "enter", "j", "l", "s")
        await driver.settle()
        assert isinstance(driver.app.screen, Form)
        assert driver.app.crumbs == ["topics", "orders", "records"]


async def test_the_palette_opens_screens() -> None:
    async with driving() as driver:
        await driver.press("ctrl+p")
        await driver.type("quorum")
        palette = driver.app.screen
        assert palette is not driver.app.main
        async with asyncio.timeout(20):
            # Its search runs beside the keys.
            while palette.query_one(OptionList).option_count != 1:
                await driver.pilot.pause(0.02)
        await driver.press("enter")
        assert driver.app.screen is driver.app.main and driver.view.NAME == "quorum"


async def test_names_and_rows_are_copied() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "c")
        assert driver.app.clipboard == driver.keys[2] and driver.flash == f"copied {driver.keys[2]}"
        await driver.press("C")
        assert json.loads(driver.app.clipboard)["name"] == driver.keys[2]


async def test_a_frozen_picture_stays_until_it_goes_on() -> None:
    async with driving() as driver:
        await driver.press("P")
        before = driver.screen
        assert "frozen" in driver.flash
        await driver.gateway.kill_brokers([2])
        await driver.settle()
        assert "killed" not in driver.screen and "3/3 up" in before and "3/3 up" in driver.screen
        await driver.press("P")
        await driver.gateway.kill_brokers([2])
        await driver.settle()
        assert "2/3 up" in driver.screen


async def test_the_rows_of_a_screen_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with driving() as driver:
        saved: dict[str, str] = {}
        monkeypatch.setattr(
            driver.app, "deliver_text", lambda source, save_filename: saved.update({save_filename: source.read()})
        )
        await driver.press("2", "ctrl+s")
        ((name, text),) = saved.items()
        assert name.startswith("kconsole-topics-") and all(key in text for key in driver.keys)


async def test_a_filter_is_kept_by_its_name_and_used_on_another_screen() -> None:
    async with driving() as driver:
        await driver.press("2")
        driver.view.set_filter("ord")
        await driver.command("keep mine")
        assert driver.flash == "/@mine is ord"
        await driver.press("1")
        await driver.command("topics /@mine")
        assert driver.keys == ["orders"] and "</ord>" in driver.title
        await driver.press("slash")
        await driver.type("x")
        await driver.press("ctrl+u")
        await driver.pilot.press("at")
        await driver.type("none")
        await driver.settle()
        assert driver.flash == "there is no filter @none: @mine"
