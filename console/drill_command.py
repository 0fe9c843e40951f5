"""``kconsole drill``: rehearse a failure on a cluster of its own, and say whether it went as expected."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from console.supervisor_calls import FAILED, USAGE, fail

if TYPE_CHECKING:
    from engine.drills.report import Findings


@click.command(
    epilog="""\b
Examples:
  kconsole drill --list
  kconsole drill kill-the-leader
  kconsole drill my_drill.yaml --html report.html
  kconsole drill my_drill.yaml --json
  kconsole drill --show kill-the-leader > my_drill.yaml

\b
Exit codes: 0 all that is expected holds, 1 something does not, 2 the file cannot be read."""
)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--list", "lists", is_flag=True, help="List the drills that come along.")
@click.option("--show", metavar="NAME", help="Print the file of a drill that comes along.")
@click.option("--html", type=click.Path(dir_okay=False, writable=True), help="Write the report as one page, too.")
@click.option("--keep", is_flag=True, help="Keep the cluster's directory, with data and logs, and say where it is.")
@click.option("--json", "as_json", is_flag=True, help="The report in JSON.")
def drill(file: str | None, lists: bool, show: str | None, html: str | None, keep: bool, as_json: bool) -> None:
    """Carry out a drill: a new cluster, a load, faults at their times, and what is expected.

    FILE is a drill in YAML (docs/drills.md), or the name of one that comes along. Its cluster runs in a temporary
    directory and is gone afterwards; no other cluster is touched.
    """
    from engine.drills.shipped_drills import shipped, text_of

    if lists:
        rows = [{"name": name, "about": about} for name, about in shipped()]
        click.echo(json.dumps(rows) if as_json else "\n".join(f"{row['name']:<26} {row['about']}" for row in rows))
        return
    if show is not None:
        text = text_of(show)
        if text is None:
            fail(f"no drill {show!r} comes along; `kconsole drill --list` has those that do", USAGE)
        click.echo(text, nl=False)
        return
    if file is None:
        raise click.UsageError("name a drill's FILE, or one of `kconsole drill --list`")
    sys.exit(_carry_out(file, html, keep, as_json))


def _carry_out(file: str, html: str | None, keep: bool, as_json: bool) -> int:
    import asyncio
    import shutil
    import tempfile

    from engine.drills.drill_file import parse_drill
    from engine.drills.report import as_document, as_text
    from engine.drills.runner import DrillFailed, run_drill
    from engine.drills.shipped_drills import text_of
    from engine.supervisor.yaml_nodes import SpecErrors
    from engine.world.real import real_world

    name = os.path.splitext(os.path.basename(file))[0]
    text = None if os.path.exists(file) or os.sep in file else text_of(file)
    try:
        if text is None:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
        planned, warnings = parse_drill(text, name)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {file}: {error}; `kconsole drill --list` has the drills that come along", USAGE)
    except SpecErrors as error:
        click.echo(error.in_file(file), err=True)
        return USAGE
    for warning in warnings:
        click.echo(f"{warning.in_file(file)} (warning)", err=True)
    directory = tempfile.mkdtemp(prefix="kconsole-drill-")
    try:
        findings = asyncio.run(_until_told(run_drill(real_world(), directory, planned, _say)))
    except DrillFailed as error:
        fail(str(error), FAILED)
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("the drill was ended before its time", FAILED)
    finally:
        if keep:
            _say(f"the cluster's directory is {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    document = as_document(planned, findings)
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else as_text(document))
    if html is not None:
        from engine.drills.report_page import as_page

        try:
            with open(html, "w", encoding="utf-8") as page:
                page.write(as_page(document))
        except OSError as error:
            fail(f"cannot write {html}: {error.strerror}", FAILED)
    return 0 if document["passed"] else FAILED


async def _until_told(work: Coroutine[Any, Any, Findings]) -> Findings:
    """SIGTERM ends it as an interrupt does: brokers and directory go with it."""
    import asyncio
    import signal

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def _say(sentence: str) -> None:
    click.echo(f"drill: {sentence}", err=True)
