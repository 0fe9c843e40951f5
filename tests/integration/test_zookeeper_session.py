"""Our session with a real ZooKeeper: order, watches, lost connections, expiry, ACLs, TLS."""

import asyncio
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.clusters import free_port
from engine.core.znodes.operations import Check, Create, Delete, SetData
from engine.zookeeper import four_letter_words, link
from engine.zookeeper.config import TlsConfig, ZooKeeperConfig
from engine.zookeeper.errors import (
    BadVersion,
    ConnectionLoss,
    MultiFailed,
    NoAuth,
    NodeExists,
    NoNode,
    NotEmpty,
    SessionExpired,
)
from engine.zookeeper.session import SessionState, WatchEvent, WatchKind, ZooKeeperSession
from tests.integration.zookeeper_server import ZooKeeperServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_WAIT_S = 30


class Told:
    """The states that a session told, and a way to wait for one."""

    def __init__(self) -> None:
        self.states: list[SessionState] = []
        self._changed = asyncio.Event()

    def __call__(self, state: SessionState) -> None:
        self.states.append(state)
        self._changed.set()

    async def wait_for(self, *states: SessionState) -> None:
        async with asyncio.timeout(_WAIT_S):
            while self.states[-len(states) :] != list(states):
                self._changed.clear()
                await self._changed.wait()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not holds():  # noqa: ASYNC110  what is awaited is another process
            await asyncio.sleep(0.002)


async def sessions_at(server: ZooKeeperServer) -> set[int]:
    connections = await four_letter_words.cons("127.0.0.1", server.port)
    return {each.session_id for each in connections if each.session_id}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and a server and a client that it signed; another CA that signed nobody."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1")
    for authority in ("ca", "stranger"):
        named = ["-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", f"/CN={authority}"]
        openssl("req", "-x509", *made, "-days", "2", *named)
    for who in ("server", "client"):
        openssl("req", *made, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{who}.csr", *signed, "-out", f"{who}.crt")
        (directory / f"{who}.pem").write_text(
            (directory / f"{who}.key").read_text() + (directory / f"{who}.crt").read_text()
        )
    return directory


@pytest.fixture(scope="module")
def secure_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Path, secure_port: int) -> Iterator[ZooKeeperServer]:
    more = f"""
secureClientPort={secure_port}
secureClientPortAddress=127.0.0.1
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={certificates}/server.pem
ssl.keyStore.type=PEM
ssl.trustStore.location={certificates}/ca.pem
ssl.trustStore.type=PEM
"""
    made = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"), more=more)
    try:
        made.start()
        made.wait_until_it_serves()
        yield made
    finally:
        made.kill()


@asynccontextmanager
async def session_with(config: ZooKeeperConfig, told: Told | None = None) -> AsyncIterator[ZooKeeperSession]:
    session = ZooKeeperSession(config, on_state=told)
    await session.connect()
    try:
        yield session
    finally:
        await session.close()


def at(server: ZooKeeperServer, chroot: str) -> ZooKeeperConfig:
    return ZooKeeperConfig.of_connect(server.address + chroot, session_timeout_ms=6000)


async def test_znodes_are_made_read_changed_and_deleted_below_a_chroot_that_is_made(server: ZooKeeperServer) -> None:
    async with session_with(at(server, "/cluster/one")) as session, session_with(at(server, "")) as above:
        assert await session.create("/a/b", b"first", make_parents=True) == "/a/b"
        assert await session.create("/a/s-", b"", sequential=True) == "/a/s-0000000001"
        assert (await above.get("/cluster/one/a/b")).data == b"first"
        assert await session.set("/a/b", b"second", version=0) == 1
        assert await session.create("/mine", b"", ephemeral=True) == "/mine"
        stat = await above.exists("/cluster/one/mine")
        assert stat is not None and stat.ephemeral_owner == session.session_id
        assert sorted(await session.children("/")) == ["a", "mine"]
        with pytest.raises(NodeExists, match="/a/b: the znode is there already"):
            await session.create("/a/b", b"")
        with pytest.raises(NoNode):
            await session.get("/nowhere")
        with pytest.raises(BadVersion):
            await session.set("/a/b", b"third", version=0)
        with pytest.raises(NotEmpty):
            await session.delete("/a")
        await session.delete("/a/b", 1)
        assert await session.exists("/a/b") is None
        status = await four_letter_words.srvr("127.0.0.1", server.port)
        assert status.mode == "standalone"
        assert await sessions_at(server) == {session.session_id, above.session_id}
    async with session_with(at(server, "/cluster/one")) as again:
        # what belonged to the session went when it was closed
        assert await again.children("/") == ["a"]


