"""Reading and changing configs of topics, brokers, groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import Failure, refusal
from engine.client.errors import ClientError
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.describe_configs_response import DescribeConfigsResponse
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.incremental_alter_configs_response import IncrementalAlterConfigsResponse


class ResourceType(IntEnum):
    """ConfigResource.Type."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigResource(NamedTuple):
    """Whose configs. An empty broker name stands for the cluster-wide dynamic default."""

    resource_type: ResourceType
    name: str


class ConfigSource(IntEnum):
    """Where a value comes from (DescribeConfigsResponse.ConfigSource)."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8

    @classmethod
    def _missing_(cls, value: object) -> ConfigSource | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class ConfigType(IntEnum):
    """ConfigEntry.ConfigType. APPEND and SUBTRACT are for lists alone."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9

    @classmethod
    def _missing_(cls, value: object) -> ConfigType | None:
        return cls.UNKNOWN if isinstance(value, int) else None


class ConfigSynonym(NamedTuple):
    """One of the values that would apply if those before it were not set."""

    name: str
    value: str | None
    source: ConfigSource


class ConfigEntry(NamedTuple):
    """One config. ``value`` is ``None`` if it is sensitive or unset."""

    name: str
    value: str | None
    source: ConfigSource
    read_only: bool
    sensitive: bool
    synonyms: tuple[ConfigSynonym, ...] = ()
    documentation: str = ""
    config_type: ConfigType = ConfigType.UNKNOWN


class ConfigOp(IntEnum):
    """AlterConfigOp.OpType."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(NamedTuple):
    """One change; DELETE returns to the default and has no value."""

    name: str
    op: ConfigOp
    value: str | None = None


class ConfigAdmin(AdminBase):
    """Configs. Those of one broker are asked of, and told to, that broker."""

    async def describe_configs(
        self,
        resources: Iterable[ConfigResource],
        *,
        synonyms: bool = False,
        documentation: bool = False,
        timeout_ms: float | None = None,
    ) -> dict[ConfigResource, list[ConfigEntry] | Failure]:
        """All configs of each resource, sorted by name."""
        outcomes: dict[ConfigResource, list[ConfigEntry] | Failure] = {}
        for broker_id, group in _by_destination(resources).items():
            request = DescribeConfigsRequest(
                resources=[
                    DescribeConfigsResource(
                        resource_type=int(each.resource_type), resource_name=each.name, configuration_keys=None
                    )
                    for each in group
                ],
                include_synonyms=synonyms,
                include_documentation=documentation,
            )
            try:
                response: DescribeConfigsResponse = await self._send_to(broker_id, request, timeout_ms, True)
            except ClientError as error:
                outcomes.update(dict.fromkeys(group, error))
                continue
            for result in response.results:
                resource = ConfigResource(ResourceType(result.resource_type), result.resource_name)
                failure = refusal(result.error_code, result.error_message)
                outcomes[resource] = failure or sorted(
                    ConfigEntry(
                        each.name,
                        each.value,
                        ConfigSource(each.config_source),
                        each.read_only,
                        each.is_sensitive,
                        tuple(ConfigSynonym(s.name, s.value, ConfigSource(s.source)) for s in each.synonyms),
                        each.documentation or "",
                        ConfigType(each.config_type),
                    )
                    for each in result.configs
                )
        return outcomes

    async def alter_configs(
        self,
        changes: Mapping[ConfigResource, Iterable[ConfigChange]],
        *,
        validate_only: bool = False,
        timeout_ms: float = 15_000,
    ) -> dict[ConfigResource, Failure | None]:
        """Change single configs, leaving the others (IncrementalAlterConfigs)."""
        outcomes: dict[ConfigResource, Failure | None] = {}
        for broker_id, group in _by_destination(changes).items():
            request = IncrementalAlterConfigsRequest(
                resources=[
                    AlterConfigsResource(
                        resource_type=int(each.resource_type),
                        resource_name=each.name,
                        configs=[
                            AlterableConfig(name=change.name, config_operation=int(change.op), value=change.value)
                            for change in changes[each]
                        ],
                    )
                    for each in group
                ],
                validate_only=validate_only,
            )
            try:
                response: IncrementalAlterConfigsResponse = await self._send_to(broker_id, request, timeout_ms, False)
            except ClientError as error:
                outcomes.update(dict.fromkeys(group, error))
                continue
            for result in response.responses:
                resource = ConfigResource(ResourceType(result.resource_type), result.resource_name)
                outcomes[resource] = refusal(result.error_code, result.error_message)
        return outcomes

    async def _send_to(self, broker_id: int | None, request: Any, timeout_ms: float | None, idempotent: bool) -> Any:
        if broker_id is None:
            return await self.brokers.send_any(request, timeout_ms=timeout_ms, idempotent=idempotent)
        return await self.brokers.send(broker_id, request, timeout_ms=timeout_ms)


def _by_destination(resources: Iterable[ConfigResource]) -> dict[int | None, list[ConfigResource]]:
    grouped: dict[int | None, list[ConfigResource]] = {}
    for each in resources:
        one_broker = each.resource_type in (ResourceType.BROKER, ResourceType.BROKER_LOGGER) and each.name
        grouped.setdefault(int(each.name) if one_broker else None, []).append(each)
    return grouped
