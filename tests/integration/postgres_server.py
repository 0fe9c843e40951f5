"""A PostgreSQL server of the tests' own, from Debian's package: its data directory, its port, gone with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from glob import glob
from pathlib import Path
from typing import Any

import psycopg2

from bench.clusters import free_port

USER = "shop"
DATABASE = "shop"


def program(name: str) -> str:
    """Where one of PostgreSQL's programs is: Debian has them beside its version, not in PATH."""
    places = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda each: int(each.split("/")[4]))
    found = places[-1] if places else shutil.which(name)
    assert found is not None, f"{name} is missing: `make tools` installs PostgreSQL"
    return found


class PostgresServer:
    """Listens on loopback; ``wal_level=logical``. PostgreSQL refuses root, so root takes ``postgres``."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kconsole-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
            self._as_user = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            ["setpriv", *self._as_user, program("initdb"), "-D", str(self.directory / "data"), "-U", USER,
             "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
        )  # fmt: skip
        self.start()
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        connection.close()

    def start(self) -> None:
        """Start it, and wait until it answers. It ends with this process, however that ends."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.directory,
            "wal_level": "logical", "fsync": "off", "max_wal_senders": 10, "max_replication_slots": 20,
            "wal_sender_timeout": "10s", "log_min_messages": "warning", "max_connections": 50, "shared_buffers": "16MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(
            ["setpriv", *self._as_user, "--pdeathsig", "QUIT", program("postgres"), "-D", str(self.directory / "data"),
             *options],
            stdout=log,
            stderr=log,
            cwd="/",
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres").close()
                return
            except psycopg2.OperationalError as error:
                said = (self.directory / "log").read_text()[-2000:]
                assert self._process.poll() is None, f"PostgreSQL did not start: {said}"
                assert time.monotonic() < deadline, f"PostgreSQL does not answer: {error} {said}"
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to the postmaster and all of its processes."""
        assert self._process is not None
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        self._process.kill()
        for each in children:
            with_pid = int(each)
            try:
                os.kill(with_pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        time.sleep(0.05)

    def close(self) -> None:
        """Stop it, and remove what it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, database: str = DATABASE) -> Any:
        """A connection whose statements are transactions of their own."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname=database)
        connection.autocommit = True
        return connection

    def run(self, *statements: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Statements, one after another; the rows of the last, if it has any."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for each in statements:
                    cursor.execute(each)
                return cursor.fetchall() if cursor.description is not None else []
        finally:
            connection.close()

    def new_database(self, name: str) -> str:
        """A database of that name without anything in it."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        return name

    def url(self, database: str = DATABASE) -> str:
        """For SQLAlchemy."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
