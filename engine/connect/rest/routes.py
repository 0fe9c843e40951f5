"""What the files of resources share: where their herder is, and how paths are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web

from engine.connect.rest.config import RestConfig
from engine.connect.runtime.herder import Herder, RequestRefused


@dataclass(slots=True)
class Worker:
    """Whose server it is; no herder as long as the worker starts."""

    herder: Herder | None = None


WORKER: web.AppKey[Worker] = web.AppKey("worker", Worker)
CONFIG: web.AppKey[RestConfig] = web.AppKey("config", RestConfig)

STARTING = "Worker is still starting up."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]


def herder_of(request: web.Request) -> Herder:
    """The worker's.

    Raises:
        RequestRefused: it is still starting.
    """
    herder = request.app[WORKER].herder
    if herder is None:
        raise RequestRefused(503, STARTING)
    return herder


def connector_of(request: web.Request) -> str:
    """The one in the path."""
    return request.match_info["connector"]


def flag(request: web.Request, name: str) -> bool:
    """A truth value of the query; what is not ``true`` is false."""
    return request.query.get(name, "").lower() == "true"


def with_slashes(routes: Iterable[Route]) -> Iterator[web.RouteDef]:
    """The same paths with a slash at the end, which means nothing here."""
    for method, path, handler in routes:
        yield web.route(method, path, handler)
        if not path.endswith("/"):
            yield web.route(method, f"{path}/", handler)
