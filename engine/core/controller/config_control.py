"""Configs that live in the metadata log: of topics, brokers, the cluster, groups (ConfigurationControlManager)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engine.core.controller.config_schema import EffectiveConfig
from engine.core.controller.image import (
    BROKER_LOGGER_RESOURCE,
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    TOPIC_RESOURCE,
    ConfigKey,
)
from engine.core.controller.state import MIN_INSYNC_REPLICAS, ControllerState, Step
from engine.core.controller.topic_names import check_topic_name
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.messages.alter_configs_request import AlterConfigsRequest
from engine.wire.messages.alter_configs_response import AlterConfigsResourceResponse as LegacyAnswer
from engine.wire.messages.alter_configs_response import AlterConfigsResponse
from engine.wire.messages.clear_elr_record import ClearElrRecord
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.create_topics_request import CreatableTopic
from engine.wire.messages.incremental_alter_configs_request import IncrementalAlterConfigsRequest
from engine.wire.messages.incremental_alter_configs_response import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsResponse,
)

# AlterConfigOp.OpType
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
_OPERATION_NAMES = {SET: "SET", DELETE: "DELETE", APPEND: "APPEND", SUBTRACT: "SUBTRACT"}

# The longest value of a config, in characters (Short.MAX_VALUE).
_MAX_VALUE_LENGTH = 32_767
_RESOURCE_NAMES = {
    TOPIC_RESOURCE: "topic",
    BROKER_RESOURCE: "broker",
    GROUP_RESOURCE: "group",
    CLIENT_METRICS_RESOURCE: "client metrics",
}


class ConfigControl:
    """Validates and records configs."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def records_for_new_topic(self, topic: CreatableTopic) -> list[ConfigRecord]:
        """The configs that a topic is created with. Raises: KafkaError: INVALID_CONFIG."""
        missing = [each.name for each in topic.configs if each.value is None]
        if missing:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG, "Null value not supported for topic configs: " + ",".join(missing)
            )
        configs = {each.name: each.value for each in topic.configs if each.value is not None}
        if configs:
            self._state.schema.validate_topic(configs)
        return [_record((TOPIC_RESOURCE, topic.name), name, value) for name, value in configs.items()]

    def effective_topic_configs(self, overrides: Mapping[str, str]) -> list[EffectiveConfig]:
        """All configs of a topic with these overrides, by name; secrets without value."""
        image = self._state.image
        return [
            each._replace(value=None) if each.is_sensitive else each
            for each in self._state.schema.effective_topic_configs(
                overrides,
                image.config(BROKER_RESOURCE, str(self._state.node_id)),
                image.config(BROKER_RESOURCE, ""),
            )
        ]

    # -- IncrementalAlterConfigs --------------------------------------------------------------------------------

    def incremental_alter_configs(
        self, step: Step, request: IncrementalAlterConfigsRequest
    ) -> IncrementalAlterConfigsResponse:
        """Set, delete, append to and subtract from configs; each resource as a whole or not at all."""
        response = IncrementalAlterConfigsResponse()
        for resource, error in self._each(step, request.resources, self._incremental):
            response.responses.append(
                AlterConfigsResourceResponse(
                    error_code=int(error.code) if error else 0,
                    error_message=error.message if error else None,
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
            )
        self._finish(step, request.validate_only)
        return response

    def _incremental(self, step: Step, key: ConfigKey, operations: Sequence[Any]) -> None:
        current = self._state.image.config(*key)
        names = [each.name for each in operations]
        if len(set(names)) != len(names):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
        missing = [each.name for each in operations if each.config_operation != DELETE and each.value is None]
        if missing:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Null value not supported for : " + ", ".join(missing))
        wanted = dict(current)
        changes: dict[str, str | None] = {}
        for each in operations:
            changes[each.name] = value = self._operate(key, each, current.get(each.name))
            if value is None:
                wanted.pop(each.name, None)
            else:
                wanted[each.name] = value
        self._check_changes(key, changes)
        self._validate(key, wanted)
        self._write(step, key, current, changes)

    def _operate(self, key: ConfigKey, operation: Any, current: str | None) -> str | None:
        name, kind, operand = operation.name, operation.config_operation, operation.value
        if kind == SET:
            return str(operand)
        if kind == DELETE:
            return None
        if kind not in _OPERATION_NAMES:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {kind}")
        schema = self._state.schema
        if not schema.is_list(key[0], name):
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"Can't {_OPERATION_NAMES[kind]} to key {name} because its type is not LIST.",
            )
        base = schema.default(key[0], name) if current is None else current
        values = [each for each in (base or "").split(",") if each]
        for each in operand.split(","):
            if kind == APPEND and each not in values:
                values.append(each)
            elif kind == SUBTRACT and each in values:
                values.remove(each)
        return ",".join(values)

    # -- AlterConfigs -------------------------------------------------------------------------------------------

    def alter_configs(self, step: Step, request: AlterConfigsRequest) -> AlterConfigsResponse:
        """Replace all configs of each resource: what is not named is deleted (deprecated in Kafka, still spoken)."""
        response = AlterConfigsResponse()
        for resource, error in self._each(step, request.resources, self._replace):
            response.responses.append(
                LegacyAnswer(
                    error_code=int(error.code) if error else 0,
                    error_message=error.message if error else None,
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
            )
        self._finish(step, request.validate_only)
        return response

    def _replace(self, step: Step, key: ConfigKey, configs: Sequence[Any]) -> None:
        names = [each.name for each in configs]
        if len(set(names)) != len(names):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
        missing = [each.name for each in configs if each.value is None]
        if missing:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Null value not supported for : " + ", ".join(missing))
        wanted = {each.name: str(each.value) for each in configs}
        current = self._state.image.config(*key)
        changes: dict[str, str | None] = {**wanted, **{name: None for name in current if name not in wanted}}
        self._check_changes(key, changes)
        self._validate(key, wanted)
        self._write(step, key, current, changes)

    # -- both ---------------------------------------------------------------------------------------------------

    def _each(
        self, step: Step, resources: Sequence[Any], change: Callable[[Step, ConfigKey, Sequence[Any]], None]
    ) -> Iterator[tuple[Any, KafkaError | None]]:
        """Change each resource as a whole or not at all; one that is named twice gets one refusal."""
        keys = [(each.resource_type, each.resource_name) for each in resources]
        refused: set[ConfigKey] = set()
        for key, resource in zip(keys, resources, strict=True):
            if keys.count(key) > 1:
                if key not in refused:
                    refused.add(key)
                    yield resource, KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate resource.")
                continue
            one = Step()
            try:
                change(one, key, resource.configs)
            except KafkaError as error:
                yield resource, error
                continue
            step.records += one.records
            step.notes += one.notes
            yield resource, None

    def _finish(self, step: Step, validate_only: bool) -> None:
        if self._state.is_elr_enabled:
            step.records += _clear_elr_records(step.records)
        step.check_size()
        if validate_only:
            step.records.clear()
            step.notes.clear()

    def _check_changes(self, key: ConfigKey, changes: Mapping[str, str | None]) -> None:
        """Raises: KafkaError: INVALID_CONFIG for a value that is too long, and for a change of min.insync.replicas that
        eligible leader replicas do not survive: all controllers must read the same (KIP-966)."""
        for value in changes.values():
            if value is not None and len(value) > _MAX_VALUE_LENGTH:
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG,
                    "The configuration value cannot be added because it exceeds the maximum value size of "
                    f"{_MAX_VALUE_LENGTH} bytes.",
                )
        if key[0] == BROKER_RESOURCE and MIN_INSYNC_REPLICAS in changes and self._state.is_elr_enabled:
            if key[1]:
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG,
                    f"Broker-level {MIN_INSYNC_REPLICAS} cannot be altered while ELR is enabled.",
                )
            if changes[MIN_INSYNC_REPLICAS] is None:
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG,
                    f"Cluster-level {MIN_INSYNC_REPLICAS} cannot be removed while ELR is enabled.",
                )

    def _validate(self, key: ConfigKey, configs: Mapping[str, str]) -> None:
        """Raises: KafkaError: INVALID_REQUEST, INVALID_CONFIG, INVALID_TOPIC_EXCEPTION, or an unknown resource's."""
        resource_type, name = key
        schema, image = self._state.schema, self._state.image
        if resource_type == TOPIC_RESOURCE:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
            check_topic_name(name)
            schema.validate_topic(configs)
            if name not in image.topics_by_name:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
        elif resource_type == BROKER_RESOURCE:
            broker_id = _broker_id(name)
            schema.validate_broker(configs, is_default=broker_id is None)
            if broker_id is not None and broker_id not in image.brokers and broker_id not in image.controllers:
                raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"No node with id {broker_id} found.")
        elif resource_type == GROUP_RESOURCE:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
            schema.validate_group(configs)
        elif resource_type == CLIENT_METRICS_RESOURCE:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty")
            schema.validate_client_metrics(configs)
        elif resource_type == BROKER_LOGGER_RESOURCE:
            # Levels of loggers are no metadata: the broker itself sets them.
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Unexpected resource type BROKER_LOGGER.")
        else:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Unknown resource type {resource_type}.")

    def _write(self, step: Step, key: ConfigKey, current: Mapping[str, str], changes: Mapping[str, str | None]) -> None:
        for name, value in changes.items():
            before = current.get(name)
            # A broker's config is written again even if unchanged: brokers reload what it names (KAFKA-14136).
            if value == before and key[0] != BROKER_RESOURCE:
                continue
            step.records.append(_record(key, name, value))
            hidden = self._state.schema.is_sensitive(key[0], name)
            step.notes.append(
                Note(
                    NoteKind.CONFIG_CHANGED,
                    _subject(key),
                    f"{name}: {_shown(before, hidden)}→{_shown(value, hidden)}",
                    {
                        "name": name,
                        "from": None if hidden else before,
                        "to": None if hidden else value,
                        "resource_type": key[0],
                        "resource": key[1],
                    },
                )
            )


