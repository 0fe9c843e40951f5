"""Consumer groups under seeds: members that come, stall, die and return, topics that grow, failing coordinators.

After every step the promises of docs/promises.md: one owner of a partition (G1), commits of past owners refused (G2),
epochs that do not go back, revoke before assign (G5), and at the end rest, with all of it owned (G4).
"""

from __future__ import annotations

import random

import pytest

import engine.core.group.consumer_groups as consumer_groups_module
from engine.core.group.consumer_group import ConsumerGroup, ConsumerGroupState
from engine.core.group.consumer_member import ConsumerMember
from engine.model.errors import KafkaError
from tests.unit.core.group.consumer_harness import NO_DELAYS, Consumer, ConsumerHarness, topic_id
from tests.unit.core.group.test_group_conversion import ClassicConsumer


class Broken(Exception):
    """A promise did not hold."""


class Harness(ConsumerHarness):
    """Looks at the law from time to time: each look replays the whole log."""

    inputs = 0

    def check_law(self) -> None:
        self.inputs += 1
        if self.inputs % 25 == 0:
            super().check_law()


class Run:
    """One seed."""

    def __init__(self, seed: int, with_classic: bool) -> None:
        self.random = random.Random(seed)
        interval = self.random.choice([0, 0, 1_000])
        self.h = Harness(NO_DELAYS._replace(group_consumer_assignment_interval_ms=interval), t=6, u=3)
        self.with_classic = with_classic
        self.live: list[Consumer | ClassicConsumer] = []
        # Those that died, or are paused: they believe that they own what they had.
        self.gone: list[Consumer | ClassicConsumer] = []
        self.anchor = Consumer(self.h, "anchor")
        if with_classic:
            # While it stays the group has the consumer protocol.
            self.anchor.beat()
            self.live.append(self.anchor)
        self.away: list[str] = []
        self.names = 0
        self.epochs: dict[str, int] = {}

    def step(self) -> None:
        draw = self.random.random()
        if draw < 0.1 or not self.live:
            self.enter()
        elif draw < 0.15:
            self.leave(self.random.choice(self.live))
        elif draw < 0.18:
            # It dies: its session has to end.
            member = self.random.choice(self.live)
            if member is not self.anchor:
                self.live.remove(member)
                self.gone.append(member)
        elif draw < 0.21:
            self.h.fail_over()
        elif draw < 0.24:
            self.h.set_topics(t=self.random.choice([4, 6, 8]), u=self.random.choice([0, 3]))
        elif draw < 0.3:
            self.h.advance(self.random.choice([100, 1_000, 20_000]))
        else:
            self.beat(self.random.choice(self.live))
        if self.with_classic:
            self.beat(self.anchor)
        self.check()

    def beat(self, member: Consumer | ClassicConsumer) -> None:
        member.beat()

    def enter(self) -> None:
        if len(self.live) >= 6:
            return
        self.names += 1
        if self.with_classic and self.random.random() < 0.4:
            classic = ClassicConsumer(self.h)
            classic.enter()
            self.live.append(classic)
            return
        topics = self.random.choice([("t",), ("t",), ("t", "u"), ("u",)])
        if self.away and self.random.random() < 0.5:
            instance = self.away.pop(0)
            member = Consumer(self.h, f"m{self.names}", topics, instance=instance)
        elif self.random.random() < 0.3:
            member = Consumer(self.h, f"m{self.names}", topics, instance=f"i{self.names}")
        else:
            member = Consumer(self.h, f"m{self.names}", topics, lingers=self.random.random() < 0.5)
        member.beat()
        self.live.append(member)

    def leave(self, member: Consumer | ClassicConsumer) -> None:
        if member is self.anchor:
            return
        if isinstance(member, ClassicConsumer):
            self.h.leave((member.member_id, None))
        elif "instance" in member.more and self.random.random() < 0.7:
            member.leave(-2)
            self.away.append(member.more["instance"])
        else:
            member.leave()
        self.live.remove(member)

    # -- promises -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        owners: dict[object, str] = {}
        for member in [*self.live, *self.gone]:
            for partition in member.owned:
                if not self.accepts_commit(member, partition):
                    continue  # it has been fenced, and does not know it yet
                if partition in owners:
                    raise Broken(f"G1: {partition} is with {owners[partition]} and {member.member_id}")
                owners[partition] = member.member_id
        group = self.h.shard.consumer_groups.get("g")
        if group is None:
            return
        held: dict[tuple[bytes, int], str] = {}
        for member_id, known in group.members.items():
            for owned in (known.assigned, known.pending_revocation):
                for topic, numbers in owned.items():
                    for number in numbers:
                        if (topic, number) in held:
                            raise Broken(f"G5: {number} is given to {member_id} while {held[topic, number]} has it")
                        held[topic, number] = member_id
            if known.member_epoch > max(group.assignment_epoch, 0):
                raise Broken(f"G5: member epoch {known.member_epoch} above {group.assignment_epoch}")
            if 0 < known.member_epoch < self.epochs.get(member_id, 0):
                raise Broken(f"G5: the epoch of {member_id} went back")
            self.epochs[member_id] = known.member_epoch
        if group.assignment_epoch > group.group_epoch:
            raise Broken("G5: a target of an epoch that is not there yet")

    def accepts_commit(self, member: Consumer | ClassicConsumer, partition: tuple[str, int]) -> bool:
        """Whether the coordinator would take an offset from it, as it is asked with each OffsetCommit."""
        epoch = member.epoch if isinstance(member, Consumer) else member.generation
        group = self.h.shard.consumer_groups.get("g")
        try:
            if group is None:
                self.h.shard.groups["g"].validate_offset_commit(member.member_id, member.more.get("instance"), epoch)
                return True
            behind = group.validate_offset_commit(
                member.member_id, member.more.get("instance"), epoch, transactional=False, api_version=10
            )
            if behind is not None:
                topic, number = partition
                group.validate_partition_commit(behind, epoch, topic_id(topic), topic, number)
        except KafkaError:
            return False
        return True

    def come_to_rest(self) -> None:
        """G4: with no more changes everybody has its target, and every partition one owner."""
        for _ in range(40):
            self.h.advance(2_000)
            for member in self.live:
                self.beat(member)
                self.check()
        group = self.h.shard.consumer_groups.get("g")
        if group is None or not self.live:
            return
        if group.state is not ConsumerGroupState.STABLE:
            raise Broken(f"G4: {group} after a long time of rest")
        subscribed = group.subscribed_topics() & self.h.topics.counts.keys()
        everything = {(name, number) for name in subscribed for number in range(self.h.topics.counts[name])}
        owned = [partition for member in self.live for partition in member.owned]
        if sorted(owned) != sorted(everything):
            raise Broken(f"G4: {sorted(everything - set(owned))} of {sorted(everything)} are with nobody")


