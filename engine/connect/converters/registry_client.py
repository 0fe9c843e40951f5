"""The schema registry as converters ask it, and how bytes name a schema in it (``io.confluent.kafka.serializers``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance
from engine.connect.connectors.extras import needs_extra
from engine.connect.errors import ConfigError, DataError, RetriableError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema as RegisteredSchema

EXTRA = "connect-schemas"
_MAGIC = 0
_STRATEGIES = ("TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy")


def define_registry(definition: ConfigDef) -> ConfigDef:
    """With the registry's configs, by the names that Confluent's converters have."""
    group = "Schema registry"
    for name, kind, default, importance, what in (
        (
            "schema.registry.url",
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.HIGH,
            "URLs of the schema registry, with commas between them.",
        ),
        (
            "auto.register.schemas",
            ConfigType.BOOLEAN,
            True,
            Importance.MEDIUM,
            "Whether schemas that a subject has not are registered.",
        ),
        (
            "use.latest.version",
            ConfigType.BOOLEAN,
            False,
            Importance.LOW,
            "With auto.register.schemas=false: write the id of the subject's latest schema.",
        ),
        (
            "subject.name.strategy",
            ConfigType.STRING,
            "TopicNameStrategy",
            Importance.MEDIUM,
            f"How subjects are named: {', '.join(_STRATEGIES)}, with or without Java's package.",
        ),
        (
            "basic.auth.credentials.source",
            ConfigType.STRING,
            "URL",
            Importance.MEDIUM,
            "Where user and password are: URL, or USER_INFO (basic.auth.user.info).",
        ),
        ("basic.auth.user.info", ConfigType.PASSWORD, None, Importance.MEDIUM, "User and password: user:password."),
        ("ssl.ca.location", ConfigType.STRING, None, Importance.LOW, "File of certificates that are trusted."),
        ("ssl.certificate.location", ConfigType.STRING, None, Importance.LOW, "File of the client's certificate."),
        ("ssl.key.location", ConfigType.STRING, None, Importance.LOW, "File of the client's key."),
    ):
        definition.define(name, kind, default, importance, what, group=group)
    return definition


class RegistryClient:
    """One converter's, for keys or values."""

    def __init__(self, values: Mapping[str, Any], is_key: bool, schema_type: str) -> None:
        """From configs parsed by :func:`define_registry`.

        Raises:
            ConfigError: one cannot be.
            ConnectError: the extra is not installed.
        """
        with needs_extra(EXTRA):
            from confluent_kafka.schema_registry import SchemaRegistryClient
        config: dict[str, Any] = {"url": values["schema.registry.url"]}
        if values["basic.auth.credentials.source"].upper() == "USER_INFO":
            if values["basic.auth.user.info"] is None:
                raise ConfigError("basic.auth.user.info", None, "USER_INFO needs it")
            config["basic.auth.user.info"] = values["basic.auth.user.info"].value
        for name in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"):
            if values[name] is not None:
                config[name] = values[name]
        try:
            self._client = SchemaRegistryClient(config)
        except (ValueError, TypeError, OSError) as error:
            # Its message may quote the URL, which may have a password in it.
            raise ConfigError.saying(
                f"schema.registry.url or its ssl configs cannot be: {type(error).__name__}"
            ) from None
        strategy = values["subject.name.strategy"].rpartition(".")[2]
        if strategy not in _STRATEGIES:
            allowed = f"It must be one of: {', '.join(_STRATEGIES)}"
            raise ConfigError("subject.name.strategy", values["subject.name.strategy"], allowed)
        self._strategy = strategy
        self._suffix = "key" if is_key else "value"
        self._registers: bool = values["auto.register.schemas"]
        self._latest: bool = values["use.latest.version"]
        self._type = schema_type
        # Descriptors are understood without protoc; a registry that has none of this gives texts.
        self._format = "serialized" if schema_type == "PROTOBUF" else None

    def subject(self, topic: str, record: str | None) -> str:
        """The subject of a topic's keys or values; ``record`` is the schema's name.

        Raises:
            DataError: the strategy wants a name that the schema has not.
        """
        if self._strategy == "TopicNameStrategy":
            return f"{topic}-{self._suffix}"
        if record is None:
            raise DataError(f"{self._strategy} needs a schema with a name")
        return record if self._strategy == "RecordNameStrategy" else f"{topic}-{record}"

    def id_for(self, subject: str, text: str) -> int:
        """The id of a schema in a subject, registered if it is new and may be.

        Raises:
            DataError: the registry has it not, or refuses it.
            RetriableError: the registry cannot be asked.
        """
        from confluent_kafka.schema_registry import Schema as RegisteredSchema

        schema = RegisteredSchema(text, self._type)

        def ask() -> Any:
            if self._registers:
                return self._client.register_schema(subject, schema)
            if self._latest:
                return self._client.get_latest_version(subject).schema_id
            return self._client.lookup_schema(subject, schema).schema_id

        found: int = self._asked(f"the schema of subject {subject}", ask)
        return found

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """A subject's latest schema with its id, if that is what is written (``use.latest.version``); raises as
        :meth:`id_for`."""
        if self._registers or not self._latest:
            return None
        found = self._asked(
            f"the latest schema of subject {subject}",
            lambda: self._client.get_latest_version(subject, fmt=self._format),
        )
        return found.schema_id, found.schema

    def schema(self, schema_id: int) -> RegisteredSchema:
        """A schema by its id; raises as :meth:`id_for`."""
        found = self._asked(f"schema {schema_id}", lambda: self._client.get_schema(schema_id, fmt=self._format))
        if (found.schema_type or "AVRO") != self._type:
            raise DataError(f"Schema {schema_id} is {found.schema_type}, not {self._type}")
        made: RegisteredSchema = found
        return made

    def version(self, subject: str, schema: RegisteredSchema) -> int | None:
        """The version that a schema has in a subject, or None."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            found: int | None = self._client.lookup_schema(subject, schema, deleted=True).version
            return found
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            raise self._failed(f"the version of a schema in subject {subject}", error) from error
        except Exception as error:
            raise self._failed(f"the version of a schema in subject {subject}", error) from error

    def referenced_by_name(self, schema: RegisteredSchema) -> list[tuple[str, RegisteredSchema]]:
        """Schemas that one refers to with the names that it has for them; those first to which others refer."""
        found: list[tuple[str, RegisteredSchema]] = []
        for each in schema.references or ():
            version = self._asked(
                f"version {each.version} of subject {each.subject}",
                lambda each=each: self._client.get_version(each.subject, each.version, deleted=True, fmt=self._format),
            )
            found += [*self.referenced_by_name(version.schema), (str(each.name), version.schema)]
        return found

    def _asked(self, what: str, ask: Any) -> Any:
        try:
            return ask()
        except Exception as error:
            raise self._failed(what, error) from error

    @staticmethod
    def _failed(what: str, error: Exception) -> DataError | RetriableError:
        """What the registry answers is about the data; that it does not answer is not."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        if isinstance(error, SchemaRegistryError) and _is_about_data(error.http_status_code):
            return DataError(f"The schema registry refuses {what}: {error.error_message} ({error.error_code})")
        # A URL in the text may have a password in it.
        why = re.sub(r"//[^/@\s]*@", "//", str(error))
        return RetriableError(f"The schema registry does not give {what}: {type(error).__name__}: {why}")

    def close(self) -> None:
        """Not used any more."""
        close = getattr(self._client, "close", None)
        if close is not None:
            close()


def _is_about_data(status: int) -> bool:
    # A registry that is busy says nothing about the data.
    return status < 500 and status not in (408, 429)


def framed(schema_id: int) -> bytes:
    """What comes before bytes with a schema: a zero and its id."""
    return bytes((_MAGIC,)) + schema_id.to_bytes(4, "big")


def schema_id_of(value: bytes) -> int:
    """The id that bytes begin with.

    Raises:
        DataError: they do not.
    """
    if len(value) < 5 or value[0] != _MAGIC:
        raise DataError("Unknown magic byte! The bytes were not written with a schema of the registry")
    return int.from_bytes(value[1:5], "big")


def schema_json(registered: RegisteredSchema) -> Any:
    """The text of a schema of Avro or JSON, read.

    Raises:
        DataError: it is no JSON.
    """
    try:
        return json.loads(registered.schema_str or "null")
    except (ValueError, RecursionError) as error:
        raise DataError(f"The schema registry gives a schema that is no JSON: {error}") from None
