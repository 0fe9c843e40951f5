"""What is different between two pictures of a cluster, one row a difference, what is worst first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterSnapshot,
    GroupState,
    MemberState,
    PartitionState,
    TopicState,
)

# Lag that changed by less is how groups read.
_LEAST_LAG = 100
_NOBODY = "–"
KINDS = ("broker", "controller", "quorum", "topic", "leader", "isr", "replicas", "config", "group", "member", "lag")


class Difference(NamedTuple):
    """One thing that is another than before; ``what`` is one of :data:`KINDS`, ``tone`` whether that is good."""

    what: str
    subject: str
    before: str
    after: str
    tone: str

    @property
    def key(self) -> str:
        """What and of what."""
        return f"{self.what}:{self.subject}"

    @property
    def is_healthy(self) -> bool:
        """Whether it is not worse than before."""
        return self.tone not in ("offline", "under_replicated")


def differences(before: ClusterSnapshot, after: ClusterSnapshot) -> list[Difference]:
    """In the order of :data:`KINDS`, each kind by its subjects."""
    found = [
        *_brokers(before, after),
        *_controller(before, after),
        *_topics(before, after),
        *_groups(before, after),
    ]
    return sorted(found, key=lambda each: KINDS.index(each.what))


def _pairs(
    before: Iterable[object], after: Iterable[object], name: Callable[[object], object]
) -> Iterator[tuple[object, object, object]]:
    was = {name(each): each for each in before}
    now = {name(each): each for each in after}
    for key in [*was, *(each for each in now if each not in was)]:
        yield key, was.get(key), now.get(key)


def _broker_words(broker: BrokerState | None) -> tuple[str, bool]:
    if broker is None:
        return "not registered", False
    if broker.process is not None and broker.process.state.value != "running":
        return broker.process.state.value, False
    if not broker.reachable:
        return "does not answer", False
    return ("fenced", False) if broker.fenced else ("up", True)


def _brokers(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Difference]:
    for broker_id, was, now in _pairs(before.brokers, after.brokers, lambda each: each.broker_id):  # type: ignore[attr-defined]
        (old, _), (new, is_up) = _broker_words(was), _broker_words(now)  # type: ignore[arg-type]
        if old != new:
            yield Difference("broker", f"broker {broker_id}", old, new, "in_sync" if is_up else "offline")
        elif was and now and was.process and now.process and was.process.incarnation != now.process.incarnation:  # type: ignore[attr-defined]
            lives = f"life {was.process.incarnation}", f"life {now.process.incarnation}"  # type: ignore[attr-defined]
            yield Difference("broker", f"broker {broker_id}", *lives, "under_replicated")


def _id(broker_id: int | None) -> str:
    return _NOBODY if broker_id is None or broker_id < 0 else str(broker_id)


def _controller(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Difference]:
    was, now = ((each.controller_id, each.controller_epoch) for each in (before, after))
    if was != now:
        words = [f"{_id(who)} in epoch {_NOBODY if epoch is None else epoch}" for who, epoch in (was, now)]
        yield Difference("controller", "the quorum's leader", *words, "controller" if now[0] is not None else "offline")
    voters = [
        None if each.quorum is None else text.id_list(node.node_id for node in each.quorum.nodes if node.is_voter)
        for each in (before, after)
    ]
    if None not in voters and voters[0] != voters[1]:
        yield Difference("quorum", "voters", str(voters[0]), str(voters[1]), "controller")


def _topics(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Difference]:
    was: TopicState | None
    now: TopicState | None
    for name, was, now in _pairs(before.topics, after.topics, lambda each: each.name):  # type: ignore[assignment,attr-defined]
        if was is None or now is None or was.topic_id != now.topic_id:
            words = [_NOBODY if each is None else text.plural(len(each.partitions), "partition") for each in (was, now)]
            yield Difference("topic", str(name), *words, "offline" if now is None else "info")
            continue
        if len(was.partitions) != len(now.partitions):
            words = [text.plural(len(each.partitions), "partition") for each in (was, now)]
            yield Difference("topic", str(name), *words, "info")
        for config in sorted(was.configs.keys() | now.configs.keys()):
            old, new = was.configs.get(config), now.configs.get(config)
            if old != new:
                yield Difference("config", f"{name} {config}", old or _NOBODY, new or _NOBODY, "info")
        for _, one, other in _pairs(was.partitions, now.partitions, lambda each: each.partition):  # type: ignore[attr-defined]
            if one is not None and other is not None:
                yield from _partition(one, other)  # type: ignore[arg-type]


def _partition(was: PartitionState, now: PartitionState) -> Iterator[Difference]:
    subject = f"{now.topic}-{now.partition}"
    if (was.leader, was.leader_epoch) != (now.leader, now.leader_epoch):
        words = [f"{_id(each.leader)} in epoch {each.leader_epoch}" for each in (was, now)]
        yield Difference("leader", subject, *words, "offline" if now.is_offline else "leader")
    if set(was.isr) != set(now.isr):
        tone = "under_replicated" if now.is_under_replicated else "in_sync"
        yield Difference("isr", subject, text.id_list(was.isr) or _NOBODY, text.id_list(now.isr) or _NOBODY, tone)
    if was.replicas != now.replicas:
        yield Difference("replicas", subject, text.id_list(was.replicas), text.id_list(now.replicas), "info")


def _groups(before: ClusterSnapshot, after: ClusterSnapshot) -> Iterator[Difference]:
    was: GroupState | None
    now: GroupState | None
    for name, was, now in _pairs(before.groups, after.groups, lambda each: each.group_id):  # type: ignore[assignment,attr-defined]
        states = [_NOBODY if each is None else each.state for each in (was, now)]
        if states[0] != states[1]:
            tone = "in_sync" if now is not None and now.state == "Stable" else "under_replicated"
            yield Difference("group", str(name), *states, tone)
        if was is None or now is None:
            continue
        if was.coordinator != now.coordinator:
            words = [f"coordinator {_id(each.coordinator)}" for each in (was, now)]
            yield Difference("group", f"{name} coordinator", *words, "info")
        one: MemberState | None
        other: MemberState | None
        for _, one, other in _pairs(was.members, now.members, lambda each: each.member_id):  # type: ignore[assignment,attr-defined]
            told = other or one
            assert told is not None
            words = [_NOBODY if each is None else _assigned(each) for each in (one, other)]
            if words[0] != words[1]:
                tone = "under_replicated" if other is None else "info"
                yield Difference("member", f"{name} {told.client_id} {told.member_id[-12:]}", *words, tone)
        lags = was.total_lag, now.total_lag
        if None not in lags and abs(lags[1] - lags[0]) >= _LEAST_LAG:  # type: ignore[operator]
            tone = "under_replicated" if lags[1] > lags[0] else "in_sync"  # type: ignore[operator]
            yield Difference("lag", str(name), text.count(lags[0]), text.count(lags[1]), tone)


def _assigned(member: MemberState) -> str:
    return ", ".join(f"{topic}:{text.id_list(partitions)}" for topic, partitions in member.assignment) or "nothing"


def _before(row: Difference) -> Cell:
    return cell(row.before, "muted")


DIFFERENCE_COLUMNS: tuple[Column, ...] = (
    Column("what", "WHAT", lambda row: cell(row.what, "title"), 10),
    Column("subject", "OF", lambda row: cell(row.subject), 16, max_width=60, cut_middle=True),
    Column("before", "BEFORE", _before, 12, max_width=40),
    Column("after", "AFTER", lambda row: (Span(row.after, row.tone),), 12, max_width=40),
)
