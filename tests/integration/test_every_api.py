"""Every advertised API in every advertised version, on both kinds of listeners: an answer that decodes, whatever it is.

The contents are made from the schemas: all defaults; one element in every array, naming a topic, a group and a cluster
that exist; and the same with the extremes of every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.client.connection import Connection
from engine.client.errors import ClientError
from engine.wire import apis
from engine.wire.apis import ApiKey
from engine.wire.codec import EncodeError
from engine.wire.message import STRUCT, Field, Message
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.produce_request import ProduceRequest
from engine.world.real import real_world
from tests.integration.conftest import Cluster
from tests.integration.observing import Brokers, controller_address

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOPIC = "every-api"
# A request may wait for others (JoinGroup) or for the controller, but not for ever.
ANSWER_MS = 15_000
# Fetches and votes of the quorum that wait are asked not to.
LIMITS = {"max_wait_ms": 10, "max_wait_time_ms": 10, "timeout_ms": 2000, "session_timeout_ms": 6000}
BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint16": 16, "uint32": 32}

Choose = Callable[[Field], Any]


class Known(dict[str, Any]):
    """Values by field name that mean something in the cluster."""


def filled(cls: type[Message], version: int, choose: Choose) -> Message:
    """A message with one element in each array and ``choose(field)`` in each plain field (``None``: its default)."""
    message = cls()
    for field in cls.FIELDS:
        if not field.low <= version <= field.high:
            continue
        if field.type == "[]struct":
            value: Any = [filled(field.struct, version, choose)]
        elif field.type == "struct":
            if field.default is not STRUCT:
                continue
            value = filled(field.struct, version, choose)
        elif field.type.startswith("[]"):
            element = choose(field._replace(type=field.type[2:]))
            value = [] if element is None else [element]
        else:
            value = choose(field)
        if value is not None:
            setattr(message, field.name, value)
    return message


def contents(cls: type[Message], version: int, known: Known) -> Iterator[tuple[str, Message]]:
    """The requests to send, each with what it is made of."""

    def limited(message: Message) -> Message:
        for name, value in LIMITS.items():
            if any(field.name == name and field.low <= version <= field.high for field in cls.FIELDS):
                setattr(message, name, value)
        if isinstance(message, ProduceRequest):
            message.acks = -1  # acks=0 is not answered
        return message

    def of_the_cluster(field: Field) -> Any:
        if field.name in known:
            return known[field.name]
        return "x" if field.type == "string" and not field.nullable else None

    def extreme(sign: int) -> Choose:
        def choose(field: Field) -> Any:
            bits = BITS.get(field.type)
            if bits is None:
                return of_the_cluster(field)
            if field.type.startswith("u"):
                return (1 << bits) - 1 if sign > 0 else 0
            return (1 << bits) - 1 if sign > 0 else -(1 << bits)

        return choose

    yield "defaults", limited(cls())
    yield "the cluster's names", limited(filled(cls, version, of_the_cluster))
    yield "largest numbers", limited(filled(cls, version, extreme(1)))
    yield "smallest numbers", limited(filled(cls, version, extreme(-1)))


async def send_all(address: tuple[str, int], expected: str, known: Known) -> dict[str, str]:
    """Send every request that the listener advertises; what was not answered, and why."""
    world = real_world()
    failures: dict[str, str] = {}
    connection = await Connection.open(world, *address, client_id="every-api", timeout_ms=5000)
    advertised = {key: versions for key, versions in connection.versions.items()}
    assert {ApiKey(key) for key in advertised} == {
        key for key in map(ApiKey, advertised) if expected in apis.schema_listeners(key)
    }
    sent = 0
    for key, (low, high) in sorted(advertised.items()):
        for version in range(max(low, apis.version_range(key)[0]), high + 1):
            for what, request in contents(apis.request_class(key), version, known):
                name = f"{ApiKey(key).name} v{version}, {what}"
                try:
                    await connection.send(request, version=version, timeout_ms=ANSWER_MS)
                    sent += 1
                except EncodeError as error:
                    failures[name] = f"cannot be written: {error}"
                except ClientError as error:
                    failures[name] = str(error)
                    connection.close()
                    connection = await Connection.open(world, *address, client_id="every-api", timeout_ms=5000)
    connection.close()
    assert sent > 200 or failures
    return failures


async def known_values(address: tuple[str, int]) -> Known:
    connection = await Connection.open(real_world(), *address, client_id="every-api", timeout_ms=5000)
    request = MetadataRequest(topics=[MetadataRequestTopic(name=TOPIC)])
    response = await connection.send(request, timeout_ms=ANSWER_MS)
    connection.close()
    (topic,) = response.topics
    assert not topic.error_code
    names = dict.fromkeys(("name", "topic", "topic_name"), TOPIC)
    groups = dict.fromkeys(
        ("group_id", "group", "groups", "key", "coordinator_keys", "groups_names"), "every-api-group"
    )
    return Known(names, **groups, topic_id=topic.topic_id, cluster_id=response.cluster_id, host="127.0.0.1")


async def test_every_api_is_answered_in_every_version_that_is_advertised(own_cluster: Cluster) -> None:
    brokers = Brokers(own_cluster)
    address = brokers.address(1)
    known = await known_values(address)
    failures = {f"broker: {name}": why for name, why in (await send_all(address, "broker", known)).items()}
    for broker_id in (1, 2):  # one of them is not the active controller
        found = await send_all(controller_address(own_cluster, broker_id), "controller", known)
        failures |= {f"controller {broker_id}: {name}": why for name, why in found.items()}
    assert failures == {}
    brokers.assert_unharmed()
