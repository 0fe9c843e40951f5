from __future__ import annotations

from dataclasses import replace

import pytest

from console.acts import (
    ActFlow,
    Need,
    elect_command,
    flow_of,
    produce_command,
    reason_against,
)
from console.commands import CommandError, complete, parse_command
from console.gateway import Capabilities, NewRecord, ReadFrom, Start
from console.navigation import Navigation
from console.screens.base import ViewSpec
from console.screens.broker_log import log_line
from console.viewmodel import text
from console.viewmodel.brokers import BROKER_COLUMNS, broker_rows, broker_state
from console.viewmodel.cells import Column, Span, cell, place_columns, plain
from console.viewmodel.events import GROUP_COLUMNS, EventLog, condensed, reason_words
from console.viewmodel.failover import ledger_figures, summary, timeline, unavailable_ms
from console.viewmodel.filters import Filter
from console.viewmodel.health import silent_brokers
from console.viewmodel.history import History
from console.viewmodel.impact import consequences, impact_of_losing, impact_words
from console.viewmodel.overview import overview
from console.viewmodel.partitions import PARTITION_COLUMNS, partition_rows, replica_columns, replica_rows
from console.viewmodel.quorum import majority_words
from console.viewmodel.records import BytesFormat, RecordView, Ring, merge_by_time, one_line, pretty_lines
from console.viewmodel.seeking import parse_seek
from console.viewmodel.topics import topic_rows
from console.widgets.lines import fit
from engine.supervisor.snapshot import (
    Act,
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    GroupState,
    Ledger,
    PartitionState,
    ProcessFacts,
    ProcessState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    Stage,
    StageTime,
    TopicState,
)

EMBEDDED = Capabilities(Source.EMBEDDED)
ATTACHED = Capabilities(Source.ATTACHED, no_process_control="needs processes", no_workload="no workload")


def partition(number: int, leader: int, isr: tuple[int, ...], **fields) -> PartitionState:
    return PartitionState("orders", number, leader, 4, (1, 2, 3), isr, **fields)


def column_text(columns: tuple[Column, ...], key: str, row: object) -> str:
    return plain(next(column for column in columns if column.key == key).cell(row))


# -- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (500 * 1024, "500 KiB"), (3 << 40, "3072 GiB")],
)
def test_sizes_have_three_figures_and_a_unit(value: float | None, shown: str) -> None:
    assert text.size(value) == shown


def test_unknown_is_not_zero() -> None:
    assert text.count(None) != text.count(0)
    assert text.rate(None) != text.rate(0)


def test_a_spark_line_is_scaled_to_its_highest_and_stands_at_the_right() -> None:
    assert text.spark((0, 5, 10), 5) == "  ▁▅█" or text.spark((0, 5, 10), 5) == "  ▁▄█"
    assert text.spark((0, 0), 3) == " ▁▁"
    assert text.spark((), 3) == "   "


def test_bars_fill_to_an_eighth_of_a_cell_and_never_overflow() -> None:
    assert text.bar(0.5, 10) == "█" * 5
    assert text.bar(0.51, 10) == "█" * 5 + "▏"
    assert len(text.bar(2, 10)) == 10


def test_what_was_never_observed_has_no_age() -> None:
    assert text.age_ms(1_000_000, 0) == 0
    assert text.age_ms(1_000_000, 990_000) == 10_000


# -- filters ---------------------------------------------------------------------------------------


def test_filters_match_as_regular_expressions_without_case() -> None:
    assert Filter.parse("^ORD.rs$").matches("orders")
    assert not Filter.parse("!ord").matches("orders")
    assert Filter.parse("-f odr").matches("orders")
    assert Filter.parse("-l state=down").matches("", lambda column: {"state": "Down"}[column])


def test_a_broken_expression_is_taken_as_plain_text_and_says_so() -> None:
    broken = Filter.parse("a[b")
    assert "plain text" in broken.error
    assert broken.matches("xa[by")


def test_an_unfinished_filter_hides_nothing() -> None:
    for unfinished in ("", "!", "-f", "-f "):
        assert not Filter.parse(unfinished).is_active


# -- columns ---------------------------------------------------------------------------------------

