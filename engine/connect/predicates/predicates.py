"""Kafka's own predicates (``org.apache.kafka.connect.transforms.predicates``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, non_empty
from engine.connect.java_regex import compile_java, valid_regex
from engine.connect.predicates.predicate import Predicate
from engine.connect.records import ConnectRecord


class HasHeaderKey(Predicate):
    """A record has a header of this name."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define(
            "name", ConfigType.STRING, NO_DEFAULT, Importance.MEDIUM, "The header name.", validator=non_empty
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        self._name = self.config().parse(configs)["name"]

    def test(self, record: ConnectRecord) -> bool:
        return any(each.key == self._name for each in record.headers)


class RecordIsTombstone(Predicate):
    """A record has no value."""

    def configure(self, configs: Mapping[str, Any]) -> None:
        """There is nothing to configure."""

    def test(self, record: ConnectRecord) -> bool:
        return record.value is None


def _check_pattern(name: str, value: Any) -> None:
    non_empty(name, value)
    valid_regex()(name, value)


class TopicNameMatches(Predicate):
    """A record's topic matches as a whole."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define(
            "pattern",
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.MEDIUM,
            "A Java regular expression for matching against the name of a record's topic.",
            validator=_check_pattern,
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        self._pattern = compile_java(self.config().parse(configs)["pattern"])

    def test(self, record: ConnectRecord) -> bool:
        return self._pattern.fullmatch(record.topic) is not None
