"""Commands for brokers that come and go, and for replicas that move between them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from console.looking import admin_cluster, admin_options, embedded_directory
from console.supervisor_calls import (
    DATA_DIR,
    FAILED,
    JSON,
    USAGE,
    call,
    directory_of,
    fail,
    host_and_port,
    print_brokers,
)

if TYPE_CHECKING:
    from engine.client.admin.client import AdminClient
    from engine.supervisor.placement_plan import Move
    from engine.supervisor.replica_moves import MoveProgress, Survey

_THROTTLE = click.option(
    "--throttle",
    metavar="RATE",
    help="At most so many bytes a second that each broker sends, and takes, for the move: 500k, 20M, 1G.",
)
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(
    "add-broker",
    epilog="""\b
Examples:
  kconsole add-broker
  kconsole add-broker --rack b --rebalance --yes""",
)
@click.option("--id", "broker_id", type=click.IntRange(min=0), help="Default: one more than the highest.")
@click.option("--rack", help="The broker's rack.")
@click.option("--rebalance", "balances", is_flag=True, help="Then move replicas to it, as `kconsole rebalance` does.")
@_THROTTLE
@_YES
@DATA_DIR
@JSON
@click.pass_context
def add_broker(
    context: click.Context,
    broker_id: int | None,
    rack: str | None,
    balances: bool,
    throttle: str | None,
    yes: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Start one broker more in the embedded cluster. It stays: later starts of the cluster have it, too.

    New partitions go to it at once, those that are there do not move by themselves.
    """
    answer = call(directory_of(data_dir), "add_broker", id=broker_id, rack=rack)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        print_brokers(answer["brokers"])
    if balances:
        # Of that cluster, whatever the default context is.
        here = directory_of(data_dir).path
        context.invoke(rebalance, bootstrap_servers=None, throttle=throttle, yes=yes, data_dir=here)


@click.command(
    epilog="""\b
Examples:
  kconsole drain 4
  kconsole drain 4 --remove --throttle 20M
  kconsole drain 2 3 --bootstrap-servers kafka-1:9092 --yes"""
)
@click.argument("brokers", type=int, nargs=-1, required=True, metavar="BROKER…")
@click.option("--remove", is_flag=True, help="Then stop the broker and take it out of the embedded cluster for good.")
@_THROTTLE
@_YES
@admin_options
@DATA_DIR
def drain(
    brokers: tuple[int, ...],
    remove: bool,
    throttle: str | None,
    yes: bool,
    bootstrap_servers: str | None,
    data_dir: str | None,
) -> None:
    """Move every replica off these brokers, shown first: by rack, then to who holds least.

    Ctrl-C leaves, and the cluster goes on; `kconsole moves --cancel` brings everything back.
    """
    if remove and bootstrap_servers is not None:
        raise click.UsageError("--remove is for the embedded cluster, not for --bootstrap-servers")
    if remove:
        data_dir = embedded_directory("--remove", data_dir)

    def plan(found: Survey) -> list[Move]:
        from engine.supervisor.placement_plan import plan_drain

        return plan_drain(found.brokers, found.partitions, brokers)

    _move(plan, throttle, yes, bootstrap_servers, data_dir, f"broker {', '.join(map(str, brokers))} holds no replica")
    if remove:
        for each in brokers:
            call(directory_of(data_dir), "remove_broker", broker=each)
            click.echo(f"broker {each} was removed")


@click.command(
    epilog="""\b
Examples:
  kconsole rebalance
  kconsole rebalance --throttle 20M --bootstrap-servers kafka-1:9092"""
)
@_THROTTLE
@_YES
@admin_options
@DATA_DIR
def rebalance(throttle: str | None, yes: bool, bootstrap_servers: str | None, data_dir: str | None) -> None:
    """Even out what brokers hold and lead, by size and rack, with few moves, shown first."""

    def plan(found: Survey) -> list[Move]:
        from engine.supervisor.placement_plan import plan_balance

        return plan_balance(found.brokers, found.partitions)

    _move(plan, throttle, yes, bootstrap_servers, data_dir, "the brokers hold and lead the same, as far as can be")


