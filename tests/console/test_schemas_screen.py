"""A schema registry by keys: subjects, versions, what changed; another version is shown before it is registered."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from driving import READ_ONLY, Driver
from sample_schemas import order
from scripted import EMBEDDED
from tests_frame import make_app, settle

from console.gateway import Capabilities
from console.modals.confirm import Confirm
from console.modals.detail import Detail
from console.modals.form import Choice, Form
from console.modals.preview import Preview


@asynccontextmanager
async def driving(capabilities: Capabilities = EMBEDDED) -> AsyncIterator[Driver]:
    app, gateway = make_app(capabilities)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot)
        driver = Driver(app, gateway, pilot)
        app.main.run_command("schemas")
        await driver.settle()
        yield driver


def calls(driver: Driver) -> list[tuple[Any, ...]]:
    return driver.gateway.schemas.calls


def edit_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: Driver, code: str) -> None:
    """``code`` changes ``text``."""
    editor = tmp_path / "editor.py"
    lines = ("import pathlib, sys", "path = pathlib.Path(sys.argv[1])", "text = path.read_text()", code)
    editor.write_text("\n".join((*lines, "path.write_text(text)", "")))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    monkeypatch.setattr(driver.app, "suspend", nullcontext)


async def test_a_subject_opens_to_its_versions_and_they_to_their_texts_and_what_changed() -> None:
    async with driving() as driver:
        assert driver.keys == ["orders-value", "payments-value"]
        assert "compatibility BACKWARD" in driver.screen
        await driver.press("enter")
        assert "schema(orders-value)[3]" in driver.title and "compatibility FULL" in driver.screen
        assert [row.version for row in driver.view.table.shown] == [3, 2, 1]
        assert "deleted" in driver.screen
        await driver.press("v")
        assert isinstance(driver.app.screen, Detail)
        assert "version 2 → 3" in driver.screen and '+      "name": "note",' in driver.screen
        await driver.press("escape", "G", "v")
        assert "is the first" in driver.flash
        await driver.press("enter")
        assert "id 1 · AVRO · deleted" in driver.screen and '"name": "Order"' in driver.screen
        await driver.press("escape", "escape")
        await driver.press("G", "enter")
        assert "compatibility BACKWARD (of all)" in driver.screen
        await driver.press("d")
        assert "money.proto is money version 1" in driver.screen and "message Payment {" in driver.screen


async def test_another_version_comes_from_the_editor_and_is_shown_before_it_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driving() as driver:
        edit_with(monkeypatch, tmp_path, driver, "text = text.replace('note', 'remark')")
        driver.gateway.schemas.problems = ["{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE'}"]
        await driver.press("e")
        assert isinstance(driver.app.screen, Preview)
        assert '-      "name": "note",' in driver.screen and '+      "name": "remark",' in driver.screen
        assert "READER_FIELD_MISSING" in driver.screen and "would refuse it" in driver.screen
        await driver.press("n")
        assert calls(driver) == []
        driver.gateway.schemas.problems = []
        await driver.press("e")
        assert "would take it" in driver.screen and "/subjects/orders-value/versions" in driver.screen
        await driver.press("y")
        ((_, row),) = calls(driver)
        assert (row.subject, row.schema_type) == ("orders-value", "AVRO")
        assert json.loads(row.schema) == json.loads(order("id", "item", "remark"))
        assert "has it with id 9" in driver.flash
        edit_with(monkeypatch, tmp_path, driver, "")
        await driver.press("e")
        assert "nothing was changed" in driver.flash
        edit_with(monkeypatch, tmp_path, driver, "text = text[:-1]")
        await driver.press("e")
        assert "that is no JSON" in driver.flash
        monkeypatch.setenv("EDITOR", "false")
        await driver.press("e")
        assert "nothing was registered" in driver.flash and len(calls(driver)) == 1


async def test_a_new_subject_begins_with_a_schema_of_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with driving() as driver:
        edit_with(monkeypatch, tmp_path, driver, "assert path.suffix == '.proto'; text = text.replace('New', 'Bill')")
        await driver.press("n")
        assert isinstance(driver.app.screen, Form)
        await driver.press("ctrl+s")
        assert "name the subject" in driver.screen
        driver.app.screen.query_one("#field-subject").value = "bills-value"
        kind = driver.app.screen.query_one("#field-type", Choice)
        while kind.value != "PROTOBUF":
            kind.action_choose(1)
        await driver.press("ctrl+s")
        assert "+message Bill {" in driver.screen
        await driver.press("y")
        ((_, row),) = calls(driver)
        assert (row.subject, row.schema_type) == ("bills-value", "PROTOBUF") and "message Bill" in row.schema


async def test_compatibility_is_set_of_a_subject_and_of_all() -> None:
    async with driving() as driver:
        await driver.press("L")
        form = driver.app.screen
        assert isinstance(form, Form)
        own, of_all = (form.query_one(f"#field-{name}", Choice) for name in ("own", "all"))
        assert (own.value, of_all.value) == ("FULL", "BACKWARD")
        while own.value != "as all":
            own.action_choose(1)
        while of_all.value != "NONE":
            of_all.action_choose(1)
        await driver.press("ctrl+s")
        assert calls(driver) == [("set_level", "orders-value", None), ("set_level", None, "NONE")]
        assert "compatibility NONE" in driver.screen


async def test_a_version_is_deleted_after_a_question_and_for_good_after_another() -> None:
    async with driving() as driver:
        await driver.press("enter", "ctrl+d")
        assert isinstance(driver.app.screen, Confirm)
        assert "Delete version 3 of orders-value?" in driver.screen and "read as before" in driver.screen
        await driver.press("n")
        assert calls(driver) == []
        await driver.press("ctrl+d", "y")
        await driver.press("G", "ctrl+d")
        assert "1 of orders-value for good?" in driver.screen and "/versions/1?perm" in driver.screen
        await driver.press("y")
        assert calls(driver) == [("delete", "orders-value", 3, False), ("delete", "orders-value", 1, True)]


async def test_without_a_registry_the_screen_says_how_to_name_one() -> None:
    async with driving() as driver:
        driver.gateway.schemas.missing = "no registry is known: --registry URL"
        driver.view.read_again()
        await driver.settle()
        assert "no registry is known" in driver.screen
        assert driver.keys == ["orders-value", "payments-value"], "what was told stays"


async def test_read_only_shows_everything_and_changes_nothing() -> None:
    async with driving(READ_ONLY) as driver:
        assert driver.keys == ["orders-value", "payments-value"]
        await driver.press("e", "n", "L", "enter", "ctrl+d")
        assert calls(driver) == []
        assert "schema(orders-value)" in driver.title


async def test_a_registry_that_does_not_answer_leaves_what_it_told_also_for_who_comes_back() -> None:
    async with driving() as driver:
        driver.gateway.refusing = "down"
        driver.gateway.clock.advance(8_000)
        for command in ("topics", "schemas"):
            driver.app.main.run_command(command)
            await driver.settle()
        assert driver.keys == ["orders-value", "payments-value"]
        assert "Connection refused" in driver.screen and "AGE" in driver.screen
