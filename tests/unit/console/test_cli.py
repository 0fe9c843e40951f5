import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.cli import main
from engine.supervisor import launch
from engine.supervisor.data_dir import DataDir
from engine.world.real import real_world
from tests.unit.supervisor.test_supervisor import start_supervisor


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    process, _ = start_supervisor(tmp_path)
    threading.Thread(target=process.wait, daemon=True).start()
    yield str(tmp_path)
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def test_help_shows_examples_and_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "kconsole --bootstrap-servers kafka-1:9092 --read-only --rules alerts.yaml" in result.output
    assert "Exit codes: 0 done, 1 failed, 2 wrong use or a wrong file." in result.output
    for command in ("up", "status", "kill", "stop", "start", "pause", "resume", "restart", "broker"):
        answer = run(command, "--help")
        assert answer.exit_code == 0
        assert "Examples:" in answer.output, command


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--no-such",), "No such option"),
        (("explode",), "No such command"),
        (("--bootstrap-servers", "nowhere"), "'nowhere' is not host:port"),
        (("--bootstrap-servers", "h:9092,h:0"), "'h:0' is not host:port"),
        (("--bootstrap-servers", "h:9092", "--fresh"), "--fresh is for the embedded cluster"),
        (("--bootstrap-servers", "h:9092", "--data-dir", "/x"), "--data-dir is for the embedded cluster"),
        (("--command-config", __file__), "--command-config goes with --bootstrap-servers"),
        (("--zookeeper", "h:2181"), "--zookeeper goes with --bootstrap-servers"),
        (("--bootstrap-servers", "h:9092", "--zookeeper", "h:x/k"), "zookeeper.connect"),
        (("--config", "/no/such/file"), "does not exist"),
        (("--fresh", "up"), "--fresh stands after the command: kconsole up --fresh"),
        (("up", "--config", "/no/such/file"), "does not exist"),
        (("broker",), "Missing option '--properties'"),
        (("copy", "orders", "orders"), "orders is where the records are: name another topic"),
        (("copy", "orders", "again", "--rate", "fast"), "'fast' is no rate: 500 for records a second"),
        (("redrive", "dlq", "--filter", "-j .["), "--filter: jq:"),
        (("load", "orders", "--rate", "0", "--seconds", "1"), "rate: records a second, from 1 to 1,000,000"),
        (("tail", "orders", "payments", "--key", "k"), "--key is looked for in one topic"),
        (
            ("streams", "run", "examples.streams.nothing:topology", "--bootstrap-servers", "h:1"),
            "cannot be imported: No",
        ),
        (("streams", "run", "examples.streams.fraud:none", "--bootstrap-servers", "h:1"), "fraud has no none"),
        (("streams", "run", "m:t", "--bootstrap-servers", "h:1", "--set", "state.dri=/x"), "did you mean state.dir?"),
        (("streams", "run", "m:t", "--set", "bootstrap.servers=h:1"), "say --bootstrap-servers instead"),
        (("streams", "run", "m:t", "--bootstrap-servers", "h:1", "--data-dir", "/x"), "--data-dir is for the embedded"),
        (("streams", "describe", "examples.streams.fraud"), "'examples.streams.fraud' is not module:attribute"),
        (("kill", "two"), "'two' is not a valid integer"),
        (("kill", "--measure"), "--measure is for one broker"),
    ],
)
def test_wrong_use_exits_with_two_and_says_what_is_wrong(words: tuple[str, ...], sentence: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_wrong_cluster_file_exits_with_two_and_every_mistake_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("brokers:\n  - {id: 1, prot: 1}\nfoo: 3\n")
    for command in (["up"], []):
        result = run(*command, "--config", str(config), "--data-dir", str(tmp_path / "data"))
        assert result.exit_code == 2
        assert f"{config}:2:13: unknown key 'prot' in a broker; did you mean 'port'?" in result.output
        assert f"{config}:3:1: unknown key 'foo'" in result.output
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_told_by_the_console_and_by_up_as_a_mistake_of_the_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "c.yaml"
        config.write_text(f"brokers:\n  - {{id: 1, port: {port}}}\n")
        for command in (["up"], []):
            result = run(*command, "--config", str(config), "--data-dir", str(tmp_path / "data"))
            assert result.exit_code == 2
            assert f"{config}:2:19: port {port} of broker 1 cannot be used: Address already in use" in result.output
        config.write_text(f"brokers:\n  - {{id: 1, prot: 7, port: {port}}}\n")
        lines = run("up", "--config", str(config), "--data-dir", str(tmp_path / "data")).output.splitlines()
        assert [line.split(": ")[0] for line in lines] == [f"{config}:2:13", f"{config}:2:28"], "all mistakes at once"


@pytest.mark.parametrize("command", ["status", "kill", "stop", "start", "pause", "resume", "restart"])
def test_without_a_cluster_a_command_exits_with_one_and_names_the_remedy(command: str, tmp_path: Path) -> None:
    result = run(command, "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"no cluster runs in {tmp_path}: start it with `kconsole up`" in result.output
    if command == "kill":
        assert run("kill", "1", "--measure", "--data-dir", str(tmp_path)).output == result.output


def test_commands_go_to_the_running_cluster(cluster: str) -> None:
    def rows(*words: str) -> list[tuple[int, str]]:
        result = run(*words, "--json", "--data-dir", cluster)
        assert result.exit_code == 0, result.output
        return [(row["id"], row["state"]) for row in json.loads(result.output)["brokers"]]

    assert rows("status") == [(1, "running"), (2, "running"), (3, "running")]
    assert rows("kill", "2") == [(2, "killed")]
    assert rows("pause", "1", "3") == [(1, "paused"), (3, "paused")]
    assert rows("resume") == [(1, "running"), (3, "running")]
    assert rows("start") == [(2, "running")]
    assert rows("stop", "3") == [(3, "stopped")]
    assert rows("restart", "1") == [(1, "running")]
    refused = run("stop", "3", "--data-dir", cluster)
    assert (refused.exit_code, refused.output) == (1, "kconsole: broker 3 is stopped: it cannot be stopped\n")
    table = run("status", "--data-dir", cluster).output
    assert "stopped" in table and "127.0.0.1:" in table


def test_the_consoles_data_dir_cannot_be_made_fresh_under_a_running_supervisor(cluster: str) -> None:
    result = run("--fresh", "--data-dir", cluster)
    assert result.exit_code == 2
    assert "a supervisor runs for" in result.output and "before --fresh" in result.output


def test_shutdown_waits_until_the_cluster_is_gone(cluster: str) -> None:
    assert run("shutdown", "--data-dir", cluster).exit_code == 0
    assert run("status", "--data-dir", cluster).exit_code == 1


def test_the_console_is_opened_over_a_running_cluster_and_leaves_it_running(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    app = types.ModuleType("console.app")
    app.run_console = lambda options: opened.append(options) or 0  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "console.app", app)
    assert run("--data-dir", cluster, "--read-only").exit_code == 0
    (options,) = opened
    assert options.control_socket == os.path.join(cluster, "control.sock")
    assert options.read_only and not options.started_supervisor and options.bootstrap_servers is None
    assert run("status", "--data-dir", cluster).exit_code == 0


def test_a_directory_owned_by_somebody_who_does_not_answer_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_START_S", 0.05)
    lock = DataDir(real_world(), str(tmp_path)).own()
    result = run("--data-dir", str(tmp_path))
    lock.release()
    assert result.exit_code == 1
    assert "does not answer" in result.output


def test_the_console_is_attached_with_the_properties_of_the_command_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    app = types.ModuleType("console.app")
    app.run_console = lambda options: opened.append(options) or 0  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "console.app", app)
    (tmp_path / "client.properties").write_text("client.id = me\n")
    result = run("--bootstrap-servers", "a:1,b:2", "--command-config", str(tmp_path / "client.properties"))
    assert result.exit_code == 0
    assert opened[0].bootstrap_servers == "a:1,b:2"
    assert opened[0].command_config == {"client.id": "me"}
    assert opened[0].control_socket is None


def test_the_default_data_dir_is_under_the_xdg_data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert f"no cluster runs in {tmp_path}/kconsole/default" in run("status").output


def test_up_and_status_import_neither_textual_nor_librdkafka_nor_psutil() -> None:
    code = (
        "import sys, console.cli, engine.supervisor.up, engine.supervisor.cluster_spec\n"
        "heavy = ('textual', 'confluent_kafka', 'psutil', 'rich', 'engine.broker')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_simulation_takes_every_option_that_the_simulator_prints() -> None:
    from console.cli import _other_options, _run_of
    from engine.sim.options import options_from

    options = options_from(11, seconds=5.0, load="light")
    words = options.words().split()[2:]
    given = {**_other_options(words), "seed": 11}
    assert _run_of(None, given) == (options, ())


def test_wrong_use_of_a_simulation_is_told() -> None:
    for words, expected in (
        (["--nonsense", "3"], "unrecognized arguments: --nonsense 3"),
        (["--seed", "x"], "'x' is not a valid integer range"),
        (["--faults", "kil"], "kil is none of kill, "),
        (["--joining", "maybe"], "maybe is neither yes nor no"),
        (["--seed", "7"], "needs a terminal"),
    ):
        result = run("sim", *words)
        assert result.exit_code == 2
        assert expected in result.output


def test_a_drill_that_cannot_be_read_is_told_with_place_and_remedy_and_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text("load: {rate: fast}\nexpect: {lots: 0}\n")
    result = run("drill", str(file))
    assert result.exit_code == 2
    assert f"{file}:1:14: 'rate' of 'load' of the drill is a number, not 'fast'; write a number here" in result.output
    assert f"{file}:2:10: a drill does not measure 'lots'; did you mean 'lost'?" in result.output
    result = run("drill", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "`kconsole drill --list` has the drills that come along" in result.output
    assert run("drill").exit_code == run("drill", "--show", "none").exit_code == 2


def test_the_drills_that_come_along_are_listed_and_shown() -> None:
    listed = json.loads(run("drill", "--list", "--json").output)
    names = [each["name"] for each in listed]
    assert {
        "kill-the-leader",
        "kill-the-controller",
        "rolling-restart",
        "all-brokers-at-once",
        "a-paused-broker",
    } <= set(names)
    assert all(each["about"] in run("drill", "--show", each["name"]).output for each in listed)
    assert [line.split()[0] for line in run("drill", "--list").output.splitlines()] == names
