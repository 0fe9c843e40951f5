"""``/admin/loggers``: levels of the worker's loggers, or of all workers' (KIP-495, KIP-976)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from engine.connect.errors import NotFoundError
from engine.connect.rest.answers import answer, nothing
from engine.connect.rest.bodies import texts
from engine.connect.rest.routes import Route, herder_of
from engine.connect.runtime.herder import BadRequest
from engine.connect.runtime.logger_levels import LEVELS, LOGGERS, LoggerLevel


async def _all(request: web.Request) -> web.Response:
    return answer({name: _shown(level) for name, level in LOGGERS.all().items()})


async def _one(request: web.Request) -> web.Response:
    name = request.match_info["logger"]
    level = LOGGERS.level(name)
    if level is None:
        raise NotFoundError(f"Logger {name} not found.")
    return answer(_shown(level))


async def _set(request: web.Request) -> web.Response:
    name, level = request.match_info["logger"], (await texts(request)).get("level")
    if level is None:
        raise BadRequest("Desired 'level' parameter was not specified in request.")
    if level.upper() not in LEVELS:
        raise NotFoundError(f"invalid log level '{level}'.")
    if request.query.get("scope", "worker").lower() == "cluster":
        await herder_of(request).set_cluster_logger_level(name, level.upper())
        return nothing()
    # An unknown scope is taken for the worker's, as in Java's.
    return answer(LOGGERS.set_level(name, level))


def _shown(level: LoggerLevel) -> dict[str, Any]:
    return {"level": level.level, "last_modified": level.last_modified}


_LOGGER = "/admin/loggers/{logger}"
ROUTES: tuple[Route, ...] = (("GET", "/admin/loggers", _all), ("GET", _LOGGER, _one), ("PUT", _LOGGER, _set))
