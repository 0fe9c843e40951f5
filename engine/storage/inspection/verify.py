"""Verifying log directories: one partition's, one broker's, or those of all brokers of a cluster. Nothing is changed.

What is found comes as JSON objects of the kinds ``finding``, ``note``, ``partition`` (its counts) and ``total``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from engine.model.ids import METADATA_TOPIC_ID, Uuid, uuid_to_str
from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import (
    CLEAN_SHUTDOWN,
    HIGH_WATERMARKS,
    LOG_START_OFFSETS,
    META_PROPERTIES,
    PARTITION_METADATA,
    RECOVERY_POINTS,
    CheckpointCorrupt,
    MetaProperties,
    read_meta_properties,
    read_offsets,
)
from engine.storage.inspection.dump import NotInspectable
from engine.storage.inspection.findings import RESTORE, START_STOP, Entry, finding, note
from engine.storage.inspection.verify_metadata import check_metadata_batch, verify_bootstrap, verify_metadata_files
from engine.storage.inspection.verify_partition import Expected, PartitionVerifier, Verified
from engine.storage.log_directory import METADATA_DIRECTORY
from engine.storage.segment import LOG_SUFFIX
from engine.world import Disk

CLEANER_OFFSETS = "cleaner-offset-checkpoint"
_PARTITION = re.compile(r"(.+)-([0-9]+)", re.ASCII)
# broker-N/data in a data directory, and one more for those who keep several clusters' side by side.
_DEPTH = 3


def verify(disk: Disk, path: str, *, deep: bool = False) -> Iterator[Entry]:
    """Everything under ``path``.

    Raises:
        NotInspectable: no log directory is there.
        OSError: something cannot be read.
    """
    path = path.rstrip("/") or "/"
    if not disk.is_dir(path):
        raise NotInspectable(f"{path} is no directory" if disk.exists(path) else f"{path} does not exist")
    total = Total()
    if any(name.endswith(LOG_SUFFIX) and name[:-4].isdigit() for name in disk.list_dir(path)):
        checks = LogDirectory(disk, os.path.dirname(os.path.abspath(path)), total, deep=deep)
        yield from total.counting(checks.verify_one(path))
    else:
        log_dirs = sorted(_log_dirs(disk, path, _DEPTH))
        if not log_dirs:
            raise NotInspectable(
                f"{path} has no {META_PROPERTIES}, nor has any directory below: name the log directory of a broker, "
                "the --data-dir of a cluster, or a partition's directory"
            )
        cluster = _Cluster()
        for log_dir in log_dirs:
            checks = LogDirectory(disk, log_dir, total, deep=deep)
            yield from total.counting(checks.verify())
            yield from total.counting(cluster.add(checks))
    yield total.entry()


def _log_dirs(disk: Disk, path: str, depth: int) -> Iterator[str]:
    try:
        names = disk.list_dir(path)
    except (PermissionError, FileNotFoundError):
        return
    if META_PROPERTIES in names:
        yield path
    elif depth:
        for name in names:
            if disk.is_dir(f"{path}/{name}"):
                yield from _log_dirs(disk, f"{path}/{name}", depth - 1)


class Total:
    """Counts over all directories."""

    def __init__(self) -> None:
        self.directories = self.partitions = self.segments = self.batches = 0
        self.records = self.control_records = self.bytes = self.findings = self.notes = 0

    def add(self, verified: Verified) -> None:
        """A partition was read."""
        self.partitions += 1
        self.segments += verified.segments
        self.batches += verified.batches
        self.records += verified.records
        self.control_records += verified.control_records
        self.bytes += verified.bytes

    def counting(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """The same entries."""
        for entry in entries:
            self.findings += entry["kind"] == "finding"
            self.notes += entry["kind"] == "note"
            yield entry

    def entry(self) -> Entry:
        """For JSON."""
        return {
            "kind": "total",
            "directories": self.directories,
            "partitions": self.partitions,
            "segments": self.segments,
            "batches": self.batches,
            "records": self.records,
            "controlRecords": self.control_records,
            "bytes": self.bytes,
            "findings": self.findings,
            "notes": self.notes,
        }


class LogDirectory:
    """One of a broker's ``log.dirs``."""

    def __init__(self, disk: Disk, path: str, total: Total, *, deep: bool) -> None:
        self._disk = disk
        self._total = total
        self._deep = deep
        self._checkpoints: dict[str, dict[TopicPartition, int]] = {}
        self._is_settled = disk.exists(f"{path}/{CLEAN_SHUTDOWN}")
        self.path = path
        self.properties: MetaProperties | None = None
        self.topic_ids: dict[str, tuple[str, Uuid]] = {}

    def verify(self) -> Iterator[Entry]:
        """Everything in it."""
        disk, path = self._disk, self.path
        self._total.directories += 1
        yield from self._read_properties()
        yield from self._read_checkpoints()
        yield from verify_bootstrap(disk, path)
        for name in disk.list_dir(path):
            each = f"{path}/{name}"
            if not disk.is_dir(each):
                continue
            if name.endswith(("-delete", "-stray", "-future")):
                yield note(each, None, f"a directory of kind {name.rpartition('-')[2]}: it is not verified")
            elif _PARTITION.fullmatch(name):
                try:
                    yield from self._verify_partition(each)
                except FileNotFoundError:
                    # A topic may be deleted while it is read.
                    if disk.is_dir(each):
                        raise
                    yield note(each, None, "it was deleted while it was read")
            else:
                yield note(each, None, "it is no partition's directory: Apache Kafka does not start beside it")

    def verify_one(self, directory: str) -> Iterator[Entry]:
        """One partition's directory alone, with what the checkpoints say of it."""
        self._total.directories += 1
        yield from self._read_checkpoints()
        yield from self._verify_partition(directory)

    def _verify_partition(self, directory: str) -> Iterator[Entry]:
        name = os.path.basename(os.path.abspath(directory))
        match = _PARTITION.fullmatch(name)
        is_metadata = name == METADATA_DIRECTORY
        expected = Expected(is_settled=self._is_settled and not is_metadata)
        if match is not None and not is_metadata:
            key = TopicPartition(match[1], int(match[2]))
            expected = Expected(
                self._checkpoints.get(RECOVERY_POINTS, {}).get(key),
                self._checkpoints.get(HIGH_WATERMARKS, {}).get(key),
                self._checkpoints.get(LOG_START_OFFSETS, {}).get(key),
                self._is_settled,
            )
        check = check_metadata_batch if is_metadata else None
        verifier = PartitionVerifier(
            self._disk, directory, expected, deep=self._deep, check_batch=check, is_dense=is_metadata
        )
        yield from verifier.verify()
        verified = verifier.result
        if is_metadata:
            yield from verify_metadata_files(self._disk, directory, verified)
            if verified.topic_id not in (None, METADATA_TOPIC_ID):
                path = f"{directory}/{PARTITION_METADATA}"
                yield finding(path, 0, f"it does not name {uuid_to_str(METADATA_TOPIC_ID)}", RESTORE)
        elif match is not None and verified.topic_id is not None:
            before = self.topic_ids.setdefault(match[1], (directory, verified.topic_id))
            yield from _same_topic(directory, match[1], verified.topic_id, before)
        if verified.has_gaps and not is_metadata:
            yield note(directory, None, "some offsets have no record: compaction removes records, nothing else does")
        self._total.add(verified)
        yield verified.entry(expected)

    def _read_properties(self) -> Iterator[Entry]:
        path = f"{self.path}/{META_PROPERTIES}"
        try:
            self.properties = read_meta_properties(self._disk, self.path)
        except (CheckpointCorrupt, UnicodeDecodeError) as error:
            said = str(error).removeprefix(path).lstrip(": ")
            yield finding(path, 0, said, RESTORE)
            return
        if self.properties is not None and self.properties.directory_id is None:
            yield note(path, None, "it has no directory.id: the broker adds one at its next start")

    def _read_checkpoints(self) -> Iterator[Entry]:
        for name in (RECOVERY_POINTS, HIGH_WATERMARKS, LOG_START_OFFSETS, CLEANER_OFFSETS):
            path = f"{self.path}/{name}"
            try:
                found = read_offsets(self._disk, path)
            except (CheckpointCorrupt, UnicodeDecodeError) as error:
                yield finding(path, 0, str(error).removeprefix(path).lstrip(": "), START_STOP)
                continue
            for key, offset in found.items():
                if offset < 0 or key.partition < 0:
                    yield finding(path, None, f"{key} has offset {offset}", START_STOP)
            self._checkpoints[name] = found


