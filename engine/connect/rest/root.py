"""``/`` and ``/health`` (KIP-1017)."""

from __future__ import annotations

from aiohttp import web

from engine.connect.rest.answers import answer
from engine.connect.rest.routes import STARTING, WORKER, Route, herder_of

# The release whose REST this is, and whose worker.
_VERSION, _COMMIT = "4.3.1-kconsole", "kconsole"


async def _worker(request: web.Request) -> web.Response:
    cluster_id = herder_of(request).kafka_cluster_id()
    return answer({"version": _VERSION, "commit": _COMMIT, "kafka_cluster_id": cluster_id})


async def _health(request: web.Request) -> web.Response:
    herder = request.app[WORKER].herder
    if herder is None or not herder.is_ready():
        return answer({"status": "starting", "message": STARTING}, 503)
    message = "Worker has completed startup and is ready to handle requests."
    return answer({"status": "healthy", "message": message})


ROUTES: tuple[Route, ...] = (("GET", "/", _worker), ("GET", "/health", _health))
