"""What is particular to the metadata log: its records decode, its snapshots are whole, votes did not go back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from engine.model.errors import KafkaError
from engine.record.control import ControlRecordType, control_type_of
from engine.record.reader import read_records
from engine.storage.inspection.batches import FoundBatch, Stop, walk
from engine.storage.inspection.findings import Entry, finding
from engine.storage.inspection.payloads import control_json
from engine.storage.inspection.verify_partition import Verified
from engine.wire.codec import DecodeError
from engine.wire.record_frames import decode_metadata_record
from engine.world import Disk

QUORUM_STATE = "quorum-state"
BOOTSTRAP = "bootstrap.checkpoint"
_SNAPSHOT = re.compile(r"(\d{20})-(\d{10})\.checkpoint")
_FETCH_ANEW = (
    "stop the node, move all of __cluster_metadata-0 but quorum-state away and start it: it copies the metadata from "
    "the leader, as long as a majority of the voters has it"
)
_DELETE_SNAPSHOT = "stop the node and delete the snapshot, if the log or another snapshot reaches further back"


def check_metadata_batch(path: str, found: FoundBatch) -> Iterator[Entry]:
    """The records of a batch are ones that Kafka 4.3 knows."""
    if found.data is None:
        return
    try:
        for record in read_records(found.data, found.header):
            try:
                if found.header.is_control:
                    control_json(record)
                else:
                    decode_metadata_record(record.value or b"")
            except (DecodeError, KafkaError) as error:
                said = error.message if isinstance(error, KafkaError) else str(error)
                what = f"the record at offset {record.offset} is none that Kafka 4.3 knows: {said}"
                yield finding(
                    path, found.position, what, "a newer Kafka wrote it: start that version; or " + _FETCH_ANEW
                )
    except KafkaError as error:
        yield finding(path, found.position, f"its records do not unpack: {error.message}", _FETCH_ANEW)


def verify_metadata_files(disk: Disk, directory: str, log: Verified) -> Iterator[Entry]:
    """Snapshots and quorum-state, after the log was read."""
    covers = []
    for name in disk.list_dir(directory):
        match = _SNAPSHOT.fullmatch(name)
        if match is None:
            continue
        offset = int(match[1])
        covers.append(offset)
        found = list(_verify_snapshot(disk, f"{directory}/{name}"))
        yield from found
        if offset > log.end_offset and log.batches:
            what = f"it has the metadata up to offset {offset}, and the log ends at {log.end_offset}"
            yield finding(f"{directory}/{name}", None, what, _FETCH_ANEW)
    if log.start_offset > 0 and not any(each >= log.start_offset for each in covers):
        what = f"the log begins at offset {log.start_offset}, and no snapshot has what was before"
        yield finding(directory, None, what, _FETCH_ANEW)
    yield from _verify_quorum_state(disk, f"{directory}/{QUORUM_STATE}", log)


def verify_bootstrap(disk: Disk, log_dir: str) -> Iterator[Entry]:
    """``bootstrap.checkpoint``, if there is one."""
    path = f"{log_dir}/{BOOTSTRAP}"
    if disk.exists(path):
        yield from _verify_snapshot(disk, path)


def _verify_snapshot(disk: Disk, path: str) -> Iterator[Entry]:
    try:
        file = disk.open(path, read_only=True)
    except FileNotFoundError:
        return  # a newer one took its place
    kinds: list[ControlRecordType | None] = []
    expected_offset, size = 0, file.size()
    epoch: int | None = None
    try:
        for found in walk(file, 0, size):
            if isinstance(found, Stop):
                what = f"{found.reason}; the {found.bytes_left} bytes from here on are no batches"
                yield finding(path, found.position, what, _DELETE_SNAPSHOT)
                return
            header = found.header
            at = f"the batch of offsets {header.base_offset} to {header.last_offset}"
            if not found.crc_matches:
                yield finding(path, found.position, f"{at} does not match its CRC", _DELETE_SNAPSHOT)
                expected_offset = header.next_offset
                kinds.append(None)
                continue
            if header.base_offset != expected_offset:
                what = f"{at} follows offset {expected_offset - 1}"
                yield finding(path, found.position, what, _DELETE_SNAPSHOT)
            expected_offset = header.next_offset
            epoch = header.partition_leader_epoch if epoch is None else epoch
            if header.partition_leader_epoch != epoch:
                what = f"{at} has epoch {header.partition_leader_epoch}, and those before it {epoch}"
                yield finding(path, found.position, what, _DELETE_SNAPSHOT)
            yield from check_metadata_batch(path, found)
            kind = None
            if header.is_control and found.data is not None:
                first = next(iter(read_records(found.data, header)), None)
                kind = control_type_of(first.key) if first is not None else None
            kinds.append(kind)
    except KafkaError as error:
        yield finding(path, size, error.message, _DELETE_SNAPSHOT)
    finally:
        file.close()
    if not kinds or kinds[-1] is not ControlRecordType.SNAPSHOT_FOOTER:
        yield finding(path, size, "it does not end with a snapshot's footer: it was cut off", _DELETE_SNAPSHOT)
    if kinds and kinds[0] is not ControlRecordType.SNAPSHOT_HEADER:
        yield finding(path, 0, "it does not begin with a snapshot's header", _DELETE_SNAPSHOT)


def _verify_quorum_state(disk: Disk, path: str, log: Verified) -> Iterator[Entry]:
    remedy = "bring it back from a backup: guessing could make this node vote twice in one epoch"
    try:
        content = disk.read(path)
    except FileNotFoundError:
        yield finding(path, None, "it is missing, and says whom this node voted for", remedy)
        return
    try:
        state = json.loads(content)
        epoch = int(state["leaderEpoch"])
        known = int(state["data_version"]) in (0, 1) and int(state["leaderId"]) >= -1 and int(state["votedId"]) >= -1
    except (ValueError, KeyError, TypeError) as error:
        yield finding(path, 0, f"it cannot be read: {error}", remedy)
        return
    if not known:
        yield finding(path, 0, f"it does not say what quorum-state says: {content.decode(errors='replace')}", remedy)
    if epoch < log.last_epoch:
        what = f"it knows epoch {epoch}, and the log has records of epoch {log.last_epoch}"
        yield finding(path, 0, what, remedy)
