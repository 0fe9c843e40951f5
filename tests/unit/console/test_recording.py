"""The record: pictures come back as they went in, and what happens to the file happens to the file alone."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from console.gateway.protocol import ConfigValue
from console.recording import recorder as recorder_module
from console.recording.bundle import Extras, write_bundle
from console.recording.codec import Decoder, encoder, schema_of
from console.recording.folding import folded, since_ms
from console.recording.frames import FrameError, FrameReader, FrameWriter
from console.recording.reader import Record
from console.recording.recorder import Command, Limits, Recorder, trim
from console.recording.redaction import without_secrets
from console.recording.store import NoRecord, RecordError, open_to_write, used_bytes
from engine.supervisor.snapshot import (
    BrokerState,
    ClusterEvent,
    ClusterSnapshot,
    GroupState,
    MemberState,
    PartitionState,
    ProcessFacts,
    ProcessState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    TopicState,
)

START_MS = 1_795_521_600_000


def partition(number: int, at_ms: int, leader: int = 2, isr: tuple[int, ...] = (2, 3, 1)) -> PartitionState:
    end = 1_000 + (at_ms - START_MS) // 10
    return PartitionState(
        topic="orders",
        partition=number,
        leader=leader,
        leader_epoch=4 + (leader != 2),
        replicas=(2, 3, 1),
        isr=isr,
        log_start_offset=0,
        high_watermark=end,
        replica_states=tuple(ReplicaState(each, end, end * 100, each in isr, at_ms) for each in (2, 3, 1)),
        messages_in_per_s=100.0,
        observed_at_ms=at_ms,
    )


def picture(at_ms: int, leader: int = 2, isr: tuple[int, ...] = (2, 3, 1), partitions: int = 3) -> ClusterSnapshot:
    process = ProcessFacts(2, ProcessState.RUNNING if 2 in isr else ProcessState.KILLED, 4711)
    member = MemberState("m-1", None, "billing", "/127.0.0.1", (("orders", (0, 1, 2)),))
    return ClusterSnapshot(
        at_ms,
        Source.EMBEDDED,
        "MLRHOqLrRP6yZjF-rzey-w",
        controller_id=1,
        controller_epoch=7,
        brokers=(BrokerState(2, "127.0.0.1", 9092, "a", True, process=process),),
        topics=(
            TopicState(
                "orders",
                "id",
                False,
                tuple(partition(each, at_ms, leader, isr) for each in range(partitions)),
                2,
                {"retention.ms": "3600000"},
            ),
        ),
        groups=(GroupState("billing", "Stable", members=(member,), total_lag=5, observed_at_ms=at_ms),),
        quorum=QuorumState(1, 7, 50, (QuorumVoter(1, 50, 0, True, at_ms, at_ms),), at_ms),
        metadata_observed_at_ms=at_ms,
    )


def event(at_ms: int, kind: str = "leader_changed", number: int = 0, **detail: object) -> ClusterEvent:
    return ClusterEvent(number, at_ms, kind, "orders-0", "leader 2→3: broker 2 fenced", "broker 1", dict(detail))


def recorded(path: Path, *pictures: ClusterSnapshot, limits: Limits | None = None) -> Recorder:
    recorder = Recorder(str(path), limits or Limits(), now_ms=lambda: pictures[-1].at_ms)
    recorder.start()
    for each in pictures:
        recorder.picture(each)
    recorder.flush()
    return recorder


def test_pictures_come_back_as_they_were_at_each_moment(tmp_path: Path) -> None:
    calm, killed = picture(START_MS), picture(START_MS + 1_000, 3, (3, 1))
    grown, less = picture(START_MS + 2_000, 3, (3, 1), partitions=5), picture(START_MS + 3_000, 3, (3, 1), partitions=2)
    empty = less.with_facts(at_ms=START_MS + 4_000, topics=(), groups=())
    recorder = recorded(tmp_path / "r.db", calm, killed, grown, less, empty)
    record = Record(str(tmp_path / "r.db"))
    assert record.range() == (START_MS, START_MS + 4_000)
    assert record.picture_at(START_MS - 1) is None
    for wanted in (less, calm, grown, killed, empty, calm):
        found = record.picture_at(wanted.at_ms + 999)
        assert found is not None and found.snapshot == wanted and found.at_ms == wanted.at_ms
    assert list(record.samples(START_MS, START_MS + 4_000, 2_000)) == [calm, grown, empty]
    recorder.picture(picture(START_MS + 30_000))
    recorder.flush()
    assert record.gaps(START_MS, START_MS + 60_000) == [(START_MS + 4_000, START_MS + 30_000)]
    assert recorder.frames_written == 6
    recorder.close()


def test_counters_are_sampled_and_a_change_of_state_is_written_at_once(tmp_path: Path) -> None:
    times = [START_MS + each for each in (0, 100, 200, 950, 1_000, 1_100)]
    recorder = recorded(tmp_path / "r.db", *map(picture, times), picture(START_MS + 1_150, 3, (3, 1)))
    connection = sqlite3.connect(tmp_path / "r.db")
    frames = connection.execute("SELECT at_ms - ?, is_key FROM frames ORDER BY id", (START_MS,)).fetchall()
    assert frames == [(0, 1), (950, 0), (1_150, 0)]
    recorder.picture(picture(START_MS + 70_000))
    recorder.flush()
    assert connection.execute("SELECT is_key FROM frames ORDER BY id DESC LIMIT 1").fetchone() == (1,)
    recorder.close()


def test_events_and_acts_are_there_once_however_often_they_are_told(tmp_path: Path) -> None:
    path = str(tmp_path / "r.db")
    told = [event(START_MS + 10, number=1, to=3), event(START_MS + 30, "isr_shrunk", 2)]
    for _ in range(2):
        # Another console opens, and its supervisor tells the past again.
        recorder = recorded(Path(path), picture(START_MS + 50))
        recorder.events(told)
        recorder.command(Command(1, START_MS + 20, "kill broker 2", "kill -9 4711", "…", False))
        recorder.command(Command(1, START_MS + 20, "kill broker 2", "kill -9 4711", "broker 2 killed", False))
        recorder.close()
        assert recorder.problem == ""
    record = Record(path)
    assert record.events_until(START_MS + 30) == told and record.events_until(START_MS + 29) == told[:1]
    # Whichever way one goes, and of however few at a time.
    more = [event(START_MS + at * 100, number=at + 2) for at in range(1, 40)]
    recorder = recorded(Path(path), picture(START_MS + 50))
    recorder.events(more)
    recorder.close()
    whole = [*told, *more]
    for at in (45, 41, 3, 20, 21, 2, 19, 40, 0):
        at_ms = START_MS + at * 100
        past, found = [each for each in whole if each.at_ms <= at_ms], record.events_until(at_ms, 10)
        assert found == past[len(past) - len(found) :] and min(len(past), 5) <= len(found) <= 10
    assert (record.event_after(START_MS + 10), record.event_before(START_MS + 30)) == (START_MS + 30, START_MS + 10)
    assert [each.outcome for each in record.commands_until(START_MS + 25)] == ["broker 2 killed"]
    assert [(each.cell, each.kind) for each in record.marks(START_MS, START_MS + 99, 11)] == [
        (1, "leader_changed"),
        (3, "isr_shrunk"),
    ]


def test_answers_are_kept_when_they_change(tmp_path: Path) -> None:
    clock = [START_MS]
    recorder = Recorder(str(tmp_path / "r.db"), now_ms=lambda: clock[0])
    recorder.start()
    for step, retention in enumerate(("1", "1", "2")):
        clock[0] = START_MS + step * 1_000
        recorder.document("topic_configs", "orders", [ConfigValue("retention.ms", retention, "X")], list[ConfigValue])
    recorder.close()
    record = Record(str(tmp_path / "r.db"))

    def retention_at(at_ms: int) -> str:
        return record.document_at("topic_configs", "orders", at_ms, list[ConfigValue])[0].value

    assert record.document_at("topic_configs", "orders", START_MS - 1, list[ConfigValue]) is None
    assert (retention_at(START_MS + 1_999), retention_at(START_MS + 2_000)) == ("1", "2")
    assert sqlite3.connect(tmp_path / "r.db").execute("SELECT count(*) FROM documents").fetchone() == (2,)


def test_a_record_outlives_fields_that_come_and_go() -> None:
    class Then(NamedTuple):
        gone: int
        name: str
        places: tuple[ReplicaState, ...]

    @dataclasses.dataclass
    class Now:
        name: str
        added: int = 7
        needed: str | None = dataclasses.field(kw_only=True)
        places: tuple[ReplicaState, ...] = ()

    then = Then(1, "a", (ReplicaState(2, 5, None, True, 0),))
    schema = {**schema_of(Then), "Now": list(Then._fields)}
    tree = encoder(Then)(then)  # type: ignore[misc]
    # Types of a function cannot be looked up by their names.
    Now.__annotations__ = {"name": str, "added": int, "needed": str | None, "places": tuple[ReplicaState, ...]}
    assert Decoder(schema).decode(Now, tree) == Now("a", 7, needed=None, places=then.places)


def test_the_record_keeps_to_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_PAGES_BACK", 12)
    pictures = [picture(START_MS + at * 61_000, partitions=300) for at in range(30)]
    recorder = recorded(tmp_path / "r.db", *pictures)
    recorder.events([event(each.at_ms, number=at) for at, each in enumerate(pictures)])
    recorder.close()
    connection = open_to_write(str(tmp_path / "r.db"))
    now_ms = pictures[-1].at_ms
    trim(connection, now_ms, Limits(hours=10 / 60))
    record = Record(str(tmp_path / "r.db"))
    first, last = record.range() or (0, 0)
    # What the first picture within the bound is told from stays.
    assert last == now_ms and now_ms - 660_000 <= first <= now_ms - 600_000
    assert record.event_before(first) is None
    before = used_bytes(connection)
    limit = (before - 8_192) / (1 << 20)
    trim(connection, now_ms, Limits(mebibytes=limit))
    assert used_bytes(connection) <= limit * (1 << 20) and record.picture_at(now_ms) is not None
    assert first < (record.range() or (0, 0))[0] < now_ms
    # Who goes on with it looks at its bounds, too.
    recorded(tmp_path / "r.db", picture(now_ms + 90_000_000)).close()
    assert (record.range() or (0, 0))[0] == now_ms
    # Pages that it needs no more go back to the file system.
    assert connection.execute("PRAGMA freelist_count").fetchone()[0] <= 24


def test_what_was_recorded_survives_a_kill_of_the_console(tmp_path: Path) -> None:
    path = str(tmp_path / "r.db")
    child = os.fork()
    if not child:
        try:
            recorded(Path(path), picture(START_MS), picture(START_MS + 1_000))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = Record(path).picture_at(START_MS + 1_000)
    assert found is not None and found.snapshot == picture(START_MS + 1_000)
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    # And the next console goes on with it.
    recorded(Path(path), picture(START_MS + 2_000)).close()
    assert Record(path).range() == (START_MS, START_MS + 2_000)


def test_a_full_disk_is_said_and_recording_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_to_write
    most: list[int] = []

    def small(path: str) -> sqlite3.Connection:
        connection = real(path)
        most.append(connection.execute("PRAGMA page_count").fetchone()[0] + 3)
        connection.execute(f"PRAGMA max_page_count = {most[0]}")
        return connection

    monkeypatch.setattr(recorder_module, "_RETRY_S", 0.0)
    monkeypatch.setattr(recorder_module, "open_to_write", small)
    recorder = recorded(tmp_path / "r.db", picture(START_MS))
    assert recorder.problem == ""
    for step in range(1, 30):
        recorder.picture(picture(START_MS + step * 1_000, partitions=100 + 50 * step))
        recorder.flush()
    assert recorder.problem == f"nothing is recorded: no space left for {tmp_path / 'r.db'}"
    monkeypatch.setattr(recorder_module, "open_to_write", real)
    recorder.picture(picture(START_MS + 30_000, 3, (3, 1)))
    recorder.flush()
    assert recorder.problem == ""
    recorder.close()
    found = Record(str(tmp_path / "r.db")).picture_at(START_MS + 30_000)
    assert found is not None and found.snapshot == picture(START_MS + 30_000, 3, (3, 1))


def test_what_is_no_record_is_refused_and_a_damaged_one_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with pytest.raises(NoRecord, match="there is no record"):
        Record(str(path))
    path.write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(RecordError, match="no record of kconsole"):
        Record(str(path))
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.commit()
    with pytest.raises(RecordError, match="a database of something else"):
        Record(str(other))
    with pytest.raises(RecordError, match="a database of something else"):
        Recorder(str(other)).start()
    recorder = recorded(path, picture(START_MS))
    assert "it is " + str(path) + ".damaged now" in recorder.remark
    with pytest.raises(RecordError, match="another console records"):
        Recorder(str(path)).start()
    recorder.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE frames SET data = x'00'")
    connection.commit()
    with pytest.raises(RecordError, match="damaged at frame 1"):
        Record(str(path)).picture_at(START_MS)
    connection.execute("PRAGMA user_version = 9")
    with pytest.raises(RecordError, match="has format 9"):
        Record(str(path))


def test_frames_that_do_not_belong_together_are_told() -> None:
    writer = FrameWriter()
    writer.key_frame(picture(START_MS))
    difference = writer.difference(picture(START_MS + 1_000))
    with pytest.raises(FrameError, match="a picture that is not there"):
        FrameReader().take(difference)
    with pytest.raises(FrameError):
        FrameReader().take(b"\x00")


def test_what_happened_since_the_picture_is_in_it() -> None:
    before = picture(START_MS)
    detail = {"topic": "orders", "partition": 0}
    events = [
        ClusterEvent(1, START_MS + 10, "process_killed", "broker 2", "SIGKILL", "supervisor"),
        ClusterEvent(2, START_MS + 90, "leader_changed", "orders-0", "", "b", {**detail, "to": 3, "leader_epoch": 5}),
        ClusterEvent(3, START_MS + 90, "isr_shrunk", "orders-0", "", "b", {**detail, "to": [3, 1]}),
        # As it was observed of an attached cluster.
        ClusterEvent(4, START_MS + 95, "leader_changed", "orders-1", "", "observed", {"to": 3, "epoch": 6}),
    ]
    after = folded(before, events)
    first, second, third = after.topics[0].partitions
    assert (first.leader, first.leader_epoch, first.isr) == (3, 5, (3, 1))
    assert [each.in_sync for each in first.replica_states] == [False, True, True]
    assert (second.leader, second.leader_epoch) == (3, 6) and third is before.topics[0].partitions[2]
    assert after.brokers[0].process is not None and after.brokers[0].process.state is ProcessState.KILLED
    assert not after.brokers[0].reachable and after.at_ms == START_MS + 95
    assert folded(before, [event(START_MS, "group_stable")]) is before


def test_a_picture_that_knows_more_than_an_event_stays_and_one_that_knows_less_does_not() -> None:
    late = picture(START_MS).with_facts(at_ms=START_MS + 100)
    elected = event(START_MS + 50, topic="orders", partition=0, to=3, leader_epoch=5)
    killed = ClusterEvent(2, START_MS + 50, "process_killed", "broker 2", "SIGKILL", "supervisor")
    # Its processes are of START_MS + 100, its leaders as they were before.
    seen = folded(late, [elected, killed])
    assert seen.topics[0].partitions[0].leader == 3 and seen.brokers == late.brokers
    assert since_ms(late) < START_MS
    before = event(START_MS - 500, topic="orders", partition=0, to=1, leader_epoch=3)
    shrunk = event(START_MS - 500, "isr_shrunk", topic="orders", partition=0, to=[1])
    assert folded(late, [before, shrunk]).topics == late.topics


def test_a_bundle_has_its_stretch_and_no_secrets(tmp_path: Path) -> None:
    source, target = tmp_path / "r.db", tmp_path / "incident.kbundle"
    times = [START_MS + at * 30_000 for at in range(8)]
    recorder = recorded(source, *[picture(each, 3 if at > 4 else 2) for at, each in enumerate(times)])
    recorder.events([event(each, number=at, sasl_password="hunter2") for at, each in enumerate(times)])
    command = "kafka-configs.sh --alter --add-config 'SCRAM-SHA-256=[password=hunter2]' --entity-name alice"
    recorder.command(Command(1, times[4], "alter", command, "done", False))
    configs = [ConfigValue("ssl.keystore.password", "hunter2", "X"), ConfigValue("retention.ms", "5", "X")]
    recorder.document("topic_configs", "orders", configs, list[ConfigValue])
    recorder.flush()
    extras = Extras(
        {"broker 2": ["started", 'sasl.jaas.config = org.x required username="a" password="hunter2";']},
        {"cluster.yaml": "listeners: http://bob:hunter2@127.0.0.1/\nssl.key.password: 'hunter2'\nport: 9092"},
    )
    done = write_bundle(str(source), str(target), times[3], times[7], extras, times[7])
    # It begins with the whole picture before.
    assert (done.first_ms, done.last_ms, done.pictures, done.events, done.commands) == (times[3], times[7], 6, 6, 1)
    assert oct(target.stat().st_mode)[-3:] == "600" and sorted(each.name for each in tmp_path.iterdir()) == [
        "incident.kbundle",
        "r.db",
        "r.db-shm",
        "r.db-wal",
        "r.db.lock",
    ]
    recorder.close()
    bundle, record = Record(str(target)), Record(str(source))
    for at_ms in (times[4], times[5]):
        ours, theirs = bundle.picture_at(at_ms), record.picture_at(at_ms)
        assert ours == theirs and ours is not None
    assert bundle.picture_at(times[4]) == (picture(times[4], 2), times[4])
    assert bundle.range() == (times[2], times[7])
    assert [each.detail for each in bundle.events_until(times[7])] == [{"sasl_password": "(redacted)"}] * 6
    assert bundle.commands_until(times[7])[0].command == command.replace("hunter2", "(redacted)")
    found = bundle.document_at("topic_configs", "orders", times[7], list[ConfigValue])
    assert [each.value for each in found] == ["(redacted)", "5"]
    assert bundle.document_at("log", "broker 2", times[7], list[str]) == ["started", "sasl.jaas.config = (redacted)"]
    assert bundle.document_at("file", "cluster.yaml", times[7], list[str]) == [
        "listeners: http://bob:(redacted)@127.0.0.1/\nssl.key.password: (redacted)\nport: 9092"
    ]
    with pytest.raises(RecordError, match="exists already"):
        write_bundle(str(source), str(target), times[3], times[6], extras, times[7])
    with pytest.raises(RecordError, match="nothing was recorded in that time"):
        write_bundle(str(source), str(tmp_path / "none"), 1, 2, extras, times[7])
    # Where nobody may write, it can be read all the same.
    tmp_path.chmod(0o500)
    try:
        assert Record(str(target)).picture_at(times[4]) is not None
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password=abc next", "password=(redacted) next"),
        ('"ssl.truststore.password": "a b\\"c", "x": 1', '"ssl.truststore.password": (redacted), "x": 1'),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer (redacted)"),
        ("delegation.token.secret.key=k, z=1", "delegation.token.secret.key=(redacted), z=1"),
        ("the password was wrong", "the password was wrong"),
        ("max.message.bytes=5", "max.message.bytes=5"),
        ("http://h:9092/a", "http://h:9092/a"),
    ],
)
def test_secrets_are_taken_out_of_texts_and_the_rest_stays(text: str, left: str) -> None:
    assert without_secrets(text) == left
