"""Sending dead letters back to where they came from, none of them twice: what is meant, and what was sent already.

What was sent is remembered as committed offsets of a group of its own, ``kconsole-redrive.TOPIC``: everything below the
offset was dealt with, and the offset's metadata names what is beyond it (:class:`Redriven`).
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell
from console.viewmodel.copying import Placement
from console.viewmodel.dead_letters import DeadLetter, dead_letter, redrive_count, redriven_headers
from console.viewmodel.filters import Filter
from console.viewmodel.outgoing import Outgoing, Rate, size_of, stays
from console.viewmodel.records import RecordView
from console.viewmodel.tailing import passes

# Kafka keeps no more beside an offset by default (offset.metadata.max.bytes).
MAX_METADATA_BYTES = 4_096
_MARK = "kconsole-redriven:"
# A record that came back so often is left: what is wrong with it does not go away by itself.
DEFAULT_LIMIT = 3


def group_of(topic: str) -> str:
    """The group that remembers; the transactional id is the same."""
    return f"kconsole-redrive.{topic}"


class RedriveError(Exception):
    """It cannot be done; the message says what to change."""


class Redriven:
    """What was dealt with of one partition: all below ``next``, and ``ranges`` (first, last) beyond."""

    def __init__(self, next_offset: int = 0, ranges: Sequence[tuple[int, int]] = ()) -> None:
        self.next = next_offset
        self.ranges = list(ranges)

    @classmethod
    def parse(cls, offset: int, metadata: str) -> Redriven:
        """Of a committed offset. Metadata that is not the console's (somebody reset the group) names nothing."""
        ranges: list[tuple[int, int]] = []
        if metadata.startswith(_MARK):
            at = offset
            # confluent-kafka commits a C string with the byte that ends it.
            for word in metadata.removeprefix(_MARK).rstrip("\0").split(","):
                gap, _, more = word.partition("+")
                if not gap.isdigit() or (more and not more.isdigit()):
                    break
                first = at + int(gap)
                ranges.append((first, first + int(more or 0)))
                at = ranges[-1][1]
        return cls(offset, ranges)

    def is_done(self, offset: int) -> bool:
        """Whether the record was dealt with."""
        return offset < self.next or any(first <= offset <= last for first, last in self.ranges)

    def add(self, offset: int) -> None:
        """One more."""
        if self.is_done(offset):
            return
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, (offset, offset)]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self.ranges = merged
        self._settle()

    def pass_to(self, offset: int) -> None:
        """Everything below is dealt with."""
        self.next = max(self.next, offset)
        self._settle()

    def _settle(self) -> None:
        while self.ranges and self.ranges[0][0] <= self.next:
            self.next = max(self.next, self.ranges[0][1] + 1)
            del self.ranges[0]

    @property
    def metadata(self) -> str:
        """For the offset ``next``."""
        words, at = [], self.next
        for first, last in self.ranges:
            words.append(f"{first - at}+{last - first}" if last > first else f"{first - at}")
            at = last
        return _MARK + ",".join(words) if words else ""

    def check(self, place: str) -> None:
        """Raises: RedriveError: Kafka would not keep it."""
        if len(self.metadata) >= MAX_METADATA_BYTES:
            raise RedriveError(
                f"{place}: what was sent back lies too far apart to be remembered ({len(self.ranges):,} pieces): send "
                "back what is between, or without a filter"
            )


class RedriveWish(NamedTuple):
    """Which dead letters of a topic go back, and how."""

    topic: str
    wanted: Filter = Filter()
    placement: Placement = Placement.KEEP
    keep_timestamps: bool = True
    limit: int = DEFAULT_LIMIT
    rate: Rate = Rate()


class Verdict(StrEnum):
    """What becomes of a record."""

    GOES = "goes back"
    DONE = "was sent back already"
    OTHER = "does not match"
    NOWHERE = "does not say where it came from"
    AGAIN = "came back too often"
    NO_TOPIC = "came from a topic that is not there"
    STAYS = "does not decode or is masked"


class Judged(NamedTuple):
    """One record, and where it goes if it does."""

    verdict: Verdict
    letter: DeadLetter | None = None
    outgoing: Outgoing | None = None


