from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.drills.cluster import DrillCluster, EmbeddedCluster
from engine.drills.drill import Act
from engine.drills.drill_file import parse_drill
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.snapshot import ProcessState
from engine.world.real import real_world

RUNNING, KILLED, PAUSED = ProcessState.RUNNING, ProcessState.KILLED, ProcessState.PAUSED


def cluster_with(path: Path, *states: ProcessState) -> Any:
    """A cluster whose brokers are in these states; none of them has a process."""
    drill, _ = parse_drill("expect: {lost: 0}", "d")
    cluster: Any = EmbeddedCluster(real_world(), str(path), drill)
    cluster.brokers = {number: SimpleNamespace(state=state) for number, state in enumerate(states, 1)}
    return cluster


def whom(cluster: DrillCluster, kind: str, *targets: str) -> list[int]:
    return asyncio.run(cluster.whom(Act(0, kind, targets, 0, 1)))


def test_brokers_can_serve_as_long_as_a_controller_can_be_elected(tmp_path: Path) -> None:
    assert cluster_with(tmp_path, RUNNING, RUNNING, KILLED).can_serve()
    assert not cluster_with(tmp_path, RUNNING, PAUSED, KILLED).can_serve()


def test_whoever_is_started_or_resumed_by_role_is_whom_the_role_was_when_it_was_hit(tmp_path: Path) -> None:
    cluster = cluster_with(tmp_path, RUNNING, RUNNING, RUNNING)
    leaders = iter((2, 3))

    async def look_for(role: str) -> int:
        assert role == "leader"
        return next(leaders)

    cluster._look_for = look_for
    assert whom(cluster, "pause", "leader") == [2]
    assert whom(cluster, "resume", "leader") == [2]
    assert whom(cluster, "kill", "leader", "1") == [3, 1]
    assert whom(cluster, "start", "leader") == [3]


def test_the_other_end_of_a_cut_is_no_broker_of_the_act_and_all_are_all(tmp_path: Path) -> None:
    cluster = cluster_with(tmp_path, RUNNING, RUNNING, RUNNING)
    assert whom(cluster, "cut", "2", "others") == whom(cluster, "delay", "2", "clients") == [2]
    assert whom(cluster, "kill", "all") == [1, 2, 3]


def test_the_network_of_a_cluster_without_a_proxy_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cut needs the proxy"):
        cluster_with(tmp_path, RUNNING).network(Act(0, "cut", ("1", "others"), 0, 1), 1, [2])
