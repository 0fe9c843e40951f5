"""One connection to a broker: pipelined requests, answers matched by correlation id, time-outs."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakSet

from engine.client.errors import AuthenticationFailed, ClientError, ConnectionLost, RequestTimedOut, UnsupportedApi
from engine.client.security import sasl, tls
from engine.client.security.world import security_of
from engine.model.errors import ErrorCode
from engine.wire import apis, codec
from engine.wire.apis import ApiKey
from engine.wire.framing import FrameError, FrameSplitter
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.api_versions_response import ApiVersionsResponse
from engine.wire.messages.request_header import RequestHeader

if TYPE_CHECKING:
    from engine.client.security.properties import SaslCredentials
    from engine.client.security.world import ClientSecurity
    from engine.client.wire_watch import ClientWatch
    from engine.wire.message import Message
    from engine.wire.tap import Exchange
    from engine.world import World

__all__ = ["ClientError", "Connection", "ConnectionLost", "RequestTimedOut", "UnsupportedApi"]

_SIZE = Struct(">i")
_CORRELATION = Struct(">i")
# An answer larger than this is taken for garbage, not for an answer.
_MAX_RESPONSE_BYTES = 256 * 1024 * 1024
# Of a session's time, when who one is is told anew: as Kafka's SaslClientAuthenticator.
_REAUTHENTICATE_AT, _REAUTHENTICATE_SPREAD = 0.85, 0.1
_TLS_ALERT = b"\x15\x03"
_SASL = (ApiKey.SASL_HANDSHAKE, ApiKey.SASL_AUTHENTICATE)
SOFTWARE_NAME = "kconsole"
SOFTWARE_VERSION = "0.1.0"


class _Pending:
    __slots__ = ("exchange", "future", "key", "response_class", "timer", "version")

    def __init__(self, key: int, version: int, response_class: Any, future: asyncio.Future[Any]) -> None:
        self.key = key
        self.version = version
        self.response_class = response_class
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.exchange: Exchange | None = None


class Connection(asyncio.Protocol):
    """A client's side of a connection. Made by :meth:`open`."""

    # There while somebody looks at what this process asks; and the connections that are open now.
    watch: ClassVar[ClientWatch | None] = None
    living: ClassVar[WeakSet[Connection]] = WeakSet()
    _made: ClassVar[int] = 0

    def __init__(self, client_id: str) -> None:
        Connection._made += 1
        self.number = Connection._made
        self.client_id = client_id
        self.requests = self.bytes_sent = self.bytes_received = 0
        self._transport: asyncio.Transport | None = None
        self._splitter = FrameSplitter(_MAX_RESPONSE_BYTES)
        self._pending: dict[int, _Pending] = {}
        self._correlation_id = 0
        self._lost_callbacks: list[Callable[[], None]] = []
        self._heads: dict[tuple[int, int], bytes] = {}
        self._drained: asyncio.Future[None] | None = None
        # Requests that wait while the session is renewed; None: nothing is held back.
        self._held: list[list[Any]] | None = None
        self._renewal: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._answers = 0
        self._hint = ""
        self.versions: dict[int, tuple[int, int]] = {}
        self.finalized_features: dict[str, int] = {}
        self.closed = False
        self.why_closed = ""
        self.address = ("", 0)

    @classmethod
    async def open(
        cls,
        world: World,
        host: str,
        port: int,
        *,
        client_id: str,
        timeout_ms: float,
        negotiate: bool = True,
    ) -> Connection:
        """Connect and, unless told not to, ask what the broker speaks.

        Raises:
            ConnectionLost: refused, unreachable, or closed before ApiVersions was answered.
            RequestTimedOut: not within ``timeout_ms``.
        """
        security = security_of(world)
        context = None if security is None else security.tls
        try:
            _, connection = await world.network.connect(
                host, port, lambda: cls(client_id), timeout_ms=timeout_ms, **({"tls": context} if context else {})
            )
        except TimeoutError:
            raise RequestTimedOut(f"no connection to {host}:{port} within {timeout_ms:.0f} ms") from None
        except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError) as error:
            if context is None:
                raise ConnectionLost(f"cannot connect to {host}:{port}: {_reason(error)}") from error
            raise AuthenticationFailed(tls.explain(error, host, port)) from error
        except OSError as error:
            raise ConnectionLost(f"cannot connect to {host}:{port}: {_reason(error)}") from error
        assert isinstance(connection, Connection)
        connection.address = (host, port)
        connection._hint = _hint(security)
        try:
            if negotiate:
                await connection.negotiate(timeout_ms)
            if security is not None and security.sasl is not None:
                await connection._authenticate(world, security.sasl, timeout_ms)
        except (ClientError, asyncio.CancelledError):
            connection.close()
            raise
        return connection

    async def _authenticate(self, world: World, credentials: SaslCredentials, timeout_ms: float) -> None:
        """Say who one is, and plan to say it again before that runs out (KIP-368)."""
        where = f"{self.address[0]}:{self.address[1]}"

        async def send(request: Message) -> Any:
            return await self.send(request, timeout_ms=timeout_ms)

        lifetime_ms = await sasl.authenticate(send, credentials, world.random.uuid() + world.random.uuid(), where)
        if lifetime_ms > 0:
            share = _REAUTHENTICATE_AT + _REAUTHENTICATE_SPREAD * world.random.random()
            self._renewal = asyncio.get_running_loop().call_later(
                lifetime_ms * share / 1000, self._renew, world, credentials, timeout_ms
            )

    def _renew(self, world: World, credentials: SaslCredentials, timeout_ms: float) -> None:
        self._renewal = asyncio.ensure_future(self._authenticate_anew(world, credentials, timeout_ms))

    async def _authenticate_anew(self, world: World, credentials: SaslCredentials, timeout_ms: float) -> None:
        # From SaslHandshake to the last answer the broker takes nothing else; what was sent before is answered.
        self._held = []
        try:
            await self._authenticate(world, credentials, timeout_ms)
        except ClientError as error:
            self._fail(f"the session could not be renewed: {error}")
        finally:
            held, self._held = self._held, None
            if self._transport is not None and not self.closed:
                for parts in held or ():
                    self._transport.writelines(parts)

    async def negotiate(self, timeout_ms: float) -> None:
        """ApiVersions in our highest version, and again in the broker's if it is lower (KIP-511)."""
        request = ApiVersionsRequest(client_software_name=SOFTWARE_NAME, client_software_version=SOFTWARE_VERSION)
        response: ApiVersionsResponse = await self.send(request, version=4, timeout_ms=timeout_ms)
        if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
            highest = {each.api_key: each.max_version for each in response.api_keys}.get(int(ApiKey.API_VERSIONS), 0)
            response = await self.send(request, version=min(3, highest), timeout_ms=timeout_ms)
        if response.error_code:
            raise ConnectionLost(f"ApiVersions was answered with {ErrorCode(response.error_code).name}")
        self.versions = {each.api_key: (each.min_version, each.max_version) for each in response.api_keys}
        self.finalized_features = {each.name: each.max_version_level for each in response.finalized_features}

    def version_for(self, key: int) -> int:
        """The highest version that both sides speak; our highest stable one if nothing was negotiated.

        Raises:
            UnsupportedApi: there is none.
        """
        low, high = apis.version_range(key)
        if not self.versions:
            return apis.latest_version(key)
        theirs = self.versions.get(key)
        if theirs is None or min(high, theirs[1]) < max(low, theirs[0]):
            raise UnsupportedApi(f"{self.address[0]}:{self.address[1]} does not serve {ApiKey(key).name}")
        return min(apis.latest_version(key), theirs[1])

    async def send(self, request: Message, *, version: int | None = None, timeout_ms: float = 30_000) -> Any:
        """Send a request and wait for its answer. Others may be sent meanwhile.

        Raises:
            ConnectionLost: the connection is or goes down; whether the request was handled is unknown.
            RequestTimedOut: no answer within ``timeout_ms``.
            UnsupportedApi: no common version.
            EncodeError: the request cannot be written in that version.
        """
        return await self.post(request, version=version, timeout_ms=timeout_ms)

    def post(
        self, request: Message, *, version: int | None = None, timeout_ms: float = 30_000, expect_answer: bool = True
    ) -> asyncio.Future[Any]:
        """Like :meth:`send`, but written before it returns: the order of calls is the order on the wire."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        transport = self._transport
        if self.closed or transport is None:
            future.set_exception(ConnectionLost(self.why_closed or "the connection is closed"))
            return future
        key = request.API_KEY
        if version is None:
            try:
                version = self.version_for(key)
            except UnsupportedApi as error:
                future.set_exception(error)
                return future
        parts = codec.encode_parts(request, version)
        self._correlation_id = correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        head = self._head(key, version, correlation_id)
        size = len(head) + sum(map(len, parts))
        if self._held is not None and key not in _SASL:
            self._held.append([_SIZE.pack(size) + head, *parts])
        else:
            transport.writelines([_SIZE.pack(size) + head, *parts])
        self.requests += 1
        self.bytes_sent += size + _SIZE.size
        watch = Connection.watch
        exchange = None
        if watch is not None:
            exchange = watch.asked(self, request, version, correlation_id, head, b"".join(parts))
        if not expect_answer:
            if watch is not None and exchange is not None:
                watch.unanswered(exchange, "needs no answer")
            future.set_result(None)
            return future
        pending = _Pending(key, version, apis.response_class(key), future)
        pending.exchange = exchange
        self._pending[correlation_id] = pending
        if timeout_ms:
            pending.timer = loop.call_later(timeout_ms / 1000, self._time_out, correlation_id, timeout_ms)
        return future

    def _head(self, key: int, version: int, correlation_id: int) -> bytes:
        # Everything but the correlation id repeats: bytes 4 to 8 of the header.
        cached = self._heads.get((key, version))
        if cached is None:
            header = RequestHeader(
                request_api_key=key, request_api_version=version, correlation_id=0, client_id=self.client_id
            )
            cached = self._heads[key, version] = codec.encode(header, apis.request_header_version(key, version))
        return cached[:4] + _CORRELATION.pack(correlation_id) + cached[8:]

    def _time_out(self, correlation_id: int, timeout_ms: float) -> None:
        pending = self._pending.get(correlation_id)
        if pending is not None and not pending.future.done():
            pending.future.set_exception(
                RequestTimedOut(
                    f"{ApiKey(pending.key).name} was not answered by {self.address[0]}:{self.address[1]} "
                    f"within {timeout_ms:.0f} ms"
                )
            )

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the connection is gone; at the next turn of the loop if it already is."""
        if self.closed:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._lost_callbacks.append(callback)

    def close(self) -> None:
        """Close at once; requests under way fail with :class:`ConnectionLost`."""
        if self._transport is not None:
            self._transport.abort()
        self._gone("closed by this side")

    # -- asyncio ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        stream = cast(asyncio.Transport, transport)
        self._transport = stream
        Connection.living.add(self)

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        try:
            frames = self._splitter.feed(data)
        except FrameError as error:
            said = bytes(data[:4]) if not self._answers else b""
            in_tls, in_http = said[:2] == _TLS_ALERT, said == b"HTTP"
            tls_words = "it speaks TLS: set security.protocol to SSL or SASL_SSL"
            self._fail(tls_words if in_tls else "it speaks HTTP, not Kafka" if in_http else str(error))
            return
        for frame in frames:
            if len(frame) < 4:
                self._fail("an answer is shorter than its header")
                return
            (correlation_id,) = _CORRELATION.unpack_from(frame)
            pending = self._pending.pop(correlation_id, None)
            if pending is None:
                self._fail(f"an answer to an unknown request {correlation_id}")
                return
            self._answer(pending, frame)

    def _answer(self, pending: _Pending, frame: memoryview) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        self._answers += 1
        if pending.future.done():
            return
        key, version = pending.key, pending.version
        offset = 4
        try:
            if key == ApiKey.API_VERSIONS and version > 0:
                version = self._api_versions_version(frame, version)
            if apis.response_header_version(key, version) >= 1:
                tags, offset = codec.decode_uvarint(frame, offset)
                for _ in range(tags):
                    _, offset = codec.decode_uvarint(frame, offset)
                    size, offset = codec.decode_uvarint(frame, offset)
                    offset += size
            response, _ = codec.decode(pending.response_class, version, frame, offset)
        except codec.DecodeError as error:
            pending.future.set_exception(ConnectionLost(f"the answer does not parse: {error}"))
            self._fail(f"the answer to {ApiKey(key).name} does not parse: {error}")
            return
        if pending.exchange is not None and Connection.watch is not None:
            Connection.watch.answered(pending.exchange, response, version, frame, offset)
        pending.future.set_result(response)

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._pending)

    @staticmethod
    def _api_versions_version(frame: memoryview, asked: int) -> int:
        """A broker that does not know the version asked for answers in version 0 with UNSUPPORTED_VERSION."""
        code = int.from_bytes(frame[4:6], "big", signed=True)
        return 0 if code == ErrorCode.UNSUPPORTED_VERSION else asked

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):
            self._gone(tls.explain(exc, *self.address))
            return
        why = str(exc) if exc else "closed by the other side"
        # Listeners with TLS or SASL end a connection at what they take for a stranger's noise, without a word.
        stranger = bool(self._pending) and self._answers <= 1
        self._gone(why + self._hint if stranger else why)

    def _fail(self, why: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._gone(why)

    def _gone(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        if self._renewal is not None:
            self._renewal.cancel()
        Connection.living.discard(self)
        self.why_closed = f"connection to {self.address[0]}:{self.address[1]} lost: {why}"
        pending, self._pending = self._pending, {}
        for each in pending.values():
            if each.timer is not None:
                each.timer.cancel()
            if each.exchange is not None and Connection.watch is not None:
                Connection.watch.unanswered(each.exchange, why)
            if not each.future.done():
                each.future.set_exception(ConnectionLost(self.why_closed))
                # Nobody may be waiting any more (a cancelled task): that is no error.
                each.future.exception()
        callbacks, self._lost_callbacks = self._lost_callbacks, []
        for callback in callbacks:
            callback()


def _hint(security: ClientSecurity | None) -> str:
    """What may be missing where a listener hangs up on strangers."""
    if security is None:
        return " (does it want TLS or SASL? then set security.protocol)"
    return "" if security.sasl is not None else " (does it want SASL? then set security.protocol to SASL_SSL)"


def _reason(error: OSError) -> str:
    # asyncio writes the address into its errors' texts once more; a name that is not found has codes of its own.
    if error.errno is None or error.errno <= 0:
        return str(error.strerror or error)
    return os.strerror(error.errno).lower()
