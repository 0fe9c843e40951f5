"""What scripts read: a cluster's things as plain data under names that stay. Pure.

A name, once here, keeps its meaning (docs/scripting.md lists them); ``None`` is what is not known, never zero. Times
are wall-clock milliseconds, sizes bytes, rates a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from console.viewmodel.health import is_unserved, silent_brokers
from console.viewmodel.transactions import TransactionRow
from console.viewmodel.verdict import Verdict, lost_brokers
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    MemberState,
    PartitionState,
    TopicState,
)

Row = dict[str, Any]


def broker_row(broker: BrokerState) -> Row:
    """One broker."""
    process = broker.process
    return {
        "broker": broker.broker_id,
        "host": broker.host,
        "port": broker.port,
        "rack": broker.rack,
        "reachable": broker.reachable,
        "fenced": broker.fenced,
        "controller": broker.is_controller,
        "leaders": broker.leaders,
        "replicas": broker.replicas,
        "in_sync": broker.in_sync,
        "log_bytes": broker.log_bytes,
        "disk_total_bytes": broker.disk_total_bytes,
        "disk_usable_bytes": broker.disk_usable_bytes,
        "bytes_in_per_s": broker.bytes_in_per_s,
        "bytes_out_per_s": broker.bytes_out_per_s,
        "messages_in_per_s": broker.messages_in_per_s,
        "failed_log_dirs": list(broker.failed_log_dirs),
        "observed_at_ms": broker.observed_at_ms or None,
        "error": broker.error,
        "process": None
        if process is None
        else {
            "state": str(process.state),
            "pid": process.pid,
            "started_at_ms": process.started_at_ms,
            "restarts": process.restarts,
            "cpu_percent": process.cpu_percent,
            "rss_bytes": process.rss_bytes,
            "open_files": process.open_files,
            "log_dir": process.log_dir,
            "why": process.why,
        },
    }


def partition_row(partition: PartitionState, silent: frozenset[int]) -> Row:
    """One partition."""
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "leader": partition.leader if partition.leader >= 0 else None,
        "leader_epoch": partition.leader_epoch,
        "replicas": list(partition.replicas),
        "isr": list(partition.isr),
        "offline_replicas": list(partition.offline_replicas),
        "offline": is_unserved(partition, silent),
        "under_replicated": partition.is_under_replicated,
        "log_start_offset": partition.log_start_offset,
        "high_watermark": partition.high_watermark,
        "size_bytes": partition.size_bytes,
        "messages_in_per_s": partition.messages_in_per_s,
        "observed_at_ms": partition.observed_at_ms or None,
        "error": partition.error,
    }


def topic_row(topic: TopicState, silent: frozenset[int]) -> Row:
    """One topic."""
    minimum = topic.min_insync_replicas
    sizes = [each.size_bytes for each in topic.partitions]
    rates = [each.messages_in_per_s for each in topic.partitions if each.messages_in_per_s is not None]
    return {
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "internal": topic.is_internal,
        "partitions": len(topic.partitions),
        "replication_factor": max((len(each.replicas) for each in topic.partitions), default=0),
        "min_insync_replicas": minimum,
        "offline": sum(is_unserved(each, silent) for each in topic.partitions),
        "under_replicated": topic.under_replicated,
        "under_min_isr": None if minimum is None else sum(len(each.isr) < minimum for each in topic.partitions),
        "size_bytes": sum(each for each in sizes if each is not None) if None not in sizes else None,
        "messages_in_per_s": sum(rates) if rates else None,
        "configs": dict(sorted(topic.configs.items())),
        "error": topic.error,
    }


def group_row(group: GroupState) -> Row:
    """One group, without members and offsets."""
    return {
        "group": group.group_id,
        "type": group.group_type,
        "state": group.state,
        "protocol": group.protocol,
        "coordinator": group.coordinator,
        "members": len(group.members) if group.members or not group.error else None,
        "lag": group.total_lag,
        "group_epoch": group.group_epoch,
        "observed_at_ms": group.observed_at_ms or None,
        "error": group.error,
    }


def offset_row(offset: GroupOffset) -> Row:
    """A group's position in a partition."""
    return {
        "topic": offset.topic,
        "partition": offset.partition,
        "committed_offset": offset.committed_offset,
        "log_end_offset": offset.log_end_offset,
        "lag": offset.lag,
        "member": offset.member_id,
    }


