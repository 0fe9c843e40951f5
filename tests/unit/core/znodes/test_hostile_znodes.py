"""Whatever a znode holds, reading the tree gives records that can be written, or an error that names the znode."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import re
from typing import Any

import pytest
from test_controller_image import EVERYTHING
from znode_tree import ZnodeTree

from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.admin_znodes import decode_partitions, decode_reassignment, encode_reassignment
from engine.core.znodes.cluster_znodes import (
    decode_cluster_id,
    decode_controller,
    decode_controller_epoch,
    decode_mark,
)
from engine.core.znodes.json_fields import JsonFields, ZnodeCorrupt
from engine.core.znodes.notification_znodes import PREFIXES
from engine.core.znodes.operations import Znode
from engine.core.znodes.reading import SUBTREES, records_of
from engine.core.znodes.writing import operations_of
from engine.wire.messages.access_control_entry_record import AccessControlEntryRecord
from engine.wire.record_frames import encode_metadata_record

EPHEMERAL = (
    b'{"features":{"f":{"min_version":1,"max_version":3}},"listener_security_protocol_map":{"P":"PLAINTEXT"},'
    b'"endpoints":["P://127.0.0.1:1"],"jmx_port":-1,"port":1,"host":"h","version":5,"timestamp":"1","rack":"r"}'
)
VALUES: list[Any] = [None, True, -1, 2**31, 2**70, 1.5, "", "x", "\ud800", "ü" * 30, [], [[]], [None], {}, {"a": {}}]
NAMES = ["x", "-1", "007", "99999999999", "%FF", "<default>", "a%2Fb", "clients/y", "ü"]


def good_tree() -> dict[str, Znode]:
    """Every kind of znode that the metadata is read from."""
    acl = AccessControlEntryRecord(
        id=b"b" * 16, resource_type=2, resource_name="a/b", pattern_type=4, operation=3, permission_type=3
    )
    delta = MetadataDelta(MetadataImage())
    for record in EVERYTHING:
        if record.NAME != "AccessControlEntryRecord":
            delta.replay(record, 0)
    delta.replay(acl, 0)
    tree = ZnodeTree()
    tree.multi(operations_of(delta, controller_epoch=1, now_ms=0))
    tree.put("/brokers/ids/2", EPHEMERAL)
    tree.put("/kafka-acl/Topic/t", b'{"version":1,"acls":[]}')
    tree.put("/config/ips/::1", b'{"version":1,"config":{"connection_creation_rate":"7"}}')
    return tree.znodes


def read_or_refuse(tree: dict[str, Znode], path: str) -> bool:
    try:
        records = records_of(tree)
    except ZnodeCorrupt as error:
        assert error.path == path or path in str(error), (path, error)
        str(error).encode()
        return False
    image = MetadataImage()
    for record in records:
        encode_metadata_record(record)
        image.replay(record)
    operations_of(MetadataDelta.between(MetadataImage(), image), controller_epoch=1, now_ms=0)
    return True


def changed(rng: random.Random, value: Any) -> Any:
    """The same JSON with one value replaced, removed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        value = dict(value)
        name = rng.choice(list(value))
        if rng.random() < 0.2:
            del value[name]
        elif rng.random() < 0.2:
            value[rng.choice(NAMES)] = value.pop(name)
        else:
            value[name] = changed(rng, value[name])
        return value
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], changed(rng, value[at]), *value[at + 1 :]]
    return rng.choice(VALUES)


def test_any_json_in_any_znode_is_read_or_refused() -> None:
    rng = random.Random(5)
    tree = good_tree()
    assert read_or_refuse(tree, "")
    unread = (paths.FEATURE, *PREFIXES)
    held = {path: each for path, each in tree.items() if each.data and not path.startswith(unread)}
    refused = set()
    for path, znode in held.items():
        for _ in range(60):
            data = json.dumps(changed(rng, json.loads(znode.data))).encode()
            if not read_or_refuse({**tree, path: znode._replace(data=data)}, path):
                refused.add(path)
    assert refused == held.keys()