THREE = (
    Column("a", "A", lambda row: cell("a"), 10, max_width=30),
    Column("b", "B", lambda row: cell("b"), 10, priority=1),
    Column("c", "C", lambda row: cell("c"), 10, priority=2),
)


def test_less_important_columns_go_first() -> None:
    assert [each.column.key for each in place_columns(THREE, 40, {}, wide=False)] == ["a", "b", "c"]
    assert [each.column.key for each in place_columns(THREE, 30, {}, wide=False)] == ["a", "b"]
    assert [each.column.key for each in place_columns(THREE, 12, {}, wide=False)] == ["a"]


@pytest.mark.parametrize("available", range(5, 60))
def test_columns_never_overlap_and_never_leave_the_line(available: int) -> None:
    placed = place_columns(THREE, available, {"a": 25}, wide=False)
    end = 0
    for each in placed:
        assert each.x >= end
        end = each.x + each.width
    assert end <= available


def test_a_growing_column_gets_what_its_content_needs_before_others_come() -> None:
    placed = place_columns(THREE, 36, {"a": 20}, wide=False)
    assert [(each.column.key, each.width) for each in placed] == [("a", 20), ("b", 10)]


# -- brokers and partitions ------------------------------------------------------------------------


def test_a_brokers_state_is_its_process_then_its_fence_then_its_answer() -> None:
    def state(process: ProcessState | None, **fields) -> str:
        facts = ProcessFacts(1, process, 7) if process else None
        return broker_state(BrokerState(1, "h", 1, process=facts, **fields))[0]

    assert state(ProcessState.KILLED, reachable=True) == "killed"
    assert state(ProcessState.RUNNING, reachable=True, fenced=True) == "fenced"
    assert state(ProcessState.RUNNING, reachable=True) == "running"
    assert state(ProcessState.RUNNING, error="refused") == "no answer"
    assert state(ProcessState.RUNNING, observed_at_ms=5) == "no answer"
    assert state(ProcessState.RUNNING) == "starting", "before the first try"
    assert state(None, reachable=True) == "up"
    assert state(None) == "connecting"
    assert state(None, error="refused") == "no answer"


def test_figures_that_are_not_known_show_as_unknown() -> None:
    snapshot = ClusterSnapshot(1, Source.ATTACHED, brokers=(BrokerState(1, "h", 1, reachable=True),))
    (row,) = broker_rows(snapshot, History())
    for key in ("pid", "cpu", "rss", "disk", "in", "out"):
        assert column_text(BROKER_COLUMNS, key, row) == "–"


def test_a_partition_shows_how_far_each_replica_is_and_what_it_lacks() -> None:
    states = (
        ReplicaState(1, 100, None, True, 5),
        ReplicaState(2, 90, None, False, 5),
        ReplicaState(3, None, None, True, 5),
    )
    snapshot = ClusterSnapshot(
        9, Source.ATTACHED, topics=(TopicState("orders", "", False, (partition(0, 1, (1, 3), replica_states=states),)),)
    )
    (row,) = partition_rows(snapshot, topics=frozenset(["orders"]))
    assert column_text(PARTITION_COLUMNS, "leo", row) == "1:100  2:90 -10  3:–"
    assert column_text(PARTITION_COLUMNS, "health", row) == "◐ 1 behind"
    assert not row.is_healthy


def test_a_partition_without_leader_is_offline() -> None:
    snapshot = ClusterSnapshot(9, Source.ATTACHED, topics=(TopicState("orders", "", False, (partition(0, -1, ()),)),))
    (row,) = partition_rows(snapshot)
    assert column_text(PARTITION_COLUMNS, "leader", row) == "✗ none"
    assert column_text(PARTITION_COLUMNS, "isr", row) == "none"


def test_each_replica_shows_its_own_figures_and_its_part() -> None:
    states = (
        ReplicaState(1, 100, 900, True, 1_000, 5, 90),
        ReplicaState(2, 90, 800, False, 1_000, 5, 88),
        ReplicaState(3, None, None, False, 0),
    )
    rows = replica_rows(partition(0, 1, (1,), replica_states=states, offline_replicas=(3,)), 11_000)
    columns = replica_columns("orders-0")
    shown = [[column_text(columns, key, row) for key in ("role", "start", "hw", "leo", "behind")] for row in rows]
    assert shown == [
        ["★ leader", "5", "90", "100", "–"],
        ["◐ catching up", "5", "88", "90", "10"],
        ["✗ offline", "–", "–", "–", "–"],
    ]
    assert [row.age_ms for row in rows] == [10_000, 10_000, 0]
    assert columns[0].title == "orders-0"


