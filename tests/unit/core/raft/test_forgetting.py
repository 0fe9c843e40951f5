"""A voter whose log was found corrupt begins anew: what a majority had acknowledged with it is not lost."""

from __future__ import annotations

import pytest
from raft_simulation import Simulation
from test_simulation import settle

from engine.core.raft.machine import CommittedRecordsLost, RaftMachine
from engine.core.raft.timing import RaftTiming


def chaos(seed: int, machine_class: type[RaftMachine] = RaftMachine, voters: int = 3) -> Simulation:
    """Crashes, cuts and pauses, and one voter at a time that forgets."""
    timing = RaftTiming(
        election_timeout_ms=300,
        fetch_timeout_ms=600,
        election_backoff_max_ms=300,
        request_timeout_ms=600,
        connection_loss_detection=seed % 3 != 0,
    )
    sim = Simulation(seed, voters=voters, timing=timing, loss=0.02, slow=0.05, machine_class=machine_class)
    sim.start_all()
    rng = sim.random
    for _ in range(30):
        sim.run(rng.random() * 250)
        leader = sim.leader()
        for _ in range(rng.randint(0, 3)):
            if leader is not None and leader.machine is not None and leader.paused_until <= sim.now:
                sim.propose(leader, rng.randint(1, 3))
        sim.run(rng.random() * 10)
        node_id = rng.choice(sorted(sim.nodes))
        fault = rng.choice(("forget", "forget", "crash", "partition", "pause", "snapshot", "crash_leader"))
        leader = sim.leader()
        if fault == "crash_leader" and leader is not None:
            node_id = leader.id
        node = sim.nodes[node_id]
        if fault == "forget":
            if not any(each.disk.forgotten_below for each in sim.nodes.values()):
                sim.forget(node_id)
        elif fault in ("crash", "crash_leader"):
            sim.crash(node_id)
        elif fault == "partition":
            sim.partition(node_id)
        elif fault == "pause":
            sim.pause(node_id, rng.random() * 1500)
        elif node.machine is not None and node.paused_until <= sim.now:
            sim.snapshot(node, clean=rng.random() < 0.7)
        if rng.random() < 0.5:
            sim.heal()
        for each in sorted(sim.nodes):
            if sim.nodes[each].machine is None and rng.random() < 0.6:
                sim.start(each)
    settle(sim)
    # The log of a quorum grows by itself (KIP-835): beyond what was never committed and is forgotten, too.
    for _ in range(30):
        leader = sim.leader()
        assert leader is not None
        sim.propose(leader)
        sim.run(100)
    return sim


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_what_is_committed_stays(first: int) -> None:
    for seed in range(first, first + 40):
        sim = chaos(seed, voters=5 if seed % 4 == 0 else 3)
        late = [each.id for each in sim.nodes.values() if each.disk.forgotten_below]
        assert not late, f"seed {seed}: {late} never caught up"


class VotesAllTheSame(RaftMachine):
    @property
    def may_vote(self) -> bool:
        return self.is_voter


class RemembersTooSoon(RaftMachine):
    def _recall(self, leaders_high_watermark: int) -> None:
        self._forgotten_below = 0


@pytest.mark.parametrize("machine_class", [VotesAllTheSame, RemembersTooSoon])
def test_the_simulation_notices_a_machine_that(machine_class: type[RaftMachine]) -> None:
    for seed in range(600):
        try:
            chaos(seed, machine_class)
        except (AssertionError, CommittedRecordsLost, KeyError):
            return
    raise AssertionError(f"600 seeds did not notice {machine_class.__name__}")
