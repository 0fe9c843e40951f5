"""Which replicas go where when brokers come or leave: a plan by rack and size, to be looked at before it is done. Pure.

The plan is what AlterPartitionReassignments (KIP-455) is then asked for, so it fits any Apache Kafka. Kafka's own
kafka-reassign-partitions.sh --generate spreads counts anew and moves nearly everything; here as little moves as can.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.model.topic_partition import TopicPartition

# Loads that differ by less than this share of their mean are taken for even: moving costs more than it gains.
_EVEN = 0.1
# A replica without records still costs files, fetches and memory: about what so many bytes of records do.
_WEIGHT_OF_A_REPLICA_BYTES = 1 << 20


class BrokerPlace(NamedTuple):
    """A broker that can hold replicas."""

    broker_id: int
    rack: str | None


class PartitionPlace(NamedTuple):
    """Where a partition is: ``replicas`` in their order, the preferred leader first; ``size_bytes`` of one of them."""

    topic_partition: TopicPartition
    replicas: tuple[int, ...]
    size_bytes: int


class Move(NamedTuple):
    """A partition's replicas before and after; ``size_bytes`` is copied for each that is added."""

    topic_partition: TopicPartition
    before: tuple[int, ...]
    after: tuple[int, ...]
    size_bytes: int

    @property
    def adding(self) -> tuple[int, ...]:
        """Brokers that get a replica."""
        return tuple(each for each in self.after if each not in self.before)

    @property
    def removing(self) -> tuple[int, ...]:
        """Brokers that give theirs up."""
        return tuple(each for each in self.before if each not in self.after)

    @property
    def copied_bytes(self) -> int:
        """What goes over the network."""
        return self.size_bytes * len(self.adding)


class Load(NamedTuple):
    """What a broker holds."""

    broker_id: int
    replicas: int
    preferred_leaders: int
    size_bytes: int


class PlanError(Exception):
    """There is no such plan; the message says why and what would help."""


def loads_of(
    brokers: Iterable[BrokerPlace], partitions: Iterable[PartitionPlace], moves: Iterable[Move] = ()
) -> list[Load]:
    """What each broker holds, once ``moves`` are done; also brokers that hold something and are not named."""
    after = {move.topic_partition: move.after for move in moves}
    replicas: dict[int, int] = {each.broker_id: 0 for each in brokers}
    leaders, sizes = dict(replicas), dict(replicas)
    for each in partitions:
        now = after.get(each.topic_partition, each.replicas)
        for broker_id in now:
            replicas[broker_id] = replicas.get(broker_id, 0) + 1
            sizes[broker_id] = sizes.get(broker_id, 0) + each.size_bytes
        leaders[now[0]] = leaders.get(now[0], 0) + 1
    return [
        Load(broker_id, count, leaders.get(broker_id, 0), sizes.get(broker_id, 0))
        for broker_id, count in sorted(replicas.items())
    ]


def plan_drain(
    brokers: Sequence[BrokerPlace], partitions: Sequence[PartitionPlace], drained: Iterable[int]
) -> list[Move]:
    """Every replica of the ``drained`` brokers goes to one of the ``brokers``: to another rack than the partition's
    other replicas where there is one, then to the broker that holds least.

    Raises:
        PlanError: a partition has more replicas than brokers stay.
    """
    leaving = frozenset(drained)
    placement = _Placement([each for each in brokers if each.broker_id not in leaving], partitions)
    # The largest first: the small ones fill what is uneven then.
    for each in sorted(partitions, key=lambda each: (-each.size_bytes, each.topic_partition)):
        for broker_id in each.replicas:
            if broker_id in leaving:
                placement.replace(each, broker_id)
    return placement.moves()


def plan_balance(brokers: Sequence[BrokerPlace], partitions: Sequence[PartitionPlace]) -> list[Move]:
    """Even out what the ``brokers`` hold, a broker that was just added included, then who leads, with few moves.
    No partition comes to be in fewer racks than before."""
    placement = _Placement(brokers, partitions)
    placement.even_out()
    placement.spread_leaders()
    return placement.moves()


def plan_onto(
    brokers: Sequence[BrokerPlace],
    partitions: Sequence[PartitionPlace],
    chosen: Collection[TopicPartition],
    targets: Collection[int],
    factor: int | None = None,
) -> list[Move]:
    """The ``chosen`` partitions on the ``targets`` alone (none: on all ``brokers``), each with ``factor`` replicas
    (``None``: as many as it has). Replicas that may stay do; what is added goes to other racks first, then to the
    broker that holds least; what is given up shares a rack with others first, then lies on the broker that holds most.

    Raises:
        PlanError: a target does not live, or there are fewer targets than replicas.
    """
    alive = {each.broker_id for each in brokers}
    wanted = frozenset(targets) or alive
    dead = sorted(wanted - alive)
    if dead:
        raise PlanError(f"broker {dead[0]} is not alive: start it, or leave it out")
    # All that live have a weight: those that give up the heaviest first do so whether they are targets or not.
    placement = _Placement(brokers, partitions, wanted)
    named = [each for each in partitions if each.topic_partition in chosen]
    for each in sorted(named, key=lambda each: (-each.size_bytes, each.topic_partition)):
        count = len(each.replicas) if factor is None else factor
        if not 1 <= count <= len(wanted):
            raise PlanError(
                f"{each.topic_partition} cannot have {count} replicas on {len(wanted)} brokers: name more brokers, or "
                "fewer replicas"
            )
        placement.fit(each, wanted, count)
    return placement.moves()


