"""Brings a picture on to a later moment by what happened in between. Pure.

Pictures are taken a moment after what they show; events carry their own time. Between the two the events are right: a
leader that was elected leads from then on, not from the next picture on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from engine.supervisor.snapshot import (
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    PartitionState,
    ProcessState,
)

_PROCESS = {
    "process_killed": ProcessState.KILLED,
    "process_exited": ProcessState.CRASHED,
    "process_paused": ProcessState.PAUSED,
    "process_resumed": ProcessState.RUNNING,
}
_FENCED = {"broker_fenced": True, "broker_unfenced": False}


# The metadata in a picture may be of a broker that had not applied yet what another one told; not older than this.
_LATE_MS = 1_000
_MOST_MS = 60_000


def since_ms(snapshot: ClusterSnapshot) -> int:
    """From when on events may tell what a picture does not know yet."""
    return max(min(snapshot.metadata_observed_at_ms, snapshot.at_ms) - _LATE_MS, snapshot.at_ms - _MOST_MS)


def folded(snapshot: ClusterSnapshot, events: Iterable[ClusterEvent]) -> ClusterSnapshot:
    """The picture after these events, in their order; they may begin at :func:`since_ms`. What it knows already stays:
    leaders by their epochs, processes and ISRs by the time."""
    partitions: dict[tuple[str, int], list[Callable[[PartitionState], PartitionState]]] = {}
    brokers: dict[int, list[Callable[[BrokerState], BrokerState]]] = {}
    at_ms = snapshot.at_ms
    for event in events:
        at_ms = max(at_ms, event.at_ms)
        place = _partition_of(event)
        change = _partition_change(event, is_news=event.at_ms > snapshot.metadata_observed_at_ms)
        if place is not None and change is not None:
            partitions.setdefault(place, []).append(change)
        broker_id = _broker_of(event)
        broker_change = _broker_change(event) if event.at_ms > snapshot.at_ms else None
        if broker_id is not None and broker_change is not None:
            brokers.setdefault(broker_id, []).append(broker_change)
    if not partitions and not brokers:
        return snapshot
    touched = {topic for topic, _ in partitions}
    topics = tuple(
        topic
        if topic.name not in touched
        else replace(
            topic,
            partitions=tuple(
                _through(each, partitions.get((topic.name, each.partition), ())) for each in topic.partitions
            ),
        )
        for topic in snapshot.topics
    )
    known = tuple(_through(each, brokers.get(each.broker_id, ())) for each in snapshot.brokers)
    return snapshot.with_facts(at_ms=at_ms, topics=topics, brokers=known)


def _through(value: Any, changes: Iterable[Callable[[Any], Any]]) -> Any:
    for change in changes:
        value = change(value)
    return value


def _partition_of(event: ClusterEvent) -> tuple[str, int] | None:
    topic, number = event.detail.get("topic"), event.detail.get("partition")
    if isinstance(topic, str) and isinstance(number, int):
        return topic, number
    # Those that were observed name it in the subject alone.
    name, _, written = event.subject.rpartition("-")
    return (name, int(written)) if name and written.isdigit() else None


def _partition_change(event: ClusterEvent, *, is_news: bool) -> Callable[[PartitionState], PartitionState] | None:
    detail = event.detail
    if event.kind in ("leader_changed", "partition_offline"):
        leader, epoch = detail.get("to"), detail.get("epoch", detail.get("leader_epoch"))
        if isinstance(leader, int) and isinstance(epoch, int):
            return lambda each: replace(each, leader=leader, leader_epoch=epoch) if epoch > each.leader_epoch else each
        if isinstance(leader, int) and is_news:
            return lambda each: replace(each, leader=leader)
    if event.kind in ("isr_shrunk", "isr_expanded") and is_news:
        isr = detail.get("to", detail.get("isr"))
        if isinstance(isr, list) and all(isinstance(each, int) for each in isr):
            members = tuple(isr)
            return lambda each: replace(
                each,
                isr=members,
                replica_states=tuple(
                    state._replace(in_sync=state.broker_id in members) for state in each.replica_states
                ),
            )
    return None


def _broker_of(event: ClusterEvent) -> int | None:
    word, _, number = event.subject.partition(" ")
    return int(number) if word == "broker" and number.isdigit() else None


def _broker_change(event: ClusterEvent) -> Callable[[BrokerState], BrokerState] | None:
    state = _PROCESS.get(event.kind)
    if state is not None:
        gone = state in (ProcessState.KILLED, ProcessState.CRASHED)
        return lambda each: replace(
            each,
            reachable=each.reachable and not gone,
            process=each.process and replace(each.process, state=state, pid=None if gone else each.process.pid),
        )
    fenced = _FENCED.get(event.kind)
    if fenced is not None:
        return lambda each: replace(each, fenced=fenced)
    return None
