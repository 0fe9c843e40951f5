"""Trees that a real Kafka 3.9.1 wrote (tests/integration/record_zookeeper_trees.py) are read; what we would write of
them is the same to the byte, but for the fields that are ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from znode_tree import ZnodeTree

from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.adoption import adoption_of
from engine.core.znodes.cluster_znodes import decode_cluster_id, decode_controller, decode_controller_epoch
from engine.core.znodes.operations import Create, Znode
from engine.core.znodes.reading import image_of
from engine.core.znodes.writing import operations_of

GOLDEN = Path(__file__).parents[3] / "golden" / "zookeeper" / "kafka-3.9.1.json"
RECORDED: dict[str, Any] = json.loads(GOLDEN.read_text())
# What is behind Kafka's own fields in ours.
OURS = re.compile(rb',"(partition_epoch|directories)":[^\]}]*\]?|,"id":"[^"]*"')


def recorded(name: str) -> dict[str, Znode]:
    return {
        each["path"]: Znode(
            (each["data"] or "").encode(), each["version"], each["czxid"], each["mzxid"], int(each["ephemeral"])
        )
        for each in RECORDED[name]["tree"]
    }


@pytest.mark.parametrize("name", RECORDED)
def test_what_we_would_write_of_it_is_the_same_to_the_byte(name: str) -> None:
    tree = recorded(name)
    delta = MetadataDelta.between(MetadataImage(), image_of(tree))
    compared = set()
    for each in operations_of(delta, controller_epoch=0, now_ms=0):
        if isinstance(each, Create) and not each.sequential and not each.path.startswith(paths.KCONSOLE):
            theirs = tree[each.path].data
            if each.path.endswith("/state"):
                theirs = re.sub(rb'"controller_epoch":\d+', b'"controller_epoch":0', theirs)
            assert OURS.sub(b"", each.data) == theirs, each.path
            compared.add(each.path.split("/")[1])
    assert compared == {"brokers", "config", "delegation_token", "kafka-acl", "kafka-acl-extended"}


@pytest.mark.parametrize("name", RECORDED)
def test_only_what_kafka_has_no_place_for_is_added(name: str) -> None:
    tree = recorded(name)
    living = [f"/kconsole/brokers/{paths.name_of(path)}" for path in tree if paths.parent_of(path) == paths.BROKER_IDS]
    adopted = adoption_of(tree, controller_epoch=9, now_ms=0)
    assert [each.path for each in adopted] == [*living, paths.OWN_FEATURES]
    ours = ZnodeTree()
    ours.znodes |= tree
    ours.multi(adopted)
    assert image_of(ours.znodes) == image_of(tree)


def test_the_metadata_are_what_kafkas_tools_said_of_them() -> None:
    tree, described = recorded("alive"), RECORDED["alive"]["described"]
    image = image_of(tree)
    lines = {re.sub(r"\s*Elr:.*", "", line).strip() for line in described["topics"] if "Partition:" in line}
    assert lines == {
        _described(topic.name, number, each)
        for topic in image.topics_by_name.values()
        for number, each in topic.partitions.items()
    }
    assert image.brokers.keys() == {1, 2} and image.next_producer_id == 2000
    assert (len(image.acls), len(image.scram_credentials), len(image.client_quotas)) == (10, 3, 12)
    assert image.client_quotas[(("client-id", None), ("user", "alice"))]["request_percentage"] == 50.5
    assert image.config(4, "") == {"log.retention.ms": "172800000"}
    (token,) = image.delegation_tokens.values()
    assert (token.owner, token.renewers) == ("User:alice", ["User:bob"])


def _described(topic: str, number: int, each: Any) -> str:
    def shown(ids: tuple[int, ...]) -> str:
        return ",".join(map(str, ids))

    line = f"Topic: {topic}\tPartition: {number}\tLeader: {each.leader}\tReplicas: {shown(each.replicas)}"
    line += f"\tIsr: {shown(each.isr)}"
    if each.is_reassigning:
        line += f"\tAdding Replicas: {shown(each.adding_replicas)}\tRemoving Replicas: {shown(each.removing_replicas)}"
    return line.strip()


def test_what_is_beside_the_metadata_is_read_too() -> None:
    tree = recorded("alive")
    controller = decode_controller(tree[paths.CONTROLLER].data)
    assert (controller.broker_id, controller.address, controller.kraft_epoch) == (2, None, -1)
    assert decode_controller_epoch(tree[paths.CONTROLLER_EPOCH].data) == 1
    assert len(decode_cluster_id(tree[paths.CLUSTER_ID].data)) == 22


def test_the_roots_that_we_make_are_those_that_kafka_makes() -> None:
    theirs = {path for path in recorded("stopped") if path.count("/") <= 2 and path != "/"}
    ours = {each.path for each in paths.PERSISTENT_ROOTS if not each.path.startswith(paths.KCONSOLE)}
    beneath = (paths.LITERAL_ACLS, paths.LITERAL_ACL_CHANGES, paths.EXTENDED_ACL_CHANGES)
    single = {path for path in theirs if path.startswith(beneath)} | {paths.CONTROLLER_EPOCH, paths.CLUSTER_ID}
    assert {path for path in theirs - single if path.count("/") <= 2} <= ours | {"/controller"}


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_called_a_leaf_has_nothing_below_it(name: str) -> None:
    tree = recorded(name)
    parents = {paths.parent_of(path) for path in tree}
    leaves = {path for path in tree if paths.is_leaf(path)}
    assert not leaves & parents
    assert {path.split("/")[-1] for path in leaves} >= {"state", "<default>"}
    assert not paths.is_leaf("/brokers/topics/state") and paths.is_leaf("/brokers/topics/state/partitions/0/state")
