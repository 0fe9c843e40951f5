"""Client quotas and SCRAM credentials, which Kafka keeps as configs of users, client ids and addresses.

``/config/users/U``            quotas of a user, and the user's credentials (ScramCredentialUtils)
``/config/users/U/clients/C``  quotas of a client id of that user
``/config/clients/C``          quotas of a client id whoever uses it
``/config/ips/A``              the rate of connections from an address

Names are sanitized (percent signs); ``<default>`` stands for those without quotas of their own.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import NoReturn

from engine.core.controller.client_quotas import (
    CLIENT_ID,
    CONNECTION_CREATION_RATE,
    CONSUMER_BYTE_RATE,
    IP,
    PRODUCER_BYTE_RATE,
    USER,
)
from engine.core.controller.image import MetadataImage, QuotaEntity
from engine.core.znodes import paths
from engine.core.znodes.config_znodes import encode_configs
from engine.core.znodes.json_fields import ZnodeCorrupt
from engine.wire.messages.user_scram_credential_record import UserScramCredentialRecord

SCRAM_MECHANISMS = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
_MECHANISM_NAMES = {number: name for name, number in SCRAM_MECHANISMS.items()}
_KINDS = {"users": USER, "clients": CLIENT_ID, "ips": IP}
# Quotas that Kafka 3.9 takes as whole numbers only; each is within this of one (ZkAdminManager).
_WHOLE = frozenset((PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, CONNECTION_CREATION_RATE))
_EPSILON = 1e-6
# Double.toString writes numbers between these without an exponent.
_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e7

# A user's name, ``None`` is the default user.
UserName = str | None


def user_of(entity: QuotaEntity) -> tuple[UserName] | None:
    """The user in a quota's entity, ``None`` if it has none."""
    return next(((name,) for kind, name in entity if kind == USER), None)


def nodes_of_users(image: MetadataImage, users: Iterable[UserName]) -> dict[str, bytes]:
    """All znodes of these users, by path."""
    wanted = dict.fromkeys(users)
    configs: dict[UserName, dict[str, str]] = {}
    nodes: dict[str, bytes] = {}
    for entity, quotas in image.client_quotas.items():
        names = dict(entity)
        if USER not in names or names[USER] not in wanted:
            continue
        own = configs.setdefault(names[USER], {})
        if CLIENT_ID in names:
            clients = f"{user_path(names[USER])}/{paths.CLIENTS_OF_USER}"
            nodes[clients] = b""
            nodes[f"{clients}/{paths.quota_entity(names[CLIENT_ID])}"] = encode_configs(_quota_texts(quotas))
        else:
            own |= _quota_texts(quotas)
    for (user, mechanism), credential in image.scram_credentials.items():
        if user in wanted:
            configs.setdefault(user, {})[_MECHANISM_NAMES[mechanism]] = _encode_scram(credential)
    return nodes | {user_path(user): encode_configs(own) for user, own in configs.items()}


def nodes_without_user(image: MetadataImage, entities: Iterable[QuotaEntity]) -> dict[str, bytes]:
    """The znodes of client ids and addresses that have quotas among ``entities``, by path."""
    return {
        entity_path(entity): encode_configs(_quota_texts(quotas))
        for entity in entities
        if (quotas := image.client_quotas.get(entity)) is not None
    }


def user_path(user: UserName) -> str:
    """Where a user's quotas and credentials are."""
    return f"{paths.USER_CONFIGS}/{paths.quota_entity(user)}"


def entity_path(entity: QuotaEntity) -> str:
    """Where the quotas of a client id or an address are. Raises: ValueError: Kafka has no such quotas."""
    ((kind, name),) = entity
    if kind not in (CLIENT_ID, IP):
        raise ValueError(f"there is no znode for quotas of {entity}")
    return f"{paths.CLIENT_CONFIGS if kind == CLIENT_ID else paths.IP_CONFIGS}/{paths.quota_entity(name)}"


def decoded_entity(path: str) -> QuotaEntity:
    """Whose quotas are at this path under /config/users, clients or ips. Raises: ZnodeCorrupt: nobody's."""
    parts = path.split("/")[2:]
    if [each for each in parts[::2] if each not in _KINDS] or (len(parts) > 2 and parts[::2] != ["users", "clients"]):
        raise ZnodeCorrupt(path, "no user, client id or address has quotas there")
    try:
        names = [None if each == paths.DEFAULT_ENTITY else paths.desanitized(each) for each in parts[1::2]]
    except ValueError as error:
        raise ZnodeCorrupt(path, f"its name is not UTF-8 ({error})") from None
    return tuple(sorted((_KINDS[kind], name) for kind, name in zip(parts[::2], names, strict=True)))


def decode_user(
    path: str, configs: Mapping[str, str], user: str | None
) -> tuple[dict[str, float], list[UserScramCredentialRecord]]:
    """Quotas and credentials among the configs of an entity; ``user`` is who would have the latter.

    Raises:
        ZnodeCorrupt: a quota is not a number, or a credential not what Kafka writes.
    """
    quotas, credentials = {}, []
    for name, text in configs.items():
        if name in SCRAM_MECHANISMS:
            if user is not None:
                credentials.append(_decode_scram(path, user, SCRAM_MECHANISMS[name], text))
            continue
        try:
            quotas[name] = float(text)
        except ValueError:
            # It may be a credential of a kind that is not known here, and is not shown.
            raise ZnodeCorrupt(path, f"{name} is not a number") from None
    return quotas, credentials


def _quota_texts(quotas: Mapping[str, float]) -> dict[str, str]:
    return {key: _quota_text(key, value) for key, value in quotas.items()}


def _quota_text(key: str, value: float) -> str:
    return str(int(value + _EPSILON)) if key in _WHOLE else java_double(value)


def java_double(value: float) -> str:
    """java.lang.Double.toString."""
    text = repr(value)
    if value != value or value in (float("inf"), -float("inf")):
        return text.replace("nan", "NaN").replace("inf", "Infinity")
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return text
    sign, digits, exponent = _decimal(text)
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _decimal(text: str) -> tuple[str, str, int]:
    """Sign, digits that count, and the power of ten of the first one."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, power = text.removeprefix("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    exponent = len(whole) - 1 + int(power or 0)
    stripped = digits.lstrip("0")
    return sign, stripped.rstrip("0"), exponent - (len(digits) - len(stripped))


def _encode_scram(credential: UserScramCredentialRecord) -> str:
    salt, stored, server = (
        base64.b64encode(bytes(each)).decode()
        for each in (credential.salt, credential.stored_key, credential.server_key)
    )
    return f"salt={salt},stored_key={stored},server_key={server},iterations={credential.iterations}"


def _decode_scram(path: str, user: str, mechanism: int, text: str) -> UserScramCredentialRecord:
    def wrong() -> NoReturn:
        # The text has keys in it: it is not shown.
        raise ZnodeCorrupt(path, f"the credential {_MECHANISM_NAMES[mechanism]} is not salt, keys and iterations")

    fields = dict(each.partition("=")[::2] for each in text.split(","))
    iterations = fields.get("iterations", "")
    if fields.keys() != {"salt", "stored_key", "server_key", "iterations"} or not iterations.isascii():
        wrong()
    if not iterations.isdigit() or len(iterations) > 9:
        wrong()
    try:
        salt, stored, server = (
            base64.b64decode(fields[name], validate=True) for name in ("salt", "stored_key", "server_key")
        )
    except (binascii.Error, ValueError):
        wrong()
    return UserScramCredentialRecord(
        name=user, mechanism=mechanism, salt=salt, stored_key=stored, server_key=server, iterations=int(iterations)
    )
