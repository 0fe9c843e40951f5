"""The report as one page that needs nothing but itself: verdicts, the timeline as a picture (SVG), all events. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any, TypeAlias

from engine.drills.report import say, setting, whom

_WIDTH, _LEFT, _RIGHT = 1000, 96, 16
_LABELS, _PLOT, _LANE, _AXIS = 64, 120, 22, 26
_LABEL_ROWS = 4
# A letter of the picture's 11-pixel type is about as wide as this.
_LETTER = 6.2
# From a time in seconds to where it stands.
Across: TypeAlias = Callable[[float], float]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6678; --line: #d5dae3; --page: #ffffff; --good: #1a7f45;
  --bad: #c0302b; --warn: #b36b00; --plot: #2f6fc4; --run: #cfe8d8; --stopped: #e5e7ec; --paused: #f6dfb3;
  --start: #d4e3f7 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #394252; --page: #151a22;
  --good: #5cc98b; --bad: #ff7d75; --warn: #f0b350; --plot: #6ea8f2; --run: #24452f; --stopped: #2b313c;
  --paused: #5a4416; --start: #24384f } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 } .soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap } svg { width: 100%; height: auto; font: 11px system-ui, sans-serif }
svg text { fill: var(--ink) }
svg .soft { fill: var(--soft) } .grid { stroke: var(--line) } .act { stroke: var(--warn); stroke-dasharray: 3 3 }
svg text.act { fill: var(--warn); stroke: none } .rate { fill: var(--plot); opacity: .75 } .silent { fill: var(--bad) }
.sync { stroke: var(--good) } .running { fill: var(--run) } .starting, .stopping { fill: var(--start) }
.paused { fill: var(--paused) } .stopped, .killed, .crashed { fill: var(--stopped) } .event { fill: var(--ink) }
"""


def as_page(document: dict[str, Any]) -> str:
    """The page, from what :func:`engine.drills.report.as_document` made."""
    passed = document["passed"]
    title = f"Drill {document['drill']}: {'passed' if passed else 'failed'}"
    stopped = document["stopped"]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f'<h1>{escape(document["drill"])}: <span class="{"good" if passed else "bad"}">'
            f"{'passed' if passed else 'failed'}</span></h1>",
            f"<p>{escape(document['about'])}</p>",
            f'<p class="soft">{escape(setting(document))}</p>',
            f'<p class="bad">The drill was not carried out: {escape(stopped)}</p>' if stopped else "",
            "<h2>Expected, and measured</h2>",
            _assertions(document),
            "<h2>What happened when</h2>",
            timeline(document),
            "<h2>Records</h2>",
            f"<p>{_records(document['records'], document['latency_ms'])}</p>",
            "<h2>All events</h2>",
            _events(document),
            "</body></html>",
            "",
        ]
    )


def _assertions(document: dict[str, Any]) -> str:
    rows = [
        f'<tr><td class="{"good" if each["holds"] else "bad"}">{"holds" if each["holds"] else "fails"}</td>'
        f"<td>{escape(each['name'])}</td><td>{escape(each['expected'])}</td>"
        f'<td class="n">{escape(say(each["name"], each["measured"]))}</td>'
        f'<td class="soft">{escape(each["detail"])}</td></tr>'
        for each in document["assertions"]
    ]
    return f"<table><tr><th></th><th>what</th><th>expected</th><th>measured</th><th></th></tr>{''.join(rows)}</table>"


def _records(records: dict[str, Any], latency: dict[str, float | None]) -> str:
    told = [f"{records['sent']} sent", f"{records['acknowledged']} acknowledged"]
    if records["read_back"]:
        where = {
            kind: number for kind, number in records.get("lost_at", {}).items() if number and kind != "unexplained"
        }
        lost_at = [f"{number} at {kind} elections" for kind, number in where.items()]
        told.append(f"{records['lost']} lost" + (f" ({', '.join(lost_at)})" if lost_at else ""))
        told += [f"{records[name]} {name}" for name in ("duplicated", "reordered")]
    else:
        told.append("not all could be read back")
    told.append(f"{sum(records['failed'].values())} failed")
    told_latency = [f"{name} {say('latency p50', ms)}" for name, ms in latency.items()]
    return escape(f"{', '.join(told)}. To the acknowledgement: {', '.join(told_latency)}.")


def _events(document: dict[str, Any]) -> str:
    rows = [(each["at"], f"{each['act']}{whom(each)}", "the drill") for each in document["acts"]]
    rows += [
        (each["at"], f"{each['subject']}: {each['kind'].replace('_', ' ')}", each["reason"])
        for each in document["events"]
    ]
    lines = [
        f'<tr><td class="n">{at:.3f} s</td><td>{escape(what)}</td><td class="soft">{escape(why)}</td></tr>'
        for at, what, why in sorted(rows, key=lambda row: row[0])
    ]
    return f"<table>{''.join(lines)}</table>"


# -- the picture ----------------------------------------------------------------------------------------------------


