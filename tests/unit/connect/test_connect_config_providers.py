from __future__ import annotations

from pathlib import Path

import pytest

from engine.connect.errors import ConfigError
from engine.connect.runtime.config_providers import (
    ConfigTransformer,
    EnvVarConfigProvider,
    read_properties,
    restored,
)


def transformer(name: str, **params: str) -> ConfigTransformer:
    classes = {"env": "EnvVar", "file": "File", "dir": "Directory"}
    given = {
        "config.providers": name,
        f"config.providers.{name}.class": f"org.apache.kafka.common.config.provider.{classes[name]}ConfigProvider",
    }
    given |= {f"config.providers.{name}.param.{key.replace('_', '.')}": value for key, value in params.items()}
    return ConfigTransformer.of(given)


def test_values_come_from_a_properties_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets.properties"
    file.write_text("user = me\npassword: p\\u00e4ss\\\n  word\n# password=no\n")
    found = transformer("file").resolve({"a": f"${{file:{file}:user}}/${{file:{file}:password}}", "b": "plain"})
    assert found == {"a": "me/pässword", "b": "plain"}


def test_values_come_from_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    found = transformer("dir").resolve({"a": f"${{dir:{tmp_path}:token}}", "b": f"${{dir:{tmp_path}:../token}}"})
    assert found["a"] == "t0ken" and found["b"].startswith("${dir:")


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("OTHER", "hidden")
    found = transformer("env", allowlist_pattern="DB_.*").resolve({"a": "x${env:DB_PASSWORD}", "b": "${env:OTHER}"})
    assert found == {"a": "xsecret", "b": "${env:OTHER}"}
    assert EnvVarConfigProvider({}, {"A": "1"}).get("", "A") == "1"


def test_files_outside_the_allowed_paths_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("k=1")
    (tmp_path / "out").write_text("k=2")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    made = transformer("file", allowed_paths=str(tmp_path / "in"))
    found = made.resolve(
        {
            name: f"${{file:{path}:k}}"
            for name, path in (("a", tmp_path / "in/a"), ("b", tmp_path / "out"), ("c", tmp_path / "in/link"))
        }
    )
    assert found["a"] == "1"
    assert found["b"].startswith("${") and found["c"].startswith("${")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Could not read properties"):
        transformer("file").resolve({"a": f"${{file:{tmp_path / 'absent'}:k}}"})


def test_what_no_provider_knows_stays_as_it_is() -> None:
    assert ConfigTransformer({}).resolve({"a": "${vault:x:y}", "b": "${topic}"}) == {
        "a": "${vault:x:y}",
        "b": "${topic}",
    }


def test_a_provider_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"config\.providers\.v\.class"):
        ConfigTransformer.of({"config.providers": "v", "config.providers.v.class": "com.example.Vault"})


def test_task_configs_get_their_references_back() -> None:
    references = {"password": "${env:P}", "user": "me"}
    resolved = {"password": "secret", "user": "me"}
    tasks = [{"password": "secret", "user": "me", "other": "secret"}, {"password": "another"}]
    assert restored(tasks, references, resolved) == [
        {"password": "${env:P}", "user": "me", "other": "secret"},
        {"password": "another"},
    ]


def test_properties_are_read_as_java_reads_them() -> None:
    text = "a=1\nb : 2\nc 3\nd\n\\ e=x=y\n! no\nf=one\\\n   two\ng=\\t\\\\n\n"
    assert read_properties(text) == {"a": "1", "b": "2", "c": "3", "d": "", " e": "x=y", "f": "onetwo", "g": "\t\\n"}
