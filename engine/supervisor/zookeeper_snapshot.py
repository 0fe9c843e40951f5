"""What a console renders of the ZooKeeper ensemble that coordinates a cluster: servers, sessions, who is controller,
and znodes. Pure data, as :mod:`engine.supervisor.snapshot`; times are wall-clock milliseconds, ``None`` is "not known".
"""

from __future__ import annotations

from typing import NamedTuple


class ZooKeeperServer(NamedTuple):
    """One server, from its answers to ``srvr``, and its process where a supervisor runs it.

    ``mode`` is ``leader``, ``follower``, ``observer`` or ``standalone`` as it said last; ``serving`` whether it
    answered just now, and ``error`` why not. ``state`` is that of its process (a ProcessState's value), ``""`` where it
    is not ours.
    """

    address: str
    server_id: int | None = None
    mode: str = ""
    serving: bool = False
    error: str = ""
    latency_avg_ms: float | None = None
    latency_max_ms: float | None = None
    connections: int | None = None
    outstanding: int | None = None
    zxid: int | None = None
    znodes: int | None = None
    version: str = ""
    observed_at_ms: int = 0
    state: str = ""
    pid: int | None = None


class ZooKeeperClient(NamedTuple):
    """One session: of a client that is connected, from ``cons`` of its server, or of one that is not, of which only its
    ephemeral znodes are left. ``broker_id`` is the broker whose znode under /brokers/ids it owns."""

    session_id: int
    address: str = ""
    server: str = ""
    timeout_ms: int | None = None
    last_operation: str = ""
    latency_avg_ms: float | None = None
    latency_max_ms: float | None = None
    established_at_ms: int | None = None
    received: int | None = None
    sent: int | None = None
    queued: int | None = None
    broker_id: int | None = None
    is_controller: bool = False
    is_own: bool = False
    observed_at_ms: int = 0

    @property
    def is_connected(self) -> bool:
        """Whether a server has it as a connection."""
        return bool(self.server)


class ZooKeeperController(NamedTuple):
    """``/controller`` with ``/controller_epoch``. ``broker_id`` is -1 while there is none."""

    broker_id: int
    epoch: int | None
    session_id: int | None
    since_ms: int | None
    czxid: int | None = None


class ZooKeeperState(NamedTuple):
    """The ensemble as it was seen last. ``connect`` is Kafka's ``zookeeper.connect``, chroot and all; ``error`` says
    why the console's own session is not there, ``tree_observed_at_ms`` when it was asked last; ``sessions_error`` why a
    server does not list its connections."""

    connect: str
    chroot: str = ""
    servers: tuple[ZooKeeperServer, ...] = ()
    sessions: tuple[ZooKeeperClient, ...] = ()
    # Brokers that live, each with the session that made its znode.
    brokers: tuple[tuple[int, int], ...] = ()
    controller: ZooKeeperController | None = None
    tree_observed_at_ms: int = 0
    error: str = ""
    sessions_error: str = ""


class ZnodeSeen(NamedTuple):
    """One znode: its data, its stat, and the names of its children where they were asked for."""

    path: str
    data: bytes
    version: int
    czxid: int
    mzxid: int
    ephemeral_owner: int
    created_at_ms: int
    modified_at_ms: int
    child_count: int
    data_length: int
    children: tuple[str, ...] | None = None
    children_version: int = 0
    acl_version: int = 0
    # Its ACL does not let us read it: neither value nor stat are known.
    is_private: bool = False


class ZnodesSeen(NamedTuple):
    """What was asked for, by path; ``None``: it is not there (any more)."""

    znodes: dict[str, ZnodeSeen | None]
    observed_at_ms: int
