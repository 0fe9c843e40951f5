"""Metadata that Apache Kafka wrote: what is known is kept, what is newer is refused before anything is written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest

from engine.broker.broker import Broker, LogDirsRefused
from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.batches import leader_change_batch, metadata_batch, snapshot_footer_batch
from engine.broker.quorum.snapshot_files import decode_snapshot, encode_snapshot, snapshot_file_name
from engine.core.controller.feature_control import BOOTSTRAP_FEATURES
from engine.core.controller.image import MetadataImage
from engine.core.raft.identity import OffsetAndEpoch
from engine.model.broker_config import BrokerConfig
from engine.record.batch import stamp
from engine.wire.messages.feature_level_record import FeatureLevelRecord
from engine.wire.record_frames import encode_metadata_record
from engine.world.real import real_world

META = "version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\nnode.id=1\ndirectory.id=VUTAUeeASJ6H8BISEM34yQ\n"
# Record type 29 does not exist in 4.3: frame version 1, type, version, an empty body with no tagged fields.
OF_THE_FUTURE = bytes((1, 29, 0, 0))


def config(directory: Path) -> BrokerConfig:
    return BrokerConfig.from_properties(
        {
            "node.id": "1",
            "process.roles": "broker,controller",
            "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
            "advertised.listeners": "PLAINTEXT://127.0.0.1:1",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.quorum.voters": "1@127.0.0.1:1",
            "log.dirs": str(directory),
        }
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "meta.properties").write_text(META)
    return tmp_path


def feature(name: str, level: int) -> bytes:
    return encode_metadata_record(FeatureLevelRecord(name=name, feature_level=level))


def write_log(directory: Path, *values: bytes) -> None:
    """A log of one epoch with these records."""
    world = real_world()
    metadata_log = MetadataLog.open(world.disk, world.clock, str(directory), config(directory))
    offset = 0
    for batch in (leader_change_batch(1, [1], [1], timestamp_ms=1), metadata_batch(values, timestamp_ms=1)):
        written = bytearray(batch)
        stamp(written, 0, offset, 1)
        metadata_log.append(bytes(written))
        offset = metadata_log.end_offset
    metadata_log.close()


def write_snapshot(directory: Path, *values: bytes) -> None:
    """A snapshot with these records at the beginning of the log."""
    metadata = directory / "__cluster_metadata-0"
    metadata.mkdir()
    header = next(iter(encode_snapshot([], epoch=1, last_contained_log_timestamp_ms=1, now_ms=1)))
    body = metadata_batch(values, base_offset=1, epoch=1, timestamp_ms=1)
    footer = snapshot_footer_batch(base_offset=1 + len(values), epoch=1, timestamp_ms=1)
    (metadata / snapshot_file_name(OffsetAndEpoch(9, 1))).write_bytes(header + body + footer)


NEWER = [
    ((feature("metadata.version", 31),), "metadata.version at level 31"),
    ((feature("metadata.version", 30), feature("transaction.version", 3)), "transaction.version at level 3"),
    ((feature("metadata.version", 30), feature("group.magic", 1)), "group.magic at level 1"),
    ((feature("metadata.version", 30), OF_THE_FUTURE), "metadata record type 29 is unknown"),
    ((encode_metadata_record(FeatureLevelRecord(name="metadata.version", feature_level=30))[:2] + b"\x07",), "version"),
]


@pytest.mark.parametrize(("values", "said"), NEWER)
async def test_a_newer_snapshot_is_refused(directory: Path, values: tuple[bytes, ...], said: str) -> None:
    write_snapshot(directory, *values)
    before = sorted(each.name for each in (directory / "__cluster_metadata-0").iterdir())
    with pytest.raises(LogDirsRefused, match=said):
        await Broker(real_world(), config(directory)).start()
    # Kafka can still be started on it.
    after = sorted(each.name for each in (directory / "__cluster_metadata-0").iterdir())
    assert [name for name in after if name.endswith(".checkpoint")] == before


@pytest.mark.parametrize(("values", "said"), [NEWER[0], NEWER[3]])
async def test_a_newer_log_ends_the_node(
    directory: Path, values: tuple[bytes, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_log(directory, *values)
    broker = Broker(real_world(), config(directory))
    with caplog.at_level(logging.CRITICAL):
        starting = asyncio.ensure_future(broker.start())
        async with asyncio.timeout(20):
            await broker.failed.wait()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        await broker.stop(controlled=False)
    assert any(said in record.getMessage() for record in caplog.records), caplog.text


async def test_bootstrap_records_of_a_newer_kafka_are_refused(directory: Path) -> None:
    records: list[Any] = [FeatureLevelRecord(name="metadata.version", feature_level=31)]
    content = encode_snapshot(records, epoch=0, last_contained_log_timestamp_ms=0, now_ms=1)
    (directory / "bootstrap.checkpoint").write_bytes(b"".join(content))
    with pytest.raises(LogDirsRefused, match=r"metadata\.version at level 31"):
        await Broker(real_world(), config(directory)).start()


async def test_a_new_directory_gets_the_bootstrap_checkpoint_of_a_formatted_one(directory: Path) -> None:
    broker = Broker(real_world(), config(directory))
    starting = asyncio.ensure_future(broker.start())
    try:
        async with asyncio.timeout(20):
            while not broker.metadata.image.features:
                await broker.metadata.wait_for_change(1000)
        content = (directory / "bootstrap.checkpoint").read_bytes()
        image = MetadataImage()
        for record in decode_snapshot(content):
            image.replay(record)
        assert image.features == broker.metadata.image.features == BOOTSTRAP_FEATURES
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        await broker.stop(controlled=False)
