"""Faults by keys: the form, what it would do, the list, and healing."""

from __future__ import annotations

from driving import READ_ONLY, driving
from scripted import ATTACHED

from console.fault_acts import fault_command
from console.modals.detail import Detail
from console.modals.form import Form
from console.modals.preview import Preview
from console.screens.faults import FaultsView
from engine.supervisor.fault_kinds import FaultWish


async def test_a_fault_is_shown_before_it_is_done_listed_and_healed() -> None:
    async with driving() as driver:
        await driver.press("j", "F", "ctrl+s")
        assert isinstance(driver.app.screen, Preview)
        assert driver.calls("begin_fault") == [], "enter and looking begin nothing"
        await driver.press("enter", "y")
        wish = FaultWish("slow fsync", 2, by_ms=200, for_ms=10_000)
        assert driver.calls("begin_fault") == [("begin_fault", wish)]
        assert driver.app.acts.log[-1].command == "kconsole fault slow-fsync 2 --by 200ms --for 10s"
        assert "1 fault on" in driver.screen
        assert "on purpose: slow fsync of broker 2" in str(driver.view.border_subtitle)
        await driver.command("faults")
        assert [row.fault.what for row in driver.view.table.shown] == ["slow fsync of broker 2 by 200 ms for 10 s"]
        await driver.press("x")
        assert driver.calls("heal_faults") == [("heal_faults", 1)]
        assert driver.view.table.shown == []
        await driver.press("X")
        assert driver.calls("heal_faults")[1:] == [("heal_faults", None)]
        await driver.command("roll")
        await driver.press("n")
        assert len(driver.calls("begin_fault")) == 1


async def test_a_wrong_fault_stays_in_its_form() -> None:
    async with driving() as driver:
        await driver.command("fault 3")
        form = driver.app.screen
        assert isinstance(form, Form)
        # cut, of broker 3 and broker 3.
        await driver.press("left", "left", "tab", "tab", "left", "ctrl+s")
        assert driver.app.screen is form
        assert "cut is between broker 3 and one of 1, 2, others, clients" in driver.screen


async def test_faults_are_grey_where_there_are_no_processes_and_refused_when_read_only() -> None:
    async with driving(ATTACHED) as driver:
        assert driver.view.check_action("fault", ()) is None
        await driver.press("F")
        assert "needs the processes of an embedded cluster" in driver.flash
        await driver.command("faults")
        assert not isinstance(driver.view, FaultsView)
    async with driving(READ_ONLY) as driver:
        await driver.press("F")
        await driver.command("heal")
        assert driver.calls("begin_fault") == driver.calls("heal_faults") == []


def test_each_kind_has_a_command_line() -> None:
    assert fault_command(FaultWish("rolling restart", 1)) == "kconsole fault rolling-restart"
    assert (
        fault_command(FaultWish("cut", 1, other="others", acks="1")) == "kconsole fault cut 1 --other others --acks 1"
    )
    assert fault_command(FaultWish("crash loop", 2, times=3)) == "kconsole fault crash-loop 2 --times 3"


async def test_from_a_partition_to_the_events_that_made_it_and_what_they_came_of() -> None:
    async with driving() as driver:
        await driver.gateway.kill_brokers([2])
        await driver.command("partitions orders")
        led = next(row for row in driver.view.table.shown if row.partition.isr == (3, 1))
        driver.view.table.select(led.key)
        await driver.press("W")
        assert driver.title.startswith(f"events({led.key})")
        assert [event.kind for event in driver.view.table.shown][-4:] == [
            "process_killed",
            "broker_fenced",
            "leader_changed",
            "isr_shrunk",
        ]
        await driver.press("escape")
        assert driver.view.NAME == "partitions"
        await driver.press("3")
        driver.view.table.select("billing")
        await driver.press("W")
        assert {event.subject for event in driver.view.table.shown} == {"billing"}


async def test_marked_runs_are_put_side_by_side() -> None:
    async with driving() as driver:
        await driver.press("5", "V")
        assert "two runs are compared" in driver.flash
        await driver.gateway.kill_brokers([2])
        await driver.gateway.kill_brokers([3])
        await driver.settle()
        await driver.press("V")
        assert isinstance(driver.app.screen, Detail)
        assert "difference" in driver.screen and "first acknowledged produce" in driver.screen