@click.command(
    epilog="""\b
Examples:
  kconsole reassign orders --to 1,2,4
  kconsole reassign orders:0,2 payments --replicas 2 --throttle 20M
  kconsole reassign --file moves.json --bootstrap-servers kafka-1:9092 --yes"""
)
@click.argument("partitions", nargs=-1, metavar="[TOPIC[:0,2]]…")
@click.option("--to", "brokers", default="", metavar="IDS", help="The only brokers to be on. Default: all that live.")
@click.option("--replicas", type=click.IntRange(min=1), help="Of each partition. Default: as many as it has.")
@click.option("--file", type=click.File(encoding="utf-8"), help="The JSON of kafka-reassign-partitions.sh instead.")
@_THROTTLE
@_YES
@admin_options
@DATA_DIR
def reassign(
    partitions: tuple[str, ...],
    brokers: str,
    replicas: int | None,
    file: IO[str] | None,
    throttle: str | None,
    yes: bool,
    bootstrap_servers: str | None,
    data_dir: str | None,
) -> None:
    """Move chosen partitions to chosen brokers, more replicas or fewer, shown first: by rack, moving least."""
    if (file is None) == (not partitions):
        raise click.UsageError("name topics, or TOPIC:0,2, or give a --file")
    if file is not None and (brokers or replicas):
        raise click.UsageError("a --file says itself where its partitions go: leave --to and --replicas out")
    from console.viewmodel.reassigning import WishError, directories_words, read_ids, read_places
    from engine.supervisor.reassignment_file import ReassignmentFile, ReassignmentFileError, read_reassignment

    try:
        targets = read_ids(brokers)
        said = read_reassignment(file.read()) if file is not None else ReassignmentFile({})
    except (WishError, ReassignmentFileError) as error:
        fail(str(error), USAGE)

    def plan(found: Survey) -> list[Move]:
        from engine.model.topic_partition import TopicPartition
        from engine.supervisor.placement_plan import plan_as_told, plan_onto

        if said.replicas:
            return plan_as_told(found.brokers, found.partitions, said.replicas)
        existing: dict[str, list[int]] = {}
        for each in found.partitions:
            existing.setdefault(each.topic_partition.topic, []).append(each.topic_partition.partition)
        try:
            chosen = {TopicPartition(*each) for each in read_places(partitions, existing)}
        except WishError as error:
            fail(str(error), USAGE)
        return plan_onto(found.brokers, found.partitions, chosen, targets, replicas)

    if said.placed:
        click.echo(directories_words(len(said.placed)), err=True)
    _move(plan, throttle, yes, bootstrap_servers, data_dir, "all of it is where it is to be")


