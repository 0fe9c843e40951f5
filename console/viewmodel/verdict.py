"""Whether a cluster is healthy, and every reason why not: for scripts, which want a yes or no. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.health import has_controller, is_unserved, silent_brokers
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, PartitionState


class Ailment(StrEnum):
    """Kinds of reasons; their names are part of what scripts may rely on."""

    NO_CONTROLLER = "no_controller"
    BROKERS_DOWN = "brokers_down"
    OFFLINE_PARTITIONS = "offline_partitions"
    UNDER_MIN_ISR = "under_min_isr"
    UNDER_REPLICATED = "under_replicated"
    FAILED_LOG_DIRS = "failed_log_dirs"
    LAG = "lag"
    UNKNOWN = "unknown"


class Reason(NamedTuple):
    """One kind of trouble: what it befell, and a sentence."""

    kind: Ailment
    subjects: tuple[str, ...]
    said: str


class Verdict(NamedTuple):
    """All reasons, the gravest first; none: healthy."""

    reasons: tuple[Reason, ...]

    @property
    def is_healthy(self) -> bool:
        """Nothing ails."""
        return not self.reasons


def judge(snapshot: ClusterSnapshot, *, max_lag: int | None = None, missing: Iterable[str] = ()) -> Verdict:
    """What ails a cluster.

    Args:
        max_lag: records by which a group may be behind in all, ``None`` for any number.
        missing: what was waited for in vain (:func:`console.viewmodel.settling.missing`); what is not known is no
            proof of health.
    """
    silent = silent_brokers(snapshot)
    partitions = [each for topic in snapshot.topics for each in topic.partitions]
    minimum = {topic.name: topic.min_insync_replicas for topic in snapshot.topics}
    reasons = [
        *_controller(snapshot),
        *_brokers_down(snapshot, partitions),
        *_partitions(
            Ailment.OFFLINE_PARTITIONS,
            (each for each in partitions if is_unserved(each, silent)),
            "offline: no leader that answers",
        ),
        *_partitions(
            Ailment.UNDER_MIN_ISR,
            (each for each in partitions if len(each.isr) < (minimum.get(each.topic) or 0)),
            "below min.insync.replicas: producers with acks=all are refused",
        ),
        *_partitions(
            Ailment.UNDER_REPLICATED, (each for each in partitions if each.is_under_replicated), "under-replicated"
        ),
        *_log_dirs(snapshot.brokers),
        *_lag(snapshot, max_lag),
    ]
    unknown = [*missing, *(f"topic {topic.name}: {topic.error}" for topic in snapshot.topics if topic.error)]
    if unknown:
        reasons.append(Reason(Ailment.UNKNOWN, tuple(unknown), f"not known in time: {'; '.join(unknown)}"))
    return Verdict(tuple(reasons))


def lost_brokers(snapshot: ClusterSnapshot) -> dict[int, str]:
    """Brokers that serve nobody, each with why: silent, fenced, or holders of replicas that metadata does not name."""
    found: dict[int, str] = {}
    for broker in snapshot.brokers:
        if broker.was_asked and not broker.reachable:
            process = broker.process
            state = f"its process is {process.state}" if process is not None and not process.is_up else ""
            found[broker.broker_id] = state or broker.error or "does not answer"
        elif broker.fenced:
            found[broker.broker_id] = "fenced"
    known = {broker.broker_id for broker in snapshot.brokers}
    for topic in snapshot.topics:
        for partition in topic.partitions:
            for replica in partition.replicas:
                if replica not in known:
                    # Apache Kafka's metadata leaves out brokers that are not alive.
                    found[replica] = "not registered, but replicas are assigned to it"
    return dict(sorted(found.items()))


def _controller(snapshot: ClusterSnapshot) -> Iterator[Reason]:
    if has_controller(snapshot):
        return
    if snapshot.coordination == "zookeeper":
        yield Reason(Ailment.NO_CONTROLLER, (), "no controller: nobody has made /controller in ZooKeeper")
    else:
        yield Reason(Ailment.NO_CONTROLLER, (), "no controller: nobody tells of a leader of the metadata quorum")


def _brokers_down(snapshot: ClusterSnapshot, partitions: list[PartitionState]) -> Iterator[Reason]:
    down = lost_brokers(snapshot)
    if down:
        words = "; ".join(f"broker {broker_id}: {why}" for broker_id, why in down.items())
        yield Reason(Ailment.BROKERS_DOWN, tuple(map(str, down)), f"{text.plural(len(down), 'broker')} down: {words}")


def _partitions(kind: Ailment, found: Iterable[PartitionState], what: str) -> Iterator[Reason]:
    names = tuple(f"{each.topic}-{each.partition}" for each in found)
    if names:
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield Reason(kind, names, f"{text.plural(len(names), 'partition')} {what} ({listed})")


def _log_dirs(brokers: Iterable[BrokerState]) -> Iterator[Reason]:
    failed = tuple(f"{each.broker_id}:{path}" for each in brokers for path in each.failed_log_dirs)
    if failed:
        yield Reason(Ailment.FAILED_LOG_DIRS, failed, f"log directories are offline: {', '.join(failed)}")


def _lag(snapshot: ClusterSnapshot, max_lag: int | None) -> Iterator[Reason]:
    if max_lag is None:
        return
    over = [each for each in snapshot.groups if each.total_lag is not None and each.total_lag > max_lag]
    if over:
        words = ", ".join(f"{each.group_id} by {each.total_lag:,}" for each in over)
        names = tuple(each.group_id for each in over)
        yield Reason(Ailment.LAG, names, f"behind by more than {max_lag:,} records: {words}")
    # A lag that cannot be told may be any.
    blind = tuple(
        group.group_id
        for group in snapshot.groups
        if any(each.lag is None and each.committed_offset is not None for each in group.offsets)
    )
    if blind:
        yield Reason(Ailment.UNKNOWN, blind, f"lag is not known of {', '.join(blind)}")
