"""The console over a simulated cluster: a real run in a process of its own, driven by keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from frames import text_of_screen

from console.app import KConsole
from console.gateway.simulated import SimulatedGateway
from console.modals.detail import Detail
from console.modals.form import Form
from console.widgets.transport import Transport
from engine.sim.options import options_from
from engine.sim.stepping.acts import Act, Planned

# Each run is a process beside this one, and all of it is slow where others have the processor.
pytestmark = pytest.mark.timeout(300)

OPTIONS = options_from(7, seconds=6.0, brokers=3, faults=(), load="heavy", joining=False)


class Driver:
    """Keys in; waits for what they lead to."""

    def __init__(self, app: KConsole, gateway: SimulatedGateway, pilot: Any) -> None:
        self.app, self.gateway, self.pilot = app, gateway, pilot
        self.simulation = gateway.simulation

    @property
    def screen(self) -> str:
        return "\n".join(text_of_screen(self.app))

    @property
    def flash(self) -> str:
        return self.app.flash_message.text if self.app.flash_message is not None else ""

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)

    async def type(self, text: str) -> None:
        names = {" ": "space", ".": "full_stop"}
        await self.press(*(names.get(each, each) for each in text))

    async def command(self, line: str) -> None:
        await self.press("colon")
        await self.type(line)
        await self.press("enter")

    async def until(self, holds: Callable[[], object], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, self.screen
            await asyncio.sleep(0.02)
            await self.pilot.pause()

    async def step(self, key: str) -> None:
        """A key that leads somewhere else; waits until it is there."""
        revision = self.simulation.story.revision
        await self.press(key)
        await self.until(lambda: self.simulation.story.revision > revision and self.simulation.state.mode == "paused")
        self.app.tick()
        await self.pilot.pause()


@asynccontextmanager
async def driving(
    size: tuple[int, int] = (120, 36), planned: tuple[Planned, ...] = (), options: Any = OPTIONS
) -> AsyncIterator[Driver]:
    gateway = SimulatedGateway(options, planned)
    app = KConsole(gateway, now_ms=gateway.now_ms, refresh_s=0.05)
    try:
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, gateway, pilot)
            await driver.until(lambda: gateway.simulation.state.mode == "paused")
            yield driver
    finally:
        await gateway.close()


async def test_an_election_is_stepped_through_gone_back_to_and_the_same_again() -> None:
    async with driving() as driver:
        await driver.until(lambda: "nothing has happened yet" in driver.screen)
        await driver.until(lambda: "0 simulation" in driver.screen)
        assert "5 failover" not in driver.screen
        await driver.step("N")
        elected = next(each for each in driver.simulation.story.decisions if each.is_election)
        await driver.until(lambda: driver.app.view.table.cursor_row == elected)
        for words in ("★ quorum leader elected", "was granted the votes of", "upon event", "Vote answer of broker"):
            await driver.until(lambda words=words: words in driver.screen)
        first = list(driver.simulation.story.decisions)
        wire = list(driver.simulation.story.messages)
        await driver.step("n")
        assert len(driver.simulation.story.decisions) > len(first)
        await driver.step("B")
        assert list(driver.simulation.story.decisions) == first
        assert list(driver.simulation.story.messages) == wire
        await driver.until(lambda: "the same to the last byte" in driver.flash)
        await driver.step("b")
        assert driver.simulation.state.number < elected.number
        await driver.step("N")
        assert list(driver.simulation.story.decisions) == first


async def test_messages_are_shown_stepped_and_looked_into_whole() -> None:
    async with driving() as driver:
        await driver.step("N")
        await driver.press("m")
        await driver.until(lambda: "brokers' messages" in str(driver.app.view.border_title))
        number = driver.simulation.state.number
        await driver.step("n")
        await driver.until(lambda: driver.app.view.table.cursor_row.number > number)
        await driver.press("slash")
        await driver.type("vote")
        await driver.press("enter")
        await driver.until(lambda: driver.app.view.table.cursor_row.api == "Vote")
        await driver.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, Detail))
        await driver.until(lambda: "topic_name: __cluster_metadata" in driver.screen)
        await driver.until(lambda: "correlation id" in driver.screen)


async def test_a_killed_leader_moves_its_partitions_on_every_screen_and_going_back_undoes_it() -> None:
    async with driving(planned=(Planned(Act("pause", (3,)), None, 5.0, "scenario"),)) as driver:
        await driver.command("goto 1.5")
        await driver.until(lambda: driver.simulation.state.at_s == 1.5 and driver.simulation.state.mode == "paused")
        await driver.until(lambda: "next of the scenario: pause 3 at 5 s" in str(driver.app.view.border_subtitle))
        led = driver.simulation.snapshot.topics[-1].partitions[0].leader
        await driver.command(f"kill {led}")
        await driver.until(lambda: any(each.kind == "your_act" for each in driver.simulation.story.decisions))
        await driver.step("N")
        await driver.command("goto 2.5")
        await driver.until(lambda: driver.simulation.state.at_s == 2.5 and driver.simulation.state.mode == "paused")
        await driver.press("1")
        await driver.until(lambda: "✗ killed" in driver.screen and "2/3 up" in driver.screen)
        await driver.command("partitions")
        await driver.until(lambda: "partitions(all)" in driver.screen)
        await driver.until(
            lambda: all(
                each.leader not in (led, -1) for topic in driver.simulation.snapshot.topics for each in topic.partitions
            )
        )
        await driver.press("4")
        await driver.until(lambda: "leader changed" in driver.screen)
        events = len(driver.app.events)
        await driver.command("goto 1.0")
        await driver.until(lambda: driver.simulation.state.at_s == 1.0 and driver.simulation.state.mode == "paused")
        await driver.until(lambda: len(driver.app.events) < events)
        assert not any(event.kind == "your_act" for event in driver.app.events)
        await driver.until(lambda: "3/3 up" in driver.screen)


async def test_records_are_tailed_as_the_run_goes_on() -> None:
    async with driving() as driver:
        await driver.command("goto 1.0")
        await driver.until(lambda: driver.simulation.state.at_s == 1.0 and driver.app.snapshot.topics)
        await driver.command("records safe")
        await driver.until(lambda: driver.app.view.NAME == "records" and driver.app.view.table.total > 5)
        total = driver.app.view.table.total
        await driver.command("goto 2.0")
        await driver.until(lambda: driver.app.view.table.total > total)
        await driver.command("goto 0.5")
        await driver.until(lambda: "the run went back" in str(driver.app.view.border_subtitle))


async def test_a_click_on_the_bar_goes_there() -> None:
    async with driving() as driver:
        await driver.until(lambda: driver.app.view.query_one(Transport).size.width)
        width = driver.app.view.query_one(Transport).size.width
        await driver.pilot.click(Transport, offset=(width // 2, 1))
        await driver.until(lambda: driver.simulation.state.at_s > 1 and driver.simulation.state.mode == "paused")
        assert 2.5 < driver.simulation.state.at_s < 3.5
        await driver.pilot.click(Transport, offset=(2, 0))
        await driver.until(lambda: driver.simulation.state.mode == "playing")


async def test_speed_and_play() -> None:
    async with driving() as driver:
        await driver.press("less_than_sign")
        await driver.until(lambda: driver.simulation.state.speed == 0.5)
        await driver.press("greater_than_sign", "greater_than_sign", "greater_than_sign")
        await driver.until(lambda: driver.simulation.state.speed == 5.0 and "speed 5×" in driver.screen)
        await driver.press("space")
        await driver.until(lambda: driver.simulation.state.at_s > 1.0)
        await driver.until(lambda: "▶ playing" in driver.screen)
        await driver.press("space")
        await driver.until(lambda: driver.simulation.state.mode == "paused")


async def test_a_fault_by_its_form_and_what_cannot_be_done() -> None:
    async with driving() as driver:
        await driver.command("goto 1.0")
        await driver.until(lambda: driver.simulation.state.at_s == 1.0)
        await driver.press("x")
        await driver.until(lambda: isinstance(driver.app.screen, Form))
        await driver.press("ctrl+u")
        await driver.type("cut 1")
        await driver.press("ctrl+s")
        await driver.until(lambda: "cut is between 2 brokers" in driver.screen)
        await driver.type(" 2")
        await driver.press("ctrl+s")
        await driver.until(lambda: driver.simulation.state.machines[0].cut_from == (2,))
        await driver.press("h")
        await driver.until(lambda: driver.simulation.state.machines[0].cut_from == ())
        await driver.command("start 1")
        await driver.until(lambda: "run already" in driver.flash or "runs already" in driver.flash)
        await driver.command("failover")
        await driver.until(lambda: "the timeline of the simulation" in driver.flash)
        await driver.press("1")
        await driver.until(lambda: driver.app.view.NAME == "cluster")
        await driver.press("E")
        await driver.until(lambda: "its own" in driver.flash)


async def test_a_promise_that_is_broken_is_told() -> None:
    # Page-cache durability promises nothing about power: what was acknowledged may be gone.
    options = options_from(0, seconds=10.0, brokers=3, durability="page-cache", faults=(), load="heavy", joining=False)
    planned = tuple(
        planned
        for at_s in range(2, 9)
        for planned in (
            Planned(Act("power", (1, 2, 3)), None, float(at_s), "scenario"),
            Planned(Act("start", (1, 2, 3)), None, at_s + 0.1, "scenario"),
        )
    )
    async with driving(planned=planned, options=options) as driver:
        await driver.press("greater_than_sign", *["greater_than_sign"] * 4, "space")
        await driver.until(lambda: driver.simulation.state.broken or driver.simulation.state.ended)
        assert driver.simulation.state.broken, "every record survived: choose another seed"
        await driver.until(lambda: "a promise is broken" in driver.screen)
        await driver.press("n")
        await driver.until(lambda: "b goes back" in driver.flash)
        await driver.step("b")
        assert not driver.simulation.state.broken


async def test_the_process_of_the_run_ends_with_the_console_and_its_death_is_told() -> None:
    async with driving() as driver:
        (child,) = [each for each in psutil.Process().children() if "engine.sim.stepping.process" in each.cmdline()]
        child.kill()
        await driver.until(lambda: "process ended with code -9" in driver.screen)
        await driver.press("n")
        await driver.until(lambda: "process ended" in driver.flash)
    async with driving() as driver:
        (child,) = [each for each in psutil.Process().children() if "engine.sim.stepping.process" in each.cmdline()]
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_a_small_terminal_has_the_machines_and_partitions_on_demand() -> None:
    async with driving((80, 24)) as driver:
        await driver.step("N")
        await driver.until(lambda: "FROM→TO" in driver.screen)
        await driver.press("v")
        await driver.until(lambda: "LEADER" in driver.screen)
        await driver.press("v")
        await driver.until(lambda: "IN THE QUORUM" in driver.screen and driver.screen.count("◐ starting") == 3)