def test_the_impact_of_losing_a_broker_is_told_from_metadata() -> None:
    topic = TopicState(
        "orders", "", False, (partition(0, 1, (1, 2)), partition(1, 2, (2, 1)), partition(2, 1, (1,))), 2
    )
    group = GroupState("g", "Stable", coordinator=1)
    snapshot = ClusterSnapshot(1, Source.EMBEDDED, controller_id=1, topics=(topic,), groups=(group,))
    assert impact_of_losing(snapshot, [1]) == (
        "1 partition elects another leader; 2 fall below min.insync.replicas; 1 goes leaderless; "
        "1 group finds another coordinator; the quorum elects another controller."
    )
    assert impact_of_losing(snapshot, [3]) == ""
    assert impact_of_losing(snapshot, [1, 2]).startswith("3 go leaderless; ")
    assert impact_words(snapshot, [1]) == "moves 1 leader, 1 group, the controller · 2 below min ISR · 1 leaderless"
    assert impact_words(snapshot, [3]) == "moves nothing"


def test_consequences_are_told_one_by_one_the_worst_first() -> None:
    topic = TopicState(
        "orders", "", False, (partition(0, 1, (1, 2)), partition(1, 2, (2, 3, 1)), partition(2, 1, (1,))), 2
    )
    # "g" is 103: of two partitions the second has it.
    offsets = replace(topic, name="__consumer_offsets", partitions=(partition(0, 3, (3,)), partition(1, 1, (1, 3))))
    group = GroupState("g", "Stable", coordinator=1)
    voters = tuple(QuorumVoter(each, 10, 0, True) for each in (1, 2, 3))
    snapshot = ClusterSnapshot(
        1,
        Source.EMBEDDED,
        controller_id=1,
        topics=(topic, replace(offsets, min_insync_replicas=1)),
        groups=(group,),
        quorum=QuorumState(1, 4, 10, voters),
    )
    ids = (("tx", 1, True), ("elsewhere", 2, True))
    assert [(each.kind, each.subject, each.before, each.after) for each in consequences(snapshot, [1], ids)] == [
        ("goes offline", "orders-2", (1,), ()),
        ("below min ISR", "orders-0", (1, 2), (2,)),
        ("controller moves", "the quorum", (1,), (2, 3)),
        ("leader moves", "orders-0", (1,), (2,)),
        ("leader moves", "__consumer_offsets-1", (1,), (3,)),
        ("coordinator moves", "group g", (1,), (3,)),
        # No __transaction_state is known here.
        ("coordinator moves", "transactional id tx", (1,), None),
        ("fewer in sync", "orders-1", (2, 3, 1), (2, 3)),
    ]
    (quorum,) = [each for each in consequences(snapshot, [2, 3]) if each.subject == "the quorum"]
    assert quorum.kind == "goes offline" and quorum.why == "1 of 3 voters are no majority: metadata stands still"
    assert "the quorum has no majority" in impact_of_losing(snapshot, [2, 3])
    assert impact_words(snapshot, [2, 3]).endswith("no majority of the quorum")
    # A voter that is down already counts no more; losing it changes nothing.
    down = replace(snapshot, brokers=(BrokerState(3, "h", 1, error="refused"),))
    assert [each.kind for each in consequences(down, [2]) if each.subject == "the quorum"] == ["goes offline"]
    assert [each for each in consequences(down, [3]) if each.subject == "the quorum"] == []


