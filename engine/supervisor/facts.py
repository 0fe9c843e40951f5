"""The stream of facts: what brokers, probes, the workload and the supervisor itself report, to every subscriber.

A fact is a JSON object with ``type``, ``wall_ms`` and ``mono_ns`` (CLOCK_MONOTONIC, the same for all processes of a
machine) and, on the bus, a ``sequence`` without gaps:

    note              kind, subject, reason, detail; ``broker`` (its id) or ``source`` "supervisor"
    ready             broker: it serves
    counters          broker, values: totals since the broker's start, once a second
    metadata_applied  broker, offset, changes [{topic, partition, leader, leader_epoch}]: it has seen new metadata
    process           broker and the fields of snapshot.ProcessFacts: at every change, and every sample
    zookeeper         server, address, state, mode, pid and more of an embedded ZooKeeper server's process: as above
    registry          url, state, pid, restarts, log_file, why of the schema registry's process: at every change
    client_metrics    broker, client_instance_id, client_id and more of the client, metrics: what it pushed (KIP-714)
    workload          running, parts: fields of snapshot.WorkloadMember each
    probe             running, records acknowledged so far
    act               the fields of snapshot.Act: at every change of its stopwatch or ledger
    faults            faults: the fields of snapshot.ActiveFault each, of all that are active: at every change
    cluster           cluster_id, ready, bootstrap_servers, brokers, zookeeper_connect, registry_url
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from engine.world import Clock

Fact: TypeAlias = dict[str, Any]

# What a console that attaches late is told of the past.
_KEPT_NOTES = 5_000
# A subscriber that does not read is cut off rather than waited for.
_MAX_WAITING = 50_000


class FactBus:
    """Numbers facts, remembers notes and the latest of everything else, hands them out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sequence = 0
        self._notes: deque[Fact] = deque(maxlen=_KEPT_NOTES)
        self._latest: dict[tuple[str, Any], Fact] = {}
        self._subscribers: list[Subscription] = []
        self._listeners: list[Callable[[Fact], None]] = []

    def publish(self, fact: Fact) -> None:
        """Give a fact its number and its times, if it has none, and hand it out."""
        self._sequence += 1
        fact["sequence"] = self._sequence
        if "mono_ns" not in fact:
            fact["mono_ns"] = self._clock.monotonic_ns()
        if "wall_ms" not in fact:
            fact["wall_ms"] = self._clock.now_ms()
        kind = fact["type"]
        if kind == "note":
            self._notes.append(fact)
        elif kind in ("process", "counters"):
            self._latest[kind, fact.get("broker")] = fact
        elif kind == "zookeeper":
            self._latest[kind, fact.get("server")] = fact
        elif kind == "act":
            self._latest[kind, fact.get("act_id")] = fact
        elif kind in ("workload", "probe", "cluster", "faults", "registry"):
            self._latest[kind, None] = fact
        for listener in self._listeners:
            listener(fact)
        for subscriber in list(self._subscribers):
            subscriber.put(fact)

    def note(self, kind: str, subject: str, reason: str, *, at_ms: int | None = None, **detail: Any) -> Fact:
        """A note of the supervisor itself; ``at_ms`` is when it happened, if that is not now."""
        fact: Fact = {
            "type": "note",
            "source": "supervisor",
            "kind": kind,
            "subject": subject,
            "reason": reason,
            "detail": detail,
        }
        if at_ms is not None:
            fact["wall_ms"] = at_ms
        self.publish(fact)
        return fact

    def listen(self, listener: Callable[[Fact], None]) -> None:
        """Call ``listener`` with every fact from now on."""
        self._listeners.append(listener)

    def history(self) -> list[Fact]:
        """The notes that are kept and the latest of the other facts, in order."""
        return sorted([*self._notes, *self._latest.values()], key=lambda fact: int(fact["sequence"]))

    def subscribe(self) -> Subscription:
        """A queue that starts with the history."""
        subscription = Subscription(self)
        for fact in self.history():
            subscription.put(fact)
        self._subscribers.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; doing it twice is fine."""
        if subscription in self._subscribers:
            self._subscribers.remove(subscription)


class Subscription:
    """One reader's queue."""

    def __init__(self, bus: FactBus) -> None:
        self._bus = bus
        self._waiting: deque[Fact] = deque()
        self._filled = asyncio.Event()
        self.overrun = False

    def put(self, fact: Fact) -> None:
        """Add a fact; a reader that is too far behind is cut off."""
        if len(self._waiting) >= _MAX_WAITING:
            self.overrun = True
            self._bus.unsubscribe(self)
        else:
            self._waiting.append(fact)
        self._filled.set()

    async def get(self) -> list[Fact]:
        """All that wait, at least one; empty once the reader was cut off."""
        while not self._waiting and not self.overrun:
            self._filled.clear()
            await self._filled.wait()
        facts = list(self._waiting)
        self._waiting.clear()
        return facts
