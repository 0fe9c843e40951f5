"""A picture as metrics under Prometheus' rules of naming. Pure.

What is older than ``STALE_AFTER_MS`` is absent rather than frozen: a line that stands still would tell an alert that
all is as it was. Ages are always there, so that absence can be told from health. docs/scripting.md lists all names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from console.viewmodel.health import has_controller, is_unserved, silent_brokers
from console.viewmodel.verdict import lost_brokers
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, PartitionState, ProcessFacts

STALE_AFTER_MS = 15_000


class Family(NamedTuple):
    """A metric: ``counter`` is a total that only grows, all others are gauges. Samples are pairs of label values and
    value; a ``None`` is left out."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float | None]]
    counter: bool = False


class LastAnswers:
    """When each broker answered last. A picture has when it was asked, which a broker that hangs does not delay."""

    def __init__(self) -> None:
        self.at_ms: dict[int, int] = {}

    def take(self, snapshot: ClusterSnapshot) -> None:
        """See every picture."""
        known = {each.broker_id: each for each in snapshot.brokers}
        answered = {number: each.observed_at_ms for number, each in known.items() if each.reachable}
        self.at_ms = {number: at for number, at in self.at_ms.items() if number in known} | answered


def families(
    snapshot: ClusterSnapshot | None, now_ms: int, answered_at_ms: Mapping[int, int] | None = None
) -> list[Family]:
    """All that is known and fresh at that moment; ``None``: no picture came yet.

    Args:
        answered_at_ms: :attr:`LastAnswers.at_ms`.
    """
    fresh = snapshot is not None and is_fresh(snapshot.metadata_observed_at_ms, now_ms)
    # Metadata that can be had says that some broker answers; that nobody does shows once it has aged.
    found = [_one("kconsole_cluster_reachable", "Whether any broker told of the cluster lately.", float(fresh))]
    if snapshot is None:
        return found
    found += _ages(snapshot, now_ms, answered_at_ms or {})
    if is_fresh(snapshot.processes_observed_at_ms, now_ms):
        found += _processes(snapshot)
    if fresh:
        found += _cluster(snapshot)
        found += _brokers(snapshot, now_ms)
        found += _partitions(snapshot, now_ms)
        found += _groups(snapshot, now_ms)
    return [family for family in found if any(value is not None for _, value in family.samples)]


def is_fresh(at_ms: int, now_ms: int) -> bool:
    """Whether something seen then may still be told."""
    return bool(at_ms) and now_ms - at_ms <= STALE_AFTER_MS


def _one(name: str, help_text: str, value: float | None) -> Family:
    return Family(name, help_text, (), [((), value)])


def _ages(snapshot: ClusterSnapshot, now_ms: int, answered_at_ms: Mapping[int, int]) -> Iterator[Family]:
    def age(at_ms: int) -> float | None:
        return max(0, now_ms - at_ms) / 1000 if at_ms else None

    yield _one(
        "kconsole_metadata_age_seconds", "Since the cluster's metadata came.", age(snapshot.metadata_observed_at_ms)
    )
    yield Family(
        "kconsole_broker_age_seconds",
        "Since the broker answered last.",
        ("broker",),
        [((str(number),), age(at_ms)) for number, at_ms in sorted(answered_at_ms.items())],
    )
    yield Family(
        "kconsole_group_age_seconds",
        "Since the group's coordinator told of it.",
        ("group",),
        [((each.group_id,), age(each.observed_at_ms)) for each in snapshot.groups],
    )


def _cluster(snapshot: ClusterSnapshot) -> Iterator[Family]:
    silent = silent_brokers(snapshot)
    partitions = [each for topic in snapshot.topics for each in topic.partitions]
    minimum = {topic.name: topic.min_insync_replicas or 0 for topic in snapshot.topics}
    lost = lost_brokers(snapshot)
    known = {each.broker_id for each in snapshot.brokers} | lost.keys()
    yield _one("kafka_brokers", "Brokers that the cluster has, up or not.", len(known))
    yield _one("kafka_brokers_down", "Brokers that do not answer, are fenced, or not registered.", len(lost))
    yield _one(
        "kafka_active_controllers",
        "Whether the metadata quorum has a leader, or ZooKeeper a controller.",
        float(has_controller(snapshot) or False),
    )
    yield _one(
        "kafka_offline_partitions",
        "Partitions without a leader that answers.",
        sum(is_unserved(each, silent) for each in partitions),
    )
    yield _one(
        "kafka_under_replicated_partitions",
        "Partitions with fewer replicas in sync than assigned.",
        sum(each.is_under_replicated for each in partitions),
    )
    yield _one(
        "kafka_under_min_isr_partitions",
        "Partitions with fewer replicas in sync than min.insync.replicas.",
        sum(len(each.isr) < minimum[each.topic] for each in partitions),
    )


