"""fsync of a file that nobody holds open."""

from __future__ import annotations

from engine.world import Disk


def sync_file(disk: Disk, path: str) -> None:
    """Make a file durable. Safe in another thread. Raises ``OSError``; ``FileNotFoundError`` if there is none."""
    file = disk.open(path)
    try:
        file.sync()
    finally:
        file.close()
