"""What is wrong with a broker's surroundings on purpose: its disk, and what it hears from others. Pure.

It is told as a whole each time, as one JSON object: what is not in it is well again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

CLIENTS = 0
"""Everybody who is no broker, as the other end of a link."""

_BROKER = re.compile(r"(?:broker|raft-client)-(\d+)(?:-|$)")


def node_of(client_id: str) -> int:
    """The broker whose client.id it is, or :data:`CLIENTS`: brokers use the names that Kafka's brokers use
    (``broker-1-fetcher-2``, ``broker-1-to-controller``, ``raft-client-1``)."""
    found = _BROKER.match(client_id)
    return CLIENTS if found is None else int(found[1])


class BrokerFaults(NamedTuple):
    """All that is wrong with one broker.

    ``fsync_delay_ms``: so much longer takes each fsync. ``fsync_fails``: it fails (EIO). ``is_full``: nothing can be
    written or created (ENOSPC). ``cut_from``: nothing that these nodes send is heard. ``delays_ms``: by node, how much
    later it is heard. ``addresses``: ``host:port`` to node, so that answers are known by whom they come from.
    """

    fsync_delay_ms: float = 0.0
    fsync_fails: bool = False
    is_full: bool = False
    cut_from: frozenset[int] = frozenset()
    delays_ms: Mapping[int, float] = {}
    addresses: Mapping[str, int] = {}

    @property
    def has_links(self) -> bool:
        """Whether somebody is not heard, or late."""
        return bool(self.cut_from or self.delays_ms)

    def as_json(self) -> dict[str, Any]:
        """As it is told to the broker."""
        return {
            "fsync_delay_ms": self.fsync_delay_ms,
            "fsync_fails": self.fsync_fails,
            "is_full": self.is_full,
            "cut_from": sorted(self.cut_from),
            "delays_ms": {str(node): delay for node, delay in sorted(self.delays_ms.items())},
            "addresses": dict(self.addresses),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> BrokerFaults:
        """Raises: ValueError, TypeError: it is not what :meth:`as_json` makes."""
        return cls(
            float(told.get("fsync_delay_ms", 0)),
            bool(told.get("fsync_fails", False)),
            bool(told.get("is_full", False)),
            frozenset(int(node) for node in told.get("cut_from", ())),
            {int(node): float(delay) for node, delay in dict(told.get("delays_ms", {})).items()},
            {str(address): int(node) for address, node in dict(told.get("addresses", {})).items()},
        )


SOUND = BrokerFaults()
"""Nothing is wrong."""
