"""Topics that a source creates before it writes to them (KIP-158), and the dead-letter queue's."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from engine.connect.errors import ConnectError
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG
from engine.connect.runtime.connector_config import topic_creation_config, topic_creation_groups

log = logging.getLogger(__name__)
_PATIENCE_S = 60.0


class _Group(NamedTuple):
    name: str
    include: re.Pattern[str]
    exclude: re.Pattern[str] | None
    partitions: int
    replication_factor: int
    configs: dict[str, str]


class TopicCreation:
    """Looks once for each topic whether it is there, and creates it if a group says how."""

    def __init__(self, settings: Mapping[str, Any], connector: Mapping[str, str], *, enabled: bool) -> None:
        """``settings`` are librdkafka's, of an admin client.

        Raises:
            ConfigError: the ``topic.creation.…`` cannot be.
        """
        self._settings = dict(settings)
        self._groups = _groups(connector) if enabled else []
        self._known: set[str] = set()

    def ensure(self, topic: str) -> None:
        """There is such a topic now, if this connector creates topics.

        Raises:
            ConnectError: it cannot be created.
        """
        if topic in self._known:
            return
        group = next(
            (
                each
                for each in self._groups
                if each.include.fullmatch(topic) and not (each.exclude and each.exclude.fullmatch(topic))
            ),
            None,
        )
        if group is not None:
            create_topic(self._settings, topic, group.partitions, group.replication_factor, group.configs)
        self._known.add(topic)


def _groups(connector: Mapping[str, str]) -> list[_Group]:
    values = topic_creation_config(connector).parse(connector)
    found = []
    for name in topic_creation_groups(connector):
        prefix = f"topic.creation.{name}."
        told = ("include", "exclude", "partitions", "replication.factor")
        exclude = values[f"{prefix}exclude"]
        found.append(
            _Group(
                name,
                _any_of(values[f"{prefix}include"]),
                _any_of(exclude) if exclude else None,
                values[f"{prefix}partitions"],
                values[f"{prefix}replication.factor"],
                {
                    each.removeprefix(prefix): value
                    for each, value in connector.items()
                    if each.startswith(prefix) and each.removeprefix(prefix) not in told
                },
            )
        )
    return found


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns))


def create_topic(
    settings: Mapping[str, Any], topic: str, partitions: int, replication_factor: int, configs: Mapping[str, str]
) -> bool:
    """Create a topic; whether it was not there. -1 leaves a number to the brokers.

    Raises:
        ConnectError: the cluster refuses.
    """
    admin = AdminClient(dict(settings), logger=LIBRDKAFKA_LOG)
    try:
        known = admin.list_topics(timeout=_PATIENCE_S).topics
        if topic in known and known[topic].error is None:
            return False
        new = NewTopic(topic, num_partitions=partitions, replication_factor=replication_factor, config=dict(configs))
        admin.create_topics([new], request_timeout=_PATIENCE_S)[topic].result(_PATIENCE_S)
        log.info("created topic %s", topic)
        return True
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise ConnectError(
            f"Task failed to create new topic {topic}: {error}. Ensure that the task is authorized to create topics or "
            "that the topic exists and restart the task"
        ) from error
