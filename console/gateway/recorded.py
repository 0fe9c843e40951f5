"""A cluster as it was: pictures, events and answers from a record, at the moment that one went to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from console.acts import ActLogEntry
from console.gateway.administration import Administration
from console.gateway.bulk_protocol import NoBulkRecords
from console.gateway.protocol import (
    NO_SIMULATION,
    BrokerLog,
    Capabilities,
    ConfigValue,
    EventBatch,
    Gateway,
    GatewayError,
    Tail,
    TailBatch,
)
from console.recording.codec import answer_type
from console.recording.folding import folded, since_ms
from console.recording.reader import GAP_MS, Range, Record
from console.recording.store import RecordError
from console.viewmodel.keeping import Told
from console.viewmodel.log_dirs import LogDirRow
from console.viewmodel.moves import MoveRow
from console.viewmodel.producers import ProducerRow
from console.viewmodel.transactions import TransactionsFound
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source

PAST = "this is the past: ~ goes back to now"
RECORD = "this is a record: what is in it is over"
_NO_RECORDS = "a record has no records of topics; in the present, s on Records goes to a time"
_NO_FILES = "a record has no segments"
_NOT_RECORDED = "no record has this; in the present it is there"
# So many pictures before a moment are looked up at most.
_MOST_SAMPLES = 300
# Answers that screens ask for are kept under the name of the question.
RECORDED_ANSWERS = ("topic_configs", "broker_configs", "transactions", "moves")
RECORDED_ADMINISTRATION = (
    "acls",
    "scram_users",
    "quotas",
    "log_dirs",
    "producers",
    "hanging_transactions",
    "configs",
)
# Rows of those that come by their sources.
_TOLD: Mapping[str, type] = {"log_dirs": LogDirRow, "producers": ProducerRow}


_MINUTE_MS = 60_000
_FEW_PARTITIONS = 300


class Look(NamedTuple):
    """What there was at a moment."""

    at_ms: int
    snapshot: ClusterSnapshot
    picture_at_ms: int
    events: list[ClusterEvent]
    commands: list[ActLogEntry]
    # Pictures of the minute before, for what is drawn from several; of many partitions they come later.
    samples: list[ClusterSnapshot] | None
    range: Range
    events_before: int
    events_all: int

    @property
    def gap(self) -> bool:
        """Whether nothing was recorded then."""
        return self.at_ms - self.picture_at_ms > GAP_MS


class RecordedGateway:
    """Everything that was recorded; all acts are refused."""

    def __init__(self, record: Record, *, has_present: bool) -> None:
        self.record = record
        self.has_present = has_present
        self.at_ms = 0
        self.look: Look | None = None
        reason = PAST if has_present else RECORD
        self._reason = reason
        self.bulk = NoBulkRecords(reason)
        self.interval_ms = int(record.meta.get("interval_ms", "1000"))
        source = Source(record.meta.get("source", Source.EMBEDDED.value))
        missing = {"simulation": NO_SIMULATION, "segments": _NO_FILES, "records": _NO_RECORDS}
        missing |= dict.fromkeys(("schemas", "schema"), _NOT_RECORDED)
        self._capabilities = Capabilities(
            source,
            bootstrap_servers=record.meta.get("bootstrap_servers", ""),
            no_process_control=reason,
            no_workload=reason,
            no_broker_logs="" if self._has_logs() else "a record has no broker logs; those of a bundle do",
            no_writing=reason,
            # Faults on purpose are in the pictures of clusters that can have them.
            missing_views=missing if source is Source.EMBEDDED else {**missing, "faults": _NOT_RECORDED},
        )
        self._changed = asyncio.Event()
        self._anew = asyncio.Event()

    def _has_logs(self) -> bool:
        return "bundled_at_ms" in self.record.meta

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def close(self) -> None:
        self.record.close()

    # -- moving ---------------------------------------------------------------------------------------------------

    def samples_before(self, at_ms: int, samples_ms: int, *, few: bool = False) -> list[ClusterSnapshot]:
        """Pictures of the time before a moment; ``few``: those that are quickly read.

        Raises:
            GatewayError: the record is damaged.
        """
        step_ms = max(1_000, self.interval_ms, samples_ms // _MOST_SAMPLES)
        try:
            return list(self.record.samples(at_ms - samples_ms, at_ms, step_ms, whole_ones=few))
        except RecordError as error:
            raise GatewayError(str(error)) from error

    def look_at(self, at_ms: int, samples_ms: int = _MINUTE_MS) -> Look:
        """What there was at a moment, which is brought into the record's range; may take some milliseconds.

        Raises:
            GatewayError: the record has nothing yet, or is damaged.
        """
        record = self.record
        try:
            whole = record.range()
            if whole is None:
                raise GatewayError("nothing is recorded yet: a moment, please")
            at_ms = max(whole.first_ms, min(at_ms, whole.last_ms))
            picture = record.picture_at(at_ms)
            if picture is None:
                raise GatewayError(f"{record.path}: there is no picture of that time")
            partitions = sum(len(topic.partitions) for topic in picture.snapshot.topics)
            return Look(
                at_ms,
                folded(picture.snapshot, record.events_between(since_ms(picture.snapshot), at_ms)),
                picture.at_ms,
                record.events_until(at_ms),
                [ActLogEntry(*each) for each in record.commands_until(at_ms)],
                self.samples_before(at_ms, samples_ms) if partitions <= _FEW_PARTITIONS else None,
                whole,
                record.event_count(whole.first_ms, at_ms),
                record.event_count(whole.first_ms, whole.last_ms),
            )
        except RecordError as error:
            raise GatewayError(str(error)) from error

    def snapshot_at(self, at_ms: int) -> ClusterSnapshot:
        """The picture of a moment alone. Raises: GatewayError."""
        return self.look_at(at_ms).snapshot

    def show(self, look: Look) -> None:
        """Be at that moment from now on."""
        self.look = look
        self.at_ms = look.at_ms
        self._changed.set()
        self._anew.set()

    # -- the streams ----------------------------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.look is not None:
                yield self.look.snapshot

    async def events(self) -> AsyncIterator[EventBatch]:
        while True:
            await self._anew.wait()
            self._anew.clear()
            if self.look is not None:
                yield EventBatch(self.look.events, anew=True)

    def watch(self, topics: frozenset[str]) -> None:
        """What was watched then is what there is."""

    # -- answers --------------------------------------------------------------------------------------------------

    async def _answer(self, method: str, of: Any, *arguments: Any, **options: Any) -> Any:
        name = _question(arguments, options)
        try:
            found = await asyncio.to_thread(self.record.document_at, method, name, self.at_ms, of)
        except RecordError as error:
            raise GatewayError(str(error)) from error
        if found is None:
            raise GatewayError(f"nothing of it was recorded before {self._when()}")
        return found

    def _when(self) -> str:
        from console.viewmodel.text import clock_time

        return clock_time(self.at_ms)

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        try:
            return await self._answer("topic_configs", answer_type(Gateway, "topic_configs"), topic)
        except GatewayError:
            look = self.look
            found = look and next((each for each in look.snapshot.topics if each.name == topic), None)
            if not found or not found.configs:
                raise
            # What every picture has: those that somebody set.
            return [ConfigValue(name, value, "DYNAMIC_TOPIC_CONFIG", True) for name, value in found.configs.items()]

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        return await self._answer("broker_configs", answer_type(Gateway, "broker_configs"), broker_id)

    async def transactions(self) -> TransactionsFound:
        return await self._answer("transactions", answer_type(Gateway, "transactions"))

    async def moves(self) -> list[MoveRow]:
        return await self._answer("moves", answer_type(Gateway, "moves"))

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        if not self._has_logs():
            raise GatewayError(self._capabilities.no_broker_logs)
        name = f"broker {broker_id}{' previous' if previous else ''}"
        whole = self.record.range()
        last_ms = 0 if whole is None else whole.last_ms
        try:
            lines = await asyncio.to_thread(self.record.document_at, "log", name, last_ms, list[str])
        except RecordError as error:
            raise GatewayError(str(error)) from error
        if lines is None:
            raise GatewayError(f"the bundle has no log of {name}")
        return BrokerLog(() if position else lines, max(1, len(lines)), f"{self.record.path}: {name}")

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        raise GatewayError(_NO_RECORDS)
        yield TailBatch([])

    @property
    def administration(self) -> Administration:
        return _PastAdministration(self)  # type: ignore[return-value]

    def _refuse(self) -> NoReturn:
        raise GatewayError(self._reason)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a gateway does is an act, or an answer that no record has."""
        asked = None if name.startswith("_") else getattr(Gateway, name, None)
        if asked is None:
            raise AttributeError(name)
        if isinstance(asked, property):
            raise GatewayError(self._reason)
        return self._refusing_stream if not inspect.iscoroutinefunction(asked) else self._refusing

    async def _refusing(self, *arguments: Any, **options: Any) -> NoReturn:
        self._refuse()

    async def _refusing_stream(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        self._refuse()
        yield


class _PastAdministration:
    """What was told of access, quotas, log directories and producers; the rest no record has."""

    def __init__(self, gateway: RecordedGateway) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        if not hasattr(Administration, name):
            raise AttributeError(name)

        async def answer(*arguments: Any, **options: Any) -> Any:
            if name in _TOLD:
                rows, problems = await self._gateway._answer(name, _told_type(name), *arguments, **options)
                return Told(dict(rows), problems)
            if name in RECORDED_ADMINISTRATION:
                return await self._gateway._answer(name, answer_type(Administration, name), *arguments, **options)
            raise GatewayError(_NOT_RECORDED)

        return answer


def _told_type(name: str) -> Any:
    """Rows by source are recorded as pairs; sources by their names."""
    row = _TOLD[name]
    return tuple[tuple[tuple[str, tuple[row, ...] | None], ...], tuple[str, ...]]  # type: ignore[valid-type]


def _question(arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    return " ".join([*map(str, arguments), *(f"{name}={value}" for name, value in sorted(options.items()))])


class RecordedAnswers:
    """A gateway whose answers to :data:`RECORDED_ANSWERS` are handed to a recorder as well; all else is the gateway's
    own."""

    def __init__(
        self, gateway: Any, keep: Any, names: Sequence[str] = RECORDED_ANSWERS, protocol: type = Gateway
    ) -> None:
        self._gateway = gateway
        self._keep = keep
        self._names = names
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gateway, name)
        if name == "administration":
            return RecordedAnswers(found, self._keep, RECORDED_ADMINISTRATION, Administration)
        if name not in self._names:
            return found

        async def ask(*arguments: Any, **options: Any) -> Any:
            answer = await found(*arguments, **options)
            kept, of = answer, None
            if name in _TOLD:
                pairs = ((str(source), rows and tuple(rows)) for source, rows in answer.rows.items())
                kept, of = (tuple(pairs), tuple(answer.problems)), _told_type(name)
            self._keep(name, _question(arguments, options), kept, of or answer_type(self._protocol, name))
            return answer

        return ask
