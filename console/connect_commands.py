"""``kconsole connect``: workers and connectors of Kafka Connect, kconsole's or Java's, over their REST."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from console.connect_offsets_command import offsets
from console.connect_places import place_options, refusal, rest_of
from console.connect_run_command import run
from console.gateway.connect_http import ConnectRefused, NoConnectWorker
from console.supervisor_calls import FAILED, JSON, USAGE, fail
from console.viewmodel.connect_told import ConnectorTold, connector_told, first_line, problems_of

if TYPE_CHECKING:
    from console.gateway.connect_http import ConnectRest
    from engine.connect.connector_files import ConnectorFile

_SETTLE_S = 30.0
_LOOK_S = 0.1
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, readable=True))
_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group(
    epilog="""\b
Examples:
  kconsole connect run --workers 2
  kconsole connect apply orders-source.json
  kconsole connect list
  kconsole connect errors
  kconsole connect offsets get orders-source
  kconsole connect list --connect-url http://connect-1:8083         a Java worker's, too"""
)
def connect() -> None:
    """Kafka Connect: sources and sinks that link topics with other systems; see docs/connect.md."""


connect.add_command(run)
connect.add_command(offsets)


def _command(name: str, examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of the group that asks workers: ``rest`` and ``as_json`` are what it is given besides its own."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def call(
            url: str | None,
            token_file: str | None,
            group: str | None,
            bootstrap_servers: str | None,
            data_dir: str | None,
            **own: Any,
        ) -> None:
            rest = rest_of(url, token_file, group, bootstrap_servers, data_dir)
            try:
                function(rest=rest, **own)
            except ConnectRefused as error:
                names = own.get("names") or [each for each in (own.get("name"),) if each]
                kind = "connector-plugins" if name == "plugins" else "connectors"
                fail(refusal(rest, error, names, kind), FAILED)
            except NoConnectWorker as error:
                fail(str(error), FAILED)

        call.__doc__ = function.__doc__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        epilog = f"\b\nExamples:\n{examples}\n\n\b\nExit codes: 0 done, 1 refused or no worker, 2 wrong use."
        return connect.command(name, epilog=epilog)(place_options(JSON(call)))

    return decorate


@_command("list", "  kconsole connect list\n  kconsole connect list --json")
def list_(rest: ConnectRest, as_json: bool) -> None:
    """List connectors with their states."""
    found = _connectors(rest)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found]))
        return
    if not found:
        click.echo("no connectors: `kconsole connect apply FILE` creates one")
        return
    rows = [("name", "type", "state", "tasks", "failed", "worker", "class")]
    rows += [
        (
            each.name,
            each.type,
            each.state,
            f"{each.running}/{len(each.tasks)}",
            str(each.failed),
            each.worker,
            each.kind,
        )
        for each in found
    ]
    _print_table(rows)


@_command("status", "  kconsole connect status\n  kconsole connect status orders-source")
@click.argument("names", nargs=-1, metavar="[NAME]…")
def status(names: tuple[str, ...], rest: ConnectRest, as_json: bool) -> None:
    """Show states of connectors and their tasks; exit code 1 if one has failed."""
    found = [_one(rest, each) for each in names] if names else _connectors(rest)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found]))
    else:
        rows = [("connector", "task", "state", "worker", "error")]
        for each in found:
            rows.append((each.name, "", each.state, each.worker, first_line(each.trace)))
            rows += [("", str(task.number), task.state, task.worker, first_line(task.trace)) for task in each.tasks]
        _print_table(rows)
    if any(problems_of(each) for each in found):
        sys.exit(FAILED)


@_command("describe", "  kconsole connect describe orders-source")
@click.argument("name")
def describe(name: str, rest: ConnectRest, as_json: bool) -> None:
    """Show all of a connector: states, configs (secrets hidden), topics, offsets, tasks."""
    from console.viewmodel.connect_told import hidden

    one = _one(rest, name)
    config = hidden(one.config)
    topics = _topics(rest, name)
    found = rest.ask("GET", ("connectors", name, "offsets"))["offsets"]
    if as_json:
        document = {**one.to_json(), "config": config, "topics": topics, "offsets": found}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{one.name}: {one.type}, {one.state} on {one.worker or 'no worker'}")
    for problem in problems_of(one):
        click.echo(problem)
    click.echo("config:")
    for key in sorted(config):
        click.echo(f"  {key}={config[key]}")
    click.echo(f"tasks: {', '.join(f'{task.number} {task.state}' for task in one.tasks) or 'none'}")
    click.echo(f"topics: {', '.join(topics) or 'none yet'}")
    click.echo(f"offsets: {len(found) or 'none yet'}")
    for each in found:
        click.echo(f"  {json.dumps(each['partition'])} {json.dumps(each['offset'])}")


