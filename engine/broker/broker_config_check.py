"""What a broker checks of a change of configs before it asks the controller (Kafka: ConfigAdminManager.preprocess)."""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.controller.image import BROKER_RESOURCE, MetadataImage
from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.model.errors import ErrorCode, KafkaError


def check_broker_resource(
    config: BrokerConfig, image: MetadataImage, resource_type: int, name: str, changes: Mapping[str, str | None]
) -> None:
    """A broker's own configs are changed at that broker, the cluster's (empty name) at any, to what it can be.

    ``changes`` are new values by name (``None``: deleted).

    Raises:
        KafkaError: INVALID_REQUEST, in Kafka's words.
    """
    if resource_type != BROKER_RESOURCE:
        return
    if name:
        check_node(config.node_id, name)
    dynamic = {each: dict(image.config(BROKER_RESOURCE, each)) for each in ("", str(config.node_id))}
    if not _holds(config, dynamic):
        # What is set already cannot be: the change may well be the remedy, and the controller checks it.
        return
    changed = dynamic[name]
    for each, value in changes.items():
        if value is None:
            changed.pop(each, None)
        else:
            changed[each] = value
    try:
        config.with_dynamic(dynamic[""], dynamic[str(config.node_id)])
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, error.errors[0]) from None


def _holds(config: BrokerConfig, dynamic: Mapping[str, Mapping[str, str]]) -> bool:
    try:
        config.with_dynamic(dynamic[""], dynamic[str(config.node_id)])
    except ConfigError:
        return False
    return True


def check_node(node_id: int, name: str) -> None:
    """What is this node's alone is asked of this node. Raises: KafkaError: INVALID_REQUEST, in Kafka's words."""
    try:
        broker_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}") from None
    if broker_id != node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {node_id}, but received {name}")
