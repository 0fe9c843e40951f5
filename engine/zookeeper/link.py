"""One session of ZooKeeper by kazoo, with a thread of its own; nothing here waits on the event loop's thread.

kazoo's way of connecting is kept, with other times: a server that says nothing is left sooner (kazoo would wait for two
thirds of the session's time-out), a connect tries the next server soon, and the pauses between rounds grow from 50 ms
to one second. kazoo's two further threads, for callbacks, are not needed: everything is handed to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from kazoo import exceptions
from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.retry import KazooRetry
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from engine.zookeeper import errors
from engine.zookeeper.acl import Access
from engine.zookeeper.config import ZooKeeperConfig

# kazoo warns at each try; what went wrong is in Link.trouble instead.
_logger = logging.getLogger("engine.zookeeper.kazoo")
_logger.setLevel(logging.CRITICAL + 1)

# An fsync of a busy disk keeps ZooKeeper from answering for about as long.
_LEAST_SILENCE_S = 2.0
_FIRST_PAUSE_S = 0.05
# Slow growth, so that who waits for the election of a new leader loses little when it is over.
_GROWTH = 1.25
_LONGEST_PAUSE_S = 1.0
# Reads of a tree that may be unanswered at once.
_OF_MANY_IN_FLIGHT = 256

ACLS: dict[Access, list[Any]] = {
    Access.OPEN: OPEN_ACL_UNSAFE,
    Access.READABLE: CREATOR_ALL_ACL + READ_ACL_UNSAFE,
    Access.PRIVATE: CREATOR_ALL_ACL,
}

Begin: TypeAlias = Callable[[KazooClient], Any]
Convert: TypeAlias = Callable[[Any], Any]

_ERRORS: list[tuple[type[Exception], type[errors.ZooKeeperError], str]] = [
    (exceptions.NoNodeError, errors.NoNode, "there is no such znode"),
    (exceptions.NodeExistsError, errors.NodeExists, "the znode is there already"),
    (exceptions.BadVersionError, errors.BadVersion, "the znode has another version"),
    (exceptions.NotEmptyError, errors.NotEmpty, "the znode has children"),
    (exceptions.NoAuthError, errors.NoAuth, "the znode's ACL does not allow it; is kconsole.zookeeper.digest right?"),
    (exceptions.InvalidACLError, errors.NoAuth, "ACLs need somebody: set kconsole.zookeeper.digest"),
    (exceptions.AuthFailedError, errors.AuthFailed, "ZooKeeper does not take the credentials"),
    (exceptions.ConnectionLoss, errors.ConnectionLoss, "the connection was lost, it may have been done or not"),
    (exceptions.SessionExpiredError, errors.SessionExpired, "the session has ended"),
]


def our_error(error: Exception, what: str) -> errors.ZooKeeperError:
    """Our error for kazoo's; ``what`` is the path, or what else was asked for."""
    for theirs, ours, text in _ERRORS:
        if isinstance(error, theirs):
            return ours(f"{what}: {text}")
    return errors.ZooKeeperError(f"{what}: {type(error).__name__} {error}".rstrip())


def is_reason(result: Any) -> bool:
    """Whether the result of one operation of a multi says why all of it was refused; the others were only undone."""
    return isinstance(result, Exception) and not isinstance(
        result, exceptions.RolledBackError | exceptions.RuntimeInconsistency
    )


def silence_s(session_timeout_s: float) -> float:
    """How long a server may say nothing before another one is tried.

    A sixth of the session's time-out, so that there is time for several servers, but not less than two seconds; kazoo's
    two thirds where that is less.
    """
    return min(max(session_timeout_s / 6, _LEAST_SILENCE_S), session_timeout_s * 2 / 3)


def _pause(seconds: float) -> None:
    """Between two tries to connect. time.sleep fails where libfaketime turns a process' clock (engine.chaos), and what
    fails there ends kazoo's thread, and the session with it."""
    select.poll().poll(max(0.0, seconds) * 1000)


class Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's view of threads and sockets: results and watches are called in the connection's own thread."""

    sleep_func = staticmethod(_pause)

    def __init__(self, context: ssl.SSLContext | None, connect_s: float) -> None:
        super().__init__()
        self._context = context
        self._connect_s = connect_s

    def start(self) -> None:
        """No workers. While the handler does not run, kazoo calls results back at once."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def dispatch_callback(self, callback: Any) -> None:
        """A watch."""
        callback.func(*callback.args)

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float | None = None, **_: Any
    ) -> socket.socket:
        """A connection, with our TLS context: kazoo's would trust the system besides the truststore."""
        connection = socket.create_connection(address, min(timeout or self._connect_s, self._connect_s))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                return connection
            return self._context.wrap_socket(connection, server_hostname=hostname)
        except BaseException:
            connection.close()
            raise

    def select(self, readers: list[Any], writers: list[Any], _: list[Any], timeout: float | None = None) -> Any:
        """What is ready. Also what TLS has read ahead, for which kazoo would wait until the next ping."""
        ahead = [each for each in readers if isinstance(each, ssl.SSLSocket) and each.pending()]
        poll = select.poll()
        by_descriptor = {}
        for sockets, mask in ((readers, select.POLLIN), (writers, select.POLLOUT)):
            for each in sockets:
                by_descriptor[each.fileno()] = each
                poll.register(each, mask)
        found = poll.poll(0 if ahead else None if timeout is None else timeout * 1000)
        ready = [by_descriptor[descriptor] for descriptor, _ in found]
        return (
            [each for each in readers if each in ready or each in ahead],
            [each for each in writers if each in ready],
            [],
        )


class _Connection(ConnectionHandler):  # type: ignore[misc]
    """kazoo's connection, which waits less for a server that says nothing."""

    silence_s: float
    told: Callable[[str], None]

    def _connect(self, host: str, address: str, port: int) -> tuple[float, float]:
        try:
            read_timeout, connect_timeout = super()._connect(host, address, port)
        except Exception as error:
            self.told(f"{host}:{port}: {error}")
            raise
        return min(read_timeout, self.silence_s * 1000), min(connect_timeout, self.silence_s * 1000)

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        return super()._invoke(min(timeout, self.silence_s), request, xid)


class _Client(KazooClient):  # type: ignore[misc]
    """kazoo's client, which keeps no request for a connection that is yet to come."""

    def _call(self, request: Any, async_object: Any) -> Any:
        if self._live.is_set():
            result = super()._call(request, async_object)
            if self._live.is_set():
                return result
            # The connection was lost in this moment: either that was told already, or it is told here.
            try:
                self._queue.remove((request, async_object))
            except ValueError:
                return result
        async_object.set_exception(exceptions.ConnectionLoss())
        return False


