"""What an embedded ZooKeeper server is told: its zoo.cfg and its command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Where Kafka's znodes are in an embedded ensemble.
CHROOT = "/kafka"
HOST = "127.0.0.1"
# The least that a session's time-out can be is two of these (ms); Kafka's is thirty-six.
TICK_MS = 500
# Ticks until a follower has to have joined a leader, and until either gives the other up: 10 s and 3 s. A broker's
# session (zookeeper.session.timeout.ms=6000 here) outlives an ensemble that waits for a server which hangs.
INIT_TICKS, SYNC_TICKS = 20, 6
_MAX_SESSION_MS = 120_000
# A batch of metadata is one request: a topic of thousands of partitions is more than the 1 MiB that ZooKeeper takes.
JUTE_MAX_BYTES = 8 << 20
# A server has 65 MB resident after its start.
_JVM = (
    "-Xms16m",
    "-Xmx128m",
    "-XX:+UseSerialGC",
    # A server starts in half of the time, and never works hard enough to want the second compiler.
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    f"-Djute.maxbuffer={JUTE_MAX_BYTES}",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    # They write a line for every four letter word that comes, and one comes every second.
    "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NIOServerCnxn=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.command=warn",
)


class ServerPorts(NamedTuple):
    """Where a server listens: to clients, to its followers, and to the votes of an election."""

    client: int
    quorum: int
    election: int


def connect_string(ports: Mapping[int, ServerPorts]) -> str:
    """``zookeeper.connect`` of an embedded ensemble."""
    return ",".join(f"{HOST}:{each.client}" for _, each in sorted(ports.items())) + CHROOT


def zoo_cfg(server_id: int, ports: Mapping[int, ServerPorts], data_dir: str, *, is_synced: bool) -> str:
    """The file of one server. ``ports`` has every server of the ensemble; ``is_synced``: a write counts once it is on
    the device, not when the operating system has it."""
    settings = {
        "tickTime": str(TICK_MS),
        "initLimit": str(INIT_TICKS),
        "syncLimit": str(SYNC_TICKS),
        "maxSessionTimeout": str(_MAX_SESSION_MS),
        "dataDir": _escaped(data_dir),
        "clientPort": str(ports[server_id].client),
        "clientPortAddress": HOST,
        # All brokers and consoles come from one address.
        "maxClientCnxns": "0",
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
        "autopurge.snapRetainCount": "3",
        "autopurge.purgeInterval": "1",
        # KiB; 64 MiB at once are more than a small cluster ever writes.
        "preAllocSize": "4096",
        "forceSync": "yes" if is_synced else "no",
    }
    lines = ["# written by kconsole at every start; change the cluster file instead"]
    lines += [f"{name}={value}" for name, value in settings.items()]
    if len(ports) > 1:
        lines += [f"server.{each}={HOST}:{at.quorum}:{at.election}" for each, at in sorted(ports.items())]
    return "\n".join(lines) + "\n"


def _escaped(path: str) -> str:
    # java.util.Properties
    return path.replace("\\", "\\\\")


def server_command(java: str, class_path: str, main_class: str, cfg_file: str) -> list[str]:
    """The command line of a server."""
    return [java, *_JVM, "-cp", class_path, main_class, cfg_file]
