"""What it costs that a record is on the device before it counts: clusters with ``durability: fsync`` and without.

Both run in turn, three rounds of each, so that what else the machine does hits both.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench import failover, throughput
from bench.clusters import KconsoleCluster, spec_with

MODES = ("page-cache", "fsync")
_CLUSTERS = 3
_LATENCIES = 1000


@dataclass(slots=True)
class _Figures:
    up_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    failovers_ms: list[float] = field(default_factory=list)
    lost: int = 0


def latencies_ms(bootstrap: str, topic: str, count: int) -> list[float]:
    """Milliseconds from produce() to the acknowledgement with acks=all, one record after the other."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0})
    found: list[float] = []
    for number in range(count + 100):
        began = time.perf_counter()
        producer.produce(topic, throughput.RECORD, partition=number % 3)
        if producer.flush(30):
            raise SystemExit("a record was not acknowledged within 30 s")
        if number >= 100:  # connections and codecs are warm
            found.append((time.perf_counter() - began) * 1000)
    return found


def _measure(cluster: KconsoleCluster, figures: _Figures, records: int, kills: int) -> None:
    figures.up_s.append(cluster.started_in_s)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    topic = "durability"
    admin.create_topics([NewTopic(topic, 3, 3)])[topic].result(30)
    figures.rates.append(throughput.sample("produce", cluster.bootstrap, topic, records, "all", "none"))
    figures.latencies_ms += latencies_ms(cluster.bootstrap, topic, _LATENCIES)
    after_ms, ledger = failover.kill_rounds(cluster, kills, "leader")
    figures.failovers_ms += after_ms
    figures.lost += ledger.lost


def compare(directory: Path, records: int, kills: int) -> list[str]:
    """A line a mode; ``records`` are those of a throughput sample, ``kills`` those of the leader in each round."""
    found = {mode: _Figures() for mode in MODES}
    for number in range(_CLUSTERS):
        for mode in MODES:
            spec = spec_with(durability=mode)
            with contextlib.closing(KconsoleCluster(directory / f"{mode}-{number}", spec)) as cluster:
                _measure(cluster, found[mode], records, kills)
    return [
        f"durability {mode}: up in {statistics.median(each.up_s):.2f} s; acks=all {statistics.median(each.rates):,.0f} "
        f"records/s; one record alone {statistics.median(each.latencies_ms):.2f} ms, 99 of 100 within "
        f"{statistics.quantiles(each.latencies_ms, n=100)[98]:.2f} ms; failover of the leader "
        f"{statistics.median(each.failovers_ms):.0f} ms (median of {len(each.failovers_ms)}, longest "
        f"{max(each.failovers_ms):.0f} ms); {each.lost} lost"
        for mode, each in found.items()
    ]
