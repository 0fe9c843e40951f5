"""Seeded runs of the group coordinator under churn and failovers, and proof that they can fail.

More seeds: ``GROUP_SEEDS=500 pytest tests/unit/core/group/test_group_simulation.py``. A failing seed N replays with
``GroupSimulation(N).play()``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from group_simulation import GroupSimulation, Violation

from engine.core.group.classic_group import ClassicGroup
from engine.core.group.rebalance import Rebalances

SEEDS = int(os.environ.get("GROUP_SEEDS", "30"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_promises_hold_under_churn_and_failover(seed: int) -> None:
    GroupSimulation(seed).play()


def test_the_same_seed_is_the_same_run() -> None:
    logs = []
    for _ in range(2):
        simulation = GroupSimulation(3)
        simulation.play(8)
        logs.append(simulation.log)
    assert logs[0] == logs[1]


def seeds_that_fail(limit: int = 60) -> str:
    """The first violation within ``limit`` seeds, or nothing."""
    for seed in range(limit):
        try:
            GroupSimulation(seed).play()
        except (Violation, AssertionError) as violation:
            return str(violation)
    return ""


def forget_generation_check(patch: pytest.MonkeyPatch) -> None:
    def validate(group: ClassicGroup, member_id: str, instance_id: str | None, _generation_id: int) -> None:
        group.validate_member(member_id, instance_id)

    patch.setattr(ClassicGroup, "validate_offset_commit", validate)


def answer_before_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupSimulation, "must_hold", lambda _self: False)


def forget_sessions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rebalances, "on_session_expired", lambda *_arguments: None)


@pytest.mark.parametrize("break_it", [forget_generation_check, answer_before_commit, forget_sessions])
def test_a_broken_coordinator_is_found(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    assert seeds_that_fail() != ""
