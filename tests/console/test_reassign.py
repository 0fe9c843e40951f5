"""Chosen partitions go to chosen brokers, by keys and by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from driving import READ_ONLY, driving

from console.modals.confirm import Confirm
from console.modals.form import Form
from console.modals.preview import PlanPreview


async def go(driver: Any, line: str) -> None:
    driver.app.main.run_command(line)
    await driver.settle()


async def test_marked_partitions_are_moved_by_a_list_looked_at_first() -> None:
    async with driving(size=(120, 40)) as driver:
        await go(driver, "partitions orders")
        await driver.press("j", "space", "j", "space", "m")
        assert isinstance(driver.app.screen, Form) and "reassign 2 partitions" in driver.screen
        await driver.type("2,x")
        await driver.press("ctrl+s")
        assert "'2,x' is no list of broker ids: write 1,2,4" in driver.screen
        await driver.press("backspace")
        await driver.type("1")
        await driver.press("tab")
        await driver.type("2")
        await driver.press("tab", "tab")
        await driver.type("5M")
        await driver.press("ctrl+s")
        assert isinstance(driver.app.screen, PlanPreview)
        # Shown whole, and nothing is done yet.
        assert "orders-1  2,3,1 → 2,1  −3  nothing is copied" in driver.screen
        assert "orders-3  1,2,3 → 1,2  −3  nothing is copied" in driver.screen
        assert "throttle 5.0 MiB/s of each broker" in driver.screen
        assert "would be refused acks=all as soon as one of its brokers is down" in driver.screen
        assert not driver.calls("begin_moves")
        await driver.press("n")
        assert not driver.calls("begin_moves")
        # The same by what a form has that is filled in already, and done.
        await driver.press("m")
        driver.app.screen.query_one("#field-brokers").value = "1,2"
        driver.app.screen.query_one("#field-factor").value = "2"
        await driver.press("ctrl+s", "y")
        assert driver.calls("begin_moves") == [("begin_moves", 2, None)]
        await driver.press("8")
        assert "kafka-reassign-partitions.sh --bootstrap-server" in driver.screen


async def test_a_file_of_kafkas_tool_is_read_and_both_ways_are_written(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.json"
    wanted.write_text(
        json.dumps(
            {
                "partitions": [
                    {"topic": "orders", "partition": 0, "replicas": [2, 1, 3], "log_dirs": ["/a", "any", "any"]}
                ]
            }
        )
    )
    async with driving(size=(120, 40)) as driver:
        written: dict[str, str] = {}
        driver.app.deliver_text = lambda text, save_filename: written.update({save_filename: text.read()})
        await go(driver, "reassign")
        driver.app.screen.query_one("#field-file").value = str(tmp_path / "none.json")
        await driver.press("ctrl+s")
        assert "cannot be read" in driver.screen
        driver.app.screen.query_one("#field-file").value = str(wanted)
        await driver.press("ctrl+s", "w")
        assert json.loads(written["reassign.json"])["partitions"][0]["replicas"] == [2, 1, 3]
        assert json.loads(written["rollback.json"])["partitions"][0]["replicas"] == [1, 2, 3]
        assert "orders-0  1,2,3 → 2,1,3  nothing is copied  leader 1 → 2" in driver.screen
        assert "! the file names log directories of 1 partition: each broker chooses them itself" in driver.screen


async def test_an_unclean_election_asks_twice_and_only_for_what_has_no_leader() -> None:
    async with driving(size=(120, 40)) as driver:
        await go(driver, "partitions orders")
        await driver.press("X")
        assert "all of these have one" in driver.flash
        for broker_id in (1, 2, 3):
            await driver.gateway.kill_brokers([broker_id])
        await driver.settle()
        await driver.press("X")
        assert isinstance(driver.app.screen, Confirm)
        assert "so nobody can be elected" in driver.screen and "--election-type unclean" in driver.screen
        await driver.press("y", "ctrl+s")
        assert "type the word unclean to do it" in driver.screen
        assert not driver.calls("elect_unclean")
        await driver.type("unclean")
        await driver.press("ctrl+s")
        assert driver.calls("elect_unclean") == [("elect_unclean", [("orders", 0)])]


async def test_read_only_moves_nothing() -> None:
    async with driving(READ_ONLY) as driver:
        await go(driver, "partitions orders")
        await driver.press("m")
        assert not isinstance(driver.app.screen, Form) and "--read-only" in driver.flash
