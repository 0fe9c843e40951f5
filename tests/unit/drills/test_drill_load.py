from __future__ import annotations

import pytest

from engine.drills.drill import Load
from engine.drills.load import DrillLoad, LoadProducer, producer_settings
from engine.drills.measurements import Sent
from engine.supervisor.ledger import Account
from engine.supervisor.spec_types import TopicSpec
from engine.world.real import real_world

LOAD = Load(TopicSpec("t", 3, 3, {}), "all", 100, 2, 32)


@pytest.mark.parametrize(("acks", "is_idempotent"), [("all", True), ("1", False), ("0", False)])
def test_producers_have_the_acks_of_the_drill_and_are_idempotent_where_that_can_be(
    acks: str, is_idempotent: bool
) -> None:
    settings = producer_settings("h:1", LOAD._replace(acks=acks), 0)
    assert (settings["acks"], settings["enable.idempotence"]) == (acks, is_idempotent)


def test_each_client_writes_to_all_partitions_in_turn_and_begins_with_another() -> None:
    clock = real_world().clock
    clients = [LoadProducer(clock, "127.0.0.1:1", LOAD, number) for number in range(3)]
    assert [[client.partition_of(number) for number in range(4)] for client in clients] == [
        [0, 1, 2, 0],
        [1, 2, 0, 1],
        [2, 0, 1, 2],
    ]


def test_partitions_are_silent_until_a_client_was_told_of_a_record_of_theirs() -> None:
    load = DrillLoad(real_world().clock, "127.0.0.1:1", LOAD)
    first, second = load.producers
    first.sent_ns, second.sent_ns = [1, 2], [3]
    first.resolved, first.acknowledged = {0: (10, True), 1: (20, True)}, {0: (0, 0), 1: (1, 0)}
    second.resolved = {0: (30, False)}
    assert load.silent_since(5) == {2}
    assert load.silent_since(15) == {0, 2}
    assert load.records() == [Sent(0, 1, 10, True), Sent(1, 2, 20, True), Sent(1, 3, 30, False)]


def test_what_cannot_be_read_back_is_not_tried_and_the_gap_is_told() -> None:
    load = DrillLoad(real_world().clock, "127.0.0.1:1", LOAD)
    load.producers[0].sent_ns = [1]
    account, gap = load.read_back("no broker runs")
    assert gap == "no broker runs"
    assert account == Account(1, 0, 0, 0, 0, 1, ())
