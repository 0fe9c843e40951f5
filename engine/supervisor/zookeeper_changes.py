"""Events found by comparing two looks at a ZooKeeper ensemble: who made /controller, which broker came and went with
its session, which server leads. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator

from engine.supervisor.cluster_diff import Change
from engine.supervisor.zookeeper_snapshot import ZooKeeperState

CONTROLLER_ZNODE_MADE = "controller_znode_made"
CONTROLLER_ZNODE_GONE = "controller_znode_gone"
BROKER_ZNODE_MADE = "broker_znode_made"
BROKER_ZNODE_GONE = "broker_znode_gone"


def zookeeper_changes(before: ZooKeeperState, after: ZooKeeperState, *, servers: bool = True) -> list[Change]:
    """What changed, causes first; ``servers`` False where somebody else tells of these. Nothing is derived from the
    first look."""
    found = [*_server_changes(before, after)] if servers else []
    if before.tree_observed_at_ms and after.tree_observed_at_ms:
        found += [*_broker_changes(before, after), *_controller_changes(before, after)]
    return found


def _server_changes(before: ZooKeeperState, after: ZooKeeperState) -> Iterator[Change]:
    earlier = {each.address: each for each in before.servers}
    leads = next((each.address for each in before.servers if each.mode == "leader"), "")
    for server in after.servers:
        was = earlier.get(server.address)
        if was is None or not was.observed_at_ms:
            continue
        subject = f"ZooKeeper {server.address}"
        if was.serving and not server.serving:
            yield Change("zookeeper_unreachable", subject, server.error, {"mode": was.mode})
        elif server.serving and not was.serving:
            yield Change("zookeeper_reachable", subject, f"serves as {server.mode}", {"mode": server.mode})
        if server.serving and server.mode == "leader" and leads and leads != server.address:
            yield Change("zookeeper_leader_elected", subject, f"it was {leads} before", {"mode": server.mode})


def hexadecimal(session_id: int | None) -> str:
    """A session's id as ZooKeeper writes it."""
    return "–" if not session_id else f"{session_id:#x}"


def _broker_changes(before: ZooKeeperState, after: ZooKeeperState) -> Iterator[Change]:
    was, now = dict(before.brokers), dict(after.brokers)
    for broker_id, session_id in sorted(was.items()):
        if now.get(broker_id) != session_id:
            reason = f"/brokers/ids/{broker_id} of session {hexadecimal(session_id)} is gone"
            yield Change(BROKER_ZNODE_GONE, f"broker {broker_id}", reason, {"session": hexadecimal(session_id)})
    for broker_id, session_id in sorted(now.items()):
        if was.get(broker_id) != session_id:
            reason = f"/brokers/ids/{broker_id} was made by session {hexadecimal(session_id)}"
            yield Change(BROKER_ZNODE_MADE, f"broker {broker_id}", reason, {"session": hexadecimal(session_id)})


def _controller_changes(before: ZooKeeperState, after: ZooKeeperState) -> Iterator[Change]:
    was, now = before.controller, after.controller
    if was is None or now is None or was.czxid == now.czxid:
        return
    if was.broker_id >= 0:
        reason = f"/controller of session {hexadecimal(was.session_id)} is gone; epoch {was.epoch}"
        yield Change(CONTROLLER_ZNODE_GONE, f"broker {was.broker_id}", reason, {"epoch": was.epoch})
    if now.broker_id >= 0:
        reason = f"/controller was made by session {hexadecimal(now.session_id)} in epoch {now.epoch}"
        yield Change(CONTROLLER_ZNODE_MADE, f"broker {now.broker_id}", reason, {"epoch": now.epoch})