def _same_topic(directory: str, topic: str, topic_id: Uuid, before: tuple[str, Uuid]) -> Iterator[Entry]:
    if topic_id != before[1]:
        what = f"it says that {topic} has id {uuid_to_str(topic_id)}, and {before[0]} says {uuid_to_str(before[1])}"
        remedy = "remove the directory of the topic that was deleted: kafka-topics.sh --describe tells the id"
        yield finding(f"{directory}/{PARTITION_METADATA}", 0, what, remedy)


class _Cluster:
    """What only all directories together tell."""

    def __init__(self) -> None:
        self._cluster: tuple[str, str] | None = None
        self._directory_ids: dict[Uuid, str] = {}
        self._topic_ids: dict[str, tuple[str, Uuid]] = {}

    def add(self, found: LogDirectory) -> Iterator[Entry]:
        properties = found.properties
        path = f"{found.path}/{META_PROPERTIES}"
        if properties is not None:
            if self._cluster is None:
                self._cluster = (found.path, properties.cluster_id)
            elif self._cluster[1] != properties.cluster_id:
                what = f"it belongs to cluster {properties.cluster_id}, and {self._cluster[0]} to {self._cluster[1]}"
                yield finding(path, 0, what, "take one of the directories out")
            if properties.directory_id is not None:
                other = self._directory_ids.setdefault(properties.directory_id, found.path)
                if other != found.path:
                    what = f"it has the same directory.id as {other}: one is a copy"
                    yield finding(path, 0, what, "bring back the right one")
        for topic, (directory, topic_id) in found.topic_ids.items():
            before = self._topic_ids.setdefault(topic, (directory, topic_id))
            yield from _same_topic(directory, topic, topic_id, before)
