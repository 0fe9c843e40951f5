"""The form of histories: lines, merging, errors; the recorder; the command; the report."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from written_history import COMMITTED, P, Q, Written

from engine.sim.check import main
from engine.sim.history import (
    Assign,
    Commit,
    Committed,
    EndTxn,
    Event,
    History,
    HistoryError,
    Poll,
    Rebalance,
    Restart,
    Seek,
    Send,
    Subscribe,
    from_lines,
    merge,
    to_line,
)
from engine.sim.history_checker import check
from engine.sim.history_recorder import HistoryRecorder


@pytest.fixture
def h() -> Written:
    return Written()


def lines(h: Written) -> list[str]:
    return [to_line(event) for event in h.recorder.events]


def of_everything(h: Written) -> None:
    h["p"].start()
    h.sent("a", 0, attempts=2)
    h.sending(7, acks=1, idempotent=True).fail("refused")
    h.sent("b", 1, txn="t1")
    h["c"].assign({P: "beginning", Q: None})
    h["c"].seek({P: 1, Q: "end"})
    h.polled({1: "b"}, "c", isolation=COMMITTED, txn=1)
    h["p"].commit("g", {P: 2}, txn="t1").info("timed out")
    h.committed("t1")
    h["m"].subscribe("g", ["orders"], auto_offset_reset="earliest")
    h["m"].rebalance(assigned=[P], revoked=[Q])
    h["m"].committed("g", [P], require_stable=True).ok({P: None})
    h.final({0: "a"}, end=3)
    h["p"].crash()


# -- lines --------------------------------------------------------------------------------------------------------


def test_every_operation_goes_through_lines_and_back(h: Written) -> None:
    of_everything(h)
    history = History.of(from_lines(lines(h)))
    kinds = [type(operation) for operation in history.operations]
    assert {Send, Poll, Commit, Committed, EndTxn, Assign, Seek, Subscribe, Rebalance, Restart} == set(kinds)
    assert list(from_lines(lines(h))) == h.recorder.events
    assert check(history).report() == check(History.of(h.recorder.events)).report()


def test_what_is_read_is_what_was_recorded(h: Written) -> None:
    of_everything(h)
    history = History.of(from_lines(lines(h)))
    sends = [each for each in history.operations if isinstance(each, Send)]
    assert [(each.value, each.acks, each.idempotent, each.outcome, each.offset, each.attempts) for each in sends] == [
        ("a", "all", False, "ok", 0, 2),
        (7, 1, True, "fail", None, None),
        ("b", "all", True, "ok", 1, None),
    ]
    assert sends[1].error == "refused"
    assert sends[2].txn is not None
    assert sends[2].txn.is_committed
    assign, seek = (each for each in history.operations if isinstance(each, Assign | Seek) and each.process == "c")
    assert (assign.positions, seek.positions) == ({P: 0, Q: None}, {P: 1, Q: None})
    polls = [each for each in history.operations if isinstance(each, Poll)]
    assert [(each.is_committed_only, each.records, each.reached_end) for each in polls] == [
        (True, [(P, 1, "b")], {}),
        (False, [(P, 0, "a")], {P: 3}),
    ]
    (fetch,) = (each for each in history.operations if isinstance(each, Committed))
    assert (fetch.require_stable, fetch.offsets) == (True, {P: -1})


def test_a_line_is_an_object_with_these_fields(h: Written) -> None:
    h.sent("a", 0)
    assert lines(h)[0] == (
        '{"process":"p","type":"invoke","f":"send","partition":"orders-0","value":"a","acks":"all","id":1,"time_ns":1000000}\n'
    )
    assert lines(h)[1] == '{"process":"p","type":"ok","f":"send","id":1,"offset":0,"time_ns":2000000}\n'


def test_half_a_line_at_the_end_is_left_out(h: Written) -> None:
    h.log("a", "b")
    *whole, last = lines(h)
    assert len(list(from_lines([*whole, last[: len(last) // 2]]))) == len(whole)
    assert len(list(from_lines([*whole, last.rstrip()]))) == len(whole) + 1
    assert len(list(from_lines(["\n", *whole]))) == len(whole)


def test_half_a_line_elsewhere_is_an_error(h: Written) -> None:
    h.log("a", "b")
    first, *rest = lines(h)
    for torn in (first[:20], first[:20] + "\n"):
        with pytest.raises(HistoryError, match="line 1 is no JSON"):
            list(from_lines([torn, *rest]))
    with pytest.raises(HistoryError, match="line 1 is no object"):
        list(from_lines(["[]\n"]))


def test_several_recorders_are_merged_by_their_time() -> None:
    clock = iter(range(0, 1000, 10))
    one, other = (HistoryRecorder(lambda: next(clock)) for _ in range(2))
    first = one.client("p").send(P, "a", acks="all")
    second = other.client("q").send(P, "b", acks="all")
    first.ok(0)
    second.ok(1)
    merged = list(merge([one.events, other.events]))
    assert [event["time_ns"] for event in merged] == [0, 10, 20, 30]
    assert check(History.of(merged)).counts.acknowledged == 2
    with pytest.raises(HistoryError, match="time goes back"):
        History.of([*one.events, *other.events])
    with pytest.raises(HistoryError, match="time_ns is missing"):
        list(merge([[{"type": "ok"}]]))


SEND: Event = {"process": "p", "type": "invoke", "f": "send", "id": 1, "partition": P, "value": "a", "acks": "all"}


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([{**SEND, "f": "sned"}], "'sned' is missing or unknown"),
        ([{key: SEND[key] for key in SEND if key != "acks"}], "'acks' is missing or unknown"),
        ([{key: SEND[key] for key in SEND if key != "id"}], "'id' is missing or unknown"),
        ([{**SEND, "acks": 2}], "acks 2 is none of"),
        ([{**SEND, "value": 1.5}], "value 1.5 is neither"),
        ([{**SEND, "partition": "orders"}], "'orders' is no partition"),
        ([{**SEND, "partition": "orders-x"}], "'orders-x' is no partition"),
        ([{**SEND, "type": "nok"}], "type nok is unknown"),
        ([{**SEND, "type": "ok"}], r"\('p', 1\) is missing or unknown"),
        ([SEND, SEND], "was invoked twice"),
        ([SEND, {**SEND, "id": 2}], "was sent to orders-0 twice"),
        ([SEND, {"process": "p", "type": "ok", "f": "poll", "id": 1, "records": []}], "began as send"),
        ([{"process": "c", "type": "invoke", "f": "poll", "id": 1, "isolation": "serializable"}], "isolation"),
        ([{"process": "c", "type": "invoke", "f": "start"}], "start is recorded when it is done"),
        ([{"process": "c", "type": "ok", "f": "seek", "positions": {P: "middle"}}], "position 'middle' is none"),
        ([{"process": "c", "type": "ok", "f": "seek", "positions": {P: -3}}], "position -3 is none"),
        ([{"process": "c", "type": "ok", "f": "assign", "positions": [P]}], "no attribute 'items'"),
        ([{"process": "c", "type": "ok", "f": "assign", "positions": {"orders": 0}}], "'orders' is no partition"),
        ([{"process": "c", "type": "ok", "f": "rebalance", "revoked": ["orders"]}], "'orders' is no partition"),
        ([{"process": "p", "type": "invoke", "f": "end_txn", "id": 1, "commit": True}], "end_txn of no transaction"),
        (
            [
                {"process": "p", "type": "invoke", "f": "end_txn", "id": 1, "commit": True, "txn": 1},
                {**SEND, "id": 2, "txn": 1},
            ],
            "transaction 1 of process p has ended",
        ),
        (
            [
                {"process": "c", "type": "invoke", "f": "poll", "id": 1},
                {"process": "c", "type": "ok", "f": "poll", "id": 1, "records": [[P, 0]]},
            ],
            "not enough values",
        ),
        (
            [
                {"process": "c", "type": "invoke", "f": "poll", "id": 1},
                {"process": "c", "type": "ok", "f": "poll", "id": 1, "records": [[P, "0", "a"]]},
            ],
            "offset '0' is no integer",
        ),
        ([SEND, {"process": "p", "type": "ok", "f": "send", "id": 1, "offset": "0"}], "offset '0' is no integer"),
    ],
)
def test_what_is_no_history(events: list[Event], why: str) -> None:
    timed = [{**event, "time_ns": time_ns} for time_ns, event in enumerate(events)]
    with pytest.raises(HistoryError, match=rf"event {len(events) - 1}: .*{why}"):
        History.of(timed)


def test_an_operation_completes_once(h: Written) -> None:
    sending = h.sending("a")
    sending.ok(0)
    with pytest.raises(AssertionError, match="completes twice"):
        sending.info("timed out")


# -- the recorder -------------------------------------------------------------------------------------------------


def test_threads_record_into_one_history() -> None:
    recorder = HistoryRecorder(time.monotonic_ns)

    def produce(name: str) -> None:
        client = recorder.client(name)
        pending = [client.send(P, f"{name}-{number}", acks="all") for number in range(500)]
        for sending in pending:
            sending.info("timed out")

    threads = [threading.Thread(target=produce, args=(f"p{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = History.of(recorder.events)
    assert len(history.operations) == 2000
    assert {operation.outcome for operation in history.operations} == {"info"}
    assert [event["time_ns"] for event in recorder.events] == sorted(event["time_ns"] for event in recorder.events)


def test_a_recorder_hands_events_on_at_once() -> None:
    told: list[str] = []
    recorder = HistoryRecorder(lambda: 0, lambda event: told.append(event["f"]))
    recorder.client("p").start()
    sending = recorder.client("p").send(P, "a", acks=0)
    assert told == ["start", "send"]
    sending.ok(-1)
    assert told == ["start", "send", "send"]
    assert recorder.events == []


# -- the command and its report -----------------------------------------------------------------------------------


def write(path: Path, h: Written) -> str:
    path.write_text("".join(lines(h)))
    return str(path)


def test_the_command_judges_a_file(h: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    h.log("a", "b")
    h.final({0: "a", 1: "b"}, end=2)
    assert main([write(tmp_path / "clean.jsonl", h)]) == 0
    assert capsys.readouterr().out == (
        "4 operations in 0.006 s: 4 ok, 0 failed, 0 of unknown outcome\n"
        "2 records sent to 1 partitions, 2 acknowledged; 2 received in 1 polls\n"
        "allowed: none\n"
        "anomalies: none\n"
    )


def test_the_command_ends_with_1_on_anomalies(h: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    h.log("a", "b", idempotent=True)
    h.final({0: "a"}, end=1)
    assert main([write(tmp_path / "lost.jsonl", h)]) == 1
    assert capsys.readouterr().out == (
        "unseen orders-0: 'b' was acknowledged with offset 1 and a final read came to the end of the log without it\n"
        "  'b' was sent by p (acks=all, idempotent) at 0.002000 s, acknowledged at 0.003000 s with offset 1\n"
        "  final came to the end of the log, offset 1, at 0.006000 s; the last that it received was 'a' at offset 0\n"
        "\n"
        "4 operations in 0.006 s: 4 ok, 0 failed, 0 of unknown outcome\n"
        "2 records sent to 1 partitions, 2 acknowledged; 1 received in 1 polls\n"
        "allowed: none\n"
        "anomalies: unseen 1\n"
    )


def test_the_command_shows_what_is_allowed_if_asked(
    h: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h.log("a", "b", acks=1)
    h.final({0: "a"}, end=1)
    path = write(tmp_path / "weak.jsonl", h)
    assert main([path]) == 0
    assert capsys.readouterr().out.endswith("allowed: unseen 1\nanomalies: none\n")
    assert main([path, "--allowed"]) == 0
    assert "allowed: acks=1 does not wait for the replicas" in capsys.readouterr().out
    assert main([path, "--strict"]) == 1


def test_the_command_excuses_unclean_topics(h: Written, tmp_path: Path) -> None:
    h.log("a", "b")
    h.final({0: "a"}, end=1)
    path = write(tmp_path / "unclean.jsonl", h)
    assert main([path, "--unclean", "orders"]) == 0
    assert main([path, "--unclean", "payments"]) == 1


def test_the_command_merges_files(h: Written, tmp_path: Path) -> None:
    h.log("a", "b")
    h.final({0: "a", 1: "b"}, end=2)
    of_producers = [line for line in lines(h) if '"process":"p"' in line]
    of_consumers = [line for line in lines(h) if '"process":"p"' not in line]
    paths = [tmp_path / "consumers.jsonl", tmp_path / "producers.jsonl"]
    for path, some in zip(paths, (of_consumers, of_producers), strict=True):
        path.write_text("".join(some))
    assert main([str(path) for path in paths]) == 0
    assert main([str(paths[0])]) == 1


def test_the_command_ends_with_2_without_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.jsonl")]) == 2
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert main([str(empty)]) == 2
    assert "there are no operations to judge" in capsys.readouterr().err
    empty.write_text("{}\n")
    assert main([str(empty)]) == 2
    empty.write_bytes(b"\xff\n")
    assert main([str(empty)]) == 2


def test_the_command_runs_by_its_name(h: Written, tmp_path: Path) -> None:
    h.sending("a").fail("refused")
    h.polled({0: "a"})
    path = write(tmp_path / "aborted.jsonl", h)
    ran: Any = subprocess.run([sys.executable, "-m", "engine.sim.check", path], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.startswith(
        "aborted-read orders-0: 'a' was read though its producer was told that it had failed\n"
    )


def test_the_report_keeps_the_first_of_each_kind_and_counts_the_rest(h: Written) -> None:
    for number in range(30):
        h.sending(f"v{number}").fail("refused")
    h.polled({number: f"v{number}" for number in range(30)})
    verdict = check(History.of(h.recorder.events), keep=3)
    assert len(verdict.anomalies) == 3
    assert sum(verdict.anomaly_counts.values()) == 30
    assert "aborted-read: 27 more" in verdict.report()
    assert verdict.report().endswith("anomalies: aborted-read 30")


def test_the_report_counts_what_was_checked(h: Written) -> None:
    of_everything(h)
    summary = check(History.of(h.recorder.events)).report().splitlines()
    assert "1 transactions, 1 committed, 0 aborted" not in summary
    assert "2 transactions, 1 committed, 1 aborted" in summary
    assert "offsets committed 1 times and fetched 1 times" in summary


def test_the_order_of_the_report_is_that_of_the_history(h: Written) -> None:
    of_everything(h)
    text = json.dumps(h.recorder.events)
    reports = {check(History.of(json.loads(text))).report(with_allowed=True) for _ in range(5)}
    assert len(reports) == 1
