"""The gateway of the embedded cluster against a real control socket; there are no brokers behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from console.gateway import GatewayError
from console.gateway.embedded import EmbeddedGateway
from console.gateway.segment_files import _count
from engine.record.builder import NewRecord, build_batch
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.control_server import ControlServer
from engine.supervisor.facts import FactBus
from engine.supervisor.snapshot import ProcessState, Source
from engine.world.real import real_world

# Nothing listens there.
NOWHERE = "127.0.0.1:1"


class Supervisor:
    """Answers the control socket and remembers what it was asked."""

    def __init__(self) -> None:
        self.bus = FactBus(real_world().clock)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusing: dict[str, str] = {}
        self.server = ControlServer(self.bus, self.handle)

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "status":
            return {"bootstrap_servers": NOWHERE, "brokers": []}
        self.asked.append((command, arguments))
        key = f"{command} measured" if arguments.get("measure") else command
        if key in self.refusing:
            raise CommandError(self.refusing[key])
        return {}

    def process(self, broker: int, state: str, pid: int | None, log_file: str = "", cpu_percent: float = 1.5) -> None:
        self.bus.publish(
            {
                "type": "process",
                "broker": broker,
                "state": state,
                "pid": pid,
                "address": f"127.0.0.1:{9000 + broker}",
                "started_at_ms": 1,
                "incarnation": 1,
                "restarts": 0,
                "exit_code": None,
                "cpu_percent": cpu_percent,
                "rss_bytes": 60_000_000,
                "open_files": 9,
                "log_dir": "",
                "log_file": log_file,
                "next_restart_at_ms": None,
                "why": "",
            }
        )


@pytest.fixture
async def supervisor(tmp_path: Path):
    supervisor = Supervisor()
    await supervisor.server.start(str(tmp_path / "s"))
    yield supervisor
    await supervisor.server.close()


@pytest.fixture
async def gateway(supervisor: Supervisor):
    gateway = EmbeddedGateway(supervisor.server.path, read_only=False)
    yield gateway
    await gateway.close()


async def picture(gateway: EmbeddedGateway, good: Any) -> Any:
    async with asyncio.timeout(30):
        async for snapshot in gateway.snapshots():
            if good(snapshot):
                return snapshot


async def test_processes_are_shown_even_when_no_broker_answers(
    supervisor: Supervisor, gateway: EmbeddedGateway
) -> None:
    supervisor.process(1, "running", 71)
    supervisor.process(2, "killed", None)
    snapshot = await picture(gateway, lambda each: len(each.brokers) == 2)
    assert snapshot.source is Source.EMBEDDED
    first, second = snapshot.brokers
    assert (first.broker_id, first.port, first.process.pid, first.reachable) == (1, 9001, 71, False)
    assert second.process.state is ProcessState.KILLED


async def test_rates_come_from_the_brokers_counters(supervisor: Supervisor, gateway: EmbeddedGateway) -> None:
    supervisor.process(1, "running", 71)
    now = real_world().clock.now_ms()
    for at_ms, total in ((now - 1_000, 500), (now, 1_700)):
        supervisor.bus.publish(
            {"type": "counters", "broker": 1, "wall_ms": at_ms, "values": {"bytes_in": total, "bytes_out": 2 * total}}
        )
        # A late subscriber is told the latest counters only: a rate needs two.
        await picture(gateway, lambda each: bool(each.brokers))
    snapshot = await picture(gateway, lambda each: each.brokers and each.brokers[0].bytes_in_per_s is not None)
    assert snapshot.brokers[0].bytes_in_per_s == 1_200
    assert snapshot.brokers[0].bytes_out_per_s == 2_400
    supervisor.process(1, "paused", 71)
    snapshot = await picture(gateway, lambda each: each.brokers[0].process.state is ProcessState.PAUSED)
    assert snapshot.brokers[0].bytes_in_per_s is None, "a rate of the past is no rate"


async def test_brokers_are_asked_at_once_when_a_process_changed_not_when_it_used_the_cpu(
    supervisor: Supervisor, gateway: EmbeddedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    supervisor.process(1, "running", 71)
    await picture(gateway, lambda each: bool(each.brokers))
    monkeypatch.setattr(gateway, "_look_now", lambda: looked.append(1))
    supervisor.process(1, "running", 71, cpu_percent=40)
    await picture(gateway, lambda each: each.brokers[0].process.cpu_percent == 40)
    assert not looked
    supervisor.process(1, "killed", None)
    await picture(gateway, lambda each: each.brokers[0].process.state is ProcessState.KILLED)
    assert looked


async def test_notes_become_events_and_those_of_the_past_come_first(
    supervisor: Supervisor, gateway: EmbeddedGateway
) -> None:
    supervisor.bus.note("process_killed", "broker 2", "SIGKILL, asked for")
    told = []
    async with asyncio.timeout(30):
        async for batch in gateway.events():
            told += batch.events
            if len(told) == 1:
                supervisor.bus.publish(
                    {"type": "note", "broker": 1, "kind": "broker_fenced", "subject": "broker 2", "reason": "gone"}
                )
            else:
                break
    assert [(event.kind, event.source) for event in told] == [
        ("process_killed", "supervisor"),
        ("broker_fenced", "broker 1"),
    ]


async def test_acts_become_commands(supervisor: Supervisor, gateway: EmbeddedGateway) -> None:
    await gateway.kill_brokers([2])
    await gateway.start_brokers([2])
    await gateway.add_member("billing")
    await gateway.stop_workload()
    assert supervisor.asked == [
        ("kill", {"brokers": [2], "measure": True, "patience_s": 5.0}),
        ("start", {"brokers": [2]}),
        ("add_member", {"group": "billing"}),
        ("workload_stop", {}),
    ]


async def test_several_are_killed_with_one_command_that_measures_nothing(
    supervisor: Supervisor, gateway: EmbeddedGateway
) -> None:
    await gateway.kill_brokers([1, 2, 3])
    await gateway.restart_brokers([1, 2])
    assert supervisor.asked == [("kill", {"brokers": [1, 2, 3]}), ("restart", {"brokers": [1, 2]})]


async def test_a_broker_is_killed_unmeasured_when_nothing_can_be_measured(
    supervisor: Supervisor, gateway: EmbeddedGateway
) -> None:
    supervisor.process(1, "running", 71)
    await picture(gateway, lambda each: bool(each.brokers))
    supervisor.refusing["kill measured"] = "no broker tells who leads what"
    await gateway.kill_brokers([1])
    assert supervisor.asked[-1] == ("kill", {"brokers": [1]})


async def test_a_refusal_is_told_in_the_supervisors_words(supervisor: Supervisor, gateway: EmbeddedGateway) -> None:
    supervisor.refusing["pause"] = "broker 2 is killed: only a running one can be paused"
    with pytest.raises(GatewayError, match="only a running one can be paused"):
        await gateway.pause_brokers([2])


async def test_read_only_sends_no_command(supervisor: Supervisor) -> None:
    gateway = EmbeddedGateway(supervisor.server.path, read_only=True)
    for act in (gateway.kill_brokers([1]), gateway.stop_workload(), gateway.delete_topic("t")):
        with pytest.raises(GatewayError, match="--read-only"):
            await act
    assert supervisor.asked == []
    await gateway.close()


async def test_a_log_is_read_on_from_where_one_was_and_a_new_incarnation_is_noticed(
    supervisor: Supervisor, gateway: EmbeddedGateway, tmp_path: Path
) -> None:
    log = tmp_path / "broker.log"
    log.write_text("one\ntwo\nhal")
    supervisor.process(1, "running", 71, str(log))
    await picture(gateway, lambda each: bool(each.brokers))
    first = await gateway.broker_log(1, previous=False, position=None)
    assert list(first.lines) == ["one", "two"]
    with log.open("a") as file:
        file.write("f\nthree\n")
    second = await gateway.broker_log(1, previous=False, position=first.position)
    assert list(second.lines) == ["half", "three"]
    log.rename(tmp_path / "broker.log.1")
    log.write_text("new\n")
    third = await gateway.broker_log(1, previous=False, position=second.position)
    assert third.restarted
    assert list(third.lines) == ["new"]
    assert list((await gateway.broker_log(1, previous=True, position=None)).lines) == ["one", "two", "half", "three"]


async def test_without_supervisor_the_reason_is_told(tmp_path: Path) -> None:
    gateway = EmbeddedGateway(str(tmp_path / "nobody"), read_only=False)
    with pytest.raises(GatewayError, match="no supervisor listens"):
        await gateway.kill_brokers([1])
    with pytest.raises(GatewayError, match="no supervisor listens"):
        await picture(gateway, lambda each: True)
    await gateway.close()


async def test_segments_are_read_from_the_brokers_directories(
    supervisor: Supervisor, gateway: EmbeddedGateway, tmp_path: Path
) -> None:
    """Of two brokers, one with two log directories; one segment has a batch that lost a bit."""
    directories = {1: [tmp_path / "a"], 2: [tmp_path / "b", tmp_path / "c"]}
    for broker_id, holder in ((1, "a"), (2, "c")):
        directory = tmp_path / holder / "orders-0"
        directory.mkdir(parents=True)
        for base in (0, 3):
            records = [NewRecord(b"k%d" % each, b"v", timestamp=1_000 * (base + each)) for each in range(3)]
            batch = bytearray(build_batch(records, base_offset=base, leader_epoch=broker_id))
            batch[-1] ^= base
            (directory / f"{base:020d}.log").write_bytes(batch)
        home = tmp_path / f"broker-{broker_id}"
        home.mkdir()
        (home / "server.properties").write_text(f"log.dirs={','.join(map(str, directories[broker_id]))}\n")
        supervisor.process(broker_id, "running", 71, str(home / "broker.log"))
    await picture(gateway, lambda each: len(each.brokers) == 2)
    found = await gateway.segments("orders", 0)
    assert [(row.broker_id, row.base_offset, row.end_offset, row.records, row.is_active) for row in found.rows] == [
        (1, 0, 3, 3, False),
        (1, 3, 6, 3, True),
        (2, 0, 3, 3, False),
        (2, 3, 6, 3, True),
    ]
    assert (found.rows[0].first_ms, found.rows[0].last_ms) == (0, 2_000)
    assert found.rows[0].index_sizes == (-1, -1, -1)
    path = found.rows[1].path
    assert path == str(tmp_path / "a/orders-0" / f"{3:020d}.log")
    page = await gateway.batches(path, 0, 500)
    assert [(row.base_offset, row.count, row.leader_epoch, row.crc_matches) for row in page.rows] == [(3, 3, 1, False)]
    assert (page.next_position, page.end) == (found.rows[1].size, "")
    page = await gateway.batches(found.rows[0].path, 0, 1)
    assert page.end is None and page.rows[0].crc_matches
    assert await gateway.find_batch(path, 5) == 0
    batch = await gateway.batch(found.rows[0].path, 0)
    assert [(each.offset, each.key, each.value) for each in batch.records] == [
        (0, "k0", "v"),
        (1, "k1", "v"),
        (2, "k2", "v"),
    ]
    assert next(field.said for field in batch.fields if field.name == "crc").endswith("✓ matches")
    assert len(b"".join(field.data for field in batch.fields) + batch.body) == batch.size == found.rows[0].size
    assert not (await gateway.segments("nothing", 0)).rows
    with pytest.raises(GatewayError, match="not there any more"):
        await gateway.batches(path + "x", 0, 1)
    with pytest.raises(GatewayError, match="ends before byte"):
        await gateway.batch(path, 100_000)


async def test_large_segments_are_not_counted(
    supervisor: Supervisor, gateway: EmbeddedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their bytes, or by their batches: the end is known where the index leads near it."""
    directory = tmp_path / "data/orders-0"
    directory.mkdir(parents=True)
    batches = [build_batch([NewRecord(b"k", b"v", timestamp=7_000)], base_offset=offset) for offset in range(40)]
    (directory / f"{0:020d}.log").write_bytes(b"".join(batches))
    position = len(batches[0]) * 30
    (directory / f"{0:020d}.index").write_bytes((30).to_bytes(4, "big") + position.to_bytes(4, "big"))
    (tmp_path / "server.properties").write_text(f"log.dirs={tmp_path / 'data'}\n")
    supervisor.process(1, "running", 71, str(tmp_path / "broker.log"))
    await picture(gateway, lambda each: len(each.brokers) == 1)
    for most_bytes, most_batches, expected in (
        (1 << 20, 50, (40, 40, 40)),
        (1_000, 20, (None, None, 40)),
        (1_000, 5, (None, None, None)),
        (1 << 20, 20, (None, None, None)),
    ):
        monkeypatch.setattr("console.gateway.segment_files._COUNTED_BYTES", most_bytes)
        monkeypatch.setattr("console.gateway.segment_files._COUNTED_BATCHES", most_batches)
        _count.cache_clear()
        (row,) = (await gateway.segments("orders", 0)).rows
        assert (row.batches, row.records, row.end_offset) == expected
        assert row.first_ms == 7_000


