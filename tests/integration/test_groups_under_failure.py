"""Groups whose members and coordinators die: rebalanced, nothing skipped, no committed offset lost, lag told truly."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.failover import Load
from engine.wire.messages.describe_groups_request import DescribeGroupsRequest
from engine.wire.messages.describe_groups_response import DescribedGroupMember
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from tests.integration.conftest import Cluster, kafka_tool, start_cluster, stop_cluster
from tests.integration.raw_client import RawConnection, parse_address, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PARTITIONS = 6
CONSUMER_GROUP_COMMAND = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


class Member:
    """A consumer in its own process, and what it told."""

    def __init__(self, client: str, cluster: Cluster, group: str, topic: str, instance_id: str | None = None) -> None:
        script = Path(__file__).with_name("group_member.py")
        arguments = [client, cluster.bootstrap, group, topic, *([instance_id] if instance_id else [])]
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.facts: list[dict[str, Any]] = []
        self.assignment: set[int] = set()
        self.rebalances = 0
        self._threads = [threading.Thread(target=self._read, daemon=True)]
        self._errors: list[str] = []
        self._threads.append(threading.Thread(target=self._read_errors, daemon=True))
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                fact = json.loads(line)
            except ValueError:
                continue  # cut off by SIGKILL
            if fact["kind"] == "assigned":
                self.assignment = set(fact["partitions"])
                self.rebalances += 1
            elif fact["kind"] in ("revoked", "lost"):
                self.assignment = set()
            self.facts.append(fact)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors += self.process.stderr

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fact for fact in list(self.facts) if fact["kind"] == kind]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.assignment = set()

    def stop(self) -> None:
        """SIGTERM: it closes its consumer."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0, "".join(self._errors)
        for thread in self._threads:
            thread.join(10)


class Offsets:
    """Reads the group's committed offsets all the time: none may be lost or go back."""

    def __init__(self, cluster: Cluster, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group, "log_level": 0})
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self.latest: dict[int, int] = {}
        self.wrong: list[str] = []
        self.readings = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            try:
                found = self._consumer.committed(self._partitions, timeout=2)
            except KafkaException:
                continue  # no coordinator just now
            for each in found:
                if each.error is not None:
                    continue
                self.readings += 1
                before = self.latest.get(each.partition, -1)
                if before >= 0 and each.offset < before:
                    self.wrong.append(f"partition {each.partition}: {each.offset} after {before}")
                if each.offset >= 0:
                    self.latest[each.partition] = max(before, each.offset)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._consumer.close()


@pytest.fixture
def members() -> Iterator[Callable[..., Member]]:
    made: list[Member] = []

    def make(*arguments: Any) -> Member:
        made.append(Member(*arguments))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(10)


@pytest.fixture(scope="module")
def group_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(tmp_path_factory.mktemp("groups"))
    yield running
    stop_cluster(running)


def find_coordinator(cluster: Cluster, group: str) -> int:
    """The broker id that the brokers name for the group; -1 if none is there now."""
    for row in cluster.line["brokers"]:
        with suppress(OSError, ConnectionError), RawConnection(parse_address(row["address"])) as connection:
            answer = connection.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=[group]), 4)
            if answer.coordinators[0].error_code == 0:
                return int(answer.coordinators[0].node_id)
    return -1


def describe(cluster: Cluster, group: str) -> tuple[str, dict[str, DescribedGroupMember]]:
    """The group's state and members as its coordinator tells them; ("", {}) if there is none now.

    Not with librdkafka's admin client: it aborts the process when the coordinator dies under such a request
    (librdkafka issue 4605).
    """
    coordinator = find_coordinator(cluster, group)
    for row in cluster.line["brokers"]:
        if row["id"] == coordinator:
            with suppress(OSError, ConnectionError), RawConnection(parse_address(row["address"])) as connection:
                (found,) = connection.ask(DescribeGroupsRequest(groups=[group]), 5).groups
                if found.error_code == 0:
                    return found.group_state, {each.member_id: each for each in found.members}
    return "", {}


