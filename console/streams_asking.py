"""Workers of an application over streams, found by their group and asked one after the other (docs/streams.md)."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from console.looking import admin_cluster
from console.supervisor_calls import FAILED, USAGE, fail

if TYPE_CHECKING:
    from engine.client.admin.client import AdminClient
    from engine.client.admin.group_descriptions import GroupDescription

TOKEN: Final = "KCONSOLE_STREAMS_TOKEN"
"""The environment variable that has the workers' ``application.server.token``."""

_ONE_S: Final = 4.0
_RETRY_S: Final = 0.2
_MOST_BYTES: Final = 64 << 20


class Refused(Exception):
    """A worker said no to the question itself: any other would say the same."""


class NoAnswer(Exception):
    """A worker did not answer, or not yet."""


def find_application(
    application_id: str | None, bootstrap_servers: str | None, data_dir: str | None
) -> GroupDescription:
    """The group of an application, or the only one that there is. Ends the process with a sentence if there is none."""
    import asyncio

    from engine.client.errors import ClientError
    from engine.model.errors import KafkaError

    addresses, world = admin_cluster(bootstrap_servers, data_dir, changes=False)

    async def look() -> GroupDescription:
        from engine.client.admin.client import AdminClient

        admin = AdminClient(world, addresses)
        try:
            name = application_id or await _only_application(admin)
            found = (await admin.describe_groups({name: ""}))[name]
            if isinstance(found, Exception):
                fail(f"application {name}: {found}", FAILED)
            if not found.is_streams and not found.members:
                fail(f"{name} has no workers: `kconsole streams run` starts some", FAILED)
            if not found.is_streams:
                fail(f"{name} is a {found.group_type} group, not an application of `kconsole streams run`", FAILED)
            return found
        except (ClientError, KafkaError) as error:
            fail(str(error), FAILED)
        finally:
            admin.close()

    return asyncio.run(look())


async def _only_application(admin: AdminClient) -> str:
    await admin.describe_cluster()
    listed = await admin.list_groups()
    types = {each.group_id: each.group_type for each in listed.groups if each.group_type in ("streams", "classic", "")}
    described = await admin.describe_groups(types)
    groups = {name: each for name, each in described.items() if not isinstance(each, Exception) and each.is_streams}
    names = sorted(groups)
    # Of several the one that runs is meant.
    for found in (names, [name for name in names if groups[name].members]):
        if len(found) == 1:
            return found[0]
    if not names:
        fail("no application over streams is known here: `kconsole streams run` starts one", FAILED)
    fail(f"say which with --application-id: {', '.join(names)}", USAGE)


def endpoints_of(group: GroupDescription) -> list[str]:
    """Where workers answer. Ends the process with a sentence if none does."""
    found = sorted({each.user_endpoint for each in group.members if each.user_endpoint})
    if not found:
        why = "it has no workers" if not group.members else "set application.server, as `kconsole streams run` does"
        fail(f"no worker of {group.group_id} answers queries: {why}", FAILED)
    return found


def ask_worker(endpoint: str, path: Iterable[str], parameters: Mapping[str, str], timeout_s: float) -> Any:
    """What one worker answers.

    Raises:
        Refused: the question is wrong.
        NoAnswer: it cannot be reached, or cannot say now.
    """
    target = "/".join(("", *(quote(each, safe="") for each in path)))
    if parameters:
        target += f"?{urlencode(parameters)}"
    address = urlsplit(f"//{endpoint}")
    headers = {"Authorization": f"Bearer {os.environ[TOKEN]}"} if os.environ.get(TOKEN) else {}
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=max(0.1, timeout_s))
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        data = response.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise NoAnswer(f"{endpoint} answers more than {_MOST_BYTES >> 20} MiB: ask for less (--limit)")
        document = json.loads(data)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise NoAnswer(f"{endpoint} does not answer: {why}") from error
    finally:
        connection.close()
    if response.status == 200:
        return document
    message = document.get("message") if isinstance(document, dict) else None
    if response.status in (401, 403):
        raise Refused(f"{endpoint}: {message}; give the token as {TOKEN}")
    if response.status in (400, 404) and message:
        raise Refused(str(message))
    raise NoAnswer(str(message or f"{endpoint} answers {response.status}"))


def ask_any(endpoints: list[str], path: Iterable[str], parameters: Mapping[str, str], timeout_s: float) -> Any:
    """What the first worker that can answers; all are asked again until ``timeout_s`` is over. Ends the process with a
    sentence if none can."""
    until = time.monotonic() + timeout_s
    parts = tuple(path)
    while True:
        said = []
        for endpoint in tuple(endpoints):
            try:
                return ask_worker(endpoint, parts, parameters, min(_ONE_S, until - time.monotonic()))
            except Refused as error:
                fail(str(error), USAGE)
            except NoAnswer as error:
                said.append(str(error))
                # Whoever is silent is the last to be asked, by the next question as well.
                endpoints.remove(endpoint)
                endpoints.append(endpoint)
        if time.monotonic() + _RETRY_S > until:
            fail("\n".join(dict.fromkeys(said)), FAILED)
        time.sleep(_RETRY_S)
