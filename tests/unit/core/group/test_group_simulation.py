"""Seeded runs of the group coordinator under churn and failovers.

More seeds: ``GROUP_SEEDS=5000 pytest tests/unit/core/group/test_group_simulation.py``. What happened in a seed is in
``trace`` after ``GroupSimulation(seed, trace).play()``. That the promises can be broken at all is shown in
test_group_known_bad_changes.py.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from group_simulation import GroupSimulation

SEEDS = int(os.environ.get("GROUP_SEEDS", "60"))


@pytest.mark.parametrize("first_seed", range(0, SEEDS, 10))
def test_promises_hold_under_churn_and_failover(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 10):
        try:
            GroupSimulation(seed).play()
        except AssertionError as violation:
            pytest.fail(f"{violation}\nGroupSimulation({seed}).play() does it again")


def test_the_same_seed_is_the_same_run() -> None:
    first: list[str] = []
    second: list[str] = []
    GroupSimulation(3, trace=first).play()
    GroupSimulation(3, trace=second).play()
    assert first == second and len(first) > 500


def test_the_faults_do_what_they_are_for() -> None:
    """Were nothing ever refused, lost, late or fenced, the seeds would say nothing."""
    seen: Counter[str] = Counter()
    for seed in range(20):
        simulation = GroupSimulation(seed)
        simulation.play()
        seen += simulation.seen
    often = ["commit NONE", "sync NONE", "failover", "failover that loses records"]
    assert all(seen[what] >= 40 for what in often), seen
    sometimes = [
        *("commit ILLEGAL_GENERATION", "commit UNKNOWN_MEMBER_ID", "commit REBALANCE_IN_PROGRESS"),
        *("commit FENCED_INSTANCE_ID", "heartbeat REBALANCE_IN_PROGRESS", "heartbeat FENCED_INSTANCE_ID"),
        *("join MEMBER_ID_REQUIRED", "join REBALANCE_IN_PROGRESS", "sync ILLEGAL_GENERATION", "delete NONE"),
        *("late", "skipped assignment", "expired"),
    ]
    assert all(seen[what] >= 3 for what in sometimes), seen
