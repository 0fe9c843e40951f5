"""What a handler knows of the request that it answers, and the services that it may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.connection import ServerConnection
    from engine.wire.tap import Exchange


class RequestContext:
    """One request: who asked, in which version, and the broker that answers.

    ``listener`` is the listener's name (``PLAINTEXT``); ``is_controller_listener`` tells the two kinds apart.
    ``principal`` is ``User:ANONYMOUS`` until security exists.
    """

    __slots__ = (
        "api_key",
        "api_version",
        "broker",
        "client_id",
        "connection",
        "correlation_id",
        "exchange",
        "is_controller_listener",
        "listener",
        "principal",
        "received_at_ns",
    )

    def __init__(
        self,
        broker: Broker,
        connection: ServerConnection,
        api_key: int,
        api_version: int,
        correlation_id: int,
        client_id: str | None,
    ) -> None:
        self.broker = broker
        self.connection = connection
        self.api_key = api_key
        self.api_version = api_version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.listener: str = connection.listener_name
        self.is_controller_listener: bool = connection.is_controller_listener
        self.principal = "User:ANONYMOUS"
        # Kept of it while somebody looks at the wire.
        self.exchange: Exchange | None = None

    @property
    def client_host(self) -> str:
        """The peer's address as groups show it: a slash and the IP, like Java's InetAddress."""
        return "/" + self.connection.peer_host

    def __repr__(self) -> str:
        return f"RequestContext(api_key={self.api_key}, api_version={self.api_version}, client_id={self.client_id!r})"


Handler = Any
