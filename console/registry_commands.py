"""``kconsole registry``: a schema registry over any Kafka cluster."""

from __future__ import annotations

import json
import sys

import click

from console.client_cluster import client_cluster
from console.looking import cluster_options
from console.supervisor_calls import FAILED, JSON, USAGE, fail


@click.group(
    epilog="""\b
Examples:
  kconsole registry run
  kconsole registry run --bootstrap-servers kafka-1:9092 --listen 0.0.0.0:8081 --users registry.users"""
)
def registry() -> None:
    """A schema registry with Confluent's REST interface; see docs/registry.md.

    The embedded cluster has one of its own where its file says `registry: true`.
    """


@registry.command(
    epilog="""\b
Examples:
  kconsole registry run
  kconsole registry run --listen 127.0.0.1:0 --json
  kconsole registry run --context prod --topic _schemas
  kconsole registry run --bootstrap-servers kafka-1:9092 --listen 0.0.0.0:8081 --users registry.users

\b
Ctrl-C (or SIGTERM) stops it. Exit codes: 0 stopped in order, 1 it cannot begin, 2 wrong use, 3 another registry has
taken the topic over."""
)
@click.option(
    "--listen", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT", help="Port 0: any free one."
)
@click.option("--topic", default="_schemas", show_default=True, help="Where schemas are kept; made if it is not there.")
@click.option(
    "--users",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="A file with a line NAME:PASSWORD for each who may ask (HTTP's Basic scheme).",
)
@click.option(
    "--open", "is_open", is_flag=True, help="Let everybody ask who reaches an address that is not this machine's."
)
@cluster_options
@JSON
def run(
    listen: str,
    topic: str,
    users: str | None,
    is_open: bool,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Serve schemas kept in a topic of a cluster, until it is stopped.

    One registry writes to a topic at a time: the newest. It fences the one before, which then ends.
    """
    from engine.supervisor.registry_process import missing_modules

    missing = missing_modules()
    if missing:
        fail(missing.partition(", or leave")[0], FAILED)
    from engine.registry.config import RegistryConfig, RegistryConfigError, parse_listen, parse_users

    cluster = client_cluster(bootstrap_servers, command_config, data_dir, what="a registry")
    if cluster.status is not None and "registry" in cluster.status:
        fail(f"the cluster has a registry of its own: {cluster.status['registry']['url']}", FAILED)
    known: dict[str, str] = {}
    try:
        host, port = parse_listen(listen)
        if users is not None:
            with open(users, encoding="utf-8") as file:
                known = parse_users(file.read(), users)
        config = RegistryConfig(cluster.bootstrap_servers, host, port, topic, cluster.security, known, is_open)
        config.check()
    except (RegistryConfigError, UnicodeDecodeError) as error:
        fail(str(error), USAGE)
    sys.exit(_serve(config, as_json))


def _serve(config: object, as_json: bool) -> int:
    import asyncio
    import logging

    from engine.registry.__main__ import serve
    from engine.registry.config import RegistryConfig, RegistryConfigError
    from engine.registry.errors import CannotStart

    assert isinstance(config, RegistryConfig), "it was made by the command"
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")

    def tell(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "topic": config.topic, "bootstrap_servers": config.bootstrap_servers}))
        else:
            click.echo(f"schema registry {url}: kept in {config.topic} of {config.bootstrap_servers}")

    try:
        return asyncio.run(serve(config, tell))
    except (CannotStart, RegistryConfigError) as error:
        fail(str(error), FAILED)
