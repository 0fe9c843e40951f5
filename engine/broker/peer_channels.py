"""Channels from this broker to the others, each opened when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.client.channel import Address, Channel

if TYPE_CHECKING:
    from engine.broker.metadata_cache import MetadataCache
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.world import World


class PeerChannels:
    """One channel a broker, over its inter.broker.listener.name."""

    def __init__(
        self, world: World, client_id: str, metadata: MetadataCache, address_of: Callable[[int], Address | None]
    ) -> None:
        """``address_of(broker_id)`` is where the broker is by the metadata, None if it is not known."""
        self._world = world
        self._client_id = client_id
        self._address_of = address_of
        self._channels: dict[int, Channel] = {}
        metadata.subscribe(self._on_metadata)

    def to(self, broker_id: int) -> Channel:
        """The channel to a broker, wherever it is."""
        channel = self._channels.get(broker_id)
        if channel is None:
            channel = self._channels[broker_id] = Channel(
                self._world,
                lambda: self._address_of(broker_id),
                f"{self._client_id}-{broker_id}",
                backoff_ms=20,
                backoff_max_ms=500,
            )
        return channel

    def knows(self, broker_id: int) -> bool:
        """Whether the metadata says where the broker is."""
        return self._address_of(broker_id) is not None

    def _on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Nobody waits for a process that is not there any more.

        A machine that loses power says nothing: what its broker was asked, and all that waits behind it, would stand
        still for request.timeout.ms, although its heir, or the next leader, could be asked.
        """
        for broker_id, broker in delta.changed_brokers.items():
            before = delta.before.brokers.get(broker_id)
            if before is None or before.fenced or broker_id not in self._channels:
                continue
            if broker is None or broker.fenced or broker.incarnation_id != before.incarnation_id:
                self._channels[broker_id].drop()

    def close(self) -> None:
        """Close all of them for good."""
        for channel in self._channels.values():
            channel.close()
