"""The promises of the metadata quorum (K1 to K9), looked at on the brokers and on their disks while they run.

Names as in Kafka's RaftEventSimulationTest where it has them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from engine.model.notes import NoteKind
from engine.sim.cluster import LOG_DIR
from engine.sim.violation import Violation

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.quorum_host import QuorumHost
    from engine.core.controller.image import MetadataImage
    from engine.core.raft.machine import RaftMachine
    from engine.sim.cluster import Machine, SimCluster
    from engine.storage.log import Log

_QUORUM_STATE = f"{LOG_DIR}/__cluster_metadata-0/quorum-state"
_COMPARE_BYTES = 1 << 20


class LiveBroker(NamedTuple):
    """A broker whose process runs; ``life`` names this life of it."""

    node_id: int
    life: str
    broker: Broker


class QuorumInvariants:
    """Remembers what was seen, and compares."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._leader_of_epoch: dict[int, int] = {}
        # By life: the highest epoch, the high watermark, and as a leader the epoch and the end of the log.
        self._epoch: dict[str, int] = {}
        self._high_watermark: dict[str, int] = {}
        self._led_end: dict[tuple[str, int], int] = {}
        # By node: what its quorum-state said last. By node and epoch: whom it voted for.
        self._written: dict[int, bytes] = {}
        self._written_epoch: dict[int, int] = {}
        self._vote: dict[tuple[int, int], int] = {}
        self._facts_seen = 0
        self._compared: dict[tuple[int, int], int] = {}

    def check(self, brokers: list[LiveBroker]) -> None:
        """What holds at each moment. Raises: Violation."""
        for each in brokers:
            machine = _machine(each.broker)
            if machine is not None:
                self._check_node(each, machine)
        for node_id, computer in self._cluster.machines.items():
            self._check_votes(node_id, computer)
        self._check_told()
        self._check_majority(brokers)

    def _check_node(self, each: LiveBroker, machine: RaftMachine) -> None:
        epoch = machine.epoch
        # An epoch that was not told yet may be forgotten by a crash: it is compared within a process's life.
        before = self._epoch.get(each.life, 0)
        if epoch < before:
            raise Violation("K2", f"node {each.node_id} went back from epoch {before} to {epoch}")
        self._epoch[each.life] = epoch
        if machine.high_watermark < self._high_watermark.get(each.life, 0):
            raise Violation("K3", f"node {each.node_id}'s high watermark went back to {machine.high_watermark}")
        self._high_watermark[each.life] = machine.high_watermark
        log = machine.log
        if log.start_offset and not any(known.offset == log.start_offset for known in log.snapshot_ids):
            raise Violation("K6", f"node {each.node_id}'s log starts at {log.start_offset}, where no snapshot ends")
        if machine.leader is None:
            return
        self._note_leader(epoch, each.node_id)
        end = self._led_end.get((each.life, epoch), 0)
        if log.end_offset < end:
            raise Violation(
                "K7", f"node {each.node_id} leads epoch {epoch}, and its log went from {end} to {log.end_offset}"
            )
        self._led_end[each.life, epoch] = log.end_offset

    def _check_votes(self, node_id: int, machine: Machine) -> None:
        """K2, K8, L5: what the disk says of epochs and votes, over all lives."""
        if not machine.disk.exists(_QUORUM_STATE) or "read" in machine.disk.failing:
            return
        raw = machine.disk.read(_QUORUM_STATE)
        if raw == self._written.get(node_id):
            return
        self._written[node_id] = raw
        try:
            state = json.loads(raw)
            epoch, voted = int(state["leaderEpoch"]), int(state["votedId"])
        except ValueError as error:
            raise Violation(
                "L5", f"node {node_id}'s {_QUORUM_STATE} is neither the old one nor the new one: {error}"
            ) from None
        if epoch < self._written_epoch.get(node_id, 0):
            raise Violation(
                "K2", f"node {node_id}'s disk went back from epoch {self._written_epoch[node_id]} to {epoch}"
            )
        self._written_epoch[node_id] = epoch
        if voted >= 0:
            self._note_vote(node_id, epoch, voted)

    def _check_told(self) -> None:
        """K1, K8: what nodes told of their votes and elections, also between two looks at them."""
        facts = self._cluster.facts
        for at in range(self._facts_seen, len(facts)):
            fact = facts[at]
            kind = fact.get("kind")
            if kind == NoteKind.VOTE_GRANTED and not fact["detail"]["pre_vote"]:
                self._note_vote(fact["broker"], fact["detail"]["epoch"], fact["detail"]["candidate_id"])
            elif kind == NoteKind.QUORUM_LEADER_ELECTED:
                self._note_leader(fact["detail"]["epoch"], fact["broker"])
        self._facts_seen = len(facts)

    def _note_leader(self, epoch: int, node_id: int) -> None:
        known = self._leader_of_epoch.setdefault(epoch, node_id)
        if known != node_id:
            raise Violation("K1", f"epoch {epoch} has the leaders {known} and {node_id}")

    def _note_vote(self, node_id: int, epoch: int, voted: int) -> None:
        known = self._vote.setdefault((node_id, epoch), voted)
        if known != voted:
            raise Violation("K8", f"node {node_id} voted for {known} and {voted} in epoch {epoch}")

    def _check_majority(self, brokers: list[LiveBroker]) -> None:
        """K4: what is committed is synced on a majority; a node that is down may have it."""
        ends = {
            each.node_id: machine.log.flushed_offset
            for each in brokers
            if (machine := _machine(each.broker)) is not None
        }
        for each in brokers:
            machine = _machine(each.broker)
            if machine is None:
                continue
            committed = machine.high_watermark
            # It was committed by those who voted when the log ended there, or by those who were chosen since.
            sets = [entry.voters for entry in machine.history.since(committed)] or [machine.voters]
            if not any(
                sum(ends.get(voter, committed) >= committed for voter in voters) >= voters.majority for voters in sets
            ):
                raise Violation(
                    "K4",
                    f"node {each.node_id} takes all before {machine.high_watermark} for committed; synced is {ends}",
                )

    def compare(self, brokers: list[LiveBroker]) -> None:
        """K5: below the high watermarks the logs are the same; K9: at the same offset so is the metadata."""
        images: dict[int, tuple[int, MetadataImage]] = {}
        for at, first in enumerate(brokers):
            image = first.broker.metadata.image
            known = images.setdefault(image.offset, (first.node_id, image))
            if known[1] is not image and known[1] != image:
                raise Violation(
                    "K9", f"at offset {image.offset} nodes {known[0]} and {first.node_id} know different metadata"
                )
            for second in brokers[at + 1 :]:
                self._compare(first, second)

    def _compare(self, first: LiveBroker, second: LiveBroker) -> None:
        ours, theirs = _log(first.broker), _log(second.broker)
        if ours is None or theirs is None:
            return
        key = (first.node_id, second.node_id)
        start = max(ours.log_start_offset, theirs.log_start_offset, self._compared.get(key, 0))
        end = min(ours.high_watermark, theirs.high_watermark)
        while start < end:
            one = bytes(ours.read(start, _COMPARE_BYTES, max_offset=end))
            other = bytes(theirs.read(start, _COMPARE_BYTES, max_offset=end))
            if not one or not other:
                return
            shared = min(len(one), len(other))
            if one[:shared] != other[:shared]:
                raise Violation("K5", f"the metadata of nodes {key[0]} and {key[1]} differs behind offset {start}")
            start = next_offset(one if len(one) <= len(other) else other)
            self._compared[key] = start


def _host(broker: Broker) -> QuorumHost | None:
    return getattr(broker, "quorum", None)


def _machine(broker: Broker) -> RaftMachine | None:
    host = _host(broker)
    machine = None if host is None else host._machine
    return machine if machine is not None and machine._state is not None else None


def _log(broker: Broker) -> Log | None:
    host = _host(broker)
    return None if host is None or host._log is None else host._log._log


def next_offset(batches: bytes) -> int:
    """The offset that follows on batches."""
    from engine.record.batch import iter_batches

    last = 0
    for header, _ in iter_batches(batches):
        last = header.last_offset + 1
    return last
