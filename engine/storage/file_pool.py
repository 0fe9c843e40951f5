"""Files that are open for reading, the least recently used closed when there are too many."""

from __future__ import annotations

from collections import OrderedDict

from engine.world import Disk, File


class FilePool:
    """Bounds the descriptors that old segments and indexes cost. Not for more than one thread."""

    __slots__ = ("_files", "disk", "max_open")

    def __init__(self, disk: Disk, max_open: int = 256) -> None:
        self.disk = disk
        self.max_open = max_open
        self._files: OrderedDict[str, File] = OrderedDict()

    def file(self, path: str) -> File:
        """The open file of ``path``: use it at once, do not keep it. Raises ``OSError``."""
        files = self._files
        file = files.get(path)
        if file is not None:
            files.move_to_end(path)
            return file
        if len(files) >= self.max_open:
            files.popitem(last=False)[1].close()
        file = self.disk.open(path, read_only=True)
        files[path] = file
        return file

    def forget(self, path: str) -> None:
        """Close a file that is removed, renamed or replaced."""
        file = self._files.pop(path, None)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Close all."""
        while self._files:
            self._files.popitem()[1].close()

    def __len__(self) -> int:
        return len(self._files)
