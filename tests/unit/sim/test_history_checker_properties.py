"""Histories of a correct log have no anomalies; with any one fault they have."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator

import pytest
from correct_log import GROUP, PARTITIONS, CorrectLog
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.sim.history import Event, History, HistoryError, from_lines, to_line
from engine.sim.history_checker import Verdict, check
from engine.sim.history_findings import Kind

SEEDS = st.integers(0, 2**32 - 1)
STEPS = st.integers(0, 250)
MANY_STEPS = st.integers(150, 300)


def judge(events: list[Event]) -> Verdict:
    return check(History.of(events))


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, steps=STEPS)
def test_a_correct_log_has_no_anomalies(seed: int, steps: int) -> None:
    log = CorrectLog(seed, steps)
    verdict = judge(log.events)
    assert verdict.is_valid, verdict.report()
    assert all(anomaly.allowed for anomaly in verdict.allowed)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, steps=STEPS)
def test_a_history_is_judged_the_same_from_its_lines(seed: int, steps: int) -> None:
    events = CorrectLog(seed, steps).events
    lines = [to_line(event) for event in events]
    assert check(History.of(from_lines(lines))).report(with_allowed=True) == judge(events).report(with_allowed=True)


def test_much_of_what_is_allowed_happens_in_it() -> None:
    seen: set[Kind] = set()
    for seed in range(40):
        seen.update(judge(CorrectLog(seed, 300).events).allowed_counts)
    assert seen >= {
        Kind.LOST_WRITE,
        Kind.UNSEEN,
        Kind.ABORTED_READ,
        Kind.PRECOMMITTED_READ,
        Kind.DUPLICATE,
        Kind.INCONSISTENT_OFFSETS,
        Kind.NONMONOTONIC_SEND,
        Kind.INT_SEND_SKIP,
        Kind.ACKED_REORDER,
    }


# -- faults -------------------------------------------------------------------------------------------------------
#
# Each changes what was recorded as if the cluster had done something wrong, and returns the kinds of which at least
# one must be found; none if the history has no place for the fault.

Fault = Callable[[CorrectLog, list[Event]], set[Kind]]


def polls(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event["f"] == "poll" and event["type"] == "ok")


def sends(events: list[Event], *, acks: object = "all", idempotent: bool = True) -> list[tuple[Event, Event]]:
    """Invocations and acknowledgements outside of transactions, of records in a final read."""
    invoked = {(event["process"], event["id"]): event for event in events if event["type"] == "invoke"}
    read = {(record[0], record[2]) for event in polls(events) for record in event["records"]}
    found = []
    for event in events:
        if event["type"] == "ok" and event["f"] == "send":
            sent = invoked[event["process"], event["id"]]
            is_chosen = sent["acks"] == acks and sent.get("idempotent", False) == idempotent and "txn" not in sent
            if is_chosen and (sent["partition"], sent["value"]) in read:
                found.append((sent, event))
    return found


def drop_an_acknowledged_record(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """Nobody ever receives it."""
    candidates = sends(events)
    if not candidates:
        return set()
    sent, _ = log.rng.choice(candidates)
    for event in polls(events):
        event["records"] = [each for each in event["records"] if each[::2] != [sent["partition"], sent["value"]]]
    return {Kind.LOST_WRITE, Kind.UNSEEN}


def lose_a_record_before_the_final_reads(log: CorrectLog, events: list[Event]) -> set[Kind]:
    before = [record for event in polls(events[: log.finals]) for record in event["records"]]
    kept = [record for event in polls(events[log.finals :]) for record in event["records"]]
    candidates = [record for record in before if record in kept]
    values = {(sent["partition"], sent["value"]) for sent, _ in sends(events)}
    candidates = [record for record in candidates if (record[0], record[2]) in values]
    if not candidates:
        return set()
    lost = log.rng.choice(candidates)
    for event in polls(events[log.finals :]):
        event["records"] = [record for record in event["records"] if record != lost]
    return {Kind.LOST_WRITE}


def lose_the_whole_end(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """The log is cut off behind its first half: final reads know nothing of the rest."""
    partition = log.rng.choice(PARTITIONS)
    cut = len(log.logs[partition]) // 2
    acknowledged = [sent for sent, told in sends(events) if sent["partition"] == partition and told["offset"] >= cut]
    for event in polls(events[log.finals :]):
        event["records"] = [each for each in event["records"] if each[0] != partition or each[1] < cut]
        if "reached_end" in event:
            event["reached_end"][partition] = cut
    return {Kind.LOST_WRITE, Kind.UNSEEN} if acknowledged else set()


def repeat_a_record(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """It stands at the end of the log once more, for whoever reads to the end."""
    candidates = sends(events)
    if not candidates:
        return set()
    sent, _ = log.rng.choice(candidates)
    partition = sent["partition"]
    end = len(log.logs[partition])
    for event in polls(events[log.finals :]):
        if "reached_end" in event:
            event["records"].append([partition, end, sent["value"]])
            event["reached_end"][partition] = end + 1
    return {Kind.DUPLICATE}


def swap_two_values(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """Readers find them at each other's offsets."""
    chosen = two_of_one_partition(log, events)
    if chosen is None:
        return set()
    swapped = {(sent["partition"], told["offset"]): other["value"] for (sent, told), (other, _) in chosen}
    for event in polls(events):
        for record in event["records"]:
            record[2] = swapped.get((record[0], record[1]), record[2])
    return {Kind.INCONSISTENT_OFFSETS}


