"""``kconsole tail``: records of topics as lines, from some place to another or without end. It never ends silently."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.looking import UNREACHABLE, cluster_options, gateway_of
from console.supervisor_calls import FAILED, JSON
from console.value_options import serde_options, values_of

if TYPE_CHECKING:
    from console.gateway import Gateway, ReadFrom, Tail
    from console.viewmodel.key_search import KeySearch
    from console.viewmodel.records import RecordView
    from console.viewmodel.tailing import TailRun

_INTERRUPTED = 130


@click.command(
    epilog="""\b
Examples:
  kconsole tail orders                              what comes from now on
  kconsole tail orders --from start --until end     all there is, then it ends
  kconsole tail orders --from -20 --count 20 --json
  kconsole tail orders --from 15m --filter '"amount": 9\\d\\d'
  kconsole tail orders --key order-7 --from start --until end
  kconsole tail orders --partitions 0,2 --from 1042 --until 2000
  kconsole tail orders --from start --until end --parquet orders.parquet
  kconsole tail orders --value-serde avro --registry http://127.0.0.1:8081 --json

\b
PLACE: end, start, an offset, -N (so many before the end), 30s 15m 2h 1d ago, 14:03, 2026-11-24 14:03.
Exit codes: 0 all that was asked for was read, 1 it could not be, 2 unreachable, 130 interrupted."""
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC…")
@click.option("--from", "begin", default="end", show_default=True, metavar="PLACE", help="Where to begin.")
@click.option("--until", metavar="PLACE", help="The place that is not read any more; end: as it is now.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many records (that match).")
@click.option(
    "--filter",
    "wanted",
    default="",
    help="As after / in the console: a regular expression, -j JQ, …",
)
@click.option("--partitions", metavar="N,…", help="Only these.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds without progress after which --until and --count give up; for all, if nothing can be read at all.",
)
@click.option(
    "--key",
    help="Only records with this key (as the topic's serde writes it, or 0x0a1b); only its partition is read.",
)
@click.option(
    "--partitioner",
    type=click.Choice(["murmur2", "crc32", "all"]),
    default="murmur2",
    show_default=True,
    help="How producers choose its partition: murmur2 as Java's clients, crc32 as librdkafka's; all: read all.",
)
@click.option(
    "--parquet",
    type=click.Path(dir_okay=False, exists=False),
    help="Into this new file instead, which has its name once it is whole; with --until or --count.",
)
@serde_options
@cluster_options
@JSON
def tail(
    topics: tuple[str, ...],
    begin: str,
    until: str | None,
    count: int | None,
    wanted: str,
    partitions: str | None,
    timeout_s: float,
    key: str | None,
    partitioner: str,
    parquet: str | None,
    registry: str | None,
    masking: str | None,
    key_serde: str | None,
    value_serde: str | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Print records of topics, one a line; with --json as JSON lines.

    Why it ended, and what could not be read meanwhile, stands on standard error.
    """
    from console.gateway import Tail
    from console.viewmodel.filters import Filter
    from console.viewmodel.tailing import TailRun

    start = place("--from", begin)
    stop = None if until is None else place("--until", until)
    if stop is not None and (stop.start == "start" or stop.value < 0):
        raise click.UsageError("--until is end, an offset or a time")
    parsed = Filter.parse(wanted)
    if parsed.error:
        raise click.UsageError(f"--filter: {parsed.error}")
    only = numbers(partitions)
    file = _parquet_file(parquet, bounded=until is not None or count is not None, as_json=as_json)
    if key is not None and (len(topics) != 1 or only is not None):
        raise click.UsageError("--key is looked for in one topic, and finds its partition itself")
    _check_key(key)
    values = values_of(registry, masking, key_serde, value_serde)
    gateway = gateway_of(bootstrap_servers, command_config, data_dir, values=values)
    run = TailRun(
        time.monotonic() * 1000,
        until=stop,
        count=count,
        wanted=parsed,
        patience_ms=timeout_s * 1000,
    )
    sys.exit(_run(gateway, Tail(topics, only, start), run, as_json, file, key, partitioner))


def _check_key(key: str | None) -> None:
    from console.viewmodel.key_search import typed_key

    try:
        typed_key(key or "")
    except ValueError as error:
        raise click.UsageError(f"--key: {error}") from error


