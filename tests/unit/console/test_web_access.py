"""Who may speak to ``kconsole web``."""

import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from console.web.access import Access, is_this_machine

ACCESS = Access("the-token", "the-session", 8765)
COOKIE = {"kconsole-8765": "the-session"}


def said(
    host: str = "127.0.0.1:8765",
    origin: str | None = None,
    token: str | None = None,
    cookies: dict[str, str] | None = None,
    from_page: bool = False,
) -> str:
    headers = {"Host": host, **({} if origin is None else {"Origin": origin})}
    refusal = ACCESS.refusal(headers, token, cookies or {}, from_page=from_page)
    return "" if refusal is None else refusal.sentence


def test_the_token_or_its_cookie_is_needed_and_nothing_like_it_will_do() -> None:
    assert said(token="the-token") == said(cookies=COOKIE) == ""
    for token in (None, "", "the-toke", "the-token2", "the-session", "thé-token", "\udcff"):
        assert "the token is missing or wrong" in said(token=token), token
    for cookies in ({"kconsole-8765": "the-token"}, {"kconsole-8766": "the-session"}, {"kconsole-8765": ""}):
        assert "the token is missing or wrong" in said(cookies=cookies), cookies


def test_a_name_of_another_machine_is_refused_even_with_the_token() -> None:
    for host in (
        "kafka.example:8765",
        "127.0.0.1.kafka.example:8765",
        "",
        "192.168.0.1:8765",
        "localhost.kafka.example",
    ):
        assert "open the address that kconsole web printed" in said(host, token="the-token"), host
    # Whoever comes through a tunnel has another port.
    assert all(is_this_machine(host) for host in ("127.0.0.1:1", "localhost:8765", "LOCALHOST", "[::1]:8765", "[::1]"))


def test_pages_of_others_have_no_business_here_even_with_the_cookie() -> None:
    for origin in ("http://kafka.example", "http://127.0.0.1:8766", "https://127.0.0.1:8765", "null", ""):
        assert "has no business here" in said(origin=origin, cookies=COOKIE), origin
    assert said(origin="http://127.0.0.1:8765", cookies=COOKIE, from_page=True) == ""
    assert "without an Origin" in said(cookies=COOKIE, from_page=True)


def test_a_taken_port_and_a_missing_library_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    attached = ("--bootstrap-servers", "127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["web", "--port", port, *attached])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port" in result.output
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    monkeypatch.delitem(sys.modules, "console.web.server")
    result = CliRunner().invoke(main, ["web", *attached])
    assert result.exit_code == 1
    assert "pip install 'kconsole[web]'" in result.output


def test_without_a_cluster_a_tab_starts_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--no-start", "--data-dir", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "start it with `kconsole up`" in result.output
    assert not (tmp_path / "none").exists()


def test_tabs_are_of_the_cluster_that_was_asked_for_and_as_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class Server:
        def __init__(self, command: list[str], port: int) -> None:
            commands.append(command[command.index("console.cli") + 1 :])

        async def run(self, on_ready: object) -> None:
            return

    monkeypatch.setattr("console.web.server.WebServer", Server)
    monkeypatch.setattr("console.web_command.running_cluster", lambda *_: nullcontext(True))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "kconsole").mkdir()
    (tmp_path / "kconsole" / "contexts.yaml").write_text(
        "contexts:\n  look: {data-dir: /k, read-only: true}\n  prod: {bootstrap-servers: 'h:1'}\n"
    )
    for words, expected in (
        (("--data-dir", "/d"), ["--data-dir", "/d", "--no-start"]),
        (("--bootstrap-servers", "h:1", "--read-only"), ["--read-only", "--bootstrap-servers", "h:1"]),
        (("--context", "prod"), ["--context", "prod"]),
        (("--context", "look"), ["--read-only", "--data-dir", "/k", "--no-start"]),
    ):
        result = CliRunner().invoke(main, ["web", *words])
        assert result.exit_code == 0, result.output
        assert commands.pop() == expected
