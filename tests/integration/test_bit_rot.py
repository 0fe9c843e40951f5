"""A bit flips in each kind of file of one broker of three: nobody reads a wrong byte, nothing acknowledged is lost.

Where files can be made anew they are, a replica or a voter's log is copied; the console hears of it. Where not, the
broker says which file it is and does not start.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ElectionType, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from engine.supervisor.control_client import AsyncControl
from engine.supervisor.fact_view import FactView
from engine.supervisor.snapshot import ClusterEvent
from tests.integration.conftest import SPEC, Cluster, start_cluster, stop_cluster
from tests.integration.raw_client import wait_until
from tests.integration.test_crashes import View

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

VICTIM = 2
# A topic for each file that takes its partition with it.
TOPICS = ("rotten", "closed", "renamed")
# Snapshots of the metadata often enough for there to be one.
ROT_SPEC = SPEC + "  metadata.log.max.record.bytes.between.snapshots: 4096\n"
QUORUM = "__cluster_metadata-0"


class Events:
    """What a console's list of events gets, from now on."""

    def __init__(self, control_socket: str) -> None:
        self._socket = control_socket
        self._found: list[ClusterEvent] = []
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()
        assert self._ready.wait(10)

    async def _listen(self) -> None:
        view = FactView()
        control = await AsyncControl.open(self._socket)
        self._ready.set()
        async for fact in control.facts():
            event = view.on_fact(fact)
            if event is not None:
                self._found.append(event)

    def of(self, kind: str, subject: str) -> list[ClusterEvent]:
        return [each for each in list(self._found) if (each.kind, each.subject) == (kind, subject)]

    def wait_for(self, kind: str, subject: str) -> ClusterEvent:
        wait_until(f"{kind} of {subject}", lambda: self.of(kind, subject), 20)
        return self.of(kind, subject)[-1]


class Field:
    """The topics, and what was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.view = View(cluster)
        self.events = Events(cluster.line["control_socket"])
        self.acknowledged: dict[tuple[str, int], bytes | None] = {}
        self._sent = 0
        self._admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        # The victim leads whenever the preferred leader is elected.
        config = {"internal.segment.bytes": "20000"}
        topics = [NewTopic(each, 1, replica_assignment=[[VICTIM, 1, 3]], config=config) for each in TOPICS]
        for created in self._admin.create_topics(topics).values():
            created.result(20)
        self.wait_whole()

    @property
    def data(self) -> Path:
        assert self.cluster.data_dir is not None
        return self.cluster.data_dir / f"broker-{VICTIM}" / "data"

    def files(self, directory: str, pattern: str) -> list[Path]:
        return sorted((self.data / directory).glob(pattern))

    def produce(self, count: int) -> None:
        """Records for each topic, and a transaction that is aborted."""
        options = {"bootstrap.servers": self.cluster.bootstrap, "linger.ms": 5}
        aborting = Producer(options | {"transactional.id": "rot"})
        aborting.init_transactions(20)
        aborting.begin_transaction()
        aborting.produce("rotten", b"aborted", partition=0)
        aborting.flush(20)
        aborting.abort_transaction(20)
        producer = Producer(options | {"acks": "all", "enable.idempotence": True})

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            topic, offset = message.topic(), message.offset()
            assert topic is not None and offset is not None
            self.acknowledged[topic, offset] = message.value()

        for _ in range(count):
            self._sent += 1
            for topic in TOPICS:
                producer.produce(topic, f"{self._sent} {'x' * 100}".encode(), partition=0, on_delivery=on_delivery)
            if self._sent % 20 == 0:
                producer.flush()
        assert producer.flush(20) == 0

    def wait_whole(self) -> None:
        wait_until("every replica is in its ISR", self.view.is_whole, 60)

    def have_the_victim_lead(self) -> None:
        """By the election of the preferred leader."""
        wanted = [TopicPartition(each, 0) for each in TOPICS]
        self._admin.elect_leaders(ElectionType.PREFERRED, wanted).result(20)
        for each in TOPICS:
            wait_until("the victim leads", lambda each=each: self.view.partitions(each)[0].leader_id == VICTIM, 20)

    def read_back(self) -> None:
        """Every acknowledged record is read as it was written, and nothing else."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.bootstrap,
                "group.id": "rot",
                "auto.offset.reset": "error",
                "check.crcs": True,
                "isolation.level": "read_committed",
            }
        )
        consumer.assign([TopicPartition(each, 0, 0) for each in TOPICS])
        found: dict[tuple[str, int], bytes | None] = {}
        deadline = time.monotonic() + 30
        while len(found) < len(self.acknowledged) and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.2):
                assert message.error() is None, message.error()
                topic, offset = message.topic(), message.offset()
                assert topic is not None and offset is not None
                found[topic, offset] = message.value()
        consumer.close()
        assert found == self.acknowledged

    def kill(self) -> None:
        self.cluster.cli("kill", str(VICTIM))

    def start(self) -> None:
        self.cluster.cli("start", str(VICTIM))
        self.wait_whole()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    running = start_cluster(tmp_path_factory.mktemp("rot"), ROT_SPEC)
    made = Field(running)
    made.produce(400)
    yield made
    stop_cluster(running)


