"""Consumers, a coordinator that fails over, and the promises that must hold; one seed, one run.

What goes wrong, besides what the network does (:mod:`coordinator_world`): consumers die, also between two requests of a
handshake; leave; stall; are busy; start a second time under the same instance id. Replication stalls. The coordinator
dies, most of all right after an append. The group is emptied and its offsets are reset or deleted. The topic is deleted
and created again.

Promises (:mod:`group_promises`): G1, G2 and G6 at each accepted commit and each answered fetch, G3 at each fetch and
failover, G4 at each answer and after the calm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordinator_world import CoordinatorWorld, Handler, error_in, nobody
from group_promises import NOTHING, Commit, Violation
from simulated_consumer import GROUP, PARTITIONS, TOPIC, Consumer, commit_request, error_of

from engine.core.effects import Effects, Reply
from engine.core.group.context import ClientContext, Now
from engine.core.group.offset_requests import commit_error_response
from engine.core.group.records import GroupEffects
from engine.core.group.shard import GroupCoordinatorShard
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.leave_group_request import LeaveGroupRequest
from engine.wire.messages.offset_commit_request import OffsetCommitRequest
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from engine.wire.messages.sync_group_request import SyncGroupRequest


class GroupSimulation(CoordinatorWorld):
    """One group, its consumers, and an administrator."""

    def __init__(self, seed: int, trace: list[str] | None = None) -> None:
        super().__init__(seed, trace)
        self.topic_id = self.new_uuid()
        # Consumers take this much more time than usual.
        self.leisure = 1.0
        self.consumers: list[Consumer] = []
        # Instance id -> token of the JoinGroup that claimed it last, and the coordinator that had it.
        self.claims: dict[str, tuple[int, int]] = {}

    # -- requests -----------------------------------------------------------------------------------------------

    def join(self, consumer: Consumer, request: JoinGroupRequest, on_reply: Handler) -> int:
        """A consumer's JoinGroup; returns its token."""
        instance, claims = request.group_instance_id, request.member_id == ""

        def run(shard: GroupCoordinatorShard, now: Now, token: object) -> GroupEffects:
            effects = shard.handle_join_group(consumer.context, request, now, token)
            refused = any(each.token == token and each.response.error_code for each in effects.reply)  # type: ignore[attr-defined]
            if instance is not None and claims and not refused:
                assert isinstance(token, int)
                self.claims[instance] = token, self.epoch
                self.promises.on_claimed(instance)
            return effects

        def answered(response: Any) -> None:
            if error_of(response) is ErrorCode.MEMBER_ID_REQUIRED:
                self.waits_since_ms[response.member_id] = self.now_ms
            elif error_of(response) is ErrorCode.NONE:
                self.waits_since_ms.setdefault(response.generation_id, self.now_ms)
                self.started_generation = response.generation_id
                self.seen["skipped assignment"] += response.skip_assignment
                self.promises.on_joined(response.member_id, instance, response.generation_id)

        return self.send("join", consumer.name, run, on_reply, on_answer=answered)

    def sync(self, consumer: Consumer, request: SyncGroupRequest, on_reply: Handler) -> None:
        """A consumer's SyncGroup."""

        def run(shard: GroupCoordinatorShard, now: Now, token: object) -> GroupEffects:
            effects = shard.handle_sync_group(request, now, token)
            for record in effects.append:
                generation_id = getattr(record.value, "generation", -1)
                if generation_id != request.generation_id:
                    raise Violation(f"G1: an assignment for {request.generation_id} became that of {generation_id}")
            return effects

        self.send(
            "sync",
            consumer.name,
            run,
            on_reply,
            generation_id=request.generation_id,
            on_answer=self.on_sign_of_life,
        )

    def commit(self, consumer: Consumer, offsets: dict[int, int], *, careless: bool) -> None:
        """A consumer's OffsetCommit, which it sends again, unchanged, when the connection breaks."""
        topic_id, member_id, generation_id = consumer.topic_id, consumer.member_id, consumer.generation_id
        request = commit_request(
            offsets, topic_id, member_id=member_id, generation_id=generation_id, instance=consumer.instance
        )

        def accepted(commits: dict[int, Commit]) -> None:
            self.promises.on_alive(self.now_ms)
            self.promises.on_commit(member_id, consumer.instance, generation_id, commits, careless=careless)

        def replied(response: Any) -> None:
            if response is None and consumer.alive:
                self.soon(1_000, send)

        def send() -> None:
            self._send_commit(consumer.name, consumer.context, request, accepted, replied)

        send()

    def _send_commit(
        self,
        sender: str,
        context: ClientContext,
        request: OffsetCommitRequest,
        accepted: Callable[[dict[int, Commit]], None],
        on_reply: Handler,
    ) -> None:
        (topic,) = request.topics
        commits: dict[int, Commit] = {}

        def run(shard: GroupCoordinatorShard, now: Now, token: object) -> GroupEffects:
            if topic.topic_id != self.topic_id:
                # The shell knows no such topic and does not ask the coordinator.
                return Effects(reply=[Reply(token, commit_error_response(request, ErrorCode.UNKNOWN_TOPIC_ID))])
            return shard.handle_offset_commit(context, request, now, token)

        def answered(response: Any) -> None:
            if error_in("commit", response) is ErrorCode.NONE:
                for each in topic.partitions:
                    commits[each.partition_index] = Commit(len(self.log), each.committed_offset, topic.topic_id)
                accepted(commits)
                if self.random.random() < 0.2:
                    self.observe()

        # The promise is the coordinator's from the moment it lets the answer go, whether or not the client still lives.
        self.send(
            "commit",
            sender,
            run,
            on_reply,
            generation_id=request.generation_id_or_member_epoch,
            on_answer=answered,
            on_release=lambda _response: self.promises.on_acknowledged(commits),
        )

    def leave(self, consumer: Consumer, request: LeaveGroupRequest) -> None:
        """A consumer's LeaveGroup."""

        def answered(response: Any) -> None:
            (member,) = response.members
            if member.member_id and member.error_code == ErrorCode.NONE:
                self.promises.on_left(member.member_id)

        self.send(
            "leave",
            consumer.name,
            lambda shard, now, token: shard.handle_leave_group(request, now, token),
            nobody,
            on_answer=answered,
        )

    # -- an administrator ---------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Ask for all positions, as a console does."""
        topic_id = self.topic_id
        floors = [self.promises.floor(partition) for partition in range(PARTITIONS)]
        topics = [OffsetFetchRequestTopics(name=TOPIC, topic_id=topic_id, partition_indexes=list(range(PARTITIONS)))]
        request = OffsetFetchRequestGroup(group_id=GROUP, topics=topics)

        def fetched(response: Any) -> None:
            if response is not None:
                for each, floor in zip(response.topics[0].partitions, floors, strict=True):
                    self.promises.on_fetched(
                        each.partition_index, topic_id, each.committed_offset, floor, self.committed
                    )

        self.send("fetch", "console", lambda shard, _, token: shard.handle_offset_fetch(request, False, token), fetched)

    def reset_offsets(self) -> None:
        """Set all positions back, as kafka-consumer-groups does; refused while the group has members."""
        context = ClientContext(10, "admin", "/sim")
        offsets = {
            partition: self.random.randint(0, self.promises.processed_up_to(partition, self.topic_id))
            for partition in range(PARTITIONS)
        }
        request = commit_request(offsets, self.topic_id)
        self._send_commit("admin", context, request, self.promises.on_bystander_commit, nobody)

    def delete_group(self) -> None:
        """Delete the group with its offsets; refused while it has members."""
        nothing: dict[int, Commit] = {}

        def answered(results: Any) -> None:
            if error_in("delete", results) is ErrorCode.NONE:
                nothing.update({partition: Commit(len(self.log), NOTHING, b"") for partition in range(PARTITIONS)})
                self.promises.on_deleted(nothing)

        self.send(
            "delete",
            "admin",
            lambda shard, _now, token: shard.handle_delete_groups([GROUP], token),
            nobody,
            on_answer=answered,
            on_release=lambda _results: self.promises.on_acknowledged(nothing),
        )

    def recreate_topic(self) -> None:
        """The topic is deleted, and another one of the same name created."""
        self.topic_id = self.new_uuid()
        self.note("the topic is created anew")
        partitions = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        self.perform(self.shard.on_partitions_deleted(partitions))
        for consumer in self.consumers:
            consumer.hear_of_topic(self.random.uniform(1, 1_000))

    # -- misfortunes --------------------------------------------------------------------------------------------

    def add_consumer(self, instance: str | None = None) -> None:
        """A process starts; with an instance id it may be the second one of that id."""
        if instance is None and self.random.random() < 0.4:
            instance = f"i{self.random.randrange(3)}"
        self.consumers.append(Consumer(self, f"c{len(self.consumers)}", instance))
        self.consumers[-1].dies_at_next_reply = self.random.random() < 0.1
        self.consumers[-1].sync_delay_ms = self.random.choice([0.0] * 8 + [10_000, 40_000])

    def add_twin(self) -> None:
        """A static member is started a second time."""
        static = [consumer for consumer in self.living() if consumer.instance is not None]
        if static:
            self.add_consumer(self.random.choice(static).instance)

    def living(self) -> list[Consumer]:
        """Consumers that run."""
        return [consumer for consumer in self.consumers if consumer.alive]

    def everybody_leaves(self) -> None:
        """Then an administrator does something to the empty group, and new consumers start."""
        for consumer in self.living():
            consumer.leave()
        # Some may have left before they knew their member id: theirs has to run out.
        self.run(self.now_ms + self.random.choice([1_000, self.session_ms + 1_000]))
        self.random.choice([self.reset_offsets, self.delete_group])()
        self.run(self.now_ms + 100)
        self.add_consumer()

    def misfortune(self) -> None:
        """One thing goes wrong."""
        rng = self.random
        living = self.living()
        choice = rng.random()
        self.note(f"misfortune {choice:.2f}")
        if choice < 0.25 or not living:
            if len(living) < 5:
                self.add_consumer()
        elif choice < 0.29:
            self.add_twin()
        elif choice < 0.35:
            rng.choice(living).alive = False
        elif choice < 0.43:
            rng.choice(living).dies_at_next_reply = True
        elif choice < 0.49:
            rng.choice(living).leave()
        elif choice < 0.57:
            rng.choice(living).stalled_until_ms = self.now_ms + rng.choice([500, 5_000, 15_000, 40_000])
        elif choice < 0.60:
            rng.choice(living).sync_delay_ms = rng.choice([10_000, 40_000])
        elif choice < 0.63:
            rng.choice(living).busy_until_ms = self.now_ms + rng.choice([10_000, 60_000])
        elif choice < 0.67:
            self.replication_stalled_until_ms = self.now_ms + rng.choice([500, 3_000])
        elif choice < 0.74:
            self.everybody_leaves()
        elif choice < 0.78:
            self.reset_offsets()
        elif choice < 0.83:
            self.recreate_topic()
            if rng.random() < 0.5:
                self.fail_over()
        elif choice < 0.95:
            self.fails_at_next_append = True
        else:
            self.fail_over()

    # -- promises -----------------------------------------------------------------------------------------------

    def on_sign_of_life(self, response: Any) -> None:
        """The coordinator has answered a heartbeat or a sync."""
        if error_of(response) in (ErrorCode.NONE, ErrorCode.REBALANCE_IN_PROGRESS):
            self.promises.on_alive(self.now_ms)

    def on_fenced(self, consumer: Consumer) -> None:
        """A consumer was told that another one has its place: somebody must have claimed it.

        A claim that was answered but belongs to no assignment yet is lost when the coordinator fails.
        """
        claim, epoch = self.claims.get(consumer.instance or "", (0, 0))
        excused = not consumer.synced_since_claim and self.epoch != epoch
        if claim == consumer.claim and not excused:
            raise Violation(f"G4: {consumer.name} was fenced and nobody has taken the place of {consumer.instance}")

    def _check_handshake(self, member_id: str, step: str | int, patience_ms: float) -> None:
        waits_ms = self.now_ms - self.waits_since_ms[step]
        if waits_ms > patience_ms + 1:
            raise Violation(
                f"G4: {member_id} does not go on with its handshake and is waited for for {waits_ms:.0f} ms"
            )

    def check(self) -> None:
        """What holds at any time."""
        self.check_law()
        for request in self.waiting.values():
            self.check_patience(request)
        group = self.shard.groups.get(GROUP)
        if group is None:
            return
        for member_id in group.pending_join_members:
            self._check_handshake(member_id, member_id, self.session_ms)
        for member_id in group.pending_sync_members:
            self._check_handshake(member_id, group.generation_id, self.rebalance_ms)

    def check_converged(self) -> None:
        """G4: stable, and every partition has exactly one owner who lives and knows."""
        group = self.shard.groups.get(GROUP)
        living = self.living()
        if not living:
            return
        if group is None or group.state is not GroupState.STABLE:
            raise Violation(f"G4: {group} is not stable long after the last change")
        if sorted(group.members) != sorted(consumer.member_id for consumer in living):
            raise Violation("G4: the members are not the living consumers")
        owners = [partition for consumer in living for partition in group.members[consumer.member_id].assignment]
        if sorted(owners) != list(range(PARTITIONS)):
            raise Violation(f"G4: owned partitions are {sorted(owners)}")
        for consumer in living:
            if sorted(consumer.positions) != sorted(group.members[consumer.member_id].assignment):
                raise Violation(f"G4: {consumer.name} does not know what it owns")

    # -- a run --------------------------------------------------------------------------------------------------

    def play(self, misfortunes: int = 40) -> None:
        """Trouble, then calm; raises :class:`Violation`."""
        for _ in range(self.random.randrange(1, 4)):
            self.add_consumer()
        for _ in range(misfortunes):
            self.run(self.now_ms + self.random.expovariate(1 / 4_000))
            self.misfortune()
            self.check()
        self.calm()

    def calm(self) -> None:
        """Nothing goes wrong any more: the group must come to rest, and stay so."""
        self.connections_break = self.fails_at_next_append = False
        for each in self.late:
            self.soon(1_000, each.arrive)
        self.late.clear()
        self.leisure = 5.0
        self.add_twin()
        for consumer in self.consumers:
            consumer.stalled_until_ms = min(consumer.stalled_until_ms, self.now_ms)
            consumer.busy_until_ms = consumer.sync_delay_ms = 0.0
        # The last of the dead has run out, its rebalance and the next one have timed out.
        self.run(self.now_ms + self.session_ms + 2 * self.rebalance_ms + 15_000)
        generation = self.promises.generation
        self.run(self.now_ms + 10_000)
        self.check()
        self.check_converged()
        self.promises.check_nothing_skipped(self.topic_id)
        if self.living() and self.promises.generation != generation:
            raise Violation(f"G4: {generation.generation_id} was not the last generation")
