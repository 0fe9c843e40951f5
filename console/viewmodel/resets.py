"""Setting a group's offsets anew: the rules of ``kafka-consumer-groups.sh --reset-offsets``, and the plan that each
makes. Pure: what logs and groups say comes in, what would be committed comes out (Kafka's ``OffsetsUtils``)."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell

Place = tuple[str, int]
_MAX_OFFSET = (1 << 63) - 1


class ResetError(Exception):
    """A wish that cannot be understood or not be granted; the message is a sentence for people."""


class Rule(StrEnum):
    """Where offsets go. The names are the options of Kafka's tool; ``from-group`` is what it does in two steps, by an
    export of the other group."""

    EARLIEST = "to-earliest"
    LATEST = "to-latest"
    CURRENT = "to-current"
    OFFSET = "to-offset"
    SHIFT = "shift-by"
    DATETIME = "to-datetime"
    DURATION = "by-duration"
    GROUP = "from-group"
    FILE = "from-file"


# Rules whose value says more; the others have none.
VALUE_HINTS: Mapping[Rule, str] = {
    Rule.OFFSET: "an offset, as in 1200",
    Rule.SHIFT: "so many records on, or back: -100",
    Rule.DATETIME: "UTC unless it has a zone: 2026-11-26T08:00:00.000",
    Rule.DURATION: "so long ago, ISO 8601: PT1H30M, P2D",
    Rule.GROUP: "the other group",
    Rule.FILE: "a file of lines topic,partition,offset",
}


class ResetWish(NamedTuple):
    """What somebody asks for.

    ``value`` is the rule's as it was written; ``scope`` names topics (``orders``) and partitions (``orders:0,2``), and
    is empty for all partitions in which the group (of ``from-group``: the other one) has an offset. ``offsets`` are
    those of a file.
    """

    group: str
    rule: Rule
    value: str = ""
    scope: tuple[str, ...] = ()
    offsets: Mapping[Place, int] = {}


class LogFacts(NamedTuple):
    """What is known of the partitions: committed offsets of the group and of the one that is followed, where logs begin
    and end (the high watermark), and for a time its first record at or after it (``None``: none is so late)."""

    committed: Mapping[Place, int]
    starts: Mapping[Place, int]
    ends: Mapping[Place, int]
    at_time: Mapping[Place, int | None] = {}
    followed: Mapping[Place, int] = {}


class PlannedOffset(NamedTuple):
    """One partition. ``before`` is ``None`` where nothing is committed; ``note`` says what differs from the wish."""

    topic: str
    partition: int
    before: int | None
    after: int
    log_start: int
    log_end: int
    note: str = ""

    @property
    def lag_before(self) -> int | None:
        """Records left to read now; of a group without an offset there it is not known (``auto.offset.reset``)."""
        return None if self.before is None else max(0, self.log_end - max(self.before, self.log_start))

    @property
    def lag_after(self) -> int:
        """The same afterwards."""
        return max(0, self.log_end - max(self.after, self.log_start))


class ResetPlan(NamedTuple):
    """A plan to be looked at."""

    wish: ResetWish
    offsets: tuple[PlannedOffset, ...]

    @property
    def changed(self) -> tuple[PlannedOffset, ...]:
        """Those that move."""
        return tuple(each for each in self.offsets if each.before != each.after)


# -- reading wishes -------------------------------------------------------------------------------------------------


def read_scope(words: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
    """Topics with their partitions, ``None`` for all of them. Raises: ResetError."""
    found: dict[str, tuple[int, ...] | None] = {}
    for word in words:
        topic, colon, numbers = word.partition(":")
        parts = numbers.split(",") if colon else []
        if not topic or not all(each.isascii() and each.isdigit() for each in parts):
            raise ResetError(f"{word!r} is no scope: write a topic, or one with partitions, as in orders:0,2")
        before = found.get(topic, ())
        # Named whole and in part: whole.
        found[topic] = None if not colon or before is None else tuple(sorted({*before, *map(int, parts)}))
    return found


# Java's Duration.parse: days, then hours, minutes and seconds after a T; each part may have a sign, and so may all.
_DURATION = re.compile(
    r"([-+]?)P(?:([-+]?\d+)D)?(?:(T)(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+(?:[.,]\d{0,9})?)S)?)?", re.IGNORECASE
)


def read_duration_ms(words: str) -> int:
    """ISO 8601 as Java's ``Duration.parse`` takes it: ``PT1H30M``, ``P2DT3.5S``. Raises: ResetError."""
    match = _DURATION.fullmatch(words.strip())
    parts = match.group(2, 4, 5, 6) if match else ()
    # A T with nothing behind it is as wrong as nothing at all.
    if match is None or not any(parts) or (match[3] and not any(parts[1:])):
        raise ResetError(f"{words!r} is no duration: write it as ISO 8601 has it, as in PT1H30M or P2D")
    days, hours, minutes = (int(each or 0) for each in parts[:3])
    seconds = float((parts[3] or "0").replace(",", "."))
    total_ms = ((days * 24 + hours) * 60 + minutes) * 60_000 + round(seconds * 1000)
    return -total_ms if match[1] == "-" else total_ms


