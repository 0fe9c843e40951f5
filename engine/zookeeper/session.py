"""A session with ZooKeeper, as seen from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from engine.core.znodes.operations import Check, Create, Delete, Operation, SetData, Znode
from engine.zookeeper.acl import Access, access_of
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import (
    AuthFailed,
    ConnectionLoss,
    MultiFailed,
    NodeExists,
    NoNode,
    SessionExpired,
    TooLarge,
    ZooKeeperError,
)
from engine.zookeeper.stat import ZnodeStat
from engine.zookeeper.watched_tree import WatchedTree, abandon

if TYPE_CHECKING:
    from engine.zookeeper.link import Link

T = TypeVar("T")

# What a request has beside paths and values: headers, lengths, of what is created the ACL (at most two entries).
_FRAME = 64
_PER_OPERATION = 96
_PER_CHANGE = 24

# How long the end of a session is waited for; it lapses by itself if nobody hears of it.
_END_S = 5.0


class SessionState(Enum):
    """How it stands. SUSPENDED: no connection, the session may live on or not, nobody knows; EXPIRED: it has ended."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    CLOSED = "closed"


class WatchKind(Enum):
    """Why a watch was called. CONNECTION_LOST: what became of the znode is not known, look again when connected."""

    CREATED = "CREATED"
    DELETED = "DELETED"
    CHANGED = "CHANGED"
    CHILDREN = "CHILD"
    CONNECTION_LOST = "NONE"


class WatchEvent(NamedTuple):
    """What a watch is called with."""

    kind: WatchKind
    path: str


Watch: TypeAlias = Callable[[WatchEvent], None]


