"""Records copied to another topic by keys: counted first, sent after yes, given up by the same key."""

from __future__ import annotations

from driving import driving
from sample_files import record

from console.modals.preview import Preview


async def test_records_are_counted_shown_and_copied_after_yes() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.press("2", "j", "j", "l")
        driver.view.set_filter("key-11")
        await driver.press("y")
        await driver.type("payments")
        await driver.press("ctrl+s")
        assert "payments has" in driver.flash and "choose by key" in driver.flash, driver.flash
        await driver.press("y", "ctrl+s")
        assert isinstance(driver.app.screen, Preview)
        assert "orders → payments" in driver.screen and "1 record, " in driver.screen
        assert "59 do not match" in driver.screen and "partition by key" in driver.screen
        await driver.press("enter")
        assert driver.gateway.bulk.sent == [], "only y does it"
        await driver.press("y")
        (sent,) = driver.gateway.bulk.sent
        assert (sent.topic, sent.key, sent.partition) == ("payments", b"key-11", None)
        assert ("kconsole.origin.topic", b"orders") in sent.headers
        entry = driver.app.acts.log[-1]
        assert entry.command.startswith("kconsole copy orders payments --from start --filter key-11 --by-key --execute")
        assert entry.outcome.startswith("orders → payments: 1 record, ")

        # Marked records alone, whatever the filter was.
        driver.gateway.bulk.sent.clear()
        driver.view.set_filter("")
        await driver.press("g", "m", "j", "m", "y", "ctrl+s", "y")
        offsets = [int(dict(each.headers)["kconsole.origin.offset"] or b"") for each in driver.gateway.bulk.sent]
        assert offsets == [driver.view.table.shown[at].offset for at in (0, 2)]


async def test_a_copy_that_fails_says_how_far_it_came_and_one_can_be_given_up() -> None:
    async with driving(size=(120, 30)) as driver:
        bulk = driver.gateway.bulk
        bulk.fails_after = 12
        driver.gateway.arrive(record("orders", 0, 90_000, driver.gateway.clock.at_ms)._replace(is_unreadable=True))
        driver.app.main.run_command("replay orders clicks")
        await driver.press("ctrl+s")
        assert isinstance(driver.app.screen, Preview), driver.flash
        assert "1 do not decode or are masked, and stay" in driver.screen
        await driver.press("y")
        assert "NOT_ENOUGH_REPLICAS; 12 records were copied before" in driver.flash
        bulk.fails_after, bulk.sent, bulk.closed = None, [], 0
        driver.app.main.run_command("copy orders clicks")
        await driver.settle()
        # Of 30 records a second three go at once, and then the key is hit.
        driver.app.screen.query_one("#field-rate").value = "30"
        await driver.press("ctrl+s")

        def _give_up() -> None:
            driver.app.main.run_command("load orders")
            assert driver.flash == "copy orders to clicks is under way: :giveup ends it"
            driver.app.main.run_command("giveup")

        bulk.on_send = _give_up
        await driver.press("y")
        assert "given up after 3 records" in driver.flash, driver.flash
        assert len(bulk.sent) == 3 and bulk.closed == 1
