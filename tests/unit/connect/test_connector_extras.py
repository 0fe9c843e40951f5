"""A plain install knows all connectors and configs; what one needs more is told by the command that installs it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
for name in ("sqlalchemy", "psycopg2", "pyarrow", "fsspec", "fastavro"):
    sys.modules[name] = None
from engine.connect.connectors.object_store import ObjectStoreSinkConnector
from engine.connect.connectors.postgres_cdc import PostgresConnector
from engine.connect.connectors.sql_sink import SqlSinkConnector
from engine.connect.connectors.sql_source import SqlSourceConnector
for cls in (SqlSourceConnector, SqlSinkConnector, PostgresConnector, ObjectStoreSinkConnector):
    assert cls.config().keys
    try:
        cls.task_class()
    except Exception as error:
        print(f"{cls.__name__}: {error}")
print(SqlSourceConnector.validate({"connection.url": "sqlite:///x", "topic.prefix": "x", "mode": "bulk"}))
props = {"topic.prefix": "x", "database.hostname": "x", "database.user": "x", "database.dbname": "x"}
print(PostgresConnector.validate(props))
print(ObjectStoreSinkConnector.validate({"store.url": "/tmp/x"}))
"""


def test_what_is_not_installed_is_told_with_its_extra() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "SqlSourceConnector: sqlalchemy is not installed: pip install 'kconsole[connect-sql]'",
        "SqlSinkConnector: sqlalchemy is not installed: pip install 'kconsole[connect-sql]'",
        "PostgresConnector: psycopg2 is not installed: pip install 'kconsole[connect-postgres]'",
        "ObjectStoreSinkConnector: fsspec is not installed: pip install 'kconsole[connect-parquet]'",
        "{'connection.url': [\"sqlalchemy is not installed: pip install 'kconsole[connect-sql]'\"]}",
        "{'database.hostname': [\"psycopg2 is not installed: pip install 'kconsole[connect-postgres]'\"]}",
        "{'store.url': [\"fsspec is not installed: pip install 'kconsole[connect-parquet]'\"]}",
    ]
