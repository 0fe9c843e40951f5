"""Streams groups (KIP-1071): topology, internal topics, epochs, reconciliation, fencing, offsets, expiry."""

from __future__ import annotations

import random

import pytest

from engine.core.group.streams_group import StreamsGroupState
from engine.core.group.streams_topics import StreamsStatus
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup
from engine.wire.messages.streams_group_heartbeat_request import CopartitionGroup
from tests.unit.core.group.streams_harness import (
    NO_DELAYS,
    PLAIN,
    STATEFUL,
    WORD_COUNT,
    StreamsHarness,
    Thread,
    active,
    error,
    statuses,
    subtopology,
    tasks,
    topic,
    topology,
)

T = {("0", number) for number in range(6)}


def settle(*threads: Thread) -> None:
    """Heartbeats until nothing moves any more."""
    for _ in range(6):
        for each in threads:
            each.beat()


# -- joining and reconciling --------------------------------------------------------------------------------------


def test_the_first_member_gets_all_tasks_at_once() -> None:
    h = StreamsHarness(t=6)
    answer = h.begin("a")
    assert active(answer) == T and answer.response.member_epoch == 2
    assert answer.response.heartbeat_interval_ms == 5_000 and statuses(answer) == {}
    assert h.streams.state is StreamsGroupState.STABLE
    kinds = [note.kind for note in h.notes]
    assert kinds == [NoteKind.GROUP_CREATED, NoteKind.MEMBER_JOINED, NoteKind.GROUP_REBALANCED, NoteKind.GROUP_STABLE]


def test_a_task_goes_to_another_member_only_when_it_was_given_up() -> None:
    h = StreamsHarness(t=4)
    h.begin("a")
    assert active(h.begin("b")) == set(), "all four are with a"
    assert h.streams.state is StreamsGroupState.RECONCILING
    told = h.pulse("a", 2)
    assert active(told) == {("0", 0), ("0", 1)} and told.response.member_epoch == 2, "it stays in its epoch"
    assert active(h.pulse("b", 3)) is None
    assert h.pulse("a", 2).response.member_epoch == 2, "saying nothing is not giving up"
    assert h.pulse("a", 2, owned={"0": [0, 1, 2, 3]}).response.member_epoch == 2
    assert h.pulse("a", 2, owned={"0": [0, 1]}).response.member_epoch == 3
    assert active(h.pulse("b", 3)) == {("0", 2), ("0", 3)}
    assert h.streams.state is StreamsGroupState.STABLE


def test_a_member_that_does_not_give_up_in_time_is_out() -> None:
    h = StreamsHarness(t=4)
    h.begin("a")
    b = Thread(h, "b")
    for _ in range(7):
        b.beat()
        answer = h.pulse("a", 2)
        h.advance(10_000)
    assert error(answer) is ErrorCode.UNKNOWN_MEMBER_ID, "60 s after it was told"
    settle(b)
    assert b.active == {("0", number) for number in range(4)}


