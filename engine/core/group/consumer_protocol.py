"""The consumer's embedded protocol, as far as the coordinator reads and writes it.

Member metadata belongs to the clients. In a classic group the coordinator looks inside only to know which offsets must
not expire or be deleted; as in Kafka (ClassicGroup.computeSubscribedTopics) only version 0 is read for that, which
prefixes all later ones. Where members of both protocols share a group it speaks for the classic ones (KIP-848).
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from engine.model.errors import ErrorCode, KafkaError
from engine.wire import codec
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from engine.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription

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


def read_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """All that a member says of its subscription; versions that are not known are read as the latest one.

    Raises:
        KafkaError: INCONSISTENT_GROUP_PROTOCOL if the bytes are not a subscription.
    """
    try:
        version = min(_version(metadata), ConsumerProtocolSubscription.MAX_VERSION)
        subscription, _ = codec.decode(ConsumerProtocolSubscription, version, metadata, 2)
    except (StructError, codec.DecodeError) as error:
        raise _malformed(f"the subscription cannot be read: {error}") from None
    return subscription


def read_assignment(assignment: bytes) -> ConsumerProtocolAssignment:
    """A member's assignment by a leader. Raises as :func:`read_subscription`."""
    try:
        version = min(_version(assignment), ConsumerProtocolAssignment.MAX_VERSION)
        decoded, _ = codec.decode(ConsumerProtocolAssignment, version, assignment, 2)
    except (StructError, codec.DecodeError) as error:
        raise _malformed(f"the assignment cannot be read: {error}") from None
    return decoded


def write_assignment(assignment: ConsumerProtocolAssignment, metadata: bytes) -> bytes:
    """An assignment in the version of the member's subscription. Raises as :func:`read_subscription`."""
    try:
        version = min(_version(metadata), ConsumerProtocolAssignment.MAX_VERSION)
    except StructError:
        raise _malformed("the subscription has no version") from None
    return _INT16.pack(version) + codec.encode(assignment, version)


def _version(data: bytes) -> int:
    (version,) = _INT16.unpack_from(data, 0)
    if version < 0:
        raise _malformed(f"version {version} does not exist")
    return int(version)


def _malformed(why: str) -> KafkaError:
    return KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"malformed data of the consumer protocol: {why}")
