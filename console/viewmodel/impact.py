"""What the loss of brokers does, from metadata alone: so it is told for any cluster, before it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from console.viewmodel.cells import UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.health import silent_brokers
from console.viewmodel.text import brokers_words, plural
from engine.model.coordinator_partitions import partition_for
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState, TopicState


class Impact(NamedTuple):
    """Numbers of partitions: whose leader moves, that fall below min.insync.replicas, that nobody can lead; groups
    that lose their coordinator; whether the controller goes, and whether the quorum has no majority without them."""

    moving: int = 0
    below_minimum: int = 0
    leaderless: int = 0
    groups: int = 0
    controller: bool = False
    no_majority: bool = False


def impact_on(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> Impact:
    """Of losing some brokers at once."""
    moving = below = leaderless = 0
    for topic in snapshot.topics:
        minimum = topic.min_insync_replicas
        for partition in topic.partitions:
            left = [each for each in partition.isr if each not in broker_ids]
            if len(left) == len(partition.isr):
                continue
            if not left:
                leaderless += 1
            elif partition.leader in broker_ids:
                moving += 1
            # What is below already is no consequence.
            if left and minimum is not None and len(left) < minimum <= len(partition.isr):
                below += 1
    return Impact(
        moving,
        below,
        leaderless,
        sum(group.coordinator in broker_ids for group in snapshot.groups),
        snapshot.controller_id in broker_ids,
        has_no_majority(snapshot, broker_ids),
    )


def impact_of_losing(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> str:
    """One sentence; empty when nothing depends on the brokers."""
    impact = impact_on(snapshot, broker_ids)
    parts = []
    if impact.moving:
        parts.append(f"{plural(impact.moving, 'partition')} {_verb(impact.moving, 'elect')} another leader")
    if impact.below_minimum:
        parts.append(f"{impact.below_minimum:,} {_verb(impact.below_minimum, 'fall')} below min.insync.replicas")
    if impact.leaderless:
        parts.append(f"{impact.leaderless:,} {_verb(impact.leaderless, 'go', 'goes')} leaderless")
    if impact.groups:
        parts.append(f"{plural(impact.groups, 'group')} {_verb(impact.groups, 'find')} another coordinator")
    if impact.no_majority:
        parts.append("the quorum has no majority, and metadata stands still")
    elif impact.controller:
        by_quorum = not _has_zookeeper(snapshot)
        parts.append("the quorum elects another controller" if by_quorum else "another controller is elected")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:] + "." if sentence else ""


def impact_words(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> str:
    """The same in a few words, for the edge of a table."""
    impact = impact_on(snapshot, broker_ids)
    moved = [
        plural(impact.moving, "leader") if impact.moving else "",
        plural(impact.groups, "group") if impact.groups else "",
        "the controller" if impact.controller else "",
    ]
    moves = ", ".join(word for word in moved if word)
    parts = [
        f"moves {moves}" if moves else "",
        f"{impact.below_minimum:,} below min ISR" if impact.below_minimum else "",
        f"{impact.leaderless:,} leaderless" if impact.leaderless else "",
        "no majority of the quorum" if impact.no_majority else "",
    ]
    return " · ".join(part for part in parts if part) or "moves nothing"


# -- one by one -----------------------------------------------------------------------------------------------------

OFFLINE, BELOW, MOVES, FEWER, FINDS, ELECTS = (
    "goes offline",
    "below min ISR",
    "leader moves",
    "fewer in sync",
    "coordinator moves",
    "controller moves",
)
_TONES = {OFFLINE: "offline", BELOW: "under_replicated", MOVES: "accent", FINDS: "accent", ELECTS: "accent"}
_ORDER = (OFFLINE, BELOW, ELECTS, MOVES, FINDS, FEWER)
_GROUPS_TOPIC = "__consumer_offsets"
_TRANSACTIONS_TOPIC = "__transaction_state"


class Consequence(NamedTuple):
    """One thing that the loss of brokers does. ``before`` and ``after`` are brokers, or ``None`` where nobody knows."""

    kind: str
    subject: str
    before: tuple[int, ...] = ()
    after: tuple[int, ...] | None = None
    why: str = ""

    @property
    def key(self) -> str:
        """Stable through all changes."""
        return f"{self.subject} {self.kind}"

    @property
    def is_healthy(self) -> bool:
        """Clients get on without anybody's help."""
        return self.kind not in (OFFLINE, BELOW)


def consequences(
    snapshot: ClusterSnapshot, broker_ids: Collection[int], transactional_ids: Iterable[tuple[str, int, bool]] = ()
) -> list[Consequence]:
    """All that losing some brokers at once does, the worst first.

    Args:
        transactional_ids: each with its coordinator, and whether a transaction of it is open.
    """
    found = [each for topic in snapshot.topics for each in _of_topic(topic, broker_ids)]
    for group in snapshot.groups:
        if group.coordinator in broker_ids:
            found.append(_coordinator(snapshot, _GROUPS_TOPIC, "group", group.group_id, group.coordinator, broker_ids))
    for transactional_id, coordinator, is_open in transactional_ids:
        if coordinator in broker_ids:
            moved = _coordinator(
                snapshot, _TRANSACTIONS_TOPIC, "transactional id", transactional_id, coordinator, broker_ids
            )
            found.append(moved._replace(why=f"its transaction is open: {moved.why}") if is_open else moved)
    found += _quorum(snapshot, broker_ids)
    return sorted(found, key=lambda each: (_ORDER.index(each.kind), each.subject.startswith("__"), each.subject))


