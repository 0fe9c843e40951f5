"""Changes of the group coordinator."""

from __future__ import annotations

from typing import Any

from engine.sim.mutants.mutant import CRASHES, Mutant, Undo, replace


def _tells_uncommitted_offsets() -> Undo:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    before = CoordinatorRuntime._queue

    def queue(self: Any, partition: Any, effects: Any) -> None:
        before(self, partition, effects)
        for token, response in effects.reply:
            self._deliver(partition, token, response)

    return replace(CoordinatorRuntime, "_queue", queue)


def _loses_commits_at_takeover() -> Undo:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    return replace(CoordinatorRuntime, "_replay_chunk", lambda self, shard, chunk, offset: (offset, 0))


MUTANTS = (
    Mutant("tells offsets that are not committed", ("G3",), _tells_uncommitted_offsets, CRASHES),
    Mutant("loses commits at a takeover", ("G3",), _loses_commits_at_takeover, CRASHES),
)
