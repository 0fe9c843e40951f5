"""Offsets that groups committed to ZooKeeper, committed to a running cluster: they go into __consumer_offsets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.client.admin.client import AdminClient
from engine.client.admin.offsets import CommittedOffset as Position
from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.supervisor.zookeeper_migration import CommittedOffset


class Refused(NamedTuple):
    """An offset that the cluster did not take, and why."""

    group: str
    partition: TopicPartition | None
    why: str


class Committed(NamedTuple):
    """What became of them: how many were committed, which were there (the group has committed to the cluster as well,
    and that counts), which were refused."""

    committed: int
    kept: list[CommittedOffset]
    refused: list[Refused]


async def commit_offsets(
    admin: AdminClient,
    offsets: Iterable[CommittedOffset],
    *,
    replaces: bool,
) -> Committed:
    """Commit each group's offsets as its only member would; a group with members is refused by the cluster.

    ``replaces``: ZooKeeper's offsets count where the group has committed to the cluster too (offsets.storage was
    zookeeper); otherwise the cluster's do.
    """
    by_group: dict[str, dict[TopicPartition, Position]] = {}
    for each in offsets:
        by_group.setdefault(each.group, {})[each.partition] = Position(each.offset, each.leader_epoch, each.metadata)
    committed, kept, refused = 0, list[CommittedOffset](), list[Refused]()
    known = {} if replaces else await admin.list_group_offsets(by_group)
    for group, wanted in sorted(by_group.items()):
        there = known.get(group, {})
        if isinstance(there, dict):
            kept += [CommittedOffset(group, each, *at) for each, at in wanted.items() if each in there]
            wanted = {each: at for each, at in wanted.items() if each not in there}
        if not wanted:
            continue
        try:
            outcomes = await admin.alter_group_offsets(group, wanted)
        except (ClientError, KafkaError) as error:
            refused.append(Refused(group, None, str(error)))
            continue
        for partition, error_of_one in outcomes.items():
            if error_of_one is None:
                committed += 1
            else:
                refused.append(Refused(group, partition, error_of_one.message))
    return Committed(committed, kept, refused)
