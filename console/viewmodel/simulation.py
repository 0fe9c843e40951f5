"""A simulated run as rows and lines: decisions and messages in one order, the transport, the machines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.events import event_mark, kind_words

KEPT_MESSAGES = 5_000
KEPT_DECISIONS = 20_000
# How much the timeline shows, and what ``n`` stops at: names of the engine's levels.
LEVELS = ("decision", "broker message", "message")
LEVEL_WORDS = {
    "decision": "decisions",
    "broker message": "decisions and brokers' messages",
    "message": "everything",
}
# Simulated seconds a second; None: as fast as it goes.
SPEEDS: tuple[float | None, ...] = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, None)


class Decision(NamedTuple):
    """Something that a broker decided, or that was done to one. ``after``: the message that it followed from, or -1."""

    number: int
    at_s: float
    kind: str
    source: str
    subject: str
    reason: str
    detail: dict[str, Any]
    after: int
    is_election: bool = False

    @property
    def is_healthy(self) -> bool:
        """For ``ctrl-z``."""
        return event_mark(self.kind)[0] not in ("offline", "under_replicated")


class WireMessage(NamedTuple):
    """A whole message that arrived. An answer has the number of its question in ``answers``."""

    number: int
    at_s: float
    source: str
    target: str
    connection: int
    is_request: bool
    api: str
    version: int
    correlation_id: int
    size: int
    answers: int
    took_s: float
    is_between_brokers: bool
    summary: str

    @property
    def is_healthy(self) -> bool:
        """For ``ctrl-z``: messages are no faults."""
        return True


@dataclass(frozen=True, slots=True)
class Machine:
    """One broker's machine, as the simulator sees it."""

    broker_id: int
    state: str
    lives: int = 0
    role: str = ""
    epoch: int | None = None
    leader: int | None = None
    log_end: int | None = None
    high_watermark: int | None = None
    is_controller: bool = False
    metadata_offset: int | None = None
    leads: int = 0
    in_sync: int = 0
    replicas: int = 0
    cut_from: tuple[int, ...] = ()
    ails: tuple[str, ...] = ()
    clock_ms: int = 0

    @property
    def key(self) -> str:
        """For the table."""
        return str(self.broker_id)


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run is."""

    seed: int = 0
    seconds: float = 0.0
    mode: str = "starting"
    speed: float | None = 1.0
    at_s: float = 0.0
    number: int = 0
    seen_until_s: float = 0.0
    ended: bool = False
    broken: str = ""
    looking_for: str = ""
    progress: float = 1.0
    marks: tuple[tuple[float, str], ...] = ()
    machines: tuple[Machine, ...] = ()
    # Times (None: at an exact place), words and author of acts that are yet to come.
    ahead: tuple[tuple[float | None, str, str], ...] = ()


@dataclass(slots=True)
class Story:
    """What happened so far, as far as it is kept."""

    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))
    messages: deque[WireMessage] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))
    revision: int = 0

    def take(self, decisions: Iterable[Decision], messages: Iterable[WireMessage], *, anew: bool) -> None:
        """What is new; ``anew``: nothing of what was told before has happened."""
        if anew:
            self.decisions.clear()
            self.messages.clear()
        self.decisions.extend(decisions)
        self.messages.extend(messages)
        self.revision += 1

    def rows(self, level: str) -> Sequence[Decision | WireMessage]:
        """In the order of their numbers."""
        if level == "decision":
            return list(self.decisions)
        messages = [each for each in self.messages if level == "message" or each.is_between_brokers]
        first = self.messages[0].number if self.messages else 0
        # Where messages are not kept any more, decisions would stand alone and tell a story with holes.
        decisions = [each for each in self.decisions if each.number >= first or not self.messages]
        return sorted([*decisions, *messages], key=lambda each: each.number)

    def wire_until(self, number: int, count: int, *, brokers_only: bool) -> list[WireMessage]:
        """The last messages up to a number."""
        found: list[WireMessage] = []
        for each in reversed(self.messages):
            if each.number <= number and (each.is_between_brokers or not brokers_only):
                found.append(each)
                if len(found) >= count:
                    break
        found.reverse()
        return found

    def message(self, number: int) -> WireMessage | None:
        """By its number, if it is kept."""
        return next((each for each in reversed(self.messages) if each.number == number), None)


# -- cells ------------------------------------------------------------------------------------------------------------


def seconds(at_s: float) -> str:
    """``12.345678``: simulated seconds since the beginning, to the microsecond."""
    return f"{at_s:.6f}"


def speed_words(speed: float | None) -> str:
    """``0.1×``, ``max``."""
    return "max" if speed is None else f"{speed:g}×"


def _what(row: Decision | WireMessage) -> Cell:
    if isinstance(row, WireMessage):
        glyph = "→" if row.is_request else "←"
        return (Span(f"{glyph} ", "muted"), Span(row.api, "text" if row.is_between_brokers else "muted"))
    tone, glyph = event_mark(row.kind)
    return (Span(f"{glyph} {kind_words(row.kind)}", tone),)


def _who(row: Decision | WireMessage) -> Cell:
    if isinstance(row, Decision):
        # The seed's number stands above.
        return cell(short(row.source).partition(" ")[0], "muted")
    return (Span(f"{short(row.source)}→{short(row.target)}", "muted"),)


def short(machine: str) -> str:
    """``1`` for broker 1, a client's name as it is."""
    return machine.removeprefix("broker ")


