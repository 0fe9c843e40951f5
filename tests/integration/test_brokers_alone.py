"""``kconsole broker --properties server.properties``: one broker in the foreground, from Kafka's own property names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.clusters import free_port
from engine.model.errors import ErrorCode
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from tests.integration.conftest import KCONSOLE
from tests.integration.java_tools import kafka_tool
from tests.integration.lone_broker import Alone, properties_of, write_properties
from tests.integration.raw_client import RawConnection, decode_answer, framed, request_bytes, wait_until
from tests.integration.test_crashes import produce_request

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MIB = 1 << 20
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"


@pytest.fixture
def brokers() -> Iterator[list[Alone]]:
    started: list[Alone] = []
    yield started
    for each in started:
        each.kill()


def values_of(bootstrap: str, topic: str) -> list[bytes]:
    """Everything in partition 0."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    partition = TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, 10)
    consumer.assign([partition])
    values: list[bytes] = []
    while len(values) < end:
        messages = consumer.consume(end - len(values), 10)
        assert messages
        for message in messages:
            assert message.error() is None
            values.append(message.value())
    consumer.close()
    return values


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    failed: list[object] = []
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(20) == 0
    assert failed == []


def test_one_broker_serves_stops_in_order_and_comes_back_after_every_kind_of_end(
    tmp_path: Path, brokers: list[Alone]
) -> None:
    port, controller_port = free_port(), free_port()
    lines = properties_of(
        tmp_path,
        port,
        controller_port,
        advertised_listeners=f"PLAINTEXT://localhost:{port}",
        listeners=f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:{controller_port}",
    )
    file = tmp_path / "server.properties"
    # The format of java.util.Properties: comments, other separators, blanks, continuation.
    text = "# a comment\n! another\n\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
    file.write_text(text + "num.partitions:\\\n    2\nunheard.of=1\n")
    values = [b"%d" % number for number in range(100)]
    for count, end in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGTERM), 1):
        broker = Alone(file, ("127.0.0.1", port))
        brokers.append(broker)
        produce(broker.bootstrap, "made-by-use", values)
        assert values_of(broker.bootstrap, "made-by-use") == values * count
        metadata = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10)
        assert {(each.id, each.host, each.port) for each in metadata.brokers.values()} == {(7, "localhost", port)}
        assert len(metadata.topics["made-by-use"].partitions) == 2
        code = broker.stop(end)
        assert code == (-9 if end == signal.SIGKILL else 0)
        assert (tmp_path / "data" / ".kafka_cleanshutdown").exists() == (end != signal.SIGKILL)
    log = (tmp_path / "server.log").read_text()
    assert "unheard.of" in log
    assert " ERROR " not in log and "Traceback" not in log


def test_a_directory_that_kafkas_storage_tool_formatted_is_used_with_its_cluster_id(
    tmp_path: Path, brokers: list[Alone]
) -> None:
    port = free_port()
    file = write_properties(tmp_path / "server.properties", properties_of(tmp_path, port, free_port()))
    kafka_tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file))
    broker = Alone(file, ("127.0.0.1", port))
    brokers.append(broker)
    assert CLUSTER_ID in kafka_tool(
        "org.apache.kafka.tools.ClusterTool", "cluster-id", "--bootstrap-server", broker.bootstrap
    )
    assert broker.stop() == 0


