"""Bytes written by the Java classes of Apache Kafka 4.3.1 (tools/golden/GoldenMessages.java): ours must be the same.

Each line has a message's bytes and its values as Kafka's own JSON converter prints them.
"""

from __future__ import annotations

import base64
import gzip
import json
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.wire import codec
from engine.wire.api_table import APIS, RETIRED
from engine.wire.apis import message_class, request_class, response_class
from engine.wire.message import Message

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "messages-4.3.1.tsv.gz"
# By the same program (imports of Kafka 3.9.1), versions that Kafka 4 does not have.
RETIRED_GOLDEN = GOLDEN.with_name("messages-retired-3.9.1.tsv")


class Golden(NamedTuple):
    cls: type[Message]
    version: int
    variant: str
    data: bytes
    values: dict[str, Any]


def goldens() -> Iterator[Golden]:
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        for line in lines:
            name, version, variant, data, values = line.rstrip("\n").split("\t")
            # Java's request and response classes end in Data, and the jars have messages that are not Kafka's protocol.
            try:
                cls = message_class(
                    name.removesuffix("Data") if name.endswith(("RequestData", "ResponseData")) else name
                )
            except ModuleNotFoundError:
                try:
                    cls = message_class(name.removesuffix("Data"))
                except ModuleNotFoundError:
                    continue
            yield Golden(cls, int(version), variant, bytes.fromhex(data), json.loads(values))


ALL = list(goldens())


def snake(name: str) -> str:
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()
    return text + "_" if keyword.iskeyword(text) else text


def same(ours: Any, theirs: Any, where: str) -> None:
    """Compare a decoded value with Kafka's JSON of it."""
    if isinstance(ours, Message):
        for name, value in theirs.items():
            attribute = snake(name.removesuffix("SizeInBytes"))
            got = getattr(ours, attribute)
            if name.endswith("SizeInBytes") and isinstance(got, memoryview):
                assert len(got) == value, where
            else:
                same(got, value, f"{where}.{attribute}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            same(mine, other, f"{where}[{index}]")
    elif isinstance(ours, bytes):
        altchars = b"-_" if len(ours) == 16 and len(theirs) == 22 else b"+/"
        assert base64.b64encode(ours, altchars).decode().rstrip("=") == theirs.rstrip("="), where
    else:
        assert ours == theirs, where


def test_the_golden_file_has_every_message_in_every_version() -> None:
    have = {(each.cls.NAME, each.version) for each in ALL}
    wanted = set()
    for name, low, high, _, _, _ in APIS.values():
        for kind in ("Request", "Response"):
            cls = message_class(name + kind)
            wanted |= {(name + kind, version) for version in range(max(low, cls.MIN_VERSION), high + 1)}
    assert wanted <= have
    assert {"TopicRecord", "OffsetCommitKey", "TransactionLogValue", "QuorumStateData", "RequestHeader"} <= {
        name for name, _ in have
    }
    assert len(have) > 650


@pytest.mark.parametrize("variant", ["FULL", "EMPTY", "SMALL"])
def test_our_bytes_are_those_of_the_java_classes(variant: str) -> None:
    for golden in ALL:
        if golden.variant == variant:
            where = f"{golden.cls.NAME} v{golden.version}"
            message, end = codec.decode(golden.cls, golden.version, golden.data)
            assert end == len(golden.data), where
            same(message, golden.values, where)
            assert codec.encode(message, golden.version) == golden.data, where


def test_a_struct_is_read_from_the_middle_of_a_buffer() -> None:
    for golden in ALL[::7]:
        padded = b"\xff" * 5 + golden.data + b"\xff" * 3
        message, end = codec.decode(golden.cls, golden.version, padded, 5)
        assert end == len(golden.data) + 5
        assert codec.encode(message, golden.version) == golden.data


def test_versions_that_only_kafka_3_9_has_are_those_of_its_java_classes() -> None:
    seen = set()
    for line in RETIRED_GOLDEN.read_text().splitlines():
        name, number, _, text, values = line.split("\t")
        kind, version, data = name.removesuffix("Data"), int(number), bytes.fromhex(text)
        key = next(key for key, each in APIS.items() if kind in (each[0] + "Request", each[0] + "Response"))
        cls = request_class(key, version) if kind.endswith("Request") else response_class(key, version)
        message, end = codec.decode(cls, version, data)
        assert end == len(data), line
        same(message, json.loads(values), f"{kind} v{version}")
        assert codec.encode(message, version) == data, line
        seen.add((key, version))
    assert seen == {(key, version) for key, (low, high) in RETIRED.items() for version in range(low, high + 1)}
