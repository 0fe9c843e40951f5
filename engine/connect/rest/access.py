"""Who may ask a worker's REST. Pure; what :mod:`console.web.access` is for the console's pages.

A connector reads and writes what the worker can, so whoever creates one must show that he was told the token. The
name by which he calls the worker (``Host``) and the page that had his browser ask (``Origin``) are looked at as well:
without a token (``rest.auth=none``) they alone keep other people's pages out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple


class Refusal(NamedTuple):
    """An HTTP status and a sentence."""

    status: int
    sentence: str


class Access:
    """What is asked of each request."""

    def __init__(self, token: str | None, hosts: frozenset[str]) -> None:
        """
        Args:
            token: None: any request that calls the worker by its name may come in.
            hosts: names of the worker, in small letters, besides literal addresses.
        """
        self._token = None if token is None else token.encode()
        self._hosts = hosts

    def stranger(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request did not mean this worker, or comes from somebody else's page; None if neither is so."""
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return Refusal(403, f"This worker is not called {host or 'nothing'}: see rest.advertised.host.name")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return Refusal(403, f"A page of {origin} has no business here")
        return None

    def unknown(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request does not show that it may come in: a bearer's token, or the token as Basic's password."""
        if self._token is None:
            return None
        given = _token_of(headers.get("Authorization", ""))
        if given is None:
            return Refusal(401, "This worker wants its token: Authorization: Bearer <token> (rest.token.file has it)")
        if not hmac.compare_digest(given, self._token):
            return Refusal(401, "The token is not this worker's")
        return None

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        name = name.lower().strip("[]")
        if name in self._hosts:
            return True
        try:
            # A page can have a foreign name point here, but not a literal address that is not its own.
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True


def _token_of(header: str) -> bytes | None:
    scheme, _, rest = header.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip().encode(errors="replace")
        case "basic":
            try:
                return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return None
    return None
