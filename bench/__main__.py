"""``python -m bench [failover|throughput|idle …]``: all of them without argument."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import failover, idle, throughput
from bench.clusters import ApacheKafkaCluster, KconsoleCluster, both


def main() -> None:
    """Run the chosen measurements and print their lines."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("which", nargs="*", choices=["idle", "failover", "throughput"], default=[])
    parser.add_argument("--rounds", type=int, default=20, help="kills of each kind")
    parser.add_argument("--kafka-rounds", type=int, default=3, help="kills of Apache Kafka's leader, for the ratio")
    parser.add_argument("--records", type=int, default=1_000_000, help="records of a throughput sample")
    parser.add_argument("--pairs", type=int, default=3, help="throughput samples of each cluster")
    options = parser.parse_args()
    which = options.which or ["idle", "failover", "throughput"]
    with tempfile.TemporaryDirectory(prefix="kconsole-bench-") as name:
        directory = Path(name)
        if "idle" in which or "failover" in which:
            ours = KconsoleCluster(directory / "alone")
            if "idle" in which:
                print(idle.measure(ours), flush=True)
            if "failover" in which:
                for victim in ("leader", "controller"):
                    print(
                        failover.report(
                            f"failover of the {victim}", *failover.kill_rounds(ours, options.rounds, victim)
                        ),
                        flush=True,
                    )
                resumed_ms, ledger = failover.kill_all_three(ours)
                print(failover.report("all three killed at once", [resumed_ms], ledger), flush=True)
            ours.close()
        if "failover" in which and options.kafka_rounds:
            theirs = ApacheKafkaCluster(directory / "apache-kafka-failover")
            print(
                failover.report(
                    "Apache Kafka's failover of the leader",
                    *failover.kill_rounds(theirs, options.kafka_rounds, "leader"),
                ),
                flush=True,
            )
            theirs.close()
        if "throughput" in which:
            with both(directory) as (mine, other):
                for line in throughput.compare(mine.bootstrap, other.bootstrap, options.records, options.pairs):
                    print(line, flush=True)


main()
