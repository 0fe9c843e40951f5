"""Java's worker and ours in one group: they share its work, and either goes on alone where the other left off."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench.clusters import free_port
from engine.testing.cluster import KafkaCluster
from tests.integration.connect_workers import ConnectWorker, distributed, lines_of
from tests.integration.java_connect import java_worker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not os.environ.get("KCONSOLE_CONNECT_MIXED"), reason="make connect-mixed"),
]


def everything(worker: ConnectWorker) -> list[dict[str, Any]]:
    """States of both connectors and of their tasks."""
    found = [worker.status(name) for name in ("source", "sink")]
    return [each for status in found if status for each in (status["connector"], *status["tasks"])]


def test_a_java_worker_and_ours_share_the_work_and_take_over_from_each_other(tmp_path: Path) -> None:
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"first {each}\n" for each in range(300)))

    def more(word: str) -> None:
        with source.open("a") as file:
            file.writelines(f"{word} {each}\n" for each in range(300))

    with KafkaCluster(1, configs={"group.min.session.timeout.ms": "500"}) as cluster:
        configs = distributed(cluster.bootstrap_servers, "mixed")
        javas = {name: value for name, value in configs.items() if name != "rest.auth"}
        javas["listeners"] = f"http://127.0.0.1:{free_port()}"
        ours = ConnectWorker(configs, tmp_path, "ours")
        java = ConnectWorker(configs, tmp_path, "asked")
        java.log = tmp_path / "java-distributed.log"
        try:
            with java_worker("distributed", javas, tmp_path) as java.port:
                java.create("source", connector__class="FileStreamSource", file=str(source), topic="mixed-lines")
                java.create(
                    "sink", connector__class="FileStreamSink", file=str(sink), topics="mixed-lines", tasks__max="3"
                )
                java.until(lambda: len(lines_of(sink)) == 300, 30, "Java's worker copies nothing")
                time.sleep(1)  # its offsets are committed
                ours.start().ready()
                java.until(
                    lambda: (
                        {each["worker_id"] for each in everything(java)} == {java.worker_id, ours.worker_id}
                        and all(each["state"] == "RUNNING" for each in everything(java))
                    ),
                    20,
                    "the work is not shared",
                )
                ours.until(lambda: everything(ours) == everything(java), 10, "they do not see the same")
                more("second")
                java.until(lambda: len(set(lines_of(sink))) == 600, 20, "they copy nothing together")
                # Ours forwards to the leader, which is Java's.
                config = {
                    "connector.class": "FileStreamSink",
                    "file": str(sink),
                    "topics": "mixed-lines",
                    "tasks.max": "4",
                }
                assert ours.ask("PUT", "/connectors/sink/config", {**config, "name": "sink"})[0] == 200
                java.until(lambda: java.states("sink") == ["RUNNING"] * 5, 20, "no fourth task")
            ours.until(
                lambda: (
                    len(everything(ours)) == 7
                    and all(
                        each["worker_id"] == ours.worker_id and each["state"] == "RUNNING" for each in everything(ours)
                    )
                ),
                30,
                "ours does not take over",
            )
            more("third")
            ours.until(lambda: len(set(lines_of(sink))) == 900, 20, "ours copies nothing alone")
            assert ours.stop() == 0
            with java_worker("distributed", javas, tmp_path) as java.port:
                java.until(lambda: java.states("sink") == ["RUNNING"] * 5, 30, "Java's does not take over")
                more("fourth")
                java.until(lambda: len(set(lines_of(sink))) == 1200, 30, "Java's copies nothing again")
        finally:
            ours.end()
