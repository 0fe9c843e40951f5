"""An application over streams of three workers, as brokers and its workers tell of it: a task came from one that was
killed, and fills its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from console.gateway import GatewayError
from console.gateway.streams_http import NEEDS_AIOHTTP
from console.viewmodel.store_queries import Entries, StoreQuery, StoreTold, entries_told, store_told
from console.viewmodel.streams_told import KeptWorkers, WorkerTold, worker_told
from console.viewmodel.streams_topology import TopologyTold, topology_told
from engine.supervisor.snapshot import ClusterSnapshot, MemberState, StreamsTasks

APPLICATION = "word-count"
BETWEEN = f"{APPLICATION}-counts-repartition"
PROCESSES = (
    "4f2c9a01-6f6b-4b0e-9e44-000000000001",
    "9b03d7ee-6f6b-4b0e-9e44-000000000002",
    "c81e55fa-6f6b-4b0e-9e44-000000000003",
)
ENDPOINTS = tuple(f"127.0.0.1:{7001 + at}" for at in range(3))
DESCRIPTION = """Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [clicks])
      --> KSTREAM-FLATMAPVALUES-0000000001
"""
# Sub-topology and partitions that each worker runs, and those that it stands by for.
BEFORE: tuple[tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]], ...] = (
    ({"0": (0, 1), "1": (1,)}, {}),
    ({"1": (0,)}, {"1": (1,)}),
    ({"0": (2,), "1": (2,)}, {}),
)
AFTER = (
    ({"0": (0, 1), "1": (1,)}, {}),
    ({"0": (2,), "1": (0, 2)}, {"1": (1,)}),
)


def _member(number: int, tasks: StreamsTasks) -> MemberState:
    return MemberState(
        f"member-{number}",
        None,
        f"{APPLICATION}-{PROCESSES[number]}",
        "/127.0.0.1",
        (),
        5,
        None,
        "streams",
        tasks,
        tasks,
        PROCESSES[number],
        ENDPOINTS[number],
    )


def with_workers(snapshot: ClusterSnapshot, assignment: Sequence[Any] = AFTER) -> ClusterSnapshot:
    """The cluster of :func:`sample_snapshots.newer_groups`, its application run by Python workers."""
    members = tuple(
        _member(number, StreamsTasks(tuple(active.items()), tuple(standby.items())))
        for number, (active, standby) in enumerate(assignment)
    )
    groups = tuple(
        replace(each, members=members, state="Stable") if each.group_id == APPLICATION else each
        for each in snapshot.groups
    )
    return snapshot.with_facts(groups=groups)


def status(number: int, seconds: int, assignment: Sequence[Any] = AFTER) -> dict[str, Any]:
    """What ``/v1/status`` answers, so many seconds later."""
    active, standby = assignment[number]
    tasks: list[dict[str, Any]] = []
    for role, parts in (("active", active), ("standby", standby)):
        for part, numbers in parts.items():
            for partition in numbers:
                fills = (part, partition) == ("1", 2) and role == "active"
                tasks.append(
                    {
                        "id": f"{part}_{partition}",
                        "role": role,
                        "phase": "RESTORING" if fills else "RUNNING",
                        "processed": 0 if fills or role == "standby" else 4_000 + seconds * (90 + 40 * partition),
                        "inputs": [
                            {"topic": "clicks", "partition": partition, "lag": 3 * partition + 5 * (part == "0")}
                        ],
                        "restore": [
                            {
                                "store": "counts",
                                "partition": partition,
                                "begin": 0,
                                "position": 61_000,
                                "end": 104_500,
                                "remaining": 43_500,
                            }
                        ]
                        if fills
                        else [],
                    }
                )
    counts = [("KSTREAM-SOURCE-0000000000", 100), ("KSTREAM-FLATMAPVALUES-0000000001", 740)]
    counts += [("KSTREAM-KEY-SELECT-0000000002", 740), ("counts-repartition-filter", 740)]
    counts += [
        ("counts-repartition-sink", 740),
        ("counts-repartition-source", 731),
        ("KSTREAM-AGGREGATE-0000000003", 731),
    ]
    counts += [("KTABLE-TOSTREAM-0000000007", 731), ("KSTREAM-SINK-0000000008", 731)]
    return {
        "application_id": APPLICATION,
        "client_id": f"{APPLICATION}-{PROCESSES[number]}",
        "process_id": PROCESSES[number],
        "member_id": f"member-{number}",
        "state": "REBALANCING" if number == 1 and assignment is AFTER else "RUNNING",
        "waits_for": "its stores are being restored" if number == 1 and assignment is AFTER else "",
        "pid": 41_200 + number,
        "host": "workstation",
        "started_ms": 1_000,
        "guarantee": "exactly_once_v2",
        "tasks": tasks,
        "nodes": {name: 9_000 + per_s * seconds for name, per_s in counts},
    }


def _nodes(*nodes: tuple[str, str, list[str], list[str], list[str]]) -> list[dict[str, Any]]:
    names = ("name", "kind", "topics", "stores", "successors")
    return [dict(zip(names, each, strict=True)) for each in nodes]


TOPOLOGY: dict[str, Any] = {
    "description": DESCRIPTION,
    "sub_topologies": [
        {
            "id": 0,
            "is_global": False,
            "nodes": _nodes(
                ("KSTREAM-SOURCE-0000000000", "source", ["clicks"], [], ["KSTREAM-FLATMAPVALUES-0000000001"]),
                ("KSTREAM-FLATMAPVALUES-0000000001", "processor", [], [], ["KSTREAM-KEY-SELECT-0000000002"]),
                ("KSTREAM-KEY-SELECT-0000000002", "processor", [], [], ["counts-repartition-filter"]),
                ("counts-repartition-filter", "processor", [], [], ["counts-repartition-sink"]),
                ("counts-repartition-sink", "sink", [BETWEEN], [], []),
            ),
        },
        {
            "id": 1,
            "is_global": False,
            "nodes": _nodes(
                ("counts-repartition-source", "source", [BETWEEN], [], ["KSTREAM-AGGREGATE-0000000003"]),
                ("KSTREAM-AGGREGATE-0000000003", "processor", [], ["counts"], ["KTABLE-TOSTREAM-0000000007"]),
                ("KTABLE-TOSTREAM-0000000007", "processor", [], [], ["KSTREAM-SINK-0000000008"]),
                ("KSTREAM-SINK-0000000008", "sink", ["word-counts"], [], []),
            ),
        },
    ],
    "global_stores": [],
}


def stores(number: int) -> list[dict[str, Any]]:
    """What ``/v1/stores`` answers."""
    active, standby = AFTER[number]
    return [
        {
            "name": "counts",
            "kind": "timestamped-key-value",
            "is_global": False,
            "sub_topology": 1,
            "partitions": list(active.get("1", ())),
            "standby_partitions": list(standby.get("1", ())),
            "key_serde": "string",
            "value_serde": "long",
            "entries": 1_204 * len(active.get("1", ())),
        },
        {
            "name": "words-by-minute",
            "kind": "timestamped-window",
            "is_global": False,
            "sub_topology": 1,
            "partitions": list(active.get("1", ())),
            "standby_partitions": [],
            "key_serde": "string",
            "value_serde": "json",
            "retention_ms": 86_400_000,
            "window_size_ms": 60_000,
        },
    ]


_WORDS = ("cart", "checkout", "home", "page", "search", "ünïcode")


class ScriptedStreams:
    """Workers that are asked; ``silent`` endpoints do not answer."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self.silent: set[str] = set()
        self.without_aiohttp = False
        self.assignment: Sequence[Any] = AFTER
        self.no_kill = ""

    def _check(self) -> None:
        if self.without_aiohttp:
            raise GatewayError(NEEDS_AIOHTTP)

    def told(self, endpoint: str, seconds: int = 10) -> WorkerTold | str:
        if endpoint in self.silent or (self._gateway.refusing and endpoint == ENDPOINTS[1]):
            return f"{endpoint} did not answer within 1.5 s"
        told = worker_told(endpoint, status(ENDPOINTS.index(endpoint), seconds, self.assignment))
        return told._replace(no_kill=self.no_kill)

    async def statuses(self, endpoints: Sequence[str]) -> Mapping[str, WorkerTold | str]:
        self._check()
        return {each: self.told(each) for each in endpoints}

    async def topology(self, endpoints: Sequence[str]) -> TopologyTold:
        self._check()
        self._gateway._maybe_refuse()
        return topology_told(TOPOLOGY)

    async def stores(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[StoreTold] | str]:
        self._check()
        self._gateway._maybe_refuse()
        return {each: [store_told(store) for store in stores(ENDPOINTS.index(each))] for each in endpoints}

    async def query(self, endpoints: Sequence[str], query: StoreQuery, topics: Sequence[str]) -> Entries:
        self._check()
        self._gateway.calls.append(("query", query, tuple(topics)))
        self._gateway._maybe_refuse()
        at_ms = self._gateway.clock.at_ms - 4_000
        entries = [
            {"key": word, "value": 310 * (number + 1), "timestamp": at_ms, "partition": number % 3}
            for number, word in enumerate(_WORDS)
            if query.key in (None, word)
        ]
        if query.kind == "key":
            return entries_told({"found": bool(entries), **(entries[0] if entries else {})})
        if query.kind == "window":
            minute = at_ms - at_ms % 60_000
            for each in entries:
                each |= {
                    "window": {"start": minute, "end": minute + 60_000},
                    "value": {"times": each["value"], "new": True},
                }
        return entries_told({"entries": entries, "truncated": False})

    async def kill(self, worker: WorkerTold) -> None:
        await self._gateway._act("kill_worker", worker.pid)


def feed(app: Any, gateway: Any) -> None:
    """The workers were asked for some seconds, so there are rates; 3 s ago one was killed, and its tasks moved."""
    snapshot = gateway.snapshot.with_facts(at_ms=app.present_ms() - 3_000)
    for picture in (snapshot.with_facts(groups=()), with_workers(snapshot, BEFORE), with_workers(snapshot)):
        app.history.task_moves.take(picture)
    kept = app.history.workers.setdefault(APPLICATION, KeptWorkers())
    for seconds in range(6):
        answers = {each: worker_told(each, status(at, 5 + seconds)) for at, each in enumerate(ENDPOINTS[: len(AFTER)])}
        kept.take(answers, app.monotonic_ms() - (5 - seconds) * 1_000 - 4_000 * bool(gateway.refusing))
