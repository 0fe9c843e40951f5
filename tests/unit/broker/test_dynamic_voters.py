"""Metadata logs that name their voters themselves (kraft.version 1, KIP-853)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.broker.broker import Broker, LogDirsRefused
from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.batches import leader_change_batch, metadata_batch
from engine.broker.quorum.snapshot_files import decode_snapshot, encode_snapshot, snapshot_file_name
from engine.broker.quorum.voters import VotersNotServed, leader_change_encoder, read_dynamic_voters
from engine.core.raft.identity import ElectionState, OffsetAndEpoch, VoterSet
from engine.model.broker_config import BrokerConfig
from engine.model.ids import uuid_from_str
from engine.record.batch import stamp
from engine.world.real import RealDisk, real_world

# 00000000000000000000-0000000000.checkpoint of `kafka-storage.sh format --standalone`, Apache Kafka 4.3.1: node 1 with
# this directory.id at 127.0.0.1:41093.
STANDALONE = base64.b64decode(
    "AAAAAAAAAAAAAACaAAAAAALcW/OxACAAAAACAAABohV2xUcAAAGiFXbFR///////////////////AAAAAyoAAAAIAAAAAxYAAAAA"
    "AaIVdsUfAAAeAAACCAAAAAUKAAAAAQAAggEAAAQIAAAABm4AAAIAAAABVUTAUeeASJ6H8BISEM34yQILQ09OVFJPTExFUgoxMjcu"
    "MC4wLjGghQAAAAABAAAAAAAAAAAAAAADAAAAPwAAAAACJBxiIwAgAAAAAAAAAaIVdsVyAAABohV2xXL//////////////////wAA"
    "AAEaAAAACAAAAAQGAAAAAA=="
)
DIRECTORY_ID = "VUTAUeeASJ6H8BISEM34yQ"
CLOCK: Any = SimpleNamespace(now_ms=lambda: 1_700_000_000_000)
PROPERTIES = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "controller.quorum.bootstrap.servers": "127.0.0.1:41093",
}
CONFIG = BrokerConfig.from_properties(PROPERTIES)


@pytest.fixture
def formatted(tmp_path: Path) -> Path:
    """A directory that Kafka formatted."""
    metadata = tmp_path / "__cluster_metadata-0"
    metadata.mkdir()
    (metadata / snapshot_file_name(OffsetAndEpoch(0, 0))).write_bytes(STANDALONE)
    (tmp_path / "meta.properties").write_text(
        f"version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\nnode.id=1\ndirectory.id={DIRECTORY_ID}\n"
    )
    return tmp_path


def test_what_kafka_formatted_names_the_voter(formatted: Path) -> None:
    voters = read_dynamic_voters(RealDisk(), str(formatted))
    assert voters is not None
    assert (voters.kraft_version, voters.is_in_log) == (1, False)
    assert voters.addresses() == {1: ("127.0.0.1", 41093)}
    voters.check(1, uuid_from_str(DIRECTORY_ID), is_controller=True)
    voters.check(2, bytes(16), is_controller=False)
    with pytest.raises(VotersNotServed, match="node 2 is a controller, and the voters of its metadata log are 1"):
        voters.check(2, bytes(16), is_controller=True)
    with pytest.raises(VotersNotServed, match=f"by the directory {DIRECTORY_ID}"):
        voters.check(1, bytes(16), is_controller=True)


def test_a_log_without_such_records_names_nobody(tmp_path: Path) -> None:
    assert read_dynamic_voters(RealDisk(), str(tmp_path)) is None
    metadata_log = MetadataLog.open(RealDisk(), CLOCK, str(tmp_path), CONFIG)
    metadata_log.append(final(leader_change_batch(1, [1], [1], timestamp_ms=1)))
    metadata_log.close()
    assert read_dynamic_voters(RealDisk(), str(tmp_path)) is None


def final(batch: bytes, offset: int = 0) -> bytes:
    written = bytearray(batch)
    stamp(written, 0, offset, 1)
    return bytes(written)


def test_voters_go_into_the_log_once_and_into_every_snapshot(formatted: Path) -> None:
    disk = RealDisk()
    metadata_log = MetadataLog.open(disk, CLOCK, str(formatted), CONFIG)
    first = leader_change_encoder(CLOCK, metadata_log.voters)(1, (1,), (1,))
    metadata_log.append(final(first))
    metadata_log.write_election(ElectionState(1, 1), VoterSet([1]))
    metadata_log.close()
    state = json.loads((formatted / "__cluster_metadata-0/quorum-state").read_text())
    assert (state["data_version"], state["leaderId"], "currentVoters" in state) == (1, 1, False)

    in_log = read_dynamic_voters(disk, str(formatted))
    assert in_log is not None and in_log.is_in_log and in_log.addresses() == {1: ("127.0.0.1", 41093)}
    again = leader_change_encoder(CLOCK, in_log)(1, (1,), (1,))
    assert len(again) < len(first)

    snapshot_id = OffsetAndEpoch(3, 1)
    batches = list(
        encode_snapshot([], epoch=1, last_contained_log_timestamp_ms=1, now_ms=1, voters=in_log.control_records())
    )
    assert decode_snapshot(b"".join(batches)) == []
    metadata_log = MetadataLog.open(disk, CLOCK, str(formatted), CONFIG)
    metadata_log.write_snapshot(snapshot_id, batches)
    metadata_log.close()
    for name in ("00000000000000000000.log", snapshot_file_name(OffsetAndEpoch(0, 0))):
        (formatted / "__cluster_metadata-0" / name).unlink()
    from_snapshot = read_dynamic_voters(disk, str(formatted))
    assert from_snapshot is not None and from_snapshot.is_in_log
    assert from_snapshot.control_records() == in_log.control_records()


def test_records_after_the_voters_do_not_hide_them(formatted: Path) -> None:
    metadata_log = MetadataLog.open(RealDisk(), CLOCK, str(formatted), CONFIG)
    metadata_log.append(final(leader_change_encoder(CLOCK, metadata_log.voters)(1, (1,), (1,))))
    metadata_log.append(final(metadata_batch([b"x"], timestamp_ms=1), 3))
    metadata_log.append(final(leader_change_batch(1, [1], [1], timestamp_ms=1), 4))
    metadata_log.close()
    voters = read_dynamic_voters(RealDisk(), str(formatted))
    assert voters is not None and voters.is_in_log and voters.addresses() == {1: ("127.0.0.1", 41093)}


async def refusal(properties: dict[str, str]) -> str:
    broker = Broker(real_world(), BrokerConfig.from_properties(properties))
    with pytest.raises(LogDirsRefused) as refused:
        await broker.start()
    return str(refused.value)


async def test_a_node_that_cannot_know_its_voters_says_so(formatted: Path) -> None:
    properties = {**PROPERTIES, "log.dirs": str(formatted)}
    (formatted / "__cluster_metadata-0" / snapshot_file_name(OffsetAndEpoch(0, 0))).unlink()
    said = await refusal(properties)
    assert "has no metadata log that names the voters" in said and "controller.quorum.voters" in said
    (formatted / "__cluster_metadata-0" / snapshot_file_name(OffsetAndEpoch(0, 0))).write_bytes(STANDALONE)
    meta = formatted / "meta.properties"
    meta.write_text(meta.read_text().replace(DIRECTORY_ID, "AAAAAAAAAAAAAAAAAAAACg"))
    assert f"by the directory {DIRECTORY_ID}" in await refusal(properties)


def test_the_log_says_who_votes_and_the_properties_where(formatted: Path) -> None:
    """The voters of an embedded cluster get other ports, and the records of its log still have the old ones."""
    properties = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
        "advertised.listeners": "PLAINTEXT://127.0.0.1:1",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.quorum.voters": "1@127.0.0.1:7,2@127.0.0.1:8",
        "log.dirs": str(formatted),
    }
    broker = Broker(real_world(), BrokerConfig.from_properties(properties))
    assert broker._find_voters(uuid_from_str(DIRECTORY_ID)) == {1: ("127.0.0.1", 7)}
