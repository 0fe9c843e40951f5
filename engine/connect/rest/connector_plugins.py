"""``/connector-plugins``: what there is, its configs, and whether a connector's config would do (KIP-494, KIP-769)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from aiohttp import web

from engine.connect import plugins
from engine.connect.config_def import ConfigDef
from engine.connect.connector import SinkConnector, SourceConnector
from engine.connect.errors import NotFoundError
from engine.connect.plugins import PluginType
from engine.connect.rest.answers import answer
from engine.connect.rest.bodies import texts, without_nulls
from engine.connect.rest.routes import Route, herder_of
from engine.connect.runtime.config_infos import key_to_json
from engine.connect.runtime.connector_config import SINK_CONFIG, SOURCE_CONFIG
from engine.connect.runtime.herder import BadRequest

_CONNECTORS = (PluginType.SINK, PluginType.SOURCE)
_OTHERS = (
    PluginType.TRANSFORMATION,
    PluginType.PREDICATE,
    PluginType.CONVERTER,
    PluginType.HEADER_CONVERTER,
)


async def _list(request: web.Request) -> web.Response:
    kinds = _CONNECTORS if request.query.get("connectorsOnly", "true").lower() == "true" else (*_CONNECTORS, *_OTHERS)
    # What is listed is imported first, and some of it is large.
    found = await asyncio.to_thread(lambda: [each for kind in kinds for each in plugins.listed(kind)])
    return answer([{"class": each.name, "type": each.type.value, "version": each.version} for each in found])


async def _config(request: web.Request) -> web.Response:
    return answer([key_to_json(each) for each in _definitions(request.match_info["plugin"]).keys.values()])


def _definitions(name: str) -> ConfigDef:
    try:
        found: Any = plugins.find(name)
    except NotFoundError:
        raise NotFoundError(f"Unknown plugin {name}.") from None
    own: ConfigDef = found.config()
    if not issubclass(found, (SourceConnector, SinkConnector)):
        return own
    common = SOURCE_CONFIG if issubclass(found, SourceConnector) else SINK_CONFIG
    version = common.keys["connector.plugin.version"]
    return own.including(common).including(ConfigDef([replace(version, default=found.version)]))


async def _validate(request: web.Request) -> web.Response:
    asked, config = request.match_info["plugin"], without_nulls(await texts(request))
    included = config.get("connector.class")
    if included is not None and not _short(included).endswith(_short(asked)):
        raise BadRequest(f"Included connector type {included} does not match request type {asked}")
    return answer((await herder_of(request).validate(config)).to_json())


def _short(name: str) -> str:
    return name.removesuffix("Connector") or name


_PLUGIN = "/connector-plugins/{plugin}/config"
ROUTES: tuple[Route, ...] = (
    ("GET", "/connector-plugins", _list),
    ("GET", _PLUGIN, _config),
    ("PUT", f"{_PLUGIN}/validate", _validate),
)