def run_to_its_end(properties: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(KCONSOLE), "broker", "--properties", str(properties)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    properties = properties_of(
        tmp_path,
        free_port(),
        free_port(),
        node_id="seven",
        num_partitions="0",
        log_retention_ms="soon",
        compression_type="rar",
        listeners="PLAINTEXT://127.0.0.1:notaport",
    )
    del properties["process.roles"]
    done = run_to_its_end(write_properties(tmp_path / "server.properties", properties))
    assert done.returncode == 2
    for name in ("node.id", "num.partitions", "log.retention.ms", "compression.type", "listeners", "process.roles"):
        assert name in done.stderr, (name, done.stderr)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was begun"
    done = run_to_its_end(tmp_path / "not-there.properties")
    assert done.returncode == 2 and "not-there.properties" in done.stderr
    (tmp_path / "binary.properties").write_bytes(b"\xff\xfe\x00")
    done = run_to_its_end(tmp_path / "binary.properties")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    done = run_to_its_end(write_properties(tmp_path / "good.properties", properties), PYTHONOPTIMIZE="1")
    assert done.returncode == 2 and "-O" in done.stderr


def test_what_belongs_to_another_is_refused_by_name(tmp_path: Path, brokers: list[Alone]) -> None:
    port, controller_port = free_port(), free_port()
    properties = properties_of(tmp_path, port, controller_port)
    brokers.append(Alone(write_properties(tmp_path / "first.properties", properties), ("127.0.0.1", port)))
    data = str(tmp_path / "data")

    # A second process on the same directory.
    other = {**properties, **{"listeners": properties["listeners"].replace(str(port), str(free_port()))}}
    done = run_to_its_end(write_properties(tmp_path / "second.properties", other))
    assert done.returncode == 1 and data in done.stderr and "Traceback" not in done.stderr, done.stderr
    # The first one did not notice.
    produce(brokers[0].bootstrap, "still", [b"here"])

    # A port that is taken; its own directory is free again afterwards.
    elsewhere = properties_of(tmp_path / "elsewhere", port, free_port())
    for _ in range(2):
        done = run_to_its_end(write_properties(tmp_path / "port.properties", elsewhere))
        assert done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr and "Traceback" not in done.stderr, (
            done.stderr
        )
    assert brokers[0].stop() == 0

    # Nobody knows which cluster an empty directory of one voter of many belongs to.
    one_of_two = {
        **properties_of(tmp_path / "empty", free_port(), controller_port),
        "controller.quorum.voters": f"7@127.0.0.1:{controller_port},8@127.0.0.1:{free_port()}",
    }
    done = run_to_its_end(write_properties(tmp_path / "two.properties", one_of_two))
    assert done.returncode == 1 and "--cluster-id" in done.stderr and "Traceback" not in done.stderr, done.stderr

    # Another node's directory.
    stranger = {**properties, "node.id": "8", "controller.quorum.voters": f"8@127.0.0.1:{controller_port}"}
    done = run_to_its_end(write_properties(tmp_path / "node.properties", stranger))
    assert done.returncode == 1 and data in done.stderr and "Traceback" not in done.stderr, done.stderr


# -- limits --------------------------------------------------------------------------------------------------------


def short_of_descriptors(tmp_path: Path, brokers: list[Alone]) -> Alone:
    port = free_port()
    file = write_properties(
        tmp_path / "server.properties", properties_of(tmp_path, port, free_port(), log_segment_bytes=str(MIB))
    )
    brokers.append(Alone(file, ("127.0.0.1", port), max_files=200))
    return brokers[-1]


def flood(broker: Alone, stack: ExitStack) -> None:
    """More connections than there are descriptors, open as long as ``stack``."""
    for _ in range(600):
        connection = stack.enter_context(socket.socket())
        connection.settimeout(5)
        with suppress(OSError):
            connection.connect(broker.address)


def let_the_log_roll(connection: RawConnection, topic: str) -> None:
    for _ in range(60):
        connection.send(produce_request(topic, 0, b"x" * 100_000, acks=1))
        answer = decode_answer(0, 9, connection.receive_frame(), 1).responses[0].partition_responses[0]
        assert answer.error_code == 0


def test_a_flood_of_connections_leaves_descriptors_for_the_logs(tmp_path: Path, brokers: list[Alone]) -> None:
    """With few descriptors, more clients than there are: those that are served stay served, and segments roll."""
    broker = short_of_descriptors(tmp_path, brokers)
    produce(broker.bootstrap, "flooded", [b"before"])
    with ExitStack() as stack:
        flood(broker, stack)
        # The next ones find places once those of the flood are closed; meanwhile logs grow and roll all the same.
        assert broker.process.poll() is None
    with RawConnection(broker.address) as connection:
        let_the_log_roll(connection, "flooded")
    assert len(list((tmp_path / "data" / "flooded-0").glob("*.log"))) >= 5
    log = broker.log.read_text()
    assert len(log.splitlines()) < 100 and "Traceback" not in log, log[-3000:]
    assert broker.stop() == 0


def test_logs_roll_while_every_connection_is_taken(tmp_path: Path, brokers: list[Alone]) -> None:
    broker = short_of_descriptors(tmp_path, brokers)
    produce(broker.bootstrap, "crowded", [b"before"])
    with ExitStack() as stack:
        early = stack.enter_context(RawConnection(broker.address))
        assert early.ask(ApiVersionsRequest(), 0).error_code == 0
        flood(broker, stack)
        let_the_log_roll(early, "crowded")
    assert len(list((tmp_path / "data" / "crowded-0").glob("*.log"))) >= 5
    assert broker.process.poll() is None
    wait_until("places are free again", broker.answers)
    assert broker.stop() == 0


def test_max_connections_and_idle_connections(tmp_path: Path, brokers: list[Alone]) -> None:
    port = free_port()
    file = write_properties(
        tmp_path / "server.properties",
        properties_of(tmp_path, port, free_port(), max_connections="20", connections_max_idle_ms="1000"),
    )
    broker = Alone(file, ("127.0.0.1", port))
    brokers.append(broker)
    produce(broker.bootstrap, "big", [b"x" * 500_000] * 20)
    process = psutil.Process(broker.process.pid)
    with ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(broker.address)) for _ in range(30)]
        closed = sum(connection.is_closed_by_peer(0.05) for connection in connections)
        assert closed >= 10
    wait_until("places are free again", broker.answers)
    silent, half, stuck = (RawConnection(broker.address, receive_buffer_bytes=4096) for _ in range(3))
    half.send(struct.pack(">i", 1000) + b"x")
    fetch = FetchRequest(
        max_wait_ms=100,
        min_bytes=1,
        max_bytes=2**31 - 1,
        topics=[FetchTopic(topic="big", partitions=[FetchPartition(0, partition_max_bytes=2**31 - 1)])],
    )
    stuck.send(framed(request_bytes(fetch, 11)))
    assert silent.is_closed_by_peer(10)
    assert half.is_closed_by_peer(10)
    ports = {each.socket.getsockname()[1] for each in (silent, half, stuck)}

    def are_gone() -> bool:
        return not ports & {
            each.raddr.port for each in process.net_connections("tcp") if each.raddr and each.status == "ESTABLISHED"
        }

    wait_until("the one that does not read is closed too", are_gone, 15)
    for each in (silent, half, stuck):
        each.socket.close()
    assert broker.stop() == 0