class ZooKeeperSession:
    """Reads, writes and watches below the chroot, on one session.

    Requests are sent in the order in which they are made, up to ``config.max_in_flight`` at one time, and answered in
    that order. Without a connection every request raises :exc:`ConnectionLoss` (SUSPENDED) or :exc:`SessionExpired`
    at once; none is kept for later. A watch is called once, on the loop, also when the connection is lost.

    ``on_state`` is called on the loop with each new state. After EXPIRED only :meth:`renew` helps.
    """

    def __init__(self, config: ZooKeeperConfig, *, on_state: Callable[[SessionState], None] | None = None) -> None:
        self.config = config
        self._on_state = on_state
        self._state = SessionState.CLOSED
        self._link: Link | None = None
        self._context: ssl.SSLContext | None = None
        self._changed = asyncio.Event()

    @property
    def state(self) -> SessionState:
        """How it stands; CLOSED before :meth:`connect`."""
        return self._state

    @property
    def session_id(self) -> int:
        """ZooKeeper's number of the session, which is ``ephemeral_owner`` of its znodes; 0 before there was one."""
        return self._link.session[0] if self._link is not None else 0

    @property
    def session_password(self) -> bytes:
        """What proves that the session is ours: who has it can take the session over, or end it."""
        return self._link.session[1] if self._link is not None else b""

    @property
    def trouble(self) -> str:
        """What went wrong the last time that a server was tried; "" if nothing did."""
        return self._link.trouble if self._link is not None else ""

    async def connect(self) -> None:
        """Begin a session; make the chroot if there is none.

        Raises:
            ZooKeeperConfigError: files of TLS cannot be used.
            ConnectionLoss: no server answered within ``config.connection_timeout_ms``.
            AuthFailed: ZooKeeper does not take the credentials.
        """
        assert self._state in (SessionState.CLOSED, SessionState.EXPIRED), f"a session that is {self._state.value}"
        try:
            from engine.zookeeper.link import Link
        except ImportError as error:
            if error.name is None or not error.name.startswith("kazoo"):
                raise
            raise ZooKeeperError("ZooKeeper needs kazoo: pip install 'kconsole[zookeeper]'") from None
        if self.config.tls is not None:
            self._context = self.config.tls.context()
        deadline = time.monotonic() + self.config.connection_timeout_ms / 1000
        before, self._link = self._link, Link(self.config, self._context, self._on_link_change)
        if before is not None:
            before.end()
        try:
            await self._start(self._link, deadline)
        except BaseException:
            self._link.end()
            raise

    async def renew(self) -> None:
        """After EXPIRED: begin another session, as :meth:`connect`; ephemeral znodes are not made again."""
        await self.connect()

    async def close(self) -> None:
        """End the session: its ephemeral znodes go at once. Nothing is raised if ZooKeeper cannot be told."""
        link, self._link = self._link, None
        self._changed.set()
        self._tell(SessionState.CLOSED)
        if link is None:
            return
        link.fail_waiting(ConnectionLoss)
        link.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await link.ended.wait()

    async def expire(self) -> None:
        """End the session on purpose as if it had lapsed: ZooKeeper forgets it, and then we are told EXPIRED.

        Raises:
            ConnectionLoss: no server could be told.
        """
        if self._link is None or self._state is not SessionState.CONNECTED:
            raise ConnectionLoss(f"the session is {self._state.value}, only one that is connected can be expired")
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._link.expire)
        except Exception as error:
            raise ConnectionLoss(f"the session could not be taken over: {error}") from None

    def abandon(self) -> None:
        """Be as if the process had been killed: no word to ZooKeeper, none to us; the session lapses. For tests."""
        if self._link is not None:
            self._link.abandon()

    async def connected(self) -> None:
        """Wait until the session is CONNECTED.

        Raises:
            SessionExpired: it is EXPIRED or CLOSED.
        """
        while self._state is not SessionState.CONNECTED:
            if self._state is not SessionState.SUSPENDED:
                raise SessionExpired(f"the session is {self._state.value}")
            self._changed.clear()
            await self._changed.wait()

    async def retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and whenever the connection is lost meanwhile, again once there is one (KafkaZkClient does the same with
        most of its requests). What is asked must bear to be done twice.

        Raises:
            ConnectionLoss: there was none for ``config.connection_timeout_ms``.
        """
        while True:
            try:
                return await ask()
            except ConnectionLoss as lost:
                try:
                    async with asyncio.timeout(self.config.connection_timeout_ms / 1000):
                        await self.connected()
                except TimeoutError:
                    raise lost from None

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, path: str, watch: Watch | None = None) -> Znode:
        """A znode. ``watch`` is called when it changes or goes. Raises: NoNode (and the watch is not set)."""
        return (await self.get_with_stat(path, watch))[0]

    async def get_with_stat(self, path: str, watch: Watch | None = None) -> tuple[Znode, ZnodeStat]:
        """A znode and all that ZooKeeper says of it. Raises: NoNode."""
        read: tuple[Znode, ZnodeStat] = await self.ask(path, watch)
        return read

    def ask(self, path: str, watch: Watch | None = None) -> asyncio.Future[tuple[Znode, ZnodeStat]]:
        """:meth:`get_with_stat` without waiting, of any number of znodes at once."""
        at, seen = self._at(path), self._watch(path, watch)
        return self._request(lambda client: client.get_async(at, watch=seen), _znode, path, is_one_of_many=True)

    def ask_children(self, path: str, watch: Watch | None = None) -> asyncio.Future[list[str]]:
        """:meth:`children` without waiting, of any number of znodes at once."""
        at, seen = self._at(path), self._watch(path, watch)
        return self._request(lambda client: client.get_children_async(at, watch=seen), list, path, is_one_of_many=True)

    async def exists(self, path: str, watch: Watch | None = None) -> ZnodeStat | None:
        """What ZooKeeper says of a znode, ``None`` if there is none. ``watch``: it comes, changes or goes."""
        at, seen = self._at(path), self._watch(path, watch)
        found: ZnodeStat | None = await self._request(
            lambda client: client.exists_async(at, watch=seen), lambda stat: stat and _stat(stat), path
        )
        return found

    async def children(self, path: str, watch: Watch | None = None) -> list[str]:
        """Names of the znodes below one, in no order. ``watch``: one comes or goes. Raises: NoNode."""
        found: list[str] = await self.ask_children(path, watch)
        return found

    async def sync(self, path: str) -> None:
        """Wait until the server that we are connected to has everything that was committed before."""
        at = self._at(path)
        await self._request(lambda client: client.sync_async(at), lambda _: None, path)

    async def acl(self, path: str) -> list[tuple[str, str, int]]:
        """Who may do what: scheme, id and permission bits (1 read, 2 write, 4 create, 8 delete, 16 admin) of each."""
        at = self._at(path)
        found: list[tuple[str, str, int]] = await self._request(
            lambda client: client.get_acls_async(at),
            lambda answer: [(each.id.scheme, each.id.id, each.perms) for each in answer[0]],
            path,
        )
        return found

    async def read_tree(self, roots: Iterable[str]) -> dict[str, Znode]:
        """All znodes at and below the roots that there are, by path. Not at one moment: changes may be seen in part."""
        tree: dict[str, Znode] = {}
        reads = [(path, self.ask(path, None)) for path in dict.fromkeys(roots)]
        lists: list[tuple[str, asyncio.Future[list[str]]]] = []
        try:
            while reads:
                lists = []
                for path, read in reads:
                    with contextlib.suppress(NoNode):
                        tree[path], stat = await read
                        if stat.num_children:
                            lists.append((path, self.ask_children(path, None)))
                reads = []
                for path, names in lists:
                    above = "" if path == "/" else path
                    with contextlib.suppress(NoNode):
                        reads += [(below, self.ask(below, None)) for below in (f"{above}/{n}" for n in await names)]
        finally:
            abandon([read for _, read in reads])
            abandon([names for _, names in lists])
        return tree

    async def read_tree_as_of(
        self, mark: str, roots: Iterable[str], *, is_leaf: Callable[[str], bool] = lambda _: False
    ) -> tuple[Znode, dict[str, Znode]]:
        """All znodes at and below the roots, as they were when the znode ``mark`` was what is given back, while others
        write. ``is_leaf``: which znodes never have others below them. Raises: NoNode: there is no such mark."""
        return await WatchedTree(self, roots, is_leaf).read(mark)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, path: str, data: bytes, *, ephemeral: bool = False, sequential: bool = False, make_parents: bool = False
    ) -> str:
        """Make a znode; gives its path, to which ``sequential`` has appended a number.

        Raises:
            NodeExists: there is one already.
            NoNode: the parent is not there, and ``make_parents`` does not say to make it.
        """
        at = self._at(path)
        self._check_size(path, len(at) + len(data))
        acl = self._acl(path)

        def create() -> asyncio.Future[str]:
            return self._request(
                lambda client: client.create_async(at, data, acl=acl, ephemeral=ephemeral, sequence=sequential),
                self._below,
                path,
            )

        try:
            return await create()
        except NoNode:
            if not make_parents:
                raise
        await self.make_path(path.rpartition("/")[0])
        return await create()

    async def make_path(self, path: str) -> None:
        """Make a persistent znode, empty, and those above it, where they are not there."""
        above = ""
        for name in filter(None, path.split("/")):
            above += f"/{name}"
            with contextlib.suppress(NodeExists):
                await self.create(above, b"")

    async def set(self, path: str, data: bytes, version: int = -1) -> int:
        """Another value; gives the new version. Raises: NoNode, BadVersion."""
        at = self._at(path)
        self._check_size(path, len(at) + len(data))
        made: int = await self._request(
            lambda client: client.set_async(at, data, version), lambda stat: stat.version, path
        )
        return made

    async def delete(self, path: str, version: int = -1) -> None:
        """A znode without children goes. Raises: NoNode, BadVersion, NotEmpty."""
        at = self._at(path)
        await self._request(lambda client: client.delete_async(at, version), lambda _: None, path)

    async def multi(self, operations: Sequence[Operation]) -> None:
        """All of these, or none. Raises: MultiFailed, with the first operation that was refused."""
        await self.submit(operations)

    def submit(self, operations: Sequence[Operation]) -> asyncio.Future[None]:
        """The same without waiting: multis are done in the order in which they were submitted.

        One does not depend on the one before unless its operations do, by a ``Check`` or a version.
        """
        self._check_size(
            f"multi of {len(operations)} operations",
            sum(
                (_PER_OPERATION if isinstance(each, Create) else _PER_CHANGE)
                + len(self.config.chroot)
                + len(each.path)
                + len(getattr(each, "data", b""))
                for each in operations
            ),
        )
        kept = tuple(operations)
        return self._request(
            lambda client: self._transaction(client, kept).commit_async(),
            lambda results: _raise_refusal(kept, results),
            "multi",
        )

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _request(
        self, begin: Callable[[Any], Any], convert: Callable[[Any], Any], what: str, *, is_one_of_many: bool = False
    ) -> asyncio.Future[Any]:
        if self._link is not None and self._state is SessionState.CONNECTED:
            return self._link.request(begin, convert, what, is_one_of_many=is_one_of_many)
        lost = ConnectionLoss if self._state is SessionState.SUSPENDED else SessionExpired
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(lost(f"{what}: the session is {self._state.value}"))
        return future

    def _transaction(self, client: Any, operations: Iterable[Operation]) -> Any:
        transaction = client.transaction()
        for each in operations:
            at = self._at(each.path)
            match each:
                case Create():
                    transaction.create(
                        at,
                        each.data,
                        acl=self._acl(each.path),
                        ephemeral=each.ephemeral,
                        sequence=each.sequential,
                    )
                case SetData():
                    transaction.set_data(at, each.data, each.version)
                case Delete():
                    transaction.delete(at, each.version)
                case Check():
                    transaction.check(at, each.version)
        return transaction

    def _acl(self, path: str) -> list[Any]:
        from engine.zookeeper.link import ACLS

        return ACLS[access_of(path, set_acl=self.config.set_acl)]

    def _at(self, path: str) -> str:
        assert path.startswith("/"), f"{path!r} does not begin at the root"
        return self.config.chroot + path if path != "/" or not self.config.chroot else self.config.chroot

    def _below(self, path: str) -> str:
        return path.removeprefix(self.config.chroot) or "/"

    def _check_size(self, what: str, size: int) -> None:
        largest = self.config.largest_request
        if size + _FRAME + _PER_OPERATION > largest:
            raise TooLarge(
                f"{what}: {size} bytes are more than ZooKeeper takes in one request ({largest}: "
                "kconsole.zookeeper.multi.max.bytes, at most jute.maxbuffer of its servers)"
            )

    def _watch(self, path: str, watch: Watch | None) -> Callable[[Any], None] | None:
        if watch is None or self._link is None:
            return None
        link, call = self._link, watch

        def seen(event: Any) -> None:
            told = WatchEvent(WatchKind(event.type), path)
            link.call_on_loop(lambda: call(told))

        return seen

    async def _start(self, link: Link, deadline: float) -> None:
        link.start()
        while True:
            self._changed.clear()
            if self._link is not link:
                raise SessionExpired("the session was closed while it was begun")
            if link.auth_failed:
                raise AuthFailed(f"{self.config} does not take the credentials of kconsole.zookeeper.digest")
            if link.is_connected:
                with contextlib.suppress(ConnectionLoss):
                    await self._make_chroot(link)
                    if link.is_connected:
                        self._tell(SessionState.CONNECTED)
                        return
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    await self._changed.wait()
            except TimeoutError:
                raise ConnectionLoss(
                    f"no ZooKeeper server of {self.config} answered within {self.config.connection_timeout_ms} ms"
                    f"{f' ({link.trouble})' if link.trouble else ''}: start one, or correct zookeeper.connect"
                ) from None

    async def _make_chroot(self, link: Link) -> None:
        from engine.zookeeper.link import ACLS

        acl = ACLS[Access.READABLE if self.config.set_acl else Access.OPEN]
        made = ""
        for name in filter(None, self.config.chroot.split("/")):
            made += f"/{name}"
            # Looked for first: it may stand below one of others, in which we may not make anything.
            if not await link.request(partial(_exists, path=made), bool, made):
                with contextlib.suppress(NodeExists):
                    await link.request(partial(_make, path=made, acl=acl), str, made)

    def _on_link_change(self, link: Link) -> None:
        self._changed.set()
        if link is not self._link or self._state in (SessionState.CLOSED, SessionState.EXPIRED):
            # One that we have left, or one that is being begun, of which connect() tells.
            return
        if link.is_connected:
            self._tell(SessionState.CONNECTED)
        elif link.is_over:
            # kazoo would begin another session by itself.
            link.end()
            link.fail_waiting(SessionExpired)
            self._tell(SessionState.EXPIRED)
        else:
            link.fail_waiting(ConnectionLoss)
            self._tell(SessionState.SUSPENDED)

    def _tell(self, state: SessionState) -> None:
        if state is self._state:
            return
        self._state = state
        self._changed.set()
        if self._on_state is not None:
            self._on_state(state)


def _exists(client: Any, path: str) -> Any:
    return client.exists_async(path)


def _make(client: Any, path: str, acl: list[Any]) -> Any:
    return client.create_async(path, b"", acl=acl)


def _stat(stat: Any) -> ZnodeStat:
    return ZnodeStat(
        stat.czxid,
        stat.mzxid,
        stat.pzxid,
        stat.ctime,
        stat.mtime,
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeralOwner,
        stat.dataLength,
        stat.numChildren,
    )


def _znode(answer: tuple[bytes, Any]) -> tuple[Znode, ZnodeStat]:
    data, stat = answer
    return Znode(data, stat.version, stat.czxid, stat.mzxid, stat.ephemeralOwner), _stat(stat)


def _raise_refusal(operations: Sequence[Operation], results: Sequence[Any]) -> None:
    if not any(isinstance(each, Exception) for each in results):
        return
    from engine.zookeeper.link import is_reason, our_error

    for index, (operation, result) in enumerate(zip(operations, results, strict=False)):
        if is_reason(result):
            raise MultiFailed(index, operation, our_error(result, operation.path))
    raise ZooKeeperError("a multi failed without a reason")
