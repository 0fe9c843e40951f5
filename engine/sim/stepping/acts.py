"""What a person or a scenario does to the simulated machines, and where in the run it was done."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.sim.cluster import SimCluster, machine_name
from engine.sim.disk import USUAL_DELAY_S

# Kinds, with how many brokers each names: None for one or more.
BROKERS_OF: dict[str, int | None] = {
    "kill": None,
    "start": None,
    "stop": None,
    "pause": None,
    "resume": None,
    "power": None,
    "isolate": None,
    "cut": 2,
    "cut_one_way": 2,
    "reset": 2,
    "clock": 1,
    "slow_disk": 1,
    "heal": 0,
}
# Kinds that take a figure, and what it is.
VALUES: dict[str, str] = {"clock": "milliseconds that it is wrong by", "slow_disk": "seconds of one access"}


class Act(NamedTuple):
    """One act. ``heal`` mends all links, disks and clocks; whoever is down or paused stays so."""

    kind: str
    brokers: tuple[int, ...] = ()
    value: float = 0.0

    def words(self) -> str:
        """As it is told: ``kill 1``, ``cut 1 2``."""
        value = f" {self.value:g}" if self.kind in VALUES else ""
        return " ".join([self.kind.replace("_", " "), *map(str, self.brokers)]) + value


class Planned(NamedTuple):
    """An act and its place: right after callback number ``callbacks``, or once nothing is left to do before ``at_s``
    (virtual seconds of the loop). ``by`` is ``you`` or ``scenario``."""

    act: Act
    callbacks: int | None
    at_s: float | None
    by: str


def perform(cluster: SimCluster, act: Act) -> str:
    """Do it now; returns why it could not be done, empty if it was."""
    unknown = [each for each in act.brokers if each not in cluster.machines]
    if unknown:
        return f"there is no broker {unknown[0]}"
    names = [machine_name(each) for each in act.brokers]
    fabric = cluster.fabric
    if act.kind in ("cut", "cut_one_way"):
        fabric.cut(names[0], names[1])
        if act.kind == "cut":
            fabric.cut(names[1], names[0])
    elif act.kind == "isolate":
        for name in names:
            for other in (machine.name for machine in cluster.machines.values() if machine.name != name):
                fabric.cut(name, other)
                fabric.cut(other, name)
    elif act.kind == "reset":
        return "" if fabric.reset_connections(names[0], names[1]) else "there is no connection between them"
    elif act.kind == "heal":
        fabric.heal_all()
        for machine in cluster.machines.values():
            machine.disk.failing.clear()
            machine.disk.room_bytes = None
            machine.disk.delay_s = USUAL_DELAY_S
            machine.disk.go_on()
            machine.clock.set_right()
    else:
        problems = [_to_one(cluster, act, each) for each in act.brokers]
        if all(problems) and problems:
            return problems[0]
    return ""


def _to_one(cluster: SimCluster, act: Act, node_id: int) -> str:
    machine = cluster.machines[node_id]
    if act.kind == "start":
        if machine.is_up:
            return f"broker {node_id} runs already"
        cluster.start(node_id)
    elif act.kind == "clock":
        machine.clock.skew_ms = int(act.value)
    elif act.kind == "slow_disk":
        machine.disk.delay_s = (act.value / 2, act.value)
    elif not machine.is_up:
        return f"broker {node_id} is down"
    elif act.kind == "resume":
        if machine.process is not None and not machine.process.is_paused:
            return f"broker {node_id} is not paused"
        cluster.resume(node_id)
    elif act.kind == "stop":
        if machine.process is not None and machine.process.is_paused:
            return f"broker {node_id} is paused: it cannot stop in order"
        cluster.loop.create_task(cluster.stop(node_id))
    else:
        {"kill": cluster.kill, "pause": cluster.pause, "power": cluster.cut_power}[act.kind](node_id)
    return ""


def act_from(data: dict[str, Any]) -> Act:
    """From the commands of :mod:`engine.sim.stepping.process`. Raises: ValueError."""
    kind, brokers = str(data["kind"]), tuple(int(each) for each in data.get("brokers", ()))
    if kind not in BROKERS_OF:
        raise ValueError(f"there is no act {kind!r}")
    wanted = BROKERS_OF[kind]
    if (wanted is None and not brokers) or (wanted is not None and len(brokers) != wanted):
        raise ValueError(f"{kind} names {'one broker or more' if wanted is None else f'{wanted} brokers'}")
    if len(set(brokers)) != len(brokers):
        raise ValueError(f"{kind} names a broker twice")
    return Act(kind, brokers, float(data.get("value", 0.0)))
