"""What Kafka's own libraries say of subscriptions, made by tools/golden/GoldenGroups.java: RE2/J, hash4j."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.group.group_topics import GroupTopic
from engine.core.group.linear_regex import LinearRegex, RegexSyntaxError
from engine.core.group.metadata_hash import NO_TOPICS_HASH, group_hash, topic_hash
from engine.core.group.xxh3 import xxh3_64

LINES = [line.split("\t") for line in Path(__file__).with_name("golden_groups.txt").read_text().splitlines()]
# Refused by RE2/J 1.8 too, in other words ("internal error" for a parenthesis too many).
OTHER_WORDS = (")", "a)", "(?<=a)b")


def unescaped(text: str) -> str:
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")


TEXTS = [unescaped(each) for each in LINES[0][1:]]
REGEXES = [(unescaped(fields[1]), fields[2]) for fields in LINES if fields[0] == "regex"]


@pytest.mark.parametrize(("pattern", "outcome"), REGEXES, ids=[pattern or "empty" for pattern, _ in REGEXES])
def test_expressions_match_what_they_match_in_kafka(pattern: str, outcome: str) -> None:
    if outcome.startswith("error "):
        with pytest.raises(RegexSyntaxError) as refused:
            LinearRegex(pattern)
        if pattern not in OTHER_WORDS:
            assert str(refused.value).partition(":")[0] == outcome.removeprefix("error ").partition(":")[0]
    else:
        regex = LinearRegex(pattern)
        assert "".join("01"[regex.matches(text)] for text in TEXTS) == outcome


def test_hashes_are_those_of_kafka() -> None:
    golden = {
        (kind, name): int(value) for kind, name, value in (fields for fields in LINES[1:] if fields[0] != "regex")
    }
    lengths = [int(name) for kind, name in golden if kind == "xxh3"]
    assert len(lengths) == 20
    for length in lengths:
        assert xxh3_64(bytes((each * 7 + 3) & 255 for each in range(length))) == golden["xxh3", str(length)], length
    orders = GroupTopic(bytes(range(1, 17)), "orders", 3)
    payments = GroupTopic(b"\xff" * 15 + b"\xfe", "pay.ments_é", 1)
    hashes = [("orders", topic_hash(orders, [["b", "a"], ["b"], []])), ("pay", topic_hash(payments, [["a", "zürich"]]))]
    signed = [value - (1 << 64) if value >> 63 else value for _, value in hashes]
    assert signed == [golden["topic", "orders"], golden["topic", "payments"]]
    assert group_hash(hashes) == golden["group", "both"] and group_hash([]) == NO_TOPICS_HASH


def test_a_hostile_expression_takes_linear_time() -> None:
    """Counted in steps: Python's own re would need 2**200 for some of these."""
    for pattern in ("(a+)+b", "(a|a)*b", "(.*)(.*)(.*)(.*)(.*)b", "(a?){200}a{200}b", "((a*)*)*b"):
        regex = LinearRegex(pattern)
        assert not regex.matches("a" * 200)
        short, regex = regex.work, LinearRegex(pattern)
        assert not regex.matches("a" * 400)
        assert regex.work <= 4 * short + 1_000


def test_an_expression_that_needs_much_memory_is_refused() -> None:
    for pattern in ("((a{100}){100}){100}", "(" * 200 + ")" * 200, "[a-z]{1000}" * 20):
        with pytest.raises(RegexSyntaxError):
            LinearRegex(pattern)