async def test_a_multi_is_done_as_a_whole_or_names_what_was_refused(server: ZooKeeperServer) -> None:
    async with session_with(at(server, "/multi")) as session:
        await session.create("/epoch", b"1")
        await session.multi([Check("/epoch", 0), Create("/a", b"x"), SetData("/epoch", b"2", 0)])
        with pytest.raises(MultiFailed) as refused:
            await session.multi([Create("/b", b""), Check("/epoch", 0), Delete("/a"), Delete("/nowhere")])
        assert (refused.value.index, refused.value.operation) == (1, Check("/epoch", 0))
        assert isinstance(refused.value.error, BadVersion)
        assert sorted(await session.children("/")) == ["a", "epoch"]


async def test_multis_that_were_submitted_are_done_in_order_and_fail_after_one_that_failed(
    server: ZooKeeperServer,
) -> None:
    async with session_with(at(server, "/order")) as session:
        await session.create("/log", b"")
        # more than may be in flight at one time
        done = [session.submit([SetData("/log", b"%d" % n, n), Create(f"/{n:03}", b"")]) for n in range(50)]
        done += [session.submit([SetData("/log", b"stale", 7), Create("/stale", b"")])]
        done += [session.submit([SetData("/log", b"late", 51), Create("/late", b"")])]
        results = await asyncio.gather(*done, return_exceptions=True)
        assert results[:50] == [None] * 50
        assert [type(each) for each in results[50:]] == [MultiFailed, MultiFailed]
        assert (await session.get("/log"))[:2] == (b"49", 50)
        assert sorted(await session.children("/")) == [f"{n:03}" for n in range(50)] + ["log"]


async def test_a_watch_is_called_once_and_when_the_connection_is_lost(server: ZooKeeperServer) -> None:
    told, seen = Told(), list[WatchEvent]()
    async with session_with(at(server, "/watched"), told) as session:
        await session.create("/a", b"")
        await session.create("/mine", b"", ephemeral=True)
        await session.get("/a", seen.append)
        await session.exists("/absent", seen.append)
        await session.children("/", seen.append)
        await session.multi([SetData("/a", b"x"), SetData("/a", b"y")])
        await until(lambda: len(seen) == 1)
        await session.create("/absent", b"")
        await until(lambda: len(seen) == 3)
        assert seen[0] == WatchEvent(WatchKind.CHANGED, "/a")
        assert set(seen[1:]) == {WatchEvent(WatchKind.CREATED, "/absent"), WatchEvent(WatchKind.CHILDREN, "/")}

        seen.clear()
        before = session.session_id
        await session.get("/a", seen.append)
        server.kill()
        await told.wait_for(SessionState.CONNECTED, SessionState.SUSPENDED)
        with pytest.raises(ConnectionLoss, match="/a: the session is suspended"):
            await session.get("/a")
        await until(lambda: seen)
        assert seen == [WatchEvent(WatchKind.CONNECTION_LOST, "/a")]
        server.start()
        await session.connected()
        assert told.states == [SessionState.CONNECTED, SessionState.SUSPENDED, SessionState.CONNECTED]
        stat = await session.exists("/mine")
        assert session.session_id == before and stat is not None and stat.ephemeral_owner == before
        await session.get("/a", seen.append)
        await session.set("/a", b"z")
        await until(lambda: len(seen) == 2)
        assert seen[1] == WatchEvent(WatchKind.CHANGED, "/a")


