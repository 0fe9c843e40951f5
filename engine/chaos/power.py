"""Disks that lose their power: a file system in an image, shut down with everything in it that was not synced.

A broker's log directory is an ext4 of its own in a file, mounted over a loop device. ``EXT4_IOC_SHUTDOWN`` with
``NOLOGFLUSH`` drops what is neither on the device nor in the journal on it, and fails every write and fsync from then
on: the disk is as a loss of power leaves it. What was synced survives, also a file whose directory was synced; what was
only written does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# <linux/ext4.h>: _IOR('X', 125, __u32), and its argument.
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = struct.pack("I", 2)

_IMAGE_NAME = "kconsole-power-disk.img"
_TOOL_TIMEOUT_S = 30
_BUSY_S = 10.0
_PROBE_BYTES = 32 << 20


class PowerDisk:
    """The file system at ``directory``. Its owner holds a lock on the image: what is left of one that died is known
    by that, see :func:`sweep`."""

    def __init__(self, directory: str, size_bytes: int) -> None:
        """Raises ``OSError`` if it cannot be made; nothing of it is left then."""
        self.directory = directory
        self._image = os.path.join(os.path.dirname(directory), _IMAGE_NAME)
        os.makedirs(directory, exist_ok=True)
        self._lock_fd = os.open(self._image, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mounted = False
        self._has_power = True
        # A run that is interrupted closes it while a thread may still be switching it on.
        self._switching = threading.Lock()
        self._closed = False
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock_fd, size_bytes)
            options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
            _do(f"make an ext4 in {self._image}", "mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, self._image)
            self._mount()
        except BaseException:
            self.close(keep=False)
            raise

    def _mount(self) -> None:
        # The loop device goes with the mount: `mount` makes it so.
        _do(f"mount {self._image}", "mount", "-t", "ext4", "-o", "loop", self._image, self.directory)
        self._mounted = True

    def sync(self) -> None:
        """Everything that was written is on the device, whether anybody asked for it or not."""
        _do(f"sync {self.directory}", "sync", "-f", self.directory)

    def cut_power(self) -> None:
        """What was not synced is lost, and nothing can be written or synced any more. Raises ``OSError``."""
        self._has_power = False
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, _NOLOGFLUSH)
        finally:
            os.close(fd)

    def power_on(self) -> None:
        """Mount what is on the device, as the next boot does; no process is in it. Raises ``OSError``."""
        with self._switching:
            if not self._closed:
                self._unmount()
                self._mount()
                self._has_power = True

    def _unmount(self) -> None:
        deadline = time.monotonic() + _BUSY_S
        while self._mounted:
            done = _run("umount", self.directory)
            if done.returncode == 0:
                self._mounted = False
            elif time.monotonic() > deadline:
                raise OSError(f"cannot unmount {self.directory}: {done.stderr.strip()}")
            else:
                # A process that was killed has not quite ended.
                time.sleep(0.02)

    def close(self, *, keep: bool) -> None:
        """It is gone, with its loop device; with ``keep`` its contents are in a directory of the same name."""
        with self._switching:
            self._closed = True
            try:
                if keep and self._mounted:
                    self._keep()
            finally:
                self._remove()
        if os.path.isdir(self._kept):
            os.rmdir(self.directory)
            os.rename(self._kept, self.directory)

    @property
    def _kept(self) -> str:
        return f"{self.directory}.kept"

    def _keep(self) -> None:
        if not self._has_power:
            self._unmount()
            self._mount()
        shutil.copytree(self.directory, self._kept)

    def _remove(self) -> None:
        try:
            self._unmount()
        except OSError:
            # It goes when the last process leaves it.
            _run("umount", "-l", self.directory)
            self._mounted = False
        os.close(self._lock_fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._image)


def why_no_power_cuts() -> str:
    """What keeps this machine from cutting the power of a disk; empty if it can. It is tried."""
    if os.geteuid() != 0:
        return "mounting a file system of its own takes root"
    for tool in ("mount", "umount", "mkfs.ext4"):
        if shutil.which(tool) is None:
            return f"there is no `{tool}` (packages mount and e2fsprogs)"
    with tempfile.TemporaryDirectory(prefix="kconsole-chaos-") as directory:
        try:
            disk = PowerDisk(os.path.join(directory, "tried"), _PROBE_BYTES)
        except OSError as error:
            return str(error)
        try:
            disk.cut_power()
        except OSError as error:
            return f"this kernel cannot shut an ext4 down: {error}"
        finally:
            disk.close(keep=False)
    return ""


def sweep() -> list[str]:
    """Unmount what runs that were killed left mounted, and remove their images; where that was."""
    swept: list[str] = []
    for loop, mount_point in _loop_mounts():
        image = _backing_file(loop)
        if os.path.basename(image) != _IMAGE_NAME or _is_owned(image):
            continue
        # Brokers leave when their supervisor dies, in a moment.
        if _run("umount", mount_point).returncode:
            _run("umount", "-l", mount_point)
        with contextlib.suppress(OSError):
            os.unlink(image)
        swept.append(mount_point)
    return swept


def _loop_mounts() -> Iterator[tuple[str, str]]:
    """Names of loop devices that are mounted, and where."""
    for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
        source, mount_point, *_ = line.split(" ")
        if source.startswith("/dev/loop"):
            yield os.path.basename(source), mount_point.encode().decode("unicode_escape")


def _backing_file(loop: str) -> str:
    try:
        return Path(f"/sys/block/{loop}/loop/backing_file").read_text().strip()
    except OSError:
        return ""


def _is_owned(image: str) -> bool:
    try:
        fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # removed: nobody means to use it again
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _do(what: str, *command: str) -> None:
    done = _run(*command)
    if done.returncode:
        raise OSError(f"cannot {what}: {done.stderr.strip() or done.returncode}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    # A signal for the terminal's whole foreground is not for them: an unmount that is under way is finished.
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False, start_new_session=True
    )
