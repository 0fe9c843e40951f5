"""Numbers, sizes, rates, times and spark lines as people read them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

UNKNOWN_TEXT = "–"
_BLOCKS = "▁▂▃▄▅▆▇█"


def count(value: float | None) -> str:
    """``12,345``; above a million ``12.3M``."""
    if value is None:
        return UNKNOWN_TEXT
    if abs(value) >= 10_000_000:
        return f"{value / 1e6:,.1f}M"
    return f"{int(value):,}"


def size(value: float | None) -> str:
    """Bytes with a binary unit: ``71.2 MiB``."""
    if value is None:
        return UNKNOWN_TEXT
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or unit == "GiB":
            break
        value /= 1024
    if unit == "B":
        return f"{int(value)} B"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def rate(value: float | None) -> str:
    """Bytes a second: ``12.3 KiB/s``."""
    return UNKNOWN_TEXT if value is None else f"{size(value)}/s"


def per_second(value: float | None) -> str:
    """Records a second."""
    if value is None:
        return UNKNOWN_TEXT
    return f"{value:.1f}/s" if 0 < value < 10 else f"{value:,.0f}/s"


def milliseconds(value: float | None) -> str:
    """``132 ms``, ``1.25 s``."""
    if value is None:
        return UNKNOWN_TEXT
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.2f} s"


def age_ms(now_ms: int, observed_at_ms: int) -> float:
    """How old a figure is; one that was never observed (0) has no age."""
    return float(max(0, now_ms - observed_at_ms)) if observed_at_ms else 0.0


def age(milliseconds_ago: float) -> str:
    """How old: ``now``, ``4s``, ``3m``, ``2h``, ``5d``."""
    seconds = max(0.0, milliseconds_ago / 1000)
    if seconds < 1.5:
        return "now"
    if seconds < 100:
        return f"{seconds:.0f}s"
    if seconds < 6000:
        return f"{seconds / 60:.0f}m"
    if seconds < 100 * 3600:
        return f"{seconds / 3600:.0f}h"
    return f"{seconds / 86400:.0f}d"


def clock_time(at_ms: int, *, utc: bool = False) -> str:
    """``14:03:07.123`` in local time."""
    zone = datetime.UTC if utc else None
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, zone)
    return f"{moment:%H:%M:%S}.{at_ms % 1000:03d}"


def date_time(at_ms: int, *, utc: bool = False) -> str:
    """``2026-11-24 14:03:07.123`` in local time."""
    zone = datetime.UTC if utc else None
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"


def spark(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as blocks, scaled to their highest; blanks on the left while there are too few."""
    shown = list(values[-width:])
    highest = max(shown, default=0.0)
    if highest <= 0:
        return ("▁" * len(shown)).rjust(width)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(max(0.0, value) / highest * steps)] for value in shown).rjust(width)


def bar(fraction: float, width: int) -> str:
    """Of ``width`` cells, filled to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + ("" if part == 0 else " ▏▎▍▌▋▊▉"[part]))[:width]


def clip(text: str, width: int) -> str:
    """At most ``width`` characters; what is cut shows as an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def shorten_middle(text: str, width: int) -> str:
    """Like :func:`clip`, keeping both ends: for ids and paths."""
    if len(text) <= width:
        return text
    left = max(1, (width - 1) // 2)
    right = max(0, width - 1 - left)
    return text[:left] + "…" + (text[-right:] if right else "")


def id_list(ids: Iterable[int]) -> str:
    """``1,2,3``."""
    return ",".join(map(str, ids))


def plural(number: int, noun: str) -> str:
    """``1 broker``, ``2 brokers``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rate_bytes(written: str) -> int | None:
    """``20M`` as bytes a second; empty is ``None``. Raises: ValueError."""
    words = written.strip().lower().removesuffix("/s").removesuffix("b")
    if not words:
        return None
    unit = words[-1] if words[-1] in "kmg" else ""
    amount = int(words.removesuffix(unit) if unit else words)
    if amount <= 0:
        raise ValueError(written)
    return amount * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[unit]


def joined(parts: Iterable[tuple[str, int]], room: int) -> str:
    """What there is to say, as much of it as there is room for: ``(words, importance)`` in their order. The least
    important goes first, whole; empty words are nothing."""
    kept = [each for each in parts if each[0]]
    while len(kept) > 1 and len(" · ".join(words for words, _ in kept)) > room:
        kept.remove(min(kept, key=lambda each: each[1]))
    return " · ".join(words for words, _ in kept)


def brokers_words(broker_ids: Sequence[int]) -> str:
    """``broker 2``, ``brokers 1, 2``."""
    return f"broker{'' if len(broker_ids) == 1 else 's'} {', '.join(map(str, broker_ids))}"


def plural_s(broker_ids: Sequence[int]) -> str:
    """What the verb of :func:`brokers_words` ends in."""
    return "s" if len(broker_ids) == 1 else ""