def test_sessions_end_and_a_departure_makes_another_assignment() -> None:
    h = StreamsHarness(t=2)
    a, b = Thread(h, "a"), Thread(h, "b")
    settle(a, b)
    h.advance(44_000)
    b.beat()
    h.advance(2_000)
    assert list(h.streams.members) == ["b"]
    settle(b)
    assert b.active == {("0", 0), ("0", 1)}
    b.leave()
    assert h.streams.state is StreamsGroupState.EMPTY and h.notes[-1].kind is NoteKind.GROUP_EMPTIED
    assert error(h.pulse("b", -1)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_sessions_start_anew_after_a_failover_and_what_was_not_given_up_is_still_waited_for() -> None:
    h = StreamsHarness(t=4)
    h.begin("a")
    h.begin("b")
    h.pulse("a", 2)
    h.fail_over()
    assert h.pulse("a", 2).response.member_epoch == 2
    h.advance(44_000)
    h.pulse("a", 2)
    h.pulse("b", 3)
    h.advance(17_000)
    assert list(h.streams.members) == ["b"], "its rebalance timeout of 60 s began anew, its session with each heartbeat"


def test_a_new_group_waits_for_more_members() -> None:
    h = StreamsHarness(NO_DELAYS._replace(group_streams_initial_rebalance_delay_ms=3_000), t=2)
    first = h.begin("a")
    delayed = {StreamsStatus.ASSIGNMENT_DELAYED: "Assignment delayed due to the configured initial rebalance delay."}
    assert active(first) == set() and statuses(first) == delayed
    assert statuses(h.begin("b")) == delayed
    h.advance(3_000)
    a, b = h.pulse("a", 1, owned={}), h.pulse("b", 1, owned={})
    assert active(a) == {("0", 0)} and active(b) == {("0", 1)} and statuses(a) == {}
    assert a.response.member_epoch == b.response.member_epoch == h.streams.group_epoch == 3


def test_targets_are_computed_once_in_an_interval() -> None:
    h = StreamsHarness(NO_DELAYS._replace(group_streams_assignment_interval_ms=1_000), t=2)
    h.begin("a")
    late = h.begin("b")
    assert active(late) == set()
    assert list(statuses(late)) == [StreamsStatus.ASSIGNMENT_DELAYED]
    assert h.streams.state is StreamsGroupState.ASSIGNING
    h.advance(1_000)
    settle(a := Thread(h, "a"), b := Thread(h, "b"))
    assert len(a.active) == len(b.active) == 1


def test_threads_of_one_process_hand_over_their_tasks_too() -> None:
    h = StreamsHarness(t=2)
    a, b = Thread(h, "a", process="p", lingers=True), Thread(h, "b", process="p")
    a.beat()
    a.beat()
    assert len(a.active) == 2
    for _ in range(6):
        assert not a.active & b.active
        b.beat()
        assert not a.active & b.active
        a.beat()
    assert len(a.active) == len(b.active) == 1


# -- topology and topics ------------------------------------------------------------------------------------------


def test_internal_topics_are_asked_for_and_waited_for() -> None:
    h = StreamsHarness(t=3)
    answer = h.begin("a", WORD_COUNT)
    assert active(answer) == set()
    detail = "Internal topics are missing: g-counts-changelog, g-words-repartition"
    assert statuses(answer) == {StreamsStatus.MISSING_INTERNAL_TOPICS: detail}
    assert [(each.name, each.partitions) for each in answer.to_create] == [
        ("g-counts-changelog", 3),
        ("g-words-repartition", 3),
    ]
    assert h.streams.state is StreamsGroupState.NOT_READY
    again = h.pulse("a", 2, owned={})
    assert again.to_create == answer.to_create and again.response.active_tasks is None
    h.create_internal(answer)
    ready = h.pulse("a", 2, owned={})
    assert active(ready) == {(name, number) for name in ("0", "1") for number in range(3)}
    assert ready.to_create == () and statuses(ready) == {}
    described = h.described()
    assert described.group_state == "Stable" and described.topology.epoch == 0
    second = described.topology.subtopologies[1]
    assert [(each.name, each.partitions) for each in second.repartition_source_topics] == [("g-words-repartition", 3)]
    assert [(each.name, each.partitions) for each in second.state_changelog_topics] == [("g-counts-changelog", 3)]
    assert [(each.subtopology_id, each.partitions) for each in described.members[0].assignment.active_tasks] == [
        ("0", [0, 1, 2]),
        ("1", [0, 1, 2]),
    ]


def test_tasks_are_given_out_when_source_topics_come_and_taken_when_they_go() -> None:
    h = StreamsHarness()
    answer = h.begin("a")
    assert statuses(answer) == {StreamsStatus.MISSING_SOURCE_TOPICS: "Source topics t are missing."}
    assert h.streams.state is StreamsGroupState.NOT_READY and h.described().topology.epoch == 0
    h.set_topics(t=2)
    assert active(h.pulse("a", 2, owned={})) == {("0", 0), ("0", 1)}
    h.set_topics(t=3)
    assert active(h.pulse("a", 3)) == {("0", 0), ("0", 1), ("0", 2)}
    h.set_topics(t=0)
    gone = h.pulse("a", 4)
    assert active(gone) == set() and list(statuses(gone)) == [StreamsStatus.MISSING_SOURCE_TOPICS]


def test_an_internal_topic_of_another_size_is_in_the_way() -> None:
    h = StreamsHarness(t=3, **{"g-store-changelog": 2})
    detail = "Existing topic g-store-changelog has different number of partitions: expected 3, found 2"
    answer = h.begin("a", STATEFUL)
    assert statuses(answer) == {StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS: detail} and answer.to_create == ()


def test_copartitioned_topics_have_equally_many_partitions() -> None:
    joined = CopartitionGroup(source_topics=[0, 1])
    h = StreamsHarness(t=3, u=2)
    answer = h.begin("a", topology(subtopology("0", "t", "u", copartition=[joined])))
    detail = "Following topics do not have the same number of partitions: [{t=3, u=2}]"
    assert statuses(answer) == {StreamsStatus.INCORRECTLY_PARTITIONED_TOPICS: detail}
    h.set_topics(u=3)
    assert active(h.pulse("a", 2)) == {("0", number) for number in range(3)}


def test_a_repartition_topic_takes_its_size_from_the_topic_that_it_is_joined_with() -> None:
    told = topology(
        subtopology("0", "few", sinks=["r"]),
        subtopology(
            "1",
            "t",
            repartition=[topic("r", replication=2)],
            copartition=[CopartitionGroup(source_topics=[0], repartition_source_topics=[0])],
        ),
    )
    h = StreamsHarness(few=1, t=5)
    (created,) = h.begin("a", told).to_create
    assert (created.name, created.partitions, created.replication_factor) == ("r", 5, 2)


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (topology(subtopology("0", repartition=[topic("r")])), "never used as a sink topic"),
        (topology(subtopology("0", sinks=["r"], repartition=[topic("r")])), "loops in the topology"),
        (topology(subtopology("0")), "No source topics found for subtopology 0"),
        (topology(subtopology("0", "t"), subtopology("0", "t")), "Subtopology 0 comes twice."),
        (
            topology(subtopology("0", "t", copartition=[CopartitionGroup(source_topics=[1])])),
            "names a topic that is not",
        ),
    ],
)
def test_topologies_that_no_topics_can_make_work_are_refused(told: object, what: str) -> None:
    h = StreamsHarness(t=1)
    answer = h.pulse("a", 0, topology=told, owned={}, rebalance_ms=1)  # type: ignore[arg-type]
    assert error(answer) is ErrorCode.STREAMS_INVALID_TOPOLOGY
    assert what in (answer.response.error_message or "")
    assert h.log == [] and h.shard.streams_groups == {}