def swap_two_sends(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """The log has them in another order than they were sent in: all agree on it."""
    chosen = two_of_one_partition(log, events)
    if chosen is None:
        return set()
    swap_two_values_of(chosen, events)
    ((_, told), (_, other)) = chosen[0]
    told["offset"], other["offset"] = other["offset"], told["offset"]
    return {Kind.NONMONOTONIC_SEND}


def swap_two_values_of(chosen: list[tuple[tuple[Event, Event], tuple[Event, Event]]], events: list[Event]) -> None:
    swapped = {(sent["partition"], told["offset"]): other["value"] for (sent, told), (other, _) in chosen}
    for event in polls(events):
        for record in event["records"]:
            record[2] = swapped.get((record[0], record[1]), record[2])


def two_of_one_partition(
    log: CorrectLog, events: list[Event]
) -> list[tuple[tuple[Event, Event], tuple[Event, Event]]] | None:
    """Two sends of one process, and the same the other way round."""
    candidates = sends(events)
    log.rng.shuffle(candidates)
    for one in candidates:
        for other in candidates:
            if one is not other and all(one[0][each] == other[0][each] for each in ("partition", "process")):
                crashes = [event for event in events if event["process"] == one[0]["process"] and "id" not in event]
                if not crashes:
                    return [(one, other), (other, one)]
    return None


def move_an_acknowledged_offset(log: CorrectLog, events: list[Event]) -> set[Kind]:
    candidates = sends(events)
    if not candidates:
        return set()
    _, told = log.rng.choice(candidates)
    told["offset"] = log.rng.choice([each for each in range(told["offset"] + 5) if each != told["offset"]])
    return {Kind.INCONSISTENT_OFFSETS}


def read_an_aborted_record(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """A final read with read_committed receives it at its place."""
    candidates = [
        (partition, offset, entry.value)
        for partition, entries in log.logs.items()
        for offset, entry in enumerate(entries)
        if entry.txn is not None and not entry.txn.is_committed and not is_of_unknown_outcome(entry.value, events)
    ]
    if not candidates:
        return set()
    aborted = list(log.rng.choice(candidates))
    for event in polls(events[log.finals :]):
        if event["process"] == "final-read_committed" and "reached_end" in event:
            event["records"].append(aborted)
    return {Kind.ABORTED_READ}


def is_of_unknown_outcome(value: str | None, events: list[Event]) -> bool:
    sent = next(event for event in events if event["type"] == "invoke" and event.get("value") == value)
    ends = {
        event["id"]: event
        for event in events
        if event["f"] == "end_txn" and event["process"] == sent["process"] and event.get("txn") == sent.get("txn")
    }
    outcomes = [event["type"] for event in events if event["f"] == "end_txn" and event["id"] in ends]
    return "info" in outcomes and any(event["commit"] for event in ends.values())


def read_a_record_before_its_commit(log: CorrectLog, events: list[Event]) -> set[Kind]:
    committed = {
        (event["process"], event["txn"]): place
        for place, event in enumerate(events)
        if event["f"] == "end_txn" and event["type"] == "invoke" and event["commit"]
    }
    refused = {
        (event["process"], event["id"]) for event in events if event["f"] == "end_txn" and event["type"] != "ok"
    } - {(event["process"], event["id"]) for event in events if event["f"] == "end_txn" and event["type"] == "ok"}
    places = {
        (partition, entry.value): offset
        for partition, entries in log.logs.items()
        for offset, entry in enumerate(entries)
    }
    for event in list(events):
        end = committed.get((event["process"], event.get("txn")))
        if event["f"] == "send" and end is not None and (event["process"], events[end]["id"]) not in refused:
            where = event["partition"], event["value"]
            if where in places:
                time_ns = events[end]["time_ns"]
                poll = {"process": "early", "f": "poll", "id": 1, "time_ns": time_ns}
                record = [event["partition"], places[where], event["value"]]
                events.insert(end, {**poll, "type": "ok", "records": [record]})
                events.insert(end, {**poll, "type": "invoke", "isolation": "read_committed"})
                return {Kind.PRECOMMITTED_READ}
    return set()


def runs(log: CorrectLog, events: list[Event]) -> list[tuple[Event, Event, str]]:
    """Two polls of a final read that follow each other, and a partition of which both have records."""
    found = []
    last: dict[tuple[str, str], Event] = {}
    for event in polls(events[log.finals :]):
        for partition in sorted({record[0] for record in event["records"]}):
            before = last.get((event["process"], partition))
            if before is not None:
                found.append((before, event, partition))
            last[event["process"], partition] = event
    return found


def skip_a_poll(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """Its records never come to the consumer. Somebody else has to know them: another reads all in one poll."""
    candidates = runs(log, events)
    if not candidates:
        return set()
    skipped, _, partition = log.rng.choice(candidates)
    gone = [record for record in skipped["records"] if record[0] == partition]
    # A transaction may have been aborted for all that its client knows: then there was nothing to receive.
    if skipped["process"] != "final-read_committed" or all(is_of_unknown_outcome(each[2], events) for each in gone):
        return set()
    skipped["records"] = [record for record in skipped["records"] if record[0] != partition]
    return {Kind.POLL_SKIP}


def receive_a_poll_again(log: CorrectLog, events: list[Event]) -> set[Kind]:
    candidates = runs(log, events)
    if not candidates:
        return set()
    before, after, partition = log.rng.choice(candidates)
    again = [record for record in before["records"] if record[0] == partition]
    after["records"] = again + after["records"]
    return {Kind.NONMONOTONIC_POLL}


def turn_a_poll_round(log: CorrectLog, events: list[Event]) -> set[Kind]:
    candidates = [event for event in polls(events) if len({(record[0]) for record in event["records"]}) == 1]
    candidates = [event for event in candidates if len(event["records"]) > 1]
    if not candidates:
        return set()
    log.rng.choice(candidates)["records"].reverse()
    return {Kind.INT_NONMONOTONIC_POLL}


def read_a_failed_record(log: CorrectLog, events: list[Event]) -> set[Kind]:
    invoked = {(event["process"], event["id"]): event for event in events if event["type"] == "invoke"}
    failed = [
        invoked[event["process"], event["id"]] for event in events if event["f"] == "send" and event["type"] == "fail"
    ]
    if not failed:
        return set()
    sent = log.rng.choice(failed)
    for event in polls(events[log.finals :]):
        if "reached_end" in event:
            event["records"].append([sent["partition"], event["reached_end"][sent["partition"]], sent["value"]])
    return {Kind.ABORTED_READ}


def lose_a_committed_offset(log: CorrectLog, events: list[Event]) -> set[Kind]:
    """The last fetch knows nothing of it."""
    acknowledged = {event["id"] for event in events if event["f"] == "commit" and event["type"] == "ok"}
    partitions = [
        partition
        for event in events
        if event["f"] == "commit" and event["type"] == "invoke" and event["id"] in acknowledged
        for partition, offset in event["offsets"].items()
    ]
    if not partitions:
        return set()
    last = [event for event in events if event["f"] == "committed" and event["type"] == "ok"][-1]
    last["offsets"][log.rng.choice(partitions)] = None
    return {Kind.OFFSET_REGRESSION}


FAULTS: tuple[Fault, ...] = (
    drop_an_acknowledged_record,
    lose_a_record_before_the_final_reads,
    lose_the_whole_end,
    repeat_a_record,
    swap_two_values,
    swap_two_sends,
    move_an_acknowledged_offset,
    read_an_aborted_record,
    read_a_record_before_its_commit,
    read_a_failed_record,
    skip_a_poll,
    receive_a_poll_again,
    turn_a_poll_round,
    lose_a_committed_offset,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(seed=SEEDS, steps=MANY_STEPS)
def test_any_fault_is_found(fault: Fault, seed: int, steps: int) -> None:
    log = CorrectLog(seed, steps)
    events = copy.deepcopy(log.events)
    expected = fault(log, events)
    assume(expected)
    verdict = judge(events)
    found = {kind for kind, count in verdict.anomaly_counts.items() if count}
    assert found & expected, f"{fault.__name__}: {verdict.report(with_allowed=True)}"


def distort(log: CorrectLog, events: list[Event]) -> None:
    """Something happens that makes no sense."""
    rng = log.rng
    place = rng.randrange(len(events))
    event = events[place]
    act = rng.randrange(5)
    if act == 0 and event["type"] != "invoke":
        del events[place]
    elif act == 1 and event["type"] in ("ok", "fail", "info") and "id" in event and event["f"] in ("send", "commit"):
        event["type"] = rng.choice(["ok", "fail", "info"])
        event["offset"] = rng.randint(-1, 50)
    elif event.get("records"):
        records = event["records"]
        record = rng.choice(records)
        if act == 2:
            records.insert(rng.randrange(len(records)), rng.choice(records))
        elif act == 3:
            record[1] = rng.randint(0, 50)
        else:
            record[2] = f"v{rng.randint(1, 50)}"
    elif "reached_end" in event:
        event["reached_end"] = {partition: rng.randint(0, 100) for partition in PARTITIONS}
    elif "offsets" in event:
        event["offsets"] = {partition: rng.randint(-1, 50) for partition in PARTITIONS}
    elif "isolation" in event:
        event["isolation"] = rng.choice(["read_committed", "read_uncommitted"])
    elif "positions" in event:
        event["positions"] = {partition: rng.randint(0, 50) for partition in PARTITIONS}


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, steps=MANY_STEPS, distortions=st.integers(1, 60))
def test_whatever_a_history_says_it_is_judged_or_refused(seed: int, steps: int, distortions: int) -> None:
    log = CorrectLog(seed, steps)
    events = copy.deepcopy(log.events)
    for _ in range(distortions):
        distort(log, events)
    try:
        history = History.of(events)
    except HistoryError:
        return
    verdict = check(history, keep=1000)
    assert verdict.report(with_allowed=True)
    for anomaly in (*verdict.anomalies, *verdict.allowed):
        assert anomaly.operations
        assert all(operation in history.operations for operation in anomaly.operations[:3])


def test_tens_of_thousands_of_operations_take_seconds_with_and_without_anomalies() -> None:
    """A second on a machine that does nothing else; a check that is not linear takes minutes."""
    log = CorrectLog(1, 40_000)
    events = copy.deepcopy(log.events)
    for event in polls(events):
        event["records"] = [record for record in event["records"] if log.rng.random() < 0.9]
    began_s = time.process_time()
    whole, holed = judge(log.events), judge(events)
    took_s = time.process_time() - began_s
    assert whole.is_valid
    assert sum(holed.anomaly_counts.values()) > 1000
    assert whole.counts.operations > 40_000
    assert took_s < 15


def test_the_group_of_a_correct_log_is_judged() -> None:
    counts = [judge(CorrectLog(seed, 300).events).counts for seed in range(5)]
    assert all(each.commits and each.fetches and each.finally_read == len(PARTITIONS) for each in counts)
    assert any(event.get("group") == GROUP for event in CorrectLog(0, 300).events)