def test_a_leader_that_does_not_answer_serves_nobody_whatever_metadata_says() -> None:
    def broker(number: int, **fields: object) -> BrokerState:
        return BrokerState(number, "h", 1, **fields)

    topic = TopicState("orders", "", False, (partition(0, 1, (1, 2, 3)), partition(1, 2, (1, 2, 3))))
    snapshot = ClusterSnapshot(
        1,
        Source.EMBEDDED,
        brokers=(broker(1, reachable=True), broker(2, observed_at_ms=1, error="gone"), broker(3)),
        topics=(topic,),
    )
    assert silent_brokers(snapshot) == {2}, "one that was never asked is not silent"
    first, second = partition_rows(snapshot, topics=frozenset(["orders"]))
    assert column_text(PARTITION_COLUMNS, "health", first) == "● in sync" and first.is_healthy
    assert column_text(PARTITION_COLUMNS, "health", second) == "✗ no answer" and not second.is_healthy
    assert column_text(PARTITION_COLUMNS, "leader", second) == "✗ 2"
    (row,) = topic_rows(snapshot, History(), internal=False)
    assert row.health == ("1 offline", "offline", "✗")
    header = overview(snapshot, History(), 1, 80, read_only=False, failure="")
    assert "offline 1" in plain(header.second_left)


def test_a_controller_that_nobody_tells_of_is_none() -> None:
    quorum = QuorumState(1, 3, 9, (), observed_at_ms=1_000)
    snapshot = ClusterSnapshot(
        13_000, Source.EMBEDDED, controller_id=1, controller_epoch=3, quorum=quorum, metadata_observed_at_ms=13_000
    )

    def controller(picture: ClusterSnapshot) -> str:
        return plain(overview(picture, History(), 13_000, 80, read_only=False, failure="").first_left)

    assert controller(snapshot).endswith("controller none 12s")
    assert controller(snapshot.with_facts(metadata_observed_at_ms=3_000)).endswith("controller ★ 1 epoch 3")


@pytest.mark.parametrize("read_only", [False, True])
def test_the_age_of_a_picture_always_has_its_place(read_only: bool) -> None:
    quorum = QuorumState(1, 3, 9, (), observed_at_ms=1_000)
    snapshot = ClusterSnapshot(
        13_000, Source.ATTACHED, "mZy7kQ3tTrS0b1nVxWcd4A", 1, 31, quorum=quorum, metadata_observed_at_ms=13_000
    )
    lines = overview(snapshot, History(), 113_000, 80, read_only=read_only, failure="")
    assert plain(lines.first_right) == "stale 2m ●"
    assert len(plain(lines.first_left)) + 1 + len(plain(lines.first_right)) <= 78


def test_a_quorum_says_how_many_more_may_fail() -> None:
    def of(up: int) -> str:
        brokers = tuple(BrokerState(each, "h", 1, reachable=each <= up, observed_at_ms=1) for each in (1, 2, 3))
        nodes = tuple(QuorumVoter(each, 9, 0, True) for each in (1, 2, 3))
        return majority_words(ClusterSnapshot(1, Source.EMBEDDED, brokers=brokers, quorum=QuorumState(1, 1, 9, nodes)))

    assert [of(up) for up in (3, 2, 1)] == [
        "3 of 3 voters answer, 1 may fail",
        "2 of 3 voters answer, none may fail",
        "1 of 3 voters answer, no majority",
    ]


def test_events_stand_in_the_order_of_their_times_and_each_once() -> None:
    def event(sequence: int, at_ms: int, source: str = "broker 1") -> ClusterEvent:
        return ClusterEvent(sequence, at_ms, "isr_shrunk", "t-0", "", source)

    log = EventLog(kept=3)
    log.take([event(1, 100), event(2, 200), event(1, 150, "broker 2")])
    assert [(each.source, each.at_ms) for each in log] == [("broker 1", 100), ("broker 2", 150), ("broker 1", 200)]
    revision = log.revision
    log.take([event(1, 100), event(2, 200)])
    assert log.revision == revision, "the past, told again"
    log.take([event(3, 300)])
    assert [each.at_ms for each in log] == [150, 200, 300] and log.revision > revision


def test_what_clients_do_not_say_is_not_shown() -> None:
    def words(reason: str, **detail: object) -> str:
        return reason_words(ClusterEvent(1, 1, "member_left", "g", reason, "broker 1", detail))

    assert words("m-1 joined; client reason: not provided") == "m-1 joined"
    assert words("not provided", generation_id=3, members=[1]) == "generation id 3"


