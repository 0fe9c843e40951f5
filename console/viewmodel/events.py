"""Events as rows: what happened, to what, why."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from engine.supervisor.snapshot import ClusterEvent

_TONES = {
    "in_sync": (
        "broker_unfenced",
        "isr_expanded",
        "group_stable",
        "process_resumed",
        "zookeeper_resumed",
        "zookeeper_reachable",
        "broker_znode_made",
        "fault_healed",
        "coordinator_loaded",
        "vote_granted",
        "broker_ready",
        "run_ended",
        "alert_resolved",
    ),
    "under_replicated": (
        "isr_shrunk",
        "group_rebalanced",
        "process_paused",
        "zookeeper_paused",
        "member_expired",
        "member_left",
        "member_fenced",
        "client_throttled",
        "produce_refused",
        "vote_refused",
        "log_truncated",
        "coordinator_unloaded",
        "broker_shutdown_started",
    ),
    "offline": (
        "broker_fenced",
        "process_killed",
        "process_exited",
        "zookeeper_killed",
        "zookeeper_exited",
        "log_dir_failed",
        "fault_begun",
        "replica_corrupt",
        "topic_deleted",
        "broker_unreachable",
        "broker_znode_gone",
        "controller_znode_gone",
        "zookeeper_unreachable",
        "partition_offline",
        "promise_broken",
        "alert_fired",
        "fault",
    ),
    "controller": (
        "election_started",
        "candidacy_started",
        "quorum_leader_elected",
        "quorum_leader_resigned",
        "voters_changed",
        "controller_activated",
        "controller_znode_made",
        "zookeeper_leader_elected",
        "controller_changed",
    ),
    "leader": ("leader_changed",),
    "accent": ("your_act", "scenario_act"),
}
_TONE_OF = {kind: tone for tone, kinds in _TONES.items() for kind in kinds}
_GLYPH = {
    "in_sync": "▲",
    "under_replicated": "▼",
    "offline": "✗",
    "controller": "★",
    "leader": "⇄",
    "accent": "!",
    "info": "·",
}


def event_tone(kind: str) -> str:
    """The token of a kind of event."""
    return _TONE_OF.get(kind, "info")


def event_mark(kind: str) -> tuple[str, str]:
    """Token and glyph of a kind of event."""
    tone = event_tone(kind)
    return tone, _GLYPH[tone]


def kind_words(kind: str) -> str:
    """``leader changed``."""
    return kind.replace("_", " ")


def _kind(event: ClusterEvent) -> Cell:
    tone = event_tone(event.kind)
    return (Span(f"{_GLYPH[tone]} {kind_words(event.kind)}", tone),)


# What Kafka's clients leave a reason at.
_NOT_PROVIDED = re.compile(r"(;\s*)?(client )?(reason: )?not provided$")


def reason_words(event: ClusterEvent) -> str:
    """Why; where nobody said so the figures behind it."""
    reason = _NOT_PROVIDED.sub("", event.reason)
    if reason:
        return reason
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in event.detail.items() if isinstance(value, int | str)
    )


EVENT_COLUMNS: tuple[Column, ...] = (
    Column("time", "TIME", lambda event: cell(text.clock_time(event.at_ms), "muted"), 12),
    Column("event", "EVENT", _kind, 23),
    Column("subject", "SUBJECT", lambda event: cell(event.subject), 10, max_width=30, cut_middle=True),
    Column("why", "WHY", lambda event: cell(reason_words(event), "text"), 18, max_width=200),
    Column("source", "SOURCE", lambda event: cell(event.source, "muted"), 10, priority=1),
)


class EventLog(Sequence[ClusterEvent]):
    """The last events in the order of their times, each once: they come from several brokers, and a stream that is
    begun anew tells the past again."""

    def __init__(self, kept: int = 5_000) -> None:
        self._kept = kept
        self._events: list[ClusterEvent] = []
        self._seen: set[tuple[str, int, int]] = set()
        # Grows with every change.
        self.revision = 0

    def take(self, events: Iterable[ClusterEvent]) -> None:
        """Take a batch."""
        for event in events:
            place = (event.source, event.sequence, event.at_ms)
            if place not in self._seen:
                self._seen.add(place)
                insort(self._events, event, key=lambda each: each.at_ms)
                self.revision += 1
        del self._events[: -self._kept]
        if len(self._seen) > 4 * self._kept:
            self._seen = {(event.source, event.sequence, event.at_ms) for event in self._events}

    def clear(self) -> None:
        """Nothing of it has happened."""
        self._events.clear()
        self._seen.clear()
        self.revision += 1

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> ClusterEvent: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClusterEvent]: ...

    def __getitem__(self, index: int | slice) -> ClusterEvent | list[ClusterEvent]:
        return self._events[index]


def is_fault(event: ClusterEvent) -> bool:
    """Whether something went from good to less good."""
    return event_tone(event.kind) in ("offline", "under_replicated")


# Events of one kind belong together when they follow each other within this time; longer if nothing else happens.
_TOGETHER_MS = 1_000
_REPEATED_MS = 10_000


@dataclass(slots=True)
class EventGroup:
    """Events of one kind and cause that happened together: a failover moves many leaders at once."""

    first: ClusterEvent
    events: list[ClusterEvent] = field(default_factory=list)
    # What was told of so many events: thousands of partitions may have one cause, and are drawn many times.
    _told_of: int = 0
    _reason: str = ""
    _subjects: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Of the first one, so that it stays while others come."""
        return event_key(self.first)

    @property
    def reason(self) -> str:
        """What they have in common, else the last one's."""
        self._tell()
        return self._reason

    @property
    def subjects(self) -> list[str]:
        """Each once, in order."""
        self._tell()
        return self._subjects

    def _tell(self) -> None:
        if self._told_of != len(self.events):
            self._told_of = len(self.events)
            self._reason = self._common_reason()
            self._subjects = list(dict.fromkeys(event.subject for event in self.events))

    def _common_reason(self) -> str:
        if len(self.events) > 1:
            heads, causes = zip(*map(_parts, self.events), strict=True)
            for part, others in ((causes[0], causes), (heads[0], heads)):
                if part and len(set(others)) == 1:
                    return part
        return reason_words(self.events[-1])

    def takes(self, event: ClusterEvent, *, is_last: bool) -> bool:
        """Whether an event of the same kind belongs to it."""
        if event.at_ms - self.events[-1].at_ms > (_REPEATED_MS if is_last else _TOGETHER_MS):
            return False
        head, cause = _parts(event)
        own_head, own_cause = _parts(self.events[-1])
        return cause == own_cause or head == own_head


