"""From a frame to the API's handler and back to bytes.

Kafka's rules for hostile input (SocketServer, RequestContext.parseRequest): a header or body that does not parse closes
that connection without an answer; an ApiVersions request in an unknown version is answered in version 0 with
UNSUPPORTED_VERSION, so that any client can find out what to speak.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Awaitable, Iterable
from struct import Struct
from types import ModuleType
from typing import TYPE_CHECKING, Any

from engine.broker.api_spec import ApiSpec
from engine.broker.client_throttle import throttled
from engine.broker.connection import Answer, CloseConnection, RequestHead, ServerConnection
from engine.broker.context import RequestContext
from engine.broker.request_time import Stopwatch, is_of_the_cluster
from engine.model.errors import KafkaError
from engine.wire import apis as wire_apis
from engine.wire import codec
from engine.wire.apis import ApiKey
from engine.wire.message import Message
from engine.wire.messages.request_header import RequestHeader

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.wire_watch import WireWatch
    from engine.world import Buffer

log = logging.getLogger(__name__)

_HEADER_PREFIX = Struct(">hhi")
# Of request headers that a connection repeats so many are remembered, of at most so many bytes.
_MOST_HEADS, _MOST_HEAD_BYTES = 32, 128
_SIZE_AND_CORRELATION = Struct(">ii")
_SIZE_AND_CORRELATION_FLEXIBLE = Struct(">iiB")


class Route:
    """An implemented API with its handler."""

    __slots__ = ("count", "handle", "request_class", "spec", "total_ns")

    def __init__(self, spec: ApiSpec, module: ModuleType) -> None:
        self.spec = spec
        self.handle = module.handle
        self.request_class: Any = None
        self.count = 0
        self.total_ns = 0


class Router:
    """The table of implemented APIs of one broker, for both kinds of listeners."""

    def __init__(self, broker: Broker, modules: Iterable[str]) -> None:
        """``modules`` are names under :mod:`engine.broker.apis`; a fixed list, nothing is named by configuration."""
        self._broker = broker
        self._routes: dict[int, Route] = {}
        for name in modules:
            module = importlib.import_module(f"engine.broker.apis.{name}")
            spec: ApiSpec = module.API
            assert int(spec.key) not in self._routes, f"two handlers of {spec.key!r}"
            if broker.config.coordination == "zookeeper":
                spec = spec.with_zookeeper()
            self._routes[int(spec.key)] = Route(spec, module)
        self.connections: set[ServerConnection] = set()
        # Requests on a broker's listener wait until then.
        self.answers_clients = False
        # Clients cannot take the places of brokers at the controller's listener.
        self._connections_by_kind = {False: 0, True: 0}
        self._clients_by_host: dict[str, int] = {}
        self.connections_total = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.requests_total = 0
        self.closed_on_bad_input = 0
        # There while somebody looks at the wire.
        self.watch: WireWatch | None = None
        self._last_close_logged_ms = float("-inf")
        self._last_failure_logged_ms = float("-inf")

    def advertised(self, is_controller_listener: bool) -> list[ApiSpec]:
        """The APIs that a listener of this kind answers, by key."""
        kind = "controller" if is_controller_listener else "broker"
        return [route.spec for _, route in sorted(self._routes.items()) if kind in route.spec.listeners]

    def find(self, key: int, is_controller_listener: bool) -> Route | None:
        """The API that a listener of this kind answers; None if it answers no such."""
        route = self._routes.get(key)
        kind = "controller" if is_controller_listener else "broker"
        return route if route is not None and kind in route.spec.listeners else None

    def request_counts(self) -> dict[str, int]:
        """Requests so far by API name."""
        return {route.spec.key.name: route.count for _, route in sorted(self._routes.items()) if route.count}

    def now_ms(self) -> float:
        """Monotonic time."""
        return self._broker.world.clock.monotonic_ms()

    # -- connections --------------------------------------------------------------------------------------------

    def connection_opened(self, connection: ServerConnection) -> None:
        """Called by a connection when its transport is there."""
        self.connections_total += 1
        connection.connection_id = self.connections_total
        connection.last_active_ms = self._broker.world.clock.monotonic_ms()
        connection.opened_at_ms = self._broker.world.clock.now_ms()
        self.connections.add(connection)
        # Not when the connection is made: the broker may be ready before its transport is there.
        connection.is_held = not (connection.is_controller_listener or self.answers_clients)
        kind = connection.is_controller_listener
        self._connections_by_kind[kind] += 1
        limit = min(self._broker.config.max_connections, self._broker.connection_limit)
        if self._connections_by_kind[kind] > limit:
            connection.close(f"more than {limit} connections (max.connections, or the descriptors that there are)")
        if kind:
            return
        host, config = connection.peer_host, self._broker.config
        known = self._clients_by_host[host] = self._clients_by_host.get(host, 0) + 1
        limit = config.max_connections_per_ip_overrides.get(host, config.max_connections_per_ip)
        if known > limit:
            connection.close(f"more than {limit} connections from {host} (max.connections.per.ip)")
            return
        throttle = self._broker.client_throttle
        wait_ms = throttle.connected(host)
        if wait_ms:
            connection.shun(wait_ms, f"too many connections a second from {host} (connection_creation_rate)")
        elif wait_ms := throttle.accepted():
            connection.mute(wait_ms)

    def connection_closed(self, connection: ServerConnection) -> None:
        """Called by a connection when its transport is gone."""
        if self.watch is not None:
            self.watch.lost(connection)
        if connection in self.connections:
            self.connections.remove(connection)
            self._connections_by_kind[connection.is_controller_listener] -= 1
            if not connection.is_controller_listener:
                host = connection.peer_host
                self._clients_by_host[host] -= 1
                if not self._clients_by_host[host]:
                    del self._clients_by_host[host]

    def log_closed(self, connection: ServerConnection, why: str) -> None:
        """One line at most per second: a hostile client must not fill the log."""
        self.closed_on_bad_input += 1
        now_ms = self._broker.world.clock.monotonic_ms()
        if now_ms - self._last_close_logged_ms >= 1000:
            self._last_close_logged_ms = now_ms
            log.warning("closed connection from %s:%d: %s", connection.peer_host, connection.peer_port, why)

    # -- requests -----------------------------------------------------------------------------------------------

    def is_pipelined(self, frame: memoryview) -> bool:
        """Whether the request may start while an earlier one of its connection waits for its answer."""
        if len(frame) < 2:
            return False
        route = self._routes.get(frame[0] << 8 | frame[1])
        return route is not None and route.spec.pipelined

    def dispatch(
        self, connection: ServerConnection, frame: memoryview
    ) -> tuple[Answer | Awaitable[Answer | None] | None, bool]:
        """Answer one frame: finished bytes, or something to await, or nothing to send; and whether it is pipelined.

        Raises:
            CloseConnection: the frame is not a request that this listener answers.
        """
        if len(frame) < 8:
            raise CloseConnection(f"a request of {len(frame)} bytes is shorter than its header")
        key, version, correlation_id = _HEADER_PREFIX.unpack_from(frame)
        route = self._routes.get(key)
        if route is None:
            raise CloseConnection(f"unknown or unsupported API key {key}")
        spec = route.spec
        if ("controller" if connection.is_controller_listener else "broker") not in spec.listeners:
            raise CloseConnection(f"{spec.key.name} is not served on listener {connection.listener_name}")
        if not spec.min_version <= version <= spec.max_version:
            if spec.key is ApiKey.API_VERSIONS:
                return self._unsupported_api_versions(correlation_id), False
            raise CloseConnection(f"{spec.key.name} version {version} is not supported")
        try:
            client_id, position = self._read_header(connection, key, version, frame)
            request_class = route.request_class
            if request_class is None:
                request_class = route.request_class = wire_apis.request_class(spec.key)
            if version < request_class.MIN_VERSION:
                request_class = wire_apis.request_class(spec.key, version)
            # Bytes behind the request are passed over as in Kafka: librdkafka sends some with Metadata.
            request, _ = codec.decode(request_class, version, frame, position)
        except codec.DecodeError as error:
            raise CloseConnection(f"{spec.key.name} v{version} does not parse: {error}") from None
        self.requests_total += 1
        route.count += 1
        connection.requests += 1
        connection.client_id = client_id
        connection.last_active_ms = self._broker.world.clock.monotonic_ms()
        context = RequestContext(self._broker, connection, key, version, correlation_id, client_id)
        if self.watch is not None:
            self.watch.asked(context, frame, position, request)
        try:
            if not connection.is_controller_listener and self._broker.client_throttle.throttles_requests():
                return self._measured(context, route, request), False
            answer = route.handle(context, request)
            if answer is None:
                self._unanswered(context)
                return None, False
            if not isinstance(answer, Message) and inspect.isawaitable(answer):
                # A coroutine has done nothing yet: not even what has to be done in the order of the requests.
                is_pipelined = spec.pipelined and not inspect.iscoroutine(answer)
                return self._await_answer(context, spec, answer), is_pipelined
            return self._encode(context, spec, answer), False
        except CloseConnection:
            raise
        except Exception as error:
            raise self._failed(context, spec, error) from error

    @staticmethod
    def _read_header(connection: ServerConnection, key: int, version: int, frame: memoryview) -> tuple[str | None, int]:
        """The client's id, and where the request begins. Raises: codec.DecodeError."""
        heads = connection.request_heads
        known = heads.get((key, version))
        # All but the correlation id is what the request before had.
        if known is not None and frame[_HEADER_PREFIX.size : known.position] == known.tail:
            return known.client_id, known.position
        header, position = codec.decode(RequestHeader, wire_apis.request_header_version(key, version), frame)
        if position <= _MOST_HEAD_BYTES and len(heads) < _MOST_HEADS:
            heads[key, version] = RequestHead(bytes(frame[_HEADER_PREFIX.size : position]), header.client_id, position)
        return header.client_id, position

    async def _await_answer(self, context: RequestContext, spec: ApiSpec, answer: Awaitable[Any]) -> Answer | None:
        try:
            response = await answer
            if response is None:
                self._unanswered(context)
                return None
            return self._encode(context, spec, response)
        except CloseConnection:
            raise
        except Exception as error:
            raise self._failed(context, spec, error) from error

    async def _measured(self, context: RequestContext, route: Route, request: Any) -> Answer | None:
        """Answer while somebody has a quota of requests' time: one after the other, each by the clock."""
        clock = self._broker.world.clock
        watch = Stopwatch(clock.monotonic_ms)
        try:
            answer = watch.call(route.handle, context, request)
            response = await watch.following(answer) if inspect.isawaitable(answer) else answer
            parts = None if response is None else watch.call(self._encode, context, route.spec, response)
            if response is None:
                self._unanswered(context)
        except CloseConnection:
            raise
        except Exception as error:
            raise self._failed(context, route.spec, error) from error
        if not is_of_the_cluster(context, request):
            wait_ms = self._broker.client_throttle.took(context, watch.elapsed_ms)
            if wait_ms > getattr(response, "throttle_time_ms", 0):
                throttled(context, response, wait_ms)
                if parts is not None and not isinstance(response, EncodedResponse):
                    parts = self._encode(context, route.spec, response)
        return parts

    def _unanswered(self, context: RequestContext) -> None:
        """Of what needs no answer (acks=0) nothing more is seen."""
        if context.exchange is not None and self.watch is not None:
            self.watch.over(context.exchange, "needs no answer")

    def _failed(self, context: RequestContext, spec: ApiSpec, error: Exception) -> CloseConnection:
        if context.exchange is not None and self.watch is not None:
            self.watch.over(context.exchange, f"the connection was closed: {error}")
        if isinstance(error, KafkaError):
            return CloseConnection(f"{spec.key.name}: {error.code.name}: {error.message}")
        # One at most per second: who found a request that fails may send it again and again.
        now_ms = self.now_ms()
        if now_ms - self._last_failure_logged_ms >= 1000:
            self._last_failure_logged_ms = now_ms
            log.error("%s v%d failed", spec.key.name, context.api_version, exc_info=error)
        return CloseConnection(f"{spec.key.name} v{context.api_version} failed: {error!r}")

    def _encode(self, context: RequestContext, spec: ApiSpec, response: Any) -> Answer:
        version = context.api_version
        if isinstance(response, EncodedResponse):
            parts: Answer = list(response.parts)
        else:
            parts = list(codec.encode_parts(response, version))
        size = sum(map(len, parts))
        if wire_apis.response_header_version(spec.key, version) >= 1:
            head = _SIZE_AND_CORRELATION_FLEXIBLE.pack(size + 5, context.correlation_id, 0)
        else:
            head = _SIZE_AND_CORRELATION.pack(size + 4, context.correlation_id)
        if context.exchange is not None and self.watch is not None:
            return self.watch.answered(context.exchange, response, head, parts, size)
        parts.insert(0, head)
        return parts

    def _unsupported_api_versions(self, correlation_id: int) -> Answer:
        from engine.broker.apis import api_versions

        parts: Answer = list(codec.encode_parts(api_versions.unsupported_version(self), 0))
        parts.insert(0, _SIZE_AND_CORRELATION.pack(sum(map(len, parts)) + 4, correlation_id))
        return parts


class EncodedResponse:
    """A response body that is already bytes (cached per metadata offset, say)."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Buffer]) -> None:
        self.parts = parts