def test_another_topology_is_refused_and_an_older_one_is_told() -> None:
    h = StreamsHarness(t=1, u=1)
    h.begin("a", topology(subtopology("0", "t"), epoch=1))
    other = h.pulse("b", 0, topology=topology(subtopology("0", "u"), epoch=1), owned={}, rebalance_ms=1)
    assert error(other) is ErrorCode.INVALID_REQUEST
    assert other.response.error_message == "Topology updates are not supported yet."
    older = h.begin("b", topology(subtopology("0", "u"), epoch=0))
    detail = "The member's topology epoch 0 is behind the group's topology epoch 1."
    assert statuses(older)[StreamsStatus.STALE_TOPOLOGY] == detail
    assert error(h.begin("c", topology(subtopology("0", "t"), epoch=1))) is ErrorCode.NONE


# -- standbys and configs -----------------------------------------------------------------------------------------


def test_standbys_are_on_other_processes_and_change_with_the_groups_config() -> None:
    h = StreamsHarness(t=4)
    threads = [Thread(h, name, STATEFUL) for name in "abc"]
    settle(*threads)
    assert sum(len(each.active) for each in threads) == 4 and not any(each.standby for each in threads)
    h.configs["g"] = {"streams.num.standby.replicas": "1"}
    settle(*threads)
    assert all(not each.active & each.standby for each in threads)
    assert sorted(task for each in threads for task in each.standby) == [("0", number) for number in range(4)]
    assert h.streams.assignment_configs == {"num.standby.replicas": "1"}
    h.configs["g"] = {"streams.num.standby.replicas": "9", "streams.heartbeat.interval.ms": "7000"}
    settle(*threads)
    assert sum(len(each.standby) for each in threads) == 8, "group.streams.max.standby.replicas is 2"
    assert h.pulse("a", threads[0].epoch).response.heartbeat_interval_ms == 7_000


