"""What Connect's workers tell, read for screens and commands."""

from __future__ import annotations

import pytest

from console.connect_places import known_places
from console.gateway.connect_http import NOBODY, ConnectPlace, ConnectRest, NoConnectWorker, place_of
from console.viewmodel.connect_told import HIDDEN, connector_told, first_line, hidden, problems_of
from console.viewmodel.connectors import ConnectorRow, with_lag
from engine.supervisor.connect_workers import WorkersDirectory
from engine.supervisor.snapshot import ClusterSnapshot, GroupOffset, GroupState

STATUS = {
    "name": "snk",
    "connector": {"state": "RUNNING", "worker_id": "h:1"},
    "tasks": [
        {"id": 1, "state": "FAILED", "worker_id": "h:2", "trace": "java.lang.Exception: no\n\tat x"},
        {"id": 0, "state": "RUNNING", "worker_id": "h:1"},
    ],
    "type": "sink",
}
INFO = {"name": "snk", "config": {"connector.class": "org.example.ThingSink", "password": "x"}, "tasks": []}


def test_a_connector_is_read_from_its_status_and_its_info() -> None:
    one = connector_told(STATUS, INFO)
    assert (one.name, one.type, one.state, one.kind) == ("snk", "sink", "RUNNING", "ThingSink")
    assert [(each.number, each.state) for each in one.tasks] == [(0, "RUNNING"), (1, "FAILED")]
    assert (one.running, one.failed) == (1, 1)
    assert problems_of(one) == ["task 1 failed: Exception: no"]


def test_one_half_alone_is_enough() -> None:
    assert connector_told({}, INFO).state == "UNASSIGNED"
    assert connector_told(STATUS, {}).kind == ""


@pytest.mark.parametrize("status", [{"tasks": [{}]}, {"tasks": 3}, {"connector": 3}])
def test_what_is_no_state_is_refused(status: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no connector's state"):
        connector_told(status, {})


def test_a_trace_is_told_by_what_failed() -> None:
    assert first_line("java.lang.Exception: no\n\tat x") == "Exception: no"
    assert first_line("Traceback (most recent call last):\n  File …\nValueError: no\n") == "ValueError: no"
    assert first_line("java.lang.Exception: outer\n\tat x\nCaused by: java.io.IOException: inner\n\tat y") == (
        "IOException: inner"
    )
    assert first_line("engine.connect.errors.DataError") == "DataError"
    assert first_line("no.such.thing happened") == "no.such.thing happened"
    assert first_line(None) == ""
    chained = (
        "Traceback (most recent call last):\n  File …\nKeyError: 1\n\nDuring handling of the above exception, another "
        "exception occurred:\n\nTraceback (most recent call last):\n  File …\na.b.DataError: no JSON\n"
    )
    assert first_line(chained) == "DataError: no JSON"
    exceeded = (
        "\nThe above exception was the direct cause of the following exception:\n\nTraceback (most …\n  File …\na.b."
    )
    assert first_line(f"{chained}{exceeded}ToleranceExceeded: Tolerance exceeded in error handler\n") == (
        "DataError: no JSON"
    )


def test_a_sink_lags_by_what_it_reads_and_not_by_what_it_once_read() -> None:
    places = (("orders", 0, 5, 7, 2), ("old", 0, 5, 905, 900), ("orders", 1, 0, 1, 1))
    offsets = tuple(GroupOffset(*each, member_id=None) for each in places)
    groups = (GroupState("connect-snk", "Stable", offsets=offsets, total_lag=903),)
    snapshot = ClusterSnapshot(at_ms=0, source="attached", groups=groups)
    for topics, lag in (({"topics": "orders, new"}, 3), ({"topics": "new"}, None), ({"topics.regex": "o.*"}, 903)):
        told = connector_told(STATUS, {"config": {**INFO["config"], **topics}})  # type: ignore[dict-item]
        assert with_lag([ConnectorRow("g", told, (), {})], snapshot)[0].lag == lag


def test_secrets_are_hidden_and_references_are_not() -> None:
    shown = hidden(
        {
            "database.password": "x",
            "api.key": "${env:KEY}",
            "connection.url": "postgresql://me:pw@h/db",
            "topic": "secrets",
            "sasl.jaas.config": "",
        }
    )
    assert shown["database.password"] == HIDDEN
    assert shown["api.key"] == "${env:KEY}"
    assert shown["connection.url"] == f"postgresql://me:{HIDDEN}@h/db"
    assert shown["topic"] == "secrets"
    assert shown["sasl.jaas.config"] == ""


def test_urls_are_read_and_wrong_ones_are_named_without_passwords() -> None:
    assert place_of("http://h:8083/, https://g") == ConnectPlace(("http://h:8083", "https://g"))
    for wrong in ("h:8083", "ftp://h", "http://", "http://me:secret@h:x"):
        with pytest.raises(ValueError, match="is not http") as raised:
            place_of(wrong)
        assert "secret" not in str(raised.value)


def test_nobody_is_asked_where_nobody_is_known() -> None:
    with pytest.raises(NoConnectWorker, match="kconsole connect run") as raised:
        ConnectRest(ConnectPlace()).ask("GET", ("connectors",))
    assert str(raised.value) == NOBODY


def test_workers_that_run_here_are_found_by_their_group(tmp_path) -> None:  # type: ignore[no-untyped-def]
    place = WorkersDirectory(str(tmp_path), "etl")
    (tmp_path / "etl.workers").mkdir()
    (tmp_path / "old.workers").mkdir()
    (tmp_path / "broken.workers").mkdir()
    (tmp_path / "broken.workers" / "workers.json").write_text("{")
    (tmp_path / "token").write_text("the-token\n")
    with open(place.workers_file, "w", encoding="utf-8") as file:
        file.write('{"urls": ["http://127.0.0.1:4711/"]}')
    assert known_places(str(tmp_path)) == {"etl": ConnectPlace(("http://127.0.0.1:4711",), "the-token")}
    assert known_places(str(tmp_path / "nothing")) == {}
