"""Administration by keys: what is shown, what is asked first, what is done, and what stays when nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from driving import READ_ONLY, Driver
from scripted import EMBEDDED
from tests_frame import make_app, settle

from console.gateway import Capabilities, NewTopic
from console.modals.confirm import Confirm
from console.modals.form import Choice, Form
from console.modals.preview import Preview
from console.viewmodel.configs import APPEND, DELETE, SET, ConfigOf, Edit
from console.viewmodel.scram_users import ScramWish

ORDERS = ConfigOf("topic", "orders")


@asynccontextmanager
async def driving(capabilities: Capabilities = EMBEDDED, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Driver]:
    """The cluster as it is, without the past that other tests look at."""
    app, gateway = make_app(capabilities)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        yield Driver(app, gateway, pilot)


async def command(driver: Driver, line: str) -> None:
    driver.app.main.run_command(line)
    await driver.settle()


async def fill(driver: Driver, **values: str) -> None:
    """Fields of the form that is open, as somebody would fill them; then do it."""
    for name, value in values.items():
        field = driver.app.screen.query_one(f"#field-{name}")
        if isinstance(field, Choice):
            while field.value != value:
                field.action_choose(1)
        else:
            field.value = value
    assert not {"hush"} & set(driver.screen.split())
    await driver.press("ctrl+s")


async def test_edits_of_configs_are_gathered_checked_shown_and_then_done() -> None:
    async with driving() as driver:
        await command(driver, "configs orders")
        assert driver.keys == ["retention.ms", "min.insync.replicas", "cleanup.policy"]
        await driver.press("x", "G", "enter")
        assert isinstance(driver.app.screen, Form)
        await fill(driver, op="append", value="compact")
        assert "3600000 → 604800000" in driver.screen and "delete → delete,compact" in driver.screen
        assert driver.calls("alter_configs") == [], "nothing is done yet"
        driver.gateway.administration.invalid = "INVALID_CONFIG: no"
        await driver.press("a")
        assert "INVALID_CONFIG: no" in driver.screen and not isinstance(driver.app.screen, Preview)
        driver.gateway.administration.invalid = ""
        await driver.press("a")
        assert isinstance(driver.app.screen, Preview)
        assert "- 3600000  topic" in driver.screen and "+ 604800000  default" in driver.screen
        await driver.press("enter", "n")
        edits = [Edit("retention.ms", DELETE), Edit("cleanup.policy", APPEND, "compact")]
        asked = ("alter_configs", ORDERS, edits, True)
        assert driver.calls("alter_configs") == [asked, asked], "only y does it"
        await driver.press("a", "y")
        assert driver.calls("alter_configs")[-1] == ("alter_configs", ORDERS, edits, False)
        assert "2 edits" not in driver.screen
        await driver.press("8")
        assert driver.view.table.shown[0].command.endswith(
            "--entity-name orders --add-config 'cleanup.policy=[delete,compact]' --delete-config retention.ms"
        )


async def test_what_is_read_only_says_why_and_secrets_are_typed_unseen() -> None:
    async with driving() as driver:
        await driver.press("j", "e")
        assert driver.keys == ["num.io.threads", "log.dirs", "ssl.keystore.password"]
        await driver.press("j", "enter")
        assert not isinstance(driver.app.screen, Form)
        assert "log.dirs is read when a broker starts" in driver.screen
        await driver.press("j", "enter")
        await fill(driver, value="hush")
        await driver.press("a")
        assert isinstance(driver.app.screen, Preview) and "hush" not in driver.screen
        await driver.press("y", "8")
        assert driver.calls("alter_configs")[-1][2] == [Edit("ssl.keystore.password", SET, "hush")]
        command = driver.view.table.shown[0].command
        assert command.endswith("""--add-config 'ssl.keystore.password='"$SECRET"''""") and "hush" not in driver.screen


async def test_two_brokers_are_compared() -> None:
    async with driving() as driver:
        await command(driver, "bcfg 1 2")
        assert driver.keys == ["log.dirs", "num.io.threads"]
        assert "8  default" in driver.screen and "4  dynamic broker" in driver.screen
        await driver.press("D")
        assert driver.keys == ["log.dirs", "num.io.threads", "ssl.keystore.password"]
        await driver.press("1", "space", "space", "e")
        assert driver.title.startswith("compare(broker 1 ↔ broker 2)")


async def test_entries_are_made_by_a_form_and_deleted_after_a_question() -> None:
    async with driving(size=(120, 40)) as driver:
        await command(driver, "acl")
        assert "4 entries · 1 deny · kept, not enforced here" in driver.screen
        await driver.press("n")
        await fill(driver, name="orders2")
        (row,) = driver.calls("create_acl")[0][1:]
        assert (row.principal, row.resource_name, row.operation) == ("User:alice", "orders2", "READ")
        await driver.press("ctrl+d")
        assert isinstance(driver.app.screen, Confirm)
        assert "User:alice from * may READ TOPIC orders?" in driver.screen
        await driver.press("enter")
        assert driver.calls("delete_acls") == [], "enter alone deletes nothing"
        await driver.press("space", "G", "space", "ctrl+d", "y")
        assert len(driver.calls("delete_acls")[0][1]) == 2
        await driver.press("f")
        await fill(driver, principal="User:ops")
        assert [row.principal for row in driver.view.table.shown] == ["User:ops"]
        await driver.press("4", "minus")
        assert driver.keys and {row.principal for row in driver.view.table.shown} == {"User:ops"}, "as it was left"


async def test_a_user_gets_a_password_that_is_shown_nowhere() -> None:
    async with driving() as driver:
        await command(driver, "users")
        await driver.press("n")
        await fill(driver, user="carol", password="hush")
        assert "the two passwords differ" in driver.screen
        await fill(driver, again="hush")
        assert driver.calls("set_scram_user")[0][1] == ScramWish("carol", "SCRAM-SHA-256", 4096, "hush")
        assert "hush" not in driver.screen
        await driver.press("ctrl+d", "y")
        assert driver.calls("delete_scram_users") == [("delete_scram_users", ["alice SCRAM-SHA-256"])]


async def test_quotas_are_edited_and_old_and_new_shown() -> None:
    async with driving(size=(120, 40)) as driver:
        await command(driver, "quota")
        await driver.press("G", "enter")
        await fill(driver, producer_byte_rate="1M")
        assert isinstance(driver.app.screen, Preview) and "20,971,520  →  1,048,576" in driver.screen
        await driver.press("y")
        entity = (("client-id", None), ("user", "alice"))
        change = {"producer_byte_rate": 1048576.0}
        assert driver.calls("alter_quotas") == [
            ("alter_quotas", entity, change, validate) for validate in (True, False)
        ]
        await driver.press("ctrl+d", "y")
        assert driver.calls("alter_quotas")[-1] == ("alter_quotas", entity, {"producer_byte_rate": None}, False)


async def test_a_broker_that_does_not_answer_leaves_its_rows_stale() -> None:
    async with driving() as driver:
        await driver.press("L")
        assert driver.title.startswith("log-dirs(broker 1)")
        await command(driver, "disks")
        assert driver.keys == ["1 /data/1", "2 /data/2a", "2 /data/2b", "3 /data/3"]
        driver.gateway.administration.silent = {3}
        driver.gateway.clock.advance(8_000)
        driver.view.read_again()
        for _ in range(100):
            await driver.settle()
            if driver.view.problem:
                break
            await asyncio.sleep(0.02)
        assert "! broker 3 does not tell: connection lost" in driver.screen
        rows = {row.key: row.age_ms for row in driver.view.table.shown}
        assert rows["3 /data/3"] >= 8_000 > rows["1 /data/1"]
        await driver.press("enter")
        assert driver.keys[0] == "orders-0" and driver.keys[-1] == "payments-1.future"
        # Where all refuse, what they say stands where rows would.
        driver.gateway.refusing = "SECURITY_DISABLED: No Authorizer is configured on the broker"
        await command(driver, "acls")
        assert driver.keys == [] and "SECURITY_DISABLED: No Authorizer is configured" in driver.screen
        assert "set authorizer.class.name" in driver.screen


async def test_open_transactions_are_found_and_aborted_after_a_question() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "w")
        assert "producers(orders)" in driver.title and "since 40,017" in driver.screen
        await driver.press("j", "x")
        assert "has no transaction open" in driver.screen
        await command(driver, "tx")
        await driver.press("j", "x")
        assert "ledger-2 has no transaction open" in driver.screen
        await driver.press("k", "x")
        assert isinstance(driver.app.screen, Confirm) and "4001/7 is fenced" in " ".join(driver.screen.split())
        await driver.press("y")
        assert driver.calls("terminate_transaction") == [("terminate_transaction", "ledger-1")]
        await driver.press("h")
        assert driver.keys == ["payments-1 4003"] and "since 901, hangs" in driver.screen
        await driver.press("x")
        assert isinstance(driver.app.screen, Confirm)
        await driver.press("y")
        assert driver.calls("abort_transaction") == [("abort_transaction", "payments-1 4003", 901)]


async def test_records_are_deleted_up_to_an_offset_after_what_goes_was_shown() -> None:
    async with driving() as driver:
        await command(driver, "delete-records orders 1")
        await fill(driver, offset="999999999")
        assert "an offset up to that, or end" in driver.screen
        await fill(driver, offset="end")
        assert isinstance(driver.app.screen, Preview) and "records go for good" in driver.screen
        await driver.press("y")
        assert driver.calls("delete_records") == [("delete_records", {("orders", 1): -1})]
        assert "orders-1 starts at 80,000" in driver.screen


async def test_read_only_refuses_all_of_it_and_shows_everything() -> None:
    async with driving(READ_ONLY) as driver:
        for screen, keys in {"acls": ("n", "ctrl+d"), "users": ("n",), "quotas": ("enter",), "hanging": ("x",)}.items():
            await command(driver, screen)
            for key in keys:
                await driver.press(key)
                assert "opened with --read-only" in driver.screen
                assert driver.keys, "no dialog was opened"
        await command(driver, "delete-records orders")
        assert not isinstance(driver.app.screen, Form)


async def test_a_topic_is_made_like_another_and_a_groups_configs_have_their_key() -> None:
    async with driving() as driver:
        await driver.press("2", "j", "j", "N", "ctrl+s")
        (topic,) = driver.calls("create_topic")[0][1:]
        assert topic == NewTopic("orders-copy", 6, 3, {"retention.ms": "3600000"})
        await driver.press("3", "e")
        assert driver.title.startswith("configs(group ")