def assigned_to(member: DescribedGroupMember) -> list[int]:
    """The partitions in the assignment of a member (ConsumerProtocolAssignment) of one topic."""
    data = member.member_assignment
    if not data:
        return []
    _, topics = struct.unpack_from(">hi", data)
    assert topics <= 1
    if not topics:
        return []
    (length,) = struct.unpack_from(">h", data, 6)
    (count,) = struct.unpack_from(">i", data, 8 + length)
    return list(struct.unpack_from(f">{count}i", data, 12 + length))


def is_whole(cluster: Cluster, group: str, alive: list[Member]) -> bool:
    """Whether the group is stable with these members, every partition has one owner, and both sides say the same."""
    state, members = describe(cluster, group)
    told = sorted(sorted(each.assignment) for each in alive)
    return (
        state == "Stable"
        and sorted(sorted(assigned_to(each)) for each in members.values()) == told
        and sorted(number for each in told for number in each) == list(range(PARTITIONS))
    )


def processed_in_all(alive: list[Member], load: Load) -> Callable[[], bool]:
    """Whether records that are sent from now on were processed in every partition."""
    from_number = load.sent

    def holds() -> bool:
        late = {
            fact["partition"] for each in alive for fact in each.of("processed") if int(fact["value"]) >= from_number
        }
        return late == set(range(PARTITIONS))

    return holds


def processed_all_that_was_sent(everyone: list[Member], load: Load) -> Callable[[], bool]:
    """Whether every record that was acknowledged up to now was processed by one of them, dead ones included."""
    sent = {ack.number for ack in load.acks}
    return lambda: sent <= {int(fact["value"]) for each in everyone for fact in each.of("processed")}


def load_on_new_topic(cluster: Cluster, topic: str, rate_per_s: int = 200) -> Load:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 3)])[topic].result(20)
    return Load(cluster.bootstrap, topic, partitions=PARTITIONS, rate_per_s=rate_per_s)


@pytest.mark.parametrize("client", ["librdkafka", "aiokafka"])
def test_a_group_loses_a_member_and_then_its_coordinator(
    group_cluster: Cluster, client: str, members: Callable[..., Member]
) -> None:
    cluster = group_cluster
    topic, group = f"work-{client}", f"workers-{client}"
    load = load_on_new_topic(cluster, topic)
    alive = [members(client, cluster, group, topic) for _ in range(3)]
    everyone = list(alive)
    wait_until("three members share the partitions", lambda: is_whole(cluster, group, alive))
    offsets = Offsets(cluster, group, topic)
    wait_until("all is processed", processed_in_all(alive, load))

    alive.pop(1).kill()
    wait_until("two members share the partitions", lambda: is_whole(cluster, group, alive), 40)
    wait_until("all is processed without the killed member", processed_in_all(alive, load))

    coordinator = find_coordinator(cluster, group)
    rebalances = [each.rebalances for each in alive]
    cluster.cli("kill", str(coordinator))
    successor = wait_until(
        "another coordinator", lambda: (found := find_coordinator(cluster, group)) not in (-1, coordinator) and found
    )
    wait_until("all is processed without the killed coordinator", processed_in_all(alive, load), 60)
    wait_until("the group is whole at its new coordinator", lambda: is_whole(cluster, group, alive))
    # The members of a group are in its log: who takes over knows them, and nobody need join again.
    assert [each.rebalances for each in alive] == rebalances, "a failover of the coordinator is no rebalance"
    readings = offsets.readings
    wait_until("the new coordinator tells offsets", lambda: offsets.readings > readings + 2 * PARTITIONS)
    cluster.cli("start", str(coordinator))

    load.stop()
    assert load.failed == []
    wait_until("every acknowledged record was processed", processed_all_that_was_sent(everyone, load))
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    ends = {
        number: admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest()})[TopicPartition(topic, number)]
        .result(10)
        .offset
        for number in range(PARTITIONS)
    }
    assert sum(ends.values()) == len({ack.number for ack in load.acks})
    wait_until("every partition is committed to its end", lambda: offsets.latest == ends)
    for each in alive:
        each.stop()
    offsets.stop()
    assert offsets.wrong == []
    for each in everyone:
        for fact in each.of("committed"):
            assert offsets.latest[fact["partition"]] >= fact["offset"]
    assert successor != coordinator


