"""What a user says of keys and columns: read whole or not at all, and told plainly where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from console.keymap import KEYS
from console.own_columns import ColumnFileError, Layout, OwnColumns, read_layout
from console.own_keys import KeyFileError, OwnKeys, as_yaml, name_of, own_keys, textual_key
from console.plugins import VARIABLES, PluginFileError, read_plugins, variables_of
from console.viewmodel.cells import Column, cell

COLUMNS = tuple(Column(name, name.upper(), lambda row: cell(row), 8, max_width=20, priority=2) for name in "abcd")


def test_every_action_has_a_name_of_its_own_on_its_screen_and_all_of_them_can_be_written_back() -> None:
    names = [(key.scope, name_of(key)) for key in KEYS]
    assert len(set(names)) == len(names)
    written = "\n".join(as_yaml({}))
    assert own_keys(yaml.safe_load(written)) == {key.id: key.keys for key in KEYS}
    assert "# yours" not in written
    assert '  kill: "f5"  # yours' in as_yaml({"cluster.process('kill')": "f5"})


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("K", "K"),
        (":", "colon"),
        ("-", "minus"),
        ("ctrl-x", "ctrl+x"),
        ("ctrl+x", "ctrl+x"),
        ("ctrl-\\", "ctrl+backslash"),
        ("shift-←", "shift+left"),
        ("esc", "escape"),
        ("f5", "f5"),
        ("→", "right"),
    ],
)
def test_keys_are_written_as_people_write_them(written: str, key: str) -> None:
    assert textual_key(written) == key


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("cluster: {kill: x}", "x is cluster: kill and cluster: stop on the cluster screen: give one of them another"),
        ("cluster: {kill: ':'}", ": is global: command and cluster: kill on the cluster screen"),
        ("preview: {confirm: n}", "on the preview screen"),
        ("cluster: {kil: f5}", "cluster has no kil: did you mean kill?"),
        ("clusters: {kill: f5}", "there is no screen clusters: did you mean cluster?"),
        ("cluster: {kill: f99}", "'f99' is no key"),
        ("cluster: {kill: ctrl-}", "is no key"),
        ("global: {help: ctrl-q}", "ctrl-q always leaves the console"),
        ("[kill]", "kconsole keys prints all of them"),
        ("cluster: x", "kconsole keys prints all of them"),
    ],
)
def test_a_clash_or_a_word_that_is_not_known_is_named(said: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        own_keys(yaml.safe_load(said))
    assert problem in str(caught.value)


def test_two_actions_may_change_places() -> None:
    assert own_keys({"cluster": {"kill": "x", "stop": "ctrl-k"}, "table": {"down": ["J", "down"]}}) == {
        "cluster.process('kill')": "x",
        "cluster.process('stop')": "ctrl+k",
        "table.cursor(1)": "J,down",
    }


def test_keys_are_printed_as_they_are_or_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from console.cli import main

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "kconsole" / "keys.yaml"
    file.parent.mkdir()
    assert OwnKeys(file).read() == {}
    file.write_text("cluster: {kill: f5}\n")
    assert '  kill: "f5"  # yours' in CliRunner().invoke(main, ["keys"]).output.splitlines()
    file.write_text("cluster: {kill: x}\n")
    done = CliRunner().invoke(main, ["keys"])
    assert done.exit_code == 2 and f"{file}: x is cluster: kill and cluster: stop" in done.output


def test_a_layout_chooses_orders_and_widens_columns() -> None:
    layout = read_layout("s", {"show": ["c", "a", "gone"], "widths": {"a": 30}, "sort": "-c"})
    shown = layout.arranged(COLUMNS)
    assert [(each.key, each.width, each.max_width, each.priority) for each in shown] == [
        ("c", 8, 20, 0),
        ("a", 30, None, 1),
    ]
    assert (layout.sort_key, Layout().arranged(COLUMNS)) == ("c", COLUMNS)
    assert Layout(("gone",)).arranged(COLUMNS) == COLUMNS


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"show": ["a", "lagg"]}, "s has no column lagg: did you mean lag?"),
        ({"sort": "-x"}, "s has no column x: there are a, lag"),
        ({"show": ["a", "a"]}, "a is there twice"),
        ({"widths": {"a": 0}}, "the width of a is a number from 1"),
        ({"shows": ["a"]}, "of show, widths, sort some are needed"),
        ({"show": "a"}, "show is a list"),
    ],
)
def test_a_layout_that_is_wrong_says_where(said: Any, problem: str) -> None:
    with pytest.raises(ColumnFileError, match=problem):
        read_layout("s", said, ["a", "lag"])


def test_layouts_are_kept_for_every_console_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kconsole" / "columns.yaml"
    known = {"topics": ["name", "size"], "group": []}
    one, other = OwnColumns(path), OwnColumns(path)
    one.keep("topics", Layout(("size",), {"size": 9}, "-size"))
    other.load(known)
    assert other.of("topics") == Layout(("size",), {"size": 9}, "-size") and other.of("group") == Layout()
    path.write_text("topics: {show: [sise]}\n")
    with pytest.raises(ColumnFileError, match=r"columns\.yaml: topics has no column sise: did you mean size\?"):
        other.load(known)
    assert other.of("topics").show == ("size",)
    path.write_text("topic: {}\n")
    with pytest.raises(ColumnFileError, match="there is no screen topic: did you mean topics"):
        other.load(known)
    path.unlink()
    one.keep("topics", Layout())
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("a: {key: x, screens: cluster, command: ls}", "a: x is stop on the cluster screen already: take another key"),
        ("a: {key: f9, screens: cluster, command: ls}\nb: {key: f9, screens: [topics, cluster], command: ls}", "b: f9"),
        ("a: {key: f9, screens: cluster}", "a: command is missing"),
        ("a: {key: f9, screens: clusters, command: ls}", "there is no screen clusters: did you mean cluster?"),
        ("a: {key: f99, screens: cluster, command: ls}", "a: 'f99' is no key"),
        ("a: {key: f9, screens: cluster, command: ls, asks: false}", "a: asks is not known: did you mean ask?"),
        ("a: {key: f9, screens: cluster, command: ls, ask: maybe}", "a: ask is true or false"),
        ("a: {key: f9, screens: cluster, command: ls, output: pipe}", "a: output is show or terminal"),
        ("[a]", "names of commands are needed"),
    ],
)
def test_a_command_that_is_wrong_says_what_is_wrong_with_it(said: str, problem: str) -> None:
    with pytest.raises(PluginFileError) as caught:
        read_plugins(yaml.safe_load(said), {})
    assert problem in str(caught.value)


def test_a_command_may_have_a_key_that_was_given_away() -> None:
    own = own_keys({"cluster": {"stop": "f8"}})
    (plugin,) = read_plugins({"a": {"key": "x", "screens": "cluster", "command": "ls"}}, own)
    assert (plugin.ask, plugin.changes, plugin.terminal, plugin.label) == (True, True, False, "a")


def test_what_is_selected_goes_into_variables_and_nothing_else_does() -> None:
    row = {"topic": "orders", "partition": 3, "offset": 7, "key": "a'b", "value": "v"}
    found = variables_of("records", {"topics": ("orders",)}, "orders-3@7", row)
    row_json = '{"topic": "orders", "partition": 3, "offset": 7, "key": "a\'b", "value": "v"}'
    assert found == {
        "TOPIC": "orders",
        "PARTITION": "3",
        "OFFSET": "7",
        "KEY": "a'b",
        "NAME": "orders-3@7",
        "ROW": row_json,
    }
    assert variables_of("group", {"group": "g"}, "x", None) == {"GROUP": "g", "NAME": "x", "ROW": "null"}
    assert set(found) <= set(VARIABLES)
