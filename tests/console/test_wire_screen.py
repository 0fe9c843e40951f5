"""The wire and the connections, by keys."""

from __future__ import annotations

import asyncio
from typing import Any

from driving import driving

from console.modals.detail import Detail


async def go(driver: Any, line: str) -> None:
    driver.app.main.run_command(line)
    await driver.settle()


async def until(driver: Any, text: str) -> None:
    for _ in range(100):
        await driver.settle()
        if text in driver.screen:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{text!r} is not there:\n{driver.screen}")


async def test_a_connections_requests_are_looked_at_one_is_decoded_and_taking_is_held() -> None:
    async with driving(size=(120, 30)) as driver:
        await go(driver, "connections")
        await until(driver, "connections(all)[3]")
        assert "3 connections · 1 client · 1 in flight" in driver.screen
        await driver.press("j", "enter")
        await until(driver, "wire(broker 1 connection 17)[2]")
        await go(driver, "wire")
        await until(driver, "nothing was asked since you came")
        driver.gateway.passing += 1
        await until(driver, "wire(all)[3]")
        await driver.press("m")
        assert "wire(all, clients)" in driver.title and "broker-2-fetcher-1" not in driver.screen
        assert "NOT_LEADER_OR_FOLLOWER" in driver.screen
        await driver.press("space")
        assert "paused" in driver.screen
        driver.gateway.passing += 1
        # Still asked, so that what is there can be decoded; but nothing is taken.
        driver.gateway.calls.clear()
        for _ in range(200):
            if ("wire", True) in driver.gateway.calls:
                break
            await asyncio.sleep(0.05)
        assert ("wire", True) in driver.gateway.calls
        await driver.settle()
        assert len(driver.keys) == 2
        await driver.press("space")
        await until(driver, "wire(all, clients)[4]")
        await driver.press("enter")
        assert isinstance(driver.app.screen, Detail)
        assert "REQUEST" in driver.screen and "acks: -1" in driver.screen
        await driver.press("escape", "X")
        assert driver.keys == []


async def test_what_does_not_answer_is_said_and_rows_stay() -> None:
    async with driving(size=(120, 30)) as driver:
        await go(driver, "wire 1")
        await until(driver, "Produce v10")
        kept = driver.keys
        driver.gateway.refusing = "broker 1 did not answer within 3 s"
        await until(driver, "! broker 1 did not answer within 3 s")
        assert driver.keys[: len(kept)] == kept
        await go(driver, "connections 1")
        await until(driver, "! broker 1 did not answer")
