"""HTTP as a sink: records go to an address, several in a request, with a key by which the other side knows repeats."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import groupby
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, between, one_of
from engine.connect.connector import Props, SinkConnector, SinkTask, TopicPartition
from engine.connect.connectors.http_client import (
    RETRIED,
    Backoff,
    HttpClient,
    Response,
    Stopped,
    Unreachable,
    common_configs,
)
from engine.connect.data import Struct
from engine.connect.errors import ConfigError, ConnectError, DataError, RetriableError
from engine.connect.records import SinkRecord

log = logging.getLogger(__name__)

_OF_RECORDS = frozenset({400, 409, 413, 415, 422})
"""Statuses that may be a record's fault; other refusals are about the address or who asks, and end the task."""

_CONFIG = (
    common_configs()
    .define(
        "method",
        ConfigType.STRING,
        "POST",
        Importance.MEDIUM,
        "The request's method",
        validator=one_of("POST", "PUT", "PATCH"),
        group="HTTP",
    )
    .define(
        "body.format",
        ConfigType.STRING,
        "json-array",
        Importance.HIGH,
        "json-array: values as one JSON array. json-lines: each on its line. single: one request for each record; "
        "texts and bytes go as they are, all else as JSON",
        validator=one_of("json-array", "json-lines", "single"),
        group="Records",
    )
    .define(
        "content.type",
        ConfigType.STRING,
        "",
        Importance.LOW,
        "The header Content-Type; empty: what fits body.format",
        group="Records",
    )
    .define(
        "batch.max.records",
        ConfigType.INT,
        500,
        Importance.MEDIUM,
        "The most records in a request",
        validator=between(1),
        group="Records",
    )
    .define(
        "batch.max.bytes",
        ConfigType.INT,
        1 << 20,
        Importance.MEDIUM,
        "A request's body has no more bytes, unless one record alone has",
        validator=between(1),
        group="Records",
    )
    .define(
        "values.are.json",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "Texts (StringConverter) and bytes (ByteArrayConverter) are JSON already, and go as they are",
        group="Records",
    )
    .define(
        "null.values",
        ConfigType.STRING,
        "ignore",
        Importance.MEDIUM,
        "What becomes of records without a value: ignore, send (null), or fail",
        validator=one_of("ignore", "send", "fail"),
        group="Records",
    )
    .define(
        "idempotency.header",
        ConfigType.STRING,
        "Idempotency-Key",
        Importance.MEDIUM,
        "The header that says which records a request has: TOPIC-PARTITION-OFFSET, or …-FIRST-LAST offset of several. "
        "Empty: none",
        group="Records",
    )
)


