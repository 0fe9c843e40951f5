"""One line on a message: what it says that matters for who watches an election, a replica or a client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from engine.model.ids import ZERO_UUID
from engine.sim.stepping.decoding import Decoded, TopicName, error_word, records_words
from engine.sim.stepping.wire_log import Crossing
from engine.wire.message import Message

_METADATA_TOPIC = "__cluster_metadata"
_MOST_PARTS = 4
Summary = Callable[[Any, TopicName], str]


def summary_of(crossing: Crossing, decoded: Decoded, topic_name: TopicName) -> str:
    """What a message says, in a line."""
    message = decoded.message
    if message is None:
        return f"cannot be decoded: {decoded.problem}"
    table = _QUESTIONS if crossing.is_request else _ANSWERS
    summary = table.get(crossing.api)
    try:
        return summary(message, topic_name) if summary is not None else _any(message, topic_name)
    except (IndexError, AttributeError, TypeError):
        # A message that is emptier than its API means it to be.
        return _any(message, topic_name)


# -- pieces -----------------------------------------------------------------------------------------------------


def _parts(words: Iterable[str], nothing: str) -> str:
    found = list(words)
    if not found:
        return nothing
    more = f" +{len(found) - _MOST_PARTS}" if len(found) > _MOST_PARTS else ""
    return ", ".join(found[:_MOST_PARTS]) + more


def _error(code: int) -> str:
    return "" if not code else error_word(code)


def _name(topic: Any, topic_name: TopicName) -> str:
    name = getattr(topic, "name", "") or getattr(topic, "topic", "") or getattr(topic, "topic_name", "")
    topic_id = getattr(topic, "topic_id", ZERO_UUID)
    return name or (topic_name(topic_id) if topic_id != ZERO_UUID else "?")


def _partitions(topics: Any, attribute: str, topic_name: TopicName) -> Iterator[tuple[str, str, Any]]:
    """``name``, ``name-number`` and the partition's part of a message."""
    for topic in topics or ():
        name = _name(topic, topic_name)
        for each in getattr(topic, attribute):
            number = getattr(each, "partition_index", getattr(each, "partition", getattr(each, "index", 0)))
            yield name, f"{name}-{number}", each


def _ids(ids: Iterable[int]) -> str:
    return "[" + ",".join(map(str, ids)) + "]"


def _any(message: Message, topic_name: TopicName) -> str:
    words: list[str] = []
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.name == "error_code":
            words.insert(0, _error(value) or "done")
        elif field.name == "throttle_time_ms" or value == field.default or value is None:
            continue
        elif isinstance(value, bool):
            words.append(field.name.replace("_", " "))
        elif isinstance(value, int | str):
            words.append(f"{field.name.replace('_', ' ')} {value}")
        elif isinstance(value, list) and value and field.name.startswith("topics"):
            words.append(_parts((_name(each, topic_name) for each in value), ""))
        elif isinstance(value, list) and value:
            words.append(f"{len(value)} {field.name.replace('_', ' ')}")
    return ", ".join(words) or "–"


def _both(error: str, otherwise: str) -> str:
    return error or otherwise


# -- the quorum -------------------------------------------------------------------------------------------------


def _vote(m: Any, _: TopicName) -> str:
    each = m.topics[0].partitions[0]
    ask = "would you vote" if each.pre_vote else "vote"
    epoch = each.replica_epoch + 1 if each.pre_vote else each.replica_epoch
    return (
        f"{ask} for {each.replica_id} in epoch {epoch}? its log ends at {each.last_offset} "
        f"(epoch {each.last_offset_epoch})"
    )


def _voted(m: Any, _: TopicName) -> str:
    each = m.topics[0].partitions[0]
    error = _error(m.error_code or each.error_code)
    leader = f", leader {each.leader_id}" if each.leader_id >= 0 else ", knows no leader"
    return f"{error or ('granted' if each.vote_granted else 'refused')}: epoch {each.leader_epoch}{leader}"


def _begin_epoch(m: Any, _: TopicName) -> str:
    each = m.topics[0].partitions[0]
    return f"{each.leader_id} leads the quorum in epoch {each.leader_epoch}"


def _end_epoch(m: Any, _: TopicName) -> str:
    each = m.topics[0].partitions[0]
    preferred = [other.candidate_id for other in each.preferred_candidates] or each.preferred_successors
    return f"{each.leader_id} resigns epoch {each.leader_epoch}, next {_ids(preferred)}"


def _epoch_answer(m: Any, _: TopicName) -> str:
    each = m.topics[0].partitions[0]
    return _both(_error(m.error_code or each.error_code), "heard") + f": epoch {each.leader_epoch}"


