"""What a predicate is: subclass this (``org.apache.kafka.connect.transforms.predicates.Predicate``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from engine.connect.config_def import ConfigDef
from engine.connect.records import ConnectRecord


class Predicate(ABC):
    """Says of each record whether a transform is for it."""

    version: ClassVar[str] = "0.1.0"

    @classmethod
    def config(cls) -> ConfigDef:
        """Its configs, without the prefix ``predicates.NAME.``."""
        return ConfigDef()

    @abstractmethod
    def configure(self, configs: Mapping[str, Any]) -> None:
        """Before anything else.

        Raises:
            ConfigError: a config that cannot be.
        """

    @abstractmethod
    def test(self, record: ConnectRecord) -> bool:
        """Whether it holds."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Not used any more."""