def _about(row: Decision | WireMessage) -> Cell:
    if isinstance(row, WireMessage):
        return cell(row.summary, "text" if row.is_between_brokers else "muted")
    return (Span(f"{row.subject}  ", "title"), Span(row.reason or "–"))


# Where in the run a row stands.
_MOMENT_COLUMNS: tuple[Column, ...] = (
    Column("number", "EVENT", lambda row: cell(f"{row.number:,}", "muted"), 6, right=True, max_width=9),
    Column("time", "SECONDS", lambda row: cell(seconds(row.at_s), "muted"), 9, right=True, max_width=12),
)
TIMELINE_COLUMNS: tuple[Column, ...] = (
    *_MOMENT_COLUMNS,
    Column("what", "WHAT", _what, 16, max_width=26),
    Column("who", "WHO", _who, 4, max_width=18),
    Column("why", "WHY", _about, 16, max_width=240),
)


def _version(row: WireMessage) -> Cell:
    return cell(row.version, "muted")


def _took(row: WireMessage) -> Cell:
    return cell("" if row.is_request else text.milliseconds(row.took_s * 1000), "muted")


WIRE_COLUMNS: tuple[Column, ...] = (
    *_MOMENT_COLUMNS,
    Column("what", "MESSAGE", _what, 10, max_width=26),
    Column("who", "FROM→TO", _who, 7, max_width=18),
    Column("says", "SAYS", _about, 16, max_width=240),
    Column("version", "VER", _version, 3, right=True, priority=2),
    Column("correlation", "CORREL", lambda row: cell(row.correlation_id, "muted"), 6, right=True, priority=3),
    Column("size", "BYTES", lambda row: cell(text.count(row.size), "muted"), 6, right=True, priority=2),
    Column("took", "TOOK", _took, 8, right=True, priority=4),
)

_STATES = {
    "running": ("in_sync", "●"),
    "starting": ("under_replicated", "◐"),
    "paused": ("under_replicated", "Ⅱ"),
    "down": ("offline", "✗"),
    "no power": ("offline", "✗"),
}


def machine_state(row: Machine) -> Cell:
    """Glyph and word."""
    tone, glyph = _STATES[row.state]
    return (Span(f"{glyph} {row.state}", tone),)


def _role(row: Machine) -> Cell:
    if not row.role:
        return UNKNOWN
    if row.role == "leader":
        return (Span("★ leader", "controller"),)
    tone = "under_replicated" if row.role in ("candidate", "prospective", "resigned", "unattached") else "text"
    return cell(row.role, tone)


def _number(value: int | None, tone: str = "text") -> Cell:
    return UNKNOWN if value is None else cell(text.count(value), tone)


