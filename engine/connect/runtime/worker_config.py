"""The configs of a worker, with Kafka's names and defaults (``StandaloneConfig``, ``DistributedConfig``, 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.client.security.properties import SecurityError
from engine.client.security.world import secured
from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, between, one_of
from engine.connect.errors import ConfigError
from engine.connect.runtime.config_providers import ConfigTransformer
from engine.world import World
from engine.world.real import real_world

if TYPE_CHECKING:
    from engine.client.admin import AdminClient

_HIGH, _MEDIUM, _LOW = Importance.HIGH, Importance.MEDIUM, Importance.LOW
_INT, _LONG, _SHORT = ConfigType.INT, ConfigType.LONG, ConfigType.SHORT
_STRING, _BOOLEAN, _LIST = ConfigType.STRING, ConfigType.BOOLEAN, ConfigType.LIST
POLICIES = ("All", "None", "Principal")


def _policy(name: str, value: Any) -> None:
    if policy_of(value) not in POLICIES:
        raise ConfigError(name, value, f"It must be one of {', '.join(POLICIES)}")


def policy_of(value: str) -> str:
    """``connector.client.config.override.policy``, by Java's class name as well."""
    return value.rpartition(".")[2].removesuffix("ConnectorClientConfigOverridePolicy")


def _common() -> ConfigDef:
    d = ConfigDef()
    d.define("bootstrap.servers", _LIST, NO_DEFAULT, _HIGH, "Brokers to begin with, as host:port,host:port.")
    d.define("key.converter", ConfigType.CLASS, NO_DEFAULT, _HIGH, "Makes bytes of keys, and reads them.")
    d.define("value.converter", ConfigType.CLASS, NO_DEFAULT, _HIGH, "Makes bytes of values, and reads them.")
    d.define(
        "header.converter",
        ConfigType.CLASS,
        "org.apache.kafka.connect.storage.SimpleHeaderConverter",
        _LOW,
        "Makes bytes of headers, and reads them.",
    )
    d.define(
        "task.shutdown.graceful.timeout.ms",
        _LONG,
        5_000,
        _LOW,
        "How long all tasks of a worker may take to stop, in ms.",
    )
    d.define("offset.flush.interval.ms", _LONG, 60_000, _LOW, "How often tasks commit offsets, in ms.")
    d.define("offset.flush.timeout.ms", _LONG, 5_000, _LOW, "How long a commit may take before it is given up, in ms.")
    d.define(
        "config.providers", _LIST, [], _LOW, "Names of config providers; each has a config.providers.<name>.class."
    )
    d.define(
        "connector.client.config.override.policy",
        _STRING,
        "All",
        _MEDIUM,
        "Which overrides of clients' configs (producer.override.…) connectors may have: All, None, Principal.",
        validator=_policy,
    )
    d.define("topic.creation.enable", _BOOLEAN, True, _LOW, "Whether sources create topics by their topic.creation.….")
    d.define("topic.tracking.enable", _BOOLEAN, True, _LOW, "Whether it is kept which topics a connector uses.")
    d.define(
        "topic.tracking.allow.reset", _BOOLEAN, True, _LOW, "Whether the topics that a connector uses can be reset."
    )
    d.define("listeners", _LIST, ["http://127.0.0.1:8083"], _LOW, "Where REST is served: URLs; port 0 is any free one.")
    d.define("rest.advertised.host.name", _STRING, None, _LOW, "The host under which other workers ask this one.")
    d.define("rest.advertised.port", _INT, None, _LOW, "The port under which other workers ask this one.")
    d.define("rest.advertised.listener", _STRING, None, _LOW, "Which listener other workers use: http or https.")
    d.define("admin.listeners", _LIST, None, _LOW, "Where the resources under /admin are served; empty: nowhere.")
    d.define("access.control.allow.origin", _STRING, "", _LOW, "The Access-Control-Allow-Origin of REST's answers.")
    d.define("access.control.allow.methods", _STRING, "", _LOW, "The methods that other origins may use.")
    d.define("response.http.headers.config", _STRING, "", _LOW, "Rules for the headers of REST's answers.")
    d.define("client.id", _STRING, "", _LOW, "What the worker's clients call themselves.")
    return d


