"""Random histories: after every input, an image built only by replaying the log equals the machine's.

The harness checks that law and the promises after each step; here many seeds of every input, right and wrong, are run.
A failing seed replays with ``history(seed, steps)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from controller_harness import ELR, SESSION_MS, ControllerHarness, directory_of, topic
from test_controller_configs import BROKER, DELETE, SET, TOPIC, incremental, replace, resource
from test_controller_reassignments import reassign
from test_controller_topics import add_partitions, delete

from engine.core.controller import leadership
from engine.core.controller.partition_change import PartitionChange, Reassignment
from engine.core.controller.producer_id_control import ProducerIdControl
from engine.core.controller.state import ControllerState, Step

BROKERS = (1, 2, 3, 4, 5)
NAMES = ("a", "b", "c.d", "c_d")


class History:
    """One seed's inputs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        balance = str(seed % 2 == 0).lower()
        self.h = ControllerHarness(
            {
                "min.insync.replicas": "2",
                "auto.leader.rebalance.enable": balance,
                "leader.imbalance.check.interval.seconds": "20",
            },
            seed=seed,
        )
        self.inputs: list[tuple[Callable[[], None], int]] = [
            (self.heartbeat, 30),
            (self.alter_partition, 25),
            (self.time_passes, 12),
            (self.register, 10),
            (self.connection_lost, 5),
            (self.create, 7),
            (self.delete, 1),
            (self.add_partitions, 2),
            (self.configure, 4),
            (self.elect, 4),
            (self.reassign, 5),
            (self.allocate, 3),
            (self.unregister, 1),
            (self.feature, 1),
            (self.fail_over, 2),
        ]

    def run(self, steps: int) -> ControllerHarness:
        actions = [action for action, _ in self.inputs]
        weights = [weight for _, weight in self.inputs]
        self.h.start(*self.rng.sample(BROKERS, 3))
        self.create()
        for _ in range(steps):
            self.rng.choices(actions, weights)[0]()
        return self.h

    def any_broker(self) -> int:
        return self.rng.choice(BROKERS)

    def any_partition(self) -> tuple[str, int] | None:
        places = [(name, number) for name, each in self.h.image.topics_by_name.items() for number in each.partitions]
        return self.rng.choice(places) if places else None

    def register(self) -> None:
        broker_id = self.any_broker()
        known = self.h.image.brokers.get(broker_id)
        previous = known.broker_epoch if known is not None and self.rng.random() < 0.5 else -1
        dirs = [directory_of(broker_id, number) for number in range(self.rng.choice((1, 1, 2)))]
        again = None
        if known is not None and self.rng.random() < 0.1:
            again, dirs = self.h.incarnations[broker_id], list(known.log_dirs)
        self.h.register(broker_id, rack=f"r{broker_id % 2}", log_dirs=dirs, previous_epoch=previous, incarnation=again)

    def heartbeat(self) -> None:
        broker_id = self.any_broker()
        if broker_id not in self.h.image.brokers:
            return
        rng = self.rng
        self.h.heartbeat(
            broker_id,
            epoch=1 if rng.random() < 0.05 else None,
            offset=rng.randrange(len(self.h.log)) if rng.random() < 0.2 else None,
            want_fence=rng.random() < 0.05,
            want_shut_down=rng.random() < 0.08,
            offline=[directory_of(broker_id, 1)] if rng.random() < 0.03 else [],
            cordoned=rng.choice([None, None, None, [directory_of(broker_id)], []]),
        )

    def connection_lost(self) -> None:
        broker_id = self.any_broker()
        known = self.h.image.brokers.get(broker_id)
        if known is not None:
            self.h.machine.on_broker_connection_lost(broker_id, known.broker_epoch, self.h.now_ms)

    def time_passes(self) -> None:
        self.h.advance(self.rng.choice((10, 400, 2_000, SESSION_MS)))

    def unregister(self) -> None:
        self.h.unregister(self.any_broker())

    def create(self) -> None:
        rng = self.rng
        name = rng.choice(NAMES)
        configs = {"unclean.leader.election.enable": "true"} if rng.random() < 0.3 else {}
        if rng.random() < 0.3:
            wanted = topic(name, rng.sample(BROKERS, 2), rng.sample(BROKERS, 2), configs=configs)
        else:
            wanted = topic(name, partitions=rng.randint(1, 4), factor=rng.randint(1, 4), configs=configs)
        self.h.create_topics(wanted, validate_only=rng.random() < 0.1)

    def delete(self) -> None:
        delete(self.h, self.rng.choice(NAMES))

    def add_partitions(self) -> None:
        add_partitions(self.h, self.rng.choice(NAMES), self.rng.randint(1, 6))

    def configure(self) -> None:
        rng = self.rng
        name, value = rng.choice(
            [("min.insync.replicas", "1"), ("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")]
        )
        kind, which = rng.choice([(TOPIC, rng.choice(NAMES)), (BROKER, ""), (BROKER, "1")])
        if rng.random() < 0.2:
            replace(self.h, {name: value}, kind=kind, name=which)
        else:
            operation = (name, DELETE, None) if rng.random() < 0.3 else (name, SET, value)
            incremental(self.h, resource(kind, which, operation))

    def alter_partition(self) -> None:
        """A leader asks for an ISR, mostly a sensible one."""
        rng = self.rng
        place = self.any_partition()
        if place is None:
            return
        partition = self.h.partition(*place)
        leader = partition.leader if rng.random() < 0.95 else self.any_broker()
        active = [each for each in partition.replicas if each in self.h.image.brokers]
        if rng.random() < 0.9:
            active = [each for each in active if self.h.broker(each).is_active]
        isr = [each for each in active if each == leader or rng.random() < 0.8]
        behind = partition.partition_epoch - 1 if rng.random() < 0.05 else None
        self.h.alter_partition(leader, isr, name=place[0], number=place[1], partition_epoch=behind)

    def elect(self) -> None:
        place = self.any_partition()
        kind = 0 if self.rng.random() < 0.7 else 1
        self.h.elect(kind, None if place is None or self.rng.random() < 0.3 else {place[0]: [place[1]]})

    def reassign(self) -> None:
        place = self.any_partition()
        if place is not None:
            wanted = None if self.rng.random() < 0.3 else self.rng.sample(BROKERS, self.rng.randint(1, 3))
            reassign(self.h, wanted, name=place[0], number=place[1], factor_may_change=self.rng.random() < 0.7)

    def allocate(self) -> None:
        broker_id = self.any_broker()
        if broker_id in self.h.image.brokers:
            self.h.allocate(broker_id)

    def feature(self) -> None:
        self.h.update_feature(ELR, self.rng.randint(0, 1), kind=self.rng.randint(1, 2))

    def fail_over(self) -> None:
        self.h.fail_over()


