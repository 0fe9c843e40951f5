"""The paths of Confluent's REST interface: codes, shapes, errors. Source: "Schema Registry API Reference"."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.unit.registry.registry_http import RegistryHttp, registry_http

INT, LONG, STRING = '"int"', '"long"', '"string"'
ONE = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
TWO = {**ONE, "fields": [*ONE["fields"], {"name": "b", "type": "int"}]}
TWO_WITH_DEFAULT = {**ONE, "fields": [*ONE["fields"], {"name": "b", "type": "int", "default": 0}]}


@pytest_asyncio.fixture
async def http() -> AsyncIterator[RegistryHttp]:
    async with registry_http() as found:
        yield found


async def test_a_schema_has_one_id_in_all_subjects_and_a_version_in_each(http: RegistryHttp) -> None:
    assert (await http.register("a", INT)).body == {
        "id": 1,
        "version": 1,
        "guid": http.registry.state.subjects["a"][1].schema.guid,
    }
    assert (await http.register("b", LONG)).body["id"] == 2
    again = await http.register("b", ' { "type" : "int" } ')
    assert again.code == 40901
    await http.ask("PUT", "/config/b", {"compatibility": "NONE"})
    assert [(await http.register("b", INT)).body[each] for each in ("id", "version")] == [1, 2]
    assert (await http.register("b", INT)).body["version"] == 2
    assert await http.get("/subjects") == ["a", "b"]
    assert await http.get("/subjects/b/versions") == [1, 2]
    found = await http.get("/subjects/b/versions/latest")
    assert found == {
        "subject": "b",
        "version": 2,
        "id": 1,
        "guid": found["guid"],
        "schema": INT,
        "ts": 1_700_000_000_000,
    }
    assert await http.get("/schemas/ids/1") == {"schema": INT, "guid": found["guid"]}
    assert await http.get("/schemas/ids/1?fetchMaxId=true") == {"schema": INT, "guid": found["guid"], "maxId": 2}
    assert await http.get("/schemas/ids/1/schema") == "int"
    assert await http.get("/schemas/ids/1/subjects") == ["a", "b"]
    assert await http.get("/schemas/ids/1/versions") == [
        {"subject": "a", "version": 1},
        {"subject": "b", "version": 2},
    ]
    assert await http.get("/schemas/ids/1/versions?subject=b") == [{"subject": "b", "version": 2}]
    assert (await http.get(f"/schemas/guids/{found['guid']}"))["schema"] == INT
    assert await http.get(f"/schemas/guids/{found['guid']}/ids") == [{"context": ".", "id": 1}]
    assert await http.get("/subjects/b/versions/1/schema") == "long"
    assert await http.get("/schemas/types") == ["JSON", "PROTOBUF", "AVRO"]
    assert [each["subject"] for each in await http.get("/schemas?latestOnly=true")] == ["a", "b"]
    assert len(await http.get("/schemas?subjectPrefix=b")) == 2
    assert await http.get("/schemas?limit=1&offset=2") == [await http.get("/subjects/b/versions/2")]


async def test_a_schema_is_looked_up_in_a_subject(http: RegistryHttp) -> None:
    await http.register("a", ONE)
    spaced = json.dumps(ONE, indent=4)
    assert (await http.ask("POST", "/subjects/a", {"schema": spaced})).body["version"] == 1
    assert (await http.ask("POST", "/subjects/a", {"schema": INT})).code == 40403
    assert (await http.ask("POST", "/subjects/x", {"schema": INT})).code == 40401
    reordered = {"fields": ONE["fields"], "name": "R", "type": "record", "doc": "x"}
    assert (await http.ask("POST", "/subjects/a", {"schema": json.dumps(reordered)})).code == 40403


async def test_the_same_schema_in_other_words_is_no_new_version(http: RegistryHttp) -> None:
    await http.register("j", '{"type":"object","title":"t"}', "JSON")
    assert (await http.register("j", '{"title":"t","type":"object"}', "JSON")).body["version"] == 1
    await http.register("a", ONE)
    outer = {"type": "array", "items": "R"}
    reference = {"name": "R", "subject": "a", "version": -1}
    await http.register("r", outer, references=[reference])
    # Serializers may write out what the registry refers to, and may say "latest".
    for same in (
        {"schema": json.dumps({**outer, "items": ONE})},
        {"schema": json.dumps(outer), "references": [reference]},
    ):
        for path in ("/subjects/r", "/subjects/r/versions"):
            assert (await http.ask("POST", path, same)).body["version"] == 1


async def test_normalize_finds_schemas_that_say_the_same(http: RegistryHttp) -> None:
    await http.ask("POST", "/subjects/j/versions?normalize=true", {"schema": '{"b":1,"a":2}', "schemaType": "JSON"})
    assert (await http.get("/subjects/j/versions/1"))["schema"] == '{"a":2,"b":1}'
    body = {"schema": '{"a":2, "b":1}', "schemaType": "JSON"}
    assert (await http.ask("POST", "/subjects/j?normalize=true", body)).body["version"] == 1
    await http.ask("PUT", "/config", {"compatibility": "NONE", "normalize": True})
    await http.register("k", '{"z":1,"b":2}', "JSON")
    assert (await http.get("/subjects/k/versions/1"))["schema"] == '{"b":2,"z":1}'


async def test_what_is_deleted_softly_is_there_for_who_asks_and_what_is_deleted_for_good_is_not(
    http: RegistryHttp,
) -> None:
    await http.register("a", ONE)
    await http.register("a", TWO_WITH_DEFAULT)
    assert (await http.ask("DELETE", "/subjects/a/versions/1?permanent=true")).code == 40407
    assert await http.ask("DELETE", "/subjects/a/versions/1") == (200, 1)
    assert (await http.ask("DELETE", "/subjects/a/versions/1")).code == 40406
    assert await http.get("/subjects/a/versions") == [2]
    assert await http.get("/subjects/a/versions?deleted=true") == [1, 2]
    assert await http.get("/subjects/a/versions?deletedOnly=true") == [1]
    assert await http.get("/subjects/a/versions?deletedAsNegative=true") == [-1, 2]
    assert (await http.ask("GET", "/subjects/a/versions/1")).code == 40402
    assert (await http.get("/subjects/a/versions/1?deleted=true"))["deleted"] is True
    # Records that were written with it are still read.
    assert (await http.get("/schemas/ids/1"))["schema"] == json.dumps(ONE, separators=(",", ":"))
    assert await http.get("/schemas/ids/1/subjects?deleted=true") == ["a"]
    assert await http.get("/schemas/ids/1/subjects") == []
    assert await http.ask("DELETE", "/subjects/a/versions/latest") == (200, 2)
    assert (await http.ask("GET", "/subjects/a/versions")).code == 40401
    assert await http.get("/subjects") == []
    assert await http.get("/subjects?deleted=true") == await http.get("/subjects?deletedOnly=true") == ["a"]
    assert (await http.ask("DELETE", "/subjects/a")).code == 40404
    assert await http.ask("DELETE", "/subjects/a?permanent=true") == (200, [1, 2])
    assert (await http.ask("GET", "/schemas/ids/1")).code == 40403
    assert (await http.ask("DELETE", "/subjects/a?permanent=true")).code == 40401
    # Ids go on, versions begin anew.
    assert [(await http.register("a", ONE)).body[each] for each in ("id", "version")] == [3, 1]
    assert (await http.ask("DELETE", "/subjects/a?permanent=true")).code == 40405
    await http.ask("PUT", "/config/a", {"compatibility": "NONE"})
    assert await http.ask("DELETE", "/subjects/a") == (200, [1])
    # With its last version a subject loses what was set for it.
    assert (await http.ask("GET", "/config/a")).status == 200
    assert await http.ask("DELETE", "/subjects/a/versions/1?permanent=true") == (200, 1)
    assert (await http.ask("GET", "/config/a")).code == 40408


async def test_what_was_deleted_softly_comes_back_with_its_id_as_a_new_version(http: RegistryHttp) -> None:
    await http.register("a", ONE)
    await http.register("a", TWO_WITH_DEFAULT)
    await http.ask("DELETE", "/subjects/a")
    assert [(await http.register("a", ONE)).body[each] for each in ("id", "version")] == [1, 3]
    assert await http.get("/subjects/a/versions?deleted=true") == [2, 3]


async def test_what_others_refer_to_is_not_deleted(http: RegistryHttp) -> None:
    await http.register("n", {"type": "record", "name": "N", "fields": []})
    refers = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "N"}]}
    latest = [{"name": "N", "subject": "n", "version": -1}]
    assert (await http.register("r", refers)).code == 42201
    assert (await http.register("r", refers, references=[{**latest[0], "version": 2}])).code == 42201
    assert (await http.register("r", refers, references=latest)).body["id"] == 2
    assert (await http.get("/subjects/r/versions/1"))["references"] == [{"name": "N", "subject": "n", "version": 1}]
    assert await http.get("/subjects/n/versions/1/referencedby") == [2]
    for path in ("/subjects/n/versions/1", "/subjects/n"):
        refused = await http.ask("DELETE", path)
        assert (refused.status, refused.code) == (422, 42206)
    assert "r version 1" in refused.body["message"]
    await http.ask("DELETE", "/subjects/r")
    assert await http.get("/subjects/n/versions/1/referencedby") == []
    assert await http.get("/subjects/n/versions/1/referencedby?deleted=true") == [2]
    assert await http.ask("DELETE", "/subjects/n") == (200, [1])
    assert (await http.ask("DELETE", "/subjects/n?permanent=true")).code == 42206
    # A version that is deleted cannot be referred to anew.
    assert (await http.register("s", refers, references=[{**latest[0], "version": 1}])).code == 42201


@pytest.mark.parametrize(
    ("level", "accepted"),
    [
        ("NONE", [True, True, True]),
        ("BACKWARD", [True, False, True]),
        ("BACKWARD_TRANSITIVE", [True, False, False]),
        ("FORWARD", [False, True, False]),
        ("FORWARD_TRANSITIVE", [False, True, False]),
        ("FULL", [False, False, False]),
        ("FULL_TRANSITIVE", [False, False, False]),
    ],
)
async def test_levels_say_who_has_to_read_whom(http: RegistryHttp, level: str, accepted: list[bool]) -> None:
    """A field goes; one comes without a default; the one that went comes back with another type."""

    def fields(*named: tuple[str, Any]) -> dict[str, Any]:
        return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in named]}

    await http.register("s", fields(("a", "int"), ("b", "int")))
    await http.ask("PUT", "/config/s", {"compatibility": level})
    found = []
    a = ("a", "int")
    again = {**fields(a), "fields": [*fields(a)["fields"], {"name": "b", "type": "string", "default": ""}]}
    for schema in (fields(a), fields(a, ("b", "int"), ("c", "int")), again):
        asked = await http.ask("POST", "/compatibility/subjects/s/versions", {"schema": json.dumps(schema)})
        answer = await http.register("s", schema)
        assert answer.status == (200 if asked.body["is_compatible"] else 409)
        found.append(answer.status == 200)
    assert found == accepted


async def test_what_is_not_compatible_is_told_with_all_reasons(http: RegistryHttp) -> None:
    await http.register("s", ONE)
    refused = await http.register("s", TWO)
    assert (refused.status, refused.code) == (409, 40901)
    for part in ("READER_FIELD_MISSING_DEFAULT_VALUE", "{oldSchemaVersion: 1}", "{compatibility: 'BACKWARD'}"):
        assert part in refused.body["message"]
    body = {"schema": json.dumps(TWO)}
    assert (await http.ask("POST", "/compatibility/subjects/s/versions/latest", body)).body == {"is_compatible": False}
    told = (await http.ask("POST", "/compatibility/subjects/s/versions/1?verbose=true", body)).body
    assert told["is_compatible"] is False
    assert "additionalInfo:'b'" in told["messages"][0]
    good = (await http.ask("POST", "/compatibility/subjects/s/versions?verbose=true", {"schema": json.dumps(ONE)})).body
    assert good == {"is_compatible": True, "messages": []}
    no_schema = await http.ask("POST", "/compatibility/subjects/s/versions/1?verbose=true", {"schema": '"in"'})
    assert "undefined type" in no_schema.body["messages"][0]
    assert (await http.ask("POST", "/compatibility/subjects/s/versions/1", {"schema": '"in"'})).code == 42201
    assert (await http.ask("POST", "/compatibility/subjects/s/versions/7", body)).code == 40402
    assert (await http.ask("POST", "/compatibility/subjects/new/versions/latest", body)).body["is_compatible"]
    other = {"schema": "{}", "schemaType": "JSON"}
    assert "SCHEMA_TYPE_CHANGED" in (await http.register("s", "{}", "JSON")).body["message"]
    assert not (await http.ask("POST", "/compatibility/subjects/s/versions", other)).body["is_compatible"]


async def test_configs_of_a_subject_hide_that_of_all(http: RegistryHttp) -> None:
    assert await http.get("/config") == {"compatibilityLevel": "BACKWARD"}
    assert (await http.ask("GET", "/config/s")).code == 40408
    assert await http.get("/config/s?defaultToGlobal=true") == {"compatibilityLevel": "BACKWARD"}
    assert (await http.ask("PUT", "/config", {"compatibility": "full"})).body == {"compatibility": "FULL"}
    assert (await http.ask("PUT", "/config/s", {"compatibilityLevel": "NONE"})).body == {"compatibility": "NONE"}
    assert await http.get("/config/s") == {"compatibilityLevel": "NONE"}
    assert await http.get("/config") == {"compatibilityLevel": "FULL"}
    assert (await http.ask("DELETE", "/config/s")).body == {"compatibilityLevel": "NONE"}
    assert (await http.ask("DELETE", "/config/s")).code == 40401
    assert (await http.ask("DELETE", "/config")).body == {"compatibilityLevel": "FULL"}
    assert await http.get("/config") == {"compatibilityLevel": "BACKWARD"}
    refused = await http.ask("PUT", "/config", {"compatibility": "SIDEWARD"})
    assert (refused.status, refused.code) == (422, 42203)
    for unset in ({"compatibility": "FULL", "alias": None}, {"compatibilityGroup": None}):
        assert (await http.ask("PUT", "/config/s", unset)).status == 200
    assert "compatibilityGroup" in (await http.ask("PUT", "/config", {"compatibilityGroup": "v"})).body["message"]


async def test_modes_say_what_may_be_done(http: RegistryHttp) -> None:
    await http.register("s", INT)
    assert await http.get("/mode") == {"mode": "READWRITE"}
    assert (await http.ask("GET", "/mode/s")).code == 40409
    assert (await http.ask("PUT", "/mode/s", {"mode": "readonly"})).body == {"mode": "READONLY"}
    refused = await http.register("s", LONG)
    assert (refused.status, refused.code) == (422, 42205)
    # Producers that register what has long been there go on.
    assert (await http.register("s", INT)).body["id"] == 1
    assert (await http.ask("DELETE", "/subjects/s")).code == 42205
    assert (await http.register("t", LONG)).status == 200
    assert (await http.ask("DELETE", "/mode/s")).body == {"mode": "READONLY"}
    assert (await http.register("s", LONG)).status == 200
    await http.ask("PUT", "/mode", {"mode": "READONLY_OVERRIDE"})
    await http.ask("PUT", "/mode/t", {"mode": "READWRITE"})
    assert (await http.register("t", STRING)).code == 42205
    await http.ask("PUT", "/mode", {"mode": "READWRITE"})
    assert (await http.ask("PUT", "/mode", {"mode": "WRITEONLY"})).code == 42204
    assert (await http.ask("PUT", "/mode", {})).code == 42204


async def test_an_import_brings_its_ids_and_versions(http: RegistryHttp) -> None:
    assert (await http.register("s", INT, id=7, version=3)).code == 42205
    assert (await http.ask("PUT", "/mode/s", {"mode": "IMPORT"})).status == 200
    assert [(await http.register("s", INT, id=7, version=3)).body[each] for each in ("id", "version")] == [7, 3]
    # Once more is no other version.
    for more in ({"version": 3}, {}):
        assert (await http.register("s", INT, id=7, **more)).body["version"] == 3
    assert await http.get("/subjects/s/versions") == [3]
    # What is not compatible is taken as it was.
    assert (await http.register("s", STRING, id=9, version=4)).status == 200
    assert (await http.register("s", LONG, id=7, version=5)).code == 42205
    assert (await http.register("s", LONG)).code == 42205
    assert (await http.ask("PUT", "/mode", {"mode": "IMPORT"})).code == 42205
    assert (await http.ask("PUT", "/mode?force=true", {"mode": "IMPORT"})).status == 200
    await http.ask("PUT", "/mode", {"mode": "READWRITE"})
    assert (await http.register("t", LONG)).body["id"] == 10


async def test_names_of_subjects_may_be_anything(http: RegistryHttp) -> None:
    for subject in ("a/b", "ü €", "a%2Fb", "a?b=c#d", "..", "a:b"):
        assert (await http.register(subject, INT)).status == 200, subject
    assert sorted(await http.get("/subjects")) == sorted(("a/b", "ü €", "a%2Fb", "a?b=c#d", "..", "a:b"))
    assert await http.get("/subjects/a%2Fb/versions") == [1]
    assert (await http.register("a\nb", INT)).code == 42208
    assert (await http.register(":.c:", INT)).code == 42208


async def test_contexts_are_apart(http: RegistryHttp) -> None:
    await http.register("s", INT)
    await http.register("t", STRING)
    assert (await http.register(":.c:s", LONG)).body["id"] == 1
    assert await http.get("/contexts") == [".", ".c"]
    assert await http.get("/subjects") == [":.c:s", "s", "t"]
    assert await http.get("/subjects?subjectPrefix=:.c:") == await http.get("/contexts/.c/subjects") == [":.c:s"]
    assert await http.get("/subjects?subjectPrefix=s") == ["s"]
    assert await http.get("/subjects?subjectPrefix=:*:s") == [":.c:s", "s"]
    assert (await http.get("/schemas/ids/1"))["schema"] == INT
    assert (await http.get("/schemas/ids/1?subject=:.c:s"))["schema"] == LONG
    # The name of a subject is looked for in all contexts, also where the default one has the id for another subject.
    await http.register(":.c:only", LONG)
    for subject, schema in (("only", LONG), ("s", INT), ("t", INT), ("unknown", INT)):
        assert (await http.get(f"/schemas/ids/1?subject={subject}"))["schema"] == schema
    assert await http.get("/schemas/ids/1/subjects?subject=only") == [":.c:only"]
    await http.ask("DELETE", "/subjects/:.c:only")
    await http.ask("DELETE", "/subjects/:.c:only?permanent=true")
    assert (await http.get("/contexts/.c/schemas/ids/1"))["schema"] == LONG
    assert (await http.get("/contexts/.c/subjects/s/versions/1"))["subject"] == ":.c:s"
    assert (await http.get("/subjects/:.:s/versions/1"))["subject"] == "s"
    await http.ask("PUT", "/contexts/.c/config", {"compatibility": "NONE"})
    assert (await http.register(":.c:s", STRING)).status == 200
    assert await http.get("/config") == {"compatibilityLevel": "BACKWARD"}


async def test_the_newest_version_with_some_metadata_is_found(http: RegistryHttp) -> None:
    await http.register("s", ONE, metadata={"properties": {"team": "a"}})
    assert [(await http.register("e", ONE, metadata={}, ruleSet={})).body["version"] for _ in range(2)] == [1, 1]
    await http.register("s", TWO_WITH_DEFAULT, metadata={"properties": {"team": "b"}})
    assert (await http.get("/subjects/s/metadata?key=team&value=a"))["version"] == 1
    assert (await http.get("/subjects/s/versions/2"))["metadata"] == {"properties": {"team": "b"}}
    assert (await http.ask("GET", "/subjects/s/metadata?key=team&value=c")).code == 40403
    assert (await http.ask("GET", "/subjects/x/metadata")).code == 40401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/x/versions", None, 404, 40401),
        ("GET", "/subjects/x/versions/1", None, 404, 40401),
        ("GET", "/subjects/x/versions/0", None, 422, 42202),
        ("GET", "/subjects/x/versions/first", None, 422, 42202),
        ("GET", "/subjects/x/versions/%C2%B2", None, 422, 42202),
        ("GET", "/subjects/x/versions/99999999999999999999", None, 422, 42202),
        ("GET", "/schemas/ids/1", None, 404, 40403),
        ("GET", "/schemas/ids/one", None, 404, 404),
        ("GET", "/schemas/ids/%C2%B2", None, 404, 404),
        ("GET", "/schemas/guids/1", None, 404, 40403),
        ("GET", "/nothing", None, 404, 404),
        ("PATCH", "/subjects", None, 405, 405),
        ("POST", "/subjects/x/versions", "{", 400, 400),
        ("POST", "/subjects/x/versions", "[]", 422, 422),
        ("POST", "/subjects/x/versions", {}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": ""}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": 7}, 422, 422),
        ("POST", "/subjects/x/versions", {"schema": INT, "schemaType": "THRIFT"}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": INT, "references": [{}]}, 422, 422),
        ("POST", "/subjects/x/versions", {"schema": INT, "version": "1"}, 422, 422),
        ("POST", "/subjects/x/versions", {"schema": INT, "version": 5}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": INT, "metadata": []}, 422, 422),
        ("POST", "/subjects/x/versions", {"schema": INT, "metadata": {"properties": {"a": 1}}}, 422, 422),
        ("POST", "/subjects/x/versions", {"schema": INT, "metadata": {"tags": {"a": "b"}}}, 422, 422),
        ("POST", "/subjects/x/versions", '{"schema":"\\"int\\"","ruleSet":{"a":NaN}}', 400, 400),
        ("POST", "/subjects/x/versions", '{"schema":"// \\ud800","schemaType":"PROTOBUF"}', 400, 400),
        ("POST", "/subjects/x/versions", {"schema": '{"type":"int","a":NaN}'}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": '{"type":"int","a":1e999}'}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": '{"type":"int","doc":"\\ud800"}'}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": '{"$id":"http://[::1"}', "schemaType": "JSON"}, 422, 42201),
        ("POST", "/subjects/x/versions", {"schema": '{"$schema":"http://[::1"}', "schemaType": "JSON"}, 422, 42201),
        ("PUT", "/config/%01", {"compatibility": "FULL"}, 422, 42208),
        ("PUT", "/mode/%01", {"mode": "READONLY"}, 422, 42208),
        ("POST", "/subjects/x/versions", "[" * 100_000, 400, 400),
        ("POST", "/subjects/x/versions", b"\xff", 400, 400),
        ("POST", "/subjects/x/versions", b'"' + b"x" * (4 * 1024 * 1024), 413, 413),
        ("GET", "/subjects?limit=many", None, 404, 404),
    ],
)
async def test_what_is_wrong_is_told_with_confluents_code(
    http: RegistryHttp, method: str, path: str, body: Any, status: int, code: int
) -> None:
    answer = await http.ask(method, path, body)
    assert (answer.status, answer.code) == (status, code), answer
    # And the connection, or the next one, goes on.
    assert await http.get("/") == {}


async def test_pages_of_others_cannot_ask_by_a_name_or_a_form_of_their_own(http: RegistryHttp) -> None:
    rebound = await http.ask("GET", "/subjects", headers={"Host": "evil.example:8081"})
    assert rebound.status == 403
    form = await http.ask(
        "POST", "/subjects/x/versions", '{"schema":"\\"int\\""}', headers={"Content-Type": "text/plain"}
    )
    assert form.status == 415
    for host in ("localhost:1", "[::1]:1", "127.0.0.1"):
        assert (await http.ask("GET", "/subjects", headers={"Host": host})).status == 200


async def test_who_has_no_password_is_not_answered() -> None:
    async with registry_http(users={"ada": "lovelace:1815"}) as http:
        for word in (None, "Basic !", "Bearer x", "Basic " + base64.b64encode(b"ada:no").decode()):
            answer = await http.ask("GET", "/subjects", headers={} if word is None else {"Authorization": word})
            assert (answer.status, answer.code) == (401, 401)
        known = "Basic " + base64.b64encode(b"ada:lovelace:1815").decode()
        assert await http.ask("GET", "/subjects", headers={"Authorization": known}) == (200, [])


async def test_schemas_nested_beyond_reason_are_refused_and_nothing_else(http: RegistryHttp) -> None:
    for depth in (100, 300, 3_000):
        text = '{"not":' * depth + "{}" + "}" * depth
        answers = [await http.register(f"s{depth}", text, "JSON") for _ in range(2)]
        answers.append(await http.register(f"s{depth}", text.replace("{}", "true"), "JSON"))
        assert all(answer.status in (200, 400, 409) or answer.code == 42201 for answer in answers), answers
    assert (await http.register("after", INT)).status == 200


async def test_what_somebody_elses_registry_has_set_stops_nothing_else(http: RegistryHttp) -> None:
    http.registry.state.apply(b'{"keytype":"MODE","subject":"m","magic":0}', b'{"subject":"m","mode":"FORWARD"}')
    http.registry.state.apply(b'{"keytype":"CONFIG","subject":"c","magic":0}', b'{"compatibilityLevel":"SOME"}')
    assert (await http.register("m", INT)).code == 42205
    assert (await http.ask("DELETE", "/mode/m")).body == {"mode": "FORWARD"}
    assert (await http.register("m", INT)).status == 200
    assert (await http.register("c", INT)).code == 42203
    await http.ask("PUT", "/config/c", {"compatibility": "FULL"})
    assert (await http.register("c", INT)).status == 200


async def test_bytes_that_are_no_http_end_their_connection_alone(http: RegistryHttp) -> None:
    port = int(http.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 400")
    writer.close()
    long_header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(long_header)
    assert b" 400 " in (await asyncio.wait_for(reader.readline(), 5))
    writer.close()
    assert await http.get("/subjects") == []


async def test_health_says_when_the_topic_is_lost(http: RegistryHttp) -> None:
    assert await http.get("/health") == {"healthy": True, "topic": "_schemas", "subjects": 0}
    http.lost = "another registry"
    assert await http.ask("GET", "/_health") == (
        503,
        {"healthy": False, "topic": "_schemas", "subjects": 0, "why": "another registry"},
    )
