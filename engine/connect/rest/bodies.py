"""Bodies of requests as the shapes that they must have; Java's worker answers 500 to what its parser refuses, and so
does this one."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from aiohttp import web

from engine.connect.runtime.herder import RequestRefused

MAX_BODY_BYTES = 16 * 1024 * 1024
_JSON = "application/json"


def refuse(what: str) -> NoReturn:
    """The body is not what it must be."""
    raise RequestRefused(500, f"The request's body is not what this path takes: {what}")


async def _text(request: web.Request) -> str:
    body = await request.read()
    if not body:
        refuse("it is empty")
    if request.content_type != _JSON or "Content-Type" not in request.headers:
        raise RequestRefused(415, "HTTP 415 Unsupported Media Type")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse("it is not UTF-8")


def _parse(text: str, **hooks: Any) -> Any:
    def no(constant: str) -> NoReturn:
        refuse(f"{constant} is no JSON")

    try:
        found = json.loads(text, parse_constant=no, **hooks)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError:
        refuse("it has half of a character (a surrogate alone), which no topic can keep")
    except RecursionError:
        refuse("it is nested too deeply")
    except ValueError as error:
        refuse(f"it is no JSON: {error}")


async def any_object(request: web.Request, *fields: str) -> dict[str, Any]:
    """An object with these fields at most, numbers as numbers."""
    return fields_of(_parse(await _text(request)), *fields)


async def texts(request: web.Request) -> dict[str, str | None]:
    """An object of texts; numbers and truth values become the texts that they were written as, null stays."""
    return as_texts(_parse(await _text(request), parse_int=str, parse_float=str), "it")


async def object_of_texts(request: web.Request, *fields: str) -> dict[str, Any]:
    """An object with these fields at most; numbers are the texts that they were written as."""
    return fields_of(_parse(await _text(request), parse_int=str, parse_float=str), *fields)


def fields_of(found: Any, *fields: str) -> dict[str, Any]:
    """``found``, if it is an object that has no other fields."""
    if not isinstance(found, dict):
        refuse(f"an object is wanted, not {_kind(found)}")
    strange = next((name for name in found if name not in fields), None)
    if strange is not None:
        refuse(f"{strange!r} is not known, only {', '.join(fields)}")
    return found


def as_texts(found: Any, what: str) -> dict[str, str | None]:
    """An object of texts."""
    if not isinstance(found, dict):
        refuse(f"{what} has to be an object, not {_kind(found)}")
    return {name: as_text(value, f"{what}: {name}") for name, value in found.items()}


def as_text(value: Any, what: str) -> str | None:
    """One text, or null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    refuse(f"{what} has to be a text, not {_kind(value)}")


def without_nulls(config: dict[str, str | None]) -> dict[str, str]:
    """A config in which null says what leaving out says."""
    return {name: value for name, value in config.items() if value is not None}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number")
