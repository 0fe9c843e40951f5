"""Records on the command line: what the console is told of recording, ``kconsole bundle`` and ``kconsole replay``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.looking import chosen_context, cluster_options, gateway_of
from console.supervisor_calls import DATA_DIR, FAILED, JSON, USAGE, directory_of, fail

if TYPE_CHECKING:
    from console.recording.reader import Record

_HOURS = click.option(
    "--record-hours",
    type=click.FloatRange(min=0, min_open=True),
    default=24.0,
    show_default=True,
    help="How far back the record goes.",
)
_MEBIBYTES = click.option(
    "--record-mb", type=click.FloatRange(min=1), default=256.0, show_default=True, help="At most so many MiB."
)
Function = TypeVar("Function", bound=Callable[..., Any])


def recording_options(function: Function) -> Function:
    """--record and its bounds, as ``record``, ``record_hours`` and ``record_mb``."""
    for option in (
        _MEBIBYTES,
        _HOURS,
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
    return Recording(path, is_off=record == "off", limits=Limits(record_hours, record_mb))


@click.command(
    epilog="""\b
Examples:
  kconsole record                                                  the embedded cluster, in its data directory
  kconsole record night.db --bootstrap-servers kafka-1:9092 --record-hours 12"""
)
@click.argument("file", metavar="[FILE]", required=False)
@_HOURS
@_MEBIBYTES
@cluster_options
def record(
    file: str | None,
    record_hours: float,
    record_mb: float,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
) -> None:
    """Record a cluster without a screen until SIGINT or SIGTERM, as an open console does. `kconsole replay FILE` opens
    the record, also meanwhile."""
    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    from console.following import until_stopped
    from console.recorded_questions import record_cluster
    from console.recording.options import path_in, path_of_attached
    from console.recording.recorder import Limits, Recorder
    from console.recording.store import RecordError

    capabilities = gateway.capabilities
    if file is None:
        servers = capabilities.bootstrap_servers
        file = path_of_attached(servers) if capabilities.attached else path_in(_data_dir(data_dir))
    recorder = Recorder(file, Limits(record_hours, record_mb), about={"source": capabilities.source.value})
    try:
        recorder.start()
    except RecordError as error:
        fail(str(error), FAILED)

    def say(sentence: str) -> None:
        click.echo(f"kconsole: {sentence}", err=True)

    say(recorder.remark or f"recorded into {recorder.path}")
    try:
        until_stopped(gateway, lambda: record_cluster(gateway, recorder, say))
    finally:
        recorder.close()


def _data_dir(named: str | None) -> str:
    """That of the embedded cluster that is meant: by its option, or by a context."""
    context = chosen_context(other=named is not None)
    return directory_of(named if context is None else context.data_dir or None).path


def _opened(file: str) -> Record:
    from console.recording.reader import Record
    from console.recording.store import RecordError

    try:
        record = Record(file)
        if record.range() is None:
            fail(f"{file} is a record in which there is nothing", FAILED)
    except RecordError as error:
        fail(str(error), USAGE)
    return record


@click.command(
    epilog="""\b
Examples:
  kconsole replay incident.kbundle                 everything as it was; { and } go from event to event
  kconsole replay ~/k/recording/recording.db       the record of a data directory
  kconsole replay incident.kbundle --json          what is in it
  kconsole replay incident.kbundle --file cluster.yaml""",
)
@click.argument("file", metavar="FILE")
@click.option("--file", "name", metavar="NAME", help="Print one of the files and logs that are in a bundle.")
@JSON
def replay(file: str, name: str | None, as_json: bool) -> None:
    """Open a bundle or a record: every screen at any moment of it, read-only."""
    record = _opened(file)
    if name is not None:
        _print_file(record, name)
        return
    if as_json:
        click.echo(json.dumps(_about(record)))
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("replay opens a console and needs a terminal; --json tells what is in the file", USAGE)
    from console.app import run_over
    from console.gateway.recorded import RecordedGateway

    sys.exit(run_over(RecordedGateway(record, has_present=False)))


def _about(record: Record) -> dict[str, Any]:
    whole = record.range()
    assert whole is not None
    names = record.names_of("log", "file")
    return {
        **record.meta,
        "first_ms": whole.first_ms,
        "last_ms": whole.last_ms,
        "events": record.event_count(whole.first_ms, whole.last_ms),
        "commands": len(record.commands_until(whole.last_ms)),
        "logs": [each for kind, each in names if kind == "log"],
        "files": [each for kind, each in names if kind == "file"],
    }


def _print_file(record: Record, name: str) -> None:
    from console.recording.store import RecordError

    whole = record.range()
    assert whole is not None
    try:
        for kind in ("file", "log"):
            found = record.document_at(kind, name, whole.last_ms, list[str])
            if found is not None:
                click.echo("\n".join(found), nl=kind == "log")
                return
    except RecordError as error:
        fail(str(error), USAGE)
    known = ", ".join(each for _, each in record.names_of("log", "file")) or "nothing of the kind"
    fail(f"there is no {name} in {record.path}; there is {known}", USAGE)


@click.command(
    epilog="""\b
Examples:
  kconsole bundle incident.kbundle                          the last hour
  kconsole bundle incident.kbundle --from 14:00 --until 14:20
  kconsole bundle incident.kbundle --from start --record mine.db"""
)
@click.argument("file", metavar="FILE")
@DATA_DIR
@click.option(
    "--from", "first", default="1h ago", show_default=True, help="14:03, 2026-11-24 14:03:07, 20m ago, start."
)
@click.option("--until", "last", default="end", show_default=True, help="The same.")
@click.option("--record", help="Another record than that of the data directory.")
@JSON
def bundle(file: str, data_dir: str | None, first: str, last: str, record: str | None, as_json: bool) -> None:
    """Export an incident into one file: the record of a stretch of time, events, acts, configs, and of an embedded
    cluster its files and the ends of its brokers' logs. Secrets are left out. `kconsole replay FILE` opens it."""
    from console.recording.bundle import Extras, extras_of, write_bundle
    from console.recording.options import path_in
    from console.recording.store import RecordError
    from console.viewmodel.moments import parse_moment

    directory = directory_of(data_dir).path
    source = record or path_in(directory)
    if not os.path.exists(source):
        hint = "" if record else "; a console makes it while it is open"
        fail(f"there is no record {source}{hint}", FAILED)
    opened = _opened(source)
    whole = opened.range()
    assert whole is not None
    opened.close()
    try:
        first_ms, last_ms = (parse_moment(words, whole.last_ms, *whole) for words in (first, last))
    except ValueError as error:
        fail(str(error), USAGE)
    if first_ms > last_ms:
        fail(f"{first} is not before {last}", USAGE)
    try:
        extras = Extras() if record else extras_of(directory)
        done = write_bundle(source, file, first_ms, last_ms, extras, time.time_ns() // 1_000_000)
    except RecordError as error:
        fail(str(error), FAILED)
    if as_json:
        click.echo(json.dumps(done._asdict()))
        return
    click.echo(bundled_words(done))


def bundled_words(done: Any) -> str:
    """What a bundle has, for people."""
    from console.viewmodel.text import date_time, plural, size

    return (
        f"{done.path}: {date_time(done.first_ms)} to {date_time(done.last_ms)}, {plural(done.pictures, 'picture')}, "
        f"{plural(done.events, 'event')}, {plural(done.commands, 'act')}, {plural(done.logs, 'log')}, "
        f"{plural(done.files, 'file')}, {size(done.bytes)}"
    )
