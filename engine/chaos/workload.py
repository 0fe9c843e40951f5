"""All clients of a run, of every kind at once, and what is read back at its end.

The safe topic is written with acks=all only, has three replicas and min.insync.replicas=2: nothing that was
acknowledged may be lost. The weak topic is written with acks=1 and acks=0: there a change of leader may lose records,
and the checker counts them as allowed.
"""

from __future__ import annotations

import random
import time
from collections import Counter

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its stubs do not name what it exports

from engine.chaos.administration import Administrator, create_topics
from engine.chaos.clients import ClientThread, Shared, until
from engine.chaos.consumers import GroupMember, Reader, read_to_the_end
from engine.chaos.network import IDEMPOTENT_PREFIX
from engine.chaos.producers import FirstAcks, ProducerClient, ProducerPlan

SAFE, WEAK, UNCLEAN, LYING = "safe", "weak", "unclean", "lying"
_SAFE_PARTITIONS, _WEAK_PARTITIONS, _UNCLEAN_PARTITIONS, _LYING_PARTITIONS = 4, 2, 1, 3
_SETUP_S = 30.0
_JOIN_S = 75.0
_READ_S = 120.0


class Workload:
    """Clients in threads of this process. ``mode``: ``safe``, or one in which loss is to be seen."""

    def __init__(self, shared: Shared, mode: str, records_per_s: float, rng: random.Random) -> None:
        self._shared = shared
        self._rng = rng
        if mode == UNCLEAN:
            self.topics = {UNCLEAN: _UNCLEAN_PARTITIONS}
        elif mode == WEAK:
            self.topics = {WEAK: _WEAK_PARTITIONS}
        elif mode == LYING:
            self.topics = {LYING: _LYING_PARTITIONS}
        else:
            self.topics = {SAFE: _SAFE_PARTITIONS, WEAK: _WEAK_PARTITIONS}
        plans = _plans(mode, records_per_s)
        self.producers = [ProducerClient(shared, plan, self._seed()) for plan in plans]
        self.administrator = Administrator(shared, SAFE, self._seed()) if mode == SAFE else None
        self._clients: list[ClientThread] = [*self.producers, *self._consumers()]
        if self.administrator is not None:
            self._clients.append(self.administrator)

    def _seed(self) -> int:
        return self._rng.getrandbits(64)

    def _consumers(self) -> list[ClientThread]:
        shared = self._shared
        first, *_ = self.topics
        consumers: list[ClientThread] = [
            Reader(
                shared,
                f"reader-{topic}",
                topic,
                count,
                self._seed(),
                isolation="read_uncommitted",
                may_lose=topic in (UNCLEAN, LYING),
            )
            for topic, count in self.topics.items()
        ]
        if first == SAFE:
            second = "reader-committed"
            seed = self._seed()
            consumers.append(
                Reader(shared, second, SAFE, _SAFE_PARTITIONS, seed, isolation="read_committed", may_lose=False)
            )
            for group, strategy in (("eager", "range,roundrobin"), ("cooperative", "cooperative-sticky")):
                consumers += [
                    GroupMember(shared, f"{group}-{number}", group, SAFE, strategy, self._seed()) for number in range(2)
                ]
        return consumers

    def create_topics(self) -> None:
        """Make the topics that last for the run."""
        unclean = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
        strict = {"min.insync.replicas": "2"}
        config = {SAFE: strict, WEAK: {"min.insync.replicas": "1"}, UNCLEAN: unclean, LYING: strict}
        # Two replicas, one of them dead, and the other one dies while it comes back: that elects uncleanly.
        replicas = {SAFE: 3, WEAK: 3, UNCLEAN: 2, LYING: 3}
        topics = [NewTopic(name, count, replicas[name], config=config[name]) for name, count in self.topics.items()]
        create_topics(self._shared, topics, _SETUP_S)

    def start(self) -> None:
        """Begin."""
        for client in self._clients:
            client.start()

    @property
    def acknowledged(self) -> Counter[str]:
        """How many records each partition has acknowledged with acks=all."""
        counts: Counter[str] = Counter()
        for producer in self.producers:
            for partition, acks in producer.acks.items():
                counts[partition] += len(acks)
        return counts

    def wait_acknowledged(self, timeout_s: float) -> bool:
        """Whether every partition acknowledges records that are sent from now on."""
        now_ns = time.monotonic_ns()

        def holds() -> bool:
            late = {
                partition
                for producer in self.producers
                for partition, acks in list(producer.acks.items())
                if any(began > now_ns for began, _ in acks[-200:])
            }
            return len(late) == sum(count for topic, count in self.topics.items() if topic != WEAK)

        return until(holds, timeout_s)

    def stop(self) -> list[str]:
        """End all clients; those that do not end, and where they are."""
        self._shared.stopping.set()
        deadline = time.monotonic() + _JOIN_S
        for client in self._clients:
            client.thread.join(max(0.1, deadline - time.monotonic()))
        return [f"{client.name}, {client.where()}" for client in self._clients if client.thread.is_alive()]

    def read_back(self) -> list[str]:
        """Read everything, into the history; partitions that could not be read."""
        return read_to_the_end(self._shared, self._shared.recorder.client("final-reader"), self.topics, _READ_S)

    def first_acks(self) -> FirstAcks:
        """For the time from a fault to the next acknowledged record."""
        return FirstAcks(self.producers)


def _plans(mode: str, records_per_s: float) -> list[ProducerPlan]:
    if mode in (UNCLEAN, LYING):
        count = _UNCLEAN_PARTITIONS if mode == UNCLEAN else _LYING_PARTITIONS
        return [
            ProducerPlan(f"all-{number}", mode, count, "all", records_per_s=records_per_s / 2) for number in range(2)
        ]
    if mode == WEAK:
        return [
            ProducerPlan(f"one-{number}", WEAK, _WEAK_PARTITIONS, 1, records_per_s=records_per_s / 2)
            for number in range(2)
        ]
    rate = records_per_s / 8
    return [
        *(
            ProducerPlan(
                f"{IDEMPOTENT_PREFIX}-{number}",
                SAFE,
                _SAFE_PARTITIONS,
                "all",
                idempotent=True,
                records_per_s=2 * rate,
                settings={"max_in_flight_requests_per_connection": in_flight},
            )
            for number, in_flight in enumerate((5, 1))
        ),
        ProducerPlan("all", SAFE, _SAFE_PARTITIONS, "all", records_per_s=rate),
        # It sends again nevertheless what a leader of the past did not take: librdkafka counts that as no attempt.
        ProducerPlan("no-retries", SAFE, _SAFE_PARTITIONS, "all", records_per_s=rate, settings={"retries": 0}),
        ProducerPlan("one", WEAK, _WEAK_PARTITIONS, 1, records_per_s=rate),
        ProducerPlan("zero", WEAK, _WEAK_PARTITIONS, 0, records_per_s=rate),
    ]
