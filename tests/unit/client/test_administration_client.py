"""What the admin client makes of passwords, and which transactions it calls hanging: pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

from engine.client.admin.producers import ActiveProducer, hanging
from engine.client.admin.scram import ScramMechanism, salted
from engine.client.admin.transactions import TransactionDescription
from engine.model.topic_partition import TopicPartition


def test_a_password_is_salted_as_rfc_7677_has_it() -> None:
    """With the salted password of the RFC's example a server signs as it does there."""
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}"
    made = salted("user", ScramMechanism.SCRAM_SHA_256, 4096, "pencil", base64.b64decode(salt))
    server_key = hmac.digest(made.salted_password, b"Server Key", hashlib.sha256)
    signature = base64.b64encode(hmac.digest(server_key, said.encode(), hashlib.sha256))
    assert signature == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert "pencil" not in repr(made) and made.salted_password.hex() not in repr(made)


ORDERS, PAYMENTS = TopicPartition("orders", 0), TopicPartition("payments", 1)


def test_a_transaction_hangs_that_no_coordinator_will_end() -> None:
    def producer(producer_id: int, at_ms: int = 0, start: int = 40, place: TopicPartition = ORDERS) -> ActiveProducer:
        return ActiveProducer(place, producer_id, 0, 5, at_ms, -1, start)

    known = TransactionDescription("tx-1", 1, "Ongoing", 1, 0, 60_000, 0, (ORDERS,))
    unknown, closed, young = producer(2), producer(2, start=-1), producer(2, at_ms=50)
    elsewhere = producer(1, place=PAYMENTS)
    found = hanging([producer(1), elsewhere, unknown, closed, young], [known], 1_050, 1_000)
    assert found == [elsewhere, unknown]
