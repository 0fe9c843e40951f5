"""The configs that every connector has (``ConnectorConfig``, ``SourceConnectorConfig``, ``SinkConnectorConfig``).

Names, order, groups, defaults and validation are Kafka 4.3's: REST's validation shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from engine.connect.config_def import (
    NO_DEFAULT,
    ConfigDef,
    ConfigType,
    Importance,
    Validator,
    Width,
    between,
    non_empty,
    one_of,
)
from engine.connect.errors import ConfigError

COMMON, TRANSFORMS, PREDICATES, ERRORS = "Common", "Transforms", "Predicates", "Error Handling"
TOPIC_CREATION, EXACTLY_ONCE, OFFSETS_TOPIC = "Topic Creation", "Exactly Once Support", "offsets.topic"

DEFAULT_GROUP = "default"
"""The group of ``topic.creation`` that takes all topics which no other takes."""


def _name(name: str, value: Any) -> None:
    if value is None:
        return
    if not value.strip():
        raise ConfigError(name, value, "String may not be empty")
    control = [str(ord(each)) for each in value if ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0]
    if control:
        shown = ", ".join(control)
        raise ConfigError(
            name, value, f"String may not contain control sequences but had the following ASCII chars: {shown}"
        )


def _unique(what: str) -> Validator:
    def check(name: str, value: Any) -> None:
        if value is not None and len(set(value)) != len(value):
            raise ConfigError(name, value, f"Duplicate {what} provided.")

    return check


def _regex(name: str, value: Any) -> None:
    if value:
        try:
            re.compile(value)
        except re.error as error:
            raise ConfigError(name, value, f"Invalid regex: {error}") from None


def _common() -> ConfigDef:
    d, text = ConfigDef(), ConfigType.STRING
    high, medium, low = Importance.HIGH, Importance.MEDIUM, Importance.LOW

    def define(name: str, kind: ConfigType, default: Any, importance: Importance, doc: str, **more: Any) -> None:
        d.define(name, kind, default, importance, doc, **more)

    define(
        "name",
        text,
        NO_DEFAULT,
        high,
        "The connector's name: there is one of that name in the whole group.",
        validator=_name,
        group=COMMON,
        width=Width.MEDIUM,
        display_name="Connector name",
    )
    define(
        "connector.class",
        text,
        NO_DEFAULT,
        high,
        "What connects: the name of a connector's class, its short name, or the Java class that it stands for.",
        group=COMMON,
        width=Width.LONG,
        display_name="Connector class",
    )
    define("connector.plugin.version", text, None, medium, "Version of the connector.", **_version("Connector"))
    define(
        "tasks.max",
        ConfigType.INT,
        1,
        high,
        "How many tasks may share the connector's work.",
        validator=between(1),
        group=COMMON,
        width=Width.SHORT,
        display_name="Tasks max",
    )
    define(
        "tasks.max.enforce",
        ConfigType.BOOLEAN,
        True,
        low,
        "(Deprecated) Whether a connector fails that makes more tasks than tasks.max.",
        group=COMMON,
        width=Width.SHORT,
        display_name="Enforce tasks max",
    )
    for name, shown, doc in (
        ("key", "Key converter", "Makes bytes of keys and reads them; the worker's, if it is not given."),
        ("value", "Value converter", "Makes bytes of values and reads them; the worker's, if it is not given."),
        ("header", "Header converter", "Makes bytes of headers and reads them; the worker's, if it is not given."),
    ):
        define(
            f"{name}.converter",
            ConfigType.CLASS,
            None,
            low,
            doc,
            group=COMMON,
            width=Width.SHORT,
            display_name=f"{shown} class",
        )
        define(
            f"{name}.converter.plugin.version",
            text,
            None,
            low,
            f"Version of the {name} converter.",
            **_version(shown, Width.SHORT),
        )
    define(
        "transforms",
        ConfigType.LIST,
        [],
        low,
        "Names of the transforms that records go through, in this order; each has its own configs under its name.",
        validator=_unique("alias"),
        group=TRANSFORMS,
        width=Width.LONG,
        display_name="Transforms",
    )
    define(
        "predicates",
        ConfigType.LIST,
        [],
        low,
        "Names of the predicates that transforms ask whether a record is theirs.",
        validator=_unique("alias"),
        group=PREDICATES,
        width=Width.LONG,
        display_name="Predicates",
    )
    define(
        "config.action.reload",
        text,
        "restart",
        low,
        "What happens when a config provider says that a value has changed: restart the connector, or none.",
        validator=one_of("none", "restart"),
        group=COMMON,
        width=Width.MEDIUM,
        display_name="Reload Action",
    )
    define(
        "errors.retry.timeout",
        ConfigType.LONG,
        0,
        medium,
        "How long, in ms, an operation that failed is tried again: 0 not at all, -1 without end.",
        group=ERRORS,
        width=Width.MEDIUM,
        display_name="Retry Timeout for Errors",
    )
    define(
        "errors.retry.delay.max.ms",
        ConfigType.LONG,
        60_000,
        medium,
        "The longest pause, in ms, between two tries; pauses double, and have some chance in them beyond this.",
        group=ERRORS,
        width=Width.MEDIUM,
        display_name="Maximum Delay Between Retries for Errors",
    )
    define(
        "errors.tolerance",
        text,
        "none",
        medium,
        "none: the first record that cannot be handled fails the task. all: such records are skipped.",
        validator=one_of("none", "all"),
        group=ERRORS,
        width=Width.SHORT,
        display_name="Error Tolerance",
    )
    define(
        "errors.log.enable",
        ConfigType.BOOLEAN,
        False,
        medium,
        "Whether each error is logged, also those that are tolerated.",
        group=ERRORS,
        width=Width.SHORT,
        display_name="Log Errors",
    )
    define(
        "errors.log.include.messages",
        ConfigType.BOOLEAN,
        False,
        medium,
        "Whether the log tells which record it was (topic, partition, offset, time; never its content).",
        group=ERRORS,
        width=Width.SHORT,
        display_name="Log Error Details",
    )
    return d


def _version(shown: str, width: Width = Width.MEDIUM) -> dict[str, Any]:
    return {"group": COMMON, "width": width, "display_name": f"{shown} version"}


def _source() -> ConfigDef:
    d = ConfigDef()
    d.define(
        "topic.creation.groups",
        ConfigType.LIST,
        [],
        Importance.LOW,
        "Names of groups of topics that are created alike; each has configs under topic.creation.<group>.",
        validator=_unique("alias"),
        group=TOPIC_CREATION,
        width=Width.LONG,
        display_name="Topic Creation Groups",
    )
    d.define(
        "exactly.once.support",
        ConfigType.STRING,
        "requested",
        Importance.MEDIUM,
        "required: the connector is refused unless it says that it can deliver exactly once. requested: it is not.",
        validator=one_of("required", "requested", ignore_case=True),
        group=EXACTLY_ONCE,
        width=Width.SHORT,
        display_name="Exactly once support",
    )
    d.define(
        "transaction.boundary",
        ConfigType.STRING,
        "poll",
        Importance.MEDIUM,
        "A transaction for each batch that a task gives (poll), for some time (interval), or as the connector says.",
        validator=one_of("interval", "poll", "connector", ignore_case=True),
        group=EXACTLY_ONCE,
        width=Width.SHORT,
        display_name="Transaction Boundary",
    )
    d.define(
        "transaction.boundary.interval.ms",
        ConfigType.LONG,
        None,
        Importance.LOW,
        "With transaction.boundary=interval: ms between commits; offset.flush.interval.ms, if it is not given.",
        validator=_not_negative,
        group=EXACTLY_ONCE,
        width=Width.SHORT,
        display_name="Transaction boundary interval",
    )
    d.define(
        "offsets.storage.topic",
        ConfigType.STRING,
        None,
        Importance.LOW,
        "A topic for this connector's source offsets alone; the group's, if it is not given.",
        validator=non_empty,
        group=OFFSETS_TOPIC,
        width=Width.LONG,
        display_name="Offsets topic",
    )
    # Kafka numbers these three on, in a group that the first one is not in.
    return _renumbered(d, {"exactly.once.support": 2, "transaction.boundary": 3, "transaction.boundary.interval.ms": 4})


def _sink() -> ConfigDef:
    d = ConfigDef()
    d.define(
        "topics",
        ConfigType.LIST,
        [],
        Importance.HIGH,
        "Topics to read, separated by commas.",
        group=COMMON,
        width=Width.LONG,
        display_name="Topics",
    )
    d.define(
        "topics.regex",
        ConfigType.STRING,
        "",
        Importance.HIGH,
        "Topics to read, also such as are created later, by a regular expression. Either this or topics.",
        validator=_regex,
        group=COMMON,
        width=Width.LONG,
        display_name="Topics regex",
    )
    d.define(
        "errors.deadletterqueue.topic.name",
        ConfigType.STRING,
        "",
        Importance.MEDIUM,
        "The topic that takes records which could not be handled; empty: they go nowhere.",
        group=ERRORS,
        width=Width.MEDIUM,
        display_name="Dead Letter Queue Topic Name",
    )
    d.define(
        "errors.deadletterqueue.topic.replication.factor",
        ConfigType.SHORT,
        3,
        Importance.MEDIUM,
        "Replicas of that topic, if the connector creates it.",
        group=ERRORS,
        width=Width.MEDIUM,
        display_name="Dead Letter Queue Topic Replication Factor",
    )
    d.define(
        "errors.deadletterqueue.context.headers.enable",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "Whether such records get headers that tell what was wrong, named __connect.errors.….",
        group=ERRORS,
        width=Width.MEDIUM,
        display_name="Enable Error Context Headers",
    )
    return _renumbered(
        d,
        {
            "topics": 4,
            "topics.regex": 4,
            "errors.deadletterqueue.topic.name": 6,
            "errors.deadletterqueue.topic.replication.factor": 7,
            "errors.deadletterqueue.context.headers.enable": 8,
        },
    )


def _not_negative(name: str, value: Any) -> None:
    if value is not None:
        between(0)(name, value)


def _renumbered(definitions: ConfigDef, orders: Mapping[str, int]) -> ConfigDef:
    return ConfigDef(
        replace(each, order_in_group=orders.get(each.name, each.order_in_group)) for each in definitions.keys.values()
    )


CONNECTOR_CONFIG = _renumbered(_common(), {"transforms": 12, "predicates": 13, "config.action.reload": 14})
"""What sources and sinks have in common."""
SOURCE_CONFIG = CONNECTOR_CONFIG.including(_source())
"""All that a source has, besides ``topic.creation.…``, transforms and its own."""
SINK_CONFIG = CONNECTOR_CONFIG.including(_sink())
"""All that a sink has, besides transforms and its own."""


def topic_creation_groups(props: Mapping[str, str]) -> list[str]:
    """Names of the groups that a source's config has, the default group last; none if it creates no topics itself."""
    if not any(name.startswith("topic.creation.") and name != "topic.creation.groups" for name in props):
        return []
    groups = [each.strip() for each in props.get("topic.creation.groups", "").split(",") if each.strip()]
    return [*(each for each in groups if each != DEFAULT_GROUP), DEFAULT_GROUP]


