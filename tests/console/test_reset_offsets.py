"""A group's offsets set anew by keys: a rule, a plan that is looked at, and only then a commit."""

from __future__ import annotations

from driving import READ_ONLY, driving

from console.modals.form import Form
from console.modals.preview import Preview


async def test_offsets_are_shown_first_and_committed_after_yes() -> None:
    async with driving(size=(120, 30)) as driver:
        await driver.press("3", "j", "o")
        assert isinstance(driver.app.screen, Form)
        # To the right: latest, current, offset, shift-by.
        await driver.press("shift+tab", "right", "right", "right", "right", "tab")
        await driver.press("ctrl+s")
        assert "shift-by needs a value: so many records on, or back" in driver.screen
        await driver.type("-100")
        await driver.press("ctrl+s")
        assert isinstance(driver.app.screen, Preview)
        assert "orders-3      903    803    -100   97        197" in driver.screen
        assert "4 of 4 partitions change, lag 394 → 794" in driver.screen
        assert "$ kafka-consumer-groups.sh --bootstrap-server" in driver.screen
        await driver.press("enter", "n")
        assert driver.calls("reset_offsets") == [], "only y does it"
        driver.app.main.run_command("reset billing orders:1")
        await driver.settle()
        await driver.press("ctrl+s", "y")
        assert driver.calls("reset_offsets") == [("reset_offsets", "billing", [(1, 20)])]
        await driver.press("8")
        entry = driver.view.table.shown[0]
        assert entry.command.endswith("--reset-offsets --group billing --topic orders:1 --to-earliest --execute")
        assert entry.outcome == "billing: 1 offset committed, to-earliest"


async def test_a_refusal_is_told_and_nothing_is_asked() -> None:
    async with driving(size=(120, 30)) as driver:
        driver.gateway.refusing = "billing is Stable with 3 members"
        await driver.press("3", "j", "o", "ctrl+s")
        assert "billing is Stable with 3 members" in driver.screen and not isinstance(driver.app.screen, Preview)
    async with driving(READ_ONLY) as driver:
        await driver.press("3", "o")
        assert not isinstance(driver.app.screen, Form)
