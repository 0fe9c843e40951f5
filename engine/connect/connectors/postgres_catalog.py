"""What a change source asks PostgreSQL's catalog: tables, columns and types, publication, slot."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import LogicalReplicationConnection

from engine.connect.connectors.pgoutput import parse_lsn
from engine.connect.connectors.postgres_cdc import ALL_TABLES, DISABLED, TableFilter
from engine.connect.connectors.postgres_values import SESSION, PgType
from engine.connect.errors import ConnectError

_log = logging.getLogger(__name__)


class Column(NamedTuple):
    """A column of a table. ``modifier`` is ``atttypmod``."""

    name: str
    type_oid: int
    modifier: int
    not_null: bool


class Table(NamedTuple):
    """A table; ``key`` has the columns of the primary key, or of the replica identity's index, in their order."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    is_partitioned: bool = False


class Slot(NamedTuple):
    """A replication slot. ``confirmed_flush`` is up to where its reader has everything.

    ``is_lost``: PostgreSQL has removed the log that its reader needs (``max_slot_wal_keep_size``).
    """

    active: bool
    database: str | None
    plugin: str | None
    confirmed_flush: int
    is_lost: bool


def connect(values: Mapping[str, Any], replication: bool = False) -> Connection:
    """A connection with the settings that :mod:`postgres_values` wants.

    Raises:
        psycopg2.OperationalError: there is none to be had.
    """
    password = values["database.password"]
    settings: dict[str, Any] = {
        "host": values["database.hostname"],
        "port": values["database.port"],
        "user": values["database.user"],
        "password": None if password is None else password.value,
        "dbname": values["database.dbname"],
        "sslmode": values["database.sslmode"].lower(),
        "application_name": f"kconsole {values['topic.prefix']}",
        "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        "keepalives_idle": 30,
        "connect_timeout": 10,
    }
    if replication:
        settings["connection_factory"] = LogicalReplicationConnection
    connection: Connection = psycopg2.connect(**settings)
    return connection


_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname
"""
_COLUMNS = """
SELECT attname, atttypid, atttypmod, attnotnull FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i
JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_class c ON c.oid = i.indrelid
WHERE i.indrelid = %s AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END ORDER BY k.place
"""
_TYPE = """
SELECT t.oid, t.typname, t.typtype, t.typelem, t.typbasetype, t.typcategory, t.typtypmod,
       ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_type t WHERE t.oid = %s
"""


_WITHOUT_IDENTITY = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%s) AND (c.relreplident = 'n' OR c.relreplident = 'd'
  AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)) ORDER BY 1
"""
# Changes of partitions under the name of the whole table, as the snapshot reads it.
_VIA_ROOT = " WITH (publish_via_partition_root = true)"


