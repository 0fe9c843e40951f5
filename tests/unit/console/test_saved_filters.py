"""Filters that are kept by a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.saved_filters import FilterFileError, SavedFilters, user_filters


def test_what_was_kept_is_there_for_every_console(tmp_path: Path) -> None:
    path = tmp_path / "kconsole" / "filters.yaml"
    one, other = SavedFilters(path), SavedFilters(path)
    assert one.all() == {}
    one.keep("big", "-j .value.amount > 100")
    other.keep("eur", "EUR|€")
    assert one.all() == {"big": "-j .value.amount > 100", "eur": "EUR|€"}
    found = one.parse(" @big ")
    assert found.program is not None and found.text == "-j .value.amount > 100"
    one.keep("big", "")
    assert other.all() == {"eur": "EUR|€"}
    assert [each.name for each in path.parent.iterdir()] == ["filters.yaml"]


def test_what_is_wrong_is_told_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "filters.yaml"
    filters = SavedFilters(path)
    assert filters.parse("@none").error == "there is no filter @none: none is kept"
    for name, text, said in (("a b", "x", "is no name"), ("gone", "", "there is no filter @gone")):
        with pytest.raises(FilterFileError, match=said):
            filters.keep(name, text)
    path.write_text("- not\n- a mapping\n")
    with pytest.raises(FilterFileError, match="lines of the form `name: filter`"):
        filters.keep("big", "x")
    assert filters.parse("@big").error.endswith("in quotes where YAML asks")
    path.write_text("a: [\n")
    with pytest.raises(FilterFileError, match=r"filters\.yaml: line 2: expected"):
        filters.all()
    assert path.read_text() == "a: [\n"


def test_without_a_file_they_last_as_long_as_the_console() -> None:
    filters = SavedFilters(None)
    filters.keep("x", "y")
    assert filters.parse("@x").matches("why y") and not filters.parse("@x").matches("z")


def test_the_file_stands_where_others_of_the_user_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_filters().path == tmp_path / "kconsole" / "filters.yaml"