@_command("create", "  kconsole connect create orders-source.json")
@_FILES
def create(files: tuple[str, ...], rest: ConnectRest, as_json: bool) -> None:
    """Create connectors from files: JSON as REST takes it, YAML, or properties."""
    for each in _read(files):
        body: dict[str, Any] = {"name": each.name, "config": dict(each.config)}
        if each.initial_state is not None:
            body["initial_state"] = each.initial_state
        _tell(rest.ask("POST", ("connectors",), body), f"{each.name}: created", as_json)


@_command("apply", "  kconsole connect apply *.json\n  kconsole connect apply sink.yaml --wait")
@_FILES
@click.option("--wait", is_flag=True, help=f"Until connectors and tasks run, {_SETTLE_S:g} s at most.")
def apply(files: tuple[str, ...], wait: bool, rest: ConnectRest, as_json: bool) -> None:
    """Create connectors from files, or have them configured so; what is so already is left alone."""
    for each in _read(files):
        before = _config_of(rest, each.name)
        how = "unchanged" if before == each.config else "created" if before is None else "changed"
        if before is None and each.initial_state is not None:
            body = {"name": each.name, "config": dict(each.config), "initial_state": each.initial_state}
            rest.ask("POST", ("connectors",), body)
        elif how != "unchanged":
            rest.ask("PUT", ("connectors", each.name, "config"), dict(each.config))
        _tell({"name": each.name, "how": how}, f"{each.name}: {how}", as_json)
        if wait and each.initial_state in (None, "RUNNING"):
            _until(rest, each.name, lambda one: one.state == "RUNNING" and one.running == len(one.tasks) > 0)


@_command("validate", "  kconsole connect validate orders-source.json")
@_FILES
def validate(files: tuple[str, ...], rest: ConnectRest, as_json: bool) -> None:
    """Tell all that is wrong with connectors in files; nothing is created."""
    wrong = 0
    for file, each in zip(files, _read(files), strict=True):
        kind = each.config.get("connector.class", "")
        told = rest.ask("PUT", ("connector-plugins", kind or "none", "config", "validate"), dict(each.config))
        wrong += told["error_count"]
        if as_json:
            click.echo(json.dumps(told))
            continue
        messages = [
            (found["value"]["name"], message) for found in told["configs"] for message in found["value"]["errors"]
        ]
        click.echo(f"{file}: {len(messages) or 'no'} error{'' if len(messages) == 1 else 's'}")
        for name, message in messages:
            click.echo(f"  {name}: {message}")
    if wrong:
        sys.exit(FAILED)


def _change(name: str, method: str, path: str, done: str, doc: str) -> None:
    def change(names: tuple[str, ...], rest: ConnectRest, as_json: bool) -> None:
        for each in names:
            rest.ask(method, ("connectors", each, *((path,) if path else ())))
            _tell({"name": each, "how": done}, f"{each}: {done}", as_json)

    change.__doc__ = doc
    _command(name, f"  kconsole connect {name} orders-source")(_NAMES(change))


_change("pause", "PUT", "pause", "pausing", "Have connectors pause: tasks stay, and do nothing.")
_change("resume", "PUT", "resume", "resuming", "Have paused or stopped connectors run.")
_change("stop", "PUT", "stop", "stopping", "Stop connectors: their tasks end; offsets can be edited then.")


@_command("delete", "  kconsole connect delete orders-source --yes")
@_NAMES
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(names: tuple[str, ...], yes: bool, rest: ConnectRest, as_json: bool) -> None:
    """Delete connectors; topics and offsets stay."""
    if not yes and not click.confirm(f"Delete {', '.join(names)}?", err=True):
        fail("nothing was deleted", FAILED)
    for each in names:
        rest.ask("DELETE", ("connectors", each))
        _tell({"name": each, "how": "deleted"}, f"{each}: deleted", as_json)


@_command(
    "restart",
    "  kconsole connect restart orders-sink --tasks --only-failed\n  kconsole connect restart orders-sink --task 0",
)
@click.argument("name")
@click.option("--tasks", is_flag=True, help="Its tasks as well.")
@click.option("--only-failed", is_flag=True, help="Only what has failed.")
@click.option("--task", type=click.IntRange(min=0), help="This task alone.")
def restart(name: str, tasks: bool, only_failed: bool, task: int | None, rest: ConnectRest, as_json: bool) -> None:
    """Restart a connector, its tasks, or what of both has failed."""
    if task is not None:
        if tasks or only_failed:
            raise click.UsageError("--task is one task: leave out --tasks and --only-failed")
        rest.ask("POST", ("connectors", name, "tasks", str(task), "restart"))
        _tell({"name": name, "task": task}, f"{name}: task {task} restarts", as_json)
        return
    query = {"includeTasks": str(tasks).lower(), "onlyFailed": str(only_failed).lower()}
    told = rest.ask("POST", ("connectors", name, "restart"), query=query)
    if told is None:
        _tell({"name": name}, f"{name}: restarts", as_json)
        return
    one = connector_told(told, {})
    what = [*(["the connector"] if one.state == "RESTARTING" else [])]
    what += [f"task {each.number}" for each in one.tasks if each.state == "RESTARTING"]
    _tell(told, f"{name}: {', '.join(what) or 'nothing'} restart{'' if len(what) > 1 else 's'}", as_json)