# -- replication and reading ------------------------------------------------------------------------------------


def _fetch(m: Any, topic_name: TopicName) -> str:
    words = []
    for name, place, each in _partitions(m.topics, "partitions", topic_name):
        if name == _METADATA_TOPIC:
            return (
                f"metadata from {each.fetch_offset} (epoch {each.last_fetched_epoch}), leader epoch "
                f"{each.current_leader_epoch}"
            )
        words.append(f"{place} from {each.fetch_offset}")
    forgotten = sum(len(each.partitions) for each in m.forgotten_topics_data or ())
    return _parts(words, "whatever is new of the session") + (f", without {forgotten}" if forgotten else "")


def _fetched(m: Any, topic_name: TopicName) -> str:
    if m.error_code:
        return error_word(m.error_code)
    words = []
    for name, place, each in _partitions(m.responses, "partitions", topic_name):
        if each.error_code:
            said = error_word(each.error_code)
        elif each.diverging_epoch is not None and each.diverging_epoch.epoch >= 0:
            said = f"diverges: epoch {each.diverging_epoch.epoch} ends at {each.diverging_epoch.end_offset}"
        else:
            said = f"{records_words(each.records)}, high watermark {each.high_watermark}"
        words.append(f"{'metadata' if name == _METADATA_TOPIC else place}: {said}")
    return _parts(words, "nothing new")


def _alter_partition(m: Any, topic_name: TopicName) -> str:
    words = []
    for _, place, each in _partitions(m.topics, "partitions", topic_name):
        isr = [other.broker_id for other in each.new_isr_with_epochs] or each.new_isr
        words.append(f"{place} ISR {_ids(isr)} in epoch {each.leader_epoch}")
    return _parts(words, "nothing")


def _altered(m: Any, topic_name: TopicName) -> str:
    if m.error_code:
        return error_word(m.error_code)
    return _parts(
        (
            f"{place} {_error(each.error_code) or f'ISR {_ids(each.isr)} partition epoch {each.partition_epoch}'}"
            for _, place, each in _partitions(m.topics, "partitions", topic_name)
        ),
        "nothing",
    )


def _epoch_ends(m: Any, topic_name: TopicName) -> str:
    return _parts(
        (
            f"{place}: where does epoch {each.leader_epoch} end?"
            for _, place, each in _partitions(m.topics, "partitions", topic_name)
        ),
        "nothing",
    )


def _epoch_ended(m: Any, topic_name: TopicName) -> str:
    return _parts(
        (
            f"{place}: {_error(each.error_code) or f'epoch {each.leader_epoch} ends at {each.end_offset}'}"
            for _, place, each in _partitions(m.topics, "partitions", topic_name)
        ),
        "nothing",
    )


def _list_offsets(m: Any, topic_name: TopicName) -> str:
    named = {-1: "latest", -2: "earliest"}
    return _parts(
        (
            f"{place} at {named.get(each.timestamp, each.timestamp)}"
            for _, place, each in _partitions(m.topics, "partitions", topic_name)
        ),
        "nothing",
    )


def _offsets(m: Any, topic_name: TopicName) -> str:
    return _parts(
        (
            f"{place} {_error(each.error_code) or each.offset}"
            for _, place, each in _partitions(m.topics, "partitions", topic_name)
        ),
        "nothing",
    )


# -- brokers and the controller ---------------------------------------------------------------------------------


def _heartbeat(m: Any, _: TopicName) -> str:
    wants = "wants to shut down" if m.want_shut_down else "wants to stay fenced" if m.want_fence else "wants to serve"
    return f"broker {m.broker_id} {wants}, has metadata up to {m.current_metadata_offset}"


def _heartbeat_answer(m: Any, _: TopicName) -> str:
    words = ["fenced" if m.is_fenced else "unfenced"]
    if not m.is_caught_up:
        words.append("not caught up")
    if m.should_shut_down:
        words.append("may shut down")
    return _both(_error(m.error_code), ", ".join(words))


def _register(m: Any, _: TopicName) -> str:
    before = f", was epoch {m.previous_broker_epoch}" if m.previous_broker_epoch >= 0 else ""
    return f"broker {m.broker_id} of rack {m.rack}{before}"


def _registered(m: Any, _: TopicName) -> str:
    return _both(_error(m.error_code), f"broker epoch {m.broker_epoch}")


def _metadata_asked(m: Any, topic_name: TopicName) -> str:
    return "all topics" if m.topics is None else _parts((_name(each, topic_name) for each in m.topics), "brokers only")


