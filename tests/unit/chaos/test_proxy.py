"""The proxy over real loopback sockets: what passes, what stands still, what comes late or twice, and how."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable

import pytest

from bench.clusters import free_port
from engine.chaos.network import Request, Tampering
from engine.chaos.proxy import Proxy
from engine.model.broker_faults import CLIENTS
from engine.wire import codec
from engine.wire.apis import ApiKey
from engine.wire.messages.request_header import RequestHeader

BROKER, OTHER = 1, 2
# Long enough for everything on loopback, short enough for what must not come.
SILENCE_S = 0.15


class FakeBroker:
    """Notes every frame with the connection it came over, and answers with its correlation id."""

    def __init__(self) -> None:
        self.port = free_port()
        self.connections = 0
        self.received: list[tuple[int, int]] = []
        """Number of the connection, correlation id."""
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number: int | None = None
        self._writers.append(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                if number is None:  # the proxy's knocking is no connection
                    number, self.connections = self.connections, self.connections + 1
                (correlation_id,) = struct.unpack_from(">i", frame, 4)
                self.received.append((number, correlation_id))
                writer.write(struct.pack(">ii", 4, correlation_id))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    @property
    def ids(self) -> list[int]:
        return [correlation_id for _, correlation_id in self.received]

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()


class Client:
    """A plain client with a client.id."""

    def __init__(self, port: int, client_id: str) -> None:
        self._port = port
        self._client_id = client_id

    async def connect(self) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    def send(self, correlation_id: int, key: ApiKey = ApiKey.HEARTBEAT) -> None:
        head = codec.encode(
            RequestHeader(
                request_api_key=key, request_api_version=0, correlation_id=correlation_id, client_id=self._client_id
            ),
            1,
        )
        self._writer.write(struct.pack(">i", len(head)) + head)

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self, within_s: float = 5.0) -> int | None:
        """The next answer's correlation id; None: the connection ended."""
        try:
            async with asyncio.timeout(within_s):
                data = await self._reader.readexactly(8)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        return int(struct.unpack(">ii", data)[1])

    async def ask(self, correlation_id: int, key: ApiKey = ApiKey.HEARTBEAT) -> int | None:
        self.send(correlation_id, key)
        return await self.answer()

    async def hears_nothing(self) -> bool:
        try:
            await self.answer(SILENCE_S)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._writer.close()


