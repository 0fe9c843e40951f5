"""Changes of the metadata quorum and of the controller."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from engine.sim.mutants.mutant import CRASHES, POWER, Mutant, Undo, all_of, replace


def _forgets_votes() -> Undo:
    from engine.broker.metadata_log import MetadataLog

    return replace(MetadataLog, "write_election", lambda self, election, voters, kraft_version=0: None)


def _votes_twice() -> Undo:
    from engine.core.raft.elections import Elections
    from engine.core.raft.states import Voted

    before = Elections._can_grant_vote

    def can_grant(self: Any, candidate: Any, is_up_to_date: bool) -> bool:
        return True if isinstance(self.state, Voted) else before(self, candidate, is_up_to_date)

    return replace(Elections, "_can_grant_vote", can_grant)


def _leaves_fenced_in_isr() -> Undo:
    from engine.core.controller.leadership import Leadership

    before = Leadership._update

    def update(self: Any, step: Any, places: Any, cause: str, *, remove: int = -1, **more: Any) -> None:
        before(
            self,
            step,
            [each for each in places if each[2].leader == remove or remove == -1],
            cause,
            remove=remove,
            **more,
        )

    return replace(Leadership, "_update", update)


def _keeps_new_incarnations_in_isr() -> Undo:
    from engine.core.controller.leadership import Leadership

    def forget(self: Any, step: Any, broker_id: int, *, is_clean_shutdown: bool) -> None:
        """Whoever comes back is taken for who went."""

    return replace(Leadership, "forget_incarnation", forget)


def _elects_anybody() -> Undo:
    from engine.core.controller.leadership import Leadership
    from engine.core.controller.partition_change import Election

    return replace(Leadership, "default_election", lambda self, topic: Election.UNCLEAN)


def _comes_back_without_its_epoch() -> Undo:
    """A node that reads nothing of quorum-state, and believes to be in its log's last epoch."""
    from engine.broker.metadata_log import MetadataLog
    from engine.core.raft.identity import ElectionState

    return replace(MetadataLog, "read_election", lambda self: ElectionState(0, None, None))


def _takes_high_watermarks_back() -> Undo:
    from engine.core.raft.replication import Replication

    def raise_high_watermark(self: Any, leaders: int) -> None:
        self.high_watermark = min(leaders, self.log.end_offset)

    return replace(Replication, "_raise_high_watermark", raise_high_watermark)


def _commits_without_majority() -> Undo:
    from engine.core.raft.node import RaftNode

    def update(self: Any, leader: Any) -> None:
        if self.log.flushed_offset > leader.epoch_start_offset:
            self.high_watermark = max(self.high_watermark, self.log.flushed_offset)

    return replace(RaftNode, "_update_high_watermark", update)


def _votes_for_shorter_logs() -> Undo:
    from engine.core.raft.elections import Elections

    vote, pre_vote = Elections._can_grant_vote, Elections._can_grant_pre_vote

    def can_grant(self: Any, candidate: Any, is_up_to_date: bool) -> bool:
        return vote(self, candidate, True)

    def can_grant_pre(self: Any, is_up_to_date: bool) -> bool:
        return pre_vote(self, True)

    undo_vote = replace(Elections, "_can_grant_vote", can_grant)
    undo_pre = replace(Elections, "_can_grant_pre_vote", can_grant_pre)
    return all_of(undo_vote, undo_pre)


def _tells_what_is_not_synced() -> Undo:
    """A follower that fetches on before what it has is on the disk, and a disk that is told nothing."""
    from engine.broker.metadata_log import MetadataLog

    return replace(MetadataLog, "flush", lambda self, *_: self.end_offset)


def _cleans_without_snapshot() -> Undo:
    from engine.core.raft.log_view import LogView

    def delete_before(self: Any, snapshot_id: Any) -> None:
        before(self, snapshot_id)
        self.snapshot_ids = [each for each in self.snapshot_ids if each != snapshot_id]

    before = LogView.delete_before
    return replace(LogView, "delete_before", delete_before)


