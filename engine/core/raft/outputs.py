"""What the quorum's machine asks of its shell.

Order within ``Effects.append`` is the order to perform it in; everything there but :class:`AppendRecords` must be
durable before ``send`` and ``reply`` of the same or any later step. Appended records need only be written: the machine
waits for ``on_log_flushed`` by itself before it counts or tells them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from engine.core.effects import Effects
from engine.core.raft.identity import ElectionState, OffsetAndEpoch
from engine.core.raft.messages import Request


class PersistElection(NamedTuple):
    """Replace the quorum-state file and fsync it."""

    election: ElectionState


class AppendRecords(NamedTuple):
    """Write ready batches (offsets and leader epochs are stamped) at the end of the log and fsync them soon."""

    base_offset: int
    end_offset: int
    data: bytes | bytearray | memoryview


class TruncateLog(NamedTuple):
    """Remove all records from ``offset`` on."""

    offset: int


class WriteSnapshotChunk(NamedTuple):
    """Write part of a snapshot that is being fetched; ``position`` 0 starts the file afresh."""

    snapshot_id: OffsetAndEpoch
    position: int
    data: bytes | memoryview


class InstallSnapshot(NamedTuple):
    """The fetched snapshot is whole: fsync it, give it its name, and start the log anew at its end offset."""

    snapshot_id: OffsetAndEpoch


Durable: TypeAlias = PersistElection | AppendRecords | TruncateLog | WriteSnapshotChunk | InstallSnapshot


class Send(NamedTuple):
    """A request to a peer. The answer comes back through ``on_<request>_response`` with the same ``request_id``."""

    node_id: int
    request_id: int
    request: Request


RaftEffects: TypeAlias = Effects[Durable, Send]
