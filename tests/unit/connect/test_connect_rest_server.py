"""A worker's REST server before the worker has started: who may come in, and what broken requests are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from yarl import URL

from engine.connect.errors import ConnectError
from engine.connect.rest.config import RestConfig
from engine.connect.rest.server import RestServer

TOKEN = "a-token-of-more-than-sixteen"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def server(**configs: str) -> AsyncIterator[str]:
    """Listening, with nobody behind it."""
    given = {"listeners": "http://127.0.0.1:0", "rest.token": TOKEN}
    running = RestServer(RestConfig.of({**given, **{name.replace("__", "."): each for name, each in configs.items()}}))
    try:
        yield (await running.listen()).rstrip("/")
    finally:
        await running.close()


async def ask(url: str, method: str = "GET", headers: dict[str, str] | None = None, data: bytes | None = None):
    async with ClientSession() as session, session.request(method, url, headers=headers, data=data) as answer:
        return answer.status, json.loads(await answer.read() or b"null"), answer.headers


async def test_without_the_token_every_path_is_refused_and_none_is_told_apart() -> None:
    async with server() as url:
        for path in ("/", "/connectors", "/nothing", "/admin/loggers", "/connectors/x/tasks"):
            status, body, headers = await ask(url + path)
            assert (status, body["error_code"], headers["WWW-Authenticate"]) == (401, 401, "Bearer")
        signed = {"X-Connect-Authorization": "bm8=", "X-Connect-Request-Signature-Algorithm": "HmacSHA256"}
        status, _, _ = await ask(f"{url}/connectors/x/tasks", "POST", signed, b"[]")
        assert status == 401


async def test_a_worker_that_starts_says_so() -> None:
    async with server() as url:
        status, body, _ = await ask(f"{url}/health", headers=BEARER)
        assert (status, body["status"]) == (503, "starting")
        status, body, _ = await ask(f"{url}/connectors", headers=BEARER)
        assert (status, body["message"]) == (503, "Worker is still starting up.")


async def test_foreign_names_and_pages_are_refused_without_a_token_too() -> None:
    async with server(rest__auth="none") as url:
        assert (await ask(f"{url}/connectors"))[0] == 503
        assert (await ask(f"{url}/connectors", headers={"Host": "evil.example"}))[0] == 403
        status, _, headers = await ask(f"{url}/connectors", "POST", {"Origin": "https://evil.example"}, b"{}")
        assert status == 403 and not any(name.startswith("Access-Control") for name in headers)


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"\xff\xfe", "application/json", 500),
        (b"[" * 200_000, "application/json", 500),
        (b'{"name": NaN}', "application/json", 500),
        (b'{"name": "half of a character: \\ud800", "config": {}}', "application/json", 500),
        (b'{"name": "both halves: \\ud83d\\ude00", "config": {}}', "application/json", 503),
        (b"{}", "text/plain", 415),
        (b"x" * (17 << 20), "application/json", 413),
    ],
    ids=["no UTF-8", "deep", "no JSON", "half of a character", "both halves", "text", "large"],
)
async def test_broken_bodies_are_answered_and_the_server_goes_on(data: bytes, content_type: str, status: int) -> None:
    async with server() as url:
        headers = {**BEARER, "Content-Type": content_type}
        got, body, _ = await ask(f"{url}/connectors", "POST", headers, data)
        assert (got, body["error_code"]) == (status, status)
        assert (await ask(f"{url}/health", headers=BEARER))[0] == 503


async def test_bytes_that_are_no_http_close_their_connection_only() -> None:
    async with server() as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b"400" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert (await ask(f"{url}/health", headers=BEARER))[0] == 503


async def test_a_port_that_is_taken_is_named() -> None:
    async with server() as url:
        port = url.rpartition(":")[2]
        with pytest.raises(ConnectError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with server(listeners=f"http://127.0.0.1:{port}"):
                pass


async def test_admin_can_have_a_listener_of_its_own_or_none() -> None:
    async with server(admin__listeners="") as url:
        assert (await ask(f"{url}/admin/loggers", headers=BEARER))[0] == 404


async def test_names_may_hold_what_parts_a_path() -> None:
    async with server() as url:
        for path in ("/connectors/a%2Fb/config", "/connectors/%25/status", "/connectors/%C3%BC%20x/", "/connectors/"):
            # Found, and nobody is there yet.
            async with ClientSession() as session, session.get(URL(url + path, encoded=True), headers=BEARER) as answer:
                assert answer.status == 503, path
        assert (await ask(f"{url}/connectors/x/nothing", headers=BEARER))[0] == 404
        assert (await ask(f"{url}/connectors", "DELETE", BEARER))[0] == 405
