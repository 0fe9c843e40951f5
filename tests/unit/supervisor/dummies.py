"""Options for a supervisor whose brokers are dummies."""

import sys
from pathlib import Path

from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.supervisor import Options

DUMMY = Path(__file__).with_name("dummy_broker.py")
SPEC = """
brokers: [{id: 1}, {id: 2}, {id: 3}]
restart: {backoff_ms: 20, give_up_after: 3}
"""


def options(spec: str = SPEC, *, fresh: bool = False, keep: bool = False) -> Options:
    parsed, _ = parse_cluster_spec(spec)
    return Options(
        parsed,
        spec,
        fresh=fresh,
        keep=keep,
        broker_command=lambda properties: [sys.executable, "-S", "-E", str(DUMMY), properties],
        speaks_kafka=False,
    )
