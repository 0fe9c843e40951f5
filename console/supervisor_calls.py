"""What commands say to the supervisor of an embedded cluster, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from engine.supervisor.data_dir import DataDir

FAILED, USAGE = 1, 2

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Where the cluster lives. Default: kconsole/default under your XDG data home.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def directory_of(path: str | None) -> DataDir:
    """The data directory that was named, or the default one."""
    from engine.supervisor.data_dir import DataDir, default_data_dir
    from engine.world.real import real_world

    world = real_world()
    return DataDir(world, path if path is not None else default_data_dir(world.environment()))


def call(directory: DataDir, command: str, **arguments: Any) -> Any:
    """A command's answer (``engine/supervisor/commands.py``); the process ends with a sentence if there is none."""
    from engine.supervisor.control_client import ControlClient, ControlError, NoSupervisor

    try:
        with ControlClient(directory.control_socket()) as control:
            return control.call(command, **arguments)
    except NoSupervisor as error:
        no_supervisor(directory, error)
    except ControlError as error:
        fail(str(error), FAILED)


def no_supervisor(directory: DataDir, error: Exception) -> NoReturn:
    """End: nobody answers at the control socket."""
    if directory.is_owned():
        fail(str(error), FAILED)
    fail(f"no cluster runs in {directory.path}: start it with `kconsole up`", FAILED)


def print_brokers(rows: list[dict[str, Any]]) -> None:
    """Brokers as the supervisor lists them."""
    click.echo(f"{'id':>4}  {'pid':>7}  {'state':<9} {'address':<22} why")
    for row in rows:
        pid = "-" if row["pid"] is None else row["pid"]
        click.echo(f"{row['id']:>4}  {pid:>7}  {row['state']:<9} {row['address']:<22} {row['why']}")


def fail(sentence: str, code: int) -> NoReturn:
    """End with a sentence on standard error."""
    click.echo(f"kconsole: {sentence}", err=True)
    sys.exit(code)


def check_zookeeper(properties: Mapping[str, str]) -> None:
    """What is wrong with ``zookeeper.*`` is told before a screen opens."""
    from console.gateway.zookeeper_options import ZooKeeperOptionsError, zookeeper_config

    try:
        zookeeper_config(properties)
    except ZooKeeperOptionsError as error:
        fail(str(error), USAGE)


def host_and_port(option: str, server: str) -> tuple[str, int]:
    """``h:p`` as a pair; IPv6 addresses stand in brackets. Raises: UsageError, which names the option."""
    host, _, port = server.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{option}: {server!r} is not host:port")
    return host.strip("[]"), int(port)
