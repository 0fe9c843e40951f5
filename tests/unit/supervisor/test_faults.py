"""Faults that last, over dummy brokers: what each broker is told, what heals what, and crash loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from engine.model.broker_faults import SOUND, BrokerFaults
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.cluster_admin import ClusterAdmin
from engine.supervisor.commands import Commands
from engine.supervisor.fact_view import FactView
from engine.supervisor.fault_kinds import FaultWish, WishError, read_wish
from engine.supervisor.ledger import slowest_after
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.supervisor import Supervisor
from engine.wire.messages.metadata_response import MetadataResponse, MetadataResponseBroker
from tests.unit.supervisor.test_supervisor import running, until


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with running(tmp_path) as started:
        yield started


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"kind": "flood", "broker_id": 1}, "there is no fault 'flood': it is one of kill, pause, cut"),
        ({"kind": "pause", "broker_id": 9}, "there is no broker 9; the cluster has 1, 2, 3"),
        ({"kind": "cut", "broker_id": 1, "other": "1"}, "between broker 1 and one of 2, 3, others, clients"),
        ({"kind": "slow fsync", "broker_id": 1}, "by_ms is a number of milliseconds, 1 to 60000, not None"),
        ({"kind": "crash loop", "broker_id": 1, "times": 2.5}, "times is a whole number"),
        ({"kind": "pause", "broker_id": 1, "for_ms": -1}, "for_ms is a number of milliseconds"),
        ({"kind": "pause", "broker_id": 1, "acks": "2"}, "acks is all, 1 or 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(asked: dict[str, Any], wrong: str) -> None:
    with pytest.raises(WishError, match=wrong.replace("(", r"\(")):
        read_wish(asked, (1, 2, 3))


def test_what_a_broker_is_told_survives_json() -> None:
    told = BrokerFaults(5, True, True, frozenset({0, 3}), {2: 40.0}, {"h:1": 2})
    assert BrokerFaults.from_json(told.as_json()) == told
    assert BrokerFaults.from_json({}) == SOUND


async def test_both_ends_of_a_link_are_told_and_faults_do_not_end_each_other(supervisor: Supervisor) -> None:
    faults = supervisor.faults
    cut = await faults.begin(FaultWish("cut", 1, other="others"))
    await faults.begin(FaultWish("delay", 2, other="3", by_ms=40))
    await faults.begin(FaultWish("slow fsync", 2, by_ms=7))
    told = {each: faults.faults_of(each) for each in (1, 2, 3)}
    assert (told[1].cut_from, told[2].cut_from, told[3].cut_from) == ({2, 3}, {1}, {1})
    assert (told[2].delays_ms, told[3].delays_ms, told[2].fsync_delay_ms) == ({3: 40}, {2: 40}, 7)
    assert told[1].addresses[str(supervisor.brokers[2].address)] == 2
    with pytest.raises(CommandError, match="is on already"):
        await faults.begin(FaultWish("slow fsync", 2, by_ms=9))
    await faults.heal(cut.fault_id)
    assert faults.faults_of(1) == SOUND
    assert (faults.faults_of(2).cut_from, faults.faults_of(2).fsync_delay_ms) == (frozenset(), 7)
    assert await faults.heal(None) == ["delay broker 2 and broker 3 by 40 ms", "slow fsync of broker 2 by 7 ms"]
    with pytest.raises(CommandError, match="no active fault 1"):
        await faults.heal(cut.fault_id)


async def test_a_fault_is_listed_until_it_heals_by_itself_and_what_went_down_of_it_comes_back(
    supervisor: Supervisor,
) -> None:
    view, notes = FactView(), []
    supervisor.bus.listen(lambda fact: notes.append(fact["kind"]) if fact["type"] == "note" else view.on_fact(fact))
    answer = await Commands(supervisor).handle("fault", {"kind": "kill", "broker_id": 3, "for_ms": 30})
    assert answer == {"fault_id": 1, "act_id": None, "what": "kill broker 3 for 0.03 s"}
    (active,) = view.faults
    assert (active.what, active.heals_at_ms) == ("kill broker 3 for 0.03 s", active.at_ms + 30)
    await until(lambda: supervisor.brokers[3].is_ready and view.faults == ())
    assert [kind for kind in notes if kind.startswith("fault")] == ["fault_begun", "fault_healed"]


async def test_a_crash_loop_kills_each_incarnation_and_the_restart_policy_is_seen(supervisor: Supervisor) -> None:
    broker, said = supervisor.brokers[2], []
    supervisor.bus.listen(
        lambda fact: said.extend(each["progress"] for each in fact["faults"]) if fact["type"] == "faults" else None
    )
    # The dummies' policy gives up at the third end.
    await supervisor.faults.begin(FaultWish("crash loop", 2, times=5))
    await until(lambda: not supervisor.faults.active)
    assert broker.state is ProcessState.CRASHED and not broker.awaits_restart
    assert broker.incarnation == 3
    assert "2 of 5: killed by signal 9; restart 2 in 40 ms" in said
    assert "crash loop, left down" in said[-1]


class WholeCluster:
    """An admin by which every broker sees all others, but for those that are ``unseen``; broker 1 is the controller."""

    def __init__(self) -> None:
        self.unseen: set[int] = set()

    async def controller(self, broker_ids: list[int]) -> int:
        return 1

    async def metadata(self, broker_id: int) -> MetadataResponse:
        nodes = [MetadataResponseBroker(node_id=each) for each in (1, 2, 3) if each not in self.unseen]
        return MetadataResponse(brokers=nodes, topics=[])


async def test_a_rolling_restart_waits_for_a_whole_cluster_and_restarts_the_controller_last(
    supervisor: Supervisor,
) -> None:
    admin, started = WholeCluster(), []
    supervisor.bus.listen(
        lambda fact: started.append(fact["detail"]["broker_id"]) if fact.get("kind") == "process_started" else None
    )
    supervisor._admin = cast(ClusterAdmin, admin)
    admin.unseen = {3}
    faults = supervisor.faults
    rolling = await faults.begin(FaultWish("rolling restart", 1))
    await until(lambda: rolling.progress)
    assert rolling.progress == "1 of 3: broker 2 waits, broker 1 does not see [3]"
    assert started == []
    await faults.heal(rolling.fault_id)
    assert not faults.active and rolling.over.done()
    admin.unseen = set()
    again = await faults.begin(FaultWish("rolling restart", 1))
    async with asyncio.timeout(10):
        await again.over
    assert started == [2, 3, 1]
    assert again.progress == "3 of 3: broker 1 starts"
    supervisor._admin = None


def test_the_slowest_record_counts_from_the_fault_on() -> None:
    sent = [0, 10, 20, 30]
    assert slowest_after(sent, {0: 5, 1: 100, 2: 101, 3: 60}, 40) == 61
    assert slowest_after(sent, {0: 5}, 40) is None
    assert slowest_after(sent, {0: 5}, None) is None
