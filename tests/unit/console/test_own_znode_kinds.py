"""The console knows every znode that kconsole's own brokers make."""

from __future__ import annotations

from console.viewmodel.znode_meaning import kind_of
from engine.core.znodes import consumer_offsets, paths


def test_every_znode_that_we_make_is_of_a_known_kind() -> None:
    made = [each.path for each in paths.PERSISTENT_ROOTS]
    made += [paths.CONTROLLER, paths.CONTROLLER_EPOCH, paths.CLUSTER_ID, paths.METADATA, paths.EPOCH, paths.MIGRATED]
    made += [paths.OWN_FEATURES, paths.log_entry(7), paths.broker_id(1), paths.own_broker(1), paths.own_controller(1)]
    made += [paths.partition_state("t", 0), f"{paths.OWN_ACLS}/literal.Group.a%2Fb", f"{paths.GROUP_CONFIGS}/g"]
    made += [consumer_offsets.OFFSETS, f"{consumer_offsets.OFFSETS}/g/t/0", consumer_offsets.OFFSETS_COORDINATORS]
    assert [path for path in made if kind_of(path) is None] == []
