"""The ensemble as rows: states of servers, whose sessions are, the tree, and what values say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.gateway.metadata_batches import metadata_records
from console.viewmodel.cells import plain
from console.viewmodel.health import has_controller
from console.viewmodel.impact import consequences, impact_of_losing
from console.viewmodel.settling import missing
from console.viewmodel.verdict import judge
from console.viewmodel.znode_meaning import Meaning, kind_of, meaning_lines, meaning_of, private
from console.viewmodel.zookeeper import (
    KRAFT,
    MOST_CHILDREN,
    NOT_OPENED,
    SESSION_COLUMNS,
    UNASKED,
    Looked,
    controller_words,
    ensemble_words,
    loss_words,
    owner_words,
    server_rows,
    session_rows,
    tree_rows,
    without_zookeeper,
    znode_lines,
)
from engine.record.builder import NewRecord, build_batch
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, QuorumState, Source
from engine.supervisor.zookeeper_snapshot import (
    ZnodeSeen,
    ZooKeeperClient,
    ZooKeeperController,
    ZooKeeperServer,
    ZooKeeperState,
)

NOW = 1_795_521_600_000


def no_records(data: bytes) -> None:
    return None


def seen(path: str, *children: str, data: bytes = b"", owner: int = 0) -> Looked:
    znode = ZnodeSeen(path, data, 3, 0x10, 0x20, owner, NOW, NOW, len(children), len(data), children)
    return Looked(znode, meaning_of(path, data, no_records), NOW)


def server(number: int, mode: str, *, serving: bool = True, error: str = "", state: str = "") -> ZooKeeperServer:
    return ZooKeeperServer(f"h:{number}", number, mode, serving, error, 0.5, 9, 2, 0, 0x20, 9, "3.8.4", NOW, state)


def test_why_there_is_no_ensemble_to_show() -> None:
    empty = ClusterSnapshot(NOW, Source.ATTACHED)
    known = empty.with_facts(metadata_observed_at_ms=NOW)
    assert without_zookeeper(None) == without_zookeeper(empty) == without_zookeeper(known) == UNASKED
    assert without_zookeeper(known.with_facts(quorum=QuorumState(1, 4, 90))) == KRAFT
    assert without_zookeeper(known.with_facts(coordination="zookeeper")) == NOT_OPENED


def test_what_a_server_does_as_its_answers_and_its_process_say() -> None:
    state = ZooKeeperState(
        "h:1,h:2,h:3",
        servers=(
            server(1, "leader"),
            server(2, "follower", serving=False, error="h:2: Connection refused"),
            server(3, "follower", serving=False, error="h:3 serves nobody: its ensemble has no majority"),
            server(4, "follower", serving=False, error="SIGKILL, asked for", state="killed"),
            ZooKeeperServer("h:5"),
        ),
    )
    assert [row.state for row in server_rows(state, NOW)] == [
        "serving",
        "no answer",
        "no quorum",
        "killed",
        "connecting",
    ]
    assert ensemble_words(state, NOW) == "1 of 5 servers serve, no majority"
    # Figures of a server that is down are as old as they are.
    assert [row.age_ms for row in server_rows(state, NOW + 7_000)][1] == 7_000


@pytest.mark.parametrize(
    ("down", "killed", "words"),
    [((), 1, "It leads: the others elect another"), ((), 2, "Its clients go to the other"), ((2,), 3, "No majority")],
)
def test_what_the_loss_of_a_server_would_do(down: tuple[int, ...], killed: int, words: str) -> None:
    servers = tuple(server(each, "leader" if each == 1 else "follower", serving=each not in down) for each in (1, 2, 3))
    assert words in loss_words(ZooKeeperState("", servers=servers), servers[killed - 1])


def test_who_is_controller_since_when() -> None:
    state = ZooKeeperState("h:1", controller=ZooKeeperController(2, 7, 0xA, NOW - 95_000))
    assert controller_words(state, NOW) == "controller 2 for 95s · epoch 7"
    nobody = state._replace(controller=ZooKeeperController(-1, 7, None, None))
    assert controller_words(nobody, NOW) == "no controller · epoch 7"


def test_sessions_are_named_by_what_they_own_brokers_first() -> None:
    state = ZooKeeperState(
        "h:1",
        sessions=(
            ZooKeeperClient(0x1, "c:1", "h:1", is_own=True),
            ZooKeeperClient(0x2, "c:2", "h:1"),
            ZooKeeperClient(0x3, broker_id=2, is_controller=True),
            ZooKeeperClient((1 << 63) + 4, "c:4", "h:1", broker_id=1),
        ),
    )
    rows = session_rows(state, NOW)
    assert [row.key for row in rows] == ["0x8000000000000004", "0x3", "0x2", "0x1"]
    assert [owner_words(row.session) for row in rows] == ["broker 1", "broker 2, controller", "", "this console"]
    # Nobody has it as a connection, and its znodes are there still: it will expire, or come back.
    assert [row.is_healthy for row in rows] == [True, False, True, True]
    # Where servers do not say who is connected, nobody is taken for lost.
    untold = session_rows(state._replace(sessions_error="h:1 does not answer cons"), NOW)
    assert [row.is_healthy for row in untold] == [True] * 4
    (connected,) = [column for column in SESSION_COLUMNS if column.key == "server"]
    assert [plain(connected.cell(row)) for row in (rows[1], untold[1])] == ["✗ not connected", "–"]


def test_the_tree_has_what_is_open_numbers_in_their_order() -> None:
    tree = {"/": seen("/", "brokers", "b"), "/brokers": seen("/brokers", "10", "9", "ids"), "/b": seen("/b")}
    assert [row.path for row in tree_rows({"/"}, tree, NOW)] == ["/", "/b", "/brokers"]
    rows = tree_rows({"/", "/brokers"}, tree, NOW + 7_000)
    assert [(row.path, row.depth) for row in rows][2:] == [
        ("/brokers", 1),
        ("/brokers/9", 2),
        ("/brokers/10", 2),
        ("/brokers/ids", 2),
    ]
    assert rows[0].age_ms == 7_000
    assert rows[3].looked is None, "it was not asked for yet"


def test_of_very_many_children_it_says_how_many_are_not_shown() -> None:
    names = [f"t{each}" for each in range(MOST_CHILDREN + 5)]
    rows = tree_rows({"/"}, {"/": seen("/", *names)}, NOW)
    assert len(rows) == 1 + MOST_CHILDREN + 1
    assert rows[-1].hidden == 5
    assert rows[-1].key != rows[0].key


@pytest.mark.parametrize(
    ("path", "value", "summary"),
    [
        ("/brokers/ids/1", {"endpoints": ["SSL://a:1"], "rack": "x"}, "SSL://a:1 · rack x"),
        ("/brokers/topics/t", {"partitions": {"0": [1, 2], "1": [2, 1]}}, "2 partitions of 2 replicas"),
        (
            "/brokers/topics/t/partitions/0/state",
            {"leader": -1, "isr": [2], "leader_epoch": 5},
            "no leader · ISR 2 · leader epoch 5",
        ),
        ("/controller", {"brokerid": 3}, "broker 3"),
        ("/config/topics/t", {"config": {"cleanup.policy": "compact"}}, "cleanup.policy=compact"),
        ("/config/topics/t", {"config": {}}, "no overrides"),
        ("/latest_producer_id_block", {"broker": 1, "block_start": "0", "block_end": "999"}, "0–999 to broker 1"),
        ("/kconsole/metadata", {"offset": 1234, "epoch": 7, "first": 8}, "offset 1,234 · controller epoch 7"),
        ("/kconsole/brokers/1", {"fenced": True, "broker_epoch": 9}, "fenced · broker epoch 9"),
        ("/feature", {"features": {}, "status": 1}, "no feature is finalized"),
        # Not as Kafka writes it: shown as it is.
        ("/latest_producer_id_block", [1], "[1]"),
        ("/brokers/topics/t/partitions/0/state", {"isr": 5}, "no leader · ISR 5 · leader epoch ?"),
        ("/brokers/topics/t", {"partitions": 5}, '{"partitions":5}'),
        ("/somebody/elses", {"a": 1}, '{"a":1}'),
    ],
)
def test_what_a_value_says_in_a_few_words(path: str, value: object, summary: str) -> None:
    assert meaning_of(path, json.dumps(value).encode(), no_records).summary == summary


def test_values_that_are_no_json_are_shown_as_they_are() -> None:
    assert meaning_of("/controller_epoch", b"7", no_records).document == 7
    assert meaning_of("/x", b"plain words", no_records).summary == "plain words"
    raw = meaning_of("/x", b"\x00\xff\x1b[2J", no_records)
    assert raw.summary == "6 bytes"
    assert "00 ff 1b" in plain(meaning_lines(raw, b"\x00\xff\x1b[2J")[0])
    assert meaning_of("/brokers", b"", no_records) == Meaning("brokers that live, and topics", "")


def test_fields_say_what_they_mean() -> None:
    data = b'{"leader":1,"isr":[1,2],"leader_epoch":4}'
    lines = [
        plain(line)
        for line in meaning_lines(meaning_of("/brokers/topics/t/partitions/0/state", data, no_records), data)
    ]
    assert lines[1] == '  "leader": 1,   ← the broker that leads; -1: none'
    assert lines[2] == '  "isr": [1, 2],   ← replicas that have all that is committed'


def test_a_batch_of_metadata_is_shown_as_its_records() -> None:
    from engine.wire.messages.remove_topic_record import RemoveTopicRecord
    from engine.wire.record_frames import encode_metadata_record

    record = NewRecord(None, encode_metadata_record(RemoveTopicRecord(topic_id=b"\x01" * 16), 0))
    data = build_batch([record] * 2, base_offset=40)
    found = meaning_of("/kconsole/log/00000000000000000040", data, metadata_records)
    assert found.summary == "2 records: 2 REMOVE_TOPIC_RECORD"
    assert [each["offset"] for each in found.document] == [40, 41]
    assert metadata_records(b"no batch at all") is None


@pytest.mark.parametrize(
    "value",
    [
        {"config": {"SCRAM-SHA-256": "salt=hush"}},
        {"tokenInfo": {"hmac": "hush"}},
        {"config": {"ssl.keystore.password": "hush"}},
        [{"type": "CONFIG_RECORD", "data": {"name": "ssl.key.password", "value": "hush"}}],
        [{"data": {"storedKey": "hush", "serverKey": "hush", "salt": "hush"}}],
    ],
)
def test_secrets_are_not_shown(value: object) -> None:
    data = json.dumps(value).encode()
    found = meaning_of("/config/users/alice", data, no_records)
    looked = Looked(seen("/config/users/alice", data=data).znode, found, NOW)
    (row,) = [row for row in tree_rows(set(), {"/": looked}, NOW)]
    said = found.summary + "".join(plain(line) for line in znode_lines(row, "", NOW))
    assert "hush" not in said
    assert "(not shown)" in said


def test_what_an_acl_hides_is_not_taken_for_no_value() -> None:
    meaning = private("/config/users/alice")
    assert plain(meaning_lines(meaning, b"")[0]) == "its ACL keeps it from this console"
    assert plain(meaning_lines(meaning_of("/brokers", b"", no_records), b"")[0]) == "no value"


def test_every_znode_of_a_real_kafka_is_of_a_known_kind() -> None:
    recorded = json.loads((Path(__file__).parents[2] / "golden/zookeeper/kafka-3.9.1.json").read_text())
    paths = {znode["path"] for each in recorded.values() for znode in each["tree"]}
    assert len(paths) > 50
    assert [path for path in sorted(paths) if kind_of(path) is None] == []


def test_a_controller_is_there_or_not_as_zookeeper_says_or_else_the_brokers() -> None:
    picture = ClusterSnapshot(NOW, Source.ATTACHED, metadata_observed_at_ms=NOW, coordination="zookeeper")
    assert has_controller(ClusterSnapshot(NOW, Source.ATTACHED)) is None
    assert has_controller(picture) is False
    assert has_controller(picture.with_facts(controller_id=2)) is True
    seen = ZooKeeperState("h:1", controller=ZooKeeperController(-1, 7, None, None))
    # Brokers tell a controller of the past for a while.
    assert has_controller(picture.with_facts(controller_id=2, zookeeper=seen)) is False
    assert has_controller(picture.with_facts(controller_id=2, zookeeper=seen._replace(error="no server"))) is True
    verdict = judge(picture)
    assert [each.said for each in verdict.reasons] == ["no controller: nobody has made /controller in ZooKeeper"]
    assert judge(picture.with_facts(controller_id=2)).reasons == ()
    assert "the metadata quorum" not in missing(picture)
    assert "the metadata quorum" in missing(picture.with_facts(coordination=""))


def test_losing_the_controller_has_zookeeper_elect_another() -> None:
    brokers = tuple(BrokerState(each, "h", 9091 + each, reachable=True) for each in (1, 2, 3))
    picture = ClusterSnapshot(NOW, Source.ATTACHED, brokers=brokers, controller_id=2, coordination="zookeeper")
    (only,) = consequences(picture, [2])
    assert (only.subject, only.before, only.after) == ("ZooKeeper", (2,), (1, 3))
    assert "Another controller is elected" in impact_of_losing(picture, [2])
