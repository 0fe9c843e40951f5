"""``kconsole streams run``: the word count of the examples in two workers, one of them killed, and stopped in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from engine.testing.cluster import KafkaCluster
from tests.integration.conftest import KCONSOLE, ROOT
from tests.integration.raw_client import wait_until
from tests.integration.test_streams_workers import GROUP_CONFIGS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def test_words_are_counted_by_workers_that_are_started_again_and_end_in_order(tmp_path: Path) -> None:
    # Longer than the test: the killed worker's next start says that it is gone.
    configs = {**GROUP_CONFIGS, "group.streams.session.timeout.ms": 45_000}
    with KafkaCluster(1, configs=configs, topics={"clicks": 2, "word-counts": 2}) as cluster:
        bootstrap = cluster.bootstrap_servers
        settings = (f"state.dir={tmp_path}", "commit.interval.ms=50", "processing.guarantee=exactly_once_v2")
        process = subprocess.Popen(
            [
                *(KCONSOLE, "streams", "run", "examples.streams.word_count:topology", "--workers", "2", "--json"),
                *("--bootstrap-servers", bootstrap, *(part for each in settings for part in ("--set", each))),
            ],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        events: list[dict[str, Any]] = []

        def read_lines() -> None:
            assert process.stdout is not None
            for line in iter(process.stdout.readline, b""):
                events.append(json.loads(line))

        def has_tasks(pid: int) -> bool:
            last = [each["detail"] for each in events if each["pid"] == pid and "has active" in each["detail"]]
            return bool(last) and "has active none" not in last[-1]

        reader = threading.Thread(target=read_lines)
        reader.start()
        counts: dict[str, int] = {}
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        consumer.subscribe(["word-counts"])
        producer = Producer({"bootstrap.servers": bootstrap})

        def counted(expected: dict[str, int]) -> bool:
            for message in consumer.consume(100, 0.05):
                if message.error() is None:
                    counts[message.key().decode()] = int.from_bytes(message.value(), "big")
            return counts == expected

        try:
            wait_until("both have tasks", lambda: sum(map(has_tasks, {each["pid"] for each in events})) == 2, 30)
            for number in range(40):
                producer.produce("clicks", '{"page": "/home"}' if number % 4 else '{"page": "/cart"}', str(number))
            producer.flush(10)
            wait_until("counts", lambda: counted({"page": 40, "home": 30, "cart": 10}), 30)
            os.kill(next(each["pid"] for each in events if each["worker"] == 2), signal.SIGKILL)
            for number in range(40):
                producer.produce("clicks", '{"page": "/help"}', str(number))
            producer.flush(10)
            wait_until("more counts", lambda: counted({"page": 80, "home": 30, "cart": 10, "help": 40}), 30)
            wait_until("another start", lambda: [each["kind"] for each in events].count("started") == 3, 10)
            log = next(tmp_path.glob("*.workers/worker-1.log")).read_text()
            assert "the group protocol is streams" in log
            (file,) = tmp_path.glob("*/application.properties")
            assert file.stat().st_mode & 0o777 == 0o600
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            reader.join(10)
            consumer.close()
        assert code == 0
        ends = [(each["worker"], each["detail"]) for each in events if each["kind"] in ("ended", "stopped")]
        assert sorted(ends[1:]) == [(1, ""), (2, "")]
        assert ends[0] == (2, "killed by signal 9; restart 1 in 500 ms")
        assert not file.exists()
