"""Dead letters on Records: the reason beside each, and back to where they came from by keys, once."""

from __future__ import annotations

from driving import driving
from sample_files import record

from console.modals.preview import Preview
from engine.model.topic_partition import TopicPartition

REASON = (
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"1"),
    ("__connect.errors.exception.class.name", b"a.DataException"),
    ("__connect.errors.exception.message", b"no number"),
    ("__connect.errors.exception.stacktrace", b"DataException\n\tat a.B.c"),
)


async def test_dead_letters_show_their_reason_and_go_back_once() -> None:
    async with driving(size=(80, 24)) as driver:
        gateway, at_ms = driver.gateway, driver.gateway.clock.at_ms
        headers = [REASON, (), REASON, REASON]
        gateway.records = []
        driver.app.main.run_command("records payments")
        await driver.settle()
        gateway.arrive(*(record("payments", 0, number, at_ms, headers=said) for number, said in enumerate(headers)))
        await driver.settle()
        assert "CAME FROM" in driver.screen and "orders-1" in driver.screen and "DataException: no" in driver.screen
        await driver.press("enter")
        assert "STACK TRACE" not in driver.screen or "at a.B.c" in driver.screen
        assert "why          DataException: no number" in driver.screen
        # The one that is marked, and then all: the marked one is not sent again.
        await driver.press("escape", "m", "D")
        assert "send 1 marked record of payments back" in driver.screen
        await driver.press("ctrl+s")
        assert isinstance(driver.app.screen, Preview) and "1 DataException" in driver.screen
        await driver.press("enter")
        assert gateway.bulk.sent == [], "only y does it"
        await driver.press("y")
        assert driver.app.acts.log[-1].outcome.startswith("payments: 1 record sent back in "), driver.flash
        await driver.press("U", "D", "ctrl+s")
        assert "2 records would be sent back. Left: 1: was sent back already; 1: does" in driver.screen
        await driver.press("y")
        assert [(each.topic, each.partition, dict(each.headers)) for each in gateway.bulk.sent] == [
            ("orders", 1, {"kconsole.redrive.count": b"1"})
        ] * 3
        assert {options.group for options in gateway.bulk.senders} == {"kconsole-redrive.payments"}
        kept = gateway.bulk.kept["kconsole-redrive.payments"][TopicPartition("payments", 0)]
        assert kept.offset == 1, "the second was left"
        driver.app.main.run_command("redrive payments")
        await driver.press("ctrl+s")
        assert "0 records would be sent back" in driver.flash