def topic_creation_config(props: Mapping[str, str]) -> ConfigDef:
    """Definitions of ``topic.creation.<group>.…`` (KIP-158) for the groups of these configs."""
    d = ConfigDef()
    for group in topic_creation_groups(props):
        _define_group(d, group)
    return d


def _define_group(d: ConfigDef, group: str) -> None:
    prefix, shown = f"topic.creation.{group}.", f"Topic Creation: {group}"
    lists: Iterable[tuple[str, Any, str]] = (
        ("include", [".*"] if group == DEFAULT_GROUP else NO_DEFAULT, "Regular expressions of topics in this group."),
        ("exclude", [], "Regular expressions of topics that are not in this group all the same."),
    )
    for name, default, doc in lists:
        d.define(
            prefix + name,
            ConfigType.LIST,
            default,
            Importance.LOW,
            doc,
            validator=_regexes,
            group=shown,
            width=Width.LONG,
            display_name=f"{name.capitalize()} Topics",
        )
    for name, kind, title, doc in (
        ("replication.factor", ConfigType.SHORT, "Replication Factor", "Replicas; -1: the brokers' default."),
        ("partitions", ConfigType.INT, "Partition Count", "Partitions; -1: the brokers' default."),
    ):
        d.define(
            prefix + name,
            kind,
            NO_DEFAULT if group == DEFAULT_GROUP else -1,
            Importance.LOW,
            doc,
            validator=_positive_or_default,
            group=shown,
            width=Width.LONG,
            display_name=f"{title} for Topics in {group}",
        )


def _regexes(name: str, value: Any) -> None:
    for each in value or ():
        _regex(name, each)


def _positive_or_default(name: str, value: Any) -> None:
    if value is None or (value != -1 and value < 1):
        raise ConfigError(name, value, "Value must be -1, for the brokers' default, or at least 1")
