"""The embedded cluster under a command: found running, or started for it and stopped after it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.looking import CONTEXT
from console.supervisor_calls import DATA_DIR, FAILED, USAGE, fail

if TYPE_CHECKING:
    from engine.supervisor.data_dir import DataDir
    from engine.supervisor.spec_types import ClusterSpec

F = TypeVar("F", bound=Callable[..., Any])

CONFIG = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Cluster file; see sample_cluster.yaml. Default: the one last used with the data directory, else the sample.",
)
FRESH = click.option("--fresh", is_flag=True, help="Delete the data directory's cluster first.")
NO_WORKLOAD = click.option("--no-workload", is_flag=True, help="Leave the file's workload stopped.")
_WHICH = (
    CONFIG,
    DATA_DIR,
    FRESH,
    NO_WORKLOAD,
    CONTEXT,
    click.option("--bootstrap-servers", metavar="H:P,…", help="Attach to this Kafka cluster instead."),
    click.option(
        "--command-config",
        type=click.Path(exists=True, dir_okay=False, readable=True),
        help="Client properties for the attached cluster, with Kafka's names: TLS, SASL, …",
    ),
    click.option(
        "--zookeeper",
        metavar="H:P,…/CHROOT",
        help="The attached cluster's zookeeper.connect, if ZooKeeper coordinates it: for the screen :zookeeper.",
    ),
    click.option("--read-only", is_flag=True, help="Refuse every act that changes something."),
)


def cluster_options(command: F) -> F:
    """Which cluster a console is over, embedded or attached, and whether it may change it."""
    for option in reversed(_WHICH):
        command = option(command)
    return command


@contextlib.contextmanager
def running_cluster(
    directory: DataDir, config: str | None, fresh: bool, no_workload: bool, *, no_start: bool = False
) -> Iterator[bool]:
    """The cluster of a data directory, which runs inside the ``with``; gives whether it was started for it, and so is
    stopped afterwards. Ends the process with a sentence if there is none.

    Args:
        no_start: it must run already.
    """
    from engine.supervisor.control_client import ControlClient, NoSupervisor
    from engine.supervisor.launch import LaunchFailed, launch_supervisor, wait_for_supervisor, wait_until_stopped

    process = None
    runs = directory.is_owned()
    if runs:
        if fresh or config is not None:
            fail(
                f"a supervisor runs for {directory.path} already: stop it (kconsole shutdown) before "
                f"{'--fresh' if fresh else '--config'}, or use another --data-dir",
                USAGE,
            )
        try:
            runs = wait_for_supervisor(directory)
            if not runs and directory.is_owned() and not no_start:
                say("this cluster is being stopped; it is started again when that is done …")
                wait_until_stopped(directory)
        except LaunchFailed as error:
            fail(str(error), error.exit_code)
    if not runs and no_start:
        fail(f"no cluster runs in {directory.path}: start it with `kconsole up`", FAILED)
    if not runs:
        # The supervisor would find the same mistakes, but its standard error is a file.
        load_spec(directory, config, fresh)
        say("starting the cluster …")
        arguments = [*(["--config", config] if config else []), *(["--fresh"] if fresh else [])]
        try:
            process = launch_supervisor(directory, [*arguments, *(["--no-workload"] if no_workload else [])])
        except LaunchFailed as error:
            click.echo(str(error), err=True)
            sys.exit(error.exit_code)
    try:
        yield process is not None
    finally:
        if process is not None:
            say("stopping the cluster …")
            try:
                with ControlClient(directory.control_socket()) as control:
                    control.call("shutdown")
            except NoSupervisor:
                pass
            process.wait()
        elif directory.is_owned():
            say(f"the cluster in {directory.path} goes on running; `kconsole shutdown` stops it")


def load_spec(directory: DataDir, config: str | None, fresh: bool) -> tuple[str, str, ClusterSpec]:
    """The cluster file's name, its text, and what it says. Ends the process with all mistakes if it is wrong."""
    from engine.supervisor.cluster_spec import parse_cluster_spec
    from engine.supervisor.launch import spec_file
    from engine.supervisor.yaml_nodes import SpecErrors

    name = spec_file(directory, config, fresh)
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        spec, warnings = parse_cluster_spec(text)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {name}: {error}", USAGE)
    except SpecErrors as error:
        from engine.supervisor.ports import taken_ports

        error.add(taken_ports(error.read))
        click.echo(error.in_file(name), err=True)
        sys.exit(USAGE)
    for warning in warnings:
        click.echo(f"{warning.in_file(name)} (warning)", err=True)
    return name, text, spec


def say(sentence: str) -> None:
    """On standard error; the terminal may be gone."""
    with contextlib.suppress(OSError):
        click.echo(sentence, err=True)
