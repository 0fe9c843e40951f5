"""Java's names of a client's configs as librdkafka's, for the producers and consumers of tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from engine.client.security.librdkafka import librdkafka_security, without_security
from engine.client.security.properties import SecurityError
from engine.connect.errors import ConfigError

log = logging.getLogger(__name__)
LIBRDKAFKA_LOG = logging.getLogger("librdkafka")

_RENAMED = {
    "buffer.memory": "queue.buffering.max.kbytes",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "max.request.size": "message.max.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "request.timeout.ms": "socket.timeout.ms",
    "send.buffer.bytes": "socket.send.buffer.bytes",
}
# Java's machinery, and what librdkafka does without being told.
_MEANINGLESS = frozenset(
    (
        "auto.include.jmx.reporter",
        "default.api.timeout.ms",
        "enable.metrics.push",
        "exclude.internal.topics",
        "interceptor.classes",
        "key.deserializer",
        "key.serializer",
        "max.block.ms",
        "max.poll.records",
        "metadata.max.idle.ms",
        "metadata.recovery.rebootstrap.trigger.ms",
        "metric.reporters",
        "metrics.num.samples",
        "metrics.recording.level",
        "metrics.sample.window.ms",
        "partitioner.adaptive.partitioning.enable",
        "partitioner.availability.timeout.ms",
        "partitioner.class",
        "partitioner.ignore.keys",
        "socket.connection.setup.timeout.max.ms",
        "value.deserializer",
        "value.serializer",
    )
)
_ASSIGNORS = {
    "RangeAssignor": "range",
    "RoundRobinAssignor": "roundrobin",
    "CooperativeStickyAssignor": "cooperative-sticky",
}


def librdkafka_settings(props: Mapping[str, str]) -> dict[str, str]:
    """Settings for librdkafka; never print them.

    Raises:
        ConfigError: what is said of security is wrong.
    """
    try:
        found = librdkafka_security(props)
    except SecurityError as error:
        raise ConfigError("security.protocol", props.get("security.protocol"), str(error)) from None
    for name, value in without_security(props).items():
        if name in _MEANINGLESS:
            continue
        if name == "buffer.memory":
            value = str(max(1, int(value) // 1024))
        elif name == "partition.assignment.strategy":
            given = (each.strip().rpartition(".")[2] for each in value.split(","))
            value = ",".join(_ASSIGNORS.get(each, each) for each in given)
        elif name == "isolation.level":
            value = value.lower()
        found[_RENAMED.get(name, name)] = value
    return found
