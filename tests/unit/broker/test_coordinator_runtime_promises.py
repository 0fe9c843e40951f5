"""What the coordinator runtime promises: what is told stands, and everyone who waits is told.

The log is scripted and time is virtual: see :mod:`tests.unit.broker.scripted_coordinator`.
"""

from __future__ import annotations

import asyncio

import pytest

from engine.broker.coordinator_log import client_error
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker
from tests.unit.broker.scripted_coordinator import (
    NOT_AVAILABLE,
    NOT_COORDINATOR,
    WRITE_TIMEOUT_MS,
    P,
    Refused,
    World,
    in_virtual_time,
    pass_ms,
    refusal,
    settle,
    state,
)

# -- loading ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_asks_before_the_log_is_loaded_is_told_to_wait(w: World) -> None:
    w.log.put("a", "b")
    assert refusal(w.get) is ErrorCode.NOT_COORDINATOR
    assert not w.runtime.is_loading()
    w.runtime.on_elected(P, 1)
    assert refusal(w.get) is refusal(w.park) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert refusal(lambda: w.runtime.shard(P)) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert (w.runtime.is_loading(), w.runtime.known_partitions(), w.runtime.active_partitions()) == (True, [P], [])
    await settle()
    assert state(w.get()) == ["a", "b"]
    assert (w.runtime.is_loading(), w.runtime.active_partitions()) == (False, [P])
    (note,) = w.notes
    assert (note.kind, note.subject, note.detail["records"]) == (NoteKind.COORDINATOR_LOADED, "ledger-3", 2)


@in_virtual_time
async def test_a_long_log_is_loaded_in_pieces_between_which_others_run(w: World) -> None:
    for number in range(50):
        w.log.put(str(number))
    w.log.read_bytes = 200
    w.runtime.on_elected(P, 1)
    turns = 0
    while w.runtime.is_loading():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20
    assert w.values() == [str(number) for number in range(50)]


@in_virtual_time
async def test_who_loses_the_lead_while_loading_stops(w: World) -> None:
    for number in range(50):
        w.log.put(str(number))
    w.log.read_bytes = 200
    w.runtime.on_elected(P, 1)
    for _ in range(5):
        await asyncio.sleep(0)
    w.runtime.on_resigned(P, 2)
    await settle()
    assert refusal(w.get) is ErrorCode.NOT_COORDINATOR
    assert len(w.shards[0].values) < 50
    assert w.notes == []


