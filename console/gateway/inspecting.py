"""Looking at connections and at the wire: of an embedded cluster's brokers by their supervisor, of any cluster at what
this console itself asks it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from console.gateway.protocol import GatewayError
from console.viewmodel.connections import ConnectionRow, ConnectionsFound, members_as_rows, role_of
from console.viewmodel.wire import WireBatch, WireRow
from engine.client.connection import Connection
from engine.client.wire_watch import ClientWatch
from engine.model.ids import uuid_to_str
from engine.sim.stepping.decoding import message_lines
from engine.supervisor.snapshot import ClusterSnapshot
from engine.wire import apis, codec
from engine.wire.api_table import APIS
from engine.wire.message import Message
from engine.wire.messages.request_header import RequestHeader
from engine.wire.redaction import heads_lines
from engine.wire.tap import row_of
from engine.world import Clock

_ROWS_A_TIME = 400
_LOOKING_S = 5.0
OWN_ALONE = "Kafka's protocol shows nobody else's requests: these are this console's own"
MEMBERS_ALONE = "Kafka's protocol does not list connections: these are members of groups, and this console's own"

Ask = Callable[..., Awaitable[Any]]


class BrokerInspector:
    """Brokers of an embedded cluster, each asked by itself: one that hangs leaves the others' rows."""

    def __init__(self, ask: Ask) -> None:
        """``ask(command, **arguments)`` is the supervisor's. It raises GatewayError."""
        self._ask = ask
        # By broker: the ring that was read, and up to where.
        self._read: dict[int, tuple[int, int]] = {}

    async def connections(self, broker_ids: Iterable[int]) -> ConnectionsFound:
        """Of all brokers that answer."""
        rows: list[ConnectionRow] = []
        problems: list[str] = []
        for broker_id, answer in await self._of_each(broker_ids, lambda each: self._ask("connections", broker=each)):
            if isinstance(answer, GatewayError):
                problems.append(str(answer))
                continue
            rows += [_connection(broker_id, each) for each in answer["connections"]]
            if answer["total"] > len(answer["connections"]):
                problems.append(f"broker {broker_id} has {answer['total']:,} connections, not all are shown")
        return ConnectionsFound(tuple(rows), tuple(problems))

    async def wire(self, broker_ids: Sequence[int], *, hold: bool = False) -> WireBatch:
        """What they answered since the last time; with ``hold`` they keep what they have, and nothing new."""
        rows: list[WireRow] = []
        problems: list[str] = []
        unseen = 0
        for broker_id, answer in await self._of_each(broker_ids, lambda each: self._wire_of(each, hold)):
            if isinstance(answer, GatewayError):
                problems.append(str(answer))
                continue
            if hold:
                continue
            watch = int(answer["watch"])
            self._read[broker_id] = watch, int(answer["last"])
            rows += [_wire_row(broker_id, watch, each) for each in answer["rows"]]
            unseen += int(answer["unseen"])
        return WireBatch(tuple(sorted(rows, key=lambda each: (each.at_ms, each.number))), unseen, tuple(problems))

    async def _wire_of(self, broker_id: int, hold: bool) -> Any:
        watch, after = self._read.get(broker_id, (0, 0))
        more = {"hold": True} if hold else {}
        return await self._ask("wire", broker=broker_id, watch=watch, after=after, limit=_ROWS_A_TIME, **more)

    async def message(self, row: WireRow, names: Mapping[str, str]) -> list[str]:
        """Raises: GatewayError: the broker does not keep it any more, or does not answer."""
        answer = await self._ask("message", broker=row.broker_id, watch=row.watch, number=row.number)
        if "gone" in answer:
            raise GatewayError("the broker keeps the last 4 MiB of requests, and this one is gone")
        key, version = int(answer["row"][6]), int(answer["row"][7])
        request, response = base64.b64decode(answer["request"]), base64.b64decode(answer["response"])
        return decoded_lines(key, version, request, response, names)

    @staticmethod
    async def _of_each(
        broker_ids: Iterable[int], ask: Callable[[int], Awaitable[Any]]
    ) -> list[tuple[int, Any | GatewayError]]:
        wanted = list(broker_ids)
        answers = await asyncio.gather(*(ask(each) for each in wanted), return_exceptions=True)
        for each in answers:
            if isinstance(each, BaseException) and not isinstance(each, GatewayError):
                raise each
        return list(zip(wanted, answers, strict=True))


