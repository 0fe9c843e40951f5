"""Where the brokers of a test keep their files: a directory in memory that goes when the cluster does.

A test process can be killed, and its directory cannot go with it. So each is locked for as long as its process lives,
and whoever makes the next one removes those that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time

from engine.model.ids import uuid_to_str
from engine.storage.checkpoints import MetaProperties, read_meta_properties, write_meta_properties
from engine.testing.disk import BrokerDisk
from engine.testing.errors import KafkaClusterError
from engine.world.real import RealRandom

_PREFIX = "kconsole-test-"
_OWNER = "owner.lock"
# In memory if there is this much of it: containers often have 64 MB.
_ROOMY_BYTES = 1 << 30
# A directory is not locked in the instant in which it is made.
_YOUNG_S = 60


class ClusterDirectory:
    """The files of one cluster, a directory a broker in it."""

    def __init__(self, path: str | None) -> None:
        """``path`` stays afterwards; without one there is a temporary directory.

        Raises:
            KafkaClusterError: another cluster uses ``path``.
        """
        self.is_temporary = path is None
        if path is None:
            base = _base()
            _remove_orphans(base)
            self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        else:
            self.path = os.path.abspath(path)
            os.makedirs(self.path, exist_ok=True)
        self._lock = os.open(os.path.join(self.path, _OWNER), os.O_RDWR | os.O_CREAT, 0o644)
        if not _locked(self._lock):
            os.close(self._lock)
            raise KafkaClusterError(f"another cluster uses {self.path}")

    def log_dir(self, broker_id: int) -> str:
        """The broker's ``log.dirs``."""
        return os.path.join(self.path, f"broker-{broker_id}")

    def format(self, broker_ids: list[int]) -> str:
        """What ``kafka-storage format`` does, for those that have no log directory yet; returns the cluster's id.

        Raises:
            CheckpointCorrupt: a directory has a meta.properties that does not read as one.
        """
        disk, random = BrokerDisk(), RealRandom()
        found = {each: read_meta_properties(disk, self.log_dir(each)) for each in broker_ids}
        known = [each.cluster_id for each in found.values() if each is not None]
        cluster_id = known[0] if known else uuid_to_str(random.uuid())
        for broker_id, properties in found.items():
            if properties is None:
                disk.make_dirs(self.log_dir(broker_id))
                made = MetaProperties(cluster_id, broker_id, random.uuid())
                write_meta_properties(disk, self.log_dir(broker_id), made)
        return cluster_id

    def close(self) -> None:
        """Remove it if it is temporary, and give it up."""
        if self._lock < 0:
            return
        if self.is_temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def _base() -> str:
    with contextlib.suppress(OSError):
        about = os.statvfs("/dev/shm")
        if about.f_bavail * about.f_frsize >= _ROOMY_BYTES and os.access("/dev/shm", os.W_OK | os.X_OK):
            return "/dev/shm"
    return tempfile.gettempdir()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_orphans(base: str) -> None:
    oldest = time.time() - _YOUNG_S
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                # Somebody else's, or being removed by another process at this moment.
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest and not _is_owned(entry.path):
                        shutil.rmtree(entry.path, ignore_errors=True)


def _is_owned(path: str) -> bool:
    try:
        descriptor = os.open(os.path.join(path, _OWNER), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)
