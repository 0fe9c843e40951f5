"""Groups: which there are, who is in them, who coordinates them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.client.admin.group_descriptions import GroupDescription, GroupDescriptions
from engine.client.admin.outcome import Failure, check, refusal
from engine.client.errors import ClientError, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.delete_groups_request import DeleteGroupsRequest
from engine.wire.messages.delete_groups_response import DeleteGroupsResponse
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.find_coordinator_response import FindCoordinatorResponse
from engine.wire.messages.list_groups_request import ListGroupsRequest
from engine.wire.messages.list_groups_response import ListGroupsResponse

_MOVED = (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE)
_GROUP = 0


class ListedGroup(NamedTuple):
    """A group as its coordinator lists it. State and type are empty where an old broker does not tell."""

    group_id: str
    protocol_type: str
    state: str
    group_type: str
    coordinator: int


class GroupListing(NamedTuple):
    """All groups of the brokers that answered, sorted by name, and why others did not."""

    groups: tuple[ListedGroup, ...]
    failures: dict[int, Failure]


class GroupAdmin(GroupDescriptions):
    """Groups are asked of their coordinators, which are remembered until they answer that they are not."""

    _coordinators: dict[str, int] | None = None

    def _known_coordinators(self) -> dict[str, int]:
        if self._coordinators is None:
            self._coordinators = {}
        return self._coordinators

    async def list_groups(
        self, *, states: Iterable[str] = (), types: Iterable[str] = (), timeout_ms: float | None = None
    ) -> GroupListing:
        """Ask every known broker for the groups it coordinates."""

        async def ask(broker_id: int) -> list[ListedGroup]:
            return await self.list_groups_of(broker_id, states=states, types=types, timeout_ms=timeout_ms)

        groups: list[ListedGroup] = []
        failures: dict[int, Failure] = {}
        for broker_id, answer in (await self._of_each(self.brokers.nodes, ask)).items():
            if isinstance(answer, list):
                groups += answer
            else:
                failures[broker_id] = answer
        return GroupListing(tuple(sorted(groups)), failures)

    async def list_groups_of(
        self,
        broker_id: int,
        *,
        states: Iterable[str] = (),
        types: Iterable[str] = (),
        timeout_ms: float | None = None,
    ) -> list[ListedGroup]:
        """The groups that one broker coordinates, sorted by name.

        Raises:
            ClientError: it does not answer.
            KafkaError: it refuses, or is still loading them.
        """
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
        response: ListGroupsResponse = await self.brokers.send(broker_id, request, timeout_ms=timeout_ms)
        check(response.error_code)
        for each in response.groups:
            self._known_coordinators()[each.group_id] = broker_id
        return sorted(
            ListedGroup(each.group_id, each.protocol_type, each.group_state, each.group_type.lower(), broker_id)
            for each in response.groups
        )

    async def find_coordinators(
        self, group_ids: Iterable[str], *, refresh: bool = False, timeout_ms: float | None = None
    ) -> dict[str, int | Failure]:
        """The broker that coordinates each group, from memory unless ``refresh``."""
        known = self._known_coordinators()
        wanted = sorted(set(group_ids))
        unknown = [group_id for group_id in wanted if refresh or group_id not in known]
        outcomes: dict[str, int | Failure] = {each: known[each] for each in wanted if each not in unknown}
        if unknown:
            outcomes.update(await self._find_coordinators(unknown, timeout_ms))
        return outcomes

    async def _find_coordinators(self, group_ids: list[str], timeout_ms: float | None) -> dict[str, int | Failure]:
        outcomes: dict[str, int | Failure] = {}
        try:
            response: FindCoordinatorResponse = await self.brokers.send_any(
                FindCoordinatorRequest(key_type=_GROUP, coordinator_keys=group_ids), timeout_ms=timeout_ms
            )
        except UnsupportedApi:
            return await self._find_coordinators_one_by_one(group_ids, timeout_ms)
        except ClientError as error:
            return dict.fromkeys(group_ids, error)
        for each in response.coordinators:
            failure = refusal(each.error_code, each.error_message)
            outcomes[each.key] = failure or each.node_id
            if failure is None:
                self._learn(each.key, each.node_id, each.host, each.port)
        return outcomes

    async def _find_coordinators_one_by_one(
        self, group_ids: list[str], timeout_ms: float | None
    ) -> dict[str, int | Failure]:
        outcomes: dict[str, int | Failure] = {}
        for group_id in group_ids:
            try:
                response: FindCoordinatorResponse = await self.brokers.send_any(
                    FindCoordinatorRequest(key=group_id, key_type=_GROUP), max_version=3, timeout_ms=timeout_ms
                )
            except ClientError as error:
                outcomes[group_id] = error
                continue
            failure = refusal(response.error_code, response.error_message)
            outcomes[group_id] = failure or response.node_id
            if failure is None:
                self._learn(group_id, response.node_id, response.host, response.port)
        return outcomes

    def _learn(self, group_id: str, node_id: int, host: str, port: int) -> None:
        self._known_coordinators()[group_id] = node_id
        if node_id not in self.brokers.nodes:
            self.brokers.learn({**self.brokers.nodes, node_id: (host, port)})

    def _forget(self, group_id: str) -> None:
        self._known_coordinators().pop(group_id, None)

    async def _by_coordinator(
        self, group_ids: Iterable[str], timeout_ms: float | None
    ) -> tuple[dict[int, list[str]], dict[str, Failure]]:
        """Groups by the broker that coordinates them, and those whose coordinator is not known."""
        grouped: dict[int, list[str]] = {}
        failures: dict[str, Failure] = {}
        for group_id, coordinator in (await self.find_coordinators(group_ids, timeout_ms=timeout_ms)).items():
            if isinstance(coordinator, int):
                grouped.setdefault(coordinator, []).append(group_id)
            else:
                failures[group_id] = coordinator
        return grouped, failures

    async def describe_groups(
        self, group_ids: Iterable[str] | Mapping[str, str], *, timeout_ms: float | None = None
    ) -> dict[str, GroupDescription | Failure]:
        """Describe groups. With a mapping (group id to type, as :meth:`list_groups` tells it) each is asked for in its
        own way; else as a classic group first, then as one of each other type."""
        types: Mapping[str, str] = group_ids if isinstance(group_ids, Mapping) else dict.fromkeys(group_ids, "")
        wanted = list(types)
        outcomes = await self._describe(wanted, types, timeout_ms)
        moved = [each for each in wanted if _has_moved(outcomes[each])]
        if moved:
            for group_id in moved:
                self._forget(group_id)
            outcomes.update(await self._describe(moved, types, timeout_ms))
        return outcomes

    async def _describe(
        self, group_ids: list[str], types: Mapping[str, str], timeout_ms: float | None
    ) -> dict[str, GroupDescription | Failure]:
        grouped, failures = await self._by_coordinator(group_ids, timeout_ms)
        outcomes: dict[str, GroupDescription | Failure] = dict(failures)

        async def of_one(broker_id: int, ids: list[str]) -> None:
            outcomes.update(
                await self.describe_groups_of(broker_id, {each: types[each] for each in ids}, timeout_ms=timeout_ms)
            )

        await asyncio.gather(*(of_one(broker_id, ids) for broker_id, ids in sorted(grouped.items())))
        return outcomes

    async def delete_groups(
        self, group_ids: Iterable[str], *, timeout_ms: float | None = None
    ) -> dict[str, Failure | None]:
        """Delete groups without members, their offsets with them."""
        grouped, failures = await self._by_coordinator(group_ids, timeout_ms)
        outcomes: dict[str, Failure | None] = dict(failures)

        async def of_one(broker_id: int, ids: list[str]) -> None:
            try:
                response: DeleteGroupsResponse = await self.brokers.send(
                    broker_id, DeleteGroupsRequest(groups_names=ids), timeout_ms=timeout_ms
                )
            except ClientError as error:
                outcomes.update(dict.fromkeys(ids, error))
                return
            for each in response.results:
                outcomes[each.group_id] = refusal(each.error_code)
                self._forget(each.group_id)

        await asyncio.gather(*(of_one(broker_id, ids) for broker_id, ids in sorted(grouped.items())))
        return outcomes


def _code(outcome: object) -> ErrorCode | None:
    return outcome.code if isinstance(outcome, KafkaError) else None


def _has_moved(outcome: object) -> bool:
    return _code(outcome) in _MOVED
