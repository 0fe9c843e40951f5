"""What an observer has seen of a cluster so far, part by part, and the snapshot that it makes: no I/O, no clock."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from engine.client.admin.log_dirs import LogDirDescription
from engine.client.admin.metadata import (
    BrokerNode,
    ClusterDescription,
    ClusterMetadata,
    PartitionMetadata,
    TopicMetadata,
)
from engine.client.admin.quorum import QuorumDescription, QuorumReplica
from engine.client.admin.replicas import ReplicaWatermarks
from engine.model.ids import uuid_to_str
from engine.model.topic_partition import TopicPartition
from engine.supervisor.group_observation import GroupObservation, Seen
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterSnapshot,
    PartitionState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    TopicState,
)

# Rates are taken over the samples of about this many polls.
_RATE_SAMPLES = 5


class BrokerContact(NamedTuple):
    """How the observer's own connection to a broker fares."""

    reachable: bool
    at_ms: int
    error: str = ""


class Observation:
    """Takes answers as they come; parts that do not come stay as they were, with their age."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.metadata: ClusterMetadata | None = None
        self.groups = GroupObservation()
        self._metadata_at_ms = 0
        self._metadata_error = ""
        self._fault = ""
        self._brokers: dict[int, BrokerNode] = {}
        self._contacts: dict[int, BrokerContact] = {}
        self._controller_id: int | None = None
        self._quorum: QuorumState | None = None
        self._coordination = ""
        self._log_ends: dict[TopicPartition, dict[int, Seen]] = {}
        self._watermarks: dict[TopicPartition, dict[int, ReplicaWatermarks]] = {}
        self._high_watermarks: dict[TopicPartition, Seen] = {}
        self._log_starts: dict[TopicPartition, int] = {}
        self._sizes: dict[TopicPartition, dict[int, int]] = {}
        self._disks: dict[int, tuple[int | None, int | None, int]] = {}
        self._failed_dirs: dict[int, tuple[str, ...]] = {}
        self._eligible: dict[TopicPartition, tuple[int, ...]] = {}
        self._configs: dict[str, dict[str, str]] = {}
        self._samples: dict[TopicPartition, deque[tuple[float, int]]] = {}
        self._topics: dict[str, TopicState] = {}
        self._changed: set[str] = set()

    # -- what was asked, and by whom

    @property
    def topic_names(self) -> list[str]:
        """Topics of the last metadata, sorted."""
        return sorted(self.metadata.topics) if self.metadata else []

    @property
    def broker_ids(self) -> list[int]:
        """Brokers that are registered or hold a replica, sorted."""
        return sorted(self._brokers)

    def address_of(self, broker_id: int) -> tuple[str, int] | None:
        """Where a broker was last seen to listen."""
        node = self._brokers.get(broker_id)
        return (node.host, node.port) if node and node.host else None

    def replicas_on(self, broker_id: int, topics: Iterable[str]) -> list[TopicPartition]:
        """The replicas that a broker holds, of these topics."""
        return self._partitions(topics, lambda each: broker_id in each.replicas)

    def led_by(self, broker_id: int, topics: Iterable[str]) -> list[TopicPartition]:
        """The partitions that a broker leads, of these topics."""
        return self._partitions(topics, lambda each: each.leader == broker_id)

    def _partitions(self, topics: Iterable[str], wanted: Callable[[PartitionMetadata], bool]) -> list[TopicPartition]:
        found: list[TopicPartition] = []
        for name in topics:
            topic = self.metadata.topics.get(name) if self.metadata else None
            if topic is not None:
                found += [TopicPartition(name, each.partition) for each in topic.partitions if wanted(each)]
        return found

    def ailing_topics(self) -> list[str]:
        """Topics with a partition whose ISR is not whole: the ones that may have eligible leader replicas."""
        return [
            name
            for name in self.topic_names
            if self.metadata
            and any(len(each.isr) < len(each.replicas) for each in self.metadata.topics[name].partitions)
        ]

    # -- answers

    def on_metadata(self, metadata: ClusterMetadata, at_ms: int) -> None:
        """Metadata of all topics."""
        before = self.metadata.topics if self.metadata else {}
        self.metadata = metadata
        self._metadata_at_ms = at_ms
        self._metadata_error = ""
        for broker_id, node in metadata.brokers.items():
            known = self._brokers.get(broker_id)
            self._brokers[broker_id] = node._replace(is_fenced=known.is_fenced if known else None)
        for name, topic in metadata.topics.items():
            if before.get(name) != topic:
                self._changed.add(name)
                for each in topic.partitions:
                    for replica in each.replicas:
                        self._brokers.setdefault(replica, BrokerNode(replica, "", 0, None))
        for name in [each for each in self._topics if each not in metadata.topics]:
            self._forget_topic(name)

    def on_metadata_failed(self, error: str) -> None:
        """Nobody answers."""
        self._metadata_error = error

    def on_fault(self, fault: str) -> None:
        """The observer itself failed: that is told until it is closed."""
        self._fault = fault

    def _forget_topic(self, name: str) -> None:
        gone = self._topics.pop(name)
        self._configs.pop(name, None)
        for each in gone.partitions:
            partition = TopicPartition(name, each.partition)
            self._log_ends.pop(partition, None)
            self._watermarks.pop(partition, None)
            self._high_watermarks.pop(partition, None)
            self._log_starts.pop(partition, None)
            self._sizes.pop(partition, None)
            self._samples.pop(partition, None)
            self._eligible.pop(partition, None)

    def on_cluster(self, description: ClusterDescription) -> None:
        """DescribeCluster: the registered brokers, the fenced ones too."""
        for broker_id in [each for each in self._brokers if each not in description.brokers]:
            # No longer registered; one that holds replicas still is something to show.
            if not any(broker_id in each.replicas for topic in self._known_topics() for each in topic.partitions):
                del self._brokers[broker_id]
                self._contacts.pop(broker_id, None)
        self._brokers.update(description.brokers)
        if self._quorum is None:
            self._controller_id = description.controller_id if description.controller_id >= 0 else None

    def _known_topics(self) -> Iterable[TopicMetadata]:
        return self.metadata.topics.values() if self.metadata else ()

    def on_no_quorum(self) -> None:
        """Brokers do not know DescribeQuorum: ZooKeeper coordinates them."""
        self._coordination = "zookeeper"

    def on_quorum(self, quorum: QuorumDescription, at_ms: int) -> None:
        """DescribeQuorum, whose leader is the active controller."""
        leader_end = max((each.log_end_offset for each in quorum.voters), default=quorum.high_watermark)
        self._controller_id = quorum.leader_id if quorum.leader_id >= 0 else None
        self._quorum = QuorumState(
            quorum.leader_id,
            quorum.leader_epoch,
            quorum.high_watermark,
            tuple(
                _quorum_node(each, leader_end, is_voter)
                for nodes, is_voter in ((quorum.voters, True), (quorum.observers, False))
                for each in sorted(nodes)
            ),
            at_ms,
        )

    def on_contact(self, broker_id: int, contact: BrokerContact) -> bool:
        """A broker answered, or did not. Returns whether that is news."""
        before = self._contacts.get(broker_id)
        if not contact.reachable:
            # Its figures are as old as its last answer.
            contact = contact._replace(at_ms=before.at_ms if before else 0)
        self._contacts[broker_id] = contact
        return before is None or before.reachable != contact.reachable

    def on_replicas(
        self,
        broker_id: int,
        log_ends: Mapping[TopicPartition, int],
        watermarks: Mapping[TopicPartition, ReplicaWatermarks],
        at_ms: int,
    ) -> None:
        """Where a broker's own replicas stand; ``watermarks`` has those of them that were asked for more."""
        for partition, offset in log_ends.items():
            marks = watermarks.get(partition)
            if marks is None:
                # What was known of it is older than its log end.
                self._watermarks.get(partition, {}).pop(broker_id, None)
            else:
                self._watermarks.setdefault(partition, {})[broker_id] = marks
                # The log may have grown between the two answers; nothing beyond its end is committed.
                offset = max(offset, marks.high_watermark)
            self._log_ends.setdefault(partition, {})[broker_id] = Seen(offset, at_ms)
            self._changed.add(partition.topic)

    def on_high_watermarks(self, offsets: Mapping[TopicPartition, int], at_ms: int, monotonic_ms: float) -> None:
        """High watermarks, from the leaders."""
        for partition, offset in offsets.items():
            self._high_watermarks[partition] = Seen(offset, at_ms)
            samples = self._samples.get(partition)
            if samples is None:
                samples = self._samples[partition] = deque(maxlen=_RATE_SAMPLES)
            samples.append((monotonic_ms, offset))
            self._changed.add(partition.topic)

    def on_log_starts(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Log start offsets, from the leaders."""
        self._log_starts.update(offsets)
        self._changed.update(partition.topic for partition in offsets)

    def on_log_dirs(self, broker_id: int, log_dirs: Collection[LogDirDescription]) -> None:
        """A broker's directories."""
        total: int | None = None
        usable: int | None = None
        log_bytes = 0
        for each in log_dirs:
            if each.total_bytes is not None:
                total = (total or 0) + each.total_bytes
            if each.usable_bytes is not None:
                usable = (usable or 0) + each.usable_bytes
            for partition, replica in each.replicas.items():
                log_bytes += replica.size_bytes
                if not replica.is_future:
                    self._sizes.setdefault(partition, {})[broker_id] = replica.size_bytes
                    self._changed.add(partition.topic)
        self._disks[broker_id] = (total, usable, log_bytes)
        self._failed_dirs[broker_id] = tuple(sorted(each.path for each in log_dirs if each.error is not None))

    def on_eligible_replicas(self, topics: Mapping[str, TopicMetadata]) -> None:
        """Eligible leader replicas of the topics that were asked for; others have none."""
        found = {
            TopicPartition(name, each.partition): each.eligible_leader_replicas
            for name, topic in topics.items()
            for each in topic.partitions
            if each.eligible_leader_replicas
        }
        if found != self._eligible:
            self._changed.update(partition.topic for partition in {**found, **self._eligible})
            self._eligible = found

    def on_configs(self, topic: str, configs: dict[str, str]) -> None:
        """The configs of a topic that somebody set, and min.insync.replicas."""
        if self._configs.get(topic) != configs:
            self._configs[topic] = configs
            self._changed.add(topic)

    # -- the picture

    def log_end_for_consumers(self, partition: TopicPartition) -> int | None:
        """What a group can have read of a partition at most."""
        seen = self._high_watermarks.get(partition)
        return seen.value if seen else None

    def renewing(self, partitions: int) -> Iterator[None]:
        """Make the pictures of topics that changed; whoever iterates has a turn after each ``partitions`` of them."""
        done = 0
        while self.metadata is not None and self._changed:
            topic = self.metadata.topics.get(self._changed.pop())
            if topic is None:
                continue
            self._topics[topic.name] = self._topic_state(topic)
            done += len(topic.partitions)
            if done >= partitions:
                done = 0
                yield

    def snapshot(self, at_ms: int) -> ClusterSnapshot:
        """The picture now. Topics that did not change since the last one are the same objects."""
        for _ in self.renewing(sys.maxsize):
            pass
        topics = tuple(self._topics[name] for name in sorted(self._topics))
        return ClusterSnapshot(
            at_ms=at_ms,
            source=self._source,
            cluster_id=self.metadata.cluster_id if self.metadata else "",
            controller_id=self._controller_id,
            controller_epoch=self._quorum.leader_epoch if self._quorum else None,
            brokers=self._broker_states(topics),
            topics=topics,
            groups=self.groups.states(self._high_watermarks.get),
            quorum=self._quorum,
            coordination="kraft" if self._quorum else self._coordination,
            metadata_observed_at_ms=self._metadata_at_ms,
            error=self._metadata_error or self._fault,
        )

    def _broker_states(self, topics: Iterable[TopicState]) -> tuple[BrokerState, ...]:
        leaders: dict[int, int] = {}
        replicas: dict[int, int] = {}
        in_sync: dict[int, int] = {}
        rates: dict[int, float] = {}
        for topic in topics:
            for each in topic.partitions:
                leaders[each.leader] = leaders.get(each.leader, 0) + 1
                for replica in each.replicas:
                    replicas[replica] = replicas.get(replica, 0) + 1
                for replica in each.isr:
                    in_sync[replica] = in_sync.get(replica, 0) + 1
                if each.messages_in_per_s is not None:
                    rates[each.leader] = rates.get(each.leader, 0.0) + each.messages_in_per_s
        states = []
        for broker_id in sorted(self._brokers):
            node = self._brokers[broker_id]
            contact = self._contacts.get(broker_id, BrokerContact(False, 0))
            total, usable, log_bytes = self._disks.get(broker_id, (None, None, None))
            states.append(
                BrokerState(
                    broker_id=broker_id,
                    host=node.host,
                    port=node.port,
                    rack=node.rack,
                    reachable=contact.reachable,
                    fenced=node.is_fenced,
                    is_controller=broker_id == self._controller_id,
                    observed_at_ms=contact.at_ms,
                    error=contact.error,
                    leaders=leaders.get(broker_id, 0),
                    replicas=replicas.get(broker_id, 0),
                    in_sync=in_sync.get(broker_id, 0),
                    log_bytes=log_bytes,
                    disk_total_bytes=total,
                    disk_usable_bytes=usable,
                    messages_in_per_s=rates.get(broker_id, 0.0) if contact.reachable else None,
                    failed_log_dirs=self._failed_dirs.get(broker_id, ()),
                )
            )
        return tuple(states)

    def _topic_state(self, topic: TopicMetadata) -> TopicState:
        configs = self._configs.get(topic.name, {})
        minimum = configs.get("min.insync.replicas")
        return TopicState(
            name=topic.name,
            topic_id=uuid_to_str(topic.topic_id),
            is_internal=topic.is_internal,
            partitions=tuple(self._partition_state(topic.name, each) for each in topic.partitions),
            min_insync_replicas=int(minimum) if minimum is not None and minimum.isdigit() else None,
            configs=configs,
            error=str(topic.error) if topic.error else "",
        )

    def _partition_state(self, name: str, metadata: PartitionMetadata) -> PartitionState:
        partition = TopicPartition(name, metadata.partition)
        ends = self._log_ends.get(partition, {})
        watermarks = self._watermarks.get(partition, {})
        sizes = self._sizes.get(partition, {})
        high_watermark = self._high_watermarks.get(partition)
        replicas = []
        for broker_id in metadata.replicas:
            end = ends.get(broker_id)
            marks = watermarks.get(broker_id)
            replicas.append(
                ReplicaState(
                    broker_id,
                    end.value if end else None,
                    sizes.get(broker_id),
                    broker_id in metadata.isr,
                    end.at_ms if end else 0,
                    marks.log_start_offset if marks else None,
                    marks.high_watermark if marks else None,
                )
            )
        return PartitionState(
            topic=name,
            partition=metadata.partition,
            leader=metadata.leader,
            leader_epoch=metadata.leader_epoch,
            replicas=metadata.replicas,
            isr=metadata.isr,
            offline_replicas=metadata.offline_replicas,
            eligible_leader_replicas=self._eligible.get(partition, ()),
            log_start_offset=self._log_starts.get(partition),
            high_watermark=high_watermark.value if high_watermark else None,
            replica_states=tuple(replicas),
            size_bytes=sizes.get(metadata.leader),
            messages_in_per_s=self._rate(partition),
            observed_at_ms=high_watermark.at_ms if high_watermark else 0,
            error=str(metadata.error) if metadata.error else "",
        )

    def _rate(self, partition: TopicPartition) -> float | None:
        samples = self._samples.get(partition)
        if not samples or len(samples) < 2:
            return None
        (first_ms, first), (last_ms, last) = samples[0], samples[-1]
        return max(0, last - first) / ((last_ms - first_ms) / 1000) if last_ms > first_ms else None


def _quorum_node(node: QuorumReplica, leader_end: int, is_voter: bool) -> QuorumVoter:
    known = node.log_end_offset >= 0
    return QuorumVoter(
        node.node_id,
        node.log_end_offset,
        max(0, leader_end - node.log_end_offset) if known else None,
        is_voter,
        node.last_fetch_at_ms,
        node.last_caught_up_at_ms,
    )
