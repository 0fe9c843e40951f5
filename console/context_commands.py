"""``kconsole context``: the clusters that a user has, by name."""

from __future__ import annotations

import json
from typing import Any

import click

from console.contexts import COLOURS, Context, ContextError, user_contexts
from console.supervisor_calls import FAILED, JSON, USAGE, fail


@click.group(
    epilog="""\b
Examples:
  kconsole context add prod --bootstrap-servers kafka-1:9092,kafka-2:9092 --colour red --read-only \\
      --property security.protocol=SASL_SSL --property sasl.mechanism=SCRAM-SHA-512 \\
      --property sasl.username=me --property 'sasl.password=${env:PROD_PASSWORD}'
  kconsole context add staging --command-config ~/.config/kcat.conf
  kconsole context add dev --bootstrap-servers localhost:9092 --registry http://localhost:8081 --connect http://localhost:8083
  kconsole --context prod              the console over it; `:ctx` there goes to another
  kconsole lag --context prod          every command takes it
  kconsole context use prod            what is opened when none is named

\b
They stand in ~/.config/kconsole/contexts.yaml; see docs/console.md."""
)
def context() -> None:
    """The clusters that you have, by name: add, list, remove, use."""


@context.command("list")
@JSON
def list_contexts(as_json: bool) -> None:
    """All contexts; `*` is the default. Nothing is connected; `:ctx` in the console shows how they do."""
    try:
        known = user_contexts().read()
    except ContextError as error:
        fail(str(error), USAGE)
    if as_json:
        rows = [{**_document(each), "default": each.name == known.default} for each in known.by_name.values()]
        click.echo(json.dumps(rows))
        return
    for each in known.by_name.values():
        mark = "*" if each.name == known.default else " "
        where = each.bootstrap_servers or each.command_config or each.data_dir or "the embedded cluster"
        flags = " ".join(word for word in (each.colour, "read-only" if each.read_only else "") if word)
        click.echo(f"{mark} {each.name:<20} {where}{f'  ({flags})' if flags else ''}")


def _document(each: Context) -> dict[str, Any]:
    return {
        "name": each.name,
        "bootstrap_servers": each.bootstrap_servers or None,
        "colour": each.colour or None,
        "read_only": each.read_only,
        "command_config": each.command_config or None,
        "data_dir": each.data_dir or None,
        "registry": each.registry or None,
        "connect": each.connect or None,
        "zookeeper": each.zookeeper or None,
        "properties": each.properties.shown(),
    }


@context.command("add")
@click.argument("name")
@click.option("--bootstrap-servers", metavar="H:P,…", help="Default: bootstrap.servers of --command-config.")
@click.option(
    "--command-config",
    type=click.Path(exists=True, dir_okay=False, readable=True, resolve_path=True),
    help="Its client properties stay in this file: a client.properties of Kafka's, or a kcat.conf.",
)
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", help="A client property; repeat.")
@click.option("--colour", help=f"{', '.join(COLOURS)}, or #rrggbb.")
@click.option("--read-only", is_flag=True, help="Refuse every act there.")
@click.option("--data-dir", type=click.Path(file_okay=False, resolve_path=True), help="An embedded cluster's.")
@click.option(
    "--registry", metavar="URL", help="Its schema registry: http://HOST:PORT, with 'USER:${env:NAME}@' before."
)
@click.option("--connect", metavar="URL,…", help="Its workers of Kafka Connect, written likewise.")
@click.option("--zookeeper", metavar="H:P,…/CHROOT", help="Its zookeeper.connect, if ZooKeeper coordinates it.")
def add(
    name: str,
    bootstrap_servers: str | None,
    command_config: str | None,
    properties: tuple[str, ...],
    colour: str | None,
    read_only: bool,
    data_dir: str | None,
    registry: str | None,
    connect: str | None,
    zookeeper: str | None,
) -> None:
    """Add a context, or write it anew. The file is written whole: comments in it are lost.

    Credentials are named, not given: ${env:NAME} is a variable of the environment, ${file:PATH} a file's content,
    ${file:PATH:KEY} a property in it. They are read whenever the context is opened.
    """
    from engine.client.security.secret import is_sensitive

    own: dict[str, str] = {}
    for each in properties:
        key, separator, value = each.partition("=")
        if not separator or not key.strip():
            raise click.UsageError(f"--property {key!r} is not NAME=VALUE")
        if is_sensitive(key) and "${" not in value:
            raise click.UsageError(
                f"--property {key}: others see what stands on a command line: write '${{env:NAME}}' or '${{file:PATH}}'"
            )
        own[key.strip()] = value
    _check_urls(registry, connect)
    said: dict[str, Any] = {
        "bootstrap-servers": bootstrap_servers,
        "data-dir": data_dir,
        "colour": colour,
        "read-only": read_only,
        "command-config": command_config,
        "registry": registry,
        "connect": connect,
        "zookeeper": zookeeper,
        "properties": own,
    }
    try:
        user_contexts().put(name, {key: value for key, value in said.items() if value})
    except ContextError as error:
        fail(str(error), USAGE)
    click.echo(f"{name} is a context: kconsole --context {name}")


def _check_urls(registry: str | None, connect: str | None) -> None:
    """Raises: UsageError: one is none, as far as that can be told before ``${…}`` are filled in."""
    from console.gateway.connect_http import place_of
    from console.values.registry import RegistryConfig

    try:
        if registry and "${" not in registry:
            RegistryConfig.parse(registry)
        if connect and "${" not in connect:
            place_of(connect)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@context.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a context; nothing happens to its cluster."""
    try:
        user_contexts().remove(name)
    except ContextError as error:
        fail(str(error), FAILED)
    click.echo(f"{name} is no context any more")


@context.command("use")
@click.argument("name")
def use(name: str) -> None:
    """Open this one whenever none is named."""
    try:
        user_contexts().use(name)
    except ContextError as error:
        fail(str(error), FAILED)
    click.echo(f"{name} is opened when no context is named")
