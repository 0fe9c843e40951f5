"""Topics and partitions: /brokers/topics/T (TopicZNode) and .../partitions/P/state (TopicPartitionStateZNode).

What Kafka 3.9 has no field for stands in further fields of a partition's state: ``partition_epoch`` (in Kafka it is the
znode's version), ``directories`` (KIP-858), ``elr`` and ``last_known_elr`` (KIP-966), ``leader_recovery_state``. Kafka
passes over fields that it does not know, and they are gone when it writes the znode itself.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from engine.core.controller import directory_ids
from engine.core.controller.topic_image import NO_LEADER, RECOVERED, PartitionImage, TopicImage
from engine.core.znodes import paths
from engine.core.znodes.java_order import scala_ordered
from engine.core.znodes.json_fields import JsonFields, json_bytes
from engine.core.znodes.operations import Znode
from engine.model.ids import uuid_to_str

TOPIC_VERSION = 3
STATE_VERSION = 1
# LeaderAndIsr.LEADER_DURING_DELETE: Kafka is deleting the topic.
_LEADER_DURING_DELETE = -2
# There are few directories, and states of thousands of partitions are written when a broker dies.
_directory = functools.lru_cache(maxsize=1024)(uuid_to_str)


def encode_topic(topic: TopicImage) -> bytes:
    """The topic's znode, byte for byte as Kafka 3.9 writes it."""
    partitions = topic.partitions.items()
    return json_bytes(
        {
            "partitions": scala_ordered({str(number): each.replicas for number, each in partitions}),
            "topic_id": uuid_to_str(topic.topic_id),
            "adding_replicas": scala_ordered(
                {str(number): each.adding_replicas for number, each in partitions if each.adding_replicas}
            ),
            "removing_replicas": scala_ordered(
                {str(number): each.removing_replicas for number, each in partitions if each.removing_replicas}
            ),
            "version": TOPIC_VERSION,
        }
    )


def encode_state(partition: PartitionImage, controller_epoch: int) -> bytes:
    """A partition's state: Kafka 3.9's fields as it writes them, then ours."""
    fields: dict[str, Any] = {
        "controller_epoch": controller_epoch,
        "leader": partition.leader,
        "version": STATE_VERSION,
        "leader_epoch": partition.leader_epoch,
        "isr": partition.isr,
        "partition_epoch": partition.partition_epoch,
    }
    if any(each != directory_ids.UNASSIGNED for each in partition.directories):
        fields["directories"] = [_directory(each) for each in partition.directories]
    if partition.elr:
        fields["elr"] = partition.elr
    if partition.last_known_elr:
        fields["last_known_elr"] = partition.last_known_elr
    if partition.leader_recovery_state != RECOVERED:
        fields["leader_recovery_state"] = partition.leader_recovery_state
    return json_bytes(fields)


def decode_topic(tree: Mapping[str, Znode], name: str) -> TopicImage:
    """A topic and its partitions, of which those without a state have no leader yet, and all replicas in sync: Kafka
    writes states after the topic, so that nothing was ever stored there.

    Raises:
        ZnodeCorrupt: the topic's znode or a state is not what Kafka writes.
    """
    path = paths.topic(name)
    znode = tree[path]
    fields = JsonFields.parse(path, znode.data)
    # Kafka before 2.8 gave no ids. This one is the same wherever it is read.
    topic_id = fields.uuid("topic_id") if "topic_id" in fields else _made_up_id(name, znode.czxid)
    adding, removing = fields.object("adding_replicas", {}), fields.object("removing_replicas", {})
    topic = TopicImage(name, topic_id)
    assignment = fields.object("partitions", {})
    for number, text in sorted(_numbers(assignment)):
        state_path = paths.partition_state(name, number)
        topic.partitions[number] = _partition(
            replicas=tuple(assignment.integers(text, low=0)),
            adding=tuple(adding.integers(text, [], low=0)),
            removing=tuple(removing.integers(text, [], low=0)),
            state_path=state_path,
            state=tree.get(state_path),
        )
    return topic


def _numbers(assignment: JsonFields) -> Iterator[tuple[int, str]]:
    for text in assignment:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or text != str(int(text)):
            assignment.corrupt(f"{text!r} is not a partition's number")
        yield int(text), text


def _partition(
    *,
    replicas: tuple[int, ...],
    adding: tuple[int, ...],
    removing: tuple[int, ...],
    state_path: str,
    state: Znode | None,
) -> PartitionImage:
    unassigned = (directory_ids.UNASSIGNED,) * len(replicas)
    if state is None:
        return PartitionImage(
            replicas=replicas,
            isr=replicas,
            leader=NO_LEADER,
            leader_epoch=0,
            partition_epoch=0,
            adding_replicas=adding,
            removing_replicas=removing,
            directories=unassigned,
        )
    fields = JsonFields.parse(state_path, state.data)
    leader = fields.integer("leader", low=_LEADER_DURING_DELETE)
    directories = tuple(fields.uuids("directories")) if "directories" in fields else unassigned
    return PartitionImage(
        replicas=replicas,
        isr=tuple(fields.integers("isr", low=0)),
        leader=NO_LEADER if leader == _LEADER_DURING_DELETE else leader,
        leader_epoch=fields.integer("leader_epoch", low=0),
        partition_epoch=fields.integer("partition_epoch", state.version, low=0),
        adding_replicas=adding,
        removing_replicas=removing,
        directories=directories if len(directories) == len(replicas) else unassigned,
        elr=tuple(fields.integers("elr", [], low=0)),
        last_known_elr=tuple(fields.integers("last_known_elr", [], low=0)),
        leader_recovery_state=fields.integer("leader_recovery_state", RECOVERED, low=0, high=127),
    )


def _made_up_id(name: str, czxid: int) -> bytes:
    return hashlib.sha256(f"topic {name} {czxid}".encode()).digest()[:16]
