"""Part of a log's file that is read when the reader's socket takes it, not when it is asked for. Kafka: FileRecords."""

from __future__ import annotations

from collections.abc import Callable

from engine.record.batch import LOG_OVERHEAD_BYTES
from engine.storage.batch_check import BatchCheck
from engine.storage.failure import LogCorrupt
from engine.world import Disk

_SIZE_AT = 8


class FileSlice:
    """So many bytes of a file from a position on. It has a descriptor of its own, so that the file may be removed.

    With a ``check`` no byte leaves before the whole batch was looked at that holds it; ``on_corrupt`` hears of the
    first one that is not what was written.
    """

    __slots__ = ("_check", "_checked", "_end", "_file", "_length", "_on_corrupt", "_position")

    def __init__(
        self,
        disk: Disk,
        path: str,
        position: int,
        length: int,
        check: BatchCheck | None = None,
        on_corrupt: Callable[[LogCorrupt], None] | None = None,
    ) -> None:
        """Raises ``OSError`` if the file is not there."""
        self._length = length
        self._position = position
        self._end = position + length
        self._check = check
        self._checked = position if check is not None else self._end
        self._on_corrupt = on_corrupt
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
            LogCorrupt: they are not what was written.
            OSError: the disk fails.
        """
        wanted = min(max_bytes, self.left)
        assert wanted > 0, "the slice was read to its end"
        data = self._pread(wanted, self._position)
        if self._checked < self._position + wanted:
            wanted = self._check_more(data)
            data = data[:wanted]
        self._position += wanted
        if not self.left:
            self._file.close()
        return data

    def _pread(self, length: int, position: int) -> bytes:
        data = self._file.pread(length, position)
        if len(data) < length:
            raise EOFError(f"the file ends {length - len(data)} bytes before the slice of it")
        return data

    def _check_more(self, data: bytes) -> int:
        """Look at what was read and not looked at yet; how much of it may leave."""
        check = self._check
        assert check is not None
        try:
            whole = check.check(memoryview(data)[self._checked - self._position :], self._checked)
            self._checked += whole
            if self._checked == self._position:
                # Not one whole batch: it is looked at by itself, and leaves in several pieces.
                head = self._pread(min(LOG_OVERHEAD_BYTES, self.left), self._position)
                size = int.from_bytes(head[_SIZE_AT:], "big") + LOG_OVERHEAD_BYTES
                if size > self.left or check.check(self._pread(size, self._position), self._position) != size:
                    check.missing(self._position)
                self._checked += size
            if self._checked == self._end:
                check.finish(self._end)
        except LogCorrupt as corrupt:
            if self._on_corrupt is not None:
                self._on_corrupt(corrupt)
            raise
        return min(len(data), self._checked - self._position)

    def __repr__(self) -> str:
        return f"FileSlice(<{self._length} bytes>)"
