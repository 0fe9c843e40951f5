"""The screen of transactional ids."""

from __future__ import annotations

from driving import driving

from console.modals.detail import Detail


async def test_ids_with_what_is_open_and_what_hangs() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.command("tx")
        assert driver.view.NAME == "transactions"
        assert driver.keys == ["ledger-1", "ledger-2", "ledger-3"]
        assert "3 ids · 2 open · 1 beyond their time-out" in driver.screen
        # Only what hangs.
        await driver.press("ctrl+z")
        assert driver.keys == ["ledger-3"]
        await driver.press("enter")
        assert isinstance(driver.app.screen, Detail)
        assert "payments-1" in driver.screen


async def test_coordinators_that_do_not_tell_are_named() -> None:
    async with driving() as driver:
        driver.gateway.refusing = "broker 2 does not tell: no answer"
        driver.app.main.run_command("transactions")
        await driver.settle()
        assert "broker 2 does not tell" in driver.screen
