"""Other topics, or none (``org.apache.kafka.connect.transforms``: RegexRouter, TimestampRouter, Filter)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance
from engine.connect.errors import ConfigError, DataError
from engine.connect.java_dates import DateFormat
from engine.connect.java_regex import compile_java, replacement, valid_regex
from engine.connect.transforms.transformation import R, Transformation


class RegexRouter(Transformation):
    """A topic that matches as a whole becomes ``replacement``, where ``$1`` is the first group."""

    @classmethod
    def config(cls) -> ConfigDef:
        return (
            ConfigDef()
            .define(
                "regex",
                ConfigType.STRING,
                NO_DEFAULT,
                Importance.HIGH,
                "Regular expression to use for matching.",
                validator=valid_regex(),
            )
            .define("replacement", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, "Replacement string.")
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._regex = compile_java(values["regex"])
        try:
            self._replacement = replacement(values["replacement"], self._regex)
        except re.error as error:
            raise ConfigError("replacement", values["replacement"], str(error)) from None

    def apply(self, record: R) -> R | None:
        if self._regex.fullmatch(record.topic) is None:
            return record
        # The first place where it is found need not be all of the topic.
        return record.changed(topic=self._regex.sub(self._replacement, record.topic, count=1))


class TimestampRouter(Transformation):
    """The record's day, or what the format says, in the topic's name."""

    @classmethod
    def config(cls) -> ConfigDef:
        return (
            ConfigDef()
            .define(
                "topic.format",
                ConfigType.STRING,
                "${topic}-${timestamp}",
                Importance.HIGH,
                "Format string which can contain <code>${topic}</code> and <code>${timestamp}</code> as placeholders "
                "for the topic and timestamp, respectively.",
            )
            .define(
                "timestamp.format",
                ConfigType.STRING,
                "yyyyMMdd",
                Importance.HIGH,
                "Format string for the timestamp that is compatible with <code>java.text.SimpleDateFormat</code>.",
            )
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._topic: str = values["topic.format"]
        try:
            self._format = DateFormat(values["timestamp.format"])
        except ValueError as error:
            raise ConfigError("timestamp.format", values["timestamp.format"], str(error)) from None

    def apply(self, record: R) -> R | None:
        if record.timestamp is None:
            raise DataError(f"Timestamp missing on record of topic {record.topic}")
        try:
            moment = self._format.format(record.timestamp)
        except ValueError as error:
            raise DataError(str(error)) from None
        topic = self._topic.replace("${topic}", record.topic).replace("${timestamp}", moment)
        return record.changed(topic=topic)


class Filter(Transformation):
    """Drops what it gets: all, or what its predicate lets through to it."""

    def configure(self, configs: Mapping[str, Any]) -> None:
        """There is nothing to configure."""

    def apply(self, record: R) -> R | None:
        return None
