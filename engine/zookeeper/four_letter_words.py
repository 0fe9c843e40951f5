"""What one server of ZooKeeper says of itself: its four letter words, asked without a session and without a vote.

Servers answer only words that ``4lw.commands.whitelist`` names; without it they answer ``srvr`` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from engine.zookeeper.errors import ConnectionLoss, ZooKeeperError

TIMEOUT_S = 2.0

_CONNECTION = re.compile(r"\s*/(?P<address>.+):(?P<port>\d+)\[(?P<interest>-?\d+)\]\((?P<fields>.*)\)\s*")


class NotServing(ZooKeeperError):
    """The server runs, but belongs to no ensemble that has a majority."""


class NotAllowed(ZooKeeperError):
    """The server does not answer this word."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The answer to ``srvr``. Latencies in ms; ``mode`` is leader, follower, observer, standalone or read-only."""

    version: str
    mode: str
    latency_min: float
    latency_avg: float
    latency_max: float
    received: int
    sent: int
    connections: int
    outstanding: int
    zxid: int
    znodes: int


@dataclass(frozen=True, slots=True)
class ClientConnection:
    """One line of ``cons``. ``session_id`` 0: a connection without a session, as that of who asked.

    ``established_ms`` since 1970; latencies in ms.
    """

    address: str
    port: int
    session_id: int
    session_timeout_ms: int
    received: int
    sent: int
    queued: int
    last_operation: str
    established_ms: int
    latency_avg: float
    latency_max: float


async def srvr(
    host: str, port: int, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None
) -> ServerStatus:
    """How the server stands.

    Raises:
        ConnectionLoss: nobody answers there.
        NotServing: it has no majority.
        NotAllowed: it does not answer this word.
    """
    return parse_srvr(await ask(host, port, "srvr", timeout_s=timeout_s, tls=tls))


async def mntr(
    host: str, port: int, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None
) -> Mapping[str, str]:
    """All that the server counts, by ZooKeeper's names (zk_…). Raises: as :func:`srvr`."""
    return parse_mntr(await ask(host, port, "mntr", timeout_s=timeout_s, tls=tls))


async def cons(
    host: str, port: int, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None
) -> list[ClientConnection]:
    """Who is connected to this server. Raises: as :func:`srvr`."""
    return parse_cons(await ask(host, port, "cons", timeout_s=timeout_s, tls=tls))


async def ruok(host: str, port: int, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None) -> bool:
    """Whether the process runs and says so; it need not serve. Raises: ConnectionLoss, NotAllowed."""
    return await ask(host, port, "ruok", timeout_s=timeout_s, tls=tls) == "imok"


async def ask(
    host: str, port: int, word: str, *, timeout_s: float = TIMEOUT_S, tls: ssl.SSLContext | None = None
) -> str:
    """The answer to any word, as it came. Raises: as :func:`srvr`."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            writer.write(word.encode())
            answer = (await reader.read(-1)).decode(errors="replace")
    except TimeoutError:
        raise ConnectionLoss(f"{host}:{port} did not answer {word} within {timeout_s:g} s") from None
    except OSError as error:
        raise ConnectionLoss(f"{host}:{port}: {os.strerror(error.errno) if error.errno else error}") from None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    if "not in the whitelist" in answer:
        raise NotAllowed(f"{host}:{port} does not answer {word}: add it to 4lw.commands.whitelist in its zoo.cfg")
    if answer.startswith("This ZooKeeper instance is not currently serving requests"):
        raise NotServing(f"{host}:{port} serves nobody: its ensemble has no majority")
    return answer


def parse_srvr(answer: str) -> ServerStatus:
    """Raises: ZooKeeperError: it is no answer to ``srvr``."""
    said = dict(line.partition(": ")[::2] for line in answer.splitlines())
    try:
        low, mean, high = map(float, said["Latency min/avg/max"].split("/"))
        return ServerStatus(
            said["Zookeeper version"].partition("-")[0].partition(",")[0],
            said["Mode"],
            low,
            mean,
            high,
            int(said["Received"]),
            int(said["Sent"]),
            int(said["Connections"]),
            int(said["Outstanding"]),
            int(said["Zxid"], 16),
            int(said["Node count"]),
        )
    except (KeyError, ValueError):
        raise ZooKeeperError(f"{answer[:80]!r} is no answer of ZooKeeper to srvr") from None


def parse_mntr(answer: str) -> dict[str, str]:
    """Names and values."""
    return dict(line.split("\t", 1) for line in answer.splitlines() if "\t" in line)


def parse_cons(answer: str) -> list[ClientConnection]:
    """The connections, in the order in which they are told."""
    found = []
    for line in answer.splitlines():
        if (match := _CONNECTION.fullmatch(line)) is None:
            continue
        fields = dict(each.partition("=")[::2] for each in match["fields"].split(","))
        found.append(
            ClientConnection(
                match["address"],
                int(match["port"]),
                int(fields.get("sid", "0"), 16),
                int(fields.get("to", "0")),
                int(fields["recved"]),
                int(fields["sent"]),
                int(fields["queued"]),
                fields.get("lop", ""),
                int(fields.get("est", "0")),
                float(fields.get("avglat", "0")),
                float(fields.get("maxlat", "0")),
            )
        )
    return found
