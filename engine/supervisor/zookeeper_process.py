"""What a supervisor tells of one of its ZooKeeper servers. Pure data, as :mod:`engine.supervisor.snapshot`."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.supervisor.snapshot import ProcessState


class ZooKeeperProcess(NamedTuple):
    """One server. ``mode`` is ``leader``, ``follower`` or ``standalone`` as it said last, empty while it does not."""

    server_id: int
    address: str
    state: ProcessState
    mode: str
    pid: int | None
    started_at_ms: int | None
    incarnation: int
    restarts: int
    exit_code: int | None
    cpu_percent: float | None
    rss_bytes: int | None
    log_file: str
    next_restart_at_ms: int | None
    why: str

    @classmethod
    def of(cls, fact: dict[str, Any]) -> ZooKeeperProcess:
        """From a ``zookeeper`` fact."""
        known = {name: fact[name] for name in cls._fields if name not in ("server_id", "state")}
        return cls(server_id=int(fact["server"]), state=ProcessState(fact["state"]), **known)