async def _search(key: str, partitioner: str, topic: str, gateway: Any) -> KeySearch:
    """Raises: GatewayError: the key is none."""
    from console.gateway import GatewayError
    from console.viewmodel.key_search import KeyRule, KeySearch, KeyWish

    try:
        wanted = await gateway.sought_key(topic, key)
    except GatewayError as error:
        raise GatewayError(f"--key: {error}") from None
    search = KeySearch(KeyWish(wanted, KeyRule.ALL if partitioner == "all" else KeyRule(partitioner), key))
    search.begin(await gateway.bulk.partition_count(topic))
    return search


def _parquet_file(written: str | None, *, bounded: bool, as_json: bool) -> Path | None:
    if written is None:
        return None
    from console.parquet_file import missing

    if not bounded:
        raise click.UsageError("--parquet needs an end: --until end, or --count N")
    if as_json:
        raise click.UsageError("--parquet writes a file and --json prints: give one of them")
    if Path(written).exists():
        raise click.UsageError(f"--parquet: {written} is there already")
    if missing():
        raise click.UsageError(f"--parquet: {missing()}")
    return Path(written)


def place(option: str, written: str) -> ReadFrom:
    """Raises: UsageError: it is none."""
    from console.viewmodel.seeking import parse_seek

    found = parse_seek(written, time.time_ns() // 1_000_000)
    if isinstance(found, str):
        raise click.UsageError(f"{option}: {found}")
    return found


def numbers(written: str | None) -> tuple[int, ...] | None:
    """Raises: UsageError: they are none."""
    if written is None:
        return None
    words = [each.strip() for each in written.split(",")]
    if not all(each.isdigit() for each in words):
        raise click.UsageError(f"--partitions {written!r}: write numbers, as in 0,2")
    return tuple(int(each) for each in words)


def _run(
    gateway: Gateway,
    tail: Tail,
    run: TailRun,
    as_json: bool,
    file: Path | None,
    key: str | None,
    partitioner: str,
) -> int:
    from console.gateway import GatewayError

    async def read() -> None:
        wanted = tail
        try:
            if key is not None:
                search = await _search(key, partitioner, tail.topics[0], gateway)
                run.key = search.wish.key
                wanted = tail._replace(partitions=None if search.partition is None else (search.partition,))
                _say(f"the key is looked for in {search.where}")
            await _read(gateway, wanted, run, as_json, file)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await gateway.close()

    try:
        asyncio.run(read())
    except GatewayError as error:
        _say(f"ended: {error}")
        return UNREACHABLE
    except KeyboardInterrupt:
        _say(f"ended: interrupted after {run.printed:,} records{'' if file is None else '; nothing was written'}")
        return _INTERRUPTED
    except OSError as error:
        if file is not None:
            _say(f"ended: nothing was written: {error}")
            return FAILED
        if not isinstance(error, BrokenPipeError):
            raise
        # Nobody reads any more; what the interpreter would still write must not fail once more.
        sys.stdout = None
        _say("ended: the output was closed")
        return FAILED
    assert run.ending is not None
    _say(f"ended: {run.ending.said}")
    if run.ending.complete:
        return 0
    return FAILED if run.found_any or "UNKNOWN_TOPIC" in run.problem or "no partition" in run.problem else UNREACHABLE


async def _read(gateway: Gateway, tail: Tail, run: TailRun, as_json: bool, file: Path | None) -> None:
    from console.record_export import FileKind, export
    from console.tail_reading import read_to_the_end
    from console.viewmodel.tailing import record_document, record_line

    said, told_wait = "", False

    async def take(records: list[RecordView]) -> None:
        for record in records:
            sys.stdout.write((json.dumps(record_document(record)) if as_json else record_line(record)) + "\n")
        sys.stdout.flush()

    def looked() -> None:
        nonlocal said, told_wait
        if run.problem != said:
            said = run.problem
            _say(f"not read for now: {said}" if said else "everything is read again")
        if run.waits and run.is_bounded and not told_wait:
            told_wait = True
            _say("all there is was read; waiting for more")

    if file is not None:
        await export(gateway, tail, run, file, FileKind.PARQUET, looked)
    else:
        await read_to_the_end(gateway, tail, run, take, looked)


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"kconsole: {sentence}", err=True)
