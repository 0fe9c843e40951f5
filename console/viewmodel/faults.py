"""Faults on purpose: those that last as rows, the form's words, and what one would do, told before it is done."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.impact import impact_of_losing
from console.viewmodel.text import plural
from engine.supervisor.fault_kinds import KINDS, OF_ALL, OTHERS, FaultWish, WishError, read_wish
from engine.supervisor.snapshot import ActiveFault, ClusterSnapshot

KIND_NAMES = tuple(KINDS)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min)?")
_UNITS_MS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0}
_BROKER_GOES = ("kill", "failing fsync", "disk full", "crash loop")


class FaultRow(NamedTuple):
    """An active fault, and the time of the picture."""

    fault: ActiveFault
    now_ms: int

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return str(self.fault.fault_id)


def fault_rows(snapshot: ClusterSnapshot, now_ms: int) -> list[FaultRow]:
    """The latest last."""
    return [FaultRow(each, now_ms) for each in sorted(snapshot.faults, key=lambda each: each.fault_id)]


def _heals(row: FaultRow) -> Cell:
    at_ms = row.fault.heals_at_ms
    if at_ms is None:
        return cell("by itself" if row.fault.progress else "when you say so", "muted")
    return cell(f"in {max(0.0, (at_ms - row.now_ms) / 1000):.0f} s", "text")


FAULT_COLUMNS: tuple[Column, ...] = (
    Column("number", "#", lambda row: cell(row.fault.fault_id), 3, lambda row: row.fault.fault_id, right=True),
    Column("fault", "FAULT", lambda row: cell(row.fault.what, "offline"), 42, max_width=56),
    Column("since", "SINCE", lambda row: cell(text.age(row.now_ms - row.fault.at_ms), "muted"), 7, right=True),
    Column("heals", "HEALS", _heals, 15),
    Column(
        "progress",
        "PROGRESS",
        lambda row: cell(row.fault.progress) if row.fault.progress else UNKNOWN,
        20,
        max_width=100,
        priority=1,
        flashes=True,
    ),
    Column(
        "act",
        "RUN",
        lambda row: cell("not measured", "muted") if row.fault.act_id is None else cell(f"#{row.fault.act_id}"),
        12,
        priority=2,
    ),
)


# -- the form -------------------------------------------------------------------------------------------------------


def duration_ms(words: str) -> float | None:
    """``200 ms``, ``10 s``, ``10`` (seconds); ``None`` if it is none."""
    found = _DURATION.fullmatch(words.strip())
    return None if found is None else float(found[1]) * _UNITS_MS[found[2] or "s"]


def wish_of(values: Mapping[str, str], broker_ids: Collection[int]) -> FaultWish:
    """What a form asks for. Fields that the kind does not take may hold anything.

    Raises:
        WishError: it makes no sense, with the remedy.
    """
    kind = KINDS.get(values["kind"])
    arguments: dict[str, object] = {"kind": values["kind"], "acks": values.get("acks", "all")}
    takes = kind.takes if kind is not None else frozenset()
    broker = values["broker"].strip()
    if values["kind"] not in OF_ALL:
        if not broker.isdigit():
            raise WishError(f"broker is the number of one: {', '.join(map(str, sorted(broker_ids)))}")
        arguments["broker_id"] = int(broker)
    arguments["other"] = values["other"].strip() if "other" in takes else ""
    if "by" in takes:
        by_ms = duration_ms(values["by"])
        if by_ms is None:
            raise WishError("by is how much longer it takes: 200 ms, or 2 s")
        arguments["by_ms"] = by_ms
    if "times" in takes:
        times = values["times"].strip()
        if not times.isdigit():
            raise WishError("times is how often it is killed: a whole number")
        arguments["times"] = int(times)
    minimum = values.get("min_isr", "").strip()
    if minimum.isdigit():
        arguments["min_isr"] = int(minimum)
    if values["for"].strip():
        for_ms = duration_ms(values["for"])
        if for_ms is None:
            raise WishError("for is how long it lasts: 10 s, or nothing: until it is healed")
        arguments["for_ms"] = for_ms
    return read_wish(arguments, broker_ids)


# -- before it is done ----------------------------------------------------------------------------------------------


def fault_preview(snapshot: ClusterSnapshot, wish: FaultWish) -> list[Cell]:
    """What it would do, from the metadata of this moment."""
    lines = [(Span(f"{wish.words[:1].upper()}{wish.words[1:]}.", "title"),), cell("")]
    lines += [cell(line, tone) for line, tone in _consequences(snapshot, wish)]
    heals = "It ends by itself."
    if wish.for_ms:
        heals = f"It heals by itself after {wish.for_ms / 1000:g} s."
    elif wish.kind not in ("crash loop", "rolling restart"):
        heals = "It lasts until you heal it (:faults, x)."
    minimum = f" (min.insync.replicas={wish.min_isr})" if wish.min_isr else ""
    measured = (
        f"A producer with acks={wish.acks}{minimum} and a consumer measure it: 5 has the stopwatch and the ledger."
    )
    return [*lines, cell(""), cell(heals), cell(measured, "muted")]


def _consequences(snapshot: ClusterSnapshot, wish: FaultWish) -> Sequence[tuple[str, str]]:
    who = (wish.broker_id,)
    losing = impact_of_losing(snapshot, who) or "Nothing depends on the broker."
    led = sum(each.leader == wish.broker_id for topic in snapshot.topics for each in topic.partitions)
    copies = sum(wish.broker_id in each.isr for topic in snapshot.topics for each in topic.partitions)
    if wish.kind == "slow fsync":
        return [
            (
                f"Nothing is lost. {plural(led, 'partition')} that it leads, and acks=all of the {copies:,} that it "
                f"holds in sync, wait {wish.by_ms:g} ms and more for each flush.",
                "text",
            ),
            (
                "If the broker does not flush before it acknowledges (durability page-cache), little is to be seen.",
                "muted",
            ),
        ]
    if wish.kind == "rolling restart":
        worst = max(snapshot.brokers, key=lambda each: each.leaders, default=None)
        lines = [
            ("Each broker hands its leaders over, leaves and comes back; the next one waits for every replica.", "text")
        ]
        if worst is not None:
            lines.append(
                (
                    f"The largest step is broker {worst.broker_id}: {impact_of_losing(snapshot, (worst.broker_id,))}",
                    "text",
                )
            )
        return lines
    if wish.kind == "delay":
        return [
            (f"Nothing is lost. What one sends to the other is heard {wish.by_ms:g} ms later, each way.", "text"),
            (f"If that is longer than time-outs, it is as if it were cut: {losing}", "muted"),
        ]
    if wish.kind == "cut" and wish.other == "clients":
        return [
            (
                f"Clients of {plural(led, 'partition')} wait: the controller hears the broker, so no leader moves.",
                "under_replicated",
            ),
            ("The console is a client, too: the broker's figures grow old.", "muted"),
        ]
    if wish.kind == "cut" and wish.other != OTHERS:
        shared = sum(
            {wish.broker_id, int(wish.other)} <= set(each.isr) for topic in snapshot.topics for each in topic.partitions
        )
        return [
            (
                f"{plural(shared, 'partition')} that both hold lose one of the two from the ISR after "
                "replica.lag.time.max.ms.",
                "under_replicated",
            ),
            (f"If one of them is the controller, the other's session lapses. Then: {losing}", "muted"),
        ]
    if wish.kind in ("pause", "cut"):
        return [(f"After its session (broker.session.timeout.ms): {losing}", "under_replicated")]
    ends = {
        "failing fsync": "The first fsync fails, its log directory goes offline, and with the last one the broker ends "
        "(KafkaStorageException). It is started again, and ends again, until it is healed.",
        "disk full": "The first append fails, its log directory goes offline, and with the last one the broker ends "
        "(KafkaStorageException). It is started again, and ends again, until it is healed.",
        "crash loop": "It is killed as soon as it serves; the restart policy starts it again, later each time.",
    }
    said = [(ends[wish.kind], "text")] if wish.kind in ends else []
    assert wish.kind in _BROKER_GOES, f"nobody knows what {wish.kind} does"
    return [*said, (losing, "under_replicated")]
