"""The voters that a metadata log names itself (kraft.version 1, KIP-853), as `kafka-storage format --standalone` and
``--initial-controllers`` make it. They are read when a node starts and carried on; no voter is added or removed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.broker.quorum.batches import ControlRecords, leader_change_batch
from engine.broker.quorum.snapshot_files import parse_snapshot_file_name
from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.model.ids import uuid_to_str
from engine.record.batch import BatchHeader, iter_batches
from engine.record.control import ControlRecordType, control_type_of
from engine.record.reader import read_records
from engine.storage.batch_scan import scan_intact_batches
from engine.wire import codec
from engine.wire.messages.k_raft_version_record import KRaftVersionRecord
from engine.wire.messages.voters_record import VotersRecord
from engine.world import Buffer, Clock, Disk


class VotersNotServed(Exception):
    """This node cannot take part in the quorum that the log names; the message says why, and what to do."""


class DynamicVoters(NamedTuple):
    """What the newest control records say. ``is_in_log``: not only in the snapshot that formatting made."""

    kraft_version: int
    record: VotersRecord
    is_in_log: bool

    def control_records(self) -> ControlRecords:
        """What a leader's first batch and a snapshot say of it, as Kafka writes it."""
        version = KRaftVersionRecord(version=0, k_raft_version=self.kraft_version)
        return [
            (ControlRecordType.KRAFT_VERSION, codec.encode(version, 0)),
            (ControlRecordType.KRAFT_VOTERS, codec.encode(self.record, 0)),
        ]

    def addresses(self) -> dict[int, tuple[str, int]]:
        """Where each voter's controller listener is reached, by node id."""
        return {
            each.voter_id: (each.endpoints[0].host, each.endpoints[0].port)
            for each in self.record.voters
            if each.endpoints
        }

    def check(self, node_id: int, directory_id: bytes, *, is_controller: bool) -> None:
        """Raises: VotersNotServed: a controller is no voter, or another directory of it is."""
        own = [each for each in self.record.voters if each.voter_id == node_id]
        if is_controller and not own:
            ids = ", ".join(str(each.voter_id) for each in self.record.voters)
            raise VotersNotServed(
                f"node {node_id} is a controller, and the voters of its metadata log are {ids}: add it under Apache "
                "Kafka (kafka-metadata-quorum.sh add-controller), or take the controller out of process.roles"
            )
        if own and own[0].voter_directory_id != directory_id:
            raise VotersNotServed(
                f"the quorum knows node {node_id} by the directory {uuid_to_str(own[0].voter_directory_id)}, and "
                f"metadata.log.dir is {uuid_to_str(directory_id)}: bring that directory back, or replace the voter "
                "under Apache Kafka (kafka-metadata-quorum.sh)"
            )


def leader_change_encoder(
    clock: Clock, voters: DynamicVoters | None
) -> Callable[[int, tuple[int, ...], tuple[int, ...]], bytes]:
    """Makes the first batch of an epoch from the leader, the voters and those who granted their vote."""
    # Voters that only formatting wrote down so far belong into the log, so that its snapshot need not be kept.
    more = () if voters is None or voters.is_in_log else voters.control_records()
    return lambda leader, voter_ids, granting: leader_change_batch(
        leader, voter_ids, granting, timestamp_ms=clock.now_ms(), more=more
    )


def read_dynamic_voters(disk: Disk, metadata_log_dir: str) -> DynamicVoters | None:
    """The voters of the newest snapshot and of the log after it; ``None`` with kraft.version 0, or without a log.

    Raises:
        KafkaError: a control record is corrupt.
        OSError: a file cannot be read.
    """
    directory = f"{metadata_log_dir}/{METADATA_TOPIC}-0"
    if not disk.is_dir(directory):
        return None
    found = _Found()
    names = disk.list_dir(directory)
    snapshots = [(found_id, name) for name in names if (found_id := parse_snapshot_file_name(name)) is not None]
    start = 0
    if snapshots:
        snapshot_id, name = max(snapshots)
        start = snapshot_id.offset
        for header, batch in iter_batches(disk.read(f"{directory}/{name}")):
            found.note(header, batch, is_in_log=start > 0)
    for name in names:
        if not name.endswith(".log"):
            continue
        file = disk.open(f"{directory}/{name}", read_only=True)
        try:
            for position, header in scan_intact_batches(file, 0, file.size()):
                if header.is_control and header.base_offset >= start:
                    found.note(header, file.pread(header.size_in_bytes, position), is_in_log=True)
        finally:
            file.close()
    if found.kraft_version == 0 or found.voters is None:
        return None
    return DynamicVoters(found.kraft_version, found.voters, found.is_in_log)


class _Found:
    def __init__(self) -> None:
        self.kraft_version = 0
        self.voters: VotersRecord | None = None
        self.is_in_log = False

    def note(self, header: BatchHeader, batch: Buffer, *, is_in_log: bool) -> None:
        if not header.is_control:
            return
        for record in read_records(batch):
            kind = control_type_of(record.key)
            if kind is ControlRecordType.KRAFT_VERSION:
                self.kraft_version = codec.decode(KRaftVersionRecord, 0, record.value or b"")[0].k_raft_version
            elif kind is ControlRecordType.KRAFT_VOTERS:
                self.voters = codec.decode(VotersRecord, 0, record.value or b"")[0]
                self.is_in_log = is_in_log
