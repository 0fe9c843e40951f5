"""Where to read from, as people write it."""

from __future__ import annotations

import datetime
import re

from console.gateway.protocol import ReadFrom, Start

SEEK_HELP = (
    "end · start · an offset · -N: N records before the end of each partition · 30s 15m 2h 1d: so long ago · "
    "a time of today (14:03, 14:03:07) or a date (2026-11-24 14:03)"
)
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIMES = ("%H:%M", "%H:%M:%S")
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def parse_seek(written: str, now_ms: int) -> ReadFrom | str:
    """The place, or what is wrong with it. Times are local."""
    word = written.strip().lower()
    if not word:
        return "say where to read from"
    if word in ("end", "latest", "tail"):
        return ReadFrom(Start.END)
    if word in ("start", "earliest", "head", "beginning"):
        return ReadFrom(Start.START)
    if re.fullmatch(r"-?\d+", word):
        number = int(word)
        return ReadFrom(Start.END) if word == "-0" else ReadFrom(Start.OFFSET, number)
    ago = _AGO.fullmatch(word)
    if ago:
        return ReadFrom(Start.TIMESTAMP, now_ms - round(float(ago[1]) * _UNIT_MS[ago[2]]))
    for form in _TIMES:
        try:
            moment = datetime.datetime.strptime(word, form)
        except ValueError:
            continue
        today = datetime.datetime.fromtimestamp(now_ms / 1000)
        at = today.replace(hour=moment.hour, minute=moment.minute, second=moment.second, microsecond=0)
        return ReadFrom(Start.TIMESTAMP, round(at.timestamp() * 1000))
    for form in _DATES:
        try:
            return ReadFrom(Start.TIMESTAMP, round(datetime.datetime.strptime(word.upper(), form).timestamp() * 1000))
        except ValueError:
            continue
    return f"'{written}' is no place to read from: try end, start, 1042, -100, 15m or 14:03"
