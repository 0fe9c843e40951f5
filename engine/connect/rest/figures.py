"""``/kconsole/tasks``: what the tasks that run on this worker have done. Our own; Java's worker has no such path."""

from __future__ import annotations

from aiohttp import web

from engine.connect.rest.answers import answer
from engine.connect.rest.routes import Route, herder_of


async def _tasks(request: web.Request) -> web.Response:
    found = [
        {
            "connector": each.task.connector,
            "task": each.task.task,
            "pid": each.pid,
            "records": each.records,
            "records_per_s": round(each.records_per_s, 3),
        }
        for each in herder_of(request).figures()
    ]
    return answer(found)


ROUTES: tuple[Route, ...] = (("GET", "/kconsole/tasks", _tasks),)
