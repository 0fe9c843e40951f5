import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from engine.supervisor import acts as acts_module
from engine.supervisor.acts import Acts, Begun, Probe
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.cluster_admin import PROBE_TOPIC, ClusterAdmin, Lead
from engine.supervisor.facts import Fact
from engine.supervisor.supervisor import Supervisor
from engine.world.real import real_world
from tests.unit.supervisor.test_supervisor import running, until


class FakeAdmin:
    """Broker 2 leads t-0 and, once it was asked for, partition 1 of the probe's topic."""

    def __init__(self) -> None:
        self.created = self.elected = self.min_isr = 0
        self.active_controller = 2

    async def leaders(self, broker_ids: list[int]) -> list[Lead]:
        probe = [Lead(PROBE_TOPIC, 1, 2 if self.elected else 3)] if self.created else []
        return [Lead("t", 0, 2), Lead("t", 1, 1), *probe]

    async def controller(self, broker_ids: list[int]) -> int:
        return self.active_controller

    async def create_probe_topic(self, broker_ids: list[int]) -> None:
        self.created += 1

    async def elect_preferred(self, broker_ids: list[int], topic: str, partition: int) -> None:
        assert (topic, partition) == (PROBE_TOPIC, 1)
        self.elected += 1

    async def topic_config(self, broker_ids: list[int], topic: str, name: str) -> str:
        assert (topic, name) == (PROBE_TOPIC, "min.insync.replicas")
        return str(self.min_isr or 2)

    async def set_topic_config(self, broker_ids: list[int], topic: str, name: str, value: str | None) -> None:
        assert (topic, name) == (PROBE_TOPIC, "min.insync.replicas")
        self.min_isr = int(value or 0)


class FakeProbe(Probe):
    """Answers commands at once; ``silent`` never gets a record acknowledged."""

    def __init__(self, supervisor: Supervisor, *, silent: bool = False) -> None:
        super().__init__(supervisor.bus, "/nowhere", "h:1")
        self.commands: list[dict[str, Any]] = []
        self._silent = silent

    async def ensure_running(self) -> None:
        pass

    def send(self, **message: Any) -> None:
        self.commands.append(message)
        act_id = message["act_id"]
        answers: list[Fact] = []
        if message["command"] == "begin" and not self._silent:
            answers = [{"type": "probe_running", "act_id": act_id}]
        if message["command"] == "mark":
            at = message["mono_ns"]
            answers = [
                {"type": "probe_first_produce", "act_id": act_id, "mono_ns": at + 2_000_000},
                {"type": "probe_first_fetch", "act_id": act_id, "mono_ns": at + 3_000_000},
            ]
        if message["command"] == "finish":
            counts = {"sent": 9, "acknowledged": 8, "lost": 0, "duplicated": 0, "reordered": 0, "lost_offsets": []}
            answers = [{"type": "probe_ledger", "act_id": act_id, "acks": "all", "complete": True, **counts}]
        for answer in answers:
            asyncio.get_running_loop().call_soon(self._on_fact, answer)


@pytest.fixture
async def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Supervisor]:
    monkeypatch.setattr(acts_module, "_SETTLE_S", 0.0)
    monkeypatch.setattr(acts_module, "_PROBE_START_S", 0.4)
    async with running(tmp_path) as started:
        yield started


def failover(supervisor: Supervisor, at_ns: int) -> None:
    """What the controller and the two survivors report when broker 2 is gone."""
    for after, fact in enumerate(
        (
            {"type": "note", "kind": "broker_fenced", "detail": {"broker_id": 2}},
            {"type": "metadata_applied", "broker": 1, "changes": [{"topic": "t", "partition": 0, "leader": 1}]},
            {"type": "metadata_applied", "broker": 3, "changes": [{"topic": "t", "partition": 0, "leader": 1}]},
            {"type": "metadata_applied", "broker": 1, "changes": [{"topic": PROBE_TOPIC, "partition": 1, "leader": 3}]},
            {"type": "metadata_applied", "broker": 3, "changes": [{"topic": PROBE_TOPIC, "partition": 1, "leader": 3}]},
        )
    ):
        supervisor.bus.publish({**fact, "mono_ns": at_ns + 100_000 * (after + 1)})


async def kill(supervisor: Supervisor, probe: FakeProbe) -> tuple[Acts, list[Fact]]:
    facts: list[Fact] = []
    supervisor.bus.listen(lambda fact: facts.append(dict(fact)) if fact["type"] == "act" else None)
    acts = Acts(real_world(), supervisor.bus, cast(ClusterAdmin, FakeAdmin()), probe)
    others = [supervisor.brokers[1], supervisor.brokers[3]]
    act_id = await acts.kill(supervisor.brokers[2], others, acks="all", rate=50)
    assert act_id == 1
    return acts, facts


