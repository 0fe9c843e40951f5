"""Records and segments by keys, on the scripted cluster."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from pathlib import Path

import pyarrow.parquet
import pytest
from driving import driving
from frames import text_of_screen
from sample_files import record
from scripted import ATTACHED

from console.gateway import ReadFrom, Start
from console.modals.detail import Detail


async def test_the_tail_follows_pauses_and_counts_what_waits() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        before = len(driver.keys)
        await driver.press("f")
        driver.gateway.arrive(record("orders", 0, 90_000, driver.gateway.clock.at_ms))
        await driver.settle()
        assert len(driver.keys) == before
        assert "paused · 1 new · from 20 before the end" in str(driver.view.border_subtitle)
        await driver.press("f")
        await driver.settle()
        assert driver.keys[-1] == "orders-0@90000"
        assert driver.view.table.cursor_key == "orders-0@90000"


async def test_scrolling_up_pauses_the_tail_and_G_follows_again() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l", "k")
        assert not driver.view.table.follow
        await driver.press("G")
        assert driver.view.table.follow


async def test_records_are_filtered_by_key_value_and_header() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        for text, number in (
            ("-l key=key-7", 1),
            ("-l header=4f1c", 15),
            ('-l value=order": 80010,', 1),
            ("-f zzzz", 0),
            ("-j .value.order == 80010", 1),
            ('-j .headers.trace // "" | startswith("4f1c")', 15),
            ("-j .value.order.none", 0),
        ):
            driver.view.set_filter(text)
            assert len(driver.keys) == number, text


async def test_seek_reads_from_offsets_times_and_ends() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        for written, wanted in (
            ("1042", ReadFrom(Start.OFFSET, 1042)),
            ("-100", ReadFrom(Start.OFFSET, -100)),
            ("start", ReadFrom(Start.START)),
            ("15m", ReadFrom(Start.TIMESTAMP, driver.gateway.clock.at_ms - 900_000)),
        ):
            await driver.press("s")
            await driver.type(written)
            await driver.press("enter")
            assert driver.calls("tail")[-1][1].read_from == wanted
        await driver.press("t")
        assert driver.calls("tail")[-1][1].read_from == ReadFrom(Start.END)


async def test_after_a_seek_the_first_record_is_selected_and_in_view() -> None:
    async with driving(size=(80, 24)) as driver:
        await driver.press("2", "j", "j", "l")
        assert driver.view.table.cursor_index == 59
        await driver.press("b")
        assert driver.view.table.cursor_index == 0
        assert any("▌" in line and "80,000" in line for line in text_of_screen(driver.app))


async def test_from_the_start_one_reads_on_by_going_down_and_nothing_runs_away() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        driver.gateway.arrive(*(record("clicks", 0, offset, 1) for offset in range(3_000)))
        await driver.settle()
        await driver.press("b")
        driver.gateway.clock.advance(1_000)
        await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@0"
        assert "more below · from the start" in str(driver.view.border_subtitle)
        for _ in range(20):
            await driver.press("G")
            await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@2999"
        assert driver.keys == [f"clicks-0@{offset}" for offset in range(1_000, 3_000)]
        await driver.press("f")
        driver.gateway.arrive(record("clicks", 0, 3_000, 1))
        await driver.settle()
        assert driver.view.table.cursor_key == "clicks-0@3000"
        assert "following" in str(driver.view.border_subtitle)


async def test_more_records_than_are_kept_are_counted_as_dropped() -> None:
    async with driving() as driver:
        await driver.press("2", "l")
        driver.gateway.arrive(*(record("clicks", 0, offset, 1) for offset in range(2_500)))
        await driver.settle()
        assert len(driver.keys) == 2_000
        assert "500 dropped" in str(driver.view.border_subtitle)


async def test_segments_lead_to_batches_and_a_batch_byte_by_byte() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "enter", "j", "s")
        assert driver.view.NAME == "segments" and driver.view.scope_word() == "orders-1"
        rows = driver.view.table.shown
        # The leader's come first.
        assert [row.broker_id for row in rows] == [2, 2, 2, 1, 1, 1, 3, 3, 3]
        assert [row.is_active for row in rows[:3]] == [False, False, True]
        await driver.press("j", "j", "enter")
        assert driver.view.NAME == "batches"
        batches = driver.view.table.shown
        assert len(batches) == 13 and sum(row.count for row in batches) == 25
        assert [row.base_offset for row in batches if not row.crc_matches] == [80_002]
        assert "1 batch corrupt · tail not complete at byte 1,804" in driver.screen
        await driver.press("ctrl+z")
        assert len(driver.view.table.shown) == 1
        await driver.press("enter")
        assert isinstance(driver.app.screen, Detail)
        assert "crc" in driver.screen and "✗ it is" in driver.screen
        await driver.press("escape", "ctrl+z", "G", "enter")
        assert '{"type":"EndTxnMarker","marker":"ABORT"' in driver.app.screen.copied()
        await driver.press("escape", "s")
        await driver.type("80,005")
        await driver.press("enter")
        assert [row.base_offset for row in driver.view.table.shown][:2] == [80_005, 80_008]
        assert ("find_batch", 80_005) in driver.gateway.calls
        await driver.press("b")
        assert len(driver.view.table.shown) == 13
        await driver.press("escape", "escape")
        assert driver.view.NAME == "partitions"


async def test_segments_by_command_and_what_stands_in_the_way() -> None:
    async with driving() as driver:
        await driver.command("segments orders 3")
        assert driver.view.NAME == "segments" and driver.view.scope_word() == "orders-3"
        driver.app.main.run_command("segments payments-2")
        await driver.settle()
        assert driver.view.scope_word() == "payments-2"
        for line, sentence in (
            ("segments", "name a partition"),
            ("segments nope 1", "there is no topic nope"),
            ("segments orders x", "x is not a partition's number"),
        ):
            driver.app.main.run_command(line)
            await driver.settle()
            assert sentence in driver.screen, line
        driver.gateway.refusing = "/data/broker-1 cannot be read: Permission denied"
        driver.app.main.run_command("segments orders 2")
        await driver.settle()
        assert "Permission denied" in driver.screen
    async with driving(ATTACHED) as driver:
        await driver.press("2", "j", "j", "enter", "s")
        assert driver.view.NAME == "partitions"
        assert "segments: needs the data directories of an embedded cluster" in driver.screen
        driver.app.main.run_command("segments orders")
        await driver.settle()
        assert driver.view.NAME == "partitions" and "needs the data directories" in driver.screen


async def test_fields_become_columns_by_a_form() -> None:
    async with driving(size=(160, 30)) as driver:
        await driver.press("2", "j", "j", "l", "w")
        await driver.type(".value.currency, .value")
        await driver.press("enter")
        assert "CURRENCY" in driver.screen and any(each in driver.screen for each in ("EUR", "USD", "GBP"))
        await driver.press("w")
        await driver.type(" (")
        await driver.press("enter")
        assert "jq: " in driver.screen
        await driver.press("escape")
        assert "CURRENCY" in driver.screen


async def test_a_program_filters_any_table() -> None:
    async with driving() as driver:
        await driver.press("2")
        driver.view.set_filter("-j .partitions | length > 3")
        assert driver.keys and len(driver.keys) < driver.view.table.total
        assert driver.view.set_filter("-j .a |").startswith("jq: ")
        assert len(driver.keys) == driver.view.table.total
        driver.view.set_filter("")
        await driver.press("slash")
        await driver.type("-j .a ")
        await driver.pilot.press("vertical_line")
        await driver.settle()
        assert driver.flash.startswith("jq: ")
        await driver.press("backspace")
        assert driver.flash == ""


async def test_what_passes_the_filter_is_written_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        total = driver.view.table.total
        for name, extension in (("all", "jsonl"), ("one.parquet", ""), ("some", "csv")):
            driver.view.set_filter("" if name == "all" else "-j .value.order == 80010")
            await driver.press("E", "end", "ctrl+u")
            await driver.type(name)
            if extension == "csv":
                await driver.press("tab", "tab", "right")
            await driver.press("ctrl+s")
            async with asyncio.timeout(10):
                while not (tmp_path / name).exists():
                    await driver.pilot.pause(0.02)
            await driver.settle()
        assert driver.flash == f"some: 1 of {total} records matched, up to the end as it was"
        lines = [json.loads(line) for line in (tmp_path / "all").read_text().splitlines()]
        assert len(lines) == total and {each["topic"] for each in lines} == {"orders"}
        assert json.loads(lines[0]["value"])["order"] == lines[0]["offset"]
        with (tmp_path / "some").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert json.loads(row["value"])["order"] == 80010 and row["key_encoding"] == "utf-8"
        (row,) = pyarrow.parquet.read_table(tmp_path / "one.parquet").to_pylist()
        assert json.loads(row["value"])["order"] == 80010 and row["topic"] == "orders"
        # A file that is there stays as it is.
        await driver.press("E", "end", "ctrl+u")
        await driver.type("all")
        await driver.press("ctrl+s")
        assert "all is there already" in driver.screen
        assert sorted(os.listdir(tmp_path)) == ["all", "one.parquet", "some"]


async def test_writing_is_given_up_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with driving() as driver:
        await driver.press("2", "j", "j", "l")
        driver.gateway.records.clear()
        await driver.press("E", "ctrl+s")
        async with asyncio.timeout(10):
            while not driver.flash.endswith("E gives it up"):
                await driver.pilot.pause(0.02)
        assert [name.rpartition(".")[2] for name in os.listdir(tmp_path)] == ["part"]
        await driver.press("E")
        assert driver.flash.endswith("was given up; nothing was written")
        assert os.listdir(tmp_path) == []
