"""What an idle cluster costs: start-up time, RSS of each broker, CPU of all."""

from __future__ import annotations

import time

import psutil

from bench.clusters import KconsoleCluster


def measure(cluster: KconsoleCluster, seconds: float = 20) -> str:
    """One line: start-up, RSS, and the CPU of brokers and supervisor together as percent of one core."""
    rows = cluster.status()
    brokers = [psutil.Process(row["pid"]) for row in rows.values()]
    everyone = [*brokers, psutil.Process(cluster.process.pid)]
    everyone += [each for each in everyone[-1].children(recursive=True) if each.pid not in {b.pid for b in brokers}]
    time.sleep(5)

    def cpu_s() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in everyone)

    began, used = time.monotonic(), cpu_s()
    time.sleep(seconds)
    percent = (cpu_s() - used) / (time.monotonic() - began) * 100
    rss = [each.memory_info().rss / (1 << 20) for each in brokers]
    return (
        f"idle: up in {cluster.started_in_s:.2f} s; RSS of the brokers {', '.join(f'{each:.0f}' for each in rss)} MiB; "
        f"CPU of the whole cluster {percent:.1f} % of one core"
    )
