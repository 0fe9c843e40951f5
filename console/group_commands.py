"""``kconsole groups reset``: a group's offsets anew by any rule of Kafka's tool; shown first, done with --execute."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from console.looking import ask, cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON, fail

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.viewmodel.resets import ResetPlan, ResetWish

_FLAGS = ("to_earliest", "to_latest", "to_current")


@click.group()
def groups() -> None:
    """Acts on groups. `kconsole get groups` lists them."""


@groups.command(
    epilog="""\b
Examples:
  kconsole groups reset billing --all-topics --to-earliest
  kconsole groups reset billing --topic orders:0,2 --shift-by -100 --execute
  kconsole groups reset billing --topic orders --to-datetime 2026-11-26T08:00:00.000 --execute
  kconsole groups reset billing --from-group billing-old --bootstrap-servers kafka-1:9092
  kconsole groups reset billing --all-topics --to-current --export > offsets.csv
  kconsole groups reset billing --from-file offsets.csv --execute

\b
Exit codes: 0 done or shown, 1 refused or unreachable, 2 wrong use."""
)
@click.argument("group")
@click.option("--to-earliest", is_flag=True, help="To where the logs begin.")
@click.option("--to-latest", is_flag=True, help="To where the logs end.")
@click.option("--to-current", is_flag=True, help="To what is committed; where nothing is, to the end.")
@click.option("--to-offset", metavar="N", help="To an offset, within the log.")
@click.option("--shift-by", metavar="±N", help="So many records on, or back, within the log.")
@click.option("--to-datetime", metavar="TIME", help="To the first record of 2026-11-26T08:00:00.000 (UTC) or later.")
@click.option("--by-duration", metavar="PnDTnHnMnS", help="To the first record that is not older.")
@click.option("--from-group", metavar="GROUP", help="To where another group is.")
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="To what a file says, in lines topic,partition,offset, as --export writes them.",
)
@click.option("--topic", "topics", multiple=True, metavar="T[:P,…]", help="A topic, or some of its partitions; repeat.")
@click.option("--all-topics", is_flag=True, help="All partitions in which the group has an offset.")
@click.option("--execute", is_flag=True, help="Do it. Without this it is only shown.")
@click.option("--export", is_flag=True, help="Print the plan as topic,partition,offset and nothing else.")
@cluster_options
@JSON
def reset(
    group: str,
    topics: tuple[str, ...],
    all_topics: bool,
    execute: bool,
    export: bool,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
    **rules: Any,
) -> None:
    """Set a group's offsets anew: what each partition would have, and the lag then; --execute does it.

    Refused while the group has members, as Kafka refuses it. The command of Kafka's own tool that does the same is
    shown with it.
    """
    from console.viewmodel.resets import ResetError

    if export and (execute or as_json):
        raise click.UsageError("--export only prints the plan: leave out --execute and --json")
    try:
        wish = _wish(group, rules, topics, all_topics)
    except ResetError as error:
        raise click.UsageError(str(error)) from error
    gateway = gateway_of(bootstrap_servers, command_config, data_dir, unreachable=FAILED, read_only=not execute)
    plan, problem = ask(gateway, lambda gateway: _planned(gateway, wish, execute), as_json=as_json)
    executed = execute and not problem
    if as_json:
        command = _command(gateway, wish, execute)
        click.echo(json.dumps({**_document(wish, plan), "executed": executed, "error": problem, "command": command}))
    elif plan is not None:
        _show(gateway, wish, plan, execute, export)
    if problem:
        if not as_json:
            fail(problem, FAILED)
        sys.exit(FAILED)
    if executed and not as_json:
        click.echo(f"committed: {len(plan.offsets) if plan else 0} partitions of {group}")


def _wish(group: str, rules: dict[str, Any], topics: tuple[str, ...], all_topics: bool) -> ResetWish:
    """Raises: ResetError."""
    from console.viewmodel.resets import ResetError, ResetWish, Rule, check_wish, read_offsets_file

    given = {name: value for name, value in rules.items() if value not in (None, False)}
    if len(given) != 1:
        said = ", ".join(f"--{rule}" for rule in Rule)
        raise ResetError(f"give one of {said}")
    ((name, value),) = given.items()
    rule = Rule(name.replace("_", "-"))
    if topics and all_topics:
        raise ResetError("--all-topics and --topic exclude each other")
    if not topics and not all_topics and rule not in (Rule.GROUP, Rule.FILE):
        raise ResetError("say what is meant: --all-topics, or --topic T, or --topic T:0,2")
    wish = ResetWish(group, rule, "" if name in _FLAGS else str(value), topics)
    if rule is Rule.FILE:
        try:
            with open(value, encoding="utf-8") as file:
                wish = wish._replace(offsets=read_offsets_file(file.read(), group))
        except (OSError, UnicodeDecodeError) as error:
            raise ResetError(f"{value} cannot be read: {error}") from error
        if all_topics:
            raise ResetError("a file says itself which partitions are meant: leave --all-topics out")
    check_wish(wish)
    return wish


async def _planned(gateway: Gateway, wish: ResetWish, execute: bool) -> tuple[ResetPlan | None, str]:
    """The plan, and why it is none or was not carried out."""
    from console.gateway import GatewayError

    plan = None
    try:
        plan = await gateway.plan_reset(wish)
        if execute:
            await gateway.reset_offsets(plan)
    except GatewayError as error:
        return plan, str(error)
    return plan, ""


def _show(gateway: Gateway, wish: ResetWish, plan: ResetPlan, execute: bool, export: bool) -> None:
    from console.viewmodel.cells import plain
    from console.viewmodel.resets import export_lines, plan_cells, summary

    if export:
        for each in export_lines(plan):
            click.echo(each)
        return
    for line in plan_cells(plan):
        click.echo(plain(line).rstrip())
    click.echo(summary(plan))
    click.echo(f"$ {_command(gateway, wish, execute)}")
    if not execute:
        click.echo("nothing was changed: --execute does it")


def _command(gateway: Gateway, wish: ResetWish, execute: bool) -> str:
    from console.viewmodel.resets import reset_command

    return reset_command(gateway.capabilities.bootstrap_servers, wish, execute=execute)


def _document(wish: ResetWish, plan: ResetPlan | None) -> dict[str, Any]:
    offsets = plan.offsets if plan else ()
    return {
        "group": wish.group,
        "rule": str(wish.rule),
        "offsets": [{**each._asdict(), "lag_before": each.lag_before, "lag_after": each.lag_after} for each in offsets],
    }