def flip_a_bit(path: Path, at: int | None = None) -> None:
    size = path.stat().st_size
    assert size, f"{path} has no bits"
    rng = random.Random(path.name)
    at = rng.randrange(size) if at is None else at
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(7)]))


def test_a_closed_segment_under_the_leader_that_serves_it(field: Field) -> None:
    field.have_the_victim_lead()
    path = field.files("closed-0", "*.log")[1]
    flip_a_bit(path, 1000)
    field.read_back()
    event = field.events.wait_for("replica_corrupt", "closed-0")
    assert path.name in event.reason and event.source == f"broker {VICTIM}"
    field.events.wait_for("replica_begun_anew", "closed-0")
    field.wait_whole()
    # The other partitions have noticed nothing, and what was corrupt is there to be looked at.
    assert field.view.partitions("rotten")[0].leader_id == VICTIM
    assert len(list(field.data.glob("closed-0.*-stray"))) == 1
    field.have_the_victim_lead()
    field.read_back()


def test_what_is_read_at_a_start_is_made_anew(field: Field) -> None:
    field.produce(100)
    field.kill()
    field.produce(20)
    rotten = [
        field.files("rotten-0", "*.log")[-1],
        field.files("rotten-0", "*.index")[1],
        field.files("rotten-0", "*.timeindex")[1],
        next(each for each in field.files("rotten-0", "*.txnindex") if each.stat().st_size),
        field.files("rotten-0", "*.snapshot")[-1],
        field.data / "rotten-0" / "leader-epoch-checkpoint",
        field.data / "renamed-0" / "partition.metadata",
        field.data / "replication-offset-checkpoint",
        field.data / "recovery-point-offset-checkpoint",
        field.data / "log-start-offset-checkpoint",
        field.data / "cleaner-offset-checkpoint",
    ]
    for path in rotten:
        flip_a_bit(path)
    field.start()
    field.read_back()
    field.have_the_victim_lead()
    field.read_back()


@pytest.mark.parametrize("pattern", ["*.log", "*.checkpoint"])
def test_a_voters_log_and_snapshot_are_copied_from_the_others(field: Field, pattern: str) -> None:
    field.kill()
    path = field.files(QUORUM, pattern)[-1 if pattern == "*.checkpoint" else 0]
    flip_a_bit(path, 100)
    field.start()
    event = field.events.wait_for("replica_corrupt", QUORUM)
    assert path.name in event.reason
    field.events.wait_for("replica_begun_anew", QUORUM)
    field.read_back()


@pytest.mark.parametrize(
    ("name", "before", "said"),
    [
        (f"{QUORUM}/quorum-state", b"{", "quorum-state"),
        ("meta.properties", b"node.id=", "belongs to node 3"),
        ("bootstrap.checkpoint", b"", "bootstrap.checkpoint"),
    ],
)
def test_what_cannot_be_made_anew_is_named(field: Field, name: str, before: bytes, said: str) -> None:
    path = field.data / name
    field.kill()
    content = path.read_bytes()
    # Where no other word is as good: a brace, the node's id; and what a CRC covers.
    at = content.index(before) + (len(before) if before.endswith(b"=") else 0) if before else 100
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert field.cluster.cli("start", str(VICTIM), check=False).returncode == 1
    # One broker.log a process.
    assert said in (field.data.parent / "broker.log").read_text()
    path.write_bytes(content)
    field.cluster.cli("kill", str(VICTIM), check=False)
    field.start()
    field.read_back()
