"""``kconsole streams query`` and ``status``: stores and workers of a running application, as its workers tell."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from console.looking import admin_options
from console.supervisor_calls import DATA_DIR, FAILED, JSON, fail

_APPLICATION = click.option("--application-id", metavar="ID", help="Which; needed where several run.")
_TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds to ask again while stores are restored or move.",
)


@click.command(
    epilog="""\b
Examples:
  kconsole streams query counts                           the first 100 entries
  kconsole streams query counts --key home
  kconsole streams query counts --from a --to f --limit 20
  kconsole streams query prices --key tea --as-of -1h
  kconsole streams query revenue --key paris --window -1h..
  kconsole streams query sessions --window 14:00..14:30 --json

\b
Keys are text as the store's serde has them: strings as they are, numbers, JSON. Workers whose application.server.token
is set want it in the environment, as KCONSOLE_STREAMS_TOKEN.
Exit codes: 0 answered, 1 no worker can, 2 wrong use."""
)
@click.argument("store")
@click.option("--key", help="One key.")
@click.option("--from", "low", metavar="KEY", help="Keys from this one on.")
@click.option("--to", "high", metavar="KEY", help="Keys up to this one.")
@click.option("--prefix", help="Keys that begin with this text.")
@click.option("--window", metavar="FROM..TO", help="Windows that start, or sessions that are, between two times.")
@click.option("--as-of", metavar="TIME", help="With --key: the value that held then, in a versioned store.")
@click.option("--limit", type=click.IntRange(1, 5000), default=100, show_default=True, help="Entries.")
@click.option("--reverse", is_flag=True, help="The last first.")
@click.option("--stale", is_flag=True, help="Standbys may answer.")
@click.option("--partial", is_flag=True, help="Leave out partitions that do not answer.")
@_APPLICATION
@_TIMEOUT
@admin_options
@DATA_DIR
@JSON
def query(
    store: str,
    key: str | None,
    low: str | None,
    high: str | None,
    prefix: str | None,
    window: str | None,
    as_of: str | None,
    limit: int,
    reverse: bool,
    stale: bool,
    partial: bool,
    application_id: str | None,
    timeout_s: float,
    bootstrap_servers: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Ask a store of a running application: a key, a range of keys, windows, sessions."""
    from console.streams_asking import ask_any, endpoints_of, find_application

    times = _times(window)
    if as_of is not None and key is None:
        raise click.UsageError("--as-of needs --key")
    of_keys = [f"--{name}" for name, value in (("from", low), ("to", high), ("prefix", prefix)) if value is not None]
    for one, others in (("--key", key is not None and of_keys), ("--window", window is not None and of_keys)):
        if others:
            raise click.UsageError(f"{one} goes without {' and '.join(others)}")
    group = find_application(application_id, bootstrap_servers, data_dir)
    endpoints = endpoints_of(group)
    stores = {each["name"]: each for each in ask_any(endpoints, ("v1", "stores"), {}, timeout_s)}
    if store not in stores:
        fail(f"{group.group_id} has no store {store}; it has {', '.join(sorted(stores)) or 'none'}", FAILED)
    kind = _kind(stores[store]["kind"], key, window)
    if kind in ("window", "session") and of_keys:
        raise click.UsageError(f"{store} has {kind}s: say --key, --window, or both")
    held = None if as_of is None else str(_moment(as_of, "--as-of"))
    keys = {"key": key, "from": low, "to": high, "prefix": prefix}
    parameters = dict(_written(name, value) for name, value in keys.items() if value is not None)
    parameters |= times if held is None else {**times, "as_of": held}
    if kind != "key":
        parameters |= {"limit": str(limit), "reverse": str(reverse).lower()}
    parameters |= {name: "true" for name, wanted in (("stale", stale), ("partial", partial)) if wanted}
    answer = ask_any(endpoints, ("v1", "stores", store, kind), parameters, timeout_s)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    entries = answer["entries"] if kind != "key" else [answer] if answer["found"] else []
    if not entries:
        click.echo("no such key" if kind == "key" else "no entries")
    else:
        _print_table(entries)
    if answer.get("truncated"):
        click.echo(f"there are more than {limit}: --limit shows more")
    for each in answer.get("missing", ()):
        click.echo(f"partition {each['partition']} does not answer: {each['state']}")


