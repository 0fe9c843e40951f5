import json
from pathlib import Path
from typing import Any

from engine.supervisor.fact_view import FactView
from engine.supervisor.snapshot import Ledger, ProcessState, Stage, StageTime, WorkloadMember
from tests.unit.supervisor.test_supervisor import running, until

ACT: dict[str, Any] = {
    "type": "act",
    "act_id": 1,
    "kind": "kill",
    "broker_id": 2,
    "at_ms": 5,
    "partitions_led": 3,
    "was_controller": True,
    "stages": [["killed", 0.0, -1, ""], ["seen by each survivor", 7.5, 3, ""]],
    "ledger": {
        "acks": "all",
        "sent": 9,
        "acknowledged": 8,
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
        "complete": True,
        "lost_offsets": ["0:1 #1"],
    },
    "finished": True,
    "error": "",
}


def counters(at_ms: int, total: float) -> dict[str, Any]:
    return {"type": "counters", "broker": 1, "wall_ms": at_ms, "values": {"bytes_in_total": total}}


async def test_every_fact_of_a_running_supervisor_is_understood(tmp_path: Path) -> None:
    view = FactView()
    async with running(tmp_path) as supervisor:
        bus = supervisor.bus
        await until(lambda: sum(fact.get("kind") == "broker_unfenced" for fact in bus.history()) == 3)
        await supervisor.brokers[2].kill()
        history = json.loads(json.dumps(supervisor.bus.history()))
        events = [event for fact in history if (event := view.on_fact(fact)) is not None]
        assert view.cluster_id and view.ready and view.data_dir == str(tmp_path)
        assert view.bootstrap_servers == supervisor.bootstrap_servers
        assert view.processes[2].state is ProcessState.KILLED and view.processes[2].pid is None
        assert view.processes[1].pid == supervisor.brokers[1].pid
        assert view.addresses[1] == ("127.0.0.1", supervisor.brokers[1].address.port)
        assert view.log_files[1] == supervisor.brokers[1].log_file
        kinds = [event.kind for event in events]
        assert kinds.count("process_started") == 3 and "process_killed" in kinds
        assert {event.source for event in events} == {"supervisor", "broker 1", "broker 2", "broker 3"}


def test_an_act_comes_with_its_stages_and_its_ledger() -> None:
    view = FactView()
    view.on_fact(json.loads(json.dumps(ACT)))
    (act,) = view.acts
    assert act.stages == (StageTime(Stage.KILLED, 0.0), StageTime(Stage.SEEN_BY_SURVIVORS, 7.5, 3))
    assert act.ledger == Ledger("all", 9, 8, 0, 0, 0, True, ("0:1 #1",))
    assert act.was_controller and act.finished


def test_a_rate_is_between_the_last_two_counters_and_not_over_a_new_incarnation() -> None:
    view = FactView()
    view.on_fact(counters(1_000, 100))
    assert view.rate_per_s(1, "bytes_in_total") is None
    view.on_fact(counters(3_000, 700))
    assert view.rate_per_s(1, "bytes_in_total") == 300
    view.on_fact(counters(4_000, 50))
    assert view.rate_per_s(1, "bytes_in_total") is None
    assert view.rate_per_s(1, "no_such") is None and view.rate_per_s(2, "bytes_in_total") is None


def test_the_workload_is_its_parts() -> None:
    view = FactView()
    part = {"name": "p", "kind": "producer", "topic": "t", "running": True, "rate_per_s": 2.0, "total": 5}
    view.on_fact({"type": "workload", "running": True, "parts": [{**part, "errors": 0, "members": 0}]})
    assert view.workload is not None and view.workload.parts == (WorkloadMember("p", "producer", "t", True, 2.0, 5),)
