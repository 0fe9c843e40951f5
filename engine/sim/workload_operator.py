"""The workload's operator: topics that come and go, partitions, replicas and brokers that move, configs, elections."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engine.sim.clients import SimClient, Unavailable
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

if TYPE_CHECKING:
    from engine.sim.workload import Workload
    from engine.wire.message import Message

_MOVING_TOPIC, _BRIEF_TOPIC = "moving", "brief"
_MOST_MOVING_PARTITIONS = 4
_REQUEST_S = 4.0


class Operator:
    """One client that changes the cluster."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._created = 0
        self._acts: tuple[Callable[[], Awaitable[None]], ...] = (
            self._create_topic,
            self._delete_topic,
            self._elect_leaders,
            self._change_config,
            self._add_partitions,
            self._reassign,
            self._reassign,
        )

    async def run(self) -> None:
        """Until the workload stops."""
        while not self._workload.stopping:
            await self._workload.rest(self._rng.uniform(0.1, 3))
            if self._workload.stopping:
                return
            try:
                await self._rng.choice(self._acts)()
            except Unavailable:
                continue

    async def _ask(self, request: Message, version: int) -> None:
        """Raises: Unavailable."""
        await self._client.ask_any(request, version, _REQUEST_S)
        self._workload.done[type(request).__name__.removesuffix("Request")] += 1

    async def _create_topic(self) -> None:
        topic = CreatableTopic(name=f"short-{self._created}", num_partitions=2, replication_factor=-1)
        await self._ask(CreateTopicsRequest(topics=[topic], timeout_ms=2000), 6)
        self._created += 1

    async def _delete_topic(self) -> None:
        topic = DeleteTopicState(name=f"short-{self._created - 2}")
        await self._ask(DeleteTopicsRequest(topics=[topic], timeout_ms=2000), 6)

    async def _elect_leaders(self) -> None:
        await self._ask(ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=2000), 2)

    async def _change_config(self) -> None:
        name, values = self._rng.choice(
            (
                ("retention.ms", ("2000", "20000", "3600000")),
                ("retention.bytes", ("-1", "10000", "100000")),
                ("internal.segment.bytes", ("4096", "16384", "1048576")),
                ("max.message.bytes", ("1048588", "100000")),
            )
        )
        config = AlterableConfig(name=name, config_operation=0, value=self._rng.choice(values))
        resource = AlterConfigsResource(resource_type=2, resource_name=_BRIEF_TOPIC, configs=[config])
        await self._ask(IncrementalAlterConfigsRequest(resources=[resource]), 1)

    async def _add_partitions(self) -> None:
        """To a topic of the moment, or to the one that clients write to."""
        workload = self._workload
        is_moving = self._rng.random() < 0.3 and workload.moving_partitions < _MOST_MOVING_PARTITIONS
        name = _MOVING_TOPIC if is_moving else f"short-{self._created - 1}"
        count = workload.moving_partitions + 1 if is_moving else 4
        topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
        answer = await self._client.ask_any(CreatePartitionsRequest(topics=[topic], timeout_ms=2000), 3, _REQUEST_S)
        workload.done["CreatePartitions"] += 1
        if is_moving and not answer.results[0].error_code:
            workload.moving_partitions = count
            workload.tell(f"{name} has {count} partitions")

    async def _reassign(self) -> None:
        """Other replicas for a partition, or none of those that were asked for before."""
        workload, rng = self._workload, self._rng
        brokers = sorted(workload.cluster.machines)
        number = rng.randrange(workload.moving_partitions)
        factor = min(2, len(brokers))
        replicas = None if rng.random() < 0.2 else rng.sample(brokers, factor)
        partition = ReassignablePartition(partition_index=number, replicas=replicas)
        topic = ReassignableTopic(name=_MOVING_TOPIC, partitions=[partition])
        request = AlterPartitionReassignmentsRequest(topics=[topic], timeout_ms=2000)
        workload.tell(f"reassign {_MOVING_TOPIC}-{number} to {replicas}")
        await self._ask(request, 1)
