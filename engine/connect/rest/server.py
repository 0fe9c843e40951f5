"""A worker's HTTP server. It listens first, so that the worker knows its URL, and answers once there is a herder."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import Iterable

from aiohttp import web

from engine.connect.errors import AlreadyExistsError, ConnectError, NotFoundError
from engine.connect.rest import connector_plugins, connectors, figures, internal, loggers, offsets, root
from engine.connect.rest.access import Access
from engine.connect.rest.answers import answer, error
from engine.connect.rest.bodies import MAX_BODY_BYTES
from engine.connect.rest.config import Listener, RestConfig
from engine.connect.rest.forwarding import Forwarding
from engine.connect.rest.routes import CONFIG, WORKER, Handler, Route, Worker, with_slashes
from engine.connect.runtime.herder import Herder, NotLeader, RebalanceNeeded, RequestRefused
from engine.connect.runtime.request_signature import RequestSignature

_log = logging.getLogger(__name__)
# Joining a group may take a whole session time-out.
REQUEST_TIMEOUT_S = 90.0
HEALTH_TIMEOUT_S = 10.0
_CLOSE_S = 5.0
_STALE = (
    "Cannot complete request momentarily due to stale configuration (typically caused by a concurrent config change)"
)
_MAIN: tuple[Route, ...] = (
    *root.ROUTES,
    *internal.ROUTES,
    *connectors.ROUTES,
    *offsets.ROUTES,
    *connector_plugins.ROUTES,
    *figures.ROUTES,
)


class RestServer:
    """``listen``, then ``serve``, then ``close``."""

    def __init__(self, config: RestConfig) -> None:
        self._config = config
        self._access = Access(config.token, config.hosts())
        self._forwarding = Forwarding(REQUEST_TIMEOUT_S)
        self._worker = Worker()
        self._runners: list[web.AppRunner] = []
        self.url = ""
        """The URL under which others ask this worker, once it listens."""

    async def listen(self) -> str:
        """Take the ports; until :meth:`serve` every answer is 503. Gives the advertised URL.

        Raises:
            ConnectError: a port cannot be had.
        """
        admin = self._config.admin_listeners
        routes = (*_MAIN, *loggers.ROUTES) if admin is None else _MAIN
        bound = await self._start(routes, self._config.listeners, "listeners")
        if admin:
            await self._start(loggers.ROUTES, admin, "admin.listeners")
        self.url = self._config.advertised_url(bound[0])
        if self._config.token is None and any(not _is_loopback(each) for each in bound):
            _log.warning("whoever reaches %s may do anything with this worker: rest.auth=none", self.url)
        return self.url

    def serve(self, herder: Herder) -> None:
        """Answer."""
        self._worker.herder = herder

    async def close(self) -> None:
        """Stop listening; what is being answered has a few seconds."""
        for runner in self._runners:
            await runner.cleanup()
        await self._forwarding.close()

    async def _start(self, routes: Iterable[Route], listeners: Iterable[Listener], name: str) -> list[Listener]:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app[CONFIG] = self._config
        app.add_routes(with_slashes(routes))
        app[WORKER] = self._worker
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=_CLOSE_S)
        await runner.setup()
        self._runners.append(runner)
        bound = []
        for each in listeners:
            site = web.TCPSite(runner, each.host or None, each.port)
            try:
                await site.start()
            except OSError as failure:
                raise ConnectError(
                    f"cannot listen on {each.host or '*'}:{each.port}: {os.strerror(failure.errno or 0)}; "
                    f"choose other {name}"
                ) from failure
            bound.append(Listener(each.host, runner.addresses[-1][1]))
        return bound

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who may come in; and every failure as an answer."""
        refusal = self._access.stranger(request.headers)
        if refusal is not None:
            return error(*refusal)
        limit_s = HEALTH_TIMEOUT_S if request.path == "/health" else REQUEST_TIMEOUT_S
        try:
            async with asyncio.timeout(limit_s):
                unknown = self._access.unknown(request.headers)
                if unknown is not None and not await self._is_colleague(request):
                    return error(*unknown, {"WWW-Authenticate": "Bearer"})
                if request.match_info.http_exception is None and not _takes_json(request):
                    return error(406, "HTTP 406 Not Acceptable")
                return await handler(request)
        except NotLeader as elsewhere:
            return await self._forwarding.forward(request, elsewhere.url)
        except web.HTTPException as failure:
            allowed = {name: failure.headers[name] for name in ("Allow",) if name in failure.headers}
            return error(failure.status, f"HTTP {failure.status} {failure.reason}", allowed)
        except TimeoutError:
            if request.path == "/health":
                message = "Worker was unable to handle this request and may be unable to handle other requests."
                return answer({"status": "unhealthy", "message": message}, 500)
            return error(500, "Request timed out")
        except Exception as failure:
            return self._failed(request, failure)

    async def _is_colleague(self, request: web.Request) -> bool:
        """Whether a worker of the group asks: its signature is as good as the token, where such are asked for."""
        resource = request.match_info.route.resource
        if self._worker.herder is None or resource is None or resource.canonical.rstrip("/") not in internal.PATHS:
            return False
        signature = RequestSignature.of(request.headers, await request.read())
        return signature is not None and self._worker.herder.check_signature(signature)

    @staticmethod
    def _failed(request: web.Request, failure: Exception) -> web.Response:
        match failure:
            case RebalanceNeeded():
                return error(409, _STALE)
            case RequestRefused():
                return error(failure.status, str(failure))
            case NotFoundError():
                return error(404, str(failure))
            case AlreadyExistsError():
                return error(409, str(failure))
            case ConnectError():
                _log.warning("%s %s: %s", request.method, request.path, failure)
            case _:
                _log.exception("%s %s failed", request.method, request.path)
        return error(500, str(failure))


def _takes_json(request: web.Request) -> bool:
    """Whether ``Accept`` lets an answer be JSON."""
    wanted = ",".join(request.headers.getall("Accept", ["*/*"]))
    kinds = (each.split(";")[0].strip().lower() for each in wanted.split(","))
    return any(each in ("application/json", "application/*", "*/*", "*") for each in kinds)


def _is_loopback(listener: Listener) -> bool:
    if listener.host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(listener.host.partition("%")[0]).is_loopback
    except ValueError:
        return False
