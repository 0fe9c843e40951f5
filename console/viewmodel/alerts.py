"""Alert rules over pictures of a cluster: each fires once and resolves once, with hysteresis. Pure: time is given.

A rule is looked at subject by subject (a group, a broker, or the cluster as a whole). It fires when its value has been
over the limit for as long as the rule says, and resolves when the value has been at or under ``clear_at`` for as long
as that takes; between the two nothing changes. A value that is not known changes nothing either: an alert that fires
goes on, one that is about to fire waits until somebody knows again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.health import has_controller, is_unserved, silent_brokers
from console.viewmodel.verdict import lost_brokers
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState

# What is older is not known.
KNOWN_FOR_MS = 15_000


class Condition(StrEnum):
    """What a rule looks at."""

    LAG = "lag"
    OFFLINE = "offline"
    UNDER_REPLICATED = "under_replicated"
    UNDER_MIN_ISR = "under_min_isr"
    BROKER_DOWN = "broker_down"
    NO_CONTROLLER = "no_controller"
    UNREACHABLE = "unreachable"


class Rule(NamedTuple):
    """One rule. ``over`` and ``clear_at`` are records for lag, else counts; ``group`` and ``topic`` are patterns with
    ``*`` and ``?``."""

    name: str
    when: Condition
    over: int = 0
    for_ms: int = 0
    clear_at: int = 0
    clear_for_ms: int = 10_000
    group: str = "*"
    topic: str = "*"


class Reading(NamedTuple):
    """A value as it is now, ``None`` if nobody knows, and a sentence about it."""

    value: int | None
    said: str


class Change(NamedTuple):
    """An alert fired or was resolved. ``since_ms`` is the wall-clock time at which it fired; with rule and subject it
    names the alert for good."""

    fired: bool
    rule: Rule
    subject: str
    value: int | None
    said: str
    at_ms: int
    since_ms: int

    @property
    def alert_id(self) -> str:
        """The same when it fires and when it is resolved."""
        return f"{self.rule.name}/{self.subject}/{self.since_ms}"


class _Watched:
    __slots__ = ("clear_since_ms", "fired_at_ms", "over_since_ms", "said")

    def __init__(self) -> None:
        self.over_since_ms: float | None = None
        self.clear_since_ms: float | None = None
        # Wall clock; None while it does not fire.
        self.fired_at_ms: int | None = None
        self.said = ""


class Alerts:
    """What fires. Feed it pictures, and the time when none come."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._watched: dict[tuple[int, str], _Watched] = {}
        self._began_ms: float | None = None

    @property
    def firing(self) -> list[tuple[Rule, str, str]]:
        """Rule, subject and sentence of all alerts that fire now."""
        return [
            (self.rules[number], subject, watched.said)
            for (number, subject), watched in self._watched.items()
            if watched.fired_at_ms is not None
        ]

    def evaluate(self, snapshot: ClusterSnapshot | None, wall_ms: int, monotonic_ms: float) -> list[Change]:
        """What has changed.

        Args:
            snapshot: the last picture, however old; ``None`` before the first.
            wall_ms: now, on the clock of the picture's times.
            monotonic_ms: now, on a clock that is never set.
        """
        changes: list[Change] = []
        if self._began_ms is None:
            self._began_ms = monotonic_ms
        metadata_at_ms = snapshot.metadata_observed_at_ms if snapshot is not None else 0
        has_metadata = bool(metadata_at_ms) and wall_ms - metadata_at_ms <= KNOWN_FOR_MS
        if not metadata_at_ms and monotonic_ms - self._began_ms < KNOWN_FOR_MS:
            # A cluster that was not looked at yet is not unreachable.
            return changes
        for number, rule in enumerate(self.rules):
            readings = dict(_readings(rule, snapshot, wall_ms, has_metadata))
            gone = [
                subject for of, subject in self._watched if of == number and subject not in readings and has_metadata
            ]
            for subject in gone:
                readings[subject] = Reading(0, f"{subject} is gone")
            for subject, reading in readings.items():
                watched = self._watched.setdefault((number, subject), _Watched())
                change = _step(watched, rule, subject, reading, wall_ms, monotonic_ms)
                if change is not None:
                    changes.append(change)
                if subject in gone and watched.fired_at_ms is None:
                    del self._watched[number, subject]
        return changes


def _step(
    watched: _Watched, rule: Rule, subject: str, reading: Reading, wall_ms: int, monotonic_ms: float
) -> Change | None:
    value = reading.value
    if value is None:
        return None
    if watched.fired_at_ms is None:
        if value <= rule.over:
            watched.over_since_ms = None
            return None
        if watched.over_since_ms is None:
            watched.over_since_ms = monotonic_ms
        if monotonic_ms - watched.over_since_ms < rule.for_ms:
            return None
        watched.fired_at_ms, watched.clear_since_ms, watched.said = wall_ms, None, reading.said
        return Change(True, rule, subject, value, reading.said, wall_ms, wall_ms)
    if value > rule.clear_at:
        watched.clear_since_ms, watched.said = None, reading.said
        return None
    if watched.clear_since_ms is None:
        watched.clear_since_ms = monotonic_ms
    if monotonic_ms - watched.clear_since_ms < rule.clear_for_ms:
        return None
    since_ms, watched.fired_at_ms, watched.over_since_ms = watched.fired_at_ms, None, None
    return Change(False, rule, subject, value, reading.said, wall_ms, since_ms)


