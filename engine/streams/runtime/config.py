"""The configs of an application, under the names and with the defaults of Kafka's ``StreamsConfig`` (4.3)."""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from engine.client.security.librdkafka import librdkafka_security
from engine.client.security.properties import SecurityError
from engine.streams.error_handlers import Handler, fail, go_on
from engine.streams.errors import StreamsError
from engine.streams.processors.endpoints import (
    fail_on_invalid_timestamp,
    log_and_skip_on_invalid_timestamp,
    use_partition_time_on_invalid_timestamp,
)
from engine.streams.serdes import Serde, Serdes
from engine.streams.stores.errors import StateStoreError
from engine.streams.stores.kinds import engines_named

AT_LEAST_ONCE = "at_least_once"
EXACTLY_ONCE = "exactly_once_v2"
STREAMS, CLASSIC = "streams", "classic"
"""Values of ``group.protocol``."""

DEFAULTS: dict[str, Any] = {
    "application.id": None,
    "application.server": "",
    "application.server.token": "",
    "auto.offset.reset": "earliest",
    "bootstrap.servers": None,
    "buffered.records.per.partition": 1000,
    "client.id": "",
    "client.rack": None,
    "commit.interval.ms": 30_000,
    "default.dsl.store": "sqlite",
    "default.key.serde": None,
    "default.timestamp.extractor": "FailOnInvalidTimestamp",
    "default.value.serde": None,
    "deserialization.exception.handler": "LogAndFailExceptionHandler",
    "errors.dead.letter.queue.topic.name": None,
    "group.protocol": "",
    "heartbeat.interval.ms": 3_000,
    "max.poll.interval.ms": 300_000,
    "max.task.idle.ms": 0,
    "num.standby.replicas": None,
    "poll.ms": 100,
    "processing.exception.handler": "LogAndFailProcessingExceptionHandler",
    "processing.guarantee": AT_LEAST_ONCE,
    "production.exception.handler": "DefaultProductionExceptionHandler",
    "repartition.purge.interval.ms": 30_000,
    "replication.factor": -1,
    "request.timeout.ms": 30_000,
    "session.timeout.ms": 45_000,
    "state.cleanup.delay.ms": 600_000,
    "state.dir": "/tmp/kafka-streams",
    "statestore.cache.max.bytes": 0,
    "task.timeout.ms": 300_000,
    "topology.optimization": "none",
    "transaction.timeout.ms": 10_000,
    "windowstore.changelog.additional.retention.ms": 86_400_000,
}
"""Every config that is known, and its default; ``transaction.timeout.ms`` is Streams' for exactly-once."""

