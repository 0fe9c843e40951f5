"""This broker's copy of the cluster's metadata, and who wants to know when it changes.

Records arrive committed and in order from the quorum (MetadataLoader); each committed batch becomes one delta that the
subscribers apply in the order of their subscription: replicas first, then coordinators, then all that only looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.core.controller.feature_control import check_features
from engine.core.controller.image import BrokerImage, MetadataDelta, MetadataImage

if TYPE_CHECKING:
    from engine.world import Buffer, Clock

Subscriber = Callable[[MetadataImage, MetadataDelta], None]


class MetadataCache:
    """The image with the answers that request handlers ask of it."""

    def __init__(self, clock: Clock, fenced_linger_ms: float = 0) -> None:
        """``fenced_linger_ms`` is kconsole.fenced.broker.linger.ms."""
        self._clock = clock
        self._fenced_linger_ms = fenced_linger_ms
        # Brokers that clients are still told of although they are fenced, and until when (monotonic ms).
        self._lingering: dict[int, float] = {}
        self.image = MetadataImage()
        # Encoded answers that hold as long as topics and brokers do.
        self.encoded_cache: dict[Any, list[Buffer]] = {}
        self._subscribers: list[Subscriber] = []
        self._changed: asyncio.Future[None] | None = None
        self._alive: dict[str, frozenset[int]] = {}
        self._controller_id: int | None = None

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber; it sees every later delta."""
        self._subscribers.append(subscriber)

    # -- from the quorum ----------------------------------------------------------------------------------------

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: Iterable[Any]) -> None:
        """Apply one committed batch."""
        delta = MetadataDelta(self.image)
        last_offset = base_offset - 1
        for last_offset, record in enumerate(records, base_offset):
            delta.replay(record, last_offset)
        self._apply(delta, last_offset, epoch)

    def on_snapshot_loaded(self, offset: int, epoch: int, records: Iterable[Any]) -> None:
        """Replace the image by a snapshot's; subscribers see the difference as one delta."""
        delta = MetadataDelta(self.image)
        delta.replace(records)
        self._apply(delta, offset, epoch)

    def _apply(self, delta: MetadataDelta, offset: int, epoch: int) -> None:
        """Raises: FeatureNotSupported: who wrote the metadata knows more than this node."""
        if delta.changed_features:
            check_features(delta.image.features)
        for broker_id, broker in delta.changed_brokers.items():
            before = delta.before.brokers.get(broker_id)
            if broker is None or not broker.fenced:
                self._lingering.pop(broker_id, None)
            elif before is not None and not before.fenced:
                self._lingering[broker_id] = self._clock.monotonic_ms() + self._fenced_linger_ms
        self.image = delta.apply(offset, epoch)
        # An idle cluster's log goes on twice a second with records that change nothing.
        if delta.changed_partitions or delta.deleted_topics or delta.changed_brokers:
            self.encoded_cache.clear()
            self._alive.clear()
        for subscriber in self._subscribers:
            subscriber(self.image, delta)
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def on_controller_changed(self, controller_id: int | None) -> None:
        """Remember the quorum's leader."""
        self._controller_id = controller_id
        self.encoded_cache.clear()

    # -- answers ------------------------------------------------------------------------------------------------

    async def wait_for_change(self, timeout_ms: float) -> None:
        """Return at the next change, or after ``timeout_ms``."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._changed,), timeout=timeout_ms / 1000)

    def brokers_sorted(self) -> list[BrokerImage]:
        """Registered brokers by id, fenced ones included."""
        return [self.image.brokers[broker_id] for broker_id in sorted(self.image.brokers)]

    def lingering_brokers(self) -> tuple[int, ...]:
        """Fenced brokers that clients are still told of, by id.

        librdkafka gives up a broker, and the partitions that it was about to move away from it, at once when metadata
        does not name the broker any more, and finds the partitions again a second later: the broker goes on being named
        until clients have moved (docs/decisions/0004).
        """
        if not self._lingering:
            return ()
        now_ms = self._clock.monotonic_ms()
        for broker_id in [each for each, until_ms in self._lingering.items() if until_ms <= now_ms]:
            del self._lingering[broker_id]
        return tuple(sorted(self._lingering))

    def alive_brokers(self, listener: str) -> frozenset[int]:
        """Ids of brokers that are not fenced and have this listener."""
        alive = self._alive.get(listener)
        if alive is None:
            alive = self._alive[listener] = frozenset(
                each.broker_id for each in self.image.brokers.values() if not each.fenced and listener in each.listeners
            )
        return alive

    def controller_for_clients(self) -> int:
        """The broker that clients are told is the controller: the active controller where it is an unfenced broker,
        otherwise any unfenced one (every broker forwards), or -1."""
        brokers = self.image.brokers
        chosen = self._controller_id
        if chosen is not None and chosen in brokers and not brokers[chosen].fenced:
            return chosen
        alive = [broker_id for broker_id in sorted(brokers) if not brokers[broker_id].fenced]
        return alive[0] if alive else -1

    def topic_has_leaders(self, name: str) -> bool:
        """Whether the topic is known here and each of its partitions has a leader."""
        topic = self.image.topics_by_name.get(name)
        return topic is not None and all(each.leader >= 0 for each in topic.partitions.values())
