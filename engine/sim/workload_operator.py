"""The workload's operator: topics that come and go, partitions, replicas and brokers that move, configs, elections."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.consumer import SimMember
from engine.sim.workload_voters import VoterChanges
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.alter_replica_log_dirs_request import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.unregister_broker_request import UnregisterBrokerRequest

if TYPE_CHECKING:
    from engine.sim.workload import Workload
    from engine.wire.message import Message

_SAFE_TOPIC, _MOVING_TOPIC, _BRIEF_TOPIC = "safe", "moving", "brief"
# How often a broker that is to leave is asked for what it still holds, every half second.
_DRAIN_TURNS = 60
_MOST_MOVING_PARTITIONS = 4
_COPY_RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
_REQUEST_S = 4.0


class Operator:
    """One client that changes the cluster."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._created = 0
        self._groups = 0
        self._joined: int | None = None
        self._acts: tuple[Callable[[], Awaitable[None]], ...] = (
            *((self._join_or_leave,) * 2 if workload.options.joining else ()),
            *((VoterChanges(workload, client, rng).change,) * 6 if workload.options.voters else ()),
            *((self._move_between_disks,) * 4 if workload.options.log_dirs > 1 else ()),
            self._commit_once,
            self._create_topic,
            self._delete_topic,
            self._elect_leaders,
            self._change_config,
            self._delete_records,
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
        topic, name, values = self._rng.choice(
            (
                # Small segments are compacted soon.
                (OFFSETS_TOPIC, "internal.segment.bytes", ("4096", "16384")),
                (_BRIEF_TOPIC, "retention.ms", ("2000", "20000", "3600000")),
                (_BRIEF_TOPIC, "retention.bytes", ("-1", "10000", "100000")),
                (_BRIEF_TOPIC, "internal.segment.bytes", ("4096", "16384", "1048576")),
                (_BRIEF_TOPIC, "max.message.bytes", ("1048588", "100000")),
            )
        )
        config = AlterableConfig(name=name, config_operation=0, value=self._rng.choice(values))
        resource = AlterConfigsResource(resource_type=2, resource_name=topic, configs=[config])
        await self._ask(IncrementalAlterConfigsRequest(resources=[resource]), 1)

    async def _delete_records(self) -> None:
        """Of the topic that nobody judges: up to its high watermark."""
        leader_id, _ = await self._client.leader(_BRIEF_TOPIC, 0)
        partition = DeleteRecordsPartition(0, -1)
        request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(_BRIEF_TOPIC, [partition])], timeout_ms=2000)
        answer = await self._client.ask(leader_id, request, 2, _REQUEST_S)
        if answer.topics[0].partitions[0].error_code:
            self._client.forget_leader(_BRIEF_TOPIC, 0)
        else:
            self._workload.done["DeleteRecords"] += 1

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

    async def _move_between_disks(self) -> None:
        """A replica of what clients write and read goes to another log directory of its broker, at any rate."""
        workload, rng = self._workload, self._rng
        node_id = rng.choice(sorted(workload.cluster.machines))
        name = rng.choice((_SAFE_TOPIC, _MOVING_TOPIC, OFFSETS_TOPIC, _BRIEF_TOPIC))
        number = rng.randrange(workload.moving_partitions) if name == _MOVING_TOPIC else 0
        path = rng.choice(workload.cluster.log_dirs)
        if rng.random() < 0.3:
            # Slowly, so that more comes between.
            rate = AlterableConfig(_COPY_RATE, 0, rng.choice(("20000", "200000", "1000000000")))
            resource = AlterConfigsResource(resource_type=4, resource_name="", configs=[rate])
            await self._ask(IncrementalAlterConfigsRequest(resources=[resource]), 1)
        request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path, [AlterReplicaLogDirTopic(name, [number])])])
        workload.tell(f"move {name}-{number} of broker {node_id} to {path}")
        answer = await self._client.ask(node_id, request, 2, _REQUEST_S)
        if not answer.results[0].partitions[0].error_code:
            workload.done["AlterReplicaLogDirs"] += 1

    async def _commit_once(self) -> None:
        """A group that nobody belongs to commits, and is not heard of again: its offset expires."""
        member = SimMember(self._client, f"once-{self._groups}", {_SAFE_TOPIC: 1})
        self._groups += 1
        await member.commit({(_SAFE_TOPIC, 0): 0})
        self._workload.done["commit once"] += 1

    # -- brokers ------------------------------------------------------------------------------------------------

    async def _join_or_leave(self) -> None:
        """A broker joins the cluster, or the one that did gives up what it holds and leaves."""
        workload, cluster = self._workload, self._workload.cluster
        if self._joined is None:
            self._joined = cluster.add_machine()
            workload.tell(f"broker {self._joined} joins")
            workload.done["broker joins"] += 1
            # Not as part of this client: a process that is killed takes its tasks with it.
            cluster.loop.call_soon(cluster.start, self._joined, context=contextvars.Context())
            return
        workload.tell(f"broker {self._joined} is to leave")
        for _ in range(_DRAIN_TURNS):
            if not await self._move_away(self._joined):
                break
            await asyncio.sleep(0.5)
            if workload.stopping:
                return
        else:
            return
        leaving, self._joined = self._joined, None
        cluster.remove_machine(leaving)
        workload.tell(f"broker {leaving} is gone")
        await self._unregister(leaving)
        workload.done["broker leaves"] += 1

    async def _move_away(self, node_id: int) -> int:
        """Ask for other replicas instead of the broker's; how many partitions it still has. Raises: Unavailable."""
        answer = await self._client.ask_any(
            MetadataRequest(topics=None, allow_auto_topic_creation=False), 12, _REQUEST_S
        )
        others = [each for each in self._workload.cluster.voters]
        topics = []
        for topic in answer.topics:
            moves = []
            for each in topic.partitions:
                if node_id in each.replica_nodes:
                    kept = [replica for replica in each.replica_nodes if replica != node_id]
                    factor = min(3 if topic.name != _MOVING_TOPIC else 2, len(others))
                    free = [other for other in others if other not in kept]
                    replicas = (kept + free)[: max(1, factor)]
                    moves.append(ReassignablePartition(partition_index=each.partition_index, replicas=replicas))
            if moves:
                topics.append(ReassignableTopic(name=topic.name or "", partitions=moves))
        if topics:
            await self._ask(AlterPartitionReassignmentsRequest(topics=topics, timeout_ms=2000), 1)
        return len(topics)

    async def _unregister(self, node_id: int) -> None:
        """Until it is done, faults or not: what is gone must not count as fenced at the end."""
        request = UnregisterBrokerRequest(broker_id=node_id)
        while True:
            with contextlib.suppress(Unavailable):
                answer = await self._client.ask_any(request, 0, _REQUEST_S)
                if ErrorCode(answer.error_code) in (ErrorCode.NONE, ErrorCode.BROKER_ID_NOT_REGISTERED):
                    return
            await asyncio.sleep(0.2)
