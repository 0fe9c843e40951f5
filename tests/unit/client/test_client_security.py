"""TLS and SASL of a client: what its properties mean, the exchange of SCRAM, and that no secret is ever shown."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from engine.client.channel import Channel
from engine.client.connection import Connection
from engine.client.errors import AuthenticationFailed
from engine.client.security.jaas import JaasError, read_jaas
from engine.client.security.librdkafka import librdkafka_security, without_security
from engine.client.security.properties import SaslCredentials, SecurityError, read_security, rewrapped
from engine.client.security.scram import ScramClient, ScramError
from engine.client.security.secret import ClientProperties, Secret, is_sensitive
from engine.client.security.tls import make_context
from engine.client.security.world import ClientSecurity, SecuredWorld
from engine.wire.apis import ApiKey
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import MetadataResponse
from engine.wire.messages.sasl_authenticate_response import SaslAuthenticateResponse
from engine.wire.messages.sasl_handshake_response import SaslHandshakeResponse
from tests.unit.client.fake_network import FakePeer, FakeRandom, FakeWorld, Later
from tests.unit.client.virtual_time import virtual_time

MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
SCRAM = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256"}
# RFC 7677, section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()
CLIENT_FINAL = b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram(username: str = "user", *, from_token: bool = False) -> ScramClient:
    return ScramClient("sha256", username, Secret("pencil"), NONCE, from_token=from_token)


def test_scram_is_that_of_the_rfc() -> None:
    client = scram()
    assert client.first() == f"n,,n=user,r={NONCE}".encode()
    assert client.final(SERVER_FIRST).endswith(b",p=" + CLIENT_FINAL)
    client.verify(SERVER_FINAL)
    assert scram("a=b,c", from_token=True).first() == f"n,,n=a=3Db=2Cc,r={NONCE},tokenauth=true".encode()


@pytest.mark.parametrize(
    ("server_first", "said"),
    [
        (b"r=other,s=W22Z,i=4096", "nonce"),
        (f"r={NONCE},s=W22Z,i=4096".encode(), "nonce"),
        (SERVER_FIRST.replace(b"4096", b"1"), "iterations"),
        (SERVER_FIRST.replace(b"4096", b"99999999"), "iterations"),
        (SERVER_FIRST.replace(b"W22Z", b"%%%%"), "salt"),
        (b"e=unknown-user", "unknown-user"),
    ],
)
def test_a_server_that_does_not_keep_to_scram_learns_nothing(server_first: bytes, said: str) -> None:
    with pytest.raises(ScramError, match=said):
        scram().final(server_first)


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    client = scram()
    client.final(SERVER_FIRST)
    for wrong in (b"v=AAAA", b"", b"v=", b"e=other-error"):
        with pytest.raises(ScramError):
            client.verify(wrong)


def test_jaas_is_read_as_kafka_reads_it() -> None:
    entry = read_jaas(f'{MODULE} required\n username="ali\\"ce" password=\'a;b=c\' tokenauth=true;')
    assert entry == (MODULE, {"username": 'ali"ce', "password": "a;b=c", "tokenauth": "true"})
    for wrong in ("", MODULE, f"{MODULE} maybe;", f'{MODULE} required username="x"', f'{MODULE} required username="x;'):
        with pytest.raises(JaasError):
            read_jaas(wrong)


def test_credentials_stand_in_jaas_or_in_properties_of_their_own() -> None:
    jaas = f'{MODULE} required username="alice" password="s3cret" tokenauth="true";'
    assert read_security({**SCRAM, "sasl.jaas.config": jaas}).sasl == ("SCRAM-SHA-256", "alice", Secret("s3cret"), True)
    own = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "bob",
        "sasl.password": "",
    }
    assert read_security(own).sasl == ("PLAIN", "bob", Secret(""), False)
    assert not read_security(own).tls and read_security(SCRAM | {"sasl.jaas.config": jaas}).checks_host


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"security.protocol": "TLS"}, "security.protocol: 'TLS' is none of PLAINTEXT, SSL"),
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism: not set; kconsole speaks PLAIN, SCRAM-SHA-256"),
        ({**SCRAM, "sasl.mechanism": "GSSAPI"}, "sasl.mechanism: GSSAPI; kconsole speaks"),
        (SCRAM, "needs a username: set sasl.jaas.config or sasl.username"),
        ({**SCRAM, "sasl.username": "alice"}, "needs a password"),
        ({**SCRAM, "sasl.jaas.config": 'PlainLoginModule required password="s3cret";'}, "needs ScramLoginModule"),
        ({**SCRAM, "sasl.jaas.config": f'{MODULE} required password="s3cret'}, "quotation mark"),
        ({"security.protocol": "SSL", "ssl.truststore.type": "JKS"}, "keytool -exportcert -rfc"),
        ({"security.protocol": "SSL", "ssl.keystore.type": "PKCS12"}, "openssl pkcs12"),
        ({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "ldaps"}, "https, or nothing"),
        ({"security.protocol": "SSL", "ssl.key.location": "/k"}, "needs its certificate"),
        ({"security.protocol": "SSL", "ssl.keystore.certificate.chain": "c"}, "needs its private key"),
    ],
)
def test_what_is_wrong_names_the_property_and_the_remedy_and_no_secret(properties: dict[str, str], said: str) -> None:
    with pytest.raises(SecurityError) as caught:
        read_security(properties)
    assert said in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "content", "said"),
    [
        ({"ssl.ca.location": "/ca.jks"}, b"\xfe\xed\xfe\xed", "is not PEM: keytool"),
        ({"ssl.ca.location": "/gone"}, None, "ssl.ca.location: cannot read /gone"),
        ({"ssl.ca.location": "/ca"}, b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "no certificate"),
        ({"ssl.keystore.location": "/c"}, b"-----BEGIN CERTIFICATE-----", "no private key beside"),
        ({"ssl.keystore.location": "/c"}, b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "set ssl.key.password"),
    ],
)
def test_files_that_are_not_what_a_property_says(more: dict[str, str], content: bytes | None, said: str) -> None:
    def read(path: str) -> bytes:
        if content is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return content

    with pytest.raises(SecurityError, match=said):
        make_context(read_security({"security.protocol": "SSL", **more}), read)


def test_nothing_that_is_secret_is_printed() -> None:
    properties = ClientProperties(
        {
            **SCRAM,
            "sasl.jaas.config": f'{MODULE} required username="alice" password="s3cret";',
            "ssl.keystore.key": "s3cret",
            "ssl.key.password": "s3cret",
            "ssl.key.pem": "s3cret",
            "ssl.keystore.certificate.chain": "chain",
        }
    )
    settings = read_security(properties)
    for each in (properties, settings, settings.sasl, {"x": Secret("s3cret")}, f"{Secret('s3cret')}"):
        assert "s3cret" not in repr(each) and "s3cret" not in str(each)
    assert properties["ssl.key.password"] == "s3cret"
    assert properties.shown()["sasl.mechanism"] == "SCRAM-SHA-256"
    assert is_sensitive("sasl.oauthbearer.client.secret") and not is_sensitive("ssl.truststore.location")


def test_librdkafka_is_told_the_same_in_its_names() -> None:
    properties = {
        **SCRAM,
        "sasl.jaas.config": f'{MODULE} required username="alice" password="s3cret";',
        "ssl.truststore.location": "/ca.pem",
        "ssl.keystore.location": "/client.pem",
        "ssl.endpoint.identification.algorithm": "",
        "linger.ms": "5",
    }
    assert librdkafka_security(properties) == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "alice",
        "sasl.password": "s3cret",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/client.pem",
        "ssl.key.location": "/client.pem",
        "ssl.endpoint.identification.algorithm": "none",
        "enable.ssl.certificate.verification": "true",
    }
    assert without_security(properties) == {"linger.ms": "5"}
    assert librdkafka_security({"linger.ms": "5"}) == {}


# -- a connection -------------------------------------------------------------------------------------------------

HERE = ("b1", 9092)


class LongNonces(FakeRandom):
    def uuid(self) -> bytes:
        return b"0123456789abcdef"


def plain_world(*, lifetime_ms: int = 0, refuses: bool = False) -> tuple[SecuredWorld, list[tuple[int, bytes]]]:
    """A broker that takes PLAIN, and all that it is asked: api and token."""
    inner = FakeWorld()
    inner.random = LongNonces()
    versions = {3: (0, 13), 17: (0, 1), 18: (0, 4), 36: (0, 2)}
    peer = FakePeer(inner.network, HERE, versions)
    asked: list[tuple[int, bytes]] = []

    def note(answer: Any) -> Any:
        def handle(request: Any, version: int) -> Any:
            asked.append((request.API_KEY, getattr(request, "auth_bytes", b"")))
            return answer

        return handle

    code = 58 if refuses else 0
    # It takes its time, in which others would like to be answered.
    peer.on(ApiKey.SASL_HANDSHAKE, note(Later(0.05, lambda: SaslHandshakeResponse(mechanisms=["PLAIN"]))))
    peer.on(
        ApiKey.SASL_AUTHENTICATE,
        note(SaslAuthenticateResponse(code, "Authentication failed.", session_lifetime_ms=lifetime_ms)),
    )
    peer.on(ApiKey.METADATA, note(MetadataResponse()))
    credentials = SaslCredentials("PLAIN", "bob", Secret("s3cret"))
    return SecuredWorld(inner, ClientSecurity("SASL_PLAINTEXT", None, credentials)), asked


@virtual_time
async def test_who_one_is_is_said_first_and_again_before_the_session_ends_with_nothing_between() -> None:
    import asyncio

    world, asked = plain_world(lifetime_ms=10_000)
    connection = await Connection.open(world, *HERE, client_id="test", timeout_ms=1000)
    assert asked == [(17, b""), (36, b"\0bob\0s3cret")]
    # Half-way through 0.85 to 0.95 of the session's time.
    await asyncio.sleep(8.9)
    assert len(asked) == 2
    sent: list[asyncio.Future[Any]] = []
    for _ in range(40):
        sent.append(connection.post(MetadataRequest()))
        await asyncio.sleep(0.01)
    await asyncio.gather(*sent)
    keys = [key for key, _ in asked]
    assert keys.count(17) == keys.count(36) == 2 and keys.count(3) == 40
    at = keys.index(17, 2)
    assert keys[at + 1] == 36 and 3 in keys[:at] and 3 in keys[at:]


@virtual_time
async def test_who_was_refused_is_told_why_and_does_not_knock_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world, asked = plain_world(refuses=True)
    channel = Channel(world, lambda: HERE, "test", negotiate=True)
    for _ in range(3):
        with pytest.raises(AuthenticationFailed, match=r"b1:9092 refuses user bob: Authentication failed: look at"):
            await channel.send(MetadataRequest())
    assert len(asked) == 2
    assert "s3cret" not in caplog.text


def test_pem_in_one_line_gets_its_lines_back() -> None:
    body = "QUJD" * 20
    whole = f"-----BEGIN CERTIFICATE-----\n{body[:64]}\n{body[64:]}\n-----END CERTIFICATE-----\n"
    assert rewrapped(" ".join(whole.split("\n"))) == whole == rewrapped(whole)
    assert rewrapped(f"{whole}{whole}".replace("\n", "")) == whole + whole
    headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n"
    old = f"-----BEGIN EC PRIVATE KEY-----\n{headers}\nQUJD\n-----END EC PRIVATE KEY-----\n"
    assert rewrapped(old) == old
