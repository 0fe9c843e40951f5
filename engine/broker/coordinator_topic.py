"""A coordinator's topic as this broker sees it in the metadata: which partitions it leads, which one has a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.broker.coordinator_runtime import CoordinatorRuntime
from engine.model.coordinator_partitions import partition_for

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataImage
    from engine.core.controller.topic_image import TopicImage


class CoordinatorTopic:
    """Follows the elections of the topic's partitions."""

    def __init__(self, name: str, broker_id: int, runtime: CoordinatorRuntime[Any], partition_count: int) -> None:
        """``partition_count`` is that of the topic while it does not exist."""
        self._name = name
        self._broker_id = broker_id
        self._runtime = runtime
        self._partition_count = partition_count
        # Images are copied on write: another object means that something about the topic changed.
        self._topic: TopicImage | None = None

    def follow(self, image: MetadataImage) -> None:
        """Load what this broker leads now, drop what it leads no more."""
        topic = image.topics_by_name.get(self._name)
        if topic is self._topic:
            return
        runtime = self._runtime
        if topic is None or (self._topic is not None and self._topic.topic_id != topic.topic_id):
            for number in runtime.known_partitions():
                runtime.on_resigned(number)
        self._topic = topic
        if topic is None:
            return
        for number, partition in sorted(topic.partitions.items()):
            if partition.leader == self._broker_id:
                runtime.on_elected(number, partition.leader_epoch)
            else:
                runtime.on_resigned(number, partition.leader_epoch)

    def partition_for(self, key: str) -> int:
        """The partition that coordinates the group or transactional id."""
        return partition_for(key, self._partition_count if self._topic is None else len(self._topic.partitions))
