"""Contexts: what the file says, where credentials come from, and that nobody sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.contexts import Context, ContextError, ContextFile, options_of, read_credentials, user_contexts
from console.values.options import ValueOptions
from console.viewmodel.contexts import context_row

PROD = """
default: prod
contexts:
  prod:
    bootstrap-servers: k1:9092,k2:9092
    colour: red
    read-only: true
    properties:
      security.protocol: SASL_SSL
      sasl.username: ${env:PROD_USER}
      sasl.password: ${file:secret}
      ssl.key.password: ${file:more:key}
      linger.ms: 5
      enable.idempotence: true
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PROD_USER", "alice")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kconsole").mkdir()
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "more").write_text("key = other s3cret\n")
    return tmp_path


def written(home: Path, text: str) -> ContextFile:
    file = user_contexts()
    assert file.path == home / "kconsole" / "contexts.yaml"
    file.path.write_text(text)
    return file


def test_credentials_come_from_where_the_file_says_when_a_context_is_opened(home: Path) -> None:
    known = written(home, PROD).read()
    prod = known.get("prod")
    assert (known.default, list(known.by_name)) == ("prod", ["prod", "embedded"])
    assert (prod.bootstrap_servers, prod.colour_code, prod.read_only) == ("k1:9092,k2:9092", "#d7263d", True)
    options = options_of(prod)
    assert options.read_only and options.bootstrap_servers == "k1:9092,k2:9092"
    assert dict(options.command_config) == {
        "security.protocol": "SASL_SSL",
        "sasl.username": "alice",
        "sasl.password": "s3cret",
        "ssl.key.password": "other s3cret",
        "linger.ms": "5",
        "enable.idempotence": "true",
    }
    (home / "secret").write_text("changed")
    assert options_of(prod).command_config["sasl.password"] == "changed"
    assert "s3cret" not in repr(options) + repr(prod) + repr(known)


def test_a_context_has_a_registry_of_its_own_and_the_command_line_may_name_another(home: Path) -> None:
    text = "contexts: {a: {bootstrap-servers: 'k:1', registry: 'http://me:${file:secret}@r:8081'}}"
    options = options_of(written(home, text).read().get("a"))
    assert options.values.registry == "http://me:s3cret@r:8081" and "s3cret" not in repr(options)
    assert ValueOptions("http://other:1").over(options.values).registry == "http://other:1"
    assert ValueOptions(masking_file="m").over(options.values) == options.values._replace(masking_file="m")
    with pytest.raises(ContextError, match="who asks is named and not written down"):
        written(home, text.replace("${file:secret}", "s3cret")).read()