def plan_leaders(
    brokers: Sequence[BrokerPlace],
    partitions: Sequence[PartitionPlace],
    chosen: Collection[TopicPartition],
    first: Sequence[int],
) -> list[Move]:
    """Another order of the same replicas, which copies nothing: each of the ``chosen`` partitions prefers the earliest
    of the ``first`` brokers that holds it; without any, they prefer all brokers as often."""
    named = [each for each in partitions if each.topic_partition in chosen]
    if not first:
        placement = _Placement(brokers, named)
        placement.spread_leaders()
        return placement.moves()
    moves = []
    for each in named:
        leader = next((broker_id for broker_id in first if broker_id in each.replicas), None)
        if leader is not None and leader != each.replicas[0]:
            after = (leader, *(broker_id for broker_id in each.replicas if broker_id != leader))
            moves.append(Move(each.topic_partition, each.replicas, after, each.size_bytes))
    return moves


def plan_as_told(
    brokers: Sequence[BrokerPlace],
    partitions: Sequence[PartitionPlace],
    wanted: Mapping[TopicPartition, Sequence[int]],
) -> list[Move]:
    """Replicas as somebody wrote them down; of partitions that have them already nothing.

    Raises:
        PlanError: a partition does not exist, or its replicas are none, twice the same, or on a broker that is not
            alive and does not hold it yet.
    """
    alive = {each.broker_id for each in brokers}
    known = {each.topic_partition: each for each in partitions}
    moves = []
    for topic_partition, replicas in sorted(wanted.items()):
        now = known.get(topic_partition)
        if now is None:
            raise PlanError(f"there is no partition {topic_partition}")
        if not replicas:
            raise PlanError(f"{topic_partition} is given no replica: name at least one broker")
        if len(set(replicas)) < len(replicas):
            raise PlanError(f"{topic_partition} is given a broker twice: {', '.join(map(str, replicas))}")
        absent = [each for each in replicas if each not in alive and each not in now.replicas]
        if absent:
            raise PlanError(f"{topic_partition} cannot go to broker {absent[0]}, which is not alive: start it first")
        if tuple(replicas) != now.replicas:
            moves.append(Move(topic_partition, now.replicas, tuple(replicas), now.size_bytes))
    return moves


