"""Many seeds of one partition under faults. A failing seed replays with ``chaos(seed, …, trace=[])``."""

from __future__ import annotations

import pytest
from replica_simulation import BROKERS, Simulation
from simulated_controller import NO_LEADER

from engine.core.replica.partition import Partition
from engine.model.errors import ErrorCode

_FAULTS = (
    *("crash", "crash_leader", "power", "pause", "pause_leader", "stall", "stall_leader"),
    *("cut", "elect", "elect", "elect_same", "there_and_back", "there_and_back", "fence"),
    *("nothing",) * 4,
)


def chaos(
    seed: int,
    *,
    min_isr: int = 2,
    flushes: bool = False,
    slow: float = 0.05,
    loss: float = 0.05,
    trace: list[str] | None = None,
    machine_class: type[Partition] = Partition,
) -> Simulation:
    """Faults for a while, then heal everything: all replicas must get in sync with the same log."""
    sim = Simulation(
        seed, min_isr=min_isr, flushes=flushes, slow=slow, loss=loss, trace=trace, machine_class=machine_class
    )
    sim.start_all()
    sim.run(300)
    rng = sim.random
    for _ in range(30):
        for _ in range(rng.randint(1, 8)):
            for each in BROKERS:
                sim.produce(each, acks=-1 if rng.random() < 0.8 else 1)
            sim.run(rng.random() * 10)
        sim.run(rng.random() * 120)
        fault, broker_id = rng.choice(_FAULTS), rng.choice(BROKERS)
        leader = sim.controller.partition.leader
        if fault.endswith("_leader") and leader != NO_LEADER:
            broker_id = leader
        if fault.startswith("crash"):
            sim.crash(broker_id)
        elif fault.startswith("pause"):
            sim.pause(broker_id, rng.random() * 1_200)
        elif fault.startswith("stall"):
            sim.stall_metadata(broker_id, rng.random() * 900)
        elif fault == "power":
            sim.cut_power(broker_id)
            # It is back before its last fetch arrives, and cannot catch up for a while.
            sim.blocked |= {(broker_id, other) for other in BROKERS if rng.random() < 0.5}
        elif fault == "cut":
            other = rng.choice(BROKERS)
            sim.blocked |= {(broker_id, other), (other, broker_id)} if rng.random() < 0.5 else {(broker_id, other)}
        elif fault.startswith("elect"):
            sim.controller.elect(same=fault == "elect_same")
        elif fault == "there_and_back":
            there_and_back(sim)
        elif fault == "fence":
            sim.controller.fence(broker_id)
        sim.check()
        if rng.random() < 0.4:
            sim.blocked.clear()
        for each in BROKERS:
            if sim.brokers[each].machine is None and rng.random() < 0.4:
                sim.start(each)
    settle(sim)
    return sim


def there_and_back(sim: Simulation) -> None:
    """Another leads for a moment; the leader hears of it only when it leads again."""
    before = sim.controller.partition.leader
    if before == NO_LEADER:
        return
    sim.stall_metadata(before, 120)
    for _ in range(3):
        sim.produce(before)
        sim.run(sim.random.random() * 4)
    sim.controller.elect()
    between = sim.controller.partition.leader
    sim.run(20 + sim.random.random() * 60)
    if between not in (before, NO_LEADER):
        sim.controller.fence(between)
        sim.controller.elect(wanted_leader=before)


def settle(sim: Simulation) -> None:
    """Heal all, then require a leader, one more record on every replica, all in sync, and nobody waiting."""
    sim.slow = sim.loss = 0.0
    sim.blocked.clear()
    for broker in sim.brokers.values():
        broker.paused_until = min(broker.paused_until, sim.now)
        broker.metadata_stalled_until = 0.0
    sim.start_all()
    sim.run(2_500)
    leader = sim.controller.partition.leader
    assert leader != NO_LEADER, "no leader after everything was healed"
    sim.produce(leader)
    sim.run(500)
    machine = sim.brokers[leader].led
    assert machine is not None
    assert machine.isr == set(BROKERS) == set(sim.controller.partition.isr), f"only {machine.isr} got in sync"
    end = sim.brokers[leader].log.end
    assert end > 0 and machine.high_watermark == end and not machine.leader_role().waiting
    for broker in sim.brokers.values():
        assert broker.log.records == sim.brokers[leader].log.records
        assert broker.machine is not None and broker.machine.high_watermark == end
    for offset, record in sim.acked.items():
        assert sim.committed[offset] == record, f"R9: acked offset {offset} is lost"


@pytest.mark.parametrize("first_seed", range(0, 60, 10))
def test_acked_records_survive_crashes_zombies_and_late_metadata(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 10):
        chaos(seed)


@pytest.mark.parametrize("first_seed", range(1_000, 1_030, 10))
def test_acked_records_survive_with_a_minimum_of_one(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 10):
        chaos(seed, min_isr=1)


@pytest.mark.parametrize("first_seed", range(2_000, 2_030, 10))
def test_acked_records_survive_power_cuts_where_appends_are_flushed(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 10):
        chaos(seed, flushes=True)


@pytest.mark.parametrize("first_seed", range(3_000, 3_020, 10))
def test_acked_records_survive_on_a_network_that_delays_and_loses_much(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 10):
        chaos(seed, slow=0.25, loss=0.2)


def test_the_faults_do_what_they_are_for() -> None:
    """Were nothing ever acked, truncated or refused, the seeds would say nothing."""
    acked = truncations = elections = 0
    errors: set[ErrorCode] = set()
    for seed in range(20):
        sim = chaos(seed)
        acked += len(sim.acked)
        truncations += sim.truncations
        elections += sim.controller.partition.leader_epoch
        errors |= set(sim.answers)
    assert acked > 250 and truncations > 30 and elections > 120
    assert {ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER} <= errors


def test_the_same_seed_gives_the_same_trace() -> None:
    first: list[str] = []
    second: list[str] = []
    chaos(7, trace=first)
    chaos(7, trace=second)
    assert first == second and len(first) > 50