@in_virtual_time
async def test_transactional_records_markers_and_offsets_reach_the_machine(w: World) -> None:
    w.log.put("plain")
    w.log.put("of a transaction", producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    for committed in (True, False):
        marker = build_end_transaction_marker(
            committed=committed,
            producer_id=7,
            producer_epoch=0,
            coordinator_epoch=1,
            timestamp=0,
            base_offset=w.log.end,
        )
        w.log.add(marker)
    w.log.put("idempotent", producer_id=8, producer_epoch=0, base_sequence=0)
    shard = await w.elected()
    assert shard.values == ["plain", "of a transaction", "7 committed", "7 aborted", "idempotent"]
    assert shard.replayed == [("plain", 0, -1), ("of a transaction", 1, 7), ("idempotent", 4, -1)]


@in_virtual_time
async def test_loading_begins_at_the_logs_start_and_passes_over_what_it_does_not_know(w: World) -> None:
    w.log.put("deleted", "kept")
    w.log.put("of another version")
    w.log.add(build_batch([NewRecord(None, b"without a key")], base_offset=w.log.end))
    w.log.put("last")
    w.log.start = 1
    assert (await w.elected()).values == ["kept", "last"]


@pytest.mark.parametrize(
    ("failure", "note"),
    [("leads", "NOT_LEADER_OR_FOLLOWER"), ("undecodable", "ValueError"), ("unreadable", "OSError"), ("load", "cannot")],
)
@in_virtual_time
async def test_a_log_that_cannot_be_loaded_makes_no_coordinator_until_the_next_election(
    w: World, failure: str, note: str
) -> None:
    w.log.put("a", failure)
    w.log.leads = failure != "leads"
    w.log.unreadable = OSError("disk") if failure == "unreadable" else None
    w.runtime.on_elected(P, 1)
    await settle()
    assert refusal(w.get) is ErrorCode.NOT_COORDINATOR
    assert w.runtime.known_partitions() == []
    w.log.leads, w.log.unreadable = True, None
    w.log.batches.clear()
    w.log.start = w.log.end
    w.log.put("b")
    assert (await w.elected(2)).values == ["b"]


@in_virtual_time
async def test_a_tail_that_is_not_committed_is_loaded_and_not_told_before_it_is(w: World) -> None:
    w.log.put("a")
    w.log.put("tail")
    w.log.committed = 1
    await w.elected()
    read = w.get()
    await settle()
    assert state(read) is None
    w.log.commit(1)
    assert state(read) is None
    w.log.commit(2)
    assert state(read) == ["a", "tail"]


@in_virtual_time
async def test_what_a_machine_writes_when_it_begins_is_written(w: World) -> None:
    w.log.put("write at load")
    await w.elected()
    await settle()
    assert w.log.appends == [(1, ["written"])]


# -- answers wait -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_answer_waits_until_what_it_tells_is_committed(w: World) -> None:
    await w.elected()
    assert state(w.get()) == [], "nothing is written: nothing to wait for"
    write = w.put("a")
    read = w.get()
    await settle()
    assert (state(write), state(read)) == (None, None)
    later = w.get()
    w.log.commit()
    await settle()
    assert (state(write), state(read), state(later)) == ("put a", ["a"], ["a"])
    assert state(w.get()) == ["a"]


@in_virtual_time
async def test_what_one_turn_of_the_loop_writes_is_one_batch(w: World) -> None:
    await w.elected()
    first = [w.put("a"), w.put("b")]
    await settle()
    second = w.put("c")
    await settle()
    assert w.log.appends == [(1, ["a", "b"]), (1, ["c"])]
    w.log.commit(2)
    await settle()
    assert [state(each) for each in (*first, second)] == ["put a", "put b", None]
    w.log.commit()
    await settle()
    assert state(second) == "put c"


@in_virtual_time
async def test_answers_keep_their_order_even_if_a_later_batch_is_heard_of_first(w: World) -> None:
    await w.elected()
    first = w.put("a")
    await settle()
    second = w.put("b")
    await settle()
    order: list[str] = []
    first.add_done_callback(lambda _: order.append("first"))
    second.add_done_callback(lambda _: order.append("second"))
    w.log.waiting[1][1].set_result(None)
    await settle()
    assert order == []
    w.log.waiting[0][1].set_result(None)
    await settle()
    assert order == ["first", "second"]


@in_virtual_time
async def test_a_parked_request_is_answered_with_the_write_that_wakes_it(w: World) -> None:
    await w.elected()
    parked = w.park()
    w.put("a")
    await settle()
    assert state(parked) is None
    w.log.commit()
    await settle()
    assert state(parked) == "woken by a"


@in_virtual_time
async def test_a_batch_is_no_larger_than_the_topic_allows_and_a_request_stays_together(w: World) -> None:
    w.log.max_bytes = 300
    await w.elected()
    w.put("a" * 100)
    w.put("b" * 60, "c" * 60)
    w.put("d")
    await settle()
    assert [[value[0] for value in values] for _, values in w.log.appends] == [["a"], ["b", "c", "d"]]


@in_virtual_time
async def test_a_request_that_no_batch_holds_is_spread_and_answered_behind_the_last(w: World) -> None:
    w.log.max_bytes = 300
    await w.elected()
    write = w.put(*(letter * 100 for letter in "abcde"))
    await settle()
    assert [[value[0] for value in values] for _, values in w.log.appends] == [["a"], ["b"], ["c"], ["d"], ["e"]]
    w.log.commit(4)
    await settle()
    assert state(write) is None
    w.log.commit()
    await settle()
    assert state(write) == "put " + "a" * 100


@in_virtual_time
async def test_a_client_that_has_gone_disturbs_nobody(w: World) -> None:
    await w.elected()
    gone, stays = w.put("a"), w.put("b")
    parked = w.park()
    gone.cancel()
    parked.cancel()
    await settle()
    w.log.commit()
    await settle()
    assert state(stays) == "put b"
    await settle()
    w.put("c")
    await settle()
    w.log.commit()
    await settle()
    assert state(w.get()) == ["a", "b", "c"]


# -- appends fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("UNKNOWN_TOPIC_OR_PARTITION", "COORDINATOR_NOT_AVAILABLE"),
        ("NOT_ENOUGH_REPLICAS", "COORDINATOR_NOT_AVAILABLE"),
        ("NOT_LEADER_OR_FOLLOWER", "NOT_COORDINATOR"),
        ("FENCED_LEADER_EPOCH", "NOT_COORDINATOR"),
        ("KAFKA_STORAGE_ERROR", "NOT_COORDINATOR"),
        ("MESSAGE_TOO_LARGE", "UNKNOWN_SERVER_ERROR"),
        ("RECORD_LIST_TOO_LARGE", "UNKNOWN_SERVER_ERROR"),
        ("INVALID_FETCH_SIZE", "UNKNOWN_SERVER_ERROR"),
        ("CORRUPT_MESSAGE", "CORRUPT_MESSAGE"),
    ],
)
@in_virtual_time
async def test_a_write_that_is_not_in_the_log_never_happened(w: World, error: str, told: str) -> None:
    w.log.put("before")
    await w.elected()
    parked = w.park()
    w.log.script.append(ErrorCode[error])
    write, read = w.put("lost"), w.get()
    await settle()
    # The machine answers those whom it holds; the rest is told the error.
    assert (state(write), state(read)) == (Refused(ErrorCode[told]), Refused(ErrorCode[told]))
    assert state(parked) == Refused(ErrorCode[told]), "what woke it was lost"
    assert client_error(ErrorCode[error]) is ErrorCode[told]
    assert state(w.get()) == ["before"]
    assert [note.kind for note in w.notes if "COORDINATOR" in note.kind.name][1:] == [
        NoteKind.COORDINATOR_UNLOADED,
        NoteKind.COORDINATOR_LOADED,
    ]


