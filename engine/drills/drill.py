"""What a drill file says, as plain values. Pure."""

from __future__ import annotations

from typing import NamedTuple

from engine.supervisor.spec_types import ClusterSpec, TopicSpec

LEADER, FOLLOWER, CONTROLLER, ALL = "leader", "follower", "controller", "all"
ROLES = (LEADER, FOLLOWER, CONTROLLER)
"""Whom an act may name instead of a number: who leads partition 0 of the load's topic at that moment, the first of its
other replicas, the leader of the metadata quorum."""
OTHERS, CLIENTS = "others", "clients"
"""The other end of a cut or a delay: all brokers but the named one, or everything that is no broker."""

PROCESS_ACTS = ("kill", "pause", "resume", "stop", "start", "rolling restart", "crash loop")
DISK_ACTS = ("slow fsync", "failing fsync", "disk full")
NETWORK_ACTS = ("cut", "delay")
ZOOKEEPER_ACTS = {f"{what} zookeeper": what for what in ("kill", "pause", "resume", "stop", "start")}
"""Of servers of the cluster's own ZooKeeper, by what is done to them: a number, the one that leads them, or all."""
ACTS = (*PROCESS_ACTS, *DISK_ACTS, *NETWORK_ACTS, *ZOOKEEPER_ACTS, "heal")
# These are for a broker that something was done to: its role may be another's by now.
UNDOING = ("resume", "start", "heal", "resume zookeeper", "start zookeeper")

# What is asserted: times in milliseconds, and counts.
TIMES = ("unavailable", "back in sync within", "latency p50", "latency p99", "latency max")
LOSSES = ("lost at unclean elections", "lost at clean elections")
LEDGER_COUNTS = ("lost", *LOSSES, "duplicated", "reordered")
COUNTS = (*LEDGER_COUNTS, "failed", "acknowledged")


class Load(NamedTuple):
    """Producers (librdkafka) that share ``rate_per_s`` and number their records. ``topic`` is one of the cluster's."""

    topic: TopicSpec
    acks: str
    rate_per_s: float
    clients: int
    size_bytes: int


class Act(NamedTuple):
    """Something that is done ``at_s`` seconds after the load runs. ``targets`` are numbers of brokers and words;
    ``delay_s`` is of delay and slow fsync, ``times`` of crash loop."""

    at_s: float
    kind: str
    targets: tuple[str, ...]
    delay_s: float
    line: int
    times: int = 0

    @property
    def text(self) -> str:
        """As a person would say it."""
        if self.kind == "heal" and self.targets == (ALL,):
            return "heal"
        between = " and " if self.kind in NETWORK_ACTS else ", "
        verb = ZOOKEEPER_ACTS.get(self.kind)
        if verb is not None:
            servers = "all ZooKeeper servers" if ALL in self.targets else "ZooKeeper server " + ", ".join(self.targets)
            return f"{verb} {'the ZooKeeper leader' if LEADER in self.targets else servers}"
        by = f" by {self.delay_s * 1000:g} ms" if self.delay_s else ""
        times = f" {self.times} times" if self.times else ""
        return f"{self.kind} {between.join(self.targets)}{by}{times}"


class Assertion(NamedTuple):
    """``name`` compares with ``value`` (milliseconds or a count) by ``comparator``: ≤, <, ≥, > or =."""

    name: str
    comparator: str
    value: float
    line: int


class Drill(NamedTuple):
    """A whole drill; acts are in the order of their times."""

    name: str
    about: str
    cluster: ClusterSpec
    load: Load
    acts: tuple[Act, ...]
    assertions: tuple[Assertion, ...]

    @property
    def needs_proxy(self) -> bool:
        """Whether something is done to the network, for which there is chaos' proxy."""
        return any(act.kind in NETWORK_ACTS for act in self.acts)
