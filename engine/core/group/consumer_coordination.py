"""The consumer groups of a shard behind one door: what the shard hands on to them, request by request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from engine.core.group.classic_members import ClassicMembers
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.consumer_groups import ConsumerGroups
from engine.core.group.consumer_heartbeat import ConsumerHeartbeats
from engine.core.group.consumer_records import group_tombstones
from engine.core.group.context import Now
from engine.core.group.group_conversion import GroupConversion
from engine.core.group.group_topics import GroupTopics
from engine.core.group.rebalance import STREAMS_TIMERS, Rebalances, TimerKey, TimerKind
from engine.core.group.records import GroupEffects, GroupRecord
from engine.core.group.regex_subscriptions import RegexSubscriptions
from engine.core.group.share_heartbeat import ShareGroups
from engine.core.group.streams_groups import StreamsGroups
from engine.core.group.streams_heartbeat import StreamsHeartbeats
from engine.model.errors import KafkaError
from engine.model.ids import Uuid, uuid_to_str
from engine.wire.messages.consumer_group_describe_response import (
    Assignment,
    DescribedGroup,
    Member,
    TopicPartitions,
)

_CLASSIC_MEMBER, _CONSUMER_MEMBER = 0, 1


class ConsumerCoordination:
    """State and handlers. ``groups`` are the consumer groups by id, for reading."""

    __slots__ = (
        "_conversion",
        "_groups",
        "_regexes",
        "classic_members",
        "heartbeats",
        "share",
        "streams",
        "streams_heartbeats",
    )

    def __init__(
        self,
        rebalances: Rebalances,
        append: Callable[[list[GroupRecord], GroupEffects], None],
        topics: GroupTopics,
        new_uuid: Callable[[], Uuid],
    ) -> None:
        self._groups = ConsumerGroups(rebalances, append, topics)
        self._regexes = RegexSubscriptions(self._groups)
        self._conversion = GroupConversion(self._groups)

        def new_member_id() -> str:
            return uuid_to_str(new_uuid())

        self.heartbeats = ConsumerHeartbeats(self._groups, self._regexes, self._conversion, new_member_id)
        self.classic_members = ClassicMembers(
            self._groups, self._regexes, self._conversion, self.heartbeats, new_member_id
        )

        # Groups of another kind that see the same topics and have the same timers.
        self.streams = StreamsGroups(
            self._groups, lambda group_id: group_id in self._groups.groups or group_id in self.share.groups
        )
        self.streams_heartbeats = StreamsHeartbeats(self.streams)
        self.share = ShareGroups(
            self._groups,
            lambda group_id: (
                group_id in rebalances.groups or group_id in self._groups.groups or group_id in self.streams.groups
            ),
        )

    @property
    def groups(self) -> dict[str, ConsumerGroup]:
        return self._groups.groups

    def on_topics(self, topics: GroupTopics, changed: Collection[str], has_new: bool) -> None:
        """The metadata changed; see :meth:`ConsumerGroups.on_topics`."""
        self._groups.on_topics(topics, changed, has_new)
        self.streams.on_topics(changed)

    def topic_id(self, name: str) -> Uuid | None:
        """The id of a topic, None if there is none of that name."""
        topic = self._groups.topics.by_name(name)
        return None if topic is None else topic.topic_id

    def on_timer(self, key: TimerKey, now: Now, out: GroupEffects) -> None:
        """A deadline of a consumer group has come."""
        if key.kind is TimerKind.REGEX:
            self._regexes.on_timer(key.group_id, now, out)
        elif key.kind is TimerKind.SHARE_SESSION:
            self.share.on_session_expired(key.group_id, key.member_id, now, out)
        elif key.kind in STREAMS_TIMERS:
            self.streams_heartbeats.on_timer(key, now, out)
        else:
            self.heartbeats.on_timer(key, now, out)

    def delete(self, group_id: str, out: GroupEffects) -> None:
        """Remove a group that has no members."""
        group = self.groups[group_id]
        self._groups.append(group_tombstones(group), out)

    # -- describing ---------------------------------------------------------------------------------------------

    def described(self, group_id: str) -> DescribedGroup:
        """One group of a ConsumerGroupDescribe response (versions 0-1)."""
        try:
            group = self._conversion.existing(group_id)
        except KafkaError as error:
            return DescribedGroup(group_id=group_id, error_code=int(error.code), error_message=error.message)
        assignor = group.preferred_assignor(group.members.values())
        return DescribedGroup(
            group_id=group_id,
            group_state=str(group.state),
            group_epoch=group.group_epoch,
            assignment_epoch=group.assignment_epoch,
            assignor_name=assignor or self._groups.limits.group_consumer_assignors[0],
            members=[
                Member(
                    member_id=member.member_id,
                    instance_id=member.instance_id,
                    rack_id=member.rack_id,
                    member_epoch=member.member_epoch,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    subscribed_topic_names=sorted(member.subscribed_topics),
                    subscribed_topic_regex=member.subscribed_regex,
                    assignment=self._assignment(member.assigned, member.pending_revocation),
                    target_assignment=self._assignment(group.targets.get(member.member_id, {})),
                    member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
                )
                for member in group.members.values()
            ],
        )

    def _assignment(self, *parts: Mapping[Uuid, Collection[int]]) -> Assignment:
        numbers: dict[Uuid, set[int]] = {}
        for part in parts:
            for topic_id, partitions in part.items():
                numbers.setdefault(topic_id, set()).update(partitions)
        answer = []
        for topic_id, partitions in sorted(numbers.items()):
            topic = self._groups.topics.by_id(topic_id)
            if topic is not None:
                answer.append(TopicPartitions(topic_id=topic_id, topic_name=topic.name, partitions=sorted(partitions)))
        return Assignment(topic_partitions=answer)
