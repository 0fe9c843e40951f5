"""Who may ask: everybody on this machine, or who knows a user's password (HTTP's Basic scheme). Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from engine.registry.config import is_loopback


def is_user(header: str | None, users: Mapping[str, str]) -> bool:
    """Whether an ``Authorization`` header names a user with their password (``basic.auth.user.info`` of clients)."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    known = users.get(name)
    # As long for names that are not there.
    same = hmac.compare_digest(password.encode(), (known or "").encode())
    return bool(colon) and known is not None and same


def is_local_host(header: str | None) -> bool:
    """Whether a ``Host`` header means this machine: a page of somebody else's, led here by a name of its own (DNS
    rebinding), does not."""
    try:
        host = urlsplit(f"//{header or ''}").hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
