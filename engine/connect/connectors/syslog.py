"""Syslog as a source: what rsyslog, syslog-ng and devices send over UDP, TCP or TLS becomes records.

Sockets are read in ``poll`` alone, and all that was read is given at once: while the worker is busy, or brokers do not
acknowledge, nothing is taken, the kernel's buffers fill, and senders over TCP wait. Over UDP they do not: what the
kernel throws away then is counted. Over TCP a sender never learns what was read of that which it sent: what is between
the two when a connection or the task's process ends is lost, unless the sender sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, Width, between, non_empty, one_of
from engine.connect.connector import ExactlyOnceSupport, Props, SourceConnector, SourceTask
from engine.connect.connectors.syslog_message import SCHEMA, Framing, FramingError, parse, utc
from engine.connect.data import STRING
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord

log = logging.getLogger(__name__)

WAIT_S = 0.5
"""How long ``poll`` waits for a message."""
_GATHER_S = 0.01
_READ_BYTES = 65_536
# Linux tells with a datagram how many the socket had no room for (socket(7)); Python has no name for it.
_SO_RXQ_OVFL = 40


class Listener(NamedTuple):
    """Where to listen: ``scheme`` is udp, tcp or tls."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_listener(text: str) -> Listener:
    """``udp://HOST:PORT``, ``tcp://…`` or ``tls://…``; port 0 is any that is free.

    Raises:
        ConfigError: it is no such thing.
    """
    try:
        parts = urlsplit(text)
        if parts.scheme in ("udp", "tcp", "tls") and parts.hostname and parts.port is not None and not parts.path:
            return Listener(parts.scheme, parts.hostname, parts.port)
    except ValueError:
        pass
    raise ConfigError("listeners", text, "Expected udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")


def _listeners(name: str, value: Any) -> None:
    if not value:
        raise ConfigError(name, value, "At least one listener is needed")
    for each in value:
        read_listener(each)


def _zone(name: str, value: Any) -> None:
    if value:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ConfigError(name, value, "No such time zone; a name such as Europe/Berlin is expected") from None


def _encoding(name: str, value: Any) -> None:
    try:
        "".encode(value)
    except LookupError:
        raise ConfigError(name, value, "No such encoding") from None


_CONFIG = (
    ConfigDef()
    .define(
        "listeners",
        ConfigType.LIST,
        NO_DEFAULT,
        Importance.HIGH,
        "Where to listen, separated by commas: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT. HOST is an address "
        "of this machine, 0.0.0.0 or [::] for all",
        validator=_listeners,
        group="Syslog",
        width=Width.LONG,
    )
    .define(
        "topic",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The topic to publish messages to",
        validator=non_empty,
        group="Syslog",
    )
    .define(
        "batch.size",
        ConfigType.INT,
        2000,
        Importance.LOW,
        "A poll ends when so many messages were read",
        validator=between(1),
        group="Syslog",
    )
    .define(
        "max.unacknowledged",
        ConfigType.INT,
        20_000,
        Importance.MEDIUM,
        "Sockets are not read while brokers have not acknowledged so many messages. They would be lost if the task's "
        "process died",
        validator=between(1),
        group="Syslog",
    )
    .define(
        "max.message.bytes",
        ConfigType.INT,
        65_536,
        Importance.LOW,
        "A longer message over TCP comes in pieces of this size",
        validator=between(480, 16 << 20),
        group="Syslog",
    )
    .define(
        "tcp.framing",
        ConfigType.STRING,
        "auto",
        Importance.LOW,
        "auto: what begins with a digit has its octets counted, all else are lines (RFC 6587). newline: lines only, "
        "for senders whose messages may begin with a digit",
        validator=one_of("auto", "newline"),
        group="Syslog",
    )
    .define(
        "receive.buffer.bytes",
        ConfigType.INT,
        8 << 20,
        Importance.MEDIUM,
        "What the kernel keeps of datagrams until they are read; without privileges no more than net.core.rmem_max",
        validator=between(4096),
        group="Syslog",
    )
    .define(
        "timezone",
        ConfigType.STRING,
        "",
        Importance.LOW,
        "The time zone of times that have none (RFC 3164), such as Europe/Berlin; that of this machine if empty",
        validator=_zone,
        group="Syslog",
    )
    .define(
        "encoding",
        ConfigType.STRING,
        "utf-8",
        Importance.LOW,
        "Of the messages' text; bytes that do not fit are replaced",
        validator=_encoding,
        group="Syslog",
    )
    .define(
        "include.raw",
        ConfigType.BOOLEAN,
        True,
        Importance.LOW,
        "Whether records have the bytes as they came, in the field raw",
        group="Syslog",
    )
    .define(
        "tls.certificate.file",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "The certificate of tls listeners, with its chain (PEM)",
        group="TLS",
    )
    .define(
        "tls.key.file",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "The certificate's private key (PEM); none if it is in the same file",
        group="TLS",
    )
    .define(
        "tls.key.password",
        ConfigType.PASSWORD,
        None,
        Importance.MEDIUM,
        "The private key's password",
        group="TLS",
    )
    .define(
        "tls.client.ca.file",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "Who signs the certificates of senders (PEM); needed unless tls.client.auth is none",
        group="TLS",
    )
    .define(
        "tls.client.auth",
        ConfigType.STRING,
        "none",
        Importance.MEDIUM,
        "Whether a sender must have a certificate: none, or required",
        validator=one_of("none", "required"),
        group="TLS",
    )
)


