"""What keys do to the scripted cluster: processes, topics, records, groups; and what stands in the way of an act."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from driving import READ_ONLY, driving, screen_lines
from sample_files import record
from scripted import ATTACHED, EMBEDDED
from textual import events

from console.gateway import NewTopic
from console.modals.confirm import Confirm
from console.modals.form import Form


async def test_kill_is_done_at_once_on_the_embedded_cluster() -> None:
    async with driving() as driver:
        await driver.press("j", "ctrl+k")
        assert driver.calls("kill") == [("kill", 2)]
        assert driver.view.table.shown[1].state == "killed"
        await driver.press("8")
        entry = driver.view.table.shown[0]
        assert entry.command == "kill -9 41002"
        assert entry.outcome.startswith("broker 2 killed")


async def test_a_key_that_means_nothing_here_does_nothing_on_the_screen_that_the_next_key_opens() -> None:
    async with driving() as driver:
        await driver.press("2")
        # As a terminal sends what is typed fast: the second is there before the first went through all widgets.
        for key, character in (("ctrl+k", "\x0b"), ("5", "5")):
            driver.app.post_message(events.Key(key, character))
        # Not the pilot, which waits for one queue after the other.
        for _ in range(50):
            await asyncio.sleep(0.01)
        await driver.settle()
        assert driver.calls("kill") == []


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


async def test_a_record_is_sent_again_byte_for_byte_but_for_what_was_changed() -> None:
    strange = record("orders", 1, 90_001, 0, key=b"\xff\x00", value=b"", headers=(("trace", b"\xfe"), ("none", None)))
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        driver.gateway.arrive(strange)
        await driver.settle()
        await driver.press("R")
        assert "2 bytes that are no text, as they are" in driver.screen
        await driver.press("ctrl+s")
        ((_, again),) = driver.calls("produce")
        assert again == ("orders", b"\xff\x00", b"", (("trace", b"\xfe"), ("none", None)), 1, "all")
        # Another value, the same strange key.
        # The first field that is empty has the focus.
        await driver.press("R")
        await driver.type("new")
        await driver.press("ctrl+s")
        assert driver.calls("produce")[-1][1][:3] == ("orders", b"\xff\x00", b"new")
        # What was sent again is no pattern for the next one.
        await driver.press("p")
        assert "as they are" not in driver.screen


async def test_a_value_is_edited_in_the_users_editor_and_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "assert path.suffix == '.json' and '\\n  \"order\": ' in path.read_text()\n"
        "path.write_text(path.read_text().replace('EUR', 'CHF').replace('USD', 'CHF').replace('GBP', 'CHF'))\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    async with driving() as driver:
        monkeypatch.setattr(driver.app, "suspend", nullcontext)
        await driver.press("2", "j", "j", "l", "e")
        await driver.press("ctrl+s")
        ((_, sent),) = driver.calls("produce")
        shown = driver.view.table.shown[-1]
        assert json.loads(sent.value) == json.loads(shown.value) | {"currency": "CHF"}
        assert sent.value == json.dumps(json.loads(sent.value)).encode(), "one line, as it was"
        assert (sent.key, sent.headers, sent.partition) == (shown.key, shown.headers, shown.partition)
        monkeypatch.setenv("EDITOR", "true")
        await driver.press("e")
        assert "nothing was changed" in driver.flash
        monkeypatch.setenv("EDITOR", "false")
        await driver.press("e")
        assert "nothing was sent" in driver.flash and len(driver.calls("produce")) == 1


async def test_without_a_terminal_there_is_no_editor() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l", "e")
        assert "no terminal" in driver.flash