def rows_of(out: str, topic: str) -> dict[int, list[str]]:
    """The rows of ``kafka-consumer-groups --describe``: GROUP TOPIC PARTITION CURRENT END LAG CONSUMER HOST CLIENT."""
    found = {}
    for line in out.splitlines():
        columns = line.split()
        if len(columns) > 5 and columns[1] == topic:
            found[int(columns[2])] = columns
    return found


def test_lag_is_told_truly_with_members_and_without(group_cluster: Cluster, members: Callable[..., Member]) -> None:
    cluster = group_cluster
    topic, group = "lagging", "laggards"
    load = load_on_new_topic(cluster, topic, rate_per_s=300)
    alive = [members("librdkafka", cluster, group, topic) for _ in range(3)]
    wait_until("three members share the partitions", lambda: is_whole(cluster, group, alive))
    wait_until("all is processed", processed_in_all(alive, load))
    load.stop()
    ends = {number: sum(ack.partition == number for ack in load.acks) for number in range(PARTITIONS)}

    def committed() -> dict[int, int]:
        return {
            number: max(
                (f["offset"] for each in alive for f in each.of("committed") if f["partition"] == number), default=0
            )
            for number in range(PARTITIONS)
        }

    wait_until("all is committed", lambda: committed() == ends)
    server = ("--bootstrap-server", cluster.bootstrap, "--group", group)
    out = kafka_tool(CONSUMER_GROUP_COMMAND, *server, "--describe")
    rows = rows_of(out, topic)
    assert {number: row[3:6] for number, row in rows.items()} == {
        number: [str(end), str(end), "0"] for number, end in ends.items()
    }, out
    _, described = describe(cluster, group)
    assert {number: row[6] for number, row in rows.items()} == {
        number: member_id for member_id, each in described.items() for number in assigned_to(each)
    }
    assert {row[7] for row in rows.values()} == {"/127.0.0.1"}
    for each in alive:
        each.stop()
    wait_until("the group is empty", lambda: describe(cluster, group)[0] == "Empty")
    more = Load(cluster.bootstrap, topic, partitions=PARTITIONS, rate_per_s=2000)
    wait_until("more records", lambda: more.sent > 100)
    more.stop()
    late = {number: sum(ack.partition == number for ack in more.acks) for number in range(PARTITIONS)}
    out = kafka_tool(CONSUMER_GROUP_COMMAND, *server, "--describe")
    assert {number: row[3:6] for number, row in rows_of(out, topic).items()} == {
        number: [str(end), str(end + late[number]), str(late[number])] for number, end in ends.items()
    }, out


def test_a_member_and_the_coordinator_die_in_the_same_moment(
    group_cluster: Cluster, members: Callable[..., Member]
) -> None:
    """The new coordinator never heard of the member that is gone, and must find that out by itself."""
    cluster = group_cluster
    topic, group = "both-die", "both-die"
    load = load_on_new_topic(cluster, topic)
    alive = [members("librdkafka", cluster, group, topic) for _ in range(3)]
    wait_until("three members share the partitions", lambda: is_whole(cluster, group, alive))
    offsets = Offsets(cluster, group, topic)
    wait_until("all is processed", processed_in_all(alive, load))
    coordinator = find_coordinator(cluster, group)
    gone = alive.pop(0)
    everyone = [gone, *alive]
    gone.kill()
    cluster.cli("kill", str(coordinator))
    wait_until("two members share the partitions", lambda: is_whole(cluster, group, alive), 40)
    wait_until("all is processed", processed_in_all(alive, load))
    cluster.cli("start", str(coordinator))
    load.stop()
    wait_until("every acknowledged record was processed", processed_all_that_was_sent(everyone, load))
    for each in alive:
        each.stop()
    offsets.stop()
    assert offsets.wrong == []


