"""The examples of ``examples/streams``, each in a TopologyTestDriver."""

from __future__ import annotations

from engine.streams import Serdes, TopologyTestDriver
from examples.streams import click_sessions, fraud, revenue, word_count

TEXT, LONG, JSON = Serdes.string(), Serdes.long(), Serdes.json()


def test_words_are_counted() -> None:
    with TopologyTestDriver(word_count.topology("lines")) as driver:
        lines = driver.create_input_topic("lines", TEXT, TEXT)
        lines.pipe_values(["To be, or not to be:", "that is the question"])
        counts = driver.create_output_topic("word-counts", TEXT, LONG).read_key_values_to_map()
        assert counts == {"to": 2, "be": 2, "or": 1, "not": 1, "that": 1, "is": 1, "the": 1, "question": 1}
        assert driver.get_state_store("counts").get("be").value == 2


def test_orders_have_the_tier_of_their_customer_at_that_time_and_add_up_by_the_minute() -> None:
    with TopologyTestDriver(revenue.topology()) as driver:
        customers = driver.create_input_topic("customers", TEXT, JSON)
        orders = driver.create_input_topic("orders", TEXT, JSON)
        customers.pipe_input("key-1", {"customer": "key-1", "tier": "gold"}, timestamp=0)
        orders.pipe_input("key-1", {"order": 1, "amount": 10}, timestamp=1_000)
        orders.pipe_input("key-9", {"order": 2, "amount": 7}, timestamp=2_000)
        customers.pipe_input("key-1", {"customer": "key-1", "tier": "silver"}, timestamp=3_000)
        orders.pipe_input("key-1", {"order": 3, "amount": 20}, timestamp=4_000)
        orders.pipe_input("key-1", {"order": 4, "amount": 5}, timestamp=61_000)
        # Late by more than the grace: its minute is closed.
        orders.pipe_input("key-1", {"order": 5, "amount": 1}, timestamp=71_000)
        orders.pipe_input("key-1", {"order": 6, "amount": 1000}, timestamp=5_000)
        key = Serdes.time_windowed(TEXT, revenue.MINUTE_MS)
        sums = driver.create_output_topic("revenue", key, JSON).read_key_values_to_map()
        assert {(windowed.key, windowed.window.start): value for windowed, value in sums.items()} == {
            ("gold", 0): {"orders": 1, "amount": 10},
            ("unknown", 0): {"orders": 1, "amount": 7},
            ("silver", 0): {"orders": 1, "amount": 20},
            ("silver", 60_000): {"orders": 2, "amount": 6},
        }


def test_a_session_is_told_once_when_it_is_over() -> None:
    with TopologyTestDriver(click_sessions.topology()) as driver:
        clicks = driver.create_input_topic("clicks", TEXT, JSON)
        sessions = driver.create_output_topic("click-sessions", TEXT, JSON)
        for at in (0, 1_500, 3_000):
            clicks.pipe_input(None, {"page": "/cart"}, timestamp=at)
        clicks.pipe_input(None, {"page": "/cart", "user": "ada"}, timestamp=3_100)
        assert sessions.read_key_values() == []
        clicks.pipe_input(None, {"page": "/help"}, timestamp=20_000)
        assert sorted(sessions.read_key_values()) == [
            ("/cart", {"began": 0, "lasted_ms": 3_000, "clicks": 3}),
            ("ada", {"began": 3_100, "lasted_ms": 0, "clicks": 1}),
        ]


def test_the_payment_too_many_is_suspected_and_old_ones_are_forgotten() -> None:
    with TopologyTestDriver(fraud.topology()) as driver:
        payments = driver.create_input_topic("payments", TEXT, JSON)
        suspicions = driver.create_output_topic("suspicions", TEXT, JSON)
        for number, at in enumerate((0, 20_000, 40_000, 61_000)):
            payments.pipe_input("key-1", {"payment": number}, timestamp=at)
        # The first is more than a minute old by then.
        assert suspicions.read_key_values() == []
        payments.pipe_input("key-1", {"payment": 4}, timestamp=62_000)
        expected = {"payments": 4, "within_ms": 42_000, "last": {"payment": 4}}
        assert suspicions.read_key_values() == [("key-1", expected)]
        payments.pipe_input("key-2", {"payment": 5}, timestamp=200_000)
        assert dict(driver.get_state_store(fraud.STORE).all()) == {"key-2": [200_000]}