def tls_context(configs: Mapping[str, Any]) -> ssl.SSLContext:
    """Of the listeners.

    Raises:
        ConfigError: a file is missing, or does not hold what it should.
    """
    if not configs["tls.certificate.file"]:
        raise ConfigError("tls.certificate.file", None, "A tls listener needs a certificate")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    password = configs["tls.key.password"]
    try:
        context.load_cert_chain(
            configs["tls.certificate.file"], configs["tls.key.file"], None if password is None else password.value
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("tls.certificate.file", configs["tls.certificate.file"], str(error)) from error
    if configs["tls.client.auth"] == "required":
        if not configs["tls.client.ca.file"]:
            raise ConfigError("tls.client.ca.file", None, "tls.client.auth is required: who signs the certificates?")
        try:
            context.load_verify_locations(configs["tls.client.ca.file"])
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("tls.client.ca.file", configs["tls.client.ca.file"], str(error)) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class SyslogSourceConnector(SourceConnector):
    """Listens in one task: a port belongs to one process."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        _CONFIG.parse(props)

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[SyslogSourceTask]:
        return SyslogSourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props]

    @classmethod
    def config(cls) -> ConfigDef:
        return _CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        try:
            configs = _CONFIG.parse(props)
            if any(read_listener(each).scheme == "tls" for each in configs["listeners"]):
                tls_context(configs)
        except ConfigError as error:
            # What the definitions say is told by them.
            return {error.name: [str(error)]} if error.name.startswith("tls.") else {}
        return {}

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        return ExactlyOnceSupport.UNSUPPORTED

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        if any(each is not None for each in offsets.values()):
            raise ConnectError("Syslog cannot be read again: its offsets only count, they can be reset but not set")
        return True


class SyslogSourceTask(SourceTask):
    """Runs an event loop while it polls."""

    def start(self, props: Props) -> None:
        configs = _CONFIG.parse(props)
        self._topic: str = configs["topic"]
        self._batch_size: int = configs["batch.size"]
        self._most_unacknowledged: int = configs["max.unacknowledged"]
        self._most_bytes: int = configs["max.message.bytes"]
        self._lines_only = configs["tcp.framing"] == "newline"
        self._receive_buffer: int = configs["receive.buffer.bytes"]
        self._zone: tzinfo | None = ZoneInfo(configs["timezone"]) if configs["timezone"] else None
        self._encoding: str = configs["encoding"]
        self._keep_raw: bool = configs["include.raw"]
        wanted = [read_listener(each) for each in configs["listeners"]]
        self._partition = {"listeners": ",".join(map(str, wanted))}
        kept = self.context.offset_storage_reader().offset(self._partition) or {}
        self._received, self._lost = int(kept.get("received", 0)), int(kept.get("lost", 0))
        self._unacknowledged = 0
        self._messages: list[tuple[bytes, str]] = []
        self._kernel_drops: dict[socket.socket, int] = {}
        self._told_lost = self._lost
        self._told_at = 0.0
        self._transports: set[asyncio.Transport] = set()
        self._stopping = False
        self._polling = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._arrived, self._enough = asyncio.Event(), asyncio.Event()
        self.addresses: list[Listener] = []
        """Where it listens, with the ports that the system chose."""
        self._udp: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        context = tls_context(configs) if any(each.scheme == "tls" for each in wanted) else None
        try:
            for each in wanted:
                self._loop.run_until_complete(self._listen(each, context))
        except BaseException:
            self.stop()
            raise
        log.info("Listening for syslog on %s", ", ".join(map(str, self.addresses)))

    async def _listen(self, listener: Listener, context: ssl.SSLContext | None) -> None:
        try:
            found = await self._loop.getaddrinfo(
                listener.host, listener.port, type=socket.SOCK_DGRAM if listener.scheme == "udp" else socket.SOCK_STREAM
            )
            family, kind, _, _, address = found[0]
            opened = socket.socket(family, kind)
            try:
                if listener.scheme == "udp":
                    self._prepare_udp(opened)
                else:
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.bind(address)
            except BaseException:
                opened.close()
                raise
        except OSError as error:
            raise ConnectError(f"Cannot listen on {listener}: {error.strerror or error}") from error
        opened.setblocking(False)
        self.addresses.append(listener._replace(port=opened.getsockname()[1]))
        if listener.scheme == "udp":
            self._udp.append(opened)
            self._loop.add_reader(opened, self._read_datagrams, opened)
        else:
            server = await self._loop.create_server(
                lambda: _Connection(self), sock=opened, ssl=context if listener.scheme == "tls" else None
            )
            self._servers.append(server)

    def _prepare_udp(self, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        forced = getattr(socket, "SO_RCVBUFFORCE", 33)
        with contextlib.suppress(OSError):  # beyond net.core.rmem_max only who may
            opened.setsockopt(socket.SOL_SOCKET, forced, self._receive_buffer)
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)

    def _read_datagrams(self, opened: socket.socket) -> None:
        for _ in range(self._batch_size):
            try:
                data, more, _, sender = opened.recvmsg(_READ_BYTES, socket.CMSG_SPACE(4))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.warning("A datagram could not be read: %s", error)
                return
            for level, kind, value in more:
                if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                    drops = struct.unpack("=I", value[:4])[0]
                    self._lost += (drops - self._kernel_drops.get(opened, 0)) & 0xFFFFFFFF
                    self._kernel_drops[opened] = drops
            message = data.rstrip(b"\r\n\0")
            if message:
                self.take(message, sender[0])

    def take(self, message: bytes, sender: str) -> None:
        """A message has come."""
        self._messages.append((message, sender))
        self._arrived.set()
        if len(self._messages) >= self._batch_size and not self._enough.is_set():
            self._enough.set()
            for transport in self._transports:
                transport.pause_reading()

    def framing(self) -> Framing:
        """For a new connection."""
        return Framing(self._most_bytes, lines_only=self._lines_only)

    def connected(self, transport: asyncio.Transport) -> None:
        """A sender has come."""
        if self._enough.is_set():
            transport.pause_reading()
        self._transports.add(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """It has gone."""
        self._transports.discard(transport)

    def poll(self) -> list[SourceRecord] | None:
        with self._polling:
            if self._stopping:
                return None
            if self._unacknowledged >= self._most_unacknowledged:
                time.sleep(0.02)
                return None
            self._loop.run_until_complete(self._gather())
            messages, self._messages = self._messages, []
            self._arrived.clear()
            if self._enough.is_set():
                self._enough.clear()
                for transport in self._transports:
                    transport.resume_reading()
        self._tell_losses()
        if not messages:
            return None
        self._unacknowledged += len(messages)
        now_ms = time.time_ns() // 1_000_000
        now, lost, records = utc(now_ms), self._lost, []
        for raw, sender in messages:
            self._received += 1
            value = parse(raw, sender, now, self._zone, encoding=self._encoding, keep_raw=self._keep_raw)
            records.append(
                SourceRecord(
                    topic=self._topic,
                    key_schema=STRING,
                    key=value.get_without_default("host") or sender,
                    value_schema=SCHEMA,
                    value=value,
                    timestamp=now_ms,
                    source_partition=self._partition,
                    source_offset={"received": self._received, "lost": lost},
                )
            )
        return records

    async def _gather(self) -> None:
        """Until a message has come, and a moment longer: more of them cost hardly more."""
        if not self._messages:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), WAIT_S)
        if 0 < len(self._messages) < self._batch_size and not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), _GATHER_S)

    def _tell_losses(self) -> None:
        if self._lost > self._told_lost and time.monotonic() - self._told_at > 10:
            log.warning(
                "%d datagrams were lost since the last time: the kernel had no room for them. Larger "
                "receive.buffer.bytes, or TCP, would help",
                self._lost - self._told_lost,
            )
            self._told_lost, self._told_at = self._lost, time.monotonic()

    @property
    def lost(self) -> int:
        """Datagrams that the kernel had no room for, as far as those that came behind them told."""
        return self._lost

    def commit_record(self, record: SourceRecord, offset: int | None) -> None:
        self._unacknowledged -= 1

    def stop(self) -> None:
        self._stopping = True
        loop: asyncio.AbstractEventLoop | None = getattr(self, "_loop", None)  # none if it did not start
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(self._arrived.set)
        with self._polling:
            loop.run_until_complete(self._close())
            loop.close()

    async def _close(self) -> None:
        for opened in self._udp:
            self._loop.remove_reader(opened)
            opened.close()
        for server in self._servers:
            server.close()
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0.01)  # connections hear that they are lost


class _Connection(asyncio.Protocol):
    """One sender over TCP or TLS."""

    def __init__(self, task: SyslogSourceTask) -> None:
        self._task = task
        self._framing = task.framing()
        self._sender = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sender = (transport.get_extra_info("peername") or ("?",))[0]  # none if it has gone already
        self._task.connected(transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framing.feed(data):
                self._task.take(message, self._sender)
        except FramingError as error:
            log.warning("The connection from %s is closed: %s is no frame of RFC 6587", self._sender, error)
            self._transport.close()

    def eof_received(self) -> None:
        rest = self._framing.end()
        if rest is not None:
            self._task.take(rest, self._sender)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            log.info("The connection from %s broke: %s", self._sender, exc)
        self._task.disconnected(self._transport)
