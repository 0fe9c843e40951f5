"""Hostile clients at a broker under load: one connection closes or gets its error, and nobody else notices.

After each attack the same processes run, wrote at most about a line a second about it, hold hardly more memory than
before, and a producer and a consumer beside it went on without an error.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from engine.model.errors import ErrorCode
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.wire import apis, codec
from engine.wire.apis import ApiKey
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.api_versions_response import ApiVersionsResponse
from engine.wire.messages.begin_quorum_epoch_request import BeginQuorumEpochRequest
from engine.wire.messages.begin_quorum_epoch_request import PartitionData as BeginPartition
from engine.wire.messages.begin_quorum_epoch_request import TopicData as BeginTopic
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.end_quorum_epoch_request import EndQuorumEpochRequest
from engine.wire.messages.end_quorum_epoch_request import PartitionData as EndPartition
from engine.wire.messages.end_quorum_epoch_request import TopicData as EndTopic
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic, ReplicaState
from engine.wire.messages.fetch_snapshot_request import (
    FetchSnapshotRequest,
    PartitionSnapshot,
    SnapshotId,
    TopicSnapshot,
)
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from engine.wire.messages.vote_request import PartitionData as VotePartition
from engine.wire.messages.vote_request import TopicData as VoteTopic
from engine.wire.messages.vote_request import VoteRequest
from tests.integration.bystander import Bystander
from tests.integration.conftest import Cluster, start_cluster, stop_cluster
from tests.integration.hostile_batches import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    PACK,
    REPACKED,
    bomb,
    corrupt_batches,
    good_batch,
    lying_records,
    produce_request,
    repacking_topic,
    with_body,
    with_header,
)
from tests.integration.observing import MIB, Brokers, controller_address
from tests.integration.raw_client import (
    Address,
    RawConnection,
    decode_answer,
    framed,
    header_bytes,
    request_bytes,
    wait_until,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MAX_GROWTH_BYTES = 64 * MIB
LINES_A_SECOND = 1
# Lines that a broker writes in its ordinary course (an ISR change, a topic).
ORDINARY_LINES = 25
LISTENERS = ("broker", "controller")
TOPIC = "attacked"
COMPACTED = "attacked-compacted"


class Target:
    """A cluster with a bystander; broker 1 is attacked."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        topics = [
            NewTopic(TOPIC, 1, replica_assignment=[[1, 2, 3]]),
            NewTopic(COMPACTED, 1, replica_assignment=[[1, 2, 3]], config={"cleanup.policy": "compact"}),
        ]
        for each, name in REPACKED.items():
            kind = "uncompressed" if each is Compression.NONE else each.name.lower()
            topics.append(NewTopic(name, 1, replica_assignment=[[1, 2, 3]], config={"compression.type": kind}))
        for future in admin.create_topics(topics).values():
            future.result(20)
        self.bystander = Bystander(cluster.bootstrap, "bystander")
        self.broker = Brokers(cluster).address(1)
        self.controllers = {broker_id: controller_address(cluster, broker_id) for broker_id in (1, 2, 3)}

    def address(self, listener: str) -> Address:
        """The attacked broker's listener of this kind."""
        return self.broker if listener == "broker" else self.controllers[1]

    def is_served(self, listener: str) -> None:
        """A decent request on a new connection is answered."""
        with RawConnection(self.address(listener)) as connection:
            assert connection.ask(ApiVersionsRequest(), 0).error_code == 0


