"""Our worker answers Kafka Connect's REST API as a real Java worker did (``make record-connect-rest``).

``make connect-rest`` asks a Java worker as well, in the same run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.testing.cluster import KafkaCluster
from tests.integration.connect_rest_table import FILES, TABLE, Asker, same
from tests.integration.connect_workers import TOKEN, our_worker
from tests.integration.java_connect import java_worker, worker_properties
from tests.integration.record_connect_rest import GOLDEN, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

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
}


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


@pytest.mark.parametrize("mode", ["standalone", "distributed"])
def test_our_worker_answers_as_javas_does(mode: str, kafka_cluster: KafkaCluster, tmp_path: Path) -> None:
    properties = worker_properties(mode, kafka_cluster.bootstrap_servers, free_port(), tmp_path, f"ours-{mode}")
    with our_worker(properties, tmp_path) as port:
        differences = ask_all(mode, port, tmp_path, TOKEN)
    assert not differences, "\n".join(differences)


@WITH_JAVA
@pytest.mark.parametrize("mode", ["standalone", "distributed"])
def test_javas_worker_still_answers_so(mode: str, kafka_cluster: KafkaCluster, tmp_path: Path) -> None:
    properties = worker_properties(mode, kafka_cluster.bootstrap_servers, free_port(), tmp_path, f"java-{mode}")
    with java_worker(mode, properties, tmp_path) as port:
        differences = ask_all(mode, port, tmp_path, None)
    assert not differences, "\n".join(differences)