def test_events_of_one_kind_and_moment_are_one_line() -> None:
    events = [
        ClusterEvent(number, at_ms, kind, subject, reason, source)
        for number, (at_ms, kind, subject, reason, source) in enumerate(
            (
                (1_000, "leader_changed", "t-0", "leader 1→2, epoch 0→1: broker 1 fenced", "broker 2"),
                (1_000, "isr_shrunk", "t-0", "ISR [1,2]→[2]: broker 1 fenced", "broker 2"),
                (1_001, "leader_changed", "t-1", "leader 1→3, epoch 4→5: broker 1 fenced", "broker 2"),
                (1_900, "isr_shrunk", "t-1", "ISR [1,3]→[3]: broker 1 fenced", "broker 3"),
                (5_000, "leader_changed", "t-0", "leader 2→1, epoch 1→2: preferred election", "broker 2"),
            )
        )
    ]
    groups = condensed(events)
    assert [(group.first.kind, len(group.events), group.subjects, group.reason) for group in groups] == [
        ("leader_changed", 2, ["t-0", "t-1"], "broker 1 fenced"),
        ("isr_shrunk", 2, ["t-0", "t-1"], "broker 1 fenced"),
        ("leader_changed", 1, ["t-0"], "leader 2→1, epoch 1→2: preferred election"),
    ]
    assert len({group.key for group in groups}) == 3
    assert [column_text(GROUP_COLUMNS, key, groups[1]) for key in ("event", "subject", "source")] == [
        "▼ isr shrunk ×2",
        "t-0 +1",
        "several",
    ]


def test_a_name_that_is_too_long_keeps_its_end() -> None:
    assert "".join(span.text for span in fit(cell("__consumer_offsets-17"), 13, cut_middle=True)) == "__cons…ets-17"
    long = (Span("__consumer_offsets-17"), Span(" +9"))
    assert "".join(span.text for span in fit(long, 14, cut_middle=True)) == "__con…ts-17 +9"


def test_a_log_line_in_a_narrow_window_leaves_out_date_and_package() -> None:
    line = "2026-11-25 18:54:17.702 INFO engine.broker.quorum.peers: request to node 1 failed: refused"
    assert plain(log_line(line)) == line
    assert plain(log_line(line, compact=True)) == "18:54:17.702 INFO peers: request to node 1 failed: refused"
    assert plain(log_line("  File x, line 3", compact=True)) == "  File x, line 3"


# -- groups ----------------------------------------------------------------------------------------


def test_history_keeps_one_value_a_second_and_forgets_the_oldest() -> None:
    history = History(kept=3)
    for at_ms, value in ((0, 1), (500, 2), (1000, 3), (2000, 4), (3000, None), (4000, 5)):
        history.add("k", at_ms, value)
    assert history.of("k") == (3, 4, 5)


# -- records ---------------------------------------------------------------------------------------


def record(partition: int, offset: int, at_ms: int = 0) -> RecordView:
    return RecordView("t", partition, offset, at_ms, None, b"")


def test_bytes_are_shown_as_what_they_are() -> None:
    assert plain(one_line(None)) == "null"
    assert plain(one_line(b"")) == '""'
    assert plain(one_line('{"ä": 1}'.encode())) == '{"ä": 1}'
    assert plain(one_line(b"\x00\xff")) == "0x00 ff"
    assert plain(one_line(b"a\nb", BytesFormat.RAW)) == "a⏎b"
    assert plain(one_line(b"ab", BytesFormat.HEX)) == "61 62"
    assert plain(one_line(b"x" * 399 + "ä".encode() * 9)) == "x" * 399, "a character that is cut is left out"
    assert plain(one_line(b"\x1b[2J" + b"x" * 500)).startswith("0x1b 5b 32 4a")


def test_nothing_that_a_client_wrote_commands_the_terminal() -> None:
    group = (Span("billing\x1b[2J\x9b1m\u202egnp", "offline"),)
    (shown, pad) = fit(group, 24)
    assert shown == Span("billing·[2J·1m·gnp", "offline") and pad.text == " " * 6
    assert fit((Span("ﬁne ✓ é"),), 7)[0].text == "ﬁne ✓ é"