async def test_what_was_under_way_when_the_connection_was_lost_is_told_at_once(server: ZooKeeperServer) -> None:
    told = Told()
    async with session_with(at(server, "/lost"), told) as session:
        await session.create("/a", b"")
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        under_way = [session.submit([SetData("/a", b"%d" % n)]) for n in range(30)]
        server.kill()
        results = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), _WAIT_S)
        assert {type(each) for each in results} == {ConnectionLoss}
        assert told.states[-1] is SessionState.SUSPENDED
        server.start()
        await session.connected()
        # nothing was kept for later
        assert (await session.get("/a")).version == 0


async def test_a_server_that_says_nothing_is_noticed(server: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "silence_s", lambda _: 0.5)
    told = Told()
    async with session_with(replace(at(server, "/silent"), session_timeout_ms=60_000), told) as session:
        before = session.session_id
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            # kazoo alone would look twice within two thirds of what the server agrees to: 10 s
            async with asyncio.timeout(5):
                await told.wait_for(SessionState.SUSPENDED)
        finally:
            server.process.send_signal(signal.SIGCONT)
        await session.connected()
        assert session.session_id == before


async def test_after_expiry_there_is_another_session_only_when_one_is_asked_for(server: ZooKeeperServer) -> None:
    told, seen = Told(), list[WatchEvent]()
    async with session_with(at(server, "/expiry"), told) as session, session_with(at(server, "/expiry")) as other:
        before = session.session_id
        await session.create("/mine", b"", ephemeral=True)
        await other.exists("/mine", seen.append)
        await session.expire()
        await told.wait_for(SessionState.EXPIRED)
        await until(lambda: seen)
        assert seen == [WatchEvent(WatchKind.DELETED, "/mine")]
        with pytest.raises(SessionExpired):
            await session.get("/")
        with pytest.raises(SessionExpired):
            await session.connected()
        # kazoo would have begun another one
        assert session._link is not None
        await asyncio.wait_for(session._link.ended.wait(), _WAIT_S)
        assert await sessions_at(server) == {other.session_id}
        await session.renew()
        assert session.state is SessionState.CONNECTED and session.session_id != before
        assert await session.exists("/mine") is None
        assert told.states[-2:] == [SessionState.EXPIRED, SessionState.CONNECTED]


async def test_a_whole_tree_is_read(server: ZooKeeperServer) -> None:
    async with session_with(at(server, "/tree")) as session:
        made = {f"/brokers/{n}": b"%d" % n for n in range(40)}
        made |= {f"/brokers/{n}/{m}": b"%d" % m for n in range(40) for m in range(50)}
        await session.create("/brokers", b"")
        await session.multi([Create(path, data) for path, data in made.items()])
        tree = await session.read_tree(["/brokers", "/nowhere"])
        assert {path: znode.data for path, znode in tree.items()} == made | {"/brokers": b""}


async def test_a_tree_is_read_as_it_was_at_one_moment_while_others_write(server: ZooKeeperServer) -> None:
    async with session_with(at(server, "/moment")) as session, session_with(at(server, "/moment")) as writer:
        made = [Create("/mark", b"0"), Create("/tree", b"0"), Create("/late", b"0")]
        await writer.multi([*made, *(Create(f"/tree/{n}", b"0") for n in range(200))])
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                written += 1
                text = b"%d" % written
                # Values change, znodes come and go, and so does one that has others below it.
                comes = [Create("/roots", text), Create("/roots/a", text)]
                goes = [Delete("/roots/a"), Delete("/roots")]
                await writer.multi(
                    [
                        *(SetData(path, text) for path in ("/mark", "/tree", f"/tree/{written % 200}")),
                        Create(f"/tree/new-{written}", text),
                        *([Delete(f"/tree/new-{written - 1}")] if written > 1 else []),
                        *(comes if written % 2 else goes),
                    ]
                )
                await asyncio.sleep(0.002)

        writing = asyncio.create_task(write())
        await until(lambda: written > 5)
        for _ in range(4):
            mark, tree = await session.read_tree_as_of("/mark", ["/tree", "/roots", "/late"])
            number = int(mark.data)
            values = {path: int(znode.data) for path, znode in tree.items()}
            last = {each % 200: each for each in range(1, number + 1)}
            expected = {f"/tree/{n}": last.get(n, 0) for n in range(200)}
            expected |= {"/tree": number, "/late": 0, f"/tree/new-{number}": number}
            if number % 2:
                expected |= {"/roots": number, "/roots/a": number}
            assert values == expected
        writing.cancel()
        assert written > 20


