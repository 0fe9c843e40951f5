"""Clients of every kind at once: producers with each acks, readers, a group with members that come and go, an admin."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.cluster import SimCluster
from engine.sim.consumer import SimMember, SimReader
from engine.sim.ledger import RecordLedger
from engine.sim.producer import SimProducer
from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

# Written with acks=all only: nothing acknowledged may be lost. And with acks 0 and 1: it may.
SAFE_TOPIC, UNSAFE_TOPIC = "safe", "unsafe"
SAFE_PARTITIONS, UNSAFE_PARTITIONS = 3, 1
GROUP = "group"
_SETUP_S = 30.0


class Workload:
    """Start, stop, read back. :attr:`done` counts operations by kind."""

    def __init__(self, cluster: SimCluster, ledger: RecordLedger, rng: random.Random) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._rng = rng
        self.done: Counter[str] = Counter()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._admin = SimClient(cluster, "admin")

    # -- life ---------------------------------------------------------------------------------------------------

    async def create_topics(self) -> None:
        """Make the topics that last for the run."""
        topics = [
            CreatableTopic(name=SAFE_TOPIC, num_partitions=SAFE_PARTITIONS, replication_factor=-1),
            CreatableTopic(name=UNSAFE_TOPIC, num_partitions=UNSAFE_PARTITIONS, replication_factor=-1),
        ]
        await self._cluster.loop.spawn(self._admin.process, self._create(topics))

    async def _create(self, topics: list[CreatableTopic]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETUP_S
        while True:
            try:
                answer = await self._admin.ask_any(CreateTopicsRequest(topics=topics, timeout_ms=5000), 6, 8.0)
                codes = {ErrorCode(each.error_code) for each in answer.topics}
                if codes <= {ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS}:
                    await self._admin.refresh([each.name for each in topics])
                    return
            except Unavailable:
                pass
            if loop.time() > deadline:
                raise AssertionError("topics could not be created before the faults began")
            await asyncio.sleep(0.1)

    def start(self) -> None:
        """Every client in a process of its own."""
        for number in range(2):
            self._start(f"idempotent-{number}", self._produce(SAFE_TOPIC, SAFE_PARTITIONS, acks=-1, idempotent=True))
        self._start("all", self._produce(SAFE_TOPIC, SAFE_PARTITIONS, acks=-1, idempotent=False))
        self._start("one", self._produce(UNSAFE_TOPIC, UNSAFE_PARTITIONS, acks=1, idempotent=False))
        self._start("zero", self._produce(UNSAFE_TOPIC, UNSAFE_PARTITIONS, acks=0, idempotent=False))
        self._start("reader", self._read)
        for number in range(3):
            self._start(f"member-{number}", self._consume)
        self._start("operator", self._operate)

    def _start(self, name: str, work: Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]) -> None:
        client = SimClient(self._cluster, name)
        rng = random.Random(self._rng.getrandbits(64))
        self._tasks.append(self._cluster.loop.spawn(client.process, work(client, rng)))

    async def stop(self) -> None:
        """Let every client end what it is at."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    # -- producers ----------------------------------------------------------------------------------------------

    def _produce(
        self, topic: str, partitions: int, *, acks: int, idempotent: bool
    ) -> Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]:
        async def work(client: SimClient, rng: random.Random) -> None:
            producer = SimProducer(client, acks=acks, idempotent=idempotent)
            number = 0
            while not self._stopping:
                partition = rng.randrange(partitions)
                values = []
                for _ in range(rng.choice((1, 1, 1, 3, 20))):
                    number += 1
                    values.append(f"{client.name} {number} {'x' * rng.choice((0, 10, 200))}".encode())
                each = (topic, partition)
                self._ledger.on_send(each, values, client.name, safe=acks == -1, idempotent=idempotent)
                sent = await producer.send(topic, partition, values, for_s=20.0)
                self._ledger.on_sent(each, values, sent)
                self.done[f"send {sent.outcome.value}"] += 1
                await asyncio.sleep(rng.choice((0.002, 0.02, 0.2)))

        return work

    # -- consumers ----------------------------------------------------------------------------------------------

    async def _read(self, client: SimClient, rng: random.Random) -> None:
        """Reads the safe topic from its start, again and again."""
        reader = SimReader(client, read_committed=rng.random() < 0.5)
        while not self._stopping:
            reader.positions = {(SAFE_TOPIC, number): 0 for number in range(SAFE_PARTITIONS)}
            for _ in range(rng.randrange(5, 60)):
                if self._stopping:
                    return
                for record in await reader.poll():
                    self._ledger.on_polled(record)
                self.done["poll"] += 1

    async def _consume(self, client: SimClient, rng: random.Random) -> None:
        """A member of the group; now and then it leaves, or vanishes without a word."""
        member = SimMember(client, GROUP, {SAFE_TOPIC: SAFE_PARTITIONS})
        while not self._stopping:
            try:
                if not member.in_group:
                    if not await member.join():
                        await asyncio.sleep(0.1)
                        continue
                    self.done["join"] += 1
                    await self._resume_at_committed(member)
                    continue
                await self._turn(member)
                if rng.random() < 0.01:
                    if rng.random() < 0.5:
                        await member.leave()
                    else:
                        member = SimMember(client, GROUP, {SAFE_TOPIC: SAFE_PARTITIONS})
                    await asyncio.sleep(rng.uniform(0, 4))
            except Unavailable:
                await asyncio.sleep(0.1)

    async def _resume_at_committed(self, member: SimMember) -> None:
        committed = await member.committed()
        if committed is None:
            member.in_group = False
            return
        self._ledger.on_committed(GROUP, committed)
        member.reader.positions = {each: max(0, offset) for each, offset in committed.items()}

    async def _turn(self, member: SimMember) -> None:
        for record in await member.reader.poll(max_wait_ms=100):
            self._ledger.on_polled(record)
        await member.heartbeat_if_due()
        if not member.in_group or not member.reader.positions:
            await asyncio.sleep(0.05)
            return
        offsets = dict(member.reader.positions)
        code = await member.commit(offsets)
        if code is None or code is ErrorCode.NONE:
            self._ledger.on_commit(GROUP, offsets, known=code is ErrorCode.NONE)
            self.done["commit" if code is ErrorCode.NONE else "commit info"] += 1
        elif code not in _COMMIT_REFUSED:
            # Coordinators that change, or logs that are slow: it may have been written.
            self._ledger.on_commit(GROUP, offsets, known=False)

    # -- the operator -------------------------------------------------------------------------------------------

    async def _operate(self, client: SimClient, rng: random.Random) -> None:
        """Topics that come and go, configs that change, elections."""
        number = 0
        while not self._stopping:
            await asyncio.sleep(rng.uniform(0.1, 3))
            acts: tuple[Any, ...] = (
                (
                    CreateTopicsRequest(
                        topics=[CreatableTopic(name=f"short-{number}", num_partitions=2, replication_factor=-1)],
                        timeout_ms=2000,
                    ),
                    6,
                ),
                (DeleteTopicsRequest(topics=[DeleteTopicState(name=f"short-{number - 2}")], timeout_ms=2000), 6),
                (ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=2000), 2),
                (_retention(rng.choice(("3600000", "86400000"))), 1),
            )
            request, version = rng.choice(acts)
            try:
                await client.ask_any(request, version, 4.0)
                self.done[type(request).__name__.removesuffix("Request")] += 1
            except Unavailable:
                continue
            if isinstance(request, CreateTopicsRequest):
                number += 1

    # -- the end ------------------------------------------------------------------------------------------------

    async def read_everything(self) -> None:
        """Read each partition from its start to its high watermark, into the ledger."""
        await self._cluster.loop.spawn(self._admin.process, self._read_everything())

    async def _read_everything(self) -> None:
        for topic, count in ((SAFE_TOPIC, SAFE_PARTITIONS), (UNSAFE_TOPIC, UNSAFE_PARTITIONS)):
            for number in range(count):
                each = (topic, number)
                reader = SimReader(self._admin)
                reader.positions[each] = 0
                records = []
                for _ in range(2000):
                    found = await reader.poll(max_wait_ms=50)
                    records += found
                    if each in reader.high_watermarks and reader.positions[each] >= reader.high_watermarks[each]:
                        break
                self._ledger.on_final_read(each, records)


def _retention(milliseconds: str) -> IncrementalAlterConfigsRequest:
    config = AlterableConfig(name="retention.ms", config_operation=0, value=milliseconds)
    return IncrementalAlterConfigsRequest(
        resources=[AlterConfigsResource(resource_type=2, resource_name=UNSAFE_TOPIC, configs=[config])]
    )


_COMMIT_REFUSED = frozenset(
    {
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
__all__ = ["SAFE_TOPIC", "UNSAFE_TOPIC", "CreatableTopicConfig", "Workload"]
