"""What of a ZooKeeper tree becomes which KRaft metadata, what is left behind, what keeps a cluster from moving. Pure.

The result is one snapshot (KIP-630) that every voter gets: the metadata of a cluster that is stopped. Brokers are
fenced and partitions have no leader, as after a shutdown under KRaft; the first broker of an ISR that comes up is
elected. Its place in the log is above all that was counted under ZooKeeper (the zxids that were broker epochs, the
offsets of the metadata, the controller epoch), and leader epochs, partition epochs and the block of producer ids go on.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.core.controller.directory_ids import MIGRATING
from engine.core.controller.image import BROKER_RESOURCE, NO_LEADER, TOPIC_RESOURCE, MetadataImage
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.znodes import paths
from engine.core.znodes.cluster_znodes import decode_cluster_id, decode_controller, decode_controller_epoch, decode_mark
from engine.core.znodes.consumer_offsets import ZnodeNotUnderstood, detail_path, kept_offset, text_of
from engine.core.znodes.json_fields import ZnodeCorrupt
from engine.core.znodes.reading import image_of
from engine.model.ids import Uuid
from engine.model.topic_config import TOPIC_CONFIGS
from engine.model.topic_partition import TopicPartition
from engine.wire.message import Message

if TYPE_CHECKING:
    from engine.core.znodes.operations import Znode

MARKER = paths.MIGRATED
# Configs that Kafka 4 does not have any more: it would complain of them at every start.
_GONE_CONFIGS: dict[int, frozenset[str]] = {
    TOPIC_RESOURCE: frozenset(("message.format.version", "message.downconversion.enable")),
    BROKER_RESOURCE: frozenset(
        (
            "log.message.format.version",
            "log.message.downconversion.enable",
            "inter.broker.protocol.version",
            "log.message.timestamp.difference.max.ms",
            "zookeeper.set.acl",
            "password.encoder.secret",
        )
    ),
}
# Values of these were encrypted with password.encoder.secret (PasswordEncoder): the text begins so.
_ENCRYPTED = "encodedPassword:"

# Beginnings of paths that have no meaning in KRaft, each with what it was; the first that fits counts.
_MEANINGLESS = (
    ("/admin/delete_topics/", "topics that were to be deleted: they do not move"),
    ("/admin/reassign_partitions", "a reassignment that a tool asked for, and that had not ended: ask for it again"),
    ("/admin/preferred_replica_election", "an election that a tool asked for, and that was not held"),
    ("/isr_change_notification/", "notifications of in-sync replicas"),
    ("/log_dir_event_notification/", "notifications of failed log directories"),
    ("/config/changes/", "notifications of changed configs"),
    ("/kafka-acl-changes/", "notifications of changed ACLs"),
    ("/kafka-acl-extended-changes/", "notifications of changed ACLs"),
    ("/delegation_token/token_changes/", "notifications of changed tokens"),
    ("/kconsole/log/", "the last batches of metadata, whose effect is in the tree"),
    ("/kconsole/metadata", "where the metadata stood"),
    ("/kconsole/epoch", "the epoch of its controllers"),
    ("/kconsole/offsets_coordinators", "who kept committed offsets in ZooKeeper"),
    ("/kconsole/controllers/", "addresses of controllers: KRaft's register themselves"),
    ("/brokers/seqid", "the counter of generated broker ids"),
    ("/migration", "the state of Apache Kafka's own migration"),
    ("/consumers/", "members and owners of consumers that are gone"),
)
_MOVED_ROOTS = ("/brokers/topics", "/config", "/kafka-acl", "/kafka-acl-extended", "/delegation_token", "/kconsole")
_MOVED = ("/cluster/id", "/controller_epoch", "/latest_producer_id_block", "/feature", MARKER)


class NotMigratable(Exception):
    """The cluster cannot move now; the message says why and what to do."""


class CommittedOffset(NamedTuple):
    """An offset that a consumer group committed to ZooKeeper."""

    group: str
    partition: TopicPartition
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class Left(NamedTuple):
    """Znodes (or configs) that stay behind: how many, one of them, and why."""

    what: str
    number: int
    example: str


class Metadata(NamedTuple):
    """What moves. ``snapshot_id``: where the new log begins. ``offsets`` move by commits, once the cluster is up."""

    cluster_id: str
    snapshot_id: OffsetAndEpoch
    records: list[Message]
    image: MetadataImage
    offsets: list[CommittedOffset]
    left: list[Left]

    def counts(self) -> dict[str, int]:
        """How many of each kind move."""
        image = self.image
        return {
            "topics": len(image.topics_by_id),
            "partitions": sum(len(each.partitions) for each in image.topics_by_id.values()),
            "brokers": len(image.brokers),
            "configs": sum(len(each) for each in image.configs.values()),
            "quotas": sum(len(each) for each in image.client_quotas.values()),
            "scram_credentials": len(image.scram_credentials),
            "acls": len(image.acls),
            "delegation_tokens": len(image.delegation_tokens),
            "next_producer_id": image.next_producer_id,
            "offsets": len(self.offsets),
        }


def check_stopped(tree: Mapping[str, Znode]) -> None:
    """Raises: NotMigratable: a broker or a controller is alive."""
    alive = sorted(path.rpartition("/")[2] for path in tree if path.startswith("/brokers/ids/"))
    if alive:
        who = f"broker {alive[0]} is" if len(alive) == 1 else f"brokers {', '.join(alive)} are"
        raise NotMigratable(
            f"{who} alive in ZooKeeper (/brokers/ids): stop the whole cluster first; one that was killed leaves when "
            "its session times out"
        )
    if "/controller" in tree:
        who = _controller_of(tree["/controller"].data)
        raise NotMigratable(f"there is a live controller, broker {who} (/controller): stop it first")


def _controller_of(data: bytes) -> str:
    try:
        return str(decode_controller(data).broker_id)
    except ZnodeCorrupt:
        return "?"


def metadata_of(
    tree: Mapping[str, Znode],
    *,
    directories: Mapping[int, Mapping[TopicPartition, Uuid]],
    used_offsets: Iterable[int] = (),
) -> Metadata:
    """The metadata of a stopped cluster.

    ``tree``: every znode under the chroot. ``directories``: by broker, the log directory that each replica is in.
    ``used_offsets``: broker epochs that stand in files, which the new log has to begin behind.

    Raises:
        NotMigratable: somebody is alive, or the tree is no cluster's.
    """
    check_stopped(tree)
    cluster_id = cluster_id_of(tree)
    used, epochs = [0, *used_offsets], [0]
    try:
        image, dropped = _as_stopped(image_of(tree), directories)
        if paths.CONTROLLER_EPOCH in tree:
            epochs.append(decode_controller_epoch(tree[paths.CONTROLLER_EPOCH].data))
        if paths.METADATA in tree:
            mark = decode_mark(tree[paths.METADATA].data)
            used.append(mark.offset)
            epochs.append(mark.epoch)
    except ZnodeCorrupt as error:
        raise NotMigratable(f"the tree in ZooKeeper cannot be read: {error}") from error
    used += [each.broker_epoch for each in image.brokers.values()]
    used += [max(znode.czxid, znode.mzxid) for znode in tree.values()]
    snapshot_id = OffsetAndEpoch(max(used) + 1, max(epochs))
    return Metadata(cluster_id, snapshot_id, image.to_records(), image, committed_offsets(tree), _left(tree) + dropped)


def cluster_id_of(tree: Mapping[str, Znode]) -> str:
    """The cluster's id. Raises: NotMigratable: there is none."""
    found = tree.get(paths.CLUSTER_ID)
    if found is None:
        raise NotMigratable(
            "there is no cluster in ZooKeeper (/cluster/id is missing): check the connect string, its chroot included"
        )
    try:
        return decode_cluster_id(found.data)
    except ZnodeCorrupt as error:
        raise NotMigratable(f"the tree in ZooKeeper cannot be read: {error}") from error