def history(seed: int, steps: int) -> ControllerHarness:
    return History(seed).run(steps)


@pytest.mark.parametrize("first_seed", range(0, 60, 10))
def test_replay_of_the_log_equals_the_live_state_after_every_input(first_seed: int) -> None:
    written = set()
    for seed in range(first_seed, first_seed + 10):
        h = history(seed, 120)
        written |= {each.NAME for each in h.log}
    assert {"PartitionChangeRecord", "BrokerRegistrationChangeRecord", "ConfigRecord", "ProducerIdsRecord"} <= written


def test_the_same_seed_writes_the_same_log() -> None:
    assert history(3, 80).log == history(3, 80).log


# -- the checks can fail ----------------------------------------------------------------------------------------


def keeps_the_fenced_in_the_isr(monkeypatch: pytest.MonkeyPatch) -> None:
    original = leadership.Leadership._update

    def update(self, step, places, cause, *, remove=-1, add=-1, unclean_shutdown=-1):  # type: ignore[no-untyped-def]
        original(self, step, places, cause, add=add, unclean_shutdown=unclean_shutdown)

    monkeypatch.setattr(leadership.Leadership, "_update", update)


def elects_whoever_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartitionChange, "_may_lead", lambda self, replica: self.is_acceptable_leader(replica))


def elects_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ControllerState, "is_active", lambda self, broker_id: True)


def empties_the_isr(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PartitionChange.build

    def build(self):  # type: ignore[no-untyped-def]
        record = original(self)
        if record is not None and record.isr is None and not self.target_isr:
            record.isr = []
        return record

    monkeypatch.setattr(PartitionChange, "build", build)


def ends_reassignments_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(self, isr):  # type: ignore[no-untyped-def]
        left = tuple(each for each in self.replicas if each not in self.removing)
        return (left, tuple(isr)) if self.adding or self.removing else None

    monkeypatch.setattr(Reassignment, "completed", completed)


def gives_producer_ids_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ProducerIdControl.allocate

    def allocate(self, step, request):  # type: ignore[no-untyped-def]
        return original(self, Step() if self._state.image.next_producer_id else step, request)

    monkeypatch.setattr(ProducerIdControl, "allocate", allocate)


def forgets_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer was worked out on a state that the log does not have."""
    original = leadership.Leadership.unfence

    def unfence(self, step, broker_id):  # type: ignore[no-untyped-def]
        original(self, step, broker_id)
        for record in step.records[:1]:
            self._state.image.replay(record)
        del step.records[:1]

    monkeypatch.setattr(leadership.Leadership, "unfence", unfence)


@pytest.mark.parametrize(
    "change",
    [
        keeps_the_fenced_in_the_isr,
        elects_whoever_is_alive,
        elects_the_dead,
        empties_the_isr,
        ends_reassignments_early,
        gives_producer_ids_out_twice,
        forgets_a_record,
    ],
)
def test_the_histories_notice_a_controller_that(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    for seed in range(20):
        try:
            history(seed, 120)
        except (AssertionError, StopIteration):
            return
    pytest.fail(f"20 seeds did not notice {change.__name__}")
