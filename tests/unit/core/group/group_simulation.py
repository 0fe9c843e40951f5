"""Consumers, a coordinator that fails over, and the promises that must hold; one seed, one run.

The shell's part is modelled too: appended records are committed after a while, replies wait for that, and a failover may
lose what was not committed. Clients behave like a consumer: they join, sync, heartbeat, process from the committed
position, commit, and now and then die, leave, restart (static members) or stall until they are zombies.

Promises (promises.md): G1 and G2 at each accepted commit, G3 at each answered fetch, G6 at the end, G4 after the calm.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from group_harness import EPOCH_WALL_MS, subscription

from engine.core.group.context import ClientContext, GroupLimits, Now
from engine.core.group.records import GroupEffects
from engine.core.group.shard import GroupCoordinatorShard
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.offset_commit_key import OffsetCommitKey
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from engine.wire.messages.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

GROUP = "g"
TOPIC = "orders"
PARTITIONS = 6
SESSION_MS = 10_000
REBALANCE_MS = 20_000


class Violation(AssertionError):
    """A promise was broken."""


class Client:
    """One consumer process. ``incarnation`` rises whenever what it waits for no longer matters."""

    def __init__(self, simulation: GroupSimulation, name: str, instance: str | None) -> None:
        self.simulation = simulation
        self.name = name
        self.instance = instance
        self.incarnation = 0
        self.member_id = ""
        self.generation = -1
        self.positions: dict[int, int] = {}
        self.alive = True
        self.stalled_until_ms = 0.0
        self.join()

    # A reply that belongs to an earlier life is dropped; one that comes while the process stalls is handled afterwards.
    def _on_reply(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        incarnation = self.incarnation

        def deliver(response: Any) -> None:
            if not self.alive or incarnation != self.incarnation:
                return
            if self.simulation.now_ms < self.stalled_until_ms:
                self.simulation.at(self.stalled_until_ms, lambda: deliver(response))
                return
            handle(response)

        return deliver

    def _later(self, delay_ms: float, action: Callable[[], None]) -> None:
        deliver = self._on_reply(lambda _: action())
        self.simulation.at(self.simulation.now_ms + delay_ms, lambda: deliver(None))

    def _rejoin(self, *, forget: bool) -> None:
        self.incarnation += 1
        self.positions = {}
        if forget:
            self.member_id = ""
            self.generation = -1
        self._later(self.simulation.random.uniform(1, 200), self.join)

    def join(self) -> None:
        request = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=subscription(TOPIC))],
        )
        context = ClientContext(9, self.name, "/sim")
        self.simulation.send(
            self.name,
            lambda shard, now, token: shard.handle_join_group(context, request, now, token),
            self._on_reply(self._joined),
        )

    def _joined(self, response: Any) -> None:
        error = ErrorCode.NETWORK_EXCEPTION if response is None else ErrorCode(response.error_code)
        if error is ErrorCode.NONE:
            self.member_id = response.member_id
            self.generation = response.generation_id
            assignments = {}
            if response.leader == self.member_id and not response.skip_assignment:
                members = sorted(member.member_id for member in response.members)
                assignments = {
                    member: bytes(p for p in range(PARTITIONS) if p % len(members) == index)
                    for index, member in enumerate(members)
                }
            self._sync(assignments)
        elif error is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = response.member_id
            self.join()
        elif error is ErrorCode.FENCED_INSTANCE_ID:
            self.alive = False
        else:
            self._rejoin(forget=error is ErrorCode.UNKNOWN_MEMBER_ID)

    def _sync(self, assignments: dict[str, bytes]) -> None:
        request = SyncGroupRequest(
            group_id=GROUP,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[SyncGroupRequestAssignment(member_id=m, assignment=a) for m, a in assignments.items()],
        )
        self.simulation.send(
            self.name,
            lambda shard, now, token: shard.handle_sync_group(request, now, token),
            self._on_reply(self._synced),
        )

    def _synced(self, response: Any) -> None:
        error = ErrorCode.NETWORK_EXCEPTION if response is None else ErrorCode(response.error_code)
        if error is not ErrorCode.NONE:
            if error is ErrorCode.FENCED_INSTANCE_ID:
                self.alive = False
                return
            self._rejoin(forget=error is ErrorCode.UNKNOWN_MEMBER_ID)
            return
        self._heartbeat()
        self._fetch(list(response.assignment))

    def _fetch(self, partitions: list[int]) -> None:
        if not partitions:
            return
        topics = [OffsetFetchRequestTopics(name=TOPIC, partition_indexes=partitions)]
        request = OffsetFetchRequestGroup(group_id=GROUP, topics=topics)
        floor = dict(self.simulation.acknowledged)

        def fetched(response: Any) -> None:
            if response is None:
                self._later(self.simulation.random.uniform(50, 300), lambda: self._fetch(partitions))
                return
            for each in response.topics[0].partitions:
                partition, offset = each.partition_index, each.committed_offset
                if offset < floor.get(partition, -1):
                    raise Violation(
                        f"G3: {self.name} fetched {offset} for {TOPIC}-{partition} after {floor[partition]} was "
                        "acknowledged"
                    )
                self.positions[partition] = max(offset, 0)
            self._process()

        self.simulation.send(
            self.name,
            lambda shard, now, token: shard.handle_offset_fetch(request, True, token),
            self._on_reply(fetched),
        )

    def _process(self) -> None:
        rng = self.simulation.random
        for partition in sorted(self.positions):
            end = self.positions[partition] + rng.randrange(4)
            for offset in range(self.positions[partition], end):
                self.simulation.processed[partition].add(offset)
            self.positions[partition] = end
        if rng.random() < 0.5:
            self.commit()
        self._later(rng.uniform(100, 1500), self._process)

    def commit(self) -> None:
        if not self.positions:
            return
        offsets = dict(self.positions)
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
            topics=[
                OffsetCommitRequestTopic(
                    name=TOPIC,
                    partitions=[
                        OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
                        for partition, offset in sorted(offsets.items())
                    ],
                )
            ],
        )
        context = ClientContext(9, self.name, "/sim")
        generation, member_id = self.generation, self.member_id

        def run(shard: GroupCoordinatorShard, now: Now, token: object) -> GroupEffects:
            effects = shard.handle_offset_commit(context, request, now, token)
            if effects.append:
                self.simulation.check_commit(shard, member_id, generation, offsets)
            return effects

        def acknowledged(response: Any) -> None:
            if response is not None and not response.topics[0].partitions[0].error_code:
                self.simulation.acknowledge(offsets)

        # The promise is the coordinator's from the moment it answered, whether or not the process still lives.
        self.simulation.send(self.name, run, acknowledged)

    def _heartbeat(self) -> None:
        request = HeartbeatRequest(
            group_id=GROUP,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
        )

        def beaten(response: Any) -> None:
            error = ErrorCode.NETWORK_EXCEPTION if response is None else ErrorCode(response.error_code)
            if error is ErrorCode.REBALANCE_IN_PROGRESS:
                self.commit()
                self._rejoin(forget=False)
            elif error in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID):
                self._rejoin(forget=error is ErrorCode.UNKNOWN_MEMBER_ID)
            elif error is ErrorCode.FENCED_INSTANCE_ID:
                self.alive = False
            else:
                self._later(1_000, self._heartbeat)

        self.simulation.send(
            self.name, lambda shard, now, token: shard.handle_heartbeat(request, now, token), self._on_reply(beaten)
        )

    # -- misfortunes --------------------------------------------------------------------------------------------

    def die(self) -> None:
        self.alive = False

    def leave(self) -> None:
        self.alive = False
        request = LeaveGroupRequest(group_id=GROUP, members=[MemberIdentity(member_id=self.member_id)])
        self.simulation.send(
            self.name, lambda shard, now, token: shard.handle_leave_group(request, now, token), lambda _response: None
        )

    def stall(self, milliseconds: float) -> None:
        self.stalled_until_ms = self.simulation.now_ms + milliseconds


class GroupSimulation:
    """The world of one run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.sequence = 0
        self.log: list[tuple[Any, Any]] = []
        self.committed = 0
        # Requests of one client arrive in the order in which they were sent: it has one connection.
        self.last_arrival_ms: dict[str, float] = {}
        self.epoch = 0
        self.held: list[tuple[int, Callable[[Any], None], Any]] = []
        self.waiting: dict[int, Callable[[Any], None]] = {}
        self.tokens = 0
        self.uuids = 0
        self.clients: list[Client] = []
        self.acknowledged: dict[int, int] = {}
        self.processed: dict[int, set[int]] = {partition: set() for partition in range(PARTITIONS)}
        self.last_commit_generation = -1
        self.limits = GroupLimits(group_initial_rebalance_delay_ms=self.random.choice([0, 500, 3_000]))
        self.armed_ms: float | None = None
        self.shard = self._load()

    # -- the clock ----------------------------------------------------------------------------------------------

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        self.sequence += 1
        heapq.heappush(self.events, (time_ms, self.sequence, action))

    def run(self, until_ms: float) -> None:
        while self.events and self.events[0][0] <= until_ms:
            time_ms, _, action = heapq.heappop(self.events)
            self.now_ms = max(self.now_ms, time_ms)
            action()
        self.now_ms = until_ms

    @property
    def now(self) -> Now:
        return Now(self.now_ms, EPOCH_WALL_MS + int(self.now_ms))

    # -- the coordinator's shell --------------------------------------------------------------------------------

    def _uuid(self) -> bytes:
        self.uuids += 1
        return self.uuids.to_bytes(16, "big")

    def _replayed(self) -> GroupCoordinatorShard:
        shard = GroupCoordinatorShard(self.limits, self._uuid)
        for offset, (key, value) in enumerate(self.log):
            shard.replay(key, value, record_offset=offset)
        return shard

    def _load(self) -> GroupCoordinatorShard:
        shard = self._replayed()
        self.shard = shard
        self._perform(shard.on_loaded(self.now))
        return shard

    def send(
        self,
        sender: str,
        run: Callable[[GroupCoordinatorShard, Now, object], GroupEffects],
        on_reply: Callable[[Any], None],
    ) -> None:
        """A request on its way; the reply is None if the connection breaks."""
        self.tokens += 1
        token = self.tokens

        def arrive() -> None:
            if self.random.random() < 0.01:
                self._later(lambda: on_reply(None))
                return
            self.waiting[token] = on_reply
            self._perform(run(self.shard, self.now, token))

        arrival_ms = max(self.now_ms + self.random.expovariate(1 / 5), self.last_arrival_ms.get(sender, 0.0))
        self.last_arrival_ms[sender] = arrival_ms
        self.at(arrival_ms, arrive)

    def _later(self, action: Callable[[], None]) -> None:
        self.at(self.now_ms + self.random.expovariate(1 / 5), action)

    def _perform(self, effects: GroupEffects) -> None:
        for record in effects.append:
            value = None if record.value is None else encode_coordinator_value(record.value, record.value_version)
            decoded = decode_coordinator_record(encode_coordinator_key(record.key), value, "group")
            assert decoded is not None
            self.log.append(decoded)
        if effects.append:
            length, epoch = len(self.log), self.epoch
            delay_ms = self.random.expovariate(1 / 20) if self.random.random() < 0.95 else 2_000
            self.at(self.now_ms + delay_ms, lambda: self._commit(length, epoch))
        for token, response in effects.reply:
            assert isinstance(token, int)
            on_reply = self.waiting.pop(token)
            if self.must_hold():
                self.held.append((len(self.log), on_reply, response))
            else:
                self._deliver(on_reply, response)
        self._arm()

    def must_hold(self) -> bool:
        """Whether something is appended and not committed yet."""
        return len(self.log) > self.committed

    def _deliver(self, on_reply: Callable[[Any], None], response: Any) -> None:
        self._later(lambda: on_reply(response))

    def _commit(self, length: int, epoch: int) -> None:
        if epoch != self.epoch or length <= self.committed:
            return
        self.committed = length
        ready = [each for each in self.held if each[0] <= length]
        self.held = [each for each in self.held if each[0] > length]
        for _, on_reply, response in ready:
            self._deliver(on_reply, response)

    def _arm(self) -> None:
        deadline_ms = self.shard.next_deadline_ms()
        if deadline_ms is None or (self.armed_ms is not None and self.now_ms < self.armed_ms <= deadline_ms):
            return
        self.armed_ms = deadline_ms
        self.at(max(deadline_ms, self.now_ms), self._on_timer)

    def _on_timer(self) -> None:
        self.armed_ms = None
        self._perform(self.shard.on_timer(self.now))

    def fail_over(self) -> None:
        """The coordinator dies; its successor has everything committed and some of what was not."""
        self.epoch += 1
        broken = [*self.waiting.values(), *(on_reply for _, on_reply, _ in self.held)]
        self.waiting.clear()
        self.held.clear()
        for on_reply in broken:
            self._later(lambda on_reply=on_reply: on_reply(None))  # type: ignore[misc]
        del self.log[self.random.randint(self.committed, len(self.log)) :]
        self.armed_ms = None
        # What the successor has, it will see committed; until then it holds its replies back.
        self._load()
        length, epoch = len(self.log), self.epoch
        self.at(self.now_ms + self.random.expovariate(1 / 20), lambda: self._commit(length, epoch))

    # -- promises -----------------------------------------------------------------------------------------------

    def check_commit(
        self, shard: GroupCoordinatorShard, member_id: str, generation: int, offsets: dict[int, int]
    ) -> None:
        group = shard.groups[GROUP]
        if generation != group.generation_id or member_id not in group.members:
            raise Violation(f"G2: {member_id} of generation {generation} committed to {group}")
        if generation < self.last_commit_generation:
            raise Violation(f"G1: generation {generation} committed after {self.last_commit_generation}")
        self.last_commit_generation = generation
        if group.state is GroupState.STABLE:
            owned = set(group.members[member_id].assignment)
            if not set(offsets) <= owned:
                raise Violation(f"G1: {member_id} committed for {sorted(offsets)} and owns {sorted(owned)}")

    def acknowledge(self, offsets: dict[int, int]) -> None:
        # One writer at a time (G1), and each starts from the last commit: positions only rise.
        for partition, offset in offsets.items():
            self.acknowledged[partition] = max(offset, self.acknowledged.get(partition, -1))

    def _committed_offsets(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for key, value in self.log[: self.committed]:
            if isinstance(key, OffsetCommitKey) and value is not None:
                found[key.partition] = value.offset
        return found

    def check_nothing_skipped(self) -> None:
        """G6: below each committed position every record has been processed."""
        for partition, committed in self._committed_offsets().items():
            missing = set(range(committed)) - self.processed[partition]
            if missing:
                raise Violation(f"G6: {TOPIC}-{partition} is committed at {committed}; never processed: {missing}")

    def check_law(self) -> None:
        """Replay of the log equals the live durable state."""
        live: Any = self.shard.durable_state()
        replayed: Any = self._replayed().durable_state()
        if live["offsets"] != replayed["offsets"]:
            raise Violation("the offsets in memory are not those of the log")
        for group_id, group in live["groups"].items():
            if replayed["groups"].get(group_id) != group:
                raise Violation(f"group {group_id} in memory is not that of the log")

    def check_converged(self) -> None:
        """G4: stable, and every partition has exactly one owner who lives."""
        group = self.shard.groups.get(GROUP)
        living = [client for client in self.clients if client.alive]
        if not living:
            return
        if group is None or group.state is not GroupState.STABLE:
            raise Violation(f"G4: {group} is not stable long after the last change")
        owners = [p for client in living for p in group.members[client.member_id].assignment]
        if sorted(owners) != list(range(PARTITIONS)):
            raise Violation(f"G4: owned partitions are {sorted(owners)}")
        if sorted(group.members) != sorted(client.member_id for client in living):
            raise Violation("G4: the members are not the living clients")
        for client in living:
            if sorted(client.positions) != sorted(group.members[client.member_id].assignment):
                raise Violation(f"G4: {client.name} does not know what it owns")

    # -- a run --------------------------------------------------------------------------------------------------

    def add_client(self) -> None:
        rng = self.random
        number = len(self.clients)
        instance = f"i{rng.randrange(3)}" if rng.random() < 0.3 else None
        self.clients.append(Client(self, f"c{number}", instance))

    def misfortune(self) -> None:
        rng = self.random
        living = [client for client in self.clients if client.alive]
        choice = rng.random()
        if choice < 0.35 or not living:
            if len(living) < 5:
                self.add_client()
        elif choice < 0.5:
            rng.choice(living).die()
        elif choice < 0.6:
            rng.choice(living).leave()
        elif choice < 0.75:
            rng.choice(living).stall(rng.choice([500, 5_000, 15_000, 40_000]))
        else:
            self.fail_over()
        self.check_law()

    def play(self, misfortunes: int = 25) -> None:
        """Trouble, then calm; raises :class:`Violation`."""
        for _ in range(self.random.randrange(1, 4)):
            self.add_client()
        for _ in range(misfortunes):
            self.run(self.now_ms + self.random.expovariate(1 / 6_000))
            self.misfortune()
        # The last fault is over when sessions and rebalances of the dead have run out.
        self.run(self.now_ms + 40_000 + 3 * (SESSION_MS + REBALANCE_MS) + 10_000)
        self.check_law()
        self.check_nothing_skipped()
        self.check_converged()