def _as_stopped(
    image: MetadataImage, directories: Mapping[int, Mapping[TopicPartition, Uuid]]
) -> tuple[MetadataImage, list[Left]]:
    """The image as it is when nobody is up, and what Kafka 4 has no place for."""
    stopped, dropped = MetadataImage(), Counter[tuple[str, str]]()
    for record in image.to_records():
        each: Any = record
        if each.NAME == "RegisterControllerRecord":
            continue
        if each.NAME == "RegisterBrokerRecord":
            each.fenced, each.in_controlled_shutdown = True, False
        elif each.NAME == "PartitionRecord":
            topic = image.topics_by_id[each.topic_id].name
            partition = TopicPartition(topic, each.partition_id)
            if each.leader != NO_LEADER:
                each.leader, each.leader_epoch = NO_LEADER, each.leader_epoch + 1
                each.partition_epoch += 1
            each.directories = [
                directories.get(replica, {}).get(partition, known)
                for replica, known in zip(
                    each.replicas, each.directories or [MIGRATING] * len(each.replicas), strict=True
                )
            ]
        elif each.NAME == "ConfigRecord":
            why = _why_dropped(each)
            if why:
                dropped[why, each.name] += 1
                continue
        stopped.replay(each)
    return stopped, [Left(why, count, name) for (why, name), count in sorted(dropped.items())]


