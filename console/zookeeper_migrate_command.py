"""``kconsole zookeeper migrate``: a stopped cluster's metadata goes from ZooKeeper to KRaft; ``offsets`` brings after
it what its groups committed to ZooKeeper."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from console.supervisor_calls import FAILED, JSON, directory_of, fail

if TYPE_CHECKING:
    from engine.supervisor.migrating import Cluster, Plan
    from engine.supervisor.migration_sources import Embedded
    from engine.supervisor.zookeeper_migration import CommittedOffset, Metadata
    from engine.supervisor.zookeeper_offsets import Committed
    from engine.world import World

_KINDS = {
    "topics": "topics",
    "partitions": "partitions",
    "brokers": "registrations of brokers",
    "configs": "configs",
    "quotas": "quotas",
    "scram_credentials": "SCRAM credentials",
    "acls": "ACLs",
    "delegation_tokens": "delegation tokens",
}
_START_SCRIPT = "bin/kafka-server-start.sh"


@click.command(
    epilog="""\b
Examples:
  kconsole shutdown && kconsole zookeeper migrate --dry-run
  kconsole zookeeper migrate --data-dir ~/k
  kconsole zookeeper migrate --properties /etc/kafka-1.properties --properties /etc/kafka-2.properties
  kconsole zookeeper migrate --undo

\b
Exit codes: 0 moved (or shown), 1 the cluster is not ready (nothing is written), 2 wrong use or a wrong file."""
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Of an embedded cluster. Default: kconsole/default under your XDG data home.",
)
@click.option(
    "--properties",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="A broker's server.properties, Apache Kafka 3.9's too; once for each broker of the cluster.",
)
@click.option("--connect", metavar="H:P,…/CHROOT", help="ZooKeeper, instead of zookeeper.connect of those files.")
@click.option("--controller-port", default=9093, show_default=True, help="Of the voters among --properties.")
@click.option(
    "--only",
    multiple=True,
    type=int,
    metavar="BROKER",
    help="Whose directories are on this machine, of the brokers of --properties; run it on each machine.",
)
@click.option("--dry-run", is_flag=True, help="Show what would move; write nothing.")
@click.option("--undo", is_flag=True, help="Back to ZooKeeper, as long as no broker was started under KRaft.")
@JSON
def migrate(
    data_dir: str | None,
    files: tuple[str, ...],
    connect: str | None,
    controller_port: int,
    only: tuple[int, ...],
    dry_run: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Move a stopped cluster's metadata from ZooKeeper to KRaft.

    Reads ZooKeeper, writes each voter's metadata log and each log directory's meta.properties, and prints what moved
    and what has no meaning in KRaft. ZooKeeper keeps everything, and gets a marker, /kconsole/migrated, with which no
    broker starts under it again. Cut anywhere, it can be run again.
    """
    if files and data_dir is not None:
        raise click.UsageError("--properties and --data-dir each say which cluster is meant: give one of them")
    if connect is not None and not files:
        raise click.UsageError("--connect goes with --properties")
    if only and not files:
        raise click.UsageError("--only goes with --properties")
    if undo and dry_run:
        raise click.UsageError("--undo is not shown first: leave out --dry-run")
    wish = _Wish(only or None, dry_run, undo, as_json)
    answer = _carry_out(files, data_dir, connect, controller_port, wish)
    if as_json:
        click.echo(json.dumps(answer))


class _Wish(NamedTuple):
    only: tuple[int, ...] | None
    is_dry: bool
    undo: bool
    as_json: bool