@in_virtual_time
async def test_what_follows_a_failed_write_in_the_same_turn_does_not_reach_the_log(w: World) -> None:
    w.log.max_bytes = 200
    await w.elected()
    parked = w.park()
    w.runtime.run(P, lambda shard, now: shard._append("a" * 100))
    w.runtime.run(P, lambda shard, now: shard._append("b" * 100))
    w.log.script.append(RuntimeError("scripted"))
    await settle()
    assert w.log.appends == []
    assert w.values() == []
    assert state(parked) == "unloaded: UNKNOWN_SERVER_ERROR"


@in_virtual_time
async def test_a_write_is_refused_beforehand_where_the_log_takes_nothing(w: World) -> None:
    await w.elected()
    parked = w.park()
    w.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS
    assert refusal(lambda: w.put("a", writes=True)) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    w.log.leads = False
    assert refusal(lambda: w.put("a", writes=True)) is ErrorCode.NOT_COORDINATOR
    await settle()
    assert (state(parked), len(w.shards)) == (None, 1), "nobody else notices"
    assert state(w.get()) == []


@pytest.mark.parametrize("error", [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND])
@in_virtual_time
async def test_a_write_that_is_in_the_log_but_not_committed_in_time_stands(w: World, error: ErrorCode) -> None:
    await w.elected()
    w.log.script.append(error)
    write = w.put("a")
    await settle()
    assert state(write) == NOT_AVAILABLE
    # It may be committed yet, or lost with this leader: until then nothing is told.
    read = w.get()
    await pass_ms(WRITE_TIMEOUT_MS - 1)
    assert state(read) is None
    w.log.commit()
    assert state(read) == ["a"]
    assert (len(w.shards), len(w.log.appends)) == (1, 1)


@in_virtual_time
async def test_nobody_waits_for_longer_than_the_time_for_writes(w: World) -> None:
    await w.elected()
    write = w.put("a")
    await pass_ms(WRITE_TIMEOUT_MS / 2)
    held = w.get()
    await pass_ms(WRITE_TIMEOUT_MS / 2)
    assert state(write) == state(held) == NOT_AVAILABLE
    read = w.get()
    await pass_ms(WRITE_TIMEOUT_MS - 1)
    assert state(read) is None
    await pass_ms(1)
    assert state(read) == NOT_AVAILABLE
    w.log.commit()
    assert state(w.get()) == ["a"]


@in_virtual_time
async def test_who_lost_the_lead_when_a_write_times_out_is_no_coordinator(w: World) -> None:
    await w.elected()
    write = w.put("a")
    await settle()
    parked = w.park()
    w.log.leads = False
    await pass_ms(WRITE_TIMEOUT_MS)
    assert (state(write), state(parked)) == (NOT_AVAILABLE, "unloaded: NOT_COORDINATOR")
    assert refusal(w.get) is ErrorCode.NOT_COORDINATOR


# -- leadership -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_loses_the_lead_tells_nothing_that_was_not_committed(w: World) -> None:
    await w.elected()
    write, read = w.put("a"), w.get()
    parked = w.park()
    await settle()
    w.runtime.on_resigned(P, 2)
    assert (state(write), state(read)) == (NOT_COORDINATOR, NOT_COORDINATOR)
    assert state(parked) == "unloaded: NOT_COORDINATOR"
    w.log.commit()
    await settle()
    assert refusal(w.get) is refusal(w.park) is ErrorCode.NOT_COORDINATOR
    assert refusal(lambda: w.runtime.run(P, lambda shard, now: shard._append("b"))) is ErrorCode.NOT_COORDINATOR