def _machine_in_sync(row: Machine) -> Cell:
    if not row.replicas:
        return UNKNOWN
    tone = "in_sync" if row.in_sync >= row.replicas else "under_replicated"
    return (Span(str(row.in_sync), tone), Span(f"/{row.replicas}", "muted"))


def _ails(row: Machine) -> Cell:
    words = [f"cut from {text.id_list(row.cut_from)}"] if row.cut_from else []
    words += row.ails
    return cell(", ".join(words), "under_replicated") if words else cell("–", "muted")


MACHINE_COLUMNS: tuple[Column, ...] = (
    Column("broker", "BROKER", lambda row: cell(row.broker_id), 6, right=True),
    Column("state", "STATE", machine_state, 10, flashes=True),
    Column("role", "IN THE QUORUM", _role, 13, flashes=True),
    Column("epoch", "EPOCH", lambda row: _number(row.epoch), 5, right=True, flashes=True),
    Column("end", "LOG END", lambda row: _number(row.log_end), 7, right=True),
    Column("high", "HIGH WM", lambda row: _number(row.high_watermark), 7, right=True),
    Column("leads", "LEADS", lambda row: cell(row.leads, "leader"), 5, right=True, flashes=True),
    Column("in-sync", "IN SYNC", _machine_in_sync, 7, right=True, flashes=True),
    Column("metadata", "APPLIED", lambda row: _number(row.metadata_offset), 7, right=True, priority=3),
    Column("life", "LIFE", lambda row: cell(row.lives, "muted"), 4, right=True, priority=4),
    Column("clock", "CLOCK (UTC)", lambda row: cell(text.clock_time(row.clock_ms, utc=True), "muted"), 12, priority=5),
    Column("ails", "AILS", _ails, 8, priority=2, max_width=60),
)


# -- the transport ----------------------------------------------------------------------------------------------------

_MODES = {
    "starting": ("◌", "starting", "muted"),
    "paused": ("‖", "paused", "under_replicated"),
    "playing": ("▶", "playing", "in_sync"),
    "looking": ("▶▶", "looking", "info"),
    "replaying": ("◀◀", "replaying", "info"),
}
_MARKS = {
    "quorum_leader_elected": ("★", "controller"),
    "leader_changed": ("⇄", "leader"),
    "fault": ("!", "offline"),
    "your_act": ("!", "accent"),
    "scenario_act": ("!", "under_replicated"),
    "promise_broken": ("✗", "offline"),
    "run_ended": ("■", "in_sync"),
}
_MARK_ORDER = tuple(_MARKS)


def transport(state: RunState, level: str) -> tuple[Cell, Cell]:
    """The first line's left and right part."""
    glyph, word, tone = _MODES[state.mode]
    if state.mode == "looking" and state.looking_for:
        word = f"looking for the next {state.looking_for}"
    if state.mode == "replaying":
        word = f"replaying from the seed, {min(1.0, state.progress):.0%}"
    if state.broken:
        glyph, word, tone = "✗", "a promise is broken", "offline"
    left = (
        Span(f"{glyph} {word}", tone),
        Span("  seed ", "muted"),
        Span(str(state.seed), "title"),
        Span("  event ", "muted"),
        Span(f"{state.number:,}", "accent"),
        Span("  at ", "muted"),
        Span(seconds(state.at_s), "accent"),
        Span(" s", "muted"),
    )
    right = (
        Span("speed ", "muted"),
        Span(speed_words(state.speed), "title"),
        Span("  step ", "muted"),
        Span({"decision": "decision", "broker message": "brokers' message", "message": "any message"}[level], "title"),
    )
    return left, right


