"""Where the replicas of new partitions go (StripedReplicaPlacer).

Leaders are spread evenly over the racks and over the unfenced brokers of each rack; the replicas of a partition lie on
as many racks as possible; fenced brokers are used only where unfenced ones run out, and never first. After as many
partitions as there are unfenced brokers the orders are shuffled, so that the load of a failed broker is spread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid

Item = TypeVar("Item")


class RandomSource(Protocol):
    """The randomness that the controller draws on: given by the shell, seeded in the simulator."""

    def randint(self, low: int, high: int) -> int:
        """A uniform integer, both ends included."""

    def uuid(self) -> bytes:
        """A random id that is not reserved."""


class UsableBroker(NamedTuple):
    """A registered broker that may take replicas."""

    broker_id: int
    rack: str | None
    fenced: bool


class _BrokerRing:
    """Brokers of one rack in one state, dealt out once per round from an offset that moves on each round."""

    def __init__(self) -> None:
        self.brokers: list[int] = []
        self._next = 0
        self._offset = 0
        self._round = 0

    def start(self, random: RandomSource) -> None:
        if self.brokers:
            self.brokers.sort()
            self._offset = random.randint(0, len(self.brokers) - 1)

    def next(self, number_of_round: int) -> int | None:
        if not self.brokers:
            return None
        if self._round != number_of_round:
            self._round = number_of_round
            self._next = 0
            self._offset = (self._offset + 1) % len(self.brokers)
        if self._next >= len(self.brokers):
            return None
        broker_id = self.brokers[(self._next + self._offset) % len(self.brokers)]
        self._next += 1
        return broker_id


class _Rack:
    def __init__(self) -> None:
        self.fenced = _BrokerRing()
        self.unfenced = _BrokerRing()

    def next(self, number_of_round: int) -> int | None:
        broker_id = self.unfenced.next(number_of_round)
        return self.fenced.next(number_of_round) if broker_id is None else broker_id


class ReplicaPlacer:
    """Places the partitions of one request."""

    def __init__(self, random: RandomSource, brokers: Iterable[UsableBroker]) -> None:
        self._random = random
        racks: dict[str | None, _Rack] = {}
        self._unfenced = self._total = 0
        for broker in brokers:
            rack = racks.setdefault(broker.rack, _Rack())
            (rack.fenced if broker.fenced else rack.unfenced).brokers.append(broker.broker_id)
            self._total += 1
            self._unfenced += not broker.fenced
        self._racks = [racks[name] for name in sorted(racks, key=lambda name: (name is not None, name or ""))]
        for rack in self._racks:
            rack.fenced.start(random)
            rack.unfenced.start(random)
        self._round = 0
        self._since_shuffle = 0
        self._offset = random.randint(0, len(self._racks) - 1) if self._racks else 0

    def place(self, partitions: int, replication_factor: int) -> list[list[int]]:
        """Replica lists, preferred leader first.

        Raises:
            KafkaError: INVALID_REPLICATION_FACTOR, with Kafka's message.
        """
        if replication_factor <= 0:
            raise _invalid(f"Invalid replication factor {replication_factor}: the replication factor must be positive.")
        if self._unfenced == 0:
            raise _invalid("All brokers are currently fenced.")
        if replication_factor > self._total:
            raise _invalid(
                f"The target replication factor of {replication_factor} cannot be reached because only "
                f"{self._total} broker(s) are registered or some brokers have all their log directories cordoned."
            )
        return [self._place_one(replication_factor) for _ in range(partitions)]

    def _place_one(self, replication_factor: int) -> list[int]:
        if self._since_shuffle == self._unfenced and self._unfenced > 1:
            _shuffle(self._racks, self._random)
            for rack in self._racks:
                _shuffle(rack.fenced.brokers, self._random)
                _shuffle(rack.unfenced.brokers, self._random)
            self._since_shuffle = 0
        racks = self._racks
        start = self._offset % len(racks)
        first_rack = start
        while (leader := racks[first_rack].unfenced.next(self._round)) is None:
            first_rack = (first_rack + 1) % len(racks)
        replicas = [leader]
        at = start
        # The leader's rack has given one already: skip it once, then go round until there are enough.
        skip: int | None = first_rack
        while len(replicas) < replication_factor:
            if at == skip:
                skip = None
            else:
                replica = racks[at].next(self._round)
                if replica is not None:
                    replicas.append(replica)
            at = (at + 1) % len(racks)
        self._round += 1
        self._since_shuffle += 1
        self._offset = start + 1
        return replicas


def _shuffle(items: list[Item], random: RandomSource) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = random.randint(0, last)
        items[last], items[other] = items[other], items[last]


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, message)


def new_uuid(random: RandomSource) -> Uuid:
    """A fresh topic id."""
    return random.uuid()
