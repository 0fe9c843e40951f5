"""Who a worker is to the group and to transactions: an id that it finds again when it is started anew.

A worker that was killed may have left a transaction open. The next one that takes its id has the same transactional id,
and so ends that transaction at once; without it everybody would wait for ``transaction.timeout.ms``. Workers that share
a ``state.dir`` hold one file each, by a lock that goes with the process.

So it is with the member of the group: whoever finds that the id's last owner died as a member says to the group that it
has left. Without it nobody would have its tasks until its session is over (45 s unless configured).
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import uuid
from pathlib import Path

from engine.streams.errors import StreamsError

_LENGTH = 512
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
            self.value, self._member = self._read()
        except OSError as error:
            raise StreamsError(
                f"cannot use {root}: {error.strerror}; set state.dir to a directory that can be written to"
            ) from error

    def _read(self) -> tuple[str, str]:
        try:
            found = json.loads(os.pread(self._file, 4096, 0))
            return str(uuid.UUID(found["processId"])), str(found.get("memberId", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            made = str(uuid.uuid4())
            os.ftruncate(self._file, 0)
            self._write(made, "")
            return made, ""

    def _write(self, process_id: str, member_id: str) -> None:
        content = json.dumps({"version": 1, "processId": process_id, "memberId": member_id})
        # Of one length, so that no kill leaves something in between.
        os.pwrite(self._file, content.encode().ljust(_LENGTH), 0)

    def replace_member(self, member_id: str) -> str:
        """This worker is a member from now on, or none any more (empty); gives the one that was before."""
        before, self._member = self._member, member_id
        self._write(self.value, member_id)
        return before

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)
