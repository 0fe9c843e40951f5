"""``make record-tools``: ask all that is in the table of Kafka's tools of a real Kafka 4.3.1 and of kconsole.

What Kafka answers is kept in tests/golden; where kconsole answers otherwise is printed.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clusters import free_port
from tests.integration.apache_kafka import apache_kafka
from tests.integration.conftest import start_cluster, stop_cluster
from tests.integration.java_tools import KAFKA_LIBS
from tests.integration.test_tools_like_kafka import SPEC
from tests.integration.tools_table import DIFFERENCES, answers, is_right, write_golden

_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"


@contextmanager
def kafka(directory: Path) -> Iterator[str]:
    """Three brokers with the configs of ``SPEC``; their bootstrap servers."""
    ports, controllers = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
    configs = [line.strip().replace(": ", "=", 1) for line in SPEC.partition("configs:\n")[2].splitlines()]
    files = []
    for number, port in enumerate(ports, 1):
        file = directory / f"server-{number}.properties"
        lines = [
            "process.roles=broker,controller",
            f"node.id={number}",
            f"broker.rack={'abc'[number - 1]}",
            f"controller.quorum.voters={voters}",
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllers[number - 1]}",
            "controller.listener.names=CONTROLLER",
            f"log.dirs={directory}/kafka-{number}",
            *configs,
        ]
        file.write_text("\n".join(lines) + "\n")
        command = ["java", "-cp", f"{KAFKA_LIBS}/*", "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID]
        # Eligible leader replicas are off in a new cluster of ours.
        command += ["--feature", "eligible.leader.replicas.version=0"]
        subprocess.run([*command, "-c", str(file)], check=True, capture_output=True)
        files.append(file)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with apache_kafka(files, addresses, directory):
        yield ",".join(addresses)


def main() -> int:
    """Write the golden answers; the number of cases in which kconsole differs without a reason."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with kafka(directory) as bootstrap:
            theirs = {case.name: text for case, text in answers(bootstrap, directory)}
        write_golden(theirs)
        running = start_cluster(directory, SPEC)
        try:
            ours = list(answers(running.bootstrap, directory, theirs))
        finally:
            stop_cluster(running)
    unexplained = 0
    for case, text in ours:
        kafkas = theirs[case.name]
        if text == kafkas:
            continue
        right = is_right(case, text, kafkas)
        unexplained += not right
        why = DIFFERENCES[case.name] if right else "differs"
        print(f"--- {case.name}: {why}")
        lines = difflib.unified_diff(kafkas.splitlines(), text.splitlines(), "Kafka", "kconsole", lineterm="", n=1)
        print("\n".join(lines))
    print(f"{len(theirs)} answers of Kafka kept; kconsole differs in {unexplained} without a reason")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
