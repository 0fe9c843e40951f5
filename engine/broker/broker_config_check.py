"""What a broker checks of a change of configs before it asks the controller (Kafka: ConfigAdminManager.preprocess)."""

from __future__ import annotations

from engine.core.controller.image import BROKER_RESOURCE
from engine.model.errors import ErrorCode, KafkaError


def check_broker_resource(node_id: int, resource_type: int, name: str) -> None:
    """A broker's own configs are changed at that broker, the cluster's (empty name) at any.

    Raises:
        KafkaError: INVALID_REQUEST, in Kafka's words.
    """
    if resource_type == BROKER_RESOURCE and name:
        check_node(node_id, name)


def check_node(node_id: int, name: str) -> None:
    """What is this node's alone is asked of this node. Raises: KafkaError: INVALID_REQUEST, in Kafka's words."""
    try:
        broker_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}") from None
    if broker_id != node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {node_id}, but received {name}")
