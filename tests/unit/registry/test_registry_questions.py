"""What the console asks of a registry, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from console.gateway import GatewayError
from console.gateway.schemas import SchemaQuestions
from console.values.registry import RegistryConfig
from console.viewmodel.schemas import Level, SchemaReference, SchemaRow
from tests.unit.registry.registry_http import RegistryHttp, registry_http

ONE = '{"type":"record","name":"R","fields":[]}'
TWO = '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'


@pytest_asyncio.fixture
async def http() -> AsyncIterator[RegistryHttp]:
    async with registry_http(users={"ada": "lovelace"}) as found:
        yield found


def questions(http: RegistryHttp, password: str = "lovelace", *, writable: bool = True) -> SchemaQuestions:
    async def config() -> RegistryConfig:
        return RegistryConfig(http.url, "ada", password)

    def check() -> None:
        if not writable:
            raise GatewayError("read-only")

    return SchemaQuestions(config, check)


async def test_what_was_registered_is_listed_compared_and_deleted(http: RegistryHttp) -> None:
    schemas = questions(http)
    subject = "a/b value"
    assert await schemas.check(SchemaRow(subject, 0, -1, "AVRO", ONE)) == []
    assert await schemas.register(SchemaRow(subject, 0, -1, "AVRO", ONE)) == "a/b value has it with id 1"
    (problem, *_) = await schemas.check(SchemaRow(subject, 0, -1, "AVRO", TWO))
    assert "READER_FIELD_MISSING_DEFAULT_VALUE" in problem
    with pytest.raises(GatewayError, match=r"incompatible.*\(40901\)"):
        await schemas.register(SchemaRow(subject, 0, -1, "AVRO", TWO))
    assert await schemas.level(subject) == Level("BACKWARD", is_own=False)
    await schemas.set_level(subject, "NONE")
    assert await schemas.level(subject) == Level("NONE")
    await schemas.register(SchemaRow(subject, 0, -1, "AVRO", TWO))
    reference = SchemaReference("R", subject, 1)
    refers = json.dumps({"type": "array", "items": "R"})
    await schemas.register(SchemaRow("c", 0, -1, "AVRO", refers, (reference,)))
    ((one, other),) = (await schemas.subjects()).rows.values()
    assert (one.subject, one.version, one.schema) == (subject, 2, TWO)
    assert (other.subject, other.references) == ("c", (reference,))
    await schemas.delete(one)
    first, second = (await schemas.versions(subject)).rows[""]
    assert (first.version, first.is_deleted, second.version, second.is_deleted) == (2, True, 1, False)
    await schemas.delete(first)
    assert [each.version for each in (await schemas.versions(subject)).rows[""]] == [1]
    with pytest.raises(GatewayError, match="42206"):
        await schemas.delete(second)
    await schemas.set_level(subject, None)
    await schemas.set_level(None, "FULL")
    assert await schemas.level(subject) == Level("FULL", is_own=False)
    assert (await schemas.versions("nothing")).rows == {"": []}


async def test_who_may_not_is_told_so_without_the_password(http: RegistryHttp) -> None:
    with pytest.raises(GatewayError, match=r"Unauthorized.*\(401\)") as refused:
        await questions(http, "babbage").subjects()
    assert "babbage" not in str(refused.value)
    with pytest.raises(GatewayError, match="read-only"):
        await questions(http, writable=False).register(SchemaRow("a", 0, -1, "AVRO", ONE))


async def test_a_registry_that_is_gone_is_named() -> None:
    async def config() -> RegistryConfig:
        return RegistryConfig("http://127.0.0.1:1")

    with pytest.raises(GatewayError, match=r"http://127\.0\.0\.1:1: .*refused"):
        await SchemaQuestions(config, lambda: None).subjects()
