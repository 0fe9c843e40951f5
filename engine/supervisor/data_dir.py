"""The directory of one embedded cluster: who owns it, what stands in it, where its control socket is.

supervisor.lock      flock of the one supervisor; its pid
cluster.json         cluster id, directory ids, chosen ports
cluster.yaml         the cluster file it was last started with
control.sock         the control socket, or control.path with its place when this path is too long for a socket
recording/           what consoles recorded of the cluster, in one file
broker-N/            server.properties, broker.log and broker.log.1 (previous incarnation), pid
broker-N/data/       log.dirs: Kafka's own files
broker-N/kafka/      server.properties for Apache Kafka, once `kconsole storage graduate` was there
connect/             what workers of Connect over it need: REST's token, logs, where they answer
streams/             state.dir of applications that `kconsole streams run` runs over it, and their workers' logs
registry/            of the schema registry: registry.properties, registry.log and registry.log.1
zookeeper-N/         of an embedded ZooKeeper server: zoo.cfg, server.log and server.log.1, pid
zookeeper-N/data/    its dataDir
before-kraft/        cluster.yaml and cluster.json under ZooKeeper, once `kconsole zookeeper migrate` was there
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from engine.model.ids import uuid_to_str
from engine.world import DiskLock, World

# sun_path has 108 bytes on Linux and 104 on macOS, the final zero included.
_MAX_SOCKET_PATH_BYTES = 103
_OURS = (
    "supervisor.lock",
    "cluster.json",
    "cluster.yaml",
    "control.sock",
    "control.path",
    "supervisor.log",
    *(f"{name}{age}" for name in ("workload.log", "probe.log") for age in ("", ".1")),
    "workload.json",
    "before-kraft",
    # What consoles recorded of it.
    "recording",
    # State of applications over it: nothing without the cluster's changelogs.
    "streams",
    # Logs of Connect's workers, and the token of their REST.
    "connect",
    "registry",
)


class DataDirError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


def default_data_dir(environment: Iterable[tuple[str, str]]) -> str:
    """Under the user's XDG data home."""
    variables = dict(environment)
    home = variables.get("XDG_DATA_HOME") or os.path.join(
        variables.get("HOME") or os.path.expanduser("~"), ".local/share"
    )
    return os.path.join(home, "kconsole", "default")