def cluster_fact(connect: str) -> dict[str, Any]:
    return {
        "type": "cluster",
        "cluster_id": "c",
        "ready": True,
        "data_dir": "/d",
        "bootstrap_servers": NOWHERE,
        "brokers": [],
        "zookeeper_connect": connect,
    }


def server_fact(state: str, pid: int | None, why: str) -> dict[str, Any]:
    fields = dict.fromkeys(("started_at_ms", "exit_code", "cpu_percent", "rss_bytes", "next_restart_at_ms"))
    about = {"server": 2, "address": NOWHERE, "state": state, "pid": pid, "why": why, "mode": "", "log_file": "/l"}
    return {"type": "zookeeper", "incarnation": 1, "restarts": 0, **fields, **about}


@pytest.mark.parametrize("cluster_first", [True, False])
async def test_the_clusters_own_zookeeper_is_found_by_what_the_supervisor_tells(
    supervisor: Supervisor, gateway: EmbeddedGateway, cluster_first: bool
) -> None:
    if cluster_first:
        supervisor.bus.publish(cluster_fact(f"{NOWHERE}/kafka"))
        await picture(gateway, lambda each: each.zookeeper is not None)
        assert "are not this cluster's own" in gateway.capabilities.no_ensemble_control
    supervisor.bus.publish(server_fact("killed", None, "SIGKILL, asked for"))
    if not cluster_first:
        supervisor.bus.publish(cluster_fact(f"{NOWHERE}/kafka"))
    snapshot = await picture(gateway, lambda each: each.zookeeper and each.zookeeper.servers[0].state)
    (server,) = snapshot.zookeeper.servers
    assert (server.server_id, server.state, server.error) == (2, "killed", "SIGKILL, asked for")
    assert (snapshot.coordination, snapshot.zookeeper.chroot) == ("zookeeper", "/kafka")
    assert gateway.capabilities.no_ensemble_control == ""
    with pytest.raises(GatewayError, match=r"ZooKeeper|session"):
        await gateway.znodes(["/"], [])
    await gateway.zookeeper_servers("start", [2])
    await gateway.expire_session(1)
    assert supervisor.asked[-2:] == [
        ("zookeeper", {"act": "start", "servers": [2]}),
        ("expire_session", {"broker": 1}),
    ]


async def test_a_cluster_of_its_own_quorum_has_no_servers_to_kill(
    supervisor: Supervisor, gateway: EmbeddedGateway
) -> None:
    supervisor.process(1, "running", 71)
    supervisor.bus.publish(cluster_fact(""))
    snapshot = await picture(gateway, lambda _: gateway.capabilities.no_ensemble_control)
    assert snapshot.zookeeper is None
    assert "coordinated by KRaft" in gateway.capabilities.no_ensemble_control
