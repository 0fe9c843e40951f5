"""``kconsole storage dump-log`` and ``dump-metadata`` beside Apache Kafka's DumpLogSegments: line by line the same."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from engine.model.topic_partition import TopicPartition
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.wire.api_table import GROUP_COORDINATOR_RECORDS, METADATA_RECORDS
from engine.wire.apis import message_class
from engine.wire.record_frames import encode_coordinator_key, encode_coordinator_value, encode_metadata_record
from tests.integration.java_tools import kafka_tool
from tests.unit.storage.log_scenario import (
    NOW_MS,
    open_scenario_log,
    operations,
    perform,
)
from tests.unit.wire.random_messages import random_message

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DUMP = "org.apache.kafka.tools.DumpLogSegments"


def kconsole(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["storage", *arguments])
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done.stdout


def make_log(directory: Path) -> Path:
    """Idempotent producers, transactions of both outcomes, changes of leader, and all codecs; several segments."""
    log = open_scenario_log(directory, TopicPartition("orders", 0))
    for each in operations():
        perform(log, each)
    for codec in Compression:
        records = [
            NewRecord(None, None, timestamp=NOW_MS + 1000),
            NewRecord(b"key", b"value " * 20, timestamp=NOW_MS + 1001, headers=[("trace", b"1"), ("empty", None)]),
        ]
        log.append_as_leader(build_batch(records, compression=codec), 8, now_ms=NOW_MS + 1001)
    log.close()
    return directory / "orders-0"


def without_payloads(out: str) -> list[str]:
    """Lines as both print them: a payload of control characters is escaped by one and not by the other; control records
    are told in words by one."""
    lines = []
    for line in out.splitlines():
        line = re.sub(
            r"( headerKeys: \[[^]]*\])?( key: .*| payload: .*| endTxnMarker: .*| EndTxnMarker: .*)$", "", line
        )
        if line.startswith(("baseOffset", "|", "offset", "timestamp", "version", "producerId", "Log starting")):
            lines.append(re.sub(r" headerKeys: \[[^]]*\]$", "", line).rstrip())
    return lines


def test_every_line_of_a_log_is_the_one_that_kafka_prints(tmp_path: Path) -> None:
    partition = make_log(tmp_path)
    logs = sorted(partition.glob("*.log"))
    assert len(logs) >= 6
    theirs = kafka_tool(DUMP, "--files", ",".join(map(str, logs)), "--deep-iteration", "--print-data-log")
    ours = kconsole("dump-log", *map(str, logs), "--records")
    assert without_payloads(ours) == without_payloads(theirs)
    for codec in Compression:
        assert f"compresscodec: {codec.name.lower()} " in ours, codec
    for line in (
        "headerKeys: [trace,empty] key: key payload: " + "value " * 19 + "value",
        "isTransactional: true isControl: true",
    ):
        assert line in ours and line in theirs, line
    others = [each for suffix in ("index", "timeindex", "txnindex") for each in sorted(partition.glob(f"*.{suffix}"))]
    theirs = kafka_tool(DUMP, "--files", ",".join(map(str, others)))
    ours = kconsole("dump-log", *map(str, others))
    assert without_payloads(ours) == without_payloads(theirs) and "lastStableOffset: 53" in ours
    snapshots = sorted(partition.glob("*.snapshot"))
    theirs = kafka_tool(DUMP, "--files", ",".join(map(str, snapshots)))
    ours = kconsole("dump-log", *map(str, snapshots))
    # Kafka's order is that of a hash map.
    assert sorted(without_payloads(ours)) == sorted(without_payloads(theirs)) and "OptionalLong[57]" in ours


def write_segment(directory: Path, batches: list[bytes]) -> str:
    directory.mkdir()
    path = directory / f"{0:020d}.log"
    path.write_bytes(b"".join(batches))
    return str(path)


def test_every_metadata_record_reads_as_it_does_for_kafka(tmp_path: Path) -> None:
    rng = random.Random(20)
    values = []
    for name in METADATA_RECORDS.values():
        kind = message_class(name)
        for version in range(kind.MIN_VERSION, kind.MAX_VERSION + 1):
            for sparse in (False, True):
                values.append(encode_metadata_record(random_message(kind, version, rng, sparse=sparse), version))
    path = write_segment(
        tmp_path / "__cluster_metadata-0", [build_batch([NewRecord(None, each, timestamp=NOW_MS) for each in values])]
    )
    theirs = kafka_tool(DUMP, "--files", path, "--cluster-metadata-decoder")
    expected = [json.loads(each) for each in re.findall(r" payload: (\{.*\})$", theirs, re.MULTILINE)]
    ours = [json.loads(line) for line in kconsole("dump-metadata", path, "--json").splitlines()]
    found = [each["value"] for each in ours if each["kind"] == "record"]
    assert len(found) == len(expected) == len(values) > 60
    for mine, other in zip(found, expected, strict=True):
        assert mine == other


def test_every_group_record_reads_as_it_does_for_kafka(tmp_path: Path) -> None:
    rng = random.Random(20)
    records = []
    for names in GROUP_COORDINATOR_RECORDS.values():
        key_kind, value_kind = map(message_class, names)
        for version in range(value_kind.MIN_VERSION, value_kind.MAX_VERSION + 1):
            key = encode_coordinator_key(random_message(key_kind, 0, rng))
            value = encode_coordinator_value(random_message(value_kind, version, rng), version)
            records += [NewRecord(key, value, timestamp=NOW_MS), NewRecord(key, None, timestamp=NOW_MS)]
    path = write_segment(tmp_path / "__consumer_offsets-3", [build_batch(records)])
    theirs = kafka_tool(DUMP, "--files", path, "--offsets-decoder")
    expected = re.findall(r" key: (\{.*?\}) payload: (.*)$", theirs, re.MULTILINE)
    ours = [json.loads(line) for line in kconsole("dump-log", path, "--offsets-decoder", "--json").splitlines()]
    found = [each for each in ours if each["kind"] == "record"]
    assert len(found) == len(expected) == len(records) > 40
    for mine, (key, value) in zip(found, expected, strict=True):
        assert mine["key"] == json.loads(key)
        assert mine["value"] == (None if value in ("<DELETE>", "null") else json.loads(value))
