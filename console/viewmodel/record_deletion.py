"""Records deleted up to an offset: what would go, before it goes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from engine.supervisor.snapshot import PartitionState

# What DeleteRecords has for the high watermark.
TO_THE_END = -1


class Cut(NamedTuple):
    """A partition's log start before and after. ``wanted`` is what is asked of the broker: TO_THE_END, or an offset."""

    topic: str
    partition: int
    log_start: int | None
    high_watermark: int | None
    wanted: int

    @property
    def then(self) -> int | None:
        """Where the log would start."""
        return self.high_watermark if self.wanted == TO_THE_END else self.wanted

    @property
    def records(self) -> int | None:
        """How many offsets go; ``None``: not known."""
        if self.log_start is None or self.then is None:
            return None
        return max(0, self.then - self.log_start)


def cuts_of(partitions: Sequence[PartitionState], written: str) -> list[Cut]:
    """Of what a form says: ``end``, or an offset. Raises: ValueError: a sentence."""
    word = written.strip().lower().replace(",", "")
    if word != "end" and not word.isdigit():
        raise ValueError("an offset, or end")
    wanted = TO_THE_END if word == "end" else int(word)
    found = []
    for each in partitions:
        if wanted > (each.high_watermark if each.high_watermark is not None else wanted):
            raise ValueError(
                f"{each.topic}-{each.partition} ends at {each.high_watermark:,}: an offset up to that, or end"
            )
        found.append(Cut(each.topic, each.partition, each.log_start_offset, each.high_watermark, wanted))
    return found


def cut_cells(cuts: Sequence[Cut]) -> list[Cell]:
    """One line a partition."""
    width = max(len(f"{each.topic}-{each.partition}") for each in cuts)
    return [
        (
            Span(f"{each.topic}-{each.partition}".ljust(width + 2)),
            Span("starts at ", "muted"),
            Span(text.count(each.log_start), "offline"),
            Span("  →  ", "muted"),
            Span(text.count(each.then), "in_sync"),
            Span(f"   of {text.count(each.high_watermark)}", "muted"),
        )
        for each in cuts
    ]


def cut_words(cuts: Sequence[Cut]) -> str:
    """How much goes."""
    known = [each.records for each in cuts if each.records is not None]
    if len(known) < len(cuts):
        return "How many records go is not known: not all logs' starts are."
    return f"{text.count(sum(known))} records go for good." if any(known) else "No record goes: the logs start there."
