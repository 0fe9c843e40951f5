"""Known-bad changes of the engine, one for each promise: seeds must fail under each of them, or the checks are blind.

``python -m engine.sim.mutants [NAME …]``. A mutant is made by replacing a function in this process only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from engine.sim.options import Options, options_from
from engine.sim.simulation import SimulationFailed, run_seed


class Mutant(NamedTuple):
    """``change`` does harm and returns what undoes it; ``faults`` and ``durability`` are those under which it shows."""

    name: str
    promises: tuple[str, ...]
    change: Callable[[], Callable[[], None]]
    faults: tuple[str, ...] | None = None
    durability: str | None = None


def _replace(owner: Any, name: str, value: Any) -> Callable[[], None]:
    if isinstance(owner, type):
        owner = next(each for each in owner.__mro__ if name in each.__dict__)
    before = owner.__dict__[name]
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


def _leader_commits_alone() -> Callable[[], None]:
    from engine.core.replica.partition import Partition

    return _replace(Partition, "_committed_offset", lambda self, role, now_ms: self.durable_end_offset)


def _acks_before_commit() -> Callable[[], None]:
    from engine.core.replica.partition import Partition

    return _replace(Partition, "wait_until_committed", lambda self, offset, token: self._committed(self.leader_role()))


def _joins_isr_behind() -> Callable[[], None]:
    from engine.core.replica.isr_state import CommittedIsr
    from engine.core.replica.partition import Partition

    def may_expand(self: Any, role: Any, replica: Any) -> bool:
        return type(role.isr_state) is CommittedIsr and self.view.may_join_isr(replica.broker_id, replica.broker_epoch)

    return _replace(Partition, "_may_expand", may_expand)


def _keeps_divergent_tail() -> Callable[[], None]:
    from engine.broker.replica_manager import ReplicaManager

    return _replace(ReplicaManager, "truncate", lambda self, replica, offset, reason: None)


def _ignores_divergence() -> Callable[[], None]:
    from engine.broker.apis import fetch

    return _replace(fetch, "diverging_epoch", lambda *_: None)


def _accepts_stale_epochs() -> Callable[[], None]:
    from engine.core.replica.partition import Partition

    def check_epoch(self: Any, current_leader_epoch: int, *, leader_only: bool) -> None:
        if leader_only:
            self.leader_role()

    undo_epoch = _replace(Partition, "check_epoch", check_epoch)
    undo_divergence = _ignores_divergence()

    def undo() -> None:
        undo_epoch()
        undo_divergence()

    return undo


def _serves_uncommitted() -> Callable[[], None]:
    from engine.storage.log import Log

    before = Log.read

    def read(self: Any, offset: int, max_bytes: int, *, max_offset: Any = None, min_one_message: bool = True) -> Any:
        return before(self, offset, max_bytes, min_one_message=min_one_message)

    return _replace(Log, "read", read)


def _forgets_duplicates() -> Callable[[], None]:
    from engine.storage.producer_state import ProducerAppendInfo, ProducerStateManager

    undo_first = _replace(ProducerStateManager, "duplicate_of", lambda self, header: None)
    undo_second = _replace(ProducerAppendInfo, "_check_sequence", lambda self, *arguments: None)

    def undo() -> None:
        undo_first()
        undo_second()

    return undo


def _claims_fsync() -> Callable[[], None]:
    from engine.storage.log import Log

    def flush(self: Any) -> None:
        self.recovery_point = max(self.recovery_point, self.log_end_offset)

    return _replace(Log, "flush", flush)


def _forgets_votes() -> Callable[[], None]:
    from engine.broker.metadata_log import MetadataLog

    return _replace(MetadataLog, "write_election", lambda self, election, voters: None)


def _votes_twice() -> Callable[[], None]:
    from engine.core.raft.elections import Elections
    from engine.core.raft.states import Voted

    before = Elections._can_grant_vote

    def can_grant(self: Any, candidate: Any, is_up_to_date: bool) -> bool:
        return True if isinstance(self.state, Voted) else before(self, candidate, is_up_to_date)

    return _replace(Elections, "_can_grant_vote", can_grant)


def _leaves_fenced_in_isr() -> Callable[[], None]:
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

    return _replace(Leadership, "_update", update)


def _elects_anybody() -> Callable[[], None]:
    from engine.core.controller.leadership import Leadership
    from engine.core.controller.partition_change import Election

    return _replace(Leadership, "default_election", lambda self, topic: Election.UNCLEAN)


def _tells_uncommitted_offsets() -> Callable[[], None]:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    before = CoordinatorRuntime._queue

    def queue(self: Any, partition: Any, effects: Any) -> None:
        before(self, partition, effects)
        for token, response in effects.reply:
            self._deliver(partition, token, response)

    return _replace(CoordinatorRuntime, "_queue", queue)


def _loses_commits_at_takeover() -> Callable[[], None]:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    return _replace(CoordinatorRuntime, "_replay_chunk", lambda self, shard, chunk, offset: (offset, 0))


def _trusts_torn_tails() -> Callable[[], None]:
    from engine.storage import recovery
    from engine.storage.batch_scan import scan_headers

    return _replace(recovery, "scan_intact_batches", lambda file, start, end: scan_headers(file, start, end))


_CRASHES = ("kill", "pause", "cut", "stop")
MUTANTS = (
    Mutant("leader commits alone", ("R2", "R9", "R5"), _leader_commits_alone, _CRASHES),
    Mutant("acks=all before the commit", ("R2", "R9"), _acks_before_commit, _CRASHES),
    Mutant("joins the ISR from behind", ("R2", "R3", "R9"), _joins_isr_behind, _CRASHES),
    Mutant("keeps a divergent tail", ("R1", "R5", "R9"), _keeps_divergent_tail, _CRASHES),
    Mutant("ignores divergence", ("R1", "R5", "R6"), _ignores_divergence, _CRASHES),
    Mutant("accepts stale epochs", ("R1", "R6"), _accepts_stale_epochs, _CRASHES),
    Mutant("serves what is not committed", ("R5",), _serves_uncommitted, _CRASHES),
    Mutant("forgets duplicates", ("T1",), _forgets_duplicates, ("kill", "reset", "cut", "hiccup")),
    Mutant("claims fsync", ("L4", "R9"), _claims_fsync, ("power", "power-all"), "fsync"),
    Mutant("forgets votes", ("K1", "K8"), _forgets_votes, ("kill", "cut")),
    Mutant("votes twice", ("K1", "K8"), _votes_twice, ("kill", "cut", "pause")),
    Mutant("leaves fenced brokers in the ISR", ("K10",), _leaves_fenced_in_isr, _CRASHES),
    Mutant("elects anybody", ("R2",), _elects_anybody, _CRASHES),
    Mutant("tells offsets that are not committed", ("G3",), _tells_uncommitted_offsets, _CRASHES),
    Mutant("loses commits at a takeover", ("G3",), _loses_commits_at_takeover, _CRASHES),
    Mutant("trusts torn tails", ("L2",), _trusts_torn_tails, ("power", "power-all"), "fsync"),
)


def hunt(mutant: Mutant, seeds: int) -> tuple[int, str] | None:
    """The first seed in which a promise breaks under the mutant, and how; None if none of ``seeds`` does.

    What the simulator itself raises is raised: it proves nothing about the checks.
    """
    undo = mutant.change()
    try:
        for seed in range(seeds):
            options: Options = options_from(seed, seconds=20, faults=mutant.faults, durability=mutant.durability)
            try:
                run_seed(options)
            except SimulationFailed as failure:
                return seed, f"{failure.promise}: {failure.what}"
    finally:
        undo()
    return None


def main(names: list[str], seeds: int = 200) -> int:
    """Exit code 0 if every mutant is noticed."""
    missed = 0
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        began = time.perf_counter()
        found = hunt(mutant, seeds)
        took_s = time.perf_counter() - began
        if found is None:
            missed += 1
            print(f"MISSED  {mutant.name} ({', '.join(mutant.promises)}): {seeds} seeds, {took_s:.0f} s", flush=True)
        else:
            print(f"seed {found[0]:3}  {mutant.name}: {found[1][:150]}  ({took_s:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