def _leader_starts_at_a_snapshot() -> Undo:
    from engine.core.raft.elections import Elections

    def become_leader(self: Any, candidate: Any) -> None:
        before(self, candidate)
        snapshot = self.log.latest_snapshot_id
        if snapshot is not None:
            self.log.start_at(snapshot)

    before = Elections._become_leader
    return replace(Elections, "_become_leader", become_leader)


def _tells_of_topics_before_the_commit() -> Undo:
    from engine.broker.controller_host import ControllerHost
    from engine.broker.quorum_host import QuorumHost
    from engine.wire.apis import ApiKey

    handle, wait_committed = ControllerHost.handle, QuorumHost.wait_committed
    is_hasty = ContextVar("is_hasty", default=False)

    async def handle_hastily(self: Any, api_key: int, *others: Any) -> Any:
        token = is_hasty.set(api_key in (ApiKey.CREATE_TOPICS, ApiKey.DELETE_TOPICS))
        try:
            return await handle(self, api_key, *others)
        finally:
            is_hasty.reset(token)

    async def wait(self: Any, offset: int, epoch: int) -> None:
        if not is_hasty.get():
            await wait_committed(self, offset, epoch)

    return all_of(replace(ControllerHost, "handle", handle_hastily), replace(QuorumHost, "wait_committed", wait))


def _misses_a_record() -> Undo:
    """Every seventh change of a partition passes a broker by."""
    from engine.core.controller import image

    seen = [0]
    before = image.MetadataImage._replay_partition_change

    def replay(self: Any, record: Any) -> None:
        seen[0] += 1
        if seen[0] % 7:
            before(self, record)

    image._REPLAY["PartitionChangeRecord"] = replay

    def undo() -> None:
        image._REPLAY["PartitionChangeRecord"] = before

    return undo


def _counts_voters_only_once_committed() -> Undo:
    """The next set of voters counts when the last one has committed it."""
    from engine.core.raft.node import RaftNode

    before = RaftNode.__dict__["voters"].fget

    def voters(self: Any) -> Any:
        committed = self.history.at(self.high_watermark - 1)
        return before(self) if committed is None else committed.voters

    return replace(RaftNode, "voters", property(voters))


MUTANTS = (
    Mutant("forgets votes", ("K1", "K8"), _forgets_votes, ("kill-on-vote",)),
    Mutant("votes twice", ("K1", "K8"), _votes_twice, ("kill-on-vote", "cut", "mute")),
    Mutant("comes back without its epoch", ("K2", "K8"), _comes_back_without_its_epoch, ("kill", "kill-leader", "cut")),
    Mutant("takes the quorum's high watermark back", ("K3",), _takes_high_watermarks_back, CRASHES),
    Mutant("commits metadata without a majority", ("K4", "K5"), _commits_without_majority, CRASHES),
    Mutant("votes for shorter logs", ("K5",), _votes_for_shorter_logs, ("kill", "cut", "pause")),
    Mutant(
        "counts voters only once committed", ("K4",), _counts_voters_only_once_committed, CRASHES, more={"voters": True}
    ),
    Mutant("does not sync metadata", ("K4", "L4"), _tells_what_is_not_synced, POWER, "fsync"),
    Mutant("cleans its log without a snapshot", ("K6",), _cleans_without_snapshot, CRASHES),
    Mutant("a leader starts at a snapshot", ("K7",), _leader_starts_at_a_snapshot, CRASHES),
    Mutant("misses a record of the metadata", ("K9",), _misses_a_record, CRASHES),
    Mutant("tells of topics before they are committed", ("K11",), _tells_of_topics_before_the_commit, ("cut",)),
    Mutant("leaves fenced brokers in the ISR", ("K10",), _leaves_fenced_in_isr, CRASHES),
    Mutant("keeps new incarnations in the ISR", ("R8",), _keeps_new_incarnations_in_isr, ("kill",)),
    Mutant("elects anybody", ("R2",), _elects_anybody, CRASHES),
)
