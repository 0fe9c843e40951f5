"""Back in time with keys: every screen shows the past, acts are grey, and the present goes on meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from driving import Driver
from sample_snapshots import kill_in
from scripted import ATTACHED, EMBEDDED
from tests_frame import make_app, populate

from console.app import KConsole
from console.gateway.recorded import RecordedGateway
from console.recording.options import Recording
from console.recording.reader import Record


def leaders(screen: str) -> dict[int, int]:
    """Leader by partition on the screen."""
    return {int(number): int(leader) for number, leader in re.findall(r"^│▌? +(\d+) +\S (\d+) ", screen, re.MULTILINE)}


def killing(gateway: Any) -> Any:
    """SIGKILL as it is seen: the process at once, its partitions 88 ms later, the picture of it 100 ms after."""

    async def kill(broker_ids: Sequence[int]) -> None:
        await gateway._act("kill", *broker_ids)
        (victim,) = broker_ids
        before, after = gateway.snapshot, kill_in(gateway.snapshot, victim)
        gateway.tell("process_killed", f"broker {victim}", "SIGKILL, asked for", "supervisor")
        gateway.clock.advance(88)
        for was_topic, now_topic in zip(before.topics, after.topics, strict=True):
            for was, now in zip(was_topic.partitions, now_topic.partitions, strict=True):
                if was.leader != now.leader:
                    about = {"topic": now.topic, "partition": now.partition, "to": now.leader}
                    said = f"leader {was.leader}→{now.leader}: broker {victim} fenced"
                    gateway.tell("leader_changed", f"{now.topic}-{now.partition}", said, "broker 1", **about)
        gateway.clock.advance(100)
        gateway.show(after.with_facts(at_ms=gateway.clock.at_ms))

    return kill


async def until(driver: Driver, holds: object, *keys: str) -> None:
    """Press keys, and wait for what a thread looks up."""
    await driver.press(*keys)
    for _ in range(200):
        await driver.settle()
        if holds(driver.screen):  # type: ignore[operator]
            return
    raise AssertionError(driver.screen)


async def test_before_the_kill_the_old_leader_is_shown_and_nothing_can_be_done_there(tmp_path: Path) -> None:
    path = tmp_path / "recording.db"
    app, gateway = make_app(EMBEDDED, recording=Recording(str(path)))
    async with app.run_test(size=(100, 30)) as pilot:
        await populate(app, gateway, pilot)
        driver = Driver(app, gateway, pilot)
        app.main.run_command("partitions orders")
        await driver.settle()
        before = leaders(driver.screen)
        gateway.clock.advance(5_000)
        gateway.kill_brokers = killing(gateway)
        await driver.press("1", "j", "ctrl+k")
        app.main.run_command("partitions orders")
        await driver.settle()
        after = leaders(driver.screen)
        assert before != after and 2 in before.values() and 2 not in after.values()

        # A second before the kill.
        await until(driver, lambda screen: leaders(screen) == before, "left_parenthesis")
        assert "◀ PAST" in driver.screen and "(kill leader)" in driver.screen
        await driver.press("ctrl+k")
        assert driver.flash == "kill leader: this is the past: ~ goes back to now" and len(driver.calls("kill")) == 1
        # From event to event, each told; the first leader that changes does so on the screen.
        await until(driver, lambda screen: "process killed broker 2" in screen, "right_curly_bracket")
        assert leaders(driver.screen) == before
        await driver.press("4")
        assert driver.keys[-1] == "supervisor:10"
        await driver.press("8")
        assert driver.keys == ["1"]
        app.main.run_command("partitions orders")
        await driver.settle()
        await until(driver, lambda screen: leaders(screen) == after, "right_curly_bracket")
        # A mark, and what is different elsewhere.
        await driver.press("equals_sign")
        await until(driver, lambda screen: leaders(screen) == before, "left_parenthesis")
        await until(driver, lambda screen: "difference(" in screen, "equals_sign")
        await until(driver, lambda screen: re.search(r"leader +orders-\d +2 in epoch \d", screen))
        await driver.press("q", "tilde")
        assert "PAST" not in driver.screen and leaders(driver.screen) == after
        assert driver.app.gateway.capabilities.no_writing == ""
        await driver.press("right_parenthesis")
        assert "this is the present" in driver.flash
        app.main.run_command("diff yesterday now")
        assert "'yesterday' is no moment" in driver.flash
    # Opened elsewhere it is the same, without a present.
    app = KConsole(RecordedGateway(Record(str(path)), has_present=False), refresh_s=0, now_ms=gateway.clock.now_ms)
    async with app.run_test(size=(100, 30)) as pilot:
        driver = Driver(app, gateway, pilot)
        await until(driver, lambda screen: "◀ RECORD" in screen)
        app.main.run_command("partitions orders")
        await driver.settle()
        assert leaders(driver.screen) == after
        await until(driver, lambda screen: leaders(screen) == before, "left_parenthesis")
        # Plots end at that moment, and have so much of the time before it as they show.
        app.main.run_command("plots")
        moment = time.strftime("%H:%M:%S", time.gmtime(app.now_ms() / 1000))
        await until(driver, lambda screen: f" {moment} " in screen and "KiB/s┤" in screen)
        await until(driver, lambda screen: "last 15 min" in screen, "r")
        await driver.press("tilde")
        assert "a record has no present" in driver.flash


async def test_without_a_record_it_is_said_how_to_have_one(tmp_path: Path) -> None:
    app, gateway = make_app(ATTACHED)
    async with app.run_test(size=(80, 24)) as pilot:
        driver = Driver(app, gateway, pilot)
        await driver.settle()
        assert driver.screen.splitlines()[0].endswith(" live ●")
        await driver.press("left_curly_bracket")
        assert driver.flash == "nothing is recorded here: :record begins"
        for words, said in ((f"record {tmp_path}/mine.db", f"recorded into {tmp_path}/mine.db"), ("record off", "no")):
            app.main.run_command(words)
            assert driver.flash.startswith(said)
            if driver.app.travel.recordings.recorder is not None:
                # How it is recorded is said, and that it is live still.
                assert driver.screen.splitlines()[0].endswith(" rec ●")
                await pilot.resize_terminal(140, 24)
                await driver.settle()
                assert driver.screen.splitlines()[0].endswith("● recorded, sampled each 1 s  live ●")
