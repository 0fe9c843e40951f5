"""Where committed offsets are kept, if that is not the coordinator's log (offsets.storage)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from engine.broker.coordinator_log import CoordinatorLogs
from engine.core.group.offsets import OffsetAndMetadata
from engine.core.group.shard import GroupCoordinatorShard

Partitions = Sequence[tuple[str, int]]
"""Topics and partition numbers."""


class OffsetStorage(CoordinatorLogs, Protocol):
    """The logs of ``__consumer_offsets``, and a place beside them for the offsets that their records are about.

    ``append`` sees to it that each record goes where it belongs, and what it returns waits for both.
    """

    @property
    def keeps_offsets_in_log(self) -> bool:
        """Whether committed offsets are records of the log, like everything else."""

    def takes(self, group_id: str) -> bool:
        """Whether offsets of a group with this id can be kept; to be asked before they come to the coordinator."""

    async def complete_loading(
        self, number: int, leader_epoch: int, shard: GroupCoordinatorShard, owns: Callable[[str], bool]
    ) -> None:
        """The log has been replayed into the shard: give it the offsets that are kept elsewhere, those of groups that
        ``owns`` tells of. Nobody who coordinated this partition before writes any from now on.

        Raises:
            KafkaError: NOT_COORDINATOR: another broker coordinates the partition in a later leader epoch.
        """

    def on_unloaded(self, number: int) -> None:
        """This broker does not coordinate the partition any more, or loads it anew: what waits is not written."""

    async def set_by_others(
        self, number: int, group_id: str, partitions: Partitions | None
    ) -> list[tuple[str, int, OffsetAndMetadata | None]]:
        """What others than the coordinator have set of a group's offsets (None: deleted), of these partitions or all.
        To be given to the shard at once.

        Raises:
            KafkaError: COORDINATOR_LOAD_IN_PROGRESS: it cannot be known now.
        """

    async def commit_directly(self, group_id: str, topic: str, partition: int, offset: int) -> None:
        """OffsetCommit version 0: no member, no coordinator.

        Raises:
            ZooKeeperError: it is not, or not known to be, kept.
        """

    async def committed_directly(self, group_id: str, topic: str, partition: int) -> int | None:
        """OffsetFetch version 0; None: nothing was committed.

        Raises:
            ZooKeeperError: it cannot be known now.
            ZnodeNotUnderstood: what is kept there is no offset.
        """
