"""``python -m bench WHICH…``: idle, failover, look and throughput if none is named."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from bench import compaction, durability, failover, growth, idle, look, reads, throughput
from bench.clusters import ApacheKafkaCluster, KconsoleCluster, both


def main() -> None:
    """Run the chosen measurements and print their lines."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "which",
        nargs="*",
        choices=[
            *("idle", "failover", "look", "throughput", "durability", "compaction", "growth", "reads", "zookeeper"),
            *("streams", "connect"),
        ],
        default=[],
    )
    parser.add_argument("--rounds", type=int, default=20, help="kills of each kind")
    parser.add_argument("--kafka-rounds", type=int, default=3, help="kills of Apache Kafka's leader, for the ratio")
    parser.add_argument(
        "--records",
        type=int,
        help="records of a throughput sample, lines of connect (1,000,000), the input of streams (200,000)",
    )
    parser.add_argument("--pairs", type=int, default=3, help="throughput samples of each cluster; zookeeper: kills")
    parser.add_argument("--updates", type=int, default=5_000_000, help="updates of a compacted topic's keys")
    parser.add_argument("--sizes", default="0,1,10,30", help="growth: GiB of the log at each measurement (0,1,10,30)")
    parser.add_argument(
        "--partitions", type=int, default=2000, help="growth: partitions of the last measurement; look: in all (2000)"
    )
    parser.add_argument("--durability", choices=durability.MODES, default="page-cache", help="growth: (page-cache)")
    parser.add_argument("--kafka", action="store_true", help="streams, connect: over a broker of Apache Kafka")
    parser.add_argument("--topologies", default="map_filter,count,window", help="streams: those to measure")
    parser.add_argument("--keys", type=int, default=1_000_000, help="streams: keys to restore, 0 for none")
    options = parser.parse_args()
    which = options.which or ["idle", "failover", "look", "throughput"]
    with tempfile.TemporaryDirectory(prefix="kconsole-bench-") as name:
        directory = Path(name)
        if "idle" in which or "failover" in which:
            # Closed whatever happens: a measurement that fails must leave nothing running.
            with contextlib.closing(KconsoleCluster(directory / "alone")) as ours:
                if "idle" in which:
                    print(idle.measure(ours), flush=True)
                if "failover" in which:
                    for victim in ("leader", "controller"):
                        outcome = failover.kill_rounds(ours, options.rounds, victim)
                        print(failover.report(f"failover of the {victim}", *outcome), flush=True)
                    resumed_ms, ledger = failover.kill_all_three(ours)
                    print(failover.report("all three killed at once", [resumed_ms], ledger), flush=True)
        if "failover" in which and options.kafka_rounds:
            with contextlib.closing(ApacheKafkaCluster(directory / "apache-kafka-failover")) as theirs:
                outcome = failover.kill_rounds(theirs, options.kafka_rounds, "leader")
                print(failover.report("Apache Kafka's failover of the leader", *outcome), flush=True)
        if "look" in which:
            with contextlib.closing(KconsoleCluster(directory / "look")) as ours:
                for line in look.measure(ours, options.partitions):
                    print(line, flush=True)
        if "durability" in which:
            for line in durability.compare(directory / "durability", options.records or 1_000_000, options.rounds):
                print(line, flush=True)
        if "compaction" in which:
            for line in compaction.compare(
                directory / "compaction", options.updates, with_kafka=options.kafka_rounds > 0
            ):
                print(line, flush=True)
        if "growth" in which:
            sizes = [float(each) for each in options.sizes.split(",") if each]
            growth.measure(directory, sizes, options.partitions, options.pairs, options.durability)
        if "reads" in which:
            for line in reads.compare(directory / "reads", options.pairs):
                print(line, flush=True)
        if "zookeeper" in which:
            # Needs the Kafka that ZooKeeper coordinates, `make zookeeper`.
            from bench import zookeeper

            for line in zookeeper.measure(directory / "zookeeper", options.pairs):
                print(line, flush=True)
        if "streams" in which:
            # Needs Quix Streams in an environment of its own, `make bench-streams`.
            from bench import streams

            for line in streams.compare(
                directory / "streams",
                options.records or 200_000,
                options.pairs,
                kafka=options.kafka,
                which=[each for each in options.topologies.split(",") if each],
                restore=options.keys,
            ):
                print(line, flush=True)
        if "connect" in which:
            # Needs Kafka's file connectors, `make bench-connect`.
            from bench import connect

            for line in connect.compare(
                directory / "connect", options.records or 1_000_000, options.pairs, kafka=options.kafka
            ):
                print(line, flush=True)
        if "throughput" in which:
            with both(directory) as (mine, other):
                for line in throughput.compare(
                    mine.bootstrap, other.bootstrap, options.records or 1_000_000, options.pairs
                ):
                    print(line, flush=True)


main()
