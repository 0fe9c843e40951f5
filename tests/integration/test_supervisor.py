"""The supervisor with real brokers: start-up, measured kills, orphans, the sample file's workload."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.client.connection import Connection
from engine.supervisor.control_client import AsyncControl, ControlError
from engine.supervisor.fact_view import FactView
from engine.supervisor.snapshot import OF_EACH_KILL, Stage
from engine.wire.messages.metadata_request import MetadataRequest
from engine.world.real import real_world
from tests.integration.conftest import ROOT, Cluster, start_cluster, stop_cluster

pytestmark = pytest.mark.integration

METADATA, API_VERSIONS = 3, 18


async def view_until(cluster: Cluster, holds: Callable[[FactView], Any], timeout_s: float = 30) -> FactView:
    """Read the supervisor's facts until ``holds``."""
    import asyncio

    view = FactView()
    control = await AsyncControl.open(cluster.line["control_socket"])
    try:
        async with asyncio.timeout(timeout_s):
            async for fact in control.facts():
                view.on_fact(fact)
                if holds(view):
                    return view
    finally:
        await control.close()
    raise AssertionError("the supervisor left")


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_up_prints_its_line_within_three_seconds_and_idle_brokers_are_small(tmp_path: Path) -> None:
    began = time.monotonic()
    cluster = start_cluster(tmp_path)
    took_s = time.monotonic() - began
    try:
        assert took_s <= 3
        assert [broker["id"] for broker in cluster.line["brokers"]] == [1, 2, 3]
        for broker in cluster.line["brokers"]:
            assert Path(broker["log_dir"]).is_dir()
            assert psutil.Process(broker["pid"]).memory_info().rss <= 80 * 2**20
    finally:
        stop_cluster(cluster)
    assert not any(is_alive(broker["pid"]) for broker in cluster.line["brokers"])


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose brokers the tests kill, and leave whole."""
    running = start_cluster(tmp_path_factory.mktemp("failing"))
    yield running
    stop_cluster(running)


def test_a_measured_kill_reaches_every_stage_and_loses_nothing(failing: Cluster) -> None:
    for victim in (2, 3):
        act = json.loads(failing.cli("kill", str(victim), "--measure", "--json").stdout)
        assert act["error"] == ""
        # Whoever controls may be the victim: then another one comes.
        assert {stage[0] for stage in act["stages"]} - {Stage.CONTROLLER_ELECTED} == set(OF_EACH_KILL)
        ledger = act["ledger"]
        assert ledger["complete"] and ledger["acknowledged"] > 0
        assert (ledger["lost"], ledger["duplicated"], ledger["reordered"]) == (0, 0, 0)
        states = {broker["id"]: broker["state"] for broker in failing.status()}
        assert states[victim] == "killed"
        failing.cli("start", str(victim))


async def test_a_full_disk_takes_a_broker_down_as_kafkas_and_healing_it_brings_it_back(failing: Cluster) -> None:
    said = json.loads(failing.cli("fault", "disk-full", "2", "--no-measure", "--json").stdout)
    assert said["what"] == "disk full of broker 2"
    view = await view_until(failing, lambda view: 2 in view.processes and view.processes[2].restarts >= 1)
    assert [each.what for each in view.faults] == ["disk full of broker 2"]
    assert "restart" in view.processes[2].why
    log = Path(failing.line["brokers"][1]["log_dir"]).parent / "broker.log.1"
    assert "No space left on device" in log.read_text()
    assert failing.cli("heal").stdout == "healed: disk full of broker 2\n"
    view = await view_until(failing, lambda view: 2 in view.processes and view.processes[2].state == "running")
    assert view.faults == ()


def test_brokers_of_a_supervisor_that_was_killed_are_gone_within_two_seconds(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path)
    assert cluster.process is not None
    cluster.process.kill()
    cluster.process.wait()
    time.sleep(2)
    assert [broker["id"] for broker in cluster.line["brokers"] if is_alive(broker["pid"])] == []


def test_a_crashed_broker_is_restarted_and_a_rolling_restart_renews_every_process(failing: Cluster) -> None:
    crashed = failing.line["brokers"][0]["pid"]
    os.kill(crashed, signal.SIGKILL)

    def restarted() -> bool:
        row = failing.status()[0]
        return row["state"] == "running" and row["pid"] != crashed

    failing.wait_for("broker 1 runs again", restarted)
    before = {broker["id"]: broker["pid"] for broker in failing.status()}
    failing.cli("restart")
    after = {broker["id"]: broker["pid"] for broker in failing.status()}
    assert all(before[broker_id] != after[broker_id] for broker_id in before)


async def test_the_sample_file_comes_up_alive(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, (ROOT / "sample_cluster.yaml").read_text())
    try:

        def all_flow(view: FactView) -> bool:
            parts = view.workload.parts if view.workload is not None else ()
            return bool(parts) and all(part.total > 0 and part.errors == 0 for part in parts)

        view = await view_until(cluster, all_flow)
        assert view.workload is not None and view.workload.running
        assert {part.name for part in view.workload.parts} >= {"shop", "billing"}
        # and the processes are measured
        await view_until(cluster, lambda view: all(each.rss_bytes for each in view.processes.values()))
    finally:
        stop_cluster(cluster)


async def test_brokers_tell_who_is_connected_and_what_passes_on_their_wire(cluster: Cluster) -> None:
    control = await AsyncControl.open(cluster.line["control_socket"])
    try:
        looked = await control.call("wire", broker=1, after=0, limit=100)
        host, _, port = cluster.line["brokers"][0]["address"].rpartition(":")
        asker = await Connection.open(real_world(), host, int(port), client_id="asker", timeout_ms=10_000)
        await asker.send(MetadataRequest())
        found = await control.call("wire", broker=1, after=looked["last"], watch=looked["watch"], limit=100)
        rows = [each for each in found["rows"] if each[5] == "asker"]
        assert {each[6] for each in rows} >= {METADATA, API_VERSIONS}
        row = rows[-1]
        whole = await control.call("message", broker=1, watch=found["watch"], number=row[0])
        assert whole["row"] == row and whole["request"]
        told = await control.call("connections", broker=1)
        (connection,) = [each for each in told["connections"] if each[0] == row[2]]
        assert connection[2:5] == ["PLAINTEXT", "asker", "kconsole"] and connection[7] == 2
        asker.close()
        with pytest.raises(ControlError, match="broker is an id; the cluster has 1, 2, 3"):
            await control.call("connections", broker=9)
        with pytest.raises(ControlError, match="are numbers"):
            await control.call("wire", broker=1, after="x")
    finally:
        await control.close()
