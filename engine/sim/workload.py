"""Clients of every kind at once: producers with each acks, readers, groups, an operator; what is read at the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from engine.core.replica.roles import Leader
from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.cluster import SimCluster
from engine.sim.compacted import COMPACTED_PARTITIONS, COMPACTED_TOPIC, CONFIGS, Keeper
from engine.sim.consumer import Polled, SimReader
from engine.sim.contended import ContendedTopics, Contender
from engine.sim.history_recorder import ClientRecorder
from engine.sim.invariants import Violation
from engine.sim.ledger import RecordLedger, partition_name
from engine.sim.options import Options
from engine.sim.producer import Outcome, SimProducer
from engine.sim.transactions import (
    MOVED_TOPIC,
    PREFIX,
    TXN_PARTITIONS,
    TXN_TOPIC,
    CommittedReader,
    Mover,
    Transactor,
    check_moved,
    committed_by_movers,
)
from engine.sim.workload_consumers import GROUP_TOPIC, ConsumerGroupMember, GroupMember, LoneCommitter, SeekingReader
from engine.sim.workload_operator import Operator
from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from engine.wire.messages.update_features_request import FeatureUpdateKey, UpdateFeaturesRequest

# Written with acks=all only: nothing acknowledged may be lost. And with acks 0 and 1: what nobody read may.
SAFE_TOPIC, UNSAFE_TOPIC = "safe", "unsafe"
# As safe as the first one, while its replicas move and partitions are added.
MOVING_TOPIC = "moving"
# Retention takes its records: nobody judges them.
BRIEF_TOPIC = "brief"
SAFE_PARTITIONS, UNSAFE_PARTITIONS, MOVING_PARTITIONS = 3, 1, 2
JUDGED_TOPICS = (SAFE_TOPIC, UNSAFE_TOPIC, MOVING_TOPIC)
_SETUP_S = 30.0
# A light load does everything so much more rarely: hours go by, and their timers with them.
_LIGHT_PACE = 40.0
_FINAL_READS = 2000
# Sessions of a light load last 30 s, rebalances 4 s.
_SETTLE_S = 90.0

Partition = tuple[str, int]


class Workload:
    """Start, stop, read back. :attr:`done` counts operations by kind."""

    def __init__(self, cluster: SimCluster, ledger: RecordLedger, options: Options) -> None:
        self.cluster = cluster
        self.ledger = ledger
        self.options = options
        self.done: Counter[str] = Counter()
        self.stopping = False
        # No member leaves any more: groups must come to rest.
        self.calm = False
        self.members: list[GroupMember] = []
        self.contended = ContendedTopics()
        self._keeper: Keeper | None = None
        self.is_light = options.load == "light"
        self.pace = _LIGHT_PACE if self.is_light else 1.0
        # What the operator makes of the cluster, for the others to use; it tells the story of it.
        self.moving_partitions = MOVING_PARTITIONS
        self.tell: Callable[[str], None] = lambda what: None
        self._rng = random.Random(f"workload {options.seed}")
        self._tasks: list[asyncio.Task[None]] = []
        # Who succeeded how often at what it is there for.
        self._progress: Counter[str] = Counter()
        self._healed_at: Counter[str] = Counter()
        self._expected: dict[str, None] = {}
        self._admin = SimClient(cluster, "admin")

    # -- life ---------------------------------------------------------------------------------------------------

    async def create_topics(self) -> None:
        """Make the topics that last for the run."""
        segments = {"internal.segment.bytes": str(self.options.segment_bytes)}
        if self.options.compacted:
            # Each pass goes over the whole log again: not for every segment that was rolled.
            segments |= {"cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "0.5"}
        factor = min(2, len(self.cluster.machines))
        brief = {"internal.segment.bytes": "4096", "retention.ms": "5000", "file.delete.delay.ms": "1000"}
        topics = [
            _topic(SAFE_TOPIC, SAFE_PARTITIONS, -1, segments),
            _topic(UNSAFE_TOPIC, UNSAFE_PARTITIONS, -1, segments),
            _topic(MOVING_TOPIC, MOVING_PARTITIONS, factor, segments),
            _topic(BRIEF_TOPIC, 1, -1, brief),
            _topic(COMPACTED_TOPIC, COMPACTED_PARTITIONS, -1, CONFIGS),
        ]
        if self.options.transactions:
            topics += [_topic(each, TXN_PARTITIONS, -1, segments) for each in (TXN_TOPIC, MOVED_TOPIC)]
        await self.cluster.loop.spawn(self._admin.process, self._create(topics))
        if self.options.eligible_leader_replicas:
            await self.cluster.loop.spawn(self._admin.process, self._switch_on("eligible.leader.replicas.version"))

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

    async def _switch_on(self, feature: str) -> None:
        update = FeatureUpdateKey(feature=feature, max_version_level=1, upgrade_type=1)
        answer = await self._admin.ask_any(UpdateFeaturesRequest(timeout_ms=5000, feature_updates=[update]), 1, 8.0)
        assert not answer.error_code, f"{feature}: {ErrorCode(answer.error_code).name} {answer.error_message}"

    def start(self) -> None:
        """Every client in a process of its own."""
        rng = self._rng
        for number in range(2):
            self._start(f"idempotent-{number}", self._produce(SAFE_TOPIC, acks=-1, idempotent=True))
        self._start("idempotent-mover", self._produce(MOVING_TOPIC, acks=-1, idempotent=True, pace=4.0))
        self._start("all", self._produce(SAFE_TOPIC, acks=-1, idempotent=False))
        self._start("one", self._produce(UNSAFE_TOPIC, acks=1, idempotent=False))
        self._start("zero", self._produce(UNSAFE_TOPIC, acks=0, idempotent=False))
        self._start("brief", self._produce(BRIEF_TOPIC, acks=1, idempotent=False, pace=4.0, is_judged=False))
        self._start("reader", lambda client, own: SeekingReader(self, client, own).run())
        for number in range(rng.randint(1, 3)):
            self._start(f"member-{number}", self._member("group", None))
        if rng.random() < 0.5:
            for number in range(2):
                self._start(f"static-{number}", self._member("static", f"instance-{number}"))
        if rng.random() < 0.3:
            self._start("lone", lambda client, own: LoneCommitter(self, client, own).run())
        self._start_consumer_groups()
        self._start("operator", lambda client, own: Operator(self, client, own).run())
        if rng.random() < 0.4:
            self._start("keeper", self._keep)
        if rng.random() < 0.4:
            for number in range(2):
                self._start(f"contender-{number}", lambda client, own: Contender(self, client, own).run())
        if self.options.transactions:
            self._start_transactions()

    def _start_transactions(self) -> None:
        for number in range(4):
            self._start(f"{PREFIX}or-{number}", self._transact(f"id-{number // 2}"))
        for number in range(2):
            self._start(f"{PREFIX}ional-mover-{number}", lambda client, own: Mover(self, client, own).run())
        self._start("committed-reader", lambda client, own: CommittedReader(self, client, own).run())

    def _member(
        self, group_id: str, instance_id: str | None
    ) -> Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]:
        return lambda client, own: GroupMember(self, client, own, group_id, instance_id).run()

    def _transact(self, transactional_id: str) -> Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]:
        return lambda client, own: Transactor(self, client, own, transactional_id).run()

    def _start_consumer_groups(self) -> None:
        """Some seeds have them; what the others do is as if there were none."""
        rng = random.Random(f"consumer groups {self.options.seed}")
        if rng.random() < 0.4:
            for number in range(rng.randint(1, 3)):
                self._start(f"consumer-{number}", self._consumer_member("new", None), rng)
            if rng.random() < 0.5:
                for number in range(2):
                    work = self._consumer_member("new-static", f"instance-{number}")
                    self._start(f"consumer-static-{number}", work, rng)

    def _consumer_member(
        self, group_id: str, instance_id: str | None
    ) -> Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]:
        return lambda client, own: ConsumerGroupMember(self, client, own, group_id, instance_id).run()

    def _keep(self, client: SimClient, rng: random.Random) -> Coroutine[Any, Any, None]:
        self._keeper = Keeper(self, client, rng)
        return self._keeper.run()

    def _start(
        self,
        name: str,
        work: Callable[[SimClient, random.Random], Coroutine[Any, Any, None]],
        seeds: random.Random | None = None,
    ) -> None:
        client = SimClient(self.cluster, name)
        rng = random.Random((seeds or self._rng).getrandbits(64))
        self._tasks.append(self.cluster.loop.spawn(client.process, work(client, rng)))

    async def settle(self) -> None:
        """G4: once members cease to leave, each group is stable, with every partition owned. Raises: Violation."""
        self.calm = True
        loop = self.cluster.loop
        deadline = loop.time() + _SETTLE_S
        while why := self._what_is_not_settled():
            if loop.time() > deadline:
                raise Violation("G4", f"{_SETTLE_S:.0f} s after the last member left: {why}")
            await asyncio.sleep(0.2)

    def _what_is_not_settled(self) -> str:
        wanted = [(GROUP_TOPIC, number) for number in range(self.partitions(GROUP_TOPIC))]
        for group_id in dict.fromkeys(each.group_id for each in self.members):
            owned = [each.owned for each in self.members if each.group_id == group_id]
            if None in owned:
                return f"a member of {group_id} is in no generation"
            if sorted(each for partitions in owned for each in partitions or ()) != wanted:
                return f"the members of {group_id} own {owned}"
        return ""

    async def stop(self) -> None:
        """Let every client end what it is at."""
        self.stopping = True
        await asyncio.gather(*self._tasks)

    # -- getting on -------------------------------------------------------------------------------------------------

    def progressed(self, what: str) -> None:
        """A client succeeded: ``what`` names it, with the partition where that matters."""
        self._progress[what] += 1

    def on_healed(self) -> None:
        """From now on everybody has to get on."""
        self._healed_at = self._progress.copy()

    def who_stands_still(self) -> str:
        """A client that has not succeeded since faults were healed; nothing if there is none."""
        for name in self._expected:
            if self._progress[name] == self._healed_at[name]:
                return name
        return ""

    def expect(self, what: str) -> None:
        """Something that has to go on."""
        self._expected[what] = None

    async def rest(self, seconds: float) -> None:
        """Sleep, longer where the load is light, and no longer than until the end."""
        left_s = seconds * self.pace
        while left_s > 0 and not self.stopping:
            await asyncio.sleep(min(left_s, 1.0))
            left_s -= 1.0

    def partitions(self, topic: str) -> int:
        """How many the topic surely has."""
        known = {SAFE_TOPIC: SAFE_PARTITIONS, UNSAFE_TOPIC: UNSAFE_PARTITIONS, MOVING_TOPIC: self.moving_partitions}
        return known.get(topic, 1)

    # -- producers ----------------------------------------------------------------------------------------------

    def _produce(
        self, topic: str, *, acks: int, idempotent: bool, pace: float = 1.0, is_judged: bool = True
    ) -> Callable[[SimClient, random.Random], Coroutine[Any, Any, None]]:
        async def work(client: SimClient, rng: random.Random) -> None:
            producer = SimProducer(client, acks=acks, idempotent=idempotent, keyed=self.options.compacted)
            recorder = self.ledger.client(client.name)
            self.expect(client.name)
            number = 0
            while not self.stopping:
                each = (topic, rng.randrange(self.partitions(topic)))
                values = []
                for _ in range(rng.choice((1, 1, 1, 3, 20))):
                    number += 1
                    values.append(f"{client.name} {number} {'x' * rng.choice((0, 10, 200))}".encode())
                if is_judged:
                    sends = self.ledger.begin_sends(recorder, each, values, acks=acks, idempotent=idempotent)
                    sent = await producer.send(*each, values, for_s=20.0)
                    self.ledger.end_sends(each, sends, sent, acks=acks)
                    if idempotent and sent.outcome is not Outcome.OK:
                        # It goes on as another producer, whose records nothing orders behind the ones before.
                        recorder.start()
                else:
                    sent = await producer.send(*each, values, for_s=20.0)
                self.done[f"send {sent.outcome.value}"] += 1
                if sent.outcome is Outcome.OK or acks == 0:
                    self.progressed(client.name)
                await self.rest(pace * rng.choice((0.002, 0.02, 0.2)))

        return work

    # -- the end ------------------------------------------------------------------------------------------------

    async def read_everything(self) -> None:
        """Read each partition from its start to its end, into the history. Raises: Violation: V1, it cannot be."""
        await self.cluster.loop.spawn(self._admin.process, self._read_everything())

    async def _read_everything(self) -> None:
        recorder = self.ledger.client("final reader")
        read: dict[Partition, list[Polled]] = {}
        for topic in JUDGED_TOPICS:
            for number in range(self.partitions(topic)):
                read[topic, number] = await self._read_to_the_end(recorder, (topic, number), read_committed=False)
        if self.options.transactions:
            for topic in (TXN_TOPIC, MOVED_TOPIC):
                for number in range(TXN_PARTITIONS):
                    read[topic, number] = await self._read_to_the_end(recorder, (topic, number), read_committed=True)
            await self._check_movers(read)
        if self._keeper is not None:
            for number in range(COMPACTED_PARTITIONS):
                self._keeper.judge(number, await self._read_compacted((COMPACTED_TOPIC, number)))

    async def _read_to_the_end(
        self, recorder: ClientRecorder, each: Partition, *, read_committed: bool
    ) -> list[Polled]:
        reader = SimReader(self._admin, read_committed=read_committed, recorder=recorder)
        reader.positions[each] = 0
        recorder.assign({partition_name(each): "beginning"})
        found: list[Polled] = []
        for _ in range(_FINAL_READS):
            found += await reader.poll(max_wait_ms=50)
            poll = recorder.poll(isolation="read_committed" if read_committed else "read_uncommitted")
            # A leader's end, told by itself: all replicas are in sync, and nobody writes any more.
            end = self._log_end(each)
            if end is not None and reader.positions[each] >= end:
                poll.ok([], reached_end={partition_name(each): end})
                return found
            poll.ok([])
        at = reader.positions[each]
        promise = "T7" if read_committed else "V1"
        raise Violation(promise, f"{each} could not be read to its end {self._log_end(each)}: stuck at {at}")

    async def _check_movers(self, read: Mapping[Partition, list[Polled]]) -> None:
        numbers = list(range(SAFE_PARTITIONS))
        for _ in range(_FINAL_READS):
            positions = await committed_by_movers(self._admin, numbers)
            if len(positions) == len(numbers):
                break
            await asyncio.sleep(0.05)
        else:
            raise Violation("T7", f"the movers' positions are not told but of {sorted(positions)}")
        for number, position in positions.items():
            check_moved(number, position, read[SAFE_TOPIC, number], read[MOVED_TOPIC, number])

    async def _read_compacted(self, each: Partition) -> list[Polled]:
        reader = SimReader(self._admin)
        reader.positions[each] = 0
        found: list[Polled] = []
        for _ in range(_FINAL_READS):
            found += await reader.poll(max_wait_ms=50)
            end = self._log_end(each)
            # What a compaction took from the log's end, if all of it was, no fetch tells of.
            if end is not None and reader.positions[each] >= end:
                break
        else:
            raise Violation("V1", f"{each} could not be read to its end: stuck at {reader.positions[each]}")
        return found

    def _log_end(self, each: Partition) -> int | None:
        """The end of the log of the leader with the highest epoch."""
        leaders = []
        for machine in self.cluster.machines.values():
            replica = machine.broker.replicas.get(*each) if machine.broker is not None else None
            if replica is not None and isinstance(replica.partition.role, Leader):
                leaders.append((replica.partition.leader_epoch, replica.log.log_end_offset))
        return max(leaders)[1] if leaders else None


def _topic(name: str, partitions: int, factor: int, configs: Mapping[str, str]) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
    )


__all__ = ["SAFE_TOPIC", "UNSAFE_TOPIC", "Workload"]
