"""Access control entries, SCRAM credentials, quotas: what is refused, what is recorded, what is shown of it.

The harness holds the machine to the law: replay of the log, and of a snapshot, makes its image.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from typing import Any

import pytest
from controller_harness import ControllerHarness

from engine.core.controller.access_control import describe_acls
from engine.core.controller.client_quotas import describe_client_quotas
from engine.core.controller.scram_credentials import describe_scram_credentials
from engine.model.broker_config import STANDARD_AUTHORIZER
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages import alter_client_quotas_request as quotas
from engine.wire.messages import alter_user_scram_credentials_request as scram
from engine.wire.messages.create_acls_request import AclCreation, CreateAclsRequest
from engine.wire.messages.delete_acls_request import DeleteAclsFilter, DeleteAclsRequest
from engine.wire.messages.describe_acls_request import DescribeAclsRequest
from engine.wire.messages.describe_client_quotas_request import ComponentData, DescribeClientQuotasRequest
from engine.wire.messages.describe_user_scram_credentials_request import (
    DescribeUserScramCredentialsRequest,
    UserName,
)

TOPIC, GROUP, CLUSTER = 2, 3, 4
ANY, MATCH, LITERAL, PREFIXED = 1, 2, 3, 4
READ, WRITE, ALLOW, DENY = 3, 4, 3, 2
SHA_256, SHA_512 = 1, 2
EXACT, DEFAULT, SPECIFIED = 0, 1, 2

Entity = dict[str, str | None]


# -- access control ---------------------------------------------------------------------------------------------------


def with_authorizer() -> ControllerHarness:
    return ControllerHarness({"authorizer.class.name": STANDARD_AUTHORIZER})


def acl(name: str, **fields: Any) -> AclCreation:
    values = {
        "resource_type": TOPIC,
        "resource_name": name,
        "resource_pattern_type": LITERAL,
        "principal": "User:a",
        "host": "*",
        "operation": READ,
        "permission_type": ALLOW,
    }
    return AclCreation(**values | fields)


def create_acls(h: ControllerHarness, *creations: AclCreation) -> list[int]:
    response = h.handle(ApiKey.CREATE_ACLS, CreateAclsRequest(creations=list(creations)))
    return [each.error_code for each in response.results]


def acl_filter(cls: type[Any], name: str | None = None, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "resource_type_filter": ANY,
        "resource_name_filter": name,
        "pattern_type_filter": ANY,
        "principal_filter": None,
        "host_filter": None,
        "operation": ANY,
        "permission_type": ANY,
    }
    return cls(**values | fields)


def described_acls(h: ControllerHarness, name: str | None = None, **fields: Any) -> list[str]:
    response = describe_acls(h.image, acl_filter(DescribeAclsRequest, name, **fields))
    return sorted(f"{each.resource_name}:{entry.operation}" for each in response.resources for entry in each.acls)


def test_without_an_authorizer_access_control_is_refused_as_in_kafka() -> None:
    h = ControllerHarness()
    assert create_acls(h, acl("t"), acl("u")) == [ErrorCode.SECURITY_DISABLED] * 2
    request = DeleteAclsRequest(filters=[acl_filter(DeleteAclsFilter)])
    response = h.handle(ApiKey.DELETE_ACLS, request)
    assert [each.error_code for each in response.filter_results] == [ErrorCode.SECURITY_DISABLED]
    assert h.image.acls == {}


def test_entries_are_created_once_and_shown_by_their_pattern() -> None:
    h = with_authorizer()
    assert create_acls(h, acl("t"), acl("t"), acl("t", operation=WRITE)) == [0, 0, 0]
    assert create_acls(h, acl("t")) == [0]
    assert h.last == [] and len(h.image.acls) == 2
    response = describe_acls(h.image, acl_filter(DescribeAclsRequest))
    [resource] = response.resources
    assert (resource.resource_type, resource.resource_name, resource.pattern_type) == (TOPIC, "t", LITERAL)
    assert [each.operation for each in resource.acls] == [READ, WRITE]


@pytest.mark.parametrize(
    "wrong",
    [
        {"resource_type": ANY},
        {"resource_type": 99},
        {"resource_pattern_type": MATCH},
        {"operation": ANY},
        {"operation": 99},
        {"permission_type": ANY},
        {"resource_name": ""},
        {"resource_type": CLUSTER},
        {"principal": "a"},
    ],
)
def test_an_entry_that_means_nothing_is_refused_alone(wrong: dict[str, Any]) -> None:
    h = with_authorizer()
    assert create_acls(h, acl("t", **wrong), acl("u")) == [ErrorCode.INVALID_REQUEST, 0]
    assert described_acls(h) == [f"u:{READ}"]


def test_every_filter_takes_what_kafkas_takes() -> None:
    h = with_authorizer()
    entries = [
        acl("orders"),
        acl("orders", operation=WRITE, permission_type=DENY, principal="User:b", host="10.0.0.1"),
        acl("ord", resource_pattern_type=PREFIXED),
        acl("*", operation=5),
        acl("orders", resource_type=GROUP, operation=6),
        acl("kafka-cluster", resource_type=CLUSTER, operation=7),
    ]
    assert create_acls(h, *entries) == [0] * 6
    of_topics = {"resource_type_filter": TOPIC}
    assert len(described_acls(h)) == 6
    assert described_acls(h, **of_topics, pattern_type_filter=PREFIXED) == ["ord:3"]
    assert described_acls(h, "orders", **of_topics, pattern_type_filter=LITERAL) == ["orders:3", "orders:4"]
    assert described_acls(h, "orders", **of_topics, pattern_type_filter=PREFIXED) == []
    assert described_acls(h, "orders", **of_topics, pattern_type_filter=MATCH) == [
        "*:5",
        "ord:3",
        "orders:3",
        "orders:4",
    ]
    assert described_acls(h, "orders") == ["orders:3", "orders:4", "orders:6"]
    assert described_acls(h, "*", **of_topics) == ["*:5"]
    assert described_acls(h, principal_filter="User:b") == ["orders:4"]
    assert described_acls(h, host_filter="10.0.0.1") == ["orders:4"]
    assert described_acls(h, operation=7) == ["kafka-cluster:7"]
    assert described_acls(h, permission_type=DENY) == ["orders:4"]
    for unknown in ("resource_type_filter", "pattern_type_filter", "operation", "permission_type"):
        with pytest.raises(KafkaError, match="unknown"):
            described_acls(h, **{unknown: 0})


def test_deleted_entries_are_told_and_gone() -> None:
    h = with_authorizer()
    create_acls(h, acl("t"), acl("u"), acl("u", operation=WRITE))
    filters = [acl_filter(DeleteAclsFilter, "u"), acl_filter(DeleteAclsFilter, "v"), acl_filter(DeleteAclsFilter, "u")]
    filters.append(acl_filter(DeleteAclsFilter, "t", operation=0))
    response = h.handle(ApiKey.DELETE_ACLS, DeleteAclsRequest(filters=filters))
    assert [(each.error_code, len(each.matching_acls)) for each in response.filter_results] == [
        (0, 2),
        (0, 0),
        (0, 2),
        (ErrorCode.INVALID_REQUEST, 0),
    ]
    assert h.names_of_last() == ["RemoveAccessControlEntryRecord"] * 2
    assert described_acls(h) == [f"t:{READ}"]


# -- SCRAM ------------------------------------------------------------------------------------------------------------


def upsertion(name: str, mechanism: int = SHA_256, iterations: int = 4096) -> scram.ScramCredentialUpsertion:
    return scram.ScramCredentialUpsertion(name, mechanism, iterations, b"salt", b"salted password")


def alter_scram(h: ControllerHarness, deletions: list[Any], upsertions: list[Any]) -> dict[str, int]:
    request = scram.AlterUserScramCredentialsRequest(deletions=deletions, upsertions=upsertions)
    response = h.handle(ApiKey.ALTER_USER_SCRAM_CREDENTIALS, request)
    assert len(response.results) == len({each.user for each in response.results})
    return {each.user: each.error_code for each in response.results}


def described_scram(h: ControllerHarness, *users: str) -> dict[str, Any]:
    request = DescribeUserScramCredentialsRequest(users=[UserName(name=each) for each in users] or None)
    response = describe_scram_credentials(h.image, request)
    return {
        each.user: each.error_code or [(info.mechanism, info.iterations) for info in each.credential_infos]
        for each in response.results
    }


def test_what_is_kept_of_a_password_is_what_rfc_7677_asks_for() -> None:
    """Its example: the server proves itself with the server key, the client's proof leads to the stored key."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    first = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    auth_message = f"{first},c=biws,r={nonce}".encode()
    h = ControllerHarness()
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    alter_scram(h, [], [scram.ScramCredentialUpsertion("user", SHA_256, 4096, salt, salted)])
    kept = h.image.scram_credentials["user", SHA_256]
    signature = hmac.digest(kept.server_key, auth_message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_signature = hmac.digest(kept.stored_key, auth_message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
    assert hashlib.sha256(client_key).digest() == kept.stored_key


def test_credentials_are_set_shown_without_secrets_and_deleted() -> None:
    h = ControllerHarness()
    assert alter_scram(h, [], [upsertion("a"), upsertion("b", SHA_512, 8192)]) == {"a": 0, "b": 0}
    assert alter_scram(h, [], [upsertion("a", SHA_512, 5000)]) == {"a": 0}
    assert described_scram(h) == {"a": [(SHA_256, 4096), (SHA_512, 5000)], "b": [(SHA_512, 8192)]}
    assert described_scram(h, "b", "c", "c2", "a", "a") == {
        "b": [(SHA_512, 8192)],
        "c": ErrorCode.RESOURCE_NOT_FOUND,
        "c2": ErrorCode.RESOURCE_NOT_FOUND,
        "a": ErrorCode.DUPLICATE_RESOURCE,
    }
    assert alter_scram(h, [scram.ScramCredentialDeletion("a", SHA_256)], [upsertion("b", SHA_512, 4096)]) == {
        "a": 0,
        "b": 0,
    }
    assert described_scram(h) == {"a": [(SHA_512, 5000)], "b": [(SHA_512, 4096)]}


def test_credentials_that_are_weak_or_named_twice_are_refused_alone() -> None:
    h = ControllerHarness()
    deletions = [scram.ScramCredentialDeletion("none", SHA_256), scram.ScramCredentialDeletion("twice", SHA_256)]
    upsertions = [upsertion("few", iterations=4095), upsertion("many", iterations=16385), upsertion("", SHA_256)]
    upsertions += [upsertion("what", 3), upsertion("twice"), upsertion("good")]
    assert alter_scram(h, deletions, upsertions) == {
        "none": ErrorCode.RESOURCE_NOT_FOUND,
        "twice": ErrorCode.DUPLICATE_RESOURCE,
        "few": ErrorCode.UNACCEPTABLE_CREDENTIAL,
        "many": ErrorCode.UNACCEPTABLE_CREDENTIAL,
        "": ErrorCode.UNACCEPTABLE_CREDENTIAL,
        "what": ErrorCode.UNSUPPORTED_SASL_MECHANISM,
        "good": 0,
    }
    assert [user for user, _ in h.image.scram_credentials] == ["good"]


# -- quotas -----------------------------------------------------------------------------------------------------------


def alter_quotas(
    h: ControllerHarness, *entries: tuple[Entity, dict[str, float | None]], dry: bool = False
) -> list[int]:
    request = quotas.AlterClientQuotasRequest(
        entries=[
            quotas.EntryData(
                entity=[quotas.EntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()],
                ops=[quotas.OpData(key, 0.0 if value is None else value, value is None) for key, value in ops.items()],
            )
            for entity, ops in entries
        ],
        validate_only=dry,
    )
    response = h.handle(ApiKey.ALTER_CLIENT_QUOTAS, request)
    assert [[(each.entity_type, each.entity_name) for each in entry.entity] for entry in response.entries] == [
        list(entity.items()) for entity, _ in entries
    ]
    return [each.error_code for each in response.entries]


def described_quotas(h: ControllerHarness, *components: tuple[str, int, str | None], strict: bool = False) -> list[Any]:
    request = DescribeClientQuotasRequest(
        components=[ComponentData(entity_type=kind, match_type=how, match=name) for kind, how, name in components],
        strict=strict,
    )
    entries = describe_client_quotas(h.image, request).entries
    assert entries is not None
    return [
        (
            {each.entity_type: each.entity_name for each in entry.entity},
            {each.key: each.value for each in entry.values},
        )
        for entry in entries
    ]


def test_quotas_are_set_changed_and_removed() -> None:
    h = ControllerHarness()
    alice: Entity = {"user": "alice"}
    assert alter_quotas(h, (alice, {"producer_byte_rate": 1024.0, "request_percentage": 50.5})) == [0]
    assert described_quotas(h) == [(alice, {"producer_byte_rate": 1024.0, "request_percentage": 50.5})]
    assert alter_quotas(h, (alice, {"producer_byte_rate": 1024.0, "consumer_byte_rate": None})) == [0]
    assert h.last == [], "nothing has changed"
    assert alter_quotas(h, (alice, {"producer_byte_rate": 2048.0}), dry=True) == [0]
    assert h.last == []
    assert alter_quotas(h, (alice, {"producer_byte_rate": 2048.0, "request_percentage": None})) == [0]
    assert described_quotas(h) == [(alice, {"producer_byte_rate": 2048.0})]
    assert alter_quotas(h, (alice, {"producer_byte_rate": None})) == [0]
    assert described_quotas(h) == [] and h.image.client_quotas == {}


def test_filters_of_quotas() -> None:
    h = ControllerHarness()
    rate: dict[str, float | None] = {"consumer_byte_rate": 1.0}
    entities: list[Entity] = [
        {"user": "a"},
        {"user": None},
        {"client-id": "c"},
        {"client-id": "c", "user": "a"},
        {"client-id": None, "user": "b"},
    ]
    assert alter_quotas(h, *((each, rate) for each in entities)) == [0] * 5
    assert alter_quotas(h, ({"ip": "10.0.0.1"}, {"connection_creation_rate": 5.0})) == [0]

    def found(*components: tuple[str, int, str | None], strict: bool = False) -> list[Entity]:
        return [entity for entity, _ in described_quotas(h, *components, strict=strict)]

    assert len(found()) == 6 and found(strict=True) == []
    assert found(("user", EXACT, "a")) == [{"user": "a"}, {"client-id": "c", "user": "a"}]
    assert found(("user", EXACT, "a"), strict=True) == [{"user": "a"}]
    assert found(("user", DEFAULT, None)) == [{"user": None}]
    assert found(("user", SPECIFIED, None), strict=True) == [{"user": "a"}, {"user": None}]
    assert found(("user", SPECIFIED, None), ("client-id", DEFAULT, None)) == [{"client-id": None, "user": "b"}]
    assert found(("ip", SPECIFIED, None)) == [{"ip": "10.0.0.1"}]
    for wrong in (
        [("", EXACT, "a")],
        [("user", EXACT, None)],
        [("user", DEFAULT, "a")],
        [("user", SPECIFIED, "a")],
        [("user", 3, None)],
        [("user", EXACT, "a"), ("user", SPECIFIED, None)],
        [("ip", SPECIFIED, None), ("user", SPECIFIED, None)],
        [("planet", EXACT, "a")],
    ):
        with pytest.raises(KafkaError):
            found(*wrong)


@pytest.mark.parametrize(
    ("entity", "key", "value"),
    [
        ({}, "producer_byte_rate", 1.0),
        ({"user": ""}, "producer_byte_rate", 1.0),
        ({"planet": "x"}, "producer_byte_rate", 1.0),
        ({"user": "a", "ip": "10.0.0.1"}, "producer_byte_rate", 1.0),
        ({"ip": "10.0.0.1"}, "producer_byte_rate", 1.0),
        ({"ip": "no address"}, "connection_creation_rate", 1.0),
        ({"user": "a"}, "connection_creation_rate", 1.0),
        ({"user": "a"}, "producer_byte_rate", 0.0),
        ({"user": "a"}, "producer_byte_rate", float("nan")),
        ({"user": "a"}, "producer_byte_rate", 1.5),
        ({"user": "a"}, "producer_byte_rate", 1e30),
        ({"ip": "10.0.0.1"}, "connection_creation_rate", 2.0**31),
        ({"user": "a"}, "SCRAM-SHA-256", 1.0),
    ],
)
def test_quotas_that_make_no_sense_are_refused_alone(entity: Entity, key: str, value: float) -> None:
    h = ControllerHarness()
    codes = alter_quotas(
        h, (entity, {"consumer_byte_rate": 5.0, key: value}), ({"user": "z"}, {"producer_byte_rate": 1})
    )
    assert codes == [ErrorCode.INVALID_REQUEST, 0]
    assert [entity for entity, _ in described_quotas(h)] == [{"user": "z"}]


def test_an_entity_that_is_named_twice_is_not_changed() -> None:
    h = ControllerHarness()
    rate: dict[str, float | None] = {"consumer_byte_rate": 1.0}
    twice: list[Entity] = [{"user": "a", "client-id": "c"}, {"client-id": "c", "user": "a"}]
    assert alter_quotas(h, *((each, rate) for each in twice)) == [ErrorCode.INVALID_REQUEST] * 2
    assert h.image.client_quotas == {}


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_any_history_of_them_is_the_same_when_it_is_replayed(seed: int) -> None:
    """The harness compares after every input, right or wrong: replay of the log, and of a snapshot, makes the image."""
    rng = random.Random(seed)
    h = with_authorizer()
    names: list[str | None] = ["a", "b", "", None]

    def entity() -> Entity:
        return {kind: rng.choice(names) for kind in rng.sample(["user", "client-id", "ip"], rng.choice((1, 1, 2)))}

    for _ in range(200):
        match rng.randrange(6):
            case 0:
                keys = rng.sample(["producer_byte_rate", "consumer_byte_rate", "connection_creation_rate"], 2)
                values = {each: rng.choice([None, 1.0, 2.0, 2.5, -1.0]) for each in keys}
                alter_quotas(h, *((entity(), values) for _ in range(rng.randint(0, 2))), dry=rng.random() < 0.2)
            case 1:
                upsertions = [upsertion(rng.choice("abc"), rng.choice((1, 2, 3)), rng.choice((1, 4096, 5000)))]
                deletions = [scram.ScramCredentialDeletion(rng.choice("abc"), rng.choice((1, 2)))]
                alter_scram(h, rng.choice([[], deletions]), rng.choice([[], upsertions]))
            case 2 | 3:
                kinds = {"resource_pattern_type": rng.choice((2, 3, 4)), "operation": rng.choice((1, 2, 3, 4))}
                create_acls(h, *(acl(rng.choice("tuv"), **kinds) for _ in range(rng.randint(0, 3))))
            case 4:
                wanted = acl_filter(
                    DeleteAclsFilter, rng.choice(["t", "u", None]), pattern_type_filter=rng.choice((0, 1, 2, 3, 4))
                )
                h.handle(ApiKey.DELETE_ACLS, DeleteAclsRequest(filters=[wanted]))
            case 5:
                h.fail_over()
    assert h.image.client_quotas and h.image.scram_credentials
