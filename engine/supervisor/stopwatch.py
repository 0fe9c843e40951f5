"""The timeline of one failover, from facts that carry CLOCK_MONOTONIC nanoseconds. Pure.

    killed → (another controller) → fenced → new leaders committed → seen by each survivor
           → first acknowledged produce → first fetch

Another controller, where one became active after the kill: its note, which also says how it was elected. Fenced: the
controller's note. Committed: the first moment at which any broker had applied, or the controller had noted, a new
leader for each partition that the victim led. Seen by a survivor: the moment at which it had applied them all.
Produce and fetch: what real clients measured, with records that were sent after the kill. Faults that last go on:

    … → healed → every replica in sync
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.supervisor.snapshot import Stage, StageTime

Place = tuple[str, int]
_ORDER = {stage: at for at, stage in enumerate(Stage)}


class Stopwatch:
    """Takes facts in any order that keeps each source's own; stages come out sorted by time."""

    def __init__(
        self, act_id: int, victim: int, killed_ns: int, led: Iterable[Place], survivors: Iterable[int], *, probed: bool
    ) -> None:
        """``led`` are the partitions that the victim led; ``probed`` says whether clients measure too."""
        self._act_id = act_id
        self._victim = victim
        self._killed_ns = killed_ns
        self._led = frozenset(led)
        self._survivors = sorted(survivors)
        self._probed = probed
        self._fenced_ns: int | None = None
        # When, who, and in which epoch.
        self._elected: tuple[int, int, str] | None = None
        self._committed_ns: dict[Place, int] = {}
        self._seen: dict[int, set[Place]] = {survivor: set() for survivor in self._survivors}
        self._seen_ns: dict[int, int] = {}
        self._leaderless: set[Place] = set()
        self._client_ns: dict[Stage, int] = {}
        self._reached_ns: dict[Stage, int] = {}

    def on_fact(self, fact: dict[str, Any]) -> bool:
        """Take a fact; returns whether a stage was reached by it."""
        before = len(self.stages())
        at = fact.get("mono_ns", 0)
        kind = fact.get("type")
        if kind in ("probe_first_produce", "probe_first_fetch"):
            if fact.get("act_id") == self._act_id:
                stage = Stage.FIRST_PRODUCE if kind == "probe_first_produce" else Stage.FIRST_FETCH
                self._client_ns.setdefault(stage, at)
        elif at <= self._killed_ns:
            return False
        elif kind == "note":
            self._on_note(fact, at)
        elif kind == "metadata_applied":
            self._on_metadata_applied(fact, at)
        return len(self.stages()) != before

    def _on_note(self, fact: dict[str, Any], at: int) -> None:
        detail = fact.get("detail") or {}
        if fact.get("kind") == "broker_fenced" and detail.get("broker_id") == self._victim:
            if self._fenced_ns is None:
                self._fenced_ns = at
        elif fact.get("kind") == "controller_activated":
            elected = detail.get("controller_id")
            if self._elected is None and isinstance(elected, int) and elected != self._victim:
                self._elected = at, elected, f"epoch {detail.get('epoch')}"
        elif fact.get("kind") == "leader_changed" and detail.get("from") == self._victim:
            self._commit((str(detail.get("topic")), int(detail.get("partition", -1))), int(detail.get("to", -1)), at)

    def _on_metadata_applied(self, fact: dict[str, Any], at: int) -> None:
        survivor = fact.get("broker")
        for change in fact.get("changes") or ():
            place = (str(change.get("topic")), int(change.get("partition", -1)))
            leader = int(change.get("leader", -1))
            if place not in self._led or leader == self._victim:
                continue
            self._commit(place, leader, at)
            if survivor in self._seen:
                self._seen[survivor].add(place)
                if self._seen[survivor] == self._led:
                    self._seen_ns.setdefault(survivor, at)

    def _commit(self, place: Place, leader: int, at: int) -> None:
        if place not in self._led:
            return
        self._committed_ns[place] = min(at, self._committed_ns.get(place, at))
        if leader < 0:
            self._leaderless.add(place)
        else:
            self._leaderless.discard(place)

    def reach(self, stage: Stage, at: int) -> None:
        """A stage was reached that no fact tells of: a fault that lasted was healed, the cluster is whole."""
        self._reached_ns[stage] = at

    # -- results ------------------------------------------------------------------------------------------------

    def stages(self) -> tuple[StageTime, ...]:
        """What was reached so far, by time."""
        found = [StageTime(Stage.KILLED, 0.0)]
        if self._elected is not None:
            at, who, epoch = self._elected
            found.append(self._stage(Stage.CONTROLLER_ELECTED, at, who=who, detail=epoch))
        all_moved = bool(self._led) and len(self._committed_ns) == len(self._led)
        if self._fenced_ns is not None:
            fenced_ns = self._fenced_ns
            if all_moved:
                # One batch of metadata fences a broker and moves its leaders, in this order: whoever has seen the
                # second has seen the first, even where the controller's note came a moment later.
                fenced_ns = min(fenced_ns, max(self._committed_ns.values()))
            found.append(self._stage(Stage.FENCED, fenced_ns))
        if all_moved:
            detail = f"{len(self._led)} partition{'' if len(self._led) == 1 else 's'}"
            if self._leaderless:
                detail += f", {len(self._leaderless)} without leader"
            found.append(self._stage(Stage.LEADERS_COMMITTED, max(self._committed_ns.values()), detail=detail))
        for survivor in self._survivors:
            if survivor in self._seen_ns:
                found.append(self._stage(Stage.SEEN_BY_SURVIVORS, self._seen_ns[survivor], who=survivor))
        for stage in (Stage.FIRST_PRODUCE, Stage.FIRST_FETCH):
            if stage in self._client_ns:
                found.append(self._stage(stage, self._client_ns[stage]))
        found += [self._stage(stage, at) for stage, at in self._reached_ns.items()]
        return tuple(sorted(found, key=lambda stage: (stage.after_ms, _ORDER[stage.stage], stage.who)))

    def _stage(self, stage: Stage, at: int, *, who: int = -1, detail: str = "") -> StageTime:
        return StageTime(stage, round((at - self._killed_ns) / 1e6, 3), who, detail)

    @property
    def complete(self) -> bool:
        """Whether nothing more can come. A victim that led nothing has no leaders to move."""
        reached = {stage.stage for stage in self.stages()}
        if Stage.FENCED not in reached:
            return False
        if self._led and (Stage.LEADERS_COMMITTED not in reached or len(self._seen_ns) < len(self._survivors)):
            return False
        return not self._probed or {Stage.FIRST_PRODUCE, Stage.FIRST_FETCH} <= reached
