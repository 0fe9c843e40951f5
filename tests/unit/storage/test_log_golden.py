"""What Apache Kafka's own log (4.3.1) answered and wrote, byte by byte. Made by make_golden_log.py."""

from __future__ import annotations

import os
from pathlib import Path

from log_scenario import (
    BROKER_EPOCH,
    LAST_TRUNCATED_SEGMENT,
    open_scenario_log,
    operations,
    perform,
)

from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import write_clean_shutdown, write_offsets
from engine.storage.log import Log
from engine.storage.producer_snapshot import decode
from engine.world.real import RealDisk

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "log-4.3.1.txt")
PARTITION = TopicPartition("golden", 0)


def open_log(directory: Path, *, clean_shutdown: bool = False, recovery_point: int = 0) -> Log:
    return open_scenario_log(directory, PARTITION, clean_shutdown=clean_shutdown, recovery_point=recovery_point)


def golden() -> tuple[list[str], dict[str, bytes]]:
    answers, files = [], {}
    with open(GOLDEN, encoding="ascii") as file:
        for line in file.read().splitlines():
            if line.startswith("file "):
                _, name, *content = line.split(" ")
                files[name] = bytes.fromhex(content[0] if content else "")
            else:
                answers.append(line)
    return answers, files


def play(directory: Path) -> tuple[Log, list[str]]:
    log = open_log(directory)
    return log, [perform(log, each) for each in operations()]


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix != ".deleted"
    }


def test_the_log_answers_as_kafkas_does(tmp_path: Path) -> None:
    _, answers = play(tmp_path)
    assert answers == golden()[0]


def test_the_files_are_those_that_kafka_writes(tmp_path: Path) -> None:
    log, _ = play(tmp_path)
    log.close()
    disk = RealDisk()
    write_offsets(disk, str(tmp_path / "recovery-point-offset-checkpoint"), {PARTITION: log.log_end_offset})
    write_clean_shutdown(disk, str(tmp_path), BROKER_EPOCH)
    ours = files_of(tmp_path / "golden-0") | files_of(tmp_path)
    theirs = golden()[1]
    # Where transactions ended and none was aborted we have an empty file, Kafka has none.
    assert sorted(name for name in ours if ours[name] or not name.endswith(".txnindex")) == sorted(theirs)
    # Kafka counts anew for the next index entry after it has cut a segment; we go on as if there had been no more.
    cut = f"{LAST_TRUNCATED_SEGMENT:020d}"
    for name, content in theirs.items():
        if name in (cut + ".index", cut + ".timeindex"):
            continue
        if name.endswith(".snapshot"):
            # Kafka's order is that of a hash map.
            assert sorted(decode(name, ours[name])) == sorted(decode(name, content)), name
        else:
            assert ours[name] == content, name


def test_a_directory_that_kafka_wrote_opens_here(tmp_path: Path) -> None:
    played, _ = play(tmp_path / "ours")
    theirs = tmp_path / "theirs" / "golden-0"
    theirs.mkdir(parents=True)
    for name, content in golden()[1].items():
        (theirs / name).write_bytes(content)
    for clean_shutdown in (True, False):
        log = open_log(
            tmp_path / "theirs", clean_shutdown=clean_shutdown, recovery_point=played.log_end_offset * clean_shutdown
        )
        log.set_high_watermark(log.log_end_offset)
        assert log.log_end_offset == played.log_end_offset
        assert log.last_stable_offset == played.last_stable_offset
        assert log.leader_epochs.entries == played.leader_epochs.entries
        assert log.aborted_transactions(0, 1000) == played.aborted_transactions(0, 1000)
        assert {
            key: (entry.producer_epoch, entry.last_sequence, entry.current_txn_first_offset)
            for key, entry in log.producers.entries.items()
        } == {
            key: (entry.producer_epoch, entry.last_sequence, entry.current_txn_first_offset)
            for key, entry in played.producers.entries.items()
        }