class Watch:
    """Compares the brokers after an attack with before it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.brokers = Brokers(target.cluster)
        self._before = {broker_id: self.brokers.rss_bytes(broker_id) for broker_id in self.brokers.pids}
        self._peaks = dict(self._before)
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopping.wait(0.02):
            for broker_id in self._peaks:
                try:
                    self._peaks[broker_id] = max(self._peaks[broker_id], self.brokers.rss_bytes(broker_id))
                except psutil.NoSuchProcess:
                    return

    def assert_unharmed(self) -> None:
        self.target.bystander.assert_undisturbed()
        self._stopping.set()
        self._thread.join()
        self.brokers.assert_unharmed()
        growth = {broker_id: (self._peaks[broker_id] - before) // MIB for broker_id, before in self._before.items()}
        assert max(growth.values()) <= MAX_GROWTH_BYTES // MIB, f"MiB by which brokers grew: {growth}"
        allowed = (time.monotonic() - self._began) * LINES_A_SECOND + ORDINARY_LINES
        for broker_id in self.brokers.pids:
            lines = self.brokers.new_log_lines(broker_id)
            assert len(lines) <= allowed, "\n".join(lines)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    cluster = start_cluster(tmp_path_factory.mktemp("hostile"))
    try:
        attacked = Target(cluster)
        yield attacked
        attacked.bystander.stop()
    finally:
        stop_cluster(cluster)


@pytest.fixture(autouse=True)
def watch(target: Target) -> Iterator[Watch]:
    watched = Watch(target)
    yield watched
    watched.assert_unharmed()


def expect_closed(address: Address, payloads: dict[str, bytes]) -> None:
    """Each of the payloads, on a connection of its own, ends that connection without an answer."""
    answered = []
    for name, payload in payloads.items():
        with RawConnection(address) as connection:
            connection.send(payload)
            try:
                if not connection.is_closed_by_peer():
                    answered.append(f"{name}: left open")
            except AssertionError:
                answered.append(f"{name}: answered")
    assert answered == []


# -- frames --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
def test_frames_that_claim_impossible_sizes_close_their_connection(target: Target, listener: str) -> None:
    sizes = [-1, INT_MIN, INT_MAX, 100 * MIB + 1]
    expect_closed(target.address(listener), {f"size {size}": struct.pack(">i", size) + b"x" * 100 for size in sizes})


@pytest.mark.parametrize("listener", LISTENERS)
def test_frames_that_are_no_requests_close_their_connection(target: Target, listener: str) -> None:
    rng = random.Random(1)
    payloads = {
        "empty frame": framed(b""),
        "one byte": framed(b"\0"),
        "half a header": framed(b"\0\x12\0\0\0"),
        "only the fixed part of a header": framed(struct.pack(">hhi", ApiKey.METADATA, 1, 1)),
        "a client id that is longer than the frame": framed(struct.pack(">hhih", ApiKey.METADATA, 1, 1, 1000)),
        "a client id of a negative length": framed(struct.pack(">hhih", ApiKey.METADATA, 1, 1, -2)),
        "a client id that is not UTF-8": framed(struct.pack(">hhih", ApiKey.METADATA, 1, 1, 3) + b"\xff\xfe\xfd"),
        "HTTP": b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
        "TLS": bytes.fromhex("16030100c8010000c40303") + rng.randbytes(200),
    }
    for number in range(50):
        payloads[f"garbage {number}"] = framed(rng.randbytes(rng.randint(8, 2000)))
    expect_closed(target.address(listener), payloads)


@pytest.mark.parametrize("listener", LISTENERS)
def test_unknown_apis_versions_and_listeners_close_their_connection(target: Target, listener: str) -> None:
    with RawConnection(target.address(listener)) as connection:
        answer: ApiVersionsResponse = connection.ask(ApiVersionsRequest(), 0)
    served = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
    payloads = {}
    for key in (-1, 4, 5, 6, 7, 93, 1000, 32767, -32768):
        payloads[f"key {key}"] = framed(header_bytes(key, 0) + b"\0" * 100)
    for key in ApiKey:
        low, high = served.get(key, (0, -1))
        versions = {-1, high + 1, 32767, -32768} if key in served else {0, apis.version_range(key)[1]}
        if low > 0:
            versions.add(low - 1)
        if key is ApiKey.PRODUCE and key in served:
            versions |= {0, 1, 2}  # advertised for librdkafka's sake, served never
        if key is ApiKey.API_VERSIONS:
            continue
        for version in sorted(versions):
            payloads[f"{key.name} v{version}"] = framed(header_bytes(key, version) + b"\0" * 100)
    expect_closed(target.address(listener), payloads)


@pytest.mark.parametrize("listener", LISTENERS)
def test_api_versions_in_an_unknown_version_is_answered_in_version_0(target: Target, listener: str) -> None:
    with RawConnection(target.address(listener)) as connection:
        for number, version in enumerate((5, 99, 32767, -1)):
            connection.send(framed(header_bytes(ApiKey.API_VERSIONS, version, number) + b"\1\2\3"))
            answer = decode_answer(ApiKey.API_VERSIONS, 0, connection.receive_frame(), number)
            assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
            assert [each.api_key for each in answer.api_keys] == [ApiKey.API_VERSIONS]
        assert connection.ask(ApiVersionsRequest(), 0).error_code == 0, "and the connection serves on"


def whole_requests(address: Address) -> Iterator[tuple[str, bytes]]:
    """A filled request of every served API in its lowest and highest version, as bytes."""
    from tests.integration.test_every_api import Known, contents

    with RawConnection(address) as connection:
        answer = connection.ask(ApiVersionsRequest(), 0)
    # Names of what does not exist: a request to delete something that comes through must do no harm.
    known = Known(name="victim", topic="victim", topic_name="victim", group_id="victim", host="h")
    for each in answer.api_keys:
        low, high = max(each.min_version, apis.version_range(each.api_key)[0]), each.max_version
        for version in sorted({low, high}):
            for what, request in contents(apis.request_class(each.api_key), version, known):
                if what == "the cluster's names":
                    yield f"{ApiKey(each.api_key).name} v{version}", request_bytes(request, version)


@pytest.mark.parametrize("listener", LISTENERS)
def test_truncated_requests_close_their_connection(target: Target, listener: str) -> None:
    address = target.address(listener)
    payloads = {}
    for name, whole in whole_requests(address):
        key, version = struct.unpack_from(">hh", whole)
        empty_header = len(header_bytes(key, version))
        for cut in sorted({1, 2, (len(whole) - empty_header) // 2, len(whole) - empty_header}):
            if len(whole) - cut > 8 and cut > 0:
                payloads[f"{name} without its last {cut} bytes"] = framed(whole[:-cut])
        if len(whole) == empty_header:
            # ApiVersions v0 has no body: there is nothing to cut off.
            del payloads[f"{name} without its last 1 bytes"], payloads[f"{name} without its last 2 bytes"]
    expect_closed(address, payloads)


@pytest.mark.parametrize("listener", LISTENERS)
def test_lengths_and_counts_that_lie_close_their_connection(target: Target, listener: str) -> None:
    """Every place in every request where a large number fits, not only those that are lengths: most of them make the
    request unreadable, and none may cost memory."""
    address = target.address(listener)
    lies = {
        "int32": struct.pack(">i", INT_MAX),
        "int16": struct.pack(">h", 32767),
        "varint": b"\xff\xff\xff\xff\x0f",
        "endless varint": b"\xff" * 12,
    }
    sent = 0
    connection = RawConnection(address)
    for _, whole in whole_requests(address):
        key, version = struct.unpack_from(">hh", whole)
        for position in range(len(header_bytes(key, version)), len(whole), 3):
            for lie in lies.values():
                lying = whole[:position] + lie + whole[position + len(lie) :]
                connection.socket.close()
                connection = RawConnection(address)
                connection.send(framed(lying))
                sent += 1
    connection.socket.close()
    assert sent > 500
    target.is_served(listener)


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_thousand_claims_of_two_billion_elements_cost_nothing(target: Target, listener: str) -> None:
    claim = {
        "broker": header_bytes(ApiKey.METADATA, 1) + struct.pack(">i", INT_MAX),
        "controller": header_bytes(ApiKey.CREATE_TOPICS, 4) + struct.pack(">i", INT_MAX),
    }[listener]
    with ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(target.address(listener))) for _ in range(1000)]
        for connection in connections:
            connection.send(framed(claim))
        assert all(connection.is_closed_by_peer() for connection in connections)


# -- connections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
def test_half_frames_and_silence_hold_nobody_up(target: Target, listener: str) -> None:
    address = target.address(listener)
    half = framed(header_bytes(ApiKey.METADATA, 1) + b"\0" * 100)[:60]
    huge = struct.pack(">i", 100 * MIB) + b"\0" * 1000
    with ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(address)) for _ in range(300)]
        for number, connection in enumerate(connections):
            connection.send((half, huge, b"", b"\0\0")[number % 4])
        target.is_served(listener)
        target.bystander.assert_undisturbed()


def test_a_request_that_comes_byte_by_byte_costs_its_bytes_only(target: Target) -> None:
    with RawConnection(target.broker) as slow:
        slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        slow.send(struct.pack(">i", 90 * MIB))
        for number in range(300_000):
            slow.socket.send(b"\0")
            if number % 100_000 == 0:
                target.is_served("broker")


def test_thousands_of_connections_come_and_go(target: Target, watch: Watch) -> None:
    process = psutil.Process(watch.brokers.pids[1])
    before = process.num_fds()
    for _ in range(4000):
        socket.create_connection(target.broker, 10).close()
    for _ in range(1000):  # and with a reset
        connection = socket.create_connection(target.broker, 10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    wait_until("descriptors are closed again", lambda: process.num_fds() <= before + 20)


def test_ten_thousand_pipelined_requests_are_answered_in_order(target: Target) -> None:
    count = 10_000
    data = b"".join(framed(request_bytes(ApiVersionsRequest(), 0, number)) for number in range(count))
    with RawConnection(target.broker) as connection:
        sender = threading.Thread(target=connection.send, args=(data,))
        sender.start()
        for number in range(count):
            assert decode_answer(ApiKey.API_VERSIONS, 0, connection.receive_frame(), number).error_code == 0
        sender.join()


def test_pipelined_requests_with_large_answers_that_nobody_reads_wait_their_turn(target: Target) -> None:
    """Each of a hundred bytes asks for tens of kilobytes."""
    request = DescribeConfigsRequest(resources=[DescribeConfigsResource(4, "1"), DescribeConfigsResource(2, TOPIC)])
    data = b"".join(framed(request_bytes(request, 1, number)) for number in range(2000))
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(RawConnection(target.broker, receive_buffer_bytes=4096))
            connection.socket.settimeout(0.2)
            with suppress(TimeoutError):  # the broker stops reading: right so
                connection.send(data)
        target.is_served("broker")
        target.bystander.assert_undisturbed()


def test_readers_that_never_read_their_big_fetches_cost_little(target: Target) -> None:
    value = random.Random(2).randbytes(500_000)
    batch = build_batch([NewRecord(None, value)], timestamp=int(time.time() * 1000))
    with RawConnection(target.broker) as connection:
        for _ in range(100):
            (answer,) = connection.ask(produce_request(TOPIC, batch), 9).responses[0].partition_responses
            assert answer.error_code == 0
        fetch = FetchRequest(
            max_wait_ms=100,
            min_bytes=1,
            max_bytes=INT_MAX,
            topics=[FetchTopic(topic=TOPIC, partitions=[FetchPartition(0, partition_max_bytes=INT_MAX)])],
        )
        connection.send(framed(request_bytes(fetch, 11)))
        whole = connection.receive_frame()
        assert len(whole) > 45_000_000
    with ExitStack() as stack:
        stuck = [stack.enter_context(RawConnection(target.broker, receive_buffer_bytes=4096)) for _ in range(30)]
        for connection in stuck:
            connection.send(framed(request_bytes(fetch, 11)) * 5)
        target.is_served("broker")
        target.bystander.assert_undisturbed()
        # One of them reads after all: nothing was lost.
        for _ in range(2):
            assert stuck[0].receive_frame()[-400_000:] == whole[-400_000:]


# -- record batches ------------------------------------------------------------------------------------------------


def test_corrupt_batches_are_refused_and_their_connection_serves_on(target: Target) -> None:
    wrong = {}
    with RawConnection(target.broker) as connection:
        for name, (records, expected) in corrupt_batches().items():
            answer = connection.ask(produce_request(TOPIC, records), 9).responses[0].partition_responses[0]
            if answer.error_code not in expected:
                wrong[name] = ErrorCode(answer.error_code).name
            assert answer.error_code == 0 or answer.base_offset == -1
        assert wrong == {}
        answer = connection.ask(produce_request(TOPIC, good_batch()), 9).responses[0].partition_responses[0]
        assert answer.error_code == 0


def test_a_corrupt_batch_without_acks_closes_its_connection(target: Target) -> None:
    bad = with_header(good_batch(), crc=1)
    expect_closed(target.broker, {"acks=0": framed(request_bytes(produce_request(TOPIC, bad, acks=0), 9))})


@pytest.mark.parametrize("packed", Compression, ids=lambda each: each.name.lower())
def test_records_that_lie_are_refused_where_the_broker_unpacks_them(target: Target, packed: Compression) -> None:
    topic = repacking_topic(packed)
    refused = {ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE}
    bodies = {name: (PACK[packed](data), count) for name, (data, count) in lying_records().items()}
    if packed is not Compression.NONE:
        whole = PACK[packed](b"\x0c\0\0\0\x01\x01\0")
        rng = random.Random(3)
        bodies |= {
            "not of its codec": (rng.randbytes(100), 1),
            "cut off": (whole[: len(whole) // 2], 1),
            "empty": (b"", 1),
            "flipped": (bytes((whole[0] ^ 0xFF,)) + whole[1:], 1),
        }
    wrong = {}
    with RawConnection(target.broker) as connection:
        for name, (body, count) in bodies.items():
            request = produce_request(topic, with_body(body, count, packed))
            answer = connection.ask(request, 9).responses[0].partition_responses[0]
            if answer.error_code not in refused:
                wrong[name] = ErrorCode(answer.error_code).name
        assert wrong == {}
        request = produce_request(topic, good_batch(compression=packed))
        assert connection.ask(request, 9).responses[0].partition_responses[0].error_code == 0


@pytest.mark.parametrize("packed", list(Compression)[1:], ids=lambda each: each.name.lower())
def test_compression_bombs_are_refused_at_the_price_of_a_bounded_buffer(target: Target, packed: Compression) -> None:
    body = bomb(packed)
    assert len(body) < 1_040_000
    with RawConnection(target.broker) as connection:
        for topic in (repacking_topic(packed), COMPACTED):
            for count in (1, 1000):
                request = produce_request(topic, with_body(body, count, packed))
                answer = connection.ask(request, 9).responses[0].partition_responses[0]
                assert ErrorCode(answer.error_code) in (
                    ErrorCode.MESSAGE_TOO_LARGE,
                    ErrorCode.INVALID_RECORD,
                    ErrorCode.CORRUPT_MESSAGE,
                )


# -- forged requests -----------------------------------------------------------------------------------------------


def test_forged_fetches_of_followers_move_nothing(target: Target) -> None:
    def fetch(version: int, replica_id: int, offset: int, epoch: int = -1) -> int:
        request = FetchRequest(
            max_wait_ms=10,
            min_bytes=0,
            max_bytes=1000,
            topics=[FetchTopic(topic=TOPIC, partitions=[FetchPartition(0, epoch, offset, partition_max_bytes=1000)])],
        )
        if version >= 15:
            request.replica_state = ReplicaState(replica_id, 10**12 if replica_id == 99 else -1)
            request.topics[0].topic_id = topic_id
            request.topics[0].topic = ""
        else:
            request.replica_id = replica_id
        answer = connection.ask(request, version)
        return int(answer.error_code or answer.responses[0].partitions[0].error_code)

    with RawConnection(target.broker) as connection:
        metadata = connection.ask(MetadataRequest(topics=[MetadataRequestTopic(name=TOPIC)]), 12)
        topic_id = metadata.topics[0].topic_id
        leader_epoch = metadata.topics[0].partitions[0].leader_epoch
        for version in (11, 12, 16, 17):
            for stranger in (1, 99, INT_MAX):  # the leader itself, brokers that there are none
                assert fetch(version, stranger, 0) == ErrorCode.NOT_LEADER_OR_FOLLOWER
                assert fetch(version, stranger, 0, leader_epoch) == ErrorCode.UNKNOWN_LEADER_EPOCH
            for offset in (LONG_MAX, 10**9, -1, -(2**63)):
                assert fetch(version, 2, offset) == ErrorCode.OFFSET_OUT_OF_RANGE
            assert fetch(version, 2, 0, leader_epoch + 1) == ErrorCode.UNKNOWN_LEADER_EPOCH
            assert fetch(version, 2, 0, INT_MAX) == ErrorCode.UNKNOWN_LEADER_EPOCH
        for replica_id in (2, 99, INT_MAX, -2, INT_MIN):
            request = ListOffsetsRequest(
                replica_id=replica_id, topics=[ListOffsetsTopic(TOPIC, [ListOffsetsPartition(0, timestamp=-1)])]
            )
            assert connection.ask(request, 5).topics[0].partitions[0].error_code == 0
        # Appends are still committed by the true followers.
        answer = connection.ask(produce_request(TOPIC, good_batch()), 9).responses[0].partition_responses[0]
        assert answer.error_code == 0


def test_clients_write_nothing_to_internal_topics(target: Target) -> None:
    """Garbage there would keep a coordinator from ever loading its groups again."""
    with RawConnection(target.broker) as connection:
        wait_until(
            "the offsets topic",
            lambda: (
                connection.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), 4).coordinators[0].node_id
                > 0
            ),
        )
        request = MetadataRequest(topics=[MetadataRequestTopic(name="__consumer_offsets")])
        partitions = connection.ask(request, 12).topics[0].partitions
        number = next(each.partition_index for each in partitions if each.leader_id == 1)
        data = [TopicProduceData("__consumer_offsets", partition_data=[PartitionProduceData(number, good_batch())])]
        answer = connection.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), 9)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_list_offsets_of_a_hundred_thousand_partitions_does_not_stall_the_broker(target: Target) -> None:
    request = ListOffsetsRequest(
        replica_id=-1,
        topics=[ListOffsetsTopic(TOPIC, [ListOffsetsPartition(number, timestamp=-1) for number in range(60_000)] * 2)],
    )
    with RawConnection(target.broker) as connection:
        answer = connection.ask(request, 5)
    assert {each.error_code for each in answer.topics[0].partitions} == {ErrorCode.INVALID_REQUEST}


def test_forged_requests_of_the_quorum_change_no_leader(target: Target) -> None:
    metadata = "__cluster_metadata"

    def leader() -> tuple[int, int]:
        with RawConnection(target.controllers[1]) as connection:
            begin = BeginQuorumEpochRequest(topics=[BeginTopic(metadata, [BeginPartition(0, leader_id=-1)])])
            answer = connection.ask(begin, 0).topics[0].partitions[0]
            return answer.leader_id, answer.leader_epoch

    before = wait_until("a quorum's leader", lambda: (found := leader())[0] >= 0 and found)
    numbers = (INT_MIN, -1, 0, INT_MAX)
    for address in target.controllers.values():
        with RawConnection(address) as connection:
            for epoch in numbers:
                for offset in (-(2**63), -1, 0, LONG_MAX):
                    vote = VotePartition(0, epoch, 99, last_offset_epoch=epoch, last_offset=offset)
                    connection.ask(VoteRequest(topics=[VoteTopic(metadata, [vote])]), 0)
                    fetch = FetchRequest(
                        replica_id=99,
                        max_wait_ms=1,
                        topics=[
                            FetchTopic(
                                topic=metadata,
                                partitions=[FetchPartition(0, before[1], offset, epoch, partition_max_bytes=epoch)],
                            )
                        ],
                    )
                    connection.ask(fetch, 12)
                    position = PartitionSnapshot(0, before[1], SnapshotId(offset, epoch), offset)
                    connection.ask(FetchSnapshotRequest(replica_id=99, topics=[TopicSnapshot(metadata, [position])]), 0)
                begin = BeginPartition(0, leader_id=99, leader_epoch=epoch)
                connection.ask(BeginQuorumEpochRequest(topics=[BeginTopic(metadata, [begin])]), 0)
                end = EndPartition(0, leader_id=99, leader_epoch=epoch)
                connection.ask(EndQuorumEpochRequest(topics=[EndTopic(metadata, [end])]), 0)
    assert leader() == before


def test_garbage_that_begins_like_requests_of_the_quorum_closes_its_connection_only(target: Target) -> None:
    rng = random.Random(4)
    for address in target.controllers.values():
        for key in (
            ApiKey.VOTE,
            ApiKey.BEGIN_QUORUM_EPOCH,
            ApiKey.FETCH,
            ApiKey.FETCH_SNAPSHOT,
            ApiKey.ALTER_PARTITION,
        ):
            for _ in range(20):
                version = apis.version_range(key)[1]
                with RawConnection(address) as connection:
                    connection.send(framed(header_bytes(key, version) + rng.randbytes(rng.randint(0, 300))))
    for broker_id in target.controllers:
        assert target.cluster.status()[broker_id - 1]["state"] == "running"
    target.is_served("controller")


def test_what_the_codec_writes_the_raw_client_sends() -> None:
    """The attacks differ from this by what they corrupt only."""
    request = MetadataRequest(topics=None)
    assert request_bytes(request, 12).endswith(codec.encode(request, 12))
