"""Which records are dead letters, where they go back to, and that none goes twice."""

from __future__ import annotations

import random
import struct

import pytest

from console.viewmodel.cells import plain
from console.viewmodel.copying import Placement
from console.viewmodel.dead_letters import (
    DeadLetter,
    dead_letter,
    letter_columns,
    letter_lines,
    redriven_headers,
    stack_lines,
)
from console.viewmodel.filters import Filter
from console.viewmodel.records import Reading, RecordView
from console.viewmodel.redriving import (
    Findings,
    RedriveError,
    Redriven,
    RedrivePlan,
    RedriveWish,
    Verdict,
    judge,
    plan_cells,
    redrive_command,
    summary,
)

_CONNECT = "org.apache.kafka.connect"
CONNECT = (
    ("trace", b"4f1c"),
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"1042"),
    ("__connect.errors.connector.name", b"warehouse"),
    ("__connect.errors.task.id", b"1"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.class.name", f"{_CONNECT}.json.JsonConverter".encode()),
    ("__connect.errors.exception.class.name", f"{_CONNECT}.errors.DataException".encode()),
    ("__connect.errors.exception.message", b"not\n a number"),
    ("__connect.errors.exception.stacktrace", b"DataException: not a number\n\tat a.B.c(B.java:1)"),
)
SPRING = (
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", struct.pack(">i", 2)),
    ("kafka_dlt-original-offset", struct.pack(">q", 7)),
    ("kafka_dlt-original-timestamp", struct.pack(">q", 1_700_000_000_123)),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_dlt-exception-fqcn", b"a.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.net.SocketTimeoutException"),
    ("kafka_dlt-exception-message", b"no answer"),
)
STREAMS = (
    ("__streams.errors.topic", b"orders"),
    ("__streams.errors.partition", b"0"),
    ("__streams.errors.exception", b"java.lang.ArithmeticException"),
)
COPY = (("kconsole.origin.topic", b"orders"), ("kconsole.origin.partition", b"5"), ("kconsole.origin.offset", b"9"))


def record(offset: int, headers: tuple[tuple[str, bytes | None], ...]) -> RecordView:
    return RecordView("dlq", 0, offset, 1_700_000_000_000, b"k", None, headers)


def test_dead_letters_say_where_they_came_from_and_why() -> None:
    found = dead_letter(CONNECT)
    assert found is not None
    assert (found.by, found.place, found.who) == ("Connect", "orders-3@1042", "warehouse, task 1")
    assert found.reason == "DataException: not a number"
    assert found.stage == f"VALUE_CONVERTER {_CONNECT}.json.JsonConverter"
    spring = dead_letter(SPRING)
    assert spring == DeadLetter(
        "Spring", "orders", 2, 7, 1_700_000_000_123, "java.net.SocketTimeoutException", "no answer", "billing"
    )
    streams = dead_letter(STREAMS)
    assert streams is not None and (streams.place, streams.reason) == ("orders-0", "ArithmeticException")
    copy = dead_letter(COPY)
    assert copy is not None and (copy.by, copy.place, copy.reason) == ("kconsole", "orders-5@9", "")
    # Of a name that stands there twice the last counts; an error tells more than a copy of the dead letter.
    twice = dead_letter((*CONNECT, ("kconsole.origin.topic", b"dlq"), ("__connect.errors.topic", b"other")))
    assert twice is not None and (twice.by, twice.topic) == ("Connect", "other")
    for none in ((), (("trace", b"x"),), (("__connect.errors.topic", None),), (("__connect.errors.stage", b"x"),)):
        assert dead_letter(none) is None
    odd = dead_letter((("kafka_dlt-original-topic", b"t"), ("kafka_dlt-original-partition", b"odd")))
    assert odd is not None and odd.partition is None


def test_a_dead_letter_is_told_in_columns_and_whole() -> None:
    place, why = letter_columns()
    again = record(1, (*CONNECT, ("kconsole.redrive.count", b"2")))
    assert plain(place.cell(again)) == "orders-3@1042"
    assert plain(why.cell(again)) == "×2 DataException: not a number"
    assert plain(why.cell(record(1, COPY))) == "copied" and plain(why.cell(record(1, ()))) == "–"
    assert plain(why.cell(record(1, CONNECT[1:2]))) == "told by Connect"
    lines = [plain(each) for each in letter_lines(again)]
    assert "why          DataException: not a number" in lines and "sent back    2 times" in lines
    assert plain(stack_lines(again)[-1]).strip() == "at a.B.c(B.java:1)"
    assert letter_lines(record(1, ())) == [] == stack_lines(record(1, SPRING))


