"""What the registry refuses, with Confluent's error codes."""

from __future__ import annotations

SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403
SUBJECT_SOFT_DELETED = 40404
SUBJECT_NOT_SOFT_DELETED = 40405
VERSION_SOFT_DELETED = 40406
VERSION_NOT_SOFT_DELETED = 40407
NO_SUBJECT_COMPATIBILITY = 40408
NO_SUBJECT_MODE = 40409
INCOMPATIBLE_SCHEMA = 40901
INVALID_SCHEMA = 42201
INVALID_VERSION = 42202
INVALID_COMPATIBILITY = 42203
INVALID_MODE = 42204
NOT_PERMITTED = 42205
REFERENCE_EXISTS = 42206
INVALID_SUBJECT = 42208
SCHEMA_TOO_LARGE = 42209
STORE_FAILED = 50001
STORE_TIMED_OUT = 50002
# No error of the registry's own: that of HTTP.
BAD_REQUEST = 400
UNAUTHORIZED = 401
NOT_FOUND = 404
UNPROCESSABLE = 422

_LONGEST_HTTP_STATUS = 999


class RegistryError(Exception):
    """A refusal: ``code`` is Confluent's error code, ``status`` that of HTTP."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The first three digits of the code."""
        # Confluent answers 409 in both places where a schema is not compatible.
        if self.code == INCOMPATIBLE_SCHEMA:
            return 409
        return self.code if self.code <= _LONGEST_HTTP_STATUS else self.code // 100


class InvalidSchema(RegistryError):
    """A text that is no schema of its type, or refers to what is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(INVALID_SCHEMA, message)


class StoreError(RegistryError):
    """The topic cannot be written, or not within the time."""


class RegistryFenced(Exception):
    """Another registry writes to the topic: this one must not any more."""


class RegistryBroken(RegistryFenced):
    """Its producer is beyond help: it must not write either, and another start helps."""


class CannotStart(Exception):
    """The registry cannot begin; the message says why and what to do."""