def member_row(group_id: str, member: MemberState) -> Row:
    """A member of a group."""
    return {
        "group": group_id,
        "member": member.member_id,
        "instance": member.instance_id,
        "client": member.client_id,
        "host": member.host,
        "protocol": member.protocol or None,
        "member_epoch": member.member_epoch,
        "assignment": _assignment(member.assignment),
        "target": None if member.target is None else _assignment(member.target),
    }


def _assignment(topics: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, list[int]]:
    return {name: list(partitions) for name, partitions in topics}


def transaction_row(row: TransactionRow) -> Row:
    """One transactional id."""
    return {
        "transactional_id": row.transactional_id,
        "state": row.state,
        "coordinator": row.coordinator,
        "producer_id": row.producer_id,
        "producer_epoch": row.producer_epoch,
        "timeout_ms": row.timeout_ms,
        "open_ms": row.open_ms,
        "beyond_timeout": row.hangs,
        "partitions": list(row.partitions),
    }


def quorum_rows(snapshot: ClusterSnapshot) -> list[Row]:
    """Nodes of the metadata quorum, voters first."""
    quorum = snapshot.quorum
    if quorum is None:
        return []
    return [
        {
            "node": node.node_id,
            "leader": node.node_id == quorum.leader_id,
            "voter": node.is_voter,
            "leader_epoch": quorum.leader_epoch,
            "log_end_offset": node.log_end_offset if node.log_end_offset >= 0 else None,
            "lag": node.lag,
            "last_fetch_at_ms": node.last_fetch_at_ms,
            "last_caught_up_at_ms": node.last_caught_up_at_ms,
        }
        for node in sorted(quorum.nodes, key=lambda node: (not node.is_voter, node.node_id))
    ]


def _partitions(snapshot: ClusterSnapshot) -> list[Row]:
    silent = silent_brokers(snapshot)
    return [partition_row(each, silent) for topic in snapshot.topics for each in topic.partitions]


# What `get` finds in a picture, with the fields that its table shows; transactions and configs are asked for apart.
ROWS: dict[str, Callable[[ClusterSnapshot], list[Row]]] = {
    "brokers": lambda snapshot: [broker_row(each) for each in snapshot.brokers],
    "topics": lambda snapshot: [topic_row(each, silent_brokers(snapshot)) for each in snapshot.topics],
    "partitions": _partitions,
    "groups": lambda snapshot: [group_row(each) for each in snapshot.groups],
    "members": lambda snapshot: [member_row(each.group_id, who) for each in snapshot.groups for who in each.members],
    "offsets": lambda snapshot: [
        {"group": group.group_id, **offset_row(each)} for group in snapshot.groups for each in group.offsets
    ],
    "quorum": quorum_rows,
}

TABLE_FIELDS: dict[str, tuple[str, ...]] = {
    "brokers": ("broker", "host", "port", "rack", "reachable", "fenced", "controller", "leaders", "replicas", "error"),
    "topics": (
        *("topic", "partitions", "replication_factor", "min_insync_replicas"),
        *("offline", "under_replicated", "under_min_isr", "size_bytes"),
    ),
    "partitions": ("topic", "partition", "leader", "leader_epoch", "replicas", "isr", "offline", "high_watermark"),
    "groups": ("group", "type", "state", "coordinator", "members", "lag", "error"),
    "members": ("group", "member", "client", "host", "member_epoch", "assignment"),
    "offsets": ("group", "topic", "partition", "committed_offset", "log_end_offset", "lag", "member"),
    "quorum": ("node", "leader", "voter", "leader_epoch", "log_end_offset", "lag"),
    "transactions": ("transactional_id", "state", "coordinator", "producer_id", "producer_epoch", "open_ms"),
    "configs": ("name", "value", "source"),
}


