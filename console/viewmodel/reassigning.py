"""Moving chosen partitions to chosen brokers: what is wished for, and the plan as lines to look at. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell
from console.viewmodel.moves import MovePlan, MoveRow, PlannedMove
from engine.supervisor.snapshot import PartitionState

_SHOWN_MOVES = 200


class How(StrEnum):
    """Where the new replicas come from."""

    PROPOSE = "propose"
    LIST = "list"
    FILE = "file"
    LEADERS = "leaders"


Place = tuple[str, int]


class PlacementWish(NamedTuple):
    """What is wished for. ``brokers``: the only ones to be on (propose), the replicas in their order (list), or who
    leads, the first that can (leaders); empty means all of them. ``factor``: replicas of each partition, ``None`` as
    many as it has. ``wanted``: what a file says; of ``placed`` partitions it names log directories as well."""

    how: How
    partitions: tuple[Place, ...]
    brokers: tuple[int, ...] = ()
    factor: int | None = None
    wanted: Mapping[Place, tuple[int, ...]] = {}
    placed: int = 0


class WishError(Exception):
    """It makes no sense; the message says what would."""


def read_ids(words: str) -> tuple[int, ...]:
    """``1,2 4`` as broker ids. Raises: WishError."""
    parts = [each for each in re.split(r"[,\s]+", words.strip()) if each]
    if not all(each.isascii() and each.isdigit() for each in parts):
        raise WishError(f"{words.strip()!r} is no list of broker ids: write 1,2,4")
    found = tuple(map(int, parts))
    if len(set(found)) < len(found):
        raise WishError(f"{words.strip()!r} names a broker twice")
    return found


def check_wish(wish: PlacementWish) -> None:
    """Raises: WishError: a part of it is missing, or does not belong there."""
    if wish.how is How.LIST and not wish.brokers:
        raise WishError("list needs the brokers, the preferred leader first: 1,2,4")
    if wish.factor is not None and wish.how is not How.PROPOSE:
        raise WishError(f"{wish.how} takes no number of replicas: propose does, or name the brokers of a list")
    if wish.factor is not None and wish.factor < 1:
        raise WishError("a partition has at least one replica")
    if wish.how is How.FILE and not wish.wanted:
        raise WishError("file needs the path of a JSON file as kafka-reassign-partitions.sh takes it")


def directories_words(placed: int) -> str:
    """What becomes of log directories that a file names; empty if it names none."""
    if not placed:
        return ""
    return (
        f"the file names log directories of {text.plural(placed, 'partition')}: each broker chooses them itself here, "
        "kafka-reassign-partitions.sh moves into them"
    )


class PairBytes(NamedTuple):
    """What one broker sends another for a plan."""

    source: int
    target: int
    copied_bytes: int


def pairs_of(plan: MovePlan) -> list[PairBytes]:
    """Who copies from whom: a replica that is added fetches from the leader. Most first; -1 sends of partitions that
    have no leader, which is nobody."""
    found: dict[tuple[int, int], int] = {}
    for each in plan.moves:
        for target in each.adding:
            key = each.leader, target
            found[key] = found.get(key, 0) + each.copied_bytes // len(each.adding)
    return sorted((PairBytes(*key, size) for key, size in found.items()), key=lambda each: (-each.copied_bytes, each))


def risks_of(plan: MovePlan) -> list[str]:
    """What may go wrong with it, in sentences; the worst first."""
    risks: list[str] = []
    leaderless = [each for each in plan.moves if each.leader < 0 and each.adding]
    if leaderless:
        risks.append(f"{_places(leaderless)} have no leader to copy from: they move when one is back")
    below = [each for each in plan.moves if each.min_isr is not None and len(each.after) < each.min_isr]
    if below:
        risks.append(
            f"{_places(below)} would have fewer replicas than min.insync.replicas: produces with acks=all are refused"
        )
    single = [each for each in plan.moves if len(each.after) == 1 < len(each.before)]
    if single:
        risks.append(f"{_places(single)} would have one replica: the loss of its broker is the loss of the partition")
    exact = [
        each
        for each in plan.moves
        if each.min_isr is not None and len(each.after) == each.min_isr > 1 and len(each.before) > each.min_isr
    ]
    if exact:
        risks.append(f"{_places(exact)} would be refused acks=all as soon as one of its brokers is down")
    fresh = [each for each in plan.moves if each.isr and each.adding and not set(each.isr) & set(each.after)]
    if fresh:
        risks.append(f"{_places(fresh)} keep none of their replicas in sync: all is copied before any leaves")
    lagging = [each for each in plan.moves if each.isr and set(each.before) - set(each.isr) - set(each.removing)]
    if lagging:
        risks.append(f"{_places(lagging)} have replicas out of sync that stay: the move ends when they are back")
    risks += [
        f"broker {broker_id} gets {text.size(gets)} and its directories have {text.size(free)} left"
        for broker_id, gets, free in _rooms(plan)
        if free is not None and gets > free
    ]
    return risks


def _rooms(plan: MovePlan) -> list[tuple[int, int, int | None]]:
    """By broker that gets something: how much, and how much room its directories have in all."""
    gets: dict[int, int] = {}
    for each in plan.moves:
        for target in each.adding:
            gets[target] = gets.get(target, 0) + each.copied_bytes // len(each.adding)
    found = []
    for broker_id, size in sorted(gets.items()):
        frees = [room.usable_bytes for room in plan.rooms if room.broker_id == broker_id]
        known = [each for each in frees if each is not None]
        found.append((broker_id, size, sum(known) if known and len(known) == len(frees) else None))
    return found


def _places(moves: Sequence[PlannedMove]) -> str:
    words = ", ".join(f"{each.topic}-{each.partition}" for each in moves[:3])
    return words + (f" and {len(moves) - 3:,} more" if len(moves) > 3 else "")


def _ids(broker_ids: Sequence[int]) -> str:
    return ",".join(map(str, broker_ids))


def plan_cells(plan: MovePlan) -> list[Cell]:
    """The plan: each partition, who copies from whom, disks, leaders, what may go wrong."""
    moves = plan.moves[:_SHOWN_MOVES]
    width = max((len(f"{each.topic}-{each.partition}") for each in moves), default=0)
    before = max((len(_ids(each.before)) for each in moves), default=0)
    lines: list[Cell] = []
    for each in moves:
        spans = [
            Span(f"{each.topic}-{each.partition}".ljust(width + 2)),
            Span(f"{_ids(each.before):<{before}} → ", "muted"),
            Span(_ids(each.after), "accent"),
        ]
        spans += [Span(f"  +{_ids(each.adding)}", "in_sync")] if each.adding else []
        spans += [Span(f"  −{_ids(each.removing)}", "under_replicated")] if each.removing else []
        spans.append(Span(f"  {text.size(each.copied_bytes)}" if each.adding else "  nothing is copied", "muted"))
        if each.leader_after != each.leader:
            spans.append(Span(f"  leader {each.leader if each.leader >= 0 else '–'} → {each.leader_after}", "leader"))
        lines.append(tuple(spans))
    if len(plan.moves) > len(moves):
        lines.append(cell(f"and {len(plan.moves) - len(moves):,} partitions more", "muted"))
    lines.append(cell(""))
    lines.append(cell(summary(plan), "title"))
    for pair in pairs_of(plan):
        source = f"broker {pair.source}" if pair.source >= 0 else "nobody"
        lines.append(cell(f"{source} sends broker {pair.target} {text.size(pair.copied_bytes)}"))
    for broker_id, gets, free in _rooms(plan):
        paths = ", ".join(
            f"{room.path} {text.size(room.usable_bytes)} free" for room in plan.rooms if room.broker_id == broker_id
        )
        tone = "offline" if free is not None and gets > free else "text"
        lines.append(cell(f"broker {broker_id} takes {text.size(gets)}: {paths or 'it does not tell its disks'}", tone))
    for load in plan.loads:
        (replicas, then), (leaders, leaders_then), _ = load.replicas, load.leaders, load.size_bytes
        if replicas != then or leaders != leaders_then:
            lines.append(
                cell(
                    f"broker {load.broker_id}: replicas {replicas} → {then}, leaders {leaders} → {leaders_then}",
                    "muted",
                )
            )
    lines += [(Span("! ", "offline"), Span(each, "under_replicated")) for each in risks_of(plan)]
    return lines


def summary(plan: MovePlan) -> str:
    """How much it is."""
    leaders = sum(each.leader_after != each.leader for each in plan.moves)
    return (
        f"{text.plural(len(plan.moves), 'partition')} change, {text.size(plan.copied_bytes)} are copied, "
        f"{text.plural(leaders, 'leader')} move"
    )


def cancel_cells(rows: Sequence[MoveRow]) -> list[Cell]:
    """What the cancelling of moves brings back."""
    lines: list[Cell] = [
        (
            Span(f"{each.topic}-{each.partition}  "),
            Span("stays on "),
            Span(_ids(each.original), "accent"),
            Span(f"  broker {_ids(each.adding)} gives up its {text.size(each.copied_bytes)}" if each.adding else ""),
        )
        for each in rows
    ]
    lost = sum(each.copied_bytes for each in rows)
    return [*lines, cell(""), cell(f"What was copied is thrown away: {text.size(lost)}.", "title")]


def loss_words(partition: PartitionState, down: Collection[int] = ()) -> str:
    """What an unclean election of a partition may lose, as far as its log ends are known; ``down`` are brokers
    that nobody reaches."""
    place = f"{partition.topic}-{partition.partition}"
    ends = {each.broker_id: each.log_end_offset for each in partition.replica_states if each.log_end_offset is not None}
    high = partition.high_watermark
    in_sync = f"in sync were {_ids(partition.isr)}" if partition.isr else "nobody is known to be in sync"
    alive = [each for each in partition.replicas if each not in partition.offline_replicas and each not in down]
    if not alive:
        return f"{place}: {in_sync}; none of its replicas lives, so nobody can be elected"
    short = [
        f"broker {each}'s log ends at {ends[each]:,}"
        if high is None
        else f"broker {each} lacks {high - ends[each]:,} records"
        for each in alive
        if each in ends and (high is None or ends[each] < high)
    ]
    return f"{place}: {in_sync}; {_ids(alive)} can lead" + (f", {', '.join(short)}" if short else "")


def read_places(words: Sequence[str], existing: Mapping[str, Sequence[int]]) -> tuple[Place, ...]:
    """``orders`` or ``orders:0,2`` as partitions. Raises: WishError."""
    found: dict[Place, None] = {}
    for word in words:
        topic, colon, numbers = word.partition(":")
        if topic not in existing:
            raise WishError(f"there is no topic {topic}")
        wanted = read_ids(numbers) if colon else tuple(existing[topic])
        for each in wanted:
            if each not in existing[topic]:
                raise WishError(f"there is no partition {topic}-{each}")
            found[topic, each] = None
    return tuple(found)
