import json
import random
import statistics
from typing import Any

from engine.supervisor.workload import GroupPart, Latencies, ProducerPart


class StillClock:
    def now_ms(self) -> int:
        return 1_234

    def monotonic_ms(self) -> float:
        return 0.0

    def monotonic_ns(self) -> int:
        return 0


class LowRandom:
    def uuid(self) -> bytes:
        return bytes(16)

    def randint(self, low: int, high: int) -> int:
        return low

    def random(self) -> float:
        return 0.0


class FakeProducer:
    def __init__(self, room: int = 1_000_000) -> None:
        self.sent: list[tuple[str, bytes, bytes | None]] = []
        self._room = room

    def produce(self, topic: str, value: bytes, key: bytes | None, on_delivery: Any) -> None:
        if len(self.sent) >= self._room:
            raise BufferError
        self.sent.append((topic, value, key))
        on_delivery(None, Acknowledged(0.004 if len(self.sent) % 2 else 0.001))


class Acknowledged:
    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s

    def latency(self) -> float:
        return self._latency_s


def part(**changes: Any) -> ProducerPart:
    spec = {"name": "shop", "topic": "orders", "rate": 20, "keys": 5, "value": '{"n": {n}, "k": "{key}", "at": {ms}}'}
    return ProducerPart(StillClock(), LowRandom(), {**spec, "acks": "all", "compression": "none", **changes})


def test_a_rate_is_kept_over_turns_of_any_length() -> None:
    producer: Any = FakeProducer()
    shop = part()
    for _ in range(150):
        shop.turn(producer, 0.02)
    assert 59 <= len(producer.sent) <= 60
    topic, value, key = producer.sent[7]
    assert (topic, key, json.loads(value)) == ("orders", b"key-1", {"n": 7, "k": "key-1", "at": 1_234})


def test_a_stall_is_followed_by_a_second_of_records_at_most() -> None:
    producer: Any = FakeProducer()
    part().turn(producer, 3_600)
    assert len(producer.sent) == 20


def test_no_keys_means_no_key() -> None:
    producer: Any = FakeProducer()
    part(keys=0).turn(producer, 0.05)
    assert producer.sent[0][2] is None


def test_a_full_queue_is_an_error_and_not_an_end() -> None:
    producer: Any = FakeProducer(room=3)
    shop = part()
    shop.turn(producer, 1)
    report = shop.report(True, 2.0)
    assert (report["total"], report["errors"], report["rate_per_s"]) == (3, 1, 1.5)


def test_a_stopped_group_reports_no_members_and_remembers_how_many_it_wants() -> None:
    group = GroupPart(StillClock(), "h:1", {"name": "g", "topics": ["a", "b"], "members": 3, "processing_ms": 0})
    assert group.report(False, 1.0)["members"] == 0
    assert group.report(True, 1.0)["members"] == 3
    assert group.report(True, 1.0)["topic"] == "a,b"


def test_latencies_are_those_since_the_last_report_and_unknown_where_nothing_was_acknowledged() -> None:
    shop = part()
    shop.turn(FakeProducer(), 0.15)  # type: ignore[arg-type]
    report = shop.report(True, 1.0)
    assert (report["total"], report["latency_median_ms"], report["latency_highest_ms"]) == (3, 4.0, 4.0)
    report = shop.report(True, 1.0)
    assert (report["latency_median_ms"], report["latency_highest_ms"]) == (None, None)


def test_of_very_many_latencies_a_bounded_number_gives_the_median_and_none_is_above_the_highest() -> None:
    numbers = random.Random(7)
    # The late ones are slow, and no more than a third.
    latencies = Latencies()
    all_of_them = [numbers.expovariate(0.1) + (500 if at > 33_000 else 0) for at in range(50_000)]
    for each in all_of_them:
        latencies.add(each)
    assert len(latencies._kept) < 4_096
    report = latencies.report()
    assert report["latency_median_ms"] is not None
    assert abs(report["latency_median_ms"] / statistics.median(all_of_them) - 1) < 0.1
    assert report["latency_highest_ms"] == round(max(all_of_them), 2)
