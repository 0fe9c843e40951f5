"""Plots: what leads to them, how far back they go, and gaps that stay gaps."""

from __future__ import annotations

from dataclasses import replace

from driving import Driver, driving

from engine.supervisor.snapshot import ClusterSnapshot


def past(driver: Driver, seconds: int, dead: range) -> None:
    """Pictures of the last seconds; broker 2 is dead in some of them."""
    picture: ClusterSnapshot = driver.gateway.snapshot
    for second in range(seconds):
        driver.gateway.clock.advance(1_000)
        at_ms = driver.gateway.clock.at_ms
        brokers = tuple(
            replace(broker, bytes_in_per_s=None if second in dead and broker.broker_id == 2 else 9_000.0)
            for broker in picture.brokers
        )
        driver.app.take(picture.with_facts(at_ms=at_ms, brokers=brokers))
    driver.gateway.snapshot = driver.app.snapshot


async def test_throughput_is_plotted_and_the_time_of_a_dead_broker_stays_a_gap() -> None:
    async with driving(size=(80, 24)) as driver:
        past(driver, 300, range(100, 200))
        await driver.press("v")
        assert driver.title == "plots(cluster)[10]"
        assert "bytes a second" in driver.screen and "KiB/s┤" in driver.screen
        await driver.press(*"jjjjj")
        assert "▌ ━ broker 2 in" in driver.screen and "bytes that each broker takes" in driver.screen
        drawn = next(line for line in driver.screen.splitlines() if "▀▀▀" in line)
        drawn = drawn[drawn.index("│", 1) + 1 : -1]
        # The selected line is heavy; while broker 2 was dead, only the fine ones of the others are there.
        third = len(drawn) // 3
        parts = (drawn[2 : third - 2], drawn[third + 2 : 2 * third - 2], drawn[2 * third + 2 : -2])
        assert ["▀" in part for part in parts] == [True, False, True], drawn
        assert "67%" not in driver.screen, "no room for what matters less"
        await driver.press("r")
        assert "last 15 min" in driver.screen
        await driver.press("escape", "v")
        assert "last 5 min" in driver.screen, "a screen opened anew begins with five minutes"


async def test_each_screen_leads_to_its_plots_and_so_does_the_command() -> None:
    async with driving(size=(120, 40)) as driver:
        for keys, title in ((("3", "v"), "analytics"), (("6", "v"), "workload"), (("5", "v"), "failover")):
            await driver.press(*keys)
            assert driver.title.startswith(f"plots({title})"), keys
        assert "no broker was killed yet" in driver.screen and "until a record was acknowledged" in driver.screen
        driver.app.main.run_command("plots billing")
        await driver.settle()
        assert driver.title == "plots(billing)[2]" and "lag of billing" in driver.screen
        driver.app.main.run_command("plots nobody")
        await driver.settle()
        assert "there is no group nobody" in driver.flash
        await driver.press("slash", *"read", "enter")
        assert "lag of billing" not in driver.screen and "records a second that billing commits" in driver.screen
        await driver.press("escape")
        driver.app.main.run_command("theme light")
        await driver.settle()
        assert "lag of billing" in driver.screen