def _readings(
    rule: Rule, snapshot: ClusterSnapshot | None, wall_ms: int, metadata: bool
) -> Iterator[tuple[str, Reading]]:
    """What a rule looks at, subject by subject."""

    def known(at_ms: int) -> bool:
        return bool(at_ms) and wall_ms - at_ms <= KNOWN_FOR_MS

    if rule.when is Condition.UNREACHABLE:
        why = (snapshot.error if snapshot is not None else "") or "nobody tells of it"
        yield (
            "cluster",
            Reading(0, "the cluster answers") if metadata else Reading(1, f"the cluster is unreachable: {why}"),
        )
        return
    if snapshot is None:
        return
    if rule.when is Condition.LAG:
        yield from _lags(rule, snapshot, known)
    elif rule.when is Condition.BROKER_DOWN:
        lost = lost_brokers(snapshot)
        asked = {each.broker_id: known(each.observed_at_ms) for each in snapshot.brokers if each.was_asked}
        for broker_id in sorted(asked.keys() | lost.keys()):
            down = broker_id in lost
            said = f"broker {broker_id}: {lost[broker_id]}" if down else f"broker {broker_id} serves"
            yield f"broker {broker_id}", Reading(int(down) if asked.get(broker_id, metadata) else None, said)
    elif rule.when is Condition.NO_CONTROLLER:
        led = has_controller(snapshot)
        # Before the first answer nobody knows; later its absence is the answer.
        value = None if led is None or not metadata else int(not led)
        yield "cluster", Reading(value, "a controller is there" if led else "no controller")
    else:
        yield "cluster", _partitions(rule, snapshot, metadata, known)


def _lags(rule: Rule, snapshot: ClusterSnapshot, known: Any) -> Iterator[tuple[str, Reading]]:
    ends = {
        (each.topic, each.partition)
        for topic in snapshot.topics
        for each in topic.partitions
        if known(each.observed_at_ms)
    }
    for group in snapshot.groups:
        if not fnmatchcase(group.group_id, rule.group):
            continue
        found = [
            each for each in group.offsets if each.committed_offset is not None and fnmatchcase(each.topic, rule.topic)
        ]
        lags = [each.lag for each in found if each.lag is not None and (each.topic, each.partition) in ends]
        fresh = known(group.observed_at_ms)
        total = sum(lags)
        # A part that is over the limit is enough to fire; to resolve, all must be known.
        value = total if fresh and (len(lags) == len(found) or total > rule.over) else None
        of = "" if rule.topic == "*" else f" in {rule.topic}"
        yield f"group {group.group_id}", Reading(value, f"group {group.group_id} is {total:,} records behind{of}")


def _partitions(rule: Rule, snapshot: ClusterSnapshot, metadata: bool, known: Any) -> Reading:
    silent = silent_brokers(snapshot)
    minimum: Mapping[str, int] = {topic.name: topic.min_insync_replicas or 0 for topic in snapshot.topics}

    def ails(partition: PartitionState) -> bool:
        if rule.when is Condition.OFFLINE:
            return is_unserved(partition, silent)
        if rule.when is Condition.UNDER_REPLICATED:
            return partition.is_under_replicated
        return len(partition.isr) < minimum[partition.topic]

    # Metadata that nobody gives any more is still enough to see whose leader is silent.
    if not metadata and not (rule.when is Condition.OFFLINE and all(known(e.observed_at_ms) for e in snapshot.brokers)):
        return Reading(None, "")
    names = [
        f"{each.topic}-{each.partition}"
        for topic in snapshot.topics
        if fnmatchcase(topic.name, rule.topic)
        for each in topic.partitions
        if ails(each)
    ]
    words = rule.when.replace("_", "-") if rule.when is Condition.UNDER_REPLICATED else rule.when.replace("_", " ")
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Reading(len(names), f"{text.plural(len(names), 'partition')} {words}" + (f": {listed}" if names else ""))


def change_document(change: Change, cluster_id: str) -> dict[str, Any]:
    """A change as JSON, for webhooks and lines."""
    return {
        "event": "fired" if change.fired else "resolved",
        "alert_id": change.alert_id,
        "rule": change.rule.name,
        "when": str(change.rule.when),
        "subject": change.subject,
        "value": change.value,
        "over": change.rule.over,
        "said": change.said,
        "at_ms": change.at_ms,
        "since_ms": change.since_ms,
        "cluster_id": cluster_id or None,
    }
