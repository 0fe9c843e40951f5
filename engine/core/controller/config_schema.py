"""What the controller must know of configs: which exist, what values they take, what they are when nobody sets them.

A protocol, so that the machine can be tested alone; :mod:`engine.core.controller.kafka_config_schema` answers from the
definitions in :mod:`engine.model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class EffectiveConfig(NamedTuple):
    """One config with the value that holds and where it comes from (DescribeConfigs' ConfigSource numbers)."""

    name: str
    value: str | None
    source: int
    is_sensitive: bool


class ConfigSource:
    """DescribeConfigsResponse.ConfigSource."""

    UNKNOWN = 0
    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class ConfigSchema(Protocol):
    """Definitions of topic, broker and group configs."""

    def validate_topic(self, configs: Mapping[str, str]) -> None:
        """Check all of a topic's own configs together. Raises: KafkaError: INVALID_CONFIG, Kafka's words."""

    def validate_broker(self, configs: Mapping[str, str], *, is_default: bool) -> None:
        """Check a broker's (or, ``is_default``, the cluster's) dynamic configs. Raises: KafkaError."""

    def validate_group(self, configs: Mapping[str, str]) -> None:
        """Check a group's configs. Raises: KafkaError: INVALID_CONFIG."""

    def validate_client_metrics(self, configs: Mapping[str, str]) -> None:
        """Check a subscription to clients' metrics. Raises: KafkaError: INVALID_REQUEST, INVALID_CONFIG."""

    def is_list(self, resource_type: int, name: str) -> bool:
        """Whether the config is a comma-separated list, to which values can be appended."""

    def default(self, resource_type: int, name: str) -> str | None:
        """The value without any override, None if there is none."""

    def is_sensitive(self, resource_type: int, name: str) -> bool:
        """Whether the value is a secret (or unknown, and so treated as one): never shown."""

    def effective_topic_configs(
        self,
        overrides: Mapping[str, str],
        dynamic_broker: Mapping[str, str],
        dynamic_default: Mapping[str, str],
    ) -> list[EffectiveConfig]:
        """Every topic config by name, with the value that would hold under these overrides."""
