"""A topic is produced to at a rate from its form."""

from __future__ import annotations

from driving import driving

from console.modals.form import Form


async def test_a_topic_is_produced_to_at_a_rate_with_what_came_of_it() -> None:
    async with driving(size=(80, 24)) as driver:
        await driver.press("2", "j", "L")
        assert isinstance(driver.app.screen, Form) and "produce to customers at a rate" in driver.screen
        rate, seconds = (driver.app.screen.query_one(f"#field-{name}") for name in ("rate", "seconds"))
        rate.value = "fast"
        await driver.press("ctrl+s")
        assert "rate: a whole number" in driver.screen
        rate.value, seconds.value = "1000", "0.05"
        await driver.press("ctrl+s")
        sent = driver.gateway.bulk.sent
        assert len(sent) == 50 and {each.topic for each in sent} == {"customers"}
        entry = driver.app.acts.log[-1]
        assert entry.outcome.startswith("customers: 50 records in ") and "max 20 ms" in entry.outcome
        assert "--num-records 50 --throughput 1000 --record-size" in entry.command
        assert driver.gateway.bulk.closed == 1
