"""The cluster that a command's own clients work on for long: workers of streams and of Connect, a schema registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from console.looking import chosen_context
from console.supervisor_calls import FAILED, call, directory_of, fail, host_and_port

_SECURITY = ("security.protocol", "sasl.", "ssl.")


class ClientCluster(NamedTuple):
    """Where brokers are, and what secures connections to them, under Kafka's names.

    ``data_dir`` is of the embedded cluster, as given, and ``status`` what its supervisor answers; that is None for a
    cluster that somebody else runs.
    """

    bootstrap_servers: str
    security: Mapping[str, str]
    data_dir: str | None
    status: Mapping[str, Any] | None


def client_cluster(
    bootstrap_servers: str | None, command_config: str | None, data_dir: str | None, *, what: str
) -> ClientCluster:
    """The cluster that options or a context name. Ends the process with a sentence if there is none.

    Args:
        what: wants to write there, as in "an application".
    """
    from engine.model.properties import read_properties

    properties: Mapping[str, str] = {}
    context = chosen_context(other=any(each is not None for each in (bootstrap_servers, command_config, data_dir)))
    if context is not None:
        from console.contexts import ContextError, options_of

        if context.read_only:
            fail(f"the context {context.name} is read-only, and {what} writes", FAILED)
        try:
            options = options_of(context)
        except ContextError as error:
            fail(f"{context.name}: {error}", FAILED)
        bootstrap_servers, data_dir, properties = options.bootstrap_servers, options.data_dir, options.command_config
    elif command_config is not None:
        if bootstrap_servers is None:
            raise click.UsageError("--command-config goes with --bootstrap-servers")
        with open(command_config, encoding="utf-8") as file:
            properties = read_properties(file.read())
    elif bootstrap_servers is not None and data_dir is not None:
        raise click.UsageError("--data-dir is for the embedded cluster, not for --bootstrap-servers")
    security = {name: value for name, value in properties.items() if name.startswith(_SECURITY)}
    if bootstrap_servers is None:
        answer = call(directory_of(data_dir), "status")
        return ClientCluster(answer["bootstrap_servers"], security, data_dir, answer)
    for server in bootstrap_servers.split(","):
        host_and_port("--bootstrap-servers", server)
    return ClientCluster(bootstrap_servers, security, data_dir, None)