def read_datetime_ms(words: str) -> int:
    """``2026-11-26T08:00:00.000``, in UTC unless it ends in a zone, as wall-clock milliseconds. Raises: ResetError."""
    try:
        if "T" not in words:
            raise ValueError(words)
        at = datetime.fromisoformat(words.strip())
    except ValueError:
        raise ResetError(f"{words!r} is no time: write it as in 2026-11-26T08:00:00.000, with Z or +01:00") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def read_number(words: str, what: str) -> int:
    """A whole number. Raises: ResetError."""
    try:
        number = int(words.strip().replace("_", ""))
    except ValueError:
        raise ResetError(f"{words!r} is no {what}: a whole number is needed") from None
    if not -_MAX_OFFSET <= number <= _MAX_OFFSET:
        raise ResetError(f"{words} is no {what}: offsets have 64 bits")
    return number


def read_offsets_file(content: str, group: str) -> dict[Place, int]:
    """The offsets of a group in a file as ``--export`` writes it: lines ``topic,partition,offset``, or, of several
    groups, ``group,topic,partition,offset``.

    Raises:
        ResetError: it names a line that is neither, or nothing is there for that group.
    """
    found: dict[Place, int] = {}
    width = 0
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        fields = next(csv.reader([line]))
        width = width or len(fields)
        where, numbers = fields[:-2], fields[-2:]
        if width not in (3, 4) or len(fields) != width or not all(each.strip().isdigit() for each in numbers):
            raise ResetError(f"line {number} is {line!r}: it has to be topic,partition,offset or group,topic,…")
        if width == 3 or where[0] == group:
            found[where[-1], int(numbers[0])] = int(numbers[1])
    if not found:
        raise ResetError(f"the file has no offset of group {group}")
    return found


def check_wish(wish: ResetWish) -> None:
    """Raises: ResetError: something about it is wrong, whatever the cluster is like."""
    if not wish.group:
        raise ResetError("name a group")
    read_scope(wish.scope)
    if wish.rule not in VALUE_HINTS:
        if wish.value:
            raise ResetError(f"{wish.rule} takes no value, and {wish.value!r} was given")
        return
    if not wish.value.strip():
        raise ResetError(f"{wish.rule} needs a value: {VALUE_HINTS[wish.rule]}")
    if wish.rule is Rule.OFFSET and read_number(wish.value, "offset") < 0:
        raise ResetError("an offset is not negative; shift-by goes back")
    if wish.rule is Rule.SHIFT:
        read_number(wish.value, "number of records")
    if wish.rule in (Rule.DATETIME, Rule.DURATION):
        time_of(wish, 0)
    if wish.rule is Rule.GROUP and wish.value == wish.group:
        raise ResetError(f"{wish.group} cannot follow itself; to-current keeps what it has")
    if wish.rule is Rule.FILE and wish.scope:
        raise ResetError("a file says itself which partitions are meant: leave the topics out")