def run(seed: int, with_classic: bool = False, steps: int = 60) -> None:
    one = Run(seed, with_classic)
    for _ in range(steps):
        one.step()
    one.come_to_rest()


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_promises_hold_with_members_of_the_consumer_protocol(first: int) -> None:
    for seed in range(first, first + 10):
        run(seed)


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_promises_hold_with_members_of_both_protocols(first: int) -> None:
    for seed in range(first, first + 10):
        run(seed, with_classic=True)


# -- known-bad changes ------------------------------------------------------------------------------------------------


def fails(promise: str) -> bool:
    """Whether some seed finds the promise broken."""
    for seed in range(40):
        try:
            run(seed)
        except Broken as broken:
            return str(broken).startswith(promise)
    return False


def test_giving_a_partition_that_another_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsumerGroup, "owner_epoch", lambda *_: -1)
    assert fails("G1") or fails("G5")


def test_taking_silence_for_revocation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = consumer_groups_module.reconcile

    def hasty(member: ConsumerMember, **arguments: object) -> ConsumerMember:
        return original(member, **{**arguments, "reported": {}})  # type: ignore[arg-type]

    monkeypatch.setattr(consumer_groups_module, "reconcile", hasty)
    assert fails("G1")


def test_commits_of_any_epoch_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsumerGroup, "validate_offset_commit", lambda *_, **__: None)
    assert fails("G1")


def test_forgetting_what_topics_changed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsumerGroup, "needs_metadata", property(lambda _: False))
    assert fails("G4")
