"""``kconsole web``: the console in a browser, over one cluster for all tabs."""

from __future__ import annotations

import json

import click

from console.embedded_cluster import cluster_options, running_cluster
from console.looking import chosen_context
from console.supervisor_calls import FAILED, JSON, directory_of, fail, host_and_port
from console.value_options import value_options


@click.command(
    epilog="""\b
Examples:
  kconsole web                                      the embedded cluster; open the address that is printed
  kconsole web --bootstrap-servers kafka-1:9092 --read-only
  ssh -L 8765:127.0.0.1:8765 host kconsole web      from another machine"""
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="On 127.0.0.1; 0: any free one, which is printed.",
)
@cluster_options
@value_options
@JSON
def web(
    port: int,
    config: str | None,
    data_dir: str | None,
    fresh: bool,
    no_workload: bool,
    bootstrap_servers: str | None,
    command_config: str | None,
    zookeeper: str | None,
    read_only: bool,
    registry: str | None,
    masking: str | None,
    as_json: bool,
) -> None:
    """Serve the console to a browser on this machine until SIGINT or SIGTERM.

    Every tab has a console of its own over the same cluster. Closing a tab stops nothing. When the server ends, it
    stops the embedded cluster if it started it. Who has the printed address can do all that you can do here: it has a
    token that is new each time, and is served on 127.0.0.1 only.
    """
    try:
        from console.web.server import CannotListen, WebServer
    except ModuleNotFoundError as error:
        fail(f"web needs {error.name}, which is not installed: pip install 'kconsole[web]'", FAILED)
    import asyncio

    from engine.supervisor.broker_process import python_command

    command = python_command("console.cli", *(["--read-only"] if read_only else []))
    for option, value in (
        ("--command-config", command_config),
        ("--zookeeper", zookeeper),
        ("--registry", registry),
        ("--masking", masking),
    ):
        command += [option, value] if value is not None else []

    def told(address: str) -> None:
        click.echo(json.dumps({"url": address}) if as_json else f"kconsole is at {address}")

    def serve() -> None:
        try:
            asyncio.run(WebServer(command, port).run(told))
        except CannotListen as error:
            fail(str(error), FAILED)

    named = (config, data_dir, bootstrap_servers, command_config, zookeeper)
    chosen = chosen_context(other=fresh or any(each is not None for each in named))
    if chosen is not None and not chosen.embedded:
        command += ["--context", chosen.name]
        serve()
        return
    if chosen is not None:
        data_dir = chosen.data_dir or None
        command += ["--read-only"] if chosen.read_only and not read_only else []
    if bootstrap_servers is not None:
        embedded = [name for name, value in (("config", config), ("data-dir", data_dir), ("fresh", fresh)) if value]
        if embedded:
            raise click.UsageError(f"--{embedded[0]} is for the embedded cluster, not for --bootstrap-servers")
        for server in bootstrap_servers.split(","):
            host_and_port("--bootstrap-servers", server)
        command += ["--bootstrap-servers", bootstrap_servers]
        serve()
        return
    for option, value in (("--command-config", command_config), ("--zookeeper", zookeeper)):
        if value is not None:
            raise click.UsageError(f"{option} goes with --bootstrap-servers")
    directory = directory_of(data_dir)
    command += ["--data-dir", directory.path, "--no-start"]
    with running_cluster(directory, config, fresh, no_workload):
        serve()