def test_json_in_a_line_keeps_every_character_and_tells_names_from_values() -> None:
    whole = b'{"a\\"b": [1, -2.5e3, true, null], "c":"d", "e": {}}'
    for data in (whole, whole[:30], b'{"unfinished: 1', b"[INFO] plain", b"[1,2]"):
        assert plain(one_line(data)) == data.decode()
    tones = [(span.text, span.tone) for span in one_line(b'{"n": 1, "s": "x"}') if span.tone != "muted"]
    assert tones == [('"n"', "accent"), ("1", "leader"), ('"s"', "accent"), ('"x"', "in_sync")]
    assert one_line(b"[INFO] plain") == cell("[INFO] plain")


def test_json_is_indented_and_what_is_no_json_is_left_as_it_is() -> None:
    assert [plain(line) for line in pretty_lines(b'{"a":[1,null],"b":{}}', BytesFormat.AUTO)] == [
        "{",
        '  "a": [',
        "    1,",
        "    null",
        "  ],",
        '  "b": {}',
        "}",
    ]
    assert [plain(line) for line in pretty_lines(b"{broken", BytesFormat.AUTO)] == ["{broken"]


def test_binary_values_are_dumped_in_hex() -> None:
    (line,) = pretty_lines(bytes(range(16)), BytesFormat.AUTO)
    assert plain(line).startswith("00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  ")


def test_a_deep_json_value_does_not_break_the_screen() -> None:
    assert pretty_lines(b"[" * 100_000, BytesFormat.AUTO)


def test_the_ring_keeps_the_last_and_counts_the_dropped() -> None:
    ring = Ring(3)
    ring.extend(record(0, offset) for offset in range(5))
    assert [each.offset for each in ring] == [2, 3, 4]
    assert (ring.dropped, ring.total) == (2, 5)


def test_records_of_several_partitions_are_merged_by_time_and_keep_their_own_order() -> None:
    merged = merge_by_time([record(0, 1, 50), record(0, 2, 10), record(1, 1, 5), record(1, 2, 60)])
    assert [(each.partition, each.offset) for each in merged] == [(1, 1), (0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("end", ReadFrom(Start.END)),
        ("Earliest", ReadFrom(Start.START)),
        ("0", ReadFrom(Start.OFFSET, 0)),
        ("-5", ReadFrom(Start.OFFSET, -5)),
        ("1.5h", ReadFrom(Start.TIMESTAMP, 10_000_000 - 5_400_000)),
    ],
)
def test_places_to_read_from(written: str, place: ReadFrom) -> None:
    assert parse_seek(written, 10_000_000) == place


def test_a_place_that_is_none_says_what_would_be_one() -> None:
    assert "try end" in str(parse_seek("tomorrow", 1))


# -- failover --------------------------------------------------------------------------------------

ACT = Act(
    1,
    "kill",
    2,
    1_000,
    9,
    True,
    (StageTime(Stage.KILLED, 0), StageTime(Stage.FENCED, 100), StageTime(Stage.LEADERS_COMMITTED, 150)),
)


def test_a_timeline_is_a_waterfall_and_names_what_is_not_there_yet() -> None:
    lines = timeline(ACT, 40, 1_200)
    assert [line.label for line in lines] == [
        "fenced",
        "new leaders committed",
        "seen by each survivor",
        "first acknowledged produce",
        "first fetch",
    ]
    assert lines[0].lead_cells == 0
    assert lines[1].lead_cells == pytest.approx(lines[0].bar_cells)
    assert {line.value for line in lines[2:]} == {"waiting …"}
    assert all(line.lead_cells + line.bar_cells <= 40 for line in lines)


def test_the_time_without_writes_is_unknown_until_one_was_acknowledged() -> None:
    assert unavailable_ms(ACT) is None


def test_several_failovers_are_summed_up() -> None:
    def act(number: int, after_ms: float, lost: int) -> Act:
        stages = (StageTime(Stage.KILLED, 0.0), StageTime(Stage.FIRST_PRODUCE, after_ms))
        return Act(number, "kill", 1, 1, 9, False, stages, Ledger("all", 9, 9, lost, 0, 0, True), True)

    assert summary([act(1, 120, 0)]) == ""
    assert summary([act(1, 120, 0), act(2, 1_250, 1), act(3, 140, 0)]) == (
        "3 measured · writes back in 140 ms (median), 1.25 s (longest) · 1 lost"
    )


