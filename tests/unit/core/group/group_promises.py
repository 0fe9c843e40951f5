"""What a group coordinator promises, checked against what its clients asked and were told.

Nothing here looks into the machine: the history of a run is what was appended to the log, what was answered, and what
the consumers processed. Ends are log lengths: an entry with ``end`` 7 is committed when seven records are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.wire.messages.group_metadata_key import GroupMetadataKey
from engine.wire.messages.offset_commit_key import OffsetCommitKey

NOTHING = -1
"""The offset of a partition for which nothing is committed."""


class Violation(AssertionError):
    """A promise was broken; the text begins with its name."""


class Commit(NamedTuple):
    """An accepted commit of one partition, or the end of one (offset NOTHING)."""

    end: int
    offset: int
    topic_id: bytes


class Generation(NamedTuple):
    """A generation as it stands in the log; -1 when the group was deleted. Who owns what, by member id."""

    end: int
    generation_id: int
    owners: Mapping[str, frozenset[int]]
    member_id_of: Mapping[str, str]

    def owners_by_place(self) -> dict[str, frozenset[int]]:
        """The same by static member where there is one: a restarted one takes its place with another member id."""
        instance_of = {member_id: instance for instance, member_id in self.member_id_of.items()}
        return {instance_of.get(member_id, member_id): owned for member_id, owned in self.owners.items()}


NO_GENERATION = Generation(0, -1, {}, {})


class Promises:
    """The history of one group that reads one topic."""

    def __init__(self, partitions: int, retention_ms: float) -> None:
        self._all = frozenset(range(partitions))
        self._retention_ms = retention_ms
        self._commits: dict[int, list[Commit]] = {partition: [] for partition in range(partitions)}
        # Partition -> end of the last commit that some client was told to stand.
        self._acknowledged: dict[int, int] = {}
        self._generations: list[Generation] = []
        self._processed: dict[tuple[bytes, int], set[int]] = {}
        self._processed_up_to: dict[tuple[bytes, int], int] = {}
        # What the present coordinator knows and its log does not: lost when it fails.
        self._started_generation = -1
        self._rebalances = False
        self._departed: set[str] = set()
        self._holder: dict[str, str] = {}
        self._last_alive_ms = float("-inf")

    @property
    def generation(self) -> Generation:
        """The last generation in the log."""
        return self._generations[-1] if self._generations else NO_GENERATION

    # -- the log ------------------------------------------------------------------------------------------------

    def on_record(self, key: Any, value: Any, end: int, now_ms: float, *, timer: bool) -> None:
        """A record was appended; ``timer``: because time passed and not because a client asked."""
        if isinstance(key, GroupMetadataKey):
            if value is None:
                self._generations.append(NO_GENERATION._replace(end=end))
                self._started_generation = -1
            else:
                self._on_generation(value, end)
        elif isinstance(key, OffsetCommitKey) and value is None:
            if timer and now_ms - self._last_alive_ms < self._retention_ms:
                raise Violation(f"G3: the offset of partition {key.partition} expired while the group was in use")
            self._commits[key.partition].append(Commit(end, NOTHING, b""))

    def _on_generation(self, value: Any, end: int) -> None:
        members = {member.member_id: frozenset(member.assignment) for member in value.members}
        static = {
            member.group_instance_id: member.member_id
            for member in value.members
            if member.group_instance_id is not None
        }
        generation, before = Generation(end, value.generation, members, static), self.generation
        if generation.generation_id < before.generation_id:
            raise Violation(f"G1: generation {generation.generation_id} follows {before.generation_id}")
        if generation.generation_id == before.generation_id:
            if generation.owners_by_place() != before.owners_by_place():
                raise Violation(f"G1: generation {generation.generation_id} was assigned twice: {before}, {generation}")
        elif members:
            owned = sorted(partition for each in members.values() for partition in each)
            if owned != sorted(self._all):
                raise Violation(f"G1: generation {generation.generation_id} assigns {owned}")
        self._generations.append(generation)

    def on_fail_over(self, end: int) -> None:
        """The coordinator is gone; its successor's log has ``end`` records."""
        for partition, acknowledged in self._acknowledged.items():
            if acknowledged > end:
                lost = [commit.offset for commit in self._commits[partition] if end < commit.end <= acknowledged]
                raise Violation(f"G3: partition {partition} lost the commits of {lost}, the last one acknowledged")
        for commits in self._commits.values():
            while commits and commits[-1].end > end:
                commits.pop()
        while self._generations and self._generations[-1].end > end:
            self._generations.pop()
        self._started_generation = self.generation.generation_id
        self._rebalances = False
        self._holder = dict(self.generation.member_id_of)
        self._departed.clear()
        self._last_alive_ms = float("-inf")

    # -- members ------------------------------------------------------------------------------------------------

    def on_alive(self, now_ms: float) -> None:
        """The coordinator took a sign of life of a member; it counts if the next coordinator will know the member."""
        if self.generation.owners:
            self._last_alive_ms = now_ms

    def on_rebalance(self) -> None:
        """The members are called together: if the last generation is not assigned by now, it will never be."""
        self._rebalances = True

    def on_claimed(self, instance: str) -> None:
        """A static member without a member id was let in: whoever held the place is fenced."""
        self._holder[instance] = "whoever comes next"

    def on_joined(self, member_id: str, instance: str | None, generation_id: int) -> None:
        """A member was let into a generation."""
        self._started_generation = max(self._started_generation, generation_id)
        self._rebalances = False
        if instance is not None:
            self._holder[instance] = member_id

    def on_left(self, member_id: str) -> None:
        """A member's departure was accepted."""
        self._departed.add(member_id)

    # -- commits ------------------------------------------------------------------------------------------------

    def on_commit(
        self, member_id: str, instance: str | None, generation_id: int, offsets: Mapping[int, Commit], *, careless: bool
    ) -> None:
        """A member's commit was accepted. ``careless``: it may be for what the member owned before."""
        who, generation = f"{member_id} of generation {generation_id}", self.generation
        if generation_id < max(generation.generation_id, self._started_generation):
            raise Violation(f"G2: {who} committed after generation {self._started_generation} had started")
        if generation_id != generation.generation_id and not self._rebalances:
            raise Violation(f"G1: {who} committed before that generation was assigned")
        if instance is not None and self._holder.get(instance) not in (None, member_id):
            raise Violation(f"G2: {who} committed and {self._holder[instance]} has its place")
        if member_id in self._departed:
            raise Violation(f"G2: {who} committed after it had left")
        owned = generation.owners.get(member_id, frozenset())
        if not careless and not owned.issuperset(offsets):
            raise Violation(f"G1: {who} committed for {sorted(offsets)} and owns {sorted(owned)}")
        self._record(offsets)

    def on_bystander_commit(self, offsets: Mapping[int, Commit]) -> None:
        """A commit by somebody who is no member was accepted."""
        if self.generation.owners:
            raise Violation(f"G2: a bystander committed to a group with members {sorted(self.generation.owners)}")
        self._record(offsets)

    def on_deleted(self, nothing: Mapping[int, Commit]) -> None:
        """The group was deleted with its offsets."""
        self._record(nothing)

    def _record(self, offsets: Mapping[int, Commit]) -> None:
        for partition, commit in offsets.items():
            self._commits[partition].append(commit)

    def on_acknowledged(self, offsets: Mapping[int, Commit]) -> None:
        """The client was told that its commit stands."""
        for partition, commit in offsets.items():
            self._acknowledged[partition] = max(commit.end, self._acknowledged.get(partition, 0))

    # -- positions ----------------------------------------------------------------------------------------------

    def floor(self, partition: int) -> int:
        """What a fetch that is sent now has to know at least."""
        return self._acknowledged.get(partition, 0)

    def on_fetched(self, partition: int, topic_id: bytes, offset: int, floor: int, committed: int) -> None:
        """A client was told an offset.

        It must be one that was current at some time between the last acknowledged commit before the fetch was sent and
        now.
        """
        allowed = []
        for commit in reversed(self._commits[partition]):
            if commit.end > committed:
                continue
            allowed.append(commit.offset if commit.topic_id == topic_id else NOTHING)
            if commit.end <= floor:
                break
        else:
            allowed.append(NOTHING)
        told = f"{offset} was fetched for partition {partition}, the right answers are {sorted(set(allowed))}"
        if offset in allowed:
            self._check_processed(partition, topic_id, offset)
        elif any(commit.end > committed and commit.offset == offset for commit in self._commits[partition]):
            raise Violation(f"G3: {told}: it is not committed yet")
        else:
            raise Violation(f"{'G6' if offset > max(allowed) else 'G3'}: {told}")

    def on_processed(self, partition: int, topic_id: bytes, offsets: range) -> None:
        """A client has done its work with records."""
        self._processed.setdefault((topic_id, partition), set()).update(offsets)

    def processed_up_to(self, partition: int, topic_id: bytes) -> int:
        """The first record that nobody has processed."""
        key = topic_id, partition
        processed, position = self._processed.get(key, set()), self._processed_up_to.get(key, 0)
        while position in processed:
            position += 1
        self._processed_up_to[key] = position
        return position

    def _check_processed(self, partition: int, topic_id: bytes, offset: int) -> None:
        first_missing = self.processed_up_to(partition, topic_id)
        if offset > first_missing:
            raise Violation(f"G6: partition {partition} is committed at {offset}, {first_missing} was never processed")

    def check_nothing_skipped(self, topic_id: bytes) -> None:
        """Below each committed position every record has been processed."""
        for partition, commits in self._commits.items():
            if commits and commits[-1].topic_id == topic_id:
                self._check_processed(partition, topic_id, commits[-1].offset)