def _carry_out(
    files: tuple[str, ...],
    data_dir: str | None,
    connect: str | None,
    controller_port: int,
    wish: _Wish,
) -> dict[str, Any]:
    from engine.supervisor import migration_sources
    from engine.supervisor.kraft_directories import DirectoryProblem
    from engine.supervisor.zookeeper_migration import NotMigratable
    from engine.world.real import real_world
    from engine.zookeeper.errors import ZooKeeperError

    world = real_world()

    async def run() -> dict[str, Any]:
        if files:
            cluster = migration_sources.of_properties(
                world.disk, files, connect=connect, controller_port=controller_port
            )
            return (await _in_zookeeper(world, cluster, wish))[0]
        embedded = migration_sources.of_data_dir(directory_of(data_dir), world.disk)
        async with migration_sources.running_zookeeper(world, embedded) as place:
            cluster = migration_sources.cluster_of(embedded, place)
            answer, offsets = await _in_zookeeper(world, cluster, wish, embedded)
        if offsets:
            done = await migration_sources.commit_offsets_to(world, embedded, offsets)
            answer |= {"committed_offsets": done.committed, "refused_offsets": len(done.refused)}
            _print_committed(done, wish.as_json)
            if done.refused:
                raise NotMigratable("the metadata moved, but not all offsets: mend that and run this again")
            async with migration_sources.running_zookeeper(world, embedded) as place:
                cluster = migration_sources.cluster_of(embedded, place)
                async with migrating.ZooKeeperTree(cluster.zookeeper) as tree:
                    await tree.set_marker(migrating.Marker(migrating.DONE), world.clock.now_ms())
        return answer

    from engine.supervisor import migrating

    try:
        return asyncio.run(run())
    except (NotMigratable, DirectoryProblem, ZooKeeperError) as error:
        fail(str(error), FAILED)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}; run it again once that is mended", FAILED)


async def _in_zookeeper(
    world: World, cluster: Cluster, wish: _Wish, embedded: Embedded | None = None
) -> tuple[dict[str, Any], list[CommittedOffset]]:
    """What is done while ZooKeeper can be asked; what to answer, and offsets that are to be committed."""
    from engine.supervisor import migrating
    from engine.supervisor.zookeeper_migration import committed_offsets

    async with migrating.ZooKeeperTree(cluster.zookeeper) as tree:
        if wish.undo:
            was_there = await migrating.undo(world, tree, cluster, wish.only)
            if not wish.as_json:
                back = f"back under ZooKeeper at {cluster.zookeeper}"
                click.echo(back if was_there else f"no migration has begun at {cluster.zookeeper}: nothing was undone")
            return {"undone": was_there}, []
        found = await tree.read()
        if embedded is not None and not wish.is_dry and migrating.is_written(found):
            # Only the offsets are missing: it was cut before they were committed.
            return {}, committed_offsets(found)
        plan = migrating.make_plan(world, cluster, found, wish.only)
        if not wish.is_dry:
            await migrating.carry_out(world, tree, plan)
        if not wish.as_json:
            _print_plan(plan, wish.is_dry, embedded is not None)
        return migrating.as_json(plan, is_dry=wish.is_dry), [] if wish.is_dry else plan.metadata.offsets