# -- strace --------------------------------------------------------------------------------------------------------

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and `ip`"
)


@needs_strace
def test_under_strace_it_flushes_before_it_acknowledges(tmp_path: Path, brokers: list[Alone]) -> None:
    port = free_port()
    file = write_properties(
        tmp_path / "server.properties",
        properties_of(tmp_path, port, free_port(), log_flush_interval_messages="1"),
    )
    trace = tmp_path / "trace"
    broker = Alone(file, ("127.0.0.1", port), "strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", str(trace))
    brokers.append(broker)
    produce(broker.bootstrap, "flushed", [b"first"])
    with RawConnection(broker.address) as connection:
        for _ in range(20):
            before = trace.read_text().count("fdatasync(")
            connection.send(produce_request("flushed", 0, b"x", acks=-1))
            answer = decode_answer(0, 9, connection.receive_frame(), 1).responses[0].partition_responses[0]
            assert answer.error_code == 0
            assert trace.read_text().count("fdatasync(") > before
    # strace passes signals on to its child only when it gets them from the terminal: stop the child itself.
    (child,) = psutil.Process(broker.process.pid).children()
    child.terminate()
    assert broker.process.wait(20) == 0


@needs_strace
def test_a_disk_that_fails_to_flush_ends_the_broker_and_nothing_is_acknowledged_after(
    tmp_path: Path, brokers: list[Alone]
) -> None:
    port = free_port()
    file = write_properties(
        tmp_path / "server.properties",
        properties_of(tmp_path, port, free_port(), log_flush_interval_messages="1"),
    )
    broker = Alone(file, ("127.0.0.1", port))
    brokers.append(broker)
    values = [b"%d" % number for number in range(50)]
    produce(broker.bootstrap, "failing", values)
    tracer = subprocess.Popen(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            os.devnull,
            "-e",
            "inject=fsync,fdatasync:error=EIO",
            "-p",
            str(broker.process.pid),
        ]
    )
    try:

        def is_traced() -> bool:
            status = Path(f"/proc/{broker.process.pid}/status").read_text()
            return f"TracerPid:\t{tracer.pid}" in status

        wait_until("strace is attached", is_traced)
        with RawConnection(broker.address) as connection:
            connection.send(produce_request("failing", 0, b"not flushed", acks=-1))
            with suppress(ConnectionError, TimeoutError):
                answer = decode_answer(0, 9, connection.receive_frame(), 1).responses[0].partition_responses[0]
                assert ErrorCode(answer.error_code) is not ErrorCode.NONE
        assert broker.process.wait(20) == 1
    finally:
        tracer.terminate()
        tracer.wait(10)
    assert "Input/output error" in broker.log.read_text()
    again = Alone(file, ("127.0.0.1", port))
    brokers.append(again)
    assert values_of(again.bootstrap, "failing")[:50] == values
    assert again.stop() == 0


