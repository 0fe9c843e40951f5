"""What servers of ZooKeeper 3.8.4 answered, read."""

import asyncio

import pytest

from engine.zookeeper.errors import ConnectionLoss, ZooKeeperError
from engine.zookeeper.four_letter_words import (
    ClientConnection,
    NotAllowed,
    NotServing,
    ServerStatus,
    ask,
    parse_cons,
    parse_mntr,
    parse_srvr,
)

SRVR = """Zookeeper version: 3.8.4-9316c2a7a97e1666d8f4593f34dd6fc36ecc436c, built on 2024-02-12 22:16 UTC
Latency min/avg/max: 0/8.5/12
Received: 4
Sent: 3
Connections: 2
Outstanding: 0
Zxid: 0x100000002
Mode: leader
Node count: 6
Proposal sizes last/min/max: 86/48/86
"""

CONS = """ /127.0.0.1:57384[0](queued=0,recved=1,sent=0)
 /0:0:0:0:0:0:0:1:57372[1](queued=0,recved=2,sent=3,sid=0x2000502f0ce0000,lop=CREA,est=1795713095871,to=4000,\
lcxid=0x1,lzxid=0x100000002,lresp=84078971,llat=7,minlat=0,avglat=8,maxlat=9)


"""


def test_what_a_server_says_of_itself() -> None:
    assert parse_srvr(SRVR) == ServerStatus("3.8.4", "leader", 0, 8.5, 12, 4, 3, 2, 0, 0x1_0000_0002, 6)
    with pytest.raises(ZooKeeperError, match="no answer of ZooKeeper to srvr"):
        parse_srvr("HTTP/1.1 400 Bad Request\r\n")


def test_who_is_connected_with_and_without_a_session() -> None:
    assert parse_cons(CONS) == [
        ClientConnection("127.0.0.1", 57384, 0, 0, 1, 0, 0, "", 0, 0, 0),
        ClientConnection("0:0:0:0:0:0:0:1", 57372, 0x2000502F0CE0000, 4000, 2, 3, 0, "CREA", 1795713095871, 8, 9),
    ]


def test_what_it_counts() -> None:
    assert parse_mntr("zk_server_state\tleader\nzk_p50\t0.5\n\n") == {"zk_server_state": "leader", "zk_p50": "0.5"}


async def answered(text: str) -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(text.encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        return await ask("127.0.0.1", server.sockets[0].getsockname()[1], "srvr")


async def test_a_server_that_does_not_answer_says_why() -> None:
    assert await answered("imok") == "imok"
    with pytest.raises(NotServing, match="its ensemble has no majority"):
        await answered("This ZooKeeper instance is not currently serving requests\n")
    with pytest.raises(NotAllowed, match=r"add it to 4lw\.commands\.whitelist"):
        await answered("srvr is not executed because it is not in the whitelist.\n")
    with pytest.raises(ConnectionLoss, match="Connection refused"):
        await ask("127.0.0.1", 1, "srvr")


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectionLoss, match="did not answer srvr within"):
            await ask("127.0.0.1", server.sockets[0].getsockname()[1], "srvr", timeout_s=0.01)
