"""``kconsole connect``: workers that are kept running, and their connectors from files to offsets and errors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.clusters import free_port
from console.cli import main
from console.gateway.connect_asking import ConnectAsking
from console.gateway.connect_http import ConnectPlace
from engine.testing.cluster import KafkaCluster
from tests.integration.conftest import KCONSOLE, ROOT
from tests.integration.java_connect import java_worker, worker_properties
from tests.integration.raw_client import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

STRINGS = "org.apache.kafka.connect.storage.StringConverter"
TEXT = "".join(f"line {number}\n" for number in range(20))


class Commands:
    """``kconsole connect …`` about one place; in this process, a new one for each would cost a second."""

    def __init__(self, home: Path, *place: str) -> None:
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(home)}
        self.place = place

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner(env=self.environment).invoke(main, ["connect", *arguments, *self.place])
        assert done.exit_code == code, f"{arguments}: {done.exit_code}: {done.output}{done.exception!r}"
        return done.output

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@contextmanager
def running_workers(commands: Commands, bootstrap: str, *arguments: str) -> Iterator[list[dict[str, Any]]]:
    """``kconsole connect run``; gives what it tells while it runs, and ends it as Ctrl-C does."""
    import threading

    command = [KCONSOLE, "connect", "run", "--bootstrap-servers", bootstrap, "--json", *arguments]
    process = subprocess.Popen(command, env=commands.environment, cwd=ROOT, stdout=subprocess.PIPE)
    events: list[dict[str, Any]] = []

    def read() -> None:
        assert process.stdout is not None
        for line in iter(process.stdout.readline, b""):
            events.append(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield events
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, events
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        assert process.stdout is not None
        process.stdout.close()


def write_connectors(directory: Path) -> dict[str, str]:
    """A source in YAML, a sink in JSON, and properties of a sink that cannot work."""
    (directory / "in.txt").write_text(TEXT)
    source = {
        "name": "src",
        "connector.class": "FileStreamSource",
        "file": str(directory / "in.txt"),
        "topic": "lines",
        "tasks.max": 1,
        "value.converter": STRINGS,
    }
    sink = {"connector.class": "FileStreamSink", "file": str(directory / "out.txt"), "topics": "lines"}
    files = {name: str(directory / name) for name in ("src.yaml", "snk.json", "bad.properties")}
    # JSON is YAML.
    Path(files["src.yaml"]).write_text(json.dumps(source))
    Path(files["snk.json"]).write_text(json.dumps({"name": "snk", "config": {**sink, "value.converter": STRINGS}}))
    Path(files["bad.properties"]).write_text(
        f"name=bad\nconnector.class=FileStreamSink\nfile={directory}/no/out.txt\ntopics=lines\ndatabase.password=x\n"
    )
    return files


def go_through(commands: Commands, files: dict[str, str], directory: Path) -> None:
    """From files to offsets: with workers of ours as with Java's."""
    assert "src: created" in commands("apply", files["src.yaml"], files["snk.json"], "--wait")
    assert "src: unchanged" in commands("apply", files["src.yaml"])
    assert "already exists" in commands("create", files["src.yaml"], code=1)
    wait_until("lines are copied", lambda: (directory / "out.txt").read_text().count("\n") == 20, 30)
    listed = {each["name"]: each for each in commands.json("list")}
    assert {name: (each["type"], each["state"]) for name, each in listed.items()} == {
        "src": ("source", "RUNNING"),
        "snk": ("sink", "RUNNING"),
    }
    assert "no errors" in commands("validate", files["snk.json"])
    commands("create", files["bad.properties"])
    wait_until("it fails", lambda: _states(commands, "bad") == ["FAILED"], 30)
    assert "out.txt" in commands("errors", "bad", code=1)
    assert "database.password=[hidden]" in commands("describe", "bad")
    assert "task 0 restarts" in commands("restart", "bad", "--task", "0")
    commands("delete", "bad", "--yes")
    assert "STOPPED" in commands("offsets", "reset", "snk", code=1)
    assert "Did you mean snk?" in commands("offsets", "get", "sink", code=1)
    commands("stop", "snk")
    wait_until("stopped", lambda: commands.json("status", "snk")[0]["tasks"] == [], 30)
    offsets = commands.json("offsets", "get", "snk")["offsets"]
    assert sum(each["offset"]["kafka_offset"] for each in offsets) == 20
    partition = offsets[0]["partition"]["kafka_partition"]
    assert "altered" in commands("offsets", "set", "snk", "--to", f"lines:{partition}=1")
    commands("resume", "snk")
    again = 20 + offsets[0]["offset"]["kafka_offset"] - 1
    wait_until("lines again", lambda: (directory / "out.txt").read_text().count("\n") == again, 30)
    assert commands.json("topics", "src") == ["lines"]
    assert any("FileStreamSink" in each["class"] for each in commands.json("plugins"))