def _why_dropped(config: Any) -> str:
    if config.name in _GONE_CONFIGS.get(config.resource_type, ()):
        return "configs that Kafka 4 does not have"
    if config.resource_type == TOPIC_RESOURCE and config.name not in TOPIC_CONFIGS:
        return "configs of topics that Kafka 4 does not have"
    if config.value is not None and config.value.startswith(_ENCRYPTED):
        return "encrypted configs: set them again under KRaft, which keeps no secrets of ZooKeeper's kind"
    return ""


def committed_offsets(tree: Mapping[str, Znode]) -> list[CommittedOffset]:
    """What stands under ``/consumers/<group>/offsets/<topic>/<partition>``, in order; what is no number is left."""
    found = []
    for path, znode in sorted(tree.items()):
        names = path.split("/")
        if len(names) != 6 or f"/{names[1]}" != paths.CONSUMERS or names[3] != "offsets" or not names[5].isdigit():
            continue
        group, partition = text_of(names[2]), TopicPartition(text_of(names[4]), int(names[5]))
        detail_at = detail_path(group, *partition)
        with contextlib.suppress(ZnodeNotUnderstood):
            kept, _ = kept_offset(path, znode, detail_at, tree.get(detail_at))
            found.append(CommittedOffset(group, partition, kept.offset, kept.leader_epoch, kept.metadata))
    return found


def _left(tree: Mapping[str, Znode]) -> list[Left]:
    """Znodes with no meaning in KRaft, those of a kind together."""
    found: dict[str, list[str]] = {}
    parents = {path.rpartition("/")[0] for path in tree}
    for path in sorted(tree):
        if path in parents or path == "/":
            continue
        if path == paths.BROKER_SEQUENCE and not tree[path].version:
            # Nobody ever asked for an id.
            continue
        why = next((what for root, what in _MEANINGLESS if path.startswith(root)), "")
        if why:
            if not (path.startswith("/consumers/") and ("/offsets/" in path or _is_empty_group(tree, path))):
                found.setdefault(why, []).append(path)
        elif not _is_moved(path) and not (_is_a_root(path) or not tree[path].data):
            found.setdefault("znodes that are not Kafka's", []).append(path)
    return [Left(why, len(paths), paths[0]) for why, paths in found.items()]


def _is_empty_group(tree: Mapping[str, Znode], path: str) -> bool:
    """A directory of a group's that has nothing in it."""
    return path.count("/") <= 3 and not tree[path].data


def _is_moved(path: str) -> bool:
    return path in _MOVED or any(path == root or path.startswith(f"{root}/") for root in _MOVED_ROOTS)


def _is_a_root(path: str) -> bool:
    """Directories that Kafka makes at its first start, empty."""
    return path.count("/") == 1 or path in ("/brokers/ids", "/brokers/topics", "/admin/delete_topics")
