"""How a small file is replaced so that a crash leaves the old or the new one. Kafka: Utils.atomicMoveWithFallback."""

from __future__ import annotations

from engine.world.interface import Buffer, Disk

BESIDE_SUFFIX = ".tmp"


def replace_file(disk: Disk, path: str, data: Buffer) -> None:
    """Write beside, sync, rename, sync the directory. Raises ``OSError``; the old file is there then.

    Every disk does it so, the simulator's as well, which cuts the power after each of the steps' effects.
    """
    beside = path + BESIDE_SUFFIX
    file = disk.open(beside, append=True, create=True)
    try:
        if file.size():
            # A crash left it.
            file.truncate(0)
        file.append((data,))
        file.sync()
    finally:
        file.close()
    disk.rename(beside, path)
    disk.sync_dir(path.rpartition("/")[0] or "/")
