"""Processes that are killed, paused and stopped, machines that lose power: one, several, all, and on purpose."""

from __future__ import annotations

import asyncio

from engine.model.notes import NoteKind
from engine.sim.cluster import Fact
from engine.sim.fault_kit import Act, FaultKit

# A broker that was told to stop has this long to do it; then it is killed, as by its supervisor.
_STOP_WITHIN_S = 20.0
_START_WITHIN_S = 10.0


class ProcessFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit
        self._kills_on_ack = 0
        self._kills_on_vote = 0
        self._is_rolling = False

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {
            "kill": self._kill,
            "kill-leader": self._kill_leader,
            "kill-on-ack": self._kill_on_ack,
            "kill-on-vote": self._kill_on_vote,
            "crash-start": self._crash_start,
            "pause": self._pause,
            "stop": self._stop,
            "rolling": self._rolling,
            "power": self._power,
            "power-all": self._power_all,
        }

    def _kill(self) -> str:
        kit = self._kit
        victims = kit.up()
        if not victims:
            return ""
        everyone = kit.rng.random() < 0.1
        chosen = victims if everyone else [kit.rng.choice(victims)]
        for node_id in chosen:
            kit.kill(node_id, 8.0)
        return f"kill {chosen}"

    def _controller(self) -> int | None:
        """The active controller's broker."""
        for node_id, machine in self._kit.cluster.machines.items():
            broker = machine.broker
            if broker is not None and broker.controller is not None and broker.controller.is_active:
                return node_id
        return None

    def leader_of(self, topic: str, partition: int) -> int | None:
        """Who leads the partition, as the newest image has it."""
        images = [
            machine.broker.metadata.image
            for machine in self._kit.cluster.machines.values()
            if machine.broker is not None
        ]
        if not images:
            return None
        state = max(images, key=lambda each: each.offset).partition(topic, partition)
        return state.leader if state is not None and state.leader >= 0 else None

    def _kill_leader(self) -> str:
        """The controller, the leader of a partition, or a group's coordinator."""
        kit = self._kit
        topic = kit.rng.choice(("", "safe", "moving", "__consumer_offsets"))
        number = 0 if topic == "moving" else kit.rng.randrange(3)
        node_id = self.leader_of(topic, number) if topic else self._controller()
        if node_id is None or node_id not in kit.cluster.machines or not kit.cluster.machines[node_id].is_up:
            return ""
        kit.kill(node_id, 8.0)
        return f"kill {node_id}, {'leader of ' + topic + '-' + str(number) if topic else 'the controller'}"

    def _kill_on_ack(self) -> str:
        """Whoever acknowledges next with acks=all dies within milliseconds."""
        self._kills_on_ack += 1
        return "kill whoever acknowledges next"

    def on_acknowledged(self, each: tuple[str, int]) -> None:
        """A batch was acknowledged with acks=all; its leader may have to die for it."""
        if not self._kills_on_ack or self._kit.is_healed:
            return
        node_id = self.leader_of(*each)
        if node_id is None or node_id not in self._kit.cluster.machines:
            return
        self._kills_on_ack -= 1
        self._kill_soon([node_id], f"which acknowledged {each[0]}-{each[1]}", longest_s=0.004, down_s=8.0)

    def _kill_soon(self, victims: list[int], why: str, *, longest_s: float, down_s: float) -> None:
        """Kill within so many seconds the processes that run now, all at the same moment."""
        kit = self._kit
        processes = {node_id: kit.cluster.machines[node_id].process for node_id in victims}

        def kill() -> None:
            for node_id, process in processes.items():
                machine = kit.cluster.machines.get(node_id)
                if not kit.is_healed and process is not None and machine is not None and machine.process is process:
                    kit.tell(f"kill {node_id}, {why}")
                    kit.kill(node_id, down_s)

        kit.cluster.loop.call_later(kit.rng.uniform(0.0, longest_s), kill)

    def _kill_on_vote(self) -> str:
        """The controller dies; then whoever votes in its place, or everybody once one of them is elected.

        Before the new leader's first record has reached anybody else, votes and epochs are on the disk alone.
        """
        node_id = self._controller()
        if node_id is None:
            return ""
        self._kills_on_vote += 1
        self._kit.kill(node_id, 0.5)
        return f"kill {node_id}, the controller, and whoever votes next"

    def on_fact(self, fact: Fact) -> None:
        """A broker told something; those who voted may have to die for it."""
        if not self._kills_on_vote or self._kit.is_healed:
            return
        kit, kind = self._kit, fact.get("kind")
        if kind == NoteKind.VOTE_GRANTED and not fact["detail"]["pre_vote"]:
            if kit.rng.random() < 0.8:
                return
            victims, why = [fact["broker"]], f"which voted for {fact['detail']['candidate_id']}"
        elif kind == NoteKind.QUORUM_LEADER_ELECTED:
            victims, why = kit.up(), f"where {fact['broker']} was elected"
        else:
            return
        self._kills_on_vote -= 1
        self._kill_soon(victims, why, longest_s=0.002, down_s=2.0)

    def _crash_start(self) -> str:
        """A broker is started anew, and dies while it starts or recovers: once or twice."""
        kit = self._kit
        node_id = kit.some_up()
        if node_id is None:
            return ""
        has_power_cuts = kit.options.durability == "fsync"
        times = kit.rng.randint(1, 2)
        lives = [kit.rng.choice((0.001, 0.02, 0.2, 1.0)) * kit.rng.random() for _ in range(times)]
        cuts = [has_power_cuts and kit.rng.random() < 0.3 for _ in range(times)]

        async def crash() -> None:
            for life_s, is_power in zip(lives, cuts, strict=True):
                if kit.is_healed or node_id not in kit.cluster.machines:
                    return
                kit.restart(node_id)
                await asyncio.sleep(life_s)
                if kit.is_healed or node_id not in kit.cluster.machines:
                    return
                kit.tell(f"{'cut the power of' if is_power else 'kill'} {node_id}, {life_s * 1000:.1f} ms old")
                if is_power:
                    kit.cluster.cut_power(node_id)
                else:
                    kit.cluster.kill(node_id)
            kit.restart(node_id)

        kit.cluster.kill(node_id)
        kit.keep(crash())
        return f"kill {node_id}, and again while it starts"

    def _pause(self) -> str:
        kit = self._kit
        node_id = kit.some_up()
        if node_id is None:
            return ""
        kit.cluster.pause(node_id)
        longest_s = kit.rng.choice((0.3, 2.0, 15.0))
        delay_s = kit.later(longest_s, lambda: kit.cluster.resume(node_id))
        return f"pause {node_id} for {delay_s:.2f} s"

    async def _stop_and_start(self, node_id: int, down_s: float) -> None:
        kit = self._kit
        machine = kit.cluster.machines.get(node_id)
        if machine is None or machine.broker is None:
            return
        process = machine.process
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await kit.cluster.stop(node_id)
        except TimeoutError:
            if machine.process is process:
                kit.tell(f"kill {node_id}, which does not stop")
                kit.cluster.kill(node_id)
        await asyncio.sleep(down_s)
        kit.restart(node_id)

    def _stop(self) -> str:
        node_id = self._kit.some_up()
        if node_id is None or self._kit.cluster.machines[node_id].broker is None:
            return ""
        self._kit.keep(self._stop_and_start(node_id, self._kit.rng.uniform(0.01, 3)))
        return f"stop {node_id}"

    def _rolling(self) -> str:
        """Every broker is stopped in order and started again, one after the other, as for an upgrade."""
        kit = self._kit
        if self._is_rolling:
            return ""
        self._is_rolling = True
        pauses = {node_id: kit.rng.uniform(0.01, 1.0) for node_id in kit.cluster.machines}

        async def roll() -> None:
            for node_id, down_s in pauses.items():
                if kit.is_healed:
                    break
                kit.tell(f"rolling restart: {node_id}")
                await self._stop_and_start(node_id, down_s)
                deadline = kit.cluster.loop.time() + _START_WITHIN_S
                while kit.cluster.loop.time() < deadline and not kit.is_healed:
                    machine = kit.cluster.machines.get(node_id)
                    if machine is None or machine.serves:
                        break
                    await asyncio.sleep(0.05)
            self._is_rolling = False

        kit.keep(roll())
        return "rolling restart"

    def _power(self) -> str:
        kit = self._kit
        node_id = kit.some_up()
        if node_id is None:
            return ""
        kit.cluster.cut_power(node_id)
        kit.later(8.0, lambda: kit.restart(node_id))
        return f"power {node_id}"

    def _power_all(self) -> str:
        kit = self._kit
        victims = kit.up()
        if kit.rng.random() < 0.6 or not victims:
            return ""
        for node_id in victims:
            kit.cluster.cut_power(node_id)
            kit.later(4.0, lambda node_id=node_id: kit.restart(node_id))  # type: ignore[misc]
        return f"power {victims}"
