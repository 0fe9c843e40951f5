"""Where a worker's REST listens, how others reach it, and who may ask (``RestServerConfig``; the token is our own)."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from engine.connect.errors import ConfigError

DEFAULT_PORT = 8083
_LISTENER = re.compile(r"(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)")
_LOOPBACK = "127.0.0.1"
_LEAST_TOKEN = 16
# What Java's worker has and this one has not: said, not left out silently.
_NOT_BUILT = {
    "rest.extension.classes": "extensions are Java classes",
    "access.control.allow.origin": "pages of other origins get no answers",
    "access.control.allow.methods": "pages of other origins get no answers",
    "response.http.headers.config": "put a proxy before the worker that adds headers",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """``host`` is empty where all addresses of the machine are meant; port 0 is any that is free."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RestConfig:
    """What a worker's configs say of REST.

    ``admin_listeners``: where ``/admin`` is served; None: where the rest is; empty: nowhere.
    ``token``: what a request has to carry; None: nothing (``rest.auth=none``).
    """

    listeners: tuple[Listener, ...]
    admin_listeners: tuple[Listener, ...] | None
    advertised_host: str | None
    advertised_port: int | None
    token: str | None
    topic_tracking: bool
    topic_tracking_reset: bool

    @classmethod
    def of(cls, props: Mapping[str, str]) -> RestConfig:
        """From a worker's configs, under Kafka's names; a token file that is not there is made, for this user alone.

        Raises:
            ConfigError: something cannot be, or is not built.
        """
        for name, why in _NOT_BUILT.items():
            if props.get(name, "").strip():
                raise ConfigError(name, props[name], f"it is not built: {why}")
        advertised = props.get("rest.advertised.listener", "http").lower()
        if advertised != "http":
            raise ConfigError("rest.advertised.listener", advertised, "only http is built: let a proxy do TLS")
        admin = props.get("admin.listeners")
        port = props.get("rest.advertised.port")
        if port is not None and not (port.strip().isdigit() and 0 < int(port) < 65536):
            raise ConfigError("rest.advertised.port", port, "Not a port")
        return cls(
            _listeners("listeners", props.get("listeners", f"http://{_LOOPBACK}:{DEFAULT_PORT}")),
            None if admin is None else _listeners("admin.listeners", admin),
            props.get("rest.advertised.host.name", "").strip() or None,
            None if port is None else int(port),
            _token(props),
            _flag(props, "topic.tracking.enable"),
            _flag(props, "topic.tracking.allow.reset"),
        )

    def advertised_url(self, bound: Listener) -> str:
        """``http://host:port/``, under which other workers ask this one (``RestServer.advertisedUrl``).

        Args:
            bound: the first listener, with the port that it got.
        """
        host = self.advertised_host or bound.host
        if host in ("", "0.0.0.0", "::"):
            host = socket.gethostname()
        if ":" in host:
            host = f"[{host}]"
        return f"http://{host}:{self.advertised_port or bound.port}/"

    def hosts(self) -> frozenset[str]:
        """The names by which requests may call this worker; literal addresses need none."""
        listeners = (*self.listeners, *(self.admin_listeners or ()))
        named = {each.host for each in listeners} | {self.advertised_host or ""}
        if any(each.host in ("", "0.0.0.0", "::") for each in listeners):
            named |= {socket.gethostname(), socket.getfqdn()}
        return frozenset(each.lower() for each in named | {"localhost"} if each)


def _listeners(name: str, text: str) -> tuple[Listener, ...]:
    found = []
    for each in (one.strip() for one in text.split(",")):
        if not each and name == "admin.listeners":
            continue
        match = _LISTENER.fullmatch(each)
        if match is None:
            raise ConfigError(name, each, "Listener doesn't have the right format (protocol://hostname:port).")
        if match[1].lower() != "http":
            raise ConfigError(name, each, "only http is built: let a proxy do TLS")
        if not 0 <= int(match[3]) < 65536:
            raise ConfigError(name, each, "Not a port")
        found.append(Listener(match[2], int(match[3])))
    if not found and name == "listeners":
        raise ConfigError(name, text, "at least one URL is expected, ex: http://127.0.0.1:8083")
    return tuple(found)


def _flag(props: Mapping[str, str], name: str) -> bool:
    return props.get(name, "true").strip().lower() == "true"


def _token(props: Mapping[str, str]) -> str | None:
    auth = props.get("rest.auth", "token").strip().lower()
    if auth == "none":
        return None
    if auth != "token":
        raise ConfigError("rest.auth", auth, "It is token or none")
    token, file = props.get("rest.token"), props.get("rest.token.file")
    if token is None and file is None:
        raise ConfigError("rest.token.file", None, "Say where the token is kept that requests carry, or rest.auth=none")
    if token is None and file is not None:
        token = read_token(file) or make_token(file)
    token = (token or "").strip()
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        where = "rest.token" if file is None else file
        raise ConfigError(where, "[hidden]", f"A token has at least {_LEAST_TOKEN} letters, digits and signs of ASCII")
    return token


def read_token(file: str) -> str | None:
    """The token that stands there; None if there is no such file.

    Raises:
        ConfigError: it cannot be read, or others can read it as well.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise ConfigError("rest.token.file", file, f"others can read it: chmod 600 {file}")
            return opened.read().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("rest.token.file", file, f"it cannot be read: {error}") from None


def make_token(file: str) -> str:
    """Write a new token for this user's eyes; of several processes that do so at once all get the same.

    Raises:
        ConfigError: it cannot be written.
    """
    temporary = f"{file}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(fd, "w", encoding="ascii") as out:
                out.write(secrets.token_urlsafe(32) + "\n")
            os.link(temporary, file)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise ConfigError("rest.token.file", file, f"it cannot be written: {error}") from None
    found = read_token(file)
    assert found is not None, file
    return found
