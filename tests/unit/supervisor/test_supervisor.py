import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.commands import Commands
from engine.supervisor.control_client import AsyncControl, ControlError
from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.supervisor import PortsTaken, StartFailed, Supervisor
from engine.world import Clock
from engine.world.real import real_world
from tests.unit.supervisor.dummies import SPEC, options


@contextlib.asynccontextmanager
async def running(path: Path, spec: str = SPEC, **wanted: bool) -> AsyncIterator[Supervisor]:
    world = real_world()
    supervisor = Supervisor(world, DataDir(world, str(path)), options(spec, **wanted))
    await supervisor.start()
    try:
        yield supervisor
    finally:
        with contextlib.suppress(CommandError):
            await supervisor.shut_down()


async def until(holds: Callable[[], object], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  what is awaited is another process
            await asyncio.sleep(0.005)


def text_of(path: str) -> str:
    return Path(path).read_text()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_killed_broker_stays_down_until_it_is_started_as_a_new_incarnation(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        broker = supervisor.brokers[2]
        first = broker.pid
        assert broker.state is ProcessState.RUNNING and first is not None
        await broker.kill()
        assert (broker.state, broker.pid, broker.exit_code) == (ProcessState.KILLED, None, -9)
        assert broker.next_restart_at_ms is None
        assert not is_alive(first)
        with pytest.raises(CommandError, match="broker 2 is killed: it cannot be killed"):
            await broker.kill()
        await broker.start("asked")
        await broker.wait_ready()
        assert broker.incarnation == 2 and broker.pid not in (None, first)
        assert f"incarnation {broker.pid}" in text_of(broker.log_file)
        assert f"incarnation {first}" in text_of(broker.log_file + ".1")


async def test_a_kill_happened_before_what_followed_from_it_however_late_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as supervisor:
        child = supervisor.brokers[2].child
        assert child is not None
        kill = child.kill

        def slow_kill(clock: Clock) -> int:
            at = kill(clock)
            time.sleep(0.05)  # the supervisor is not on again before
            return at

        monkeypatch.setattr(child, "kill", slow_kill)
        before_ms = time.time_ns() // 1_000_000
        await supervisor.brokers[2].kill()
        (note,) = (each for each in supervisor.bus.history() if each.get("kind") == "process_killed")
        assert before_ms <= note["wall_ms"] < before_ms + 40


async def test_a_broker_that_ends_by_itself_is_restarted_until_it_is_a_crash_loop(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        broker = supervisor.brokers[1]
        for crash in (1, 2):
            pid = broker.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda crash=crash: broker.restarts == crash and broker.is_ready)
        pid = broker.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: broker.state is ProcessState.CRASHED)
        assert "crash loop" in broker.why and broker.next_restart_at_ms is None
        await broker.start("asked")
        assert broker.is_alive


async def test_the_restart_of_a_crashed_broker_can_be_called_off(tmp_path: Path) -> None:
    async with running(tmp_path, "brokers: [{id: 1}]\nrestart: {backoff_ms: 60000}") as supervisor:
        broker = supervisor.brokers[1]
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: broker.state is ProcessState.CRASHED)
        assert broker.awaits_restart and broker.next_restart_at_ms is not None
        await Commands(supervisor).handle("stop", {})
        assert (broker.state, broker.next_restart_at_ms) == (ProcessState.STOPPED, None)


async def test_a_paused_broker_is_stopped_by_the_kernel_and_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        broker = supervisor.brokers[3]
        broker.pause()
        state = Path(f"/proc/{broker.pid}/stat")
        await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        with pytest.raises(CommandError, match="only a running one can be paused"):
            broker.pause()
        broker.resume()
        assert broker.state is ProcessState.RUNNING
        broker.pause()
        await broker.stop()
        assert (broker.state, broker.exit_code) == (ProcessState.STOPPED, 0)