RESET_BY_DURATION: Final = re.compile(
    r"by_duration:P(?=.)(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
"""``auto.offset.reset``: so long ago (KIP-1106); days, hours, minutes, seconds."""

_EXACTLY_ONCE_COMMIT_INTERVAL_MS = 100
# It is the name of a directory, too.
_APPLICATION_ID = re.compile(r"(?!\.\.?$)[a-zA-Z0-9._-]+")
_SECURITY = ("security.protocol", "sasl.", "ssl.")
_PREFIXES = ("main.consumer.", "restore.consumer.", "global.consumer.", "consumer.", "producer.")
# What the runtime depends on; Kafka Streams refuses or overrides these too.
_OURS = (
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "partitioner",
    "transactional.id",
)
_HANDLERS: dict[str, Handler] = {
    "LogAndFailExceptionHandler": fail,
    "LogAndContinueExceptionHandler": go_on,
    "LogAndFailProcessingExceptionHandler": fail,
    "LogAndContinueProcessingExceptionHandler": go_on,
    "DefaultProductionExceptionHandler": fail,
}
_EXTRACTORS = {
    "FailOnInvalidTimestamp": fail_on_invalid_timestamp,
    "LogAndSkipOnInvalidTimestamp": log_and_skip_on_invalid_timestamp,
    "UsePartitionTimeOnInvalidTimestamp": use_partition_time_on_invalid_timestamp,
}
_SERDES = {
    "StringSerde": Serdes.string,
    "ByteArraySerde": Serdes.bytes,
    "BytesSerde": Serdes.bytes,
    "LongSerde": Serdes.long,
    "IntegerSerde": Serdes.integer,
    "ShortSerde": Serdes.short,
    "DoubleSerde": Serdes.double,
    "FloatSerde": Serdes.float,
    "BooleanSerde": Serdes.boolean,
    "UUIDSerde": Serdes.uuid,
    "string": Serdes.string,
    "bytes": Serdes.bytes,
    "long": Serdes.long,
    "integer": Serdes.integer,
    "short": Serdes.short,
    "double": Serdes.double,
    "float": Serdes.float,
    "boolean": Serdes.boolean,
    "uuid": Serdes.uuid,
    "json": Serdes.json,
}


class StreamsConfigError(StreamsError):
    """A config is wrong or missing; the message names it and the remedy (``ConfigException``)."""


class StreamsConfig:
    """Configs of one application, checked. ``config["commit.interval.ms"]`` gives a value of the default's type."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Check ``given``, texts as from a file or Python's own values.

        Raises:
            StreamsConfigError: unknown name, wrong value, or something that is needed is missing.
        """
        self._values = dict(DEFAULTS)
        self._clients: dict[str, str] = {}
        self._security: dict[str, str] = {}
        for name, value in given.items():
            if name.endswith("group.instance.id"):
                raise StreamsConfigError(
                    f"{name}: static members are not built; leave it out (a worker that is started again with its "
                    "state.dir takes the place of the one before at once)"
                )
            if name.startswith(_PREFIXES):
                bare = next(name.removeprefix(each) for each in _PREFIXES if name.startswith(each))
                if bare in _OURS:
                    raise StreamsConfigError(f"{name}: the runtime sets {bare} itself; leave it out")
                self._clients[name] = _text(value)
            elif name.startswith(_SECURITY):
                self._security[name] = _text(value)
            elif name in DEFAULTS:
                self._values[name] = self._converted(name, value)
            else:
                near = difflib.get_close_matches(name, DEFAULTS, 1)
                hint = f"did you mean {near[0]}?" if near else "configs of clients begin with consumer. or producer."
                raise StreamsConfigError(f"{name}: no such config; {hint}")
        self._check(given)
        try:
            self._librdkafka = librdkafka_security(self._security)
        except SecurityError as error:
            raise StreamsConfigError(str(error)) from error

    def _converted(self, name: str, value: Any) -> Any:
        default = DEFAULTS[name]
        if isinstance(default, int) or name == "num.standby.replicas":
            try:
                return int(value)
            except (TypeError, ValueError):
                raise StreamsConfigError(f"{name}: {value!r} is no whole number") from None
        return value

    def _check(self, given: Mapping[str, Any]) -> None:
        values = self._values
        for name, what in (
            ("application.id", "the name of the application, the same for all of its workers"),
            ("bootstrap.servers", "brokers to begin with, as host:port,host:port"),
        ):
            if not values[name]:
                raise StreamsConfigError(f"{name} is missing: give {what}")
        if not _APPLICATION_ID.fullmatch(str(values["application.id"])):
            raise StreamsConfigError(
                f"application.id: {values['application.id']!r} cannot begin the names of topics: only ASCII letters, "
                "digits, '.', '_' and '-' may be in it"
            )
        guarantee = values["processing.guarantee"]
        if guarantee not in (AT_LEAST_ONCE, EXACTLY_ONCE):
            raise StreamsConfigError(
                f"processing.guarantee: {guarantee!r} is neither {AT_LEAST_ONCE} nor {EXACTLY_ONCE}"
            )
        if self.exactly_once and "commit.interval.ms" not in given:
            values["commit.interval.ms"] = _EXACTLY_ONCE_COMMIT_INTERVAL_MS
        if self.exactly_once and any(name.endswith("isolation.level") for name in self._clients):
            raise StreamsConfigError(
                f"isolation.level is read_committed where processing.guarantee is {EXACTLY_ONCE}; leave it out"
            )
        if values["group.protocol"] not in ("", STREAMS, CLASSIC):
            raise StreamsConfigError(
                f"group.protocol: {values['group.protocol']!r} is neither {STREAMS} (KIP-1071: Apache Kafka 4.2 "
                f"or later, or kconsole's own brokers) nor {CLASSIC}; left out, it is what the cluster can"
            )
        for name in (
            "commit.interval.ms",
            "poll.ms",
            "request.timeout.ms",
            "statestore.cache.max.bytes",
            "task.timeout.ms",
        ):
            if values[name] < 0:
                raise StreamsConfigError(f"{name}: {values[name]} is less than 0")
        for name in (
            "buffered.records.per.partition",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "session.timeout.ms",
            "transaction.timeout.ms",
        ):
            if values[name] < 1:
                raise StreamsConfigError(f"{name}: {values[name]} is less than 1")
        if values["max.task.idle.ms"] < -1:
            raise StreamsConfigError(f"max.task.idle.ms: {values['max.task.idle.ms']} is less than -1 (never wait)")
        if not _is_reset(values["auto.offset.reset"]):
            raise StreamsConfigError(
                f"auto.offset.reset: {values['auto.offset.reset']!r} is none of earliest, latest, none, "
                "by_duration:PnDTnHnMnS"
            )
        values["default.timestamp.extractor"] = _one_of(
            "default.timestamp.extractor", values["default.timestamp.extractor"], _EXTRACTORS
        )
        for name in ("deserialization", "processing", "production"):
            config = f"{name}.exception.handler"
            values[config] = _one_of(config, values[config], _HANDLERS)
        for name in ("default.key.serde", "default.value.serde"):
            if values[name] is not None and not isinstance(values[name], Serde):
                made = _one_of(name, values[name], _SERDES)
                values[name] = made if isinstance(made, Serde) else made()
        try:
            engines_named(values["default.dsl.store"])
        except StateStoreError as error:
            raise StreamsConfigError(f"default.dsl.store: {error}") from error
        server = values["application.server"]
        if server and not _is_address(server):
            raise StreamsConfigError(f"application.server: {server!r} is not host:port")
        if server and importlib.util.find_spec("aiohttp") is None:
            raise StreamsConfigError(
                "application.server needs aiohttp: pip install 'kconsole[streams]', or leave it out"
            )
        if server and not values["application.server.token"] and not _is_loopback(server.rpartition(":")[0]):
            raise StreamsConfigError(
                f"application.server: {server} can be reached from other machines: set application.server.token, a "
                "secret that all workers have and who asks them sends, or name 127.0.0.1"
            )

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def application_id(self) -> str:
        """``application.id``, which is the group's id as well."""
        return str(self._values["application.id"])

    @property
    def exactly_once(self) -> bool:
        """Whether ``processing.guarantee`` is exactly_once_v2."""
        return bool(self._values["processing.guarantee"] == EXACTLY_ONCE)

    @property
    def bootstrap(self) -> list[tuple[str, int]]:
        """``bootstrap.servers`` as addresses."""
        found = []
        for each in str(self._values["bootstrap.servers"]).split(","):
            if not _is_address(each.strip()):
                raise StreamsConfigError(f"bootstrap.servers: {each.strip()!r} is not host:port")
            host, _, port = each.strip().rpartition(":")
            found.append((host.strip("[]"), int(port)))
        return found

    @property
    def security(self) -> dict[str, str]:
        """Configs of TLS and SASL, by Kafka's names; never print them."""
        return dict(self._security)

    @property
    def state_directory(self) -> Path:
        """``<state.dir>/<application.id>``."""
        return Path(self._values["state.dir"]) / self.application_id

    def for_tasks(self) -> dict[str, Any]:
        """What a StreamTask wants to know."""
        names = ("application.id", "default.key.serde", "default.value.serde", "default.timestamp.extractor")
        return {name: self._values[name] for name in names}

    def librdkafka(self, *prefixes: str) -> dict[str, Any]:
        """The settings of a client: addresses, security, and what was given under the prefixes, the last wins."""
        found: dict[str, Any] = {"bootstrap.servers": self._values["bootstrap.servers"], **self._librdkafka}
        if self._values["client.rack"]:
            found["client.rack"] = self._values["client.rack"]
        for prefix in prefixes:
            found |= {
                name.removeprefix(prefix): value for name, value in self._clients.items() if name.startswith(prefix)
            }
        return found


def read_properties(text: str, where: str = "the file") -> dict[str, str]:
    """A Java properties file: ``name=value`` lines, ``#`` comments.

    Raises:
        StreamsConfigError: a line is neither.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#!":
            continue
        name, equals, value = stripped.partition("=")
        if not equals:
            raise StreamsConfigError(f"{where}, line {number}: {stripped!r} is not name=value")
        found[name.strip()] = value.strip()
    return found


def load_object(reference: str, what: str) -> Any:
    """What ``package.module:attribute`` names.

    Raises:
        StreamsConfigError: it cannot be imported, or is not there.
    """
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise StreamsConfigError(f"{what}: {reference!r} is not module:attribute")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        where = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            where = f"; it is looked for in {os.getcwd()}, and among what is installed"
        raise StreamsConfigError(f"{what}: {module} cannot be imported: {error}{where}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = difflib.get_close_matches(name, dir(found), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise StreamsConfigError(f"{what}: {module} has no {attribute}{hint}")
        found = getattr(found, name)
    return found


def _one_of(name: str, value: Any, known: Mapping[str, Any]) -> Any:
    """A thing by Kafka's name for it, its Java class, ``module:attribute``, or itself."""
    if not isinstance(value, str):
        if isinstance(value, Callable):  # type: ignore[arg-type]
            return value
        raise StreamsConfigError(f"{name}: {value!r} is neither a name nor a function")
    found = known.get(value.rsplit(".", 1)[-1].rsplit("$", 1)[-1])
    if found is not None:
        return found
    if ":" in value:
        return load_object(value, name)
    raise StreamsConfigError(f"{name}: {value!r} is none of {', '.join(known)}, nor module:attribute")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_reset(value: Any) -> bool:
    return value in ("earliest", "latest", "none") or RESET_BY_DURATION.fullmatch(str(value)) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit()
