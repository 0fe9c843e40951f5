"""Brokers that come and go, by keys and by commands."""

from __future__ import annotations

import asyncio

from driving import driving
from scripted import ATTACHED

from console.modals.confirm import Confirm
from console.modals.form import Form
from console.modals.preview import Preview


async def test_a_broker_is_drained_as_shown_watched_and_brought_back() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.press("D")
        assert isinstance(driver.app.screen, Form)
        assert "2 partitions change, 1.4 GiB are copied." in driver.screen
        assert "broker 4: 0 → 2 replicas, 0 → 2 leaders" in driver.screen
        await driver.type("20X")
        await driver.press("ctrl+s")
        assert "a throttle is bytes a second, as in 500k, 20M or 1G" in driver.screen
        await driver.press("backspace")
        await driver.type("M")
        await driver.press("ctrl+s")
        assert driver.gateway.calls[-1] == ("begin_moves", 2, 20 << 20)
        await driver.press("m")
        assert driver.view.NAME == "moves"
        assert driver.keys == ["orders-0", "orders-1"]
        assert "2 partitions move · 690 MiB of 1.4 GiB copied" in driver.screen
        await driver.press("j", "x")
        assert "orders-1  stays on 3,1,2  broker 4 gives up its 460 MiB" in driver.screen
        assert not driver.calls("cancel_moves")
        await driver.press("y")
        assert driver.gateway.calls[-1] == ("cancel_moves", [("orders", 1)])
        await driver.press("X", "y")
        assert driver.gateway.calls[-1] == ("cancel_moves", None)
        await driver.press("8")
        assert "kafka-reassign-partitions.sh" in driver.screen


async def test_what_is_even_needs_no_plan_and_a_broker_joins() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.press("B")
        assert "the brokers are even: nothing to move" in driver.screen
        await driver.press("a")
        await driver.type("b")
        await driver.press("ctrl+s")
        assert driver.gateway.calls[-1] == ("add_broker", "b")
        assert "broker 4 joined" in driver.screen
        driver.app.main.run_command("remove 3")
        await driver.settle()
        assert isinstance(driver.app.screen, Confirm)
        await driver.press("y")
        assert driver.gateway.calls[-1] == ("remove_broker", 3)


async def test_an_attached_cluster_is_drained_too_but_no_process_is_started() -> None:
    async with driving(ATTACHED) as driver:
        await driver.press("a")
        assert not isinstance(driver.app.screen, Form)
        driver.app.main.run_command("drain 2")
        await driver.settle()
        await driver.press("ctrl+s", "m", "X")
        assert isinstance(driver.app.screen, Preview)
        await driver.press("n")
        assert ("cancel_moves", None) not in driver.gateway.calls


async def test_a_plan_that_is_refused_is_told_and_rows_of_moves_stay() -> None:
    async with driving() as driver:
        driver.gateway.refusing = "t-0 has 3 replicas and only 2 brokers stay"
        await driver.press("D")
        assert "only 2 brokers stay" in driver.screen and not isinstance(driver.app.screen, Form)
        driver.gateway.refusing = ""
        await driver.press("D", "ctrl+s", "m")
        driver.gateway.refusing = "nobody answers"
        for _ in range(100):
            await driver.settle()
            if "! nobody answers" in driver.screen:
                break
            await asyncio.sleep(0.05)
        assert "! nobody answers" in driver.screen
        assert driver.keys == ["orders-0", "orders-1"]
