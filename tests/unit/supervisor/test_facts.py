import itertools

from engine.supervisor import facts as facts_module
from engine.supervisor.facts import FactBus


class CountingClock:
    def __init__(self) -> None:
        self._count = itertools.count(1)

    def now_ms(self) -> int:
        return next(self._count)

    def monotonic_ms(self) -> float:
        return float(next(self._count))

    def monotonic_ns(self) -> int:
        return next(self._count)


async def test_a_late_subscriber_gets_all_notes_and_only_the_latest_of_the_rest() -> None:
    bus = FactBus(CountingClock())
    for value in (1, 2):
        bus.publish({"type": "counters", "broker": 1, "values": {"x": value}})
        bus.publish({"type": "counters", "broker": 2, "values": {"x": value}})
        bus.note("process_started", f"broker {value}", "why")
        bus.publish({"type": "metadata_applied", "broker": 1})
    past = await bus.subscribe().get()
    assert [(fact["type"], fact.get("broker")) for fact in past] == [
        ("note", None),
        ("counters", 1),
        ("counters", 2),
        ("note", None),
    ]
    assert all(fact["values"] == {"x": 2} for fact in past if fact["type"] == "counters")


async def test_a_fact_keeps_the_times_of_its_source() -> None:
    bus = FactBus(CountingClock())
    subscription = bus.subscribe()
    bus.publish({"type": "note", "mono_ns": 77, "wall_ms": 88})
    (fact,) = await subscription.get()
    assert (fact["mono_ns"], fact["wall_ms"], fact["sequence"]) == (77, 88, 1)


async def test_a_subscriber_that_does_not_read_is_cut_off_and_the_others_go_on(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(facts_module, "_MAX_WAITING", 3)
    bus = FactBus(CountingClock())
    slow, quick = bus.subscribe(), bus.subscribe()
    for number in range(5):
        bus.publish({"type": "metadata_applied", "offset": number})
        assert len(await quick.get()) == 1
    assert len(await slow.get()) == 3
    assert await slow.get() == []
    assert slow.overrun and not quick.overrun