@pytest.mark.parametrize("client", ["librdkafka", "aiokafka"])
def test_static_members_come_back_without_a_rebalance(
    group_cluster: Cluster, client: str, members: Callable[..., Member]
) -> None:
    cluster = group_cluster
    topic, group = f"static-{client}", f"statics-{client}"
    load = load_on_new_topic(cluster, topic)
    alive = [members(client, cluster, group, topic, f"instance-{number}") for number in range(3)]
    everyone = list(alive)
    wait_until("three members share the partitions", lambda: is_whole(cluster, group, alive))
    wait_until("all is processed", processed_in_all(alive, load))
    rebalances = [each.rebalances for each in alive[1:]]
    assigned = set(alive[0].assignment)
    for end in ("kill", "stop"):
        # Both within the session: killed, and closed (static members leave nothing behind but their place).
        getattr(alive[0], end)()
        alive[0] = members(client, cluster, group, topic, "instance-0")
        everyone.append(alive[0])
        wait_until("the member is back with what it had", lambda: alive[0].assignment == assigned)
        wait_until("all is processed", processed_in_all(alive, load))
        assert is_whole(cluster, group, alive)
    assert [each.rebalances for each in alive[1:]] == rebalances, "the others were rebalanced"
    _, described = describe(cluster, group)
    assert {each.group_instance_id for each in described.values()} == {"instance-0", "instance-1", "instance-2"}

    # The same instance a second time: the first one is fenced and ends. Not with aiokafka, whose heartbeats and commits
    # leave the instance out: it is told UNKNOWN_MEMBER_ID and joins again, and either of the two may be who stays.
    if client == "librdkafka":
        first = alive[0]
        alive[0] = members(client, cluster, group, topic, "instance-0")
        everyone.append(alive[0])
        wait_until("the second has what the first had", lambda: alive[0].assignment == assigned)
        # By a commit, or by a heartbeat if that comes first: the client says so once.
        wait_until(
            "the first is fenced",
            lambda: any(fact["fatal"] for what in ("not committed", "error") for fact in first.of(what)),
        )
        first.kill()
        wait_until("all is processed", processed_in_all(alive, load))
        assert [each.rebalances for each in alive[1:]] == rebalances, "the others were rebalanced"
    load.stop()
    wait_until("every acknowledged record was processed", processed_all_that_was_sent(everyone, load))
    for each in alive:
        each.stop()


def test_a_member_that_stays_away_longer_than_its_session_is_replaced_and_its_commit_refused(
    group_cluster: Cluster, members: Callable[..., Member]
) -> None:
    """A zombie: paused beyond its session, resumed while another owns its partitions."""
    cluster = group_cluster
    topic, group = "zombies", "zombies"
    load = load_on_new_topic(cluster, topic)
    alive = [members("librdkafka", cluster, group, topic) for _ in range(2)]
    wait_until("two members share the partitions", lambda: is_whole(cluster, group, alive))
    offsets = Offsets(cluster, group, topic)
    wait_until("all is processed", processed_in_all(alive, load))
    zombie, other = alive
    os.kill(zombie.process.pid, signal.SIGSTOP)
    wait_until("the other has all", lambda: other.assignment == set(range(PARTITIONS)), 40)
    wait_until("all is processed by the other", processed_in_all([other], load))
    os.kill(zombie.process.pid, signal.SIGCONT)
    wait_until("both share again", lambda: is_whole(cluster, group, alive), 40)
    wait_until("all is processed", processed_in_all(alive, load))
    load.stop()
    for each in alive:
        each.stop()
    offsets.stop()
    assert offsets.wrong == []
