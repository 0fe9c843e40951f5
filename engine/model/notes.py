"""Facts for people: what happened, to what, and why, with the numbers behind it.

Machines emit notes as their last effect; the broker's publisher adds the broker id and both clocks and hands them to
the supervisor, which hands them to every console.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeAlias

Detail: TypeAlias = dict[str, str | int | float | bool | list[int] | None]


class NoteKind(StrEnum):
    """What happened, in the past tense."""

    # metadata quorum
    ELECTION_STARTED = "election_started"
    CANDIDACY_STARTED = "candidacy_started"
    VOTE_GRANTED = "vote_granted"
    VOTE_REFUSED = "vote_refused"
    QUORUM_LEADER_ELECTED = "quorum_leader_elected"
    QUORUM_LEADER_RESIGNED = "quorum_leader_resigned"
    VOTERS_CHANGED = "voters_changed"
    CONTROLLER_ACTIVATED = "controller_activated"
    SNAPSHOT_WRITTEN = "snapshot_written"
    # brokers
    BROKER_REGISTERED = "broker_registered"
    BROKER_UNREGISTERED = "broker_unregistered"
    BROKER_FENCED = "broker_fenced"
    BROKER_UNFENCED = "broker_unfenced"
    BROKER_SHUTDOWN_STARTED = "broker_shutdown_started"
    # processes (from the supervisor)
    PROCESS_STARTED = "process_started"
    PROCESS_KILLED = "process_killed"
    PROCESS_EXITED = "process_exited"
    PROCESS_PAUSED = "process_paused"
    PROCESS_RESUMED = "process_resumed"
    PROCESS_STOPPED = "process_stopped"
    # ZooKeeper servers (from the supervisor)
    ZOOKEEPER_STARTED = "zookeeper_started"
    ZOOKEEPER_KILLED = "zookeeper_killed"
    ZOOKEEPER_EXITED = "zookeeper_exited"
    ZOOKEEPER_PAUSED = "zookeeper_paused"
    ZOOKEEPER_RESUMED = "zookeeper_resumed"
    ZOOKEEPER_STOPPED = "zookeeper_stopped"
    ZOOKEEPER_LEADER_ELECTED = "zookeeper_leader_elected"
    # faults on purpose (from the supervisor)
    FAULT_BEGUN = "fault_begun"
    FAULT_HEALED = "fault_healed"
    # topics and partitions
    TOPIC_CREATED = "topic_created"
    TOPIC_DELETED = "topic_deleted"
    PARTITIONS_ADDED = "partitions_added"
    CONFIG_CHANGED = "config_changed"
    LEADER_CHANGED = "leader_changed"
    ISR_SHRUNK = "isr_shrunk"
    ISR_EXPANDED = "isr_expanded"
    REPLICAS_CHANGED = "replicas_changed"
    LOG_TRUNCATED = "log_truncated"
    LOG_DIR_FAILED = "log_dir_failed"
    REPLICA_CORRUPT = "replica_corrupt"
    REPLICA_BEGUN_ANEW = "replica_begun_anew"
    # groups
    GROUP_CREATED = "group_created"
    GROUP_REBALANCED = "group_rebalanced"
    GROUP_STABLE = "group_stable"
    GROUP_EMPTIED = "group_emptied"
    GROUP_DELETED = "group_deleted"
    MEMBER_JOINED = "member_joined"
    MEMBER_LEFT = "member_left"
    MEMBER_EXPIRED = "member_expired"
    MEMBER_FENCED = "member_fenced"
    COORDINATOR_LOADED = "coordinator_loaded"
    COORDINATOR_UNLOADED = "coordinator_unloaded"
    # transactions
    TRANSACTION_ABORTED = "transaction_aborted"
    # what a client was refused
    PRODUCE_REFUSED = "produce_refused"
    CLIENT_THROTTLED = "client_throttled"


class Note(NamedTuple):
    """One fact. ``subject`` names the thing (``orders-3``, ``broker 2``); ``reason`` is a sentence."""

    kind: NoteKind
    subject: str
    reason: str = ""
    detail: Detail = {}  # noqa: RUF012  never mutated: a NamedTuple default
