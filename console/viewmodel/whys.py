"""From a row to the events that made it: what happened to it, and what that came of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.supervisor.snapshot import ClusterEvent

# What a broker went through counts as a cause for so long.
_CAUSE_MS = 60_000
_OF_BROKERS = frozenset(
    (
        "broker_fenced",
        "broker_unreachable",
        "broker_shutdown_started",
        "fault_begun",
        "log_dir_failed",
        "process_exited",
        "process_killed",
        "process_paused",
        "process_stopped",
    )
)
_MOVES = frozenset(("leader_changed", "isr_shrunk", "partition_offline"))
_NUMBER = re.compile(r"-[0-9]+$")


def story_of(events: Sequence[ClusterEvent], about: Mapping[str, Any]) -> list[ClusterEvent]:
    """What happened to a broker, topic, partition or group, in order, with what it came of: a leader that changed
    because its broker was fenced brings the fencing, and the fault or signal before that.

    Args:
        about: one of ``broker`` (its id), ``topic``, ``partition`` (topic and number), ``group``.
    """
    own = [event for event in events if _concerns(event, about)]
    if "group" in about or "broker" in about:
        return own
    wanted = {id(event) for event in own}
    latest: dict[int | None, list[ClusterEvent]] = {}
    for event in events:
        # One of the whole cluster (``None``) may be a cause of whatever happens to any broker.
        if event.kind in _OF_BROKERS:
            latest.setdefault(_broker_of(event), []).append(event)
        if id(event) in wanted and event.kind in _MOVES:
            for lost in _lost(event):
                known = (*latest.get(lost, ()), *latest.get(None, ()))
                causes = [each for each in known if event.at_ms - each.at_ms <= _CAUSE_MS]
                wanted |= {id(each) for each in causes}
    return [event for event in events if id(event) in wanted]


def _broker_of(event: ClusterEvent) -> int | None:
    """The broker that an event is about."""
    word, _, number = event.subject.partition(" ")
    if word in ("broker", "node", "controller") and number.isdigit():
        return int(number)
    found = event.detail.get("broker_id")
    if isinstance(found, int):
        return found
    # A directory's event names its directory; whoever told it has it.
    if event.kind == "log_dir_failed" and event.source.startswith("broker "):
        return int(event.source.removeprefix("broker "))
    return None


def _lost(event: ClusterEvent) -> list[int]:
    """The brokers that left with an event of a partition."""
    # The second name is that of what was found by comparing pictures.
    found = event.detail.get("removed", event.detail.get("left"))
    if isinstance(found, list):
        return [each for each in found if isinstance(each, int)]
    was, now = event.detail.get("from"), event.detail.get("to")
    return [was] if isinstance(was, int) and was != now else []


def _concerns(event: ClusterEvent, about: Mapping[str, Any]) -> bool:
    subject = event.subject
    is_of_group = event.kind.startswith(("group_", "member_"))
    if "group" in about:
        return is_of_group and subject == about["group"]
    if "broker" in about:
        broker_id = about["broker"]
        ends = [event.detail.get(name) for name in ("from", "to")]
        return _broker_of(event) == broker_id or broker_id in _lost(event) or broker_id in ends
    # A group may be called what a topic is.
    if is_of_group:
        return False
    if "partition" in about:
        topic, number = about["partition"]
        return subject in (f"{topic}-{number}", topic)
    return subject == about["topic"] or (
        subject.startswith(f"{about['topic']}-") and _NUMBER.sub("", subject) == about["topic"]
    )


def about_words(about: Mapping[str, Any]) -> str:
    """What a story is of."""
    if "broker" in about:
        return f"broker {about['broker']}"
    if "partition" in about:
        topic, number = about["partition"]
        return f"{topic}-{number}"
    return str(about.get("topic") or about.get("group") or "all")
