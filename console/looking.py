"""One look at a cluster for commands that answer once: a whole picture, or the best there is when time is up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from console.supervisor_calls import DATA_DIR, FAILED, JSON, USAGE, call, directory_of, fail, host_and_port
from console.values.options import DEFAULT_VALUES, ValueOptions

if TYPE_CHECKING:
    from console.contexts import Context
    from console.gateway import Gateway
    from engine.supervisor.snapshot import ClusterSnapshot
    from engine.world import World

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

UNREACHABLE = 2
# How long a cluster may fail to answer at all before it counts as unreachable.
_PATIENCE_S = 3.0
# As :mod:`console.viewmodel.settling` calls it.
QUORUM = "the metadata quorum"


class Unreachable(Exception):
    """Nobody told of the cluster in time; the message says why."""


class Look(NamedTuple):
    """A picture, and what was waited for in vain."""

    snapshot: ClusterSnapshot
    missing: tuple[str, ...]


CONTEXT_KEY = "kconsole.context"


def _note_context(context: click.Context, _: click.Parameter, name: str | None) -> None:
    if name is not None:
        # Commands and the group above them share it: `kconsole --context prod health` is the same.
        context.meta[CONTEXT_KEY] = name


CONTEXT = click.option(
    "--context",
    metavar="NAME",
    expose_value=False,
    callback=_note_context,
    help="A cluster of contexts.yaml; see kconsole context -h. `embedded` is the one of kconsole's own.",
)


def chosen_context(*, other: bool) -> Context | None:
    """The context that ``--context`` names; without it the default of contexts.yaml, unless the command line says
    which cluster is meant (``other``). Ends the process with a sentence if there is no such context."""
    from console.contexts import ContextError, user_contexts

    current = click.get_current_context(silent=True)
    name = current.meta.get(CONTEXT_KEY) if current is not None else None
    if name is not None and other:
        raise click.UsageError("--context says which cluster is meant: leave out the other options that do")
    if other:
        return None
    try:
        known = user_contexts().read()
        return known.get(name or known.default) if name or known.default else None
    except ContextError as error:
        fail(str(error), USAGE)


_ADMIN_CONFIG_KEY = "kconsole.command_config"


def _note_config(context: click.Context, _: click.Parameter, path: str | None) -> None:
    if path is not None:
        context.meta[_ADMIN_CONFIG_KEY] = path


def embedded_directory(option: str, data_dir: str | None) -> str:
    """The data directory of the cluster that is meant, by its context too, for an option that embedded ones alone have.
    Ends the process with a sentence if another is meant."""
    context = chosen_context(other=data_dir is not None)
    if context is not None and not context.embedded:
        raise click.UsageError(
            f"{option} is for the embedded cluster, not for the context {context.name}: say --data-dir"
        )
    # From here on the directory says which; a context beside it would be said twice.
    click.get_current_context().meta.pop(CONTEXT_KEY, None)
    return directory_of(data_dir or (context.data_dir if context is not None else None) or None).path


def takes_context(command: click.Command) -> bool:
    """Whether a command, or some command of a group, is about a cluster that ``--context`` can name."""
    if isinstance(command, click.Group):
        return any(takes_context(each) for each in command.commands.values())
    return any(parameter.name == "context" for parameter in command.params)


def admin_options(command: F) -> F:
    """Which cluster, for moves: ``bootstrap_servers``; the other two are noted for :func:`admin_cluster`."""
    for option in (
        CONTEXT,
        click.option(
            "--command-config",
            type=click.Path(exists=True, dir_okay=False, readable=True),
            expose_value=False,
            callback=_note_config,
            help="Client properties for --bootstrap-servers, with Kafka's names.",
        ),
        click.option("--bootstrap-servers", metavar="H:P,…", help="Of any Kafka cluster, instead of the embedded one."),
    ):
        command = option(command)
    return command


def admin_cluster(
    bootstrap_servers: str | None, data_dir: str | None, *, changes: bool
) -> tuple[list[tuple[str, int]], World]:
    """Where the cluster is that :func:`admin_options` name, and the world through which its connections are secured.
    Ends the process with a sentence if there is none, or if nothing may be changed there."""
    from console.contexts import ContextError, options_of
    from engine.client.security.properties import SecurityError
    from engine.client.security.world import secured
    from engine.model.properties import read_properties
    from engine.world.real import real_world

    file = click.get_current_context().meta.get(_ADMIN_CONFIG_KEY)
    if file is not None and bootstrap_servers is None:
        raise click.UsageError("--command-config goes with --bootstrap-servers")
    properties: Mapping[str, str] = {}
    context = chosen_context(other=bootstrap_servers is not None or data_dir is not None)
    if context is not None:
        if context.read_only and changes:
            fail(f"the context {context.name} is read-only", FAILED)
        try:
            options = options_of(context)
        except ContextError as error:
            fail(f"{context.name}: {error}", FAILED)
        bootstrap_servers, data_dir, properties = options.bootstrap_servers, options.data_dir, options.command_config
    elif file is not None:
        with open(file, encoding="utf-8") as opened:
            properties = read_properties(opened.read())
    if bootstrap_servers is None:
        bootstrap_servers = call(directory_of(data_dir), "status")["bootstrap_servers"]
    addresses = [host_and_port("--bootstrap-servers", each) for each in str(bootstrap_servers).split(",")]
    try:
        return addresses, secured(real_world(), properties)
    except SecurityError as error:
        fail(str(error), FAILED)


_CLUSTER = (
    CONTEXT,
    click.option("--bootstrap-servers", metavar="H:P,…", help="Of any Kafka cluster, instead of the embedded one."),
    click.option(
        "--command-config",
        type=click.Path(exists=True, dir_okay=False, readable=True),
        help="Client properties for --bootstrap-servers, with Kafka's names.",
    ),
    DATA_DIR,
)
TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds for all; a broker that does not answer takes two of them.",
)


def cluster_options(command: F) -> F:
    """The options that say which cluster: ``bootstrap_servers``, ``command_config``, ``data_dir``."""
    for option in reversed(_CLUSTER):
        command = option(command)
    return command


def one_look_options(command: F) -> F:
    """The same, with ``timeout_s`` and ``as_json``."""
    return cluster_options(TIMEOUT(JSON(command)))


def gateway_of(
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    *,
    unreachable: int = UNREACHABLE,
    read_only: bool = True,
    values: ValueOptions = DEFAULT_VALUES,
) -> Gateway:
    """The gateway that the options ask for; unless told otherwise it refuses every act. Ends the process with a
    sentence if there is none."""
    from console.gateway import GatewayError
    from console.gateway.opening import open_gateway
    from console.options import ConsoleOptions
    from engine.client.security.secret import ClientProperties

    properties: dict[str, str] = {}
    context = chosen_context(other=any(each is not None for each in (bootstrap_servers, command_config, data_dir)))
    if context is not None:
        from console.contexts import ContextError, options_of

        try:
            options = options_of(context, read_only=read_only)
            options = options._replace(values=values.over(options.values))
        except ContextError as error:
            fail(f"{context.name}: {error}", unreachable)
    elif bootstrap_servers is None:
        if command_config is not None:
            raise click.UsageError("--command-config goes with --bootstrap-servers")
        directory = directory_of(data_dir)
        if not directory.is_owned():
            fail(f"no cluster runs in {directory.path}: start it with `kconsole up`", unreachable)
        options = ConsoleOptions(control_socket=directory.control_socket(), read_only=read_only, values=values)
    else:
        if data_dir is not None:
            raise click.UsageError("--data-dir is for the embedded cluster, not for --bootstrap-servers")
        for server in bootstrap_servers.split(","):
            host_and_port("--bootstrap-servers", server)
        if command_config is not None:
            from engine.model.properties import read_properties

            with open(command_config, encoding="utf-8") as file:
                properties = read_properties(file.read())
        options = ConsoleOptions(bootstrap_servers, ClientProperties(properties), read_only=read_only, values=values)
    try:
        return open_gateway(options)
    except GatewayError as error:
        fail(str(error), unreachable)


async def look(gateway: Gateway, timeout_s: float, *, without: Iterable[str] = ()) -> Look:
    """The first whole picture; when time is up, the last one.

    Args:
        without: beginnings of what need not be waited for, of :func:`console.viewmodel.settling.missing`.

    Raises:
        Unreachable: no picture of the cluster came at all.
    """
    from console.gateway import GatewayError
    from console.viewmodel.settling import missing

    ignored = tuple(without)
    loop = asyncio.get_running_loop()
    failing_since_s: float | None = None
    quorum_only_since_s: float | None = None
    last: Look | None = None
    problem = ""
    try:
        async with asyncio.timeout(timeout_s):
            async for snapshot in gateway.snapshots():
                waited = tuple(each for each in missing(snapshot) if not (ignored and each.startswith(ignored)))
                problem = snapshot.error
                if snapshot.metadata_observed_at_ms:
                    last = Look(snapshot, waited)
                    if not waited:
                        break
                    # Where voters are down nobody may ever tell of the quorum: all else is not held up for long.
                    only_quorum = waited == (QUORUM,)
                    quorum_only_since_s = (quorum_only_since_s or loop.time()) if only_quorum else None
                    if quorum_only_since_s is not None and loop.time() - quorum_only_since_s >= _PATIENCE_S:
                        break
                elif problem:
                    # Every address was tried, again and again: nobody is there, or all hang.
                    failing_since_s = failing_since_s or loop.time()
                    if loop.time() - failing_since_s >= _PATIENCE_S:
                        break
    except TimeoutError:
        pass
    except GatewayError as error:
        problem = str(error)
    if last is None:
        raise Unreachable(problem or f"nobody answered within {timeout_s:g} s")
    return last


def ask(gateway: Gateway, question: Callable[[Gateway], Awaitable[T]], *, as_json: bool = False) -> T:
    """Run a question to the end, and let go of the cluster. Unreachable or refused: a sentence, and exit code 2."""
    from console.gateway import GatewayError

    async def asked() -> T:
        try:
            return await question(gateway)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await gateway.close()

    try:
        return asyncio.run(asked())
    except (Unreachable, GatewayError) as error:
        if as_json:
            click.echo(json.dumps({"status": "unreachable", "error": str(error)}))
        fail(str(error), UNREACHABLE)
    except KeyboardInterrupt:
        sys.exit(130)