class Field:
    """A proxy with one door, the broker behind it, and its clients."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.proxy = Proxy()
        self.port = free_port()
        self.door = self.proxy.add_door(BROKER, ("127.0.0.1", self.port), ("127.0.0.1", self.broker.port))
        self._clients: list[Client] = []

    async def client(self, client_id: str = "somebody") -> Client:
        client = await Client(self.port, client_id).connect()
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            client.close()
        await self.proxy.close()
        await self.broker.stop()


@pytest.fixture
async def field() -> AsyncIterator[Field]:
    made = Field()
    await made.broker.start()
    await eventually(lambda: made.door.is_open)
    yield made
    await made.close()


async def eventually(holds: Callable[[], object], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def any_request(request: Request) -> bool:
    return True


async def test_requests_and_answers_pass_in_order(field: Field) -> None:
    one, other = await field.client(), await field.client("broker-2-fetcher-1")
    for number in range(50):
        one.send(number)
    assert [await one.answer() for _ in range(50)] == list(range(50))
    assert await other.ask(1000) == 1000
    assert field.broker.connections == 2
    assert {link.source for link in field.proxy.links} == {CLIENTS, OTHER}


async def test_a_door_is_closed_while_nobody_listens_behind_it(field: Field) -> None:
    client = await field.client()
    assert await client.ask(1) == 1
    await field.broker.stop()
    assert await client.answer() is None
    await eventually(lambda: not field.door.is_open)
    with pytest.raises(ConnectionRefusedError):
        await field.client()
    await field.broker.start()
    await eventually(lambda: field.door.is_open)
    assert await (await field.client()).ask(2) == 2


async def test_a_cut_is_silent_concerns_two_nodes_only_and_heals(field: Field) -> None:
    fetcher, client = await field.client("broker-2-fetcher-1"), await field.client()
    assert await fetcher.ask(1) == 1
    field.proxy.cut(OTHER, BROKER)
    fetcher.send(2)
    assert await fetcher.hears_nothing()
    # A new connection is taken, and just as silent; whoever is not concerned notices nothing.
    late = await field.client("raft-client-2")
    late.send(3)
    assert await late.hears_nothing()
    assert await client.ask(4) == 4
    assert field.broker.ids == [1, 4]
    field.proxy.heal()
    assert await fetcher.answer() == 2
    assert await late.answer() == 3


async def test_a_cut_one_way_lets_requests_pass_and_keeps_the_answers(field: Field) -> None:
    fetcher = await field.client("broker-2-fetcher-1")
    assert await fetcher.ask(1) == 1
    field.proxy.cut(BROKER, OTHER, one_way=True)
    fetcher.send(2)
    await eventually(lambda: field.broker.ids == [1, 2])
    assert await fetcher.hears_nothing()
    field.proxy.heal()
    assert await fetcher.answer() == 2


async def test_what_a_cut_kept_arrives_though_its_sender_has_left_and_then_the_end(field: Field) -> None:
    fetcher = await field.client("broker-2-fetcher-1")
    assert await fetcher.ask(1) == 1
    field.proxy.cut(OTHER, BROKER, one_way=True)
    fetcher.send(2)
    fetcher.send(3, ApiKey.OFFSET_COMMIT)
    await asyncio.sleep(0.05)
    fetcher.close()
    await asyncio.sleep(SILENCE_S)
    assert field.broker.ids == [1], "the broker does not even learn that its peer has gone"
    field.proxy.heal()
    # A commit of offsets is not fenced within its generation: nobody promises anything if it comes late.
    await eventually(lambda: field.broker.ids == [1, 2])
    await eventually(lambda: not list(field.proxy.links))


async def test_a_heal_may_lose_the_connections_that_stood_still(field: Field) -> None:
    fetcher, client = await field.client("broker-2-fetcher-1"), await field.client()
    assert await fetcher.ask(1) == 1
    assert await client.ask(2) == 2
    field.proxy.cut(OTHER, BROKER)
    fetcher.send(3)
    await asyncio.sleep(0.05)
    field.proxy.heal(resets=True)
    assert await fetcher.answer() is None
    assert await client.ask(4) == 4
    assert 3 not in field.broker.ids


async def test_a_request_that_is_held_arrives_in_its_place_if_its_sender_waits(field: Field) -> None:
    client = await field.client()
    assert await client.ask(1) == 1
    field.proxy.tamper(Tampering("hold", lambda request: request.api_key == ApiKey.PRODUCE, SILENCE_S * 2))
    client.send(2, ApiKey.PRODUCE)
    client.send(3)
    assert await client.hears_nothing()
    assert [await client.answer(), await client.answer()] == [2, 3]
    assert field.broker.received == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize("resets", [True, False])
async def test_a_request_that_is_held_comes_over_another_connection_after_its_sender_has_come_again(
    field: Field, resets: bool
) -> None:
    client = await field.client()
    assert await client.ask(1) == 1
    field.proxy.tamper(Tampering("hold", lambda request: request.api_key == ApiKey.PRODUCE, 0.4, resets=resets))
    client.send(2, ApiKey.PRODUCE)
    if resets:
        assert await client.answer() is None, "its sender loses the connection at once"
    else:
        await asyncio.sleep(0.05)
        client.close()
    again = await field.client()
    assert await again.ask(2, ApiKey.PRODUCE) == 2
    assert await again.ask(3) == 3
    assert field.broker.ids == [1, 2, 3]
    await eventually(lambda: field.broker.ids == [1, 2, 3, 2])
    assert [number for number, _ in field.broker.received] == [0, 1, 1, 2]
    assert await again.hears_nothing(), "answers to what comes late are thrown away"
    assert field.proxy.faults.done["released late"] == 1


async def test_a_request_that_is_repeated_comes_again_over_a_second_connection(field: Field) -> None:
    client = await field.client("idempotent-0")
    field.proxy.tamper(Tampering("repeat", any_request, 0.05, left=2))
    for number in range(4):
        assert await client.ask(number, ApiKey.PRODUCE) == number
    await eventually(lambda: sorted(field.broker.ids) == [0, 0, 1, 1, 2, 3])
    assert field.broker.ids[0] == 0
    assert await client.hears_nothing()
    assert await client.ask(9) == 9


async def test_what_may_rightly_be_done_twice_is_not_repeated(field: Field) -> None:
    plain, idempotent = await field.client("all"), await field.client("idempotent-0")
    field.proxy.tamper(Tampering("repeat", any_request, 0.0, left=100))
    for number, (client, key) in enumerate(
        [
            (plain, ApiKey.PRODUCE),
            (plain, ApiKey.OFFSET_COMMIT),
            (plain, ApiKey.CREATE_TOPICS),
            (plain, ApiKey.DELETE_TOPICS),
            (idempotent, ApiKey.PRODUCE),
        ]
    ):
        assert await client.ask(number, key) == number
    await eventually(lambda: len(field.broker.ids) == 6)
    await asyncio.sleep(SILENCE_S)
    assert sorted(field.broker.ids) == [0, 1, 2, 3, 4, 4]


async def test_what_comes_late_does_not_pass_a_cut_either(field: Field) -> None:
    fetcher = await field.client("broker-2-fetcher-1")
    assert await fetcher.ask(1) == 1
    field.proxy.tamper(Tampering("hold", any_request, 0.05, resets=True))
    fetcher.send(2)
    assert await fetcher.answer() is None
    field.proxy.cut(OTHER, BROKER)
    await asyncio.sleep(SILENCE_S)
    assert field.broker.ids == [1]
    field.proxy.heal()
    await eventually(lambda: field.broker.ids == [1, 2])


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
        struct.pack(">i", -1),
        struct.pack(">i", 0x7FFFFFFF),
        struct.pack(">i", 4) + b"abcd",
        struct.pack(">ihhih", 10, 9999, 0, 1, -1),
        struct.pack(">ihhih", 10, 0, 0, 1, 500),
    ],
)
async def test_garbage_closes_its_own_connection_and_no_other(field: Field, garbage: bytes) -> None:
    bad, good = await field.client(), await field.client()
    assert await bad.ask(1) == 1
    assert await good.ask(2) == 2
    bad.send_bytes(garbage)
    assert await bad.answer() is None
    assert await good.ask(3) == 3
    silent = await field.client()
    silent.send_bytes(garbage)
    assert await silent.answer() is None
    assert await good.ask(4) == 4
    assert field.broker.ids == [1, 2, 3, 4], "nothing of it reached the broker"


async def test_connections_between_two_nodes_are_reset(field: Field) -> None:
    fetcher, client = await field.client("broker-2-fetcher-1"), await field.client()
    assert await fetcher.ask(1) == 1
    assert await client.ask(2) == 2
    assert field.proxy.reset(BROKER, OTHER) == 1
    assert await fetcher.answer() is None
    assert await client.ask(3) == 3


async def test_delayed_bytes_come_later_and_in_order(field: Field) -> None:
    client = await field.client()
    assert await client.ask(1) == 1
    field.proxy.delay(CLIENTS, BROKER, 0.1)
    began = time.monotonic()
    for number in (2, 3, 4):
        client.send(number)
    assert [await client.answer() for _ in range(3)] == [2, 3, 4]
    assert time.monotonic() - began >= 0.2, "there and back"
    field.proxy.heal()
    began = time.monotonic()
    assert await client.ask(5) == 5
    assert time.monotonic() - began < 0.1


async def test_large_requests_pass_in_pieces_and_a_cut_bounds_what_waits(field: Field) -> None:
    client = await field.client()
    assert await client.ask(1) == 1
    head = struct.pack(">hhih", ApiKey.PRODUCE, 0, 7, -1)
    body = head + b"x" * (9 << 20)
    framed = struct.pack(">i", len(body)) + body
    client.send_bytes(framed)
    assert await client.answer() == 7
    field.proxy.cut(CLIENTS, BROKER, one_way=True)
    for _ in range(6):
        client.send_bytes(framed)
    await asyncio.sleep(0.3)
    (link,) = field.proxy.links
    assert len(link.requests.waiting) < 6, "the sender has to wait, as with full buffers"
    field.proxy.heal()
    assert [await client.answer() for _ in range(6)] == [7] * 6
