"""``kconsole storage graduate``: the embedded cluster's directories go on under Apache Kafka."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click

FAILED, USAGE = 1, 2


@click.command(
    epilog="""\b
Examples:
  kconsole shutdown --data-dir ~/k && kconsole storage graduate ~/k
  kconsole storage graduate ~/k --json

\b
Exit codes: 0 the files are written, 1 the cluster is not ready (nothing is written), 2 wrong use."""
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--force", is_flag=True, help="Replace server.properties files that say something else.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def graduate(directory: str, force: bool, as_json: bool) -> None:
    """Hand a stopped cluster over to Apache Kafka 4.3, on the directories that it has.

    DIR is the cluster's --data-dir. Checks that it was stopped in order, that all directories belong to it and that
    their files are sound; writes broker-N/kafka/server.properties for each broker; prints the commands that start
    Apache Kafka on them. The way back is `kconsole up --data-dir DIR`, once Kafka is stopped.
    """
    from engine.supervisor import graduation
    from engine.supervisor.data_dir import DataDir
    from engine.world.real import real_world

    world = real_world()
    try:
        plan = graduation.make_plan(DataDir(world, directory), world.disk)
        written = graduation.write(world.disk, plan, force=force)
    except (graduation.WrongDirectory, graduation.FileDiffers) as error:
        _fail(str(error), USAGE)
    except graduation.NotReady as error:
        for problem in error.problems:
            click.echo(f"kconsole: {problem}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        _fail(f"cannot write {error.filename or directory}: {error.strerror}", FAILED)
    if as_json:
        click.echo(json.dumps(graduation.as_json(plan, written)))
        return
    count = len(plan.brokers)
    click.echo(
        f"cluster {plan.cluster_id}: {count} broker{'s' if count != 1 else ''} and {plan.partitions} partitions are "
        "ready for Apache Kafka 4.3."
    )
    click.echo("Start each broker in the directory of Kafka's distribution:\n")
    for broker in plan.brokers:
        click.echo(f"  {graduation.command_line(broker)}")
    click.echo(f"\nClients find them at {plan.bootstrap_servers}, as before.")
    for note in plan.notes:
        click.echo(f"Note: {note}.")


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"kconsole: {sentence}", err=True)
    sys.exit(code)