class Link:
    """One session with ZooKeeper. ``on_change`` is called on the loop when one of these has changed:

    ``is_connected``; ``is_over``, for ever; ``auth_failed``: our credentials are not taken. ``trouble`` says why the
    last try to connect failed.
    """

    def __init__(
        self, config: ZooKeeperConfig, context: ssl.SSLContext | None, on_change: Callable[[Link], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._max_in_flight = config.max_in_flight
        self._in_flight = 0
        self._waiting: deque[tuple[int, Begin, Convert, str, asyncio.Future[Any]]] = deque()
        self._inbox: deque[Callable[[], None]] = deque()
        # Who made the link is called in its own context, not in that of kazoo's thread.
        self._context_of_owner = contextvars.copy_context()
        self._is_abandoned = False
        self.ended = asyncio.Event()
        self.trouble = ""
        self.is_connected = self.is_over = self.auth_failed = False
        self._context = context
        self._session_timeout_s = config.session_timeout_ms / 1000
        self._client_hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in config.servers
        )
        silence = silence_s(self._session_timeout_s)
        retry = KazooRetry(
            max_tries=-1, delay=_FIRST_PAUSE_S, backoff=_GROWTH, max_delay=_LONGEST_PAUSE_S, sleep_func=_pause
        )
        self._client = client = _Client(
            hosts=self._client_hosts,
            timeout=self._session_timeout_s,
            handler=Handler(context, silence),
            auth_data={("digest", config.digest)} if config.digest is not None else None,
            connection_retry=retry,
            logger=_logger,
        )
        connection = _Connection(client, client._conn_retry.copy(), logger=_logger)
        connection.silence_s = silence
        connection.told = self._keep_trouble
        client._connection = connection
        client.add_listener(self._on_kazoo_state)

    @property
    def session(self) -> tuple[int, bytes]:
        """Id and password of the session; (0, b"") before there is one."""
        return self._client._session_id or 0, self._client._session_passwd

    def start(self) -> None:
        """Begin to connect."""
        self._client.start_async()

    def request(
        self, begin: Begin, convert: Convert, what: str, *, is_one_of_many: bool = False
    ) -> asyncio.Future[Any]:
        """Ask for something, after everything that was asked for before.

        ``begin`` asks kazoo, ``convert`` makes the result of what it answers, ``what`` is named in errors.
        ``is_one_of_many``: of reads of a tree, of which more may be in flight than is configured.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        limit = max(self._max_in_flight, _OF_MANY_IN_FLIGHT) if is_one_of_many else self._max_in_flight
        if not self._waiting and self._in_flight < limit:
            self._begin(begin, convert, what, future)
        else:
            self._waiting.append((limit, begin, convert, what, future))
        return future

    def fail_waiting(self, error: type[errors.ZooKeeperError]) -> None:
        """What was not sent yet is not sent."""
        while self._waiting:
            *_, what, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error(f"{what}: it was not sent, the connection is lost"))

    def call_on_loop(self, call: Callable[[], None]) -> None:
        """From any thread: call this on the loop, after what was handed over before."""
        self._inbox.append(call)
        try:
            self._loop.call_soon_threadsafe(self._empty_inbox, context=self._context_of_owner)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            self._inbox.clear()

    def expire(self) -> None:
        """End the session at ZooKeeper, by another connection that takes it over, as if it had lapsed. Blocks."""
        client = KazooClient(
            hosts=self._client_hosts,
            timeout=self._session_timeout_s,
            client_id=self.session,
            handler=Handler(self._context, self._session_timeout_s),
            logger=_logger,
        )
        client.start(self._session_timeout_s)
        client.stop()
        client.close()

    def abandon(self) -> None:
        """Leave the session as a process that is killed does: the connection breaks, nothing is told to anybody."""
        self._is_abandoned = True
        self._client._stopped.set()
        connection = self._client._connection._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """End the session and the thread; ``ended`` is set when that is done. Does not wait."""
        threading.Thread(target=self._end, daemon=True, name="zookeeper-end").start()

    def _begin(self, begin: Begin, convert: Convert, what: str, future: asyncio.Future[Any]) -> None:
        self._in_flight += 1
        begin(self._client).rawlink(
            lambda answer: self.call_on_loop(lambda: self._answered(answer, convert, what, future))
        )

    def _answered(self, answer: Any, convert: Convert, what: str, future: asyncio.Future[Any]) -> None:
        self._in_flight -= 1
        if not future.done():
            if (error := answer.exception) is not None:
                future.set_exception(our_error(error, what))
            else:
                try:
                    future.set_result(convert(answer.value))
                except errors.ZooKeeperError as failure:
                    future.set_exception(failure)
        while self._waiting and self._in_flight < self._waiting[0][0]:
            _, begin, convert, what, future = self._waiting.popleft()
            if not future.done():
                self._begin(begin, convert, what, future)

    def _on_kazoo_state(self, state: KazooState) -> None:
        refused = self._client.client_state == KeeperState.AUTH_FAILED
        self.call_on_loop(lambda: self._change(state, refused))

    def _change(self, state: KazooState, refused: bool) -> None:
        self.is_connected = state == KazooState.CONNECTED
        self.is_over = state == KazooState.LOST
        self.auth_failed |= refused
        self._on_change(self)

    def _empty_inbox(self) -> None:
        while self._inbox and not self._is_abandoned:
            self._inbox.popleft()()

    def _keep_trouble(self, trouble: str) -> None:
        self.trouble = trouble

    def _end(self) -> None:
        try:
            self._client.stop()
            self._client.close()
        except Exception as error:
            # kazoo's thread did not come to its end in time; it is a daemon, and its session lapses.
            self.trouble = str(error)
        finally:
            self.call_on_loop(self.ended.set)
