"""Deliberate faults with their stopwatch and ledger, as rows and as a drawn timeline."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from engine.supervisor.snapshot import OF_EACH_KILL, Act, ClusterSnapshot, Ledger, Stage

STAGE_TONES = {
    Stage.KILLED: "offline",
    Stage.CONTROLLER_ELECTED: "controller",
    Stage.FENCED: "under_replicated",
    Stage.LEADERS_COMMITTED: "leader",
    Stage.SEEN_BY_SURVIVORS: "controller",
    Stage.FIRST_PRODUCE: "bytes_in",
    Stage.FIRST_FETCH: "in_sync",
    Stage.HEALED: "accent",
    Stage.IN_SYNC: "in_sync",
}


def act_rows(snapshot: ClusterSnapshot) -> list[Act]:
    """The latest last."""
    return sorted(snapshot.acts, key=lambda act: act.act_id)


def act_words(act: Act) -> str:
    """What was done."""
    return act.what or f"{act.kind} broker {act.broker_id}"


def act_key(act: Act) -> str:
    """Stable through all changes."""
    return str(act.act_id)


def stage_after_ms(act: Act, stage: Stage) -> float | None:
    """When a stage was reached by all who reach it (so far)."""
    times = [each.after_ms for each in act.stages if each.stage is stage]
    return max(times) if times else None


def _verdict(act: Act) -> Cell:
    ledger = act.ledger
    if ledger is None:
        return cell("no ledger" if act.finished else "…", "muted")
    if ledger.lost is None or not ledger.complete:
        return cell("counting …", "muted")
    if ledger.lost == 0 and not ledger.duplicated and not ledger.reordered:
        return cell(f"● {ledger.acknowledged:,} acked, 0 lost", "in_sync")
    faults = [
        f"{number:,} {word}"
        for number, word in (
            (ledger.lost, "lost"),
            (ledger.duplicated, "duplicated"),
            (ledger.reordered, "reordered"),
        )
        if number
    ]
    return cell("✗ " + ", ".join(faults), "offline" if ledger.lost else "under_replicated")


def _stage(stage: Stage) -> object:
    def make(act: Act) -> Cell:
        after = stage_after_ms(act, stage)
        return UNKNOWN if after is None else cell(text.milliseconds(after), STAGE_TONES[stage])

    return make


def _acks(act: Act) -> str:
    return act.settings.get("acks") or (act.ledger.acks if act.ledger is not None else "–")


ACT_COLUMNS: tuple[Column, ...] = (
    Column("number", "#", lambda act: cell(act.act_id), 3, lambda act: act.act_id, right=True),
    Column(
        "time", "TIME", lambda act: cell(text.clock_time(act.at_ms), "muted"), 12, lambda act: act.at_ms, priority=2
    ),
    Column("act", "ACT", lambda act: cell(act_words(act)), 16, max_width=44, sort=lambda act: act.broker_id),
    Column(
        "controller",
        "ROLE",
        lambda act: cell("★ controller", "controller") if act.was_controller else cell("broker", "muted"),
        12,
        priority=4,
    ),
    Column(
        "led",
        "LED",
        lambda act: cell(text.count(act.partitions_led)),
        5,
        lambda act: act.partitions_led,
        right=True,
        priority=3,
    ),
    Column("acks", "ACKS", lambda act: cell(_acks(act)), 4, lambda act: _acks(act), priority=2),
    Column("leaders", "LEADERS", _stage(Stage.LEADERS_COMMITTED), 8, right=True, priority=1),  # type: ignore[arg-type]
    Column("produce", "PRODUCE", _stage(Stage.FIRST_PRODUCE), 8, right=True),  # type: ignore[arg-type]
    Column("fetch", "FETCH", _stage(Stage.FIRST_FETCH), 8, right=True),  # type: ignore[arg-type]
    Column("ledger", "LEDGER", _verdict, 22, max_width=40, flashes=True),
)


class TimelineLine(NamedTuple):
    """One bar: from the end of the one before to its own end, in cells of the drawing."""

    label: str
    who: str
    value: str
    tone: str
    lead_cells: float
    bar_cells: float
    detail: str


def timeline(act: Act, width: int, now_ms: int) -> list[TimelineLine]:
    """A waterfall of the stages over ``width`` cells; stages not reached yet are there, empty."""
    # What the figures cannot tell apart stands in the order of the stages.
    order = list(Stage)
    reached = sorted(act.stages, key=lambda each: (round(each.after_ms), order.index(each.stage)))
    last = max((each.after_ms for each in reached), default=0.0)
    running = not act.finished and not act.error
    scale_ms = max(last, 1.0)
    if running:
        scale_ms = max(scale_ms, min(float(now_ms - act.at_ms), 60_000.0))
    lines: list[TimelineLine] = []
    before = 0.0
    for each in reached:
        if each.stage is Stage.KILLED:
            continue
        start = min(before, each.after_ms)
        lines.append(
            TimelineLine(
                str(each.stage),
                f"broker {each.who}" if each.who >= 0 else "",
                text.milliseconds(each.after_ms),
                STAGE_TONES[each.stage],
                start / scale_ms * width,
                max(0.125, (each.after_ms - start) / scale_ms * width),
                each.detail,
            )
        )
        before = max(before, each.after_ms)
    have = {each.stage for each in reached}
    for stage in OF_EACH_KILL if act.kind == "kill" and not act.what else Stage:
        if stage is Stage.KILLED or stage in have or (act.finished and act.kind != "kill"):
            # Not every fault has a broker fenced: what did not come of one that is over was not to come.
            continue
        waiting = "waiting …" if running else "not reached"
        lines.append(TimelineLine(str(stage), "", waiting, "muted", 0, 0, ""))
    return lines


def unavailable_ms(act: Act) -> float | None:
    """How long a client could not write: SIGKILL to the first acknowledged produce."""
    return stage_after_ms(act, Stage.FIRST_PRODUCE)


def summary(acts: Sequence[Act]) -> str:
    """Of several measured failovers; empty of fewer than two."""
    gone = [after for act in acts if (after := unavailable_ms(act)) is not None]
    if len(gone) < 2:
        return ""
    middle, longest = text.milliseconds(statistics.median(gone)), text.milliseconds(max(gone))
    lost = [act.ledger.lost for act in acts if act.ledger is not None and act.ledger.lost is not None]
    return f"{len(gone)} measured · writes back in {middle} (median), {longest} (longest) · {sum(lost):,} lost"


class LedgerFigure(NamedTuple):
    """One figure of the ledger."""

    label: str
    value: str
    tone: str


def ledger_figures(ledger: Ledger) -> list[LedgerFigure]:
    """In the order in which they are read."""

    def bad(value: int | None, tone: str) -> str:
        return "muted" if value is None else "in_sync" if value == 0 else tone

    return [
        LedgerFigure("sent", text.count(ledger.sent), "text"),
        LedgerFigure("acknowledged", text.count(ledger.acknowledged), "text"),
        LedgerFigure("lost", text.count(ledger.lost), bad(ledger.lost, "offline")),
        LedgerFigure("duplicated", text.count(ledger.duplicated), bad(ledger.duplicated, "under_replicated")),
        LedgerFigure("reordered", text.count(ledger.reordered), bad(ledger.reordered, "under_replicated")),
    ]


def headline(act: Act) -> tuple[Span, ...]:
    """One sentence that sums an act up."""
    spans = [Span(act_words(act), "title")]
    if act.was_controller:
        spans.append(Span(" ★ controller", "controller"))
    spans.append(Span(f" · led {text.plural(act.partitions_led, 'partition')}", "muted"))
    gone = unavailable_ms(act)
    if gone is not None:
        spans.append(Span(" · writes back in ", "muted"))
        spans.append(Span(text.milliseconds(gone), "accent"))
    if act.ledger is not None and act.ledger.slowest_ms is not None:
        spans.append(Span(" · slowest acknowledgement ", "muted"))
        spans.append(Span(text.milliseconds(act.ledger.slowest_ms), "accent"))
    return tuple(spans)
