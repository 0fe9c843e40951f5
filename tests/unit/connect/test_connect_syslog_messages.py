"""Syslog messages: the RFCs' own examples, what is found in the wild, and frames of streams."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.connect.connectors.syslog_message import Framing, FramingError, parse

NOW = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
FIELDS = ("facility", "severity", "timestamp", "host", "app", "procid", "msgid", "structured_data", "message")


def read(raw: bytes, zone: str = "UTC", now: datetime = NOW) -> dict[str, Any]:
    value = parse(raw, "192.0.2.1", now, ZoneInfo(zone), encoding="utf-8", keep_raw=True)
    value.validate()
    assert value.get("raw") == raw and value.get("sender") == "192.0.2.1"
    return {name: value.get(name) for name in FIELDS if value.get(name) is not None}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (  # RFC 5424, section 6.5, example 1
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for "
            b"lonvick on /dev/pts/8",
            {
                "facility": 4,
                "severity": 2,
                "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, tzinfo=UTC),
                "host": "mymachine.example.com",
                "app": "su",
                "msgid": "ID47",
                "message": "'su root' failed for lonvick on /dev/pts/8",
            },
        ),
        (  # example 2
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            {
                "facility": 20,
                "severity": 5,
                "timestamp": datetime(2003, 8, 24, 12, 14, 15, tzinfo=UTC),
                "host": "192.0.2.1",
                "app": "myproc",
                "procid": "8710",
                "message": "%% It's time to make the do-nuts.",
            },
        ),
        (  # example 4: structured data alone
            b'<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" '
            b'eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]',
            {
                "facility": 20,
                "severity": 5,
                "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, tzinfo=UTC),
                "host": "mymachine.example.com",
                "app": "evntslog",
                "msgid": "ID47",
                "structured_data": {
                    "exampleSDID@32473": {"iut": "3", "eventSource": "Application", "eventID": "1011"},
                    "examplePriority@32473": {"class": "high"},
                },
                "message": "",
            },
        ),
        (
            b'<14>1 - - - - - [a x="q\\"b\\\\s\\]e" ip="::1" ip="::2"] text [b="c"]',
            {
                "facility": 1,
                "severity": 6,
                "structured_data": {"a": {"x": 'q"b\\s]e', "ip": "::1,::2"}},
                "message": 'text [b="c"]',
            },
        ),
        (  # RFC 3164, section 5.4, example 1
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            {
                "facility": 4,
                "severity": 2,
                "timestamp": datetime(2025, 10, 11, 22, 14, 15, tzinfo=UTC),
                "host": "mymachine",
                "app": "su",
                "message": "'su root' failed for lonvick on /dev/pts/8",
            },
        ),
        (
            b"<13>Feb  5 17:32:18 10.0.0.99 cron[123]: Use the BFG!",
            {
                "facility": 1,
                "severity": 5,
                "timestamp": datetime(2026, 2, 5, 17, 32, 18, tzinfo=UTC),
                "host": "10.0.0.99",
                "app": "cron",
                "procid": "123",
                "message": "Use the BFG!",
            },
        ),
        (  # rsyslog's RSYSLOG_ForwardFormat
            b"<38>2026-01-01T01:20:05.123456+01:00 web1 sshd[9]: Accepted",
            {
                "facility": 4,
                "severity": 6,
                "timestamp": datetime(2026, 1, 1, 0, 20, 5, 123000, tzinfo=UTC),
                "host": "web1",
                "app": "sshd",
                "procid": "9",
                "message": "Accepted",
            },
        ),
        (b"Use the BFG!", {"facility": 1, "severity": 5, "message": "Use the BFG!"}),
        (b"<999>x", {"facility": 1, "severity": 5, "message": "<999>x"}),
        (b"<30>app: local", {"facility": 3, "severity": 6, "app": "app", "message": "local"}),
        (b"<30>1 not a header", {"facility": 3, "severity": 6, "message": "1 not a header"}),
        (b"<30>1 2003-13-45T00:00:00Z h a p m - x", {
            "facility": 3, "severity": 6, "message": "1 2003-13-45T00:00:00Z h a p m - x",
        }),
        (b"<30>Feb 30 00:00:00 h app: x", {"facility": 3, "severity": 6, "host": "h", "app": "app", "message": "x"}),
        (b"<30>1 - h a p m [broken x=1] y", {
            "facility": 3, "severity": 6, "message": "1 - h a p m [broken x=1] y",
        }),
        (b"<0>\xff\xfe", {"facility": 0, "severity": 0, "message": "\ufffd\ufffd"}),
        (b"", {"facility": 1, "severity": 5, "message": ""}),
    ],
)  # fmt: skip
def test_messages_are_read(raw: bytes, expected: dict[str, Any]) -> None:
    assert read(raw) == expected


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        (b"Dec 31 23:59:59", datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"Jan  1 00:00:01", datetime(2025, 12, 31, 23, 59, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (b"Feb 29 12:00:00", datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_year_is_of_the_nearest(text: bytes, now: datetime, expected: datetime) -> None:
    assert read(b"<1>" + text + b" h a: x", now=now)["timestamp"] == expected


def test_a_time_without_a_zone_is_of_the_configured_one() -> None:
    summer = read(b"<1>Jul  1 12:00:00 h a: x", "Europe/Berlin", datetime(2026, 7, 1, tzinfo=UTC))
    assert summer["timestamp"] == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_nothing_that_comes_raises() -> None:
    chance = random.Random(7)
    pieces = [b"<34>", b"1 ", b"- ", b"[a ", b'x="', b'\\"', b"]", b"Oct 11 22:14:15 ", b"host ", b"app[1]: ", b"\xff",
              b"2026-01-01T00:00:00Z ", b"\0", b"9999-12-31T23:59:59-23:59 "]  # fmt: skip
    for _ in range(2000):
        read(b"".join(chance.choice(pieces) for _ in range(chance.randrange(12))))


def fed(framing: Framing, stream: bytes, chance: random.Random) -> list[bytes]:
    found = []
    while stream:
        cut = chance.randrange(1, 9)
        found += framing.feed(stream[:cut])
        stream = stream[cut:]
    return found


def test_frames_of_both_kinds_are_told_apart_wherever_reads_end() -> None:
    stream = b"<1>line\n5 <2>ab12 <3>two\nlinesx<4>cr\r\n\n\0\n10 <5>counted\n<6>last"
    expected = [b"<1>line", b"<2>ab", b"<3>two\nlines", b"x<4>cr", b"<5>counted"]
    for seed in range(200):
        framing = Framing(1000)
        assert fed(framing, stream, random.Random(seed)) == expected
        assert framing.end() == b"<6>last"


def test_long_messages_come_in_pieces() -> None:
    for seed in range(50):
        framing = Framing(4)
        assert fed(framing, b"abcdefghij\n10 0123456789<1>\n", random.Random(seed)) == [
            *(b"abcd", b"efgh", b"ij"),
            *(b"0123", b"4567", b"89"),
            b"<1>",
        ]


@pytest.mark.parametrize("stream", [b"12x <1>", b"99999999999 ", b"2026-01-01 hello\n"])
def test_a_count_that_is_none_breaks_the_stream(stream: bytes) -> None:
    with pytest.raises(FramingError):
        list(Framing(1000).feed(b"<1>ok\n" + stream))


def test_lines_may_begin_with_a_digit_where_there_are_only_lines() -> None:
    framing = Framing(1000, lines_only=True)
    assert list(framing.feed(b"5 <2>ab\n2026 hello\n7 up")) == [b"5 <2>ab", b"2026 hello"]
    assert framing.end() == b"7 up"


def test_what_is_counted_and_not_whole_is_no_message() -> None:
    for stream in (b"10 half", b"10", b"10 "):
        framing = Framing(1000)
        assert list(framing.feed(stream)) == []
        assert framing.end() is None
