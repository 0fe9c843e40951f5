"""How SQL connectors are told where their database is (``connection.…`` of Confluent's JDBC connectors).

``connection.url`` is a URL of SQLAlchemy; ``jdbc:postgresql:`` and ``jdbc:sqlite:`` are understood, so that
configs written for the JDBC connectors load.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, Width, between, one_of
from engine.connect.errors import ConfigError

URL = "connection.url"
GROUP = "Database"
_HIDDEN = "[hidden]"  # a password may be anywhere in a URL that nobody understands

# Parameters of PostgreSQL's JDBC driver, and libpq's words for them.
_LIBPQ = {
    "ApplicationName": "application_name",
    "application_name": "application_name",
    "connectTimeout": "connect_timeout",
    "connect_timeout": "connect_timeout",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "tcpKeepAlive": "keepalives",
    "options": "options",
}


def timezone_name(name: str, value: Any) -> None:
    """A validator: a time zone's name, as ``Europe/Berlin``."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(name, value, "it is no time zone, such as UTC or Europe/Berlin") from None


def define_connection(definitions: ConfigDef) -> ConfigDef:
    """The configs of a connection, in those of a connector."""
    return (
        definitions.define(
            URL,
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.HIGH,
            "Where the database is, as SQLAlchemy writes it: postgresql://host:5432/shop, sqlite:////var/lib/shop.db; "
            "jdbc:postgresql: and jdbc:sqlite: are understood too.",
            validator=_url,
            group=GROUP,
            width=Width.LONG,
            display_name="URL",
        )
        .define(
            "connection.user",
            ConfigType.STRING,
            None,
            Importance.HIGH,
            "The user's name; may be a reference such as ${env:DB_USER}.",
            group=GROUP,
            display_name="User",
        )
        .define(
            "connection.password",
            ConfigType.PASSWORD,
            None,
            Importance.HIGH,
            "The user's password; best a reference such as ${file:/run/secrets/db:password}.",
            group=GROUP,
            display_name="Password",
        )
        .define(
            "connection.attempts",
            ConfigType.INT,
            3,
            Importance.LOW,
            "How often to try to connect before that is a failure: a source tries again with its next poll, a sink as "
            "max.retries says.",
            validator=between(1),
            group=GROUP,
        )
        .define(
            "connection.backoff.ms",
            ConfigType.LONG,
            10_000,
            Importance.LOW,
            "How long to wait between two tries to connect, in ms.",
            validator=between(0),
            group=GROUP,
        )
        .define(
            "db.timezone",
            ConfigType.STRING,
            "UTC",
            Importance.MEDIUM,
            "The time zone of times that the database keeps without one.",
            validator=timezone_name,
            group=GROUP,
        )
        .define(
            "quote.sql.identifiers",
            ConfigType.STRING,
            "always",
            Importance.MEDIUM,
            "Whether names of tables and columns are quoted, always or never: the database folds the case of others.",
            validator=one_of("always", "never", ignore_case=True),
            group=GROUP,
        )
    )


def _url(name: str, value: Any) -> None:
    translate_url(value)


def translate_url(url: str) -> str:
    """A URL for SQLAlchemy, of one for it or for JDBC.

    Raises:
        ConfigError: a JDBC URL of another database, or one with a parameter that has no counterpart.
    """
    if url.startswith("jdbc:sqlite:"):
        path = url.removeprefix("jdbc:sqlite:").partition("?")[0]
        return "sqlite://" if path in ("", ":memory:") else f"sqlite:///{path}"
    if url.startswith("jdbc:postgresql:"):
        return _postgresql(url)
    if url.startswith("jdbc:"):
        kind = url.removeprefix("jdbc:").partition(":")[0]
        raise ConfigError(URL, _HIDDEN, f"jdbc:{kind}: is not understood: write SQLAlchemy's URL")
    if "://" not in url:
        raise ConfigError(URL, _HIDDEN, "it is no URL such as postgresql://host:5432/database or sqlite:///path")
    # SQLAlchemy 2.1 would take another driver than 2.0 here.
    if url.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg2://" + url.partition("://")[2]
    return url


def _postgresql(url: str) -> str:
    rest, _, parameters = url.removeprefix("jdbc:postgresql:").partition("?")
    address = rest.removeprefix("//") if rest.startswith("//") else f"localhost/{rest.removeprefix('/')}"
    user, password, known = "", "", {}
    for name, value in parse_qsl(parameters, keep_blank_values=True):
        if name == "user":
            user = value
        elif name == "password":
            password = value
        elif name == "currentSchema":
            known["options"] = f"-csearch_path={value}"
        elif name == "ssl":
            known.setdefault("sslmode", "verify-full" if value.lower() in ("", "true") else "prefer")
        elif name in _LIBPQ:
            known[_LIBPQ[name]] = {"true": "1", "false": "0"}.get(value, value)
        else:
            raise ConfigError(URL, _HIDDEN, f"the JDBC parameter {name} has no counterpart: leave it out")
    who = (
        f"{quote(user, safe='')}:{quote(password, safe='')}@"
        if password
        else f"{quote(user, safe='')}@"
        if user
        else ""
    )
    return f"postgresql+psycopg2://{who}{address}" + (f"?{urlencode(known)}" if known else "")
