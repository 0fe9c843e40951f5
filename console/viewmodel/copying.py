"""Copying records from topic to topic: the wish, what becomes of each record, and the plan that is shown first."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from console.gateway.protocol import ReadFrom, Start
from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell
from console.viewmodel.filters import Filter
from console.viewmodel.outgoing import Outgoing, Rate, Tally, stays
from console.viewmodel.records import RecordView
from engine.model.topic_partition import TopicPartition

# Where a copy came from, as text; a name may stand more than once on a record, then the last one counts.
ORIGIN_TOPIC = "kconsole.origin.topic"
ORIGIN_PARTITION = "kconsole.origin.partition"
ORIGIN_OFFSET = "kconsole.origin.offset"


class Placement(StrEnum):
    """Which partition a record goes to."""

    KEEP = "as it was"
    KEY = "by key"


class CopyWish(NamedTuple):
    """What to copy, and how. ``until`` ``None`` is the end as it is when reading begins."""

    source: str
    target: str
    begin: ReadFrom = ReadFrom(Start.START)
    until: ReadFrom | None = None
    wanted: Filter = Filter()
    partitions: tuple[int, ...] | None = None
    placement: Placement = Placement.KEEP
    keep_timestamps: bool = True
    origin_headers: bool = True
    rate: Rate = Rate()
    # As they were typed, for the command line that does the same.
    begin_words: str = "start"
    until_words: str = ""


class CopyError(Exception):
    """It cannot be done; the message says what to change."""


def check_topics(wish: CopyWish) -> None:
    """Raises: CopyError."""
    if not wish.target:
        raise CopyError("name a topic to copy to")
    if wish.target == wish.source:
        raise CopyError(f"{wish.source} is where the records are: name another topic")
    if wish.target.startswith("__"):
        raise CopyError(f"{wish.target} belongs to Kafka itself: name another topic")


def check_layout(wish: CopyWish, highest_partition: int, target_partitions: int) -> None:
    """Raises: CopyError: partitions cannot stay as they are."""
    if wish.placement is Placement.KEEP and highest_partition >= target_partitions:
        raise CopyError(
            f"{wish.target} has {text.plural(target_partitions, 'partition')}, and there is a record of partition "
            f"{highest_partition}: choose {Placement.KEY}, or add partitions"
        )


def copied(record: RecordView, wish: CopyWish) -> Outgoing:
    """The record as it is sent: key, value and headers byte for byte, and behind them where it came from."""
    headers = record.headers
    if wish.origin_headers:
        headers = (
            *headers,
            (ORIGIN_TOPIC, record.topic.encode()),
            (ORIGIN_PARTITION, b"%d" % record.partition),
            (ORIGIN_OFFSET, b"%d" % record.offset),
        )
    return Outgoing(
        wish.target,
        record.key,
        record.value,
        headers,
        record.partition if wish.placement is Placement.KEEP else None,
        record.timestamp_ms if wish.keep_timestamps else None,
    )


class CopyPlan(NamedTuple):
    """What was found by reading all of it. ``starts`` and ``stops`` bound what is copied then: what comes later does
    not count. ``unreadable`` records stay where they are."""

    wish: CopyWish
    tally: Tally
    read: int
    unreadable: int = 0
    starts: Mapping[TopicPartition, int] = {}
    stops: Mapping[TopicPartition, int] = {}
    notes: tuple[str, ...] = ()


def target_notes(wish: CopyWish, tally: Tally, configs: Mapping[str, str | None], now_ms: int) -> tuple[str, ...]:
    """What the target's configs will do to the records. ``now_ms`` is on the wall clock."""
    notes = []
    if wish.keep_timestamps and configs.get("message.timestamp.type") == "LogAppendTime":
        notes.append(f"{wish.target} stamps records itself (message.timestamp.type): their times are not kept")
    limit = configs.get("max.message.bytes") or ""
    if limit.isdigit() and tally.largest_bytes > int(limit):
        notes.append(
            f"the largest record has {tally.largest_bytes:,} bytes, and {wish.target} takes {int(limit):,} "
            "(max.message.bytes): the copy ends there"
        )
    if "compact" in (configs.get("cleanup.policy") or ""):
        notes.append(f"{wish.target} is compacted: it refuses records without a key, and keeps the last of each key")
    retention, oldest_ms = configs.get("retention.ms") or "", tally.oldest_ms
    if wish.keep_timestamps and retention.isdigit() and oldest_ms is not None and now_ms - oldest_ms > int(retention):
        notes.append(
            f"the oldest record is from {text.date_time(oldest_ms)[:16]}, and {wish.target} keeps "
            f"{text.age(int(retention))} (retention.ms): it is deleted soon"
        )
    return tuple(notes)


def plan_cells(plan: CopyPlan) -> list[Cell]:
    """The plan in lines: one a partition, what is done to all, what to know before."""
    wish, tally = plan.wish, plan.tally
    lines: list[Cell] = [
        (Span(wish.source, "accent"), Span(" → ", "muted"), Span(wish.target, "accent")),
        (Span(f"{'PARTITION':<11}{'RECORDS':>10}{'SIZE':>11}  {'OFFSETS':<23}", "muted"),),
    ]
    for (_, partition), share in sorted(tally.shares.items()):
        offsets = f"{share.first:,}–{share.last:,}"
        lines.append(cell(f"{partition:<11}{share.records:>10,}{text.size(share.size_bytes):>11}  {offsets}"))
    lines += [
        cell(""),
        cell(summary(plan)),
        (Span("partition ", "muted"), Span(str(wish.placement))),
        (Span("times     ", "muted"), Span("as they were" if wish.keep_timestamps else "when they are sent")),
        (Span("origin    ", "muted"), Span("added as headers" if wish.origin_headers else "not told")),
        (Span("rate      ", "muted"), Span(wish.rate.words)),
    ]
    lines += [(Span(f"! {each}", "under_replicated"),) for each in plan.notes]
    return lines


def summary(plan: CopyPlan) -> str:
    """In one sentence."""
    others = plan.read - plan.tally.records - plan.unreadable
    words = f"{plan.tally.words} would be copied"
    if others > 0:
        words += f"; {others:,} do not match"
    if plan.unreadable:
        words += f"; {plan.unreadable:,} do not decode or are masked, and stay"
    return words


def copy_command(bootstrap: str, wish: CopyWish, *, execute: bool = True) -> str:
    """``kconsole copy``: no tool of Kafka's copies records with their times, partitions and bytes."""
    words = ["kconsole", "copy", wish.source, wish.target, "--from", wish.begin_words]
    if wish.until_words:
        words += ["--until", wish.until_words]
    if wish.partitions is not None:
        words += ["--partitions", text.id_list(wish.partitions)]
    if wish.wanted.is_active:
        words += ["--filter", wish.wanted.text]
    if wish.placement is Placement.KEY:
        words += ["--by-key"]
    if not wish.keep_timestamps:
        words += ["--new-times"]
    if not wish.origin_headers:
        words += ["--no-origin"]
    if wish.rate.option:
        words += ["--rate", wish.rate.option]
    if execute:
        words += ["--execute"]
    return " ".join([*map(shlex.quote, words), "--bootstrap-servers", shlex.quote(bootstrap)])


def records_plan(wish: CopyWish, records: Sequence[RecordView]) -> CopyPlan:
    """Of records that are there already: those that were marked."""
    tally, unreadable = Tally(), 0
    for record in records:
        if stays(record):
            unreadable += 1
        else:
            tally.add(record)
    return CopyPlan(wish, tally, len(records), unreadable)