def _brokers(snapshot: ClusterSnapshot, now_ms: int) -> Iterator[Family]:
    lost = lost_brokers(snapshot)
    ids = sorted({each.broker_id for each in snapshot.brokers if each.was_asked} | lost.keys())
    yield Family(
        "kafka_broker_up",
        "Whether the broker answers and takes part.",
        ("broker",),
        [((str(each),), float(each not in lost)) for each in ids],
    )
    yield _by_broker(
        "kafka_broker_leaders",
        "Partitions that it leads.",
        [(each, each.leaders) for each in snapshot.brokers],
    )
    fresh = [each for each in snapshot.brokers if each.reachable and is_fresh(each.observed_at_ms, now_ms)]
    yield _by_broker("kafka_broker_log_bytes", "Size of its logs.", [(each, each.log_bytes) for each in fresh])
    yield _by_broker(
        "kafka_broker_produce_bytes_per_second", "From clients.", [(each, each.bytes_in_per_s) for each in fresh]
    )
    yield _by_broker(
        "kafka_broker_fetch_bytes_per_second", "To clients.", [(each, each.bytes_out_per_s) for each in fresh]
    )
    yield _by_broker(
        "kafka_broker_produce_records_per_second",
        "Of the partitions that it leads, as their high watermarks grow.",
        [(each, each.messages_in_per_s) for each in fresh],
    )


def _by_broker(name: str, help_text: str, values: list[tuple[BrokerState, float | None]]) -> Family:
    return Family(name, help_text, ("broker",), [((str(broker.broker_id),), value) for broker, value in values])


def _processes(snapshot: ClusterSnapshot) -> Iterator[Family]:
    found = [each.process for each in snapshot.brokers if each.process is not None]

    def family(name: str, help_text: str, value: list[float | None], *, counter: bool = False) -> Family:
        samples = [((str(each.broker_id),), number) for each, number in zip(found, value, strict=True)]
        return Family(name, help_text, ("broker",), samples, counter)

    def alive(process: ProcessFacts, value: float | None) -> float | None:
        return value if process.pid is not None else None

    yield family("kafka_process_up", "Whether the broker's process runs.", [float(each.is_up) for each in found])
    yield family(
        "kafka_process_resident_memory_bytes", "Resident memory.", [alive(each, each.rss_bytes) for each in found]
    )
    yield family(
        "kafka_process_cpu_ratio",
        "Processor time a second of time; 1 is one core.",
        [alive(each, None if each.cpu_percent is None else each.cpu_percent / 100) for each in found],
    )
    yield family("kafka_process_open_fds", "Open files.", [alive(each, each.open_files) for each in found])
    yield family(
        "kafka_process_restarts_total", "Restarts after crashes.", [each.restarts for each in found], counter=True
    )


def _partitions(snapshot: ClusterSnapshot, now_ms: int) -> Iterator[Family]:
    silent = silent_brokers(snapshot)
    partitions = [each for topic in snapshot.topics for each in topic.partitions]
    labels = ("topic", "partition")

    def samples(values: list[tuple[PartitionState, float | None]]) -> list[tuple[tuple[str, ...], float | None]]:
        return [((each.topic, str(each.partition)), value) for each, value in values]

    yield Family(
        "kafka_partition_offline",
        "1: no leader that answers.",
        labels,
        samples([(each, float(is_unserved(each, silent))) for each in partitions]),
    )
    yield Family(
        "kafka_partition_in_sync_replicas",
        "Size of its ISR.",
        labels,
        samples([(each, len(each.isr)) for each in partitions]),
    )
    yield Family(
        "kafka_partition_replicas",
        "Replicas that are assigned.",
        labels,
        samples([(each, len(each.replicas)) for each in partitions]),
    )
    fresh = [each for each in partitions if is_fresh(each.observed_at_ms, now_ms)]
    yield Family(
        "kafka_partition_high_watermark",
        "Up to where consumers can read.",
        labels,
        samples([(each, each.high_watermark) for each in fresh]),
    )
    yield Family(
        "kafka_partition_log_start_offset",
        "The first offset that is kept.",
        labels,
        samples([(each, each.log_start_offset) for each in fresh]),
    )


def _groups(snapshot: ClusterSnapshot, now_ms: int) -> Iterator[Family]:
    ends_known = {
        (each.topic, each.partition)
        for topic in snapshot.topics
        for each in topic.partitions
        if is_fresh(each.observed_at_ms, now_ms)
    }
    lags: list[tuple[tuple[str, ...], float | None]] = []
    positions: list[tuple[tuple[str, ...], float | None]] = []
    totals: list[tuple[tuple[str, ...], float | None]] = []
    members: list[tuple[tuple[str, ...], float | None]] = []
    for group in snapshot.groups:
        if not is_fresh(group.observed_at_ms, now_ms) or group.error:
            continue
        members.append(((group.group_id,), len(group.members)))
        whole = True
        for each in group.offsets:
            if each.committed_offset is None:
                continue
            labels = (group.group_id, each.topic, str(each.partition))
            positions.append((labels, each.committed_offset))
            lag = each.lag if (each.topic, each.partition) in ends_known else None
            lags.append((labels, lag))
            whole = whole and lag is not None
        # A sum of what happens to be known would fall when a broker dies.
        totals.append(((group.group_id,), group.total_lag if whole else None))
    labels = ("group", "topic", "partition")
    yield Family("kafka_group_lag", "Records behind the high watermark.", labels, lags)
    yield Family("kafka_group_committed_offset", "Committed offset.", labels, positions)
    yield Family("kafka_group_lag_sum", "Records behind in all partitions, where all are known.", ("group",), totals)
    yield Family("kafka_group_members", "Members.", ("group",), members)