STANDALONE_CONFIG = _common().define(
    "offset.storage.file.filename", _STRING, NO_DEFAULT, _HIGH, "The file that keeps the offsets of sources."
)
"""``StandaloneConfig``."""


def _topic(d: ConfigDef, kind: str, partitions: int | None, what: str) -> None:
    d.define(f"{kind}.storage.topic", _STRING, NO_DEFAULT, _HIGH, f"The topic that keeps {what}.")
    if partitions is not None:
        d.define(
            f"{kind}.storage.partitions",
            _INT,
            partitions,
            _LOW,
            "Its partitions, if the worker creates it; -1: the brokers' default.",
            validator=_partitions,
        )
    d.define(
        f"{kind}.storage.replication.factor",
        _SHORT,
        3,
        _LOW,
        "Its replicas, if the worker creates it; -1: the brokers' default.",
        validator=_partitions,
    )


def _partitions(name: str, value: Any) -> None:
    if value is None or (value != -1 and value < 1):
        raise ConfigError(name, value, "Value must be -1, for the brokers' default, or at least 1")


def _distributed() -> ConfigDef:
    d = _common()
    d.define("group.id", _STRING, NO_DEFAULT, _HIGH, "The name of the group of workers.")
    d.define("session.timeout.ms", _INT, 10_000, _HIGH, "A worker that is not heard of for so long is taken for dead.")
    d.define("rebalance.timeout.ms", _INT, 60_000, _HIGH, "How long a worker may take to join again.")
    d.define("heartbeat.interval.ms", _INT, 3_000, _HIGH, "How often a worker tells the coordinator that it is there.")
    d.define(
        "exactly.once.source.support",
        _STRING,
        "disabled",
        _HIGH,
        "Whether sources write in transactions with their offsets: disabled, preparing (on the way there), enabled.",
        validator=one_of("disabled", "preparing", "enabled", ignore_case=True),
    )
    _topic(d, "offset", 25, "the offsets of sources")
    _topic(d, "config", None, "the configs of connectors and tasks")
    _topic(d, "status", 5, "the states of connectors and tasks")
    d.define(
        "connect.protocol",
        _STRING,
        "sessioned",
        _LOW,
        "How workers share work: eager is not built, compatible and sessioned are.",
        validator=_protocol,
    )
    d.define(
        "scheduled.rebalance.max.delay.ms",
        _INT,
        300_000,
        _LOW,
        "How long the work of a worker that left waits for it to come back.",
        validator=between(0, 2**31 - 1),
    )
    d.define("worker.sync.timeout.ms", _INT, 3_000, _MEDIUM, "How long a worker tries to read the newest configs.")
    d.define(
        "worker.unsync.backoff.ms", _INT, 300_000, _MEDIUM, "How long it waits, if that failed, before the next try."
    )
    d.define(
        "inter.worker.key.ttl.ms",
        _INT,
        3_600_000,
        _LOW,
        "How often the key changes that signs what workers ask each other.",
        validator=between(0, 2**31 - 1),
    )
    for name, kind, default in (
        ("inter.worker.key.generation.algorithm", _STRING, "HmacSHA256"),
        ("inter.worker.key.size", _INT, None),
        ("inter.worker.signature.algorithm", _STRING, "HmacSHA256"),
        ("inter.worker.verification.algorithms", _LIST, ["HmacSHA256"]),
    ):
        d.define(name, kind, default, _LOW, "Of the key that signs what workers ask each other.")
    return d


def _protocol(name: str, value: Any) -> None:
    if value == "eager":
        raise ConfigError(name, value, "The eager protocol is not built: use sessioned (the default) or compatible")
    one_of("compatible", "sessioned")(name, value)


