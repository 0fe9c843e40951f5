"""``kconsole storage verify``: is everything in these directories as it should be?"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import click

FAILED, USAGE = 1, 2


@click.command(
    epilog="""\b
Examples:
  kconsole storage verify ~/k                                 every broker of an embedded cluster
  kconsole storage verify /var/lib/kafka/data                 a log directory of Apache Kafka
  kconsole storage verify ~/k/broker-2/data/orders-0 --deep   one partition, every batch unpacked
  kconsole storage verify ~/k --json

\b
Exit codes: 0 nothing is wrong, 1 something is (each finding names file, byte and remedy), 2 wrong use."""
)
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--deep", is_flag=True, help="Unpack every batch and count its records.")
@click.option("--quiet", "-q", is_flag=True, help="Only findings and the total.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def verify(directory: str, deep: bool, quiet: bool, as_json: bool) -> None:
    """Check all files of a partition, a broker or a whole cluster.

    Every batch against its checksum, offsets and leader epochs that ascend, the indexes, epochs and producer snapshots
    against the batches, the checkpoints against the logs, the directories of several brokers against each other. The
    records of each partition are counted. Nothing is changed. Of a broker that runs, or was killed, an end that is not
    complete is a note and no finding.
    """
    from engine.storage.inspection import verify as checks
    from engine.storage.inspection.dump import NotInspectable
    from engine.world.real import real_world

    failed = False
    try:
        for entry in checks.verify(real_world().disk, directory, deep=deep):
            failed = failed or entry["kind"] == "finding"
            if quiet and entry["kind"] in ("partition", "note"):
                continue
            click.echo(json.dumps(entry, separators=(",", ":")) if as_json else text_line(entry))
    except NotInspectable as error:
        _fail(str(error), USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _fail(f"cannot read {error.filename}: {error.strerror}", FAILED)
    if failed:
        sys.exit(FAILED)


def text_line(entry: dict[str, Any]) -> str:
    """One object for people."""
    kind = entry["kind"]
    if kind in ("finding", "note"):
        at = "" if entry["position"] is None else f" byte {entry['position']}:"
        line = f"{'✗' if kind == 'finding' else '·'} {entry['file']}:{at} {entry['what']}"
        return f"{line}\n    remedy: {entry['remedy']}" if kind == "finding" else line
    control = f" and {entry['controlRecords']:,} control records" if entry["controlRecords"] else ""
    counts = f"{entry['records']:,} records{control} in {entry['batches']:,} batches, {entry['bytes']:,} bytes"
    if kind == "partition":
        offsets = f"offsets {entry['logStartOffset']:,} to {entry['logEndOffset']:,}"
        return f"  {entry['directory']}: {offsets}, {counts}" + ("" if entry["isWhole"] else ", not all of it read")
    found = "nothing is wrong" if not entry["findings"] else f"{entry['findings']:,} findings"
    return (
        f"{entry['directories']} log directories, {entry['partitions']:,} partitions, {entry['segments']:,} segments: "
        f"{counts}: {found}"
    )


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"kconsole: {sentence}", err=True)
    sys.exit(code)
