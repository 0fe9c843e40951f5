"""Plug-ins by name: connectors, converters, transforms and predicates (``runtime.isolation.Plugins``).

A plug-in is asked for by

- its class, ``engine.connect.converters.json.JsonConverter``: any importable one, also a program's own;
- the name that Kafka's, or another well-known, plug-in of the same configs has in Java, so that configs written for
  Java workers load here;
- the last part of either, with or without its kind at the end: ``JsonConverter``, ``Json``.

Packages add theirs by entry points of the group ``kconsole.connect.plugins``: name (dots allowed) = ``module:Class``.
To add one of our own, add a row to :data:`BUILT_IN`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from engine.connect.connector import SinkConnector, SourceConnector
from engine.connect.converters.converter import Converter, HeaderConverter
from engine.connect.errors import ConnectError, NotFoundError
from engine.connect.predicates.predicate import Predicate
from engine.connect.transforms.transformation import Transformation

ENTRY_POINTS = "kconsole.connect.plugins"


class PluginType(Enum):
    """``PluginType``; the value is REST's name."""

    SOURCE = "source"
    SINK = "sink"
    CONVERTER = "converter"
    HEADER_CONVERTER = "header_converter"
    TRANSFORMATION = "transformation"
    PREDICATE = "predicate"


_BASES: dict[PluginType, type] = {
    PluginType.SOURCE: SourceConnector,
    PluginType.SINK: SinkConnector,
    PluginType.CONVERTER: Converter,
    PluginType.HEADER_CONVERTER: HeaderConverter,
    PluginType.TRANSFORMATION: Transformation,
    PluginType.PREDICATE: Predicate,
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """Where a plug-in is, before it is imported.

    ``java`` are the names in Java that stand for it, ``extra`` the extra of this package that installs what it needs.
    """

    module: str
    cls: str
    types: tuple[PluginType, ...]
    java: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def name(self) -> str:
        """Its class, with the module."""
        return f"{self.module}.{self.cls}"

    @property
    def shown(self) -> str:
        """The name under which it is listed: Kafka's, if Kafka has it too."""
        return next((each for each in self.java if each.startswith("org.apache.kafka.")), self.name)


@dataclass(frozen=True, slots=True)
class PluginDesc:
    """A plug-in as REST lists it (``PluginDesc``)."""

    name: str
    type: PluginType
    version: str


def _converters() -> Iterator[Plugin]:
    both = (PluginType.CONVERTER, PluginType.HEADER_CONVERTER)
    for name in ("Short", "Integer", "Long", "Float", "Double", "Boolean"):
        cls = f"{name}Converter"
        yield Plugin("engine.connect.converters.primitives", cls, both, (f"org.apache.kafka.connect.converters.{cls}",))
    yield Plugin(
        "engine.connect.converters.simple_header",
        "SimpleHeaderConverter",
        (PluginType.HEADER_CONVERTER,),
        ("org.apache.kafka.connect.storage.SimpleHeaderConverter",),
    )
    for module, cls, java in (
        ("byte_array", "ByteArrayConverter", "converters.ByteArrayConverter"),
        ("json", "JsonConverter", "json.JsonConverter"),
        ("string", "StringConverter", "storage.StringConverter"),
    ):
        yield Plugin(f"engine.connect.converters.{module}", cls, both, (f"org.apache.kafka.connect.{java}",))
    for module, cls, java in (
        ("avro", "AvroConverter", "avro.AvroConverter"),
        ("json_schema", "JsonSchemaConverter", "json.JsonSchemaConverter"),
        ("protobuf", "ProtobufConverter", "protobuf.ProtobufConverter"),
    ):
        java_names = (f"io.confluent.connect.{java}",)
        yield Plugin(f"engine.connect.converters.{module}", cls, both, java_names, "connect-schemas")


def _transforms() -> Iterator[Plugin]:
    java = "org.apache.kafka.connect.transforms"
    for module, name in (
        ("cast", "Cast"),
        ("fields", "ExtractField"),
        ("fields", "HoistField"),
        ("fields", "InsertField"),
        ("fields", "MaskField"),
        ("fields", "ReplaceField"),
        ("flatten", "Flatten"),
        ("headers", "HeaderFrom"),
        ("schema_metadata", "SetSchemaMetadata"),
        ("timestamps", "TimestampConverter"),
    ):
        for side in ("Key", "Value"):
            where = f"engine.connect.transforms.{module}"
            yield Plugin(where, f"{name}{side}", (PluginType.TRANSFORMATION,), (f"{java}.{name}${side}",))
    for module, name in (
        ("fields", "ValueToKey"),
        ("headers", "DropHeaders"),
        ("headers", "InsertHeader"),
        ("routing", "Filter"),
        ("routing", "RegexRouter"),
        ("routing", "TimestampRouter"),
    ):
        where = f"engine.connect.transforms.{module}"
        yield Plugin(where, name, (PluginType.TRANSFORMATION,), (f"{java}.{name}",))
    for name in ("HasHeaderKey", "RecordIsTombstone", "TopicNameMatches"):
        where = "engine.connect.predicates.predicates"
        yield Plugin(where, name, (PluginType.PREDICATE,), (f"{java}.predicates.{name}",))


def _connectors() -> Iterator[Plugin]:
    where, file = "engine.connect.connectors", "org.apache.kafka.connect.file"
    source, sink = (PluginType.SOURCE,), (PluginType.SINK,)
    yield Plugin(f"{where}.file", "FileStreamSourceConnector", source, (f"{file}.FileStreamSourceConnector",))
    yield Plugin(f"{where}.file", "FileStreamSinkConnector", sink, (f"{file}.FileStreamSinkConnector",))
    yield Plugin(f"{where}.file_source", "FileSourceConnector", source)
    yield Plugin(f"{where}.file_sink", "FileSinkConnector", sink)
    yield Plugin(f"{where}.directory", "DirectorySourceConnector", source)
    jdbc = "io.confluent.connect.jdbc"
    yield Plugin(f"{where}.sql_source", "SqlSourceConnector", source, (f"{jdbc}.JdbcSourceConnector",), "connect-sql")
    yield Plugin(f"{where}.sql_sink", "SqlSinkConnector", sink, (f"{jdbc}.JdbcSinkConnector",), "connect-sql")
    debezium = "io.debezium.connector.postgresql.PostgresConnector"
    yield Plugin(f"{where}.postgres_cdc", "PostgresConnector", source, (debezium,), "connect-postgres")
    # Confluent's of these kinds have other configs, so that their names are not ours.
    yield Plugin(f"{where}.syslog", "SyslogSourceConnector", source)
    yield Plugin(f"{where}.http_source", "HttpSourceConnector", source, extra="connect")
    yield Plugin(f"{where}.http_sink", "HttpSinkConnector", sink, extra="connect")
    yield Plugin(f"{where}.object_store", "ObjectStoreSinkConnector", sink, extra="connect-parquet")


BUILT_IN: tuple[Plugin, ...] = (*_connectors(), *_converters(), *_transforms())
"""What this package has."""

_SUFFIXES = ("Connector", "Converter")


def _aliases(plugin: Plugin) -> Iterator[str]:
    for name in (plugin.name, *plugin.java):
        yield name
        last = name.rsplit(".", 1)[-1]
        yield last
        for suffix in _SUFFIXES:
            if last.endswith(suffix) and last != suffix:
                yield last.removesuffix(suffix)


@cache
def _known() -> dict[str, Plugin]:
    known: dict[str, Plugin] = {}
    for plugin in BUILT_IN:
        for alias in _aliases(plugin):
            known.setdefault(alias, plugin)
    return known


@cache
def _from_entry_points() -> dict[str, str]:
    return {each.name: each.value for each in entry_points(group=ENTRY_POINTS)}


def _import(module: str, cls: str, asked: str, extra: str | None = None) -> type:
    try:
        found: Any = import_module(module)
        for part in cls.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise NotFoundError(
                f"Failed to find any class that matches {asked}: there is no module {missing}"
            ) from None
        how = f": pip install 'kconsole[{extra}]'" if extra else ""
        raise ConnectError(f"{asked} needs {missing}, which is not installed{how}") from error
    except AttributeError:
        raise NotFoundError(f"Failed to find any class that matches {asked}: {module} has no {cls}") from None
    if not isinstance(found, type):
        raise NotFoundError(f"{asked} is no class")
    return found


def find(name: str, *types: PluginType) -> type:
    """A plug-in's class by any of its names.

    Args:
        types: what it must be one of; any kind when left out.

    Raises:
        NotFoundError: there is none of that name and kind; what there is, is named.
        ConnectError: something that it needs is not installed.
    """
    wanted = types or tuple(PluginType)
    plugin = _known().get(name)
    if plugin is not None:
        found = _import(plugin.module, plugin.cls, name, plugin.extra)
    elif name in _from_entry_points():
        module, _, cls = _from_entry_points()[name].partition(":")
        found = _import(module, cls, name)
    elif "." in name or ":" in name:
        module, _, cls = name.partition(":") if ":" in name else name.rpartition(".")
        found = _import(module, cls, name)
    else:
        found = None
    if found is None or not any(issubclass(found, _BASES[each]) for each in wanted):
        kinds = "/".join(each.value for each in wanted)
        there = ", ".join(sorted({each.name for each in listed(*wanted)}))
        raise NotFoundError(f"Failed to find any class that is a {kinds} and matches {name}; available are: {there}")
    return found


def listed_name(name: str) -> str:
    """The name under which :func:`listed` has what is called so."""
    plugin = _known().get(name)
    if plugin is None:
        return name
    return plugin.shown


def listed(*types: PluginType) -> list[PluginDesc]:
    """Plug-ins of these kinds, sorted by kind and name; what cannot be imported is left out.

    Those that Kafka has too are listed under its names, which tools for Connect know.
    """
    wanted = types or tuple(PluginType)
    found: dict[tuple[str, str], PluginDesc] = {}
    for plugin in BUILT_IN:
        _list(plugin.shown, plugin.name, wanted, found)
    for name in _from_entry_points():
        _list(name, name, wanted, found)
    return [found[each] for each in sorted(found)]


def _list(shown: str, name: str, wanted: tuple[PluginType, ...], found: dict[tuple[str, str], PluginDesc]) -> None:
    plugin = _known().get(name)
    try:
        if plugin is not None:
            if not set(plugin.types) & set(wanted):
                return
            cls = _import(plugin.module, plugin.cls, name, plugin.extra)
        else:
            module, _, part = _from_entry_points()[name].partition(":")
            cls = _import(module, part, name)
    except ConnectError:
        return
    if inspect.isabstract(cls):
        return
    for kind in wanted:
        if issubclass(cls, _BASES[kind]):
            found[kind.value, shown] = PluginDesc(shown, kind, str(getattr(cls, "version", "undefined")))
