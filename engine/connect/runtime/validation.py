"""Whether a connector's config would do: all that is wrong with it (``AbstractHerder.validateConnectorConfig``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from engine.connect import plugins
from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigKey, ConfigType, ConfigValue, Importance, Width
from engine.connect.connector import Connector, ExactlyOnceSupport, SourceConnector
from engine.connect.errors import ConfigError, ConnectError, NotFoundError
from engine.connect.plugins import PluginType
from engine.connect.runtime.config_infos import ConfigInfo, ConfigInfos
from engine.connect.runtime.connector_config import SINK_CONFIG, SOURCE_CONFIG, topic_creation_config
from engine.connect.runtime.herder import BadRequest
from engine.connect.runtime.worker_config import WorkerConfig

_CONVERTERS = {
    "key.converter": PluginType.CONVERTER,
    "value.converter": PluginType.CONVERTER,
    "header.converter": PluginType.HEADER_CONVERTER,
}
_VERSION = "plugin.version"


def validated(given: Mapping[str, str], worker: WorkerConfig) -> ConfigInfos:
    """What each config is and what is wrong with it. The connector may look at what it would connect, so this blocks.

    Args:
        given: with references (``${file:…}``), which are followed here and shown as they were given.

    Raises:
        BadRequest: the config names no connector's class, or none that there is, or a reference leads nowhere.
    """
    try:
        props = worker.transformer.resolve(given)
    except ConnectError as error:
        raise BadRequest(str(error)) from error
    connector = connector_class(props)
    is_source = issubclass(connector, SourceConnector)
    base = _with_plugins(SOURCE_CONFIG if is_source else SINK_CONFIG, props, worker, connector)
    if is_source and worker["topic.creation.enable"]:
        base = base.including(topic_creation_config(props))
    base = base.including(_steps(props, "transforms", PluginType.TRANSFORMATION))
    base = base.including(_steps(props, "predicates", PluginType.PREDICATE))
    found = _Found(given, props)
    found.add(base)
    found.classes(base)
    if is_source:
        _check_exactly_once(found, connector, worker)
    else:
        _check_topics(found)
    for name, kind in _CONVERTERS.items():
        _add_converter(found, name, kind)
    own = connector.config()
    found.add(own)
    for name, messages in connector.validate(props).items():
        found.value(name, own).errors += messages
    for name, message in worker.refused_overrides(props).items():
        found.value(name, own).errors.append(message)
    groups = dict.fromkeys(each.group for each in (*base.keys.values(), *own.keys.values()) if each.group)
    return ConfigInfos(props["connector.class"], tuple(groups), found.infos())


def connector_class(props: Mapping[str, str]) -> type[Connector]:
    """The class that a connector's config names.

    Raises:
        BadRequest: none, or none that there is, or something that it needs is not installed.
    """
    name = props.get("connector.class", "").strip()
    if not name:
        shown = ", ".join(f"{each}=…" for each in props)
        raise BadRequest(f"Connector config {{{shown}}} contains no connector type")
    kinds = (PluginType.SOURCE, PluginType.SINK)
    try:
        found: type[Connector] = plugins.find(name, *kinds)
    except NotFoundError:
        there = ", ".join(each.name for each in plugins.listed(*kinds))
        raise BadRequest(
            f"Failed to find any class that implements Connector and which name matches {name}, "
            f"available connectors are: {there}"
        ) from None
    except ConnectError as error:
        raise BadRequest(str(error)) from error
    return found


class _Found:
    """Definitions and values so far, each once."""

    def __init__(self, given: Mapping[str, str], props: Mapping[str, str]) -> None:
        self._given, self.props = given, props
        self._keys: dict[str, ConfigKey] = {}
        self._values: dict[str, ConfigValue] = {}

    def add(self, definitions: ConfigDef, prefix: str = "", props: Mapping[str, str] | None = None) -> None:
        """Validate by definitions; ``prefix`` stands before their names here."""
        for each in definitions.validate(self.props if props is None else props):
            name = prefix + each.name
            key = definitions.keys[each.name]
            before = self._values.get(name)
            self._keys[name] = key if not prefix else replace(key, name=name)
            each.name = name
            if before is not None:
                each.errors = list(dict.fromkeys([*before.errors, *each.errors]))
            self._values[name] = each

    def value(self, name: str, definitions: ConfigDef) -> ConfigValue:
        """Of one config, be it defined or not."""
        if name not in self._values:
            self._values[name] = ConfigValue(name, self.props.get(name))
            self._keys[name] = definitions.keys.get(name) or ConfigKey(
                name, ConfigType.STRING, None, Importance.LOW, "", display_name=name
            )
        return self._values[name]

    def classes(self, definitions: ConfigDef) -> None:
        """Names of plug-ins become those under which they are listed."""
        for name, key in definitions.keys.items():
            value = self._values[name]
            if key.type is ConfigType.CLASS and value.value is not None:
                value.value = None if value.errors else plugins.listed_name(value.value)

    def infos(self) -> list[ConfigInfo]:
        """A value that was a reference is shown as the reference: what it stands for may be a secret."""
        for name, value in self._values.items():
            if name in self._given and self._given[name] != self.props.get(name):
                value.value = self._given[name]
        return [ConfigInfo(self._keys[name], value) for name, value in self._values.items()]


def _with_plugins(
    definitions: ConfigDef, props: Mapping[str, str], worker: WorkerConfig, connector: type[Connector]
) -> ConfigDef:
    """The worker's converters are the defaults, and there are plug-ins and versions to choose from."""
    keys = dict(definitions.keys)
    keys[f"connector.{_VERSION}"] = _version_of(keys[f"connector.{_VERSION}"], connector)
    for name, kind in _CONVERTERS.items():
        keys[name] = replace(
            keys[name], default=worker[name], validator=_is_there(kind), recommender=_those_there(kind)
        )
        key = keys[f"{name}.{_VERSION}"]
        keys[key.name] = _version_of(key, _class_of(props.get(name) or worker[name], kind))
    return ConfigDef(keys.values())


