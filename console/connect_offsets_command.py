"""``kconsole connect offsets``: how far a connector has come, set anew or forgotten while it is stopped."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from console.connect_places import place_options, refusal, rest_of
from console.gateway.connect_http import ConnectRefused, NoConnectWorker
from console.supervisor_calls import FAILED, JSON, fail

if TYPE_CHECKING:
    from console.gateway.connect_http import ConnectRest

_POSITION = re.compile(r"(.+):(\d+)=(\d+|none)")


@click.group(
    epilog="""\b
Examples:
  kconsole connect offsets get orders-source
  kconsole connect offsets set orders-sink --to orders:0=42 --to orders:1=none
  kconsole connect offsets reset orders-sink"""
)
def offsets() -> None:
    """How far connectors have come. A connector whose offsets are changed has to be stopped."""


def _ask(
    url: str | None,
    token_file: str | None,
    group: str | None,
    bootstrap_servers: str | None,
    data_dir: str | None,
    method: str,
    name: str,
    body: Any = None,
) -> Any:
    rest: ConnectRest = rest_of(url, token_file, group, bootstrap_servers, data_dir)
    try:
        return rest.ask(method, ("connectors", name, "offsets"), body)
    except ConnectRefused as error:
        fail(refusal(rest, error, (name,)), FAILED)
    except NoConnectWorker as error:
        fail(str(error), FAILED)


@offsets.command(epilog="\b\nExamples:\n  kconsole connect offsets get orders-source --json")
@click.argument("name")
@place_options
@JSON
def get(name: str, as_json: bool, **place: Any) -> None:
    """Show offsets: of a source by its own partitions, of a sink by topics."""
    found = _ask(**place, method="GET", name=name)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if not found["offsets"]:
        click.echo("none yet")
    for each in found["offsets"]:
        click.echo(f"{json.dumps(each['partition'], ensure_ascii=False)}  {json.dumps(each['offset'])}")


@offsets.command(
    "set",
    epilog="""\b
Examples:
  kconsole connect offsets set orders-sink --to orders:0=42
  kconsole connect offsets set orders-source --partition '{"filename": "a.txt"}' --offset '{"position": 0}'
  kconsole connect offsets set orders-source --file offsets.json      as `offsets get --json` prints them""",
)
@click.argument("name")
@click.option("--to", "positions", metavar="TOPIC:PARTITION=OFFSET", multiple=True, help="Of a sink; none forgets it.")
@click.option("--partition", metavar="JSON", help="Of a source.")
@click.option("--offset", metavar="JSON", help="For --partition; null forgets it.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, readable=True), help="JSON with all of them.")
@place_options
@JSON
def set_(
    name: str,
    positions: tuple[str, ...],
    partition: str | None,
    offset: str | None,
    file: str | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Set offsets of a connector that is stopped."""
    if sum((bool(positions), partition is not None, file is not None)) != 1 or (partition is None) != (offset is None):
        raise click.UsageError("say --to, or --partition with --offset, or --file")
    if positions:
        body = {"offsets": [_position(each) for each in positions]}
    elif partition is not None:
        body = {"offsets": [{"partition": _json("--partition", partition), "offset": _json("--offset", offset or "")}]}
    else:
        with open(str(file), encoding="utf-8") as opened:
            body = _json(str(file), opened.read())
    told = _ask(**place, method="PATCH", name=name, body=body)
    click.echo(json.dumps(told) if as_json else told["message"])


@offsets.command(epilog="\b\nExamples:\n  kconsole connect offsets reset orders-source")
@click.argument("name")
@place_options
@JSON
def reset(name: str, as_json: bool, **place: Any) -> None:
    """Forget all offsets of a connector that is stopped: it begins anew."""
    told = _ask(**place, method="DELETE", name=name)
    click.echo(json.dumps(told) if as_json else told["message"])


def _position(text: str) -> dict[str, Any]:
    found = _POSITION.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--to: {text!r} is not TOPIC:PARTITION=OFFSET")
    offset = None if found[3] == "none" else {"kafka_offset": int(found[3])}
    return {"partition": {"kafka_topic": found[1], "kafka_partition": int(found[2])}, "offset": offset}


def _json(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is no JSON: {error}") from None
