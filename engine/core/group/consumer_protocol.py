"""The part of the consumer's embedded protocol that the coordinator reads: the subscribed topics.

Member metadata belongs to the clients; the coordinator looks inside only to know which offsets must not expire or be
deleted. As in Kafka (ClassicGroup.computeSubscribedTopics) only version 0 is read, which prefixes all later ones.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

PROTOCOL_TYPE = "consumer"

_INT16 = Struct(">h")
_INT32 = Struct(">i")


def subscribed_topics(metadata: bytes) -> frozenset[str] | None:
    """Topics of a ConsumerProtocolSubscription, or None if the bytes are not one."""
    try:
        (version,) = _INT16.unpack_from(metadata, 0)
        (count,) = _INT32.unpack_from(metadata, 2)
        position = 6
        # Each name takes at least its length prefix: a count that cannot fit is not believed.
        if version < 0 or count < 0 or count * 2 > len(metadata) - position:
            return None
        topics = []
        for _ in range(count):
            (length,) = _INT16.unpack_from(metadata, position)
            position += 2
            if length < 0 or position + length > len(metadata):
                return None
            topics.append(metadata[position : position + length].decode())
            position += length
    except (StructError, UnicodeDecodeError):
        return None
    return frozenset(topics)
