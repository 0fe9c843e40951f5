"""Connectors by keys: opened, paused, restarted, created and changed after validation; offsets and dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from driving import READ_ONLY, Driver
from sample_connect import GROUP
from scripted import ATTACHED, EMBEDDED
from tests_frame import make_app
from textual.widgets import TextArea

from console.gateway import Capabilities


@asynccontextmanager
async def connectors(capabilities: Capabilities = EMBEDDED, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Driver]:
    """The console on its list of connectors; the first is a sink with a failed task."""
    app, gateway = make_app(capabilities)
    async with app.run_test(size=size) as pilot:
        it = Driver(app, gateway, pilot)
        await it.settle()
        app.main.run_command("connect")
        await it.settle()
        yield it


def asked(it: Driver, method: str) -> list[tuple[Any, ...]]:
    return [call[2:] for call in it.calls("connect") if call[1] == method]


async def test_a_connector_is_opened_and_what_it_failed_by_is_shown() -> None:
    async with connectors(size=(160, 40)) as it:
        assert it.title == "connectors(all)[3]"
        assert "SQLException: no such table" in it.screen
        await it.press("x")
        assert (
            "task 1 on 127.0.0.1:8084: SQLException: no such table: orders" in it.screen
            and "WorkerSinkTask.java:635" in it.screen
        )
        await it.press("escape", "enter")
        assert it.title == "tasks(billing)[2]"
        it.app.main.run_command("connect files")
        await it.settle()
        assert it.title == "tasks(files)[1]"
        it.app.main.run_command("connect filez")
        assert "there is no connector filez" in it.flash
        it.app.main.run_command("connect billing")
        await it.settle()
        await it.press("m")
        assert '"connector.class": "io.confluent.connect.jdbc.JdbcSinkConnector"' in it.screen
        await it.press("escape", "l")
        assert it.title.startswith("offsets(billing)")


async def test_secrets_are_not_shown() -> None:
    async with connectors() as it:
        it.view.table.select(f"{GROUP}\norders-source")
        await it.press("d")
        assert "connect orders-source" in it.screen
        assert "[hidden]" in it.screen and "hunter2" not in it.screen
        await it.press("escape", "e")
        assert "connection.password=[hidden]" in it.screen and "hunter2" not in it.screen


async def test_states_change_at_once_here_and_after_a_question_elsewhere() -> None:
    async with connectors() as it:
        await it.press("p", "u", "S")
        paths = [path for path, *_ in asked(it, "PUT")]
        assert paths == ["connectors/billing/pause", "connectors/billing/resume", "connectors/billing/stop"]
        assert it.flash.startswith("billing is to stop")
    async with connectors(ATTACHED) as it:
        await it.press("p")
        assert "Pause billing?" in it.screen and "kconsole connect pause billing" in it.screen
        await it.press("n")
        assert not asked(it, "PUT")


async def test_what_has_failed_restarts_else_all() -> None:
    async with connectors() as it:
        await it.press("r")
        it.view.table.select(f"{GROUP}\nfiles")
        await it.press("r")
        await it.press("enter", "t")
        assert asked(it, "POST") == [
            ("connectors/billing/restart", None, {"includeTasks": "true", "onlyFailed": "true"}),
            ("connectors/files/restart", None, {"includeTasks": "true", "onlyFailed": "false"}),
            ("connectors/files/tasks/0/restart", None, {}),
        ]


async def test_a_delete_is_always_asked() -> None:
    async with connectors() as it:
        await it.press("ctrl+d")
        assert "Delete the connector billing?" in it.screen
        await it.press("y")
        assert asked(it, "DELETE") == [("connectors/billing", None, {})]


async def test_one_is_created_from_a_template_once_validation_finds_nothing_wrong() -> None:
    async with connectors() as it:
        await it.press("n")
        assert "FileStreamSink" in it.screen
        await it.press("ctrl+s")
        area = it.app.screen.query_one(TextArea)
        assert "connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\n" in area.text
        assert "topics=\n# file=" in area.text
        area.text = area.text.replace("name=file-stream-sink", "name=out")
        it.gateway.connect.errors = [("topics", "Must configure one of topics or topics.regex")]
        await it.press("ctrl+s")
        await it.settle()
        assert "! topics: Must configure one of topics or topics.regex" in it.screen
        assert not asked(it, "POST")
        it.gateway.connect.errors = []
        it.app.screen.query_one(TextArea).text += "topics=orders\n"
        await it.press("ctrl+s")
        await it.settle()
        ((path, body, _),) = asked(it, "POST")
        assert path == "connectors" and body["name"] == "out" and body["config"]["topics"] == "orders"
        assert it.flash.startswith("out created")


async def test_a_config_is_changed_and_hidden_values_stay() -> None:
    async with connectors() as it:
        it.view.table.select(f"{GROUP}\norders-source")
        await it.press("e")
        area = it.app.screen.query_one(TextArea)
        area.text += "tasks.max=3\n"
        await it.press("ctrl+s")
        await it.settle()
        path, body, _ = asked(it, "PUT")[-1]
        assert path == "connectors/orders-source/config"
        assert body["connection.password"] == "hunter2" and body["tasks.max"] == "3"


async def test_an_offset_is_edited_and_what_workers_refuse_is_said() -> None:
    async with connectors() as it:
        await it.press("o")
        assert it.title == "offsets(billing)[3]"
        it.gateway.connect.refusal = "Connectors must be in the STOPPED state"
        await it.press("enter", "ctrl+s")
        assert "STOPPED" in it.flash
        it.gateway.connect.refusal = ""
        await it.press("enter", "ctrl+u")
        await it.type("7")
        await it.press("ctrl+s")
        partition = {"kafka_topic": "orders", "kafka_partition": 0}
        offsets = {"offsets": [{"partition": partition, "offset": {"kafka_offset": 7}}]}
        assert asked(it, "PATCH")[-1] == ("connectors/billing/offsets", offsets, {})
        await it.press("ctrl+d", "y")
        assert asked(it, "DELETE") == [("connectors/billing/offsets", None, {})]


async def test_dead_letters_of_a_sink_are_sent_back() -> None:
    async with connectors() as it:
        await it.press("D")
        assert "send dead letters of orders-dlq back" in it.screen
        await it.press("escape")
        it.view.table.select(f"{GROUP}\nfiles")
        await it.press("D")
        assert "it has no dead-letter topic" in it.flash


async def test_nothing_can_be_done_when_read_only() -> None:
    async with connectors(READ_ONLY) as it:
        for key in ("p", "r", "ctrl+d", "n", "e", "D"):
            await it.press(key)
            assert "--read-only" in it.flash, key
        assert not it.calls("connect")


async def test_workers_that_do_not_answer_leave_what_they_told_with_its_age() -> None:
    async with connectors(size=(80, 24)) as it:
        it.gateway.refusing = "down"
        it.gateway.clock.advance(8_000)
        it.view.read_again()
        await it.pilot.pause(0.6)
        await it.settle()
        assert it.title == "connectors(all)[3]"
        assert "does not answer" in it.screen
        # And for who comes back.
        it.app.main.run_command("topics")
        await it.settle()
        it.app.main.run_command("connect")
        await it.settle()
        assert it.title == "connectors(all)[3]"
        # Its tasks were told with it.
        await it.press("enter")
        assert it.title == "tasks(billing)[2]" and "! down" in it.screen and "AGE" in it.screen
