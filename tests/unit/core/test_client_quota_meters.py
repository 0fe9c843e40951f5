"""Which quota holds for whom, and what it does (ClientQuotaManager, DefaultQuotaCallback, Rate)."""

from __future__ import annotations

import pytest

from engine.core.client_quota_meters import ClientQuotaMeters, RateMeter

RATE = "producer_byte_rate"
SECOND = 1000.0


def test_a_rate_is_that_of_the_windows_that_are_over() -> None:
    meter = RateMeter(11, SECOND)
    assert meter.rate(0) == 0
    # As Kafka counts: ten windows are taken to be over at the beginning.
    meter.record(5000, 0)
    assert meter.rate(0) == 500
    assert meter.rate(500) == pytest.approx(5000 / 10.5)
    for second in range(1, 30):
        meter.record(5000, second * SECOND)
    assert meter.rate(29 * SECOND) == pytest.approx(11 * 5000 / 10)
    assert meter.rate(60 * SECOND) == 0


def test_after_the_time_that_is_told_the_rate_is_right() -> None:
    meter = RateMeter(11, SECOND)
    meter.record(30_000, 0)
    wait_ms = meter.throttle_ms(1000, 0)
    assert wait_ms == 20_000
    assert meter.throttle_ms(1000, wait_ms) == 0
    slow = RateMeter(11, SECOND)
    slow.record(10_000, 0)
    assert slow.throttle_ms(1000, 0) == 0


def test_a_client_that_waits_as_told_keeps_to_its_quota() -> None:
    meter, now_ms, total = RateMeter(11, SECOND), 0.0, 0
    while now_ms < 600 * SECOND:
        meter.record(3000, now_ms)
        total += 3000
        now_ms += 1 + meter.throttle_ms(1000, now_ms)
    # Windows that are forgotten as a whole make it a little more.
    assert total / now_ms * 1000 == pytest.approx(1000, rel=0.1)


def test_the_most_particular_quota_holds() -> None:
    meters = ClientQuotaMeters(RATE, 11, SECOND)
    assert not meters.is_used
    entities = [
        ((("client-id", "c"), ("user", "u")), 1.0),
        ((("client-id", None), ("user", "u")), 2.0),
        ((("user", "u"),), 3.0),
        ((("client-id", "c"), ("user", None)), 4.0),
        ((("client-id", None), ("user", None)), 5.0),
        ((("user", None),), 6.0),
        ((("client-id", "c"),), 7.0),
        ((("client-id", None),), 8.0),
    ]
    expected = [
        ("u", "c", 1.0, ("u", "c")),
        ("u", "other", 2.0, ("u", "other")),
        ("other", "c", 4.0, ("other", "c")),
        ("other", "other", 5.0, ("other", "other")),
    ]
    meters.use({entity: {RATE: value} for entity, value in entities})
    for user, client, quota, shared in expected:
        assert meters.quota_of(user, client) == (quota, shared)
    # Without those of both, and of users, those that are left hold.
    meters.use({entity: {RATE: value} for entity, value in entities if len(entity) == 1})
    assert meters.quota_of("u", "c") == (3.0, ("u", None))
    assert meters.quota_of("other", "c") == (6.0, ("other", None))
    meters.use({entity: {RATE: value} for entity, value in entities[6:]})
    assert meters.quota_of("u", "c") == (7.0, (None, "c"))
    assert meters.quota_of("u", "other") == (8.0, (None, "other"))
    meters.use({entities[6][0]: {"consumer_byte_rate": 1.0}, (("ip", "10.0.0.1"),): {RATE: 1.0}})
    assert meters.quota_of("u", "c") is None and not meters.is_used


def test_clients_of_one_quota_are_throttled_each_for_itself() -> None:
    meters = ClientQuotaMeters(RATE, 11, SECOND)
    meters.use({(("client-id", None),): {RATE: 100.0}})
    assert meters.record("u", "a", 5000, 0) > 0
    assert meters.record("u", "b", 500, 0) == 0
    meters.use({(("user", "u"),): {RATE: 100.0}})
    assert meters.record("u", "a", 900, 0) == 0
    assert meters.record("u", "b", 900, 0) > 0, "they share the user's quota"
    assert meters.burst_of("u", "x") == 1000 and meters.burst_of("v", "x") == float("inf")
