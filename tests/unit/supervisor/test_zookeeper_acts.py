"""Whom an act on the ensemble means, and what is refused; the servers themselves are in the integration tests."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.fact_view import FactView
from engine.supervisor.facts import FactBus
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.supervisor.zookeeper_files import ServerPorts
from engine.supervisor.zookeeper_installation import ZooKeeperInstallation
from engine.world.real import real_world

# They run and answer nothing, as servers that look for a majority; their ports are nobody's.
SILENT = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def ensemble_of(directory: Path, policy: str = "never") -> tuple[ZooKeeperEnsemble, FactView]:
    world = real_world()
    bus, view = FactBus(world.clock), FactView()
    bus.listen(view.on_fact)
    ports = {each: ServerPorts(1, 1, 1) for each in (1, 2, 3)}
    return (
        ZooKeeperEnsemble(
            world,
            bus,
            DataDir(world, str(directory)),
            ports,
            ZooKeeperInstallation("java", "jars"),
            RestartSpec(policy, 20, 20, 2, 60_000),
            command=lambda cfg: [*SILENT, cfg],
        ),
        view,
    )


def test_who_led_before_is_not_believed_when_it_wakes_up(tmp_path: Path) -> None:
    ensemble, _ = ensemble_of(tmp_path)
    assert ensemble.leader is None and not ensemble.has_majority
    first, second, _ = ensemble.servers.values()
    second.mode, second.zxid = "leader", 0x1_0000_0007
    assert ensemble.leader is second
    first.mode, first.zxid = "leader", 0x2_0000_0000
    assert ensemble.leader is first


@pytest.mark.parametrize(
    ("act", "which", "why"),
    [
        ("explode", None, "told to kill, start, stop, pause, resume, restart, not 'explode'"),
        ("kill", "leader", "no ZooKeeper server leads now: server 1 is stopped, server 2 is stopped"),
        ("kill", [4], "there is no ZooKeeper server 4; the cluster has 1, 2, 3"),
        ("kill", "all", 'a list of ids, or "leader"'),
        ("pause", None, "there is no ZooKeeper server to pause: 1 is stopped, 2 is stopped"),
        ("kill", [2], "ZooKeeper server 2 is stopped: it cannot be killed"),
    ],
)
async def test_an_act_that_cannot_be_done_says_why(tmp_path: Path, act: str, which: object, why: str) -> None:
    ensemble, _ = ensemble_of(tmp_path)
    with pytest.raises(CommandError) as refused:
        await ensemble.act(act, which)
    assert why in str(refused.value)


async def test_a_server_without_a_majority_is_not_waited_for_and_each_step_is_told(tmp_path: Path) -> None:
    ensemble, view = ensemble_of(tmp_path)
    await ensemble.act("start", [1])
    told = view.zookeeper[1]
    assert (told.state, told.mode, told.incarnation) == (ProcessState.STARTING, "", 1) and told.pid
    assert told.log_file == str(tmp_path / "zookeeper-1" / "server.log")
    await ensemble.act("pause", None)
    assert view.zookeeper[1].state is ProcessState.PAUSED
    await ensemble.act("resume", None)
    await ensemble.act("stop", None)
    assert view.zookeeper[1].state is ProcessState.STOPPED and view.zookeeper[1].exit_code == -signal.SIGTERM
    await ensemble.act("start", [1])
    await ensemble.act("kill", None)
    assert view.zookeeper[1].state is ProcessState.KILLED and view.zookeeper[1].next_restart_at_ms is None
    await ensemble.stop()


async def test_one_that_ends_too_often_is_left_down(tmp_path: Path) -> None:
    ensemble, view = ensemble_of(tmp_path, "on-failure")
    server = ensemble.servers[3]
    await server.start("a test starts it")
    server.crash()
    await server.wait_ended()
    assert server.awaits_restart and view.zookeeper[3].state is ProcessState.CRASHED
    async with asyncio.timeout(20):
        while not server.is_alive:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    server.crash()
    await server.wait_ended()
    assert not server.awaits_restart and "crash loop" in view.zookeeper[3].why and view.zookeeper[3].restarts == 1
