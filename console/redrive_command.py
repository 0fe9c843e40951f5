"""``kconsole redrive``: dead letters back to the topics that they came from, each once; counted first."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import click

from console.copy_command import Said, failed
from console.looking import ask, cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON
from console.value_options import value_options, values_of

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.record_redriving import RedriveDone
    from console.viewmodel.redriving import RedrivePlan, RedriveWish

_INTERRUPTED = 130


@click.command(
    epilog="""\b
Examples:
  kconsole redrive orders-dlq                          how many would go where, and why they came
  kconsole redrive orders-dlq --execute
  kconsole redrive orders-dlq --filter '-l header=TimeoutException' --execute

\b
Exit codes: 0 done or shown, 1 refused, broken off or unreachable, 2 wrong use, 130 given up."""
)
@click.argument("topic")
@click.option("--filter", "wanted", default="", help="As after / in the console: a regular expression, -j JQ, …")
@click.option("--by-key", is_flag=True, help="Partitions by the keys' hash (murmur2), not those that they came from.")
@click.option("--new-times", is_flag=True, help="The time of sending, not the records' own.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Leave what was sent back so often already (header kconsole.redrive.count).",
)
@click.option("--rate", default="", metavar="RATE", help="At most 500 records a second, or 20M bytes.")
@click.option("--execute", is_flag=True, help="Do it. Without this it is only counted.")
@value_options
@cluster_options
@JSON
def redrive(
    topic: str,
    wanted: str,
    by_key: bool,
    new_times: bool,
    limit: int,
    rate: str,
    execute: bool,
    registry: str | None,
    masking: str | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Send dead letters back to the topics that their headers name: of Kafka Connect, Kafka Streams, Spring, or a copy.

    Headers of the error are taken off. Each goes once: transactions commit it together with offsets of the group
    kconsole-redrive.TOPIC, and go on from there. To send again what was sent, reset that group.
    """
    from console.viewmodel.copying import Placement
    from console.viewmodel.filters import Filter
    from console.viewmodel.outgoing import parse_rate
    from console.viewmodel.redriving import RedriveWish

    parsed = Filter.parse(wanted)
    if parsed.error:
        raise click.UsageError(f"--filter: {parsed.error}")
    try:
        limited = parse_rate(rate)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    wish = RedriveWish(topic, parsed, Placement.KEY if by_key else Placement.KEEP, not new_times, limit, limited)
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


def _show(gateway: Gateway, wish: RedriveWish, as_json: bool) -> None:
    from console.record_copying import Stop
    from console.record_redriving import plan_redrive
    from console.viewmodel.cells import plain
    from console.viewmodel.redriving import plan_cells, redrive_command

    said = Said(as_json)

    async def planned(gateway: Gateway) -> tuple[RedrivePlan | None, str]:
        from console.gateway import GatewayError

        try:
            await gateway.bulk.partition_count(wish.topic)
            return await plan_redrive(
                gateway, wish, Stop(), lambda now: said.now(f"{now.verdicts.total():,} read, {now.going:,} go back")
            ), ""
        except GatewayError as error:
            return None, str(error)

    plan, problem = ask(gateway, planned, as_json=as_json)
    if plan is None:
        failed(problem, as_json)
        return
    command = redrive_command(gateway.capabilities.bootstrap_servers, wish)
    if as_json:
        findings = plan.findings
        document = {
            "topic": wish.topic,
            "records": findings.going,
            "topics": [
                {"topic": name, "records": number, "size_bytes": findings.size_bytes[name]}
                for name, number in sorted(findings.records.items())
            ],
            "left": {verdict.name.lower(): number for verdict, number in sorted(findings.verdicts.items())},
            "notes": list(plan.notes),
            "executed": False,
            "command": command,
        }
        document["left"].pop("goes", None)
        click.echo(json.dumps(document))
        return
    for line in plan_cells(plan):
        click.echo(plain(line).rstrip())
    click.echo("nothing was sent: --execute does it")


def _execute(gateway: Gateway, wish: RedriveWish, as_json: bool) -> None:
    from console.record_copying import Stop
    from console.record_redriving import redrive

    said = Said(as_json)

    async def done(gateway: Gateway) -> tuple[RedriveDone | None, str]:
        import asyncio

        from console.gateway import GatewayError

        stop = Stop()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.want)
        try:
            await gateway.bulk.partition_count(wish.topic)
            return await redrive(gateway, wish, stop, lambda number: said.now(f"{number:,} sent back")), ""
        except GatewayError as error:
            return None, str(error)

    result, problem = ask(gateway, done, as_json=as_json)
    if result is None:
        failed(problem, as_json)
        return
    if as_json:
        click.echo(
            json.dumps(
                {
                    "topic": wish.topic,
                    "records": result.records,
                    "topics": dict(result.topics),
                    "seconds": round(result.seconds, 3),
                    "given_up": result.given_up,
                    "executed": True,
                }
            )
        )
    else:
        click.echo(f"{wish.topic}: {result.words}")
    if result.given_up:
        sys.exit(_INTERRUPTED)