class OwnInspector:
    """What this process asks brokers, which is all that can be seen of a cluster that somebody else runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watch: ClientWatch | None = None
        self._watches = self._after = 0
        self._lapse: asyncio.TimerHandle | None = None

    def connections(self, snapshot: ClusterSnapshot | None) -> ConnectionsFound:
        """Members of groups, and this console's own connections."""
        brokers = {(each.host, each.port): each.broker_id for each in snapshot.brokers} if snapshot is not None else {}
        own = [
            ConnectionRow(
                brokers.get(each.address),
                each.number,
                f"{each.address[0]}:{each.address[1]}",
                "",
                each.client_id,
                "kconsole",
                "console",
                requests=each.requests,
                # As the broker would say it.
                bytes_received=each.bytes_sent,
                bytes_sent=each.bytes_received,
                in_flight=each.in_flight,
            )
            for each in sorted(Connection.living, key=lambda each: each.number)
        ]
        members = members_as_rows(snapshot) if snapshot is not None else []
        return ConnectionsFound((*members, *own), limits=MEMBERS_ALONE)

    def wire(self, *, hold: bool = False) -> WireBatch:
        """What was answered since the last time; with ``hold`` what is kept stays, and nothing is added."""
        tap = self._looked_at().tap
        if hold:
            Connection.watch = None
            return WireBatch((), limits=OWN_ALONE)
        found = tap.since(self._after, _ROWS_A_TIME)
        unseen = max(0, tap.last_number - self._after - len(found))
        self._after = tap.last_number
        rows = tuple(_wire_row(None, self._watches, row_of(each)) for each in found)
        return WireBatch(rows, unseen, limits=OWN_ALONE)

    def message(self, row: WireRow, names: Mapping[str, str]) -> list[str]:
        """Raises: GatewayError: it is not kept any more."""
        found = self._looked_at().tap.find(row.number) if row.watch == self._watches else None
        if found is None:
            raise GatewayError("the last 4 MiB of requests are kept, and this one is gone")
        return decoded_lines(found.api_key, found.version, found.request, found.response, names)

    def _looked_at(self) -> ClientWatch:
        if self._watch is None:
            self._watches += 1
            self._after = 0
            self._watch = ClientWatch(self._clock)
        Connection.watch = self._watch
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = asyncio.get_running_loop().call_later(_LOOKING_S, self.close)
        return self._watch

    def close(self) -> None:
        """Nobody looks any more."""
        if self._lapse is not None:
            self._lapse.cancel()
        if self._watch is not None and Connection.watch is self._watch:
            Connection.watch = None
        self._lapse = self._watch = None


def _connection(broker_id: int, row: Sequence[Any]) -> ConnectionRow:
    number, peer, listener, client_id, software, version, opened, requests, received, sent, in_flight, idle = row
    return ConnectionRow(
        broker_id,
        number,
        peer,
        listener,
        client_id,
        f"{software} {version}".strip(),
        role_of(client_id, listener),
        opened,
        requests,
        received,
        sent,
        in_flight,
        float(idle),
    )


def _wire_row(broker_id: int | None, watch: int, row: Sequence[Any]) -> WireRow:
    number, at_ms, connection, peer, listener, client_id, key, version, *rest, errors, note = row
    api = APIS[key][0] if key in APIS else f"API {key}"
    return WireRow(
        broker_id, watch, number, at_ms, connection, peer, listener, client_id, api, version, *rest, tuple(errors), note
    )


def decoded_lines(key: int, version: int, request: bytes, response: bytes, names: Mapping[str, str]) -> list[str]:
    """A request with its header, and its answer, field by field; ``names`` are topics by their ids."""

    def topic_name(topic_id: bytes) -> str:
        return names.get(uuid_to_str(topic_id), "?")

    def lines_of(head: str, data: bytes, decode: Callable[[], tuple[Message, int]], asked_version: int) -> list[str]:
        if not data:
            return [head, "(not kept)"]
        try:
            message, _ = decode()
        except (codec.DecodeError, KeyError, ValueError) as error:
            return [head, f"it does not parse: {error}"]
        return [head, *message_lines(message, asked_version, topic_name, _records)]

    header_version = apis.request_header_version(key, version)
    lines = lines_of("HEADER", request, lambda: codec.decode(RequestHeader, header_version, request), header_version)
    body_at = codec.decode(RequestHeader, header_version, request)[1] if request else 0
    lines += lines_of(
        "REQUEST", request, lambda: codec.decode(apis.request_class(key, version), version, request, body_at), version
    )
    lines += lines_of(
        "RESPONSE", response, lambda: codec.decode(apis.response_class(key, version), version, response), version
    )
    return lines


def _records(records: object) -> list[str]:
    lines = heads_lines(records)
    return ["contents are not kept", *lines] if lines else ["none, or contents that are not kept"]