def _metadata(m: Any, topic_name: TopicName) -> str:
    words = [f"brokers {_ids(each.node_id for each in m.brokers)}", f"controller {m.controller_id}"]
    for topic in m.topics:
        name = _name(topic, topic_name)
        said = _error(topic.error_code) or " ".join(
            f"{each.partition_index}→{each.leader_id}" for each in topic.partitions
        )
        words.append(f"{name} {said}")
    return ", ".join(words)


# -- clients ----------------------------------------------------------------------------------------------------


def _produce(m: Any, topic_name: TopicName) -> str:
    acks = "all" if m.acks == -1 else m.acks
    parts = (
        f"{place} {records_words(each.records).replace(' at 0', '', 1)}"
        for _, place, each in _partitions(m.topic_data, "partition_data", topic_name)
    )
    return f"{_parts(parts, 'nothing')}, acks={acks}"


def _produced(m: Any, topic_name: TopicName) -> str:
    return _parts(
        (
            f"{place} {_error(each.error_code) or f'at {each.base_offset}'}"
            for _, place, each in _partitions(m.responses, "partition_responses", topic_name)
        ),
        "nothing",
    )


def _find_coordinator(m: Any, _: TopicName) -> str:
    return f"of {_parts(m.coordinator_keys or [m.key], 'nothing')}"


def _coordinators(m: Any, _: TopicName) -> str:
    if not m.coordinators:
        return _both(_error(m.error_code), f"broker {m.node_id}")
    return _parts(
        (f"{each.key} {_error(each.error_code) or f'on broker {each.node_id}'}" for each in m.coordinators), "nothing"
    )


def _join(m: Any, _: TopicName) -> str:
    return f"{m.group_id} as {m.member_id or 'a new member'}"


def _joined(m: Any, _: TopicName) -> str:
    leader = " leads" if m.leader and m.leader == m.member_id else ""
    return _both(_error(m.error_code), f"generation {m.generation_id}, {m.member_id}{leader}")


def _in_group(m: Any, _: TopicName) -> str:
    generation = getattr(m, "generation_id", getattr(m, "generation_id_or_member_epoch", -1))
    return f"{m.group_id} generation {generation}, {m.member_id}"


def _commit(m: Any, topic_name: TopicName) -> str:
    parts = (f"{place} {each.committed_offset}" for _, place, each in _partitions(m.topics, "partitions", topic_name))
    return f"{m.group_id}: {_parts(parts, 'nothing')}"


def _committed(m: Any, topic_name: TopicName) -> str:
    errors = {_error(each.error_code) for _, _, each in _partitions(m.topics, "partitions", topic_name)}
    return ", ".join(sorted(errors - {""})) or "done"


def _results(m: Any, topic_name: TopicName) -> str:
    found = getattr(m, "topics", None) or getattr(m, "responses", None) or ()
    return _parts(
        (
            f"{_name(each, topic_name) if hasattr(each, 'name') else each.resource_name} "
            f"{_error(each.error_code) or 'done'}"
            for each in found
        ),
        "nothing",
    )


_QUESTIONS: dict[str, Summary] = {
    "Vote": _vote,
    "BeginQuorumEpoch": _begin_epoch,
    "EndQuorumEpoch": _end_epoch,
    "Fetch": _fetch,
    "AlterPartition": _alter_partition,
    "OffsetForLeaderEpoch": _epoch_ends,
    "ListOffsets": _list_offsets,
    "BrokerHeartbeat": _heartbeat,
    "BrokerRegistration": _register,
    "Metadata": _metadata_asked,
    "Produce": _produce,
    "FindCoordinator": _find_coordinator,
    "JoinGroup": _join,
    "SyncGroup": _in_group,
    "Heartbeat": _in_group,
    "OffsetCommit": _commit,
}
_ANSWERS: dict[str, Summary] = {
    "Vote": _voted,
    "BeginQuorumEpoch": _epoch_answer,
    "EndQuorumEpoch": _epoch_answer,
    "Fetch": _fetched,
    "AlterPartition": _altered,
    "OffsetForLeaderEpoch": _epoch_ended,
    "ListOffsets": _offsets,
    "BrokerHeartbeat": _heartbeat_answer,
    "BrokerRegistration": _registered,
    "Metadata": _metadata,
    "Produce": _produced,
    "FindCoordinator": _coordinators,
    "JoinGroup": _joined,
    "OffsetCommit": _committed,
    "CreateTopics": _results,
    "DeleteTopics": _results,
    "IncrementalAlterConfigs": _results,
}
