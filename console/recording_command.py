"""Records on the command line: what the console is told of recording, ``kconsole bundle`` and ``kconsole replay``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from console.supervisor_calls import DATA_DIR, FAILED, USAGE, directory_of, fail

Function = TypeVar("Function", bound=Callable[..., Any])


def recording_options(function: Function) -> Function:
    """--record and its bounds, as ``record``, ``record_hours`` and ``record_mb``."""
    for option in (
        click.option(
            "--record-mb", type=click.FloatRange(min=1), default=256.0, show_default=True, help="At most so many MiB."
        ),
        click.option(
            "--record-hours",
            type=click.FloatRange(min=0, min_open=True),
            default=24.0,
            show_default=True,
            help="How far back the record goes.",
        ),
        click.option(
            "--record",
            metavar="FILE|off",
            help="Where to record what is shown, to go back in time. Default: in the data directory of the embedded "
            "cluster; an attached one is not recorded.",
        ),
    ):
        function = option(function)
    return function


def recording_of(record: str | None, record_hours: float, record_mb: float, usual: str | None) -> Any:
    """The same for the console; ``usual`` is where to record if nothing was said."""
    from console.recording.options import Recording
    from console.recording.recorder import Limits

    path = None if record == "off" else record or usual
    return Recording(path, Limits(record_hours, record_mb))


@click.command(
    epilog="""\b
Examples:
  kconsole replay incident.kbundle               everything as it was; { and } go from event to event
  kconsole replay ~/k/recording/recording.db     the record of a data directory""",
)
@click.argument("file", metavar="FILE")
def replay(file: str) -> None:
    """Open a bundle or a record: every screen at any moment of it, read-only."""
    from console.gateway.recorded import RecordedGateway
    from console.recording.reader import Record
    from console.recording.store import RecordError

    try:
        record = Record(file)
        if record.range() is None:
            fail(f"{file} is a record in which there is nothing", FAILED)
    except RecordError as error:
        fail(str(error), USAGE)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("replay opens a console and needs a terminal", USAGE)
    from console.app import run_over

    sys.exit(run_over(RecordedGateway(record, has_present=False)))


_ = DATA_DIR, directory_of
