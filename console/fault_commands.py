"""``kconsole fault`` and ``kconsole heal``: faults that last, on the embedded cluster that runs."""

from __future__ import annotations

import json

import click

from console.supervisor_calls import DATA_DIR, JSON, call, directory_of

_KINDS = (
    "kill",
    "pause",
    "cut",
    "delay",
    "slow-fsync",
    "failing-fsync",
    "disk-full",
    "crash-loop",
    "rolling-restart",
)


def _milliseconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    from console.viewmodel.faults import duration_ms

    found = duration_ms(value)
    if found is None:
        raise click.BadParameter("write 200ms, 10s or 1min")
    return found


@click.command(
    epilog="""\b
Examples:
  kconsole fault slow-fsync 2 --by 300ms --for 10s
  kconsole fault cut 1 --other others --for 6s --acks 1
  kconsole fault disk-full 3
  kconsole fault rolling-restart"""
)
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("broker", type=int, required=False)
@click.option("--other", help="The other end of a cut or delay: a broker, `others` or `clients`. Default: others.")
@click.option("--by", callback=_milliseconds, help="Of delay and slow-fsync: 200ms.")
@click.option("--times", type=int, help="Of crash-loop.")
@click.option("--for", "for_", callback=_milliseconds, help="It heals by itself after this. Default: when you say so.")
@click.option("--acks", type=click.Choice(("all", "1", "0")), default="all", help="Of the client that measures.")
@click.option("--min-isr", type=click.IntRange(1, 3), help="min.insync.replicas of its topic. Default: the broker's.")
@click.option("--measure/--no-measure", default=True, help="With stopwatch and ledger. Default: yes.")
@DATA_DIR
@JSON
def fault(
    kind: str,
    broker: int | None,
    other: str | None,
    by: float | None,
    times: int | None,
    for_: float | None,
    acks: str,
    min_isr: int | None,
    measure: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Break something of the embedded cluster on purpose, until it heals.

    The console's Failover screen has its stopwatch and its ledger; `kconsole heal` ends it.
    """
    if broker is None and kind != "rolling-restart":
        raise click.UsageError(f"name a broker: kconsole fault {kind} 2")
    answer = call(
        directory_of(data_dir),
        "fault",
        kind=kind.replace("-", " "),
        broker_id=broker,
        other=other or "others",
        by_ms=by,
        times=times,
        for_ms=for_,
        acks=acks,
        min_isr=min_isr,
        measure=measure,
    )
    click.echo(json.dumps(answer) if as_json else f"fault {answer['fault_id']}: {answer['what']}")


@click.command()
@click.argument("number", type=int, required=False)
@DATA_DIR
@JSON
def heal(number: int | None, data_dir: str | None, as_json: bool) -> None:
    """End a fault by its number, or all that are on."""
    answer = call(directory_of(data_dir), "heal", fault=number)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo("\n".join(f"healed: {each}" for each in answer["healed"]) or "nothing was wrong")
