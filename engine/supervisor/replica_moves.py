"""Moving replicas between brokers, of our cluster or any Apache Kafka: what is where, beginning, watching, cancelling.

Over AlterPartitionReassignments and DescribeLogDirs; the throttle is that of kafka-reassign-partitions.sh (KIP-73).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from engine.client.admin.client import AdminClient
from engine.client.admin.configs import ConfigChange, ConfigOp, ConfigResource, ConfigSource, ResourceType
from engine.client.admin.log_dirs import LogDirDescription
from engine.client.admin.outcome import failure_text
from engine.client.admin.topics import Reassignment
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.supervisor.placement_plan import BrokerPlace, Move, PartitionPlace

LEADER_RATE, FOLLOWER_RATE = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
LEADER_REPLICAS, FOLLOWER_REPLICAS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"
_POLL_S = 0.25


class MovesRefused(Exception):
    """The cluster refused some of it, or does not tell what is where; the message names what and why."""


class Room(NamedTuple):
    """A log directory of a broker; sizes of its disk are ``None`` where the broker does not tell (before KIP-827)."""

    path: str
    total_bytes: int | None
    usable_bytes: int | None


class Survey(NamedTuple):
    """What is where. ``brokers`` are those that live; ``under_way`` are moves that somebody began; ``rooms`` are log
    directories by broker; ``leaders`` are -1 where there is none."""

    brokers: list[BrokerPlace]
    partitions: list[PartitionPlace]
    under_way: dict[TopicPartition, Reassignment]
    rooms: dict[int, tuple[Room, ...]]
    leaders: dict[TopicPartition, int]
    isr: dict[TopicPartition, tuple[int, ...]]


class MoveProgress(NamedTuple):
    """A move under way. ``copied_bytes`` of ``size_bytes`` are on the brokers that get a replica."""

    topic_partition: TopicPartition
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]
    copied_bytes: int
    size_bytes: int

    @property
    def share(self) -> float:
        """How much of it is copied, 0 to 1."""
        return min(1.0, self.copied_bytes / self.size_bytes) if self.size_bytes else 1.0


async def survey(admin: AdminClient) -> Survey:
    """Ask what is where. The size of a partition is that of its largest replica.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
        MovesRefused: a broker that lives does not tell what it holds: a plan would take its replicas for empty.
    """
    metadata = await admin.metadata()
    sizes: dict[TopicPartition, int] = {}
    rooms: dict[int, tuple[Room, ...]] = {}
    for broker_id, found in (await admin.describe_log_dirs(metadata.brokers)).items():
        if not isinstance(found, tuple):
            raise MovesRefused(f"broker {broker_id} does not tell what it holds: {failure_text(found)}")
        rooms[broker_id] = tuple(
            Room(each.path, each.total_bytes, each.usable_bytes) for each in found if each.error is None
        )
        for topic_partition, size in _sizes(found).items():
            sizes[topic_partition] = max(size, sizes.get(topic_partition, 0))
    under_way = await admin.list_reassignments()
    partitions = []
    leaders: dict[TopicPartition, int] = {}
    isr: dict[TopicPartition, tuple[int, ...]] = {}
    for topic in metadata.topics.values():
        for each in topic.partitions:
            topic_partition = TopicPartition(topic.name, each.partition)
            leaders[topic_partition], isr[topic_partition] = each.leader, each.isr
            partitions.append(PartitionPlace(topic_partition, each.replicas, sizes.get(topic_partition, 0)))
    brokers = [BrokerPlace(each.broker_id, each.rack) for each in metadata.brokers.values()]
    return Survey(sorted(brokers), sorted(partitions), under_way, rooms, leaders, isr)


async def begin(admin: AdminClient, moves: Sequence[Move], throttle_bytes: int | None = None) -> None:
    """Have the cluster make ``moves``; it goes on with them whoever leaves. ``throttle_bytes``: so many a second at
    most that each broker sends, and takes, for them.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
        MovesRefused: some partitions do not move; the others do.
    """
    if throttle_bytes is not None:
        await _throttle(admin, moves, throttle_bytes)
    outcomes = await admin.alter_reassignments({each.topic_partition: each.after for each in moves})
    refused = [f"{topic_partition}: {why}" for topic_partition, why in outcomes.items() if why is not None]
    if refused:
        raise MovesRefused(f"{len(refused)} of {len(moves)} partitions do not move: {'; '.join(refused[:3])}")


async def progress(admin: AdminClient) -> list[MoveProgress]:
    """The moves under way. A broker that does not answer has copied nothing, as far as is known.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
    """
    under_way = await admin.list_reassignments()
    if not under_way:
        return []
    holders = {broker_id for each in under_way.values() for broker_id in each.replicas}
    if not holders <= admin.brokers.nodes.keys():
        await admin.metadata(())
    described = await admin.describe_log_dirs(holders, partitions=under_way)
    sizes = {broker_id: _sizes(found) for broker_id, found in described.items() if isinstance(found, tuple)}
    found = []
    for topic_partition, each in sorted(under_way.items()):
        held = {broker_id: sizes.get(broker_id, {}).get(topic_partition, 0) for broker_id in each.replicas}
        whole = max((size for broker_id, size in held.items() if broker_id not in each.adding_replicas), default=0)
        copied = sum(min(held[broker_id], whole) for broker_id in each.adding_replicas)
        adding, removing = each.adding_replicas, each.removing_replicas
        found.append(MoveProgress(topic_partition, each.replicas, adding, removing, copied, whole * len(adding)))
    return found


async def watch(admin: AdminClient) -> AsyncIterator[list[MoveProgress]]:
    """:func:`progress` again and again until nothing moves; then the throttle of those that were seen is lifted.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
    """
    topics: set[str] = set()
    while True:
        found = await progress(admin)
        topics.update(each.topic_partition.topic for each in found)
        yield found
        if not found:
            break
        await asyncio.sleep(_POLL_S)
    await lift_throttle(admin, topics)


async def not_done(admin: AdminClient, moves: Iterable[Move]) -> list[Move]:
    """Those whose partitions are elsewhere now that nothing moves: they were cancelled, or their topic was deleted.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
    """
    metadata = await admin.metadata()
    found = []
    for move in moves:
        partition = metadata.partition(move.topic_partition)
        if partition is None or partition.replicas != move.after:
            found.append(move)
    return found


async def elect_preferred(admin: AdminClient, moves: Iterable[Move]) -> None:
    """After moves: who comes first now leads, instead of waiting for leader.imbalance.check.interval.seconds.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
    """
    changed = [each.topic_partition for each in moves if each.before[0] != each.after[0]]
    if changed:
        await admin.elect_leaders(changed)


async def cancel(admin: AdminClient, partitions: Iterable[TopicPartition] | None = None) -> list[TopicPartition]:
    """Bring partitions back to where they were (``None``: all that move). Returns which.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
        MovesRefused: some go on.
    """
    wanted = list(await admin.list_reassignments() if partitions is None else partitions)
    if not wanted:
        return []
    outcomes = await admin.alter_reassignments(dict.fromkeys(wanted))
    refused = [
        f"{topic_partition}: {why}"
        for topic_partition, why in outcomes.items()
        if why is not None and why.code is not ErrorCode.NO_REASSIGNMENT_IN_PROGRESS
    ]
    if refused:
        raise MovesRefused(f"{len(refused)} moves go on: {'; '.join(refused[:3])}")
    await lift_throttle(admin, {each.topic for each in wanted})
    return wanted


async def _throttle(admin: AdminClient, moves: Sequence[Move], rate_bytes: int) -> None:
    """As ReassignPartitionsCommand does: everything that a moving partition has is throttled at its leaders, what it
    gets at its followers."""
    leaders: dict[str, list[str]] = {}
    followers: dict[str, list[str]] = {}
    brokers: set[int] = set()
    for move in moves:
        topic, partition = move.topic_partition
        if not move.adding:
            continue
        leaders.setdefault(topic, []).extend(f"{partition}:{each}" for each in move.before)
        followers.setdefault(topic, []).extend(f"{partition}:{each}" for each in move.adding)
        brokers.update(move.before, move.adding)
    changes: dict[ConfigResource, Iterable[ConfigChange]] = {
        ConfigResource(ResourceType.TOPIC, topic): [
            ConfigChange(LEADER_REPLICAS, ConfigOp.SET, ",".join(leaders[topic])),
            ConfigChange(FOLLOWER_REPLICAS, ConfigOp.SET, ",".join(followers[topic])),
        ]
        for topic in leaders
    }
    for broker_id in sorted(brokers):
        changes[ConfigResource(ResourceType.BROKER, str(broker_id))] = [
            ConfigChange(LEADER_RATE, ConfigOp.SET, str(rate_bytes)),
            ConfigChange(FOLLOWER_RATE, ConfigOp.SET, str(rate_bytes)),
        ]
    for resource, failure in (await admin.alter_configs(changes)).items():
        if failure is not None:
            raise MovesRefused(f"the throttle of {resource.name} cannot be set: {failure_text(failure)}")


async def lift_throttle(admin: AdminClient, topics: Iterable[str]) -> None:
    """Take the throttle from ``topics``, and from every broker unless something else still moves.

    Raises:
        ClientError, KafkaError: nobody answers, or the request is refused.
        MovesRefused: some of it stays.
    """
    changes: dict[ConfigResource, Iterable[ConfigChange]] = {}
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in sorted(topics)]
    if not await admin.list_reassignments():
        resources += [
            ConfigResource(ResourceType.BROKER, str(each)) for each in sorted((await admin.metadata()).brokers)
        ]
    names = (LEADER_REPLICAS, FOLLOWER_REPLICAS, LEADER_RATE, FOLLOWER_RATE)
    for resource, found in (await admin.describe_configs(resources)).items():
        if not isinstance(found, list):
            continue
        of_topic = resource.resource_type is ResourceType.TOPIC
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG if of_topic else ConfigSource.DYNAMIC_BROKER_CONFIG
        set_here = [each.name for each in found if each.name in names and each.source is own and each.value]
        if set_here:
            changes[resource] = [ConfigChange(name, ConfigOp.DELETE) for name in set_here]
    for resource, failure in (await admin.alter_configs(changes)).items() if changes else ():
        if failure is not None:
            raise MovesRefused(f"the throttle of {resource.name} stays: {failure_text(failure)}")


def _sizes(directories: Iterable[LogDirDescription]) -> dict[TopicPartition, int]:
    return {
        topic_partition: replica.size_bytes
        for directory in directories
        for topic_partition, replica in directory.replicas.items()
        if not replica.is_future
    }
