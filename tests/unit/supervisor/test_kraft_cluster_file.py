"""A cluster file loses what is ZooKeeper's, and nothing else."""

from __future__ import annotations

import pytest

from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.kraft_cluster_file import without_zookeeper

BLOCKS = """\
# my cluster
coordination: zookeeper   # as it was
zookeeper:
  servers: 3
durability: fsync
configs:
  offsets.storage: zookeeper
  num.partitions: 3   # three
  zookeeper.session.timeout.ms: 4000
brokers:
  - id: 1
    configs:
      zookeeper.session.timeout.ms: 5000
  - {id: 2, configs: {zookeeper.max.in.flight.requests: 3, log.retention.hours: 1}}
  - {id: 3, configs: {log.retention.hours: 2, zookeeper.max.in.flight.requests: 3}, rack: c}
  - {id: 4, configs: {zookeeper.max.in.flight.requests: 3}}
"""
BLOCKS_AFTER = """\
# my cluster
durability: fsync
configs:
  num.partitions: 3   # three
brokers:
  - id: 1
  - {id: 2, configs: {log.retention.hours: 1}}
  - {id: 3, configs: {log.retention.hours: 2}, rack: c}
  - {id: 4}
"""
FLOW = "{brokers: [{id: 1}], coordination: zookeeper, zookeeper.connect: 'zk:2181/k'}"
ONE = "brokers:\n  - id: 1\nconfigs: {offsets.storage: zookeeper}\ncoordination: zookeeper\nzookeeper.connect: zk:2181"


@pytest.mark.parametrize(
    ("text", "after"),
    [(BLOCKS, BLOCKS_AFTER), (FLOW, "{brokers: [{id: 1}]}"), (ONE, "brokers:\n  - id: 1\n")],
)
def test_what_is_zookeepers_goes_and_the_rest_stays(text: str, after: str) -> None:
    before, _ = parse_cluster_spec(text)
    assert before.zookeeper is not None
    assert without_zookeeper(text) == after
    spec, warnings = parse_cluster_spec(after)
    assert spec.zookeeper is None and not warnings
    assert [each.broker_id for each in spec.brokers] == [each.broker_id for each in before.brokers]
    assert without_zookeeper(after) == after
