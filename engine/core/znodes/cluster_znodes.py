"""Znodes of which a cluster has one: who controls it, its id, feature levels, producer ids, how far the metadata is."""

from __future__ import annotations

from typing import NamedTuple

from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields, ZnodeCorrupt, json_bytes

CONTROLLER_VERSION = 2
# ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE
_BLOCK_SIZE = 1_000


class ControllerZnode(NamedTuple):
    """Who holds /controller. ``address``: where it answers as controller, None of Apache Kafka's. ``kraft_epoch`` is -1
    unless Kafka migrates."""

    broker_id: int
    timestamp_ms: int
    kraft_epoch: int
    address: tuple[str, int] | None


class MetadataMark(NamedTuple):
    """How far the metadata in ZooKeeper is: the last record's offset, the epoch of the controller that wrote it, and
    the base offset of the oldest batch still under /kconsole/log."""

    offset: int
    epoch: int
    first: int


def encode_controller(broker_id: int, *, timestamp_ms: int, address: tuple[str, int]) -> bytes:
    """/controller, byte for byte as Kafka 3.9 writes it (ControllerZNode), and a field that says where we answer."""
    return json_bytes(
        {
            "version": CONTROLLER_VERSION,
            "brokerid": broker_id,
            "timestamp": str(timestamp_ms),
            "kraftControllerEpoch": -1,
            "kconsole": {"host": address[0], "port": address[1]},
        }
    )


def decode_controller(data: bytes) -> ControllerZnode:
    """Who holds /controller. Raises: ZnodeCorrupt."""
    fields = JsonFields.parse(paths.CONTROLLER, data)
    own = fields.object("kconsole") if "kconsole" in fields else None
    return ControllerZnode(
        fields.integer("brokerid"),
        fields.long("timestamp", 0),
        fields.integer("kraftControllerEpoch", -1),
        None if own is None else (own.text("host"), own.integer("port", low=1, high=65_535)),
    )


def encode_controller_epoch(epoch: int) -> bytes:
    """/controller_epoch: a plain number (ControllerEpochZNode)."""
    return str(epoch).encode()


def decode_controller_epoch(data: bytes) -> int:
    """The epoch of the controller that was elected last. Raises: ZnodeCorrupt: it is not a number."""
    return plain_number(paths.CONTROLLER_EPOCH, data, low=0, high=2**31 - 1)


def plain_number(path: str, data: bytes, *, low: int, high: int) -> int:
    """A znode that holds a number in digits. Raises: ZnodeCorrupt."""
    digits = data.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19 or not low <= int(data) <= high:
        raise ZnodeCorrupt(path, f"{bytes(data[:60])!r} is not a number between {low} and {high}")
    return int(data)


def encode_cluster_id(cluster_id: str) -> bytes:
    """/cluster/id (ClusterIdZNode)."""
    return json_bytes({"version": "1", "id": cluster_id})


def decode_cluster_id(data: bytes) -> str:
    """The cluster's id. Raises: ZnodeCorrupt."""
    return JsonFields.parse(paths.CLUSTER_ID, data).text("id")


def encode_features(levels: dict[str, int]) -> bytes:
    """/kconsole/features: the finalized levels."""
    return json_bytes({"version": 1, "features": levels})


def decode_features(data: bytes) -> dict[str, int]:
    """The inverse of :func:`encode_features`. Raises: ZnodeCorrupt."""
    features = JsonFields.parse(paths.OWN_FEATURES, data).object("features")
    return {name: features.integer(name, low=1, high=32_767) for name in features}


def encode_producer_ids(next_producer_id: int, before: int) -> bytes:
    """/latest_producer_id_block (ProducerIdBlockZNode): the block given out last, whose end is what counts. The image
    does not say to whom: broker -1."""
    start = before if before < next_producer_id else max(0, next_producer_id - _BLOCK_SIZE)
    return json_bytes({"version": 1, "broker": -1, "block_start": str(start), "block_end": str(next_producer_id - 1)})


def decode_producer_ids(data: bytes) -> int:
    """The first producer id that was not given out, 0 if none was. Raises: ZnodeCorrupt."""
    if not data:
        return 0
    return JsonFields.parse(paths.PRODUCER_ID_BLOCK, data).long("block_end", low=-1) + 1


def encode_mark(mark: MetadataMark) -> bytes:
    """/kconsole/metadata."""
    return json_bytes({"version": 1, **mark._asdict()})


def decode_mark(data: bytes) -> MetadataMark:
    """The inverse of :func:`encode_mark`. Raises: ZnodeCorrupt."""
    fields = JsonFields.parse(paths.METADATA, data)
    return MetadataMark(fields.long("offset", low=-1), fields.integer("epoch"), fields.long("first", low=-1))
