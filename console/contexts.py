"""Contexts: the clusters that a user has, by name, in ``~/.config/kconsole/contexts.yaml``. Credentials stay where they
are (environment, files): the file says where, and they are read when a context is opened."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from console.options import ConsoleOptions
from console.user_files import read_document, user_file, write_document
from console.values.options import ValueOptions
from engine.client.security.secret import ClientProperties, is_sensitive
from engine.model.properties import read_properties

EMBEDDED = "embedded"
# A cluster that the command line named: no name in the file can be this one.
UNNAMED = "(opened here)"
# Told apart in every theme, and dark or light enough for white or black upon them.
COLOURS = {
    "red": "#d7263d",
    "orange": "#e07a1f",
    "yellow": "#e3c022",
    "green": "#2e9e5b",
    "cyan": "#1f9eb5",
    "blue": "#2f6fde",
    "magenta": "#b648c9",
    "grey": "#7a8290",
}
_NAME = re.compile(r"[\w.-]+")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_PLACEHOLDER = re.compile(r"\$\{(\w+):([^}]*)\}")
_KEYS = (
    "bootstrap-servers",
    "colour",
    "read-only",
    "command-config",
    "properties",
    "data-dir",
    "registry",
    "connect",
    "zookeeper",
)
# Where a file of properties says itself which cluster it is for; the second as kcat writes it.
_SERVERS = ("bootstrap.servers", "metadata.broker.list")


class ContextError(Exception):
    """The file, a context or its credentials are not right; the message says what is and shows no secret."""


class Context(NamedTuple):
    """One cluster. Without ``bootstrap_servers`` (and no file that names them): the embedded one in ``data_dir``,
    ``""`` being the usual. ``properties`` are as written, placeholders and all."""

    name: str
    bootstrap_servers: str = ""
    colour: str = ""
    read_only: bool = False
    command_config: str = ""
    properties: ClientProperties = ClientProperties()
    data_dir: str = ""
    # A schema registry's URL, as written, placeholders and all.
    registry: str = ""
    # URLs of Connect's workers, as written, placeholders and all.
    connect: str = ""
    # zookeeper.connect, where ZooKeeper coordinates the cluster.
    zookeeper: str = ""

    @property
    def embedded(self) -> bool:
        """Whether it is a cluster of kconsole's own."""
        return not self.bootstrap_servers and not self.command_config

    @property
    def colour_code(self) -> str:
        """``#rrggbb``, or nothing."""
        return COLOURS.get(self.colour, self.colour)


class Contexts(NamedTuple):
    """What the file says. The embedded cluster is a context also where the file has none."""

    default: str
    by_name: dict[str, Context]

    def get(self, name: str) -> Context:
        """Raises: ContextError."""
        if name not in self.by_name:
            raise ContextError(f"there is no context {name}: {', '.join(self.by_name)}")
        return self.by_name[name]


