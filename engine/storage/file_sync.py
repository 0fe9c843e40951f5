"""fsync of a file that nobody holds open, and of directories that were made."""

from __future__ import annotations

from engine.world import Disk


def sync_file(disk: Disk, path: str) -> None:
    """Make a file durable. Safe in another thread. Raises ``OSError``; ``FileNotFoundError`` if there is none."""
    file = disk.open(path)
    try:
        file.sync()
    finally:
        file.close()


def make_dirs_synced(disk: Disk, path: str) -> None:
    """Make a directory and what is missing above it, durably. Raises ``OSError``.

    The one above is synced in any case: who made the directory may have died before it was.
    """
    missing = [path.rstrip("/")]
    while missing[-1] and not disk.is_dir(missing[-1]):
        missing.append(missing[-1].rpartition("/")[0])
    disk.make_dirs(path)
    for each in reversed(missing):
        if each:
            disk.sync_dir(each.rpartition("/")[0] or "/")
