"""The voters that a metadata log names itself (kraft.version 1, KIP-853), read from its files.

`kafka-storage format --standalone` and ``--initial-controllers`` write the first of them, leaders the others.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.broker.quorum.batches import control_batch, leader_change_batch
from engine.broker.quorum.snapshot_files import parse_snapshot_file_name
from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.core.raft.identity import Endpoint, ReplicaKey, Voter, VoterSet
from engine.core.raft.voter_history import KRAFT_VERSIONS, ControlRecords, VoterHistory, VotersEntry
from engine.model.broker_config import BrokerConfig
from engine.record.batch import iter_batches
from engine.storage.batch_scan import scan_intact_batches
from engine.world import Clock, Disk

ANYWHERE = ("", "0.0.0.0", "::")


def leader_change_encoder(
    clock: Clock,
) -> Callable[[int, tuple[int, ...], tuple[int, ...], ControlRecords], bytes]:
    """Makes the first batch of an epoch from the leader, the voters, those who granted their vote, and more records."""
    return lambda leader, voter_ids, granting, more: leader_change_batch(
        leader, voter_ids, granting, timestamp_ms=clock.now_ms(), more=more
    )


def control_encoder(clock: Clock) -> Callable[[ControlRecords], bytes]:
    """Makes a batch of control records."""
    return lambda records: control_batch(records, base_offset=0, epoch=0, timestamp_ms=clock.now_ms())


def read_voters(disk: Disk, metadata_log_dir: str) -> tuple[VotersEntry, ...]:
    """What the newest snapshot and the log after it say of the voters; empty with kraft.version 0, or without a log.

    Raises:
        KafkaError: a control record is corrupt.
        OSError: a file cannot be read.
    """
    directory = f"{metadata_log_dir}/{METADATA_TOPIC}-0"
    found = VoterHistory(VoterSet())
    if not disk.is_dir(directory):
        return ()
    names = disk.list_dir(directory)
    snapshots = [(found_id, name) for name in names if (found_id := parse_snapshot_file_name(name)) is not None]
    start = 0
    if snapshots:
        snapshot_id, name = max(snapshots)
        start = snapshot_id.offset
        for header, batch in iter_batches(disk.read(f"{directory}/{name}")):
            found.note_batch(header, batch, offset=start - 1)
    # Segments in their order: their names are their offsets.
    for name in sorted(each for each in names if each.endswith(".log")):
        file = disk.open(f"{directory}/{name}", read_only=True)
        try:
            for position, header in scan_intact_batches(file, 0, file.size()):
                if header.is_control and header.base_offset >= start:
                    found.note_batch(header, file.pread(header.size_in_bytes, position))
        finally:
            file.close()
    return tuple(found.since(start))


def own_voter(config: BrokerConfig, key: ReplicaKey) -> Voter | None:
    """What a controller tells of itself as a voter; ``None`` of a broker, and of one that cannot know where it is."""
    if not config.is_controller:
        return None
    listener = config.controller_listeners[0]
    host, port = config.quorum_voters.get(config.node_id, (listener.host, listener.port))
    if host in ANYWHERE and config.is_broker:
        host = config.advertised_listeners[0].host
    if host in ANYWHERE or port == 0:
        return None
    return Voter(key, (Endpoint(listener.name, host, port),), *KRAFT_VERSIONS)
