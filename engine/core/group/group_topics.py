"""What the group coordinator knows of topics and of configs of groups: handed in by the shell, read only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine.model.ids import Uuid


class GroupTopic(NamedTuple):
    """One topic."""

    topic_id: Uuid
    name: str
    partition_count: int


class GroupTopics(Protocol):
    """One state of the metadata. ``version`` rises with every later state (the offset in the metadata log)."""

    version: int

    def by_name(self, name: str) -> GroupTopic | None: ...

    def by_id(self, topic_id: Uuid) -> GroupTopic | None: ...

    def racks(self, name: str) -> Sequence[Sequence[str]]:
        """For each partition of a topic the racks of its replicas; brokers without rack are left out."""

    def names(self) -> Collection[str]:
        """All topics."""

    def group_config(self, group_id: str) -> Mapping[str, str]:
        """Configs that were set for the group (resource type GROUP), as texts."""


def group_int(
    topics: GroupTopics, group_id: str, name: str, default: int, low: int = 0, high: int | None = None
) -> int:
    """A config of the group within the broker's bounds, or the broker's value where the group has none."""
    text = topics.group_config(group_id).get(name)
    if text is None:
        return default
    value = max(int(text), low)
    return value if high is None else min(value, high)


class NoTopics:
    """Before any metadata is known."""

    version = -1

    def by_name(self, name: str) -> GroupTopic | None:
        return None

    def by_id(self, topic_id: Uuid) -> GroupTopic | None:
        return None

    def racks(self, name: str) -> Sequence[Sequence[str]]:
        return ()

    def names(self) -> Collection[str]:
        return ()

    def group_config(self, group_id: str) -> Mapping[str, str]:
        return {}