class Catalog:
    """Answers of one connection; types are kept."""

    def __init__(self, connection: Connection) -> None:
        """``connection`` is set to autocommit: no question leaves a transaction open."""
        connection.autocommit = True
        self._connection = connection
        self._types: dict[int, PgType | None] = {}

    def tables(self, chosen: TableFilter) -> list[Table]:
        """All tables that are chosen; a partitioned table is one."""
        return [self.table(*row) for row in self._all(_TABLES) if chosen.has_table(row[1], row[2])]

    def table(self, oid: int, schema: str, name: str, is_partitioned: bool = False) -> Table:
        """A table's columns and key as they are now: none, if it is gone."""
        columns = tuple(Column(*row) for row in self._all(_COLUMNS, oid))
        key = tuple(row[0] for row in self._all(_KEY, oid))
        return Table(oid, schema, name, columns, key, is_partitioned)

    def partitioned_by(self, oid: int) -> tuple[str, str] | None:
        """Schema and name of the whole table that a table is a partition of, or None."""
        found = self._all(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = pg_partition_root(%s) AND c.oid <> %s",
            oid,
            oid,
        )
        return (found[0][0], found[0][1]) if found else None

    def type(self, oid: int) -> PgType | None:
        """A type, or None if it is gone. A domain is its base type."""
        if oid not in self._types:
            self._types[oid] = self._find_type(oid)
        return self._types[oid]

    def _find_type(self, oid: int) -> PgType | None:
        for found, name, kind, element, base, category, modifier, labels in self._all(_TYPE, oid):
            if kind == "d":
                found_base = self.type(base)
                return found_base and found_base._replace(modifier=modifier if modifier != -1 else found_base.modifier)
            inside = self.type(element) if category == "A" and element else None
            return PgType(found, name, kind, inside, tuple(labels))
        return None

    def forget_types(self) -> None:
        """Types may have changed: an enum may have more labels."""
        self._types.clear()

    def slot(self, name: str) -> Slot | None:
        """A replication slot, or None."""
        for active, database, plugin, flushed, is_lost in self._all(
            "SELECT active, database, plugin, confirmed_flush_lsn::text, wal_status = 'lost' FROM pg_replication_slots"
            " WHERE slot_name = %s",
            name,
        ):
            return Slot(active, database, plugin, parse_lsn(flushed) if flushed else 0, bool(is_lost))
        return None

    def slot_lag_bytes(self, name: str) -> int | None:
        """How much of the log the slot keeps beyond what its reader has confirmed, in bytes."""
        found = self._all(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint FROM pg_replication_slots"
            " WHERE slot_name = %s",
            name,
        )
        return found[0][0] if found else None

    def drop_slot(self, name: str) -> None:
        """Drop a slot."""
        self._all("SELECT pg_drop_replication_slot(%s)", name)

    def make_publication(self, name: str, mode: str, tables: Iterable[Table]) -> None:
        """Create the publication, or make its tables those that are wanted, as the mode says.

        Raises:
            ConnectError: it must be there and is not, or no table is wanted.
        """
        there = self._all("SELECT puballtables FROM pg_publication WHERE pubname = %s", name)
        names = sql.Identifier(name)
        if mode == DISABLED or (mode == ALL_TABLES and there):
            if not there:
                raise ConnectError(
                    f"there is no publication {name}, and publication.autocreate.mode is disabled: "
                    f"CREATE PUBLICATION {name} FOR TABLE …"
                )
            return
        if mode == ALL_TABLES:
            self._run(sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES" + _VIA_ROOT).format(names))
            return
        if there and there[0][0]:
            return  # it has all tables; what is not chosen is filtered here
        chosen = list(tables)
        wanted = [(each.schema, each.name) for each in chosen]
        if not wanted:
            raise ConnectError("no table is chosen: look at table.include.list and its like")
        for (each,) in self._all(_WITHOUT_IDENTITY, [each.oid for each in chosen]):
            _log.warning(
                "%s has neither a primary key nor a replica identity: while it is in the publication %s PostgreSQL "
                "refuses to update and delete its rows. ALTER TABLE … REPLICA IDENTITY FULL, or table.exclude.list",
                each,
                name,
            )
        listed = sql.SQL(", ").join(sql.Identifier(*each) for each in wanted)
        if not there:
            self._run(sql.SQL("CREATE PUBLICATION {} FOR TABLE {}" + _VIA_ROOT).format(names, listed))
            return
        has = self._all(
            "SELECT n.nspname, c.relname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
            " JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s",
            name,
        )
        if set(has) != set(wanted):
            self._run(sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(names, listed))

    def _run(self, statement: sql.Composable) -> None:
        with self._connection.cursor() as asking:
            asking.execute(statement)

    def _all(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as asking:
            asking.execute(query, parameters)
            return asking.fetchall()


def problems(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is wrong with configs, asked of the server: messages by config's name."""
    try:
        connection = connect(values)
    except psycopg2.OperationalError as error:
        return {"database.hostname": [f"no connection to PostgreSQL: {str(error).strip()}"]}
    try:
        catalog = Catalog(connection)
        with connection.cursor() as asking:
            asking.execute("SHOW wal_level")
            (level,) = asking.fetchone() or ("",)
            if level != "logical":
                return {
                    "database.hostname": [
                        f"wal_level of PostgreSQL is {level}: set wal_level = logical, and restart it"
                    ]
                }
            asking.execute("SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user")
            (may,) = asking.fetchone() or (False,)
            if not may:
                user = values["database.user"]
                return {"database.user": [f'the user may not replicate: ALTER ROLE "{user}" REPLICATION']}
            if not catalog.tables(TableFilter(values)):
                return {"table.include.list": ["no table is chosen: a table's name here is schema.table"]}
            slot = catalog.slot(values["slot.name"])
            if slot is not None and (slot.database != values["database.dbname"] or slot.plugin != "pgoutput"):
                what = f"of the database {slot.database} with {slot.plugin}"
                return {
                    "slot.name": [f"the slot {values['slot.name']} is there, and is one {what}: choose another name"]
                }
    finally:
        connection.close()
    return {}
