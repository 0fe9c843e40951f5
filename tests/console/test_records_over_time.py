"""Bars of records over time: keys and clicks go there, and nothing is read for them."""

from __future__ import annotations

from driving import driving
from sample_files import record

from console.gateway import Start
from console.widgets.volume_bars import VolumeBars


async def test_a_bar_is_gone_to_by_keys_and_by_a_click() -> None:
    async with driving(size=(80, 24)) as driver:
        gateway = driver.gateway
        hour_ms = 3_600_000
        now_ms = gateway.clock.at_ms // hour_ms * hour_ms
        gateway.records = [
            record("payments", number % 3, number // 3, now_ms - back)
            for number, back in enumerate((5 * hour_ms, 5 * hour_ms, 2 * hour_ms, 0))
        ]
        driver.app.main.run_command("records payments")
        await driver.settle()
        await driver.press("left")
        assert "h shows records over time" in driver.flash
        before = len(driver.calls("tail"))
        await driver.press("h")
        bars = driver.view.query_one(VolumeBars)
        assert bars.size.height == 4 and len(driver.calls("tail")) == before, "nothing is read for it"
        # 78 cells, five hours: five minutes a bar; where one is, is told.
        assert "+5m · 1 record · of at most 2" in driver.screen
        await driver.press("left")
        sought = driver.calls("tail")[-1][1].read_from
        assert (sought.start, sought.value) == (Start.TIMESTAMP, now_ms - 2 * hour_ms), "over those without records"
        await driver.pilot.click(bars, offset=(1, 1))
        await driver.settle()
        assert driver.calls("tail")[-1][1].read_from.value == now_ms - 5 * hour_ms
        # Closer, and everything again.
        await driver.press("g", "z")
        assert "+15s" in driver.screen
        await driver.press("Z")
        assert "+5m" in driver.screen
        await driver.press("h")
        assert not bars.size.height
