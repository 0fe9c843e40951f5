"""Acts: what changes a cluster, what it needs, and the ``kafka-*.sh`` command that does the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from console.gateway.protocol import Capabilities, NewRecord, NewTopic
from console.viewmodel.moves import MovePlan, MoveRow
from engine.supervisor.reassignment_file import reassignment_json


class Need(StrEnum):
    """What an act needs of the cluster it is done to."""

    NOTHING = "nothing"
    WRITE = "write"
    PROCESS = "process"
    WORKLOAD = "workload"
    LOGS = "logs"
    SIMULATION = "simulation"
    FILES = "files"
    FAULTS = "faults"
    ENSEMBLE = "ensemble"


def reason_against(need: Need, capabilities: Capabilities) -> str:
    """Why an act of that need cannot be done here; empty if it can."""
    if need is Need.NOTHING:
        return ""
    if need is Need.LOGS:
        return capabilities.no_broker_logs
    if need is Need.FILES:
        return reason_against_view("segments", capabilities)
    if need is Need.FAULTS and (reason := reason_against_view("faults", capabilities)):
        return reason
    if need is Need.SIMULATION:
        return capabilities.no_simulation
    # What can never be done here comes before what was switched off.
    if need is Need.ENSEMBLE and (reason := capabilities.no_process_control or capabilities.no_ensemble_control):
        return reason
    if need in (Need.PROCESS, Need.FAULTS) and capabilities.no_process_control:
        return capabilities.no_process_control
    if need is Need.WORKLOAD and capabilities.no_workload:
        return capabilities.no_workload
    if need is Need.WRITE and capabilities.no_writing:
        return capabilities.no_writing
    return capabilities.read_only_because if capabilities.read_only else ""


def place_in_run(words: str) -> tuple[int | None, float | None]:
    """``1,234`` or ``#1234`` is an event's number, ``12.5`` or ``12s`` a time. Raises: ValueError."""
    said = words.strip().lower().replace(",", "").replace("_", "").removeprefix("#")
    if said.isdigit():
        return int(said), None
    at_s = float(said.removesuffix("s").strip())
    if not 0 <= at_s < 1e9:
        raise ValueError(words)
    return None, at_s


def reason_against_view(name: str, capabilities: Capabilities) -> str:
    """Why a screen has nothing to show here; empty if it has."""
    return capabilities.missing_views.get(name, "")


class ActLogEntry(NamedTuple):
    """An act that was done here, and how it went."""

    number: int
    at_ms: int
    what: str
    command: str
    outcome: str = "…"
    failed: bool = False


def _sh(tool: str, bootstrap: str, *arguments: str) -> str:
    server = bootstrap.split(",")[0] or "localhost:9092"
    return " ".join([f"kafka-{tool}.sh", "--bootstrap-server", server, *map(shlex.quote, arguments)])


def create_topic_command(bootstrap: str, topic: NewTopic) -> str:
    """kafka-topics.sh --create."""
    arguments = ["--create", "--topic", topic.name]
    if topic.partitions is not None:
        arguments += ["--partitions", str(topic.partitions)]
    if topic.replication_factor is not None:
        arguments += ["--replication-factor", str(topic.replication_factor)]
    for name, value in topic.configs.items():
        arguments += ["--config", f"{name}={value}"]
    return _sh("topics", bootstrap, *arguments)


def delete_topic_command(bootstrap: str, topic: str) -> str:
    """kafka-topics.sh --delete."""
    return _sh("topics", bootstrap, "--delete", "--topic", topic)


def add_partitions_command(bootstrap: str, topic: str, total: int) -> str:
    """kafka-topics.sh --alter."""
    return _sh("topics", bootstrap, "--alter", "--topic", topic, "--partitions", str(total))


def elect_command(
    bootstrap: str, partitions: Sequence[tuple[str, int]] | None, election_type: str = "preferred"
) -> str:
    """kafka-leader-election.sh."""
    arguments = ["--election-type", election_type]
    if partitions is None:
        return _sh("leader-election", bootstrap, *arguments, "--all-topic-partitions")
    if len(partitions) == 1:
        topic, partition = partitions[0]
        return _sh("leader-election", bootstrap, *arguments, "--topic", topic, "--partition", str(partition))
    wanted = json.dumps({"partitions": [{"topic": topic, "partition": each} for topic, each in partitions]})
    command = _sh("leader-election", bootstrap, *arguments, "--path-to-json-file")
    return f"{command} <(echo {shlex.quote(wanted)})"


