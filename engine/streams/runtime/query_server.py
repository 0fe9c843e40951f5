"""The HTTP server of a worker, in a thread of its own: queries of stores, and what the worker is doing.

Paths are those of docs/streams.md. Only GET, only JSON. Without a token only this machine is served, under its own
names: a page of another site, whose name points here, is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from engine.streams.errors import StreamsError
from engine.streams.queries.errors import QueryError
from engine.streams.queries.query import read_kind
from engine.streams.queries.routes import Endpoint, Routes
from engine.streams.runtime.local_stores import LocalStores
from engine.streams.runtime.query_service import QueryService

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

log = logging.getLogger(__name__)

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")
_READERS: Final = 8
_ASK_S: Final = 1.5
_MOST_BYTES: Final = 64 << 20
# Bytes that are no HTTP close their connection; they are not worth a traceback each. What handlers do is logged here.
_QUIET: Final = logging.getLogger(f"{__name__}.http")
_QUIET.setLevel(logging.CRITICAL)
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class QueryServer:
    """Binds at once, serves between :meth:`start` and :meth:`close`."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Port 0 is one that the system chooses.

        Raises:
            StreamsError: the address cannot be used.
        """
        self._token = token.encode()
        try:
            family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.create_server(address[:2], family=family)
        except OSError as error:
            raise StreamsError(
                f"application.server: cannot listen on {host}:{port}: {error.strerror}; choose another port, or 0"
            ) from error
        self.endpoint = Endpoint(host.strip("[]"), self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="streams-queries", daemon=True)
        self._executor = ThreadPoolExecutor(_READERS, thread_name_prefix="streams-query")
        self._ended = asyncio.Event()

    def start(
        self,
        local: LocalStores,
        routes: Callable[[], Routes],
        partitions_of: Callable[[str], int],
        documents: Mapping[str, Callable[[], Any]],
    ) -> None:
        """Serve; ``documents`` are answered as they are, by path."""
        self._service = QueryService(local, self.endpoint, routes, partitions_of, self._fetch, self._executor)
        self._documents = documents
        self._thread.start()

    def close(self) -> None:
        """End, also when it never began."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(5)
        else:
            self._loop.close()
        self._socket.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        from aiohttp import ClientSession, ClientTimeout, web

        @web.middleware
        async def guard(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            return await self._guarded(request, handler)

        application = web.Application(middlewares=[guard])
        for path, make in self._documents.items():
            application.router.add_get(path, self._document(make))
        application.router.add_get("/v1/routes", self._routes)
        application.router.add_get("/v1/stores/{store}/{kind}", self._query)
        application.router.add_get("/v1/parts/{store}/{kind}", self._parts)
        runner = web.AppRunner(application, access_log=None, logger=_QUIET, shutdown_timeout=1.0)
        headers = {"Authorization": f"Bearer {self._token.decode()}"} if self._token else {}
        async with ClientSession(timeout=ClientTimeout(total=_ASK_S), headers=headers) as self._session:
            await runner.setup()
            await web.SockSite(runner, self._socket).start()
            await self._ended.wait()
            await runner.cleanup()

    async def _guarded(
        self, request: web.Request, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        from aiohttp import web

        try:
            refusal = self._refusal(request.headers)
            if refusal is not None:
                return _answer({"error_code": "UNAUTHORIZED", "message": refusal}, 401 if self._token else 403)
            return await handle(request)
        except QueryError as error:
            return _answer(error.document(), error.status)
        except web.HTTPException as error:
            words = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
            message = f"{request.method} {request.path}: {error.reason}"
            return _answer({"error_code": words.get(error.status, "BAD_REQUEST"), "message": message}, error.status)
        except Exception as error:
            log.exception("%s", request.path)
            message = f"{type(error).__name__}: {error}"
            return _answer({"error_code": "UNKNOWN_SERVER_ERROR", "message": message}, 500)

    def _refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused."""
        if self._token:
            given = headers.get("Authorization", "").removeprefix("Bearer ").encode(errors="replace")
            if not hmac.compare_digest(given, self._token):
                return "the token is missing or wrong: send Authorization: Bearer and application.server.token"
            return None
        host = headers.get("Host", "")
        name, colon, port = host.rpartition(":")
        if (name if colon and port.isdigit() else host).lower() not in LOOPBACK:
            return f"this is not {host or 'a host without a name'}: say 127.0.0.1, or set application.server.token"
        if "Origin" in headers:
            return "pages of browsers have no business here"
        return None

    def _document(self, make: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            return _answer(await asyncio.to_thread(make))

        return answer

    async def _routes(self, _: web.Request) -> web.Response:
        return _answer(await self._service.routes())

    async def _query(self, request: web.Request) -> web.Response:
        at = request.match_info
        return _answer(await self._service.answer(at["store"], read_kind(at["kind"]), request.query))

    async def _parts(self, request: web.Request) -> web.Response:
        at = request.match_info
        return _answer(await self._service.parts(at["store"], read_kind(at["kind"]), request.query))

    _session: ClientSession

    async def _fetch(self, endpoint: Endpoint, path: str, parameters: Mapping[str, str]) -> tuple[int, Any]:
        from aiohttp import ClientError
        from yarl import URL

        url = URL(f"http://{endpoint}{path}", encoded=True).with_query(dict(parameters))
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                data = bytearray()
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > _MOST_BYTES:
                        raise OSError(f"{endpoint} answers more than {_MOST_BYTES} bytes")
                return response.status, json.loads(data)
        except ClientError as error:
            raise OSError(str(error)) from error


def _answer(document: Any, status: int = 200) -> web.Response:
    from aiohttp import web

    headers = dict(_HEADERS)
    if status == 503:
        headers["Retry-After"] = "1"
    try:
        body = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character, which JSON may have and UTF-8 not
        body = json.dumps(document).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")
