"""Who runs what: Kafka's ``IncrementalCooperativeAssignor`` (KIP-415). Pure; time is an argument.

Work stays where it is. What a lost worker had waits for it as long as the delay; what one has too much of is revoked in
one round and given away in the next; rounds that revoke one after the other are ever further apart. Where Kafka goes
through members in the order of a hash map, this goes by their ids.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from engine.connect.runtime.group_protocol import NO_WORK, Work, all_work
from engine.connect.runtime.herder import TaskId

T = TypeVar("T", str, TaskId)


class Load:
    """What a member has, and is given in this round (``WorkerLoad``)."""

    __slots__ = ("connectors", "member", "tasks")

    def __init__(self, member: str, work: Work) -> None:
        self.member = member
        self.connectors = list(work.connectors)
        self.tasks = list(work.tasks)

    @property
    def is_empty(self) -> bool:
        """Nothing at all."""
        return not self.connectors and not self.tasks

    @property
    def work(self) -> Work:
        """All of it."""
        return Work(tuple(self.connectors), tuple(self.tasks))

    def remove(self, work: Work) -> None:
        """Take this away."""
        self.connectors = [each for each in self.connectors if each not in work.connectors]
        self.tasks = [each for each in self.tasks if each not in work.tasks]


class Round(NamedTuple):
    """The outcome, by member."""

    assigned: dict[str, Work]
    """New work."""
    revoked: dict[str, Work]
    """Work to give up."""
    all: dict[str, Work]
    """What each has after it."""


def _backoff_ms(attempts: int, max_delay_ms: int) -> int:
    """``ExponentialBackoff(1, 40, max_delay, 0)``."""
    if max_delay_ms <= 1:
        return max_delay_ms
    exponent = min(attempts, math.log(max_delay_ms) / math.log(40))
    return min(int(40**exponent), max_delay_ms)


class IncrementalCooperativeAssignor:
    """The leader's; it remembers from round to round."""

    def __init__(self, max_delay_ms: int) -> None:
        """``max_delay_ms``: scheduled.rebalance.max.delay.ms."""
        self.delay_ms = 0
        """Until the next round, as all members are told."""
        self._max_delay_ms = max_delay_ms
        self._previous = NO_WORK
        self._previous_revocation = NO_WORK
        self._revoked_in_previous = False
        self._candidates: dict[str, None] = {}
        self._scheduled_ms = 0.0
        self._previous_generation = -1
        self._previous_members: frozenset[str] = frozenset()
        self._revoking_rounds = 0

    def assign(
        self,
        configured: Work,
        members: Mapping[str, Work],
        *,
        last_completed_generation: int,
        generation: int,
        now_ms: float,
    ) -> Round:
        """One round.

        Args:
            configured: all connectors and tasks that there are.
            members: what each member says that it has.
        """
        members = dict(sorted(members.items()))
        if self._previous_generation != last_completed_generation:
            # A round was lost on the way to somebody: what it decided may not have happened.
            self._previous = NO_WORK
        active = all_work(members.values())
        if self._previous_revocation:
            # Who was to give up something has it still.
            if set(self._previous_revocation.connectors) & set(active.connectors) or set(
                self._previous_revocation.tasks
            ) & set(active.tasks):
                self._previous = active
            self._previous_revocation = NO_WORK
        deleted = self._previous.without(configured)
        duplicated = _duplicated(members)
        lost = _sorted(self._previous.without(active).without(deleted))
        created = _sorted(configured.without(self._previous).without(active))

        current = {member: work.without(deleted) for member, work in members.items()}
        revoke = {member: _common(work, deleted).union(_common(work, duplicated)) for member, work in members.items()}
        loads = [Load(member, work.without(revoke[member])) for member, work in members.items()]

        again = self._handle_lost(lost, loads, now_ms)
        if self.delay_ms == 0:
            self._balance(configured, loads, revoke, now_ms)
        else:
            self._revoked_in_previous = False
        wanted = created.union(again)
        _give(loads, wanted.connectors, lambda load: load.connectors)
        _give(loads, wanted.tasks, lambda load: load.tasks)

        after = {load.member: load.work for load in loads}
        self._previous_revocation = all_work(revoke.values())
        # What is revoked is nobody's until the next round, what is lost still the lost one's.
        self._previous = all_work(after.values()).without(self._previous_revocation).union(lost)
        self._previous_generation = generation
        self._previous_members = frozenset(members)
        return Round(
            {member: after[member].without(current[member]) for member in members},
            revoke,
            {member: after[member].without(revoke[member]) for member in members},
        )

    # -- parts of a round -----------------------------------------------------------------------------------------

    def _handle_lost(self, lost: Work, loads: list[Load], now_ms: float) -> Work:
        """What of lost work is given away like new work in this round."""
        if not lost and not self._revoked_in_previous:
            self._reset_delay()
            return NO_WORK
        if self._scheduled_ms <= 0 and self._previous_members <= {load.member for load in loads}:
            # Nobody left: somebody did not hear of its work.
            return lost
        if self._max_delay_ms == 0:
            return lost
        again = NO_WORK
        if 0 < self._scheduled_ms <= now_ms:
            by_member = {load.member: load for load in loads}
            chosen = [by_member[each] for each in self._candidates if each in by_member]
            if chosen:
                for index, connector in enumerate(lost.connectors):
                    chosen[index % len(chosen)].connectors.append(connector)
                for index, task in enumerate(lost.tasks):
                    chosen[index % len(chosen)].tasks.append(task)
            else:
                again = lost
            self._reset_delay()
            self._revoked_in_previous = False
        else:
            # Who came with nothing may be who left.
            self._candidates.update(dict.fromkeys(load.member for load in loads if load.is_empty))
            if now_ms < self._scheduled_ms:
                left = self._scheduled_ms - now_ms
                self.delay_ms = int(min(left, self._max_delay_ms)) if left > 0 else 0
            else:
                self.delay_ms = self._max_delay_ms
            self._scheduled_ms = now_ms + self.delay_ms
        return again

    def _reset_delay(self) -> None:
        self._candidates.clear()
        self._scheduled_ms = 0
        self.delay_ms = 0

    def _balance(self, configured: Work, loads: list[Load], revoke: dict[str, Work], now_ms: float) -> None:
        balancing = _load_balancing_revocations(configured, loads)
        if self._revoked_in_previous and balancing:
            self._revoking_rounds += 1
            self.delay_ms = _backoff_ms(self._revoking_rounds, self._max_delay_ms)
            if self.delay_ms:
                self._scheduled_ms = now_ms + self.delay_ms
                return
        elif balancing:
            self._revoked_in_previous = True
        elif self._revoked_in_previous:
            self._revoked_in_previous = False
            self._revoking_rounds = 0
        for load in loads:
            taken = balancing.get(load.member, NO_WORK)
            revoke[load.member] = revoke[load.member].union(taken)
            load.remove(taken)