def judge(record: RecordView, wish: RedriveWish, redriven: Redriven, partitions: Mapping[str, int]) -> Judged:
    """``partitions`` has how many each topic has; one that is not there has none."""
    if redriven.is_done(record.offset):
        return Judged(Verdict.DONE)
    if stays(record):
        return Judged(Verdict.STAYS)
    if not passes(wish.wanted, record):
        return Judged(Verdict.OTHER)
    letter = dead_letter(record.headers)
    if letter is None or letter.topic == wish.topic:
        return Judged(Verdict.NOWHERE)
    if redrive_count(record.headers) >= wish.limit:
        return Judged(Verdict.AGAIN, letter)
    if not partitions.get(letter.topic):
        return Judged(Verdict.NO_TOPIC, letter)
    partition = letter.partition if wish.placement is Placement.KEEP else None
    if partition is not None and partition >= partitions[letter.topic]:
        partition = None
    timestamp_ms = letter.timestamp_ms if letter.timestamp_ms is not None else record.timestamp_ms
    return Judged(
        Verdict.GOES,
        letter,
        Outgoing(
            letter.topic,
            record.key,
            record.value,
            redriven_headers(record.headers, letter.by),
            partition,
            timestamp_ms if wish.keep_timestamps else None,
        ),
    )


class Findings:
    """Counts of what was judged."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.records: Counter[str] = Counter()
        self.size_bytes: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()

    def add(self, judged: Judged) -> None:
        """One more."""
        self.verdicts[judged.verdict] += 1
        if judged.outgoing is not None and judged.letter is not None:
            topic = judged.outgoing.topic
            self.records[topic] += 1
            self.size_bytes[topic] += size_of(judged.outgoing)
            self.reasons[topic, judged.letter.exception.rpartition(".")[2] or "–"] += 1

    @property
    def going(self) -> int:
        """How many go back."""
        return self.verdicts[Verdict.GOES]

    @property
    def left(self) -> str:
        """The others, in words; empty if there are none."""
        others = [(verdict, self.verdicts[verdict]) for verdict in Verdict if verdict is not Verdict.GOES]
        return "; ".join(f"{number:,}: {verdict}" for verdict, number in others if number)


class RedrivePlan(NamedTuple):
    """What was found by reading all that was not sent back yet. ``notes`` are what to know before."""

    wish: RedriveWish
    findings: Findings
    notes: tuple[str, ...] = ()


def plan_cells(plan: RedrivePlan) -> list[Cell]:
    """The plan in lines: one a topic, with the reasons for which records came."""
    wish, findings = plan.wish, plan.findings
    lines: list[Cell] = [(Span(f"{'BACK TO':<24}{'RECORDS':>9}{'SIZE':>11}  WHY", "muted"),)]
    for topic, number in sorted(findings.records.items()):
        reasons = [(each, count) for (of, each), count in findings.reasons.most_common() if of == topic]
        why = ", ".join(f"{count:,} {each}" for each, count in reasons[:3])
        why += f", {len(reasons) - 3} more kinds" if len(reasons) > 3 else ""
        lines.append(
            (
                Span(f"{text.clip(topic, 23):<24}", "accent"),
                Span(f"{number:>9,}{text.size(findings.size_bytes[topic]):>11}  "),
                Span(why, "offline"),
            )
        )
    lines += [
        cell(""),
        cell(summary(plan)),
        (Span("partition ", "muted"), Span(str(wish.placement))),
        (Span("times     ", "muted"), Span("as they were" if wish.keep_timestamps else "when they are sent")),
        (Span("headers   ", "muted"), Span("without those of the error, counted in kconsole.redrive.count")),
        (Span("once      ", "muted"), Span(f"in transactions with the offsets of {group_of(wish.topic)}")),
    ]
    return [*lines, *((Span(f"! {each}", "under_replicated"),) for each in plan.notes)]


def summary(plan: RedrivePlan) -> str:
    """In one sentence."""
    left = plan.findings.left
    said = f"{text.plural(plan.findings.going, 'record')} would be sent back"
    return f"{said}. Left: {left}" if left else said


def redrive_command(bootstrap: str, wish: RedriveWish) -> str:
    """``kconsole redrive``: Kafka has no tool for it."""
    words = ["kconsole", "redrive", wish.topic]
    if wish.wanted.is_active:
        words += ["--filter", wish.wanted.text]
    if wish.placement is Placement.KEY:
        words.append("--by-key")
    if not wish.keep_timestamps:
        words.append("--new-times")
    if wish.limit != DEFAULT_LIMIT:
        words += ["--limit", str(wish.limit)]
    if wish.rate.option:
        words += ["--rate", wish.rate.option]
    return " ".join([*map(shlex.quote, [*words, "--execute"]), "--bootstrap-servers", shlex.quote(bootstrap)])
