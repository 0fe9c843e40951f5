"""Metadata logs that name their voters themselves (kraft.version 1, KIP-853)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.address_book import AddressBook
from engine.broker.quorum.batches import leader_change_batch, metadata_batch
from engine.broker.quorum.snapshot_files import decode_snapshot, encode_snapshot, snapshot_file_name
from engine.broker.quorum.voters import leader_change_encoder, own_voter, read_voters
from engine.core.raft.identity import ElectionState, Endpoint, OffsetAndEpoch, ReplicaKey, Voter, VoterSet
from engine.model.broker_config import BrokerConfig
from engine.model.ids import uuid_from_str
from engine.record.batch import stamp
from engine.storage.failure import LogCorrupt
from engine.world.real import RealDisk

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


OWN = ReplicaKey(1, uuid_from_str(DIRECTORY_ID))


def test_what_kafka_formatted_names_the_voter(formatted: Path) -> None:
    (entry,) = read_voters(RealDisk(), str(formatted))
    assert (entry.kraft_version, entry.offset) == (1, -1)
    assert entry.voters.voters == (Voter(OWN, (Endpoint("CONTROLLER", "127.0.0.1", 41093),), 0, 1),)
    assert entry.voters.is_voter(OWN) and not entry.voters.is_voter(ReplicaKey(1, bytes(16)))


def test_a_log_without_such_records_names_nobody(tmp_path: Path) -> None:
    assert read_voters(RealDisk(), str(tmp_path)) == ()
    metadata_log = MetadataLog.open(RealDisk(), CLOCK, str(tmp_path), CONFIG)
    metadata_log.append(final(leader_change_batch(1, [1], [1], timestamp_ms=1)))
    metadata_log.close()
    assert read_voters(RealDisk(), str(tmp_path)) == ()


def final(batch: bytes, offset: int = 0) -> bytes:
    written = bytearray(batch)
    stamp(written, 0, offset, 1)
    return bytes(written)


def test_voters_of_the_log_and_of_its_snapshots(formatted: Path) -> None:
    disk = RealDisk()
    metadata_log = MetadataLog.open(disk, CLOCK, str(formatted), CONFIG)
    (entry,) = metadata_log.voters
    first = leader_change_encoder(CLOCK)(1, (1,), (1,), entry.control_records())
    metadata_log.append(final(first))
    metadata_log.append(final(metadata_batch([b"x"], timestamp_ms=1), 3))
    metadata_log.append(final(leader_change_batch(1, [1], [1], timestamp_ms=1), 4))
    metadata_log.write_election(ElectionState(1, 1), entry.voters, entry.kraft_version)
    metadata_log.close()
    state = json.loads((formatted / "__cluster_metadata-0/quorum-state").read_text())
    assert (state["data_version"], state["leaderId"], "currentVoters" in state) == (1, 1, False)
    formatting, in_log = read_voters(disk, str(formatted))
    assert (formatting, in_log.offset, in_log.voters) == (entry, 2, entry.voters)

    snapshot_id = OffsetAndEpoch(4, 1)
    batches = list(
        encode_snapshot([], epoch=1, last_contained_log_timestamp_ms=1, now_ms=1, voters=in_log.control_records())
    )
    assert decode_snapshot(b"".join(batches)) == []
    metadata_log = MetadataLog.open(disk, CLOCK, str(formatted), CONFIG)
    metadata_log.write_snapshot(snapshot_id, batches)
    metadata_log.close()
    for name in ("00000000000000000000.log", snapshot_file_name(OffsetAndEpoch(0, 0))):
        (formatted / "__cluster_metadata-0" / name).unlink()
    (from_snapshot,) = read_voters(disk, str(formatted))
    assert from_snapshot == in_log._replace(offset=3)


def test_a_log_that_lost_the_records_of_its_voters_is_not_given_up(formatted: Path) -> None:
    """quorum-state says that there were some: whoever they are now, this node does not know."""
    disk = RealDisk()
    (formatted / "__cluster_metadata-0" / snapshot_file_name(OffsetAndEpoch(0, 0))).unlink()
    metadata_log = MetadataLog.open(disk, CLOCK, str(formatted), CONFIG)
    for offset in range(3):
        metadata_log.append(final(metadata_batch([b"x" * 100], timestamp_ms=1), offset))
    metadata_log.flush(committed=3)
    metadata_log.write_election(ElectionState(1, 1), VoterSet([1, 2, 3]), 1)
    metadata_log.close()
    log = formatted / "__cluster_metadata-0/00000000000000000000.log"
    log.write_bytes(log.read_bytes()[:150] + b"?" + log.read_bytes()[151:])
    with pytest.raises(LogCorrupt, match="no other voters are sure to have it"):
        MetadataLog.open(disk, CLOCK, str(formatted), CONFIG, may_forget=True)


def test_the_log_says_who_votes_and_the_properties_where(formatted: Path) -> None:
    """The voters of an embedded cluster get other ports, and the records of its log still have the old ones."""
    (entry,) = read_voters(RealDisk(), str(formatted))
    book = AddressBook("CONTROLLER", {1: ("127.0.0.1", 7)}, ["127.0.0.1:9", "[::1]:10"], lambda: entry.voters)
    assert book.endpoint(1) == Endpoint("CONTROLLER", "127.0.0.1", 7)
    book.on_unreachable(1)
    assert book.address(1) == ("127.0.0.1", 41093), "what the log says comes next"
    book.on_unreachable(1)
    assert book.address(1) == ("127.0.0.1", 7)
    assert [book.address(each) for each in book.bootstrap_ids] == [("127.0.0.1", 9), ("::1", 10)]
    assert book.address(2) is None
    book.note(2, "127.0.0.1", 8)
    assert book.address(2) == ("127.0.0.1", 8)


def test_what_a_controller_tells_of_itself() -> None:
    key = ReplicaKey(1, bytes(15) + b"\x01")

    def told(**changed: str) -> Voter | None:
        properties = {name: value for name, value in {**PROPERTIES, **changed}.items() if value}
        return own_voter(BrokerConfig.from_properties(properties), key)

    here = "PLAINTEXT://127.0.0.1:0,CONTROLLER://{}"
    assert told(listeners=here.format("10.0.0.1:9")) == Voter(key, (Endpoint("CONTROLLER", "10.0.0.1", 9),), 0, 1)
    assert told(listeners=here.format("0.0.0.0:9")) == Voter(key, (Endpoint("CONTROLLER", "127.0.0.1", 9),), 0, 1)
    assert told(listeners=here.format("127.0.0.1:0")) is None, "nobody knows the port before it is bound"
    voters = {"controller.quorum.voters": "1@10.0.0.2:7", "controller.quorum.bootstrap.servers": ""}
    assert told(**voters) == Voter(key, (Endpoint("CONTROLLER", "10.0.0.2", 7),), 0, 1)
