"""The world around a group coordinator: its shell, its log, the network and the time; one seed, one run.

Appended records are committed after a while, answers wait for that, and a failover loses some of what was not
committed. Connections break with a request or its answer on the way, and what was sent on one may arrive much later.
What the clients do with all that is in :mod:`group_simulation`.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from group_harness import EPOCH_WALL_MS
from group_promises import Promises, Violation
from simulated_consumer import GROUP, PARTITIONS, error_of

from engine.core.group.context import GroupLimits, Now
from engine.core.group.records import GroupEffects
from engine.core.group.shard import GroupCoordinatorShard
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.group_metadata_key import GroupMetadataKey
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

WEEK_MS = 7 * 24 * 60 * 60 * 1000
PARKABLE = ("join", "sync")

Handler = Callable[[Any], None]
Input = Callable[[GroupCoordinatorShard, Now, object], GroupEffects]


class Waiting(NamedTuple):
    """A request that the coordinator has and has not answered."""

    kind: str
    sender: str
    arrived_ms: float
    on_answer: Handler
    on_release: Handler
    on_reply: Handler


class Late(NamedTuple):
    """A request that was sent in a generation, on a connection that broke, and has not arrived."""

    kind: str
    generation_id: int
    arrive: Callable[[], None]


class Held(NamedTuple):
    """An answer that is not released yet: until ``end`` records are committed."""

    end: int
    request: Waiting
    response: Any


class CoordinatorWorld:
    """A coordinator that is replaced now and then, and those who speak to it."""

    def __init__(self, seed: int, trace: list[str] | None = None) -> None:
        self.random = random.Random(seed)
        self.trace = trace
        # What happened how often.
        self.seen: Counter[str] = Counter()
        self.now_ms = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.sequence = 0
        self.log: list[tuple[Any, Any]] = []
        # Log lengths at which a batch ends: a failover loses whole batches.
        self.batch_ends: list[int] = []
        self.committed = 0
        self.replication_stalled_until_ms = 0.0
        self.fails_at_next_append = False
        self.epoch = 0
        # Requests of one client arrive in the order in which they were sent: it has one connection.
        self.last_arrival_ms: dict[str, float] = {}
        self.connections_break = True
        self.waiting: dict[int, Waiting] = {}
        self.held: list[Held] = []
        # Sent on connections that broke, and not arrived yet.
        self.late: list[Late] = []
        self.started_generation = -1
        # Since when the coordinator waits for what comes next: by member id for JoinGroup, by generation for SyncGroup.
        self.waits_since_ms: dict[str | int, float] = {}
        self.tokens = 0
        self.uuids = 0
        self.session_ms, self.rebalance_ms = self.random.choice([(10_000, 20_000), (30_000, 12_000)])
        retention_ms = self.random.choice([WEEK_MS, 20_000])
        self.limits = GroupLimits(
            group_initial_rebalance_delay_ms=self.random.choice([0, 500, 3_000]),
            offsets_retention_ms=retention_ms,
            offsets_retention_check_interval_ms=min(retention_ms // 4, 600_000),
        )
        self.promises = Promises(PARTITIONS, retention_ms)
        self.armed_ms: float | None = None
        self.shard = self._load()

    # -- the clock ----------------------------------------------------------------------------------------------

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        """Have something done later."""
        self.sequence += 1
        heapq.heappush(self.events, (time_ms, self.sequence, action))

    def soon(self, mean_ms: float, action: Callable[[], None]) -> None:
        self.at(self.now_ms + self.random.expovariate(1 / mean_ms), action)

    def run(self, until_ms: float) -> None:
        """Let time pass."""
        while self.events and self.events[0][0] <= until_ms:
            time_ms, _, action = heapq.heappop(self.events)
            self.now_ms = max(self.now_ms, time_ms)
            action()
        self.now_ms = until_ms

    @property
    def now(self) -> Now:
        return Now(self.now_ms, EPOCH_WALL_MS + int(self.now_ms))

    def note(self, text: str) -> None:
        """A line for whoever looks for the cause of a violation."""
        if self.trace is not None:
            self.trace.append(f"{self.now_ms:10.1f} {text}")

    # -- the coordinator's shell --------------------------------------------------------------------------------

    def new_uuid(self) -> bytes:
        self.uuids += 1
        return self.uuids.to_bytes(16, "big")

    def replayed(self, log: list[tuple[Any, Any]]) -> GroupCoordinatorShard:
        """What a coordinator knows that has loaded a log."""
        shard = GroupCoordinatorShard(self.limits, self.new_uuid)
        for offset, (key, value) in enumerate(log):
            shard.replay(key, value, record_offset=offset)
        return shard

    def loadable(self) -> list[tuple[Any, Any]]:
        """What a coordinator loads of its log: all of it, also what is not known to be committed."""
        return self.log

    def _load(self) -> GroupCoordinatorShard:
        self.shard = self.replayed(self.loadable())
        self.perform(self.shard.on_loaded(self.now), timer=True)
        return self.shard

    def send(
        self,
        kind: str,
        sender: str,
        run: Input,
        on_reply: Handler,
        *,
        generation_id: int = -1,
        on_answer: Handler | None = None,
        on_release: Handler | None = None,
    ) -> int:
        """Send a request; returns its token.

        The answer goes to ``on_answer`` when the coordinator gives it, to ``on_release`` when the shell lets it go, and
        to ``on_reply`` when it has reached the client: None if the connection broke. A request or its answer may be
        lost with it, and what was sent may arrive much later.
        """
        self.tokens += 1
        token, epoch, rng = self.tokens, self.epoch, self.random
        arrival_ms = max(self.now_ms + rng.expovariate(1 / 5), self.last_arrival_ms.get(sender, 0.0))
        self.last_arrival_ms[sender] = arrival_ms
        fate = rng.random() if self.connections_break and kind not in ("heartbeat", "fetch") else 1.0
        if fate < (0.2 if kind == "sync" else 0.1):
            self.soon(20, partial(on_reply, None))
            on_reply = nobody
            if fate < 0.02:
                return token

        def arrive() -> None:
            if epoch != self.epoch:
                self.soon(5, partial(on_reply, None))
                return
            self.note(f"{sender} {kind} #{token}")
            self.waiting[token] = Waiting(
                kind, sender, self.now_ms, on_answer or nobody, on_release or nobody, on_reply
            )
            self.perform(run(self.shard, self.now, token))
            if self.trace is not None:
                self.note(f"  {self.shard.groups.get(GROUP)}")
            if token in self.waiting and kind not in PARKABLE:
                raise Violation(f"V2: {kind} of {sender} was not answered")

        if fate < (0.15 if kind == "sync" else 0.07):
            # It comes out of the old connection behind what the client does next on another one.
            self.late.append(Late(kind, generation_id, arrive))
        else:
            self.at(arrival_ms, arrive)
        return token

    def perform(self, effects: GroupEffects, *, timer: bool = False) -> None:
        for record in effects.append:
            value = None if record.value is None else encode_coordinator_value(record.value, record.value_version)
            decoded = decode_coordinator_record(encode_coordinator_key(record.key), value, "group")
            assert decoded is not None
            self.log.append(decoded)
        length = len(self.log)
        for key, value in self.log[length - len(effects.append) :]:
            self.promises.on_record(key, value, length, self.now_ms, timer=timer)
            if timer and value is None:
                self.seen["expired"] += 1
            if isinstance(key, GroupMetadataKey) and value is None:
                self.waits_since_ms.clear()
        if effects.append:
            self.batch_ends.append(length)
            self._replicate(length)
        if any(note.kind is NoteKind.GROUP_REBALANCED for note in effects.notes):
            self.promises.on_rebalance()
        for token, response in effects.reply:
            assert isinstance(token, int)
            request = self.waiting.pop(token)
            self.note(f"  answers #{token} {_outline(response)}")
            self.seen[f"{request.kind} {error_in(request.kind, response).name}"] += 1
            self.check_patience(request)
            request.on_answer(response)
            if request.kind in PARKABLE:
                self._release_late(request.kind)
            if self.must_hold(request):
                self.held.append(Held(length, request, response))
            else:
                self._release(request, response)
        self._arm()

    def _release_late(self, answered: str) -> None:
        """The group has moved on: the worst moment for what was sent in an earlier generation."""
        late, self.late = self.late, []
        for each in late:
            if each.generation_id < 0:
                arrives = self.random.random() < 0.1
            else:
                worst = answered == ("join" if each.kind == "sync" else "sync")
                arrives = worst and each.generation_id < self.started_generation
            if arrives:
                self.seen["late"] += 1
                self.soon(5, each.arrive)
            else:
                self.late.append(each)

    def _replicate(self, length: int) -> None:
        if self.fails_at_next_append:
            self.fails_at_next_append = False
            self.replication_stalled_until_ms = self.now_ms + 20
            self.soon(10, self.fail_over)
        epoch = self.epoch
        starts_ms = max(self.now_ms, self.replication_stalled_until_ms)
        self.at(starts_ms + self.random.expovariate(1 / 20), lambda: self._commit(length, epoch))

    def must_hold(self, _request: Waiting) -> bool:
        """Whether an answer has to wait: something is appended and not committed yet."""
        return len(self.log) > self.committed

    def _release(self, request: Waiting, response: Any) -> None:
        request.on_release(response)
        self.soon(5, partial(request.on_reply, response))

    def _commit(self, length: int, epoch: int) -> None:
        if epoch != self.epoch or length <= self.committed:
            return
        self.committed = length
        ready = [each for each in self.held if each.end <= length]
        self.held = [each for each in self.held if each.end > length]
        for _, request, response in ready:
            self._release(request, response)

    def _arm(self) -> None:
        deadline_ms = self.shard.next_deadline_ms()
        if deadline_ms is None or (self.armed_ms is not None and self.now_ms < self.armed_ms <= deadline_ms):
            return
        self.armed_ms = deadline_ms
        self.at(max(deadline_ms, self.now_ms), self._on_timer)

    def _on_timer(self) -> None:
        self.armed_ms = None
        self.perform(self.shard.on_timer(self.now), timer=True)

    # -- failures -----------------------------------------------------------------------------------------------

    def fail_over(self) -> None:
        """The coordinator dies; its successor has everything committed and some of what was not."""
        self.epoch += 1
        broken = [*self.waiting.values(), *(each.request for each in self.held)]
        self.waiting.clear()
        self.held.clear()
        self.late.clear()
        self.started_generation = -1
        self.waits_since_ms.clear()
        for request in broken:
            self.soon(5, partial(request.on_reply, None))
        survives = self.committed
        if self.random.random() < 0.4:
            survives = self.random.choice([survives, *(end for end in self.batch_ends if end > survives)])
        self.note(f"failover: {len(self.log)} records, {self.committed} committed, {survives} survive")
        self.seen["failover"] += 1
        if survives < len(self.log):
            self.seen["failover that loses records"] += 1
        del self.log[survives:]
        self.batch_ends = [end for end in self.batch_ends if end <= survives]
        self.promises.on_fail_over(survives)
        self.armed_ms = None
        self.replication_stalled_until_ms = 0.0
        # What the successor has, it will see committed; until then it holds its answers back.
        self._load()
        self._replicate(len(self.log))

    # -- laws ---------------------------------------------------------------------------------------------------

    def check_patience(self, request: Waiting) -> None:
        """A parked request is answered when the rebalance times out at the latest."""
        parked_ms = self.now_ms - request.arrived_ms
        if parked_ms > max(self.rebalance_ms, self.limits.group_initial_rebalance_delay_ms) + 1:
            raise Violation(f"G4: the {request.kind} of {request.sender} is parked for {parked_ms:.0f} ms")

    def check_law(self) -> None:
        """Replay of the log equals the live durable state."""
        live: Any = self.shard.durable_state()
        replayed: Any = self.replayed(self.log).durable_state()
        if live["offsets"] != replayed["offsets"]:
            raise Violation("law: the offsets in memory are not those of the log")
        for group_id, group in live["groups"].items():
            if replayed["groups"].get(group_id) != group:
                raise Violation(f"law: group {group_id} in memory is not that of the log")


def nobody(_response: Any) -> None:
    """Nobody waits for this answer."""


def error_in(kind: str, response: Any) -> ErrorCode:
    """The error that an answer tells of, wherever it stands."""
    if kind == "commit":
        return ErrorCode(response.topics[0].partitions[0].error_code)
    if kind == "leave":
        return ErrorCode(response.members[0].error_code)
    return ErrorCode(response[0].error_code) if kind == "delete" else error_of(response)


def _outline(response: Any) -> str:
    """An answer in few words."""
    if isinstance(response, list):
        return str([each.error_code for each in response])
    facts = ("error_code", "member_id", "generation_id", "leader", "assignment", "topics", "members")
    return ", ".join(f"{fact}={getattr(response, fact)}" for fact in facts if hasattr(response, fact))