def test_an_active_task_moves_to_where_its_standby_was() -> None:
    h = StreamsHarness(t=2)
    h.configs["g"] = {"streams.num.standby.replicas": "1"}
    a, b = Thread(h, "a", STATEFUL), Thread(h, "b", STATEFUL)
    settle(a, b)
    assert b.standby == a.active and a.standby == b.active
    a.leave()
    settle(b)
    assert b.active == {("0", 0), ("0", 1)} and b.standby == set()


def test_endpoints_are_told_when_they_change() -> None:
    h = StreamsHarness(t=2)
    first = h.begin("a", endpoint=("here", 80))
    (told,) = first.response.partitions_by_user_endpoint or ()
    assert (told.user_endpoint.host, told.user_endpoint.port) == ("here", 80)
    assert [(each.topic, each.partitions) for each in told.active_partitions] == [("t", [0, 1])]
    epoch = first.response.endpoint_information_epoch
    assert epoch == 1
    assert h.pulse("a", 2, endpoint_epoch=epoch).response.partitions_by_user_endpoint is None
    assert h.pulse("a", 2, endpoint_epoch=0).response.partitions_by_user_endpoint is not None


def test_one_member_can_ask_the_whole_application_to_end() -> None:
    h = StreamsHarness(t=2)
    h.begin("a")
    h.begin("b")
    detail = "Streams group member a encountered a fatal error and requested a shutdown for the entire application."
    assert statuses(h.pulse("a", 2, shutdown=True))[StreamsStatus.SHUTDOWN_APPLICATION] == detail
    h.pulse("a", -1)
    assert statuses(h.pulse("b", 3))[StreamsStatus.SHUTDOWN_APPLICATION] == detail
    h.pulse("b", -1)
    assert StreamsStatus.SHUTDOWN_APPLICATION not in statuses(h.begin("a")), "the application may start again"


# -- fencing and refusals -----------------------------------------------------------------------------------------


def test_epochs_that_are_not_the_members_are_fenced() -> None:
    h = StreamsHarness(t=1)
    h.begin("a")
    assert error(h.pulse("a", 3)) is ErrorCode.FENCED_MEMBER_EPOCH
    assert error(h.pulse("a", 1)) is ErrorCode.FENCED_MEMBER_EPOCH
    h.begin("b")
    assert h.pulse("a", 2, owned={"0": [0]}).response.member_epoch == 3
    assert h.pulse("a", 2, owned={"0": [0]}).response.member_epoch == 3, "the answer was lost"
    assert error(h.pulse("a", 2)) is ErrorCode.FENCED_MEMBER_EPOCH, "it says nothing of its tasks"
    assert error(h.pulse("x", 1)) is ErrorCode.UNKNOWN_MEMBER_ID
    assert active(h.begin("a")) == {("0", 0)}, "it may join again"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"instance_id": "i"}, "Static membership is not yet supported."),
        ({"task_offsets": []}, "TaskOffsets are not supported yet."),
        ({"member_id": " "}, "MemberId can't be empty."),
        ({"group": ""}, "GroupId can't be empty."),
        ({"rack_id": ""}, "RackId can't be empty."),
        ({"rebalance_ms": -1}, "RebalanceTimeoutMs must be provided in first request."),
        ({"owned": {"0": [0]}}, "ActiveTasks must be empty when (re-)joining."),
        ({"topology": None}, "Topology must be non-null when (re-)joining."),
        ({"epoch": -3}, "MemberEpoch is -3, but must be greater than or equal to -2."),
        ({"epoch": -2}, "InstanceId can't be null."),
        ({"epoch": 1}, "Topology can only be provided when (re-)joining."),
        ({"member_id": "m" * 33_000}, "the group id or the member id is too long"),
    ],
)
def test_requests_that_mean_nothing_are_refused(wrong: dict[str, object], what: str) -> None:
    h = StreamsHarness(t=1)
    request = {"member_id": "a", "epoch": 0, "topology": PLAIN, "owned": {}, "rebalance_ms": 1, **wrong}
    answer = h.pulse(**request)  # type: ignore[arg-type]
    assert (error(answer), answer.response.error_message) == (ErrorCode.INVALID_REQUEST, what)
    assert h.log == []