def selected(thing: str, rows: list[Row], names: Iterable[str]) -> tuple[list[Row], list[str]]:
    """Rows of these names (none: all), and the names that none has.

    A partition goes by its own name, ``orders-3``, and by its topic's; members and offsets by their group's.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return rows, []
    found = [row for row in rows if any(name in wanted for name in names_of(thing, row))]
    known = {name for row in found for name in names_of(thing, row)}
    return found, [name for name in wanted if name not in known]


def names_of(thing: str, row: Row) -> tuple[str, ...]:
    """What a row can be asked for by."""
    if thing == "partitions":
        return f"{row['topic']}-{row['partition']}", row["topic"]
    return (str(next(iter(row.values()))),)


def problems(snapshot: ClusterSnapshot, missing: Iterable[str] = ()) -> list[str]:
    """Why what is told may not be all: brokers that do not answer, and what was waited for in vain."""
    said = [f"broker {broker_id}: {why}" for broker_id, why in lost_brokers(snapshot).items()]
    said += [f"group {group.group_id}: {group.error}" for group in snapshot.groups if group.error]
    said += [f"not known in time: {each}" for each in missing]
    return said


def envelope(snapshot: ClusterSnapshot, said: list[str]) -> Row:
    """What every answer begins with."""
    return {
        "cluster_id": snapshot.cluster_id or None,
        "at_ms": snapshot.at_ms,
        "metadata_at_ms": snapshot.metadata_observed_at_ms or None,
        "problems": said,
    }


def lag_document(snapshot: ClusterSnapshot, group: GroupState, said: list[str]) -> Row:
    """What `lag` answers."""
    offsets = sorted(group.offsets, key=lambda each: (each.topic, each.partition))
    return {**envelope(snapshot, said), **group_row(group), "offsets": [offset_row(each) for each in offsets]}


def described(snapshot: ClusterSnapshot, thing: str, name: str) -> Row | None:
    """What a picture tells of one thing, under its kind's name, with its parts; ``None`` if it is not there."""
    rows, _ = selected(f"{thing}s", ROWS[f"{thing}s"](snapshot), [name])
    if not rows:
        return None
    silent = silent_brokers(snapshot)
    answer: Row = {thing: rows[0]}
    partitions = [each for topic in snapshot.topics for each in topic.partitions]
    if thing == "topic":
        answer["partitions"] = [partition_row(each, silent) for each in partitions if each.topic == name]
    elif thing == "broker":
        held = [each for each in partitions if int(name) in each.replicas]
        answer["partitions"] = [partition_row(each, silent) for each in held]
    elif thing == "partition":
        found = next(each for each in partitions if f"{each.topic}-{each.partition}" == name)
        answer["replicas"] = [replica._asdict() for replica in found.replica_states]
    else:
        group = next(each for each in snapshot.groups if each.group_id == name)
        answer["members"] = [member_row(name, each) for each in group.members]
        answer["offsets"] = [offset_row(each) for each in group.offsets]
    return answer


def health_document(snapshot: ClusterSnapshot, verdict: Verdict) -> Row:
    """What `health` answers."""
    silent = silent_brokers(snapshot)
    partitions = [each for topic in snapshot.topics for each in topic.partitions]
    leader = snapshot.quorum.leader_id if snapshot.quorum is not None else None
    return {
        "status": "healthy" if verdict.is_healthy else "degraded",
        "cluster_id": snapshot.cluster_id or None,
        "at_ms": snapshot.at_ms,
        "controller": leader,
        "brokers": len({each.broker_id for each in snapshot.brokers} | lost_brokers(snapshot).keys()),
        "brokers_up": len({each.broker_id for each in snapshot.brokers} - lost_brokers(snapshot).keys()),
        "topics": len(snapshot.topics),
        "partitions": len(partitions),
        "offline": sum(is_unserved(each, silent) for each in partitions),
        "under_replicated": snapshot.under_replicated,
        "reasons": [
            {"kind": str(each.kind), "subjects": list(each.subjects), "said": each.said} for each in verdict.reasons
        ],
    }


def table_lines(rows: Iterable[Row], fields: tuple[str, ...]) -> list[str]:
    """Rows as aligned text under upper-case heads: numbers to the right."""
    cells = [[_cell(row[field]) for field in fields] for row in rows]
    numbers = [all(isinstance(row[field], int | float | None) for row in rows) for field in fields]
    heads = [field.upper().replace("_", " ") for field in fields]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return [
        "  ".join(
            value.rjust(width) if number else value.ljust(width)
            for value, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in [heads, *cells]
    ]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{name}:{_cell(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def detail_lines(value: Row, indent: int = 0) -> list[str]:
    """One thing as indented text."""
    pad = "  " * indent
    lines: list[str] = []
    for name, each in value.items():
        if isinstance(each, dict) and each:
            lines += [f"{pad}{name}:", *detail_lines(each, indent + 1)]
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            lines.append(f"{pad}{name}:")
            lines += [f"{pad}  {line}" for line in table_lines(each, tuple(each[0]))]
        else:
            lines.append(f"{pad}{name}: {_cell(each)}")
    return lines
