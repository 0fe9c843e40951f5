"""Keep what a real Java worker of Kafka Connect 4.3.1 answers to the table of calls: ``make record-connect-rest``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from bench.clusters import free_port
from engine.testing.cluster import KafkaCluster
from tests.integration.connect_rest_table import FILES, TABLE, Asker
from tests.integration.java_connect import java_worker, worker_properties
from tests.integration.java_tools import ROOT

GOLDEN = ROOT / "tests" / "golden" / "connect-rest-4.3.1.json"


def record(mode: str) -> dict[str, object]:
    """Answers by the calls' names."""
    answers: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name, KafkaCluster(brokers=1) as cluster:
        directory = Path(name)
        for file, text in FILES.items():
            (directory / file).write_text(text)
        properties = worker_properties(mode, cluster.bootstrap_servers, free_port(), directory, "connect")
        with java_worker(mode, properties, directory) as port:
            asker = Asker(port, name)
            for call in TABLE:
                if mode in call.modes:
                    answers[call.name] = asker.ask(call).to_json()
    return answers


def main() -> int:
    distributed, standalone = record("distributed"), record("standalone")
    # A standalone worker answers nearly always the same: what differs is kept.
    other = {name: answer for name, answer in standalone.items() if answer != distributed.get(name)}
    found = {"distributed": distributed, "standalone": other}
    GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(f"{GOLDEN}: {len(distributed)} answers, {len(other)} that a standalone worker gives otherwise")
    return 0


if __name__ == "__main__":
    sys.exit(main())
