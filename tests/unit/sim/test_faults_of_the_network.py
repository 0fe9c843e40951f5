"""What the simulated network does to connections and to whole messages."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Coroutine
from typing import Any

import pytest

from engine.sim.frame_faults import FrameFault
from engine.sim.loop import Incarnation, SimLoop
from engine.sim.network import Fabric, LinkTiming, SimTransport
from engine.wire.apis import ApiKey


def frame(key: ApiKey, body: bytes = b"") -> bytes:
    return struct.pack(">ih", len(body) + 2, key) + body


class Recorder(asyncio.Protocol):
    """Notes what happens to its end of a connection, and when."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._place.servers.append(self)

    def data_received(self, data: bytes) -> None:
        self._place.note(self._name, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._place.note(self._name, f"lost: {type(error).__name__}")


class Place:
    """A server on one machine, clients on others. Everything takes a millisecond."""

    def __init__(self) -> None:
        self.loop = SimLoop(start_s=0.0)
        self.fabric = Fabric(self.loop, random.Random(1), LinkTiming(0.001, 0.001))
        self.server = Incarnation("broker-1#1")
        self.client = Incarnation("client-1#1")
        self.servers: list[Recorder] = []
        self.seen: list[tuple[float, str, bytes | str]] = []
        self.struck: list[str] = []
        self.fabric.listen(self.server, "broker-1", 9092, lambda: Recorder(self, "server"))

    def note(self, name: str, what: bytes | str) -> None:
        self.seen.append((round(self.loop.time(), 3), name, what))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run(work)

    async def connect(self) -> SimTransport:
        transport, _ = await self.fabric.connect(
            self.client, "broker-1", 9092, lambda: Recorder(self, "client"), 1000.0
        )
        return transport

    def arm(self, *keys: ApiKey, **fault: Any) -> FrameFault:
        armed = FrameFault(keys, self.struck.append, source="client-1", **fault)
        self.fabric.arm(armed)
        return armed

    def received(self) -> list[tuple[float, bytes | str]]:
        return [(at, what) for at, name, what in self.seen if name == "server" and isinstance(what, bytes)]


@pytest.fixture
def place() -> Place:
    return Place()


HEARTBEAT, COMMIT = frame(ApiKey.HEARTBEAT), frame(ApiKey.OFFSET_COMMIT, b"17")


def test_a_held_frame_arrives_late_and_everything_behind_it(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        place.arm(ApiKey.OFFSET_COMMIT, hold_s=2.0)
        began = place.loop.time()
        stream.write(HEARTBEAT)
        stream.write(COMMIT)
        stream.write(HEARTBEAT)
        await asyncio.sleep(3.0)
        times = [round(at - began, 2) for at, _ in place.received()]
        assert [what for _, what in place.received()] == [HEARTBEAT, COMMIT, HEARTBEAT]
        assert times == [0.0, 2.0, 2.0]
        assert not place.fabric.is_disturbed, "it strikes once"

    place.run(work())
    assert place.struck == ["hold OFFSET_COMMIT client-1>broker-1 for 2.00 s"]


def test_the_server_gets_a_held_frame_of_a_client_that_gave_up_and_connected_again(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        place.arm(ApiKey.OFFSET_COMMIT, hold_s=2.0)
        stream.write(COMMIT)
        await asyncio.sleep(1.0)
        stream.abort()
        again = await place.connect()
        again.write(HEARTBEAT)
        await asyncio.sleep(0.5)
        assert [what for _, what in place.received()] == [HEARTBEAT]
        await asyncio.sleep(3.0)
        assert [what for _, what in place.received()] == [HEARTBEAT, COMMIT]

    place.run(work())


def test_a_repeated_frame_arrives_twice_the_second_time_over_another_connection(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        place.arm(ApiKey.OFFSET_COMMIT, repeat_s=1.0)
        stream.write(COMMIT)
        stream.write(COMMIT)
        await asyncio.sleep(10.0)
        assert [what for _, what in place.received()] == [COMMIT, COMMIT, COMMIT]
        assert len(place.servers) == 3, "a client's end, its server's end, and that of the repetition"
        assert ("client", COMMIT) not in [(name, what) for _, name, what in place.seen]

    place.run(work())


def test_nobody_gets_a_repetition_where_nobody_listens(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        place.arm(ApiKey.OFFSET_COMMIT, repeat_s=1.0)
        stream.write(COMMIT)
        await asyncio.sleep(0.5)
        place.fabric.on_process_died(place.server, silently=False)
        await asyncio.sleep(3.0)
        assert len(place.received()) == 1

    place.run(work())


def test_a_fault_that_waits_for_other_frames_leaves_these_alone(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        fault = place.arm(ApiKey.PRODUCE, hold_s=2.0)
        stream.write(COMMIT)
        await asyncio.sleep(0.1)
        assert len(place.received()) == 1
        assert place.fabric.disarm(fault)
        assert not place.fabric.is_disturbed

    place.run(work())
    assert not place.struck


def test_a_lost_connection_delivers_nothing_and_says_nothing(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        await asyncio.sleep(0.1)
        stream.lose_in_network()
        stream.write(COMMIT)
        assert stream.peer is not None
        stream.peer.write(b"answer")
        stream.abort()
        await asyncio.sleep(10.0)
        assert not place.received()
        assert not any(name == "server" for _, name, _ in place.seen), "it still waits"

    place.run(work())


def test_a_mute_broker_accepts_connections_and_its_answers_stay_away(place: Place) -> None:
    async def work() -> None:
        place.fabric.mute("broker-1")
        stream = await place.connect()
        stream.write(COMMIT)
        await asyncio.sleep(0.1)
        assert len(place.received()) == 1
        assert stream.peer is not None
        stream.peer.write(b"answer")
        await asyncio.sleep(5.0)
        assert "client" not in [name for _, name, _ in place.seen]
        place.fabric.unmute("broker-1")
        await asyncio.sleep(0.1)
        assert ("client", b"answer") in [(name, what) for _, name, what in place.seen]

    place.run(work())


def test_a_reset_does_not_pass_a_cut_and_is_said_when_the_other_end_writes(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        await asyncio.sleep(0.1)
        place.fabric.cut("client-1", "broker-1")
        stream.abort()
        await asyncio.sleep(1.0)
        assert not any(name == "server" for _, name, _ in place.seen)
        place.fabric.heal()
        await asyncio.sleep(1.0)
        assert not any(name == "server" for _, name, _ in place.seen), "nobody sends a reset again"
        assert stream.peer is not None
        stream.peer.write(b"answer")
        await asyncio.sleep(1.0)
        assert ("server", "lost: ConnectionResetError") in [(name, what) for _, name, what in place.seen]

    place.run(work())


def test_what_was_sent_into_a_cut_arrives_when_it_heals(place: Place) -> None:
    async def work() -> None:
        stream = await place.connect()
        place.fabric.cut("client-1", "broker-1")
        stream.write(COMMIT)
        await asyncio.sleep(1.0)
        assert not place.received()
        place.fabric.heal("client-1", "broker-1")
        await asyncio.sleep(0.1)
        assert [what for _, what in place.received()] == [COMMIT]

    place.run(work())
