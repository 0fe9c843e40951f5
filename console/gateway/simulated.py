"""A simulated cluster: pictures and events as of any other, from the frames of a run in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

from console.gateway.bulk_protocol import NoBulkRecords
from console.gateway.protocol import (
    BrokerLog,
    Capabilities,
    EventBatch,
    GatewayError,
    NewRecord,
    NewTopic,
    ProducedRecord,
    Tail,
    TailBatch,
)
from console.gateway.run_frames import decisions_of, event_of, machines_of, messages_of, records_of, snapshot_of
from console.gateway.run_process import RunProcess
from console.viewmodel.configs import ConfigValue
from console.viewmodel.connections import ConnectionsFound
from console.viewmodel.moves import MovePlan, MoveRow
from console.viewmodel.reassigning import PlacementWish
from console.viewmodel.records import RecordView
from console.viewmodel.resets import ResetPlan, ResetWish
from console.viewmodel.segments import BatchPage, BatchView, Segments
from console.viewmodel.simulation import LEVELS, SPEEDS, RunState, Story
from console.viewmodel.transactions import TransactionsFound
from console.viewmodel.wire import WireBatch, WireRow
from console.viewmodel.zookeeper import KRAFT
from engine.sim.options import Options
from engine.sim.stepping.acts import Planned
from engine.sim.stepping.process import options_as_data, planned_as_data
from engine.sim.world import EPOCH_MS
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source
from engine.supervisor.zookeeper_snapshot import ZnodesSeen

_OWN_CLIENTS = "the clients of a simulated cluster are its own: the seed decides what they do"
_NO_FILES = "simulated disks are in memory: there are no files to look into"
_OWN_FAULTS = "x on the Simulation screen (0) has the faults of a simulated cluster"
_NOT_ADMINISTERED = "simulated brokers take requests of their seed's clients alone"
_MISSING = {
    "faults": _OWN_FAULTS,
    "segments": _NO_FILES,
    "failover": "the timeline of the simulation (0) shows every step of a failover",
    "workload": "the clients of a simulated cluster belong to its seed",
    "moves": "the timeline of the simulation (0) shows the replicas that its seed moves",
    **dict.fromkeys(("acls", "users", "quotas", "log-dirs", "producers", "hanging"), _NOT_ADMINISTERED),
    **dict.fromkeys(("schemas", "schema"), "a simulated cluster has no schema registry"),
    "transactions": "the timeline of the simulation (0) shows what its clients do",
    "connections": "the timeline of the simulation (0) shows who asks whom",
    "wire": "the timeline of the simulation (0) has every message: m shows them, enter decodes one",
}
_CAPABILITIES = Capabilities(
    Source.SIMULATED,
    no_workload=_OWN_CLIENTS,
    no_broker_logs="simulated brokers write no log files: the timeline (0) has what they tell",
    no_writing=_OWN_CLIENTS,
    no_simulation="",
    no_ensemble_control=KRAFT,
    missing_views=_MISSING,
)
_MIN_INTERVAL_S = 0.05
_TAIL_INTERVAL_S = 0.25


class Simulation:
    """What can be done with a run; its state and its story. All of it is heard soon and answered by a frame."""

    def __init__(self, options: Options, planned: Sequence[Planned] = ()) -> None:
        self.options = options
        self.state = RunState(seed=options.seed, seconds=options.seconds)
        self.story = Story()
        # How much the timeline shows, and what a step is.
        self.level = LEVELS[0]
        self.wall_ms = EPOCH_MS
        self.snapshot: ClusterSnapshot | None = None
        self.said: tuple[str, str] = ("", "info")
        self.changed = asyncio.Event()
        self.new_events: list[ClusterEvent] = []
        self.is_anew = False
        self._generation = 0
        self._marks: tuple[tuple[float, str], ...] = ()
        self._started = False
        self._speed_at = SPEEDS.index(1.0)
        first = {"options": options_as_data(options), "planned": [planned_as_data(each) for each in planned]}
        self._process = RunProcess(first, self._take)

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Once. Raises: GatewayError."""
        if not self._started:
            self._started = True
            await self._process.start()

    async def close(self) -> None:
        """The process is gone afterwards."""
        await self._process.close()

    @property
    def failure(self) -> str:
        """Why the process is gone, if it is."""
        return self._process.failure

    # -- frames ---------------------------------------------------------------------------------------------------

    def _take(self, frame: Mapping[str, Any]) -> None:
        if frame["type"] == "gone":
            self.changed.set()
            return
        if frame["said"]:
            self.said = (frame["said"], frame["tone"])
        self.wall_ms = int(frame["wall_ms"])
        picture = frame.get("picture")
        if "marks" in frame:
            self._marks = tuple((float(at_s), str(kind)) for at_s, kind in frame["marks"])
        before = self.state
        self.state = RunState(
            seed=self.options.seed,
            seconds=self.options.seconds,
            mode=frame["mode"],
            speed=frame["speed"],
            at_s=frame["at_s"],
            number=frame["count"],
            seen_until_s=frame["seen_until_s"],
            ended=frame["ended"],
            broken=frame["broken"],
            looking_for=frame["looking_for"],
            progress=frame["progress"],
            marks=self._marks,
            machines=before.machines if picture is None else machines_of(picture),
            ahead=tuple((at_s, words, by) for at_s, words, by in frame["ahead"]) if "ahead" in frame else before.ahead,
        )
        if picture is not None:
            decisions = decisions_of(frame)
            anew = frame["generation"] != self._generation
            self._generation = frame["generation"]
            self.story.take(decisions, messages_of(frame), anew=anew)
            if anew:
                self.is_anew = True
                self.new_events.clear()
            self.new_events += [event_of(each) for each in decisions]
            self.snapshot = snapshot_of(picture, self.wall_ms, self.snapshot)
        self.changed.set()

    # -- commands -------------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Play or pause."""
        self._process.send(do="play" if self.state.mode == "paused" else "pause")

    def pause(self) -> None:
        """Stop where it is."""
        self._process.send(do="pause")

    def next(self, level: str) -> None:
        """To the next step of a level: ``decision``, ``broker message``, ``message``, ``election``."""
        self._process.send(do="next", level=level)

    def back(self, level: str) -> None:
        """To the step of a level before this place, by replay."""
        self._process.send(do="back", level=level)

    def go_to_number(self, number: int) -> None:
        """To a message or decision that was passed."""
        self._process.send(do="goto_number", number=number)

    def go_to_time(self, at_s: float) -> None:
        """Forward or back."""
        self._process.send(do="goto_time", at_s=at_s)

    def change_speed(self, step: int) -> None:
        """Faster or slower."""
        # From what was asked for last: keys come faster than frames.
        self._speed_at = max(0, min(len(SPEEDS) - 1, self._speed_at + step))
        self._process.send(do="speed", speed=SPEEDS[self._speed_at])

    async def act(self, kind: str, brokers: Sequence[int] = (), value: float = 0.0) -> None:
        """A fault or a repair, here and now. Raises: GatewayError: it cannot be done."""
        answer = await self._process.ask(do="act", kind=kind, brokers=list(brokers), value=value)
        if answer["problem"]:
            raise GatewayError(answer["problem"])

    async def records(
        self, topic: str, partitions: Sequence[int] | None, positions: Mapping[str, int], start: tuple[str, int]
    ) -> Mapping[str, Any]:
        """What is committed behind some positions. Raises: GatewayError."""
        return await self._process.ask(
            do="records",
            topic=topic,
            partitions=None if partitions is None else list(partitions),
            positions=dict(positions),
            start=list(start),
        )

    async def decoded(self, number: int) -> list[str]:
        """The whole message of a number as lines. Raises: GatewayError."""
        answer = await self._process.ask(do="detail", number=number)
        client = [f"client_id: {answer['client_id']}"] if answer["client_id"] else []
        return [*client, *answer["lines"]]