def test_tasks_that_are_not_in_the_topology_are_refused() -> None:
    h = StreamsHarness(t=1)
    h.begin("a")
    assert error(h.pulse("a", 2, owned={"0": [1]})) is ErrorCode.INVALID_REQUEST
    assert error(h.pulse("a", 2, owned={"9": [0]})) is ErrorCode.INVALID_REQUEST


def test_a_topology_that_fits_into_no_record_is_refused() -> None:
    h = StreamsHarness(NO_DELAYS._replace(message_max_bytes=10_000), t=1)
    big = topology(subtopology("0", "t", changelogs=["c" * 249 for _ in range(50)]))
    assert error(h.pulse("a", 0, topology=big, owned={}, rebalance_ms=1)) is ErrorCode.INVALID_REQUEST
    assert h.log == []


def test_a_full_group_takes_nobody() -> None:
    h = StreamsHarness(NO_DELAYS._replace(group_streams_max_size=1), t=1)
    h.begin("a")
    assert error(h.pulse("b", 0, topology=PLAIN, owned={}, rebalance_ms=1)) is ErrorCode.GROUP_MAX_SIZE_REACHED


# -- other kinds of groups ----------------------------------------------------------------------------------------


def test_groups_of_other_kinds_are_left_alone() -> None:
    h = StreamsHarness(t=1)
    h.enter("a")
    refused = h.pulse("s", 0, topology=PLAIN, owned={}, rebalance_ms=1)
    assert error(refused) is ErrorCode.GROUP_ID_NOT_FOUND
    assert refused.response.error_message == "Group g is not a streams group."
    h.begin("s", group="streams")
    answer = h.beat("a", 0, topics=["t"], owned=(), rebalance_ms=1, group="streams")
    assert answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    (listed,) = h.shard.list_groups(["stable"], ["streams"])
    told = (listed.group_id, listed.group_type, listed.protocol_type, listed.group_state)
    assert told == ("streams", "streams", "streams", "Stable")
    assert h.described("g").error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_an_empty_group_is_whatever_its_first_member_makes_of_it() -> None:
    h = StreamsHarness(t=1)
    h.commit({("t", 0): 5})
    assert "g" in h.shard.groups
    h.begin("s")
    assert "g" not in h.shard.groups and h.fetch(("t", 0)) == {("t", 0): 5}
    h.pulse("s", -1)
    token = h.join(version=3)
    h.advance(1)
    assert h.replies[token].error_code == ErrorCode.NONE
    assert h.shard.streams_groups == {} and "g" in h.shard.groups
    assert h.fetch(("t", 0)) == {("t", 0): 5}


def test_a_classic_member_does_not_get_into_a_streams_group_that_works() -> None:
    h = StreamsHarness(t=1)
    h.begin("s")
    assert h.replies[h.join(version=3)].error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


# -- offsets ------------------------------------------------------------------------------------------------------


def test_offsets_are_committed_and_fetched_in_the_members_epoch() -> None:
    h = StreamsHarness(t=4)
    h.begin("a")
    assert h.commit({("t", 0): 1}, member_id="a", generation=2) == [ErrorCode.NONE]
    assert h.commit({("t", 0): 1}, member_id="a", generation=3) == [ErrorCode.STALE_MEMBER_EPOCH]
    assert h.commit({("t", 0): 1}, member_id="x", generation=2) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert h.commit({("t", 0): 1}, member_id="a", generation=2, version=8) == [ErrorCode.UNSUPPORTED_VERSION]
    h.begin("b")
    h.pulse("a", 2)
    h.pulse("a", 2, owned={"0": [0, 1]})
    assert h.commit({("t", 0): 1}, member_id="a", generation=2) == [ErrorCode.NONE], (
        "it has had the task since epoch 2 (KIP-1251)"
    )
    assert h.commit({("t", 3): 1}, member_id="a", generation=2) == [ErrorCode.STALE_MEMBER_EPOCH], "it has it no more"
    assert h.commit({("u", 0): 1}, member_id="a", generation=2) == [ErrorCode.STALE_MEMBER_EPOCH], (
        "the topology does not read it"
    )
    for epoch, expected in ((3, ErrorCode.NONE), (2, ErrorCode.STALE_MEMBER_EPOCH)):
        token = h.token()
        request = OffsetFetchRequestGroup(group_id="g", member_id="a", member_epoch=epoch, topics=None)
        h.perform(h.shard.handle_offset_fetch(request, False, token))
        assert h.replies[token].error_code == expected