def time_of(wish: ResetWish, now_ms: int) -> int | None:
    """The time that is asked for, in wall-clock milliseconds; ``None`` of a rule that has none. Raises: ResetError."""
    if wish.rule is Rule.DATETIME:
        return read_datetime_ms(wish.value)
    return now_ms - read_duration_ms(wish.value) if wish.rule is Rule.DURATION else None


# -- planning -------------------------------------------------------------------------------------------------------


def partitions_of(
    wish: ResetWish,
    committed: Mapping[Place, int],
    followed: Mapping[Place, int],
    existing: Mapping[str, Sequence[int]],
) -> list[Place]:
    """The partitions that a wish is about.

    Args:
        committed: offsets of the group.
        followed: those of the other group, of ``from-group``.
        existing: partitions by topic.

    Raises:
        ResetError: one of them does not exist, or there is none.
    """
    scope = read_scope(wish.scope)
    found: set[Place] = set()
    for topic, numbers in scope.items():
        if topic not in existing:
            raise ResetError(f"there is no topic {topic}")
        found.update((topic, each) for each in (existing[topic] if numbers is None else numbers))
    if not scope:
        found.update(wish.offsets if wish.rule is Rule.FILE else followed if wish.rule is Rule.GROUP else committed)
    missing = sorted(each for each in found if each[1] not in existing.get(each[0], ()))
    if missing:
        raise ResetError(f"{_places(missing)} {'does' if len(missing) == 1 else 'do'} not exist")
    if not found:
        who = wish.value if wish.rule is Rule.GROUP else wish.group
        raise ResetError(f"group {who} has no committed offset: name the topics that are meant")
    return sorted(found)


def plan_reset(wish: ResetWish, partitions: Sequence[Place], facts: LogFacts) -> ResetPlan:
    """What would be committed, partition by partition; nothing is left out.

    Offsets that are wished for by number (``to-offset``, ``shift-by``, ``from-group``, ``from-file``) stay between the
    log's start and its end.

    Raises:
        ResetError: there is nothing to shift from.
    """
    return ResetPlan(wish, tuple(_planned(wish, place, facts) for place in partitions))


def _planned(wish: ResetWish, place: Place, facts: LogFacts) -> PlannedOffset:
    before, start, end = facts.committed.get(place), facts.starts[place], facts.ends[place]
    note, wished = "", None
    match wish.rule:
        case Rule.EARLIEST:
            after = start
        case Rule.LATEST:
            after = end
        case Rule.CURRENT:
            after = end if before is None else before
            note = "nothing committed: the end" if before is None else ""
        case Rule.DATETIME | Rule.DURATION:
            found = facts.at_time[place]
            after = end if found is None else found
            note = "no record is that late: the end" if found is None else ""
        case Rule.SHIFT:
            if before is None:
                raise ResetError(f"{_places([place])} cannot be shifted: {wish.group} has no committed offset there")
            wished = before + read_number(wish.value, "number of records")
        case Rule.OFFSET:
            wished = read_number(wish.value, "offset")
        case Rule.GROUP:
            wished = facts.followed.get(place, end)
            note = "" if place in facts.followed else f"{wish.value} has none: the end"
        case Rule.FILE:
            wished = wish.offsets[place]
    if wished is not None:
        after = max(start, min(end, wished))
        if after != wished:
            note = f"{wished:,} is {'beyond the end' if wished > end else 'before the start'}"
    return PlannedOffset(*place, before, after, start, end, note)


def refusal(group: str, group_type: str, state: str, members: Sequence[str]) -> str:
    """Why a group's offsets cannot be set now, as Kafka refuses it; empty if they can. ``state`` is empty of a group
    that is not there yet: it may be given offsets to begin with."""
    if group_type in ("share", "streams"):
        return f"{group} is a {group_type} group: kafka-{group_type}-groups.sh resets those"
    if state.lower() in ("", "empty", "dead") and not members:
        return ""
    who = f": stop {', '.join(members[:3])}{f' and {len(members) - 3} more' if len(members) > 3 else ''}"
    return (
        f"offsets can only be reset while the group is inactive, and {group} is {state} with "
        f"{text.plural(len(members), 'member')}{who if members else ''}"
    )