def reassign_command(bootstrap: str, plan: MovePlan, throttle_bytes: int | None) -> str:
    """kafka-reassign-partitions.sh --execute."""
    wanted = reassignment_json((each.topic, each.partition, each.after) for each in plan.moves)
    throttle = [] if throttle_bytes is None else ["--throttle", str(throttle_bytes)]
    command = _sh("reassign-partitions", bootstrap, "--execute", *throttle, "--reassignment-json-file")
    return f"{command} <(echo {shlex.quote(wanted)})"


def cancel_moves_command(bootstrap: str, moves: Sequence[MoveRow]) -> str:
    """kafka-reassign-partitions.sh --cancel: of the file that began them it takes the partitions alone."""
    wanted = reassignment_json(
        (each.topic, each.partition, [id_ for id_ in each.replicas if id_ not in each.removing]) for each in moves
    )
    command = _sh("reassign-partitions", bootstrap, "--cancel", "--reassignment-json-file")
    return f"{command} <(echo {shlex.quote(wanted)})"


def unregister_command(bootstrap: str, broker_id: int) -> str:
    """kafka-cluster.sh unregister."""
    server = bootstrap.split(",")[0] or "localhost:9092"
    return f"kafka-cluster.sh unregister --bootstrap-server {server} --id {broker_id}"


def produce_command(bootstrap: str, record: NewRecord) -> str:
    """kafka-console-producer.sh, fed by echo."""
    properties: list[str] = []
    line = ""
    if record.headers:
        properties += ["--reader-property", "parse.headers=true"]
        line += ",".join(f"{name}:{(value or b'').decode(errors='replace')}" for name, value in record.headers) + "\t"
    if record.key is not None:
        properties += ["--reader-property", "parse.key=true"]
        line += record.key.decode(errors="replace") + "\t"
    if record.value is None:
        properties += ["--reader-property", "null.marker=NULL"]
    line += "NULL" if record.value is None else record.value.decode(errors="replace")
    command = _sh(
        "console-producer", bootstrap, "--topic", record.topic, "--command-property", f"acks={record.acks}", *properties
    )
    # Tabs part headers, key and value; in bash they are said so that people see them.
    said = shlex.quote(line).replace("\t", "'$'\\t''")
    return f"echo {said} | {command}"


_SIGNALS = {"kill": "-9", "stop": "-TERM", "pause": "-STOP", "resume": "-CONT"}


def process_command(act: str, pids: Mapping[int, int | None]) -> str:
    """What one would type on the brokers' machines; ``pids`` by broker."""
    words = [str(pid or "PID") for pid in pids.values()]
    if act in _SIGNALS:
        return f"kill {_SIGNALS[act]} {' '.join(words)}"
    starts = [f"kafka-server-start.sh server-{broker_id}.properties" for broker_id in pids]
    if act == "restart":
        starts = [f"kill -TERM {pid}; {start}" for pid, start in zip(words, starts, strict=True)]
    return "; ".join(starts)


class ActFlow(StrEnum):
    """What stands between a key and its act."""

    AT_ONCE = "at once"
    ASK = "ask"


# Acts that take something away. On the embedded cluster processes are killed at once: that is what it is there for.
_DESTRUCTIVE = frozenset({"kill", "stop", "pause", "restart", "elect", "add_partitions", "cancel"})
_ALWAYS_ASK = frozenset({"delete", "remove", "kill_zookeeper", "pause_zookeeper", "expire_session", "kill_worker"})


def flow_of(act: str, capabilities: Capabilities) -> ActFlow:
    """Whether to ask first."""
    if act in _ALWAYS_ASK or (capabilities.attached and act in _DESTRUCTIVE):
        return ActFlow.ASK
    return ActFlow.AT_ONCE


def typed_number(written: str) -> int | None:
    word = written.strip()
    return int(word) if word.isdigit() else None


def typed_pairs(written: str) -> list[tuple[str, str]]:
    """``a=b, c=d``, names may repeat; a value in quotes may hold commas (JSON strings are read)."""
    found: list[tuple[str, str]] = []
    rest = written.strip()
    while rest:
        name, separator, rest = rest.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"'{name.strip()}' is not name=value")
        rest = rest.lstrip()
        if rest.startswith('"'):
            try:
                value, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                raise ValueError(f"the quotes of '{name.strip()}' are not closed") from None
            rest = rest[end:].lstrip()
            if rest and not rest.startswith(","):
                raise ValueError(f"a comma is missing after '{name.strip()}'")
            rest = rest[1:].lstrip()
        else:
            value, _, rest = rest.partition(",")
            value, rest = value.strip(), rest.strip()
        found.append((name.strip(), str(value)))
    return found
