"""Stores of an application over streams, and entries of one, asked of its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.modals.detail import Detail
from console.screens.base import ViewSpec, view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.cells import Cell, Column, Span, cell
from console.viewmodel.groups import find_group
from console.viewmodel.keeping import KeptRows, Told
from console.viewmodel.records import json_lines
from console.viewmodel.store_queries import (
    STORE_COLUMNS,
    EntryRow,
    QueryError,
    StoreQuery,
    StoreRow,
    entry_columns,
    moment_words,
    parse_query,
    query_help,
    shown,
    store_rows,
    unpacked,
)
from console.viewmodel.streams_workers import NO_WORKERS, endpoints_of, has_workers, holders_of
from engine.supervisor.snapshot import ClusterSnapshot, GroupState

_EDGES = 6


class _Asked(PolledView):
    """What the workers of one application are asked."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self.group_id = str(about["group"])

    @property
    def group(self) -> GroupState | None:
        """As it was seen last."""
        picture = self.console.picture()
        return find_group(picture, self.group_id) if picture is not None else None

    async def stores(self) -> tuple[list[StoreRow], tuple[str, ...]]:
        """Of all workers that answer, and why others do not. Raises: GatewayError: none does."""
        group = self.group
        if group is None:
            raise GatewayError("this application is not there (any more)")
        if not has_workers(group):
            raise GatewayError(NO_WORKERS)
        answers = await self.console.gateway.streams.stores(endpoints_of(group))
        problems = tuple(dict.fromkeys(each for each in answers.values() if isinstance(each, str)))
        told = {endpoint: each for endpoint, each in answers.items() if not isinstance(each, str)}
        if not told and problems:
            raise GatewayError("; ".join(problems))
        return store_rows(told), problems


class StoresView(_Asked):
    """One row a store."""

    NAME = "stores"
    COLUMNS = STORE_COLUMNS
    NOTHING = "this application has no stores"
    BINDINGS = view_bindings("stores")

    async def ask(self) -> Told:
        rows, problems = await self.stores()
        return Told({"": rows}, problems)

    def scope_word(self) -> str:
        return self.group_id

    def counts(self) -> str:
        return "entries are estimates" if self.table.shown else ""

    def action_open(self) -> None:
        row: StoreRow | None = self.table.cursor_row
        if row is not None:
            self.console.push_view(ViewSpec("store", {"group": self.group_id, "store": row.name}))

    def action_topology(self) -> None:
        self.console.push_view(ViewSpec("topology", {"group": self.group_id}))


class StoreView(_Asked):
    """Entries of one store: those of the last query, asked for again and again."""

    NAME = "store"
    NOTHING = "nothing is there: s asks for something else"
    BINDINGS = view_bindings("store")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._name = str(about["store"])
        self._store: StoreRow | None = None
        self._line = "all"
        self._truncated = False

    @classmethod
    def known_columns(cls) -> list[str]:
        """Stores of windows have others."""
        return []

    def columns(self) -> Sequence[Column]:
        return entry_columns(self._store) if self._store is not None else ()

    async def ask(self) -> Told:
        if self._store is None:
            found, _ = await self.stores()
            self._store = next((each for each in found if each.name == self._name), None)
            if self._store is None:
                raise GatewayError(f"no worker has a store {self._name}")
            self.table.columns = self.columns()
        group = self.group
        if not has_workers(group):
            raise GatewayError(NO_WORKERS)
        query = self._query(self._store)
        entries = await self.console.gateway.streams.query(endpoints_of(group), query, self._topics())
        self._truncated = entries.truncated
        return Told({"": entries.rows}, entries.missing)

    def _query(self, store: StoreRow) -> StoreQuery:
        """Of the line, with times from now on back."""
        try:
            return parse_query(self._line, store, self.console.now_ms())
        except QueryError as error:
            raise GatewayError(str(error)) from None

    def _topics(self) -> list[str]:
        """What the store is made of, as far as it can be told: all that the application reads."""
        group = self.group
        parts = (group.topology.subtopologies or ()) if group is not None and group.topology is not None else ()
        return sorted({topic for part in parts for topic in (*part.source_topics, *part.changelog_topics)})

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[EntryRow]:
        group, store = self.group, self._store
        if group is None or store is None:
            return super().rows(snapshot)
        holders = holders_of(group, store.sub_topology)
        return [
            row._replace(worker=holders.get(row.partition, "") if row.partition is not None else "")
            for row in super().rows(snapshot)
        ]

    def scope_word(self) -> str:
        return f"{self.group_id}/{self._name}"

    @classmethod
    def crumb_of(cls, about: Mapping[str, Any]) -> str:
        return str(about["store"])

    def remark(self) -> str:
        words = [
            (f"! {self.problem}" if self.problem else "", 9),
            (f"› {self._line}", 8),
            ("there are more: limit=1000" if self._truncated else "", 5),
            (self._store.kind if self._store is not None else "", 2),
        ]
        return text.joined(words, max(40, self.size.width - _EDGES))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "line": self._line}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._line = state.get("line", self._line)
        super().restore(state)

    def describe_row(self, row: EntryRow) -> object:
        return {
            "key": unpacked(row.entry_key),
            "value": unpacked(row.value),
            "window": row.window,
            "timestamp": row.timestamp_ms,
            **({} if row.valid_to_ms is None else {"valid_to": row.valid_to_ms}),
            "partition": row.partition,
            "worker": row.worker,
        }

    # -- keys -----------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        row: EntryRow | None = self.table.cursor_row
        if row is None:
            return
        facts = [("partition", row.partition), ("worker", row.worker or None)]
        if row.timestamp_ms is not None:
            facts.insert(0, ("timestamp", moment_words(row.timestamp_ms)))
        if row.valid_to_ms is not None:
            facts.insert(1, ("until", moment_words(row.valid_to_ms)))
        if row.window is not None:
            facts.insert(0, ("window", " – ".join(moment_words(each) for each in row.window if each is not None)))
        lines: list[Cell] = [
            (Span(f"{name:<12}", "muted"), Span(str(value))) for name, value in facts if value is not None
        ]
        for name, value in (("KEY", row.entry_key), ("VALUE", row.value)):
            lines += [cell(""), cell(name, "title"), *json_lines(unpacked(value))]
        self.console.push_screen(Detail(f"{self._name} {text.clip(shown(row.entry_key), 40)}", lines))

    def action_ask(self) -> None:
        if self._store is None:
            self.console.flash(
                f"nothing is known of {self._name} yet{f': {self.problem}' if self.problem else ''}", "info"
            )
            return
        line = "" if self._line == "all" else self._line
        self.console.main.open_query(line, query_help(self._store, short=self.size.width < 100))

    def take_query(self, line: str) -> str:
        """What was typed; answers what is wrong with it."""
        store = self._store
        if store is None:
            return self.problem
        try:
            parse_query(line, store, self.console.now_ms())
        except QueryError as error:
            return str(error)
        self._line = line.strip() or "all"
        # What another question was answered is no answer to this one.
        self.kept, self._truncated, self.problem = KeptRows(), False, ""
        self.table.empty = self.EMPTY
        self.table.clear()
        self.refresh_rows()
        self.begin()
        return ""