def _load_balancing_revocations(configured: Work, loads: list[Load]) -> dict[str, Work]:
    if all(load.is_empty for load in loads) or not configured:
        return {}
    connectors = _too_much(len(configured.connectors), {load.member: load.connectors for load in loads})
    tasks = _too_much(len(configured.tasks), {load.member: load.tasks for load in loads})
    return {
        member: Work(tuple(connectors.get(member, ())), tuple(tasks.get(member, ())))
        for member in (load.member for load in loads)
        if member in connectors or member in tasks
    }


def _too_much(total: int, held: Mapping[str, list[T]]) -> dict[str, list[T]]:
    """What each has beyond its share; the first in order may have one more where it does not come out even."""
    least, extras = divmod(total, len(held))
    sizes = [len(each) for each in held.values()]
    with_one_more = sizes.count(least + 1)
    if with_one_more == extras and sizes.count(least) + with_one_more == len(held):
        return {}
    found: dict[str, list[T]] = {}
    given = 0
    for member, each in held.items():
        if len(each) <= least:
            continue
        if given < extras:
            given += 1
            if len(each) == least + 1:
                continue
            most = least + 1
        else:
            most = least
        found[member] = each[: len(each) - most]
    return found


def _give(loads: list[Load], items: Iterable[T], held: Callable[[Load], list[T]]) -> None:
    """Each to whoever has least (``assignConnectors``, ``assignTasks``)."""
    left = list(items)
    if not left:
        return
    loads.sort(key=lambda load: (len(held(load)), load.member))
    while left:
        first = len(held(loads[0]))
        up_to = next((index for index, load in enumerate(loads) if len(held(load)) > first), len(loads))
        for load in loads[:up_to]:
            held(load).append(left.pop(0))
            if not left:
                break


def _duplicated(members: Mapping[str, Work]) -> Work:
    connectors = Counter(each for work in members.values() for each in work.connectors)
    tasks = Counter(each for work in members.values() for each in work.tasks)
    return Work(
        tuple(each for each, count in connectors.items() if count > 1),
        tuple(each for each, count in tasks.items() if count > 1),
    )


def _common(one: Work, other: Work) -> Work:
    return Work(
        tuple(each for each in one.connectors if each in other.connectors),
        tuple(each for each in one.tasks if each in other.tasks),
    )


def _sorted(work: Work) -> Work:
    return Work(tuple(sorted(work.connectors)), tuple(sorted(work.tasks)))
