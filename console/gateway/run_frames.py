"""Frames of a simulated run (:mod:`engine.sim.stepping.driver`) as the values that the console renders."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from console.viewmodel.records import RecordView
from console.viewmodel.simulation import Decision, Machine, WireMessage
from engine.sim.stepping.happenings import Level
from engine.sim.world import EPOCH_MS
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    MemberState,
    PartitionState,
    ProcessFacts,
    ProcessState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    TopicState,
)

_PROCESS_STATES = {
    "running": ProcessState.RUNNING,
    "starting": ProcessState.STARTING,
    "paused": ProcessState.PAUSED,
    "down": ProcessState.KILLED,
    "no power": ProcessState.CRASHED,
}
_TOPIC = 2


def decisions_of(frame: Mapping[str, Any]) -> list[Decision]:
    """Those that are new."""
    return [
        Decision(
            each["number"],
            each["at_s"],
            each["kind"],
            each["source"],
            each["subject"],
            each["reason"],
            each["detail"],
            each["after"],
            each["level"] >= Level.ELECTION,
        )
        for each in frame["happenings"]
    ]


def messages_of(frame: Mapping[str, Any]) -> list[WireMessage]:
    """Those that are new."""
    return [WireMessage(*each) for each in frame["messages"]]


def records_of(topic: str, answer: Mapping[str, Any]) -> list[RecordView]:
    """Of an answer to ``records``."""
    found = []
    for partition, offset, timestamp, key, value, headers, kind, epoch, compression, pid, txn, control in answer[
        "records"
    ]:
        found.append(
            RecordView(
                topic,
                partition,
                offset,
                max(0, timestamp),
                _bytes(key),
                _bytes(value),
                tuple((name, _bytes(each)) for name, each in headers),
                kind,
                epoch,
                compression,
                pid,
                txn,
                control,
            )
        )
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def event_of(decision: Decision) -> ClusterEvent:
    """As the Events screen and those with events below show it."""
    return ClusterEvent(
        decision.number,
        EPOCH_MS + int(decision.at_s * 1000),
        decision.kind,
        decision.subject,
        decision.reason,
        decision.source,
        decision.detail,
    )


def machines_of(picture: Mapping[str, Any]) -> tuple[Machine, ...]:
    """Every broker's machine."""
    counts = _counts(picture)
    cuts: dict[int, set[int]] = {}
    for source, target in picture["cuts"]:
        cuts.setdefault(source, set()).add(target)
        cuts.setdefault(target, set()).add(source)
    return tuple(
        Machine(
            each["id"],
            each["state"],
            each["lives"],
            each["role"] or "",
            each.get("epoch"),
            each.get("leader"),
            each.get("log_end"),
            each.get("high_watermark"),
            each.get("is_controller", False),
            each.get("metadata_offset"),
            *counts.get(each["id"], (0, 0, 0)),
            cut_from=tuple(sorted(cuts.get(each["id"], ()))),
            ails=tuple(each["ails"]) + ((each["exit"],) if each["exit"] else ()),
            clock_ms=each["clock_ms"],
        )
        for each in picture["brokers"]
    )


def _counts(picture: Mapping[str, Any]) -> dict[int, tuple[int, int, int]]:
    """Leaders, replicas in sync and replicas by broker."""
    found: dict[int, list[int]] = {each["id"]: [0, 0, 0] for each in picture["brokers"]}
    for topic in picture["topics"]:
        for partition in topic["partitions"]:
            for at, ids in enumerate(([partition["leader"]], partition["isr"], partition["replicas"])):
                for broker_id in ids:
                    if broker_id in found:
                        found[broker_id][at] += 1
    return {broker_id: (leads, in_sync, replicas) for broker_id, (leads, in_sync, replicas) in found.items()}


def snapshot_of(picture: Mapping[str, Any], now_ms: int, before: ClusterSnapshot | None) -> ClusterSnapshot:
    """The picture that all other screens show. With every broker down the metadata stays what was last known."""
    topics = tuple(_topic(each, picture, now_ms) for each in picture["topics"])
    if not topics and before is not None and picture["metadata_offset"] < 0 and now_ms > before.at_ms:
        topics = before.topics
    quorum = _quorum(picture, now_ms)
    return ClusterSnapshot(
        at_ms=now_ms,
        source=Source.SIMULATED,
        cluster_id=picture["cluster_id"],
        controller_id=next((each["id"] for each in picture["brokers"] if each.get("is_controller")), None),
        controller_epoch=quorum.leader_epoch if quorum is not None else None,
        brokers=_brokers(picture, now_ms),
        topics=topics,
        groups=tuple(_group(each, topics, now_ms) for each in sorted(picture["groups"], key=lambda one: one["group"])),
        quorum=quorum,
        metadata_observed_at_ms=now_ms,
    )


