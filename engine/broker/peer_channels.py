"""Channels from this broker to the others, each opened when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.client.channel import Address, Channel

if TYPE_CHECKING:
    from engine.world import World


class PeerChannels:
    """One channel a broker, over its inter.broker.listener.name."""

    def __init__(self, world: World, client_id: str, address_of: Callable[[int], Address | None]) -> None:
        """``address_of(broker_id)`` is where the broker is by the metadata, None if it is not known."""
        self._world = world
        self._client_id = client_id
        self._address_of = address_of
        self._channels: dict[int, Channel] = {}

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

    def close(self) -> None:
        """Close all of them for good."""
        for channel in self._channels.values():
            channel.close()
