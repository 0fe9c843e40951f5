"""Who the voters were, by the offset of the control record that says so (KIP-853), and the kraft.version with it.

The newest one counts as soon as it is in a replica's log, committed or not; when the record is truncated the one before
it counts again. Kafka: KRaftControlRecordStateMachine, VoterSetHistory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from engine.core.raft.identity import Endpoint, ReplicaKey, Voter, VoterSet
from engine.record.batch import HEADER_BYTES, BatchHeader, Buffer, check_crc, read_header
from engine.record.control import ControlRecordType, control_type_of
from engine.record.reader import read_records
from engine.wire import codec
from engine.wire.messages import voters_record
from engine.wire.messages.k_raft_version_record import KRaftVersionRecord
from engine.wire.messages.voters_record import VotersRecord

# Control records of one batch: type and value of each.
ControlRecords: TypeAlias = Sequence[tuple[ControlRecordType, bytes]]

# From this kraft.version on the log names the voters, and they change.
RECONFIGURATION_VERSION = 1
# What this software can do.
KRAFT_VERSIONS = (0, RECONFIGURATION_VERSION)
KRAFT_VERSION_FEATURE = "kraft.version"


class VotersEntry(NamedTuple):
    """What a control batch says. ``offset``: of its record; -1 where only formatting wrote it down so far."""

    offset: int
    kraft_version: int
    voters: VoterSet

    def control_records(self) -> ControlRecords:
        """How Kafka writes it down, in a leader's first batch and in a snapshot."""
        version = KRaftVersionRecord(version=0, k_raft_version=self.kraft_version)
        return [(ControlRecordType.KRAFT_VERSION, codec.encode(version, 0)), voters_control_record(self.voters)]


def voters_control_record(voters: VoterSet) -> tuple[ControlRecordType, bytes]:
    """The control record of a set of voters."""
    record = VotersRecord(
        version=0,
        voters=[
            voters_record.Voter(
                voter_id=each.key.id,
                voter_directory_id=each.key.directory_id,
                endpoints=[voters_record.Endpoint(*endpoint) for endpoint in each.endpoints],
                k_raft_version_feature=voters_record.KRaftVersionFeature(each.min_version, each.max_version),
            )
            for each in voters.voters
        ],
    )
    return ControlRecordType.KRAFT_VOTERS, codec.encode(record, 0)


def voters_of(record: VotersRecord) -> VoterSet:
    """The set that a record names."""
    return VoterSet.of(
        Voter(
            ReplicaKey(each.voter_id, each.voter_directory_id),
            tuple(Endpoint(at.name, at.host, at.port) for at in each.endpoints),
            each.k_raft_version_feature.min_supported_version,
            each.k_raft_version_feature.max_supported_version,
        )
        for each in record.voters
    )


class VoterHistory:
    """Sets of voters by offset, ascending."""

    __slots__ = ("_entries", "_static")

    def __init__(self, static: VoterSet, entries: Iterable[VotersEntry] = ()) -> None:
        """``static``: ``controller.quorum.voters``, which counts as long as no entry does."""
        self._static = static
        self._entries = list(entries)

    @property
    def last(self) -> VotersEntry | None:
        """The newest entry; None while the voters are static."""
        return self._entries[-1] if self._entries else None

    @property
    def voters(self) -> VoterSet:
        """The newest set."""
        return self._entries[-1].voters if self._entries else self._static

    @property
    def kraft_version(self) -> int:
        """The newest kraft.version."""
        return self._entries[-1].kraft_version if self._entries else 0

    def at(self, offset: int) -> VotersEntry | None:
        """What counted when the log ended with the record at ``offset``."""
        return next((each for each in reversed(self._entries) if each.offset <= offset), None)

    def since(self, offset: int) -> Sequence[VotersEntry]:
        """What counted when the log ended at ``offset``, and all that came later."""
        first = 0
        for index, each in enumerate(self._entries):
            if each.offset < offset:
                first = index
        return self._entries[first:]

    def note_batch(self, header: BatchHeader, batch: Buffer, *, offset: int | None = None) -> bool:
        """Note what a control batch says; whether it says who votes. ``offset`` counts for the batch of a snapshot.

        Raises:
            KafkaError: it is corrupt.
        """
        if not header.is_control:
            return False
        version, voters, at = self.kraft_version, None, header.base_offset
        for record in read_records(batch, header):
            kind = control_type_of(record.key)
            if kind is ControlRecordType.KRAFT_VERSION:
                version = codec.decode(KRaftVersionRecord, 0, record.value or b"")[0].k_raft_version
            elif kind is ControlRecordType.KRAFT_VOTERS:
                voters = voters_of(codec.decode(VotersRecord, 0, record.value or b"")[0])
                at = record.offset
        if voters is None:
            return False
        at = at if offset is None else offset
        assert not self._entries or at > self._entries[-1].offset, (at, self._entries)
        self._entries.append(VotersEntry(at, version, voters))
        return True

    def truncate(self, end_offset: int) -> None:
        """Records from ``end_offset`` on are gone."""
        while self._entries and self._entries[-1].offset >= end_offset:
            self._entries.pop()

    def forget_before(self, start_offset: int) -> None:
        """The log starts there now: of what was before only the newest still counts."""
        while len(self._entries) > 1 and self._entries[1].offset < start_offset:
            del self._entries[0]

    def start_at(self, first_batch: Buffer, end_offset: int) -> None:
        """A snapshot replaced the log; ``first_batch`` has its header and who voted when it ended."""
        self._entries.clear()
        self.note_batch(read_header(first_batch), first_batch, offset=end_offset - 1)


def first_batch(begin: Buffer) -> Buffer | None:
    """The first batch of what begins with one; None if it is not whole yet.

    Raises:
        KafkaError: it is corrupt.
    """
    if len(begin) < HEADER_BYTES:
        return None
    header = read_header(begin)
    if len(begin) < header.size_in_bytes:
        return None
    batch = memoryview(begin)[: header.size_in_bytes]
    check_crc(batch)
    return batch
