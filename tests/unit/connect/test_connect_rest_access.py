"""Who may ask a worker's REST, where it listens, and what workers sign."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from engine.connect.errors import ConfigError
from engine.connect.rest.access import Access
from engine.connect.rest.config import Listener, RestConfig, make_token, read_token
from engine.connect.runtime.herder import RequestRefused
from engine.connect.runtime.request_signature import RequestSignature, check_signature, signed

TOKEN = "a-token-of-more-than-sixteen"
OURS = {"Host": "127.0.0.1:8083"}
OPEN = {"rest.auth": "none"}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic("anybody", TOKEN), basic("", TOKEN)], ids=str
)
def test_the_token_comes_as_a_bearers_or_as_basics_password(header: str) -> None:
    assert Access(TOKEN, frozenset()).unknown({"Authorization": header}) is None


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", f"Bearer {TOKEN}x", TOKEN, basic(TOKEN, ""), "Basic !", "Digest x"], ids=str
)
def test_without_the_token_nobody_comes_in(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    refusal = Access(TOKEN, frozenset()).unknown(headers)
    assert refusal is not None and refusal.status == 401
    assert TOKEN not in refusal.sentence


def test_an_open_worker_asks_for_no_token() -> None:
    assert Access(None, frozenset()).unknown({}) is None


@pytest.mark.parametrize("host", ["127.0.0.1:8083", "10.0.0.7", "[::1]:8083", "LOCALHOST:1", "worker-1:8083"])
def test_a_worker_is_called_by_its_names_and_by_addresses(host: str) -> None:
    assert Access(None, frozenset({"localhost", "worker-1"})).stranger({"Host": host}) is None


@pytest.mark.parametrize("host", ["evil.example:8083", "", "127.0.0.1.evil.example", "worker-2:8083"])
def test_a_foreign_name_that_points_here_is_refused(host: str) -> None:
    refusal = Access(None, frozenset({"localhost", "worker-1"})).stranger({"Host": host})
    assert refusal is not None and refusal.status == 403


def test_another_page_has_no_business_here() -> None:
    access = Access(None, frozenset())
    assert access.stranger({**OURS, "Origin": "https://evil.example"}) is not None
    assert access.stranger({**OURS, "Origin": "null"}) is not None
    assert access.stranger({**OURS, "Origin": "http://127.0.0.1:8083"}) is None


def test_listeners_are_read_as_kafka_writes_them() -> None:
    config = RestConfig.of({**OPEN, "listeners": "http://127.0.0.1:0, HTTP://[::1]:8084,http://:8085"})
    assert config.listeners == (Listener("127.0.0.1", 0), Listener("::1", 8084), Listener("", 8085))
    assert config.admin_listeners is None
    assert RestConfig.of({**OPEN, "admin.listeners": ""}).admin_listeners == ()


def test_the_default_is_loopback() -> None:
    assert RestConfig.of(OPEN).listeners == (Listener("127.0.0.1", 8083),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listeners", "127.0.0.1:8083"),
        ("listeners", "https://127.0.0.1:8083"),
        ("listeners", "http://127.0.0.1:70000"),
        ("listeners", ""),
        ("rest.advertised.port", "0"),
        ("rest.advertised.listener", "https"),
        ("access.control.allow.origin", "*"),
        ("rest.extension.classes", "x.Y"),
        ("rest.auth", "basic"),
    ],
)
def test_what_cannot_be_or_is_not_built_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        RestConfig.of({**OPEN, name: value})
    assert raised.value.name == name


def test_workers_are_told_the_advertised_url() -> None:
    bound = Listener("127.0.0.1", 4711)
    assert RestConfig.of(OPEN).advertised_url(bound) == "http://127.0.0.1:4711/"
    told = {**OPEN, "rest.advertised.host.name": "worker-1", "rest.advertised.port": "80"}
    assert RestConfig.of(told).advertised_url(bound) == "http://worker-1:80/"
    assert RestConfig.of(OPEN).advertised_url(Listener("::1", 1)) == "http://[::1]:1/"


def test_a_token_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "connect" / "token"
    first = RestConfig.of({"rest.token.file": str(file)})
    assert first.token == file.read_text().strip() and len(first.token or "") >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert RestConfig.of({"rest.token.file": str(file)}).token == first.token
    assert make_token(str(file)) == first.token
    assert os.listdir(file.parent) == ["token"]


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(str(file))


def test_a_worker_without_a_token_says_so_and_never_shows_one() -> None:
    with pytest.raises(ConfigError, match=r"rest\.auth=none"):
        RestConfig.of({})
    with pytest.raises(ConfigError) as raised:
        RestConfig.of({"rest.token": "short-secret"})
    assert "short-secret" not in str(raised.value)


KEY = b"k" * 32
BODY = b'[{"file":"x"}]'


def test_a_signature_is_good_for_its_body_alone() -> None:
    signature = RequestSignature.of(signed(KEY, BODY), BODY)
    check_signature(signature, KEY, ["HmacSHA256"])
    for body, key in ((BODY + b" ", KEY), (BODY, b"x" * 32)):
        with pytest.raises(RequestRefused) as raised:
            check_signature(RequestSignature.of(signed(KEY, BODY), body), key, ["HmacSHA256"])
        assert raised.value.status == 403


@pytest.mark.parametrize(
    ("headers", "key", "status"),
    [
        ({}, KEY, 400),
        (signed(KEY, BODY, "HmacSHA1"), KEY, 400),
        (signed(KEY, BODY), None, 503),
    ],
)
def test_what_is_not_signed_as_it_must_be_is_refused(headers: dict[str, str], key: bytes | None, status: int) -> None:
    with pytest.raises(RequestRefused) as raised:
        check_signature(RequestSignature.of(headers, BODY), key, ["HmacSHA256"])
    assert raised.value.status == status


def test_a_signature_of_other_headers_cannot_be_one() -> None:
    for broken in ({"X-Connect-Request-Signature-Algorithm": "HmacRot13"}, {"X-Connect-Authorization": "?"}):
        with pytest.raises(RequestRefused):
            RequestSignature.of({**signed(KEY, BODY), **broken}, BODY)