# -- telling --------------------------------------------------------------------------------------------------------


def export_lines(plan: ResetPlan) -> list[str]:
    """The plan as ``--export`` writes it for one group: ``topic,partition,offset``."""
    return [f"{each.topic},{each.partition},{each.after}" for each in plan.offsets]


def summary(plan: ResetPlan) -> str:
    """The plan in one sentence."""
    befores = [each.lag_before for each in plan.offsets if each.lag_before is not None]
    after = sum(each.lag_after for each in plan.offsets)
    new = len(plan.offsets) - len(befores)
    lag = f"lag {sum(befores):,} → {after:,}" if befores else f"lag {after:,}"
    changed = len(plan.changed)
    said = f"{changed} of {text.plural(len(plan.offsets), 'partition')} change, {lag}"
    return said + (f", {new} had no offset" if new and befores else "")


def signed(number: int) -> str:
    """``+1,200``, ``-3``, ``0``."""
    return f"{number:+,}" if number else "0"


HEADS = ("PARTITION", "BEFORE", "AFTER", "CHANGE", "LAG", "LAG AFTER")


def plan_cells(plan: ResetPlan) -> list[Cell]:
    """The plan as lines of a table, its head first."""
    rows = [
        (
            f"{each.topic}-{each.partition}",
            "–" if each.before is None else f"{each.before:,}",
            f"{each.after:,}",
            "–" if each.before is None else signed(each.after - each.before),
            "–" if each.lag_before is None else f"{each.lag_before:,}",
            f"{each.lag_after:,}",
        )
        for each in plan.offsets
    ]
    widths = [max(len(row[at]) for row in (HEADS, *rows)) for at in range(len(HEADS))]

    def line(row: Sequence[str]) -> list[str]:
        return [row[0].ljust(widths[0]), *(each.rjust(width) for each, width in zip(row[1:], widths[1:], strict=True))]

    lines: list[Cell] = [cell("  ".join(line(HEADS)), "muted")]
    for each, row in zip(plan.offsets, rows, strict=True):
        place, before, after, change, lag, lag_after = line(row)
        moved = "muted" if each.before == each.after else "text"
        lines.append(
            (
                Span(f"{place}  {before}  ", moved),
                Span(after, "accent" if moved == "text" else moved),
                Span(f"  {change}  {lag}  ", moved),
                Span(lag_after, moved),
                Span(f"  {each.note}" if each.note else "", "under_replicated"),
            )
        )
    return lines


def reset_command(bootstrap: str, wish: ResetWish, *, execute: bool = True) -> str:
    """kafka-consumer-groups.sh --reset-offsets; of ``from-group`` what exports the other group's offsets before."""
    tool = f"kafka-consumer-groups.sh --bootstrap-server {bootstrap.split(',')[0] or 'localhost:9092'} --reset-offsets"
    scope = " ".join(f"--topic {shlex.quote(each)}" for each in wish.scope) or "--all-topics"
    group = f"--group {shlex.quote(wish.group)}"
    mode = "--execute" if execute else "--dry-run"
    if wish.rule is Rule.GROUP:
        export = f"{tool} --group {shlex.quote(wish.value)} {scope} --to-current --export --dry-run > offsets.csv"
        return f"{export}; {tool} {group} --from-file offsets.csv {mode}"
    if wish.rule is Rule.FILE:
        return f"{tool} {group} --from-file {shlex.quote(wish.value)} {mode}"
    value = wish.value.strip()
    if wish.rule is Rule.DATETIME:
        # Kafka's tool takes milliseconds or nothing.
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=read_datetime_ms(value))
        value = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return " ".join([tool, group, scope, f"--{wish.rule}", *([shlex.quote(value)] if value else []), mode])


def _places(places: Sequence[Place]) -> str:
    return text.plural(len(places), "partition") if len(places) > 5 else ", ".join(f"{t}-{p}" for t, p in places)
