"""Configs as DescribeConfigs shows them: value, source, synonyms (Kafka: ConfigHelper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import dropwhile

from engine.core.controller.config_schema import ConfigSource
from engine.core.controller.image import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    MetadataImage,
)
from engine.model.broker_config import BROKER_CONFIGS, ONLY_DYNAMIC, BrokerConfig
from engine.model.client_metrics_config import CLIENT_METRICS_CONFIGS
from engine.model.configs import ConfigError, ConfigKey, UpdateMode
from engine.model.group_config import GROUP_CONFIGS, broker_default
from engine.model.topic_config import TOPIC_CONFIGS, TOPIC_SYNONYMS, LogConfig
from engine.model.zookeeper_config import ZOOKEEPER_CONFIGS
from engine.wire.messages.describe_configs_response import DescribeConfigsResourceResult, DescribeConfigsSynonym

# Broker configs that name one thing in several units, each with all names of its family, finest unit first.
_FAMILIES: dict[str, tuple[str, ...]] = {
    name: family
    for synonyms in TOPIC_SYNONYMS.values()
    for family in (tuple(each for each, _ in synonyms),)
    if len(family) > 1
    for name in family
}


class ConfigDescriber:
    """The configs of one node and of the topics, as of one image."""

    def __init__(self, config: BrokerConfig, image: MetadataImage) -> None:
        """``config`` is the node's; dynamic configs are taken from the image."""
        self._image = image
        self._own = image.config(BROKER_RESOURCE, str(config.node_id))
        self._default = image.config(BROKER_RESOURCE, "")
        self._static: Mapping[str, str] = config.static
        # Those of ZooKeeper are known where it coordinates, and nowhere else.
        self._keys = BROKER_CONFIGS | ZOOKEEPER_CONFIGS if config.coordination == "zookeeper" else BROKER_CONFIGS
        try:
            self._config = config.with_dynamic(self._default, self._own)
        except ConfigError:
            # A dynamic value that this software does not take is passed over, by the broker as well.
            self._config = config

    def topic(
        self, name: str, wanted: Sequence[str] | None, *, synonyms: bool, documentation: bool
    ) -> list[DescribeConfigsResourceResult]:
        """All configs of a topic, or the ``wanted`` ones."""
        overrides = self._image.config(TOPIC_RESOURCE, name)
        results = []
        for config, value in LogConfig.from_(self._config, overrides).texts().items():
            if wanted and config not in wanted:
                continue
            key = TOPIC_CONFIGS[config]
            shown = None if key.is_sensitive else value
            found = self._synonyms([each for each, _ in TOPIC_SYNONYMS.get(config, ())], None)
            if config in overrides:
                found.insert(0, DescribeConfigsSynonym(name=config, value=shown, source=ConfigSource.TOPIC))
            results.append(_result(config, shown, found, key, False, synonyms, documentation))
        return results

    def broker(
        self, wanted: Sequence[str] | None, *, synonyms: bool, documentation: bool
    ) -> list[DescribeConfigsResourceResult]:
        """All configs of this node."""
        values: dict[str, str | None] = dict(self._config.effective)
        for name in ONLY_DYNAMIC:
            if name not in self._own and name not in self._default:
                del values[name]
        # What nothing here knows is named, its value is not: it could be a secret.
        values.update({name: None for name in self._config.unknown})
        results = []
        for name, value in sorted(values.items()):
            if wanted and name not in wanted:
                continue
            key = self._keys.get(name)
            read_only = key is None or key.update_mode is UpdateMode.READ_ONLY
            shown = None if key is None or key.is_sensitive else value
            found = self._synonyms(_FAMILIES.get(name, (name,)), name)
            results.append(_result(name, shown, found, key, read_only, synonyms, documentation))
        return results

    def cluster_default(
        self, wanted: Sequence[str] | None, *, synonyms: bool, documentation: bool
    ) -> list[DescribeConfigsResourceResult]:
        """Configs that were set for all brokers at run time."""
        results = []
        for name, value in sorted(self._default.items()):
            if wanted and name not in wanted:
                continue
            key = self._keys.get(name)
            shown = None if key is None or key.is_sensitive else value
            found = [DescribeConfigsSynonym(name=name, value=shown, source=ConfigSource.DYNAMIC_DEFAULT_BROKER)]
            results.append(_result(name, shown, found, key, False, synonyms, documentation))
        return results

    def client_metrics(
        self, name: str, wanted: Sequence[str] | None, *, synonyms: bool, documentation: bool
    ) -> list[DescribeConfigsResourceResult]:
        """All configs of a subscription that exists; none of one that does not."""
        own = self._image.config(CLIENT_METRICS_RESOURCE, name)
        results = []
        for config, key in sorted(CLIENT_METRICS_CONFIGS.items()):
            if not own or (wanted and config not in wanted):
                continue
            value = own.get(config, key.default)
            found = [DescribeConfigsSynonym(name=config, value=value, source=ConfigSource.CLIENT_METRICS)]
            results.append(_result(config, value, found if config in own else [], key, False, synonyms, documentation))
        return results

    def group(
        self, name: str, wanted: Sequence[str] | None, *, synonyms: bool, documentation: bool
    ) -> list[DescribeConfigsResourceResult]:
        """All configs of a group, whether it exists or not."""
        own = self._image.config(GROUP_RESOURCE, name)
        results = []
        for config, key in GROUP_CONFIGS.items():
            if wanted and config not in wanted:
                continue
            value = own.get(config, broker_default(self._config, config))
            if f"group.{config}" in BROKER_CONFIGS:
                found = self._synonyms((f"group.{config}",), None)
            else:
                default = broker_default(self._config, config)
                found = [DescribeConfigsSynonym(name=config, value=default, source=ConfigSource.DEFAULT)]
            if config in own:
                found.insert(0, DescribeConfigsSynonym(name=config, value=value, source=ConfigSource.GROUP))
            results.append(_result(config, value, found, key, False, synonyms, documentation))
        return results

    def _synonyms(self, names: Sequence[str], asked: str | None) -> list[DescribeConfigsSynonym]:
        """Where the value could come from, the source that wins first.

        Kafka passes over what comes before the first of the name that is ``asked`` for (the finest unit, if it is a
        topic's config): ConfigHelper.configSynonyms.
        """
        if asked is None:
            asked = names[0] if names else ""
        found = []
        for texts, source in (
            (self._own, ConfigSource.DYNAMIC_BROKER),
            (self._default, ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (self._static, ConfigSource.STATIC_BROKER),
            (_BROKER_DEFAULTS, ConfigSource.DEFAULT),
        ):
            for name in names:
                if name in texts:
                    key = self._keys.get(name)
                    hidden = key is None or key.is_sensitive
                    found.append(
                        DescribeConfigsSynonym(name=name, value=None if hidden else texts[name], source=source)
                    )
        return list(dropwhile(lambda each: each.name != asked, found))


_BROKER_DEFAULTS: dict[str, str] = {
    name: key.default
    for name, key in (BROKER_CONFIGS | ZOOKEEPER_CONFIGS).items()
    if key.default is not None and key.default != "!" and name not in ONLY_DYNAMIC
}


def _result(
    name: str,
    value: str | None,
    found: list[DescribeConfigsSynonym],
    key: ConfigKey | None,
    read_only: bool,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=name,
        value=value,
        read_only=read_only,
        config_source=found[0].source if found else ConfigSource.DEFAULT,
        is_sensitive=key is None or key.is_sensitive,
        synonyms=found if synonyms else [],
        config_type=0 if key is None else key.type.id,
        documentation=key.documentation if documentation and key is not None else None,
    )
