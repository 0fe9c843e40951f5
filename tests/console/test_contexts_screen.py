"""Several clusters in one console: side by side, and from one to the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from driving import Driver
from sample_contexts import CONTEXTS, SampleContexts, sample_opener
from scripted import FrozenClock, ScriptedGateway
from tests_frame import make_app, populate

from console.context_acts import ContextActs
from console.contexts import Context, Contexts, opened_without
from console.gateway import Gateway
from console.options import ConsoleOptions


@asynccontextmanager
async def several(
    opener: Any = None, *more: Context, unnamed: Context | None = None
) -> AsyncIterator[tuple[Driver, dict[str, ScriptedGateway]]]:
    clock = FrozenClock()
    app, gateway = make_app(clock=clock)
    opened: dict[str, ScriptedGateway] = {}
    file = SampleContexts()
    file.contexts = Contexts("prod", {each.name: each for each in (*more, *CONTEXTS)})
    current = CONTEXTS[3] if unnamed is None else None
    app.contexts = ContextActs(app, file, current, opener or sample_opener(clock, opened), unnamed)
    async with app.run_test(size=(160, 60)) as pilot:
        await populate(app, gateway, pilot)
        yield Driver(app, gateway, pilot), opened


def line_of(console: Driver, name: str) -> str:
    return next(line for line in console.screen.splitlines() if f" {name} " in line and "│" in line)


async def test_all_clusters_are_shown_side_by_side_each_as_it_is() -> None:
    async with several() as (console, _):
        await console.command("ctx")
        assert "prod" in line_of(console, "prod") and "RO default" in line_of(console, "prod")
        assert "● healthy" in line_of(console, "prod") and "3/3" in line_of(console, "prod")
        assert "2/3" in line_of(console, "staging") and "1 broker down" in line_of(console, "staging")
        assert "✗ unreachable" in line_of(console, "old-dc")
        assert "▶  embedded" in line_of(console, "embedded") and "3/3" in line_of(console, "embedded")
        await console.press("j", "j")
        assert "no connection to 10.0.0.9:9092" in console.screen
        await console.press("d")
        assert "s3cret" not in console.screen


async def test_enter_opens_another_cluster_and_leaves_nothing_of_the_last_one() -> None:
    async with several() as (console, opened):
        assert " embedded " in console.screen.splitlines()[0] and "RO" not in console.screen.splitlines()[0]
        await console.command("ctx")
        await console.press("g", "enter")
        assert console.app.gateway is opened["prod"]
        assert console.gateway.calls[-1] == ("close",)
        header = console.screen.splitlines()[0]
        assert " prod  RO " in header and console.title.startswith("brokers")
        await console.press("x")
        assert console.flash == "stop: needs the processes of an embedded cluster"
        await console.press("E")
        assert console.flash == "preferred election: the context prod is read-only"
        await console.press("4")
        assert console.keys == []
        await console.command("context staging")
        assert console.app.gateway is opened["staging"] and opened["prod"].calls[-1] == ("close",)
        await console.press("q", "q")
        assert console.title.startswith("brokers")


async def test_a_cluster_that_the_command_line_named_is_among_them_and_can_be_gone_back_to() -> None:
    unnamed = opened_without(ConsoleOptions(bootstrap_servers="kafka-1:9092", read_only=True))
    async with several(unnamed=unnamed) as (console, opened):
        await console.command("ctx")
        assert "▶  (opened here)  RO" in console.screen and "kafka-1:9092" in console.screen
        assert "3/3" in line_of(console, "(opened here)") and "not running" in line_of(console, "embedded")
        await console.press("g", "j", "enter")
        assert console.app.gateway is opened["prod"]
        await console.command("ctx")
        await console.press("g", "enter")
        assert console.app.gateway is opened["(opened here)"] and " prod " not in console.screen.splitlines()[0]


async def test_a_cluster_that_cannot_be_opened_leaves_the_last_one_open() -> None:
    async with several() as (console, _):
        for line, said in (
            ("ctx old-dc", "old-dc: no connection to 10.0.0.9:9092 within 2000 ms"),
            ("ctx nowhere", "nowhere: there is no context nowhere: prod, staging, old-dc, embedded"),
            ("ctx embedded", "embedded is open"),
        ):
            await console.command(line)
            assert console.flash == said
        assert console.app.gateway is console.gateway and ("close",) not in console.gateway.calls
        # A file that is wrong says so, and what was seen stays.
        await console.command("ctx")
        console.app.contexts._file.wrong = "contexts.yaml: line 3: no YAML"
        console.gateway.clock.advance(3_000)
        await console.settle()
        assert "! contexts.yaml: line 3: no YAML" in console.screen and "● healthy" in line_of(console, "prod")


async def test_clusters_that_never_answer_hold_up_no_other() -> None:
    clock = FrozenClock()
    usual = sample_opener(clock)
    released = threading.Event()

    def open_context(context: Context, watching: bool) -> Gateway:
        if context.name.startswith("lost"):
            # A name server that does not answer.
            released.wait(30)
        return usual(context, watching)

    # More of them than asyncio has threads.
    lost = [Context(f"lost-{number}", "lost:9092") for number in range(40)]
    async with several(open_context, *lost) as (console, _):
        try:
            await console.press("colon")
            await console.type("ctx")
            await console.pilot.press("enter")
            for _ in range(1_000):
                await asyncio.sleep(0.02)
                console.app.tick()
                if "healthy" in line_of(console, "prod") and "down" in line_of(console, "staging"):
                    break
            else:
                raise AssertionError(f"those that answer are not shown: {console.screen}")
            assert "looking …" in line_of(console, "lost-0")
        finally:
            released.set()