class DataDir:
    """Paths and small files of a data directory."""

    def __init__(self, world: World, path: str) -> None:
        self._world = world
        self.path = os.path.abspath(path)

    # -- places -------------------------------------------------------------------------------------------------

    @property
    def spec_file(self) -> str:
        """The cluster file of the last start."""
        return os.path.join(self.path, "cluster.yaml")

    def broker_dir(self, broker_id: int) -> str:
        """What belongs to one broker."""
        return os.path.join(self.path, f"broker-{broker_id}")

    def streams_dir(self) -> str:
        """``state.dir`` of applications over streams."""
        return os.path.join(self.path, "streams")

    def registry_dir(self) -> str:
        """What belongs to the schema registry; its schemas stand in a topic."""
        return os.path.join(self.path, "registry")

    def connect_dir(self) -> str:
        """What belongs to workers of Connect."""
        return os.path.join(self.path, "connect")

    @property
    def state_file(self) -> str:
        """What is remembered of the cluster from start to start."""
        return os.path.join(self.path, "cluster.json")

    def before_kraft_dir(self) -> str:
        """What files said when ZooKeeper coordinated the cluster."""
        return os.path.join(self.path, "before-kraft")

    def log_dir(self, broker_id: int) -> str:
        """The broker's ``log.dirs``."""
        return os.path.join(self.broker_dir(broker_id), "data")

    def broker_log(self, broker_id: int) -> str:
        """What the running (or last) incarnation wrote; the one before it has ``.1`` at the end."""
        return os.path.join(self.broker_dir(broker_id), "broker.log")

    def properties_file(self, broker_id: int) -> str:
        """The broker's server.properties."""
        return os.path.join(self.broker_dir(broker_id), "server.properties")

    def kafka_dir(self, broker_id: int) -> str:
        """What Apache Kafka needs to take the broker over."""
        return os.path.join(self.broker_dir(broker_id), "kafka")

    def zookeeper_dir(self, server_id: int) -> str:
        """What belongs to one embedded ZooKeeper server."""
        return os.path.join(self.path, f"zookeeper-{server_id}")

    def zookeeper_data(self, server_id: int) -> str:
        """The server's ``dataDir``."""
        return os.path.join(self.zookeeper_dir(server_id), "data")

    def zoo_cfg(self, server_id: int) -> str:
        """The server's zoo.cfg."""
        return os.path.join(self.zookeeper_dir(server_id), "zoo.cfg")

    def zookeeper_log(self, server_id: int) -> str:
        """What the running (or last) incarnation wrote; the one before it has ``.1`` at the end."""
        return os.path.join(self.zookeeper_dir(server_id), "server.log")

    def control_socket(self) -> str:
        """Where a supervisor of this directory listens, or would."""
        pointer = os.path.join(self.path, "control.path")
        if self._world.disk.exists(pointer):
            return self._world.disk.read(pointer).decode().strip()
        return self._near_socket()

    def _near_socket(self) -> str:
        return os.path.join(self.path, "control.sock")

    def prepare_control_socket(self) -> str:
        """A path for the socket that is short enough; nothing stands there."""
        disk = self._world.disk
        near = self._near_socket()
        pointer = os.path.join(self.path, "control.path")
        if len(os.fsencode(near)) <= _MAX_SOCKET_PATH_BYTES:
            disk.remove(pointer)
            disk.remove(near)
            return near
        variables = dict(self._world.environment())
        runtime = variables.get("XDG_RUNTIME_DIR") or ""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        if runtime and disk.is_dir(runtime):
            directory = os.path.join(runtime, "kconsole")
        else:
            directory = f"/tmp/kconsole-{os.getuid()}"
        os.makedirs(directory, mode=0o700, exist_ok=True)
        # In /tmp somebody else may have made it first.
        about = os.stat(directory, follow_symlinks=False)
        if about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise DataDirError(
                f"{directory} does not belong to this user alone: remove it, or use a shorter --data-dir"
            )
        far = os.path.join(directory, f"{digest}.sock")
        disk.remove(far)
        disk.write_atomic(pointer, far.encode() + b"\n")
        return far

    # -- ownership ----------------------------------------------------------------------------------------------

    def own(self) -> DiskLock:
        """Become the one supervisor of this directory.

        Raises:
            DataDirError: another process owns it, or it cannot be made.
        """
        disk = self._world.disk
        path = os.path.join(self.path, "supervisor.lock")
        try:
            disk.make_dirs(self.path)
            lock = disk.lock(path)
        except BlockingIOError:
            owner = disk.read(path).decode(errors="replace").strip() or "unknown"
            raise DataDirError(
                f"{self.path} belongs to a running supervisor (pid {owner}): "
                "talk to it with `kconsole status`, or use another --data-dir"
            ) from None
        except OSError as error:
            raise DataDirError(f"cannot use {self.path}: {error.strerror}") from error
        with open(path, "r+b") as file:
            file.truncate()
            file.write(f"{os.getpid()}\n".encode())
        return lock

    def is_owned(self) -> bool:
        """Whether a supervisor runs for this directory."""
        path = os.path.join(self.path, "supervisor.lock")
        disk = self._world.disk
        if not disk.exists(path):
            return False
        try:
            disk.lock(path).release()
        except BlockingIOError:
            return True
        return False

    def write_pid(self, broker_id: int, pid: int) -> None:
        """Remember a broker that may outlive its supervisor."""
        self._world.disk.write_atomic(os.path.join(self.broker_dir(broker_id), "pid"), f"{pid}\n".encode())

    def write_zookeeper_pid(self, server_id: int, pid: int) -> None:
        """Remember a ZooKeeper server that may outlive its supervisor."""
        self._world.disk.write_atomic(os.path.join(self.zookeeper_dir(server_id), "pid"), f"{pid}\n".encode())

    def kept_processes(self) -> list[int]:
        """Pids of brokers and ZooKeeper servers that outlived their supervisor. A pid that another program has by now
        does not count."""
        disk = self._world.disk
        found: list[int] = []
        for name in disk.list_dir(self.path):
            pid_file = os.path.join(self.path, name, "pid")
            if not _is_process_dir(name) or not disk.exists(pid_file):
                continue
            pid = int(disk.read(pid_file).strip() or b"0")
            if pid and _runs_from(pid, os.path.join(self.path, name)):
                found.append(pid)
            else:
                disk.remove(pid_file)
        return found

    def remove_cluster(self) -> None:
        """Delete the cluster's data. The directory must be owned.

        Raises:
            DataDirError: there are files that no supervisor made.
        """
        disk = self._world.disk
        names = disk.list_dir(self.path)
        strange = [name for name in names if name not in _OURS and not _is_process_dir(name)]
        if strange:
            raise DataDirError(
                f"--fresh would delete {self.path}, and {strange[0]!r} in it is not kconsole's: use another --data-dir"
            )
        for name in names:
            path = os.path.join(self.path, name)
            # The log is that of the supervisor that is starting.
            if name in ("supervisor.lock", "supervisor.log"):
                continue
            if disk.is_dir(path):
                disk.remove_tree(path)
            else:
                disk.remove(path)

    # -- the cluster's identity ---------------------------------------------------------------------------------

    def read_state(self) -> dict[str, Any] | None:
        """cluster.json; ``None`` before the first start.

        Raises:
            DataDirError: it is damaged.
        """
        path = self.state_file
        try:
            state = json.loads(self._world.disk.read(path))
        except FileNotFoundError:
            return None
        except ValueError:
            raise DataDirError(f"{path} is damaged: mend it, or start with --fresh and lose the cluster") from None
        if not isinstance(state, dict):
            raise DataDirError(f"{path} is damaged: mend it, or start with --fresh and lose the cluster")
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace cluster.json."""
        self._world.disk.write_atomic(self.state_file, self.encode_state(state))

    @staticmethod
    def encode_state(state: dict[str, Any]) -> bytes:
        """The content of cluster.json."""
        return (json.dumps(state, indent=2, sort_keys=True) + "\n").encode()

    def format_log_dir(self, broker_id: int, cluster_id: str, directory_id: str) -> None:
        """What ``kafka-storage format`` does: make ``log.dirs`` and its meta.properties (version 1), once."""
        disk = self._world.disk
        directory = self.log_dir(broker_id)
        disk.make_dirs(directory)
        path = os.path.join(directory, "meta.properties")
        if disk.exists(path):
            return
        lines = [
            "#",
            f"cluster.id={cluster_id}",
            f"directory.id={directory_id}",
            f"node.id={broker_id}",
            "version=1",
        ]
        disk.write_atomic(path, ("\n".join(lines) + "\n").encode())

    def cluster_id(self, broker_id: int) -> str:
        """What the broker wrote down, under ZooKeeper."""
        # Only at a cluster's first start.
        from engine.storage.checkpoints import read_meta_properties

        found = read_meta_properties(self._world.disk, self.log_dir(broker_id))
        return "" if found is None else found.cluster_id

    def new_id(self) -> str:
        """A new id in Kafka's base64 form."""
        return uuid_to_str(self._world.random.uuid())


def _is_process_dir(name: str) -> bool:
    kind, _, number = name.partition("-")
    return kind in ("broker", "zookeeper") and number.isdigit()


def _runs_from(pid: int, directory: str) -> bool:
    # Rare, so psutil is imported here.
    import psutil

    try:
        return any(argument.startswith(directory + os.sep) for argument in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