@in_virtual_time
async def test_who_gets_the_lead_back_knows_what_the_log_says_then(w: World) -> None:
    w.log.put("a")
    await w.elected()
    w.put("cut off")
    w.runtime.on_resigned(P, 2)
    await settle()
    assert w.log.appends == [], "what was queued is not written any more"
    w.log.put("by the other")
    await w.elected(3)
    assert w.values() == ["a", "by the other"]
    w.put("b")
    await settle()
    assert w.log.appends == [(3, ["b"])]


@in_virtual_time
async def test_old_news_of_leaders_changes_nothing(w: World) -> None:
    await w.elected(5)
    parked = w.park()
    w.runtime.on_elected(P, 5)
    w.runtime.on_elected(P, 4)
    w.runtime.on_resigned(P, 5)
    w.runtime.on_resigned(P, 4)
    w.runtime.on_resigned(99, 1)
    await settle()
    assert (state(parked), len(w.shards)) == (None, 1)


@in_virtual_time
async def test_a_new_epoch_of_the_same_leader_is_not_noticed(w: World) -> None:
    await w.elected(1)
    parked = w.park()
    w.put("a")
    w.runtime.on_elected(P, 2)
    await settle()
    assert (state(parked), len(w.shards), w.log.appends) == (None, 1, [(2, ["a"])])
    w.runtime.on_elected(P, 4)
    assert state(parked) == NOT_COORDINATOR, "another may have led in epoch 3; what woke it was not committed"
    await settle()
    assert len(w.shards) == 2


@in_virtual_time
async def test_a_deleted_partition_and_a_shutdown_leave_nobody_waiting(w: World) -> None:
    await w.elected()
    write = w.put("a")
    w.runtime.on_resigned(P)
    assert state(write) == NOT_COORDINATOR
    await w.elected()
    write, parked = w.put("b"), w.park()
    await w.runtime.shutdown()
    assert (state(write), state(parked)) == (NOT_COORDINATOR, "unloaded: NOT_COORDINATOR")
    w.runtime.on_elected(P, 9)
    await settle()
    assert w.log.appends == []
    assert refusal(w.get) is ErrorCode.NOT_COORDINATOR


# -- time -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_deadlines_come_when_they_are_due(w: World) -> None:
    await w.elected()
    w.set_timer(1_000, "late")
    w.set_timer(200, "early")
    await pass_ms(199)
    assert w.values() == []
    await pass_ms(2)
    assert w.values() == ["early"]
    w.shards[0].deadlines = [(deadline + 500, value) for deadline, value in w.shards[0].deadlines]
    await pass_ms(1_298)
    assert w.values() == ["early"], "it was moved after it had been armed"
    await pass_ms(2)
    assert w.values() == ["early", "late"]
    assert [values for _, values in w.log.appends] == [["early"], ["late"]]


@in_virtual_time
async def test_deadlines_end_with_the_leadership(w: World) -> None:
    await w.elected()
    w.set_timer(100, "never")
    w.runtime.on_resigned(P, 2)
    await pass_ms(200)
    assert w.log.appends == []
    await w.elected(3)
    await pass_ms(200)
    assert w.values() == []


# -- bugs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bug", ["input", "encoding", "timer"])
@in_virtual_time
async def test_a_bug_in_the_machine_is_answered_and_the_log_has_the_truth(w: World, bug: str) -> None:
    w.log.put("a")
    await w.elected()
    parked, held = w.park(), w.put("b")
    if bug == "input":
        assert state(w.break_down()) == Refused(ErrorCode.UNKNOWN_SERVER_ERROR)
    elif bug == "encoding":
        assert state(w.put("c", "unwritable")) == Refused(ErrorCode.UNKNOWN_SERVER_ERROR)
    else:
        w.set_timer(1, "unwritable")
        await pass_ms(2)
    await settle()
    assert state(parked) == state(held) == Refused(ErrorCode.UNKNOWN_SERVER_ERROR)
    w.log.commit()
    await settle()
    # The timer came when "b" was in the log, the others before it was.
    assert state(w.get()) == (["a", "b"] if bug == "timer" else ["a"])


@in_virtual_time
async def test_a_machine_that_cannot_even_be_unloaded_leaves_nobody_waiting(w: World) -> None:
    shard = await w.elected()
    shard.fails_to.add("unload")
    parked = w.park()
    assert state(w.break_down()) == Refused(ErrorCode.UNKNOWN_SERVER_ERROR)
    assert state(parked) == Refused(ErrorCode.UNKNOWN_SERVER_ERROR)
    await settle()
    assert state(w.get()) == []
