"""``kconsole streams``: applications of :mod:`engine.streams` on any Kafka cluster, in workers under a supervisor."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from console.client_cluster import client_cluster
from console.looking import cluster_options
from console.streams_query_command import query, status
from console.supervisor_calls import FAILED, JSON, USAGE, directory_of, fail

if TYPE_CHECKING:
    from engine.supervisor.streams_workers import WorkerEvent

_CONFIG_FILE = "application.properties"


@click.group(
    epilog="""\b
Examples:
  kconsole streams run examples.streams.word_count:topology --workers 2
  kconsole streams status
  kconsole streams query counts --key home
  kconsole streams describe examples.streams.word_count:topology"""
)
def streams() -> None:
    """Applications over streams, written in Python with Kafka Streams' terms; see docs/streams.md."""


streams.add_command(query)
streams.add_command(status)


@streams.command(
    epilog="""\b
Examples:
  kconsole streams run examples.streams.word_count:topology --workers 2
  kconsole streams run shop.revenue:topology --set processing.guarantee=exactly_once_v2
  kconsole streams run shop.revenue:topology --bootstrap-servers kafka-1:9092 --config revenue.properties

\b
Ctrl-C (or SIGTERM) stops it: each worker commits and leaves the group. Once more: at once (SIGKILL).
Exit codes: 0 stopped in order, 1 workers failed, or no cluster, 2 wrong use."""
)
@click.argument("topology", metavar="MODULE:TOPOLOGY")
@click.option("--workers", type=click.IntRange(min=1, max=64), default=1, show_default=True, help="Processes.")
@click.option("--application-id", help="The group's name. Default: application.id, or the name of the module.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Configs of the application, name=value a line, under Kafka Streams' names.",
)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config; wins over the file's.")
@cluster_options
@JSON
def run(
    topology: str,
    workers: int,
    application_id: str | None,
    config: str | None,
    settings: tuple[str, ...],
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Run an application in WORKERS processes; those that die are started again, and their tasks move meanwhile."""
    properties = _properties(topology, application_id, config, settings)
    cluster = client_cluster(bootstrap_servers, command_config, data_dir, what="an application")
    properties = {**cluster.security, **properties, "bootstrap.servers": cluster.bootstrap_servers}
    if cluster.status is not None:
        properties.setdefault("state.dir", directory_of(cluster.data_dir).streams_dir())
    _let_be_asked(properties, workers)
    state_dir = _check(topology, properties)
    sys.exit(_run(topology, workers, properties, state_dir, as_json))


@streams.command(epilog="\b\nExamples:\n  kconsole streams describe examples.streams.word_count:topology")
@click.argument("topology", metavar="MODULE:TOPOLOGY")
def describe(topology: str) -> None:
    """Print a topology as Kafka Streams does: sub-topologies, sources, processors with stores, sinks."""
    _find_user_modules()
    from engine.streams.errors import StreamsError
    from engine.streams.runtime.__main__ import load_topology

    try:
        click.echo(str(load_topology(topology).describe()).rstrip())
    except StreamsError as error:
        fail(str(error), USAGE)


def _find_user_modules() -> None:
    """Modules of users are found where they stand, as by ``python -m``."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _properties(
    topology: str, application_id: str | None, config: str | None, settings: tuple[str, ...]
) -> dict[str, str]:
    from engine.streams.runtime.config import StreamsConfigError, read_properties

    properties: dict[str, str] = {}
    try:
        if config is not None:
            with open(config, encoding="utf-8") as file:
                properties = read_properties(file.read(), config)
        properties |= read_properties("\n".join(settings), "--set")
    except (StreamsConfigError, UnicodeDecodeError) as error:
        fail(str(error), USAGE)
    if "bootstrap.servers" in properties:
        raise click.UsageError(
            "bootstrap.servers: say --bootstrap-servers instead, or nothing for the embedded cluster"
        )
    if application_id is not None:
        properties["application.id"] = application_id
    module = topology.partition(":")[0].rsplit(".", 1)[-1].replace("_", "-")
    properties.setdefault("application.id", module)
    return properties


def _let_be_asked(properties: dict[str, str], workers: int) -> None:
    """Each worker answers queries on a port of its own, unless it is told where, or told not to."""
    import importlib.util

    server = properties.get("application.server")
    if server is None:
        if importlib.util.find_spec("aiohttp") is None:
            click.echo("workers answer no queries: pip install 'kconsole[streams]' for that", err=True)
        else:
            properties["application.server"] = "127.0.0.1:0"
    elif workers > 1 and server and not server.endswith(":0"):
        raise click.UsageError(
            f"application.server={server} is one port, and there are {workers} workers: let its port be 0"
        )


def _check(topology: str, properties: Mapping[str, str]) -> str:
    """What is wrong with the topology or the configs is told before a worker starts; gives where state is kept."""
    _find_user_modules()
    from engine.streams.errors import StreamsError
    from engine.streams.runtime.__main__ import load_topology
    from engine.streams.runtime.config import StreamsConfig

    try:
        config = StreamsConfig(properties)
        load_topology(topology, config["topology.optimization"])
    except StreamsError as error:
        fail(str(error), USAGE)
    several = next((name for name, value in properties.items() if "\n" in value), None)
    if several is not None:
        fail(f"{several}: a value of several lines cannot be handed to workers; put it into a file", USAGE)
    return str(config["state.dir"])


def _run(topology: str, workers: int, properties: Mapping[str, str], state_dir: str, as_json: bool) -> int:
    import asyncio
    import signal

    from engine.supervisor.broker_process import python_command
    from engine.supervisor.streams_workers import StreamsWorkers, StreamsWorkersError
    from engine.world.real import real_world

    application = properties["application.id"]
    logs = os.path.join(state_dir, f"{application}.workers")
    file = os.path.join(logs, _CONFIG_FILE)

    def tell(event: WorkerEvent) -> None:
        if as_json:
            click.echo(json.dumps(event._asdict()))
        else:
            click.echo(_line(event))

    async def work() -> bool:
        command = python_command("engine.streams.runtime", topology, "--config", file)
        found = StreamsWorkers(command, workers, logs, real_world().clock, tell)
        _write_secretly(file, properties)
        try:
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, found.stop)
            if not as_json:
                what = "worker" if workers == 1 else "workers"
                click.echo(
                    f"{application}: {workers} {what} over {properties['bootstrap.servers']}, state in {state_dir}"
                )
            return await found.run()
        finally:
            os.unlink(file)

    try:
        return 0 if asyncio.run(work()) else FAILED
    except StreamsWorkersError as error:
        fail(str(error), FAILED)


def _write_secretly(file: str, properties: Mapping[str, str]) -> None:
    """For this user's eyes only: there may be passwords."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.writelines(f"{name}={value}\n" for name, value in properties.items())


def _line(event: WorkerEvent) -> str:
    who = f"worker {event.worker}"
    match event.kind:
        case "started":
            return f"{who}: pid {event.pid}, log in {event.detail}"
        case "log":
            return f"{who}: {event.detail}"
        case "stopped":
            return f"{who}: stopped{f', {event.detail}' if event.detail else ''}"
    return f"{who}: ended: {event.detail}"
