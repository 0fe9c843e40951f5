"""A ZooKeeper ensemble of three servers that coordinates the sample cluster: well, and with a server down."""

from __future__ import annotations

import json
from typing import Any

from engine.supervisor.snapshot import ClusterSnapshot
from engine.supervisor.zookeeper_snapshot import (
    ZnodeSeen,
    ZnodesSeen,
    ZooKeeperClient,
    ZooKeeperController,
    ZooKeeperServer,
    ZooKeeperState,
)

SESSIONS = {1: 0x1000A5F1C2E0001, 2: 0x2000A5F1C2E0002, 3: 0x3000A5F1C2E0003}
_MADE_MS = 1_795_521_500_000


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _broker(number: int) -> bytes:
    return _json(
        features={},
        listener_security_protocol_map={"PLAINTEXT": "PLAINTEXT"},
        endpoints=[f"PLAINTEXT://127.0.0.1:{9091 + number}"],
        jmx_port=-1,
        host="127.0.0.1",
        port=9091 + number,
        version=5,
        timestamp=str(_MADE_MS),
    )


TREE: dict[str, bytes] = {
    "/": b"",
    "/admin": b"",
    "/admin/delete_topics": b"",
    "/brokers": b"",
    "/brokers/ids": b"",
    **{f"/brokers/ids/{each}": _broker(each) for each in SESSIONS},
    "/brokers/seqid": b"",
    "/brokers/topics": b"",
    "/brokers/topics/orders": _json(
        partitions={"0": [1, 2, 3], "1": [2, 3, 1]}, topic_id="yc05QaT3S0aE", adding_replicas={}, version=3
    ),
    "/brokers/topics/orders/partitions": b"",
    "/brokers/topics/orders/partitions/0": b"",
    "/brokers/topics/orders/partitions/0/state": _json(
        controller_epoch=7, leader=1, version=1, leader_epoch=4, isr=[1, 2, 3]
    ),
    "/config": b"",
    "/config/users": b"",
    "/config/users/alice": _json(
        version=1, config={"SCRAM-SHA-256": "salt=YQ==,stored_key=Yg==,server_key=Yw==,iterations=4096"}
    ),
    "/controller": _json(version=2, brokerid=2, timestamp=str(_MADE_MS), kraftControllerEpoch=-1),
    "/controller_epoch": b"7",
}
_OWNERS = {f"/brokers/ids/{each}": session for each, session in SESSIONS.items()} | {"/controller": SESSIONS[2]}


def children_of(path: str) -> tuple[str, ...]:
    above = "" if path == "/" else path
    return tuple(each[len(above) + 1 :] for each in TREE if each != "/" and each.rpartition("/")[0] == above)


def znode(path: str, *, with_children: bool) -> ZnodeSeen | None:
    if path not in TREE:
        return None
    names, data = children_of(path), TREE[path]
    zxid = 0x500000010 + list(TREE).index(path)
    return ZnodeSeen(
        path,
        data,
        1,
        zxid,
        zxid + 3,
        _OWNERS.get(path, 0),
        _MADE_MS,
        _MADE_MS + 61_000,
        len(names),
        len(data),
        names if with_children else None,
    )


def sample_znodes(opened: Any, wanted: Any, at_ms: int) -> ZnodesSeen:
    paths = dict.fromkeys((*opened, *wanted))
    return ZnodesSeen({each: znode(each, with_children=each in opened) for each in paths}, at_ms)


def sample_ensemble(at_ms: int, *, down: int = 0) -> ZooKeeperState:
    """Server 3 leads; of the one that is down the figures are seven seconds old."""

    def server(number: int) -> ZooKeeperServer:
        up = number != down
        return ZooKeeperServer(
            f"127.0.0.1:218{number}",
            number,
            "leader" if number == 3 else "follower",
            up,
            "" if up else "SIGKILL, asked for",
            0.4 * number,
            9.0 + number,
            2,
            0,
            0x500000040,
            31,
            "3.8.4",
            at_ms - (0 if up else 7_000),
            "running" if up else "killed",
            7000 + number if up else None,
        )

    brokers = tuple(SESSIONS.items())
    sessions = tuple(
        ZooKeeperClient(
            session,
            f"127.0.0.1:4731{number}",
            "" if number == down else f"127.0.0.1:218{number}",
            6_000,
            "PING",
            0.6,
            13.0,
            _MADE_MS,
            83,
            85,
            0,
            number,
            number == 2,
            observed_at_ms=at_ms,
        )
        for number, session in brokers
    )
    own = ZooKeeperClient(0x3000A5F1C2E0009, "127.0.0.1:47399", "127.0.0.1:2181", 10_000, "GETD", 0.2, 1.0, is_own=True)
    return ZooKeeperState(
        "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183/kafka",
        "/kafka",
        tuple(map(server, (1, 2, 3))),
        (*sessions, own._replace(observed_at_ms=at_ms)),
        brokers,
        ZooKeeperController(2, 7, SESSIONS[2], at_ms - 95_000, 0x500000020),
        at_ms,
    )


def coordinated(snapshot: ClusterSnapshot, state: ZooKeeperState) -> ClusterSnapshot:
    """The cluster, without a metadata quorum of its own."""
    return snapshot.with_facts(
        quorum=None, coordination="zookeeper", zookeeper=state, controller_id=2, controller_epoch=7
    )
