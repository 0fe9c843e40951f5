"""``kconsole watch``: alert rules over a cluster, without a screen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING

import click

from console.looking import cluster_options, gateway_of
from console.supervisor_calls import JSON, USAGE, fail

if TYPE_CHECKING:
    from console.alert_rules import AlertFile
    from console.gateway import Gateway
    from engine.supervisor.snapshot import ClusterSnapshot

_INTERVAL_S = 1.0


def alert_file(path: str) -> AlertFile:
    """Read a file of rules; the process ends with everything that is wrong with it."""
    from console.alert_rules import parse_alert_file
    from engine.supervisor.yaml_nodes import SpecErrors

    try:
        with open(path, encoding="utf-8") as file:
            return parse_alert_file(file.read(), os.environ)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {path}: {error}", USAGE)
    except SpecErrors as error:
        click.echo(error.in_file(path) or f"{path} is empty; add `rules:`", err=True)
        sys.exit(USAGE)


@click.command(
    epilog="""\b
Examples:
  kconsole watch --rules alerts.yaml
  kconsole watch --rules alerts.yaml --json --bootstrap-servers kafka-1:9092

\b
A file of rules:
  rules:
    - {name: billing is late, when: lag, group: billing, over: 10000, for: 30s, clear_at: 1000}
    - {name: broker down, when: broker_down, for: 5s}
  notify:
    webhook: {url: "http://127.0.0.1:8080/alerts"}"""
)
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    required=True,
    help="The rules; see docs/scripting.md.",
)
@cluster_options
@JSON
def watch(
    rules: str, bootstrap_servers: str | None, command_config: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Watch a cluster by alert rules until SIGINT or SIGTERM: one line when an alert fires, one when it is resolved.

    The file says who else is told: bell, desktop, a webhook.
    """
    file = alert_file(rules)
    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    from console.following import until_stopped

    click.echo(f"kconsole: {len(file.rules)} rules are watched", err=True)
    until_stopped(gateway, lambda: _watch(gateway, file, as_json))


async def _watch(gateway: Gateway, file: AlertFile, as_json: bool) -> None:
    from console.following import follow
    from console.notifying import Notifier
    from console.viewmodel.alerts import Alerts, change_document

    last: list[ClusterSnapshot] = []

    def say(sentence: str) -> None:
        with contextlib.suppress(OSError):
            click.echo(f"kconsole: {sentence}", err=True)

    notifier = Notifier(file, say)
    alerts = Alerts(file.rules)
    following = asyncio.ensure_future(follow(gateway, lambda snapshot: last.__setitem__(slice(None), [snapshot]), say))
    try:
        while True:
            snapshot = last[0] if last else None
            now_ms = time.time_ns() // 1_000_000
            for change in alerts.evaluate(snapshot, now_ms, time.monotonic() * 1000):
                document = change_document(change, snapshot.cluster_id if snapshot is not None else "")
                click.echo(json.dumps(document) if as_json else _line(document))
                if file.bell and change.fired and sys.stderr.isatty():
                    click.echo("\a", err=True, nl=False)
                notifier.tell(document)
            if following.done():
                following.result()
            await asyncio.sleep(_INTERVAL_S)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await notifier.close()


def _line(document: dict[str, object]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(str(document["at_ms"])) / 1000))
    return f"{at}  {str(document['event']).upper():<8}  {document['rule']}: {document['said']}"
