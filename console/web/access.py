"""Who may speak to the web server. Pure.

A console can kill brokers and delete topics, so whoever reaches its server must show that he was told its address.
Three things are asked, since each alone leaves a way in: that the request was meant for this machine (``Host``: a page
whose foreign name was made to point here says that name), that no other page had the browser send it (``Origin``), and
that it carries the token, or the cookie that was given for it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple

# How this machine may be called. The port is not compared: a tunnel (ssh -L) can end at another one.
_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Refusal(NamedTuple):
    """Why a request is refused: a sentence for whoever sent it."""

    sentence: str


class Access:
    """What is asked of each request."""

    def __init__(self, token: str, session: str, port: int) -> None:
        """
        Args:
            token: stands in the address that is printed.
            session: stands in the cookie, so that the token need not stay in the browser.
            port: of the server; cookies of one host go to all its ports, so the name tells them apart.
        """
        self._token = token.encode()
        self._session = session.encode()
        self.session = session
        self.cookie_name = f"kconsole-{port}"

    def has_token(self, token: str | None) -> bool:
        """Whether it is the one of the printed address; takes as long for any that is as long."""
        return token is not None and hmac.compare_digest(token.encode(errors="replace"), self._token)

    def refusal(
        self, headers: Mapping[str, str], token: str | None, cookies: Mapping[str, str], *, from_page: bool
    ) -> Refusal | None:
        """Why a request is refused, or ``None``.

        Args:
            token: of the address's query.
            from_page: only a page of this server sends such a request (the WebSocket), so an origin must be told.
        """
        host = headers.get("Host", "")
        if not is_this_machine(host):
            return Refusal(f"this is not {host or 'a host without a name'}: open the address that kconsole web printed")
        origin = headers.get("Origin")
        if origin is None and from_page:
            return Refusal("a WebSocket without an Origin is not from a browser's page of this server")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return Refusal(f"a page of {origin} has no business here")
        session = cookies.get(self.cookie_name)
        known = session is not None and hmac.compare_digest(session.encode(errors="replace"), self._session)
        if not known and not self.has_token(token):
            return Refusal("the token is missing or wrong: open the address that kconsole web printed, with its token")
        return None


def is_this_machine(host: str) -> bool:
    """Whether a ``Host`` header names loopback."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.lower() in _NAMES