# -- namespaces ----------------------------------------------------------------------------------------------------


class Namespaces:
    """Hosts of their own: ``hub`` with a bridge, and one for each name, all on 10.77.0.0/24."""

    def __init__(self, *names: str) -> None:
        self._suffix = f"{os.getpid() % 100_000}"
        self.names = names
        self._run("ip", "netns", "add", self._ns("hub"))
        self._in("hub", "ip", "link", "add", "br0", "type", "bridge")
        self._in("hub", "ip", "link", "set", "br0", "up")
        for number, name in enumerate(names, 1):
            self._run("ip", "netns", "add", self._ns(name))
            self._in("hub", "ip", "link", "add", name, "type", "veth", "peer", "name", "e0", "netns", self._ns(name))
            self._in("hub", "ip", "link", "set", name, "master", "br0", "up")
            self._in(name, "ip", "addr", "add", f"{self.address(name)}/24", "dev", "e0")
            self._in(name, "ip", "link", "set", "e0", "up")
            self._in(name, "ip", "link", "set", "lo", "up")
            assert number < 250

    def _ns(self, name: str) -> str:
        return f"kconsole-{self._suffix}-{name}"

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _in(self, name: str, *command: str) -> str:
        return self._run("ip", "netns", "exec", self._ns(name), *command)

    def address(self, name: str) -> str:
        return f"10.77.0.{self.names.index(name) + 1}"

    def prefix(self, name: str) -> tuple[str, ...]:
        """What runs a command on the host."""
        return ("ip", "netns", "exec", self._ns(name))

    def cut(self, name: str) -> None:
        """Take the host off the bridge: silence, in both directions."""
        self._in("hub", "ip", "link", "set", name, "nomaster")

    def heal(self, name: str) -> None:
        self._in("hub", "ip", "link", "set", name, "master", "br0")

    def close(self) -> None:
        for name in ("hub", *self.names):
            subprocess.run(["ip", "netns", "del", self._ns(name)], check=False, capture_output=True)


CLIENT = """
import sys, time
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
bootstrap, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
admin = AdminClient({"bootstrap.servers": bootstrap})
if first == 0:
    admin.create_topics([NewTopic("spread", 3, 3)])["spread"].result(30)
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all",
                     "socket.timeout.ms": 3000, "message.timeout.ms": 60000, "log_level": 0})
failed = []
for number in range(first, first + count):
    producer.produce("spread", b"%d" % number, partition=number % 3, on_delivery=lambda e, _: e and failed.append(e))
left = producer.flush(60)
assert not left and not failed, (left, failed[:3])
"""

