"""Stores of two real workers are asked of either; one of them is killed, and the other has the right counts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from confluent_kafka import Producer

from engine.testing.cluster import KafkaCluster
from tests.integration.conftest import KCONSOLE, ROOT
from tests.integration.raw_client import wait_until
from tests.integration.streams_topologies import WINDOW_MS
from tests.integration.test_streams_workers import GROUP_CONFIGS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

PARTITIONS = 4
CUSTOMERS = [f"c{number:02}" for number in range(30)]
BEGAN_MS = time.time_ns() // 1_000_000 // WINDOW_MS * WINDOW_MS


class AskedWorker:
    """A worker in a process of its own, and what it answers."""

    def __init__(self, directory: Path, number: int, bootstrap: str, topology: str = "asked") -> None:
        self.log_file = directory / f"worker-{number}.log"
        settings = {
            "application.id": "asked",
            "application.server": "127.0.0.1:0",
            "bootstrap.servers": bootstrap,
            "commit.interval.ms": 50,
            "default.dsl.store": "in_memory",
            "num.standby.replicas": 1,
            "state.dir": directory / f"state-{number}",
        }
        command = [sys.executable, "-m", "engine.streams.runtime", f"tests.integration.streams_topologies:{topology}"]
        command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        with self.log_file.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)

    @property
    def endpoint(self) -> str:
        found = re.search(r"answers queries on http://(\S+)", self.log_file.read_text())
        return found[1] if found else ""

    def get(self, path: str, **parameters: object) -> Any:
        given = {name.rstrip("_"): value for name, value in parameters.items()}
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/v1/{path}?{urlencode(given)}", timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def counts(self, **parameters: object) -> dict[str, int]:
        answer = self.get("stores/counts/range", **parameters)
        return {each["key"]: each["value"] for each in answer.get("entries", ())}

    def windows(self, **parameters: object) -> dict[tuple[int, str], int]:
        answer = self.get("stores/windows/window", **parameters)
        return {(each["window"]["start"], each["key"]): each["value"] for each in answer.get("entries", ())}


class Model:
    """Writes orders, and knows what the stores must say."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
        self._number = 0
        self.counts: Counter[str] = Counter()
        self.windows: Counter[tuple[int, str]] = Counter()

    def write(self, orders: int) -> None:
        for _ in range(orders):
            customer = CUSTOMERS[self._number * 7 % 29]
            at_ms = BEGAN_MS + self._number * 97
            self._producer.produce("orders", customer, f"o{self._number}", timestamp=at_ms)
            self._number += 1
            self.counts[customer] += 1
            self.windows[at_ms // WINDOW_MS * WINDOW_MS, customer] += 1
        assert self._producer.flush(10) == 0


def assert_answers_are_the_models(worker: AskedWorker, model: Model) -> None:
    for customer in CUSTOMERS:
        answer = worker.get("stores/counts/key", key=customer)
        assert (answer["found"], answer["value"]) == (customer in model.counts, model.counts.get(customer))
    entries = worker.get("stores/counts/range", from_="c03", to="c17", limit=10)["entries"]
    wanted = sorted(each for each in model.counts.items() if "c03" <= each[0] <= "c17")[:10]
    assert [(each["key"], each["value"]) for each in entries] == wanted
    begin, end = BEGAN_MS + WINDOW_MS, BEGAN_MS + 2 * WINDOW_MS
    entries = worker.get("stores/windows/window", from_ms=begin, to_ms=end, limit=5000)["entries"]
    got = [((each["window"]["start"], each["key"]), each["value"]) for each in entries]
    assert got == sorted(each for each in model.windows.items() if begin <= each[0][0] <= end)
    entries = worker.get("stores/windows/window", key="c05")["entries"]
    got = [((each["window"]["start"], "c05"), each["value"]) for each in entries]
    assert got == sorted(each for each in model.windows.items() if each[0][1] == "c05")


def kconsole(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KCONSOLE, "streams", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=30)


def test_any_worker_answers_for_all_and_goes_on_when_another_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with KafkaCluster(1, configs=GROUP_CONFIGS, topics={"orders": PARTITIONS}) as cluster:
        bootstrap = cluster.bootstrap_servers
        model = Model(bootstrap)
        workers = [AskedWorker(tmp_path, number, bootstrap) for number in range(2)]
        processes = list(workers)
        try:
            wait_until("two workers", lambda: all(each.endpoint for each in workers), 30)
            model.write(500)
            everything = {"local": "true", "stale": "true", "limit": 5000}
            for each in workers:
                wait_until("all counts", lambda each=each: each.counts() == model.counts)
                # Its own half and the other's standbys.
                wait_until("all counts here", lambda each=each: each.counts(**everything) == model.counts)
                wait_until("all windows here", lambda each=each: each.windows(**everything) == model.windows)
            for each in workers:
                assert_answers_are_the_models(each, model)
                assert {row["partition"] for row in each.get("routes")["counts"]} == set(range(PARTITIONS))
            owners = {each.get("stores/counts/key", key=key)["worker"] for key in model.counts for each in workers}
            assert owners == {each.endpoint for each in workers}
            stranger = AskedWorker(tmp_path, 9, bootstrap, "word_lengths")
            processes.append(stranger)
            workers[1].process.kill()
            workers[1].process.wait(10)

            # The command asks the dead one, too, and whoever is left until the tasks have moved.
            cli = kconsole("query", "counts", "--key", "c05", "--bootstrap-servers", bootstrap, "--json")
            assert json.loads(cli.stdout)["value"] == model.counts["c05"], cli.stderr
            model.write(300)
            wait_until("all counts of one", lambda: workers[0].counts() == model.counts, 30)
            assert_answers_are_the_models(workers[0], model)
            # What its standbys had in memory was not read again.
            tasks = [each for each in workers[0].get("status")["tasks"] if each["role"] == "active"]
            assert sum(each["restored"] for each in tasks) == 0, tasks

            cli = kconsole("query", "counts", "--prefix", "c0", "--limit", "3", "--bootstrap-servers", bootstrap)
            assert cli.stdout.splitlines()[0].split() == ["KEY", "VALUE", "TIMESTAMP", "PARTITION"], cli.stderr
            assert [line.split()[:2] for line in cli.stdout.splitlines()[1:4]] == [
                [key, str(count)] for key, count in sorted(model.counts.items())[:3]
            ]
            cli = kconsole("status", "--bootstrap-servers", bootstrap, "--application-id", "asked")
            assert workers[0].endpoint in cli.stdout, cli.stderr

            assert stranger.process.wait(20) == 2, stranger.log_file.read_text()
            assert "a topology that changed needs another application.id" in stranger.log_file.read_text()
        finally:
            for each in processes:
                each.process.kill()
                each.process.wait(10)
                print(each.log_file.read_text()[-3000:])
