from __future__ import annotations

import re

from console.acts import Need
from console.keymap import DIALOGS, FRAME, KEYS, SCREENS, bindings, duplicates, find_key, keys_of
from console.screens import VIEWS


def test_no_key_is_given_twice_in_scopes_that_are_active_together() -> None:
    assert duplicates() == []


def test_a_duplicate_would_be_found(monkeypatch) -> None:
    import console.keymap as keymap

    clash = next(key for key in KEYS if key.action == "help")._replace(scope="topics")
    monkeypatch.setattr(keymap, "KEYS", (*KEYS, clash))
    assert any("topics: question_mark" in each for each in keymap.duplicates())


def test_every_screen_has_its_scopes_and_every_scope_its_screen() -> None:
    assert set(VIEWS) == set(SCREENS)
    used = {scope for scopes in (*SCREENS.values(), *DIALOGS.values()) for scope in scopes}
    assert {key.scope for key in KEYS} - used <= {"prompt", "choice"}


def test_every_key_of_a_screen_has_its_action() -> None:
    from console.main_screen import MainScreen

    for name, scopes in SCREENS.items():
        for key in keys_of(*scopes):
            action = re.split(r"\(", key.action)[0]
            owner = MainScreen if key.scope in FRAME else VIEWS[name]
            found = hasattr(owner, f"action_{action}") or (
                key.scope == "global" and action == "faults" and hasattr(VIEWS[name], "action_faults")
            )
            assert found, f"{name}: {key.scope}.{key.action}"


def test_plain_letters_never_have_priority_or_they_could_not_be_typed() -> None:
    assert not any(binding.priority for binding in bindings(*{key.scope for key in KEYS}))


def test_what_changes_a_cluster_needs_something() -> None:
    changing = (
        "process",
        "kill",
        "produce",
        "create",
        "delete",
        "elect",
        "member(",
        "workload(",
        "add_partitions",
        "copy_records",
        "redrive",
        "load",
    )
    for key in KEYS:
        if key.action.startswith(changing):
            assert key.need is not Need.NOTHING, key


def test_a_pressed_key_is_found_among_its_alternatives() -> None:
    key = find_key("down", SCREENS["topics"])
    assert key is not None
    assert key.action == "cursor(1)"
    assert find_key("f12", SCREENS["topics"]) is None
