"""The registry's HTTP: every path of Confluent's REST interface for schemas, over aiohttp.

Each path exists a second time below ``/contexts/{context}``, where subjects and ids are those of the context.
Source: "Schema Registry API Reference".
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from engine.registry import bodies, errors
from engine.registry.access import is_local_host, is_user
from engine.registry.config import RegistryConfig, is_loopback
from engine.registry.errors import RegistryError, RegistryFenced
from engine.registry.json_text import read_json
from engine.registry.registry import LATEST, SCHEMA_TYPES, SchemaRegistry
from engine.registry.schema import ParsedSchema
from engine.registry.subject_names import context_of, has_prefix, split, within
from engine.registry.topic_records import StoredSchema

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_READ_TYPES = (
    CONTENT_TYPE,
    "application/vnd.schemaregistry+json",
    "application/json",
    "application/octet-stream",
)
_MOST_BODY_BYTES = 4 * 1024 * 1024
_HIGHEST_VERSION = (1 << 31) - 1

_Handler = Callable[[web.Request], Awaitable[Any]]


class RegistryServer:
    """HTTP before one registry."""

    def __init__(self, registry: SchemaRegistry, config: RegistryConfig, *, lost: Callable[[], str]) -> None:
        """``lost`` says why the registry must not write any more, or nothing."""
        self._registry = registry
        self._config = config
        self._lost = lost
        self._runner: web.AppRunner | None = None
        self._sockets: list[socket.socket] = []
        self.port = config.port

    async def bind(self) -> None:
        """Have the address, and take nobody in yet: before a topic is taken over it must be sure that there is one.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._config.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                made = socket.socket(family, socket.SOCK_STREAM)
                self._sockets.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind((address[0], self.port, *address[2:]))
                self.port = made.getsockname()[1]
        except BaseException:
            self._let_go()
            raise

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        if not self._sockets:
            await self.bind()
        # Bodies are bounded by aiohttp, headers as well; a connection with broken bytes is closed, others are not.
        app = web.Application(middlewares=[self._around], client_max_size=_MOST_BODY_BYTES)
        self._add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=2.0)
        await self._runner.setup()
        try:
            for each in self._sockets:
                await web.SockSite(self._runner, each).start()
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Answer what is asked, then no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._let_go()

    def _let_go(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = []

    @property
    def url(self) -> str:
        """Where clients come (``schema.registry.url``)."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"http://{host}:{self.port}"

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        versions = "/subjects/{subject}/versions"
        routes: list[tuple[str, str, _Handler]] = [
            ("GET", "/subjects", self._subjects),
            ("POST", "/subjects/{subject}", self._look_up),
            ("DELETE", "/subjects/{subject}", self._delete_subject),
            ("GET", "/subjects/{subject}/metadata", self._with_metadata),
            ("GET", versions, self._versions),
            ("POST", versions, self._register),
            ("GET", versions + "/{version}", self._version),
            ("DELETE", versions + "/{version}", self._delete_version),
            ("GET", versions + "/{version}/schema", self._version_text),
            ("GET", versions + "/{version}/referencedby", self._referenced_by),
            ("GET", "/schemas", self._schemas),
            ("GET", "/schemas/types", self._types),
            ("GET", "/schemas/ids/{id}", self._by_id),
            ("GET", "/schemas/ids/{id}/schema", self._text_by_id),
            ("GET", "/schemas/ids/{id}/subjects", self._subjects_by_id),
            ("GET", "/schemas/ids/{id}/versions", self._versions_by_id),
            ("GET", "/schemas/guids/{guid}", self._by_guid),
            ("GET", "/schemas/guids/{guid}/ids", self._ids_by_guid),
            ("POST", "/compatibility" + versions, self._compare),
            ("POST", "/compatibility" + versions + "/{version}", self._compare),
            ("GET", "/config", self._config_of),
            ("PUT", "/config", self._set_config),
            ("DELETE", "/config", self._delete_config),
            ("GET", "/config/{subject}", self._config_of),
            ("PUT", "/config/{subject}", self._set_config),
            ("DELETE", "/config/{subject}", self._delete_config),
            ("GET", "/mode", self._mode_of),
            ("PUT", "/mode", self._set_mode),
            ("DELETE", "/mode", self._delete_mode),
            ("GET", "/mode/{subject}", self._mode_of),
            ("PUT", "/mode/{subject}", self._set_mode),
            ("DELETE", "/mode/{subject}", self._delete_mode),
        ]
        for method, path, handler in routes:
            router.add_route(method, path, self._answering(handler))
            router.add_route(method, "/contexts/{context}" + path, self._answering(handler))
        router.add_route("GET", "/", self._answering(self._root))
        router.add_route("GET", "/contexts", self._answering(self._contexts))
        for path in ("/health", "/_health"):
            router.add_route("GET", path, self._answering(self._health))

    # -- around every request -----------------------------------------------------------------------------------

    @web.middleware
    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Who asks, and what becomes of errors."""
        try:
            if self._config.users:
                if not is_user(request.headers.get("Authorization"), self._config.users):
                    answer = _error(errors.UNAUTHORIZED, "Unauthorized: this registry asks for a user and a password")
                    answer.headers["WWW-Authenticate"] = 'Basic realm="Schema Registry"'
                    return answer
            elif is_loopback(self._config.host) and not is_local_host(request.headers.get("Host")):
                return _error(403, "this registry serves its own machine: ask for it as 127.0.0.1 or localhost")
            response: web.StreamResponse = await handler(request)
            return response
        except RegistryError as error:
            return _error(error.code, error.message, error.status)
        except RegistryFenced as error:
            return _error(errors.STORE_FAILED, str(error), 500)
        except web.HTTPException as error:
            return _error(error.status, f"HTTP {error.status} {error.reason}")
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return _error(500, "Internal Server Error: the registry's log says more", 500)

    @staticmethod
    def _answering(handler: _Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            found = await handler(request)
            return found if isinstance(found, web.StreamResponse) else _json(found)

        return answer

    @staticmethod
    async def _body(request: web.Request) -> Any:
        if request.content_type not in _READ_TYPES:
            raise RegistryError(415, f"HTTP 415 Unsupported Media Type: send {CONTENT_TYPE}")
        data = await request.read()
        try:
            return read_json(data)
        except ValueError as error:
            raise RegistryError(errors.BAD_REQUEST, f"the body is no JSON: {error}") from None

    @staticmethod
    def _subject(request: web.Request) -> str:
        return within(request.match_info.get("context"), request.match_info["subject"])

    @staticmethod
    def _scope(request: web.Request) -> str | None:
        """A subject, a context (``:.name:``) or ``None`` for all."""
        context, subject = request.match_info.get("context"), request.match_info.get("subject")
        if subject is not None:
            return within(context, subject)
        return None if context is None else within(context, "")

    # -- subjects -----------------------------------------------------------------------------------------------

    async def _subjects(self, request: web.Request) -> list[str]:
        context = request.match_info.get("context")
        prefix = request.query.get("subjectPrefix", ":*:" if context is None else "")
        if context is not None:
            prefix = within(context, prefix)
        deleted, only = _flag(request, "deleted"), _flag(request, "deletedOnly")
        found = []
        for subject in sorted(self._registry.state.subjects):
            living = bool(self._registry.state.versions(subject))
            if has_prefix(subject, prefix) and (not living if only else living or deleted):
                found.append(subject)
        return _page(request, found)

    async def _look_up(self, request: web.Request) -> dict[str, Any]:
        asked = bodies.read_schema_request(await self._body(request))
        stored = await self._registry.look_up(
            self._subject(request),
            asked.schema,
            normalize=_flag(request, "normalize"),
            deleted=_flag(request, "deleted"),
        )
        return bodies.version_answer(stored, await self._text(stored, request))

    async def _delete_subject(self, request: web.Request) -> list[int]:
        return await self._registry.delete_subject(self._subject(request), permanent=_flag(request, "permanent"))

    async def _with_metadata(self, request: web.Request) -> dict[str, Any]:
        """The newest version with all the given properties in its metadata."""
        subject, deleted = self._subject(request), _flag(request, "deleted")
        names, values = request.query.getall("key", []), request.query.getall("value", [])
        wanted = dict(zip(names, values, strict=False))
        known = self._registry.state.versions(subject, deleted=deleted)
        for stored in reversed(known):
            properties = (stored.schema.metadata or {}).get("properties") or {}
            if all(properties.get(name) == value for name, value in wanted.items()):
                return bodies.version_answer(stored, await self._text(stored, request))
        self._registry.version(subject, LATEST, deleted=deleted)
        raise RegistryError(errors.SCHEMA_NOT_FOUND, "Schema not found")

    # -- versions -----------------------------------------------------------------------------------------------

    async def _versions(self, request: web.Request) -> list[int]:
        subject = self._subject(request)
        deleted, only = _flag(request, "deleted"), _flag(request, "deletedOnly")
        negative = _flag(request, "deletedAsNegative")
        found = self._registry.state.versions(subject, deleted=deleted or only or negative)
        if only:
            found = [each for each in found if each.is_deleted]
        if not found:
            self._registry.version(subject, LATEST)
        numbers = [-each.version if negative and each.is_deleted else each.version for each in found]
        return _page(request, numbers)

    async def _register(self, request: web.Request) -> dict[str, Any]:
        asked = bodies.read_schema_request(await self._body(request))
        stored = await self._registry.register(
            self._subject(request),
            asked.schema,
            version=asked.version,
            schema_id=asked.schema_id,
            normalize=_flag(request, "normalize"),
        )
        return {"id": stored.schema_id, "version": stored.version, "guid": stored.schema.guid}

    async def _version(self, request: web.Request) -> dict[str, Any]:
        stored = self._wanted(request)
        deleted = _flag(request, "deleted")
        return bodies.version_answer(stored, await self._text(stored, request), deleted=deleted)

    async def _version_text(self, request: web.Request) -> web.Response:
        return _text_answer(await self._text(self._wanted(request), request))

    async def _delete_version(self, request: web.Request) -> int:
        number = _version_number(request.match_info["version"])
        permanent = _flag(request, "permanent")
        return await self._registry.delete_version(self._subject(request), number, permanent=permanent)

    async def _referenced_by(self, request: web.Request) -> list[int]:
        stored = self._wanted(request)
        found = self._registry.state.referrers(stored.subject, stored.version, deleted=_flag(request, "deleted"))
        return _page(request, sorted({each.schema_id for each in found}))

    def _wanted(self, request: web.Request) -> StoredSchema:
        number = _version_number(request.match_info["version"])
        return self._registry.version(self._subject(request), number, deleted=_flag(request, "deleted"))

    # -- schemas ------------------------------------------------------------------------------------------------

    async def _schemas(self, request: web.Request) -> list[dict[str, Any]]:
        context = request.match_info.get("context")
        prefix = request.query.get("subjectPrefix", ":*:" if context is None else "")
        if context is not None:
            prefix = within(context, prefix)
        deleted, latest = _flag(request, "deleted"), _flag(request, "latestOnly")
        found = []
        for subject in sorted(self._registry.state.subjects):
            if has_prefix(subject, prefix):
                versions = self._registry.state.versions(subject, deleted=deleted)
                found += versions[-1:] if latest else versions
        page = _page(request, found)
        return [bodies.version_answer(each, each.schema.text, deleted=deleted) for each in page]

    async def _types(self, _: web.Request) -> list[str]:
        return list(SCHEMA_TYPES)

    def _stored_by_id(self, request: web.Request) -> StoredSchema:
        said = request.match_info["id"]
        if not _is_number(said) or len(said) > len(str(_HIGHEST_VERSION)):
            raise RegistryError(errors.NOT_FOUND, f"HTTP 404 Not Found: {said!r} is no id of a schema")
        subject = within(request.match_info.get("context"), request.query.get("subject", ""))
        return self._registry.by_id(int(said), subject)

    async def _by_id(self, request: web.Request) -> dict[str, Any]:
        stored = self._stored_by_id(request)
        highest = None
        if _flag(request, "fetchMaxId"):
            highest = self._registry.state.highest_ids[context_of(stored.subject)]
        return bodies.schema_answer(stored, await self._text(stored, request), highest_id=highest)

    async def _text_by_id(self, request: web.Request) -> web.Response:
        return _text_answer(await self._text(self._stored_by_id(request), request))

    def _all_with_id(self, request: web.Request) -> list[StoredSchema]:
        stored = self._stored_by_id(request)
        deleted, name = _flag(request, "deleted"), split(request.query.get("subject", ""))[1]
        found = self._registry.state.with_id(context_of(stored.subject), stored.schema_id)
        return sorted(
            (each for each in found if (deleted or not each.is_deleted) and name in ("", split(each.subject)[1])),
            key=lambda each: (each.subject, each.version),
        )

    async def _subjects_by_id(self, request: web.Request) -> list[str]:
        return _page(request, list(dict.fromkeys(each.subject for each in self._all_with_id(request))))

    async def _versions_by_id(self, request: web.Request) -> list[dict[str, Any]]:
        found = self._all_with_id(request)
        return _page(request, [{"subject": each.subject, "version": each.version} for each in found])

    def _stored_by_guid(self, request: web.Request) -> list[StoredSchema]:
        guid = request.match_info["guid"].lower()
        found = self._registry.state.with_guid(guid)
        if not found:
            raise RegistryError(errors.SCHEMA_NOT_FOUND, f"Schema {guid} not found")
        return found

    async def _by_guid(self, request: web.Request) -> dict[str, Any]:
        stored = self._stored_by_guid(request)[0]
        return bodies.schema_answer(stored, await self._text(stored, request))

    async def _ids_by_guid(self, request: web.Request) -> list[dict[str, Any]]:
        found = {(context_of(each.subject), each.schema_id) for each in self._stored_by_guid(request)}
        return [{"context": context, "id": schema_id} for context, schema_id in sorted(found)]

    async def _text(self, stored: StoredSchema, request: web.Request) -> str:
        """The schema as ``format=`` wants it."""
        wanted = request.query.get("format", "")
        if not wanted:
            return stored.schema.text
        parsed: ParsedSchema = await self._registry.parsed(stored.subject, stored.schema)
        return parsed.formatted(wanted)

    # -- compatibility, config, mode ----------------------------------------------------------------------------

    async def _compare(self, request: web.Request) -> dict[str, Any]:
        said = request.match_info.get("version")
        number = None if said is None else _version_number(said)
        verbose = _flag(request, "verbose")
        try:
            asked = bodies.read_schema_request(await self._body(request))
            problems = await self._registry.compare(
                self._subject(request), asked.schema, number, normalize=_flag(request, "normalize")
            )
        except errors.InvalidSchema as error:
            if not verbose:
                raise
            problems = [error.message]
        answer: dict[str, Any] = {"is_compatible": not problems}
        if verbose:
            answer["messages"] = problems
        return answer

    async def _config_of(self, request: web.Request) -> dict[str, Any]:
        scope = self._scope(request)
        if scope is None or _flag(request, "defaultToGlobal"):
            return self._registry.config_in_scope(scope or "")
        own = self._registry.state.configs.get(scope)
        if own is None:
            raise RegistryError(
                errors.NO_SUBJECT_COMPATIBILITY,
                f"Subject '{scope}' does not have subject-level compatibility configured",
            )
        return own

    async def _set_config(self, request: web.Request) -> dict[str, Any]:
        wanted = bodies.read_config_request(await self._body(request))
        await self._registry.set_config(self._scope(request), wanted)
        return bodies.config_request_answer(wanted)

    async def _delete_config(self, request: web.Request) -> dict[str, Any]:
        return await self._registry.delete_config(self._scope(request))

    async def _mode_of(self, request: web.Request) -> dict[str, Any]:
        scope = self._scope(request)
        if scope is not None and not _flag(request, "defaultToGlobal") and scope not in self._registry.state.modes:
            raise RegistryError(
                errors.NO_SUBJECT_MODE, f"Subject '{scope}' does not have subject-level mode configured"
            )
        return {"mode": str(self._registry.mode_in_scope(scope or ""))}

    async def _set_mode(self, request: web.Request) -> dict[str, Any]:
        wanted = bodies.read_mode_request(await self._body(request))
        await self._registry.set_mode(self._scope(request), wanted, force=_flag(request, "force"))
        return {"mode": wanted}

    async def _delete_mode(self, request: web.Request) -> dict[str, Any]:
        return {"mode": str(await self._registry.delete_mode(self._scope(request)))}

    # -- the registry itself ------------------------------------------------------------------------------------

    async def _root(self, _: web.Request) -> dict[str, Any]:
        return {}

    async def _contexts(self, request: web.Request) -> list[str]:
        return _page(request, self._registry.state.contexts)

    async def _health(self, _: web.Request) -> web.Response:
        lost = self._lost()
        found = {"healthy": not lost, "topic": self._config.topic, "subjects": len(self._registry.state.subjects)}
        return _json({**found, "why": lost} if lost else found, status=503 if lost else 200)


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


def _page(request: web.Request, found: list[Any]) -> list[Any]:
    """What ``offset`` and ``limit`` leave of a list."""
    try:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "-1"))
    except ValueError:
        raise RegistryError(errors.NOT_FOUND, "HTTP 404 Not Found: offset and limit are numbers") from None
    found = found[max(offset, 0) :]
    return found if limit < 0 else found[:limit]


def _is_number(said: str) -> bool:
    # isdigit() alone takes the digits of all scripts.
    return said.isascii() and said.isdigit()


def _version_number(said: str) -> int:
    if said in ("latest", "-1"):
        return LATEST
    if not _is_number(said) or not 1 <= int(said[:12]) <= _HIGHEST_VERSION:
        raise RegistryError(errors.INVALID_VERSION, bodies.invalid_version(said))
    return int(said)


def _json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Somebody else's registry may have stored half of a character.
    return web.Response(body=text.encode(errors="replace"), status=status, headers={"Content-Type": CONTENT_TYPE})


def _text_answer(text: str) -> web.Response:
    return web.Response(body=text.encode(errors="replace"), headers={"Content-Type": CONTENT_TYPE})


def _error(code: int, message: str, status: int = 0) -> web.Response:
    return _json({"error_code": code, "message": message}, status or code)