async def test_a_measured_kill_tells_its_timeline_and_settles_its_ledger(supervisor: Supervisor) -> None:
    probe = FakeProbe(supervisor)
    acts, facts = await kill(supervisor, probe)
    assert supervisor.brokers[2].state == "killed"
    mark = next(message for message in probe.commands if message["command"] == "mark")
    failover(supervisor, mark["mono_ns"])
    await until(lambda: facts[-1]["finished"])
    last = facts[-1]
    assert [stage[0] for stage in last["stages"]] == [
        "killed",
        "fenced",
        "new leaders committed",
        "seen by each survivor",
        "seen by each survivor",
        "first acknowledged produce",
        "first fetch",
    ]
    assert (last["partitions_led"], last["was_controller"], last["error"]) == (2, True, "")
    assert (last["ledger"]["acknowledged"], last["ledger"]["lost"], last["ledger"]["complete"]) == (8, 0, True)
    assert [message["command"] for message in probe.commands] == ["begin", "mark", "finish"]
    assert probe.commands[0]["partition"] == 1
    await acts.close()


async def test_without_a_working_probe_the_broker_is_killed_all_the_same_and_it_is_said(supervisor: Supervisor) -> None:
    probe = FakeProbe(supervisor, silent=True)
    acts, facts = await kill(supervisor, probe)
    assert supervisor.brokers[2].state == "killed"
    assert facts[-1]["error"].startswith("no client measures")
    assert facts[-1]["ledger"] is None
    failover(supervisor, real_world().clock.monotonic_ns())
    await until(lambda: facts[-1]["finished"])
    assert [message["command"] for message in probe.commands] == ["begin", "abort"]
    await acts.close()


async def test_where_nobody_can_take_over_the_kill_waits_for_no_probe(supervisor: Supervisor) -> None:
    probe, admin = FakeProbe(supervisor), FakeAdmin()
    admin.active_controller = -1
    facts: list[Fact] = []
    supervisor.bus.listen(lambda fact: facts.append(dict(fact)) if fact["type"] == "act" else None)
    acts = Acts(real_world(), supervisor.bus, cast(ClusterAdmin, admin), probe)
    await acts.kill(supervisor.brokers[2], [supervisor.brokers[1]], acks="all", rate=50)
    assert supervisor.brokers[2].state == "killed"
    assert facts[0]["error"] == "no client measures: no controller is active"
    assert [message["command"] for message in probe.commands] == ["abort"]
    await acts.close()


async def test_a_probe_has_as_long_as_whoever_kills_has_patience(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts_module, "_PROBE_START_S", 3_600)
    acts = Acts(real_world(), supervisor.bus, cast(ClusterAdmin, FakeAdmin()), FakeProbe(supervisor, silent=True))
    await acts.kill(supervisor.brokers[2], [supervisor.brokers[1]], acks="all", rate=50, patience_s=0.02)
    assert supervisor.brokers[2].state == "killed"
    await acts.close()


async def test_stages_that_do_not_come_in_time_are_given_up_and_the_ledger_is_settled(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts_module, "_GIVE_UP_S", 0.05)
    acts, facts = await kill(supervisor, FakeProbe(supervisor))
    await until(lambda: facts[-1]["finished"])
    assert "not all stages were reached" in facts[-1]["error"]
    assert facts[-1]["ledger"]["complete"]
    await acts.close()


async def test_a_measured_fault_goes_on_until_it_is_healed_and_all_is_in_sync(supervisor: Supervisor) -> None:
    facts: list[Fact] = []
    supervisor.bus.listen(lambda fact: facts.append(dict(fact)) if fact["type"] == "act" else None)
    settings = {"durability": "fsync"}
    probe = FakeProbe(supervisor)
    acts = Acts(real_world(), supervisor.bus, cast(ClusterAdmin, FakeAdmin()), probe, settings)
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    at_ns = real_world().clock.monotonic_ns()
    looked: list[float] = []

    async def whole(timeout_s: float) -> str:
        looked.append(timeout_s)
        return ""

    async def begin(act_id: int) -> Begun:
        return Begun(at_ns, over, whole)

    others = [supervisor.brokers[1], supervisor.brokers[3]]
    await acts.measure(
        "slow fsync", supervisor.brokers[2], others, begin, acks="1", rate=50, what="slow disk", min_isr=3
    )
    failover(supervisor, at_ns)
    assert not facts[-1]["finished"] and not looked, "every stage of a kill was reached, but it is on still"
    over.set_result(at_ns + 7_000_000)
    await until(lambda: facts[-1]["finished"])
    last = facts[-1]
    assert ("healed", 7.0) in [tuple(stage[:2]) for stage in last["stages"]]
    assert last["stages"][-1][0] == "every replica in sync"
    assert (last["kind"], last["what"], last["error"]) == ("slow fsync", "slow disk", "")
    assert last["settings"] == {"durability": "fsync", "acks": "1", "min.insync.replicas": "3"}
    assert last["ledger"]["lost"] == 0
    await acts.close()


async def test_a_second_kill_of_the_same_moment_goes_without_the_probe(supervisor: Supervisor) -> None:
    probe = FakeProbe(supervisor)
    acts, facts = await kill(supervisor, probe)
    act_id = await acts.kill(supervisor.brokers[1], [supervisor.brokers[3]], acks="all", rate=50)
    assert act_id == 2
    assert next(fact for fact in facts if fact["act_id"] == 2)["error"].startswith(
        "no client measures: the probe was busy"
    )
    with pytest.raises(CommandError, match="broker 1 is killed"):
        await acts.kill(supervisor.brokers[1], [supervisor.brokers[3]], acks="all", rate=50)
    await acts.close()