def test_headers_of_the_error_go_others_stay_and_the_return_is_counted() -> None:
    first = redriven_headers(CONNECT, "Connect")
    assert first == (("trace", b"4f1c"), ("kconsole.redrive.count", b"1"))
    assert redriven_headers((*SPRING, *first), "Spring") == (first[0], ("kconsole.redrive.count", b"2"))
    assert redriven_headers((*COPY, *CONNECT), "Connect")[:3] == COPY, "it is the copy that failed"
    assert redriven_headers(COPY, "kconsole") == (("kconsole.redrive.count", b"1"),)


def test_each_record_is_judged_once() -> None:
    wish = RedriveWish("dlq", Filter.parse("4f1c|billing|orders"), limit=2)
    partitions = {"orders": 3, "gone": 0, "dlq": 1}
    redriven = Redriven(5, [(8, 8)])

    def verdict(offset: int, headers: tuple[tuple[str, bytes | None], ...], **changed: object) -> Verdict:
        return judge(record(offset, headers)._replace(**changed), wish, redriven, partitions).verdict

    assert verdict(4, CONNECT) is verdict(8, CONNECT) is Verdict.DONE
    assert verdict(5, (("x", b"orders"),)) is Verdict.NOWHERE
    assert verdict(5, (("kconsole.origin.topic", b"dlq"), ("x", b"orders"))) is Verdict.NOWHERE, "round and round"
    assert verdict(5, (("kafka_dlt-original-topic", b"other"),)) is Verdict.OTHER
    assert verdict(5, (("kafka_dlt-original-topic", b"gone"), ("x", b"orders"))) is Verdict.NO_TOPIC
    assert verdict(5, (*CONNECT, ("kconsole.redrive.count", b"2"))) is Verdict.AGAIN
    assert verdict(5, CONNECT, is_unreadable=True) is Verdict.STAYS
    assert verdict(5, CONNECT, reading=Reading(masked=(".value.card",))) is Verdict.STAYS
    goes = judge(record(5, SPRING), wish, redriven, partitions)
    assert goes.outgoing is not None
    assert goes.outgoing[:3] == ("orders", b"k", None)
    assert (goes.outgoing.partition, goes.outgoing.timestamp_ms) == (2, 1_700_000_000_123)
    # Partition 3 is not there (any more): the key decides, as it does when wished.
    assert judge(record(5, CONNECT), wish, redriven, partitions).outgoing.partition is None  # type: ignore[union-attr]
    by_key = wish._replace(placement=Placement.KEY, keep_timestamps=False)
    sent = judge(record(5, SPRING), by_key, redriven, partitions).outgoing
    assert sent is not None and sent.partition is None and sent.timestamp_ms is None


def test_what_was_sent_back_is_remembered_as_an_offset_and_what_is_beyond() -> None:
    for seed in range(16):
        chosen = random.Random(seed)
        redriven, done = Redriven(), set()
        for offset in chosen.sample(range(60), 30):
            redriven.add(offset)
            done.add(offset)
        if seed % 2:
            redriven.pass_to(20)
            done |= set(range(20))
        # confluent-kafka adds the byte that ends a C string.
        again = Redriven.parse(redriven.next, redriven.metadata + "\0")
        assert {offset for offset in range(70) if again.is_done(offset)} == done, seed
    everything = Redriven()
    for offset in (2, 0, 1):
        everything.add(offset)
    assert (everything.next, everything.metadata) == (3, ""), "nothing beyond"
    assert Redriven.parse(7, "somebody else's").ranges == [], "a group that was reset remembers its offset alone"
    scattered = Redriven()
    for offset in range(1, 4_200, 2):
        scattered.add(offset)
    with pytest.raises(RedriveError, match="dlq-0: what was sent back lies too far apart"):
        scattered.check("dlq-0")


def test_a_plan_tells_where_records_go_and_why_they_came() -> None:
    wish, findings = RedriveWish("dlq"), Findings()
    for offset, headers in enumerate((CONNECT, CONNECT, SPRING, ())):
        findings.add(judge(record(offset, headers), wish, Redriven(), {"orders": 6}))
    plan = RedrivePlan(wish, findings, ("note",))
    assert summary(plan) == "3 records would be sent back. Left: 1: does not say where it came from"
    lines = [plain(each) for each in plan_cells(plan)]
    assert lines[1].split()[:2] == ["orders", "3"]
    assert lines[1].endswith("2 DataException, 1 SocketTimeoutException") and lines[-1] == "! note"
    command = redrive_command("h:1", wish._replace(wanted=Filter.parse("a b"), limit=5))
    assert command == "kconsole redrive dlq --filter 'a b' --limit 5 --execute --bootstrap-servers h:1"
