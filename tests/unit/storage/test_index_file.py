"""Where a sorted index says that a key lies, held against a search through all of its entries."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate

import pytest

from engine.storage.file_pool import FilePool
from engine.storage.index_file import OFFSET_ENTRY, TIME_ENTRY, IndexFile
from tests.unit.storage.memory_disk import MemoryDisk

PATH = "/0.index"
NOW_MS = 1_764_000_000_000


def steps(shape: str, count: int, rng: random.Random) -> list[int]:
    """Differences of keys: as even as a log's, with one gap, ever larger, or of any size."""
    if shape == "even":
        return [rng.randrange(60, 70) for _ in range(count)]
    if shape == "with a gap":
        gap = rng.randrange(max(count, 1))
        return [1_000_000 if number == gap else 1 for number in range(count)]
    if shape == "ever larger":
        return [1 + number for number in range(count)]
    return [int(rng.paretovariate(0.7)) % 100_000 + 1 for _ in range(count)]


@pytest.mark.parametrize("shape", ["even", "with a gap", "ever larger", "any"])
@pytest.mark.parametrize("count", [0, 1, 2, 511, 512, 513, 514, 1025, 5000])
@pytest.mark.parametrize("pending", [0, 1, 300])
def test_the_entry_at_or_before_a_key_is_found(shape: str, count: int, pending: int) -> None:
    rng = random.Random(f"{shape} {count} {pending}")
    for entry, base in ((OFFSET_ENTRY, 0), (TIME_ENTRY, NOW_MS)):
        firsts = [base + each for each in accumulate(steps(shape, count, rng))]
        seconds = list(accumulate(steps("any", count, rng)))
        index = IndexFile(FilePool(MemoryDisk()), PATH, entry)
        for number, pair in enumerate(zip(firsts, seconds, strict=True)):
            index.add(*pair)
            if number == count - pending - 1:
                index.save()
        assert len(index) == count
        for field, values in enumerate((firsts, seconds)):
            near = [value + by for value in rng.sample(values, min(count, 200)) for by in (-1, 0, 1)]
            ends = [value + by for value in values[:1] + values[-1:] for by in (-1, 0, 1)]
            for key in (*near, *ends, -1, 0, base, 2**40):
                expected = bisect_right(values, key) - 1
                assert index.floor(key, field) == expected
                found = index.floor_entry(key, field)
                assert found == (None if expected < 0 else (firsts[expected], seconds[expected]))
