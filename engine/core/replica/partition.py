"""One partition replica on one broker (kafka.cluster.Partition; KIP-101, 320, 497, 841, 903, 966).

The machine holds offsets and epochs, not records: its shell appends to the log, answers fetches and sends requests, and
tells the machine. Every input that may move the high watermark returns Effects; the high watermark itself is an
attribute, which the shell compares before and after. The order for the shell: append to the log, ``on_append``, then
write ``high_watermark`` to the log, then the Effects.

Times are monotonic milliseconds. Nothing here waits: an append with acks=all is entered with
``wait_until_committed(offset, token)`` and answered by a Reply with that token.
"""

from __future__ import annotations

from bisect import insort
from operator import itemgetter

from engine.core.effects import Effects, Reply
from engine.core.replica.cluster_view import NO_BROKER_EPOCH, ClusterView, PartitionState
from engine.core.replica.isr_state import (
    AWAIT_METADATA,
    REFUSED_FOR_CERTAIN,
    CommittedIsr,
    PendingExpandIsr,
    PendingIsr,
    PendingShrinkIsr,
)
from engine.core.replica.outputs import NOTHING, AlterPartition, AppendCommitted, PartitionEffects, StartLeaderEpoch
from engine.core.replica.partition_notes import isr_note, truncation_note, why_behind, why_caught_up
from engine.core.replica.remote_replica import RemoteReplica
from engine.core.replica.roles import Follower, Leader
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.topic_partition import TopicPartition

NO_LEADER = -1
NO_EPOCH = -1

_REQUIRED_OFFSET = itemgetter(0)