READER = """
import json, sys
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
bootstrap = sys.argv[1]
config = {"bootstrap.servers": bootstrap, "group.id": "reader", "socket.timeout.ms": 3000, "log_level": 0}
consumer = Consumer(config)
found = []
for number in range(3):
    partition = TopicPartition("spread", number, 0)
    _, end = consumer.get_watermark_offsets(partition, 20)
    consumer.assign([partition])
    got = []
    while len(got) < end:
        messages = consumer.consume(end - len(got), 20)
        assert messages
        got += [int(each.value()) for each in messages if each.error() is None]
    found.append(got)
topics = AdminClient(config).list_topics("spread", timeout=10).topics["spread"].partitions
print(json.dumps([found, [sorted(each.isrs) for each in topics.values()], [each.leader for each in topics.values()]]))
"""


@needs_namespaces
def test_three_brokers_in_namespaces_reach_each_other_and_one_that_is_cut_off_is_replaced(
    tmp_path: Path, brokers: list[Alone]
) -> None:
    """Each on a host of its own, by its advertised listener; the cable of one is pulled, silently."""
    hosts = Namespaces("b1", "b2", "b3", "client")
    try:
        voters = ",".join(f"{number}@{hosts.address(f'b{number}')}:9093" for number in (1, 2, 3))
        for number in (1, 2, 3):
            name = f"b{number}"
            properties = properties_of(
                tmp_path / name,
                9092,
                9093,
                node_id=str(number),
                listeners="PLAINTEXT://:9092,CONTROLLER://:9093",
                advertised_listeners=f"PLAINTEXT://{hosts.address(name)}:9092",
                controller_quorum_voters=voters,
                log_dirs=str(tmp_path / name / "data"),
                offsets_topic_replication_factor="3",
                min_insync_replicas="2",
                broker_session_timeout_ms="3000",
                broker_heartbeat_interval_ms="500",
            )
            file = write_properties(tmp_path / f"{name}.properties", properties)
            # They wait for each other: a quorum needs two.
            address = hosts.address(name), 9092
            brokers.append(Alone(file, address, *hosts.prefix(name), waits=False, cluster_id=CLUSTER_ID))
        for broker in brokers:
            broker.wait_ready()
        bootstrap = ",".join(f"{hosts.address(name)}:9092" for name in ("b1", "b2", "b3"))

        def client(script: str, *arguments: object) -> str:
            done = subprocess.run(
                [*hosts.prefix("client"), sys.executable, "-c", script, bootstrap, *map(str, arguments)],
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        client(CLIENT, 0, 300)
        found, isrs, led = json.loads(client(READER))
        assert found == [list(range(number, 300, 3)) for number in range(3)]
        assert isrs == [[1, 2, 3]] * 3 and sorted(led) == [1, 2, 3]

        victim = f"b{led[0]}"
        hosts.cut(victim)
        client(CLIENT, 300, 300)
        found, isrs, led = json.loads(client(READER))
        assert [sorted(each) for each in found] == [list(range(number, 600, 3)) for number in range(3)]
        assert int(victim[1:]) not in {*led, *(each for isr in isrs for each in isr)}

        hosts.heal(victim)
        wait_until("whole ISRs", lambda: json.loads(client(READER))[1] == [[1, 2, 3]] * 3, 60)
        client(CLIENT, 600, 300)
        found, _, _ = json.loads(client(READER))
        assert found == [list(range(number, 900, 3)) for number in range(3)], "all, once, in order"
        for broker in brokers:
            (child,) = psutil.Process(broker.process.pid).children() or [psutil.Process(broker.process.pid)]
            child.terminate()
        for broker in brokers:
            assert broker.process.wait(30) == 0
            log = broker.log.read_text()
            assert "Traceback" not in log and " ERROR " not in log, log[-3000:]
    finally:
        for broker in brokers:
            broker.kill()
        hosts.close()
