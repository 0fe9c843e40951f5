"""TLS and SASL against a broker of Apache Kafka: each protocol and mechanism, and what who is wrong is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from console.gateway import Gateway, GatewayError
from console.gateway.opening import open_gateway
from console.gateway.protocol import NewRecord, NewTopic, ReadFrom, Start, Tail
from console.looking import Look, Unreachable, look
from console.options import ConsoleOptions
from engine.client.connection import Connection
from engine.client.security.world import secured
from engine.wire.messages.metadata_request import MetadataRequest
from engine.world.real import real_world
from tests.integration.secured_kafka import KEY_PASSWORD, PASSWORD, PLAIN_PASSWORD, SecuredKafka, secured_kafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(45)]

SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def alice(kafka: SecuredKafka, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": f'{SCRAM_MODULE} required username="alice" password="{PASSWORD}";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": f"{kafka.directory}/ca.pem",
    }


def bob(kafka: SecuredKafka) -> dict[str, str]:
    ca = f"{kafka.directory}/ca.pem"
    who = {"sasl.mechanism": "PLAIN", "sasl.username": "bob", "sasl.password": PLAIN_PASSWORD}
    return {"security.protocol": "SASL_SSL", **who, "ssl.ca.location": ca}


def certified(kafka: SecuredKafka) -> dict[str, str]:
    in_one_line = " ".join((kafka.directory / "ca.pem").read_text().split("\n"))
    return {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": in_one_line,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": f"{kafka.directory}/client-encrypted.pem",
        "ssl.key.password": KEY_PASSWORD,
    }


def gateway(address: str, properties: dict[str, str]) -> Gateway:
    return open_gateway(ConsoleOptions(address, properties))


async def looked(address: str, properties: dict[str, str]) -> Look:
    opened = gateway(address, properties)
    try:
        return await look(opened, 8, without=("the metadata quorum",))
    finally:
        await opened.close()


async def written_and_read(address: str, properties: dict[str, str], topic: str) -> bytes | None:
    """Create a topic by our client, write by librdkafka, read by ours: all with the same properties."""
    opened = gateway(address, properties)
    try:
        await opened.create_topic(NewTopic(topic, 1, 1, {}))
        await opened.produce(NewRecord(topic, None, b"over TLS"))
        async for batch in opened.tail(Tail((topic,), read_from=ReadFrom(Start.START))):
            if batch.records:
                return batch.records[0].value
    finally:
        await opened.close()
    return None


async def test_each_protocol_and_mechanism_reads_writes_and_looks(kafka: SecuredKafka) -> None:
    ways: list[tuple[str, dict[str, str], str]] = [
        (kafka.sasl_ssl, alice(kafka, "SCRAM-SHA-256"), "scram-256"),
        (kafka.sasl_ssl, alice(kafka), "scram-512"),
        (kafka.sasl_ssl, bob(kafka), "plain"),
        (kafka.ssl, certified(kafka), "certificate"),
        (kafka.sasl, {**alice(kafka, "SCRAM-SHA-256"), "security.protocol": "SASL_PLAINTEXT"}, "unencrypted"),
    ]
    found = await asyncio.gather(*(written_and_read(address, how, topic) for address, how, topic in ways))
    assert found == [b"over TLS"] * len(ways)
    seen = await looked(kafka.sasl_ssl, alice(kafka))
    assert {topic.name for topic in seen.snapshot.topics} >= {topic for _, _, topic in ways}
    assert seen.snapshot.brokers_up == 1


async def test_who_is_wrong_is_told_the_property_and_what_helps(kafka: SecuredKafka) -> None:
    own = alice(kafka)
    strange = {"ssl.truststore.location": f"{kafka.directory}/strangers.pem"}
    by_name = kafka.sasl_ssl.replace("127.0.0.1", "localhost")
    uncertified = {name: value for name, value in certified(kafka).items() if "key" not in name}
    wrong = {
        "refuses user alice: Authentication failed": (
            kafka.sasl_ssl,
            {**own, "sasl.jaas.config": own["sasl.jaas.config"].replace(PASSWORD, "guessed")},
        ),
        "signed by nobody who is trusted here: set ssl.truststore.location": (kafka.sasl_ssl, own | strange),
        "is not for localhost: connect by a name that stands in it": (by_name, own),
        "does not take sasl.mechanism PLAIN: it takes SCRAM-SHA-256": (
            kafka.sasl,
            {**bob(kafka), "security.protocol": "SASL_PLAINTEXT"},
        ),
        "does not accept this client's certificate": (kafka.ssl, uncertified),
        "asks nobody who he is": (kafka.plain, {**alice(kafka), "security.protocol": "SASL_PLAINTEXT"}),
        "does not answer in TLS: is security.protocol right": (kafka.plain, own),
        "it speaks TLS: set security.protocol": (kafka.sasl_ssl, {}),
        "does it want TLS or SASL": (kafka.sasl, {}),
    }

    async def told(address: str, properties: dict[str, str]) -> str:
        try:
            await looked(address, properties)
        except (Unreachable, GatewayError) as error:
            return str(error)
        return "nothing was wrong"

    errors = await asyncio.gather(*(told(*each) for each in wrong.values()))
    for expected, error in zip(wrong, errors, strict=True):
        assert expected in error, error
        assert "guessed" not in error and PASSWORD not in error and PLAIN_PASSWORD not in error


async def test_a_connection_outlives_its_session(kafka: SecuredKafka) -> None:
    """The broker ends what does not authenticate anew within connections.max.reauth.ms, 1.5 s there (KIP-368)."""
    world = secured(real_world(), {**alice(kafka, "SCRAM-SHA-256"), "security.protocol": "SASL_PLAINTEXT"})
    host, _, port = kafka.sasl.rpartition(":")
    connection = await Connection.open(world, host, int(port), client_id="test", timeout_ms=5_000)
    loop = asyncio.get_running_loop()
    ends = loop.time() + 1.7
    answered = 0
    while loop.time() < ends:
        many: list[Any] = [connection.send(MetadataRequest()) for _ in range(10)]
        answered += len(await asyncio.gather(*many))
    assert not connection.closed and answered > 10
    connection.close()
