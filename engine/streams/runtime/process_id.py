"""Who a worker is to the group and to transactions: an id that it finds again when it is started anew.

A worker that was killed may have left a transaction open. The next one that takes its id has the same transactional id,
and so ends that transaction at once; without it everybody would wait for ``transaction.timeout.ms``. Workers that share
a ``state.dir`` hold one file each, by a lock that goes with the process.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import uuid
from pathlib import Path

from engine.streams.errors import StreamsError

_FILE = "kafka-streams-process-metadata"


class ProcessId:
    """The id in the first file of ``<state.dir>/<application.id>`` that no living worker holds."""

    def __init__(self, root: Path) -> None:
        """Take one.

        Raises:
            StreamsError: the directory cannot be made or written to.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            for number in itertools.count():
                self._file = os.open(root / (f"{_FILE}-{number}" if number else _FILE), os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    os.close(self._file)
            self.value = self._read()
        except OSError as error:
            raise StreamsError(
                f"cannot use {root}: {error.strerror}; set state.dir to a directory that can be written to"
            ) from error

    def _read(self) -> str:
        try:
            return str(uuid.UUID(json.loads(os.pread(self._file, 4096, 0))["processId"]))
        except (ValueError, KeyError, TypeError):
            made = str(uuid.uuid4())
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps({"version": 1, "processId": made}).encode(), 0)
            return made

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)