class SimulatedGateway:
    """What any cluster shows, of a simulated one."""

    def __init__(self, options: Options, planned: Sequence[Planned] = ()) -> None:
        self.simulation = Simulation(options, planned)
        self._events_wait = asyncio.Event()
        self.bulk = NoBulkRecords(_OWN_CLIENTS)

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    def now_ms(self) -> int:
        """The simulation's wall clock."""
        return self.simulation.wall_ms

    async def close(self) -> None:
        await self.simulation.close()

    async def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        simulation = self.simulation
        await simulation.start()
        while True:
            if simulation.failure:
                raise GatewayError(simulation.failure)
            await simulation.changed.wait()
            simulation.changed.clear()
            if simulation.new_events or simulation.is_anew:
                self._events_wait.set()
            if simulation.snapshot is not None:
                yield simulation.snapshot
            await asyncio.sleep(_MIN_INTERVAL_S)

    async def events(self) -> AsyncIterator[EventBatch]:
        simulation = self.simulation
        while True:
            await self._events_wait.wait()
            self._events_wait.clear()
            events, simulation.new_events = simulation.new_events, []
            anew, simulation.is_anew = simulation.is_anew, False
            yield EventBatch(events, anew)

    def watch(self, topics: frozenset[str]) -> None:
        """Everything is always fresh."""

    # -- processes ------------------------------------------------------------------------------------------------

    async def _act(self, kind: str, broker_ids: Sequence[int]) -> None:
        await self.simulation.act(kind, broker_ids)

    async def kill_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("kill", broker_ids)

    async def stop_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("stop", broker_ids)

    async def pause_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("pause", broker_ids)

    async def resume_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("resume", broker_ids)

    async def start_brokers(self, broker_ids: Sequence[int]) -> None:
        await self._act("start", broker_ids)

    async def restart_brokers(self, broker_ids: Sequence[int]) -> None:
        raise GatewayError("stop it, let it come down, and start it: in a simulation each is a step of its own")

    # -- what a simulated cluster does not do -----------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        raise GatewayError(_OWN_CLIENTS)

    async def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        start = (str(tail.read_from.start), tail.read_from.value)
        positions: dict[str, Mapping[str, int]] = {topic: {} for topic in tail.topics}
        generation: int | None = None
        while True:
            records: list[RecordView] = []
            problems = []
            caught_up = True
            for topic in tail.topics:
                answer = await self.simulation.records(topic, tail.partitions, positions[topic], start)
                positions[topic] = answer["positions"]
                records += records_of(topic, answer)
                caught_up = caught_up and answer["caught_up"]
                if answer["problem"]:
                    problems.append(answer["problem"])
                if generation is not None and answer["generation"] != generation:
                    problems.append("the run went back: s reads anew what is written by now")
                else:
                    generation = answer["generation"]
            yield TailBatch(records, ", ".join(problems), caught_up)
            if caught_up:
                await asyncio.sleep(_TAIL_INTERVAL_S)

    async def connections(self) -> ConnectionsFound:
        self._refuse()

    async def wire(self, broker_id: int | None, *, hold: bool = False) -> WireBatch:
        self._refuse()

    async def wire_message(self, row: WireRow) -> list[str]:
        self._refuse()

    async def elect_unclean(self, partitions: Sequence[tuple[str, int]]) -> int:
        self._refuse()

    async def plan_placement(self, wish: PlacementWish) -> MovePlan:
        self._refuse()

    async def plan_moves(self, drained: Sequence[int]) -> MovePlan:
        self._refuse()

    async def begin_moves(self, plan: MovePlan, throttle_bytes: int | None) -> None:
        self._refuse()

    async def moves(self) -> list[MoveRow]:
        self._refuse()

    async def cancel_moves(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        self._refuse()

    async def plan_reset(self, wish: ResetWish) -> ResetPlan:
        self._refuse()

    async def reset_offsets(self, plan: ResetPlan) -> int:
        self._refuse()

    async def add_broker(self, rack: str | None) -> int:
        self._refuse()

    async def remove_broker(self, broker_id: int) -> None:
        self._refuse()

    async def begin_fault(self, wish: FaultWish) -> int:
        raise GatewayError(_OWN_FAULTS)

    async def heal_faults(self, fault_id: int | None) -> list[str]:
        raise GatewayError(_OWN_FAULTS)

    async def transactions(self) -> TransactionsFound:
        self._refuse()

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        raise GatewayError(_CAPABILITIES.no_broker_logs)

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        raise GatewayError(KRAFT)

    async def zookeeper_servers(self, act: str, server_ids: Sequence[int]) -> None:
        raise GatewayError(KRAFT)

    async def expire_session(self, broker_id: int) -> None:
        raise GatewayError(KRAFT)

    async def segments(self, topic: str, partition: int) -> Segments:
        raise GatewayError(_NO_FILES)

    async def batches(self, path: str, position: int, limit: int) -> BatchPage:
        raise GatewayError(_NO_FILES)

    async def find_batch(self, path: str, offset: int) -> int:
        raise GatewayError(_NO_FILES)

    async def batch(self, path: str, position: int) -> BatchView:
        raise GatewayError(_NO_FILES)

    @property
    def administration(self) -> NoReturn:
        raise GatewayError(_NOT_ADMINISTERED)

    @property
    def streams(self) -> NoReturn:
        raise GatewayError(_OWN_CLIENTS)

    @property
    def connect(self) -> NoReturn:
        raise GatewayError(_OWN_CLIENTS)

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        snapshot = self.simulation.snapshot
        found = next((each for each in snapshot.topics if each.name == topic), None) if snapshot is not None else None
        configs = found.configs if found is not None else {}
        return [ConfigValue(name, value, "DYNAMIC_TOPIC_CONFIG", True) for name, value in sorted(configs.items())]

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        return []

    async def produce(self, record: NewRecord) -> ProducedRecord:
        self._refuse()

    async def create_topic(self, topic: NewTopic) -> None:
        self._refuse()

    async def delete_topic(self, topic: str) -> None:
        self._refuse()

    async def add_partitions(self, topic: str, total: int) -> None:
        self._refuse()

    async def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        self._refuse()

    async def start_workload(self) -> None:
        self._refuse()

    async def stop_workload(self) -> None:
        self._refuse()

    async def add_member(self, group: str) -> None:
        self._refuse()

    async def remove_member(self, group: str) -> None:
        self._refuse()