@_command(
    "plugins",
    "  kconsole connect plugins\n  kconsole connect plugins --all\n  kconsole connect plugins FileStreamSource",
)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Converters, transforms and predicates, too.")
def plugins(name: str | None, everything: bool, rest: ConnectRest, as_json: bool) -> None:
    """List plug-ins that workers have, or the configs of one."""
    if name is not None:
        keys = rest.ask("GET", ("connector-plugins", name, "config"))
        if as_json:
            click.echo(json.dumps(keys))
            return
        rows = [("config", "type", "default", "importance", "what it is")]
        for each in keys:
            default = "(required)" if each["required"] else each["default_value"] or ""
            rows.append((each["name"], each["type"], default, each["importance"], first_line(each["documentation"])))
        _print_table(rows)
        return
    found = rest.ask("GET", ("connector-plugins",), query={"connectorsOnly": str(not everything).lower()})
    if as_json:
        click.echo(json.dumps(found))
        return
    _print_table([("type", "version", "class"), *((each["type"], each["version"], each["class"]) for each in found)])


@_command("topics", "  kconsole connect topics orders-source")
@click.argument("name")
@click.option("--reset", is_flag=True, help="Forget them: those used from now on are told again.")
def topics(name: str, reset: bool, rest: ConnectRest, as_json: bool) -> None:
    """List topics that a connector has used."""
    if reset:
        rest.ask("PUT", ("connectors", name, "topics", "reset"))
    found = _topics(rest, name)
    click.echo(json.dumps(found) if as_json else "\n".join(found) or "none yet")


@_command("errors", "  kconsole connect errors\n  kconsole connect errors orders-sink")
@click.argument("names", nargs=-1, metavar="[NAME]…")
def errors(names: tuple[str, ...], rest: ConnectRest, as_json: bool) -> None:
    """Show what failed connectors and tasks failed by, whole; exit code 1 if there is something."""
    found = [_one(rest, each) for each in names] if names else _connectors(rest)
    rows: list[dict[str, Any]] = []
    for one in found:
        if one.trace:
            rows.append({"connector": one.name, "task": None, "worker": one.worker, "trace": one.trace})
        rows += [
            {"connector": one.name, "task": task.number, "worker": task.worker, "trace": task.trace}
            for task in one.tasks
            if task.trace
        ]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        for row in rows:
            who = row["connector"] if row["task"] is None else f"{row['connector']}, task {row['task']}"
            click.echo(f"{who}, on {row['worker']}:\n{row['trace'].rstrip()}\n")
        if not rows:
            click.echo("nothing has failed")
    if rows:
        sys.exit(FAILED)


def _connectors(rest: ConnectRest) -> list[ConnectorTold]:
    found = rest.ask("GET", ("connectors",), query=[("expand", "status"), ("expand", "info")])
    return [
        connector_told(found[name].get("status") or {"name": name}, found[name].get("info") or {})
        for name in sorted(found)
    ]


def _one(rest: ConnectRest, name: str) -> ConnectorTold:
    return connector_told(rest.ask("GET", ("connectors", name, "status")), rest.ask("GET", ("connectors", name)))


def _topics(rest: ConnectRest, name: str) -> list[str]:
    found: Mapping[str, Any] = rest.ask("GET", ("connectors", name, "topics"))
    return sorted(found[name]["topics"])


def _config_of(rest: ConnectRest, name: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = rest.ask("GET", ("connectors", name, "config"))
        return found
    except ConnectRefused as error:
        if error.status == 404:
            return None
        raise


def _read(files: Sequence[str]) -> list[ConnectorFile]:
    from engine.connect.connector_files import read_connector_file
    from engine.connect.errors import ConnectError

    try:
        return [read_connector_file(each) for each in files]
    except ConnectError as error:
        fail(str(error), USAGE)


def _until(rest: ConnectRest, name: str, holds: Callable[[ConnectorTold], bool]) -> None:
    until_s = time.monotonic() + _SETTLE_S
    problem = "it has no state yet"
    while time.monotonic() < until_s:
        try:
            one = _one(rest, name)
        except ConnectRefused as error:
            problem = str(error)
        else:
            if holds(one):
                return
            problem = "; ".join(problems_of(one)) or f"it is {one.state}, {one.running} of {len(one.tasks)} tasks run"
            if one.failed and one.failed == len(one.tasks):
                break
        time.sleep(_LOOK_S)
    fail(f"{name} does not run: {problem}", FAILED)


def _tell(document: Any, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(document) if as_json else sentence)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
