"""Applications over streams by keys: workers that are killed, tasks that move, topology, and stores that are asked."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from driving import READ_ONLY, Driver
from sample_snapshots import newer_groups
from sample_streams import APPLICATION, BEFORE, ENDPOINTS, feed, with_workers
from scripted import ATTACHED, EMBEDDED
from tests_frame import make_app

from console.gateway import Capabilities
from console.viewmodel.store_queries import StoreQuery
from console.viewmodel.task_moves import TaskMoves


@asynccontextmanager
async def application(
    capabilities: Capabilities = EMBEDDED, size: tuple[int, int] = (100, 30)
) -> AsyncIterator[Driver]:
    """The console where workers run the application, on its list."""
    app, gateway = make_app(capabilities)
    gateway.show(with_workers(newer_groups(gateway.snapshot)))
    async with app.run_test(size=size) as pilot:
        it = Driver(app, gateway, pilot)
        await it.settle()
        feed(app, gateway)
        app.main.run_command("streams")
        await it.settle()
        yield it


async def test_an_application_is_opened_and_its_workers_and_tasks_have_a_pane_each() -> None:
    async with application() as it:
        await it.press("enter")
        assert it.title == "tasks(word-count)[7]"
        assert it.keys == ["0_0", "0_1", "0_2", "1_0", "1_1", "1_1 standby member-1", "1_2"]
        assert "⇠ c81e55fa 3s" in it.screen and "43,500 to restore" in it.screen
        await it.press("tab")
        assert it.title == "workers(word-count)[2]"
        await it.press("d")
        assert '"guarantee": "exactly_once_v2"' in it.screen
        await it.press("escape", "t")
        assert it.title == "topology(word-count)[11]"
        await it.press("escape")
        # It is as it was left.
        assert it.title == "workers(word-count)[2]"
        await it.press("o")
        assert it.title.startswith("offsets(word-count)")


async def test_a_worker_is_killed_after_a_question_and_that_of_a_task_too() -> None:
    async with application(size=(80, 24)) as it:
        await it.press("enter", "tab", "j", "ctrl+k")
        assert "Kill worker 9b03d7ee, process 41201?" in it.screen and "kill -9 41201" in it.screen
        assert "Its 3 tasks move" in it.screen
        await it.press("n")
        assert not it.calls("kill_worker")
        await it.press("ctrl+k", "y")
        assert it.calls("kill_worker") == [("kill_worker", 41201)]
        assert it.flash.startswith("worker 9b03d7ee killed")
        await it.press("tab")
        it.view.table.select("0_1")
        await it.press("ctrl+k", "y")
        assert it.calls("kill_worker")[1:] == [("kill_worker", 41200)]


async def test_the_key_is_greyed_where_it_cannot_kill_and_says_why() -> None:
    async with application() as it:
        reason = "it runs on another machine: 10.0.0.7"
        it.gateway.streams.no_kill = reason
        await it.press("enter", "tab")
        assert "ctrl-k (kill worker)" in it.screen
        await it.press("ctrl+k")
        assert it.flash == f"kill worker: {reason}"
        assert not it.calls("kill_worker")
    async with application(READ_ONLY) as it:
        await it.press("enter", "ctrl+k")
        assert "--read-only" in it.flash and not it.calls("kill_worker")


async def test_without_aiohttp_brokers_still_tell_the_tasks_and_the_screen_says_what_is_missing() -> None:
    async with application(ATTACHED, (120, 30)) as it:
        it.app.history.workers.clear()
        it.gateway.streams.without_aiohttp = True
        await it.press("enter")
        assert len(it.keys) == 7 and "pip install 'kconsole[streams]'" in it.screen
        await it.press("ctrl+k")
        assert it.flash.startswith("kill worker: nothing is known of its process")
        await it.press("s")
        assert it.title == "stores(word-count)[0]" and "pip install 'kconsole[streams]'" in it.screen


async def test_a_worker_that_does_not_answer_keeps_what_it_told_and_takes_nothing_from_the_others() -> None:
    async with application(size=(160, 40)) as it:
        await it.press("enter")
        it.gateway.streams.silent.add(ENDPOINTS[1])
        it.gateway.clock.advance(8_000)
        await it.view.look(ENDPOINTS[:2])
        it.app.touch()
        await it.settle()
        lines = it.screen.splitlines()
        (silent,) = (line for line in lines if "no answer" in line)
        assert "41201" in silent and "did not answer within 1.5 s" in silent and " 8s" in silent
        (other,) = (line for line in lines if "● running" in line)
        assert "350/s" not in other and "41200" in other
        assert "! 9b03d7ee: 127.0.0.1:7002 did not answer" in lines[-3]


async def test_an_application_without_workers_says_how_to_start_one() -> None:
    async with application(size=(80, 24)) as it:
        it.gateway.show(with_workers(it.gateway.snapshot, ()))
        await it.settle()
        for opened in ("s", "t"):
            await it.press(opened)
            await it.settle()
            assert "! no worker runs: `kconsole streams run` starts one" in it.screen
            await it.press("escape")


async def test_tasks_that_move_while_one_looks_are_marked() -> None:
    async with application() as it:
        it.app.history.task_moves = TaskMoves()
        it.gateway.streams.assignment = BEFORE
        it.gateway.show(with_workers(it.gateway.snapshot, BEFORE))
        await it.settle()
        await it.press("enter")
        assert "⇠" not in it.screen
        it.gateway.clock.advance(2_000)
        it.gateway.show(with_workers(it.gateway.snapshot).with_facts(at_ms=it.gateway.clock.at_ms))
        await it.settle()
        moved = [line for line in it.screen.splitlines() if "⇠ c81e55fa now" in line]
        assert len(moved) == 2 and all("9b03d7ee" in line for line in moved)


async def test_a_store_is_asked_by_lines_that_are_typed() -> None:
    async with application() as it:
        await it.press("s")
        assert it.keys == ["counts", "words-by-minute"]
        await it.press("enter")
        assert it.title == "store(word-count/counts)[6]"
        _, query, topics = it.calls("query")[0]
        assert query == StoreQuery("counts", "range")
        # Masks of what it is made of are looked for.
        assert topics == ("clicks", "word-count-counts-changelog")
        await it.press("s")
        assert "KEY · range FROM TO · prefix P · all" in it.screen
        await it.type("home")
        await it.press("enter")
        assert it.title == "store(word-count/counts)[1]" and it.calls("query")[-1][1].key == "home"
        assert "› home" in it.screen
        await it.press("enter")
        assert "VALUE" in it.screen and "930" in it.screen and "partition" in it.screen
        await it.press("escape", "s")
        await it.type(" two")
        await it.press("enter")
        assert "double quotes" in it.flash and it.title == "store(word-count/counts)[1]"
        await it.press("escape", "j", "enter", "s")
        await it.type("all -5m")
        await it.press("enter")
        assert it.calls("query")[-1][1].kind == "window"
        assert "+60s" in it.screen and '{"times": 310, "new": true}' in it.screen


async def test_what_a_store_told_stays_with_its_age_while_it_is_restored() -> None:
    async with application() as it:
        await it.press("s", "enter")
        assert len(it.keys) == 6
        it.gateway.refusing = "store counts: not all partitions answer now (2 RESTORING)"
        it.gateway.clock.advance(9_000)
        it.view.read_again()
        await it.pilot.pause(0.6)
        await it.settle()
        assert len(it.keys) == 6 and " 9s" in it.screen
        assert "! store counts: not all partitions answer now (2 RESTORING)" in it.screen


async def test_a_node_leads_to_its_store_and_to_its_topic() -> None:
    async with application() as it:
        await it.press("t", "y")
        assert "Source: KSTREAM-SOURCE-0000000000 (topics: [clicks])" in it.screen
        await it.press("escape")
        it.view.table.select("KSTREAM-AGGREGATE-0000000003")
        await it.press("enter")
        assert it.title == "store(word-count/counts)[6]"
        await it.press("escape")
        it.view.table.select("KSTREAM-SINK-0000000008")
        await it.press("enter")
        assert it.title.startswith("records(word-counts)")


async def test_commands_name_an_application() -> None:
    async with application() as it:
        for line, said in (("topology", "name an application"), ("stores nobody", "there is no group nobody")):
            it.app.main.run_command(line)
            assert said in it.flash
        it.app.main.run_command(f"topo {APPLICATION}")
        await it.settle()
        assert it.title.startswith("topology(word-count)")


async def test_who_asks_again_before_the_question_before_was_asked_leaves_none_behind() -> None:
    async with application() as it:
        await it.press("enter", "s")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            it.view.read_again()
            it.view.read_again()
            await it.settle()
            gc.collect()
        assert [str(each.message) for each in told] == []