def _version_of(key: ConfigKey, plugin: type | None) -> ConfigKey:
    version = None if plugin is None else str(getattr(plugin, "version", "undefined"))
    return replace(key, default=version, recommender=lambda *_: [] if version is None else [version])


def _class_of(name: str, kind: PluginType) -> Any:
    try:
        return plugins.find(name, kind)
    except ConnectError:
        return None


def _is_there(kind: PluginType) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if value is None:
            return
        try:
            plugins.find(value, kind)
        except NotFoundError:
            raise ConfigError(name, value, f"Class {value} could not be found.") from None
        except ConnectError as error:
            raise ConfigError(name, value, str(error)) from error

    return check


def _those_there(kind: PluginType) -> Callable[[str, Mapping[str, Any]], Iterable[Any]]:
    return lambda *_: [each.name for each in plugins.listed(kind)]


def _steps(props: Mapping[str, str], what: str, kind: PluginType) -> ConfigDef:
    """Configs of transforms or predicates, under their names (``ConnectorConfig.enrich``)."""
    noun = "Transformation" if what == "transforms" else "Predicate"
    definitions = ConfigDef()
    for alias in dict.fromkeys(each.strip() for each in props.get(what, "").split(",") if each.strip()):
        prefix, group = f"{what}.{alias}.", f"{what.capitalize()}: {alias}"
        found = _class_of(props.get(f"{prefix}type", ""), kind)
        keys = [
            ConfigKey(
                f"{prefix}type",
                ConfigType.CLASS,
                NO_DEFAULT,
                Importance.HIGH,
                f"What {alias} is: the name of a {noun.lower()}.",
                _is_there(kind),
                width=Width.LONG,
                display_name=f"{noun} type for {alias}",
                recommender=_those_there(kind),
            ),
            _version_of(
                ConfigKey(
                    f"{prefix}{_VERSION}",
                    ConfigType.STRING,
                    None,
                    Importance.HIGH,
                    f"Version of {alias}.",
                    width=Width.LONG,
                    display_name=f"{noun} version for {alias}",
                ),
                found,
            ),
        ]
        if found is not None:
            own: ConfigDef = found.config()
            keys += [replace(key, name=f"{prefix}{key.name}") for key in own.keys.values()]
            if kind is PluginType.TRANSFORMATION:
                keys += _conditions(prefix)
        for order, key in enumerate(keys):
            definitions.keys[key.name] = replace(key, group=group, order_in_group=order)
    return definitions


