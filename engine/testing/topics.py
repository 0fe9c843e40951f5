"""Topics of a cluster in a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig


class Topic(NamedTuple):
    """A topic to create. A ``replication_factor`` of -1 is the cluster's default: every broker, up to three."""

    name: str
    partitions: int = 1
    replication_factor: int = -1
    configs: Mapping[str, object] = {}

    def creatable(self) -> CreatableTopic:
        """The topic as CreateTopics takes it."""
        return CreatableTopic(
            name=self.name,
            num_partitions=self.partitions,
            replication_factor=self.replication_factor,
            configs=[CreatableTopicConfig(name, config_text(value)) for name, value in self.configs.items()],
        )


def topics_of(given: Iterable[str | Topic] | Mapping[str, int]) -> list[Topic]:
    """Names, topics, or counts of partitions by name."""
    if isinstance(given, Mapping):
        return [Topic(name, partitions) for name, partitions in given.items()]
    if isinstance(given, str):
        raise TypeError(f"topics are a list: [{given!r}]")
    return [each if isinstance(each, Topic) else Topic(each) for each in given]


def config_text(value: object) -> str:
    """A config's value as Kafka writes it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)
