"""Alert rules in the console: the bell, the event's row, and what is said below; once each."""

from __future__ import annotations

from sample_snapshots import kill_in, revive_in
from scripted import EMBEDDED, FrozenClock, ScriptedGateway
from tests_frame import settle

from console.alert_rules import parse_alert_file
from console.app import KConsole

RULES = """
rules:
  - {name: broker gone, when: broker_down, for: 2s, clear_for: 3s}
"""


async def test_an_alert_rings_once_and_is_an_event_also_while_the_screen_is_frozen() -> None:
    clock = FrozenClock()
    gateway = ScriptedGateway(clock, EMBEDDED)
    app = KConsole(
        gateway,
        now_ms=clock.now_ms,
        monotonic_ms=clock.monotonic_ms,
        refresh_s=0,
        alert_file=parse_alert_file(RULES, {}),
    )
    rung: list[int] = []
    app.bell = lambda: rung.append(clock.at_ms)  # type: ignore[method-assign]

    async def seconds(number: int) -> None:
        for _ in range(number):
            clock.advance(1_000)
            await settle(app, pilot)

    def told() -> list[tuple[str, str, str, str]]:
        return [(e.kind, e.subject, e.reason, e.source) for e in app.events if e.source == "alerts"]

    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot)
        app.frozen = True
        gateway.show(kill_in(gateway.snapshot, 2))
        await seconds(2)
        assert told() == [], "it must be down for two seconds"
        await seconds(1)
        fired = ("alert_fired", "broker 2", "broker gone: broker 2: its process is killed", "alerts")
        assert told() == [fired]
        assert len(rung) == 1
        assert app.flash_message is not None and app.flash_message.text == fired[2]
        await seconds(5)
        assert told() == [fired]
        gateway.show(revive_in(gateway.snapshot, 2))
        await seconds(5)
        assert told() == [fired, ("alert_resolved", "broker 2", "broker gone: broker 2 serves", "alerts")]
        assert len(rung) == 1, "only what fires rings"
        app.frozen = False
        await pilot.press("4")
        await settle(app, pilot)
        assert [row.kind for row in app.view.table.shown][-2:] == ["alert_fired", "alert_resolved"]
