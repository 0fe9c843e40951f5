"""``kconsole load``: producing to one topic at a rate, and what came of it."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import click

from console.copy_command import Said, failed
from console.looking import ask, cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON

if TYPE_CHECKING:
    from console.gateway import Gateway
    from console.viewmodel.load_run import LoadResult

_INTERRUPTED = 130


@click.command(
    epilog="""\b
Examples:
  kconsole load orders --rate 500 --seconds 10
  kconsole load orders --rate 2000 --seconds 60 --keys skewed --distinct 10000 --acks 1 --json
  kconsole load orders --rate 100 --seconds 5 --value '{"order": $n, "amount": $r}' --size 1024

\b
In values: $n a number, $t the time in ms, $k the key, $r a random number, $$ a $.
Exit codes: 0 all were acknowledged, 1 they were not, or unreachable, 2 wrong use, 130 stopped."""
)
@click.argument("topic")
@click.option("--rate", type=int, required=True, help="Records a second.")
@click.option("--seconds", type=float, required=True, help="For how long.")
@click.option("--value", help='Template of values. Default: {"number": $n, "at": $t, "key": "$k"}; "": random bytes.')
@click.option("--size", type=int, default=0, help="Fill values up to so many bytes.")
@click.option(
    "--keys", type=click.Choice(["none", "in turn", "uniform", "skewed"]), default="uniform", show_default=True
)
@click.option("--distinct", type=int, default=100, show_default=True, help="How many different keys.")
@click.option("--acks", type=click.Choice(["all", "1", "0"]), default="all", show_default=True)
@cluster_options
@JSON
def load(
    topic: str,
    rate: int,
    seconds: float,
    value: str | None,
    size: int,
    keys: str,
    distinct: int,
    acks: str,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Produce records to a topic at a rate; tells the rate that was reached, and percentiles of the latency.

    The latency is from giving a record to the producer to its acknowledgement (linger.ms=5). With acks=all the
    producer is idempotent.
    """
    from console.viewmodel.load_run import DEFAULT_TEMPLATE, Keys, LoadError, LoadWish, check_wish

    template = DEFAULT_TEMPLATE if value is None else value
    wish = LoadWish(topic, rate, seconds, template, size, Keys(keys), distinct, acks)
    try:
        check_wish(wish)
    except LoadError as error:
        raise click.UsageError(str(error)) from error
    gateway = gateway_of(bootstrap_servers, command_config, data_dir, unreachable=FAILED, read_only=False)
    said = Said(as_json)

    async def done(gateway: Gateway) -> tuple[LoadResult | None, str]:
        import asyncio

        from console.gateway import GatewayError
        from console.record_copying import Stop
        from console.record_load import run_load

        stop = Stop()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.want)
        try:
            return await run_load(gateway, wish, stop, lambda now: said.now(now.words(wish))), ""
        except GatewayError as error:
            return None, str(error)

    result, problem = ask(gateway, done, as_json=as_json)
    if result is None:
        failed(problem, as_json)
        return
    if as_json:
        latencies = result.latencies
        named = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9}
        percentiles = {name: latencies.percentile_ms(percent) for name, percent in named.items()}
        percentiles["max"] = latencies.highest_ms if latencies.number else None
        click.echo(
            json.dumps(
                {
                    "topic": topic,
                    "wanted_per_s": rate,
                    "records_per_s": round(result.rate, 1),
                    "sent": result.sent,
                    "acknowledged": result.acknowledged,
                    "size_bytes": result.size_bytes,
                    "seconds": round(result.seconds, 3),
                    "latency_ms": {
                        name: None if each is None else round(each, 2) for name, each in percentiles.items()
                    },
                    "acks": acks,
                    "stopped": result.given_up,
                }
            )
        )
    else:
        click.echo(f"{topic}: {result.words}")
    if result.given_up:
        sys.exit(_INTERRUPTED)
