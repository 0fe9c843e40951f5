"""One broker of Apache Kafka with a listener of each security protocol, and the certificates that go with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.clusters import free_port
from tests.integration.apache_kafka import apache_kafka
from tests.integration.java_tools import KAFKA_LIBS

PASSWORD = "alice's secret"
PLAIN_PASSWORD = "bob's secret"
KEY_PASSWORD = "opens the key"

_MODULES = {
    "scram": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "plain_module": "org.apache.kafka.common.security.plain.PlainLoginModule",
}
_PROPERTIES = r"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{sasl_ssl},SSL://127.0.0.1:{ssl},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server-both.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={plain_module} \
  required user_bob="{bob}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_plaintext.connections.max.reauth.ms=1500
"""


class SecuredKafka(NamedTuple):
    """Addresses of its listeners; the directory has ca.pem, client-both.pem, client-encrypted.pem, strangers.pem."""

    directory: Path
    plain: str
    sasl_ssl: str
    ssl: str
    sasl: str


def make_certificates(directory: Path) -> None:
    """A CA, a server for 127.0.0.1 alone, a client, and a CA that nobody knows: by openssl, as its users make them."""
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    for authority in ("ca", "strangers"):
        named = ["-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", f"/CN={authority}"]
        openssl("req", "-x509", *made, "-days", "2", *named)
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", *made, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{who}.csr", *signed, "-out", f"{who}.pem")
        both = (directory / f"{who}.key").read_text() + (directory / f"{who}.pem").read_text()
        (directory / f"{who}-both.pem").write_text(both)
    openssl("pkcs8", "-topk8", "-in", "client.key", "-passout", f"pass:{KEY_PASSWORD}", "-out", "encrypted.key")
    encrypted = (directory / "encrypted.key").read_text() + (directory / "client.pem").read_text()
    (directory / "client-encrypted.pem").write_text(encrypted)


@contextmanager
def secured_kafka(directory: Path) -> Iterator[SecuredKafka]:
    """Certificates, users alice (SCRAM) and bob (PLAIN), and the broker."""
    make_certificates(directory)
    ports = {name: free_port() for name in ("plain", "sasl_ssl", "ssl", "sasl", "controller")}
    properties = directory / "server.properties"
    properties.write_text(_PROPERTIES.format(directory=directory, bob=PLAIN_PASSWORD, **_MODULES, **ports))
    scram = [f"{name}=[name=alice,password={PASSWORD}]" for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    users = [word for each in scram for word in ("--add-scram", each)]
    java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_LIBS}/*"]
    made = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", str(properties), *users],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items() if name != "controller"}
    with apache_kafka([properties], [address["sasl"]], directory):
        yield SecuredKafka(directory, **address)
