"""What keys do, on the scripted cluster."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from frames import text_of_screen
from sample_files import record
from sample_snapshots import kill_in
from scripted import ATTACHED, EMBEDDED
from tests_frame import make_app, populate, settle

from console.gateway import Capabilities, NewTopic, ReadFrom, Start
from console.modals.confirm import Confirm
from console.modals.detail import Detail, RecordDetail
from console.modals.form import Form
from console.widgets.prompt import Prompt

READ_ONLY = EMBEDDED._replace(read_only=True)


class Driver:
    """Keys in, screen out."""

    def __init__(self, app: Any, gateway: Any, pilot: Any) -> None:
        self.app, self.gateway, self.pilot = app, gateway, pilot

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await settle(self.app, self.pilot)

    async def type(self, text: str) -> None:
        names = {
            " ": "space",
            "/": "slash",
            "-": "minus",
            ".": "full_stop",
            "=": "equals_sign",
            ",": "comma",
            "!": "exclamation_mark",
            "_": "underscore",
        }
        for character in text:
            await self.pilot.press(names.get(character, character))
        await settle(self.app, self.pilot)

    async def command(self, line: str) -> None:
        await self.press("colon")
        await self.type(line)
        await self.press("enter")

    async def settle(self) -> None:
        await settle(self.app, self.pilot)

    @property
    def view(self) -> Any:
        return self.app.view

    @property
    def title(self) -> str:
        return str(self.view.border_title)

    @property
    def keys(self) -> list[str]:
        return [self.view.key_of(row) for row in self.view.table.shown]

    @property
    def flash(self) -> str:
        return self.app.flash_message.text if self.app.flash_message is not None else ""

    @property
    def screen(self) -> str:
        return "\n".join(text_of_screen(self.app))

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.gateway.calls if call[0] == name]


@asynccontextmanager
async def driving(capabilities: Capabilities = EMBEDDED, size: tuple[int, int] = (100, 30)):
    app, gateway = make_app(capabilities)
    async with app.run_test(size=size) as pilot:
        await populate(app, gateway, pilot)
        yield Driver(app, gateway, pilot)
        assert app.failure == "" or gateway.failing


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


async def test_kill_is_done_at_once_on_the_embedded_cluster() -> None:
    async with driving() as driver:
        await driver.press("j", "ctrl+k")
        assert driver.calls("kill") == [("kill", 2)]
        assert driver.view.table.shown[1].state == "killed"
        await driver.press("8")
        entry = driver.view.table.shown[0]
        assert entry.command == "kill -9 41002"
        assert entry.outcome.startswith("broker 2 killed")


@pytest.mark.parametrize(("key", "call"), [("x", "stop"), ("r", "restart"), ("z", "pause"), ("Z", "resume")])
async def test_the_other_process_acts_have_their_keys(key: str, call: str) -> None:
    async with driving() as driver:
        await driver.press("G", key)
        assert driver.calls(call) == [(call, 3)]


async def test_marked_brokers_are_acted_on_together() -> None:
    async with driving() as driver:
        await driver.press("space", "space", "x", "ctrl+k")
        assert driver.calls("stop") == [("stop", 1, 2)]
        assert driver.calls("kill") == [("kill", 1, 2)], "at the same moment"
        assert driver.app.acts.log[-1].command == "kill -9 41001 41002"
        await driver.press("space", "ctrl+k")
        assert driver.calls("kill")[1:] == [("kill", 3)], "those that are down already are left alone"


async def test_only_what_is_down_is_started() -> None:
    async with driving() as driver:
        await driver.press("j", "s")
        assert driver.calls("start") == [] and driver.flash == "broker 2 runs already"
        await driver.press("ctrl+k", "s")
        assert driver.calls("start") == [("start", 2)]


async def test_what_the_loss_of_a_broker_would_do_stands_below_before_it_is_killed() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.press("j")
        edge = str(driver.view.border_subtitle)
        assert edge == "losing broker 2 moves 8 leaders, 2 groups, the controller"
        await driver.press("ctrl+k")
        assert "broker 2: killed, SIGKILL, asked for" in str(driver.view.border_subtitle)
        await driver.press("k")
        assert "losing broker 1 moves 9 leaders · 25 below min ISR" in str(driver.view.border_subtitle)


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


async def test_a_key_that_needs_processes_is_grey_when_attached_and_says_why() -> None:
    async with driving(ATTACHED) as driver:
        assert driver.view.check_action("process", ("kill",)) is None
        await driver.press("ctrl+k")
        assert driver.calls("kill") == []
        assert "needs the processes of an embedded cluster" in driver.flash


async def test_read_only_refuses_every_act_and_leaves_reading_alone() -> None:
    async with driving(READ_ONLY) as driver:
        await driver.press("ctrl+k", "x", "2", "n", "p", "ctrl+d", "a", "E", "6", "s", "x")
        await driver.command("kill 2")
        await driver.command("elect")
        await driver.command("create")
        assert [call for call in driver.gateway.calls if call[0] not in ("tail", "close")] == []
        assert "--read-only" in driver.flash
        assert not isinstance(driver.app.screen, Form | Confirm)
        await driver.press("2", "l")
        assert driver.calls("tail")


async def test_a_destructive_act_asks_first_when_attached() -> None:
    async with driving(ATTACHED) as driver:
        await driver.press("2", "E")
        assert isinstance(driver.app.screen, Confirm)
        await driver.press("enter")
        assert driver.calls("elect_preferred") == []
        await driver.press("E", "y")
        assert len(driver.calls("elect_preferred")) == 1


async def test_deleting_always_asks_and_enter_alone_deletes_nothing() -> None:
    async with driving() as driver:
        await driver.press("2", "ctrl+d")
        assert isinstance(driver.app.screen, Confirm)
        await driver.press("enter")
        assert driver.calls("delete_topic") == []
        await driver.press("ctrl+d", "y")
        assert driver.calls("delete_topic") == [("delete_topic", "clicks")]


async def test_a_topic_is_created_from_its_form_and_the_same_command_is_shown() -> None:
    async with driving() as driver:
        await driver.press("2", "n")
        await driver.type("audit")
        await driver.press("tab", "4", "tab", "3", "tab")
        await driver.type("retention.ms=1000")
        await driver.press("ctrl+s")
        assert driver.calls("create_topic") == [("create_topic", NewTopic("audit", 4, 3, {"retention.ms": "1000"}))]
        assert (
            driver.app.acts.log[-1].command
            == "kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic audit "
            "--partitions 4 --replication-factor 3 --config retention.ms=1000"
        )


async def test_a_new_topic_is_selected_when_it_appears() -> None:
    async with driving() as driver:
        await driver.press("2", "n")
        await driver.type("new")
        await driver.press("ctrl+s")
        assert driver.view.table.cursor_key == "clicks"
        topics = driver.gateway.snapshot.topics
        driver.gateway.show(driver.gateway.snapshot.with_facts(topics=(*topics, replace(topics[0], name="new"))))
        await driver.settle()
        assert driver.view.table.cursor_key == "new"


async def test_a_wrong_form_stays_open_and_says_what_is_wrong() -> None:
    async with driving() as driver:
        await driver.press("2", "n")
        await driver.type("a b")
        await driver.press("ctrl+s")
        assert isinstance(driver.app.screen, Form)
        assert "letters" in str(driver.app.screen.query_one("#problem").render())
        assert driver.calls("create_topic") == []


async def test_a_record_is_produced_with_key_value_headers_partition_and_acks() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "p")
        await driver.type("k1")
        await driver.press("tab")
        await driver.type("hello")
        await driver.press("tab")
        await driver.type("a=1")
        await driver.press("tab", "2", "tab", "right", "ctrl+s")
        ((_, produced),) = driver.calls("produce")
        assert produced == ("orders", b"k1", b"hello", (("a", b"1"),), 2, "1")
        assert "produced to orders-2, offset 80,002" in driver.flash


async def test_enter_goes_through_a_form_and_an_empty_value_is_a_tombstone() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "p")
        await driver.type("k1")
        await driver.press("enter")
        assert isinstance(driver.app.screen, Form) and driver.calls("produce") == []
        await driver.press("tab")
        await driver.type('a=1, a="2, 3"')
        await driver.press("ctrl+s")
        ((_, produced),) = driver.calls("produce")
        assert produced == ("orders", b"k1", None, (("a", b"1"), ("a", b"2, 3")), None, "all")


async def test_partitions_are_added_to_an_attached_cluster_only_after_a_yes() -> None:
    for capabilities, asks in ((ATTACHED, True), (EMBEDDED, False)):
        async with driving(capabilities) as driver:
            await driver.press("2", "a", "ctrl+s")
            assert isinstance(driver.app.screen, Confirm) is asks
            if asks:
                assert driver.calls("add_partitions") == []
                await driver.press("y")
            assert driver.calls("add_partitions") == [("add_partitions", "clicks", 4)]


async def test_a_refusal_of_the_cluster_is_told() -> None:
    async with driving() as driver:
        driver.gateway.refusing = "NOT_ENOUGH_REPLICAS"
        await driver.press("6", "s")
        assert "NOT_ENOUGH_REPLICAS" in driver.flash
        assert driver.app.acts.log[-1].failed


async def test_members_of_the_workload_are_added_and_removed() -> None:
    async with driving() as driver:
        await driver.press("3", "j", "a", "r")
        assert driver.calls("add_member") == [("add_member", "billing")]
        assert driver.calls("remove_member") == [("remove_member", "billing")]


async def test_the_tail_follows_pauses_and_counts_what_waits() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        before = len(driver.keys)
        await driver.press("f")
        driver.gateway.arrive(record("orders", 0, 90_000, driver.gateway.clock.at_ms))
        await driver.settle()
        assert len(driver.keys) == before
        assert "paused · 1 new · from 20 before the end" in str(driver.view.border_subtitle)
        await driver.press("f")
        await driver.settle()
        assert driver.keys[-1] == "orders-0@90000"
        assert driver.view.table.cursor_key == "orders-0@90000"


async def test_scrolling_up_pauses_the_tail_and_G_follows_again() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l", "k")
        assert not driver.view.table.follow
        await driver.press("G")
        assert driver.view.table.follow


async def test_records_are_filtered_by_key_value_and_header() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        for text, number in (
            ("-l key=key-7", 1),
            ("-l header=4f1c", 15),
            ('-l value=order": 80010,', 1),
            ("-f zzzz", 0),
        ):
            driver.view.set_filter(text)
            assert len(driver.keys) == number, text


async def test_seek_reads_from_offsets_times_and_ends() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        for written, wanted in (
            ("1042", ReadFrom(Start.OFFSET, 1042)),
            ("-100", ReadFrom(Start.OFFSET, -100)),
            ("start", ReadFrom(Start.START)),
            ("15m", ReadFrom(Start.TIMESTAMP, driver.gateway.clock.at_ms - 900_000)),
        ):
            await driver.press("s")
            await driver.type(written)
            await driver.press("enter")
            assert driver.calls("tail")[-1][1].read_from == wanted
        await driver.press("t")
        assert driver.calls("tail")[-1][1].read_from == ReadFrom(Start.END)


async def test_after_a_seek_the_first_record_is_selected_and_in_view() -> None:
    async with driving(size=(80, 24)) as driver:
        await driver.press("2", "j", "j", "l")
        assert driver.view.table.cursor_index == 59
        await driver.press("b")
        assert driver.view.table.cursor_index == 0
        assert any("▌" in line and "80,000" in line for line in text_of_screen(driver.app))


async def test_from_the_start_one_reads_on_by_going_down_and_nothing_runs_away() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        driver.gateway.arrive(*(record("clicks", 0, offset, 1) for offset in range(3_000)))
        await driver.settle()
        await driver.press("b")
        driver.gateway.clock.advance(1_000)
        await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@0"
        assert "more below · from the start" in str(driver.view.border_subtitle)
        for _ in range(20):
            await driver.press("G")
            await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@2999"
        assert driver.keys == [f"clicks-0@{offset}" for offset in range(1_000, 3_000)]
        await driver.press("f")
        driver.gateway.arrive(record("clicks", 0, 3_000, 1))
        await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@3000"
        assert "following" in str(driver.view.border_subtitle)


async def test_more_records_than_are_kept_are_counted_as_dropped() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        driver.gateway.arrive(*(record("clicks", 0, offset, 1) for offset in range(2_500)))
        await driver.settle()
        assert len(driver.keys) == 2_000
        assert "500 dropped" in str(driver.view.border_subtitle)


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


async def test_the_leaders_broker_is_killed_from_a_partition_and_its_failover_is_timed() -> None:
    """Tail a topic, kill the leader's broker, see leader, ISR and epoch change, start it again, see the ISR whole."""
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter", "j", "l", "escape")
        partition = driver.view.table.cursor_row.partition
        assert (partition.leader, partition.leader_epoch, partition.isr) == (2, 4, (2, 3, 1))
        await driver.press("ctrl+k")
        assert driver.calls("kill") == [("kill", 2)]
        partition = driver.view.table.cursor_row.partition
        assert (partition.leader, partition.leader_epoch, partition.isr) == (3, 5, (3, 1))
        await driver.press("5")
        shown = "\n".join(screen_lines(driver.app))
        for word in ("fenced", "new leaders committed", "first acknowledged produce", "241 ms", "lost 0"):
            assert word in shown
        await driver.press("s")
        assert driver.calls("start") == [("start", 2)]
        await driver.command("partitions orders")
        assert all(len(row.partition.isr) == 3 for row in driver.view.table.shown)


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


