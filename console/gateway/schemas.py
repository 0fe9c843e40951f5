"""What is asked of a schema registry to show and change what is in it. Source: Confluent's "Schema Registry API"."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from console.gateway.protocol import GatewayError
from console.values.daemon_threads import in_thread
from console.values.registry import NoRedirects, RegistryConfig
from console.viewmodel.keeping import Told
from console.viewmodel.schemas import Level, SchemaReference, SchemaRow

_TYPE = "application/vnd.schemaregistry.v1+json"
_MOST_BYTES = 64 * 1024 * 1024
# A registry may have to compile what it is given.
_PATIENCE_S = 10.0
_NOT_FOUND = 404


class SchemaQuestions:
    """One registry, whichever it is now. Every method raises GatewayError."""

    def __init__(self, config: Callable[[], Awaitable[RegistryConfig]], check_writable: Callable[[], None]) -> None:
        self._config = config
        self._check_writable = check_writable

    async def url(self) -> str:
        """Where it is."""
        return (await self._config()).url

    async def subjects(self) -> Told:
        """The newest version of each subject."""
        found = await self._ask("GET", "/schemas?latestOnly=true")
        return Told({"": [_row(each) for each in found]})

    async def versions(self, subject: str) -> Told:
        """All versions of a subject, those that are deleted as well, newest first."""
        found = await self._ask("GET", f"/schemas?deleted=true&subjectPrefix={quote(subject, safe='')}")
        living = await self._ask("GET", f"{_versions(subject)}?deleted=false", missing=[])
        rows = [_row(each) for each in found if each.get("subject") == subject]
        rows = [each._replace(is_deleted=each.version not in living) for each in rows]
        return Told({"": sorted(rows, key=lambda each: -each.version)})

    async def level(self, subject: str | None = None) -> Level:
        """The compatibility of a subject, or of all."""
        if subject is not None:
            own = await self._ask("GET", f"/config/{quote(subject, safe='')}", missing={})
            if own.get("compatibilityLevel"):
                return Level(str(own["compatibilityLevel"]))
        found = await self._ask("GET", "/config")
        return Level(str(found["compatibilityLevel"]), subject is None)

    async def check(self, row: SchemaRow) -> list[str]:
        """Why a schema cannot be registered under its subject; empty if it can."""
        path = f"/compatibility{_versions(row.subject)}?verbose=true"
        found = await self._ask("POST", path, _body(row))
        return [] if found["is_compatible"] else [str(each) for each in found.get("messages") or ["not compatible"]]

    async def register(self, row: SchemaRow) -> str:
        """Register it; says what became of it."""
        self._check_writable()
        found = await self._ask("POST", _versions(row.subject), _body(row))
        return f"{row.subject} has it with id {found['id']}"

    async def set_level(self, subject: str | None, level: str | None) -> None:
        """Set a compatibility, or (``None``) take a subject's own back."""
        self._check_writable()
        path = "/config" if subject is None else f"/config/{quote(subject, safe='')}"
        if level is None:
            await self._ask("DELETE", path, missing={})
        else:
            await self._ask("PUT", path, {"compatibility": level})

    async def delete(self, row: SchemaRow) -> None:
        """Delete a version softly, or for good if it is so already."""
        self._check_writable()
        await self._ask("DELETE", f"{_versions(row.subject)}/{row.version}?permanent={str(row.is_deleted).lower()}")

    async def _ask(self, method: str, path: str, body: Any = None, *, missing: Any = None) -> Any:
        """``missing`` is what a 404 is answered with, if it is not to be an error."""
        config = await self._config()
        try:
            return await in_thread(lambda: _call(config, method, path, body))
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND and missing is not None:
                return missing
            raise GatewayError(f"{config.url}: {_said(error)}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "reason", error)
            raise GatewayError(f"{config.url}: {getattr(reason, 'strerror', None) or reason}") from None


def _call(config: RegistryConfig, method: str, path: str, body: Any) -> Any:
    """Blocks, for so long at the most as a registry may take."""
    headers = {"Accept": f"{_TYPE}, application/json", "User-Agent": "kconsole", "Content-Type": _TYPE}
    if config.user or config.password:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{config.user}:{config.password}'.encode()).decode()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(config.url + path, data, headers, method=method)
    with urllib.request.build_opener(NoRedirects()).open(request, timeout=_PATIENCE_S) as answer:
        return json.loads(answer.read(_MOST_BYTES))


def _said(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read(65_536))
        return f"{found['message']} ({found['error_code']})"
    except (OSError, ValueError, KeyError, TypeError):
        return f"answers {error.code}"


def _versions(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}/versions"


def _body(row: SchemaRow) -> dict[str, Any]:
    references = [each._asdict() for each in row.references]
    return {"schema": row.schema, "schemaType": row.schema_type, "references": references}


def _row(found: dict[str, Any]) -> SchemaRow:
    references: Sequence[Any] = found.get("references") or ()
    return SchemaRow(
        str(found["subject"]),
        int(found["version"]),
        int(found["id"]),
        str(found.get("schemaType") or "AVRO"),
        str(found["schema"]),
        tuple(SchemaReference(str(each["name"]), str(each["subject"]), int(each["version"])) for each in references),
    )
