"""How a registry is run: what is wrong is told with the remedy, and nobody is let in by mistake."""

from __future__ import annotations

import pytest

from engine.registry.config import (
    RegistryConfig,
    RegistryConfigError,
    parse_listen,
    parse_users,
    read_config,
)


def test_a_registry_that_others_reach_asks_who_they_are_unless_it_is_open() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        RegistryConfig("b:1", host).check()
    for host in ("0.0.0.0", "::", "192.168.0.7", "registry.example"):
        with pytest.raises(RegistryConfigError, match="--users FILE"):
            RegistryConfig("b:1", host).check()
        RegistryConfig("b:1", host, users={"a": "b"}).check()
        RegistryConfig("b:1", host, is_open=True).check()


def test_a_config_comes_from_a_file_and_shows_no_password() -> None:
    said = {"bootstrap.servers": "a:1,b:2", "listen": "0.0.0.0:0", "user.ada": "secret", "sasl.mechanism": "PLAIN"}
    config = read_config(said)
    assert config == RegistryConfig(
        "a:1,b:2", "0.0.0.0", 0, "_schemas", {"sasl.mechanism": "PLAIN"}, {"ada": "secret"}, False
    )
    assert "secret" not in repr(config)


@pytest.mark.parametrize("text", ["8081", ":8081", "h:", "h:x", "h:65536", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RegistryConfigError, match="HOST:PORT"):
        parse_listen(text)


def test_addresses_and_users_are_read() -> None:
    assert parse_listen("[::1]:0") == ("::1", 0)
    assert parse_users("# who\n\nada:love:lace\n bob:1\n", "f") == {"ada": "love:lace", "bob": "1"}
    for text in ("", "ada", "ada:", ":x"):
        with pytest.raises(RegistryConfigError, match="NAME:PASSWORD"):
            parse_users(text, "f")
    with pytest.raises(RegistryConfigError, match=r"bootstrap\.servers"):
        read_config({})
