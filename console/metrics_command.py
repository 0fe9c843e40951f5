"""``kconsole metrics``: what a cluster is like, for Prometheus to fetch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from console.looking import cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON, fail

if TYPE_CHECKING:
    from prometheus_client import Metric

    from engine.supervisor.snapshot import ClusterSnapshot


@click.command(
    epilog="""\b
Examples:
  kconsole metrics --port 9308
  kconsole metrics --port 9308 --listen 0.0.0.0 --bootstrap-servers kafka-1:9092"""
)
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="Where; 0: any free one, which is printed.")
@click.option(
    "--listen", default="127.0.0.1", show_default=True, help="The address; everybody may read who reaches it."
)
@cluster_options
@JSON
def metrics(
    port: int,
    listen: str,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Serve metrics for Prometheus until SIGINT or SIGTERM: lag, partitions, brokers, processes.

    Figures that could not be refreshed for 15 seconds are left out; ages are always there.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    from console.following import follow, until_stopped

    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    collector = SnapshotCollector()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=listen, registry=registry)
    except OSError as error:
        fail(f"cannot listen on {listen}:{port}: {error.strerror}; choose another --port or --listen", FAILED)
    host = f"[{listen}]" if ":" in listen else listen
    url = f"http://{host}:{server.server_port}/metrics"
    click.echo(json.dumps({"url": url}) if as_json else url)
    try:
        until_stopped(gateway, lambda: follow(gateway, collector.take, lambda said: None))
    finally:
        server.shutdown()
        thread.join(2)


class SnapshotCollector:
    """The last picture, as metrics of the moment in which they are asked for. Pictures come from another thread."""

    def __init__(self) -> None:
        from console.viewmodel.metrics import LastAnswers

        self._snapshot: ClusterSnapshot | None = None
        self._answers = LastAnswers()

    def take(self, snapshot: ClusterSnapshot) -> None:
        """A new picture."""
        self._answers.take(snapshot)
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        from console.viewmodel.metrics import families

        for family in families(self._snapshot, time.time_ns() // 1_000_000, self._answers.at_ms):
            kind = CounterMetricFamily if family.counter else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in family.samples:
                if value is not None:
                    metric.add_metric(labels, value)
            yield metric
