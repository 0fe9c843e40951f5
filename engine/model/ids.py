"""Kafka's UUIDs: 16 bytes, shown as 22 characters of URL-safe base64 (org.apache.kafka.common.Uuid)."""

from __future__ import annotations

import base64
import binascii
from typing import TypeAlias

Uuid: TypeAlias = bytes

ZERO_UUID: Uuid = bytes(16)
# Id of the metadata topic (Uuid.METADATA_TOPIC_ID).
METADATA_TOPIC_ID: Uuid = bytes(15) + b"\x01"


def uuid_to_str(uuid: Uuid) -> str:
    """Base64 without padding, as Kafka prints ids."""
    assert len(uuid) == 16, "a UUID has 16 bytes"
    return base64.urlsafe_b64encode(uuid).rstrip(b"=").decode("ascii")


def uuid_from_str(text: str) -> Uuid:
    """The inverse of :func:`uuid_to_str`.

    Raises:
        ValueError: the text is not 22 characters of URL-safe base64.
    """
    try:
        uuid = base64.urlsafe_b64decode(text + "==")
    except (binascii.Error, ValueError):
        uuid = b""
    if len(uuid) != 16 or len(text) != 22:
        raise ValueError(f"{text!r} is not a Kafka id: 22 characters of URL-safe base64")
    return uuid
