"""Failover where ZooKeeper coordinates: kconsole beside a ZooKeeper-mode Apache Kafka 3.9.1, in one run.

Both are up at the same time, below a chroot each of the same ZooKeeper (three servers), with the same
zookeeper.session.timeout.ms and the same clients. A broker is killed while a producer runs with acks=all: what is
measured is the time to the next acknowledged record on the slowest of the partitions that it led.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import ElectionType, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import JavaBrokers, KconsoleCluster, free_port, wait_for
from bench.failover import PARTITIONS, LedgerCounts, Load, controller_of, isr_is_whole, leaders, read_back
from tests.integration.zookeeper_kafka import KAFKA_3_LIBS
from tests.integration.zookeeper_server import zookeeper

SESSION_TIMEOUT_MS = 6000
WANTED = 0.5
VICTIMS = ("leader", "controller")
# The longest that a session may be silent is 20 ticks.
_TICK_MS = 500
_SPEC = """
coordination: zookeeper
zookeeper.connect: {connect}/kconsole
durability: page-cache
brokers:
  - {{id: 1, rack: a}}
  - {{id: 2, rack: b}}
  - {{id: 3, rack: c}}
configs:
  zookeeper.session.timeout.ms: {session_timeout_ms}
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 10
  min.insync.replicas: 2
  default.replication.factor: 3
"""
_PROPERTIES = """
broker.id={id}
broker.rack={rack}
zookeeper.connect={connect}/kafka
zookeeper.session.timeout.ms={session_timeout_ms}
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={directory}/data-{id}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
group.initial.rebalance.delay.ms=0
"""


class ZooKeeperModeKafka(JavaBrokers):
    """Apache Kafka 3.9.1 in ZooKeeper mode, three brokers."""

    name = "Apache Kafka 3.9.1"

    def __init__(self, directory: Path, connect: str) -> None:
        directory.mkdir(parents=True)
        ports = {broker_id: free_port() for broker_id in (1, 2, 3)}
        texts = {
            broker_id: _PROPERTIES.format(
                id=broker_id,
                rack="abc"[broker_id - 1],
                connect=connect,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                port=port,
                directory=directory,
            )
            for broker_id, port in ports.items()
        }
        super().__init__(directory, KAFKA_3_LIBS, texts, ports)
        self.start_all()


class Measured(NamedTuple):
    """Kills of one kind in one cluster: milliseconds to the next acknowledged record; what became of all records."""

    victim: str
    name: str
    after_ms: list[float]
    ledger: LedgerCounts

    @property
    def median_ms(self) -> float:
        return statistics.median(self.after_ms)

    def line(self) -> str:
        """A sentence."""
        each = ", ".join(f"{ms:.0f}" for ms in self.after_ms)
        return (
            f"{self.name}, {self.victim} killed {len(self.after_ms)} times: median {self.median_ms:.0f} ms to the next "
            f"acknowledged record ({each}); {self.ledger.acknowledged} acknowledged, {self.ledger.lost} lost, "
            f"{self.ledger.duplicated} duplicated, {self.ledger.reordered} out of order"
        )


def kill_rounds(cluster: KconsoleCluster | ZooKeeperModeKafka, rounds: int, victim: str) -> Measured:
    """``rounds`` SIGKILLs of a leader that is not the controller, or of the controller, which leads something, too."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    topic = f"{victim}-{time.time_ns()}"
    _create(admin, topic)
    wait_for("the ISR to be whole", lambda: isr_is_whole(admin, topic), 60)
    load = Load(cluster.bootstrap, topic)
    wait_for("the first acknowledgements", lambda: len(load.acks) > 500, 60)
    after_ms: list[float] = []
    for _ in range(rounds):
        wait_for("each broker to lead a partition", lambda: _is_spread(admin, topic), 60)
        controller, led = controller_of(admin), leaders(admin, topic)
        chosen = controller if victim == "controller" else next(each for each in led.values() if each != controller)
        partitions = {number for number, leader in led.items() if leader == chosen}
        killed_ns = cluster.kill(chosen)

        def resumed(killed_ns: int = killed_ns, partitions: set[int] = partitions) -> bool:
            # Acks already under way at the kill arrive within 20 ms; what comes later is the new leader's.
            late = {ack.partition for ack in load.acks[-3000:] if ack.at_ns > killed_ns + 20_000_000}
            return late.issuperset(partitions)

        wait_for("acknowledgements after the kill", resumed, 90)
        time.sleep(0.3)
        times = [load.first_ack_after(killed_ns, partition) for partition in sorted(partitions)]
        after_ms.append(max(each for each in times if each is not None) / 1e6)
        cluster.start(chosen)
        wait_for("the ISR to be whole again", lambda: isr_is_whole(admin, topic), 120)
    load.stop()
    if load.failed:
        raise SystemExit(f"{cluster.name}: the load saw {len(load.failed)} failures, the first: {load.failed[0]}")
    return Measured(victim, cluster.name, after_ms, read_back(cluster.bootstrap, topic, load.acks))


def _create(admin: AdminClient, topic: str) -> None:
    made = NewTopic(topic, PARTITIONS, replica_assignment=[[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    try:
        admin.create_topics([made])[topic].result(30)
    except KafkaException as error:
        # Nobody else uses the name: it is the answer to a request that was sent again.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _is_spread(admin: AdminClient, topic: str) -> bool:
    """Ask for the preferred leaders; whether they lead."""
    with contextlib.suppress(KafkaException):
        admin.elect_leaders(ElectionType.PREFERRED).result(10)
    return len(set(leaders(admin, topic).values())) == PARTITIONS


def measure(directory: Path, rounds: int) -> Iterator[str]:
    """The lines to print, as they come; the last one says whether the ratio is as wanted."""
    worst = 0.0
    with contextlib.ExitStack() as stack:
        ensemble = stack.enter_context(zookeeper(directory / "zookeeper", servers=3, tick_ms=_TICK_MS))
        spec = _SPEC.format(connect=ensemble.connect, session_timeout_ms=SESSION_TIMEOUT_MS)
        ours = KconsoleCluster(directory / "kconsole", spec)
        stack.callback(ours.close)
        theirs = ZooKeeperModeKafka(directory / "apache-kafka", ensemble.connect)
        stack.callback(theirs.close)
        for victim in VICTIMS:
            mine = kill_rounds(ours, rounds, victim)
            yield mine.line()
            other = kill_rounds(theirs, rounds, victim)
            yield other.line()
            ratio = mine.median_ms / other.median_ms
            worst = max(worst, ratio)
            yield f"failover of the {victim}, by ZooKeeper: ratio {ratio:.3f}"
    yield f"the larger ratio is {worst:.3f} (at most {WANTED} is wanted)"