DISTRIBUTED_CONFIG = _distributed()
"""``DistributedConfig``."""

_CLIENTS = ("bootstrap.servers", "security.protocol", "sasl.", "ssl.", "client.dns.lookup", "metadata.max.age.ms")
_PRINCIPAL = ("security.protocol", "sasl.jaas.config", "sasl.mechanism")


class WorkerConfig:
    """A worker's configs, checked. ``config["offset.flush.interval.ms"]`` gives a value of the definition's type."""

    def __init__(self, props: Mapping[str, str]) -> None:
        """Check ``props``; those with ``group.id`` are a distributed worker's.

        Raises:
            ConfigError: something is wrong or missing.
        """
        self.props = dict(props)
        """As given, with references."""
        self.transformer = ConfigTransformer.of(self.props)
        self.resolved = self.transformer.resolve(self.props)
        """With what the references stand for: never shown."""
        self.is_distributed = "group.id" in self.props
        self._values = (DISTRIBUTED_CONFIG if self.is_distributed else STANDALONE_CONFIG).parse(self.resolved)
        self.bootstrap = [_address(each) for each in self["bootstrap.servers"] if each]
        if not self.bootstrap:
            raise ConfigError("bootstrap.servers", "", "Give brokers to begin with, as host:port,host:port")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def exactly_once(self) -> bool:
        """Whether sources are exactly-once here."""
        return bool(self.is_distributed and self["exactly.once.source.support"].lower() == "enabled")

    def world(self) -> World:
        """A world whose connections are secured as the configs want.

        Raises:
            ConfigError: what is said of security is wrong.
        """
        return _secured(self.resolved)

    def admin(self, connector: Mapping[str, str] | None = None) -> AdminClient:
        """An admin client of the worker, or of the connector with these resolved configs; the caller closes it.

        Raises:
            ConfigError: what is said of security or brokers is wrong.
        """
        # A third of what a task's process would import, and has no use for.
        from engine.client.admin import AdminClient

        props = self.client_props("admin", connector)
        brokers = [_address(each.strip()) for each in props["bootstrap.servers"].split(",") if each.strip()]
        return AdminClient(_secured(props), brokers, client_id=self["client.id"] or "connect-admin")

    def client_props(self, kind: str, connector: Mapping[str, str] | None = None) -> dict[str, str]:
        """Configs, by Java's names, of a client of the worker: those of all clients, ``producer.…`` over them.

        Args:
            kind: producer, consumer or admin.
            connector: the resolved configs of the connector whose client it is, for its ``<kind>.override.…``.
        """
        found = {name: value for name, value in self.resolved.items() if name.startswith(_CLIENTS)}
        found |= _under(self.resolved, f"{kind}.")
        if connector is not None:
            found |= _under(connector, f"{kind}.override.")
        return found

    def refused_overrides(self, connector: Mapping[str, str]) -> dict[str, str]:
        """Overrides of clients' configs that the policy does not let a connector have: messages by name."""
        policy = policy_of(self["connector.client.config.override.policy"])
        refused: dict[str, str] = {}
        for kind in ("producer", "consumer", "admin"):
            for name in _under(connector, f"{kind}.override."):
                if policy == "None" or (policy == "Principal" and name not in _PRINCIPAL):
                    refused[f"{kind}.override.{name}"] = (
                        f"The '{policy}' policy does not allow '{name}' to be overridden in the connector "
                        "configuration."
                    )
        return refused


def _secured(props: Mapping[str, str]) -> World:
    try:
        return secured(real_world(), props)
    except SecurityError as error:
        raise ConfigError("security.protocol", props.get("security.protocol"), str(error)) from None


def _under(props: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in props.items()
        if name.startswith(prefix) and not name.startswith(f"{prefix}override.")
    }


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not host:
        raise ConfigError("bootstrap.servers", text, "Brokers are given as host:port")
    return host.strip("[]"), int(port)
