from __future__ import annotations

import logging

import pytest

from engine.connect.runtime.config_state import (
    ConfigState,
    Records,
    SessionKey,
    connector_records,
    removal_records,
    restart_records,
    session_key_records,
    target_state_records,
    task_count_records,
    task_records,
)
from engine.connect.runtime.herder import TaskId

CONFIG = {"name": "a-b", "connector.class": "X"}


def replay(state: ConfigState, records: Records) -> list[str]:
    return [state.replay(key, value, state.offset + 1).kind for key, value in records]


def test_records_are_javas() -> None:
    assert connector_records("c", {"name": "c"}) == [("connector-c", b'{"properties":{"name":"c"}}')]
    assert task_records("c", [{"x": "1"}]) == [
        ("task-c-0", b'{"properties":{"x":"1"}}'),
        ("commit-c", b'{"tasks":1}'),
    ]
    assert target_state_records("c", "STOPPED") == [("target-state-c", b'{"state":"PAUSED","state.v2":"STOPPED"}')]
    assert task_count_records("c", 2) == [("tasks-fencing-c", b'{"task-count":2}')]
    assert restart_records("c", include_tasks=True, only_failed=False) == [
        ("restart-connector-c", b'{"include-tasks":true,"only-failed":false}')
    ]
    assert session_key_records(SessionKey(b"k", "HmacSHA256", 5)) == [
        ("session-key", b'{"key":"aw==","algorithm":"HmacSHA256","creation-timestamp":5}')
    ]


def test_tasks_are_in_force_with_their_commit() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG))
    *tasks, commit = task_records("a-b", [{"n": "0"}, {"n": "1"}])
    replay(state, tasks)
    assert state.tasks("a-b") == []
    replay(state, [commit])
    assert state.tasks("a-b") == [TaskId("a-b", 0), TaskId("a-b", 1)]
    assert state.task_configs[TaskId("a-b", 1)] == {"n": "1"}
    assert state.generations == {"a-b": 0} and state.applied["a-b"] == CONFIG


def test_a_commit_without_all_of_its_tasks_leaves_the_connector_inconsistent() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG))
    first, _, commit = task_records("a-b", [{"n": "0"}, {"n": "1"}])
    replay(state, [first, commit])
    assert state.inconsistent == {"a-b"} and state.tasks("a-b") == []
    replay(state, task_records("a-b", [{"n": "0"}]))
    assert state.inconsistent == set() and len(state.tasks("a-b")) == 1


def test_fewer_tasks_leave_none_behind() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG))
    replay(state, task_records("a-b", [{"n": "0"}, {"n": "1"}]))
    replay(state, task_records("a-b", []))
    assert state.tasks("a-b") == [] and state.task_configs == {}


def test_a_removed_connector_takes_everything_with_it() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG, "PAUSED"))
    replay(state, task_records("a-b", [{"n": "0"}]))
    assert replay(state, removal_records("a-b")) == ["removed", "nothing"]
    assert not (state.connectors or state.task_configs or state.task_counts or state.target_states)
    # Its old commit, where compaction has left that alone.
    assert replay(state, task_records("a-b", [{"n": "0"}])[1:]) == ["nothing"]


def test_fencing_is_due_after_new_tasks_until_they_are_counted() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG))
    replay(state, task_records("a-b", [{"n": "0"}]))
    assert state.pending_fencing == {"a-b"}
    replay(state, task_count_records("a-b", 1))
    assert state.pending_fencing == set() and state.task_count_records == {"a-b": 1}


def test_a_target_state_is_a_change_only_where_it_is_another_one() -> None:
    state = ConfigState()
    replay(state, connector_records("a-b", CONFIG))
    assert replay(state, target_state_records("a-b", "STARTED")) == ["nothing"]
    assert replay(state, target_state_records("a-b", "STOPPED")) == ["target"]
    assert state.target("a-b") == "STOPPED"
    # Of a worker before KIP-875.
    state.replay("target-state-a-b", b'{"state":"PAUSED"}')
    assert state.target("a-b") == "PAUSED"


def test_nonsense_is_left_out_and_its_content_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    state = ConfigState()
    with caplog.at_level(logging.ERROR):
        for key, value in (
            ("connector-x", b'{"password":"secret"'),
            ("connector-x", b'["secret"]'),
            ("task-x", b'{"properties":{"p":"secret"}}'),
            ("target-state-x", b'{"state":"secret"}'),
            ("session-key", b'{"key":"secret!","algorithm":"a","creation-timestamp":1}'),
        ):
            assert state.replay(key, value, 3).kind == "nothing"
    assert len(caplog.records) == 5
    assert '"secret' not in caplog.text and "p':" not in caplog.text
    assert state.offset == 4 and "kkk" not in repr(SessionKey(b"kkk", "a", 1))
