"""A key is found by its form, and only its partition is read."""

from __future__ import annotations

from driving import driving

from console.gateway import ReadFrom, Start
from console.modals.form import Form


async def test_a_key_is_looked_for_in_its_partition_alone() -> None:
    async with driving(size=(80, 24)) as driver:
        driver.app.main.run_command("find orders key-8")
        await driver.settle()
        assert isinstance(driver.app.screen, Form)
        await driver.press("ctrl+s")
        tail = driver.calls("tail")[-1][1]
        # murmur2 of key-8 among six; the sample has it in partition 2 (its offset by six).
        assert (tail.topics, tail.partitions, tail.read_from) == (("orders",), (1,), ReadFrom(Start.START))
        assert "records(orders, key key-8)[0]" in driver.title
        assert "no record with the key key-8 in partition 1 of 6 (murmur2)" in driver.screen
        # Its producer chose otherwise: everywhere.
        await driver.press("K", "tab", "left", "ctrl+s")
        assert driver.calls("tail")[-1][1].partitions is None
        assert driver.keys == ["orders-2@80008"]
        assert "1 found in 60 read of all 6 partitions" in driver.screen
