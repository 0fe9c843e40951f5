"""What connectors, converters and transforms raise (``org.apache.kafka.connect.errors``)."""

from __future__ import annotations


class ConnectError(Exception):
    """A connector, task or worker cannot go on (``ConnectException``)."""


class DataError(ConnectError):
    """A value does not fit its schema, or bytes are not what a converter reads (``DataException``)."""


class SchemaBuilderError(DataError):
    """A schema that cannot be (``SchemaBuilderException``)."""


class SchemaProjectorError(DataError):
    """A value cannot be had under another schema (``SchemaProjectorException``)."""


class RetriableError(ConnectError):
    """Worth another try: the same records are handed over again (``RetriableException``)."""


class NotFoundError(ConnectError):
    """There is no such connector, task or plug-in (``NotFoundException``)."""


class AlreadyExistsError(ConnectError):
    """There is a connector of that name (``AlreadyExistsException``)."""


class ConfigError(ConnectError):
    """A config's value cannot be (``org.apache.kafka.common.config.ConfigException``)."""

    def __init__(self, name: str, value: object = None, why: str = "") -> None:
        self.name = name
        self.value = value
        self.why = why
        super().__init__(f"Invalid value {_shown(value)} for configuration {name}" + (f": {why}" if why else ""))

    @classmethod
    def saying(cls, message: str) -> ConfigError:
        """One about several configs together: the message alone."""
        error = cls("", None, message)
        error.args = (message,)
        return error


def _shown(value: object) -> str:
    """As Java writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)