def _print_committed(done: Committed, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{done.committed} offsets committed to the cluster, which was started for that and stopped again")
        if done.kept:
            click.echo(f"{len(done.kept)} left as they are: the group has committed to the cluster since")
    for refused in done.refused:
        click.echo(f"{refused.group} {refused.partition or ''}: {refused.why}", err=True)


def _print_plan(plan: Plan, is_dry: bool, is_embedded: bool) -> None:
    metadata, cluster = plan.metadata, plan.cluster
    would = "would move" if is_dry else "moved"
    click.echo(f"cluster {metadata.cluster_id} {would} from ZooKeeper at {cluster.zookeeper} to KRaft:")
    _print_moved(metadata)
    where = f"offset {metadata.snapshot_id.offset}, epoch {metadata.snapshot_id.epoch}"
    click.echo(f"  the metadata log of voters {', '.join(map(str, plan.voters))} begins at {where}")
    if metadata.left:
        click.echo("Left in ZooKeeper, without a meaning in KRaft:")
        for each in metadata.left:
            click.echo(f"  {each.number:>7}  {each.what} ({each.example}{', …' if each.number > 1 else ''})")
    if metadata.offsets:
        _print_offsets(metadata.offsets, cluster, is_embedded)
    for note in cluster.notes:
        click.echo(f"Note: {note}.")
    if is_dry:
        click.echo("Nothing was written.")
    elif plan.still_to_move:
        rest = ", ".join(map(str, plan.still_to_move))
        click.echo(f"Still to move, on their machines: brokers {rest}. Start none before that.")
    elif not is_embedded:
        click.echo(
            "Start each broker in the directory of Kafka 4.3's distribution, or with `kconsole broker --properties`:"
        )
        for file in plan.files:
            click.echo(f"  {_START_SCRIPT} {shlex.quote(file.path)}")


def _print_moved(metadata: Metadata) -> None:
    counts = metadata.counts()
    for kind, what in _KINDS.items():
        if counts[kind]:
            click.echo(f"  {counts[kind]:>7}  {what}")
    if counts["next_producer_id"]:
        click.echo(f"  producer ids go on at {counts['next_producer_id']}")


def _print_offsets(offsets: list[CommittedOffset], cluster: Cluster, is_embedded: bool) -> None:
    groups = len({each.group for each in offsets})
    if is_embedded:
        click.echo(
            f"{len(offsets)} offsets that {groups} group{'s' if groups > 1 else ''} committed to ZooKeeper move too"
        )
        return
    click.echo(
        f"{len(offsets)} offsets that {groups} group{'s' if groups > 1 else ''} committed to ZooKeeper are moved once "
        f"the cluster is up:\n  kconsole zookeeper offsets --connect {shlex.quote(str(cluster.zookeeper))} "
        "--bootstrap-servers HOST:PORT"
    )


# -- offsets ----------------------------------------------------------------------------------------------------


@click.command(
    epilog="""\b
Examples:
  kconsole zookeeper offsets --connect zk-1:2181/kafka --bootstrap-servers kafka-1:9092 --dry-run
  kconsole zookeeper offsets --connect zk-1:2181/kafka --bootstrap-servers kafka-1:9092

\b
Exit codes: 0 committed (or shown), 1 refused or unreachable, 2 wrong use."""
)
@click.option("--connect", metavar="H:P,…/CHROOT", required=True, help="ZooKeeper, with the chroot of the cluster.")
@click.option("--bootstrap-servers", metavar="H:P,…", required=True, help="Of the cluster that gets them.")
@click.option(
    "--replace", is_flag=True, help="Where a group has committed to the cluster as well, ZooKeeper's offset counts."
)
@click.option("--dry-run", is_flag=True, help="Show them; commit nothing.")
@JSON
def offsets(connect: str, bootstrap_servers: str, replace: bool, dry_run: bool, as_json: bool) -> None:
    """Commit what groups have in ZooKeeper (/consumers) to a cluster that runs, of any kind.

    Where a group has committed to the cluster as well, that stays unless --replace is given.
    """
    from console.supervisor_calls import host_and_port
    from engine.client.admin.client import AdminClient
    from engine.client.errors import ClientError
    from engine.supervisor import migrating
    from engine.supervisor.zookeeper_migration import committed_offsets
    from engine.supervisor.zookeeper_offsets import commit_offsets
    from engine.world.real import real_world
    from engine.zookeeper.config import ZooKeeperConfig
    from engine.zookeeper.errors import ZooKeeperError

    servers = [host_and_port("--bootstrap-servers", each) for each in bootstrap_servers.split(",")]

    async def run() -> tuple[list[CommittedOffset], Committed | None]:
        world = real_world()
        async with migrating.ZooKeeperTree(ZooKeeperConfig.of_connect(connect)) as tree:
            seen = await tree.read()
            found = committed_offsets(seen)
            if dry_run or not found:
                return found, None
            admin = AdminClient(world, servers)
            try:
                done = await commit_offsets(admin, found, replaces=replace)
            finally:
                admin.close()
            if migrating.is_written(seen) and not done.refused:
                await tree.set_marker(migrating.Marker(migrating.DONE), world.clock.now_ms())
            return found, done

    try:
        found, done = asyncio.run(run())
    except (ZooKeeperError, ClientError) as error:
        fail(str(error), FAILED)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "found": [
                        [each.group, each.partition.topic, each.partition.partition, each.offset] for each in found
                    ],
                    "committed": 0 if done is None else done.committed,
                    "kept": 0 if done is None else len(done.kept),
                    "refused": []
                    if done is None
                    else [[each.group, str(each.partition or ""), each.why] for each in done.refused],
                }
            )
        )
    else:
        for each in found if dry_run else ():
            click.echo(f"{each.group}  {each.partition}  {each.offset}")
        if not found:
            click.echo(f"no group has committed to ZooKeeper at {connect}")
        if done is not None:
            click.echo(f"{done.committed} offsets committed")
            if done.kept:
                click.echo(f"{len(done.kept)} left as they are: the group has committed to the cluster (--replace)")
            for refused in done.refused:
                click.echo(f"{refused.group} {refused.partition or ''}: {refused.why}", err=True)
    if done is not None and done.refused:
        sys.exit(FAILED)
