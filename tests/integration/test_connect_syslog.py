"""The syslog source under the log daemons that Debian has: each line once, as it was written.

``make connect-syslog`` sends 100,000 lines through rsyslog, a worker and a broker's crash, instead of 5,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import free_port
from engine.connect.connector import OffsetStorageReader, Props, SourceTaskContext
from engine.connect.connectors.syslog import SyslogSourceTask
from engine.connect.data import Struct
from tests.integration.conftest import SPEC, start_cluster, stop_cluster
from tests.integration.connect_worker import connect_worker
from tests.integration.syslog_daemons import rsyslog, syslog_ng

pytestmark = pytest.mark.integration

LINES = 5000
LINES_OVER_A_CRASH = int(os.environ.get("KCONSOLE_SYSLOG_LINES", LINES))
TRICKY = ["umlauts äöü €", 'quotes " and \\ and ]', "[brackets] <34> 12 34", "tab\tand more", "x" * 3000]


class _NoOffsets(OffsetStorageReader):
    def offset(self, partition: Mapping[str, Any]) -> None:
        return None

    def offsets(self, partitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        return [None for _ in partitions]


class _Context(SourceTaskContext):
    def configs(self) -> Props:
        return {}

    def offset_storage_reader(self) -> OffsetStorageReader:
        return _NoOffsets()


def started(listeners: str, **props: str) -> SyslogSourceTask:
    task = SyslogSourceTask()
    task.initialize(_Context())
    task.start({"topic": "logs", "listeners": listeners, **props})
    return task


def line(number: int) -> str:
    return f"<{8 * 3 + number % 8}>Nov  7 11:22:33 probe[{number}]: line {number} {TRICKY[number % len(TRICKY)]}"


def read(task: SyslogSourceTask, messages: int, wait_s: float = 15.0) -> list[Struct]:
    found: list[Struct] = []
    until = time.monotonic() + wait_s
    while len(found) < messages and time.monotonic() < until:
        records = task.poll() or ()
        found += [each.value for each in records]
        for each in records:
            task.commit_record(each, 0)
    return found


def check(values: Sequence[Struct], lines: int) -> None:
    """Each of ``lines`` lines came once, whole and with what its header says."""
    assert Counter(int(each["procid"]) for each in values) == Counter(range(lines))
    for each in values:
        number = int(each["procid"])
        assert (each["facility"], each["severity"], each["app"]) == (3, number % 8, "probe")
        assert each["message"].strip() == f"line {number} {TRICKY[number % len(TRICKY)]}"
        assert each["host"] and each["timestamp"] is not None


OMFWD = (
    'action(type="omfwd" Target="127.0.0.1" Port="{port}" Protocol="{protocol}" Template="{template}" {more} '
    'queue.type="LinkedList" queue.size="20000" action.resumeRetryCount="-1")'
)


def test_rsyslog_forwards_in_both_formats_and_framings(tmp_path: Path) -> None:
    task = started("tcp://127.0.0.1:0,tcp://127.0.0.1:0,udp://127.0.0.1:0")
    lined, counted, udp = (each.port for each in task.addresses)
    actions = [
        OMFWD.format(port=lined, protocol="tcp", template="RSYSLOG_TraditionalForwardFormat", more=""),
        OMFWD.format(
            port=counted,
            protocol="tcp",
            template="RSYSLOG_SyslogProtocol23Format",
            more='TCP_Framing="octet-counted"',
        ),
        'if $msg contains "line 7" then {'
        + OMFWD.format(port=udp, protocol="udp", template="RSYSLOG_ForwardFormat", more="")
        + "}",
    ]
    # What rsyslog escapes on its way in (control characters) is not the connector's to bring back.
    settings = 'global(parser.escapeControlCharactersOnReceive="off")\n'
    sevens = sum(str(number).startswith("7") for number in range(LINES))
    with rsyslog(tmp_path / "rsyslog", settings + "\n".join(actions)) as daemon:
        daemon.log(map(line, range(LINES)))
        values = read(task, 2 * LINES + sevens)
    task.stop()
    by_format: dict[str, list[Struct]] = {"traditional": [], "5424": [], "iso": []}
    for each in values:
        raw = each["raw"]
        head = raw[raw.index(b">") + 1 :]
        by_format["5424" if head.startswith(b"1 ") else "iso" if head[:1].isdigit() else "traditional"].append(each)
    check(by_format["traditional"], LINES)
    check(by_format["5424"], LINES)
    assert len(by_format["iso"]) + task.lost == sevens


def test_rsyslog_forwards_over_tls(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=collector -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    files = {"tls.certificate.file": str(tmp_path / "cert.pem"), "tls.key.file": str(tmp_path / "key.pem")}
    task = started("tls://127.0.0.1:0", **files)
    action = OMFWD.format(
        port=task.addresses[0].port,
        protocol="tcp",
        template="RSYSLOG_SyslogProtocol23Format",
        more='TCP_Framing="octet-counted" StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" '
        'StreamDriverPermittedPeers="collector"',
    )
    settings = f'global(DefaultNetstreamDriverCAFile="{tmp_path}/cert.pem")\n'
    with rsyslog(tmp_path / "rsyslog", settings + action) as daemon:
        daemon.log(f"<30>Nov  7 11:22:33 probe[{number}]: line {number}" for number in range(500))
        values = read(task, 500)
    task.stop()
    assert [each["message"].strip() for each in values] == [f"line {number}" for number in range(500)]


def test_syslog_ng_forwards_in_both_formats(tmp_path: Path) -> None:
    task = started("tcp://127.0.0.1:0,tcp://127.0.0.1:0")
    lined, counted = (each.port for each in task.addresses)
    destinations = (
        f'destination {{ network("127.0.0.1" port({lined}) transport("tcp")); }}; '
        f'destination {{ syslog("127.0.0.1" port({counted}) transport("tcp")); }};'
    )
    with syslog_ng(tmp_path / "syslog-ng", destinations) as daemon:
        daemon.log(map(line, range(LINES)))
        values = read(task, 2 * LINES)
    task.stop()
    newer = [each for each in values if b">1 " in each["raw"][:6]]
    older = [each for each in values if b">1 " not in each["raw"][:6]]
    check(newer, LINES)
    check(older, LINES)


@pytest.mark.timeout(300)
def test_no_line_is_lost_when_the_leader_of_the_topic_is_killed(tmp_path: Path) -> None:
    lines = LINES_OVER_A_CRASH
    cluster = start_cluster(tmp_path, SPEC)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    (made,) = admin.create_topics([NewTopic("logs", 1, 3)]).values()
    made.result(20)
    port = free_port()
    killed: list[int] = []

    def written() -> Iterator[str]:
        for number in range(lines):
            if number == lines * 2 // 5:
                leader = admin.list_topics("logs", timeout=10).topics["logs"].partitions[0].leader
                cluster.cli("kill", str(leader))
                killed.append(leader)
            yield f"<30>Nov  7 11:22:33 probe[{number}]: line {number} of many that nobody may lose"

    action = OMFWD.format(
        port=port,
        protocol="tcp",
        template="RSYSLOG_SyslogProtocol23Format",
        # Disk-assisted: what the connector does not take yet waits in memory, then in files.
        more='TCP_Framing="octet-counted" queue.filename="forward" queue.saveOnShutdown="on" action.resumeInterval="1"',
    )
    props = {
        "connector.class": "SyslogSourceConnector",
        "tasks.max": "1",
        "listeners": f"tcp://127.0.0.1:{port}",
        "topic": "logs",
    }
    with connect_worker(cluster.bootstrap, tmp_path / "worker") as worker:
        worker.start("syslog", props)
        with rsyslog(tmp_path / "rsyslog", action) as daemon:
            writing = daemon.log(written())
            writing.join(200)
            assert not writing.is_alive()
            time.sleep(1)
            cluster.cli("start", str(killed[0]))
            found = consume(cluster.bootstrap, "logs", lines)
        counted = worker.wait_for(
            "offsets", lambda: [offset for _, offset in worker.offsets("syslog") if offset["received"] >= lines]
        )
    stop_cluster(cluster)
    numbers = Counter(int(each["procid"]) for each in found)
    print(
        f"{lines} lines, {len(found)} records, {len(found) - len(numbers)} of them again; broker {killed[0]} was killed"
    )
    assert set(numbers) == set(range(lines))
    assert counted == [{"received": len(found), "lost": 0}]
    assert {(each["severity"], each["app"]) for each in found} == {(6, "probe")}


def consume(bootstrap: str, topic: str, lines: int) -> list[dict[str, Any]]:
    """Values until each line was there, and whatever comes in a second after that."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        messages = consumer.consume(5000, 1.0)
        for each in messages:
            assert each.error() is None, each.error()
            value = json.loads(each.value())
            found.append(value)
            seen.add(value["procid"])
        if not messages and len(seen) >= lines:
            break
    consumer.close()
    return found
