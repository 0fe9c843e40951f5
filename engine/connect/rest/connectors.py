"""``/connectors``: create, configure, look, pause, stop, restart, delete (``ConnectorsResource``)."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from aiohttp import web

from engine.connect.errors import NotFoundError
from engine.connect.rest import answers
from engine.connect.rest.answers import answer, nothing
from engine.connect.rest.bodies import as_text, as_texts, object_of_texts, refuse, texts, without_nulls
from engine.connect.rest.routes import CONFIG, Route, connector_of, flag, herder_of
from engine.connect.runtime.herder import TARGET_STATES, BadRequest, RequestRefused, TaskId

_log = logging.getLogger(__name__)


async def _list(request: web.Request) -> web.Response:
    herder = herder_of(request)
    names = await herder.connectors()
    if "expand" not in request.query:
        return answer(names)
    found: dict[str, Any] = {}
    for name in names:
        one: dict[str, Any] = {}
        try:
            for what in request.query.getall("expand"):
                if what == "status":
                    one["status"] = answers.status(await herder.status(name))
                elif what == "info":
                    one["info"] = answers.info(await herder.info(name))
        except NotFoundError:
            continue  # removed meanwhile
        found[name] = one
    return answer(found)


async def _create(request: web.Request) -> web.Response:
    body = await object_of_texts(request, "name", "config", "initial_state")
    name = (as_text(body.get("name"), "name") or "").strip()
    if body.get("config") is None:
        refuse("config is missing")
    config = _named(name, as_texts(body["config"], "config"))
    state = as_text(body.get("initial_state"), "initial_state")
    if state is not None and state.upper() not in TARGET_STATES:
        refuse(f"initial_state {state!r} is none of {', '.join(TARGET_STATES)}")
    _, made = await herder_of(request).put_config(
        name, config, may_exist=False, target_state=None if state is None else TARGET_STATES[state.upper()]
    )
    return answer(answers.info(made), 201, _location(request, name))


async def _put_config(request: web.Request) -> web.Response:
    name = connector_of(request)
    created, made = await herder_of(request).put_config(name, _named(name, await texts(request)), may_exist=True)
    return answer(answers.info(made), 201 if created else 200, _location(request, name) if created else None)


async def _patch_config(request: web.Request) -> web.Response:
    changed = await herder_of(request).patch_config(connector_of(request), await texts(request))
    return answer(answers.info(changed))


async def _info(request: web.Request) -> web.Response:
    return answer(answers.info(await herder_of(request).info(connector_of(request))))


async def _config(request: web.Request) -> web.Response:
    return answer(dict((await herder_of(request).info(connector_of(request))).config))


async def _status(request: web.Request) -> web.Response:
    return answer(answers.status(await herder_of(request).status(connector_of(request))))


async def _tasks(request: web.Request) -> web.Response:
    found = await herder_of(request).task_configs(connector_of(request))
    return answer([{"id": answers.task_id(task), "config": dict(config)} for task, config in found])


async def _task_status(request: web.Request) -> web.Response:
    task = _task_of(request)
    missing = f"No status found for task {task}"
    try:
        found = (await herder_of(request).status(task.connector)).tasks.get(task.task)
    except NotFoundError:
        raise NotFoundError(missing) from None
    if found is None:
        raise NotFoundError(missing)
    return answer({"id": task.task, **answers.state(found)})


async def _pause(request: web.Request) -> web.Response:
    await herder_of(request).set_target_state(connector_of(request), "PAUSED")
    return nothing(202)


async def _resume(request: web.Request) -> web.Response:
    await herder_of(request).set_target_state(connector_of(request), "STARTED")
    return nothing(202)


async def _stop(request: web.Request) -> web.Response:
    await herder_of(request).set_target_state(connector_of(request), "STOPPED")
    return nothing()


async def _restart(request: web.Request) -> web.Response:
    include_tasks, only_failed = flag(request, "includeTasks"), flag(request, "onlyFailed")
    status = await herder_of(request).restart(
        connector_of(request), include_tasks=include_tasks, only_failed=only_failed
    )
    # Without either it is the restart of before KIP-745, which answered nothing.
    return answer(answers.status(status), 202) if include_tasks or only_failed else nothing()


async def _restart_task(request: web.Request) -> web.Response:
    await herder_of(request).restart_task(_task_of(request))
    return nothing()


async def _delete(request: web.Request) -> web.Response:
    await herder_of(request).delete(connector_of(request))
    return nothing()


async def _topics(request: web.Request) -> web.Response:
    if not request.app[CONFIG].topic_tracking:
        raise RequestRefused(403, "Topic tracking is disabled.")
    name = connector_of(request)
    return answer({name: {"topics": await herder_of(request).active_topics(name)}})


async def _reset_topics(request: web.Request) -> web.Response:
    if not request.app[CONFIG].topic_tracking:
        raise RequestRefused(403, "Topic tracking is disabled.")
    if not request.app[CONFIG].topic_tracking_reset:
        raise RequestRefused(403, "Topic tracking reset is disabled.")
    await herder_of(request).reset_active_topics(connector_of(request))
    return nothing(202)


def _named(name: str, config: dict[str, str | None]) -> dict[str, str]:
    """The config with the connector's name in it."""
    included = config.get("name")
    if included is not None and included != name:
        raise BadRequest(f"Connector name configuration ({included}) doesn't match connector name in the URL ({name})")
    return {**without_nulls(config), "name": name}


def _task_of(request: web.Request) -> TaskId:
    return TaskId(connector_of(request), int(request.match_info["task"]))


def _location(request: web.Request, name: str) -> dict[str, str]:
    return {"Location": f"http://{request.host}/connectors/{quote(name, safe='')}"}


_ONE = "/connectors/{connector}"
ROUTES: tuple[Route, ...] = (
    ("GET", "/connectors", _list),
    ("POST", "/connectors", _create),
    ("GET", _ONE, _info),
    ("DELETE", _ONE, _delete),
    ("GET", f"{_ONE}/config", _config),
    ("PUT", f"{_ONE}/config", _put_config),
    ("PATCH", f"{_ONE}/config", _patch_config),
    ("GET", f"{_ONE}/status", _status),
    ("GET", f"{_ONE}/tasks", _tasks),
    ("GET", _ONE + r"/tasks/{task:\d{1,9}}/status", _task_status),
    ("POST", _ONE + r"/tasks/{task:\d{1,9}}/restart", _restart_task),
    ("GET", f"{_ONE}/topics", _topics),
    ("PUT", f"{_ONE}/topics/reset", _reset_topics),
    ("PUT", f"{_ONE}/pause", _pause),
    ("PUT", f"{_ONE}/resume", _resume),
    ("PUT", f"{_ONE}/stop", _stop),
    ("POST", f"{_ONE}/restart", _restart),
)
