"""The syslog source's task over real sockets: nothing is taken that is not given on, and what is lost is counted."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.connect.connectors import syslog
from engine.connect.connectors.syslog import SyslogSourceConnector, SyslogSourceTask
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord
from tests.unit.connect.task_contexts import Offsets, started

Start = Callable[..., SyslogSourceTask]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(syslog, "WAIT_S", 0.02)
    tasks: list[SyslogSourceTask] = []

    def starting(listeners: str, offsets: Offsets | None = None, **props: str) -> SyslogSourceTask:
        configs = {"listeners": listeners, "topic": "logs", **{name.replace("_", "."): props[name] for name in props}}
        tasks.append(started(SyslogSourceTask(), configs, offsets))
        return tasks[-1]

    yield starting
    for task in tasks:
        task.stop()


def read(task: SyslogSourceTask, messages: int, wait_s: float = 5.0) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    until = time.monotonic() + wait_s
    while len(found) < messages and time.monotonic() < until:
        found += task.poll() or ()
    return found


def test_messages_come_over_udp_and_tcp_with_the_host_as_key(start: Start) -> None:
    task = start("udp://127.0.0.1:0,tcp://127.0.0.1:0")
    udp, tcp = task.addresses
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"<34>Oct 11 22:14:15 machine su[7]: over udp\n", (udp.host, udp.port))
    (first,) = read(task, 1)
    assert (first.topic, first.key, first.value["app"], first.value["message"]) == ("logs", "machine", "su", "over udp")
    with socket.create_connection((tcp.host, tcp.port)) as sender:
        sender.sendall(b"<34>no host\n24 <1>1 - h a - - - count")
        (second,) = read(task, 1)
        sender.sendall(b"ed<34>without an end")
    third, fourth = read(task, 2)
    assert (second.key, second.value["sender"], second.value["message"]) == ("127.0.0.1", "127.0.0.1", "no host")
    assert (third.key, third.value["message"], fourth.value["message"]) == ("h", "counted", "without an end")
    assert fourth.source_offset == {"received": 4, "lost": 0}
    assert fourth.value["raw"] == b"<34>without an end"


def test_the_count_goes_on_from_the_offset(start: Start) -> None:
    offsets = Offsets()
    offsets.put({"listeners": "udp://127.0.0.1:0"}, {"received": 41, "lost": 2})
    task = start("udp://127.0.0.1:0", offsets, include_raw="false")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", task.addresses[0][1:])
    (record,) = read(task, 1)
    assert record.source_offset == {"received": 42, "lost": 2}
    assert record.value["raw"] is None


def test_datagrams_that_the_kernel_had_no_room_for_are_counted(start: Start) -> None:
    task = start("udp://127.0.0.1:0", receive_buffer_bytes="4096")
    address = task.addresses[0][1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(200):
            sender.sendto(b"<1>%03d %s" % (number, b"x" * 500), address)
        came = len(read(task, 200, 0.2))
        sender.sendto(b"<1>last", address)
        (last,) = read(task, 1)
    assert 0 < came < 200
    assert task.lost == 200 - came
    assert last.source_offset["lost"] == 200 - came


def test_a_sender_over_tcp_waits_while_nothing_is_acknowledged(start: Start) -> None:
    task = start("tcp://127.0.0.1:0", max_unacknowledged="300", batch_size="150")
    sent, enough = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        with socket.create_connection(task.addresses[0][1:]) as sender:
            # Without an end of its own: how much the kernel's buffers take is the machine's affair.
            while not enough.is_set():
                sender.sendall(b"".join(b"<1>%06d %s\n" % (sent + each, b"x" * 2500) for each in range(50)))
                sent += 50

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    given = read(task, 300)
    still = 0
    while still < 5:  # until the kernel's buffers are full
        before = sent
        time.sleep(0.1)
        assert not task.poll()
        assert sent < 40_000, "nothing holds the sender back"
        still = still + 1 if sent == before else 0
    assert sending.is_alive()
    # The last read of the connection (asyncio's are 256 KiB) may have brought more than was missing.
    assert 300 <= len(given) < 300 + 150 + (1 << 18) / 2500
    enough.set()
    everything = list(given)
    while given:
        for each in given:
            task.commit_record(each, 0)
        given = read(task, 1, 2.0) if sending.is_alive() or len(everything) < sent else []
        everything += given
    sending.join(5)
    assert [int(each.value["message"].split()[0]) for each in everything] == list(range(sent))


def test_bytes_that_are_no_frames_close_that_connection_only(start: Start) -> None:
    task = start("tcp://127.0.0.1:0")
    address = task.addresses[0][1:]
    with socket.create_connection(address) as bad, socket.create_connection(address) as good:
        bad.sendall(b"12x what")
        good.sendall(b"<1>fine\n")
        (record,) = read(task, 1)
        assert record.value["message"] == "fine"
        task.poll()
        bad.settimeout(2)
        assert bad.recv(1) == b""
        good.sendall(b"<1>still fine\n")
        assert len(read(task, 1)) == 1


def test_stopping_ends_a_poll_that_waits_and_closes_connections(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "WAIT_S", 30.0)
    task = start("tcp://127.0.0.1:0,udp://127.0.0.1:0")
    with socket.create_connection(task.addresses[0][1:]) as sender:
        polling = threading.Thread(target=task.poll, daemon=True)
        polling.start()
        time.sleep(0.1)
        task.stop()
        polling.join(2)
        assert not polling.is_alive()
        sender.settimeout(2)
        assert sender.recv(1) == b""
    assert task.poll() is None
    task.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(task.addresses[0][1:])


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    task = start("tcp://127.0.0.1:0")
    with pytest.raises(ConnectError, match=rf"Cannot listen on {task.addresses[0]}: Address already in use"):
        start(str(task.addresses[0]))
    with pytest.raises(ConnectError, match=r"Cannot listen on udp://192\.0\.2\.1:0"):
        start("udp://192.0.2.1:0")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
        more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*command.split(), *more], cwd=directory, check=True, capture_output=True)
    return directory


def test_senders_come_over_tls_with_certificates(start: Start, certificates: Path) -> None:
    task = start(
        "tls://127.0.0.1:0",
        tls_certificate_file=str(certificates / "server.pem"),
        tls_key_file=str(certificates / "server.key"),
        tls_client_ca_file=str(certificates / "client.pem"),
        tls_client_auth="required",
    )
    refusals: list[object] = []

    def send(with_certificate: bool) -> None:
        context = ssl.create_default_context(cafile=str(certificates / "server.pem"))
        if with_certificate:
            context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        try:
            with (
                socket.create_connection(task.addresses[0][1:]) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as sender,
            ):
                sender.sendall(b"<1>secret\n")
                refusals.append(sender.recv(1))
        except OSError as error:
            refusals.append(error)

    refused = threading.Thread(target=send, args=(False,), daemon=True)
    refused.start()
    assert read(task, 1, 0.3) == []
    refused.join(2)
    (refusal,) = refusals
    assert refusal == b"" or isinstance(refusal, OSError)
    threading.Thread(target=send, args=(True,), daemon=True).start()
    (record,) = read(task, 1)
    assert record.value["message"] == "secret"


def test_configs_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    base = {"topic": "t", "listeners": "tls://127.0.0.1:0"}
    validate = SyslogSourceConnector.validate
    assert "A tls listener needs a certificate" in validate(base)["tls.certificate.file"][0]
    gone = {**base, "tls.certificate.file": str(tmp_path / "gone.pem")}
    assert "No such file" in validate(gone)["tls.certificate.file"][0]
    assert validate({"topic": "t", "listeners": "udp://[::1]:514, tcp://0.0.0.0:601"}) == {}
    for text in ("", "http://x:1", "tcp://x", "tcp://x:99999", "tcp://x:1/y", "514"):
        (wrong,) = (each.errors for each in SyslogSourceConnector.config().validate({"topic": "t", "listeners": text})
                    if each.name == "listeners")  # fmt: skip
        assert wrong, text
    with pytest.raises(ConfigError, match="No such time zone"):
        SyslogSourceConnector().start({"topic": "t", "listeners": "udp://x:1", "timezone": "Mars/Olympus"})


def test_offsets_can_be_reset_but_not_set() -> None:
    connector = SyslogSourceConnector()
    key = (("listeners", "udp://x:1"),)
    assert connector.alter_offsets({}, {key: None})
    with pytest.raises(ConnectError, match="they can be reset but not set"):
        connector.alter_offsets({}, {key: {"received": 1}})
