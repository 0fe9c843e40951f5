"""The law: what operations_of does to a tree, read back, is the image that the records made."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_controller_law import history
from znode_tree import ZnodeTree

from engine.core.controller.feature_control import bootstrap_records
from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.notification_znodes import surplus_notifications
from engine.core.znodes.reading import image_of, records_of
from engine.core.znodes.writing import operations_of
from engine.wire.messages.access_control_entry_record import AccessControlEntryRecord
from engine.wire.messages.client_quota_record import ClientQuotaRecord, EntityData
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.delegation_token_record import DelegationTokenRecord
from engine.wire.messages.remove_access_control_entry_record import RemoveAccessControlEntryRecord
from engine.wire.messages.remove_delegation_token_record import RemoveDelegationTokenRecord
from engine.wire.messages.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
from engine.wire.messages.user_scram_credential_record import UserScramCredentialRecord


class Cluster:
    """An image and its tree, brought on together."""

    def __init__(self) -> None:
        self.tree = ZnodeTree()
        self.image = MetadataImage()

    def write(self, records: list[Any]) -> None:
        delta = MetadataDelta(self.image)
        for record in records:
            delta.replay(record, 0)
        self.tree.multi(operations_of(delta, controller_epoch=3, now_ms=1_795_424_053_327))
        self.image = delta.apply(0, 0)
        assert image_of(self.tree.znodes) == self.image
        replayed = MetadataImage()
        for record in records_of(self.tree.znodes):
            replayed.replay(record)
        assert replayed == self.image


@pytest.mark.parametrize("seed", range(4))
def test_a_controllers_history_is_in_the_tree_after_each_batch(seed: int) -> None:
    log = history(seed, 120).log
    cluster = Cluster()
    cuts = [0, *range(20, len(log), 1 + seed * 3), len(log)]
    for start, end in pairwise(cuts):
        cluster.write(log[start:end])


def test_the_difference_of_two_images_is_written_as_well_as_what_lies_between() -> None:
    cluster = Cluster()
    cluster.write(history(1, 60).log)
    after = MetadataImage()
    for record in history(2, 60).log:
        after.replay(record)
    cluster.tree.multi(operations_of(MetadataDelta.between(cluster.image, after), controller_epoch=4, now_ms=0))
    assert image_of(cluster.tree.znodes) == after


NAMES = st.one_of(
    st.sampled_from(["u", "v", "a/b", ".", "..", "<default>", "clients", "ü ~*+%2F", "CN=x,OU=y"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
SMALL = st.integers(0, 3)
BYTES = st.binary(min_size=1, max_size=5)


@st.composite
def quotas(draw: st.DrawFn) -> ClientQuotaRecord:
    name = st.one_of(st.none(), NAMES)
    kinds = draw(st.sampled_from([["user"], ["client-id"], ["user", "client-id"], ["ip"]]))
    key = draw(st.sampled_from(["producer_byte_rate", "controller_mutation_rate", "request_percentage"]))
    whole = st.integers(1, 2**53).map(float)
    value = draw(whole if key == "producer_byte_rate" else st.floats(1e-9, allow_nan=False))
    entity = [EntityData(entity_type=each, entity_name=draw(name)) for each in kinds]
    return ClientQuotaRecord(entity=entity, key=key, value=value, remove=draw(st.booleans()))


@st.composite
def credentials(draw: st.DrawFn) -> Any:
    name, mechanism = draw(NAMES), draw(st.sampled_from([1, 2]))
    if draw(st.booleans()):
        return RemoveUserScramCredentialRecord(name=name, mechanism=mechanism)
    return UserScramCredentialRecord(
        name=name,
        mechanism=mechanism,
        salt=draw(BYTES),
        stored_key=draw(BYTES),
        server_key=draw(BYTES),
        iterations=draw(st.integers(4096, 16384)),
    )


@st.composite
def configs(draw: st.DrawFn) -> ConfigRecord:
    kind, name = draw(
        st.one_of(
            st.tuples(st.just(4), st.sampled_from(["", "1", "2"])),
            st.tuples(st.sampled_from([16, 32]), NAMES),
        )
    )
    value = draw(st.one_of(st.none(), NAMES, st.just("")))
    return ConfigRecord(resource_type=kind, resource_name=name, name=draw(st.sampled_from(["a.b", "c"])), value=value)


@st.composite
def acls(draw: st.DrawFn) -> Any:
    number = bytes((draw(SMALL),)) * 16
    if draw(st.booleans()):
        return RemoveAccessControlEntryRecord(id=number)
    return AccessControlEntryRecord(
        id=number,
        resource_type=draw(st.integers(2, 7)),
        resource_name=draw(NAMES),
        pattern_type=draw(st.sampled_from([3, 4])),
        principal=draw(NAMES),
        host=draw(st.sampled_from(["*", "::1"])),
        operation=draw(st.integers(2, 14)),
        permission_type=draw(st.sampled_from([2, 3])),
    )


@st.composite
def tokens(draw: st.DrawFn) -> Any:
    token_id = draw(st.sampled_from(["t1", "t-_2"]))
    if draw(st.booleans()):
        return RemoveDelegationTokenRecord(token_id=token_id)
    return DelegationTokenRecord(
        owner=draw(NAMES),
        requester=draw(NAMES),
        renewers=draw(st.lists(NAMES, max_size=2)),
        issue_timestamp=draw(st.integers(0, 2**62)),
        token_id=token_id,
    )


BATCHES = st.lists(
    st.lists(st.one_of(quotas(), credentials(), configs(), acls(), tokens()), max_size=5), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_users_and_what_they_may_are_in_the_tree_after_each_batch(batches: list[list[Any]]) -> None:
    cluster = Cluster()
    cluster.write(list(bootstrap_records()))
    for records in batches:
        cluster.write(records)


def test_a_user_goes_with_all_client_ids_and_a_tree_that_has_nothing_else_stays() -> None:
    cluster = Cluster()
    cluster.write(list(bootstrap_records()))
    bare = cluster.tree.znodes.keys()
    entities = [[("user", "u")], [("user", "u"), ("client-id", "c")], [("user", "u"), ("client-id", None)]]
    quotas = [
        ClientQuotaRecord(
            entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in each],
            key="request_percentage",
            value=1.0,
            remove=remove,
        )
        for remove in (False, True)
        for each in entities
    ]
    cluster.write(quotas[:3])
    assert f"{paths.USER_CONFIGS}/u/clients/<default>" in cluster.tree.znodes
    cluster.write(quotas[3:])
    left = {each for each in cluster.tree.znodes if not each.startswith(f"{paths.CONFIG_CHANGES}/")}
    assert left == {each for each in bare if not each.startswith(f"{paths.CONFIG_CHANGES}/")}


def test_the_oldest_notifications_are_those_that_go() -> None:
    names = [f"config_change_{number:010d}" for number in range(103)]
    gone = surplus_notifications(paths.CONFIG_CHANGES, [*reversed(names), "somebody-elses"])
    assert [paths.name_of(each.path) for each in gone] == names[:3]
    assert surplus_notifications(paths.CONFIG_CHANGES, names[3:]) == []


def test_a_tree_that_nobody_wrote_to_is_an_empty_image() -> None:
    assert records_of(ZnodeTree().znodes) == records_of({}) == []
    assert image_of(ZnodeTree().znodes).is_empty