@pytest.mark.parametrize(
    ("property_", "said"),
    [
        ("${env:NOBODY}", "the environment has no NOBODY"),
        ("${file:gone}", "cannot read gone: No such file"),
        ("${file:more:nothing}", "more has no nothing"),
        ("${vault:x}", "is not known"),
    ],
)
def test_credentials_that_are_not_there_are_named(home: Path, property_: str, said: str) -> None:
    file = written(home, f"contexts: {{a: {{bootstrap-servers: 'k:1', properties: {{sasl.password: '{property_}'}}}}}}")
    with pytest.raises(ContextError, match=said) as caught:
        read_credentials(file.read().get("a"))
    assert "sasl.password" in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contexts: {a: {bootstrap-server: 'k:1'}}", "a: bootstrap-server: not known: did you mean bootstrap-servers?"),
        ("context: {}", "context: not known: did you mean contexts?"),
        ("contexts: {a: {bootstrap-servers: k}}", "'k' is not host:port"),
        ("contexts: {a: {bootstrap-servers: 'k:1', colour: pink}}", "'pink' is none of red, orange"),
        ("contexts: {a: {bootstrap-servers: 'k:1', read-only: yes please}}", "read-only: true or false"),
        ("contexts: {a: {colour: red}}", "it needs bootstrap-servers, or data-dir"),
        ("contexts: {a: {bootstrap-servers: 'k:1', data-dir: /x}}", "data-dir: is for an embedded cluster"),
        ("contexts: {'a b': {bootstrap-servers: 'k:1'}}", "is no name"),
        ("contexts: [a]", "names with what belongs to each"),
        ("default: b\ncontexts: {a: {bootstrap-servers: 'k:1'}}", "there is no context b: a, embedded"),
        ("contexts: {a: {sasl.password: s3cret", "line 1"),
        ("contexts: {a: {bootstrap-servers: 'k:1', properties: {sasl.password: s3cret}}}", "chmod 600"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_the_remedy_and_without_secrets(
    home: Path, text: str, said: str
) -> None:
    with pytest.raises(ContextError) as caught:
        written(home, text).read()
    assert said in str(caught.value) and "contexts.yaml" in str(caught.value) and "s3cret" not in str(caught.value)


def test_a_secret_may_stand_in_a_file_that_only_its_owner_reads(home: Path) -> None:
    file = written(home, "contexts: {a: {bootstrap-servers: 'k:1', properties: {sasl.password: s3cret}}}")
    file.path.chmod(0o600)
    assert options_of(file.read().get("a")).command_config["sasl.password"] == "s3cret"


def test_a_file_of_kcats_is_a_context_as_it_is(home: Path) -> None:
    (home / "kcat.conf").write_text("bootstrap.servers=k9:9092\nsasl.mechanisms=PLAIN\nsasl.password=s3cret\n")
    options = options_of(Context("kcat", command_config=str(home / "kcat.conf")))
    assert options.bootstrap_servers == "k9:9092"
    assert dict(options.command_config) == {"sasl.mechanisms": "PLAIN", "sasl.password": "s3cret"}
    with pytest.raises(ContextError, match="it does not run: start it with `kconsole up`"):
        options_of(Context("embedded"))


def test_contexts_are_added_listed_used_and_removed_by_commands(home: Path) -> None:
    from console.cli import main

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["context", *words])
        assert done.exit_code == code, done.output
        return done.output

    said = run("add", "prod", "--bootstrap-servers", "k:1", "--property", "sasl.password=s3cret", code=2)
    assert "others see what stands on a command line" in said and "s3cret" not in said
    run("add", "prod", "--bootstrap-servers", "k:1", "--colour", "red", "--property", "sasl.password=${env:PW}")
    beside = (
        "--registry",
        "http://me:${env:PW}@r:8081",
        "--connect",
        "http://c:8083,http://d:8083",
        "--zookeeper",
        "z:1",
    )
    run("add", "dev", "--bootstrap-servers", "d:1", "--read-only", *beside)
    assert "'r:8081' is no URL of a schema registry" in run("add", "bad", "--registry", "r:8081", code=2)
    assert "'c' is not http://host:port" in run("add", "bad", "--connect", "http://d:1,c", code=2)
    assert "'x' is not host:port" in run("add", "bad", "--bootstrap-servers", "x", code=2)
    run("use", "prod")
    file = user_contexts()
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.path.parent.iterdir()] == ["contexts.yaml"]
    listed = {each["name"]: each for each in json.loads(run("list", "--json"))}
    assert listed["prod"]["default"] and listed["dev"]["read_only"] and "embedded" in listed
    assert [listed["dev"][each] for each in ("registry", "connect", "zookeeper")] == list(beside[1::2])
    assert listed["prod"]["properties"] == {"sasl.password": "[hidden]"}
    assert run("list").splitlines()[0] == "* prod                 k:1  (red)"
    run("remove", "prod")
    assert "there is no context prod: dev, embedded" in run("use", "prod", code=1)
    assert file.read().default == ""


def test_commands_take_a_context_and_say_what_is_wrong_with_it(home: Path) -> None:
    from console.cli import main

    written(home, PROD.replace("${env:PROD_USER}", "${env:NOBODY}"))

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, list(words))
        return done.exit_code, done.output

    for words in (["health", "--context", "prod"], ["--context", "prod", "get", "topics"], ["lag", "billing"]):
        code, said = run(*words)
        assert code == 2 and "prod: sasl.username: the environment has no NOBODY" in said
    assert "there is no context pord: prod, embedded" in run("tail", "t", "--context", "pord")[1]
    assert "leave out the other options" in run("health", "--context", "prod", "--bootstrap-servers", "k:1")[1]
    assert run("rebalance", "--yes") == (1, "kconsole: the context prod is read-only\n")
    # What is done to brokers' processes is never done to another cluster than the one that is meant.
    assert "--context is not for kill: leave it out" in run("--context", "prod", "kill", "2")[1]
    assert "--remove is for the embedded cluster, not for the context prod" in run("drain", "4", "--remove")[1]
    code, said = run("drain", "4", "--remove", "--context", "embedded")
    assert code == 1 and f"no cluster runs in {home}/data/kconsole/default: start it" in said


def test_a_row_shows_no_secret_and_tells_what_is_not_known_yet() -> None:
    context = Context("prod", "k:1")
    looking = context_row(context, None, "", 0, is_open=False, is_default=False)
    gone = context_row(context, None, "no answer", 0, is_open=False, is_default=False)
    idle = context_row(context, None, "it does not run: start it", 0, is_open=False, is_default=False)
    assert [each.state[0].text for each in (looking, gone, idle)] == ["looking …", "✗ unreachable", "not running"]
    assert [each.is_healthy for each in (looking, gone, idle)] == [True, False, True]
    assert looking.brokers_up is None and looking.lag is None