def _parts(event: ClusterEvent) -> tuple[str, str]:
    """``leader 2→3, epoch 4→5: broker 2 fenced``: what stands before the colon and behind it, if there is one."""
    head, colon, cause = reason_words(event).rpartition(": ")
    return (head, cause) if colon else (cause, "")


def condensed(events: Iterable[ClusterEvent]) -> list[EventGroup]:
    """In the order of their beginnings."""
    groups: list[EventGroup] = []
    latest: dict[str, list[EventGroup]] = {}
    for event in events:
        # Causes of one moment may alternate.
        own = latest.setdefault(event.kind, [])[-4:]
        group = next((each for each in reversed(own) if each.takes(event, is_last=each is groups[-1])), None)
        if group is None:
            group = EventGroup(event)
            latest[event.kind].append(group)
            groups.append(group)
        group.events.append(event)
    return groups


def _group_kind(group: EventGroup) -> Cell:
    (kind,) = _kind(group.first)
    number = len(group.events)
    return (kind, Span(f" ×{number:,}", "muted")) if number > 1 else (kind,)


def _group_subject(group: EventGroup) -> Cell:
    first, *others = group.subjects
    return (Span(first), Span(f" +{len(others)}", "muted")) if others else (Span(first),)


def _group_source(group: EventGroup) -> Cell:
    sources = dict.fromkeys(event.source for event in group.events)
    return cell(next(iter(sources)) if len(sources) == 1 else "several", "muted")


GROUP_COLUMNS: tuple[Column, ...] = (
    Column("time", "TIME", lambda group: cell(text.clock_time(group.first.at_ms), "muted"), 12),
    Column("event", "EVENT", _group_kind, 25, max_width=30, flashes=True),
    Column("subject", "SUBJECT", _group_subject, 10, max_width=30, cut_middle=True),
    Column("why", "WHY", lambda group: cell(group.reason), 18, max_width=200),
    Column("source", "SOURCE", _group_source, 10, priority=1),
)


# Of one subject that stands above; the reason has all the room.
HISTORY_COLUMNS: tuple[Column, ...] = tuple(
    replace(column, width=19) if column.key == "event" else column
    for column in EVENT_COLUMNS
    if column.key not in ("subject", "source")
)


def event_key(event: ClusterEvent) -> str:
    """Stable through all changes."""
    return f"{event.source}:{event.sequence}"
