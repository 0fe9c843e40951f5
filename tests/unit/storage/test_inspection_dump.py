"""What can be seen of a log's files: tails that are not complete, flipped bits, ranges of offsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from storage_harness import append, open_log, records

from console.cli import main
from engine.record.batch import HEADER_BYTES
from engine.record.compression import Compression
from engine.world.real import RealDisk


def make_partition(tmp_path: Path, batches: int = 20) -> Path:
    directory = tmp_path / "orders-0"
    log = open_log(RealDisk(), directory=str(directory), index_interval_bytes=200)
    for number in range(batches):
        append(log, records(count=3, compression=Compression(number % 5)))
    log.close()
    return directory


def dump(*arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
    done = CliRunner().invoke(main, ["storage", "dump-log", *arguments, "--json"])
    assert done.exit_code == exit_code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(entries: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in entries if each["kind"] == kind]


def test_records_are_counted_by_header_and_unpacked(tmp_path: Path) -> None:
    segment = str(make_partition(tmp_path) / f"{0:020d}.log")
    for options in ((), ("--deep",), ("--records",)):
        entries = dump(segment, *options)
        (summary,) = of_kind(entries, "summary")
        assert (summary["batches"], summary["records"], summary["problems"]) == (20, 60, 0)
        assert len(of_kind(entries, "record")) == (60 if options else 0)


def test_a_range_of_offsets_begins_and_ends_at_its_records(tmp_path: Path) -> None:
    segment = str(make_partition(tmp_path) / f"{0:020d}.log")
    entries = dump(segment, "--deep", "--from-offset", "31", "--to-offset", "40")
    assert [each["offset"] for each in of_kind(entries, "record")] == list(range(31, 41))
    entries = dump(segment, "--deep", "--from-offset", "31", "--max-records", "4")
    assert [each["offset"] for each in of_kind(entries, "record")] == [31, 32, 33, 34]
    # An index that leads nowhere costs time only.
    index = tmp_path / "orders-0" / f"{0:020d}.index"
    index.write_bytes(b"".join(entry[:4] + b"\x00\x00\x00\x05" for entry in _entries(index.read_bytes())))
    entries = dump(segment, "--deep", "--from-offset", "31", "--max-records", "4")
    assert [each["offset"] for each in of_kind(entries, "record")] == [31, 32, 33, 34]


def _entries(data: bytes) -> list[bytes]:
    return [data[at : at + 8] for at in range(0, len(data), 8)]


def test_the_end_of_a_segment_that_is_written_to_is_no_error(tmp_path: Path) -> None:
    path = make_partition(tmp_path) / f"{0:020d}.log"
    whole = path.read_bytes()
    for tail in (whole[:40], whole[:80], bytes(5000)):
        path.write_bytes(whole + tail)
        entries = dump(str(path))
        (found,) = of_kind(entries, "tail")
        assert (found["position"], found["bytes"]) == (len(whole), len(tail))
        assert found["problem"].startswith("the tail is not complete")
        assert of_kind(entries, "summary")[0]["records"] == 60


def test_flipped_bits_are_found_where_they_are(tmp_path: Path) -> None:
    path = make_partition(tmp_path) / f"{0:020d}.log"
    batch = of_kind(dump(str(path)), "batch")[7]
    whole = path.read_bytes()
    for at in (17, 22, HEADER_BYTES + 3):
        bad = bytearray(whole)
        bad[batch["position"] + at] ^= 0x10
        path.write_bytes(bad)
        entries = dump(str(path), exit_code=1)
        assert of_kind(entries, "corrupt")[0]["position"] == batch["position"], at
        assert [each["isvalid"] for each in of_kind(entries, "batch")].count(False) == 1
    # The length and the magic are outside the checksum: from there on nobody knows where batches begin.
    for at, bit in ((8, 0x80), (8, 0x10), (11, 0x01), (16, 0x80)):
        bad = bytearray(whole)
        bad[batch["position"] + at] ^= bit
        path.write_bytes(bad)
        assert of_kind(dump(str(path), exit_code=1), "corrupt")[0]["position"] == batch["position"], (at, bit)