def test_a_lost_record_is_red_and_an_uncounted_one_is_not_zero() -> None:
    figures = {each.label: each for each in ledger_figures(Ledger("1", 10, 9, 2, 0, None, True))}
    assert figures["lost"].tone == "offline"
    assert figures["duplicated"].tone == "in_sync"
    assert figures["reordered"].value == "–"


# -- acts ------------------------------------------------------------------------------------------


def test_what_cannot_be_done_says_why() -> None:
    read_only = EMBEDDED._replace(read_only=True)
    assert reason_against(Need.PROCESS, EMBEDDED) == ""
    assert reason_against(Need.PROCESS, ATTACHED) == "needs processes"
    assert "--read-only" in reason_against(Need.WRITE, read_only)
    assert reason_against(Need.NOTHING, read_only) == ""
    assert reason_against(Need.LOGS, read_only) == ""


def test_killing_asks_only_where_somebody_elses_cluster_is_at_stake_and_deleting_always() -> None:
    assert flow_of("kill", EMBEDDED) is ActFlow.AT_ONCE
    assert flow_of("elect", ATTACHED) is ActFlow.ASK
    assert flow_of("delete", EMBEDDED) is flow_of("delete", ATTACHED) is ActFlow.ASK
    assert flow_of("produce", ATTACHED) is ActFlow.AT_ONCE


def test_the_commands_shown_are_those_that_would_do_the_same() -> None:
    assert elect_command("h:1,h:2", [("t", 3)]) == (
        "kafka-leader-election.sh --bootstrap-server h:1 --election-type preferred --topic t --partition 3"
    )
    several = elect_command("h:1", [("t", 3), ("t", 4)])
    assert """<(echo '{"partitions": [{"topic": "t", "partition": 3}, {"topic": "t", "partition": 4}]}')""" in several
    assert "echo 'k'$'\\t''it'\"'\"'s' |" in produce_command("h:1", NewRecord("t", b"k", b"it's"))
    tombstone = produce_command("h:1", NewRecord("t", b"k", None))
    assert "echo 'k'$'\\t''NULL' |" in tombstone and "--reader-property null.marker=NULL" in tombstone


# -- commands and navigation -----------------------------------------------------------------------


def test_commands_are_read_with_aliases_arguments_and_filter() -> None:
    parsed = parse_command("t /ord ers")
    assert (parsed.command.name, parsed.filter) == ("topics", "ord ers")
    assert parse_command("tail a b").arguments == ("a", "b")
    for wrong in ("", "nosuch", "events now"):
        with pytest.raises(CommandError):
            parse_command(wrong)


def test_completion_goes_on_with_commands_and_then_with_names() -> None:
    names = {"topic": ["orders", "payments"], "theme": ["dark"]}
    assert complete("reco", names) == "records"
    assert complete("records orders pa", names) == "records orders payments"
    assert complete("theme d", names) == "theme dark"
    assert complete("events x", names) is None


def test_navigation_remembers_trails_both_ways() -> None:
    navigation = Navigation(ViewSpec("cluster"))
    navigation.open(ViewSpec("topics"))
    navigation.push(ViewSpec("partitions", {"topics": ("t",)}))
    assert [entry.spec.name for entry in navigation.trail] == ["topics", "partitions"]
    assert navigation.back()
    assert not navigation.back()
    assert navigation.step(-1)
    assert navigation.here.spec.name == "partitions"
    assert navigation.step(1)
    assert not navigation.step(1)
    assert navigation.last()
    assert navigation.here.spec.name == "partitions"


def test_a_screen_that_is_opened_again_has_its_selection_but_not_its_filter() -> None:
    navigation = Navigation(ViewSpec("topics"))
    navigation.here.state = {"cursor": "orders", "filter": "o"}
    navigation.open(ViewSpec("groups"))
    navigation.open(ViewSpec("topics"))
    assert navigation.here.state == {"cursor": "orders"}
