"""How a topic is read is said by a form; what is typed is written the same way; what is masked goes nowhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from driving import Driver
from sample_files import record
from tests_frame import make_app, settle

from console.gateway.readable import ReadableGateway
from console.modals.form import Form
from console.values.values import Values

_ADA = b"\x82\xa4name\xa3Ada\xa4mail\xafada@example.org"


@asynccontextmanager
async def reading(folder: Path) -> AsyncIterator[Driver]:
    """The console over records that are read as the files in ``folder`` say."""
    app, gateway = make_app()
    app.gateway = ReadableGateway(gateway, Values(folder=folder, environment={}))  # type: ignore[assignment]
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot)
        now_ms = gateway.clock.at_ms
        gateway.arrive(record("customers", 0, 5, now_ms, key=b"\0\0\0\7", value=_ADA), record("orders", 1, 6, now_ms))
        yield Driver(app, gateway, pilot)


async def test_a_form_says_how_a_topic_is_read_and_the_rule_is_kept(tmp_path: Path) -> None:
    (tmp_path / "serdes.yaml").write_text("# mine\ntopics:\n  - {topic: orders, value: json}\n")
    async with reading(tmp_path) as driver:
        # Before anything was read.
        driver.app.main.run_command("serde orders")
        await driver.settle()
        assert driver.app.screen.query_one("#field-value").value == "json"
        await driver.press("escape")
        driver.app.main.run_command("records customers")
        await driver.settle()
        assert "82 a4 6e 61 6d 65" in driver.screen
        await driver.press("V")
        assert isinstance(driver.app.screen, Form)
        form = driver.app.screen
        form.query_one("#field-key").value, form.query_one("#field-value").value = "int32", "msgpak"
        await driver.press("ctrl+s")
        assert "there is no serde 'msgpak': did you mean msgpack?" in driver.screen
        form.query_one("#field-value").value = "msgpack"
        await driver.press("tab", "tab", "right", "ctrl+s")
        assert '{"name": "Ada", "mail": "ada@example.org"}' in driver.screen
        driver.view.set_filter('-j .key == 7 and .value.name == "Ada"')
        assert driver.keys == ["customers-0@5"]
        assert (tmp_path / "serdes.yaml").read_text() == (
            '# mine\ntopics:\n  - {topic: "customers", key: "int32", value: "msgpack"}\n'
            "  - {topic: orders, value: json}\n"
        )
        await driver.press("enter")
        assert "msgpack" in driver.screen and '"mail": "ada@example.org"' in driver.screen


async def test_a_record_is_changed_as_json_and_sent_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "serdes.yaml").write_text("topics: [{topic: customers, key: int32, value: msgpack}]")
    async with reading(tmp_path) as driver:
        driver.app.main.run_command("records customers")
        await driver.settle()
        await driver.press("R")
        assert '{"name": "Ada"' in driver.screen and "key as int32, value as msgpack" in driver.screen
        driver.app.screen.query_one("#field-value").text = json.dumps({"name": "Eve"})
        await driver.press("ctrl+s")
        ((_, sent),) = driver.calls("produce")
        assert (sent.key, sent.value) == (b"\0\0\0\7", b"\x81\xa4name\xa3Eve")
        assert driver.app.acts.log[-1].command.endswith("# key as int32, value as msgpack")
        # What cannot be written is not sent.
        await driver.press("R")
        driver.app.screen.query_one("#field-key").value = "seven"
        await driver.press("ctrl+s")
        assert "key: int32 is a whole number of 4 bytes" in driver.flash and len(driver.calls("produce")) == 1


async def test_what_is_masked_is_shown_so_and_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "masking.yaml").write_text("rules: [{topic: '*', path: $.customer}, {topic: orders, in: key}]")
    async with reading(tmp_path) as driver:
        driver.app.main.run_command("records orders")
        await driver.settle()
        assert "masked " in driver.screen and "***" in driver.screen and "key-" not in driver.screen
        await driver.press("enter")
        assert "key hidden" in driver.screen
        await driver.press("escape", "R")
        assert "is masked: what is hidden cannot be sent" in driver.flash
        await driver.press("e")
        assert "is masked: what is hidden cannot be sent" in driver.flash
        (tmp_path / "masking.yaml").write_text("rules: [{topic: orders, in: kex}]")
        driver.app.main.run_command("records orders")
        await driver.settle()
        assert "no record is shown while masks are wrong" in driver.screen and not driver.keys
