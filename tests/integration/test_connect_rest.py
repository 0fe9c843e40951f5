"""Our worker answers Kafka Connect's REST API as a real Java worker did (``make record-connect-rest``).

``make connect-rest`` asks a Java worker as well, in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.clusters import free_port
from engine.testing.cluster import KafkaCluster
from tests.integration.connect_rest_table import FILES, TABLE, Asker, Call, in_state, new, same, source
from tests.integration.java_connect import is_healthy, java_worker, worker_properties
from tests.integration.java_tools import ROOT
from tests.integration.record_connect_rest import GOLDEN

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TOKEN = "the-token-of-these-tests"
_START_S = 30
WITH_JAVA = pytest.mark.skipif(not os.environ.get("KCONSOLE_CONNECT_REST"), reason="make connect-rest")
# Where we answer otherwise, on purpose.
OTHERWISE: dict[str, int] = {
    # Java wraps these two refusals of validation, and they become errors of the server.
    "validate nothing in it": 400,
    "validate no plug-in": 400,
    # There is no reason why a connector that is not there should be an error of the server when a worker is alone.
    "nobody: PUT /stop": 404,
    "nobody: POST /restart": 404,
    "nobody: POST /tasks/0/restart": 404,
    # A partition that is null is nobody's: the connector need not be asked.
    "alter an offset without a partition": 400,
    # Its tasks are made when it runs for the first time.
    "created paused": 200,
}


@contextmanager
def our_worker(properties: Mapping[str, str], directory: Path, *connectors: Path) -> Iterator[int]:
    """Run one with a token; gives its port."""
    name = f"ours-{properties['listeners'].rpartition(':')[2]}"
    file, log_file = directory / f"{name}.properties", directory / f"{name}.log"
    token = None if properties.get("rest.auth") == "none" else TOKEN
    told = {"rest.token": TOKEN, **properties}
    file.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.connect.runtime", str(file), *map(str, connectors)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    port = int(properties["listeners"].rpartition(":")[2])
    try:
        until_s = time.monotonic() + _START_S
        while not is_healthy(port, token):
            assert process.poll() is None, log_file.read_text()[-3000:]
            assert time.monotonic() < until_s, log_file.read_text()[-3000:]
            time.sleep(0.05)
        yield port
        process.terminate()
        assert process.wait(_START_S) == 0, log_file.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def wanted_of(mode: str) -> dict[str, Any]:
    golden = json.loads(GOLDEN.read_text())
    wanted: dict[str, Any] = dict(golden["distributed"])
    if mode == "standalone":
        wanted |= golden["standalone"]
    return wanted


def ask_all(mode: str, port: int, directory: Path, token: str | None) -> list[str]:
    """Where answers differ from those that were recorded."""
    for file, text in FILES.items():
        (directory / file).write_text(text)
    asker, wanted, found = Asker(port, str(directory), token), wanted_of(mode), []
    for call in TABLE:
        if mode not in call.modes:
            continue
        got, want = asker.ask(call).to_json(), wanted[call.name]
        if token is not None and call.name in OTHERWISE:
            if got["status"] != OTHERWISE[call.name]:
                found.append(f"{call.name}: {got['status']} instead of {OTHERWISE[call.name]}")
            continue
        # What Jersey answers before it finds a resource has no type.
        names = ("status", "body", "location", *(("content_type",) if "content_type" in want else ()))
        for name in names:
            if not same(got.get(name), want.get(name)):
                found.append(f"{call.name}: {name}: {_shown(got.get(name), want.get(name))}")
    return found


def _shown(got: Any, want: Any) -> str:
    return f"\n    {json.dumps(got)[:600]}\n  instead of\n    {json.dumps(want)[:600]}"


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    """A cluster of its own: other workers' topics would be read along."""
    with KafkaCluster(brokers=1) as running:
        yield running


@pytest.mark.parametrize("mode", ["standalone", "distributed"])
def test_our_worker_answers_as_javas_does(mode: str, cluster: KafkaCluster, tmp_path: Path) -> None:
    properties = worker_properties(mode, cluster.bootstrap_servers, free_port(), tmp_path, f"ours-{mode}")
    with our_worker(properties, tmp_path) as port:
        differences = ask_all(mode, port, tmp_path, TOKEN)
    assert not differences, "\n".join(differences)


@WITH_JAVA
@pytest.mark.parametrize("mode", ["standalone", "distributed"])
def test_javas_worker_still_answers_so(mode: str, cluster: KafkaCluster, tmp_path: Path) -> None:
    properties = worker_properties(mode, cluster.bootstrap_servers, free_port(), tmp_path, f"java-{mode}")
    with java_worker(mode, properties, tmp_path) as port:
        differences = ask_all(mode, port, tmp_path, None)
    assert not differences, "\n".join(differences)


def test_any_worker_of_a_group_may_be_asked_and_the_token_goes_along(cluster: KafkaCluster, tmp_path: Path) -> None:
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    configs = [
        worker_properties("distributed", cluster.bootstrap_servers, free_port(), tmp_path, "pair") for _ in range(2)
    ]
    with our_worker(configs[0], tmp_path) as first, our_worker(configs[1], tmp_path) as second:
        askers = [Asker(port, str(tmp_path), TOKEN) for port in (first, second)]
        calls = [
            Call("create", "POST", "/connectors", new("src", source())),
            Call("runs", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
            Call("change", "PUT", "/connectors/src/config", source(batch__size="10")),
            Call("restart", "POST", "/connectors/src/restart?includeTasks=true"),
            Call("runs again", "GET", "/connectors/src/status", until=in_state("RUNNING", "RUNNING")),
            Call("restart the task", "POST", "/connectors/src/tasks/0/restart"),
            Call("stop", "PUT", "/connectors/src/stop"),
            Call("stopped", "GET", "/connectors/src/status", until=in_state("STOPPED")),
            Call("reset", "DELETE", "/connectors/src/offsets"),
            Call("delete", "DELETE", "/connectors/src"),
            Call("gone", "GET", "/connectors/src", until=lambda status, _: status == 404),
        ]
        # One of the two is no leader.
        for asker in askers:
            assert [asker.ask(call).status for call in calls] == [201, 200, 200, 202, 200, 204, 204, 200, 200, 204, 404]
        stranger = Asker(second, str(tmp_path))
        assert stranger.ask(calls[0]).status == 401
