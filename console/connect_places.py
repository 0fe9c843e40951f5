"""Where Connect's workers of a cluster are: what ``kconsole connect run`` left in files, a context's URL, an option's.

``connect/`` of an embedded cluster's data directory, or of another cluster's under the XDG data home, has

    token                the token of REST, for this user alone
    GROUP.workers/       logs, and workers.json: where those that run answer
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Sequence
from typing import Any

import click

from console.gateway.connect_http import NOBODY, ConnectPlace, ConnectRefused, ConnectRest, NoConnectWorker, place_of
from console.looking import chosen_context
from console.supervisor_calls import FAILED, USAGE, directory_of, fail

_NOT_FOUND = 404
CONNECT_URL_KEY = "kconsole.connect_url"


def connect_directory(bootstrap_servers: str | None, data_dir: str | None) -> str:
    """The ``connect/`` of a cluster: of an embedded one, unless brokers are named."""
    if bootstrap_servers is None:
        return directory_of(data_dir).connect_dir()
    home = os.path.dirname(directory_of(None).path)
    return os.path.join(home, "connect", re.sub(r"[^\w.-]+", "_", bootstrap_servers)[:120])


def known_places(directory: str) -> dict[str, ConnectPlace]:
    """By group those whose workers were started here and, as far as files tell, run."""
    from engine.supervisor.connect_workers import WorkersDirectory

    found = {}
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return {}
    for name in names:
        if not name.endswith(".workers"):
            continue
        place = WorkersDirectory(directory, name.removesuffix(".workers"))
        urls = _urls(place.workers_file)
        if urls:
            found[place.group] = ConnectPlace(urls, _token(place.token_file))
    return found


def _urls(path: str) -> tuple[str, ...]:
    try:
        with open(path, encoding="utf-8") as file:
            document: Any = json.load(file)
        return place_of(",".join(document["urls"])).urls if document["urls"] else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _token(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def note_connect_url(context: click.Context, _: click.Parameter, url: str | None) -> None:
    """Of the console itself: checked now, used when it opens."""
    if url is not None:
        try:
            place_of(url)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        context.meta[CONNECT_URL_KEY] = url


def place_options(command: Any) -> Any:
    """Which workers: of the embedded cluster, of a context, or those that are named."""
    from console.looking import CONTEXT
    from console.supervisor_calls import DATA_DIR

    for option in (
        CONTEXT,
        DATA_DIR,
        click.option("--bootstrap-servers", metavar="H:P,…", help="Of the cluster whose workers are meant."),
        click.option("--group", metavar="ID", help="Which group of workers, where several run here."),
        click.option(
            "--token-file",
            type=click.Path(exists=True, dir_okay=False, readable=True),
            help="Has the token that workers want, with --connect-url.",
        ),
        click.option(
            "--connect-url",
            "--url",
            "url",
            metavar="URL,…",
            envvar="KCONSOLE_CONNECT_URL",
            help="Of workers, kconsole's or Java's; http://USER:PASSWORD@… where they want that.",
        ),
    ):
        command = option(command)
    return command


def rest_of(
    url: str | None, token_file: str | None, group: str | None, bootstrap_servers: str | None, data_dir: str | None
) -> ConnectRest:
    """Asks the workers that :func:`place_options` name. Ends the process with a sentence if there are none."""
    if token_file is not None and url is None:
        raise click.UsageError("--token-file goes with --connect-url")
    if url is not None:
        try:
            return ConnectRest(place_of(url, None if token_file is None else _token(token_file)))
        except ValueError as error:
            raise click.UsageError(f"--connect-url: {error}") from None
    context = chosen_context(other=bootstrap_servers is not None or data_dir is not None)
    if context is not None:
        from console.contexts import ContextError, connect_of

        try:
            written = connect_of(context)
            if written:
                return ConnectRest(place_of(written))
        except (ContextError, ValueError) as error:
            fail(f"{context.name}: connect: {error}", USAGE)
        bootstrap_servers = context.bootstrap_servers or bootstrap_servers
        data_dir = context.data_dir or data_dir
    places = known_places(connect_directory(bootstrap_servers, data_dir))
    if group is not None:
        if group not in places:
            fail(f"no workers of {group} run here{_those(places)}", FAILED)
        return ConnectRest(places[group])
    if not places:
        fail(NOBODY, FAILED)
    if len(places) > 1:
        fail(f"say which with --group: {', '.join(places)}", USAGE)
    return ConnectRest(next(iter(places.values())))


def refusal(rest: ConnectRest, error: ConnectRefused, names: Sequence[str], kind: str = "connectors") -> str:
    """What a worker refused by; with the nearest name of ``kind`` that there is, where it knows none of ``names``."""
    said = str(error)
    if error.status != _NOT_FOUND:
        return said
    try:
        there = [
            each["class"].rpartition(".")[2] if kind == "connector-plugins" else each
            for each in rest.ask("GET", (kind,))
        ]
    except (ConnectRefused, NoConnectWorker, TypeError, KeyError):
        return said
    unknown = [each for each in names if each not in there]
    near = difflib.get_close_matches(unknown[0], there, 1) if unknown else []
    return f"{said}{'' if said.endswith('.') else '.'} Did you mean {near[0]}?" if near else said


def _those(places: dict[str, ConnectPlace]) -> str:
    return f"; of {', '.join(places)} there are" if places else ": `kconsole connect run` starts them"
