"""Brokers and controllers: /brokers/ids/N as Kafka 3.9 has it (BrokerIdZNode, version 5), and /kconsole/brokers/N and
/kconsole/controllers/N with all of a registration, also of one that is fenced or dead."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from engine.core.controller.broker_image import BrokerImage, ControllerImage, Endpoint, VersionRange
from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields, json_bytes
from engine.core.znodes.operations import Znode
from engine.model.ids import uuid_to_str

EPHEMERAL_VERSION = 5
OWN_VERSION = 1
# SecurityProtocol
_PROTOCOLS = {0: "PLAINTEXT", 1: "SSL", 2: "SASL_PLAINTEXT", 3: "SASL_SSL"}
_PROTOCOL_NUMBERS = {name: number for number, name in _PROTOCOLS.items()}
_PLAINTEXT = 0


def encode_ephemeral(broker: BrokerImage, *, timestamp_ms: int, jmx_port: int = -1) -> bytes:
    """What a broker writes to /brokers/ids/N: byte for byte as Kafka 3.9 with the same listeners would, and who it is.

    ``features`` stays empty: those of Kafka 4.3 would have Kafka 3.9's controller refuse the broker. ``incarnation_id``
    is kconsole's own field, and tells its brokers from Kafka's.
    """
    plaintext = next((each for each in broker.listeners.values() if each.security_protocol == _PLAINTEXT), None)
    fields: dict[str, Any] = {
        "features": {},
        "listener_security_protocol_map": {
            name: _PROTOCOLS[each.security_protocol] for name, each in broker.listeners.items()
        },
        "endpoints": [f"{name}://{_in_url(each.host)}:{each.port}" for name, each in broker.listeners.items()],
        **({} if broker.rack is None else {"rack": broker.rack}),
        "jmx_port": jmx_port,
        "port": -1 if plaintext is None else plaintext.port,
        "host": None if plaintext is None else plaintext.host,
        "version": EPHEMERAL_VERSION,
        "timestamp": str(timestamp_ms),
    }
    return json_bytes({**fields, "incarnation_id": uuid_to_str(broker.incarnation_id)})


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def decode_ephemeral(path: str, znode: Znode) -> BrokerImage:
    """The registration of a broker that only /brokers/ids/N knows: Apache Kafka's, unfenced. Its epoch is the znode's
    czxid, as in Kafka; its incarnation is made of that, and its log directories are not known.

    Raises:
        ZnodeCorrupt: it is not what Kafka writes there.
    """
    fields = JsonFields.parse(path, znode.data)
    number = number_of(path, fields)
    return BrokerImage(
        broker_id=number,
        broker_epoch=znode.czxid,
        incarnation_id=(
            fields.uuid("incarnation_id")
            if "incarnation_id" in fields
            else hashlib.sha256(f"broker {number} {znode.czxid}".encode()).digest()[:16]
        ),
        listeners=_ephemeral_listeners(fields),
        rack=fields.text("rack") if "rack" in fields else None,
        fenced=False,
        features=_ephemeral_features(fields),
    )


def is_kconsoles(path: str, data: bytes) -> bool:
    """Whether a broker under /brokers/ids is one of kconsole, whose registration is in /kconsole/brokers only (it may
    live before it is registered, and after it was unregistered). Raises: ZnodeCorrupt."""
    return "incarnation_id" in JsonFields.parse(path, data)


def _ephemeral_listeners(fields: JsonFields) -> dict[str, Endpoint]:
    version = fields.integer("version")
    if version < 1:
        fields.corrupt(f"version {version} of a broker's registration is not known")
    if version == 1:
        endpoint = Endpoint(fields.text("host"), fields.integer("port", low=0, high=65_535), _PLAINTEXT)
        return {_PROTOCOLS[_PLAINTEXT]: endpoint}
    protocols = fields.object("listener_security_protocol_map", {}).as_texts()
    listeners = {}
    for text in fields.texts("endpoints"):
        name, separator, address = text.partition("://")
        host, colon, port = address.rpartition(":")
        protocol = _PROTOCOL_NUMBERS.get(protocols.get(name, name))
        if not (separator and colon and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
            fields.corrupt(f"the endpoint {text!r} is not NAME://host:port")
        if protocol is None:
            fields.corrupt(f"the listener {name} has no security protocol that is known")
        listeners[name] = Endpoint(host.removeprefix("[").removesuffix("]"), int(port), protocol)
    return listeners


def _ephemeral_features(fields: JsonFields) -> dict[str, VersionRange]:
    features = fields.object("features", {})
    return {name: _range(features.object(name)) for name in features}


def _range(fields: JsonFields) -> VersionRange:
    high = fields.integer("max_version", low=0, high=32_767)
    return VersionRange(fields.integer("min_version", 0, low=0, high=32_767), high)


def number_of(path: str, fields: JsonFields) -> int:
    """The id of the broker or controller in a path. Raises: ZnodeCorrupt: there is none."""
    text = paths.name_of(path)
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) >= 2**31:
        fields.corrupt(f"{text!r} is not a node's id")
    return int(text)


def encode_own_broker(broker: BrokerImage, *, changed_ms: int) -> bytes:
    """/kconsole/brokers/N: all of a registration. ``changed_ms`` is for who looks at the tree: fenced since when."""
    fields: dict[str, Any] = {
        "version": OWN_VERSION,
        "changed_ms": changed_ms,
        "broker_epoch": broker.broker_epoch,
        "incarnation_id": uuid_to_str(broker.incarnation_id),
        "listeners": _own_listeners(broker.listeners),
        "features": _own_features(broker.features),
        "fenced": broker.fenced,
        "in_controlled_shutdown": broker.in_controlled_shutdown,
        "log_dirs": [uuid_to_str(each) for each in broker.log_dirs],
    }
    if broker.rack is not None:
        fields["rack"] = broker.rack
    if broker.cordoned_log_dirs is not None:
        fields["cordoned_log_dirs"] = [uuid_to_str(each) for each in broker.cordoned_log_dirs]
    return json_bytes(fields)


def decode_own_broker(path: str, data: bytes) -> BrokerImage:
    """The inverse of :func:`encode_own_broker`. Raises: ZnodeCorrupt."""
    fields = JsonFields.parse(path, data)
    return BrokerImage(
        broker_id=number_of(path, fields),
        broker_epoch=fields.long("broker_epoch"),
        incarnation_id=fields.uuid("incarnation_id"),
        listeners=_decoded_listeners(fields),
        rack=fields.text("rack") if "rack" in fields else None,
        fenced=fields.boolean("fenced"),
        in_controlled_shutdown=fields.boolean("in_controlled_shutdown"),
        features=_decoded_features(fields),
        log_dirs=tuple(fields.uuids("log_dirs")),
        cordoned_log_dirs=tuple(fields.uuids("cordoned_log_dirs")) if "cordoned_log_dirs" in fields else None,
    )


def encode_own_controller(controller: ControllerImage) -> bytes:
    """/kconsole/controllers/N: all of a controller's registration (KIP-919)."""
    return json_bytes(
        {
            "version": OWN_VERSION,
            "incarnation_id": uuid_to_str(controller.incarnation_id),
            "zk_migration_ready": controller.zk_migration_ready,
            "listeners": _own_listeners(controller.listeners),
            "features": _own_features(controller.features),
        }
    )