def _of_topic(topic: TopicState, broker_ids: Collection[int]) -> Iterator[Consequence]:
    minimum = topic.min_insync_replicas
    for partition in topic.partitions:
        left = tuple(each for each in partition.isr if each not in broker_ids)
        if len(left) == len(partition.isr):
            continue
        name = f"{topic.name}-{partition.partition}"
        if not left:
            yield Consequence(OFFLINE, name, partition.isr, (), _waits_for(partition))
            continue
        if minimum is not None and len(left) < minimum <= len(partition.isr):
            why = f"acks=all is refused: {len(left)} of min.insync.replicas={minimum}"
            yield Consequence(BELOW, name, partition.isr, left, why)
        if partition.leader in broker_ids:
            heir = _next_leader(partition, broker_ids)
            yield Consequence(MOVES, name, (partition.leader,), heir, "the first replica in sync takes over")
        elif minimum is None or not len(left) < minimum <= len(partition.isr):
            yield Consequence(FEWER, name, partition.isr, left)


def _next_leader(partition: PartitionState, broker_ids: Collection[int]) -> tuple[int, ...]:
    """Whom the controller elects (ReplicationControlManager): the first of the replicas that is in sync and lives."""
    heirs = (each for each in partition.replicas if each in partition.isr and each not in broker_ids)
    return tuple(heirs)[:1]


def _waits_for(partition: PartitionState) -> str:
    if len(partition.isr) < len(partition.replicas):
        behind = [each for each in partition.replicas if each not in partition.isr]
        return f"until one of them is back: {brokers_words(behind)} lack{'s' * (len(behind) == 1)} records"
    return "until one of them is back"


def _coordinator(
    snapshot: ClusterSnapshot, topic_name: str, what: str, name: str, before: int, broker_ids: Collection[int]
) -> Consequence:
    """Whoever leads the partition that has the name coordinates it."""
    subject = f"{what} {name}"
    topic = next((each for each in snapshot.topics if each.name == topic_name), None)
    if topic is None or not topic.partitions:
        return Consequence(FINDS, subject, (before,))
    number = partition_for(name, len(topic.partitions))
    partition = next((each for each in topic.partitions if each.partition == number), None)
    if partition is None:
        return Consequence(FINDS, subject, (before,))
    heir = _next_leader(partition, broker_ids)
    return Consequence(FINDS, subject, (before,), heir, f"it leads {topic_name}-{number} then")


def _quorum(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> Iterator[Consequence]:
    controller = snapshot.controller_id
    voters, left = _voters(snapshot, broker_ids)
    before = () if controller is None else (controller,)
    if has_no_majority(snapshot, broker_ids):
        why = f"{len(left)} of {plural(len(voters), 'voter')} are no majority: metadata stands still"
        yield Consequence(OFFLINE, "the quorum", before, (), why)
    elif controller is not None and controller in broker_ids:
        if _has_zookeeper(snapshot):
            others = tuple(
                each.broker_id for each in snapshot.brokers if each.reachable and each.broker_id not in broker_ids
            )
            why = "whoever makes /controller first" if others else "nobody is left to make /controller"
            yield Consequence(ELECTS, "ZooKeeper", before, others or None, why)
            return
        yield Consequence(ELECTS, "the quorum", before, left or None, "one of the voters that are left" if left else "")


def _has_zookeeper(snapshot: ClusterSnapshot) -> bool:
    return snapshot.quorum is None and snapshot.coordination == "zookeeper"


def has_no_majority(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> bool:
    """Whether the voters that are left cannot elect a controller, nor commit metadata; it is known of them."""
    voters, left = _voters(snapshot, broker_ids)
    _, up = _voters(snapshot, ())
    return len(left) < len(up) and len(left) <= len(voters) // 2


def _voters(snapshot: ClusterSnapshot, broker_ids: Collection[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All, and those that answer still without the brokers."""
    nodes = snapshot.quorum.nodes if snapshot.quorum is not None else ()
    voters = tuple(each.node_id for each in nodes if each.is_voter)
    gone = silent_brokers(snapshot) | set(broker_ids)
    return voters, tuple(each for each in voters if each not in gone)


def _brokers(ids: Sequence[int] | None) -> Cell:
    if ids is None:
        return UNKNOWN
    return cell(", ".join(map(str, ids))) if ids else cell("nobody", "offline")


CONSEQUENCE_COLUMNS: tuple[Column, ...] = (
    Column(
        "what",
        "WHAT HAPPENS",
        lambda row: cell(row.kind, _TONES.get(row.kind, "muted")),
        17,
        lambda row: _ORDER.index(row.kind),
    ),
    Column("subject", "TO", lambda row: cell(row.subject), 18, lambda row: row.subject, max_width=48, cut_middle=True),
    Column("before", "NOW", lambda row: _brokers(row.before), 9, lambda row: row.before),
    Column("after", "THEN", lambda row: _brokers(row.after), 9, lambda row: row.after or ()),
    Column("why", "WHY", lambda row: (Span(row.why, "muted"),), 20, lambda row: row.why, max_width=70, priority=1),
)


def _verb(number: int, many: str, one: str = "") -> str:
    return (one or many + "s") if number == 1 else many