@click.command(
    epilog="""\b
Examples:
  kconsole moves
  kconsole moves --cancel"""
)
@click.option("--cancel", is_flag=True, help="Bring all partitions that move back to where they were.")
@admin_options
@DATA_DIR
@JSON
def moves(cancel: bool, bootstrap_servers: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show the replicas that move between brokers now, or cancel them."""

    async def run(admin: AdminClient) -> None:
        from engine.supervisor import replica_moves

        if cancel:
            cancelled = await replica_moves.cancel(admin)
            if as_json:
                click.echo(json.dumps({"cancelled": [str(each) for each in cancelled]}))
            else:
                click.echo(f"{len(cancelled)} moves were cancelled" if cancelled else "nothing moves")
            return
        found = await replica_moves.progress(admin)
        if as_json:
            click.echo(json.dumps({"moves": [_as_json(each) for each in found]}))
            return
        if not found:
            click.echo("nothing moves")
        for each in found:
            click.echo(
                f"{each.topic_partition}: to {_ids(each.adding) or '-'}, from {_ids(each.removing) or '-'}, "
                f"{_mib(each.copied_bytes)} of {_mib(each.size_bytes)}"
            )

    _with_admin(bootstrap_servers, data_dir, run, changes=cancel)


@click.command(
    "join-kafka",
    epilog="""\b
Examples:
  kconsole join-kafka ~/kafka-11
  kconsole join-kafka /data/kafka-12 --id 12 --listener 10.0.0.12:9092 --rack b""",
)
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--id", "broker_id", type=click.IntRange(min=0), help="Default: ten more than the highest.")
@click.option("--listener", metavar="HOST:PORT", help="Where it listens. Default: a free port of 127.0.0.1.")
@click.option("--rack", help="The broker's rack.")
@DATA_DIR
@JSON
def join_kafka(
    directory: str, broker_id: int | None, listener: str | None, rack: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Write the server.properties with which a broker of Apache Kafka joins the running embedded cluster.

    Then `kconsole rebalance` gives it its share, and `kconsole drain` moves everything to Kafka's brokers.
    """
    import os

    from engine.model.properties import read_properties
    from engine.supervisor.joining_kafka import joining_properties
    from engine.supervisor.ports import free_port
    from engine.supervisor.server_properties import properties_text

    status = call(directory_of(data_dir), "status")
    if "zookeeper" in status:
        fail(
            "Kafka's brokers do not join a cluster that ZooKeeper coordinates: they wait for requests that only Kafka "
            "3.9's controllers send; `kconsole zookeeper migrate` moves it to KRaft, where they do",
            FAILED,
        )
    ids = [each["id"] for each in status["brokers"]]
    if broker_id is None:
        broker_id = max(ids) + 10
    if broker_id in ids:
        fail(f"there is a broker {broker_id} in the cluster: give another --id", USAGE)
    host, port = (
        ("127.0.0.1", free_port("127.0.0.1", broker_id)) if listener is None else host_and_port("--listener", listener)
    )
    directory = os.path.abspath(directory)
    path = os.path.join(directory, "server.properties")
    if os.path.exists(path):
        fail(f"{path} is there already: give another directory", USAGE)
    with open(os.path.join(status["data_dir"], f"broker-{ids[0]}", "server.properties"), encoding="utf-8") as file:
        embedded = read_properties(file.read())
    properties = joining_properties(embedded, broker_id, host, port, os.path.join(directory, "data"), rack)
    os.makedirs(directory, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(properties_text(properties, "of a broker of Apache Kafka in a cluster of kconsole"))
    commands = [
        f"bin/kafka-storage.sh format --cluster-id {status['cluster_id']} --config {path}",
        f"bin/kafka-server-start.sh {path}",
    ]
    if as_json:
        answer = {"id": broker_id, "address": f"{host}:{port}", "properties": path, "commands": commands}
        click.echo(json.dumps(answer))
        return
    click.echo(f"Broker {broker_id} will listen on {host}:{port}. In the directory of Kafka's distribution:\n")
    click.echo("\n".join(f"  {each}" for each in commands))


# -- how a move goes --------------------------------------------------------------------------------------------


def _move(
    plan: Callable[[Survey], list[Move]],
    throttle: str | None,
    yes: bool,
    bootstrap_servers: str | None,
    data_dir: str | None,
    nothing: str,
) -> None:
    rate_bytes = _rate(throttle)

    async def run(admin: AdminClient) -> None:
        from engine.supervisor import replica_moves
        from engine.supervisor.placement_plan import PlanError

        found = await replica_moves.survey(admin)
        if found.under_way:
            fail(
                f"{len(found.under_way)} partitions move already: wait for `kconsole moves` to show none, or "
                "`kconsole moves --cancel`",
                FAILED,
            )
        try:
            planned = plan(found)
        except PlanError as error:
            fail(str(error), FAILED)
        if not planned:
            click.echo(nothing)
            return
        _show(found, planned)
        if not yes and not click.confirm("Begin?"):
            fail("nothing was moved", FAILED)
        await replica_moves.begin(admin, planned, rate_bytes)
        async for under_way in replica_moves.watch(admin):
            _tell(under_way, len(planned))
        left = await replica_moves.not_done(admin, planned)
        if left:
            fail(f"{len(left)} of {len(planned)} moves were cancelled meanwhile, or their topics deleted", FAILED)
        await replica_moves.elect_preferred(admin, planned)
        click.echo(f"{len(planned)} partitions are where they were to be")

    _with_admin(bootstrap_servers, data_dir, run)


def _show(found: Survey, planned: Sequence[Move]) -> None:
    from engine.supervisor.placement_plan import loads_of

    for move in planned:
        copied = f", copies {_mib(move.copied_bytes)}" if move.adding else ""
        click.echo(f"{move.topic_partition}: {_ids(move.before)} -> {_ids(move.after)}{copied}")
    click.echo(f"{'broker':>6}  {'rack':<8} {'replicas':>13}  {'leaders':>13}  size")
    racks = {each.broker_id: each.rack for each in found.brokers}
    before = loads_of(found.brokers, found.partitions)
    for now, then in zip(before, loads_of(found.brokers, found.partitions, planned), strict=True):
        click.echo(
            f"{now.broker_id:>6}  {racks.get(now.broker_id) or '-':<8} {f'{now.replicas} -> {then.replicas}':>13}  "
            f"{f'{now.preferred_leaders} -> {then.preferred_leaders}':>13}  "
            f"{_mib(now.size_bytes)} -> {_mib(then.size_bytes)}"
        )
    total = sum(each.copied_bytes for each in planned)
    click.echo(f"{len(planned)} partitions change, {_mib(total)} are copied")


def _tell(under_way: Sequence[MoveProgress], planned: int) -> None:
    if not under_way:
        return
    copied, size = sum(each.copied_bytes for each in under_way), sum(each.size_bytes for each in under_way)
    line = f"{planned - len(under_way)} of {planned} done; of the others {_mib(copied)} of {_mib(size)} are copied"
    if sys.stdout.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False)
    else:
        click.echo(line)


def _with_admin(
    bootstrap_servers: str | None,
    data_dir: str | None,
    run: Callable[[AdminClient], Coroutine[Any, Any, None]],
    *,
    changes: bool = True,
) -> None:
    import asyncio

    addresses, world = admin_cluster(bootstrap_servers, data_dir, changes=changes)

    async def connected() -> None:
        from engine.client.admin.client import AdminClient
        from engine.client.errors import ClientError
        from engine.model.errors import KafkaError
        from engine.supervisor.replica_moves import MovesRefused

        admin = AdminClient(world, addresses)
        try:
            await run(admin)
        except (ClientError, KafkaError, MovesRefused) as error:
            fail(str(error), FAILED)
        finally:
            admin.close()

    try:
        asyncio.run(connected())
    except KeyboardInterrupt:
        fail("the cluster goes on with what began: `kconsole moves` shows it, --cancel brings it back", FAILED)


def _rate(written: str | None) -> int | None:
    from console.viewmodel.text import rate_bytes

    try:
        return rate_bytes(written or "")
    except ValueError:
        fail(f"--throttle {written!r} is no rate: write bytes a second, as in 500k, 20M or 1G", USAGE)


def _as_json(each: MoveProgress) -> dict[str, Any]:
    topic, partition = each.topic_partition
    return {
        "topic": topic,
        "partition": partition,
        **{k: v for k, v in each._asdict().items() if k != "topic_partition"},
    }


def _ids(broker_ids: Iterable[int]) -> str:
    return ",".join(map(str, broker_ids))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.1f} MiB"
