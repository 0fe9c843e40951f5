"""Replicas whose bytes are not what was written (promise L2): told, given up, copied anew.

Kafka takes a whole log directory offline for one corrupt batch. Here the replica alone goes:

1. nothing is read from its log or written to it any more, and the console hears of it;
2. the controller hears that the replica's directory is lost (KIP-858's DirectoryId.LOST): another replica leads, this
   one leaves the ISR, and what it said so far does not count any more, since another leader epoch begins;
3. once the metadata says all of this, and this broker could not be elected with what it has, the files get a name of
   their own, kept for whoever wants to look at them, and an empty log takes their place, which follows the leader.

The last replica in sync stays as it is, offline: nobody has what it had. docs/decisions/0012.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.broker.directory_assignments import DirectoryAssignments
from engine.core.controller.directory_ids import LOST
from engine.model.ids import Uuid
from engine.model.notes import Detail, Note, NoteKind
from engine.model.topic_partition import TopicPartition

if TYPE_CHECKING:
    from engine.core.controller.topic_image import PartitionImage
    from engine.storage.log_dirs import LogDirs

log = logging.getLogger(__name__)

# A log that no process of this broker epoch ever fetched with.
_NEVER_OPEN = -1


class CorruptReplicas:
    """Those of one broker."""

    def __init__(
        self,
        node_id: int,
        log_dirs: LogDirs,
        directories: DirectoryAssignments,
        publish: Callable[[Iterable[Note]], None],
    ) -> None:
        self._node_id = node_id
        self._log_dirs = log_dirs
        self._directories = directories
        self._publish = publish
        # The leader epoch up to which this broker may have told the leader what it has.
        self._known_in: dict[tuple[Uuid, int], int] = {}

    def on_found(
        self, topic_partition: TopicPartition, topic_id: Uuid, reason: object, leader_epoch: int = _NEVER_OPEN
    ) -> None:
        """The log is corrupt; ``leader_epoch`` is the latest in which it was used."""
        key = topic_id, topic_partition.partition
        if key in self._known_in:
            return
        self._known_in[key] = leader_epoch
        if not self._log_dirs.is_corrupt(topic_partition):
            self._log_dirs.mark_corrupt(topic_partition, reason)
        path = f"{self._log_dirs.path_of(topic_partition)}/{topic_partition}"
        log.error("%s is offline: %s", topic_partition, reason)
        self._directories.submit(topic_id, topic_partition.partition, LOST)
        detail: Detail = {
            "topic": topic_partition.topic,
            "partition": topic_partition.partition,
            "directory": path,
            "broker_id": self._node_id,
        }
        remedy = (
            "nothing is served from it any more, and it is copied anew from another replica that is in sync; if it is "
            f"the last one, stop the broker, put a copy of {path} in its place, and start it: without a copy, a start "
            "alone serves what is whole"
        )
        self._publish([Note(NoteKind.REPLICA_CORRUPT, str(topic_partition), f"{reason}: {remedy}", detail)])

    def may_begin_anew(self, topic_id: Uuid, number: int, state: PartitionImage) -> bool:
        """Whether the controller knows that this replica is lost, others have what was committed, and nothing that this
        broker said before may be taken for what its new log has."""
        me = self._node_id
        return (
            state.directory(me) == LOST
            and state.leader not in (-1, me)
            and me not in (*state.isr, *state.elr, *state.last_known_elr)
            and state.leader_epoch > self._known_in.get((topic_id, number), _NEVER_OPEN)
        )

    def begin_anew(self, topic_partition: TopicPartition, topic_id: Uuid, leader_id: int) -> None:
        """Set the files aside, if there are any. Raises: LogDirFailure."""
        self._known_in.pop((topic_id, topic_partition.partition), None)
        if self._log_dirs.is_corrupt(topic_partition):
            path: str | None = self._log_dirs.set_corrupt_aside(topic_partition)
        else:
            path = self._log_dirs.set_aside(topic_partition)
        if path is None:
            return
        reason = f"copied anew from broker {leader_id}; {path} has the corrupt files: delete it when nobody needs it"
        detail: Detail = {
            "topic": topic_partition.topic,
            "partition": topic_partition.partition,
            "directory": path,
            "leader": leader_id,
            "broker_id": self._node_id,
        }
        log.warning("%s is %s", topic_partition, reason)
        self._publish([Note(NoteKind.REPLICA_BEGUN_ANEW, str(topic_partition), reason, detail)])

    def forget(self, topic_partition: TopicPartition, topic_id: Uuid) -> None:
        """It is of no partition of this broker any more."""
        self._known_in.pop((topic_id, topic_partition.partition), None)