class ContextFile:
    """Read anew each time it is asked: another console may have changed it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Contexts:
        """Raises: ContextError."""
        document = self._document()
        written = document.get("contexts") or {}
        if not isinstance(written, dict):
            raise self._error("contexts", "names with what belongs to each are needed below it")
        found = {str(name): self._context(str(name), said) for name, said in written.items()}
        found.setdefault(EMBEDDED, Context(EMBEDDED))
        default = str(document.get("default") or "")
        if default and default not in found:
            raise self._error("default", f"there is no context {default}: {', '.join(found)}")
        return Contexts(default, found)

    def put(self, name: str, said: Mapping[str, Any]) -> None:
        """Add a context, or write it anew. Raises: ContextError."""
        document = self._document()
        contexts = dict(document.get("contexts") or {})
        contexts[name] = dict(said)
        self._context(name, contexts[name])
        write_document(self.path, {**document, "contexts": contexts}, ContextError)

    def remove(self, name: str) -> None:
        """Forget a context. Raises: ContextError."""
        document = self._document()
        contexts = dict(document.get("contexts") or {})
        if contexts.pop(name, None) is None:
            raise ContextError(f"{self.path} has no context {name}: {', '.join(map(str, contexts)) or 'it has none'}")
        if document.get("default") == name:
            document.pop("default")
        write_document(self.path, {**document, "contexts": contexts}, ContextError)

    def use(self, name: str) -> None:
        """Make a context the one that is opened when none is named. Raises: ContextError."""
        self.read().get(name)
        others = {key: each for key, each in self._document().items() if key != "default"}
        write_document(self.path, {"default": name, **others}, ContextError)

    # -- the file -------------------------------------------------------------------------------------------------

    def _error(self, where: str, what: str) -> ContextError:
        return ContextError(f"{self.path}: {where}: {what}")

    def _document(self) -> dict[str, Any]:
        read = read_document(self.path, ContextError)
        if read is None:
            return {}
        if not isinstance(read, dict):
            raise ContextError(f"{self.path}: `contexts:` with a name for each is needed")
        self._known(read, ("default", "contexts"), "")
        return read

    def _known(self, said: Mapping[Any, Any], keys: tuple[str, ...], where: str) -> None:
        for key in said:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}"
                raise self._error(where + str(key), f"not known: {hint}")

    def _context(self, name: str, said: object) -> Context:
        if not _NAME.fullmatch(name):
            raise self._error(repr(name), "is no name: letters, digits, '.', '_' and '-' make one")
        if said is None and name == EMBEDDED:
            return Context(name)
        if not isinstance(said, dict):
            raise self._error(name, f"one or some of {', '.join(_KEYS)} are needed below it")
        self._known(said, _KEYS, f"{name}: ")
        servers = str(said.get("bootstrap-servers") or "")
        for server in servers.split(",") if servers else ():
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise self._error(f"{name}: bootstrap-servers", f"{server!r} is not host:port")
        colour = str(said.get("colour") or "")
        if colour and colour not in COLOURS and not _HEX.fullmatch(colour):
            raise self._error(f"{name}: colour", f"{colour!r} is none of {', '.join(COLOURS)}, nor #rrggbb in quotes")
        read_only = said.get("read-only", False)
        if not isinstance(read_only, bool):
            raise self._error(f"{name}: read-only", "true or false")
        properties = said.get("properties") or {}
        if not isinstance(properties, dict) or any(isinstance(each, dict | list) for each in properties.values()):
            raise self._error(f"{name}: properties", "lines of the form `name: value`, with Kafka's names, are needed")
        texts = {str(key): _as_text(value) for key, value in properties.items()}
        self._check_secrets(name, texts)
        command_config, data_dir = str(said.get("command-config") or ""), str(said.get("data-dir") or "")
        registry = str(said.get("registry") or "")
        if "@" in registry and "${" not in registry:
            raise self._error(f"{name}: registry", "who asks is named and not written down: http://USER:${env:NAME}@…")
        connect = str(said.get("connect") or "")
        if "@" in connect and "${" not in connect:
            raise self._error(f"{name}: connect", "who asks is named and not written down: http://USER:${env:NAME}@…")
        context = Context(
            *(name, servers, colour, read_only, command_config, ClientProperties(texts), os.path.expanduser(data_dir)),
            registry=registry,
            connect=connect,
            zookeeper=str(said.get("zookeeper") or ""),
        )
        if context.zookeeper and context.embedded:
            raise self._error(f"{name}: zookeeper", "is for a cluster with bootstrap-servers")
        if data_dir and not context.embedded:
            raise self._error(f"{name}: data-dir", "is for an embedded cluster, not beside bootstrap-servers")
        if context.embedded and name != EMBEDDED and not data_dir:
            raise self._error(name, "it needs bootstrap-servers, or data-dir if it is a cluster of kconsole's own")
        return context

    def _check_secrets(self, name: str, properties: Mapping[str, str]) -> None:
        written = [key for key, value in properties.items() if is_sensitive(key) and "${" not in value]
        if not written or not self.path.exists():
            return
        if self.path.stat().st_mode & 0o077:
            raise self._error(
                f"{name}: {written[0]}",
                f"stands in a file that others may read: say ${{env:NAME}} or ${{file:PATH}}, or chmod 600 {self.path}",
            )


def user_contexts() -> ContextFile:
    """``kconsole/contexts.yaml`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    return ContextFile(user_file("contexts.yaml"))


def record_of(context: Context) -> str | None:
    """Where an embedded cluster is recorded; others are not until somebody says so."""
    if not context.embedded:
        return None
    from console.recording.options import path_in
    from console.supervisor_calls import directory_of

    return path_in(directory_of(context.data_dir or None).path)


def opened_without(options: ConsoleOptions) -> Context:
    """The context that a cluster would be which was opened without one."""
    if options.control_socket is None:
        return Context(
            UNNAMED,
            options.bootstrap_servers or "",
            read_only=options.read_only,
            properties=ClientProperties(options.command_config),
        )
    from console.supervisor_calls import directory_of

    if options.data_dir in (None, directory_of(None).path):
        return Context(EMBEDDED, read_only=options.read_only)
    return Context(UNNAMED, read_only=options.read_only, data_dir=options.data_dir)


def options_of(context: Context, *, read_only: bool = False, watching: bool = False) -> ConsoleOptions:
    """What opens a context; its credentials are read now. Blocks.

    Raises:
        ContextError: a file, or what a placeholder names, is not there; or the embedded cluster does not run.
    """
    values = ValueOptions(registry=_registry_of(context))
    common = ConsoleOptions(
        read_only=read_only or context.read_only,
        context=context,
        watching=watching,
        values=values,
        connect_url=connect_of(context),
    )
    if context.embedded:
        from console.supervisor_calls import directory_of

        directory = directory_of(context.data_dir or None)
        if not directory.is_owned():
            option = f" --data-dir {context.data_dir}" if context.data_dir else ""
            raise ContextError(f"it does not run: start it with `kconsole up{option}`")
        return common._replace(control_socket=directory.control_socket(), data_dir=directory.path)
    properties = read_credentials(context)
    servers = context.bootstrap_servers or next((properties[name] for name in _SERVERS if name in properties), "")
    if not servers:
        raise ContextError(f"{context.command_config} names no bootstrap.servers: set bootstrap-servers beside it")
    own = {name: value for name, value in properties.items() if name not in _SERVERS}
    if context.zookeeper:
        own["zookeeper.connect"] = context.zookeeper
    return common._replace(bootstrap_servers=servers, command_config=ClientProperties(own))


def _registry_of(context: Context) -> str | None:
    """Raises: ContextError."""
    return _url_of(context.registry, "registry")


def connect_of(context: Context) -> str | None:
    """URLs of the context's Connect workers, with what placeholders name. Raises: ContextError."""
    return _url_of(context.connect, "connect")


def _url_of(written: str, name: str) -> str | None:
    """Raises: ContextError."""
    if not written:
        return None
    # What is filled in stands in a URL, where some characters would part it.
    return _PLACEHOLDER.sub(lambda found: quote(_filled(found, name), safe=""), written)


def read_credentials(context: Context) -> ClientProperties:
    """The file's properties and the context's own over them, with what placeholders name. Raises: ContextError."""
    properties: dict[str, str] = {}
    if context.command_config:
        properties = read_properties(_read(context.command_config, "command-config"))
    for name, written in context.properties.items():
        properties[name] = _PLACEHOLDER.sub(lambda found, name=name: _filled(found, name), written)
    return ClientProperties(properties)


def _filled(found: re.Match[str], name: str) -> str:
    kind, what = found[1], found[2]
    if kind == "env":
        # Kafka's EnvVarConfigProvider is asked as ${env::NAME}.
        variable = what.lstrip(":")
        if variable not in os.environ:
            raise ContextError(f"{name}: the environment has no {variable}: export it before kconsole is started")
        return os.environ[variable]
    if kind == "file":
        path, _, key = what.partition(":")
        text = _read(path, name)
        if not key:
            return text.strip()
        values = read_properties(text)
        if key not in values:
            raise ContextError(f"{name}: {path} has no {key}")
        return values[key]
    raise ContextError(
        f"{name}: ${{{kind}:…}} is not known: there are ${{env:NAME}}, ${{file:PATH}}, ${{file:PATH:KEY}}"
    )


def _read(path: str, who: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ContextError(f"{who}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ContextError(f"{who}: {path} is no text") from None


def _as_text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