def test_offsets_expire_with_an_empty_group_and_it_can_be_deleted() -> None:
    limits = NO_DELAYS._replace(offsets_retention_ms=1_000, offsets_retention_check_interval_ms=500)
    h = StreamsHarness(limits, t=1)
    h.begin("s")
    h.commit({("t", 0): 7}, member_id="s", generation=2)
    assert delete(h) is ErrorCode.NON_EMPTY_GROUP
    h.advance(2_000)
    assert h.fetch(("t", 0)) == {("t", 0): 7}, "a member reads the topic"
    h.pulse("s", -1)
    h.advance(2_000)
    assert h.shard.streams_groups == {} and h.fetch(("t", 0)) == {("t", 0): -1}
    h.begin("s")
    h.pulse("s", -1)
    assert delete(h) is ErrorCode.NONE and h.shard.streams_groups == {}


def delete(h: StreamsHarness) -> ErrorCode:
    """DeleteGroups of the one group."""
    token = h.token()
    h.perform(h.shard.handle_delete_groups(["g"], token))
    return ErrorCode(h.replies[token][0].error_code)


# -- all of it, with seeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_no_task_is_ever_worked_on_twice_and_in_the_end_each_is_once(seed: int) -> None:
    draw = random.Random(seed)
    h = StreamsHarness(t=4)
    h.law_every = 20
    h.configs["g"] = {"streams.num.standby.replicas": str(seed % 3)}
    threads = [
        Thread(h, f"m{number}", WORD_COUNT, process=f"p{number // 2}", lingers=draw.random() < 0.5)
        for number in range(5)
    ]
    for _ in range(150):
        thread = draw.choice(threads)
        what = draw.random()
        if what < 0.02 and thread.epoch:
            thread.leave()
        elif what < 0.03:
            h.set_topics(t=h.topics.counts["t"])
            h.configs["g"] = {"streams.num.standby.replicas": str(draw.randrange(3))}
        elif what < 0.04:
            h.fail_over()
        else:
            thread.beat()
        has = [task for each in threads for task in each.active]
        assert len(has) == len(set(has)), "two threads work on a task (G1)"
        for process in {each.process for each in threads}:
            own = [task for each in threads if each.process == process for task in (*each.active, *each.standby)]
            assert len(own) == len(set(own)), "two threads of a process have a task's state"
    settle(*threads, *threads)
    for each in threads:
        assert not each.errors or set(each.errors) <= {ErrorCode.UNKNOWN_MEMBER_ID}
    assert sorted(task for each in threads for task in each.active) == [
        (name, number) for name in ("0", "1") for number in range(4)
    ]
    assert h.streams.state is StreamsGroupState.STABLE
    assert tasks(h.described().members[0].assignment.active_tasks) == threads_by_id(threads, h).active


def threads_by_id(threads: list[Thread], h: StreamsHarness) -> Thread:
    """The thread that is the group's first member."""
    first = next(iter(h.streams.members))
    return next(each for each in threads if each.member_id == first)


def test_transactions_commit_in_the_members_epoch() -> None:
    h = StreamsHarness(t=1)
    h.begin("a")
    assert h.commit_in_transaction({("t", 0): 1}, member_id="a", generation=2) == [ErrorCode.NONE]
    assert h.commit_in_transaction({("t", 0): 1}, member_id="a", generation=5) == [ErrorCode.ILLEGAL_GENERATION]
    assert h.commit_in_transaction({("t", 0): 1}, member_id="", generation=-1) == [ErrorCode.NONE], (
        "who says nothing of a member is not checked"
    )
