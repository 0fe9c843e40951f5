"""Kafka's command-line tools get from kconsole what they get from Apache Kafka.

The table of ``tools_table.py`` is run, each answer compared with what a real Kafka 4.3.1 gave (``make record-tools``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import SPEC as COMMON_SPEC
from tests.integration.conftest import start_cluster, stop_cluster
from tests.integration.tools_table import answers, is_right, read_golden

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]

# Kafka's default instead of ours: the configs of topics show it. And access control, under which the tools may do all.
SPEC = (
    COMMON_SPEC
    + f"  log.flush.interval.messages: {2**63 - 1}\n"
    + "  authorizer.class.name: org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
    + "  super.users: User:ANONYMOUS\n"
    # Members of the newer kinds of groups hear of their assignment at their next heartbeat only.
    + "".join(
        f"  group.{kind}.min.heartbeat.interval.ms: 100\n  group.{kind}.heartbeat.interval.ms: 200\n"
        for kind in ("consumer", "share")
    )
)


def test_every_tool_is_answered_as_kafka_answers_it(tmp_path: Path) -> None:
    golden = read_golden()
    cluster = start_cluster(tmp_path, SPEC)
    try:
        found = list(answers(cluster.bootstrap, tmp_path, golden))
    finally:
        stop_cluster(cluster)
    assert [case.name for case, _ in found] == list(golden), "the table has changed: run make record-tools"
    wrong = []
    for case, text in found:
        if not is_right(case, text, golden[case.name]):
            wrong.append(f"--- {case.name}: Kafka answers\n{golden[case.name]}\n--- and kconsole\n{text}")
    assert not wrong, "\n".join(wrong)
