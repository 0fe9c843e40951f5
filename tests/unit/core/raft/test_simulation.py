"""Many seeds of a quorum under faults. A failing seed replays with ``Simulation(seed, …, trace=[])``."""

from __future__ import annotations

import pytest
from raft_simulation import Simulation

from engine.core.raft.machine import RaftMachine
from engine.core.raft.timing import RaftTiming

_FAULTS = ("crash", "partition", "pause", "snapshot", "isolate_leader", "crash_leader", "half_partition")


def chaos(
    seed: int,
    *,
    voters: int,
    observers: int = 0,
    loss: float = 0.0,
    duplication: float = 0.0,
    slow: float = 0.0,
    machine_class: type[RaftMachine] = RaftMachine,
) -> Simulation:
    """Faults for a while, then heal everything: the quorum must get a leader and bring everyone to the same log."""
    timing = RaftTiming(
        election_timeout_ms=300,
        fetch_timeout_ms=600,
        election_backoff_max_ms=300,
        request_timeout_ms=600,
        connection_loss_detection=seed % 3 != 0,
    )
    sim = Simulation(
        seed,
        voters=voters,
        observers=observers,
        timing=timing,
        loss=loss,
        duplication=duplication,
        slow=slow,
        machine_class=machine_class,
    )
    sim.start_all()
    rng = sim.random
    for _ in range(25):
        sim.run(rng.random() * 250)
        for _ in range(rng.randint(0, 3)):
            leader = sim.leader()
            if leader is not None and leader.paused_until <= sim.now:
                sim.propose(leader, rng.randint(1, 3))
        fault = rng.choice(_FAULTS)
        node_id = rng.choice(sorted(sim.nodes))
        node = sim.nodes[node_id]
        leader = sim.leader()
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
        elif node.machine is not None and node.paused_until <= sim.now:
            sim.snapshot(node, clean=rng.random() < 0.7)
        if rng.random() < 0.5:
            sim.heal()
        for each in sorted(sim.nodes):
            if sim.nodes[each].machine is None and rng.random() < 0.4:
                sim.start(each)
    settle(sim)
    return sim


def settle(sim: Simulation) -> None:
    """Heal all, then require a leader, and one more record on every node."""
    sim.heal()
    sim.loss = sim.duplication = sim.slow = 0.0
    sim.start_all()
    sim.run(1500)

    def has_stable_leader() -> bool:
        leader = sim.leader()
        if leader is None or leader.machine is None or leader.machine.high_watermark == 0:
            return False
        epoch = leader.machine.epoch
        return all(n.machine is not None and n.machine.epoch == epoch for n in sim.nodes.values())

    assert sim.run(20_000, has_stable_leader), "no leader after everything was healed"
    leader = sim.leader()
    assert leader is not None
    end = sim.propose(leader) + 1
    everywhere = lambda: all(n.machine is not None and n.machine.high_watermark >= end for n in sim.nodes.values())  # noqa: E731
    assert sim.run(20_000, everywhere), "a record did not reach every node after everything was healed"


@pytest.mark.parametrize("first_seed", range(0, 160, 20))
def test_three_voters_keep_their_promises_under_crashes_and_partitions(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 20):
        chaos(seed, voters=3)


@pytest.mark.parametrize("first_seed", range(1000, 1120, 20))
def test_three_voters_keep_their_promises_on_a_network_that_loses_and_repeats(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 20):
        chaos(seed, voters=3, loss=0.05, duplication=0.1, slow=0.05)


@pytest.mark.parametrize("first_seed", range(2000, 2060, 20))
def test_five_voters_and_two_observers_keep_their_promises(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 20):
        chaos(seed, voters=5, observers=2, loss=0.02, duplication=0.05, slow=0.02)


@pytest.mark.parametrize("voters", [1, 2, 4])
def test_quorums_of_other_sizes_keep_their_promises(voters: int) -> None:
    for seed in range(3000, 3010):
        chaos(seed, voters=voters, loss=0.02, duplication=0.05, slow=0.02)