class _Placement:
    """Where everything is, while a plan is made."""

    def __init__(
        self,
        brokers: Sequence[BrokerPlace],
        partitions: Sequence[PartitionPlace],
        takers: Collection[int] | None = None,
    ) -> None:
        """``takers`` are the brokers that may get replicas; ``None``: all."""
        self._racks: dict[int, str | None] = {each.broker_id: each.rack for each in brokers}
        self._takers = frozenset(self._racks if takers is None else takers)
        self._partitions = {each.topic_partition: each for each in partitions}
        self._now: dict[TopicPartition, list[int]] = {each.topic_partition: list(each.replicas) for each in partitions}
        self._weights: dict[int, int] = dict.fromkeys(sorted(self._racks), 0)
        for each in partitions:
            for broker_id in each.replicas:
                if broker_id in self._weights:
                    self._weights[broker_id] += _weight(each)

    def moves(self) -> list[Move]:
        """What is elsewhere now, in the order of the partitions."""
        return [
            Move(each.topic_partition, each.replicas, tuple(self._now[each.topic_partition]), each.size_bytes)
            for each in self._partitions.values()
            if tuple(self._now[each.topic_partition]) != each.replicas
        ]

    # -- draining -----------------------------------------------------------------------------------------------

    def replace(self, partition: PartitionPlace, leaving: int) -> None:
        """Another broker for one that leaves, at the same place in the order."""
        now = self._now[partition.topic_partition]
        others = [each for each in now if each != leaving]
        chosen = self._best_for(partition, others, now)
        self._put(partition, now.index(leaving), chosen)

    def _best_for(self, partition: PartitionPlace, others: Sequence[int], taken: Sequence[int]) -> int:
        free = [each for each in self._weights if each in self._takers and each not in taken]
        if not free:
            raise PlanError(
                f"{partition.topic_partition} has {len(taken)} replicas and only {len(self._takers)} brokers stay: "
                "add a broker, or give its topic fewer replicas, first"
            )
        return min(free, key=lambda each: (self._shares_rack(each, others), self._weights[each], each))

    # -- onto chosen brokers --------------------------------------------------------------------------------------

    def fit(self, partition: PartitionPlace, wanted: Collection[int], count: int) -> None:
        """``count`` replicas, all on ``wanted`` brokers. The preferred leader stays unless it is on none of them."""
        now, weight = self._now[partition.topic_partition], _weight(partition)
        while len(now) > count:
            # What must leave anyway goes first; then, of all but the preferred leader, what adds least.
            out = min(
                (each for each in now if each not in wanted or each != now[0]),
                key=lambda each: (
                    each in wanted,
                    -self._shares_rack(each, [other for other in now if other != each]) if each in self._racks else 0,
                    -self._weights.get(each, 0),
                    -now.index(each),
                ),
            )
            now.remove(out)
            if out in self._weights:
                self._weights[out] -= weight
        for leaving in [each for each in now if each not in wanted]:
            self._put(partition, now.index(leaving), self._best_for(partition, [e for e in now if e in wanted], now))
        while len(now) < count:
            joining = self._best_for(partition, now, now)
            now.append(joining)
            self._weights[joining] += weight

    def _shares_rack(self, broker_id: int, others: Iterable[int]) -> int:
        rack = self._racks[broker_id]
        return 0 if rack is None else sum(self._racks.get(each) == rack for each in others)

    def _put(self, partition: PartitionPlace, place: int, broker_id: int) -> None:
        now, weight = self._now[partition.topic_partition], _weight(partition)
        if now[place] in self._weights:
            self._weights[now[place]] -= weight
        self._weights[broker_id] += weight
        now[place] = broker_id

    # -- balancing ----------------------------------------------------------------------------------------------

    def even_out(self) -> None:
        """Move replicas from who holds most to who holds least, as long as that makes the two more even."""
        held: dict[int, set[TopicPartition]] = {each: set() for each in self._weights}
        for topic_partition, replicas in self._now.items():
            for broker_id in replicas:
                if broker_id in held:
                    held[broker_id].add(topic_partition)
        mean = sum(self._weights.values()) / max(len(self._weights), 1)
        for _ in range(sum(map(len, held.values()))):
            if not self._even_out_once(held, mean):
                return

    def _even_out_once(self, held: Mapping[int, set[TopicPartition]], mean: float) -> bool:
        order = sorted(self._weights, key=lambda each: (self._weights[each], each))
        for heavy in reversed(order):
            for light in order:
                gap = self._weights[heavy] - self._weights[light]
                if gap <= max(_EVEN * mean, 1):
                    break
                found = self._best_to_move(held[heavy], heavy, light, gap)
                if found is not None:
                    self._put(found, self._now[found.topic_partition].index(heavy), light)
                    held[heavy].discard(found.topic_partition)
                    held[light].add(found.topic_partition)
                    return True
        return False

    def _best_to_move(self, held: Iterable[TopicPartition], heavy: int, light: int, gap: int) -> PartitionPlace | None:
        """The replica whose move leaves the two most even; ``None`` if none makes them more even."""
        best: PartitionPlace | None = None
        best_gap = gap
        for topic_partition in sorted(held):
            partition, now = self._partitions[topic_partition], self._now[topic_partition]
            after = abs(gap - 2 * _weight(partition))
            if after >= best_gap or light in now:
                continue
            others = [each for each in now if each != heavy]
            if self._shares_rack(light, others) > self._shares_rack(heavy, others):
                continue
            best, best_gap = partition, after
        return best

    def spread_leaders(self) -> None:
        """Let each broker be preferred as often as the others, by the order of replicas alone: that copies nothing."""
        preferred: dict[int, list[TopicPartition]] = {each: [] for each in self._weights}
        for topic_partition, replicas in sorted(self._now.items()):
            preferred.setdefault(replicas[0], []).append(topic_partition)
        for _ in range(len(self._now)):
            if not self._spread_once(preferred):
                return

    def _spread_once(self, preferred: dict[int, list[TopicPartition]]) -> bool:
        """Hand leadership on from a broker that has it too often, by way of others where it must be."""
        for often in sorted(preferred, key=lambda each: (-len(preferred[each]), each)):
            came_by: dict[int, tuple[int, TopicPartition] | None] = {often: None}
            to_visit = deque([often])
            while to_visit:
                giver = to_visit.popleft()
                if len(preferred[often]) - len(preferred[giver]) >= 2:
                    self._hand_on(preferred, came_by, giver)
                    return True
                for topic_partition in preferred[giver]:
                    for taker in self._now[topic_partition]:
                        if taker in self._weights and taker not in came_by:
                            came_by[taker] = giver, topic_partition
                            to_visit.append(taker)
        return False

    def _hand_on(
        self,
        preferred: dict[int, list[TopicPartition]],
        came_by: Mapping[int, tuple[int, TopicPartition] | None],
        taker: int,
    ) -> None:
        while (step := came_by[taker]) is not None:
            giver, topic_partition = step
            now = self._now[topic_partition]
            place = now.index(taker)
            now[0], now[place] = now[place], now[0]
            preferred[giver].remove(topic_partition)
            preferred[taker].append(topic_partition)
            taker = giver


def _weight(partition: PartitionPlace) -> int:
    return partition.size_bytes + _WEIGHT_OF_A_REPLICA_BYTES
