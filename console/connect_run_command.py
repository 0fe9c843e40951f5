"""``kconsole connect run``: workers of Kafka Connect over any cluster, kept running by this process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from console.client_cluster import client_cluster
from console.connect_places import DEFAULT_GROUP, RunPlace, connect_directory
from console.looking import cluster_options
from console.supervisor_calls import FAILED, JSON, USAGE, fail

if TYPE_CHECKING:
    from engine.supervisor.worker_processes import WorkerEvent

_CONFIG_FILE = "worker.properties"
_CLIENTS = ("producer", "consumer")
_UP = "worker started at "
_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"


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
@click.option("--group", metavar="ID", help=f"The group of workers: group.id. Default: {DEFAULT_GROUP}.")
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
    import importlib.util

    if importlib.util.find_spec("aiohttp") is None:
        fail("a Connect worker needs aiohttp: pip install 'kconsole[connect]'", FAILED)
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
    place = RunPlace(connect_directory(attached, cluster.data_dir), name)
    # Connect's clients have their configs apart from the worker's.
    of_clients = {f"{kind}.{name}": value for kind in _CLIENTS for name, value in cluster.security.items()}
    properties = {**_defaults(place, standalone), **cluster.security, **of_clients, **given}
    properties["bootstrap.servers"] = cluster.bootstrap_servers
    if not standalone:
        properties["group.id"] = place.group
    _check(properties, workers, connectors)
    sys.exit(_run(place, workers, properties, connectors, as_json))


def _defaults(place: RunPlace, standalone: bool) -> dict[str, str]:
    """As in Kafka's examples, but for topics as safe as the cluster makes its own, and for REST."""
    defaults = {
        "key.converter": _CONVERTER,
        "value.converter": _CONVERTER,
        "offset.flush.interval.ms": "10000",
        "listeners": "http://127.0.0.1:0",
        "rest.token.file": place.token_file,
    }
    if standalone:
        return defaults | {"offset.storage.file.filename": os.path.join(place.workers, "offsets")}
    for kind, name in (("offset", "offsets"), ("config", "configs"), ("status", "status")):
        prefix = "connect" if place.group == DEFAULT_GROUP else place.group
        defaults[f"{kind}.storage.topic"] = f"{prefix}-{name}"
        defaults[f"{kind}.storage.replication.factor"] = "-1"
    return defaults


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
    place: RunPlace, workers: int, properties: Mapping[str, str], connectors: tuple[str, ...], as_json: bool
) -> int:
    import asyncio
    import signal

    from engine.supervisor.broker_process import python_command
    from engine.supervisor.worker_processes import WorkerProcesses, WorkerProcessesError
    from engine.world.real import real_world

    file = os.path.join(place.workers, _CONFIG_FILE)
    urls: dict[int, str] = {}

    def tell(event: WorkerEvent) -> None:
        before = dict(urls)
        if event.kind == "log" and event.detail.startswith(_UP):
            urls[event.worker] = event.detail.removeprefix(_UP)
        elif event.kind in ("started", "ended", "stopped"):
            urls.pop(event.worker, None)
        if urls != before:
            _write_workers(place, urls)
        click.echo(json.dumps(event._asdict()) if as_json else _line(event))

    command = python_command("engine.connect.runtime", file, *(os.path.abspath(each) for each in connectors))

    async def work() -> bool:
        found = WorkerProcesses(
            command,
            workers,
            place.workers,
            real_world().clock,
            tell,
            told=rf"{_UP}.*|worker stopping|connector .*",
            started_by="`kconsole connect run` of this group",
        )
        _write_secretly(file, "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items()))
        try:
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, found.stop)
            if not as_json:
                what = "1 worker" if workers == 1 else f"{workers} workers"
                click.echo(f"{place.group}: {what} over {properties['bootstrap.servers']}, logs in {place.workers}")
            return await found.run()
        finally:
            for each in (file, place.workers_file):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each)

    try:
        return 0 if asyncio.run(work()) else FAILED
    except WorkerProcessesError as error:
        fail(str(error), FAILED)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")


def _write_workers(place: RunPlace, urls: Mapping[int, str]) -> None:
    temporary = f"{place.workers_file}.new"
    _write_secretly(temporary, json.dumps({"urls": [urls[each] for each in sorted(urls)]}) + "\n")
    os.replace(temporary, place.workers_file)


def _write_secretly(file: str, text: str) -> None:
    """For this user's eyes only: there may be passwords."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


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
