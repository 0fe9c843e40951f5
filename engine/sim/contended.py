"""K11: clients that create and delete the same topics at once, and what the controller told them.

What the controller acknowledged must be one history (Porcupine's question): each topic comes and goes in turn, each
change at some moment between its request and its answer. Requests go to controllers, not through brokers, which would
ask again by themselves: so a request whose answer is lost happens once, at any later time, or never. Refusals say
nothing here: a controller that was deposed and has not heard of it may refuse by what it knew, in Kafka too.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.cluster import CONTROLLER_PORT
from engine.sim.violation import Violation
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState

if TYPE_CHECKING:
    from engine.sim.workload import Workload

_CREATE_VERSION, _DELETE_VERSION = 6, 6
_REQUEST_S = 4.0
# A name is contended for so often, or until so many answers were lost: whether one order fits all is a search.
_MOST_CHANGES = 16
_MOST_UNKNOWN = 4


class Change:
    """A request to create (``exists``) or delete a topic, from ``asked_s`` until it was acknowledged at ``told_s``;
    infinity: it may have happened, or happen yet."""

    __slots__ = ("asked_s", "exists", "told_s")

    def __init__(self, exists: bool, asked_s: float, told_s: float = math.inf) -> None:
        self.exists = exists
        self.asked_s = asked_s
        self.told_s = told_s

    def __repr__(self) -> str:
        end = "?" if math.isinf(self.told_s) else f"{self.told_s:.3f}"
        return f"{'create' if self.exists else 'delete'} {self.asked_s:.3f}-{end}"


def is_one_history(changes: list[Change]) -> bool:
    """Whether the acknowledged changes, with some of the others, have an order in which each one changes something and
    none begins after another one has ended that it precedes. The topic is not there at first."""
    needed = frozenset(at for at, each in enumerate(changes) if not math.isinf(each.told_s))
    seen: set[tuple[frozenset[int], bool]] = set()
    waiting: list[tuple[frozenset[int], bool]] = [(frozenset(), False)]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        done, exists = state
        if needed <= done:
            return True
        first_end_s = min(changes[at].told_s for at in needed - done)
        for at, each in enumerate(changes):
            if at not in done and each.asked_s <= first_end_s and each.exists is not exists:
                waiting.append((done | {at}, each.exists))
    return False


class ContendedTopics:
    """The names that all contenders share, and what became of their requests."""

    def __init__(self) -> None:
        self._changes: dict[str, list[Change]] = {}
        self._name = ""

    def name(self) -> str:
        """The topic to change now."""
        changes = self._changes.get(self._name, ())
        unknown = sum(math.isinf(each.told_s) for each in changes)
        if not self._name or len(changes) >= _MOST_CHANGES or unknown >= _MOST_UNKNOWN:
            self._name = f"contended-{len(self._changes)}"
            self._changes[self._name] = []
        return self._name

    def asked(self, name: str, exists: bool, now_s: float) -> Change:
        """A request goes out."""
        change = Change(exists, now_s)
        self._changes[name].append(change)
        return change

    def refused(self, name: str, change: Change) -> None:
        """It was not done."""
        self._changes[name].remove(change)

    def check(self) -> None:
        """Raises: Violation."""
        for name, changes in self._changes.items():
            if not is_one_history(changes):
                raise Violation("K11", f"{name} cannot have come and gone in any order of {changes}")


class Contender:
    """One of the clients."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng

    async def run(self) -> None:
        """Until the workload stops."""
        workload, rng = self._workload, self._rng
        while not workload.stopping:
            await workload.rest(rng.uniform(0.05, 1.0))
            if workload.stopping:
                return
            await self._change(workload.contended.name(), rng.random() < 0.5)

    async def _change(self, name: str, exists: bool) -> None:
        workload = self._workload
        # Who takes itself for the controller: there may be two.
        active = [
            machine.name
            for machine in workload.cluster.machines.values()
            if machine.broker is not None
            and machine.broker.controller is not None
            and machine.broker.controller.is_active
        ]
        if not active:
            return
        address = (self._rng.choice(active), CONTROLLER_PORT)
        loop = workload.cluster.loop
        change = workload.contended.asked(name, exists, loop.time())
        try:
            if exists:
                topic = CreatableTopic(name=name, num_partitions=1, replication_factor=-1)
                create = CreateTopicsRequest(topics=[topic], timeout_ms=2000)
                answer = await self._client.ask_address(address, create, _CREATE_VERSION, _REQUEST_S)
                code = answer.topics[0].error_code
            else:
                delete = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=2000)
                answer = await self._client.ask_address(address, delete, _DELETE_VERSION, _REQUEST_S)
                code = answer.responses[0].error_code
        except Unavailable:
            return
        if code == ErrorCode.NONE:
            change.told_s = loop.time()
            workload.done["contended"] += 1
        elif code in (ErrorCode.TOPIC_ALREADY_EXISTS, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION):
            workload.contended.refused(name, change)
            workload.done["contended refused"] += 1
        # Anything else may have been proposed, and somebody else commits it: NOT_CONTROLLER too.