def _brokers(picture: Mapping[str, Any], now_ms: int) -> tuple[BrokerState, ...]:
    counts = _counts(picture)
    found = []
    for each in picture["brokers"]:
        leads, in_sync, replicas = counts[each["id"]]
        process = ProcessFacts(
            each["id"],
            _PROCESS_STATES[each["state"]],
            None,
            incarnation=each["lives"],
            why="no power" if each["state"] == "no power" else ", ".join(each["ails"]) or each["exit"],
        )
        found.append(
            BrokerState(
                each["id"],
                each["host"],
                each["port"],
                each["rack"],
                reachable=each["state"] == "running",
                fenced=each["fenced"],
                is_controller=each.get("is_controller", False),
                observed_at_ms=now_ms,
                leaders=leads,
                replicas=replicas,
                in_sync=in_sync,
                log_bytes=each["log_bytes"],
                process=process,
            )
        )
    return tuple(found)


def _topic(topic: Mapping[str, Any], picture: Mapping[str, Any], now_ms: int) -> TopicState:
    configs = next(
        (values for kind, name, values in picture["configs"] if kind == _TOPIC and name == topic["name"]), {}
    )
    minimum = configs.get("min.insync.replicas", picture["min_insync_replicas"])
    up = {each["id"] for each in picture["brokers"] if each["state"] in ("running", "starting", "paused")}
    return TopicState(
        topic["name"],
        topic["id"],
        topic["is_internal"],
        tuple(_partition(topic["name"], each, up, now_ms) for each in topic["partitions"]),
        int(minimum),
        configs,
    )


def _partition(topic: str, each: Mapping[str, Any], up: set[int], now_ms: int) -> PartitionState:
    replicas = []
    start = high = size = None
    for broker_id, log_start, high_watermark, log_end, size_bytes in each["logs"]:
        replicas.append(
            ReplicaState(
                broker_id,
                log_end,
                size_bytes,
                broker_id in each["isr"],
                now_ms if log_end is not None else 0,
                log_start,
                high_watermark,
            )
        )
        if broker_id == each["leader"]:
            start, high, size = log_start, high_watermark, size_bytes
    return PartitionState(
        topic,
        each["partition"],
        each["leader"],
        each["leader_epoch"],
        tuple(each["replicas"]),
        tuple(each["isr"]),
        tuple(broker_id for broker_id in each["replicas"] if broker_id not in up),
        tuple(each["elr"]),
        start,
        high,
        tuple(replicas),
        size,
        observed_at_ms=now_ms,
    )


def _quorum(picture: Mapping[str, Any], now_ms: int) -> QuorumState | None:
    leaders = [each for each in picture["brokers"] if each["role"] == "leader"]
    leader = max(leaders, key=lambda each: each["epoch"], default=None)
    if leader is None:
        return None
    nodes = []
    for node_id, end, fetched_ago_ms, caught_up_ago_ms in leader["followers"]:
        is_leader = node_id == leader["id"]
        known = leader["log_end"] if is_leader else end
        nodes.append(
            QuorumVoter(
                node_id,
                -1 if known is None else known,
                None if known is None else leader["log_end"] - known,
                True,
                now_ms if is_leader else None if fetched_ago_ms is None else now_ms - fetched_ago_ms,
                now_ms if is_leader else None if caught_up_ago_ms is None else now_ms - caught_up_ago_ms,
            )
        )
    return QuorumState(leader["id"], leader["epoch"], leader["high_watermark"], tuple(nodes), now_ms)


def _group(group: Mapping[str, Any], topics: tuple[TopicState, ...], now_ms: int) -> GroupState:
    ends = {(topic.name, each.partition): each.high_watermark for topic in topics for each in topic.partitions}
    offsets = []
    total: int | None = 0
    for topic, partition, committed in group["offsets"]:
        end = ends.get((topic, partition))
        lag = None if end is None else max(0, end - committed)
        total = None if total is None or lag is None else total + lag
        offsets.append(GroupOffset(topic, partition, committed, end, lag, None))
    return GroupState(
        group["group"],
        group["state"],
        group["protocol_type"],
        group["protocol"],
        group["type"],
        coordinator=group["coordinator"],
        members=tuple(
            MemberState(member_id, instance_id, client_id, host)
            for member_id, instance_id, client_id, host in group["members"]
        ),
        offsets=tuple(offsets),
        total_lag=total,
        observed_at_ms=now_ms,
        group_epoch=group["generation"] if group["type"] == "consumer" else None,
        assignment_epoch=group.get("assignment_epoch"),
    )
