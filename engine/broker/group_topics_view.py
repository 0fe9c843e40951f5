"""The topics and group configs of the metadata, as the group coordinator asks for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from engine.core.controller.image import GROUP_RESOURCE
from engine.core.group.group_topics import GroupTopic

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.core.controller.topic_image import TopicImage
    from engine.model.ids import Uuid


class GroupTopicsView:
    """One image (Kafka: KRaftCoordinatorMetadataImage)."""

    __slots__ = ("_image", "version")

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self.version = image.offset

    def by_name(self, name: str) -> GroupTopic | None:
        return _as_group_topic(self._image.topics_by_name.get(name))

    def by_id(self, topic_id: Uuid) -> GroupTopic | None:
        return _as_group_topic(self._image.topics_by_id.get(topic_id))

    def names(self) -> Collection[str]:
        return self._image.topics_by_name.keys()

    def racks(self, name: str) -> Sequence[Sequence[str]]:
        topic = self._image.topics_by_name.get(name)
        if topic is None:
            return ()
        rack_of = {broker_id: broker.rack for broker_id, broker in self._image.brokers.items()}
        return [
            [rack for rack in (rack_of.get(each) for each in partition.replicas) if rack is not None]
            for _, partition in sorted(topic.partitions.items())
        ]

    def group_config(self, group_id: str) -> Mapping[str, str]:
        return self._image.config(GROUP_RESOURCE, group_id)


def changed_topics(delta: MetadataDelta) -> set[str]:
    """Names of topics that came, went, or have other partitions or replicas; elections change nothing for groups."""
    names = {topic.name for topic in delta.deleted_topics.values()}
    for topic in delta.changed_topics:
        before = delta.before.topics_by_id.get(topic.topic_id)
        if (
            before is None
            or before.name != topic.name
            or before.partitions.keys() != topic.partitions.keys()
            or any(
                before.partitions[number].replicas != partition.replicas
                for number, partition in delta.changed_partitions[topic.topic_id].items()
            )
        ):
            names.add(topic.name)
    return names


def _as_group_topic(topic: TopicImage | None) -> GroupTopic | None:
    return None if topic is None else GroupTopic(topic.topic_id, topic.name, len(topic.partitions))
