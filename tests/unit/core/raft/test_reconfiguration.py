"""Voters that come and go while everything fails (KIP-853), and the rules without which they must not."""

from __future__ import annotations

import pytest
from raft_simulation import Node, Simulation
from test_simulation import settle

from engine.core.raft.identity import ReplicaKey, VoterSet
from engine.core.raft.leader import Leader
from engine.core.raft.machine import CommittedRecordsLost, RaftMachine
from engine.core.raft.messages import VoterChangeResponse, VoteRequest
from engine.core.raft.timing import RaftTiming
from engine.model.errors import ErrorCode

_FAULTS = ("crash", "partition", "pause", "snapshot", "isolate_leader", "crash_leader", "half_partition", "reformat")


def timing(seed: int = 1) -> RaftTiming:
    return RaftTiming(
        election_timeout_ms=300,
        fetch_timeout_ms=600,
        election_backoff_max_ms=300,
        request_timeout_ms=600,
        connection_loss_detection=seed % 3 != 0,
    )


def chaos(seed: int, machine_class: type[RaftMachine] = RaftMachine, *, trace: list[str] | None = None) -> Simulation:
    """Voters are added and removed all the time, most of the time by whoever leads; then all comes to rest."""
    sim = Simulation(
        seed,
        voters=1 + seed % 4,
        observers=5 - seed % 4,
        timing=timing(seed),
        loss=0.02,
        duplication=0.05,
        slow=0.03,
        is_dynamic=True,
        trace=trace,
        machine_class=machine_class,
    )
    sim.start_all()
    rng = sim.random
    for _ in range(40):
        sim.run(rng.random() * 250)
        for node in leaders(sim):
            change_voters(sim, node)
            for _ in range(rng.randint(0, 2)):
                sim.propose(node, rng.randint(1, 3))
        fail(sim)
        if rng.random() < 0.5:
            sim.heal()
        for each in sorted(sim.nodes):
            if sim.nodes[each].machine is None and rng.random() < 0.4:
                sim.start(each)
    settle(sim)
    assert len({node.machine.voters for node in sim.nodes.values() if node.machine is not None}) == 1
    return sim


def leaders(sim: Simulation) -> list[Node]:
    """All that believe to lead, and are not paused."""
    return [
        node
        for node in sim.nodes.values()
        if node.machine is not None and node.machine.leader is not None and node.paused_until <= sim.now
    ]


def change_voters(sim: Simulation, leader: Node) -> None:
    rng = sim.random
    machine = leader.machine
    if machine is None or rng.random() < 0.3:
        return
    voters = machine.voters
    others = [each for each in sorted(sim.nodes) if each not in voters]
    if others and rng.random() < (0.7 if len(voters) < 3 else 0.4):
        sim.add_voter(leader, rng.choice(others), ack_when_committed=rng.random() < 0.8)
    elif len(voters) > 1:
        sim.remove_voter(leader, voters.key(rng.choice(list(voters))))


def fail(sim: Simulation) -> None:
    rng = sim.random
    fault = rng.choice(_FAULTS)
    node_id = rng.choice(sorted(sim.nodes))
    node, leader = sim.nodes[node_id], sim.leader()
    if fault in ("isolate_leader", "crash_leader") and leader is not None:
        node_id = leader.id
    if fault in ("crash", "crash_leader"):
        sim.crash(node_id)
    elif fault in ("partition", "isolate_leader"):
        sim.partition(node_id)
    elif fault == "half_partition":
        sim.partition(node_id, inbound=rng.random() < 0.5, outbound=rng.random() < 0.5)
    elif fault == "pause":
        sim.pause(node_id, rng.random() * 1500)
    elif fault == "reformat":
        # A voter's disk must not be lost; whoever anybody may take for a voter keeps it.
        key = ReplicaKey(node_id, node.directory_id)
        if not any(knows(each).is_voter(key) or is_adding(each, key) for each in sim.nodes.values()):
            sim.reformat(node_id)
    elif node.machine is not None and node.paused_until <= sim.now:
        sim.snapshot(node, clean=rng.random() < 0.7)


def is_adding(node: Node, key: ReplicaKey) -> bool:
    change = None if node.machine is None or node.machine.leader is None else node.machine.leader.change
    return change is not None and change.added is not None and change.added.key == key


def knows(node: Node) -> VoterSet:
    return node.disk.history(VoterSet()).voters if node.machine is None else node.machine.voters


