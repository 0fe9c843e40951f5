"""``kconsole copy``: records from one topic to another, byte for byte; counted first, sent with --execute."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from console.looking import ask, cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON, fail
from console.value_options import value_options, values_of

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.record_copying import Copied
    from console.viewmodel.copying import CopyPlan, CopyWish

_INTERRUPTED = 130
_TOLD_S = 1.0


@click.command(
    epilog="""\b
Examples:
  kconsole copy orders orders-test                       how many, how large; nothing is sent
  kconsole copy orders orders-test --execute
  kconsole copy orders orders-test --from 2h --until 1h --filter '-j .value.amount > 100' --execute
  kconsole copy orders orders-new --by-key --rate 500 --execute

\b
PLACE: start, end, an offset, -N (so many before the end), 30s 15m 2h 1d ago, 14:03, 2026-11-24 14:03.
Exit codes: 0 done or shown, 1 refused, broken off or unreachable, 2 wrong use, 130 given up."""
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--from", "begin", default="start", show_default=True, metavar="PLACE", help="Where to begin.")
@click.option("--until", metavar="PLACE", help="The place that is not copied any more. Default: the end as it is now.")
@click.option("--filter", "wanted", default="", help="As after / in the console: a regular expression, -j JQ, …")
@click.option("--partitions", metavar="N,…", help="Only these.")
@click.option("--by-key", is_flag=True, help="Partitions by the keys' hash (murmur2), not as they were.")
@click.option("--new-times", is_flag=True, help="The time of sending, not the records' own.")
@click.option("--no-origin", is_flag=True, help="Without headers that tell topic, partition and offset of each.")
@click.option("--rate", default="", metavar="RATE", help="At most 500 records a second, or 20M bytes.")
@click.option("--execute", is_flag=True, help="Do it. Without this it is only counted.")
@value_options
@cluster_options
@JSON
def copy(
    source: str,
    target: str,
    begin: str,
    until: str | None,
    wanted: str,
    partitions: str | None,
    by_key: bool,
    new_times: bool,
    no_origin: bool,
    rate: str,
    execute: bool,
    registry: str | None,
    masking: str | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Copy records from topic FROM to topic TO: counted first, done with --execute.

    Key, value, headers and time of each record stay byte for byte, in the order of each partition; headers tell where
    it came from. An idempotent producer sends them, acknowledged by all replicas in sync. What aborted transactions
    wrote is left out.
    """
    from console.tail_command import numbers, place
    from console.viewmodel.copying import CopyError, CopyWish, Placement, check_topics
    from console.viewmodel.filters import Filter
    from console.viewmodel.outgoing import parse_rate

    stop = None if until is None else place("--until", until)
    if stop is not None and (stop.start == "start" or stop.value < 0):
        raise click.UsageError("--until is end, an offset or a time")
    parsed = Filter.parse(wanted)
    if parsed.error:
        raise click.UsageError(f"--filter: {parsed.error}")
    try:
        wish = CopyWish(
            source,
            target,
            place("--from", begin),
            stop,
            parsed,
            numbers(partitions),
            Placement.KEY if by_key else Placement.KEEP,
            not new_times,
            not no_origin,
            parse_rate(rate),
            begin,
            until or "",
        )
        check_topics(wish)
    except (CopyError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    gateway = gateway_of(
        bootstrap_servers,
        command_config,
        data_dir,
        unreachable=FAILED,
        read_only=not execute,
        values=values_of(registry, masking),
    )
    if execute:
        _execute(gateway, wish, as_json)
    else:
        _show(gateway, wish, as_json)


def _show(gateway: Gateway, wish: CopyWish, as_json: bool) -> None:
    from console.record_copying import Stop, plan_copy
    from console.viewmodel.cells import plain
    from console.viewmodel.copying import copy_command, plan_cells

    said = Said(as_json)

    async def planned(gateway: Gateway) -> tuple[CopyPlan | None, str]:
        from console.gateway import GatewayError

        try:
            plan = await plan_copy(
                gateway, wish, Stop(), lambda tally, read: said.now(f"{read:,} read, {tally.words} match")
            )
        except GatewayError as error:
            return None, str(error)
        return plan, ""

    plan, problem = ask(gateway, planned, as_json=as_json)
    if plan is None:
        failed(problem, as_json)
        return
    command = copy_command(gateway.capabilities.bootstrap_servers, wish)
    if as_json:
        click.echo(json.dumps({**_document(plan), "executed": False, "command": command}))
        return
    for line in plan_cells(plan):
        click.echo(plain(line).rstrip())
    click.echo("nothing was sent: --execute does it")


def _execute(gateway: Gateway, wish: CopyWish, as_json: bool) -> None:
    from console.record_copying import Stop, copy

    said = Said(as_json)

    async def done(gateway: Gateway) -> tuple[Copied | None, str]:
        import asyncio

        from console.gateway import GatewayError

        stop = Stop()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.want)
        try:
            copied = await copy(
                gateway,
                wish,
                stop,
                lambda now: said.now(f"{now.read:,} read, {now.acknowledged:,} acknowledged"),
            )
        except GatewayError as error:
            return None, str(error)
        return copied, ""

    copied, problem = ask(gateway, done, as_json=as_json)
    if copied is None:
        failed(problem, as_json)
        return
    if as_json:
        document = {
            "source": wish.source,
            "target": wish.target,
            "executed": True,
            "records": copied.records,
            "size_bytes": copied.size_bytes,
            "seconds": round(copied.seconds, 3),
            "unreadable": copied.unreadable,
            "given_up": copied.given_up,
            "reached": [
                {"topic": at.topic, "partition": at.partition, "offset": to} for at, to in copied.reached.items()
            ],
        }
        click.echo(json.dumps(document))
    else:
        click.echo(f"{wish.source} → {wish.target}: {copied.words}")
    if copied.given_up:
        sys.exit(_INTERRUPTED)


def failed(problem: str, as_json: bool) -> None:
    """Say why, and leave."""
    if as_json:
        click.echo(json.dumps({"error": problem}))
    fail(problem, FAILED)


def _document(plan: CopyPlan) -> dict[str, Any]:
    return {
        "source": plan.wish.source,
        "target": plan.wish.target,
        "records": plan.tally.records,
        "size_bytes": plan.tally.size_bytes,
        "read": plan.read,
        "unreadable": plan.unreadable,
        "partitions": [
            {
                "partition": partition,
                "records": each.records,
                "size_bytes": each.size_bytes,
                "first_offset": each.first,
                "last_offset": each.last,
            }
            for (_, partition), each in sorted(plan.tally.shares.items())
        ],
        "notes": list(plan.notes),
    }


class Said:
    """Progress on standard error, once a second, for people."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent or not sys.stderr.isatty()
        self._at = time.monotonic()

    def now(self, sentence: str) -> None:
        now = time.monotonic()
        if not self._silent and now - self._at >= _TOLD_S:
            self._at = now
            click.echo(f"kconsole: {sentence}", err=True)
