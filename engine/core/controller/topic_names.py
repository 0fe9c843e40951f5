"""Rules for topic names (org.apache.kafka.common.internals.Topic)."""

from __future__ import annotations

from engine.model.errors import ErrorCode, KafkaError

MAX_NAME_LENGTH = 249
CLUSTER_METADATA_TOPIC = "__cluster_metadata"
# Topics that brokers keep for themselves: clients are told so.
INTERNAL_TOPICS = frozenset(("__consumer_offsets", "__transaction_state", "__share_group_state"))


def check_topic_name(name: str) -> None:
    """Raises: KafkaError: INVALID_TOPIC_EXCEPTION with Kafka's message."""
    problem = None
    if not name:
        problem = "the empty string is not allowed"
    elif name in (".", ".."):
        problem = f"'{name}' is not allowed"
    elif len(name) > MAX_NAME_LENGTH:
        problem = f"the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"
    elif not all(each.isascii() and (each.isalnum() or each in "._-") for each in name):
        problem = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {problem}")


def has_collision_chars(name: str) -> bool:
    """Whether metrics, which write ``.`` as ``_``, could mistake the name for another."""
    return "_" in name or "." in name


def unify_collision_chars(name: str) -> str:
    """The name as metrics write it."""
    return name.replace(".", "_")