async def test_acls_are_kafkas(server: ZooKeeperServer) -> None:
    owner = replace(at(server, "/owned"), digest="kafka:secret", set_acl=True)
    async with session_with(owner) as ours, session_with(at(server, "/owned")) as others:
        for path in ("/brokers/ids", "/config/users/alice", "/consumers"):
            await ours.create(path, b"x", make_parents=True)
        assert (await others.get("/brokers/ids")).data == b"x"
        for refused in (
            others.set("/brokers/ids", b""),
            others.create("/brokers/ids/1", b""),
            others.get("/config/users/alice"),
        ):
            with pytest.raises(
                NoAuth, match=r"the znode's ACL does not allow it; is kconsole\.zookeeper\.digest right"
            ):
                await refused
        await others.create("/consumers/group", b"")
        with pytest.raises(MultiFailed) as raised:
            await others.multi([Create("/consumers/other", b""), SetData("/brokers/ids", b"")])
        assert raised.value.index == 1 and isinstance(raised.value.error, NoAuth)
        assert [entry[::2] for entry in await ours.acl("/config/users/alice")] == [("digest", 31)]


async def test_tls_shows_and_asks_for_certificates(
    server: ZooKeeperServer, certificates: Path, secure_port: int
) -> None:
    tls = TlsConfig(str(certificates / "client.pem"), truststore=str(certificates / "ca.pem"))
    config = replace(at(server, "/secured"), servers=(("127.0.0.1", secure_port),), tls=tls, set_acl=True)
    async with session_with(config) as session, session_with(at(server, "/secured")) as others:
        await session.create("/log", b"")
        await asyncio.gather(*(session.submit([SetData("/log", b"x" * 2000, n)]) for n in range(100)))
        assert (await session.get("/log")).version == 100
        with pytest.raises(NoAuth):
            # the certificate is who made it
            await others.set("/log", b"")
    for wrong, complaint in (
        (replace(tls, truststore=str(certificates / "stranger.pem")), "certificate verify failed"),
        (replace(tls, keystore=None), "start one, or correct zookeeper.connect"),
    ):
        stranger = ZooKeeperSession(replace(config, tls=wrong, connection_timeout_ms=300))
        with pytest.raises(ConnectionLoss, match=complaint):
            await stranger.connect()
        assert stranger.state is SessionState.CLOSED


def test_what_tls_has_read_ahead_is_not_left_lying(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    one, other = socket.socketpair()
    with ThreadPoolExecutor() as executor:
        accepting = executor.submit(context.wrap_socket, one, server_side=True)
        client_side = TlsConfig(truststore=str(certificates / "ca.pem"), checks_host=False).context().wrap_socket(other)
        server_side = accepting.result()
    with server_side, client_side:
        server_side.sendall(b"firstsecond")
        assert client_side.recv(5) == b"first"
        assert link.Handler(None, 1).select([client_side], [], [], 0) == ([client_side], [], [])
        assert client_side.recv(6) == b"second"
        assert link.Handler(None, 1).select([client_side], [], [], 0) == ([], [], [])


async def test_where_no_server_is_the_error_says_so(tmp_path: Path) -> None:
    config = ZooKeeperConfig.of_connect(f"127.0.0.1:{free_port()}/kafka", connection_timeout_ms=100)
    with pytest.raises(
        ConnectionLoss, match=r"no ZooKeeper server of 127\.0\.0\.1:\d+/kafka answered within 100 ms .*refused"
    ):
        await ZooKeeperSession(config).connect()
