"""The web server of ``kconsole web``: loopback only, a token, and a console a tab."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from string import Template
from urllib.parse import quote

from aiohttp import WSCloseCode, web
from textual_serve.server import Server, to_int

from console.web.access import Access
from console.web.tab import Tab

ADDRESS = "127.0.0.1"
_HERE = os.path.dirname(os.path.abspath(__file__))
_CLOSE_S = 10.0
# No other page may put this one in a frame, and this one loads from nowhere else. xterm.js makes its own styles.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class CannotListen(Exception):
    """The port cannot be had; the message is a sentence."""


class WebServer(Server):
    """Textual-serve's server and page script, behind :class:`Access`, with a page that needs nothing from elsewhere."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        """
        Args:
            command: starts the console of a tab.
            port: 0 takes any that is free.
        """
        super().__init__(" ".join(command), host=ADDRESS, port=port, title="kconsole")
        self._words = tuple(command)
        self._token = secrets.token_urlsafe(32)
        self._access = Access(self._token, secrets.token_urlsafe(32), port)
        self._sockets: set[web.WebSocketResponse] = set()
        with open(os.path.join(_HERE, "page.html"), encoding="utf-8") as file:
            self._page = Template(file.read())

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self.handle_index, name="index"),
                web.get("/ws", self.handle_websocket, name="websocket"),
                web.get("/download/{key}", self.handle_download, name="download"),
                web.get("/page/{name:page\\.(?:js|css)}", self._handle_page_file),
                web.static("/static", self.statics_path, name="static"),
            ]
        )
        app.on_shutdown.append(self.on_shutdown)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Nothing at all without the token; and what every answer says to the browser."""
        refusal = self._access.refusal(
            request.headers, request.query.get("token"), request.cookies, from_page=request.path == "/ws"
        )
        if refusal is not None:
            return _with_policy(web.Response(status=403, text=f"kconsole: {refusal.sentence}\n"), "localhost")
        try:
            response = await handler(request)
        except web.HTTPException as error:
            _with_policy(error, request.host)
            raise
        return response if response.prepared else _with_policy(response, request.host)

    async def handle_index(self, request: web.Request) -> web.StreamResponse:  # type: ignore[override]
        """The page; with the token first a cookie for it, so that it stays in no history."""
        if "token" in request.query:
            response = web.HTTPSeeOther("/", headers={"Cache-Control": "no-store"})
            response.set_cookie(self._access.cookie_name, self._access.session, httponly=True, samesite="Lax", path="/")
            return response
        text = self._page.substitute(
            title="kconsole",
            websocket=f"ws://{request.host}/ws",
            font_size=max(6, min(64, to_int(request.query.get("fontsize", "16"), 16))),
        )
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def _handle_page_file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(os.path.join(_HERE, request.match_info["name"]))

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A tab: as long as it is open, its console runs."""
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        tab = Tab(
            self._words,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,
            download_manager=self.download_manager,
        )
        self._sockets.add(websocket)
        try:
            width, height = (
                to_int(request.query.get(name, ""), least) for name, least in (("width", 80), ("height", 24))
            )
            await tab.start(width, height)
            await self._process_messages(websocket, tab)
        except ConnectionError:
            pass
        finally:
            self._sockets.discard(websocket)
            await tab.stop()
        return websocket

    async def on_shutdown(self, app: web.Application) -> None:
        """Close all tabs; their consoles leave."""
        closing = [
            each.close(code=WSCloseCode.GOING_AWAY, message=b"kconsole web ends") for each in list(self._sockets)
        ]
        await asyncio.gather(*closing, return_exceptions=True)

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP, then close all tabs.

        Args:
            on_ready: is given the address to open, with the token.

        Raises:
            CannotListen: the port is taken, or not allowed.
        """
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, ending.set)
        runner = web.AppRunner(await self._make_app(), handle_signals=False, access_log=None, shutdown_timeout=_CLOSE_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, ADDRESS, self.port)
            try:
                await site.start()
            except OSError as error:
                raise CannotListen(
                    f"cannot listen on {ADDRESS}:{self.port}: {os.strerror(error.errno or 0)}; choose another --port"
                ) from error
            port = int(runner.addresses[0][1])
            self._access = Access(self._token, self._access.session, port)
            on_ready(f"http://{ADDRESS}:{port}/?token={quote(self._token)}")
            await ending.wait()
        finally:
            await runner.cleanup()


def _with_policy(response: web.StreamResponse, host: str) -> web.StreamResponse:
    response.headers.update(
        {
            "Content-Security-Policy": _POLICY.format(host=host),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
    )
    return response
