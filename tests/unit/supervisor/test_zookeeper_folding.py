"""Answers of ZooKeeper's servers as what a console shows, and the events that follow from two of them."""

from __future__ import annotations

from engine.supervisor.zookeeper_changes import zookeeper_changes
from engine.supervisor.zookeeper_folding import clients_of, server_of, with_owners
from engine.supervisor.zookeeper_snapshot import ZooKeeperController, ZooKeeperServer, ZooKeeperState
from engine.zookeeper.four_letter_words import parse_cons, parse_srvr

# As ZooKeeper 3.8.4 answered.
SRVR = """Zookeeper version: 3.8.4-9316c2a7a97e1666d8f4593f34dd6fc36ecc436c, built on 2024-02-12 22:16 UTC
Latency min/avg/max: 0/2.0621/18
Received: 162
Sent: 165
Connections: 3
Outstanding: 0
Zxid: 0x10000003c
Mode: follower
Node count: 30
"""
CONS = """ /127.0.0.1:47388[1](queued=0,recved=83,sent=85,sid=0x20004fa18240002,lop=PING,est=1795712519001,to=6000,\
lcxid=0x41,lzxid=0x10000003c,lresp=83537664,llat=4,minlat=0,avglat=1,maxlat=13)
 /127.0.0.1:60282[0](queued=0,recved=1,sent=0)
 /127.0.0.1:47404[1](queued=0,recved=70,sent=72,sid=0x20004fa18240003,lop=PING,est=1795712519005,to=6000,\
lcxid=0x34,lzxid=0x10000003c,lresp=83537541,llat=0,minlat=0,avglat=1,maxlat=16)
"""
ONE, TWO = 0x20004FA18240002, 0x20004FA18240003


def test_a_servers_answer() -> None:
    server = server_of(ZooKeeperServer("h:1", error="no answer"), parse_srvr(SRVR), 5)
    assert (server.mode, server.serving, server.error, server.zxid) == ("follower", True, "", 0x10000003C)
    assert (server.latency_avg_ms, server.connections, server.observed_at_ms) == (2.0621, 3, 5)


def test_sessions_have_owners_each_once_and_the_ones_that_nobody_is_connected_with_are_there_too() -> None:
    now = clients_of(parse_cons(CONS), "h:1", 9)
    assert [each.session_id for each in now] == [ONE, TWO]
    # Another server had the first before it went down.
    before = clients_of(parse_cons(CONS.splitlines()[0]), "h:2", 4)
    controller = ZooKeeperController(2, 7, TWO, 1)
    found = with_owners({"h:1": now, "h:2": before}, [(1, ONE), (2, TWO), (3, 0x77)], controller, ONE, 8)
    assert [(each.session_id, each.broker_id, each.is_controller, each.server) for each in found] == [
        (0x77, 3, False, ""),
        (ONE, 1, False, "h:1"),
        (TWO, 2, True, "h:1"),
    ]
    assert [each.is_own for each in found] == [False, True, False]
    assert [each.observed_at_ms for each in found] == [8, 9, 9]


def state(*brokers: tuple[int, int], controller: ZooKeeperController | None = None, **more: object) -> ZooKeeperState:
    return ZooKeeperState("h:1", brokers=brokers, controller=controller, tree_observed_at_ms=1)._replace(**more)


def test_an_election_by_zookeeper_is_told_with_session_and_epoch() -> None:
    before = state((1, ONE), (2, TWO), controller=ZooKeeperController(1, 4, ONE, 1, 10))
    nobody = state((2, TWO), controller=ZooKeeperController(-1, 4, None, None))
    after = state((2, TWO), controller=ZooKeeperController(2, 5, TWO, 2, 20))
    assert [(each.kind, each.subject) for each in zookeeper_changes(before, nobody)] == [
        ("broker_znode_gone", "broker 1"),
        ("controller_znode_gone", "broker 1"),
    ]
    (made,) = zookeeper_changes(nobody, after)
    assert (made.kind, made.subject) == ("controller_znode_made", "broker 2")
    assert made.reason == "/controller was made by session 0x20004fa18240003 in epoch 5"
    # Between two looks both happened.
    assert [each.kind for each in zookeeper_changes(before, after)][1:] == [
        "controller_znode_gone",
        "controller_znode_made",
    ]


def test_a_broker_that_comes_back_has_another_session() -> None:
    changes = zookeeper_changes(state((1, ONE)), state((1, TWO)))
    assert [each.kind for each in changes] == ["broker_znode_gone", "broker_znode_made"]
    assert zookeeper_changes(state((1, ONE)), state((1, ONE))) == []
    # Before the first look nothing was known.
    assert zookeeper_changes(ZooKeeperState("h:1"), state((1, ONE))) == []


def test_servers_that_go_and_lead_are_told_unless_somebody_else_tells() -> None:
    def server(address: str, mode: str, *, serving: bool = True) -> ZooKeeperServer:
        return ZooKeeperServer(address, None, mode, serving, "" if serving else "refused", observed_at_ms=1)

    before = state(servers=(server("a", "leader"), server("b", "follower")))
    after = state(servers=(server("a", "leader", serving=False), server("b", "leader")))
    assert [(each.kind, each.subject) for each in zookeeper_changes(before, after)] == [
        ("zookeeper_unreachable", "ZooKeeper a"),
        ("zookeeper_leader_elected", "ZooKeeper b"),
    ]
    assert zookeeper_changes(before, after, servers=False) == []
    # It serves again, and still thinks that it leads.
    assert [each.kind for each in zookeeper_changes(after, before)] == ["zookeeper_reachable"]