def test_any_bytes_in_any_znode_are_read_or_refused() -> None:
    rng = random.Random(6)
    tree = good_tree()
    for path, znode in tree.items():
        for _ in range(8):
            data = bytearray(znode.data or b"{}")
            data[rng.randrange(len(data))] = rng.randrange(256)
            read_or_refuse({**tree, path: znode._replace(data=bytes(data))}, path)
        for data in (b"\xff", b"[" * 100_000, b"1" * 5_000, b"NaN", b"null", b'{"version":1e999}'):
            read_or_refuse({**tree, path: znode._replace(data=bytes(data))}, path)


def test_any_name_anywhere_is_read_or_refused() -> None:
    tree = good_tree()
    contents = itertools.cycle((b"", b"{}", b'{"version":1,"config":{"producer_byte_rate":"1"},"acls":[]}', b"", b"{}"))
    for parent in tree:
        if parent.startswith(SUBTREES):
            for name in NAMES:
                path = f"{parent}/{name}"
                read_or_refuse({**tree, path: Znode(next(contents), 0, 1, 1, 0)}, path)


def test_a_corrupt_znode_is_named_with_the_remedy() -> None:
    tree = good_tree()
    path = paths.partition_state("t", 1)
    tree[path] = tree[path]._replace(data=b'{"leader":1,"leader_epoch":"x","isr":[1]}')
    with pytest.raises(ZnodeCorrupt, match=r"/brokers/topics/t/partitions/1/state .*leader_epoch is \"x\".*zkCli.sh"):
        records_of(tree)


@pytest.mark.parametrize(
    "value", ["salt=secret,iterations=x", "salt=c2?Vj,stored_key=YQ==,server_key=YQ==,iterations=4096"]
)
def test_a_credential_is_not_shown_in_the_error(value: str) -> None:
    tree = good_tree()
    path = f"{paths.USER_CONFIGS}/u"
    data = json.dumps({"version": 1, "config": {"SCRAM-SHA-256": value}}).encode()
    tree[path] = tree[path]._replace(data=data)
    with pytest.raises(ZnodeCorrupt) as caught:
        records_of(tree)
    assert not re.search("secret|c2", str(caught.value))


def test_true_is_not_one() -> None:
    tree = good_tree()
    path = paths.partition_state("t", 1)
    tree[path] = tree[path]._replace(data=b'{"leader":true,"leader_epoch":0,"isr":[1]}')
    with pytest.raises(ZnodeCorrupt, match="leader is true, not a whole number"):
        records_of(tree)


def test_two_topics_with_one_id_are_refused() -> None:
    tree = good_tree()
    tree[paths.topic("u")] = tree[paths.topic("t")]
    with pytest.raises(ZnodeCorrupt, match="has the id of topic t"):
        records_of(tree)


DECODERS: list[Any] = [
    decode_reassignment,
    decode_controller,
    decode_controller_epoch,
    decode_cluster_id,
    decode_mark,
    lambda data: decode_partitions(JsonFields.parse("/p", data)),
]


def test_what_is_read_beside_the_metadata_is_read_or_refused() -> None:
    rng = random.Random(7)
    good = {
        "version": 1,
        "brokerid": 1,
        "timestamp": "5",
        "kraftControllerEpoch": -1,
        "partitions": [{"topic": "t", "partition": 0, "replicas": [1, 2]}],
        "broker": 1,
        "entity_path": "topics/t",
        "id": "x",
        "offset": 1,
        "epoch": 2,
        "first": 0,
    }
    for decode in DECODERS:
        for _ in range(150):
            with contextlib.suppress(ZnodeCorrupt):
                decode(json.dumps(changed(rng, good)).encode())
        for data in (b"", b"\xff", b"-", b"-1", b"1.5", b"99999999999999999999", "١".encode(), b" 1"):
            with contextlib.suppress(ZnodeCorrupt):
                decode(data)


def test_requests_of_tools_are_decoded() -> None:
    moves = b'{"version":1,"partitions":[{"topic":"t","partition":3,"replicas":[2,1],"log_dirs":["any","any"]}]}'
    assert decode_reassignment(moves) == {("t", 3): [2, 1]}
    assert encode_reassignment(decode_reassignment(moves)) == (
        b'{"version":1,"partitions":[{"topic":"t","partition":3,"replicas":[2,1]}]}'
    )
    assert decode_partitions(JsonFields.parse("/p", moves)) == [("t", 3)]
