"""Records of a load, when they are due, and what is said of them afterwards."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from console.viewmodel.load_run import (
    Keys,
    Latencies,
    LoadError,
    LoadResult,
    LoadWish,
    check_wish,
    due_at,
    perf_command,
    record_of,
)

WISH = LoadWish("orders", 100, 10.0)


def test_values_are_made_of_the_template_and_filled_up() -> None:
    wish = WISH._replace(
        template='{"n": $n, "t": $t, "k": "$k", "r": $r, "price": "5 $$"}', keys=Keys.ROUND, distinct=3
    )
    made = record_of(wish, 7, 1_700, lambda: 0.5)
    assert made.value == b'{"n": 7, "t": 1700, "k": "key-1", "r": 1073741824, "price": "5 $"}'
    assert (made.topic, made.key, made.partition, made.timestamp_ms) == ("orders", b"key-1", None, None)
    filled = record_of(wish._replace(size_bytes=100), 7, 1_700, lambda: 0.5).value
    assert filled is not None and len(filled) == 100 and filled.rstrip() == made.value
    raw = record_of(WISH._replace(template="", size_bytes=10, keys=Keys.NONE), 0, 0, random.Random(1).random)
    assert raw.key is None and raw.value is not None and len(raw.value) == 10


def test_keys_come_in_turn_uniform_or_skewed() -> None:
    chosen = random.Random(7)
    counts = {
        keys: Counter(
            record_of(WISH._replace(keys=keys, distinct=10), number, 0, chosen.random).key for number in range(10_000)
        )
        for keys in (Keys.ROUND, Keys.UNIFORM, Keys.SKEWED)
    }
    assert set(counts[Keys.ROUND].values()) == {1_000}
    assert len(counts[Keys.UNIFORM]) == 10 and max(counts[Keys.UNIFORM].values()) < 1_200
    skewed = counts[Keys.SKEWED]
    assert skewed[b"key-0"] > 1.4 * skewed[b"key-1"] > 2 * skewed[b"key-5"] > 0 and skewed[b"key-9"] > 0
    assert record_of(WISH._replace(keys=Keys.SKEWED, distinct=10), 0, 0, lambda: 0.999_999_999).key == b"key-9"


def test_records_are_due_from_the_beginning_on() -> None:
    assert [due_at(WISH, at) for at in (0.0, 0.0049, 0.01, 5.0, 99.0)] == [1, 1, 2, 501, 1_000]


def test_percentiles_are_right_to_one_per_cent() -> None:
    chosen = random.Random(3)
    sample = [chosen.lognormvariate(1, 1) for _ in range(20_000)]
    latencies = Latencies()
    latencies.add(sample[:5])
    latencies.add(sample[5:])
    ordered = sorted(sample)
    for percent in (50, 90, 99, 99.9):
        exact = ordered[int(len(ordered) * percent / 100) - 1]
        assert latencies.percentile_ms(percent) == pytest.approx(exact, rel=0.0101)
    assert latencies.percentile_ms(100) == latencies.highest_ms == ordered[-1]
    assert Latencies().percentile_ms(50) is None and Latencies().words.endswith("max –")


def test_what_came_of_it_says_what_was_wanted_only_where_it_was_not_reached() -> None:
    latencies = Latencies()
    latencies.add([1.0] * 99 + [50.0])
    good = LoadResult(WISH, 1_000, 1_000, 64_000, 10.0, latencies)
    assert good.words == (
        "1,000 records in 10.0 s: 100/s, 6.2 KiB/s, acks=all after p50 1.0 ms, p90 1.0 ms, p99 1.0 ms, p99.9 50 ms, "
        "max 50 ms"
    )
    assert good._replace(acknowledged=500).words.endswith("; 100/s were wanted")
    assert good._replace(given_up=True).words.startswith("stopped: 1,000 records")
    assert perf_command("h:1,h:2", WISH, 37) == (
        "kafka-producer-perf-test.sh --bootstrap-server h:1 --topic orders --num-records 1000 --throughput 100 "
        "--record-size 37 --command-property acks=all"
    )


def test_what_cannot_be_is_refused() -> None:
    check_wish(WISH)
    for wrong, said in (
        (WISH._replace(topic="__consumer_offsets"), "Kafka itself"),
        (WISH._replace(rate=0), "rate"),
        (WISH._replace(seconds=0), "seconds"),
        (WISH._replace(rate=1, seconds=0.1), "less than one record"),
        (WISH._replace(size_bytes=2 << 20), "1 MiB"),
        (WISH._replace(template=""), "random bytes"),
        (WISH._replace(distinct=0), "keys"),
    ):
        with pytest.raises(LoadError, match=said):
            check_wish(wrong)