def _conditions(prefix: str) -> list[ConfigKey]:
    medium = Importance.MEDIUM
    negate = "Whether the transform is for those records for which the predicate does not hold."
    predicate = "The name of the predicate that says which records the transform is for; without, for all."
    return [
        ConfigKey(f"{prefix}negate", ConfigType.BOOLEAN, False, medium, negate, display_name="negate"),
        ConfigKey(f"{prefix}predicate", ConfigType.STRING, None, medium, predicate, display_name="predicate"),
    ]


def _add_converter(found: _Found, name: str, kind: PluginType) -> None:
    """The configs of a converter that the connector itself names."""
    converter = _class_of(found.props.get(name, ""), kind)
    if converter is None:
        return
    prefix = f"{name}."
    own = {each.removeprefix(prefix): value for each, value in found.props.items() if each.startswith(prefix)}
    found.add(converter.config(), prefix, {**own, "converter.type": name.partition(".")[0]})


def _check_topics(found: _Found) -> None:
    """``SinkConnectorConfig.validate``."""
    topics = [each.strip() for each in found.props.get("topics", "").split(",") if each.strip()]
    regex = found.props.get("topics.regex", "").strip()
    both = [found.value(name, SINK_CONFIG) for name in ("topics", "topics.regex")]
    for value in both:
        if topics and regex:
            value.errors.append("topics and topics.regex are mutually exclusive options, but both are set.")
        elif not topics and not regex:
            value.errors.append("Must configure one of topics or topics.regex")
    letters = found.props.get("errors.deadletterqueue.topic.name", "").strip()
    if letters and letters in topics:
        both[0].errors.append(
            f"The DLQ topic '{letters}' may not be included in the list of topics "
            f"('topics=[{', '.join(topics)}]') consumed by the connector"
        )
    if letters and regex and not both[1].errors and re.fullmatch(regex, letters):
        both[1].errors.append(
            f"The DLQ topic '{letters}' may not be included in the regex matching the topics "
            f"('topics.regex={regex}') consumed by the connector"
        )


def _check_exactly_once(found: _Found, connector: type[Connector], worker: WorkerConfig) -> None:
    """``DistributedHerder.validateSourceConnectorConfig`` (KIP-618)."""
    made: Any = None

    def ask(question: Callable[[Any], Any], value: ConfigValue) -> Any:
        nonlocal made
        try:
            made = made or connector()
            return question(made)
        except Exception as error:
            value.errors.append(f"The connector could not tell: {error}")
            return error

    support = found.value("exactly.once.support", SOURCE_CONFIG)
    if found.props.get("exactly.once.support", "").lower() == "required" and not support.errors:
        if not worker.exactly_once:
            support.errors.append("This worker does not have exactly-once source support enabled.")
        else:
            answer = ask(lambda each: each.exactly_once_support(found.props), support)
            if answer is None:
                support.errors.append(
                    "The connector does not implement the API required for preflight validation of exactly-once "
                    "source support: see its documentation, and set exactly.once.support to requested"
                )
            elif answer is ExactlyOnceSupport.UNSUPPORTED:
                support.errors.append(
                    "The connector does not support exactly-once semantics with the provided configuration."
                )
    boundary = found.value("transaction.boundary", SOURCE_CONFIG)
    by_connector = found.props.get("transaction.boundary", "").lower() == "connector" and not boundary.errors
    if by_connector and ask(lambda each: each.can_define_transaction_boundaries(found.props), boundary) is False:
        boundary.errors.append(
            "The connector does not support connector-defined transaction boundaries with the given configuration."
        )