async def test_shutdown_moves_leaders_while_there_is_a_quorum_and_leaves_plainly_after(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        logs = [Path(broker.log_file) for _, broker in sorted(supervisor.brokers.items())]
    assert [log.read_text().splitlines()[-1] for log in logs] == [
        "left by SIGTERM",
        "left by SIGTERM",
        "left by end of input",
    ]


async def test_a_second_supervisor_of_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        assert DataDir(real_world(), str(tmp_path)).is_owned()
        pids = [broker.pid for broker in first.brokers.values()]
        with pytest.raises(DataDirError, match=f"belongs to a running supervisor \\(pid {os.getpid()}\\)"):
            async with running(tmp_path, fresh=True):
                pass
        assert [broker.pid for broker in first.brokers.values()] == pids
    assert not DataDir(real_world(), str(tmp_path)).is_owned()


async def test_ids_and_ports_are_kept_over_a_restart_and_new_when_fresh(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        before = supervisor.as_fact()
        # The dummies listen nowhere: the supervisor has their ports, as it has those of brokers that are down.
        with pytest.raises(OSError, match="Address already in use"), socket.socket() as other:
            other.bind(("127.0.0.1", supervisor.brokers[1].address.port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", supervisor.brokers[1].address.port))
    meta = (tmp_path / "broker-1/data/meta.properties").read_text()
    async with running(tmp_path) as supervisor:
        again = supervisor.as_fact()
        assert (again["cluster_id"], again["bootstrap_servers"]) == (before["cluster_id"], before["bootstrap_servers"])
        assert (tmp_path / "broker-1/data/meta.properties").read_text() == meta
    async with running(tmp_path, fresh=True) as supervisor:
        assert supervisor.as_fact()["cluster_id"] != before["cluster_id"]
    assert f"cluster.id={before['cluster_id']}\n" in meta and "node.id=1\nversion=1\n" in meta
    assert "directory.id=" in meta


async def test_fresh_refuses_to_delete_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataDirError, match=r"'thesis\.tex' in it is not kconsole's"):
        async with running(tmp_path, fresh=True):
            pass
    assert (tmp_path / "thesis.tex").exists()


async def test_other_voters_than_the_directorys_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    with pytest.raises(DataDirError, match="are brokers 1, 2, 3, and the file's are 1"):
        async with running(tmp_path, "brokers: [{id: 1}]"):
            pass


async def test_a_port_in_use_is_a_mistake_of_the_files_line(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(PortsTaken) as caught:
        async with running(tmp_path, f"brokers:\n  - {{id: 1, port: {port}}}\n"):
            pass
    server.close()
    (error,) = caught.value.errors
    assert (error.line, error.column) == (2, 19)
    assert f"port {port} of broker 1 cannot be used" in error.message


async def test_a_broker_that_ends_while_starting_fails_the_start_and_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUMMY_MODE", "crash at once")
    with pytest.raises(
        StartFailed, match=r"ended while starting \(exit code 3.*broker\.log, which ends with:\n  incarnation"
    ):
        async with running(tmp_path):
            pass
    assert not DataDir(real_world(), str(tmp_path)).is_owned()


# -- control socket ---------------------------------------------------------------------------------------------


async def test_the_control_socket_is_this_users_alone_and_answers_commands(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        path = DataDir(real_world(), str(tmp_path)).control_socket()
        assert path == supervisor.control.path == supervisor.ready_line()["control_socket"]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        control = await AsyncControl.open(path)
        answer = await control.call("status")
        assert [(row["id"], row["state"]) for row in answer["brokers"]] == [(n, "running") for n in (1, 2, 3)]
        assert all(row["pid"] and row["address"].startswith("127.0.0.1:") for row in answer["brokers"])
        killed = await control.call("kill", brokers=[2])
        assert [(row["id"], row["state"]) for row in killed["brokers"]] == [(2, "killed")]
        started = await control.call("start")
        assert [(row["id"], row["state"]) for row in started["brokers"]] == [(2, "running")]
        for command, arguments, sentence in (
            ("kill", {"brokers": [9]}, "there is no broker 9; the cluster has 1, 2, 3"),
            ("start", {}, "there is no broker to start: 1 is running, 2 is running, 3 is running"),
            ("kill", {"brokers": "2"}, "brokers is a list of ids"),
            ("kill", {"measure": True}, "a measured kill is of one broker: name it"),
            ("explode", {}, "unknown command 'explode'"),
            ("workload_start", {}, "the cluster file describes no workload"),
            ("add_member", {"group": "x"}, "the workload has no group 'x'"),
        ):
            with pytest.raises(ControlError) as caught:
                await control.call(command, **arguments)
            assert sentence in str(caught.value)
        await control.close()
    with pytest.raises(FileNotFoundError):
        text_of(path)


async def test_garbage_on_the_control_socket_is_answered_and_harms_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        reader, writer = await asyncio.open_unix_connection(supervisor.control.path)
        writer.write(b'garbage\n[1]\n{"command": 3, "id": 7}\n')
        answers = [json.loads(await reader.readline()) for _ in range(3)]
        assert {answer["error"] for answer in answers} == {"this is no request"}
        writer.write(b"x" * (2 << 20))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            assert await reader.read() == b""
        writer.close()
        assert (await Commands(supervisor).handle("status", {}))["ready"]


async def test_a_subscriber_gets_the_past_and_then_what_happens(tmp_path: Path) -> None:
    async with running(tmp_path) as supervisor:
        control = await AsyncControl.open(supervisor.control.path)
        seen: list[dict[str, Any]] = []

        async def read() -> None:
            async for fact in control.facts():
                seen.append(fact)

        reading = asyncio.ensure_future(read())
        await until(lambda: any(fact["type"] == "cluster" and fact["ready"] for fact in seen))
        kinds = [fact["kind"] for fact in seen if fact["type"] == "note"]
        assert kinds.count("process_started") == 3
        assert {fact["broker"] for fact in seen if fact.get("kind") == "broker_unfenced"} == {1, 2, 3}
        await supervisor.brokers[1].kill()
        await until(lambda: any(fact["type"] == "process" and fact["state"] == "killed" for fact in seen))
        assert [fact["sequence"] for fact in seen] == sorted({fact["sequence"] for fact in seen})
        assert all("wall_ms" in fact and "mono_ns" in fact for fact in seen)
        await control.close()
        await reading


async def test_a_path_too_long_for_a_socket_is_replaced_by_a_pointer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with running(deep) as supervisor:
        assert len(supervisor.control.path) < 104 + len(str(tmp_path))
        assert DataDir(real_world(), str(deep)).control_socket() == supervisor.control.path
        control = await AsyncControl.open(supervisor.control.path)
        assert (await control.call("status"))["ready"]
        await control.close()


# -- orphans ----------------------------------------------------------------------------------------------------


def start_supervisor(path: Path, *words: str) -> tuple[subprocess.Popen[str], list[int]]:
    script = Path(__file__).with_name("supervise_dummies.py")
    process = subprocess.Popen([sys.executable, str(script), str(path), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, [int(part.split(",")[0]) for part in line.split("'pid': ")[1:]]


def wait_gone(pids: list[int], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.01)
    return False


def test_brokers_of_a_supervisor_that_was_killed_are_gone_within_two_seconds(tmp_path: Path) -> None:
    process, pids = start_supervisor(tmp_path)
    assert len(pids) == 3 and all(map(is_alive, pids))
    process.kill()
    process.wait()
    assert wait_gone(pids, 2.0)
    # and the directory is free again
    again, _ = start_supervisor(tmp_path)
    again.terminate()
    assert again.wait(10) == 0


def test_kept_brokers_outlive_their_supervisor_and_the_next_one_says_so(tmp_path: Path) -> None:
    process, pids = start_supervisor(tmp_path, "keep")
    process.kill()
    process.wait()
    try:
        assert not wait_gone(pids, 0.2)
        script = Path(__file__).with_name("supervise_dummies.py")
        refused = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
        assert refused.returncode == 2
        assert "still run from an earlier supervisor" in refused.stderr
        assert all(str(pid) in refused.stderr for pid in pids)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_sigterm_stops_the_cluster_and_the_exit_code_is_zero(tmp_path: Path) -> None:
    process, pids = start_supervisor(tmp_path)
    process.terminate()
    assert process.wait(10) == 0
    assert not any(map(is_alive, pids))