def screen_lines(app: Any) -> list[str]:
    from frames import text_of_screen

    return text_of_screen(app)


async def test_keys_typed_ahead_reach_the_screen_they_are_meant_for() -> None:
    async with driving() as driver:
        await driver.pilot.press("2", "j", "j", "enter", "j", "l", "s")
        await driver.settle()
        assert isinstance(driver.app.screen, Form)
        assert driver.app.crumbs == ["topics", "orders", "records"]


async def test_segments_lead_to_batches_and_a_batch_byte_by_byte() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter", "j", "s")
        assert driver.view.NAME == "segments" and driver.view.scope_word() == "orders-1"
        rows = driver.view.table.shown
        # The leader's come first.
        assert [row.broker_id for row in rows] == [2, 2, 2, 1, 1, 1, 3, 3, 3]
        assert [row.is_active for row in rows[:3]] == [False, False, True]
        await driver.press("j", "j", "enter")
        assert driver.view.NAME == "batches"
        batches = driver.view.table.shown
        assert len(batches) == 13 and sum(row.count for row in batches) == 25
        assert [row.base_offset for row in batches if not row.crc_matches] == [80_002]
        assert "1 batch corrupt · tail not complete at byte 1,804" in driver.screen
        await driver.press("ctrl+z")
        assert len(driver.view.table.shown) == 1
        await driver.press("enter")
        assert isinstance(driver.app.screen, Detail)
        assert "crc" in driver.screen and "✗ it is" in driver.screen
        await driver.press("escape", "ctrl+z", "G", "enter")
        assert '{"type":"EndTxnMarker","marker":"ABORT"' in driver.app.screen.copied()
        await driver.press("escape", "s")
        await driver.type("80,005")
        await driver.press("enter")
        assert [row.base_offset for row in driver.view.table.shown][:2] == [80_005, 80_008]
        assert ("find_batch", 80_005) in driver.gateway.calls
        await driver.press("b")
        assert len(driver.view.table.shown) == 13
        await driver.press("escape", "escape")
        assert driver.view.NAME == "partitions"


async def test_segments_by_command_and_what_stands_in_the_way() -> None:
    async with driving() as driver:
        await driver.command("segments orders 3")
        assert driver.view.NAME == "segments" and driver.view.scope_word() == "orders-3"
        driver.app.main.run_command("segments payments-2")
        await driver.settle()
        assert driver.view.scope_word() == "payments-2"
        for line, sentence in (
            ("segments", "name a partition"),
            ("segments nope 1", "there is no topic nope"),
            ("segments orders x", "x is not a partition's number"),
        ):
            driver.app.main.run_command(line)
            await driver.settle()
            assert sentence in driver.screen, line
        driver.gateway.refusing = "/data/broker-1 cannot be read: Permission denied"
        driver.app.main.run_command("segments orders 2")
        await driver.settle()
        assert "Permission denied" in driver.screen
    async with driving(ATTACHED) as driver:
        await driver.press("2", "j", "j", "enter", "s")
        assert driver.view.NAME == "partitions"
        assert "segments: needs the data directories of an embedded cluster" in driver.screen
        driver.app.main.run_command("segments orders")
        await driver.settle()
        assert driver.view.NAME == "partitions" and "needs the data directories" in driver.screen
