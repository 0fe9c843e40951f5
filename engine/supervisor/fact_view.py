"""Facts of a supervisor (see :mod:`engine.supervisor.facts`) as the values that a console renders. Pure."""

from __future__ import annotations

from typing import Any

from engine.supervisor.snapshot import (
    Act,
    ActiveFault,
    BrokerCounters,
    ClusterEvent,
    Ledger,
    ProcessFacts,
    ProcessState,
    Stage,
    StageTime,
    WorkloadMember,
    WorkloadState,
)
from engine.supervisor.zookeeper_process import ZooKeeperProcess

_PROCESS_FIELDS = (
    "started_at_ms",
    "incarnation",
    "restarts",
    "exit_code",
    "cpu_percent",
    "rss_bytes",
    "open_files",
    "log_dir",
    "next_restart_at_ms",
    "why",
)


class FactView:
    """What is known by now. Feed it every fact of a subscription, in order."""

    def __init__(self) -> None:
        self.cluster_id = ""
        self.ready = False
        self.bootstrap_servers = ""
        self.data_dir = ""
        self.processes: dict[int, ProcessFacts] = {}
        # What an incarnation writes to; the one before it has ``.1`` at the end.
        self.log_files: dict[int, str] = {}
        self.addresses: dict[int, tuple[str, int]] = {}
        self.counters: dict[int, BrokerCounters] = {}
        self._earlier_counters: dict[int, BrokerCounters] = {}
        self.workload: WorkloadState | None = None
        self._acts: dict[int, Act] = {}
        self.faults: tuple[ActiveFault, ...] = ()
        # Empty where a quorum coordinates; the servers are those that the supervisor runs, by their ids.
        self.zookeeper_connect = ""
        self.zookeeper: dict[int, ZooKeeperProcess] = {}
        # Of the cluster's own schema registry; empty where it has none.
        self.registry_url = ""

    @property
    def acts(self) -> tuple[Act, ...]:
        """By their ids."""
        return tuple(act for _, act in sorted(self._acts.items()))

    def rate_per_s(self, broker_id: int, counter: str) -> float | None:
        """How fast a broker's total grew between its last two counters; ``None`` if unknown."""
        now, before = self.counters.get(broker_id), self._earlier_counters.get(broker_id)
        if now is None or before is None or now.at_ms <= before.at_ms:
            return None
        if counter not in now.values or counter not in before.values:
            return None
        grown = now.values[counter] - before.values[counter]
        # A smaller total is another incarnation's.
        return grown * 1000 / (now.at_ms - before.at_ms) if grown >= 0 else None

    def on_fact(self, fact: dict[str, Any]) -> ClusterEvent | None:
        """Take a fact; a note is returned as an event."""
        kind = fact["type"]
        if kind == "note":
            return _event(fact)
        if kind == "process":
            self._on_process(fact)
        elif kind == "counters":
            broker_id = int(fact["broker"])
            if broker_id in self.counters:
                self._earlier_counters[broker_id] = self.counters[broker_id]
            self.counters[broker_id] = BrokerCounters(broker_id, int(fact["wall_ms"]), dict(fact["values"]))
        elif kind == "workload":
            parts = tuple(WorkloadMember(**part) for part in fact["parts"])
            self.workload = WorkloadState(bool(fact["running"]), parts)
        elif kind == "act":
            self._acts[int(fact["act_id"])] = _act(fact)
        elif kind == "faults":
            self.faults = tuple(ActiveFault(**each) for each in fact["faults"])
        elif kind == "zookeeper":
            self.zookeeper[int(fact["server"])] = ZooKeeperProcess.of(fact)
        elif kind == "cluster":
            self.cluster_id = str(fact["cluster_id"])
            self.ready = bool(fact["ready"])
            self.bootstrap_servers = str(fact["bootstrap_servers"])
            self.data_dir = str(fact["data_dir"])
            self.zookeeper_connect = str(fact.get("zookeeper_connect", ""))
            self.registry_url = str(fact.get("registry_url", ""))
            for broker_id in self.processes.keys() - set(fact["brokers"]):
                # It was removed.
                for known in (self.processes, self.log_files, self.addresses, self.counters, self._earlier_counters):
                    known.pop(broker_id, None)
        return None

    def _on_process(self, fact: dict[str, Any]) -> None:
        broker_id = int(fact["broker"])
        self.processes[broker_id] = ProcessFacts(
            broker_id,
            ProcessState(fact["state"]),
            fact["pid"],
            **{name: fact[name] for name in _PROCESS_FIELDS},
        )
        self.log_files[broker_id] = str(fact["log_file"])
        host, _, port = str(fact["address"]).rpartition(":")
        self.addresses[broker_id] = (host.strip("[]"), int(port))
        if fact["pid"] is None:
            self.counters.pop(broker_id, None)
            self._earlier_counters.pop(broker_id, None)


def _event(fact: dict[str, Any]) -> ClusterEvent:
    source = f"broker {fact['broker']}" if "broker" in fact else str(fact.get("source", "supervisor"))
    return ClusterEvent(
        sequence=int(fact["sequence"]),
        at_ms=int(fact["wall_ms"]),
        kind=str(fact["kind"]),
        subject=str(fact.get("subject", "")),
        reason=str(fact.get("reason", "")),
        source=source,
        detail=dict(fact.get("detail") or {}),
        mono_ns=fact.get("mono_ns"),
    )


def _act(fact: dict[str, Any]) -> Act:
    ledger = fact["ledger"]
    return Act(
        act_id=int(fact["act_id"]),
        kind=str(fact["kind"]),
        broker_id=int(fact["broker_id"]),
        at_ms=int(fact["at_ms"]),
        partitions_led=int(fact["partitions_led"]),
        was_controller=bool(fact["was_controller"]),
        stages=tuple(StageTime(Stage(stage), after_ms, who, detail) for stage, after_ms, who, detail in fact["stages"]),
        ledger=None if ledger is None else Ledger(**{**ledger, "lost_offsets": tuple(ledger["lost_offsets"])}),
        finished=bool(fact["finished"]),
        error=str(fact["error"]),
        what=str(fact.get("what", "")),
        settings={str(name): str(value) for name, value in dict(fact.get("settings") or {}).items()},
    )