def _clear_elr_records(records: Sequence[Any]) -> list[ClearElrRecord]:
    """An ELR was drawn up under the old min.insync.replicas: under another one its members may lack committed records,
    so it is forgotten."""
    names = dict.fromkeys(
        each.resource_name if each.resource_type == TOPIC_RESOURCE else ""
        for each in records
        if each.name == MIN_INSYNC_REPLICAS
    )
    return [ClearElrRecord(topic_name=name) for name in names]


def _record(key: ConfigKey, name: str, value: str | None) -> ConfigRecord:
    return ConfigRecord(resource_type=key[0], resource_name=key[1], name=name, value=value)


def _broker_id(name: str) -> int | None:
    if not name:
        return None
    try:
        broker_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Unable to parse broker name as a base 10 number.") from None
    if broker_id < 0:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Invalid negative broker ID.")
    return broker_id


def _subject(key: ConfigKey) -> str:
    kind = _RESOURCE_NAMES.get(key[0], f"resource type {key[0]}")
    if key == (BROKER_RESOURCE, ""):
        return "cluster"
    return key[1] if key[0] == TOPIC_RESOURCE else f"{kind} {key[1]}"


def _shown(value: str | None, hidden: bool) -> str:
    if value is None:
        return "unset"
    return "[hidden]" if hidden else value