def _written(name: str, value: str) -> tuple[str, str]:
    """A key as a parameter: text, or bytes where the shell gave what is none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{name}_base64", base64.b64encode(os.fsencode(value)).decode()
    return name, value


def _kind(store_kind: str, key: str | None, window: str | None) -> str:
    for word in ("window", "session"):
        if word in store_kind:
            return word
    if window is not None:
        raise click.UsageError(f"--window is for windows and sessions: the store is {store_kind}")
    return "range" if key is None else "key"


def _times(window: str | None) -> dict[str, str]:
    if window is None:
        return {}
    begin, dots, end = window.partition("..")
    if not dots:
        raise click.UsageError("--window: say FROM..TO; one of the two may be left out")
    return {
        name: str(_moment(written.strip(), "--window"))
        for name, written in (("from_ms", begin), ("to_ms", end))
        if written.strip()
    }


def _moment(written: str, option: str) -> int:
    from console.viewmodel.moments import parse_moment

    now_ms = time.time_ns() // 1_000_000
    try:
        moment = int(written) if written.isdigit() else parse_moment(written, now_ms, 0, now_ms)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}, or ms since 1970") from error
    return max(0, moment)


def _print_table(entries: list[Mapping[str, Any]]) -> None:
    from console.viewmodel.text import date_time

    def window(each: Mapping[str, Any]) -> str:
        return f"{date_time(each['window']['start'])} .. {date_time(each['window']['end'])}"

    columns: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [("KEY", lambda each: _shown(each["key"]))]
    if "window" in entries[0]:
        columns.append(("WINDOW", window))
    columns.append(("VALUE", lambda each: _shown(each["value"])))
    if "timestamp" in entries[0]:
        columns.append(("TIMESTAMP", lambda each: date_time(each["timestamp"])))
    if entries[0]["partition"] is not None:
        columns.append(("PARTITION", lambda each: str(each["partition"])))
    if "worker" in entries[0]:
        columns.append(("WORKER", lambda each: str(each["worker"])))
    _print_columns([[name for name, _ in columns], *([read(each) for _, read in columns] for each in entries)])


def _shown(value: Any) -> str:
    from console.viewmodel.cells import harmless

    if isinstance(value, dict) and value.keys() == {"base64"}:
        return f"base64:{value['base64']}"
    return harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _print_columns(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)).rstrip())


@click.command(
    epilog="""\b
Examples:
  kconsole streams status
  kconsole streams status --application-id revenue --bootstrap-servers kafka-1:9092 --json

\b
Exit codes: 0 all workers answer, 1 some do not, or there are none, 2 wrong use."""
)
@_APPLICATION
@admin_options
@DATA_DIR
@JSON
def status(application_id: str | None, bootstrap_servers: str | None, data_dir: str | None, as_json: bool) -> None:
    """Workers of a running application: what they do, which tasks they have, how far behind these are."""
    from console.streams_asking import NoAnswer, Refused, ask_worker, find_application
    from console.viewmodel.cells import harmless

    group = find_application(application_id, bootstrap_servers, data_dir)
    told: list[dict[str, Any]] = []
    for each in group.members:
        row: dict[str, Any] = {"member_id": each.member_id, "endpoint": each.user_endpoint or None, "error": None}
        if each.user_endpoint:
            try:
                row |= ask_worker(each.user_endpoint, ("v1", "status"), {}, 3.0)
            except (NoAnswer, Refused) as error:
                row["error"] = str(error)
        else:
            row["error"] = "it tells no endpoint: application.server is not set"
        told.append(row)
    if as_json:
        click.echo(json.dumps({"application_id": group.group_id, "state": group.state, "workers": told}))
    elif not told:
        click.echo(f"{group.group_id}: {group.state.lower()}, no workers")
    else:
        click.echo(f"{group.group_id}: {group.state.lower()}")
        _print_columns(
            [["WORKER", "STATE", "PID", "ACTIVE", "STANDBY", "LAG", "PROCESSED", "RESTORING"], *map(_row, told)]
        )
        for each in told:
            if each["error"]:
                click.echo(harmless(each["error"]))
    if not told or any(each["error"] for each in told):
        raise SystemExit(FAILED)


def _row(told: Mapping[str, Any]) -> list[str]:
    if told["error"]:
        return [told["endpoint"] or told["member_id"], "no answer", *["-"] * 6]
    tasks = told["tasks"]
    active = [each["id"] for each in tasks if each["role"] == "active"]
    standby = [each["id"] for each in tasks if each["role"] != "active"]
    lags = [at["lag"] for each in tasks for at in each["inputs"] if at["lag"] is not None]
    restoring = [
        f"{each['id']} {store['store']} {store['position'] or 0} of {store['end'] if store['end'] is not None else '?'}"
        for each in tasks
        if each["phase"] == "RESTORING"
        for store in each["restore"]
    ]
    return [
        told["endpoint"],
        told["state"] + (f" ({told['waits_for']})" if told["waits_for"] else ""),
        str(told["pid"]),
        " ".join(active) or "-",
        " ".join(standby) or "-",
        str(sum(lags)) if lags else "-",
        str(told["processed"]),
        ", ".join(restoring) or "-",
    ]
