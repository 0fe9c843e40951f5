"""A registry behind real HTTP, whose records go to its state instead of a topic."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from engine.registry.config import RegistryConfig
from engine.registry.registry import SchemaRegistry
from engine.registry.server import CONTENT_TYPE, RegistryServer
from engine.registry.topic_records import Record


class Answer(NamedTuple):
    """Status, and what stands in the body."""

    status: int
    body: Any

    @property
    def code(self) -> int:
        """Of an error."""
        return int(self.body["error_code"])


class RegistryHttp:
    """Asks."""

    def __init__(self, url: str, session: aiohttp.ClientSession, registry: SchemaRegistry) -> None:
        self.url = url
        self.session = session
        self.registry = registry
        self.lost = ""

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """``path`` as it stands on the wire."""
        headers = {"Content-Type": CONTENT_TYPE, **more.pop("headers", {})}
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=headers, **more) as answer:
            text = await answer.text()
            assert answer.content_type == CONTENT_TYPE
            return Answer(answer.status, json.loads(text))

    async def get(self, path: str) -> Any:
        """A body, of an answer that is none of an error."""
        found = await self.ask("GET", path)
        assert found.status == 200, found
        return found.body

    async def register(self, subject: str, schema: Any, kind: str = "AVRO", **more: Any) -> Answer:
        """A schema, as text or as JSON value."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "schemaType": kind, **more}
        return await self.ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)


@asynccontextmanager
async def registry_http(**config: Any) -> AsyncIterator[RegistryHttp]:
    """One, from here to the end of the ``async with``."""

    async def append(records: list[Record]) -> None:
        for record in records:
            registry.state.apply(record.key, record.value, 1_700_000_000_000)

    registry = SchemaRegistry(append)
    asks: RegistryHttp | None = None
    server = RegistryServer(
        registry, RegistryConfig("unused:1", port=0, **config), lost=lambda: asks.lost if asks else ""
    )
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            asks = RegistryHttp(f"http://127.0.0.1:{server.port}", session, registry)
            yield asks
    finally:
        await server.close()
