"""Part of a log's file that is read when the reader's socket takes it, not when it is asked for. Kafka: FileRecords."""

from __future__ import annotations

from engine.world import Disk


class FileSlice:
    """So many bytes of a file from a position on. It has a descriptor of its own, so that the file may be removed."""

    __slots__ = ("_end", "_file", "_length", "_position")

    def __init__(self, disk: Disk, path: str, position: int, length: int) -> None:
        """Raises ``OSError`` if the file is not there."""
        self._length = length
        self._position = position
        self._end = position + length
        self._file = disk.open(path, read_only=True)

    def __len__(self) -> int:
        """All bytes of it, read or not."""
        return self._length

    def __del__(self) -> None:
        # Answers are dropped in many places (a connection that is lost, a fetch that waits on): none must forget it.
        if hasattr(self, "_file"):
            self._file.close()

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return self._end - self._position

    def read(self, max_bytes: int) -> bytes:
        """The next bytes, at most so many, at least one.

        Raises:
            EOFError: the file ends before (a follower's log was truncated after the slice was made).
            OSError: the disk fails.
        """
        wanted = min(max_bytes, self.left)
        assert wanted > 0, "the slice was read to its end"
        data = self._file.pread(wanted, self._position)
        if len(data) < wanted:
            raise EOFError(f"the file ends {wanted - len(data)} bytes before the slice of it")
        self._position += wanted
        if not self.left:
            self._file.close()
        return data

    def __repr__(self) -> str:
        return f"FileSlice(<{self._length} bytes>)"
