"""What Java's numbers do that Python's do not: they have so many bits, and casts between them cut or saturate."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from struct import pack, unpack

from engine.connect.errors import DataError


def wrapped(number: int, bits: int) -> int:
    """A number's lowest bits in two's complement, as Java's casts of integers leave them."""
    half = 1 << (bits - 1)
    return (number + half) % (half << 1) - half


def long_of(number: float | Decimal) -> int:
    """``Number.longValue``: of a float the nearest long towards zero, of others the lowest 64 bits."""
    if isinstance(number, float):
        return saturated(number, 64)
    return wrapped(number if isinstance(number, int) else integral_part(number), 64)


def int_of(number: float | Decimal, bits: int) -> int:
    """``Number.byteValue``, ``shortValue``, ``intValue``, ``longValue``."""
    if isinstance(number, float):
        return wrapped(saturated(number, max(bits, 32)), bits)
    return wrapped(number if isinstance(number, int) else integral_part(number), bits)


def saturated(number: float, bits: int) -> int:
    """A float as an integer of so many bits: the nearest one towards zero."""
    if number != number:
        return 0
    limit = 1 << (bits - 1)
    return limit - 1 if number >= limit else -limit if number < -limit else int(number)


def integral_part(number: Decimal) -> int:
    """Towards zero. 0 for those with so many zeros at the end that their lowest 64 bits are; they may have millions."""
    exponent = number.as_tuple().exponent
    return 0 if not isinstance(exponent, int) or exponent > 64 or number.adjusted() < 0 else int(number)


def to_single(number: float) -> float:
    """The nearest number of 32 bits."""
    try:
        single: float = unpack(">f", pack(">f", number))[0]
        return single
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parse_decimal(text: str) -> Decimal:
    """``new BigDecimal(text)``.

    Raises:
        DataError: it is no number.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise DataError(f"{text} is no number")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise DataError(f"{text} is no number") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -(1 << 31) < exponent < 1 << 31:
        raise DataError(f"{text} is no number")
    return number


_INTEGER = re.compile(r"[+-]?\d{1,40}")


def parse_int(text: str, bits: int) -> int:
    """``Byte.parseByte``, ``Short.parseShort``, ``Integer.parseInt``, ``Long.parseLong``.

    Raises:
        DataError: it is no integer, or out of the range.
    """
    if _INTEGER.fullmatch(text) is not None:
        number = int(text)
        if number == wrapped(number, bits):
            return number
    raise DataError(f"Value ({text}) was out of range for requested data type")


_FLOAT = re.compile(r"[+-]?(?:NaN|Infinity|(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fFdD]?)")
_HEXADECIMAL = re.compile(r"([+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?\d+)[fFdD]?")


def parse_float(text: str) -> float:
    """``Double.parseDouble``.

    Raises:
        DataError: it is no number.
    """
    stripped = text.strip("".join(map(chr, range(33))))
    if _FLOAT.fullmatch(stripped) is not None:
        return float(stripped if stripped[-1] in "Ny" else stripped.rstrip("fFdD"))
    hexadecimal = _HEXADECIMAL.fullmatch(stripped)
    if hexadecimal is not None:
        try:
            return float.fromhex(hexadecimal[1])
        except OverflowError:
            return float("-inf") if stripped[0] == "-" else float("inf")
    raise DataError(f"Value ({text}) was out of range for requested data type")