@pytest.mark.parametrize("first_seed", range(0, 80, 20))
def test_voters_come_and_go_under_all_faults(first_seed: int) -> None:
    changes = 0
    for seed in range(first_seed, first_seed + 20):
        sim = chaos(seed)
        changes += sum(answer.error == ErrorCode.NONE for _, _, answer in sim.told)
    assert changes > 15, "too few changes of the voters came through for the seeds to prove anything"


class ChangesTwiceAtOnce(RaftMachine):
    """Writes the next set of voters before the last one is committed."""

    def _refusal_to_change(self, leader: Leader | None, what: str) -> VoterChangeResponse | None:
        assert leader is not None
        self._give_up_voter_change(leader, ErrorCode.REQUEST_TIMED_OUT)
        return (
            None
            if self.high_watermark > leader.epoch_start_offset
            else VoterChangeResponse(ErrorCode.UNKNOWN_SERVER_ERROR)
        )


class ChangesBeforeItsEpochIsCommitted(RaftMachine):
    def _refusal_to_change(self, leader: Leader | None, what: str) -> VoterChangeResponse | None:
        refused = super()._refusal_to_change(leader, what)
        assert leader is not None
        last = self.history.last
        is_old = last is not None and last.offset < leader.epoch_start_offset
        return None if refused is not None and is_old and leader.change is None else refused


class CountsVotersOnlyOnceCommitted(RaftMachine):
    @property
    def voters(self) -> VoterSet:
        committed = self.history.at(max(self.high_watermark, 0) - 1)
        return super().voters if committed is None else committed.voters


class KeepsVotersThatWereTruncated(RaftMachine):
    def _truncate(self, diverging: object) -> None:
        before = list(self.history._entries)
        super()._truncate(diverging)  # type: ignore[arg-type]
        self.history._entries[:] = before

    def _note_control(self, header: object, batch: object) -> None:
        entries = self.history._entries
        while entries and entries[-1].offset >= header.base_offset:  # type: ignore[attr-defined]
            entries.pop()
        super()._note_control(header, batch)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine_class", "first_seed"),
    [
        (ChangesTwiceAtOnce, 0),
        # Raft's own mistake of 2015: what an old leader wrote and did not commit is still about.
        (ChangesBeforeItsEpochIsCommitted, 150),
        (CountsVotersOnlyOnceCommitted, 0),
        (KeepsVotersThatWereTruncated, 100),
    ],
)
def test_the_simulation_notices_a_machine_that(machine_class: type[RaftMachine], first_seed: int) -> None:
    """``first_seed``: near to the first that notices it."""
    for seed in range(first_seed, first_seed + 300):
        try:
            chaos(seed, machine_class)
        except (AssertionError, CommittedRecordsLost, KeyError):
            return
    raise AssertionError(f"300 seeds did not notice {machine_class.__name__}")


def test_a_request_for_another_directory_of_a_voter_is_refused() -> None:
    sim = Simulation(1, voters=3, timing=timing(), is_dynamic=True)
    sim.start_all()
    sim.run(2000)
    machine = sim.nodes[1].machine
    assert machine is not None
    for directory_id, error in ((b"?" * 16, ErrorCode.INVALID_VOTER_KEY), (bytes(16), ErrorCode.NONE)):
        request = VoteRequest(ReplicaKey(1, directory_id), ReplicaKey(2, b"\x02" * 16), machine.epoch + 5, 0, 0, False)
        reply = machine.on_vote_request(None, request, sim.now).reply[-1]
        assert reply.response.error == error


def test_a_voter_with_another_directory_is_an_observer_and_can_be_replaced() -> None:
    """What an operator does whose voter lost its disk (KIP-853): remove the old directory, add the new one."""
    sim = Simulation(1, voters=3, timing=timing(), is_dynamic=True)
    sim.start_all()
    sim.run(2000)
    leader = sim.leader()
    assert leader is not None
    lost = next(each for each in (1, 2, 3) if each != leader.id)
    before = ReplicaKey(lost, sim.nodes[lost].directory_id)
    sim.reformat(lost)
    sim.start(lost)
    sim.run(2000)
    machine = sim.nodes[lost].machine
    assert machine is not None and lost in machine.voters and not machine.is_voter
    leader = sim.leader()
    assert leader is not None
    sim.add_voter(leader, lost)
    sim.run(1000)
    sim.remove_voter(leader, before)
    sim.run(1000)
    sim.add_voter(leader, lost)
    sim.run(1000)
    assert [answer.error for _, _, answer in sim.told] == [ErrorCode.DUPLICATE_VOTER, ErrorCode.NONE, ErrorCode.NONE]
    assert machine.is_voter and len(machine.voters) == 3
