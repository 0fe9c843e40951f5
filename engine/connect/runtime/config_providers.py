"""Values that stand elsewhere: ``${env:NAME}``, ``${file:/path:key}``, ``${dir:/path:name}`` (KIP-297).

A worker names its providers in ``config.providers``; whatever else of a config looks like a reference stays as it is.
Resolved values live only where a connector or task runs: what is stored, shown and logged has the references.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from engine.connect.errors import ConfigError

REFERENCE = re.compile(r"\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}")
"""Provider, path (maybe none), key: ``ConfigTransformer``'s."""


class ConfigProvider(ABC):
    """Knows values by path and key."""

    @abstractmethod
    def get(self, path: str, key: str) -> str | None:
        """A value, or None: the reference stays as it is.

        Raises:
            ConfigError: it cannot be had, or not from there.
        """


class EnvVarConfigProvider(ConfigProvider):
    """The environment of the worker. ``allowlist.pattern``: a regular expression of names that may be seen."""

    def __init__(self, params: Mapping[str, str], environment: Mapping[str, str] | None = None) -> None:
        pattern = params.get("allowlist.pattern", "")
        try:
            self._allowed = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ConfigError("allowlist.pattern", pattern, str(error)) from None
        self._environment = os.environ if environment is None else environment

    def get(self, path: str, key: str) -> str | None:
        if path or (self._allowed is not None and not self._allowed.fullmatch(key)):
            return None
        return self._environment.get(key)


class _Files(ConfigProvider):
    def __init__(self, params: Mapping[str, str]) -> None:
        allowed = [each.strip() for each in params.get("allowed.paths", "").split(",") if each.strip()]
        self._allowed = [Path(each).resolve() for each in allowed]
        for each in allowed:
            if not os.path.isabs(each):
                raise ConfigError("allowed.paths", each, "Path is not absolute")

    def _permits(self, path: Path) -> bool:
        return not self._allowed or any(path.resolve().is_relative_to(each) for each in self._allowed)


class FileConfigProvider(_Files):
    """A properties file: the path, and a name in it. ``allowed.paths``: files and folders that may be read."""

    def get(self, path: str, key: str) -> str | None:
        if not path or not self._permits(Path(path)):
            return None
        try:
            return read_properties(Path(path).read_text()).get(key)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("path", path, f"Could not read properties from file: {_why(error)}") from None


class DirectoryConfigProvider(_Files):
    """A folder with a file a value, as Kubernetes mounts secrets."""

    def get(self, path: str, key: str) -> str | None:
        if not path or "/" in key or not self._permits(Path(path, key)):
            return None
        file = Path(path, key)
        if not file.is_file():
            return None
        try:
            return file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("path", path, f"Could not read file {key}: {_why(error)}") from None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


_PROVIDERS: dict[str, type[EnvVarConfigProvider] | type[FileConfigProvider] | type[DirectoryConfigProvider]] = {
    each.__name__: each for each in (EnvVarConfigProvider, FileConfigProvider, DirectoryConfigProvider)
}


class ConfigTransformer:
    """Replaces references by values (``WorkerConfigTransformer``)."""

    def __init__(self, providers: Mapping[str, ConfigProvider]) -> None:
        self._providers = dict(providers)

    @staticmethod
    def of(worker_props: Mapping[str, str]) -> ConfigTransformer:
        """With the providers that a worker's configs name.

        Raises:
            ConfigError: there is no such provider.
        """
        providers: dict[str, ConfigProvider] = {}
        for name in filter(None, (each.strip() for each in worker_props.get("config.providers", "").split(","))):
            given = f"config.providers.{name}.class"
            kind = _PROVIDERS.get(worker_props.get(given, "").rpartition(".")[2])
            if kind is None:
                raise ConfigError(given, worker_props.get(given), f"It must be one of {', '.join(_PROVIDERS)}")
            prefix = f"config.providers.{name}.param."
            providers[name] = kind(
                {key.removeprefix(prefix): value for key, value in worker_props.items() if key.startswith(prefix)}
            )
        return ConfigTransformer(providers)

    def resolve(self, props: Mapping[str, str]) -> dict[str, str]:
        """The same configs with values instead of references.

        Raises:
            ConfigError: a provider cannot give one.
        """
        return {name: self._replace(value) if value and "${" in value else value for name, value in props.items()}

    def _replace(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            provider = self._providers.get(found[1])
            given = None if provider is None else provider.get(found[2] or "", found[3])
            return found[0] if given is None else given

        return REFERENCE.sub(value, text)


def has_reference(text: str | None) -> bool:
    """Whether something of a config's value stands elsewhere."""
    return bool(text) and REFERENCE.search(text or "") is not None


def restored(
    configs: list[dict[str, str]], references: Mapping[str, str], resolved: Mapping[str, str]
) -> list[dict[str, str]]:
    """Task configs with the connector's references where a connector has copied what they stand for.

    ``AbstractHerder.reverseTransform``: so that no secret gets into the topic of configs.
    """
    secrets = {name: value for name, value in references.items() if value and has_reference(value)}
    if not secrets:
        return configs
    return [
        {
            name: secrets[name] if secrets.get(name) and value == resolved.get(name) else value
            for name, value in each.items()
        }
        for each in configs
    ]


_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_LINE = re.compile(r"((?:\\.|[^\\=:\s])*)\s*[=:\s]?\s*(.*)", re.DOTALL)


def read_properties(text: str) -> dict[str, str]:
    """A Java properties file: comments, ``=``, ``:`` or blanks, lines that go on after a backslash, escapes."""
    found: dict[str, str] = {}
    whole = ""
    for line in text.splitlines():
        line = line.lstrip()
        if not whole and (not line or line[0] in "#!"):
            continue
        whole += line
        if (len(whole) - len(whole.rstrip("\\"))) % 2:
            whole = whole[:-1]
            continue
        parts = _LINE.fullmatch(whole)
        if parts is not None:
            found[_unescaped(parts[1])] = _unescaped(parts[2])
        whole = ""
    return found


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return _ESCAPES.get(found[2], found[2])

    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", one, text)
