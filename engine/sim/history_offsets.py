"""Committed offsets as registers: what is fetched must be what was committed last.

An offset may be fetched if its commit was, at some time while the fetch waited, the last to take effect. A commit that
was acknowledged took effect between its invocation and its acknowledgement; one that never was may do so at any time
after its invocation, so it excuses a fetch of less (as ``allowed``). What a fetch returned is as sure as if it had
been acknowledged. Offsets of a transaction take effect when it commits, and whoever asks without require_stable may be
told the one before for some time.

A member that is given a partition begins at the committed offset: it is a fetch too, that waited from the rebalance to
the first record. Going by the first record's offset it may seem to know more than it does, never less.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from engine.sim.history import NEVER, NOTHING_COMMITTED, Commit, Committed, History, Operation, Rebalance
from engine.sim.history_findings import Findings, Kind, Narrator
from engine.sim.history_log import GroupStart, PartitionLog
from engine.sim.history_records import PartitionRecords, records

CAME_LATE = "a commit whose outcome nobody knows may have taken effect late"

_INVOKED, _COMMITTED, _FETCH_BEGAN, _FETCHED = range(4)


@dataclass(slots=True, eq=False)
class _Write:
    """A commit of one partition: it took effect, if at all, before ``done``."""

    commit: Commit
    offset: int
    done: int


@dataclass(slots=True, eq=False)
class _Fetch:
    """``floor``: the place after which the last commit that was sure when the fetch began had been invoked."""

    begin: int
    end: int
    offset: int
    source: Committed | GroupStart
    floor: int = -1


def check_offsets(
    history: History,
    logs: Mapping[str, PartitionLog],
    checked: Mapping[str, PartitionRecords],
    findings: Findings,
    narrator: Narrator,
) -> None:
    """Find fetches that return too little, and members that begin too late."""
    commits: dict[tuple[str, str], list[tuple[Commit, int]]] = {}
    fetches: dict[tuple[str, str], list[_Fetch]] = {}
    for operation in history.operations:
        if isinstance(operation, Commit) and operation.outcome != "fail":
            if operation.txn is None or not operation.txn.is_aborted:
                for partition, offset in operation.offsets.items():
                    commits.setdefault((operation.group, partition), []).append((operation, offset))
        elif isinstance(operation, Committed) and operation.outcome == "ok":
            for partition, offset in operation.offsets.items():
                fetch = _Fetch(operation.place, operation.completed_place, offset, operation)
                fetches.setdefault((operation.group, partition), []).append(fetch)
    for partition, log in logs.items():
        for start in log.group_starts:
            fetch = _Fetch(start.rebalance.place, start.poll.completed_place, start.offset, start)
            fetches.setdefault((start.subscription.group, partition), []).append(fetch)
    for (group, partition), asked in fetches.items():
        if group not in history.auto_committing_groups:
            written = commits.get((group, partition), [])
            register = _Register(group, partition, checked.get(partition), findings, narrator)
            for is_stable in (False, True):
                chosen = [fetch for fetch in asked if _is_stable(fetch) == is_stable]
                if chosen:
                    register.check(written, chosen, is_stable=is_stable)


def _is_stable(fetch: _Fetch) -> bool:
    source = fetch.source
    return source.require_stable if isinstance(source, Committed) else source.poll.is_committed_only


def _done(commit: Commit, is_stable: bool) -> int:
    """Place after which the commit has taken effect; NEVER: nobody knows."""
    if commit.txn is None:
        return commit.completed_place if commit.outcome == "ok" else NEVER
    if is_stable and commit.txn.is_committed and commit.txn.end is not None:
        return commit.txn.end.completed_place
    return NEVER


class _Register:
    """The committed offset of one partition in one group."""

    def __init__(
        self,
        group: str,
        partition: str,
        log: PartitionRecords | None,
        findings: Findings,
        narrator: Narrator,
    ) -> None:
        self._group = group
        self._partition = partition
        self._log = log
        self._findings = findings
        self._tell = narrator

    def check(self, written: Iterable[tuple[Commit, int]], asked: Iterable[_Fetch], *, is_stable: bool) -> None:
        """One pass over what happened to the register, in its order."""
        self._floor = -1
        # Ends of writes that took effect, and their offsets: both grow, so that the least offset of all writes that
        # ended at some place or later is the first one there.
        self._ends: list[int] = []
        self._least: list[_Write] = []
        self._open: dict[_Write, None] = {}
        # Those that may take effect at any time, least offset first; some have been seen since.
        self._unknown: list[tuple[int, int, _Write]] = []
        self._by_offset: dict[int, list[_Write]] = {}
        self._highest: int | None = None
        for _, kind, subject in sorted(self._events(written, asked, is_stable), key=itemgetter(0, 1)):
            if isinstance(subject, _Write):
                if kind == _INVOKED:
                    self._on_invoked(subject)
                else:
                    self._on_committed(subject)
            elif kind == _FETCH_BEGAN:
                subject.floor = self._floor
            else:
                self._on_fetched(subject)

    def _events(
        self, written: Iterable[tuple[Commit, int]], asked: Iterable[_Fetch], is_stable: bool
    ) -> Iterator[tuple[int, int, _Write | _Fetch]]:
        for commit, offset in written:
            write = _Write(commit, offset, _done(commit, is_stable))
            yield commit.place, _INVOKED, write
            if write.done != NEVER:
                yield write.done, _COMMITTED, write
        for fetch in asked:
            yield fetch.begin, _FETCH_BEGAN, fetch
            yield fetch.end, _FETCHED, fetch

    def _on_invoked(self, write: _Write) -> None:
        self._by_offset.setdefault(write.offset, []).append(write)
        self._highest = write.offset if self._highest is None else max(self._highest, write.offset)
        if write.done != NEVER:
            self._open[write] = None
        else:
            heapq.heappush(self._unknown, (write.offset, write.commit.place, write))

    def _on_committed(self, write: _Write) -> None:
        self._open.pop(write, None)
        while self._least and self._least[-1].offset >= write.offset:
            self._least.pop()
            self._ends.pop()
        self._least.append(write)
        self._ends.append(write.done)
        self._floor = max(self._floor, write.commit.place)

    def _on_fetched(self, fetch: _Fetch) -> None:
        if fetch.floor >= 0:
            ended = bisect_left(self._ends, fetch.floor)
            least = min([*self._least[ended : ended + 1], *self._open], key=lambda write: write.offset)
            if fetch.offset < least.offset:
                self._add_regression(fetch, least, CAME_LATE if self._may_have_come_late(fetch) else None)
        if isinstance(fetch.source, GroupStart):
            self._check_start(fetch, fetch.source)
        else:
            self._on_seen(fetch)

    def _may_have_come_late(self, fetch: _Fetch) -> bool:
        if isinstance(fetch.source, Committed):
            return any(write.done == NEVER for write in self._by_offset.get(fetch.offset, ()))
        while self._unknown and self._unknown[0][2].done != NEVER:
            heapq.heappop(self._unknown)
        return bool(self._unknown) and self._unknown[0][0] <= fetch.offset

    def _on_seen(self, fetch: _Fetch) -> None:
        """The commit has taken effect, if it is known which one."""
        candidates = self._by_offset.get(fetch.offset, [])
        if len(candidates) == 1:
            (write,) = candidates
            if write.done == NEVER:
                write.done = fetch.end
                self._on_committed(write)
            self._floor = max(self._floor, write.commit.place)

    def _add_regression(self, fetch: _Fetch, least: _Write, allowed: str | None) -> None:
        operations: list[Operation] = [least.commit]
        if isinstance(fetch.source, GroupStart):
            operations += [fetch.source.rebalance, fetch.source.poll]
        else:
            operations.append(fetch.source)
        told = "nothing" if fetch.offset == NOTHING_COMMITTED else str(fetch.offset)
        began = "began at" if isinstance(fetch.source, GroupStart) else "was told"
        who = operations[-1].process
        gist = f"{who} {began} {told} in group {self._group}, where {least.offset} was committed"
        lines = partial(self._lines, gist, fetch, least)
        self._findings.add(Kind.OFFSET_REGRESSION, self._partition, allowed, operations, lines)

    def _lines(self, gist: str, fetch: _Fetch, write: _Write) -> list[str]:
        known = [self._tell.committed(write.commit, write.offset)]
        if isinstance(fetch.source, Committed):
            return [gist, *known, self._tell.fetched(fetch.source, fetch.offset)]
        return [gist, *known, *self._start_lines(fetch.source)]

    def _start_lines(self, start: GroupStart) -> list[str]:
        given: Rebalance = start.rebalance
        return [
            f"{given.process} was given the partition {self._tell.at(given.invoked_ns)}",
            self._tell.read(start.poll, f"offset {start.offset}, its first,"),
        ]

    def _check_start(self, fetch: _Fetch, start: GroupStart) -> None:
        """Nothing was left out between what the group may have committed and the first record."""
        if self._log is None:
            return
        is_given = fetch.floor >= 0 and NOTHING_COMMITTED not in self._by_offset
        if is_given or start.subscription.resets_to_earliest:
            begin = max(0, self._highest or 0)
            skipped = (
                self._log.skipped(begin, start.offset, start.poll.is_committed_only) if begin < start.offset else []
            )
            if skipped:
                committed = "nothing" if self._highest is None else f"at most {self._highest}"
                gist = f"{start.poll.process} began at {start.offset} in group {self._group}, which had committed "
                gist += f"{committed}: it left out {records(len(skipped))}"
                lines = partial(self._start_lines, start)
                self._log.add_skip(Kind.POLL_SKIP, skipped, [start.rebalance, start.poll], gist, lines)