def _states(commands: Commands, name: str) -> list[str]:
    """Of the connector's tasks."""
    return [task["state"] for each in commands.json("list") if each["name"] == name for task in each["tasks"]]


def test_connectors_are_kept_running_by_two_workers(tmp_path: Path) -> None:
    files = write_connectors(tmp_path)
    with KafkaCluster(1) as cluster:
        bootstrap = cluster.bootstrap_servers
        commands = Commands(tmp_path / "home", "--bootstrap-servers", bootstrap)
        quick = ("scheduled.rebalance.max.delay.ms=500", "session.timeout.ms=2000", "heartbeat.interval.ms=200")
        quick += (
            "offset.flush.interval.ms=200",
            "consumer.session.timeout.ms=2000",
            "consumer.heartbeat.interval.ms=200",
        )
        settings = [part for each in quick for part in ("--set", each)]
        assert "kconsole connect run" in commands("list", code=1)
        with running_workers(commands, bootstrap, "--workers", "2", *settings) as events:

            def urls() -> list[str]:
                return [each["detail"] for each in events if "worker started at" in each["detail"]]

            wait_until("two workers", lambda: len(urls()) == 2, 40)
            go_through(commands, files, tmp_path)
            victim = next(each["pid"] for each in events if each["kind"] == "started")
            os.kill(victim, signal.SIGKILL)
            wait_until("the killed one is there again", lambda: len(urls()) == 3, 40)

            def all_run() -> bool:
                told = commands.json("list")
                return [each["tasks"][0]["state"] for each in told if each["tasks"]] == ["RUNNING", "RUNNING"]

            wait_until("everything runs again", all_run, 40)
        assert "kconsole connect run" in commands("list", code=1)


@pytest.mark.skipif(not os.environ.get("KCONSOLE_CONNECT_REST"), reason="make connect-rest")
def test_the_same_with_a_java_worker(tmp_path: Path) -> None:
    files = write_connectors(tmp_path)
    with KafkaCluster(1) as cluster:
        properties = worker_properties("distributed", cluster.bootstrap_servers, free_port(), tmp_path, "java")
        with java_worker("distributed", properties, tmp_path) as port:
            url = f"http://127.0.0.1:{port}"
            go_through(Commands(tmp_path, "--connect-url", url), files, tmp_path)
            asyncio.run(look_as_the_console(url))


async def look_as_the_console(url: str) -> None:
    """What :connect asks."""
    asking = ConnectAsking(lambda: {"java": ConnectPlace((url,))}, lambda: None)
    rows = {each.told.name: each for each in (await asking.connectors()).rows["java"] or ()}
    assert sorted(rows) == ["snk", "src"] and rows["src"].topics == ("lines",)
    # Java's worker tells no figures.
    assert not rows["src"].counts and rows["src"].records_per_s is None
    row, task = (await asking.tasks("java", "snk")).rows[""] or ()
    assert (row.told.state, task.told.state) == ("RUNNING", "RUNNING")
    assert (await asking.offsets("java", "snk")).rows[""]


def test_a_worker_alone_runs_connectors_of_files(tmp_path: Path) -> None:
    files = write_connectors(tmp_path)
    with KafkaCluster(1) as cluster:
        bootstrap = cluster.bootstrap_servers
        commands = Commands(tmp_path / "home", "--bootstrap-servers", bootstrap)
        with running_workers(commands, bootstrap, "--standalone", files["src.yaml"], files["snk.json"]):
            wait_until("lines are copied", lambda: _lines(tmp_path / "out.txt") == 20, 40)
            assert [each["name"] for each in commands.json("list")] == ["snk", "src"]


def _lines(file: Path) -> int:
    return file.read_text().count("\n") if file.exists() else 0
