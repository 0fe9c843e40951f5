"""XXH3, the 64-bit hash of xxHash without seed: with it Kafka makes the metadata hash of a group (KIP-1101).

In plain Python, for some kilobytes at a change of a topic. The constants are those of the specification
(github.com/Cyan4973/xxHash, doc/xxhash_spec.md); the tests compare with what Kafka's own library (hash4j) makes.
"""

from __future__ import annotations

from struct import Struct

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_MASK64 = (1 << 64) - 1
_PRIME32_1, _PRIME32_2, _PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_PRIME64_1, _PRIME64_2 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
_PRIME64_3, _PRIME64_4, _PRIME64_5 = 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_PRIME_MX1, _PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

_STRIPE_BYTES = 64
_STRIPES_PER_BLOCK = (len(_SECRET) - _STRIPE_BYTES) // 8
_EIGHT = Struct("<8Q")
_TWO = Struct("<2Q")


def xxh3_64(data: bytes) -> int:
    """The hash, as an unsigned number of 64 bits."""
    length = len(data)
    if length <= 16:
        return _up_to_16(data, length)
    if length <= 128:
        return _up_to_128(data, length)
    if length <= 240:
        return _up_to_240(data, length)
    return _long(data, length)


def _u32(buffer: bytes, at: int) -> int:
    return int.from_bytes(buffer[at : at + 4], "little")


def _u64(buffer: bytes, at: int) -> int:
    return int.from_bytes(buffer[at : at + 8], "little")


def _folded(one: int, other: int) -> int:
    """Both halves of the 128-bit product, xored."""
    product = one * other
    return (product & _MASK64) ^ (product >> 64)


def _avalanche(value: int) -> int:
    value ^= value >> 37
    value = value * _PRIME_MX1 & _MASK64
    return value ^ value >> 32


def _avalanche_of_xxh64(value: int) -> int:
    value ^= value >> 33
    value = value * _PRIME64_2 & _MASK64
    value ^= value >> 29
    value = value * _PRIME64_3 & _MASK64
    return value ^ value >> 32


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK64


def _swapped(value: int, size: int) -> int:
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _up_to_16(data: bytes, length: int) -> int:
    if length > 8:
        low = _u64(data, 0) ^ _u64(_SECRET, 24) ^ _u64(_SECRET, 32)
        high = _u64(data, length - 8) ^ _u64(_SECRET, 40) ^ _u64(_SECRET, 48)
        return _avalanche((length + _swapped(low, 8) + high + _folded(low, high)) & _MASK64)
    if length >= 4:
        combined = _u32(data, length - 4) + (_u32(data, 0) << 32)
        value = combined ^ _u64(_SECRET, 8) ^ _u64(_SECRET, 16)
        value ^= _rotated(value, 49) ^ _rotated(value, 24)
        value = value * _PRIME_MX2 & _MASK64
        value ^= (value >> 35) + length
        value = value * _PRIME_MX2 & _MASK64
        return value ^ value >> 28
    if length:
        combined = data[length - 1] | length << 8 | data[0] << 16 | data[length >> 1] << 24
        return _avalanche_of_xxh64(combined ^ _u32(_SECRET, 0) ^ _u32(_SECRET, 4))
    return _avalanche_of_xxh64(_u64(_SECRET, 56) ^ _u64(_SECRET, 64))


def _mixed_16(data: bytes, at: int, secret_at: int) -> int:
    return _folded(_u64(data, at) ^ _u64(_SECRET, secret_at), _u64(data, at + 8) ^ _u64(_SECRET, secret_at + 8))


def _up_to_128(data: bytes, length: int) -> int:
    total = length * _PRIME64_1
    for step in range((length - 1) // 32, -1, -1):
        total += _mixed_16(data, 16 * step, 32 * step)
        total += _mixed_16(data, length - 16 * (step + 1), 32 * step + 16)
    return _avalanche(total & _MASK64)


def _up_to_240(data: bytes, length: int) -> int:
    total = length * _PRIME64_1
    for step in range(8):
        total += _mixed_16(data, 16 * step, 16 * step)
    total = _avalanche(total & _MASK64)
    for step in range(8, length // 16):
        total += _mixed_16(data, 16 * step, 16 * (step - 8) + 3)
    total += _mixed_16(data, length - 16, 136 - 17)
    return _avalanche(total & _MASK64)


def _long(data: bytes, length: int) -> int:
    lanes = [_PRIME32_3, _PRIME64_1, _PRIME64_2, _PRIME64_3, _PRIME64_4, _PRIME32_2, _PRIME64_5, _PRIME32_1]
    block_bytes = _STRIPE_BYTES * _STRIPES_PER_BLOCK
    blocks = (length - 1) // block_bytes
    for block in range(blocks):
        for stripe in range(_STRIPES_PER_BLOCK):
            _accumulate(lanes, data, block * block_bytes + stripe * _STRIPE_BYTES, 8 * stripe)
        keys = _EIGHT.unpack_from(_SECRET, len(_SECRET) - _STRIPE_BYTES)
        for lane, key in enumerate(keys):
            value = lanes[lane]
            lanes[lane] = (value ^ value >> 47 ^ key) * _PRIME32_1 & _MASK64
    done = blocks * block_bytes
    for stripe in range((length - 1 - done) // _STRIPE_BYTES):
        _accumulate(lanes, data, done + stripe * _STRIPE_BYTES, 8 * stripe)
    _accumulate(lanes, data, length - _STRIPE_BYTES, len(_SECRET) - _STRIPE_BYTES - 7)
    total = length * _PRIME64_1
    for pair in range(4):
        one, other = _TWO.unpack_from(_SECRET, 11 + 16 * pair)
        total += _folded(lanes[2 * pair] ^ one, lanes[2 * pair + 1] ^ other)
    return _avalanche(total & _MASK64)


def _accumulate(lanes: list[int], data: bytes, at: int, secret_at: int) -> None:
    values = _EIGHT.unpack_from(data, at)
    keys = _EIGHT.unpack_from(_SECRET, secret_at)
    for lane in range(8):
        value = values[lane]
        keyed = value ^ keys[lane]
        lanes[lane ^ 1] = (lanes[lane ^ 1] + value) & _MASK64
        lanes[lane] = (lanes[lane] + (keyed & 0xFFFFFFFF) * (keyed >> 32)) & _MASK64
