"""What the loss of brokers does, from metadata alone: so it is told for any cluster, before it is done."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from console.viewmodel.text import plural
from engine.supervisor.snapshot import ClusterSnapshot


class Impact(NamedTuple):
    """Numbers of partitions: whose leader moves, that fall below min.insync.replicas, that nobody can lead; groups
    that lose their coordinator; whether the controller goes."""

    moving: int = 0
    below_minimum: int = 0
    leaderless: int = 0
    groups: int = 0
    controller: bool = False


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
    if impact.controller:
        parts.append("the quorum elects another controller")
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
    ]
    return " · ".join(part for part in parts if part) or "moves nothing"


def _verb(number: int, many: str, one: str = "") -> str:
    return (one or many + "s") if number == 1 else many
