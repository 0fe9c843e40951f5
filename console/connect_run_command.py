"""``kconsole connect run``: workers of Kafka Connect over any cluster, kept running by this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from console.client_cluster import client_cluster
from console.connect_places import connect_directory
from console.looking import cluster_options
from console.supervisor_calls import FAILED, JSON, USAGE, fail

if TYPE_CHECKING:
    from engine.supervisor.connect_workers import WorkersDirectory
    from engine.supervisor.worker_processes import WorkerEvent

_CLIENTS = ("producer", "consumer")


@click.command(
    epilog="""\b
Examples:
  kconsole connect run
  kconsole connect run --workers 3
  kconsole connect run --standalone orders.properties
  kconsole connect run --bootstrap-servers kafka-1:9092 --config worker.properties --set group.id=etl

\b
Configs have Kafka's names, and its example's values unless they are given. Workers answer REST on loopback, on ports of
their own, to whoever knows the token; `kconsole connect list` and the console's :connect find both.
Ctrl-C (or SIGTERM) stops: tasks commit their offsets. Once more: at once (SIGKILL).
Exit codes: 0 stopped in order, 1 workers failed, or no cluster, 2 wrong use."""
)
@click.argument("connectors", nargs=-1, type=click.Path(exists=True, dir_okay=False, readable=True))
@click.option("--workers", type=click.IntRange(min=1, max=64), default=1, show_default=True, help="Processes.")
@click.option("--standalone", is_flag=True, help="One worker alone, with the connectors in files, without a group.")
@click.option("--group", metavar="ID", help="The group of workers: group.id. Default: connect-cluster.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Configs of the worker, name=value a line: connect-distributed.properties and the like.",
)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config; wins over the file's.")
@cluster_options
@JSON
def run(
    connectors: tuple[str, ...],
    workers: int,
    standalone: bool,
    group: str | None,
    config: str | None,
    settings: tuple[str, ...],
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Run WORKERS of one group; those that die are started again, and their connectors and tasks move meanwhile."""
    from engine.supervisor.connect_workers import DEFAULT_GROUP, WorkersDirectory, default_configs, missing_module

    if missing_module():
        fail(missing_module(), FAILED)
    if connectors and not standalone:
        raise click.UsageError("connectors in files go with --standalone; `kconsole connect apply FILE` for a group")
    if standalone and (workers > 1 or group is not None):
        raise click.UsageError("--standalone is one worker and no group")
    given = _properties(config, settings)
    if standalone and "group.id" in given:
        raise click.UsageError("--standalone is no worker of a group: leave out group.id")
    cluster = client_cluster(bootstrap_servers, command_config, data_dir, what="a worker")
    attached = cluster.bootstrap_servers if cluster.status is None else None
    name = "standalone" if standalone else group or given.get("group.id", DEFAULT_GROUP)
    place = WorkersDirectory(connect_directory(attached, cluster.data_dir), name)
    # Connect's clients have their configs apart from the worker's.
    of_clients = {f"{kind}.{name}": value for kind in _CLIENTS for name, value in cluster.security.items()}
    properties = {**default_configs(place, standalone=standalone), **cluster.security, **of_clients, **given}
    properties["bootstrap.servers"] = cluster.bootstrap_servers
    if not standalone:
        properties["group.id"] = place.group
    _check(properties, workers, connectors)
    sys.exit(_run(place, workers, properties, connectors, as_json))


def _properties(config: str | None, settings: tuple[str, ...]) -> dict[str, str]:
    from engine.model.properties import read_properties

    properties: dict[str, str] = {}
    try:
        if config is not None:
            with open(config, encoding="utf-8") as file:
                properties = read_properties(file.read())
    except UnicodeDecodeError as error:
        fail(f"{config}: {error}", USAGE)
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"--set: {each!r} is not NAME=VALUE")
        properties[name.strip()] = value.strip()
    if config is None and "bootstrap.servers" in properties:
        raise click.UsageError("bootstrap.servers: say --bootstrap-servers instead")
    # A worker's file names brokers; which cluster is meant says the command line.
    properties.pop("bootstrap.servers", None)
    return properties


def _check(properties: Mapping[str, str], workers: int, connectors: tuple[str, ...]) -> None:
    """What is wrong with the configs is told before a worker starts."""
    from engine.connect.connector_files import read_connector_file
    from engine.connect.errors import ConnectError
    from engine.connect.rest.config import RestConfig
    from engine.connect.runtime.worker_config import WorkerConfig

    try:
        rest = RestConfig.of(WorkerConfig(properties).resolved)
        for each in connectors:
            read_connector_file(each)
    except ConnectError as error:
        fail(str(error), USAGE)
    if workers > 1 and any(each.port for each in (*rest.listeners, *(rest.admin_listeners or ()))):
        raise click.UsageError(f"listeners name a port, and there are {workers} workers: let it be 0")
    several = next((name for name, value in properties.items() if "\n" in value), None)
    if several is not None:
        fail(f"{several}: a value of several lines cannot be handed to workers; put it into a file", USAGE)


def _run(
    place: WorkersDirectory, workers: int, properties: Mapping[str, str], connectors: tuple[str, ...], as_json: bool
) -> int:
    import asyncio
    import signal

    from engine.supervisor.connect_workers import ConnectWorkers
    from engine.supervisor.worker_processes import WorkerProcessesError
    from engine.world.real import real_world

    def tell(event: WorkerEvent) -> None:
        click.echo(json.dumps(event._asdict()) if as_json else _line(event))

    async def work() -> bool:
        found = ConnectWorkers(place, workers, properties, real_world().clock, tell, connectors=connectors)
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, found.stop)
        if not as_json:
            what = "1 worker" if workers == 1 else f"{workers} workers"
            click.echo(f"{place.group}: {what} over {properties['bootstrap.servers']}, logs in {place.workers}")
        return await found.run()

    try:
        return 0 if asyncio.run(work()) else FAILED
    except WorkerProcessesError as error:
        fail(str(error), FAILED)


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
