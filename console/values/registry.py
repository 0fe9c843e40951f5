"""A schema registry, asked by its REST interface: schemas by id with all that they refer to, the newest of a subject.

Answers are kept for good: an id never changes its schema. A registry that does not answer is left alone for a while, so
that each schema it cannot tell costs nothing; whoever asks hears why. Source: "Schema Registry API" of Confluent;
Karapace and Apicurio answer the same.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from console.values.daemon_threads import in_thread
from console.values.schemas import Reference, Schema, schema_type
from console.values.serdes import SerdeError

_ACCEPTED = "application/vnd.schemaregistry.v1+json, application/json"
# So long nothing is asked after it did not answer, twice as long each time; and no id that it does not know.
_LEFT_ALONE_S = 5.0
_LONGEST_LEFT_ALONE_S = 60.0
_UNKNOWN_S = 30.0
# So long reading waits for the subjects of a schema.
_PLACES_S = 1.0
_MOST_BYTES = 8 * 1024 * 1024
_DEEPEST = 20
# What it answers for an id or subject that is not there.
_NOT_FOUND = 404


class RegistryError(SerdeError):
    """No schema. ``is_unknown``: the registry answered, and has none of that id or name."""

    def __init__(self, said: str, *, is_unknown: bool = False) -> None:
        super().__init__(said)
        self.is_unknown = is_unknown


class RegistryConfig(NamedTuple):
    """Where it is, and who asks. ``timeout_s`` bounds one schema with all that it refers to."""

    url: str
    user: str = ""
    password: str = ""
    timeout_s: float = 2.0

    def __repr__(self) -> str:
        return f"RegistryConfig({self.url})"

    @classmethod
    def parse(cls, url: str, *, user: str = "", password: str = "", timeout_s: float = 2.0) -> RegistryConfig:
        """``http(s)://[user:password@]host[:port][/path]``. Raises: ValueError: it is none."""
        parts = urlsplit(url.strip().rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a schema registry: write http://HOST:PORT")
        _ = parts.port
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return cls(bare, user or unquote(parts.username or ""), password or unquote(parts.password or ""), timeout_s)


class RegisteredSchema(NamedTuple):
    """A schema with its id."""

    schema_id: int
    schema: Schema


class SchemaPlace(NamedTuple):
    """Where a schema is registered: several subjects may have the same one."""

    subject: str
    version: int


class Registry:
    """One registry. Whoever asks waits at most ``timeout_s``."""

    def __init__(self, config: RegistryConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds that only go forward."""
        self.config = config
        self._clock = clock
        self._known: dict[int | str, Schema] = {}
        self._unknown: dict[int | str, tuple[float, RegistryError]] = {}
        self._asked: dict[object, asyncio.Task[Any]] = {}
        self._left_alone_until = float("-inf")
        self._leave_alone_s = _LEFT_ALONE_S
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why it is left alone now; empty if it is not."""
        return self._problem if self._clock() < self._left_alone_until else ""

    def known(self, schema_id: int | str) -> Schema | None:
        """What was heard of before."""
        return self._known.get(schema_id)

    async def schema(self, schema_id: int | str) -> Schema:
        """By its id, or its GUID. Raises: RegistryError."""
        found = self._known.get(schema_id)
        if found is not None:
            return found
        missing = self._unknown.get(schema_id)
        if missing is not None and self._clock() < missing[0]:
            raise missing[1]
        try:
            found = await self._once(("id", schema_id), lambda: self._by_id(schema_id))
        except RegistryError as error:
            if error.is_unknown:
                said = RegistryError(f"{self.config.url} has no schema {schema_id}", is_unknown=True)
                self._unknown[schema_id] = (self._clock() + _UNKNOWN_S, said)
                raise said from None
            raise
        self._known[schema_id] = found
        return found

    async def places(self, schema_id: int) -> tuple[SchemaPlace, ...]:
        """The subjects that have the schema, and as which version. None where the registry does not tell it soon:
        values are read without, so nothing fails by it, and it says nothing of whether the registry is there."""
        if self.problem:
            return ()
        try:
            async with asyncio.timeout(min(self.config.timeout_s, _PLACES_S)):
                told = json.loads(await in_thread(lambda: self._fetch(f"/schemas/ids/{schema_id}/versions")))
            return tuple(SchemaPlace(str(each["subject"]), int(each["version"])) for each in told)
        except (TimeoutError, OSError, ValueError, KeyError, TypeError):
            return ()

    async def latest(self, subject: str) -> RegisteredSchema:
        """The newest of a subject, asked for anew each time. Raises: RegistryError."""

        async def ask() -> RegisteredSchema:
            answer = await self._get(f"/subjects/{quote(subject, safe='')}/versions/latest")
            return RegisteredSchema(int(answer["id"]), await self._whole(answer))

        try:
            found = await self._once(("latest", subject), ask)
        except RegistryError as error:
            if error.is_unknown:
                raise RegistryError(f"{self.config.url} has no subject {subject}", is_unknown=True) from None
            raise
        self._known[found.schema_id] = found.schema
        return found

    async def _once(self, what: object, ask: Callable[[], Any]) -> Any:
        """Several that ask the same at the same time cause one request."""
        if self.problem:
            raise RegistryError(self._problem)
        task = self._asked.get(what)
        if task is None:
            task = self._asked[what] = asyncio.ensure_future(self._bounded(ask))
            task.add_done_callback(lambda _: self._asked.pop(what, None))
        return await asyncio.shield(task)

    async def _bounded(self, ask: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                answer = await ask()
            self._leave_alone_s = _LEFT_ALONE_S
            return answer
        except TimeoutError:
            raise self._does_not_answer(f"no answer within {self.config.timeout_s:g} s") from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RegistryError(f"{self.config.url} answers what no registry does ({type(error).__name__})") from None

    def _does_not_answer(self, why: str) -> RegistryError:
        self._left_alone_until = self._clock() + self._leave_alone_s
        self._leave_alone_s = min(_LONGEST_LEFT_ALONE_S, 2 * self._leave_alone_s)
        self._problem = f"the registry {self.config.url}: {why}"
        return RegistryError(self._problem)

    async def _by_id(self, schema_id: int | str) -> Schema:
        kind = "ids" if isinstance(schema_id, int) else "guids"
        return await self._whole(await self._get(f"/schemas/{kind}/{schema_id}"))

    async def _whole(self, answer: dict[str, Any]) -> Schema:
        """A schema with what it refers to, directly and further on."""
        found: dict[str, Reference] = {}
        await self._referred(answer, found, 0)
        kind = schema_type(str(answer.get("schemaType") or "AVRO"))
        return Schema(kind, str(answer["schema"]), tuple(found.values()))

    async def _referred(self, answer: dict[str, Any], found: dict[str, Reference], depth: int) -> None:
        if depth > _DEEPEST:
            raise RegistryError("schemas refer to each other without end")
        for each in answer.get("references") or ():
            name = str(each["name"])
            if name in found:
                continue
            path = f"/subjects/{quote(str(each['subject']), safe='')}/versions/{int(each['version'])}"
            referred = await self._get(path)
            await self._referred(referred, found, depth + 1)
            found[name] = Reference(name, str(referred["schema"]))

    # -- http -----------------------------------------------------------------------------------------------------

    async def _get(self, path: str) -> dict[str, Any]:
        """Raises: RegistryError."""
        try:
            body = await in_thread(lambda: self._fetch(path))
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND:
                raise RegistryError("not there", is_unknown=True) from None
            if error.code in (401, 403):
                raise self._does_not_answer(f"answers {error.code}: user and password are wanted, or others") from None
            raise self._does_not_answer(f"answers {error.code}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise self._does_not_answer(getattr(reason, "strerror", None) or str(reason)) from None
        answer = json.loads(body)
        if not isinstance(answer, dict):
            raise TypeError
        return answer

    def _fetch(self, path: str) -> bytes:
        """Blocks, but never for much longer than the time-out."""
        config = self.config
        headers = {"Accept": _ACCEPTED, "User-Agent": "kconsole"}
        if config.user or config.password:
            pair = f"{config.user}:{config.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        request = urllib.request.Request(config.url + path, headers=headers)
        deadline = time.monotonic() + config.timeout_s
        opener = urllib.request.build_opener(NoRedirects())
        body = bytearray()
        with opener.open(request, timeout=config.timeout_s) as answer:
            while True:
                chunk = answer.read1(65_536)
                body += chunk
                if not chunk:
                    return bytes(body)
                if len(body) > _MOST_BYTES or time.monotonic() > deadline:
                    raise OSError("the answer is too long")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """User and password are for one server."""

    def redirect_request(self, *_: Any) -> None:
        return None