def timeline(document: dict[str, Any]) -> str:
    """Acknowledged records over time, where partitions were silent, what state each broker was in, and the acts."""
    seconds = max(float(document["seconds"]), 0.1)
    partitions = range(document["load"]["partitions"])
    brokers = document["cluster"]["brokers"]
    top = _LABELS + _PLOT + 10
    height = top + (len(partitions) + len(brokers)) * _LANE + _AXIS

    def x(at: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(at, 0.0), seconds) / seconds, 1)

    bottom = height - _AXIS
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="timeline of the drill">']
    step = _step(seconds)
    for tick in range(int(seconds / step) + 1):
        at = tick * step
        parts.append(f'<line class="grid" x1="{x(at)}" y1="{_LABELS}" x2="{x(at)}" y2="{bottom}"/>')
        parts.append(f'<text class="soft" x="{x(at)}" y="{height - 8}" text-anchor="middle">{at:g} s</text>')
    parts += _rate(document, x)
    for row, partition in enumerate(partitions):
        parts += _partition_lane(document, partition, top + row * _LANE, x)
    for row, broker in enumerate(brokers):
        parts += _broker_lane(document, broker, top + (len(partitions) + row) * _LANE, x, seconds)
    back = document["back_in_sync"]
    if back is not None:
        parts.append(
            f'<line class="sync" x1="{x(back)}" y1="{_LABELS}" x2="{x(back)}" y2="{bottom}">'
            f"<title>{back:.3f} s: every replica is in sync</title></line>"
        )
    parts += _acts(document, x, bottom)
    return "\n".join([*parts, "</svg>"])


def _step(seconds: float) -> float:
    """Between the marks of the axis: at most a dozen of them."""
    rough = seconds / 12
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= rough)


def _rate(document: dict[str, Any], x: Across) -> list[str]:
    counts = document["acknowledged_each_100_ms"]
    highest = max([1, *counts])
    base = _LABELS + _PLOT
    points = [f"{x(0)},{base}"]
    for at, count in enumerate(counts):
        y = round(base - _PLOT * count / highest, 1)
        points += [f"{x(at / 10)},{y}", f"{x((at + 1) / 10)},{y}"]
    points.append(f"{x(len(counts) / 10)},{base}")
    return [
        f'<polygon class="rate" points="{" ".join(points)}"><title>records acknowledged each 100 ms</title></polygon>',
        f'<text x="0" y="{_LABELS + 10}">{highest * 10}/s</text>',
        f'<text class="soft" x="0" y="{_LABELS + 24}">acknowledged</text>',
        f'<text x="0" y="{base}">0</text>',
    ]


def _partition_lane(document: dict[str, Any], partition: int, y: int, x: Across) -> list[str]:
    name = f"{document['load']['topic']}-{partition}"
    parts = [
        f'<line class="grid" x1="{_LEFT}" y1="{y + _LANE / 2}" x2="{_WIDTH - _RIGHT}" y2="{y + _LANE / 2}"/>',
        f'<text x="0" y="{y + 15}">{escape(_short(name))}</text>',
    ]
    for each in document["silences"]:
        if each["partition"] == partition:
            from_x, to_x = x(each["from"]), x(each["to"])
            width = max(2.0, round(to_x - from_x, 1))
            length = say("unavailable", (each["to"] - each["from"]) * 1000)
            parts.append(
                f'<rect class="silent" x="{from_x}" y="{y + 5}" width="{width}" height="12">'
                f"<title>{escape(name)} acknowledged nothing for {length}, from {each['from']:.3f} s</title></rect>"
            )
    for each in document["events"]:
        if each["subject"] == name and each["kind"] == "leader_changed":
            parts.append(
                f'<circle class="event" cx="{x(each["at"])}" cy="{y + 11}" r="4">'
                f"<title>{each['at']:.3f} s: leader changed: {escape(each['reason'])}</title></circle>"
            )
    return parts


def _broker_lane(document: dict[str, Any], broker: int, y: int, x: Across, seconds: float) -> list[str]:
    spans = [each for each in document["processes"] if each["broker"] == broker]
    parts = [f'<text x="0" y="{y + 15}">broker {broker}</text>']
    for at, each in enumerate(spans):
        until = spans[at + 1]["at"] if at + 1 < len(spans) else seconds
        from_x, to_x = x(each["at"]), x(until)
        if until <= 0 or to_x <= from_x:
            continue
        state = each["state"]
        parts.append(
            f'<rect class="{escape(state)}" x="{from_x}" y="{y + 2}" width="{round(to_x - from_x, 1)}" '
            f'height="{_LANE - 4}"><title>broker {broker}: {escape(state)} from {each["at"]:.3f} s</title></rect>'
        )
        if state != "running" and to_x - from_x > len(state) * _LETTER + 8:
            parts.append(f'<text class="soft" x="{from_x + 4}" y="{y + 15}">{escape(state)}</text>')
    return parts


def _acts(document: dict[str, Any], x: Across, bottom: int) -> list[str]:
    parts: list[str] = []
    # Labels go into the highest row that is free there.
    free_from = [0.0] * _LABEL_ROWS
    for each in document["acts"]:
        at = x(each["at"])
        text = f"{each['act']}{whom(each)}"
        width = len(text) * _LETTER
        left = min(at + 3, _WIDTH - width)
        row = next((row for row in range(_LABEL_ROWS) if free_from[row] <= left), _LABEL_ROWS - 1)
        free_from[row] = left + width + 6
        y = 12 + row * 14
        parts.append(
            f'<line class="act" x1="{at}" y1="{y + 3}" x2="{at}" y2="{bottom}">'
            f"<title>{each['at']:.3f} s: {escape(text)}</title></line>"
            f'<text class="act" x="{round(left, 1)}" y="{y}">{escape(text)}</text>'
        )
    return parts


def _short(name: str) -> str:
    most = int(_LEFT / _LETTER) - 1
    return name if len(name) <= most else f"…{name[1 - most :]}"
