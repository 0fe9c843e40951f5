"""What a client may meet instead of an answer."""

from __future__ import annotations


class ClientError(Exception):
    """A request had no answer."""


class ConnectionLost(ClientError):
    """The connection could not be opened, or ended before the answer came."""


class AuthenticationFailed(ConnectionLost):
    """The two sides do not trust each other: a certificate, a mechanism or a password; the message says what helps."""


class RequestTimedOut(ClientError):
    """No answer within the time given; the connection stays and the late answer is dropped."""


class NotReady(ClientError):
    """The broker answered, and what it said shows that it does not know the cluster yet."""


class UnsupportedApi(ClientError):
    """The broker does not serve the API in any version that is known here."""
