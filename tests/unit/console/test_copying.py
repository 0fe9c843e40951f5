"""What becomes of a record that is copied, and what a plan says before."""

from __future__ import annotations

import pytest

from console.gateway import ReadFrom, Start
from console.viewmodel.cells import plain
from console.viewmodel.copying import (
    CopyError,
    CopyPlan,
    CopyWish,
    Placement,
    check_layout,
    check_topics,
    copied,
    copy_command,
    plan_cells,
    summary,
    target_notes,
)
from console.viewmodel.filters import Filter
from console.viewmodel.outgoing import Outgoing, Rate, Tally, Throttle, parse_rate
from console.viewmodel.records import RecordView

RECORD = RecordView("orders", 3, 1_042, 1_700_000_000_000, b"", None, (("h", None), ("h", b"\xff")))
DAY_MS = 86_400_000


def test_a_copy_has_the_same_bytes_and_says_where_it_came_from() -> None:
    wish = CopyWish("orders", "again")
    origin = (
        ("kconsole.origin.topic", b"orders"),
        ("kconsole.origin.partition", b"3"),
        ("kconsole.origin.offset", b"1042"),
    )
    assert copied(RECORD, wish) == Outgoing("again", b"", None, (*RECORD.headers, *origin), 3, RECORD.timestamp_ms)
    bare = wish._replace(placement=Placement.KEY, keep_timestamps=False, origin_headers=False)
    assert copied(RECORD, bare) == Outgoing("again", b"", None, RECORD.headers, None, None)


def test_what_cannot_be_copied_is_refused_with_the_reason() -> None:
    for target, said in (
        ("", "name a topic"),
        ("orders", "name another topic"),
        ("__consumer_offsets", "Kafka itself"),
    ):
        with pytest.raises(CopyError, match=said):
            check_topics(CopyWish("orders", target))
    wish = CopyWish("orders", "small")
    check_layout(wish, 1, 2)
    with pytest.raises(CopyError, match="small has 2 partitions, and there is a record of partition 2: choose by key"):
        check_layout(wish, 2, 2)
    check_layout(wish._replace(placement=Placement.KEY), 2, 2)


def test_a_plan_counts_by_partition_and_tells_what_the_target_will_do() -> None:
    tally = Tally()
    for offset, size in ((7, 100), (3, 900), (9, 0)):
        tally.add(RECORD._replace(offset=offset, key=None, headers=(), value=b"x" * size))
    wish = CopyWish("orders", "again", rate=Rate(records=500))
    configs = {
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": "500",
        "cleanup.policy": "compact,delete",
        "retention.ms": str(DAY_MS),
    }
    now_ms = RECORD.timestamp_ms + 2 * DAY_MS
    notes = target_notes(wish, tally, configs, now_ms)
    assert [each.split(" ")[0:3] for each in notes] == [
        ["the", "largest", "record"],
        ["again", "is", "compacted:"],
        ["the", "oldest", "record"],
    ]
    assert target_notes(wish, tally, {"retention.ms": str(3 * DAY_MS), "max.message.bytes": "900"}, now_ms) == ()
    (stamped,) = target_notes(wish, tally, {"message.timestamp.type": "LogAppendTime"}, now_ms)
    assert "times are not kept" in stamped
    plan = CopyPlan(wish, tally, 10, 2, notes=notes)
    lines = [plain(each) for each in plan_cells(plan)]
    assert lines[2].split() == ["3", "3", "1000", "B", "3–9"]
    assert summary(plan) == "3 records, 1000 B would be copied; 5 do not match; 2 do not decode or are masked, and stay"
    assert "rate      500 records/s" in lines and lines[-1].startswith("! the oldest record")


def test_the_command_line_that_does_the_same() -> None:
    wish = CopyWish(
        "orders",
        "again",
        ReadFrom(Start.OFFSET, 5),
        wanted=Filter.parse('-j .value.amount > 100 and .key == "a"'),
        partitions=(0, 2),
        placement=Placement.KEY,
        keep_timestamps=False,
        origin_headers=False,
        rate=parse_rate("20M"),
        begin_words="5",
    )
    assert copy_command("h:1", wish) == (
        "kconsole copy orders again --from 5 --partitions 0,2 --filter '-j .value.amount > 100 and .key == \"a\"' "
        "--by-key --new-times --no-origin --rate 20971520b --execute --bootstrap-servers h:1"
    )
    assert parse_rate("20971520b") == Rate(bytes=20 << 20)


def test_rates_are_records_or_bytes() -> None:
    assert parse_rate("") == Rate() and parse_rate("500/s") == Rate(records=500)
    assert parse_rate("1k") == Rate(bytes=1024) and parse_rate("1k").words == "1.0 KiB/s"
    for wrong in ("0", "fast", "-1", "0k"):
        with pytest.raises(ValueError, match="500 for records a second"):
            parse_rate(wrong)


def test_a_throttle_keeps_its_rate_from_the_beginning_on() -> None:
    records = Throttle(Rate(records=100), 1_000)
    assert records.portion == 10
    assert records.delay_ms(1_000, 50, 9) == 0
    assert records.delay_ms(1_100, 50, 9) == 400, "50 records are half a second's"
    assert records.delay_ms(9_000, 50, 9) == 0, "behind, so at once"
    of_bytes = Throttle(Rate(bytes=1_000), 0)
    assert (of_bytes.delay_ms(0, 1, 2_000), of_bytes.delay_ms(500, 1, 1)) == (0, 1_500)
    assert Throttle(Rate(), 0).delay_ms(0, 10**9, 10**9) == 0