def decode_own_controller(path: str, data: bytes) -> ControllerImage:
    """The inverse of :func:`encode_own_controller`. Raises: ZnodeCorrupt."""
    fields = JsonFields.parse(path, data)
    return ControllerImage(
        controller_id=number_of(path, fields),
        incarnation_id=fields.uuid("incarnation_id"),
        zk_migration_ready=fields.boolean("zk_migration_ready"),
        listeners=_decoded_listeners(fields),
        features=_decoded_features(fields),
    )


def _own_listeners(listeners: Mapping[str, Endpoint]) -> dict[str, dict[str, Any]]:
    return {name: each._asdict() for name, each in listeners.items()}


def _decoded_listeners(fields: JsonFields) -> dict[str, Endpoint]:
    listeners = fields.object("listeners")
    return {name: _endpoint(listeners.object(name)) for name in listeners}


def _endpoint(fields: JsonFields) -> Endpoint:
    return Endpoint(
        fields.text("host"),
        fields.integer("port", low=0, high=65_535),
        fields.integer("security_protocol", low=-32_768, high=32_767),
    )


def _own_features(features: Mapping[str, VersionRange]) -> dict[str, dict[str, int]]:
    return {name: each._asdict() for name, each in features.items()}


def _decoded_features(fields: JsonFields) -> dict[str, VersionRange]:
    features = fields.object("features")
    return {name: _range(features.object(name)) for name in features}
