"""What workers of a group ask each other: configs of tasks for the leader, fencing (``InternalConnectResource``)."""

from __future__ import annotations

import json

from aiohttp import web

from engine.connect.rest.answers import nothing
from engine.connect.rest.bodies import as_texts, refuse, without_nulls
from engine.connect.rest.routes import Route, connector_of, herder_of
from engine.connect.runtime.request_signature import RequestSignature

PATHS = ("/connectors/{connector}/tasks", "/connectors/{connector}/fence")


async def _tasks(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        given = json.loads(body or b"null", parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        refuse(f"it is no JSON: {error}")
    if not isinstance(given, list):
        refuse("a list of configs is wanted")
    herder = herder_of(request)
    herder.check_signature(RequestSignature.of(request.headers, body))
    configs = [without_nulls(as_texts(each, "a task's config")) for each in given]
    await herder.task_configs_from_worker(connector_of(request), configs)
    return nothing()


async def _fence(request: web.Request) -> web.Response:
    herder = herder_of(request)
    herder.check_signature(RequestSignature.of(request.headers, await request.read()))
    await herder.fence_zombies(connector_of(request))
    return nothing()


ROUTES: tuple[Route, ...] = (("POST", PATHS[0], _tasks), ("PUT", PATHS[1], _fence))