class Partition:
    """The machine. Offsets: ``log_end_offset`` is where the next record goes; ``durable_end_offset`` is the part of it
    that this broker vouches for when the high watermark is computed (the same, unless every append is flushed)."""

    __slots__ = (
        "adding_replicas",
        "durable_end_offset",
        "effective_min_isr",
        "high_watermark",
        "lag_max_ms",
        "leader_epoch",
        "log_end_offset",
        "min_insync_replicas",
        "partition_epoch",
        "replicas",
        "role",
        "topic_id",
        "topic_partition",
        "view",
    )

    def __init__(
        self,
        topic_partition: TopicPartition,
        topic_id: Uuid,
        view: ClusterView,
        *,
        lag_max_ms: float = 30_000,
        min_insync_replicas: int = 1,
        log_end_offset: int = 0,
        high_watermark: int = 0,
    ) -> None:
        """``lag_max_ms``: replica.lag.time.max.ms. The log is taken to be durable up to its end."""
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.view = view
        self.lag_max_ms = lag_max_ms
        self.min_insync_replicas = min_insync_replicas
        self.log_end_offset = log_end_offset
        self.durable_end_offset = log_end_offset
        self.high_watermark = min(high_watermark, log_end_offset)
        self.role: Leader | Follower = Follower(NO_LEADER)
        self.replicas: tuple[int, ...] = ()
        self.adding_replicas: tuple[int, ...] = ()
        self.leader_epoch = NO_EPOCH
        self.partition_epoch = NO_EPOCH
        # min.insync.replicas, but never more than there are replicas.
        self.effective_min_isr = 1
        self._settle_min_isr()

    # -- answers ------------------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this broker leads."""
        return type(self.role) is Leader

    @property
    def leader_id(self) -> int:
        """The leader's broker id, -1 if there is none."""
        role = self.role
        return role.leader_id if isinstance(role, Follower) else self.view.local_broker_id

    @property
    def isr(self) -> frozenset[int]:
        """The committed ISR as the leader knows it; empty on followers."""
        return self.role.isr_state.isr if isinstance(self.role, Leader) else frozenset()

    @property
    def maximal_isr(self) -> frozenset[int]:
        """Everyone who may be in the controller's ISR now; empty on followers."""
        return self.role.maximal_isr if isinstance(self.role, Leader) else frozenset()

    @property
    def is_under_min_isr(self) -> bool:
        """Whether this broker leads with too few in-sync replicas to commit anything."""
        role = self.role
        return isinstance(role, Leader) and role.isr_size < self.effective_min_isr

    @property
    def is_at_min_isr(self) -> bool:
        """Whether this broker leads with just as many in-sync replicas as it takes."""
        role = self.role
        return isinstance(role, Leader) and role.isr_size == self.effective_min_isr

    @property
    def is_under_replicated(self) -> bool:
        """Whether this broker leads and some replica that is not just being added is out of the ISR."""
        role = self.role
        if not isinstance(role, Leader):
            return False
        return len(self.replicas) - len(self.adding_replicas) > len(role.isr_state.isr)

    def leader_role(self) -> Leader:
        """The leader's state. Raises: KafkaError: NOT_LEADER_OR_FOLLOWER."""
        role = self.role
        if type(role) is Leader:
            return role
        raise KafkaError(
            ErrorCode.NOT_LEADER_OR_FOLLOWER,
            f"{self.topic_partition.topic}-{self.topic_partition.partition} is not led by this broker",
        )

    def low_watermark(self, log_start_offset: int) -> int:
        """The smallest log start offset of all replicas on brokers that are alive (DeleteRecords)."""
        low = log_start_offset
        for broker_id, replica in self.leader_role().replicas.items():
            registered = self.view.brokers.get(broker_id)
            if registered is not None and not registered.fenced and replica.log_start_offset < low:
                low = replica.log_start_offset
        return low

    # -- checks before an operation -----------------------------------------------------------------------------

    def check_epoch(self, current_leader_epoch: int, *, leader_only: bool) -> None:
        """Fence a request by the leader epoch that its sender believes in (KIP-320); -1: it does not say.

        Raises:
            KafkaError: FENCED_LEADER_EPOCH (the sender is behind), UNKNOWN_LEADER_EPOCH (this broker is),
                NOT_LEADER_OR_FOLLOWER (``leader_only``, and another broker leads).
        """
        if current_leader_epoch != NO_EPOCH and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                raise KafkaError(
                    ErrorCode.FENCED_LEADER_EPOCH,
                    f"leader epoch {current_leader_epoch} is past: it is {self.leader_epoch}",
                )
            raise KafkaError(
                ErrorCode.UNKNOWN_LEADER_EPOCH,
                f"leader epoch {current_leader_epoch} is not known here yet: it is {self.leader_epoch}",
            )
        if leader_only and type(self.role) is not Leader:
            self.leader_role()

    def check_append(self, required_acks: int) -> Leader:
        """Whether an append with these acks (0, 1, -1) may be tried.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER; NOT_ENOUGH_REPLICAS for acks=all with an ISR below the minimum.
        """
        role = self.role
        if type(role) is not Leader:
            return self.leader_role()
        if required_acks == -1 and role.isr_size < self.effective_min_isr:
            raise KafkaError(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                f"the ISR {sorted(role.isr_state.isr)} is below min.insync.replicas={self.effective_min_isr}",
            )
        return role

    def check_follower(self, replica_id: int, current_leader_epoch: int) -> None:
        """Whether a fetch may come from this replica.

        Raises:
            KafkaError: UNKNOWN_LEADER_EPOCH for a broker that this leader does not (yet) know as a replica, or
                NOT_LEADER_OR_FOLLOWER if its request carries no leader epoch.
        """
        if replica_id not in self.leader_role().replicas:
            code = ErrorCode.NOT_LEADER_OR_FOLLOWER
            if current_leader_epoch != NO_EPOCH:
                code = ErrorCode.UNKNOWN_LEADER_EPOCH
            raise KafkaError(
                code, f"broker {replica_id} is not a replica of {self.topic_partition} in epoch {self.leader_epoch}"
            )

    # -- leadership ---------------------------------------------------------------------------------------------

    def on_become_leader(self, state: PartitionState, now_ms: float) -> PartitionEffects:
        """The metadata says that this broker leads.

        A state that is older than what is known is ignored. One of the same partition epoch changes the replicas only:
        the ISR of that epoch is known from the controller's answer, and a change may have been proposed since, which
        must go on counting for the maximal ISR.
        """
        if state.partition_epoch < self.partition_epoch or state.leader_epoch < self.leader_epoch:
            return NOTHING
        effects: PartitionEffects = Effects()
        was_leader = self.role if isinstance(self.role, Leader) else None
        is_new_epoch = state.leader_epoch > self.leader_epoch
        # Where one delta brings several elections, another may have led in between and cut the followers' logs: what
        # they had is not known to be there still.
        leads_anew = was_leader is None or state.leader_epoch > self.leader_epoch + 1
        isr = frozenset(state.isr)
        is_new_state = is_new_epoch or was_leader is None or state.partition_epoch > self.partition_epoch
        local_id = self.view.local_broker_id
        role = was_leader or Leader(local_id, self.log_end_offset)
        self.role = role
        self._adopt(state)
        known = role.replicas
        role.replicas = {each: known.get(each) or RemoteReplica(each) for each in state.replicas if each != local_id}
        for broker_id, directory_id in zip(state.replicas, state.directories, strict=False):
            if broker_id != local_id:
                role.replicas[broker_id].directory_id = directory_id
        if is_new_state:
            pending = role.isr_state
            role.proposal = None
            role.enter(CommittedIsr(isr))
            if not isinstance(pending, CommittedIsr) and isr == pending.proposed_isr:
                # The metadata was faster than the controller's answer.
                effects.notes.append(isr_note(self, pending.committed.isr, role.isr_state.isr, pending.reason))
        else:
            role.enter(role.isr_state)
        if is_new_epoch or was_leader is None:
            role.epoch_start_offset = self.log_end_offset
            effects.append.append(StartLeaderEpoch(state.leader_epoch, self.log_end_offset))
            for each in role.replicas.values():
                each.on_new_leader_epoch(
                    self.log_end_offset, now_ms, leads_anew=leads_anew, is_in_sync=each.broker_id in isr
                )
        # The ISR may be down to this broker.
        self._advance_high_watermark(role, now_ms, effects)
        self._maybe_expand(role, now_ms, effects)
        return effects or NOTHING

    def on_become_follower(self, state: PartitionState) -> PartitionEffects:
        """The metadata says that another broker leads, or none. Who waits for acks=all hears NOT_LEADER_OR_FOLLOWER."""
        if state.partition_epoch < self.partition_epoch or state.leader_epoch < self.leader_epoch:
            return NOTHING
        effects = self._resign(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        self.role = Follower(state.leader)
        self._adopt(state)
        return effects

    def _adopt(self, state: PartitionState) -> None:
        self.replicas = tuple(state.replicas)
        self.adding_replicas = tuple(state.adding_replicas)
        self.leader_epoch = state.leader_epoch
        self.partition_epoch = state.partition_epoch
        self._settle_min_isr()

    def on_stop(self, error: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> PartitionEffects:
        """The replica goes: deleted, its disk failed, or the broker stops. Who waits hears ``error``."""
        effects = self._resign(error)
        self.role = Follower(NO_LEADER)
        return effects

    def _resign(self, error: ErrorCode) -> PartitionEffects:
        role = self.role
        if not isinstance(role, Leader) or not role.waiting:
            return NOTHING
        answer = AppendCommitted(self.topic_partition, error)
        effects: PartitionEffects = Effects(reply=[Reply(token, answer) for _, token in role.waiting])
        role.waiting.clear()
        return effects

    def on_min_insync_replicas(self, min_insync_replicas: int, now_ms: float) -> PartitionEffects:
        """The topic's min.insync.replicas changed: lowering it may commit what waits."""
        self.min_insync_replicas = min_insync_replicas
        self._settle_min_isr()
        role = self.role
        return self._advanced(role, now_ms) if type(role) is Leader else NOTHING

    def _settle_min_isr(self) -> None:
        self.effective_min_isr = min(self.min_insync_replicas, len(self.replicas) or 1)

    # -- the leader's log ---------------------------------------------------------------------------------------

    def on_append(self, log_end_offset: int, durable_end_offset: int, now_ms: float) -> PartitionEffects:
        """The leader's log grew to ``log_end_offset``, of which this broker vouches for ``durable_end_offset``."""
        role = self.role
        assert type(role) is Leader, "a follower's log grows by on_follower_append"
        old_end_offset = self.log_end_offset
        assert log_end_offset >= old_end_offset, "an append does not shorten the log"
        for replica in role.replicas.values():
            # RemoteReplica.on_leader_append, inlined: this runs for every produce request.
            if replica.log_end_offset >= old_end_offset and now_ms > replica.last_caught_up_ms:
                replica.last_caught_up_ms = now_ms
        self.log_end_offset = log_end_offset
        self.durable_end_offset = durable_end_offset
        return self._advanced(role, now_ms)

    def on_flushed(self, durable_end_offset: int, now_ms: float) -> PartitionEffects:
        """The log is on the device up to ``durable_end_offset``; leaders may commit that far."""
        if durable_end_offset <= self.durable_end_offset:
            return NOTHING
        assert durable_end_offset <= self.log_end_offset, "more was flushed than the log has"
        self.durable_end_offset = durable_end_offset
        role = self.role
        return self._advanced(role, now_ms) if type(role) is Leader else NOTHING

    def wait_until_committed(self, required_offset: int, token: object) -> AppendCommitted | None:
        """Answer at once if the high watermark is there, or keep ``token`` for a later Reply.

        ``required_offset`` is the offset after the append's last record.
        """
        role = self.leader_role()
        if self.high_watermark >= required_offset:
            return self._committed(role)
        waiting = role.waiting
        if waiting and waiting[-1][0] > required_offset:
            # A producer repeats an append that others followed: rare, and still before them in line.
            insort(waiting, (required_offset, token), key=_REQUIRED_OFFSET)
        else:
            waiting.append((required_offset, token))
        return None

    def forget_waiting(self, token: object) -> None:
        """The one who waits has given up."""
        role = self.role
        if isinstance(role, Leader):
            # Who gives up has mostly waited the longest: it is the first in line.
            for index, (_, waiting) in enumerate(role.waiting):
                if waiting is token:
                    del role.waiting[index]
                    return

    def _committed(self, role: Leader) -> AppendCommitted:
        error = ErrorCode.NONE
        if len(role.maximal_isr) < self.effective_min_isr:
            # It was taken with enough replicas, which have left since.
            error = ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return AppendCommitted(self.topic_partition, error)

    # -- followers of this leader -------------------------------------------------------------------------------

    def on_follower_fetch(
        self,
        replica_id: int,
        broker_epoch: int,
        fetch_offset: int,
        log_start_offset: int,
        leader_end_offset: int,
        now_ms: float,
    ) -> PartitionEffects:
        """A follower fetches from ``fetch_offset``: it has all before. ``leader_end_offset`` is where the log ended
        when the request was read. Call it only for fetches that do not diverge.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER, also for a fetch by an incarnation that is no longer registered.
        """
        role = self.leader_role()
        replica = role.replicas.get(replica_id)
        if replica is None:
            self.check_follower(replica_id, self.leader_epoch)
            raise AssertionError
        if self.view.is_stale(replica_id, broker_epoch):
            raise KafkaError(
                ErrorCode.NOT_LEADER_OR_FOLLOWER,
                f"a fetch of broker {replica_id} in the past broker epoch {broker_epoch}",
            )
        before = replica.log_end_offset
        replica.on_fetch(fetch_offset, log_start_offset, leader_end_offset, broker_epoch, now_ms)
        if replica_id not in role.maximal_isr and self._may_expand(role, replica):
            effects: PartitionEffects = Effects()
            self._propose_expand(role, replica, effects)
            self._advance_high_watermark(role, now_ms, effects)
            return effects
        return NOTHING if fetch_offset == before else self._advanced(role, now_ms)

    def _may_expand(self, role: Leader, replica: RemoteReplica) -> bool:
        # At or beyond the high watermark is not enough: between it and the start of this epoch may be records that
        # an earlier leader committed, and a replica without them must not be electable.
        return (
            type(role.isr_state) is CommittedIsr
            and replica.log_end_offset >= self.high_watermark
            and replica.log_end_offset >= role.epoch_start_offset
            and self.view.may_join_isr(replica.broker_id, replica.broker_epoch, replica.directory_id)
        )

    def _propose_expand(self, role: Leader, replica: RemoteReplica, effects: PartitionEffects) -> None:
        reason = why_caught_up(replica, self.high_watermark)
        self._propose(role, PendingExpandIsr(role.isr_state.committed, replica.broker_id, reason), effects)

    def _propose(self, role: Leader, pending: PendingIsr, effects: PartitionEffects) -> None:
        role.enter(pending)
        local_id = self.view.local_broker_id
        new_isr = []
        for broker_id in sorted(pending.proposed_isr):
            epoch: int | None = self.view.local_broker_epoch
            if broker_id != local_id:
                replica = role.replicas.get(broker_id)
                epoch = None if replica is None else replica.broker_epoch
            # A member that was not heard yet goes without epoch: if it crashes, the controller takes it out of the ISR
            # and with that makes this request's partition epoch stale.
            new_isr.append((broker_id, NO_BROKER_EPOCH if epoch is None else epoch))
        role.proposal = AlterPartition(
            self.topic_partition, self.topic_id, self.leader_epoch, self.partition_epoch, tuple(new_isr)
        )
        effects.send.append(role.proposal)

    def on_cluster_changed(self, now_ms: float) -> PartitionEffects:
        """The view changed (a broker was fenced, unfenced, registered): a follower may be able to join now, or need
        not be waited for."""
        role = self.role
        if type(role) is not Leader or not role.uncounted:
            return NOTHING
        effects: PartitionEffects = Effects()
        self._advance_high_watermark(role, now_ms, effects)
        self._maybe_expand(role, now_ms, effects)
        return effects or NOTHING

    def _maybe_expand(self, role: Leader, now_ms: float, effects: PartitionEffects) -> None:
        """Take up a follower whose last fetch came when no change of the ISR could be proposed. It must be in sync
        now: its position is not fresh, and one that hangs must not go in and out of the ISR."""
        for replica in role.uncounted:
            if self._may_expand(role, replica) and replica.is_caught_up(self.log_end_offset, now_ms, self.lag_max_ms):
                self._propose_expand(role, replica, effects)
                return

    def on_isr_check(self, now_ms: float) -> PartitionEffects:
        """Look for followers that lag for longer than replica.lag.time.max.ms and propose an ISR without them; failing
        that, for one that may join. One that is not in the ISR and was waited for may hang: time alone lets the high
        watermark pass it."""
        role = self.role
        if type(role) is not Leader:
            return NOTHING
        effects: PartitionEffects = Effects()
        if role.uncounted:
            self._advance_high_watermark(role, now_ms, effects)
        if type(role.isr_state) is not CommittedIsr:
            return effects or NOTHING
        local_id = self.view.local_broker_id
        out, reasons = [], []
        for broker_id in sorted(role.isr_state.isr):
            if broker_id == local_id:
                continue
            replica = role.replicas.get(broker_id)
            if replica is not None and replica.is_caught_up(self.log_end_offset, now_ms, self.lag_max_ms):
                continue
            out.append(broker_id)
            reasons.append(why_behind(broker_id, replica, self.log_end_offset, now_ms))
        if not out:
            self._maybe_expand(role, now_ms, effects)
            return effects or NOTHING
        self._propose(role, PendingShrinkIsr(role.isr_state, frozenset(out), "; ".join(reasons)), effects)
        return effects

    def on_alter_partition_response(
        self,
        proposal: AlterPartition,
        error: ErrorCode,
        leader_epoch: int,
        partition_epoch: int,
        isr: tuple[int, ...],
        now_ms: float,
    ) -> PartitionEffects:
        """The controller's answer to ``proposal``; with an ``error`` the other values do not count.

        A Send in the Effects is the same request again: the error said nothing about what was written.
        """
        role = self.role
        if type(role) is not Leader or role.proposal is not proposal:
            return NOTHING  # an election or newer metadata came first: the answer is about the past
        pending = role.isr_state
        assert not isinstance(pending, CommittedIsr), "a proposal without a pending ISR"
        if error is not ErrorCode.NONE:
            return self._refused(role, pending, proposal, error)
        if leader_epoch != self.leader_epoch or partition_epoch < self.partition_epoch:
            return NOTHING  # stay pending: metadata that settles it is on its way
        before = pending.committed.isr
        role.enter(CommittedIsr(frozenset(isr)))
        role.proposal = None
        self.partition_epoch = partition_epoch
        effects: PartitionEffects = Effects()
        if role.isr_state.isr != before:
            effects.notes.append(isr_note(self, before, role.isr_state.isr, pending.reason))
        self._advance_high_watermark(role, now_ms, effects)
        self._maybe_expand(role, now_ms, effects)
        return effects

    def _refused(
        self, role: Leader, pending: PendingIsr, proposal: AlterPartition, error: ErrorCode
    ) -> PartitionEffects:
        if error in REFUSED_FOR_CERTAIN:
            role.enter(pending.committed)
            role.proposal = None
            return NOTHING
        if error in AWAIT_METADATA:
            return NOTHING
        return Effects(send=[proposal])

    # -- following ----------------------------------------------------------------------------------------------

    def on_follower_append(self, log_end_offset: int, durable_end_offset: int, leader_high_watermark: int) -> None:
        """Batches from the leader were appended (or none were), and its high watermark was heard.

        A follower's high watermark never goes back but by truncation: a new leader may not know yet how far the one
        before had committed.
        """
        assert type(self.role) is Follower, "a leader's log grows by on_append"
        self.log_end_offset = log_end_offset
        self.durable_end_offset = durable_end_offset
        reached = min(leader_high_watermark, log_end_offset)
        if reached > self.high_watermark:
            self.high_watermark = reached

    def on_truncated(self, log_end_offset: int, reason: str) -> PartitionEffects:
        """The follower's log now ends at ``log_end_offset``: it was cut, or started anew there."""
        assert type(self.role) is Follower, "a leader never truncates"
        before, high_watermark = self.log_end_offset, self.high_watermark
        self.log_end_offset = log_end_offset
        self.durable_end_offset = min(self.durable_end_offset, log_end_offset)
        self.high_watermark = min(high_watermark, log_end_offset)
        if before == log_end_offset:
            return NOTHING
        return Effects(notes=[truncation_note(self, before, high_watermark, reason)])

    def on_start_offset_moved(self, log_start_offset: int) -> None:
        """Records before ``log_start_offset`` are gone: nothing below it is uncommitted any more."""
        if log_start_offset > self.high_watermark:
            self.high_watermark = min(log_start_offset, self.log_end_offset)

    # -- the high watermark -------------------------------------------------------------------------------------

    def _advanced(self, role: Leader, now_ms: float) -> PartitionEffects:
        """The hot path: Effects only if the high watermark moved and somebody waits for it."""
        before = self.high_watermark
        reached = self._committed_offset(role, now_ms)
        if reached <= before:
            return NOTHING
        self.high_watermark = reached
        waiting = role.waiting
        if not waiting or waiting[0][0] > reached:
            return NOTHING
        effects: PartitionEffects = Effects()
        self._reply_committed(role, effects)
        return effects

    def _advance_high_watermark(self, role: Leader, now_ms: float, effects: PartitionEffects) -> None:
        reached = self._committed_offset(role, now_ms)
        if reached > self.high_watermark:
            self.high_watermark = reached
        self._reply_committed(role, effects)

    def _committed_offset(self, role: Leader, now_ms: float) -> int:
        """The offset before which every replica of the maximal ISR has everything; -1 below min.insync.replicas.

        A replica that is level with the leader and on its way into the ISR is waited for as well: were the high
        watermark to run ahead of it, it could never catch up and join.
        """
        if role.isr_size < self.effective_min_isr or role.without_position:
            return -1
        reached = self.durable_end_offset
        for replica in role.counted:
            if replica.log_end_offset < reached:
                reached = replica.log_end_offset
        for replica in role.uncounted:
            if (
                replica.log_end_offset < reached
                and replica.is_caught_up(self.log_end_offset, now_ms, self.lag_max_ms)
                and self.view.may_join_isr(replica.broker_id, replica.broker_epoch, replica.directory_id)
            ):
                reached = replica.log_end_offset
        return reached

    def _reply_committed(self, role: Leader, effects: PartitionEffects) -> None:
        waiting = role.waiting
        if waiting and waiting[0][0] <= self.high_watermark:
            answer = self._committed(role)
            while waiting and waiting[0][0] <= self.high_watermark:
                effects.reply.append(Reply(waiting.popleft()[1], answer))

    def __repr__(self) -> str:
        topic, partition = self.topic_partition
        role = "leader" if self.is_leader else f"follower of {self.leader_id}"
        return (
            f"Partition({topic}-{partition}, {role}, epoch={self.leader_epoch}, hw={self.high_watermark}, "
            f"leo={self.log_end_offset}, isr={sorted(self.isr)})"
        )