class HttpSinkConnector(SinkConnector):
    """Each task sends the records of its partitions, in their order."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        _CONFIG.parse(props)

    def stop(self) -> None:
        pass

    @classmethod
    def task_class(cls) -> type[HttpSinkTask]:
        return HttpSinkTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props] * max_tasks

    @classmethod
    def config(cls) -> ConfigDef:
        return _CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        try:
            configs = _CONFIG.parse(props)
        except ConfigError:
            return {}  # told by the definitions
        try:
            HttpClient(configs).close()
        except ConfigError as error:
            return {error.name: [str(error)]}
        return {}

    def alter_offsets(self, props: Props, offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True


class HttpSinkTask(SinkTask):
    """Everything is sent in ``put``: what returns was taken by the other side, or reported."""

    def start(self, props: Props) -> None:
        self._configs = _CONFIG.parse(props)
        self._single = self._configs["body.format"] == "single"
        self._most = 1 if self._single else self._configs["batch.max.records"]
        self._header: str = self._configs["idempotency.header"]
        self._backoff = Backoff(self._configs)
        # Records of a put that failed come again, and some of them were taken.
        self._sent: dict[TopicPartition, int] = {}
        self._reported: set[tuple[TopicPartition, int]] = set()
        self._client = HttpClient(self._configs)

    def close(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            self._sent.pop(each, None)

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        self.close(partitions)

    def put(self, records: Sequence[SinkRecord]) -> None:
        by_partition = sorted(records, key=_partition)  # stable: offsets stay in order
        for partition, group in groupby(by_partition, key=_partition):
            for batch in self._batches(partition, group):
                self._send(partition, batch)
        # These are all through; what comes again now was asked for.
        self._sent.clear()
        self._reported.clear()

    def _batches(
        self, partition: TopicPartition, records: Iterator[SinkRecord]
    ) -> Iterator[list[tuple[SinkRecord, bytes]]]:
        batch: list[tuple[SinkRecord, bytes]] = []
        size, most_bytes = 0, self._configs["batch.max.bytes"]
        for record in records:
            if record.original_offset < self._sent.get(partition, 0):
                continue
            if record.value is None and self._configs["null.values"] != "send":
                if self._configs["null.values"] == "fail":
                    self._report(record, DataError(f"{partition} at offset {record.original_offset} has no value"))
                continue
            try:
                body = self._encoded(record.value)
            except (DataError, ValueError, TypeError, RecursionError) as error:
                self._report(record, error)
                continue
            if batch and (len(batch) == self._most or size + len(body) + 1 > most_bytes):
                yield batch
                batch, size = [], 0
            batch.append((record, body))
            size += len(body) + 1
        if batch:
            yield batch

    def _encoded(self, value: Any) -> bytes:
        if isinstance(value, str) and (self._single or self._configs["values.are.json"]):
            encoded = value.encode()
        elif isinstance(value, (bytes, bytearray, memoryview)) and (self._single or self._configs["values.are.json"]):
            encoded = bytes(value)
        else:
            return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        if not self._single:
            # One that is no JSON would spoil the whole request; a line break would be the end of a JSON line.
            # It is sent as it is otherwise: no digit of a number is lost on the way through Python.
            text = encoded.decode(json.detect_encoding(encoded))
            json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number)
            encoded = text.replace("\n", " ").replace("\r", " ").strip().encode()
        return encoded

    def _send(self, partition: TopicPartition, batch: list[tuple[SinkRecord, bytes]]) -> None:
        response = self._request(partition, batch)
        if 200 <= response.status < 300:
            self._backoff.succeeded()
            self._sent[partition] = batch[-1][0].original_offset + 1
            return
        refusal = f"{self._shown()} answered {response.status}{response.excerpt()}"
        if response.status in RETRIED:
            self._again(refusal, response)
        if response.status not in _OF_RECORDS:
            raise ConnectError(refusal)
        if len(batch) > 1:
            # Nothing of it was taken, and one record may be to blame.
            middle = len(batch) // 2
            self._send(partition, batch[:middle])
            self._send(partition, batch[middle:])
            return
        record = batch[0][0]
        self._report(record, ConnectError(refusal))
        self._sent[partition] = record.original_offset + 1

    def _request(self, partition: TopicPartition, batch: list[tuple[SinkRecord, bytes]]) -> Response:
        bodies = [body for _, body in batch]
        kind = "application/json"
        match self._configs["body.format"]:
            case "json-array":
                body = b"[" + b",".join(bodies) + b"]"
            case "json-lines":
                body, kind = b"\n".join(bodies) + b"\n", "application/x-ndjson"
            case _:
                body = bodies[0]
                value = batch[0][0].value
                if not self._configs["values.are.json"] and isinstance(value, (str, bytes, bytearray, memoryview)):
                    kind = "text/plain; charset=utf-8" if isinstance(value, str) else "application/octet-stream"
        headers = {"Content-Type": self._configs["content.type"] or kind}
        if self._header:
            first, last = batch[0][0].original_offset, batch[-1][0].original_offset
            offsets = str(first) if first == last else f"{first}-{last}"
            headers[self._header] = f"{partition.topic}-{partition.partition}-{offsets}"
        try:
            return self._client.request(self._configs["method"], self._configs["url"], headers, body)
        except Unreachable as error:
            self._again(str(error), None, error)
            raise AssertionError from error
        except Stopped as error:
            raise RetriableError("The task stops") from error

    def _again(self, why: str, response: Response | None, cause: Exception | None = None) -> None:
        wait_s = self._backoff.failed(why, response)
        self.context.timeout_ms(max(1, int(wait_s * 1000)))
        raise RetriableError(why) from cause

    def _shown(self) -> str:
        return f"{self._configs['method']} {self._configs['url'].partition('?')[0]}"

    def _report(self, record: SinkRecord, error: Exception) -> None:
        at = (_partition(record), record.original_offset)
        if at in self._reported:
            return
        reporter = self.context.errant_record_reporter()
        if reporter is None:
            raise error if isinstance(error, ConnectError) else DataError(str(error))
        reporter.report(record, error)
        self._reported.add(at)

    def stop(self) -> None:
        client = getattr(self, "_client", None)
        if client is not None:
            client.close()


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _partition(record: SinkRecord) -> TopicPartition:
    return TopicPartition(record.original_topic, record.original_partition)


def plain(value: Any) -> Any:
    """A value as JSON knows it: structs as objects, bytes in base 64, times in ISO 8601, decimals as texts."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Struct():
            return {name: plain(each) for name, each in value.items()}
        case dict():
            return {key if isinstance(key, str) else str(plain(key)): plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case _:
            raise DataError(f"{type(value).__name__} cannot be told as JSON")
