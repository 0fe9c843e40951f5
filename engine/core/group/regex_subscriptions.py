"""Subscriptions by regular expression: matched here, by the coordinator (KIP-848, RE2's syntax).

All expressions of a group are matched together, so that a new topic makes one rebalance and not one for each. With many
topics that takes time, and a hostile expression takes more: it is done in pieces, each one input of the shard, with
everything else in between. What came out are records, like everything else that a group knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from engine.core.group.consumer_group import ConsumerGroup, ResolvedRegex
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_member import ConsumerMember
from engine.core.group.consumer_records import group_epoch_record, regex_record, regex_tombstone
from engine.core.group.context import Now
from engine.core.group.linear_regex import LinearRegex, RegexSyntaxError
from engine.core.group.rebalance import TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind

MIN_REFRESH_INTERVAL_MS = 10_000
"""A group's expressions are not matched more often than this (GroupMetadataManager)."""

_PIECE_WORK = 20_000
"""Steps of matching in one piece: a few milliseconds."""
_PAUSE_MS = 1


class RegexChange(Enum):
    """What a heartbeat did to a member's expression."""

    NONE = auto()
    CHANGED = auto()
    """Its topics are not known yet: the group epoch rises when they are."""
    RESOLVED = auto()
    """What it means is known already: the group epoch rises now."""


class _Resolution:
    """The matching of a group's expressions, on its way."""

    __slots__ = ("matched", "names", "position", "regexes", "started_wall_ms", "version")

    def __init__(
        self, regexes: dict[str, LinearRegex | None], names: Sequence[str], version: int, started_wall_ms: int
    ) -> None:
        self.regexes = regexes
        self.names = names
        self.version = version
        self.started_wall_ms = started_wall_ms
        self.position = 0
        self.matched: dict[str, set[str]] = {regex: set() for regex in regexes}

    def step(self) -> bool:
        """Match a piece; True when all topics are through."""
        work = 0
        while self.position < len(self.names) and work < _PIECE_WORK:
            name = self.names[self.position]
            self.position += 1
            for text, regex in self.regexes.items():
                if regex is None:
                    continue
                before = regex.work
                if regex.matches(name):
                    self.matched[text].add(name)
                work += regex.work - before
        return self.position == len(self.names)


class RegexSubscriptions:
    """The expressions of all consumer groups of a shard."""

    __slots__ = ("_groups", "_resolutions")

    def __init__(self, groups: ConsumerGroups) -> None:
        self._groups = groups
        self._resolutions: dict[str, _Resolution] = {}

    def change(
        self, group: ConsumerGroup, member: ConsumerMember, updated: ConsumerMember, records: list[GroupRecord]
    ) -> RegexChange:
        """Compare what a member subscribes to with what it did, and drop what nobody subscribes to any more.

        Raises:
            KafkaError: INVALID_REGULAR_EXPRESSION for an expression that is new to the group and wrong.
        """
        old, new = member.subscribed_regex, updated.subscribed_regex
        if old == new:
            return RegexChange.NONE
        if old and group.regex_subscribers.get(old) == 1 and old in group.resolved_regexes:
            records.append(regex_tombstone(group.group_id, old))
        if not new:
            return RegexChange.RESOLVED
        if new not in group.regex_subscribers:
            _compiled(new)
        return RegexChange.RESOLVED if new in group.resolved_regexes else RegexChange.CHANGED

    def maybe_refresh(self, group: ConsumerGroup, now: Now) -> None:
        """Start to match the group's expressions if that is due: there are new ones, new topics, or it is long ago."""
        if not group.regex_subscribers or group.group_id in self._resolutions:
            return
        resolved = next(iter(group.resolved_regexes.values()), None)
        if resolved is not None:
            since_ms = now.wall_ms - resolved.timestamp_ms
            if 0 <= since_ms <= MIN_REFRESH_INTERVAL_MS:
                return
            if (
                group.regex_subscribers.keys() == group.resolved_regexes.keys()
                and resolved.version >= self._groups.version_with_new_topics
                and 0 <= since_ms <= self._groups.limits.group_consumer_regex_refresh_interval_ms
            ):
                return
        regexes: dict[str, LinearRegex | None] = {}
        for text in sorted(group.regex_subscribers):
            try:
                regexes[text] = _compiled(text)
            except KafkaError:
                # Another coordinator has let it in. It matches nothing here.
                regexes[text] = None
        topics = self._groups.topics
        self._resolutions[group.group_id] = _Resolution(regexes, sorted(topics.names()), topics.version, now.wall_ms)
        self._schedule(group.group_id, now)

    def on_timer(self, group_id: str, now: Now, out: GroupEffects) -> None:
        """Match the next piece."""
        resolution = self._resolutions.get(group_id)
        group = self._groups.groups.get(group_id)
        if resolution is None or group is None:
            self._resolutions.pop(group_id, None)
        elif resolution.step():
            del self._resolutions[group_id]
            self._finish(group, resolution, out)
        else:
            self._schedule(group_id, now)

    def _schedule(self, group_id: str, now: Now) -> None:
        self._groups.timers.schedule(TimerKey(TimerKind.REGEX, group_id), now.monotonic_ms + _PAUSE_MS)

    def _finish(self, group: ConsumerGroup, resolution: _Resolution, out: GroupEffects) -> None:
        records: list[GroupRecord] = []
        after = dict(group.resolved_regexes)
        changed = []
        for regex, topics in resolution.matched.items():
            if regex not in group.regex_subscribers:
                continue
            new = ResolvedRegex(frozenset(topics), resolution.version, resolution.started_wall_ms)
            if new.topics != (after[regex].topics if regex in after else frozenset()):
                changed.append(regex)
            after[regex] = new
            records.append(regex_record(group.group_id, regex, new))
        names: set[str] = set()
        for member in group.members.values():
            names |= member.subscribed_topics
        for resolved in after.values():
            names |= resolved.topics
        metadata_hash = self._groups.metadata_hash(names)
        if changed or metadata_hash != group.metadata_hash:
            epoch = group.group_epoch + 1
            records.append(group_epoch_record(group.group_id, epoch, metadata_hash))
            told = f"the topics that {', '.join(changed) or 'its members'} subscribe to changed"
            out.notes.append(Note(NoteKind.GROUP_REBALANCED, group.group_id, told, {"group_epoch": epoch}))
        self._groups.append(records, out)


def _compiled(text: str) -> LinearRegex:
    try:
        return LinearRegex(text)
    except RegexSyntaxError as error:
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"SubscribedTopicRegex `{text}` is not a valid regular expression: {error}.",
        ) from None
