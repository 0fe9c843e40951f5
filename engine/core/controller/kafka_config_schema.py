"""The definitions of :mod:`engine.model` as the controller asks for them.

Kafka: KafkaConfigSchema, ControllerConfigurationValidator, DynamicBrokerConfig.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.controller.config_schema import ConfigSource, EffectiveConfig
from engine.core.controller.image import BROKER_RESOURCE, CLIENT_METRICS_RESOURCE, TOPIC_RESOURCE
from engine.model.broker_config import BROKER_CONFIGS, BrokerConfig
from engine.model.client_metrics_config import (
    CLIENT_METRICS_CONFIGS,
    UnknownOrOutOfRange,
    check_client_metrics,
)
from engine.model.configs import ConfigError, ConfigKey, ConfigType, UpdateMode, parse_all
from engine.model.errors import ErrorCode, KafkaError
from engine.model.group_config import check_group_configs
from engine.model.topic_config import TOPIC_CONFIGS, TOPIC_SYNONYMS, LogConfig, check_topic_configs


class KafkaConfigSchema:
    """Implements :class:`engine.core.controller.config_schema.ConfigSchema`."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config

    def validate_topic(self, configs: Mapping[str, str]) -> None:
        """Raises: KafkaError: INVALID_CONFIG."""
        try:
            check_topic_configs(configs)
        except ConfigError as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, error.errors[0]) from None

    def validate_broker(self, configs: Mapping[str, str], *, is_default: bool) -> None:
        """DynamicBrokerConfig.validate: names that may change while a broker runs, at the level asked for, and values.

        Raises:
            KafkaError: INVALID_REQUEST, as Kafka has it (KAFKA-13609).
        """
        known = {name: BROKER_CONFIGS[name] for name in configs if name in BROKER_CONFIGS}
        fixed = sorted(name for name, key in known.items() if key.update_mode is UpdateMode.READ_ONLY)
        if fixed:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"Cannot update these configs dynamically: [{', '.join(fixed)}]"
            )
        per_broker = sorted(name for name, key in known.items() if key.update_mode is UpdateMode.PER_BROKER)
        if is_default and per_broker:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Cannot update these configs at default cluster level: [{', '.join(per_broker)}]",
            )
        errors: list[str] = []
        parse_all(known, configs, errors)
        if errors:
            raise KafkaError(ErrorCode.INVALID_REQUEST, errors[0])

    def validate_group(self, configs: Mapping[str, str]) -> None:
        """Raises: KafkaError: INVALID_CONFIG."""
        try:
            check_group_configs(configs, self._config)
        except ConfigError as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, error.errors[0]) from None

    def validate_client_metrics(self, configs: Mapping[str, str]) -> None:
        """Raises: KafkaError: INVALID_REQUEST, INVALID_CONFIG."""
        try:
            check_client_metrics(configs)
        except UnknownOrOutOfRange as error:
            raise KafkaError(ErrorCode.INVALID_REQUEST, error.errors[0]) from None
        except ConfigError as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, error.errors[0]) from None

    def is_list(self, resource_type: int, name: str) -> bool:
        """Whether the config is a list."""
        key = _key(resource_type, name)
        return key is not None and key.type is ConfigType.LIST

    def default(self, resource_type: int, name: str) -> str | None:
        """The text of the value without any override."""
        if resource_type == TOPIC_RESOURCE:
            return LogConfig.from_(self._config, {}).texts().get(name)
        if resource_type == BROKER_RESOURCE:
            return self._config.effective.get(name)
        return None

    def is_sensitive(self, resource_type: int, name: str) -> bool:
        """Secrets, and broker configs that nothing here knows (they could be anything)."""
        key = _key(resource_type, name)
        return resource_type == BROKER_RESOURCE if key is None else key.is_sensitive

    def effective_topic_configs(
        self,
        overrides: Mapping[str, str],
        dynamic_broker: Mapping[str, str],
        dynamic_default: Mapping[str, str],
    ) -> list[EffectiveConfig]:
        """Every topic config by name, the first of: its own, the node's, the cluster's, the file's, the default."""
        try:
            broker = self._config.with_dynamic(dynamic_default, dynamic_broker)
        except ConfigError:
            broker = self._config
        texts = LogConfig.from_(broker, overrides).texts()
        return [
            EffectiveConfig(
                name,
                texts[name],
                topic_config_source(name, overrides, dynamic_broker, dynamic_default, self._config.static),
                TOPIC_CONFIGS[name].is_sensitive,
            )
            for name in sorted(texts)
        ]


def topic_config_source(
    name: str,
    overrides: Mapping[str, str],
    dynamic_broker: Mapping[str, str],
    dynamic_default: Mapping[str, str],
    static: Mapping[str, str],
) -> int:
    """Where a topic config's value comes from, as a number of DescribeConfigs."""
    if name in overrides:
        return ConfigSource.TOPIC
    for texts, source in (
        (dynamic_broker, ConfigSource.DYNAMIC_BROKER),
        (dynamic_default, ConfigSource.DYNAMIC_DEFAULT_BROKER),
        (static, ConfigSource.STATIC_BROKER),
    ):
        if any(synonym in texts for synonym, _ in TOPIC_SYNONYMS.get(name, ())):
            return source
    return ConfigSource.DEFAULT


def _key(resource_type: int, name: str) -> ConfigKey | None:
    if resource_type == TOPIC_RESOURCE:
        return TOPIC_CONFIGS.get(name)
    if resource_type == CLIENT_METRICS_RESOURCE:
        return CLIENT_METRICS_CONFIGS.get(name)
    return BROKER_CONFIGS.get(name) if resource_type == BROKER_RESOURCE else None