def scrub_bar(state: RunState, width: int) -> Cell:
    """The run from its beginning to its end (or as far as it went), with its elections and faults; ``●`` is here."""
    end_s = max(state.seconds, state.seen_until_s, state.at_s, 0.001)
    tail = f" {end_s:g} s" if end_s == state.seconds else f" {end_s:.1f} s"
    room = max(4, width - len(tail) - 2)

    def place(at_s: float) -> int:
        return max(0, min(room - 1, round(at_s / end_s * (room - 1))))

    here, seen = place(state.at_s), place(state.seen_until_s)
    marks: dict[int, str] = {}
    for at_s, kind in state.marks:
        if kind in _MARKS:
            at = place(at_s)
            before = marks.get(at)
            if before is None or _MARK_ORDER.index(kind) < _MARK_ORDER.index(before):
                marks[at] = kind
    for planned_s, _, _ in state.ahead:
        if planned_s is not None:
            marks.setdefault(place(planned_s), "scenario_act")
    spans = [Span("├", "muted")]
    for at in range(room):
        if at == here:
            spans.append(Span("●", "accent"))
        elif at in marks:
            spans.append(Span(*_MARKS[marks[at]]))
        elif at < here:
            spans.append(Span("━", "accent"))
        else:
            spans.append(Span("─" if at <= seen else "·", "title" if at <= seen else "muted"))
    return (*spans, Span("┤", "muted"), Span(tail, "muted"))


def scrub_time(state: RunState, width: int, x: int) -> float:
    """The time that cell ``x`` of the scrub bar stands for."""
    end_s = max(state.seconds, state.seen_until_s, state.at_s, 0.001)
    tail = f" {end_s:g} s" if end_s == state.seconds else f" {end_s:.1f} s"
    room = max(4, width - len(tail) - 2)
    return max(0.0, min(1.0, (x - 1) / (room - 1))) * end_s


# -- why --------------------------------------------------------------------------------------------------------------


def why_lines(row: Decision | WireMessage | None, story: Story) -> list[Cell]:
    """The selected row in whole sentences: what, by whom, because of what."""
    if row is None:
        return [cell("n steps to the next decision, N to the next election, space plays", "muted")]
    if isinstance(row, WireMessage):
        kind = "asks" if row.is_request else "answers"
        first = [
            Span(f"{row.api} ", "title"),
            Span(f"{row.source} {kind} {row.target}: ", "muted"),
            Span(row.summary),
        ]
        after = "" if row.is_request else f"answers event {row.answers:,} after {text.milliseconds(row.took_s * 1000)}"
        figures = (
            f"version {row.version}, correlation id {row.correlation_id}, {text.size(row.size)}, "
            f"connection {row.connection}"
        )
        return [tuple(first), cell(", ".join(each for each in (figures, after) if each), "muted")]
    tone, glyph = event_mark(row.kind)
    lines: list[Cell] = [
        (
            Span(f"{glyph} {kind_words(row.kind)} ", tone),
            Span(f"{row.source} ", "muted"),
            Span(f"{row.subject}: ", "title"),
            Span(row.reason or "–"),
        )
    ]
    cause = story.message(row.after) if row.after >= 0 else None
    if cause is not None:
        lines.append(
            (
                Span(f"upon event {cause.number:,}, ", "muted"),
                Span(f"{cause.api} {'of' if cause.is_request else 'answer of'} {cause.source}: ", "text"),
                Span(cause.summary, "muted"),
            )
        )
    elif row.after >= 0:
        lines.append(cell(f"upon event {row.after:,}, a message that is not kept any more", "muted"))
    elif row.source.startswith("broker"):
        lines.append(cell("on its own: a timer, or work of its disk that is done", "muted"))
    return lines


def _value_words(value: object) -> str:
    return "–" if value is None else str(value)


def detail_lines(row: Decision | WireMessage, story: Story, decoded: Sequence[str] = ()) -> list[Cell]:
    """Everything known of a row; ``decoded`` are the lines of a whole message."""
    lines = [*why_lines(row, story), cell("")]
    lines.append((Span(f"{'event':<19}", "muted"), Span(f"{row.number:,} at {seconds(row.at_s)} s", "text")))
    if isinstance(row, Decision):
        for name, value in row.detail.items():
            lines.append((Span(f"{name.replace('_', ' '):<19}", "muted"), Span(_value_words(value), "text")))
        return lines
    lines.append(cell(""))
    for each in decoded:
        name, colon, value = each.partition(":")
        lines.append((Span(name + colon, "muted"), Span(value)))
    return lines
