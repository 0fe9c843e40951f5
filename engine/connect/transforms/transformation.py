"""What a transform is: subclass this (``org.apache.kafka.connect.transforms.Transformation``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from engine.connect.config_def import ConfigDef
from engine.connect.records import ConnectRecord

R = TypeVar("R", bound=ConnectRecord)


class Transformation(ABC):
    """Makes one record of one record, or none."""

    version: ClassVar[str] = "0.1.0"

    @classmethod
    def config(cls) -> ConfigDef:
        """Its configs, without the prefix ``transforms.NAME.``."""
        return ConfigDef()

    @abstractmethod
    def configure(self, configs: Mapping[str, Any]) -> None:
        """Before anything else.

        Raises:
            ConfigError: a config that cannot be.
        """

    @abstractmethod
    def apply(self, record: R) -> R | None:
        """Another record or the same; None drops it. The record that is given must not be changed.

        Raises:
            DataError: it cannot be transformed.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Not used any more."""
