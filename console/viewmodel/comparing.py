"""Measured runs beside each other: settings, stages, ledger, one column a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell
from console.viewmodel.failover import STAGE_TONES, act_words, stage_after_ms
from engine.supervisor.snapshot import Act, Stage

_LABEL = 26
_COLUMN = 15
_SETTINGS = ("acks", "min.insync.replicas", "durability")
# What two figures may differ by before it is said: the probe sends a record each 20 ms.
_SAME_MS = 20.0


def comparison(acts: Sequence[Act]) -> list[Cell]:
    """A table of the runs; of two of them the difference as well."""
    lines: list[Cell] = []
    for act in acts:
        told = f"#{act.act_id}  {act_words(act)}, {text.clock_time(act.at_ms)}"
        lines.append((Span(told, "title"), Span(f"  {act.error}" if act.error else "", "under_replicated")))
    heads = [f"#{act.act_id}" for act in acts]
    lines += [cell(""), _line("", heads, "muted", ["difference"] if len(acts) == 2 else [])]
    for name in _SETTINGS:
        values = [act.settings.get(name) or "–" for act in acts]
        lines.append(_line(name, values, "text" if len(set(values)) == 1 else "accent", []))
    lines.append(_figures("partitions led", acts, lambda act: float(act.partitions_led), text.count, "text"))
    lines.append(cell(""))
    for stage in Stage:
        if stage is not Stage.KILLED and any(stage_after_ms(act, stage) is not None for act in acts):
            lines.append(_times(str(stage), acts, partial(stage_after_ms, stage=stage), STAGE_TONES[stage]))
    lines.append(_times("slowest acknowledgement", acts, partial(_of_ledger, name="slowest_ms"), "text"))
    lines.append(cell(""))
    for name in ("sent", "acknowledged", "lost", "duplicated", "reordered"):
        lines.append(_figures(name, acts, partial(_of_ledger, name=name), text.count, _tone(name, acts)))
    return lines


def _of_ledger(act: Act, name: str) -> float | None:
    found: float | None = None if act.ledger is None else getattr(act.ledger, name)
    return found


def _tone(name: str, acts: Sequence[Act]) -> str:
    if name in ("sent", "acknowledged"):
        return "text"
    counts = [_of_ledger(act, name) for act in acts]
    if any(counts):
        return "offline" if name == "lost" else "under_replicated"
    return "in_sync" if None not in counts else "muted"


def _times(label: str, acts: Sequence[Act], of: Callable[[Act], float | None], tone: str) -> Cell:
    return _figures(label, acts, of, text.milliseconds, tone, _SAME_MS)


def _figures(
    label: str,
    acts: Sequence[Act],
    of: Callable[[Act], float | None],
    words: Callable[[float | None], str],
    tone: str,
    same: float = 0.0,
) -> Cell:
    values = [of(act) for act in acts]
    difference = []
    if len(values) == 2 and values[0] is not None and values[1] is not None:
        by = values[1] - values[0]
        difference = [f"{'+' if by > 0 else '−'}{words(abs(by))}" if abs(by) > same else "same"]
    return _line(label, ["–" if value is None else words(value) for value in values], tone, difference)


def _line(label: str, values: Sequence[str], tone: str, difference: Sequence[str]) -> Cell:
    spans = [Span(f"{label:<{_LABEL}}", "muted")]
    spans += [Span(f"{value:>{_COLUMN}}", tone) for value in values]
    spans += [Span(f"{each:>{_COLUMN}}", "muted") for each in difference]
    return tuple(spans)
