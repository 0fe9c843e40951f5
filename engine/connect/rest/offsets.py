"""``/connectors/{connector}/offsets``: look, alter, reset (KIP-875)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from engine.connect.rest.answers import answer
from engine.connect.rest.bodies import any_object, fields_of, refuse
from engine.connect.rest.routes import Route, connector_of, herder_of
from engine.connect.runtime.herder import BadRequest

_Offset = tuple[Any, Any]


async def _offsets(request: web.Request) -> web.Response:
    found = await herder_of(request).offsets(connector_of(request))
    return answer({"offsets": [{"partition": partition, "offset": offset} for partition, offset in found.offsets]})


async def _alter(request: web.Request) -> web.Response:
    given = (await any_object(request, "offsets")).get("offsets")
    if given is None or given == []:
        raise BadRequest("Partitions / offsets need to be provided for an alter offsets request")
    if not isinstance(given, list):
        refuse("offsets has to be a list")
    message = await herder_of(request).alter_offsets(connector_of(request), [_offset(each) for each in given])
    return answer({"message": message})


async def _reset(request: web.Request) -> web.Response:
    return answer({"message": await herder_of(request).alter_offsets(connector_of(request), None)})


def _offset(given: Any) -> _Offset:
    fields = fields_of(given, "partition", "offset")
    found = fields.get("partition"), fields.get("offset")
    if not all(each is None or isinstance(each, dict) for each in found):
        refuse("a partition and its offset are objects, or null")
    return found


_PATH = "/connectors/{connector}/offsets"
ROUTES: tuple[Route, ...] = (("GET", _PATH, _offsets), ("PATCH", _PATH, _alter), ("DELETE", _PATH, _reset))
