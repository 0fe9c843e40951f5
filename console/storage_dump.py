"""``kconsole storage dump-log`` and ``dump-metadata``: what is in the files of a log directory, of Kafka's or ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import click

FAILED, USAGE = 1, 2

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_DECODERS = ("offsets", "transaction-log", "share-group-state", "cluster-metadata", "none")


@click.command(
    "dump-log",
    epilog="""\b
Examples:
  kconsole storage dump-log ~/k/broker-1/data/orders-0
  kconsole storage dump-log ~/k/broker-1/data/orders-0 --records --from-offset 500 --max-records 10
  kconsole storage dump-log ~/k/broker-1/data/__consumer_offsets-7 --offsets-decoder
  kconsole storage dump-log ~/k/broker-1/data/orders-0/*.index --json

\b
Exit codes: 0 everything reads, 1 something is corrupt, 2 wrong use.""",
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path())
@click.option("--records", "--print-data-log", "payloads", is_flag=True, help="Every record with key and value.")
@click.option("--deep", "--deep-iteration", "deep", is_flag=True, help="Unpack batches: each record, counted exactly.")
@click.option("--offsets-decoder", "decoder", flag_value="offsets", help="Records of __consumer_offsets (its default).")
@click.option("--transaction-log-decoder", "decoder", flag_value="transaction-log", help="Of __transaction_state.")
@click.option("--decoder", "decoder", type=click.Choice(_DECODERS), help="Default: by the topic's name.")
@click.option("--from-offset", type=click.IntRange(min=0), help="From the batch with this offset on (by the index).")
@click.option("--to-offset", type=click.IntRange(min=0), help="Up to the batch with this offset.")
@click.option("--max-records", type=click.IntRange(min=1), help="Per file: records, or batches without --deep.")
@_JSON
def dump_log(
    paths: tuple[str, ...],
    payloads: bool,
    deep: bool,
    decoder: str | None,
    from_offset: int | None,
    to_offset: int | None,
    max_records: int | None,
    as_json: bool,
) -> None:
    """Show what is in the files of logs, as kafka-dump-log.sh does.

    PATH is a .log, .index, .timeindex, .txnindex, .snapshot or .checkpoint file, a checkpoint, a partition's directory
    or a log directory. Nothing is changed, and a broker may be running: of a segment that it writes to, the end can be
    incomplete, which is said and is no error.
    """
    from engine.storage.inspection.dump import Wanted, files_in
    from engine.storage.inspection.payloads import Decoder

    chosen = None if decoder is None else Decoder(decoder)
    wanted = Wanted(
        deep, payloads or decoder not in (None, "none"), chosen, from_offset, to_offset, max_records, headers=True
    )
    _dump(paths, wanted, as_json, files_in)


@click.command(
    "dump-metadata",
    epilog="""\b
Examples:
  kconsole storage dump-metadata ~/k/broker-1/data
  kconsole storage dump-metadata ~/k/broker-1/data/__cluster_metadata-0 --from-offset 100 --json
  kconsole storage dump-metadata 00000000000000000500-0000000003.checkpoint

\b
Exit codes: 0 everything reads, 1 something is corrupt, 2 wrong use.""",
)
@click.argument("path", metavar="DIR|FILE", type=click.Path())
@click.option("--batches", is_flag=True, help="Also the headers of the record batches.")
@click.option("--from-offset", type=click.IntRange(min=0), help="From this offset on.")
@click.option("--to-offset", type=click.IntRange(min=0), help="Up to this offset.")
@click.option("--max-records", type=click.IntRange(min=1), help="Per file.")
@_JSON
def dump_metadata(
    path: str,
    batches: bool,
    from_offset: int | None,
    to_offset: int | None,
    max_records: int | None,
    as_json: bool,
) -> None:
    """Show a node's metadata: the log of the quorum, its snapshots, and who voted for whom.

    DIR is a log directory or its __cluster_metadata-0; FILE a segment or a .checkpoint snapshot. Each record with its
    type, version and fields, control records too.
    """
    from engine.storage.inspection.dump import Wanted
    from engine.storage.inspection.payloads import Decoder

    wanted = Wanted(True, True, Decoder.METADATA, from_offset, to_offset, max_records, headers=batches)
    _dump((path,), wanted, as_json, _metadata_files)


def _metadata_files(disk: Any, path: str) -> list[str]:
    from engine.storage.inspection.dump import NotInspectable, files_in
    from engine.storage.log_directory import METADATA_DIRECTORY

    if not disk.is_dir(path):
        return files_in(disk, path)
    path = path.rstrip("/")
    directory, above = path, f"{path}/.."
    if os.path.basename(os.path.abspath(path)) != METADATA_DIRECTORY:
        directory, above = f"{path}/{METADATA_DIRECTORY}", path
    if not disk.is_dir(directory):
        raise NotInspectable(f"{path} has no {METADATA_DIRECTORY}: name a log directory of a broker or controller")
    found = [os.path.normpath(f"{above}/{name}") for name in ("meta.properties", "bootstrap.checkpoint")]
    shown = (".checkpoint", ".log", "quorum-state")
    found += [f"{directory}/{name}" for name in disk.list_dir(directory) if name.endswith(shown)]
    return [each for each in found if disk.exists(each)]


def _dump(paths: Iterable[str], wanted: Any, as_json: bool, files_of: Callable[[Any, str], list[str]]) -> None:
    from engine.storage.inspection.dump import NotInspectable, dump_file
    from engine.world.real import real_world

    disk = real_world().disk
    failed = False
    show = _json_line if as_json else text_line
    try:
        for path in [file for each in paths for file in files_of(disk, each)]:
            for entry in dump_file(disk, path, wanted):
                failed = failed or entry["kind"] == "corrupt" or ("problem" in entry and entry["kind"] != "tail")
                sys.stdout.write(show(entry) + "\n")
        sys.stdout.flush()
    except NotInspectable as error:
        _fail(str(error), USAGE)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        _fail(f"cannot read {error.filename}: {error.strerror}", FAILED)
    if failed:
        sys.exit(FAILED)


def _json_line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, separators=(",", ":"))


# -- as kafka-dump-log.sh prints it -----------------------------------------------------------------------------


def text_line(entry: dict[str, Any]) -> str:
    """One object as a line for people, in the form that kafka-dump-log.sh has."""
    return _LINES.get(entry["kind"], _pairs)(entry)


def _file(entry: dict[str, Any]) -> str:
    lines = f"Dumping {entry['file']}"
    if entry["type"] == "log":
        lines += f"\nLog starting offset: {entry['logStartingOffset']}"
    return lines


def _batch(entry: dict[str, Any]) -> str:
    words = [
        f"{name}: {_word(entry[name])}"
        for name in (
            *("baseOffset", "lastOffset", "count", "baseSequence", "lastSequence", "producerId", "producerEpoch"),
            *("partitionLeaderEpoch", "isTransactional", "isControl"),
        )
    ]
    words.append(f"deleteHorizonMs: {_optional(entry['deleteHorizonMs'])}")
    words.append(f"position: {entry['position']} {entry['timestampType']}: {entry['maxTimestamp']}")
    words += [f"{name}: {_word(entry[name])}" for name in ("size", "magic", "compresscodec", "crc", "isvalid")]
    return " ".join(words)


def _record(entry: dict[str, Any]) -> str:
    words = [
        f"| offset: {entry['offset']} {entry['timestampType']}: {entry['timestamp']} keySize: {entry['keySize']} "
        f"valueSize: {entry['valueSize']} sequence: {entry['sequence']}"
    ]
    if "headers" in entry:
        words.append(f"headerKeys: [{','.join(each['key'] for each in entry['headers'])}]")
    if "control" in entry:
        control = dict(entry["control"])
        words.append(f"{control.pop('type')}: {_compact(control)}")
    for name, label in (("key", "key"), ("value", "payload")):
        if f"{name}Base64" in entry:
            words.append(f"{label}: base64 {entry[f'{name}Base64']}")
        elif name in entry and (entry[name] is not None or name == "value"):
            value = entry[name]
            words.append(f"{label}: {_printable(value) if isinstance(value, str) else _compact(value)}")
    if "problem" in entry:
        words.append(f"! {entry['problem']}")
    return " ".join(words)


def _printable(value: str) -> str:
    # What a record says must neither move the cursor nor begin a line of its own.
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in value)


def _producer(entry: dict[str, Any]) -> str:
    line = (
        f"producerId: {entry['producerId']} producerEpoch: {entry['producerEpoch']} "
        f"coordinatorEpoch: {entry['coordinatorEpoch']} "
        f"currentTxnFirstOffset: {_optional(entry['currentTxnFirstOffset'])} lastTimestamp: {entry['timestamp']} "
    )
    if entry["lastSequence"] >= 0:
        # Otherwise it wrote nothing but ends of transactions here.
        names = ("firstSequence", "lastSequence", "lastOffset", "offsetDelta", "timestamp")
        line += " ".join(f"{name}: {entry[name]}" for name in names)
    return line


def _problem(entry: dict[str, Any]) -> str:
    return f"! {entry['file']}: byte {entry['position']}: {entry['problem']}"


def _summary(entry: dict[str, Any]) -> str:
    control = f" and {entry['controlRecords']} control records" if entry["controlRecords"] else ""
    bad = f", {entry['problems']} problems" if entry["problems"] else ""
    return f"{entry['batches']} batches, {entry['records']} records{control}, {entry['bytes']} bytes{bad}"


def _whole(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda entry: _compact(entry[name])


def _pairs(entry: dict[str, Any]) -> str:
    return " ".join(f"{name}: {_word(value)}" for name, value in entry.items() if name not in ("kind", "file"))


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "file": _file,
    "batch": _batch,
    "record": _record,
    "producer": _producer,
    "corrupt": _problem,
    "tail": _problem,
    "summary": _summary,
    "quorumState": _whole("state"),
    "cleanShutdown": _whole("state"),
    "metaProperties": _whole("properties"),
}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _optional(value: int | None) -> str:
    return "OptionalLong.empty" if value is None else f"OptionalLong[{value}]"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"kconsole: {sentence}", err=True)
    sys.exit(code)
